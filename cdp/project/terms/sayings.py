"""The words of descriptions: comparisons, values, ages, and windows of time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

from cdp.project.terms import AgeBetween, ColumnRef, Comparison, Cover, Day, Measure, Picked, Unit, Value, Window

SHOWN = 5  # values of a list
CLOCK = ("date", "timestamp")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_WORDS: dict[Comparison, tuple[str, str]] = {
    "eq": ("is", "is"),
    "ne": ("is not", "is not"),
    "gt": ("above", "after"),
    "gte": ("at least", "from"),
    "lt": ("below", "before"),
    "lte": ("at most", "until"),
    "starts_with": ("starts with", ""),
    "ends_with": ("ends with", ""),
    "contains": ("contains", ""),
    "matches": ("matches", ""),
}
COMPARED = {(op, clock): words[clock] for op, words in _WORDS.items() for clock in (False, True)}
COVERED: dict[Cover, str] = {
    "share": "share of days covered",
    "days": "days covered",
    "of_days": "days to cover",
    "first_fill": "first fill",
    "fill_days": "days with a fill",
    "until": "end of supply",
    "longest_gap": "longest gap",
}
Say = Callable[[ColumnRef], str]


def said(value: Value) -> str:
    """A literal."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dt.datetime):
        return value.isoformat(" ", "minutes")
    if value == "":
        return "empty"
    return format(value.normalize(), "f") if isinstance(value, Decimal) else str(value)


def listed(values: Sequence[Value], word: str = "or") -> str:
    """`a`, `a or b`, `a, b or c`; of many the first, and how many they are."""
    texts = [said(value) for value in values]
    if len(texts) > SHOWN:
        return f"one of {', '.join(texts[:SHOWN])}, ... ({len(texts)} in all)"
    return f" {word} ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))


def age(term: AgeBetween) -> str:
    """`age 18 to 75`, `age 66 or more at the end of measurement_year`."""
    unit = " months" if term.unit == "months" else ""
    if term.low == term.high:
        text = f"age {term.low}{unit}"
    elif term.low is None:
        text = f"age below {(term.high or 0) + 1}{unit}"
    else:
        text = f"age {term.low}{unit} or more" if term.high is None else f"age {term.low} to {term.high}{unit}"
    return text if term.at == Day("as_of") else f"{text} {_on(term.at)}"


def _on(day: Day) -> str:
    text = day_of(day, lambda column: column.column)
    return f"at {text}" if text.startswith("the ") else f"on {text}"


# -- windows ----------------------------------------------------------------------------------------------------------


def window_of(window: Window, say: Say) -> str:
    """`within the last 6 months`, `15 to 45 days ago`, `in measurement_year`, `1 to 14 days after end of the encounter`."""
    first, last = window.first, window.last
    if first is not None and last is not None:
        if first.anchor == last.anchor and not isinstance(first.anchor, dt.date):
            return _same_anchor(first, last, say)
        return _period(first, last) or _row(window, say) or f"from {day_of(first, say)} to {day_of(last, say)}"
    if first is not None:
        return f"after {day_of(_shifted(first, -1), say)}" if _ends_with(first, 1) else f"from {day_of(first, say)} on"
    if last is None:
        return "at any time"
    if not _ends_with(last, -1):
        return f"until {day_of(last, say)}"
    before = _shifted(last, 1)
    back = _single(before)
    if before.anchor == "as_of" and back is not None and back[1] < 0:
        return f"more than {_count(-back[1], back[0])} ago"
    return f"before {day_of(before, say)}"


def _ends_with(day: Day, days: int) -> bool:
    return day.shifts[-1:] == (("days", days),)


def _shifted(day: Day, days: int) -> Day:
    return Day(day.anchor, day.shifts[:-1])


def _single(day: Day) -> tuple[Unit, int] | None:
    """The one shift of a day; of none, none of days."""
    return day.shifts[0] if len(day.shifts) == 1 else ("days", 0) if not day.shifts else None


def _same_anchor(first: Day, last: Day, say: Say) -> str:
    if isinstance(first.anchor, tuple):
        return _period(first, last) or f"from {day_of(first, say)} to {day_of(last, say)}"
    near, far = _single(first), _single(last)
    if near is None or far is None or (near[1] and far[1] and near[0] != far[0]):
        bucket = numbered(Window(first, last))
        return (
            f"in the {_nth(bucket[1])}{bucket[0].removesuffix('s')} back" if bucket else f"from {day_of(first, say)} to {day_of(last, say)}"
        )
    unit = near[0] if near[1] else far[0]
    if isinstance(first.anchor, ColumnRef):
        return _around(near[1], far[1], unit, say(first.anchor))
    return _today(near[1], far[1], unit)


def _today(first: int, last: int, unit: Unit) -> str:
    """A window that is counted from as_of."""
    if first == last and unit == "days" and first in (-1, 0, 1):
        return ("yesterday", "today", "tomorrow")[first + 1]
    if first == last:
        return f"{_count(abs(first), unit)} {'ago' if first < 0 else 'ahead'}"
    if last == 0:
        return f"within the last {_count(-first, unit, one=False)}"
    if first == 0:
        return f"within the next {_count(last, unit, one=False)}"
    return f"{-last} to {_count(-first, unit)} ago" if last < 0 else f"in {first} to {_count(last, unit)}"


def _around(first: int, last: int, unit: Unit, anchor: str) -> str:
    """A window that is counted from an event."""
    if first == last == 0:
        return f"on the day of {anchor}"
    if first >= 0:
        return f"{first} to {_count(last, unit)} after {anchor}" if first != last else f"{_count(first, unit)} after {anchor}"
    if last <= 0:
        return f"{-last} to {_count(-first, unit)} before {anchor}" if first != last else f"{_count(-first, unit)} before {anchor}"
    return f"from {_count(-first, unit)} before to {_count(last, unit)} after {anchor}"


def numbered(window: Window | None) -> tuple[Unit, int] | None:
    """The unit and number of one window of a series: the nth is (as_of - n, as_of - (n - 1)]."""
    first = window.first if window else None
    if window is None or first is None or first.anchor != "as_of" or len(first.shifts) != 2 or first.shifts[1] != ("days", 1):
        return None
    unit, back = first.shifts[0]
    return (unit, -back) if back < 0 and window.last == Day("as_of").plus(unit, back + 1) else None


def series(asked: Sequence[object]) -> tuple[Measure | Picked, str] | None:
    """The one measure that is asked of several windows of a series, and which windows they are; None if it is not one."""
    measures = [each.measure if isinstance(each, Picked) else each for each in asked]
    buckets = [numbered(each.window) if isinstance(each, Measure) else None for each in measures]
    units = {bucket[0] for bucket in buckets if bucket}
    if len(asked) < 2 or None in buckets or len(units) != 1:
        return None
    alike = [_without_window(each) for each in asked]
    first = alike[0]
    if first is None or any(each != first for each in alike):
        return None
    numbers = [bucket[1] for bucket in buckets if bucket]
    unit, near, far = units.pop(), min(numbers), max(numbers)
    return first, f"the last {far} {unit}" if near == 1 else f"the {_nth(near)}to {_nth(far)}{unit.removesuffix('s')} back"


def _without_window(asked: object) -> Measure | Picked | None:
    if isinstance(asked, Picked):
        return replace(asked, measure=replace(asked.measure, window=None))
    return replace(asked, window=None) if isinstance(asked, Measure) else None


def _nth(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending} "


def _period(first: Day, last: Day) -> str:
    """`during: P`, with its prior years or its first months."""
    if not (isinstance(first.anchor, tuple) and isinstance(last.anchor, tuple) and first.anchor[0] == last.anchor[0]):
        return ""
    name, prior = first.anchor[0], _single(first)
    if first.anchor[1] != "start" or prior is None or prior[1] > 0:
        return ""
    before = f" or the {_count(-prior[1], prior[0], one=False)} before" if prior[1] else ""
    if last.anchor[1] == "end" and not last.shifts:
        return f"in {name}{before}"
    if last.anchor[1] == "start" and len(last.shifts) == 2 and last.shifts[1] == ("days", -1):
        unit, count = last.shifts[0]
        return f"in the first {_count(count, unit, one=False)} of {name}{before}"
    return ""


def _row(window: Window, say: Say) -> str:
    """The days of a row around."""
    first, last = window.first, window.last
    if window.ongoing and first is not None and last is not None and isinstance(first.anchor, ColumnRef):
        return f"during the {first.anchor.entity}"
    return ""


def day_of(day: Day, say: Say) -> str:
    """`today`, `2026-01-31`, `the end of measurement_year`, `42 days after birth_date`."""
    if isinstance(day.anchor, dt.date):
        anchor = day.anchor.isoformat()
    elif isinstance(day.anchor, tuple):
        anchor = f"the {day.anchor[1]} of {day.anchor[0]}"
    else:
        anchor = "today" if day.anchor == "as_of" else say(day.anchor)
    text = anchor
    for unit, count in day.shifts:
        if text == "today" and count < 0:
            text = f"{_count(-count, unit)} ago"
        else:
            text = f"{_count(abs(count), unit)} {'after' if count > 0 else 'before'} {text}"
    return text


def _count(number: int, unit: Unit, *, one: bool = True) -> str:
    """`6 months`, `1 year`; without `one`: `year`."""
    if number == 1:
        return f"1 {unit.removesuffix('s')}" if one else unit.removesuffix("s")
    return f"{number} {unit}"
