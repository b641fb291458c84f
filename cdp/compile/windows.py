"""Days and windows: what depends on as_of is computed here, so that the SQL holds plain dates.

Months and years clamp (31 August - 6 months = 28 February), as SQL's add_months does.
"""

from __future__ import annotations

import calendar
import datetime as dt
from typing import Literal

from sqlglot import exp

from cdp.compile.clock import Clock
from cdp.compile.sql import date_literal, timestamp_literal
from cdp.project.terms import Day, Unit, Window


def add_months(day: dt.date, count: int) -> dt.date:
    """The same day of another month, or that month's last day."""
    index = day.year * 12 + day.month - 1 + count
    year, month = divmod(index, 12)
    return dt.date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def shift(day: dt.date, unit: Unit, count: int) -> dt.date:
    """`count` days, weeks, months or years later; the calendar's ends where it would leave the calendar."""
    try:
        if unit in ("months", "years"):
            return add_months(day, count * (12 if unit == "years" else 1))
        return day + dt.timedelta(days=count * (7 if unit == "weeks" else 1))
    except (OverflowError, ValueError):
        return dt.date.max if count > 0 else dt.date.min


def resolve(day: Day, clock: Clock, periods: frozenset[str]) -> dt.date:
    """The calendar day that a term means at this clock."""
    if day.anchor == "as_of":
        resolved = clock.day
    elif isinstance(day.anchor, dt.date):
        resolved = day.anchor
    else:
        name, edge = day.anchor
        resolved = _period(name, clock.day, periods)[edge == "end"]
    for unit, count in day.shifts:
        resolved = shift(resolved, unit, count)
    return resolved


def _period(name: str, day: dt.date, declared: frozenset[str]) -> tuple[dt.date, dt.date]:
    """First and last day of a period; a declared one is the calendar year that as_of lies in."""
    if name in declared:
        return dt.date(day.year, 1, 1), dt.date(day.year, 12, 31)
    which, _, span = name.partition("_")
    starts: dict[str, tuple[dt.date, Unit, int]] = {
        "week": (day - dt.timedelta(days=day.weekday()), "weeks", 1),
        "month": (day.replace(day=1), "months", 1),
        "quarter": (day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1), "months", 3),
        "year": (day.replace(month=1, day=1), "years", 1),
    }
    start, unit, size = starts[span]
    start = shift(start, unit, size * {"this": 0, "last": -1, "next": 1}[which])
    return start, shift(start, unit, size) - dt.timedelta(days=1)


def day_of(value: exp.Expression, kind: str) -> exp.Expression:
    """The local calendar day of a date or timestamp; the session's time zone is the project's."""
    return value if kind == "date" else exp.Cast(this=value, to=exp.DataType.build("date"))


def in_window(
    start: exp.Expression, end: exp.Expression | None, kind: str, window: Window, clock: Clock, periods: frozenset[str]
) -> exp.Expression:
    """Whether a moment, or an interval whose null end is still to come, touches a closed window. A null start does not."""
    first = resolve(window.first, clock, periods) if window.first else None
    last = resolve(window.last, clock, periods) if window.last else None
    day = day_of(start, kind)
    if end is None:
        if first and last:
            return exp.Between(this=day, low=date_literal(first), high=date_literal(last))
        return exp.LTE(this=day, expression=date_literal(last)) if last else exp.GTE(this=day, expression=date_literal(_known(first)))
    begins = exp.LTE(this=day, expression=date_literal(last)) if last else exp.Not(this=exp.Is(this=start, expression=exp.Null()))
    if first is None:
        return begins
    ends = exp.GTE(this=day_of(end.copy(), kind), expression=date_literal(first))
    ongoing = exp.Is(this=end, expression=exp.Null())
    return exp.And(this=begins, expression=exp.Paren(this=exp.Or(this=ongoing, expression=ends)))


def _known(day: dt.date | None) -> dt.date:
    assert day is not None, "a window has at least one bound"
    return day


def happened(moment: exp.Expression, kind: str, clock: Clock) -> exp.Expression:
    """Whether a row exists at the clock: its time is not later, or not known."""
    bound = date_literal(clock.day) if kind == "date" else timestamp_literal(clock.instant)
    return exp.Paren(
        this=exp.Or(
            this=exp.Is(this=moment, expression=exp.Null()), expression=exp.LTE(this=moment.copy(), expression=bound)
        )
    )


def aged_between(
    birth: exp.Expression, low: int | None, high: int | None, unit: Literal["years", "months"], day: dt.date
) -> exp.Expression:
    """Completed years or months on a day, as bounds on the birth date: who is born on 29 February turns on 1 March."""
    tests: list[exp.Expression] = []
    if low is not None:
        tests.append(exp.LTE(this=birth, expression=date_literal(shift(day, unit, -low))))
    if high is not None:
        tests.append(exp.GT(this=birth.copy(), expression=date_literal(shift(day, unit, -(high + 1)))))
    if low is None:
        tests.append(exp.LTE(this=birth.copy(), expression=date_literal(day)))
    return tests[0] if len(tests) == 1 else exp.And(this=tests[0], expression=tests[1])
