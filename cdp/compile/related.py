"""Measures whose rows are compared with the row around them: "a visit within 14 days after that stay".

Two rows of related tables meet in no single scan. So the scan collects the rows that the measure's own conditions leave as
a small array, and what compares them with the row around is a lambda function over that array. Each table is still read
once. This module is the one place that decides on arrays; an anti-join or a window would go here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlglot import exp

from cdp.compile import arrays, sql
from cdp.compile.reach import of_window, reach
from cdp.compile.rows import Asked, Element, Row
from cdp.compile.scans import span_of, started
from cdp.project.terms import Condition, DayOf, Every, Measure, Operand
from cdp.project.terms.types import type_of

if TYPE_CHECKING:
    from cdp.compile.conditions import Compiler


@dataclass(frozen=True, slots=True)
class Elements:
    """The rows of a measure as an array, an element of it, and the test that decides which of them the measure has."""

    compiler: Compiler
    measure: Measure
    asked: Asked
    array: exp.Expr
    element: Element
    variable: str
    test: exp.Expr

    def value(self, operand: Operand) -> exp.Expr:
        """An operand's value on an element."""
        return self.compiler.value(operand, self.element, self.asked)

    def values(self, value: exp.Expr) -> exp.Expr:
        """An array of a value of the rows that pass; rows without it are left out."""
        passed = sql.kept(self.array, self.variable, sql.every([self.test, sql.not_null(value)]))
        return sql.mapped(passed, self.variable, value)

    def day(self) -> exp.Expr:
        """The local calendar day of an element."""
        return self.value(DayOf(started(self.element.entity)))


def found(compiler: Compiler, measure: Measure, row: Row, asked: Asked) -> exp.Expr:
    """Whether one of the rows passes: true, false or null, where null means false."""
    rows = _elements(compiler, measure, row, asked)
    return sql.any_of(rows.array, rows.variable, rows.test)


def measured(compiler: Compiler, measure: Measure, row: Row, asked: Asked) -> exp.Expr:
    """The value of a measure over the rows that pass."""
    if measure.verb in ("latest", "earliest"):
        assert measure.of is not None, "a whole row has no value"
        return compiler.value(measure.of, picked(compiler, measure, row, asked), asked)
    rows = _elements(compiler, measure, row, asked)
    if measure.verb == "count":
        return _count(rows)
    assert measure.of is not None, "the binder asks for `of`"
    if measure.verb == "list":
        scan = rows.element.scan
        item = rows.element.carry(("item", measure.of), "item", lambda _: arrays.item(compiler, scan, measure))
        return arrays.listed(rows.values(item), measure)
    values = rows.values(rows.value(measure.of))
    match measure.verb:
        case "min":
            return sql.lowest(values)
        case "max":
            return sql.highest(values)
        case "sum":
            return arrays.total(values, str(type_of(measure.of)))
        case "avg":
            return arrays.mean(values)
        case "most_frequent":
            return arrays.mode(values)
    raise AssertionError(f"the binder keeps `{measure.verb}` to rows that can be judged by themselves")


def _count(rows: Elements) -> exp.Expr:
    measure = rows.measure
    if measure.spaced is not None:
        return arrays.spaced(exp.ArrayDistinct(this=rows.values(rows.day())), measure.spaced)
    if measure.distinct is not None:
        value = rows.day() if measure.distinct == "day" else rows.value(measure.distinct)
        return sql.size(exp.ArrayDistinct(this=rows.values(value)))
    return sql.size(sql.kept(rows.array, rows.variable, rows.test))


def picked(compiler: Compiler, measure: Measure, row: Row, asked: Asked) -> Row:
    """The row that `latest` or `earliest` picks of those that pass."""
    rows = _elements(compiler, measure, row, asked)
    scan = rows.element.scan
    order = rows.element.carry(("order", measure.by_day, measure.ties, measure.verb), "place", lambda _: scan.order(measure))
    ranked = sql.mapped(
        sql.kept(rows.array, rows.variable, rows.test),
        rows.variable,
        sql.struct(place=order, row=sql.identifier(rows.variable)),
    )
    best = sql.highest(ranked) if measure.verb == "latest" else sql.lowest(ranked)
    return replace(rows.element, value=sql.field(best, "row"), depth=row.depth)


def _elements(compiler: Compiler, measure: Measure, row: Row, asked: Asked) -> Elements:
    own, further = _split(measure)
    array, collection = row.out(measure.up).array(own, asked)
    entity = compiler.entity(measure.link.entity)
    variable = f"{entity.name}_{row.depth + 1}"
    element = Element(compiler, entity, row, row.depth + 1, collection.scan, sql.identifier(variable), collection)
    tests = [compiler.condition(part, element, asked) for part in further]
    span = span_of(entity)
    if measure.window is not None and own.window is None and span is not None:
        tests.append(compiler.calendar(element, asked).holds(span, measure.window))
    return Elements(compiler, measure, asked, array, element, variable, sql.every(tests))


def _split(measure: Measure) -> tuple[Measure, list[Condition]]:
    """The measure with the conditions that a row can answer by itself, and those that it cannot."""
    parts = list(measure.where.of) if isinstance(measure.where, Every) else [measure.where] if measure.where is not None else []
    own = tuple(part for part in parts if not reach(part))
    where = Every(own) if len(own) > 1 else own[0] if own else None
    window = None if of_window(measure.window) else measure.window
    return replace(measure, where=where, window=window, up=0), [part for part in parts if reach(part)]
