"""What an analyst asks: how many, who in kind, why this one, and what would a change do."""
