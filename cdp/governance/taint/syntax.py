"""The allowlist of `cdp.project.sql.syntax` under the name by which the walk knows it."""

from cdp.project.sql.syntax import (
    AGGREGATES,
    ARGS,
    AROUND_AGGREGATES,
    FUNCTIONS,
    GENERATORS,
    SCALARS,
    UNITS,
    WINDOW_FUNCTIONS,
    Unsupported,
    check,
    name_of,
    operands,
    same,
)

__all__ = [
    "AGGREGATES",
    "ARGS",
    "AROUND_AGGREGATES",
    "FUNCTIONS",
    "GENERATORS",
    "SCALARS",
    "UNITS",
    "WINDOW_FUNCTIONS",
    "Unsupported",
    "check",
    "name_of",
    "operands",
    "same",
]
