"""How far a test that failed was from holding: days for a window, an amount for a bound, a number of rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from cdp.analyst.explore.evidence import Evidence, Row
from cdp.compile.clock import Clock
from cdp.compile.windows import resolve
from cdp.project.project import Project
from cdp.project.terms import ColumnRef, Compare, Condition, Every, Exists, InWindow, Measure, Negation, Operand, Satisfies, Some, Window
from cdp.project.terms.describe import describe

SHORT = {"gt": "more than", "gte": "at least", "lt": "less than", "lte": "at most"}


@dataclass(frozen=True, slots=True)
class Miss:
    """What was missing.

    Attributes:
        text: for people.
        rows: how many related rows would have counted but for it.
        days: by how many days the nearest of them lay outside of the window; None where that is not seen.
        amount: by how much a value missed its bound.
    """

    text: str
    rows: int = 0
    days: int | None = None
    amount: Decimal | None = None


def misses(
    term: Condition, values: Sequence[tuple[Operand, object]], evidence: Sequence[Evidence], project: Project, clock: Clock
) -> tuple[Miss, ...]:
    """Why a test, or what a negation negates, does not hold, the nearest first.

    Args:
        term: a condition that is not a negation and does not hold.
        values: those that the role sees of the operands of the condition.
        evidence: the rows behind its measures.
        project: as loaded.
        clock: of the verdicts.
    """
    found = [miss for part in (term.of if isinstance(term, Every) else (term,)) for miss in _amount(part, dict(values), clock, project)]
    if isinstance(term, Exists | Satisfies | Compare):
        found += [miss for each in evidence for miss in _rows(each, project, clock)]
    return tuple(found)


def positive(term: Condition) -> tuple[Condition, bool]:
    """A condition without its negations, and whether an odd number of them stood before it."""
    if isinstance(term, Negation):
        inner, turned = positive(term.of)
        return inner, not turned
    return term, False


# -- amounts -------------------------------------------------------------------------------------------------------------


def _amount(term: Condition, values: dict[Operand, object], clock: Clock, project: Project) -> Iterator[Miss]:
    match term:
        case Compare(operand=operand, op="gt" | "gte" | "lt" | "lte", value=bound) if operand in values:
            yield from _short_of(term, operand, values[operand], bound)
        case InWindow(operand=operand, window=window) if isinstance(day := _day(values.get(operand)), dt.date):
            days = distance((day, day), window, clock, project)
            if days:
                yield Miss(_days_off(days), days=abs(days))


def _short_of(term: Compare, operand: Operand, value: object, bound: object) -> Iterator[Miss]:
    if not isinstance(value, int | float | Decimal) or not isinstance(bound, int | Decimal) or isinstance(value, bool):
        return
    amount = Decimal(bound) - Decimal(str(value))
    wrong = {"gt": amount >= 0, "gte": amount > 0, "lt": amount <= 0, "lte": amount < 0}[term.op]
    if not wrong:
        return
    unit = f" {term.units[0]}" if term.units else ""
    if isinstance(operand, Measure) and operand.verb == "count":
        more = abs(amount) + (1 if term.op in ("gt", "lt") else 0)
        yield Miss(f"{more} too {'few' if amount >= 0 else 'many'}", amount=more)
    else:
        far = format(abs(amount).normalize(), "f")
        yield Miss(f"{far}{unit} too {'little' if amount >= 0 else 'much'} for {SHORT[term.op]} {bound}{unit}", amount=abs(amount))


def _day(value: object) -> dt.date | None:
    """The day of a value; of a moment it is not told here, for it depends on the zone."""
    return value if isinstance(value, dt.date) and not isinstance(value, dt.datetime) else None


# -- rows ----------------------------------------------------------------------------------------------------------------


def _rows(evidence: Evidence, project: Project, clock: Clock) -> Iterator[Miss]:
    """The rows that failed one test, by that test: those that only came at another time first."""
    for place in range(len(evidence.asked) - 1, -1, -1):
        rows = [row for row in evidence.missed if row.failed == place]
        if not rows:
            continue
        test = evidence.asked[place]
        window = evidence.measure.window if place == len(evidence.asked) - 1 else None
        off = min((days for row in rows if window and (days := _off(row, window, clock, project))), key=abs, default=None)
        text = f"{len(rows)} {'row' if len(rows) == 1 else 'rows'} but for: {_asked(test, evidence, project)}"
        nearest = "" if off is None else f"; {'the nearest ' if len(rows) > 1 else ''}{_days_off(off)}"
        yield Miss(text + nearest, len(rows), None if off is None else abs(off))


def _asked(test: Condition, evidence: Evidence, project: Project) -> str:
    """A test of a row in words; that of an interval's time consists of two tests."""
    if isinstance(test, Every) and any(isinstance(part, Some) for part in test.of) and test is evidence.asked[-1]:
        return "in the time that is asked"
    return describe(test, project)


def _off(row: Row, window: Window, clock: Clock, project: Project) -> int | None:
    return distance(row.days, window, clock, project) if row.days else None


def distance(days: tuple[dt.date | None, dt.date | None], window: Window, clock: Clock, project: Project) -> int | None:
    """By how many days a span lies before (negative) or after a window; None where a row decides it, or no day is known."""
    anchored = any(day is not None and isinstance(day.anchor, ColumnRef) for day in (window.first, window.last))
    first, last = days
    if anchored or first is None:
        return None
    periods = frozenset(project.config.periods)
    opens = resolve(window.first, clock, periods) if window.first else dt.date.min
    closes = resolve(window.last, clock, periods) if window.last else dt.date.max
    if first > closes:
        return (first - closes).days
    return -(opens - last).days if last is not None and last < opens else 0


def _days_off(days: int) -> str:
    return f"{abs(days):,} {'day' if abs(days) == 1 else 'days'} too {'early' if days < 0 else 'late'}"
