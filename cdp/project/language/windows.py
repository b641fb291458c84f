"""Binding of windows: `within`, `upcoming`, `older_than`, `during`, `before`, `after`, `since`, `until`, and series of them.

Every window is a closed span of local calendar days, so each becomes a first and a last day.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, get_args

from cdp.project.language.points import TODAY, bind_day
from cdp.project.language.scope import Scope
from cdp.project.terms import ColumnRef, Day, Unit, Window
from cdp.project.terms.spans import empty
from cdp.spec.model import Interval

if TYPE_CHECKING:
    from cdp.project.language.bind import Binder, Place

WORDS = ("within", "upcoming", "older_than", "during", "before", "after", "since", "until")
UNITS: tuple[Unit, ...] = get_args(Unit)
DAYS = {"today": 0, "tomorrow": 1, "yesterday": -1}
FINER = ("hours", "minutes", "seconds", "hour", "minute", "second")
LONGEST = 60  # windows of one series


def bind_windows(binder: Binder, tree: dict[str, Any], scope: Scope, at: Place) -> Window | None:
    """The one window that all window words of a mapping come to; None without any, or after a problem was reported."""
    words = [word for word in WORDS if tree.get(word) is not None]
    spans = [span for word in words if (span := bind_window(binder, word, tree[word], scope, at.child(word))) is not None]
    if not words or len(spans) != len(words):
        return None
    first = [span.first for span in spans if span.first]
    last = [span.last for span in spans if span.last]
    if len(first) > 1 or len(last) > 1:
        hint = "keep one, or put the other into `where`"
        return at.child(words[1]).wrong(f"{' and '.join(words)} bound the same side twice", hint=hint, key=True)
    window = Window(first[0] if first else None, last[0] if last else None, any(span.ongoing for span in spans))
    if len(spans) > 1 and empty(window):
        return at.child(words[1]).wrong(f"the window is empty: {' and '.join(words)} leave no day", key=True)
    return window


def bind_window(binder: Binder, word: str, tree: object, scope: Scope, at: Place) -> Window | None:
    """The window of one word; None after a problem was reported."""
    if word == "within":
        return _within(binder, tree, scope, at)
    if word in ("upcoming", "older_than"):
        return _relative(word, tree, at)
    if word == "during":
        return _during(binder, tree, scope, at)
    day = bind_day(binder, tree, scope, at)
    if day is None:
        return None
    return {
        "before": Window(None, day.plus("days", -1)),
        "until": Window(None, day),
        "after": Window(day.plus("days", 1), None),
        "since": Window(day, None),
    }[word]


def _within(binder: Binder, tree: object, scope: Scope, at: Place) -> Window | None:
    """`{months: 6}` back from today; with `after` or `before` on from, or back from, that day."""
    edges = [edge for edge in ("after", "before") if isinstance(tree, dict) and edge in tree]
    if not isinstance(tree, dict) or not edges:
        bounds = span(tree, at, ranged=True)
        return Window(TODAY.plus(bounds[0], -bounds[2]), TODAY.plus(bounds[0], -bounds[1])) if bounds else None
    if len(edges) == 2:
        return at.child("before").wrong("`within` goes on from `after` or back from `before`, not both", key=True)
    edge = edges[0]
    day = bind_day(binder, tree[edge], scope, at.child(edge))
    bounds = span({key: value for key, value in tree.items() if key != edge}, at, ranged=True)
    if day is None or bounds is None:
        return None
    unit, near, far = bounds
    return Window(day.plus(unit, near), day.plus(unit, far)) if edge == "after" else Window(day.plus(unit, -far), day.plus(unit, -near))


def _relative(word: str, tree: object, at: Place) -> Window | None:
    bounds = span(tree, at, ranged=word != "older_than")
    if bounds is None:
        return None
    unit, near, far = bounds
    if word == "upcoming":
        return Window(TODAY.plus(unit, near), TODAY.plus(unit, far))
    return Window(None, TODAY.plus(unit, -far).plus("days", -1))


def span(tree: object, at: Place, *, ranged: bool) -> tuple[Unit, int, int] | None:
    """`{months: 6}` is (months, 0, 6); `{days: [30, 90]}` is (days, 30, 90)."""
    if not isinstance(tree, dict) or len(tree) != 1:
        return at.wrong("a span of time is one unit and a number: {months: 6}", valid=UNITS)
    ((unit, count),) = tree.items()
    if unit in FINER:
        hint = "compare moments with {gt: {ref: ...}}, or test `time_of_day`"
        return at.child(unit).wrong(f"windows are counted in days, not in {unit}", valid=UNITS, hint=hint, key=True)
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


# -- during -----------------------------------------------------------------------------------------------------------


def _during(binder: Binder, tree: object, scope: Scope, at: Place) -> Window | None:
    if isinstance(tree, str):
        return _stay(tree, scope, at) or (_period(tree, scope, at) if scope.named(tree) is None else None)
    if isinstance(tree, dict) and ("from" in tree or "to" in tree):
        return _from_to(binder, tree, scope, at)
    if not isinstance(tree, dict) or "period" not in tree:
        return at.wrong("`during` takes a period, or {period: measurement_year, and_prior: {years: 1}}", valid=at.periods)
    window = _period(tree["period"], scope, at.child("period"))
    if not _only(tree, ("period", "and_prior", "first"), at) or window is None or window.first is None:
        return None
    first, last = window.first, window.last
    if "first" in tree:
        bounds = span(tree["first"], at.child("first"), ranged=False)
        if bounds is None:
            return None
        if not bounds[2]:
            return at.child("first").wrong("the window is empty: the first 0 days of a period")
        last = first.plus(bounds[0], bounds[2]).plus("days", -1)
    if "and_prior" in tree:
        bounds = span(tree["and_prior"], at.child("and_prior"), ranged=False)
        if bounds is None:
            return None
        first = first.plus(bounds[0], -bounds[2])
    return Window(first, last)


def _only(tree: dict[str, Any], valid: tuple[str, ...], at: Place) -> bool:
    unknown = [word for word in tree if word not in valid]
    for word in unknown:
        at.child(word).wrong(f"unknown key {word!r}", value=word, valid=valid, key=True)
    return not unknown


def _from_to(binder: Binder, tree: dict[str, Any], scope: Scope, at: Place) -> Window | None:
    """`{from: 2026-01-01, to: stay.end}`: two days, both included."""
    if not _only(tree, ("from", "to"), at):
        return None
    if len(tree) != 2:
        return at.wrong("`during` with `from` needs `to` too", hint="for one side write `since` or `until`")
    first = bind_day(binder, tree["from"], scope, at.child("from"))
    last = bind_day(binder, tree["to"], scope, at.child("to"))
    if first is None or last is None:
        return None
    window = Window(first, last)
    return window if not empty(window) else at.wrong("the window is empty: `from` is later than `to`", hint="swap them")


def _stay(alias: str, scope: Scope, at: Place) -> Window | None:
    """`during: stay`: the days of a row around; of a point in time that day."""
    named = scope.named(alias)
    if named is None:
        return None
    row, up = named
    time = row.entity.time
    if time is None:
        return at.wrong(f"{alias} is a {row.entity.name}, which has no `time`")
    if up == 0 and not row.joined:
        return at.wrong(f"{alias} is this very row, which is always during itself", hint="name a row around it")

    def day(name: str) -> Day:
        return Day(ColumnRef(row.hops, row.entity.name, name, row.entity.columns[name].type, up))

    if isinstance(time, Interval):
        return Window(day(time.start), day(time.end), ongoing=True)
    return Window(day(time), day(time))


def _period(name: object, scope: Scope, at: Place) -> Window | None:
    if isinstance(name, str) and name in DAYS:
        day = TODAY.plus("days", DAYS[name])
        return Window(day, day)
    if not isinstance(name, str) or name not in at.periods:
        rows = [row for row in scope.names() if scope.parent is not None]
        return at.wrong(f"unknown period {name!r}", value=str(name), valid=(*at.periods, *DAYS, *rows))
    return Window(Day((str(name), "start")), Day((str(name), "end")))


# -- series -----------------------------------------------------------------------------------------------------------


def series(tree: object, at: Place) -> tuple[Window, ...]:
    """The windows of `each: {weeks: [1, 4]}`, the latest first; nothing after a problem was reported.

    The nth reaches from the day after as_of - n until as_of - (n - 1), so that each day is in one of them.
    """
    bounds = span(tree, at, ranged=True)
    if bounds is None:
        return ()
    unit, first, last = bounds
    first = first if isinstance(next(iter(tree.values())), list) else 1  # type: ignore[attr-defined]
    if first < 1 or last < first:
        at.wrong("`each` counts from 1: {weeks: [1, 4]} are the last four weeks")
        return ()
    if last - first >= LONGEST:
        at.wrong(f"a series of {last - first + 1} windows, more than {LONGEST}")
        return ()
    return tuple(Window(TODAY.plus(unit, -n).plus("days", 1), TODAY.plus(unit, 1 - n)) for n in range(first, last + 1))
