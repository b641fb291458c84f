"""Comparisons: a value with a literal, with another value, with a set of values; an array with what it holds."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from sqlglot import exp

from cdp.compile import sql
from cdp.compile.rows import Asked, Row
from cdp.project.terms import ColumnRef, Compare, CompareTo, Holds, OneOf, Operand, Picked, Value
from cdp.project.terms.types import type_of
from cdp.spec.model import ColumnType

if TYPE_CHECKING:
    from cdp.compile.conditions import Compiler

COMPARISONS: dict[str, type[exp.Binary]] = {
    "eq": exp.EQ,
    "ne": exp.NEQ,
    "gt": exp.GT,
    "gte": exp.GTE,
    "lt": exp.LT,
    "lte": exp.LTE,
}
TEXTS = {"starts_with": exp.StartsWith, "ends_with": exp.EndsWith, "contains": exp.Contains, "matches": exp.RegexpLike}


def compare(compiler: Compiler, term: Compare, row: Row, asked: Asked) -> exp.Expr:
    """`operand op literal`; of a quantity also that the row is in one of the units."""
    value = compiler.value(term.operand, row, asked)
    test = _comparison(term, value, asked)
    if not term.units:
        return test
    column = _column(term.operand)
    unit = compiler.entity(column.entity).columns[column.column].unit
    assert unit is not None, "the binder asks for a unit column"
    return sql.every([_one_of(_sibling(compiler, term.operand, unit, row, asked), term.units, asked), test])


def compare_to(compiler: Compiler, term: CompareTo, row: Row, asked: Asked) -> exp.Expr:
    """`operand op other`; a day and a moment meet as local days."""
    kinds = (term.type, type_of(term.other))
    sides = [compiler.value(term.operand, row, asked), compiler.value(term.other, row, asked)]
    if "date" in kinds and "timestamp" in kinds:  # they meet as local days
        operands = (term.operand, term.other)
        sides = [compiler.calendar(row, asked).local_day(side, str(kind)) for side, kind in zip(operands, kinds, strict=True)]
    return COMPARISONS[term.op](this=sides[0], expression=sides[1])


def one_of(compiler: Compiler, term: OneOf, row: Row, asked: Asked) -> exp.Expr:
    """The operand is one of the literals, and its code system, where the row says it, one of the set's."""
    value = compiler.value(term.operand, row, asked)
    values = term.values
    if term.ignore_case:
        value, values = exp.Lower(this=value), tuple(str(v).lower() for v in values)
    found = _one_of(_comparable(value, term.type, values[0], asked) if values else value, values, asked)
    if not term.systems:
        return found
    column = _column(term.operand)
    system = compiler.entity(column.entity).columns[column.column].system
    assert system is not None, "the binder gives systems only where a system column is declared"
    return sql.every([found, _one_of(_sibling(compiler, term.operand, system, row, asked), term.systems, asked)])


def holds(compiler: Compiler, term: Holds, row: Row, asked: Asked) -> exp.Expr:
    """An array holds one of the literals, or all of them."""
    array = compiler.value(term.operand, row, asked)
    # Not EXISTS(array, ...): Sail finds no column in a lambda that it hands down to the scan of a Delta table.
    each = [exp.ArrayContains(this=array, expression=_literal(value, asked)) for value in term.values]
    return sql.every(each) if term.all else sql.some(each)


def _sibling(compiler: Compiler, operand: Operand, name: str, row: Row, asked: Asked) -> exp.Expr:
    """Another column of the row that the operand's value comes from: its unit or code system."""
    match operand:
        case ColumnRef():
            return compiler.value(replace(operand, column=name, type="string"), row, asked)
        case Picked(measure, column):
            return compiler.value(Picked(measure, replace(column, column=name, type="string")), row, asked)
        case _:
            raise AssertionError("an aggregate keeps to one unit by its own filter")


def _column(operand: Operand) -> ColumnRef:
    """The column of an operand that has a unit or a code system."""
    column = operand.column if isinstance(operand, Picked) else operand
    assert isinstance(column, ColumnRef), "the binder puts units and systems on columns only"
    return column


def _one_of(value: exp.Expr, values: tuple[Value, ...], asked: Asked) -> exp.Expr:
    if isinstance(value, exp.Column) and all(isinstance(v, str) for v in values):
        return sql.in_texts(value.table, value.name, cast("tuple[str, ...]", values))
    return sql.one_of(value, [_literal(v, asked) for v in values])


def _comparison(term: Compare, value: exp.Expr, asked: Asked) -> exp.Expr:
    literal = _literal(term.value, asked)
    if term.ignore_case:
        value, literal = exp.Lower(this=value), sql.string(str(term.value).lower())
    if term.op in COMPARISONS:
        return COMPARISONS[term.op](this=_comparable(value, term.type, term.value, asked), expression=literal)
    return TEXTS[term.op](this=value, expression=literal)


def _literal(value: Value, asked: Asked) -> exp.Expr:
    """A typed literal; a timestamp without an offset is local time."""
    if isinstance(value, dt.datetime) and value.tzinfo is None:
        value = value.replace(tzinfo=asked.clock.instant.tzinfo)
    return sql.literal(value)


def literal_or_null(value: Value | None, asked: Asked) -> exp.Expr:
    """A typed literal, or NULL."""
    return exp.Null() if value is None else _literal(value, asked)


def _comparable(value: exp.Expr, kind: ColumnType, literal: object, asked: Asked) -> exp.Expr:
    """A timestamp meets a day as its own local calendar day."""
    is_day = isinstance(literal, dt.date) and not isinstance(literal, dt.datetime)
    return sql.local_day(value, asked.clock.zone) if kind == "timestamp" and is_day else value
