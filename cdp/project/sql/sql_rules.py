"""What is on the list of SQL, but not in every place: what needs company, and what engines compute in different ways.

A rule looks at one node and says what is wrong with it and what to write instead, or nothing. The differences were seen on
Sail 0.7 and Spark 4.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlglot import exp

from cdp.project.language import patterns
from cdp.project.sql import syntax

AS_OF: Final = "as_of"  # the day of the clock, where a column could stand
Rule = Callable[[exp.Expr], "tuple[str, str] | None"]


def _star(node: exp.Expr) -> tuple[str, str] | None:
    return None if isinstance(node.parent, exp.Count) else ("`*` hides what is read", "name the columns")


def _placeholder(node: exp.Expr) -> tuple[str, str]:
    return "a placeholder: nothing fills it in", "write the value itself"


def _unit(node: exp.Expr) -> tuple[str, str] | None:
    fits = node.arg_key == "unit" or (isinstance(node.parent, exp.Extract) and node.arg_key == "this")
    return None if fits and node.name.upper() in syntax.UNITS else (f"{node.name!r}: a word without quotes", "a text stands in 'quotes'")


def _ordered(node: exp.Expr) -> tuple[str, str] | None:
    query = node.parent
    ordered = query is not None and query.args.get("order")
    return None if ordered else ("LIMIT without ORDER BY: any rows could be meant", "say in which order")


def _join(node: exp.Expr) -> tuple[str, str] | None:
    return ("JOIN ... USING: engines differ about the joined column", "write ON a.x = b.x") if node.args.get("using") else None


def _lateral(node: exp.Expr) -> tuple[str, str] | None:
    if not node.args.get("view"):
        return "LATERAL of a subquery", "LATERAL VIEW explode(...) is read"
    alias = node.args.get("alias")
    return None if alias and alias.args.get("columns") else ("LATERAL VIEW without a column name", "LATERAL VIEW explode(x) t AS y")


def _over(node: exp.Expr) -> tuple[str, str] | None:
    above = node.parent
    while isinstance(above, (exp.IgnoreNulls, exp.RespectNulls)):
        above = above.parent
    return None if isinstance(above, exp.Window) else (f"{call(node)} without OVER", "OVER (PARTITION BY ... ORDER BY ...)")


def _generator(node: exp.Expr) -> tuple[str, str] | None:
    inside = node.parent
    return None if isinstance(inside, exp.Lateral) else ("explode() outside of LATERAL VIEW", "LATERAL VIEW explode(x) t AS y")


def _cast(node: exp.Expr) -> tuple[str, str] | None:
    """One value that does not fit would end the run, and engines repeat it in their error."""
    if node.args.get("safe"):
        return None
    fixed = isinstance(node.this.unnest(), (exp.Literal, exp.Neg, exp.Boolean, exp.Null)) or isinstance(node.parent, exp.AtTimeZone)
    text = node.args["to"].this in exp.DataType.TEXT_TYPES
    return None if fixed or text else ("CAST fails on a value that does not fit", "write TRY_CAST, which gives NULL")


def _days(node: exp.Expr) -> tuple[str, str] | None:
    """Days between two days are a number on one engine, and a span of time on another."""
    left, right = node.args["this"], node.args["expression"]
    known = any(_is_day(side) for side in (left, right)) and not isinstance(right, (exp.Interval, exp.Literal))
    return ("a day less a day: engines give different types", "write datediff(later, earlier)") if known else None


def _is_day(node: exp.Expr) -> bool:
    if isinstance(node, exp.Column):
        return len(node.parts) == 1 and node.name.lower() == AS_OF
    return isinstance(node, exp.TsOrDsToDate) or (isinstance(node, exp.Cast) and node.to.this == exp.DataType.Type.DATE)


def _span(node: exp.Expr) -> tuple[str, str] | None:
    bounds = (node.args.get("start"), node.args.get("end"))
    over_time = any(isinstance(bound, exp.Interval) for bound in bounds)
    hint = "join the rows with themselves: b.day BETWEEN a.day - n AND a.day"
    return ("RANGE over a span of time: engines give different answers", hint) if over_time else None


def _collected(node: exp.Expr) -> tuple[str, str] | None:
    ordered = isinstance(node.parent, (exp.ArraySort, exp.ArraySize, exp.ArrayContains))
    hint = "put them in order: array_join(sort_array(collect_list(x)), ', ')"
    return None if ordered else (f"{call(node)}: its elements are in no certain order", hint)


def _differs(hint: str) -> Rule:
    """A function that engines compute in different ways."""

    def rule(node: exp.Expr) -> tuple[str, str]:
        return f"{call(node)}: engines give different answers", hint

    return rule


def _any_row(node: exp.Expr) -> tuple[str, str] | None:
    over = _over(node) is None
    return None if over else (f"{call(node)}: any row could be meant", "min_by(x, day) says which")


def _clock(node: exp.Expr) -> tuple[str, str] | None:
    alias = node.args.get("alias")
    names = [alias.this, *alias.columns] if isinstance(alias, exp.TableAlias) else [alias]
    taken = any(isinstance(name, exp.Identifier) and name.name.lower() == AS_OF for name in names)
    return ("as_of is the day of the clock", "choose another name") if taken else None


def _pattern(node: exp.Expr) -> tuple[str, str] | None:
    """A regular expression, rewritten so that every engine reads it alike."""
    pattern = node.args["expression"]
    if not (isinstance(pattern, exp.Literal) and pattern.is_string):
        return f"{call(node)}: a pattern that is not written out", "write it as a text"
    try:
        pattern.set("this", patterns.read(pattern.name))
    except patterns.Refused as error:
        return f"{call(node)}: not in the syntax that all engines share: {error}", patterns.HINT
    return None


RULES: Final[dict[type[exp.Expr], Rule]] = {
    exp.Star: _star,
    exp.Placeholder: _placeholder,
    exp.Var: _unit,
    exp.Limit: _ordered,
    exp.Offset: _ordered,
    exp.Join: _join,
    exp.Lateral: _lateral,
    **dict.fromkeys((exp.Cast, exp.TryCast), _cast),
    exp.Sub: _days,
    exp.WindowSpec: _span,
    **dict.fromkeys((exp.RegexpLike, exp.RegexpExtract, exp.RegexpReplace, exp.RegexpSplit), _pattern),
    exp.IsNan: _differs("a decimal is never NaN"),
    exp.Nvl2: _differs("write CASE WHEN x IS NOT NULL THEN ... ELSE ... END"),
    exp.TimestampDiff: _differs("write datediff(later, earlier)"),
    exp.Mode: _differs("count, and take max_by(x, n)"),
    exp.ApproxDistinct: _differs("write count(DISTINCT x)"),
    **dict.fromkeys((exp.PercentileCont, exp.PercentileDisc, exp.ApproxQuantile), _differs("write percentile(x, 0.5)")),
    **dict.fromkeys((exp.ArrayAgg, exp.ArrayUniqueAgg, exp.GroupConcat), _collected),
    **dict.fromkeys((exp.AnyValue, exp.First, exp.Last), _any_row),
    **dict.fromkeys(syntax.WINDOW_FUNCTIONS, _over),
    **dict.fromkeys(syntax.GENERATORS, _generator),
    **dict.fromkeys((exp.Alias, exp.Table, exp.Subquery, exp.CTE), _clock),
}


def call(node: exp.Expr) -> str:
    """A function as its caller knows it, without its arguments."""
    name, _, _ = node.sql("spark").partition("(")
    if not name.isidentifier():  # an operator
        name = node.sql_name() if isinstance(node, exp.Func) else type(node).__name__
    return f"{name}()".lower()
