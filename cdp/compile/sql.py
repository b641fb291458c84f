"""The small vocabulary of SQL that the compiler builds from: names, typed literals, two-valued logic.

Values become typed literal nodes, never formatted text. Equal names and literals are one node, shared by all trees
(nobody changes a tree in place), so that a thousand segments compile in about a second.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache

from sqlglot import exp
from sqlglot.dialects.spark import Spark

from cdp.project.terms import Value

DATE = exp.DataType(this=exp.DataType.Type.DATE)
TIMESTAMP = exp.DataType(this=exp.DataType.Type.TIMESTAMPTZ)
TEXT = exp.DataType(this=exp.DataType.Type.TEXT)
INTEGER = exp.DataType(this=exp.DataType.Type.INT)
DOUBLE = exp.DataType(this=exp.DataType.Type.DOUBLE)
DAYS = exp.DataType(this=exp.DataType.Type.ARRAY, expressions=[DATE], nested=True)
TRUE, FALSE = exp.Boolean(this=True), exp.Boolean(this=False)
shared = lru_cache(maxsize=1 << 16)


@shared
def identifier(name: str) -> exp.Identifier:
    """A name; words that some engine reserves (`end`, `date`) are quoted."""
    return exp.Identifier(this=name, quoted=name.upper() in Spark.Tokenizer.KEYWORDS or not name.isidentifier())


@shared
def column(table: str, name: str) -> exp.Column:
    """`table.name`."""
    return exp.Column(this=identifier(name), table=identifier(table))


def table(name: str, alias: str) -> exp.Table:
    """`schema.name AS alias`, or a CTE's name."""
    schema, _, last = name.rpartition(".")
    node = exp.Table(this=identifier(last), db=identifier(schema) if schema else None)
    if alias != last or schema:
        node.set("alias", exp.TableAlias(this=identifier(alias)))
    return node


def alias(value: exp.Expr, name: str) -> exp.Alias:
    """`value AS name`."""
    return exp.Alias(this=value, alias=identifier(name))


@shared
def string(text: str) -> exp.Literal:
    """A text."""
    return exp.Literal(this=text, is_string=True)


def number(value: int | Decimal) -> exp.Expr:
    """A number, exact."""
    if value < 0:
        return exp.Neg(this=number(-value))
    return exp.Literal(this=format(value, "f") if isinstance(value, Decimal) else str(value), is_string=False)


PRIVATE = "private"


def private(value: exp.Expr) -> exp.Expr:
    """A literal that says who somebody is: the engine gets it as a parameter, so that it stands in no query's text and history."""
    for literal in value.find_all(exp.Literal):
        literal.meta[PRIVATE] = True
    return value


@shared
def date_literal(day: dt.date) -> exp.Expr:
    """A calendar day."""
    return exp.Cast(this=string(day.isoformat()), to=DATE)


@shared
def timestamp_literal(moment: dt.datetime) -> exp.Expr:
    """A moment with its offset, so that the hour that comes twice is one of the two."""
    offset = moment.utcoffset()
    if offset is None or offset.seconds % 60:  # local mean times of long ago have offsets that SQL cannot write
        moment = moment.astimezone(dt.UTC)
    return exp.Cast(this=string(moment.isoformat(sep=" ")), to=TIMESTAMP)


def local_time(moment: exp.Expr, zone: str) -> exp.Expr:
    """A timestamp whose clock shows the time of a time zone; sessions are in UTC."""
    return exp.Anonymous(this="from_utc_timestamp", expressions=[moment, string(zone)])


def local_day(moment: exp.Expr, zone: str) -> exp.Expr:
    """The calendar day of a timestamp in a time zone."""
    return exp.Cast(this=local_time(moment, zone), to=DATE)


def grouped(value: exp.Expr) -> exp.Expr:
    """A value that may stand inside of an expression."""
    stands = isinstance(value, (exp.Column, exp.Literal, exp.Func)) and not isinstance(value, exp.Connector)  # AND is a Func to sqlglot
    return value if stands else exp.Paren(this=value)


def literal(value: Value) -> exp.Expr:
    """A typed literal."""
    if isinstance(value, bool):
        return TRUE if value else FALSE
    if isinstance(value, dt.datetime):
        return timestamp_literal(value)
    if isinstance(value, dt.date):
        return date_literal(value)
    return string(value) if isinstance(value, str) else number(value)


def one_of(value: exp.Expr, literals: Sequence[exp.Expr]) -> exp.Expr:
    """`value IN (...)`, plain equality with one literal, false with none."""
    if len(literals) < 2:
        return equal(value, literals[0]) if literals else FALSE
    return exp.In(this=value, expressions=list(literals))


@shared
def in_texts(table: str, name: str, texts: tuple[str, ...]) -> exp.Expr:
    """A column that is one of several texts: the tests that value sets become, most of them in many segments."""
    return one_of(column(table, name), [string(text) for text in texts])


def every(parts: Iterable[exp.Expr]) -> exp.Expr:
    """AND; true without parts."""
    return _chain([part for part in parts if not is_true(part)], exp.And, True)


def some(parts: Iterable[exp.Expr]) -> exp.Expr:
    """OR; false without parts."""
    return _chain(list(parts), exp.Or, False)


def _chain(parts: Sequence[exp.Expr], kind: type[exp.Connector], empty: bool) -> exp.Expr:
    if not parts:
        return TRUE if empty else FALSE
    if len(parts) == 1:
        return parts[0]
    joined: exp.Expr = _grouped(parts[0], kind)
    for part in parts[1:]:
        joined = kind(this=joined, expression=_grouped(part, kind))
    return joined


def _grouped(part: exp.Expr, inside: type[exp.Connector]) -> exp.Expr:
    return exp.Paren(this=part) if isinstance(part, exp.Connector) and not isinstance(part, inside) else part


def equal(left: exp.Expr, right: exp.Expr) -> exp.EQ:
    """`left = right`."""
    return exp.EQ(this=left, expression=right)


def is_null(value: exp.Expr) -> exp.Expr:
    """`value IS NULL`."""
    return exp.Is(this=value, expression=exp.Null())


def not_null(value: exp.Expr) -> exp.Expr:
    """`NOT value IS NULL`."""
    return exp.Not(this=is_null(value))


def coalesce(value: exp.Expr, default: exp.Expr) -> exp.Expr:
    """`COALESCE(value, default)`."""
    return exp.Coalesce(this=value, expressions=[default])


def negation(test: exp.Expr) -> exp.Expr:
    """The exact complement: where the test is unknown, its negation is true."""
    if isinstance(test, exp.Not) and isinstance(test.this, exp.Coalesce):
        return test.this
    if isinstance(test, (exp.Is, exp.Boolean)) or _counts(test):
        return exp.Not(this=test)
    if isinstance(test, exp.Not) and isinstance(test.this, exp.Is):
        return test.this
    return exp.Not(this=coalesce(test, FALSE))


def _counts(test: exp.Expr) -> bool:
    """A comparison of a literal with a value that falls back to one is never unknown."""
    if not (isinstance(test, exp.Binary) and isinstance(test.this, exp.Coalesce) and isinstance(test.expression, exp.Literal)):
        return False
    return any(isinstance(default, exp.Literal) for default in test.this.expressions)


# -- arrays -----------------------------------------------------------------------------------------------------------


def field(value: exp.Expr, name: str) -> exp.Dot:
    """`value.name`, of a struct."""
    return exp.Dot(this=value, expression=identifier(name))


def struct(**fields: exp.Expr) -> exp.Struct:
    """`STRUCT(value AS name, ...)`."""
    return exp.Struct(expressions=[exp.PropertyEQ(this=identifier(name), expression=value) for name, value in fields.items()])


def function(variables: Sequence[str], body: exp.Expr) -> exp.Lambda:
    """`x -> body`."""
    return exp.Lambda(this=body, expressions=[identifier(name) for name in variables])


def any_of(array: exp.Expr, variable: str, test: exp.Expr) -> exp.Exists:
    """`EXISTS(array, x -> test)`."""
    return exp.Exists(this=array, expression=function([variable], test))


def kept(array: exp.Expr, variable: str, test: exp.Expr) -> exp.Expr:
    """`FILTER(array, x -> test)`; the array itself where everything passes."""
    return array if is_true(test) else exp.ArrayFilter(this=array, expression=function([variable], test))


def mapped(array: exp.Expr, variable: str, value: exp.Expr) -> exp.Expr:
    """`TRANSFORM(array, x -> value)`."""
    return exp.Transform(this=array, expression=function([variable], value))


def folded(array: exp.Expr, start: exp.Expr, variables: tuple[str, str], value: exp.Expr) -> exp.Expr:
    """`AGGREGATE(array, start, (so_far, x) -> value)`."""
    return exp.Reduce(this=array, initial=start, merge=function(variables, value))


def highest(array: exp.Expr) -> exp.Expr:
    """The highest element; null of an empty array. Not ARRAY_MAX: inside of a lambda over nothing Sail fails on it."""
    return _first(exp.ArraySort(this=array, asc=FALSE, nulls_first=FALSE))


def lowest(array: exp.Expr) -> exp.Expr:
    """The lowest element, which is not null; null of an empty array."""
    return _first(exp.ArraySort(this=array))


def _first(array: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this="get", expressions=[array, number(0)])


def size(array: exp.Expr) -> exp.Expr:
    """The number of elements; of no array 0, where engines say -1 or NULL. GREATEST passes over NULL."""
    return exp.Greatest(this=exp.ArraySize(this=array), expressions=[number(0)])


def chosen(branches: Iterable[tuple[exp.Expr, exp.Expr]], default: exp.Expr | None = None) -> exp.Case:
    """`CASE WHEN test THEN value ... ELSE default END`."""
    return exp.Case(ifs=[exp.If(this=test, true=value) for test, value in branches], default=default)


def where(aggregate: exp.Expr, test: exp.Expr) -> exp.Expr:
    """`aggregate FILTER (WHERE test)`."""
    return aggregate if is_true(test) else exp.Filter(this=aggregate, expression=exp.Where(this=test))


def is_true(node: exp.Expr) -> bool:
    """Whether a test is the literal TRUE."""
    return isinstance(node, exp.Boolean) and bool(node.this)
