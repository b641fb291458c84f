"""Binding of windows: `within`, `upcoming`, `older_than`, `during`, `before`, `after`, `since`, `until`.

Every window is a closed span of local calendar days, so each becomes a first and a last day.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, cast, get_args

from cdp.project.terms import Day, Unit, Window

if TYPE_CHECKING:
    from cdp.project.bind import Place

WORDS = ("within", "upcoming", "older_than", "during", "before", "after", "since", "until")
UNITS: tuple[Unit, ...] = get_args(Unit)
TODAY = Day("as_of")
DAYS = {"today": 0, "tomorrow": 1, "yesterday": -1}


def bind_window(word: str, tree: object, at: Place) -> Window | None:
    """The window of one word; None after a problem was reported."""
    if word in ("within", "upcoming", "older_than"):
        return _relative(word, tree, at)
    if word == "during":
        return _during(tree, at)
    day = bind_day(tree, at)
    if day is None:
        return None
    return {
        "before": Window(None, day.plus("days", -1)),
        "until": Window(None, day),
        "after": Window(day.plus("days", 1), None),
        "since": Window(day, None),
    }[word]


def _relative(word: str, tree: object, at: Place) -> Window | None:
    bounds = _span(tree, at, ranged=word != "older_than")
    if bounds is None:
        return None
    unit, near, far = bounds
    if word == "within":
        return Window(TODAY.plus(unit, -far), TODAY.plus(unit, -near))
    if word == "upcoming":
        return Window(TODAY.plus(unit, near), TODAY.plus(unit, far))
    return Window(None, TODAY.plus(unit, -far).plus("days", -1))


def _span(tree: object, at: Place, *, ranged: bool) -> tuple[Unit, int, int] | None:
    """`{months: 6}` is (months, 0, 6); `{days: [30, 90]}` is (days, 30, 90)."""
    if not isinstance(tree, dict) or len(tree) != 1:
        return at.wrong("a span of time is one unit and a number: {months: 6}", valid=UNITS)
    ((unit, count),) = tree.items()
    if unit not in UNITS:
        return at.child(unit).wrong(f"unknown unit {unit!r}", value=unit, valid=UNITS, key=True)
    numbers = count if isinstance(count, list) else ["0", count]
    if len(numbers) != 2 or (isinstance(count, list) and not ranged) or not all(re.fullmatch(r"\d{1,5}", str(n)) for n in numbers):
        shape = "a whole number, or a list of two: {days: [30, 90]}" if ranged else "a whole number"
        return at.child(unit).wrong(f"{unit} takes {shape}")
    near, far = int(str(numbers[0])), int(str(numbers[1]))
    if near > far:
        return at.child(unit).wrong(f"the window is empty: {near} is more than {far}", hint="write the smaller number first")
    return unit, near, far


def _during(tree: object, at: Place) -> Window | None:
    if isinstance(tree, str):
        return _period(tree, at)
    if not isinstance(tree, dict) or "period" not in tree:
        return at.wrong("`during` takes a period, or {period: measurement_year, and_prior: {years: 1}}", valid=at.periods)
    window = _period(tree["period"], at.child("period"))
    for word in tree:
        if word not in ("period", "and_prior", "first"):
            return at.child(word).wrong(f"unknown key {word!r}", value=word, valid=("period", "and_prior", "first"), key=True)
    if window is None or window.first is None:
        return None
    first, last = window.first, window.last
    if "first" in tree:
        span = _span(tree["first"], at.child("first"), ranged=False)
        if span is None:
            return None
        last = first.plus(span[0], span[2]).plus("days", -1)
    if "and_prior" in tree:
        span = _span(tree["and_prior"], at.child("and_prior"), ranged=False)
        if span is None:
            return None
        first = first.plus(span[0], -span[2])
    return Window(first, last)


def _period(name: object, at: Place) -> Window | None:
    if isinstance(name, str) and name in DAYS:
        day = TODAY.plus("days", DAYS[name])
        return Window(day, day)
    if not isinstance(name, str) or name not in at.periods:
        return at.wrong(f"unknown period {name!r}", value=str(name), valid=(*at.periods, *DAYS))
    return Window(Day((str(name), "start")), Day((str(name), "end")))


_POINT = re.compile(r"([a-z_]+(?:\.(?:start|end))?|\d{4}-\d{2}-\d{2})(?:\s*([+-])\s*(\d{1,5})\s+(days|weeks|months|years))?")


def bind_day(tree: object, at: Place) -> Day | None:
    """A day: `2026-01-31`, `as_of`, `measurement_year.end`, each with an optional `+ 42 days`."""
    match = _POINT.fullmatch(tree) if isinstance(tree, str) else None
    valid = ("as_of", "2026-01-31", *(f"{p}.{edge}" for p in at.periods for edge in ("start", "end")))
    if match is None:
        return at.wrong(f"{tree!r} is not a day", valid=valid, hint="a day may be shifted: as_of - 42 days")
    word, sign, count, unit = match.groups()
    day = _anchor(word, valid, at)
    if day is None or sign is None:
        return day
    return day.plus(cast(Unit, unit), int(count) if sign == "+" else -int(count))


def _anchor(word: str, valid: tuple[str, ...], at: Place) -> Day | None:
    if word == "as_of":
        return TODAY
    period, _, edge = word.partition(".")
    if period in at.periods and edge:
        return Day((period, "start" if edge == "start" else "end"))
    try:
        return Day(dt.date.fromisoformat(word))
    except ValueError:
        return at.wrong(f"{word!r} is not a day", value=word, valid=valid)
