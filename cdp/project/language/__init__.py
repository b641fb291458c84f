"""Binding: YAML conditions, traits, rules and mappings become terms, or problems with their places."""
