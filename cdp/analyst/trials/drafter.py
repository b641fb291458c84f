"""Members made up so that a condition holds, and variations of them that lie at the condition's edges.

It is a help, not a proof: what cannot be made up (an SQL expression, rows of a derived entity) is left to the author, and two
conditions on one column may contradict each other in the draft. Nothing here says what a case should come to.
"""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from cdp.analyst.trials.boundaries import OTHER, Around, around, days, in_other_unit, passing_value, sample
from cdp.analyst.trials.drafts import (
    Change,
    Path,
    Row,
    Site,
    Variation,
    after,
    anew,
    becoming,
    rows_at,
    saying,
    setting,
    shown,
    spread,
    what,
)
from cdp.compile.clock import Clock
from cdp.compile.windows import resolve, shift
from cdp.project.load import Project
from cdp.project.terms import (
    AgeBetween,
    AtTime,
    Chosen,
    ColumnRef,
    Compare,
    CompareTo,
    Condition,
    Converted,
    Day,
    DayOf,
    Every,
    Exists,
    Holds,
    InSegment,
    InWindow,
    IsNull,
    Measure,
    Negation,
    OneOf,
    Operand,
    Picked,
    Satisfies,
    Some,
    Tally,
    Window,
)
from cdp.spec.model import Interval


@dataclass
class Drafter:
    """Makes one draft.

    Args:
        choices: which branch of an `any` is to hold, by its path; the first where nothing is said.
    """

    project: Project
    clock: Clock
    choices: Mapping[Path, int] = field(default_factory=dict)
    draft: Row = field(default_factory=dict)
    variations: list[Variation] = field(default_factory=list)
    branches: dict[Path, int] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    _denied: list[tuple[Condition, Site, Path]] = field(default_factory=list)

    def finish(self) -> None:
        """Vary what must not hold, now that all that must is there: first it holds, then it lies at each of its own edges."""
        for term, site, path in self._denied:
            inner = Drafter(self.project, self.clock, self.choices, copy.deepcopy(self.draft))
            inner.hold(term, site, path)
            inner.finish()
            self.skipped += inner.skipped
            if inner.draft != self.draft:
                self._vary(f"{what(term)}, which is excluded", becoming(inner.draft), path)
                if not isinstance(term, InSegment):  # the edges of a segment are for its own tests
                    self.variations += [after(inner.draft, variation) for variation in inner.variations]

    # -- conditions -------------------------------------------------------------------------------------------------

    def hold(self, term: Condition, site: Site, path: Path) -> None:
        """Change the draft so that a condition holds of a row, and note what lies at its edges."""
        match term:
            case Every(of):
                for number, part in enumerate(of):
                    self.hold(part, site, (*path, number))
            case Some(of):
                self.branches[path] = len(of)
                chosen = self.choices.get(path, 0)
                self.hold(of[chosen], site, (*path, chosen))
            case InSegment():
                self.hold(self.project.bound.segment(term), site, (*path, 0))
            case Negation(IsNull(ColumnRef() as ref)):
                self._put(ref, site, sample(ref.type, self.clock.day), [("null", None)], path)
            case Negation(of):
                self._denied.append((of, site, (*path, 0)))
            case Exists(measure):
                self._exists(measure, site, path)
            case Satisfies(measure, of):
                if (row := self._related(measure, site, path)) is not None:
                    self.hold(of, row, (*path, 0))
            case _:
                self._test(term, site, path)

    def _test(self, term: Condition, site: Site, path: Path) -> None:
        match term:
            case AgeBetween():
                self._age(term, site, path)
            case Compare(Measure(verb="count") as measure, op, int() as limit):
                self._count(measure, op, limit, site, path)
            case Compare(Tally(of), op, int() as limit):
                for number, part in enumerate(of[: int(str(passing_value(op, limit)))]):
                    self.hold(part, site, (*path, number))
            case Compare(Chosen(branches), "eq", value):
                for number, (when, then) in enumerate(branches):
                    if then == value:
                        self.hold(when, site, (*path, number))
                        break
            case Compare(operand, op, value, units=units):
                self._value(operand, passing_value(op, value), around(value), site, path, units[0] if units else "")
            case OneOf(operand, values):
                self._one_of(term, operand, values[0], site, path)
            case CompareTo(operand, op, other):
                self._compared(operand, op, other, site, path)
            case Holds(ColumnRef() as ref, values):
                self._put(ref, site, list(values), [("empty", []), ("null", None), ("one of them", [values[0]])], path)
            case IsNull(ColumnRef() as ref):
                self._put(ref, site, None, [("some value", sample(ref.type, self.clock.day))], path)
            case IsNull(Picked(measure, ColumnRef() as ref)):
                if (row := self._related(measure, site, path)) is not None:
                    self._put(ref, row, None, [("some value", sample(ref.type, self.clock.day))], path)
            case InWindow(operand, window):
                self._in_window(operand, window, site, path)
            case AtTime(operand, start, end):
                self._time_of_day(operand, start, end, site, path)
            case _:
                self.skipped.append(what(term))

    def _age(self, term: AgeBetween, site: Site, path: Path) -> None:
        day = self._day(term.at, site)
        limits = [(term.low, "turns"), (term.high + 1 if term.high is not None else None, "turns")]
        edges: list[Around] = []
        for limit, word in limits:
            if limit is not None:
                edges += [(f"{word} {limit}: {which}", born) for which, born in days(shift(day, term.unit, -limit))]
        age = term.low if term.low is not None else term.high or 0
        born = shift(shift(day, term.unit, -age), "days", -1)
        self._put(term.birth_date, site, born, [*edges, ("null", None)], path)

    def _one_of(self, term: OneOf, operand: Operand, code: object, site: Site, path: Path) -> None:
        found = self._value(operand, code, [("another code" if term.named else "another value", OTHER), ("null", None)], site, path)
        if found is None or not term.systems:
            return
        row, ref = found
        system = row.entity.columns[ref.column].system
        if system in row.entity.columns:
            label = f"{row.entity.name}.{system}"
            for word, value in (("another code system", OTHER), ("no code system", None)):
                self._vary(f"{label}: {word}", setting(row, str(system), value), path)

    def _value(self, operand: Operand, good: object, edges: Iterable[Around], site: Site, path: Path, unit: str = "") -> Any:
        """Give an operand a value; of what is computed from rows, one row with it. Returns the row and its column."""
        match operand:
            case ColumnRef():
                return self._put(operand, site, good, edges, path, unit)
            case DayOf(column):
                return self._put(column, site, good, edges, path, unit)
            case Converted(column, _, factors):
                factor, other = factors[0], factors[0].names[0]
                there = [(word, in_other_unit(value, factor)) for word, value in edges]
                return self._put(column, site, in_other_unit(good, factor), there, path, other)
            case Picked(measure, ColumnRef() as column) | (Measure(of=ColumnRef() as column) as measure):
                row = self._related(measure, site, path)
                return self._put(column, row, good, edges, path, unit) if row is not None else None
        self.skipped.append(what(operand))
        return None

    def _compared(self, operand: Operand, op: str, other: Operand, site: Site, path: Path) -> None:
        if not (isinstance(operand, ColumnRef) and isinstance(other, ColumnRef)):
            self.skipped.append(what(operand))
            return
        pivot: Any = {
            "integer": 10,
            "decimal": Decimal(10),
            "double": Decimal(10),
            "date": self.clock.day,
            "timestamp": self.clock.day,
        }.get(other.type, "same")
        self._put(other, site, pivot, [("null", None)], path)
        self._put(operand, site, passing_value(op, pivot), around(pivot), path)

    def _in_window(self, operand: Operand, window: Window, site: Site, path: Path) -> None:
        first, last = self._span(window, site)
        edges = [around_day for edge in (first, last) if edge is not None for around_day in days(edge)]
        self._value(operand, self._within(first, last), [*edges, ("null", None)], site, path)

    def _time_of_day(self, operand: Operand, start: int, end: int, site: Site, path: Path) -> None:
        if not isinstance(operand, ColumnRef):
            self.skipped.append(what(operand))
            return
        row, column = self._cell(operand, site)
        said = row.row(self.draft).get(column) or self.clock.day
        day = dt.date.fromisoformat(str(said)[:10])

        def at(minute: int) -> dt.datetime:
            return dt.datetime.combine(day, dt.time(minute % 1440 // 60, minute % 60))

        edges = [("a minute before", at(start - 1)), ("the first minute", at(start)), ("the last minute", at(end - 1)), ("over", at(end))]
        self._put(operand, site, at(start), edges, path)

    # -- rows -------------------------------------------------------------------------------------------------------

    def _exists(self, measure: Measure, site: Site, path: Path) -> None:
        row = self._related(measure, site, path)
        if row is not None:
            *way, number = row.route
            self._vary(f"no row of {measure.link.name}", lambda draft: rows_at(draft, way).pop(int(number)), path)

    def _count(self, measure: Measure, op: str, limit: int, site: Site, path: Path) -> None:
        """As many rows as hold, and variations with one fewer, as many as the limit, and one more."""
        wanted = int(str(passing_value(op, limit)))
        apart = measure.spaced or 1
        row = self._related(measure, site, path) if max(wanted, limit + 1) > 0 else None
        if row is None:
            return
        *way, number = row.route
        one = rows_at(self.draft, way).pop(int(number))
        self.variations = [variation for variation in self.variations if variation.path[: len(path)] != path]

        def with_rows(count: int) -> Change:
            return lambda draft: rows_at(draft, way).extend(spread(one, row.entity, count, apart))

        base = copy.deepcopy(self.draft)
        with_rows(wanted)(self.draft)
        for word, count in (("one fewer", limit - 1), ("the limit", limit), ("one more", limit + 1)):
            if count >= 0:
                self._vary(f"{measure.link.name}, {count} of them: {word}", anew(base, with_rows(count), way), path)
        if measure.distinct == "day" or measure.spaced:
            close = 0 if measure.distinct == "day" else apart - 1
            said = "on the same day" if close == 0 else f"{close} days apart"
            self._vary(
                f"{measure.link.name}, {limit} of them {said}",
                anew(base, lambda draft: rows_at(draft, way).extend(spread(one, row.entity, limit, close)), way),
                path,
            )

    def _related(self, measure: Measure, site: Site, path: Path) -> Site | None:
        """A new row for a measure, in its window and such as its `where` asks; None where rows cannot be made up."""
        origin = site.outwards(measure.up)
        for hop in measure.hops:
            origin = origin.over(hop, self.project.entities[hop.entity])
        target = self.project.entities[measure.link.entity]
        if not target.table or measure.link.name not in origin.entity.relations:
            self.skipped.append(f"rows of {target.name}, which are computed")
            return None
        rows = origin.row(self.draft).setdefault(measure.link.name, [])
        rows.append({})
        row = Site(target, (*origin.route, measure.link.name, len(rows) - 1), site, measure.link if origin is site else None)
        self._when(measure.window, row, path)
        if measure.where is not None:
            self.hold(measure.where, row, (*path, 0))
        return row

    def _when(self, window: Window | None, row: Site, path: Path) -> None:
        """Put a row's time into a window, and vary it at both ends; an interval also ends there."""
        time = row.entity.time
        if time is None:
            return
        start = time.start if isinstance(time, Interval) else time
        first, last = self._span(window, row) if window else (None, None)
        day = self._within(first, last)
        ref = ColumnRef((), row.entity.name, start, row.entity.columns[start].type)
        edges: list[Around] = [pair for edge in ((last,) if isinstance(time, Interval) else (first, last)) if edge for pair in days(edge)]
        self._put(ref, row, day, [*edges, *([("null", None)] if window else [])], path)
        if isinstance(time, Interval) and first is not None:
            for word, end in days(first):
                began = shift(first, "days", -30)
                self._vary(f"{row.entity.name}.{time.end} {end}: {word}", saying(row, {time.start: str(began), time.end: str(end)}), path)

    # -- cells and days ---------------------------------------------------------------------------------------------

    def _cell(self, ref: ColumnRef, site: Site) -> tuple[Site, str]:
        row = site.outwards(ref.up)
        for hop in ref.hops:
            row = row.over(hop, self.project.entities[hop.entity])
        return row, ref.column

    def _put(
        self, ref: ColumnRef, site: Site, good: object, edges: Iterable[Around], path: Path, unit: str = ""
    ) -> tuple[Site, ColumnRef] | None:
        row, name = self._cell(ref, site)
        if not row.entity.table or ref.field:
            self.skipped.append(f"{ref.entity}.{'.'.join((name, *ref.field))}")
            return None
        column = row.entity.columns[name]
        setting(row, name, good, unit)(self.draft)
        for word, value in edges:
            said = "" if value is None else f" {shown(value, unit)}"
            self._vary(f"{row.entity.name}.{name}{said}: {word}", setting(row, name, value, unit), path)
        if unit and column.unit in row.entity.columns:
            self._vary(f"{row.entity.name}.{column.unit}: no unit", setting(row, name, good), path)
        return row, ref

    def _vary(self, name: str, change: Change, path: Path) -> None:
        self.variations.append(Variation(name, change, path))

    def _span(self, window: Window, site: Site) -> tuple[dt.date | None, dt.date | None]:
        first = self._day(window.first, site) if window.first else None
        return first, self._day(window.last, site) if window.last else None

    def _within(self, first: dt.date | None, last: dt.date | None) -> dt.date:
        """A day in a span, far from its ends; not after today, where the span allows that."""
        today = self.clock.day
        if first is not None and last is not None:
            last = min(last, today) if first <= today else last
            return first + (last - first) // 2
        return first if last is None and first is not None and first > today else min(last or today, today)

    def _day(self, day: Day, site: Site) -> dt.date:
        """A day; where a row decides it, by what the draft says of the row so far."""
        if not isinstance(day.anchor, ColumnRef):
            return resolve(day, self.clock, frozenset(self.project.config.periods))
        row, column = self._cell(day.anchor, site)
        said = row.row(self.draft).get(column)
        if said is None:
            said = row.row(self.draft)[column] = str(shift(self.clock.day, "days", -30))
        found = dt.date.fromisoformat(str(said)[:10])
        for unit, count in day.shifts:
            found = shift(found, unit, count)
        return found
