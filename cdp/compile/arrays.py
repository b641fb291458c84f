"""What is computed over an array of values: days that lie apart, the most frequent value, a list in order, sums.

Each function takes an array and gives a value; of no array, or an empty one, it gives what the measure gives of no rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from cdp.compile import sql
from cdp.project.terms import Measure

if TYPE_CHECKING:
    from cdp.compile.conditions import Compiler
    from cdp.compile.scans import Scan

EXACT = exp.DataType.build("DECIMAL(38, 10)")
WHOLE = exp.DataType.build("BIGINT")
SUMS = {"integer": WHOLE, "decimal": EXACT, "double": sql.DOUBLE}


def spaced(days: exp.Expr, apart: int) -> exp.Expr:
    """How many of the days count when each must lie `apart` days after the one counted before, the earliest first."""
    kept, day = sql.identifier("kept"), sql.identifier("day")
    last = exp.Anonymous(this="get", expressions=[kept, exp.Sub(this=exp.ArraySize(this=kept), expression=sql.number(1))])
    next_day = exp.TsOrDsAdd(this=last, expression=sql.number(apart), unit=exp.Var(this="DAY"))
    counts = sql.some([sql.equal(exp.ArraySize(this=kept), sql.number(0)), exp.GTE(this=day, expression=next_day)])
    longer = exp.Anonymous(this="array_append", expressions=[kept, day])
    start = exp.Cast(this=exp.Array(expressions=[]), to=sql.DAYS)
    return sql.size(sql.folded(in_order(days), start, ("kept", "day"), exp.If(this=counts, true=longer, false=kept)))


def mode(values: exp.Expr) -> exp.Expr:
    """The most frequent value; of several, the lowest."""
    value, position, same = sql.identifier("value"), sql.identifier("position"), sql.identifier("same")
    times = exp.ArraySize(this=sql.kept(values, "same", sql.equal(same, value)))
    ranked = exp.Transform(
        this=in_order(exp.ArrayDistinct(this=values)),
        expression=sql.function(["value", "position"], sql.struct(times=times, first=exp.Neg(this=position), value=value)),
    )
    return sql.field(sql.highest(ranked), "value")


def item(compiler: Compiler, scan: Scan, measure: Measure) -> exp.Expr:
    """What `list` collects of a row: where it stands in the order, then the value. Null where there is no value."""
    assert measure.of is not None, "the binder asks for `of`"
    value = scan.value(measure.of)
    order = exp.Struct(expressions=moment(scan) if scan.row.entity.time is not None else [value, *scan.key()])
    return sql.chosen([(sql.not_null(value), sql.struct(place=order, value=value))])


def moment(scan: Scan) -> list[exp.Expr]:
    """The order of a row among others: by time, rows without one last, then by key; no part is null."""
    start = scan.start()
    micros = exp.Anonymous(this="unix_micros", expressions=[exp.Cast(this=start, to=sql.TIMESTAMP)])
    return [sql.is_null(start), sql.coalesce(micros, sql.number(0)), *scan.key()]


def listed(items: exp.Expr, measure: Measure) -> exp.Expr:
    """The values of `item`s in order: each once with `distinct`, at most `limit` of them; null where there are none."""
    values = sql.mapped(in_order(items), "item", sql.field(sql.identifier("item"), "value"))
    if measure.distinct is not None:
        values = exp.ArrayDistinct(this=values)
    if measure.limit is not None:
        values = exp.ArraySlice(this=values, start=sql.number(1), end=sql.number(measure.limit), is_length=True)
    return sql.chosen([(exp.GT(this=sql.size(items), expression=sql.number(0)), values)])


def total(values: exp.Expr, kind: str) -> exp.Expr:
    """The sum of an array of numbers; null of an empty one."""
    to = SUMS.get(kind, sql.DOUBLE)
    so_far, value = sql.identifier("so_far"), sql.identifier("value")
    added = exp.Cast(this=exp.Add(this=so_far, expression=value), to=to)
    summed = sql.folded(values, exp.Cast(this=sql.number(0), to=to), ("so_far", "value"), added)
    return sql.chosen([(exp.GT(this=sql.size(values), expression=sql.number(0)), summed)])


def mean(values: exp.Expr) -> exp.Expr:
    """The average of an array of numbers; null of an empty one."""
    several = exp.Nullif(this=sql.size(values), expression=sql.number(0))
    return exp.Div(this=total(values, "double"), expression=several)


def in_order(array: exp.Expr) -> exp.Expr:
    """`ARRAY_SORT(array)`."""
    return exp.ArraySort(this=array)
