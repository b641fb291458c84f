"""A row that an entity's own `where` lets through: what a fixture need not say.

The search is plain: the literals that the condition names, their neighbours and null are tried until it holds.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from decimal import Decimal
from itertools import islice, product

from cdp.project.terms import ColumnRef, Compare, Condition, Every, Holds, IsNull, Negation, OneOf, Some, Value
from cdp.project.terms.parts import parts

Row = Mapping[str, object]
TRIED = 20_000  # combinations before the search gives up
OTHER = "other"  # a text that no condition names


class Undecided(Exception):
    """The condition holds something that cannot be decided on a row alone, such as a day that depends on as_of."""


def passing(term: Condition, given: Row) -> dict[str, object] | None:
    """Values for the columns that a condition tests, so that it holds.

    Args:
        term: a condition on a row's own columns.
        given: what is said of the row; these values stay where that is possible at all.

    Returns:
        Values for the other columns; None where none were found.
    """
    compared = _compared_with(term)
    wanted = {name: _candidates(values) for name, values in compared.items() if name not in given}
    found = _search(term, dict(given), wanted)
    if found is None:  # the row is meant to be dropped, by what is given and by nothing else
        rest = _search(term, {}, {name: _candidates(values) for name, values in compared.items()})
        found = {name: value for name, value in rest.items() if name in wanted} if rest else None
    return found


def _search(term: Condition, row: dict[str, object], wanted: Mapping[str, list[object]]) -> dict[str, object] | None:
    for combination in islice(product(*wanted.values()), TRIED):
        tried = dict(zip(wanted, combination, strict=True))
        try:
            if holds(term, row | tried):
                return tried
        except Undecided:
            return None
    return None


def holds(term: Condition, row: Row) -> bool:
    """Whether a condition on a row's own columns is true of it.

    Raises:
        Undecided: the row alone does not say.
    """
    match term:
        case Every(of):
            return all(holds(part, row) for part in of)
        case Some(of):
            return any(holds(part, row) for part in of)
        case Negation(of):
            return not holds(of, row)
        case IsNull(ColumnRef(hops=(), field=(), column=name)):
            return row.get(name) is None
        case Compare(ColumnRef(hops=(), field=(), column=name), op, value, units=(), ignore_case=False):
            return _compared(row.get(name), op, value)
        case OneOf(ColumnRef(hops=(), field=(), column=name), values, ignore_case=False):
            return row.get(name) in values
        case Holds(ColumnRef(hops=(), field=(), column=name), values, all=every):
            held = row.get(name)
            return isinstance(held, tuple) and (all if every else any)(value in held for value in values)
    raise Undecided


def _compared(left: object, op: str, right: Value) -> bool:
    if left is None:
        return False
    if isinstance(left, str) and isinstance(right, str) and op in ("starts_with", "ends_with", "contains"):
        return {"starts_with": left.startswith, "ends_with": left.endswith, "contains": left.__contains__}[op](right)
    if op in ("eq", "ne"):
        return (left == right) == (op == "eq")
    if op == "matches" or type(left) is not type(right):
        raise Undecided
    return {"gt": left > right, "gte": left >= right, "lt": left < right, "lte": left <= right}[op]  # type: ignore[operator]


def tested(term: Condition) -> tuple[str, ...]:
    """The columns that a condition on a row's own columns tests."""
    return tuple(dict.fromkeys(part.column for part in parts(term) if isinstance(part, ColumnRef)))


def _compared_with(term: Condition) -> dict[str, list[Value]]:
    """The columns that a condition tests, each with every literal that it is compared with."""
    found: dict[str, list[Value]] = {name: [] for name in tested(term)}
    for part in parts(term):
        match part:
            case Compare(ColumnRef(column=name), value=value):
                found[name].append(value)
            case OneOf(ColumnRef(column=name), values) | Holds(ColumnRef(column=name), values):
                found[name].extend(values)
    return found


def _candidates(literals: Iterable[Value]) -> list[object]:
    """Null, the literals themselves, their neighbours, and a text that is none of them."""
    listed = list(literals)
    near = [other for value in listed for other in _neighbours(value)]
    arrays: list[object] = [tuple(listed)] if listed else []
    return list(dict.fromkeys([None, *listed, *near, OTHER if not listed else None, *arrays]))


def _neighbours(value: Value) -> list[Value]:
    match value:
        case bool():
            return [not value]
        case int() | Decimal():
            return [value - 1, value + 1]
        case dt.date():
            return [value - dt.timedelta(days=1), value + dt.timedelta(days=1)]
        case _:
            return [OTHER if value != OTHER else f"{OTHER}_"]
