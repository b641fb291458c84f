"""Terms -> SQL. Every function is Term -> Expr; an unknown comparison counts as false, `not` is the exact complement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from sqlglot import exp

from cdp.compile import arrays, comparisons, covered, models, related, sql
from cdp.compile.clock import Clock
from cdp.compile.reach import Term, inside, needs_row
from cdp.compile.rows import CONDITIONS, Asked, PickedRow, Row
from cdp.compile.scans import SelectRow
from cdp.compile.windows import Calendar, Span, happened
from cdp.project.terms import (
    AgeBetween,
    Anniversary,
    AtTime,
    Chosen,
    ColumnRef,
    Compare,
    CompareTo,
    Condition,
    Converted,
    Covered,
    DayOf,
    Every,
    Exists,
    Formula,
    Holds,
    InSegment,
    InSql,
    InWindow,
    IsNull,
    Measure,
    Negation,
    OneOf,
    OnWeekday,
    Operand,
    Picked,
    Satisfies,
    Some,
    SqlValue,
    Tally,
)
from cdp.project.terms.types import type_of
from cdp.spec.model import Entity, Interval

if TYPE_CHECKING:
    from cdp.project.load import Project

AGGREGATES: dict[str, type[exp.Expr]] = {"sum": exp.Sum, "avg": exp.Avg, "min": exp.Min, "max": exp.Max}


@dataclass(slots=True)
class Compiler:
    """What one statement collects while it is built: its CTEs, the tables it reads, the keys it relies on."""

    project: Project
    ctes: dict[str, exp.Query] = field(default_factory=dict)
    reads: Counter[str] = field(default_factory=Counter)
    lookups: set[tuple[str, tuple[str, ...]]] = field(default_factory=set)
    exceptions: dict[str, str] = field(default_factory=dict)  # CTEs that read a table apart, and why
    models: dict[object, str] = field(default_factory=dict)  # CTEs that stand for entities, segments and traits
    _names: set[str] = field(default_factory=set)

    # -- tables -----------------------------------------------------------------------------------------------------

    @property
    def periods(self) -> frozenset[str]:
        """The periods that the project declares."""
        return frozenset(self.project.config.periods)

    def entity(self, name: str) -> Entity:
        """A declared entity."""
        return self.project.entities[name]

    def table(self, entity: Entity, alias: str, clock: Clock) -> exp.Table:
        """An entity's rows under an alias: its table, remembered as read, or the CTE that makes them."""
        if not entity.table:
            return sql.table(models.rows_of(self, entity, clock), alias)
        self.reads[entity.table] += 1
        return sql.table(entity.table, alias)

    @property
    def tables(self) -> tuple[str, ...]:
        """Every `schema.table` that is read."""
        return tuple(sorted(self.reads))

    def read_apart(self) -> tuple[tuple[str, str], ...]:
        """What reads a table that another part of the statement may read too, and why."""
        why = "read {} times: by each way that leads to it, and apart for what decides and for what is said"
        several = {table: why.format(count) for table, count in self.reads.items() if count > 1}
        return tuple({**self.exceptions, **several}.items())

    def always_there(self, name: str) -> bool:
        """Whether every row of an entity's table exists, whenever it is asked."""
        entity = self.entity(name)
        return bool(entity.table) and entity.time is None and self.project.bound.entities.get(name) is None

    def unique(self, name: str, taken: Collection[str] = ()) -> str:
        """A name for a CTE that no other CTE, no entity (the alias of a row) and none of the taken names has."""
        chosen, count = name, 1
        while chosen in self._names or chosen in self.project.entities or chosen in taken:
            count += 1
            chosen = f"{name}_{count}"
        self._names.add(chosen)
        return chosen

    def is_cte(self, name: str) -> bool:
        """Whether a CTE has this name."""
        return name in self._names

    def define(self, name: str, body: exp.Query) -> None:
        """Add a CTE; those that it reads have been added before."""
        self.ctes[name] = body

    def select(
        self, row: SelectRow, clock: Clock, outputs: Sequence[exp.Expr], tests: Sequence[exp.Expr], group: Sequence[exp.Expr] = ()
    ) -> exp.Select:
        """A SELECT over a row of an entity, whose tests and outputs are compiled."""
        joins = row.sources()
        return exp.Select(
            expressions=list(outputs),
            from_=exp.From(this=self.table(row.entity, row.alias, clock)),
            joins=joins or None,
            where=exp.Where(this=sql.every(tests)) if tests else None,
            group=exp.Group(expressions=list(group)) if group else None,
        )

    def existence(self, row: SelectRow, clock: Clock) -> list[exp.Expr]:
        """Which rows of an entity exist at all: its own `where`, and nothing later than the clock."""
        parts = []
        own = self.project.bound.entities.get(row.entity.name)
        if own is not None and not row.entity.from_:
            parts.append(self.condition(own, row, Asked(clock)))
        name = start_of(row.entity)
        if name and row.entity.future == "hidden" and not self._made_of_past(row.entity, name):
            parts.append(happened(sql.column(row.alias, name), row.entity.columns[name].type, clock))
        return parts

    def _made_of_past(self, entity: Entity, time: str) -> bool:
        """Whether a derived entity has the time of its source, which hides what is later itself."""
        if not entity.from_:
            return False
        derived = self.project.bound.derived[entity.name]
        group, source = dict(derived.group).get(time), self.entity(derived.source)
        column = group.column if isinstance(group, DayOf) else group
        return source.future == "hidden" and column is not None and not column.hops and column.column == start_of(source)

    def calendar(self, row: Row, asked: Asked) -> Calendar:
        """What turns days into dates on a row."""
        return Calendar(asked.clock, self.periods, lambda operand: self.value(operand, row, asked))

    # -- conditions -------------------------------------------------------------------------------------------------

    def expression(self, term: Term, row: Row, asked: Asked) -> exp.Expr:
        """A condition or an operand."""
        if isinstance(term, CONDITIONS):
            return self.condition(cast(Condition, term), row, asked)
        return self.value(cast(Operand, term), row, asked)

    def condition(self, term: Condition, row: Row, asked: Asked) -> exp.Expr:
        """A condition on a row: true, or false, or null, which means false."""
        match term:
            case Every(of):
                return sql.every([self.condition(part, row, asked) for part in of])
            case Some(of):
                return sql.some([self.condition(part, row, asked) for part in of])
            case Negation(of):
                return sql.negation(self.condition(of, row, asked))
        carried = row.carried(term, asked)
        return carried if carried is not None else self._test(term, row, asked)

    def _test(self, term: Condition, row: Row, asked: Asked) -> exp.Expr:
        match term:
            case InSegment():
                return cast(SelectRow, row).segment(term, asked)
            case InSql(name):
                return models.member(self, name, cast(SelectRow, row), asked)
            case Exists(measure):
                return self._found(measure, row, asked)
            case Satisfies(measure, of):
                test = self.condition(of, self.picked_row(measure, row, asked), asked)
                return test if needs_row(of) else sql.every([self._found(measure, row, asked), test])
            case IsNull(operand):
                return sql.is_null(self.value(operand, row, asked))
            case InWindow(operand, window, kind):
                return self.calendar(row, asked).holds(Span(operand, None, kind), window)
            case AgeBetween(birth, low, high, unit, at):
                return self.calendar(row, asked).aged_between(self.value(birth, row, asked), low, high, unit, at)
            case Anniversary(operand, window, kind):
                calendar = self.calendar(row, asked)
                return calendar.returns(calendar.local_day(operand, kind), window)
            case Compare():
                return comparisons.compare(self, term, row, asked)
            case CompareTo():
                return comparisons.compare_to(self, term, row, asked)
            case OneOf():
                return comparisons.one_of(self, term, row, asked)
            case Holds():
                return comparisons.holds(self, term, row, asked)
            case AtTime(operand, start, end):
                return _at_time(sql.local_time(self.value(operand, row, asked), asked.clock.zone), start, end)
            case OnWeekday(operand, days, kind):
                day = exp.DayOfWeek(this=self.calendar(row, asked).local_day(operand, kind))
                return sql.one_of(day, [sql.number(iso % 7 + 1) for iso in days])
        raise AssertionError(f"{type(term).__name__} is compiled by `condition`")

    def _found(self, measure: Measure, row: Row, asked: Asked) -> exp.Expr:
        """Whether a measure has a row."""
        if inside(measure):
            return related.found(self, measure, row, asked)
        if measure.up:
            return self.condition(Exists(replace(measure, up=0)), row.out(measure.up), asked)
        return cast(SelectRow, row).scan(measure.link, asked, measure.hops).found(measure)

    # -- values -----------------------------------------------------------------------------------------------------

    def value(self, operand: Operand, row: Row, asked: Asked) -> exp.Expr:
        """An operand's value on a row."""
        if isinstance(operand, ColumnRef):
            return row.out(operand.up).column(replace(operand, up=0) if operand.up else operand, asked)
        if isinstance(operand, DayOf) and operand.column.type == "date":
            return self.value(operand.column, row, asked)
        if isinstance(operand, DayOf) and operand.column.up:
            return self.value(DayOf(replace(operand.column, up=0)), row.out(operand.column.up), asked)
        carried = row.carried(operand, asked)
        if carried is not None:
            return carried
        match operand:
            case DayOf(column):
                return sql.local_day(self.value(column, row, asked), asked.clock.zone)
            case Converted():
                return self._converted(operand, row, asked)
            case Measure():
                return self._measured(operand, row, asked)
            case Picked(measure, column):
                return self.value(column, self.picked_row(measure, row, asked), asked)
            case Covered(measure, name):
                return covered.value(self, measure, name, row, asked)
            case Tally(of):
                return _sum([sql.chosen([(self.condition(part, row, asked), sql.number(1))], sql.number(0)) for part in of])
            case Chosen(branches, otherwise, _):
                tests = [(self.condition(when, row, asked), comparisons.literal_or_null(then, asked)) for when, then in branches]
                return sql.chosen(tests, comparisons.literal_or_null(otherwise, asked) if otherwise is not None else None)
            case SqlValue(trait):
                return models.trait_value(self, trait, cast(SelectRow, row), asked)
            case Formula():
                return self._formula(operand, row, asked)

    def picked_row(self, measure: Measure, row: Row, asked: Asked) -> Row:
        """The row that a measure picks, as a place where its columns have values."""
        origin = row.out(measure.up)
        if inside(measure) or not isinstance(origin, SelectRow):
            return related.picked(self, measure, row, asked)
        scan = origin.scan(measure.link, asked, measure.hops)
        return PickedRow(self, self.entity(measure.link.entity), row, row.depth, scan, measure)

    def _measured(self, measure: Measure, row: Row, asked: Asked) -> exp.Expr:
        """A measure's value: null when it found nothing, except that a count of nothing is 0."""
        if inside(measure):
            return related.measured(self, measure, row, asked)
        if measure.up:
            return self.value(replace(measure, up=0), row.out(measure.up), asked)
        if measure.verb in ("latest", "earliest"):
            assert measure.of is not None, "a whole row has no value"
            return self.value(measure.of, self.picked_row(measure, row, asked), asked)
        scan = cast(SelectRow, row).scan(measure.link, asked, measure.hops)
        if measure.verb == "count" and measure.spaced is not None:
            return arrays.spaced(scan.gathered(measure, "days", scan.day(), exp.ArrayUniqueAgg), measure.spaced)
        if measure.verb == "count":
            return sql.coalesce(scan.counted(measure), sql.number(0))
        if measure.verb == "most_frequent":
            assert measure.of is not None, "the binder asks for `of`"
            return arrays.mode(scan.gathered(measure, "values", scan.value(measure.of)))
        if measure.verb == "list":
            return arrays.listed(scan.gathered(measure, "list", arrays.item(self, scan, measure)), measure)
        return scan.aggregated(measure, AGGREGATES[measure.verb])

    def _converted(self, operand: Converted, row: Row, asked: Asked) -> exp.Expr:
        value, unit = self.value(operand.column, row, asked), self.value(operand.unit, row, asked)
        several = len(operand.factors) > 1  # engines give each branch a type of its own
        branches = []
        for factor in operand.factors:
            scaled = value if factor.times == 1 else exp.Mul(this=value, expression=sql.number(factor.times))
            scaled = scaled if factor.over == 1 else exp.Div(this=scaled, expression=sql.number(factor.over))
            number = exp.Cast(this=scaled, to=arrays.EXACT) if several and operand.column.type != "double" else scaled
            branches.append((sql.one_of(unit, [sql.string(name) for name in factor.names]), number))
        return sql.chosen(branches)

    def _formula(self, term: Formula, row: Row, asked: Asked) -> exp.Expr:
        operands = dict(term.operands)

        def replaced(node: exp.Expr) -> exp.Expr:
            if isinstance(node, exp.Column):
                path = ".".join(part.name for part in node.parts)
                if path in operands:
                    return sql.grouped(self.value(operands[path], row, asked))
                assert path == "as_of", "the binder resolves every name"
                return sql.date_literal(asked.clock.day)
            if isinstance(node, exp.Anonymous) and node.name.lower() in ("days_between", "weeks_between"):
                return _between(node.name.lower(), *map(day, node.expressions))
            return node

        def day(node: exp.Expr) -> exp.Expr:
            operand = operands.get(".".join(part.name for part in node.parts)) if isinstance(node, exp.Column) else None
            if operand is not None and type_of(operand) == "timestamp":
                return self.calendar(row, asked).local_day(operand, "timestamp")
            return node.transform(replaced)

        return term.tree.copy().transform(replaced)


def start_of(entity: Entity) -> str:
    """The column that says when a row of an entity is, or begins; an empty text without one."""
    return entity.time.start if isinstance(entity.time, Interval) else entity.time or ""


def _at_time(local: exp.Expr, start: int, end: int) -> exp.Expr:
    """Minutes since midnight in [start, end), which may pass midnight."""
    minutes = exp.Add(this=exp.Mul(this=exp.Hour(this=local), expression=sql.number(60)), expression=exp.Minute(this=local))
    tests = [exp.GTE(this=minutes, expression=sql.number(start)), exp.LT(this=minutes, expression=sql.number(end))]
    return sql.every(tests) if start < end else sql.some(tests)


def _between(name: str, first: exp.Expr, last: exp.Expr) -> exp.Expr:
    """Days, or completed weeks, from one day to another."""
    days = exp.DateDiff(this=last, expression=first)
    if name == "days_between":
        return days
    weeks = exp.Floor(this=exp.Div(this=days, expression=sql.number(7)))
    return exp.Cast(this=weeks, to=sql.INTEGER)


def _sum(parts: Sequence[exp.Expr]) -> exp.Expr:
    total = parts[0]
    for part in parts[1:]:
        total = exp.Add(this=total, expression=part)
    return total
