"""cdp: a composable customer data platform for health care, on the lakehouse."""

__version__ = "0.1.0"
__all__ = ["__version__"]
