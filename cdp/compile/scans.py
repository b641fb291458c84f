"""Scans: how a related table is read once.

Asking a SelectRow for a measure registers an aggregate on a Scan: one named CTE for each related table, grouped by the
columns that lead back to the row, however many measures use it. Asking it for a column over to-one relations adds a left
join. What compares related rows with each other is collected into arrays and compared outside (`related`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from sqlglot import exp

from cdp.compile import sql
from cdp.compile.arrays import SUMS, WHOLE
from cdp.compile.reach import Term
from cdp.compile.rows import Asked, Row
from cdp.compile.windows import Calendar, Span
from cdp.project.terms import ColumnRef, DayOf, InSegment, Link, Measure, Of, Ties
from cdp.spec.model import Entity, Interval

if TYPE_CHECKING:
    from cdp.compile.conditions import Compiler

Build = Callable[[exp.Expr], exp.Expr]  # a test -> an aggregate over the rows that pass it
Hops = tuple[Link, ...]


@dataclass(slots=True)
class SelectRow(Row):
    """A row of an entity under an alias, in a SELECT that is being built."""

    alias: str
    joins: list[exp.Join] = field(default_factory=list)
    scans: dict[tuple[Hops, Link, Asked], Scan] = field(default_factory=dict)
    tables: dict[object, exp.Join] = field(default_factory=dict)  # CTEs of one row for each row of this one, by what they are for
    _hops: dict[tuple[str, Link, Asked], str] = field(default_factory=dict)
    _segments: dict[tuple[InSegment, Asked], exp.Expr] = field(default_factory=dict)

    @classmethod
    def of(cls, compiler: Compiler, entity: Entity, alias: str) -> SelectRow:
        """A row that stands by itself."""
        return cls(compiler, entity, None, 0, alias)

    def carried(self, term: Term, asked: Asked) -> exp.Expr | None:
        """Nothing: what is asked here is computed here."""
        return None

    def segment(self, term: InSegment, asked: Asked) -> exp.Expr:
        """A segment's condition on this row, compiled once: what it joins and scans belongs to this row only."""
        key = (term, asked)
        if key not in self._segments:
            self._segments[key] = self.compiler.condition(self.compiler.project.bound.segment(term), self, asked)
        return self._segments[key]

    def column(self, ref: ColumnRef, asked: Asked) -> exp.Expr:
        """A column, over left joins where it stands behind to-one relations."""
        here, path = self.alias, ""
        for hop in ref.hops:
            path = f"{path}_{hop.name}" if path else hop.name
            here = self._hop(hop, here, path, asked)
        value: exp.Expr = sql.column(here, ref.column)
        for name in ref.field:
            value = sql.field(value, name)
        return value

    def _hop(self, hop: Link, here: str, path: str, asked: Asked) -> str:
        """The alias of the row that a relation leads to from `here`; another clock reads it once more."""
        key = (here, hop, Asked(asked.clock))
        if key not in self._hops:
            target = self.compiler.entity(hop.entity)
            name = self._hops[key] = self._alias(path)
            if target.table:
                self.compiler.lookups.add((target.table, tuple(theirs for theirs, _ in hop.on)))
            there = SelectRow.of(self.compiler, target, name)
            tests: list[exp.Expr] = [sql.equal(sql.column(name, theirs), sql.column(here, mine)) for theirs, mine in hop.on]
            tests += self.compiler.existence(there, asked.clock)
            self.joins.append(exp.Join(this=self.compiler.table(target, name, asked.clock), side="LEFT", on=sql.every(tests)))
            self.joins.extend(there.joins)
        return self._hops[key]

    def _alias(self, path: str) -> str:
        """A name for a joined row that is not the one of this row, of another joined row or of a CTE."""
        taken, name = {self.alias, *self._hops.values()}, path
        while name in taken or self.compiler.is_cte(name):
            name += "_"
        return name

    def array(self, measure: Measure, asked: Asked) -> tuple[exp.Expr, Collection]:
        """The array that the related table's scan collects."""
        scan = self.scan(measure.link, asked, measure.hops)
        collection = scan.collect(measure)
        return sql.column(scan.name, collection.name), collection

    def scan(self, link: Link, asked: Asked, hops: Hops = ()) -> Scan:
        """The one scan of a related table for a clock and a role (what decides, what is said)."""
        key = (hops, link, asked)
        if key not in self.scans:
            target = self.compiler.entity(link.entity)
            path = "_".join([asked.role or "from", *(hop.name for hop in hops), link.name])
            name = self.compiler.unique(path, self._hops.values())
            self.scans[key] = Scan(name, link, hops, asked, SelectRow.of(self.compiler, target, target.name))
        return self.scans[key]

    def beside(self, key: object, name: str, link: Link, hops: Hops, asked: Asked) -> str:
        """Have a CTE that holds at most one row for each of this one's joined; returns its name."""
        if key not in self.tables:
            self.tables[key] = exp.Join(this=sql.table(name, name), side="LEFT", on=sql.every(self._on(name, link, hops, asked)))
        return self.tables[key].alias_or_name

    def _on(self, name: str, link: Link, hops: Hops, asked: Asked) -> list[exp.Expr]:
        return [sql.equal(sql.column(name, theirs), self._mine(hops, mine, asked)) for theirs, mine in link.on]

    def _mine(self, hops: Hops, column: str, asked: Asked) -> exp.Expr:
        """The column behind the hops, taken from this side of a relation where it equals it."""
        if not hops:
            return sql.column(self.alias, column)
        last = hops[-1]
        for theirs, mine in last.on:
            if theirs == column and self.compiler.always_there(last.entity):
                return self._mine(hops[:-1], mine, asked)
        return self.column(ColumnRef(hops, last.entity, column, "string"), asked)

    def sources(self) -> list[exp.Join]:
        """The joins of this row, scans included; their CTEs are handed to the compiler, inner ones first."""
        scans = []
        for scan in self.scans.values():
            on = self._on(scan.name, scan.link, scan.hops, scan.asked)
            self.compiler.define(scan.name, scan.select())
            scans.append(exp.Join(this=sql.table(scan.name, scan.name), side="LEFT", on=sql.every(on)))
        return [*self.joins, *scans, *self.tables.values()]


@dataclass(slots=True)
class Collection:
    """An array column of a scan: of each row that passes a test, the values that somebody asks for."""

    scan: Scan
    name: str = ""
    fields: dict[object, tuple[str, exp.Expr]] = field(default_factory=dict)

    def field(self, key: object, label: str, make: Callable[[SelectRow], exp.Expr]) -> str:
        """The name of a field of its structs, one for each key."""
        if key not in self.fields:
            value = make(self.scan.row)
            self.fields[key] = (_free(label, {name for name, _ in self.fields.values()}), value)
        return self.fields[key][0]

    def aggregate(self, test: exp.Expr) -> exp.Expr:
        """The array; built last, when all fields are known."""
        fields = dict(self.fields.values()) or {"there": sql.TRUE}
        return sql.where(exp.ArrayAgg(this=sql.struct(**fields)), test)


@dataclass(slots=True)
class Scan:
    """A related table, read once and grouped; its columns are the measures asked of it."""

    name: str
    link: Link
    hops: Hops
    asked: Asked
    row: SelectRow
    columns: dict[object, tuple[str, exp.Expr, Build, exp.Expr]] = field(default_factory=dict)
    filters: dict[object, exp.Expr] = field(default_factory=dict)
    _collections: dict[object, Collection] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._names.update(theirs for theirs, _ in self.link.on)  # outputs too

    def aggregate(self, key: object, label: str, test: exp.Expr, build: Build, of: exp.Expr = sql.TRUE) -> exp.Expr:
        """A column of this scan, one for each key, named after its label: an aggregate over the rows that pass the test.

        `of` is what `keep` gave: the rows among which the test is made.
        """
        if key not in self.columns:
            name = _free(label, self._names)
            self._names.add(name)
            self.columns[key] = (name, test, build, of)
        return sql.column(self.name, self.columns[key][0])

    def keep(self, key: object, test: exp.Expr) -> exp.Expr:
        """Have the scan read the rows of this test, whatever else it reads."""
        return self.filters.setdefault(key, test)

    def found(self, measure: Measure) -> exp.Expr:
        """Whether the measure has a row."""
        key = ("found", self._rows(measure))
        return self.aggregate(key, f"has_{measure.label}", self._filter(measure), lambda test: exp.LogicalOr(this=test))

    def counted(self, measure: Measure) -> exp.Expr:
        """How many rows, or different values or days, the measure has; null where the person has no rows at all."""
        test = self._filter(measure)
        if measure.distinct is None:
            return self.aggregate(measure, f"count_{measure.label}", test, lambda test: exp.CountIf(this=test))
        value = self.day() if measure.distinct == "day" else self.value(measure.distinct)
        different = exp.Count(this=exp.Distinct(expressions=[value]))
        return self.aggregate(measure, f"count_{measure.label}", test, lambda test: sql.where(different, test))

    def aggregated(self, measure: Measure, kind: type[exp.Expr]) -> exp.Expr:
        """An aggregate of the measure's values."""
        assert measure.of is not None, "the binder asks for `of`"
        of, name = self.value(measure.of), measure.of.column if isinstance(measure.of, ColumnRef) else "value"
        return self.aggregate(measure, f"{measure.verb}_{name}", self._filter(measure), lambda test: sql.where(kind(this=of), test))

    def gathered(self, measure: Measure, label: str, value: exp.Expr, kind: type[exp.Expr] = exp.ArrayAgg) -> exp.Expr:
        """An array of a value of the measure's rows; both aggregates leave out what is null."""
        test, key = self._filter(measure), ("gathered", label, measure)
        return self.aggregate(key, f"{label}_{measure.label}", test, lambda test: sql.where(kind(this=value), test))

    def picked(self, measure: Measure, key: object, label: str, value: exp.Expr) -> exp.Expr:
        """A value of the row that the measure picks. Its moment is the highest or lowest one, which needs no order of rows."""
        if not measure.by_day and key == started(self.row.entity):
            extreme = exp.Max if measure.verb == "latest" else exp.Min
            return self._picked(measure, key, label, lambda test: sql.where(extreme(this=value), test))
        kind = exp.ArgMax if measure.verb == "latest" else exp.ArgMin
        order = self.order(measure)
        return self._picked(measure, key, label, lambda test: sql.where(kind(this=value, expression=order), test))

    def _picked(self, measure: Measure, key: object, label: str, build: Build) -> exp.Expr:
        name = f"{measure.verb}_{measure.label}_{label}"
        return self.aggregate(("picked", self._rows(measure), key), name, self._filter(measure), build)

    def collect(self, measure: Measure) -> Collection:
        """The measure's rows as an array of structs, for conditions that look further than one row."""
        key = ("collected", measure.where, measure.window, measure.verb in ("latest", "earliest"))
        if key not in self._collections:
            collection = self._collections[key] = Collection(self)
            column = self.aggregate(key, f"{measure.label}_rows", self._filter(measure), collection.aggregate)
            collection.name = column.name
        return self._collections[key]

    def value(self, of: Of) -> exp.Expr:
        """The value of the related row that is aggregated."""
        return self.row.compiler.value(of, self.row, self.asked)

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
                parts.append(compiler.condition(measure.where, self.row, self.asked))
            span = span_of(self.row.entity)
            if measure.window is not None and span is not None:
                parts.append(self.calendar().holds(span, measure.window))
            elif picks and span is not None:
                parts.append(sql.not_null(self.row.compiler.value(span.start, self.row, self.asked)))
            self.filters[key] = sql.every(parts)
        return self.filters[key]

    def calendar(self) -> Calendar:
        """What turns days into dates on a row of this scan."""
        return self.row.compiler.calendar(self.row, self.asked)

    def start(self) -> exp.Expr:
        """The moment or day at which a row is, or begins."""
        return self.value(started(self.row.entity))

    def day(self) -> exp.Expr:
        """The local calendar day on which a row is, or begins."""
        return self.value(DayOf(started(self.row.entity)))

    def order(self, measure: Measure) -> exp.Expr:
        """What `latest` maximises and `earliest` minimises: the moment or day, the ties, then the row's key.

        No part is ever null, because engines order nulls inside of structs differently.
        """
        parts = [self.day() if measure.by_day else self.start()]
        if measure.ties is not None:
            parts += _tie_order(self.row.column(measure.ties.column, self.asked), measure.ties, latest=measure.verb == "latest")
        return exp.Struct(expressions=[*parts, *self.key()])

    def key(self) -> list[exp.Expr]:
        """What tells the rows apart, as texts that are never null."""
        entity = self.row.entity
        names = [entity.key] if entity.key else list(entity.group_by)
        texts = [exp.Cast(this=sql.column(self.row.alias, name), to=sql.TEXT) for name in names]
        return [sql.coalesce(text, sql.string("")) for text in texts]

    def select(self) -> exp.Select:
        """The scan as a CTE. A test that every row it reads has passed is not asked again by its aggregates."""
        row, compiler = self.row, self.row.compiler
        wanted = list(self.filters.values())
        passed = wanted[0] if len(wanted) == 1 else None
        keys = [sql.column(row.alias, theirs) for theirs, _ in self.link.on]
        outputs: list[exp.Expr] = [*keys]
        for name, test, build, of in self.columns.values():
            asked = [part for part in (of, test) if part is not passed]
            outputs.append(sql.alias(build(sql.every(asked)), name))
        base = compiler.existence(row, self.asked.clock)
        if wanted and not any(sql.is_true(test) for test in wanted):
            base.append(sql.some(wanted))
        return compiler.select(row, self.asked.clock, outputs, base, keys)


def span_of(entity: Entity) -> Span | None:
    """When the rows of an entity are, in operands of the row itself."""
    if entity.time is None:
        return None
    start, end = (entity.time.start, entity.time.end) if isinstance(entity.time, Interval) else (entity.time, None)
    kind = entity.columns[start].type
    ended = ColumnRef((), entity.name, end, entity.columns[end].type) if end else None
    return Span(ColumnRef((), entity.name, start, kind), ended, kind)


def started(entity: Entity) -> ColumnRef:
    """The column that says when a row of an entity with a time was, or began."""
    span = span_of(entity)
    assert span is not None, "the binder asks for a time"
    return cast(ColumnRef, span.start)


def _free(label: str, taken: set[str]) -> str:
    name, count = label, 1
    while name in taken:
        count += 1
        name = f"{label}_{count}"
    return name


def _tie_order(value: exp.Expr, ties: Ties, *, latest: bool) -> list[exp.Expr]:
    """Two parts of an order: rows with a value before those without, then the value turned the right way round."""
    kind = ties.column.type
    known = sql.not_null(value) if latest else sql.is_null(value)
    if kind in ("date", "timestamp"):
        moment = exp.Cast(this=value, to=sql.TIMESTAMP)
        value = exp.Anonymous(this="unix_micros", expressions=[moment])
    turned = exp.Neg(this=value) if ties.lowest == latest else value
    to = SUMS.get(kind, WHOLE)  # one type for both sides: Sail plans COALESCE with one and computes it with another
    return [known, sql.coalesce(exp.Cast(this=turned, to=to), exp.Cast(this=sql.number(0), to=to))]
