"""Days and windows: what depends on as_of is computed here, so that the SQL holds plain dates.

Months and years clamp (31 August - 6 months = 28 February), as SQL's add_months does.
"""

from __future__ import annotations

import calendar
import datetime as dt
from typing import Literal

from sqlglot import exp

from cdp.compile import sql
from cdp.compile.clock import Clock
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


EARLIEST, LATEST = dt.date(1, 1, 3), dt.date(9999, 12, 29)  # with room for any time zone


def in_window(start: exp.Expr, end: exp.Expr | None, kind: str, window: Window, clock: Clock, periods: frozenset[str]) -> exp.Expr:
    """Whether a moment, or an interval whose null end is still to come, touches a closed window. A null start does not."""
    first = resolve(window.first, clock, periods) if window.first else None
    last = resolve(window.last, clock, periods) if window.last else None
    parts: list[exp.Expr] = []
    if end is None:
        if first:
            parts.append(_not_before(start, kind, first, clock))
        if last:
            parts.append(_not_after(start, kind, last, clock))
        return sql.every(parts)
    parts.append(_not_after(start, kind, last, clock) if last else sql.not_null(start))
    if first:
        parts.append(sql.some([sql.is_null(end), _not_before(end, kind, first, clock)]))
    return sql.every(parts)


def _not_before(value: exp.Expr, kind: str, day: dt.date, clock: Clock) -> exp.Expr:
    """The value's local day is `day` or later: for a timestamp a bound on the moment, so that files can be skipped."""
    if kind == "date":
        return exp.GTE(this=value, expression=sql.date_literal(day))
    return exp.GTE(this=value, expression=sql.timestamp_literal(clock.midnight(max(day, EARLIEST))))


def _not_after(value: exp.Expr, kind: str, day: dt.date, clock: Clock) -> exp.Expr:
    """The value's local day is `day` or earlier."""
    if kind == "date":
        return exp.LTE(this=value, expression=sql.date_literal(day))
    next_day = min(day, LATEST) + dt.timedelta(days=1)
    return exp.LT(this=value, expression=sql.timestamp_literal(clock.midnight(max(next_day, EARLIEST))))


def happened(moment: exp.Expr, kind: str, clock: Clock) -> exp.Expr:
    """Whether a row exists at the clock: its time is not later, or not known."""
    bound = sql.date_literal(clock.day) if kind == "date" else sql.timestamp_literal(clock.instant)
    return sql.some([sql.is_null(moment), exp.LTE(this=moment, expression=bound)])


def aged_between(birth: exp.Expr, low: int | None, high: int | None, unit: Literal["years", "months"], day: dt.date) -> exp.Expr:
    """Completed years or months on a day, as bounds on the birth date.

    Who is born on 29 February turns on 1 March. Who is born later is of negative age, so `lt: 18` holds.
    """
    tests: list[exp.Expr] = []
    if low is not None:
        tests.append(exp.LTE(this=birth, expression=sql.date_literal(shift(day, unit, -low))))
    if high is not None:
        tests.append(exp.GT(this=birth, expression=sql.date_literal(shift(day, unit, -(high + 1)))))
    return sql.every(tests)
