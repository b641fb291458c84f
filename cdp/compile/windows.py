"""Days and windows: what depends on as_of alone is computed here, so that the SQL holds plain dates.

Months and years clamp (31 August - 6 months = 28 February), as SQL's add_months does.
"""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sqlglot import exp

from cdp.compile import sql
from cdp.compile.clock import Clock
from cdp.project.terms import ColumnRef, Day, DayOf, Operand, Unit, Window


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
    """The calendar day that a term means at this clock, where no row decides it."""
    assert not isinstance(day.anchor, ColumnRef), "a row decides this day"
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
Evaluate = Callable[[Operand], exp.Expr]


@dataclass(frozen=True, slots=True)
class Span:
    """When a row was: a moment, or an interval whose null end is still to come.

    Attributes:
        start: the operand that holds the moment, or the interval's start; a row without one is in no window.
        end: of an interval, the operand that holds its end.
        type: `date` or `timestamp`, of the start.
    """

    start: Operand
    end: ColumnRef | None
    type: str


@dataclass(frozen=True, slots=True)
class Calendar:
    """What turns the days of windows into dates: the clock, the periods of the project and the values of the row."""

    clock: Clock
    periods: frozenset[str]
    evaluate: Evaluate

    def day(self, day: Day) -> dt.date | exp.Expr:
        """A day as a date where the clock decides it, as an expression where a row does."""
        if not isinstance(day.anchor, ColumnRef):
            return resolve(day, self.clock, self.periods)
        value = self.evaluate(DayOf(day.anchor))
        for unit, count in day.shifts:
            value = shifted(value, unit, count)
        return value

    def days(self, window: Window) -> tuple[dt.date, dt.date]:
        """The first and the last day of a closed window that no row moves."""
        assert window.first is not None, "the binder asks for a closed window"
        assert window.last is not None, "the binder asks for a closed window"
        return resolve(window.first, self.clock, self.periods), resolve(window.last, self.clock, self.periods)

    def local_day(self, operand: Operand, kind: str) -> exp.Expr:
        """The local calendar day of a value."""
        if isinstance(operand, ColumnRef):
            return self.evaluate(DayOf(operand))
        value = self.evaluate(operand)
        return sql.local_day(value, self.clock.zone) if kind == "timestamp" else value

    def holds(self, span: Span, window: Window) -> exp.Expr:
        """Whether a moment or an interval touches a closed window."""
        first = self.day(window.first) if window.first else None
        last = self.day(window.last) if window.last else None
        parts: list[exp.Expr] = []
        if span.end is None:
            parts += [self._not_before(span.start, span.type, first)] if first is not None else []
            parts += [self._until(span, last, window)] if last is not None else []
            return sql.every(parts)
        parts.append(self._until(span, last, window) if last is not None else sql.not_null(self.evaluate(span.start)))
        if first is not None:
            parts.append(sql.some([sql.is_null(self.evaluate(span.end)), self._not_before(span.end, span.end.type, first)]))
        return sql.every([*parts, *_is_a_span(first, last, window)])

    def _until(self, span: Span, last: dt.date | exp.Expr, window: Window) -> exp.Expr:
        """The start is not after the window's last day, which an interval that still goes on does not have."""
        test = self._not_after(span.start, span.type, last)
        if not window.ongoing or not isinstance(last, exp.Expr):
            return test
        return sql.some([sql.every([sql.is_null(last), sql.not_null(self.evaluate(span.start))]), test])

    def _not_before(self, operand: Operand, kind: str, day: dt.date | exp.Expr) -> exp.Expr:
        """The value's local day is `day` or later: for a timestamp and a date a bound on the moment, so that files can be skipped."""
        if isinstance(day, exp.Expr):
            return exp.GTE(this=self.local_day(operand, kind), expression=day)
        if kind == "date":
            return exp.GTE(this=self.evaluate(operand), expression=sql.date_literal(day))
        return exp.GTE(this=self.evaluate(operand), expression=sql.timestamp_literal(self.clock.midnight(max(day, EARLIEST))))

    def _not_after(self, operand: Operand, kind: str, day: dt.date | exp.Expr) -> exp.Expr:
        """The value's local day is `day` or earlier."""
        if isinstance(day, exp.Expr):
            return exp.LTE(this=self.local_day(operand, kind), expression=day)
        if kind == "date":
            return exp.LTE(this=self.evaluate(operand), expression=sql.date_literal(day))
        next_day = min(day, LATEST) + dt.timedelta(days=1)
        return exp.LT(this=self.evaluate(operand), expression=sql.timestamp_literal(self.clock.midnight(max(next_day, EARLIEST))))

    def aged_between(self, birth: exp.Expr, low: int | None, high: int | None, unit: Literal["years", "months"], at: Day) -> exp.Expr:
        """Completed years or months on a day, as bounds on the birth date.

        Who is born on 29 February turns on 1 March. Who is born later is of negative age, so `lt: 18` holds.
        """
        day = self.day(at)
        tests: list[exp.Expr] = []
        if low is not None:
            tests.append(exp.LTE(this=birth, expression=_earlier(day, unit, low)))
        if high is not None:
            tests.append(exp.GT(this=birth, expression=_earlier(day, unit, high + 1)))
        return sql.every(tests)

    def returns(self, day: exp.Expr, window: Window) -> exp.Expr:
        """Whether a day of the year (a birthday) comes round in a window of days that the clock decides."""
        first, last = self.days(window)
        if (last - first).days >= 365:
            return sql.not_null(day)
        days = [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]
        numbers = {d.month * 100 + d.day for d in days}
        if any((d.month, d.day) == (3, 1) and not calendar.isleap(d.year) for d in days):
            numbers.add(229)
        month = exp.Mul(this=exp.Month(this=day), expression=sql.number(100))
        return sql.one_of(exp.Add(this=month, expression=exp.Day(this=day)), [sql.number(n) for n in sorted(numbers)])


def shifted(day: exp.Expr, unit: Unit, count: int) -> exp.Expr:
    """`shift`, computed by the engine."""
    if unit in ("months", "years"):
        return exp.AddMonths(this=day, expression=sql.number(count * (12 if unit == "years" else 1)))
    return exp.TsOrDsAdd(this=day, expression=sql.number(count * (7 if unit == "weeks" else 1)), unit=exp.Var(this="DAY"))


def _is_a_span(first: dt.date | exp.Expr | None, last: dt.date | exp.Expr | None, window: Window) -> list[exp.Expr]:
    """That a row gives both days of a window, in order: an interval would touch the gap between days that are not."""
    tests: list[exp.Expr] = []
    if isinstance(first, exp.Expr):
        tests.append(sql.not_null(first))
    if first is not None and last is not None and (isinstance(first, exp.Expr) or isinstance(last, exp.Expr)):
        order: exp.Expr = exp.LTE(this=_written(first), expression=_written(last))
        tests.append(sql.some([sql.is_null(_written(last)), order]) if window.ongoing else order)
    return tests


def _written(day: dt.date | exp.Expr) -> exp.Expr:
    return day if isinstance(day, exp.Expr) else sql.date_literal(day)


def _earlier(day: dt.date | exp.Expr, unit: Unit, count: int) -> exp.Expr:
    return _written(shifted(day, unit, -count) if isinstance(day, exp.Expr) else shift(day, unit, -count))


def happened(moment: exp.Expr, kind: str, clock: Clock) -> exp.Expr:
    """Whether a row exists at the clock: its time is not later, or not known."""
    bound = sql.date_literal(clock.day) if kind == "date" else sql.timestamp_literal(clock.instant)
    return sql.some([sql.is_null(moment), exp.LTE(this=moment, expression=bound)])
