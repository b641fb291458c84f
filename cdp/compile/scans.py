"""Rows and scans: how a condition reaches columns, and how a related table is read once.

A Row is a place in a SELECT where columns have names. Asking it for a measure registers an aggregate on a Scan:
one named CTE for each related table, grouped by the columns that lead back to the row, however many measures
use it. Asking it for a column over to-one relations adds a left join.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlglot import exp

from cdp.compile import sql
from cdp.compile.windows import in_window
from cdp.project.terms import ColumnRef, Link, Measure, Ties
from cdp.spec.model import Entity, Interval

if TYPE_CHECKING:
    from cdp.compile.clock import Clock
    from cdp.compile.conditions import Compiler

Build = Callable[[exp.Expr], exp.Expr]  # a test -> an aggregate over the rows that pass it
EMPTY_IS_ZERO = frozenset({"count"})


@dataclass(slots=True)
class Row:
    """A row of an entity under an alias, in a SELECT that is being built."""

    compiler: Compiler
    entity: Entity
    alias: str
    joins: list[exp.Join] = field(default_factory=list)
    scans: dict[tuple[Link, Clock, str], Scan] = field(default_factory=dict)
    _hops: dict[tuple[str, Link, Clock], str] = field(default_factory=dict)
    _segments: dict[tuple[str, Clock, str], exp.Expr] = field(default_factory=dict)

    def segment(self, name: str, clock: Clock, role: str) -> exp.Expr:
        """A segment's condition on this row, compiled once: what it joins and scans belongs to this row only."""
        asked = (name, clock, role)
        if asked not in self._segments:
            self._segments[asked] = self.compiler.condition(self.compiler.project.bound.segments[name], self, clock, role)
        return self._segments[asked]

    def column(self, ref: ColumnRef, clock: Clock) -> exp.Expr:
        """The column, over left joins where it stands behind to-one relations."""
        here, path = self.alias, ""
        for hop in ref.hops:
            path = f"{path}_{hop.name}" if path else hop.name
            here = self._hop(hop, here, path, clock)
        return sql.column(here, ref.column)

    def _hop(self, hop: Link, here: str, path: str, clock: Clock) -> str:
        """The alias of the row that a relation leads to from `here`; another clock reads it once more."""
        asked = (here, hop, clock)
        if asked not in self._hops:
            target = self.compiler.entity(hop.entity)
            name = self._hops[asked] = self._alias(path)
            self.compiler.lookups.add((target.table, tuple(theirs for theirs, _ in hop.on)))
            there = Row(self.compiler, target, name)
            tests: list[exp.Expr] = [sql.equal(sql.column(name, theirs), sql.column(here, mine)) for theirs, mine in hop.on]
            tests += self.compiler.existence(there, clock)
            self.joins.append(exp.Join(this=self.compiler.table(target, name), side="LEFT", on=sql.every(tests)))
            self.joins.extend(there.joins)
        return self._hops[asked]

    def _alias(self, path: str) -> str:
        """A name for a joined row that is not the one of this row, of another joined row or of a CTE."""
        taken, name = {self.alias, *self._hops.values()}, path
        while name in taken or self.compiler.is_cte(name):
            name += "_"
        return name

    def measure(self, measure: Measure, clock: Clock, role: str) -> exp.Expr:
        """The measure's value: null when it found nothing, except that a count of nothing is 0."""
        value = self.scan(measure.link, clock, role).measured(measure)
        return sql.coalesce(value, sql.number(0)) if measure.verb in EMPTY_IS_ZERO else value

    def found(self, measure: Measure, clock: Clock, role: str) -> exp.Expr:
        """Whether the measure found a row: true, false or null, where null means false."""
        return self.scan(measure.link, clock, role).found(measure)

    def picked(self, measure: Measure, column: ColumnRef, clock: Clock, role: str) -> exp.Expr:
        """A column of the row that the measure picks; null without a row."""
        return self.scan(measure.link, clock, role).picked(measure, column)

    def scan(self, link: Link, clock: Clock, role: str) -> Scan:
        """The one scan of a related table for a clock and a role (what decides, what is said)."""
        key = (link, clock, role)
        if key not in self.scans:
            target = self.compiler.entity(link.entity)
            name = self.compiler.unique(f"{role}_{link.name}" if role else f"from_{link.name}", self._hops.values())
            self.scans[key] = Scan(name, link, clock, role, Row(self.compiler, target, target.name))
        return self.scans[key]

    def sources(self) -> list[exp.Join]:
        """The joins of this row, scans included; their CTEs are handed to the compiler, inner ones first."""
        joins = list(self.joins)
        for scan in self.scans.values():
            self.compiler.ctes[scan.name] = scan.select()
            on = [sql.equal(sql.column(scan.name, theirs), sql.column(self.alias, mine)) for theirs, mine in scan.link.on]
            joins.append(exp.Join(this=sql.table(scan.name, scan.name), side="LEFT", on=sql.every(on)))
        return joins


@dataclass(slots=True)
class Scan:
    """A related table, read once and grouped; its columns are the measures asked of it."""

    name: str
    link: Link
    clock: Clock
    role: str
    row: Row
    columns: dict[object, tuple[str, exp.Expr, Build]] = field(default_factory=dict)
    filters: dict[object, exp.Expr] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._names.update(theirs for theirs, _ in self.link.on)  # outputs too

    def aggregate(self, key: object, label: str, test: exp.Expr, build: Build) -> exp.Expr:
        """A column of this scan, one for each key, named after its label: an aggregate over the rows that pass the test."""
        if key not in self.columns:
            name, count = label, 1
            while name in self._names:
                count += 1
                name = f"{label}_{count}"
            self._names.add(name)
            self.columns[key] = (name, test, build)
        return sql.column(self.name, self.columns[key][0])

    def keep(self, key: object, test: exp.Expr) -> exp.Expr:
        """Have the scan read the rows of this test, whatever else it reads."""
        return self.filters.setdefault(key, test)

    def found(self, measure: Measure) -> exp.Expr:
        """Whether the measure has a row."""
        key = ("found", self._rows(measure))
        return self.aggregate(key, f"has_{measure.label}", self._filter(measure), lambda test: exp.LogicalOr(this=test))

    def measured(self, measure: Measure) -> exp.Expr:
        """The measure's aggregate."""
        if measure.verb in ("latest", "earliest"):
            assert measure.of is not None, "a whole row has no value"
            return self.picked(measure, measure.of)
        test = self._filter(measure)
        if measure.verb == "count":
            return self.aggregate(measure, f"count_{measure.label}", test, lambda test: exp.CountIf(this=test))
        kind = {"sum": exp.Sum, "avg": exp.Avg, "min": exp.Min, "max": exp.Max}[measure.verb]
        assert measure.of is not None, "the binder asks for `of`"
        of = self._of(measure.of)
        return self.aggregate(measure, f"{measure.verb}_{measure.of.column}", test, lambda test: _filtered(kind(this=of), test))

    def picked(self, measure: Measure, column: ColumnRef) -> exp.Expr:
        """A column of the row that the measure picks."""
        kind = exp.ArgMax if measure.verb == "latest" else exp.ArgMin
        label = f"{measure.verb}_{measure.label}_{column.column}"
        value = self._of(column)
        return self.aggregate(
            ("picked", self._rows(measure), column),
            label,
            self._filter(measure),
            lambda test: _filtered(kind(this=value, expression=self._order(measure)), test),
        )

    def _of(self, column: ColumnRef) -> exp.Expr:
        """The column of the related row that is aggregated."""
        return self.row.column(column, self.clock)

    def _rows(self, measure: Measure) -> object:
        """What decides which rows compete and win: measures that differ only in `of` share it."""
        return (measure.verb if measure.verb in ("latest", "earliest") else "", measure.where, measure.window, measure.by_day, measure.ties)

    def _filter(self, measure: Measure) -> exp.Expr:
        """Which rows compete, as one condition; registered, so that the scan reads only rows that some measure wants."""
        picks = measure.verb in ("latest", "earliest")
        key = (measure.where, measure.window, picks)
        if key not in self.filters:
            compiler, parts = self.row.compiler, []
            if measure.where is not None:
                parts.append(compiler.condition(measure.where, self.row, self.clock, self.role))
            start, end, kind = self.time()
            if measure.window is not None and start is not None:
                parts.append(in_window(start, end, kind, measure.window, self.clock, compiler.periods))
            elif picks and start is not None:
                parts.append(sql.not_null(start))
            self.filters[key] = sql.every(parts)
        return self.filters[key]

    def time(self) -> tuple[exp.Expr | None, exp.Expr | None, str]:
        """The columns that say when a row of the related table was."""
        entity = self.row.entity
        if entity.time is None:
            return None, None, "date"
        name = entity.time.start if isinstance(entity.time, Interval) else entity.time
        end = sql.column(self.row.alias, entity.time.end) if isinstance(entity.time, Interval) else None
        return sql.column(self.row.alias, name), end, entity.columns[name].type

    def _order(self, measure: Measure) -> exp.Expr:
        """What `latest` maximises and `earliest` minimises: the moment or day, the ties, then the row's key.

        No part is ever null, because engines order nulls inside of structs differently.
        """
        start, _, kind = self.time()
        assert start is not None, "the binder asks for a time"
        moment = sql.local_day(start, self.clock.zone) if measure.by_day and kind != "date" else start
        parts = [moment]
        if measure.ties is not None:
            parts += _tie_order(self.row.column(measure.ties.column, self.clock), measure.ties, latest=measure.verb == "latest")
        key = exp.Cast(this=sql.column(self.row.alias, self.row.entity.key), to=sql.TEXT)
        return exp.Struct(expressions=[*parts, sql.coalesce(key, sql.string(""))])

    def select(self) -> exp.Select:
        """The scan as a CTE. A test that every row it reads has passed is not asked again by its aggregates."""
        row, compiler = self.row, self.row.compiler
        wanted = list(self.filters.values())
        passed = wanted[0] if len(wanted) == 1 else None
        keys = [sql.column(row.alias, theirs) for theirs, _ in self.link.on]
        outputs: list[exp.Expr] = [*keys]
        for name, test, build in self.columns.values():
            outputs.append(sql.alias(build(sql.TRUE if test is passed else test), name))
        base = compiler.existence(row, self.clock)
        if wanted and not any(sql.is_true(test) for test in wanted):
            base.append(sql.some(wanted))
        joins = row.sources()
        return exp.Select(
            expressions=outputs,
            from_=exp.From(this=compiler.table(row.entity, row.alias)),
            joins=joins or None,
            where=exp.Where(this=sql.every(base)) if base else None,
            group=exp.Group(expressions=keys),
        )


def _filtered(aggregate: exp.Expr, test: exp.Expr) -> exp.Expr:
    return aggregate if sql.is_true(test) else exp.Filter(this=aggregate, expression=exp.Where(this=test))


def _tie_order(value: exp.Expr, ties: Ties, *, latest: bool) -> list[exp.Expr]:
    """Two parts of an order: rows with a value before those without, then the value turned the right way round."""
    kind = ties.column.type
    known = sql.not_null(value) if latest else sql.is_null(value)
    if kind in ("date", "timestamp"):
        moment = exp.Cast(this=value, to=sql.TIMESTAMP)
        value = exp.Anonymous(this="unix_micros", expressions=[moment])
    turned = exp.Neg(this=value) if ties.lowest == latest else value
    return [known, sql.coalesce(turned, sql.number(0))]
