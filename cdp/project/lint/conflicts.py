"""Tests on one value that exclude each other, or that leave nothing out: what their author cannot have meant."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import combinations

from cdp.project.terms import AgeBetween, Compare, Condition, Every, InWindow, IsNull, Negation, OneOf, Some, Value, Window
from cdp.project.terms.sayings import CLOCK, COMPARED, age, listed, said, window_of
from cdp.project.terms.spans import distance
from cdp.project.terms.types import column_of

Asked = Compare | OneOf | InWindow | IsNull | AgeBetween


def contradiction(terms: Iterable[Condition]) -> str:
    """Why no row satisfies all of the conditions; an empty text where one may."""
    flat = list(_flat(terms, Every))
    if opposite := _opposite(flat):
        return opposite
    asked = [(term, False) for term in flat if isinstance(term, Asked)]
    denied = [(term.of, True) for term in flat if isinstance(term, Negation) and isinstance(term.of, (OneOf, Compare))]
    for (one, _), (other, _) in combinations(asked, 2):
        if _about(one) == _about(other) and _apart(one, other):
            return f"{_subject(one)}{_say(one)} and {_say(other)}"
    for term, _ in asked:
        others = [(other, no) for other, no in (*asked, *denied) if other is not term and _about(other) == _about(term)]
        if others and _used_up(term, others):
            rest = [f"not {_say(other)}" if no else _say(other) for other, no in others]
            return f"{_subject(term)}{_say(term)} and {' and '.join(rest)}"
    return ""


def tautology(terms: Iterable[Condition]) -> str:
    """Why every row satisfies one of the conditions, or every row with a value; an empty text where one may not."""
    flat = list(_flat(terms, Some))
    if opposite := _opposite(flat):
        return opposite
    asked = [term for term in flat if isinstance(term, (Compare, AgeBetween))]
    for one, other in combinations(asked, 2):
        if _about(one) == _about(other) and _whole(one, other):
            return f"{_subject(one)}{_say(one)} or {_say(other)}"
    return ""


def _flat(terms: Iterable[Condition], kind: type[Every] | type[Some]) -> Iterable[Condition]:
    for term in terms:
        if isinstance(term, kind):
            yield from _flat(term.of, kind)
        else:
            yield term


def _opposite(terms: Sequence[Condition]) -> str:
    """A condition and its negation."""
    for negation in terms:
        if isinstance(negation, Negation) and any(term == negation.of for term in terms):
            return "a condition and its opposite"
    return ""


# -- words ------------------------------------------------------------------------------------------------------------


def _about(term: Asked) -> object:
    """What two tests must share to be compared."""
    if isinstance(term, AgeBetween):
        return term.birth_date, term.unit, term.at
    return term.operand


def _subject(term: Asked) -> str:
    column = None if isinstance(term, AgeBetween) else column_of(term.operand)
    return f"{column.column} " if column else ""


def _say(term: Asked) -> str:
    match term:
        case AgeBetween():
            return age(term)
        case InWindow(_, window):
            return window_of(window, lambda column: column.column)
        case OneOf(_, values):
            return f"in {term.named}" if term.named else f"is {listed(values)}"
        case Compare(_, op, value, kind):
            unit = f" {term.units[0]}" if term.units else ""
            return f"{COMPARED[op, kind in CLOCK]} {said(value)}{unit}"
    return "null"


# -- exclusion --------------------------------------------------------------------------------------------------------


def _apart(one: Asked, other: Asked) -> bool:
    """Whether no value passes both of two tests, by their bounds alone."""
    if isinstance(one, IsNull) != isinstance(other, IsNull):
        return True
    if isinstance(one, InWindow) and isinstance(other, InWindow):
        return _later(one.window, other.window) or _later(other.window, one.window)
    if isinstance(one, AgeBetween) and isinstance(other, AgeBetween):
        low, high = max(one.low or 0, other.low or 0), min(_top(one), _top(other))
        return low > high
    if isinstance(one, Compare) and isinstance(other, Compare) and one.units == other.units and _comparable(one.value, other.value):
        lower, upper = (one, other) if one.op in ("gt", "gte") else (other, one)
        if lower.op in ("gt", "gte") and upper.op in ("lt", "lte"):
            return _crossed(lower, upper)
    return False


def _crossed(lower: Compare, upper: Compare) -> bool:
    """Whether no value lies between two bounds; of whole numbers none is above 2 and below 3."""
    low, high = lower.value, upper.value
    if isinstance(low, int) and isinstance(high, int) and lower.type == "integer":
        return low + (lower.op == "gt") > high - (upper.op == "lt")
    return _less(high, low) or (high == low and (lower.op, upper.op) != ("gte", "lte"))


def _top(term: AgeBetween) -> int:
    return term.high if term.high is not None else 10_000


def _later(one: Window, other: Window) -> bool:
    """Whether one window certainly begins after the other one ends."""
    if one.first is None or other.last is None or other.ongoing:
        return False
    apart = distance(other.last, one.first)
    return apart is not None and apart[0] > 0


def _used_up(term: Asked, others: Sequence[tuple[Asked, bool]]) -> bool:
    """Whether each of the values that a test names is excluded by another test."""
    if isinstance(term, OneOf) and not term.ignore_case:
        values: tuple[Value, ...] = term.values
    elif isinstance(term, Compare) and term.op == "eq" and not term.ignore_case:
        values = (term.value,)
    else:
        return False
    return all(any(_excludes(other, no, value, term) for other, no in others) for value in values)


def _excludes(other: Asked, no: bool, value: Value, term: OneOf | Compare) -> bool:
    """Whether a value of `term` certainly fails `other`, or, if that is denied, passes it."""
    if isinstance(other, OneOf) and not other.ignore_case and isinstance(term, (OneOf, Compare)):
        systems = set(term.systems) if isinstance(term, OneOf) else set()
        if no:
            return value in other.values and (not other.systems or (bool(systems) and systems <= set(other.systems)))
        apart = bool(systems and other.systems) and not systems & set(other.systems)
        return apart or (_alike(value, other.values) and value not in other.values)
    if not isinstance(other, Compare) or other.ignore_case or not _comparable(value, other.value):
        return False
    if isinstance(term, Compare) and term.units != other.units:
        return False
    return _passes(value, other) if no else not _passes(value, other)


def _passes(value: Value, test: Compare) -> bool:
    match test.op:
        case "eq":
            return value == test.value
        case "ne":
            return value != test.value
        case "gt" | "gte":
            return _less(test.value, value) or (test.op == "gte" and value == test.value)
        case "lt" | "lte":
            return _less(value, test.value) or (test.op == "lte" and value == test.value)
    text, part = str(value), str(test.value)
    known = {"starts_with": text.startswith(part), "ends_with": text.endswith(part), "contains": part in text}
    return known.get(test.op, True)


# -- nothing left out -------------------------------------------------------------------------------------------------


def _whole(one: Compare | AgeBetween, other: Compare | AgeBetween) -> bool:
    """Whether every value passes one of two tests."""
    if isinstance(one, AgeBetween) and isinstance(other, AgeBetween):
        low, high = (one, other) if one.high is None else (other, one)
        return low.high is None and high.low is None and (low.low or 0) <= _top(high) + 1
    if not (isinstance(one, Compare) and isinstance(other, Compare)) or one.units or other.units or one.ignore_case or other.ignore_case:
        return False
    if not _comparable(one.value, other.value):
        return False
    if isinstance(one.value, bool):
        return {one.op, other.op} == {"eq"} and one.value != other.value
    if {one.op, other.op} == {"ne"}:
        return one.value != other.value
    lower, upper = (one, other) if one.op in ("gt", "gte") else (other, one)
    if lower.op not in ("gt", "gte") or upper.op not in ("lt", "lte"):
        return False
    return _less(lower.value, upper.value) or (lower.value == upper.value and (lower.op == "gte" or upper.op == "lte"))


# -- values -----------------------------------------------------------------------------------------------------------


def _comparable(one: Value, other: Value) -> bool:
    """Whether two literals are of a kind: a day and a moment are not."""
    return _kind(one) == _kind(other)


def _kind(value: Value) -> type:
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return Decimal
    return dt.datetime if isinstance(value, dt.datetime) and value.tzinfo is None else type(value)


def _alike(value: Value, values: tuple[Value, ...]) -> bool:
    return bool(values) and _comparable(value, values[0])


def _less(one: Value, other: Value) -> bool:
    less: bool = one < other  # type: ignore[operator]
    return less
