"""Literals: the source text of a scalar, typed by the column it meets."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from cdp.project.terms import Value
from cdp.spec.model import ColumnType

if TYPE_CHECKING:
    from cdp.project.language.bind import Place

LARGEST, DIGITS = 2**63, 38  # what a BIGINT and a DECIMAL hold
TRUE, FALSE = frozenset({"true", "yes", "on"}), frozenset({"false", "no", "off"})
_WHOLE = re.compile(r"[+-]?\d+(_\d+)*")
_QUANTITY = re.compile(r"([+-]?[\d._]+)\s*([^\s\d._].*)")


def literal(tree: object, kind: ColumnType, at: Place) -> Value | None:
    """The typed value of a scalar; None after a problem was reported."""
    if isinstance(tree, str) and not getattr(tree, "quoted", False) and tree.startswith("$"):
        return at.wrong(f"{tree}: only a segment with `params` has parameters", hint="write the value, or put text in quotes")
    if not isinstance(tree, str):
        return at.wrong(f"{article(kind)} is expected here")
    value = typed(tree, kind)
    if value is None:
        return at.wrong(f"{str(tree)!r} is not {article(kind)}", hint=_EXAMPLES.get(kind, ""))
    return value


_EXAMPLES = {
    "integer": "write a whole number such as 12",
    "decimal": "write a number such as 9.5",
    "double": "write a number such as 9.5",
    "boolean": "write true or false",
    "date": "write a day such as 2026-01-31",
    "timestamp": "write 2026-01-31 or 2026-01-31T08:30",
}


def typed(text: str, kind: ColumnType) -> Value | None:
    """The value of a text as that type; None where it is not one."""
    try:
        if kind == "integer":
            whole = int(text) if _WHOLE.fullmatch(text) else None
            return whole if whole is not None and abs(whole) < LARGEST else None
        if kind in ("decimal", "double"):
            number = Decimal(text.replace("_", ""))
            return number if number.is_finite() and (not number or -DIGITS < number.adjusted() < DIGITS) else None
        if kind == "date":
            return dt.date.fromisoformat(text) if len(text) == 10 else None
        if kind == "timestamp":
            return dt.date.fromisoformat(text) if len(text) == 10 else dt.datetime.fromisoformat(text)
    except (ValueError, InvalidOperation):
        return None
    if kind == "boolean":
        return True if text.lower() in TRUE else False if text.lower() in FALSE else None
    return str(text)


def article(kind: str) -> str:
    """`an integer`, `a date`."""
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def boolean(tree: object, at: Place) -> bool | None:
    """`true` or `false`; None after a problem was reported."""
    value = literal(tree, "boolean", at)
    return value if isinstance(value, bool) else None


def quantity(tree: object, at: Place) -> tuple[str, str] | None:
    """`9 %` is the number's text and the unit; None after a problem was reported."""
    match = _QUANTITY.fullmatch(tree) if isinstance(tree, str) else None
    if match is None:
        return at.wrong(f"{str(tree)!r} has no unit, but the column has one", hint="write the number and its unit, such as 9 %")
    return match[1], match[2]
