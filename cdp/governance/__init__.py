"""Governance: what may leave, to whom and why. Pure: it decides on trees, never on data."""
