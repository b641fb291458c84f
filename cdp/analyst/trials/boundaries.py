"""What lies on either side of a test: the value that just passes, the one that just does not, and nothing at all."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal

from cdp.compile.windows import shift
from cdp.project.terms import Factor, Value
from cdp.spec.model import ColumnType

Around = tuple[str, object]  # what it is, and the value
OTHER = "other"
MILLIONTH = Decimal("0.000001")
SAMPLES: dict[ColumnType, object] = {
    "string": OTHER,
    "code": OTHER,
    "integer": 1,
    "decimal": Decimal(1),
    "double": Decimal(1),
    "boolean": True,
}


def passing_value(op: str, value: Value) -> object:
    """A value for which `value op literal` holds, as near to the literal as can be."""
    if op in ("gt", "ne"):
        return _next(value, 1)
    return _next(value, -1) if op == "lt" else value


def around(value: Value) -> Iterator[Around]:
    """The literal and its neighbours, then null."""
    if isinstance(value, bool):
        yield from (("true", True), ("false", False))
    elif isinstance(value, str):
        yield from ((value, value), ("another value", OTHER))
    elif isinstance(value, dt.date):
        yield from days(value)
    else:
        yield from (("one step less", _next(value, -1)), ("the limit", value), ("one step more", _next(value, 1)))
    yield "null", None


def days(day: dt.date) -> Iterator[Around]:
    """The day before, the day, the day after."""
    for word, steps in (("the day before", -1), ("the day", 0), ("the day after", 1)):
        yield word, _next(day, steps)


def in_other_unit(value: object, factor: Factor) -> object:
    """A value in the unit that becomes this one by the factor; to six decimals, as no test needs more."""
    return (Decimal(value) * factor.over / factor.times).quantize(MILLIONTH).normalize() if isinstance(value, (int, Decimal)) else value


def sample(kind: ColumnType, day: dt.date) -> object:
    """Some value of a type."""
    return SAMPLES.get(kind, day)


def _next(value: Value, steps: int) -> Value:
    """The neighbour of a value: a day or a number, one unit of its last decimal away; of a text, another."""
    match value:
        case bool():
            return value if steps == 0 else not value
        case int():
            return value + steps
        case Decimal():
            exponent = min(-1, int(value.as_tuple().exponent))
            return value + steps * Decimal(1).scaleb(exponent)
        case dt.date():
            return shift(value, "days", steps)
    return value if steps == 0 else OTHER
