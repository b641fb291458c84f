"""Binding of tests on the clock and the calendar: `time_of_day`, `weekday`, `anniversary`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cdp.project.language.literals import article
from cdp.project.language.scope import Scope
from cdp.project.language.windows import WORDS, bind_windows
from cdp.project.terms import Anniversary, AtTime, Condition, OnWeekday, Operand
from cdp.project.terms.types import DATES, type_of

if TYPE_CHECKING:
    from cdp.project.language.bind import Binder, Place

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY = 24 * 60
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|(24):(00)")


def time_of_day(operand: Operand, tree: Any, at: Place) -> Condition | None:
    """`["22:00", "06:00"]`: from the first, until just before the second, over midnight if need be."""
    if type_of(operand) != "timestamp":
        return at.wrong(f"`time_of_day` needs a timestamp, this is {article(str(type_of(operand)))}", key=True)
    if not isinstance(tree, list) or len(tree) != 2:
        return at.wrong('`time_of_day` takes a list of two: ["22:00", "06:00"]')
    times = [_minutes(item, at.child(i)) for i, item in enumerate(tree)]
    if times[0] is None or times[1] is None:
        return None
    start, end = times[0] % DAY, times[1]
    if start == end % DAY:
        what = "never true: the span is empty" if times[0] == times[1] else "true of every moment of the day"
        return at.wrong(what, hint="the second time is the first that is no longer meant")
    return AtTime(operand, start, end)


def _minutes(text: object, at: Place) -> int | None:
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return at.wrong(f"{str(text)!r} is not a time of day", hint='write hours and minutes in quotes, such as "22:00"')
    hours, minutes = match[1] or match[3], match[2] or match[4]
    return int(hours) * 60 + int(minutes)


def weekday(operand: Operand, tree: Any, at: Place) -> Condition | None:
    """`[mon, tue]`, or one of them."""
    kind = type_of(operand)
    if kind is None or kind not in DATES:
        return at.wrong(f"`weekday` needs a date or timestamp, this is {article(str(kind))}", key=True)
    words = tree if isinstance(tree, list) else [tree]
    wrong = [(i, word) for i, word in enumerate(words) if word not in WEEKDAYS]
    for i, word in wrong:
        place = at.child(i) if isinstance(tree, list) else at
        place.wrong(f"unknown weekday {str(word)!r}", value=str(word).lower()[:3], valid=WEEKDAYS)
    if wrong or not words:
        return None if wrong else at.wrong("`weekday` takes days of the week", valid=WEEKDAYS)
    days = tuple(sorted({WEEKDAYS.index(word) + 1 for word in words}))
    return OnWeekday(operand, days, kind) if len(days) < 7 else at.wrong("true of every day of the week", hint="write {not_null: true}")


def anniversary(binder: Binder, operand: Operand, tree: Any, scope: Scope, at: Place) -> Condition | None:
    """`{upcoming: {days: 7}}`: the day returns each year, and one of its returns lies in the window."""
    kind = type_of(operand)
    if kind is None or kind not in DATES:
        return at.wrong(f"`anniversary` needs a date or timestamp, this is {article(str(kind))}", key=True)
    if not isinstance(tree, dict) or not tree:
        return at.wrong("`anniversary` takes a window: {upcoming: {days: 7}}", valid=WORDS)
    unknown = [word for word in tree if word not in WORDS]
    for word in unknown:
        at.child(word).wrong(f"unknown window {word!r}", value=word, valid=WORDS, key=True)
    window = bind_windows(binder, tree, scope, at) if not unknown else None
    if window is None:
        return None
    if window.first is None or window.last is None:
        return at.wrong("an open window holds an anniversary of everyone", hint="say how far: {upcoming: {days: 7}}")
    return Anniversary(operand, window, kind)
