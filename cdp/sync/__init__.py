"""Plans and delivery: what differs is computed, stored, sent and recorded."""
