"""Conditions -> SQL. Every function is Term -> Expr; an unknown comparison counts as false, `not` is the exact complement."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from sqlglot import exp

from cdp.compile import sql
from cdp.compile.clock import Clock
from cdp.compile.scans import Row
from cdp.compile.windows import aged_between, happened, in_window, resolve
from cdp.project.terms import (
    AgeBetween,
    ColumnRef,
    Compare,
    Condition,
    Every,
    Exists,
    InSegment,
    InWindow,
    IsNull,
    Measure,
    Negation,
    OneOf,
    Operand,
    Picked,
    Some,
    Value,
)
from cdp.spec.model import ColumnType, Entity, Interval

if TYPE_CHECKING:
    from cdp.project.load import Project

COMPARISONS: dict[str, type[exp.Binary]] = {
    "eq": exp.EQ,
    "ne": exp.NEQ,
    "gt": exp.GT,
    "gte": exp.GTE,
    "lt": exp.LT,
    "lte": exp.LTE,
}


@dataclass(slots=True)
class Compiler:
    """What one statement collects while it is built: its CTEs, the tables it reads, the keys it relies on."""

    project: Project
    ctes: dict[str, exp.Select] = field(default_factory=dict)
    tables: set[str] = field(default_factory=set)
    lookups: set[tuple[str, tuple[str, ...]]] = field(default_factory=set)
    _names: set[str] = field(default_factory=set)

    @property
    def periods(self) -> frozenset[str]:
        """The periods that the project declares."""
        return frozenset(self.project.config.periods)

    def entity(self, name: str) -> Entity:
        """A declared entity."""
        return self.project.entities[name]

    def table(self, entity: Entity, alias: str) -> exp.Table:
        """An entity's table under an alias; remembered as read."""
        self.tables.add(entity.table)
        return sql.table(entity.table, alias)

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

    def existence(self, row: Row, clock: Clock) -> list[exp.Expr]:
        """Which rows of an entity exist at all: its own `where`, and nothing later than the clock."""
        parts = []
        own = self.project.bound.entities.get(row.entity.name)
        if own is not None:
            parts.append(self.condition(own, row, clock, ""))
        time = row.entity.time
        if time is not None and row.entity.future == "hidden":
            name = time.start if isinstance(time, Interval) else time
            parts.append(happened(sql.column(row.alias, name), row.entity.columns[name].type, clock))
        return parts

    # -- terms ------------------------------------------------------------------------------------------------------

    def condition(self, term: Condition, row: Row, clock: Clock, role: str) -> exp.Expr:
        """A condition on a row."""
        match term:
            case Every(of):
                return sql.every([self.condition(part, row, clock, role) for part in of])
            case Some(of):
                return sql.some([self.condition(part, row, clock, role) for part in of])
            case Negation(of):
                return sql.negation(self.condition(of, row, clock, role))
            case InSegment(name):
                return row.segment(name, clock, role)
            case Exists(measure):
                return row.found(measure, clock, role)
            case IsNull(operand):
                return sql.is_null(self.value(operand, row, clock, role))
            case Compare():
                return self._compare(term, row, clock, role)
            case OneOf():
                return self._one_of(term, row, clock, role)
            case InWindow(operand, window, kind):
                return in_window(self.value(operand, row, clock, role), None, kind, window, clock, self.periods)
            case AgeBetween(birth, low, high, unit, at):
                return aged_between(row.column(birth, clock), low, high, unit, resolve(at, clock, self.periods))

    def value(self, operand: Operand, row: Row, clock: Clock, role: str) -> exp.Expr:
        """An operand's value on a row."""
        match operand:
            case ColumnRef():
                return row.column(operand, clock)
            case Measure():
                return row.measure(operand, clock, role)
            case Picked(measure, column):
                return row.picked(measure, column, clock, role)

    def _sibling(self, operand: Operand, name: str, row: Row, clock: Clock, role: str) -> exp.Expr:
        """Another column of the row that the operand's value comes from: its unit or code system."""
        match operand:
            case ColumnRef(hops, entity, _, _):
                return row.column(ColumnRef(hops, entity, name, "string"), clock)
            case Picked(measure, column):
                return row.picked(measure, ColumnRef(column.hops, column.entity, name, "string"), clock, role)
            case _:
                raise AssertionError("an aggregate keeps to one unit by its own filter")

    def _compare(self, term: Compare, row: Row, clock: Clock, role: str) -> exp.Expr:
        value = self.value(term.operand, row, clock, role)
        test = _comparison(term, value, clock)
        if not term.units:
            return test
        column = _column(term.operand)
        unit = self.entity(column.entity).columns[column.column].unit
        assert unit is not None, "the binder asks for a unit column"
        return sql.every([_one_of(self._sibling(term.operand, unit, row, clock, role), term.units, clock), test])

    def _one_of(self, term: OneOf, row: Row, clock: Clock, role: str) -> exp.Expr:
        value = self.value(term.operand, row, clock, role)
        found = _one_of(_comparable(value, term.type, term.values[0], clock) if term.values else value, term.values, clock)
        if not term.systems:
            return found
        column = _column(term.operand)
        system = self.entity(column.entity).columns[column.column].system
        assert system is not None, "the binder gives systems only where a system column is declared"
        return sql.every([found, _one_of(self._sibling(term.operand, system, row, clock, role), term.systems, clock)])


def _column(operand: Operand) -> ColumnRef:
    """The column of an operand that has a unit or a code system."""
    assert not isinstance(operand, Measure), "the binder puts units and systems on columns only"
    return operand if isinstance(operand, ColumnRef) else operand.column


def _one_of(value: exp.Expr, values: tuple[Value, ...], clock: Clock) -> exp.Expr:
    if isinstance(value, exp.Column) and all(isinstance(v, str) for v in values):
        return sql.in_texts(value.table, value.name, cast("tuple[str, ...]", values))
    return sql.one_of(value, [_literal(v, clock) for v in values])


def _comparison(term: Compare, value: exp.Expr, clock: Clock) -> exp.Expr:
    literal = _literal(term.value, clock)
    if term.op in COMPARISONS:
        return COMPARISONS[term.op](this=_comparable(value, term.type, term.value, clock), expression=literal)
    name = {"starts_with": exp.StartsWith, "ends_with": exp.EndsWith, "contains": exp.Contains}[term.op]
    return name(this=value, expression=literal)


def _literal(value: Value, clock: Clock) -> exp.Expr:
    """A typed literal; a timestamp without an offset is local time."""
    if isinstance(value, dt.datetime) and value.tzinfo is None:
        value = value.replace(tzinfo=clock.instant.tzinfo)
    return sql.literal(value)


def _comparable(value: exp.Expr, kind: ColumnType, literal: object, clock: Clock) -> exp.Expr:
    """A timestamp meets a day as its own local calendar day."""
    is_day = isinstance(literal, dt.date) and not isinstance(literal, dt.datetime)
    return sql.local_day(value, clock.zone) if kind == "timestamp" and is_day else value
