"""Days, spans and literals of the slow evaluator: counted, never computed by an engine, and nothing of cdp is used."""

from __future__ import annotations

import calendar
import datetime as dt
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

WINDOWS = ("within", "upcoming", "older_than", "during", "before", "after", "since", "until")
UNITS = ("days", "weeks", "months", "years")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ONE_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Span:
    """Calendar days from `first` to `last`, both in it; None is open."""

    first: dt.date | None
    last: dt.date | None

    @property
    def empty(self) -> bool:
        return self.first is not None and self.last is not None and self.first > self.last

    def meets(self, other: Span) -> bool:
        """Whether they have a day in common."""
        if self.empty:
            return False
        return (self.last is None or other.first is None or other.first <= self.last) and (
            self.first is None or other.last is None or other.last >= self.first
        )

    def and_also(self, other: Span) -> Span:
        firsts = [s.first for s in (self, other) if s.first is not None]
        lasts = [s.last for s in (self, other) if s.last is not None]
        return Span(max(firsts, default=None), min(lasts, default=None))


def shift(day: dt.date, count: int, unit: str) -> dt.date:
    """Later (or earlier) by so many days, weeks, months or years; a month without that day gives its last one."""
    try:
        if unit in ("days", "weeks"):
            return day + dt.timedelta(days=count * (7 if unit == "weeks" else 1))
        year, month = day.year, day.month
        for _ in range(abs(count) * (12 if unit == "years" else 1)):
            month += 1 if count > 0 else -1
            if month in (0, 13):
                year, month = (year - 1, 12) if month == 0 else (year + 1, 1)
        return dt.date(year, month, min(day.day, calendar.monthrange(year, month)[1]))
    except (ValueError, OverflowError):
        return dt.date.max if count > 0 else dt.date.min


def period(name: str, today: dt.date, declared: Any) -> Span:
    """The days of `today`, `measurement_year`, `last_quarter`..."""
    single = {"yesterday": -1, "today": 0, "tomorrow": 1}
    if name in single:
        day = today + dt.timedelta(days=single[name])
        return Span(day, day)
    if name in declared:
        return Span(dt.date(today.year, 1, 1), dt.date(today.year, 12, 31))
    which, span = name.split("_")
    steps = {"this": 0, "last": -1, "next": 1}[which]
    if span == "week":
        monday = today - dt.timedelta(days=today.weekday()) + dt.timedelta(weeks=steps)
        return Span(monday, monday + dt.timedelta(days=6))
    months = {"month": 1, "quarter": 3, "year": 12}[span]
    begin = dt.date(today.year, (today.month - 1) // months * months + 1, 1)
    first = shift(begin, steps * months, "months")
    return Span(first, shift(first, months, "months") - ONE_DAY)


def completed(born: dt.date, day: dt.date, unit: str = "years") -> int:
    """Years or months of life that are complete on a day; of someone born later it is negative."""
    if unit == "months":
        return (day.year - born.year) * 12 + day.month - born.month - (day.day < born.day)
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))


def returns(day: dt.date, span: Span) -> bool:
    """Whether some year's return of a day lies in a span; 29 February returns on 1 March of a year without it."""
    if span.empty:
        return False
    if span.first is None or span.last is None:
        return True
    for year in range(span.first.year, span.last.year + 1):
        leap = (day.month, day.day) != (2, 29) or calendar.isleap(year)
        again = dt.date(year, day.month, day.day) if leap else dt.date(year, 3, 1)
        if span.first <= again <= span.last:
            return True
    return False


def counts(tree: Any) -> tuple[str, int, int]:
    """`{months: 6}` is months, 0, 6; `{days: [30, 90]}` is days, 30, 90."""
    (unit,) = [key for key in tree if key in UNITS]
    value = tree[unit]
    low, high = value if isinstance(value, list) else ("0", value)
    return unit, int(low), int(high)


def minutes(text: str) -> int:
    """`22:30` in minutes from midnight."""
    hours, past = text.split(":")
    return int(hours) * 60 + int(past)


def local_day(value: Any, zone: dt.tzinfo) -> dt.date | None:
    """The calendar day of a date or moment in the project's time zone."""
    return value.astimezone(zone).date() if isinstance(value, dt.datetime) else value


def literal(text: str, kind: str, zone: dt.tzinfo) -> Any:
    """A scalar of the YAML as a value of a column's type; numbers are exact. A timestamp may be a whole day."""
    if kind in ("integer", "decimal", "double"):
        return Fraction(text.replace("_", ""))
    if kind == "boolean":
        return text.lower() in ("true", "yes", "on")
    if kind == "date" or (kind == "timestamp" and len(text) == 10):
        return dt.date.fromisoformat(text)
    if kind == "timestamp":
        moment = dt.datetime.fromisoformat(text)
        return moment.replace(tzinfo=zone) if moment.tzinfo is None else moment
    return str(text)


def kind_of(texts: list[Any]) -> str:
    """The type that the values of a `case` have in common."""
    patterns = {"integer": r"[+-]?\d+", "decimal": r"[+-]?\d+(\.\d+)?", "boolean": r"true|false", "date": r"\d{4}-\d\d-\d\d"}
    for kind, pattern in patterns.items():
        if all(not getattr(text, "quoted", False) and re.fullmatch(pattern, text) for text in texts):
            return kind
    return "string"


def comparable(value: Any) -> Any:
    """Numbers as exact fractions, moments in UTC."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC)
    return value if isinstance(value, (str, dt.date)) else Fraction(value)


def compare(op: str, left: Any, right: Any, zone: dt.tzinfo, *, ignore_case: bool = False) -> bool:
    """`left op right`, false where either is null; a moment meets a day as its own local day."""
    if left is None or right is None:
        return False
    if isinstance(left, dt.datetime) != isinstance(right, dt.datetime):
        left, right = local_day(left, zone), local_day(right, zone)
    left, right = comparable(left), comparable(right)
    if ignore_case:
        left, right = left.lower(), right.lower()
    return bool(
        {
            "eq": lambda: left == right,
            "ne": lambda: left != right,
            "gt": lambda: left > right,
            "gte": lambda: left >= right,
            "lt": lambda: left < right,
            "lte": lambda: left <= right,
            "starts_with": lambda: left.startswith(right),
            "ends_with": lambda: left.endswith(right),
            "contains": lambda: right in left,
            "matches": lambda: re.search(right, left, re.IGNORECASE if ignore_case else 0) is not None,
        }[op]()
    )
