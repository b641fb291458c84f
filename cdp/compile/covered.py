"""`days_covered`: on how many days of a window a person had a supply, and what follows from that.

The measure of the Pharmacy Quality Alliance (proportion of days covered): fills of the same drug follow each other, an early
refill is shifted forward to the end of the one before; different drugs overlap; what reaches past the window does not
count. In closed form, without recursion: with s the supplies summed up to a fill, its last day is
s - 1 + max(day - (s - supply)) over the fills up to it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from sqlglot import exp, parse_one

from cdp.compile import sql
from cdp.compile.rows import Asked, Row
from cdp.compile.scans import SelectRow, span_of, started
from cdp.project.terms import Cover, Covered, DayOf, Measure

if TYPE_CHECKING:
    from cdp.compile.conditions import Compiler

# Days are counted from the window's first, which is 0. `keys` stands for the columns that lead back to the person, `span`
# for the window's last day, `start` for its first as a date; each step reads the one before it.
STEPS = {
    "runs": "SELECT keys, same, day, supply, SUM(supply) OVER (PARTITION BY keys, same ORDER BY day) AS filled FROM fills",
    "shifted": """SELECT keys, day, supply,
        filled - 1 + MAX(day - (filled - supply)) OVER (PARTITION BY keys, same ORDER BY day) AS last FROM runs""",
    "spans": """SELECT keys, day, last - supply + 1 AS first, last, MAX(last) OVER (PARTITION BY keys
        ORDER BY last - supply + 1, last ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM shifted""",
    "cover": """SELECT keys,
        DATE_ADD(start, CAST(MIN(day) AS INT)) AS first_fill,
        DATE_ADD(start, CAST(MAX(last) AS INT)) AS until,
        COUNT(DISTINCT day) AS fill_days,
        SUM(GREATEST(0, LEAST(last, span) - GREATEST(first, COALESCE(before + 1, first)) + 1)) AS days,
        span - MIN(day) + 1 AS of_days,
        GREATEST(MAX(GREATEST(0, LEAST(first, span + 1) - COALESCE(before + 1, first))), span - MAX(last), 0) AS longest_gap
        FROM spans GROUP BY keys""",
}


def value(compiler: Compiler, measure: Measure, name: Cover, row: Row, asked: Asked) -> exp.Expr:
    """One of the values of `days_covered`; null for who has no fill in the window."""
    if measure.up:
        return compiler.value(Covered(replace(measure, up=0), name), row.out(measure.up), asked)
    select = cast(SelectRow, row)
    key = ("covered", measure, asked)
    if key not in select.tables:
        cte = _define(compiler, measure, asked)
        select.beside(key, cte, measure.link, measure.hops, asked)
    cte = select.tables[key].alias_or_name
    if name == "share":
        days = exp.Cast(this=sql.column(cte, "days"), to=sql.DOUBLE)
        return exp.Div(this=days, expression=sql.column(cte, "of_days"))
    return sql.column(cte, name)


def _define(compiler: Compiler, measure: Measure, asked: Asked) -> str:
    """The CTEs of one measure; returns the name of the last, which has one row for each person with a fill."""
    window = measure.window
    assert window is not None, "the binder asks for a window"
    label = measure.label or measure.link.name
    names = {step: compiler.unique("_".join(filter(None, [asked.role, label, step]))) for step in ("fills", *STEPS)}
    row = SelectRow.of(compiler, compiler.entity(measure.link.entity), measure.link.entity)
    calendar = compiler.calendar(row, asked)
    first, last = calendar.days(window)
    keys = [theirs for theirs, _ in measure.link.on]
    compiler.define(names["fills"], _fills(compiler, measure, row, asked, sql.literal(first)))
    known = {"start": sql.literal(first), "span": sql.number((last - first).days)}
    for step in STEPS:
        compiler.define(names[step], _filled_in(step, keys, known, names))
    compiler.exceptions[names["fills"]] = f"days_covered needs every fill in order, so {row.entity.name} is read for it alone"
    return names["cover"]


def _fills(compiler: Compiler, measure: Measure, row: SelectRow, asked: Asked, start: exp.Expr) -> exp.Select:
    """The days on which something was filled and for how many days it lasts, by person and drug."""
    span = span_of(row.entity)
    assert span is not None, "the binder asks for a time"
    assert measure.supply is not None, "the binder asks for `supply`"
    assert measure.window is not None, "the binder asks for a window"
    supply = compiler.value(measure.supply, row, asked)
    day = exp.DateDiff(this=compiler.value(DayOf(started(row.entity)), row, asked), expression=start)
    same = compiler.value(measure.same, row, asked) if measure.same is not None else sql.string("")
    tests = compiler.existence(row, asked.clock)
    if measure.where is not None:
        tests.append(compiler.condition(measure.where, row, asked))
    tests += [compiler.calendar(row, asked).holds(span, measure.window), exp.GT(this=supply, expression=sql.number(0))]
    keys = [sql.column(row.alias, theirs) for theirs, _ in measure.link.on]
    outputs = [*keys, sql.alias(same, "same"), sql.alias(day, "day"), sql.alias(exp.Sum(this=supply), "supply")]
    return compiler.select(row, asked.clock, outputs, tests, [*keys, same, day] if measure.same is not None else [*keys, day])


@lru_cache
def _parsed(step: str) -> exp.Expr:
    return parse_one(STEPS[step], dialect="spark")


def _filled_in(step: str, keys: list[str], known: dict[str, exp.Expr], names: dict[str, str]) -> exp.Select:
    """A step with the words of `STEPS` that stand for something replaced by it."""

    def replaced(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Column):
            return known.get(node.name, node)
        if isinstance(node, exp.Table):
            return sql.table(names[node.name], node.name)
        return node.this if isinstance(node, exp.TsOrDsToDate) else node

    tree = _parsed(step).copy().transform(replaced)
    for node in list(tree.walk()):
        for arg in ("expressions", "partition_by"):
            parts = node.args.get(arg)
            if isinstance(parts, list) and any(isinstance(part, exp.Column) and part.name == "keys" for part in parts):
                node.set(arg, [*(exp.Column(this=sql.identifier(key)) for key in keys), *parts[1:]])
    return cast(exp.Select, tree)
