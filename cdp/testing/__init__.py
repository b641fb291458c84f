"""Shipped test suites: an author of an engine or a connector inherits one and proves their own."""
