"""The days on which a verdict may turn, if nothing new is recorded: what in a condition moves with the clock, and against what.

Between two days on which no bound of a window, no age and no period passes a day that it is compared with, nothing that a
condition compares changes. So it is enough to ask the segment's SQL on the days on which one does. Where a condition computes
with the day itself (a share of days covered, an expression, a SELECT), every day may be one.
"""

from __future__ import annotations

import datetime as dt
import math
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from decimal import Decimal
from itertools import product

from sqlglot import exp

from cdp.analyst.explore.related import tests, times
from cdp.compile.windows import shift
from cdp.project.language.formulas import BETWEEN
from cdp.project.project import Project
from cdp.project.terms import (
    AgeBetween,
    Anniversary,
    ColumnRef,
    Compare,
    Condition,
    Covered,
    Day,
    Every,
    Formula,
    InSegment,
    InSql,
    InWindow,
    Link,
    Measure,
    OneOf,
    Operand,
    Picked,
    Satisfies,
    SqlValue,
    Unit,
    Window,
)
from cdp.project.terms.uses import plain
from cdp.spec.model import Entity

HORIZON = 366  # days that are looked ahead
EVERY_DAY = 92  # where each of them has to be asked
EXTREMES = frozenset({"latest", "earliest", "min", "max"})  # measures whose value is that of a row
Shifts = tuple[tuple[Unit, int], ...]


@dataclass(slots=True, eq=False)
class Reached:
    """An entity whose rows a condition reads: how others are found from them, and which of them are told apart.

    Attributes:
        filters: conditions on the row's own columns, by which fewer days have to be looked at.
    """

    entity: Entity
    links: dict[Link, Reached] = field(default_factory=dict)
    filters: list[Condition] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Move:
    """A bound that moves with the clock, at a distance from as_of, past the days of a column.

    Attributes:
        filter: only of rows that pass it.
        yearly: past each year's return of the days.
    """

    rows: Reached
    column: str
    shifts: Shifts
    filter: Condition | None = None
    yearly: bool = False


@dataclass(slots=True)
class Clockwork:
    """What of a condition moves with the clock.

    Attributes:
        person: the rows that it reads.
        spans: the lengths of the calendar's periods that begin and end: `week`, `month`, `quarter`, `year`.
        always: whether every day may make a difference; then fewer days are looked ahead.
        making: moves that decide which groups a derived entity has; where one passes a day, the groups of today may not be there later.
    """

    person: Reached
    project: Project
    moves: set[Move] = field(default_factory=set)
    spans: set[str] = field(default_factory=set)
    always: bool = False
    making: set[Move] = field(default_factory=set)
    _seen: set[tuple[str, tuple[tuple[str, str], ...], int]] = field(default_factory=set)
    _bounds: tuple[int, ...] | None = None  # what the value at hand is compared with

    @classmethod
    def of(cls, term: Condition, project: Project, entity: Entity) -> Clockwork:
        """The clockwork of a condition on an entity."""
        made = cls(Reached(entity), project)
        made._exist(made.person, None)
        made._read(term, (made.person,))
        return made

    @property
    def horizon(self) -> int:
        """How many days are looked ahead."""
        return EVERY_DAY if self.always else HORIZON

    # -- conditions ---------------------------------------------------------------------------------------------------

    def _read(self, term: object, rows: tuple[Reached, ...]) -> None:
        """A part of the condition; `rows` are the row at hand and those around it."""
        match term:
            case Measure():
                self._measure(term, rows)
            case Satisfies(measure, of):
                self._with(None, (of,), (self._measure(measure, rows), *rows))
            case Picked(measure, column):
                self._read(column, (self._measure(measure, rows), *rows))
            case ColumnRef():
                self._hop(rows[term.up], term.hops)
            case InSegment():
                if (asked := (term.name, term.given, id(rows[0]))) not in self._seen:
                    self._seen.add(asked)
                    self._read(self.project.bound.segment(term), rows[:1])
            case InSql() | SqlValue():
                self.always = True
            case Covered():
                self.always = True
                self._parts(term, rows)
            case Formula():
                self._formula(term, rows)
            case Compare() | OneOf():
                self._with(_numbers(term), term, rows)
            case InWindow() | Anniversary() | AgeBetween():
                self._compared(term, rows)
                self._parts(term, rows)
            case Day(anchor=(name, _)):
                self.spans.add("year" if name in self.project.config.periods else name.partition("_")[2])
            case _:
                self._parts(term, rows)

    def _with(self, bounds: tuple[int, ...] | None, term: object, rows: tuple[Reached, ...]) -> None:
        """The parts of a term whose value is compared with these whole numbers; None where it is not known with which."""
        before, self._bounds = self._bounds, bounds
        self._parts(term, rows)
        self._bounds = before

    def _formula(self, formula: Formula, rows: tuple[Reached, ...]) -> None:
        """The days or weeks between as_of and a day grow with the clock, and reach each bound on one day."""
        if _computes_with_the_day(formula):
            since = _since(formula)
            if since is None or self._bounds is None:
                self.always = True
            else:
                unit, operand = since
                columns = list(self._columns(operand, rows))
                for bound, (found, column) in product({edge for n in self._bounds for edge in (n, n + 1)}, columns):
                    self.moves |= {Move(found, column, ((unit, sign * bound),)) for sign in (1, -1)}
        self._parts(formula, rows)

    def _parts(self, term: object, rows: tuple[Reached, ...]) -> None:
        for part in _parts_of(term):
            self._read(part, rows)

    def _compared(self, term: InWindow | Anniversary | AgeBetween, rows: tuple[Reached, ...]) -> None:
        """The days of the operand are passed by the bounds of a window, or of an age."""
        if isinstance(term, AgeBetween):
            bounds = [bound for bound in (term.low, None if term.high is None else term.high + 1) if bound is not None]
            moved = {(*term.at.shifts, (term.unit, -bound)) for bound in bounds} if term.at.anchor == "as_of" else set()
            operand: object = term.birth_date
        else:
            moved, operand = set(_moving(term.window)), term.operand
        for shifts, (found, column) in product(moved, list(self._columns(operand, rows)) if moved else []):
            self.moves.add(Move(found, column, shifts, yearly=isinstance(term, Anniversary)))

    def _columns(self, operand: object, rows: tuple[Reached, ...]) -> Iterator[tuple[Reached, str]]:
        """The columns that a day comes from. One that is computed may be any day."""
        match operand:
            case ColumnRef():
                self.always = self.always or bool(operand.array or operand.field)
                yield self._hop(rows[operand.up], operand.hops), operand.column
            case Picked(measure, column):
                yield from self._columns(column, (self._measure(measure, rows), *rows))
            case Measure(of=of) if of is not None:
                yield from self._columns(of, (self._measure(operand, rows), *rows))
            case Formula():
                self.always = True
            case _:
                yield from (column for part in _parts_of(operand) for column in self._columns(part, rows))

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _measure(self, measure: Measure, rows: tuple[Reached, ...]) -> Reached:
        """The related rows of a measure. They enter and leave its window, and come to be."""
        found = self._link(self._hop(rows[measure.up], measure.hops), measure.link)
        own = [term for term in tests(measure) if plain(term)]
        of = None if not own else own[0] if len(own) == 1 else Every(tuple(own))
        if of is not None and of not in found.filters:
            found.filters.append(of)
        self._exist(found, of)
        for shifts, column in product(_moving(measure.window), times(found.entity)):
            if column is not None:
                self.moves.add(Move(found, column.column, shifts, of))
        bounds = self._bounds if measure.verb in EXTREMES else None
        self._with(None, (measure.where, measure.window), (found, *rows))
        self._with(bounds, tuple(_parts_of(measure, but=("link", "hops", "up", "where", "window"))), (found, *rows))
        return found

    def _exist(self, rows: Reached, of: Condition | None) -> None:
        """Rows of the future come to be on their day."""
        start, _ = times(rows.entity)
        if start is not None and rows.entity.future == "hidden":
            self.moves.add(Move(rows, start.column, (), of))

    def _hop(self, rows: Reached, hops: tuple[Link, ...]) -> Reached:
        for hop in hops:
            rows = self._link(rows, hop)
            self._exist(rows, None)
        return rows

    def _link(self, rows: Reached, link: Link) -> Reached:
        if link not in rows.links:
            rows.links[link] = Reached(self.project.entities[link.entity])
            self._made(rows.links[link], link)
        return rows.links[link]

    def _made(self, rows: Reached, link: Link) -> None:
        """What decides which rows of an entity there are: its `where`, and what it is made of."""
        bound, entity = self.project.bound, rows.entity
        own = bound.entities.get(entity.name)
        derived = bound.derived.get(entity.name)
        groups = {name: of.column for name, of in derived.group if isinstance(of, ColumnRef) and not of.hops} if derived else {}
        asked = sorted({theirs for theirs, _ in link.on})
        if entity.sql or (own is not None and not plain(own)) or (derived and not groups.keys() >= {*asked}):
            self.always = True
        elif derived:
            source = self._link(rows, Link(derived.source, derived.source, tuple((groups[theirs], theirs) for theirs in asked)))
            self._exist(source, None)
            before = frozenset(self.moves), len(self.spans)
            for part in (derived.where, *(aggregate.where for _, aggregate in derived.columns)):
                self._read(part, (source,))
            self.making |= self.moves - before[0]
            self.always = self.always or len(self.spans) != before[1] or any(move.shifts for move in self.making)


def _moving(window: Window | None) -> Iterator[Shifts]:
    """The distances from as_of at which a window's bounds stand."""
    for day in (window.first, window.last) if window else ():
        if day is not None and day.anchor == "as_of":
            yield day.shifts


def _parts_of(term: object, but: Collection[str] = ()) -> Iterator[object]:
    if isinstance(term, tuple):
        yield from term
    elif is_dataclass(term):
        yield from (getattr(term, part.name) for part in fields(term) if part.name not in but)


def _numbers(term: Compare | OneOf) -> tuple[int, ...] | None:
    """The whole numbers next to what a value is compared with."""
    values = term.values if isinstance(term, OneOf) else (term.value,)
    if any(isinstance(value, bool) or not isinstance(value, int | Decimal) for value in values):
        return None
    return tuple({edge for value in values if isinstance(value, int | Decimal) for edge in (math.floor(value), math.ceil(value))})


def _since(formula: Formula) -> tuple[Unit, Operand] | None:
    """The unit and the other day of `days_between(as_of, day)`, whichever comes first; None for any other expression."""
    tree, operands = formula.tree.unnest(), dict(formula.operands)
    if not isinstance(tree, exp.Anonymous) or tree.name.lower() not in BETWEEN:
        return None
    names = [".".join(part.name for part in day.parts) for day in tree.expressions if isinstance(day, exp.Column)]
    days = [operands[name] for name in names if name in operands]
    return (("weeks" if tree.name.lower() == "weeks_between" else "days"), days[0]) if len(days) == 1 and "as_of" in names else None


def _computes_with_the_day(formula: Formula) -> bool:
    """Whether an expression names as_of."""
    given = {name for name, _ in formula.operands}
    return any(column.name == "as_of" and column.name not in given for column in formula.tree.find_all(exp.Column))


# -- the days ------------------------------------------------------------------------------------------------------------


def turning_days(clockwork: Clockwork, recorded: Mapping[Move, Iterable[dt.date]], today: dt.date) -> tuple[dt.date, ...]:
    """The days after today, up to the horizon, on which the verdict may be another one than the day before.

    Args:
        clockwork: of the condition.
        recorded: for each move, the days that it may pass.
        today: the clock's day.
    """
    ahead = [today + dt.timedelta(days=n) for n in range(1, HORIZON + 1)]
    if clockwork.always:
        return tuple(ahead[:EVERY_DAY])
    found = {day for day in ahead if any(_begins(day, span) for span in clockwork.spans)}
    for move, days in recorded.items():
        passed = set(days)
        if move.yearly:
            span = range(_shifted(today, move.shifts).year - 1, _shifted(ahead[-1], move.shifts).year + 2)
            passed = {_returned(day, year) for day in passed for year in span}
        found |= _passed(move.shifts, passed, ahead)
    return tuple(sorted(found))


def _begins(day: dt.date, span: str) -> bool:
    """Whether a period of this length begins on the day."""
    first = day.day == 1
    return {"week": day.weekday() == 0, "month": first, "quarter": first and day.month % 3 == 1, "year": first and day.month == 1}[span]


def _passed(shifts: Shifts, days: Iterable[dt.date], ahead: list[dt.date]) -> set[dt.date]:
    """The first days on which as_of, shifted, has reached one of the days, and on which it has passed it."""
    bounds = [_shifted(day, shifts) for day in ahead]  # never earlier than that of the day before: months clamp
    edges = {edge for day in days for edge in (day, shift(day, "days", 1))}
    before = _shifted(ahead[0] - dt.timedelta(days=1), shifts)
    places = {bisect_left(bounds, edge) for edge in edges if edge > before}
    return {ahead[place] for place in places if place < len(ahead)}


def _shifted(day: dt.date, shifts: Shifts) -> dt.date:
    for unit, count in shifts:
        day = shift(day, unit, count)
    return day


def _returned(day: dt.date, year: int) -> dt.date:
    """A day's return in another year; 29 February returns on 1 March where there is none."""
    try:
        return day.replace(year=max(year, 1))
    except ValueError:
        return dt.date(year, 3, 1)
