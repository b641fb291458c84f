"""A value of a query's row, computed where the row is read: through a join goes the value, not what it is made of. A pure tree function."""

from __future__ import annotations

from collections.abc import Collection

from sqlglot import exp

from cdp.compile import sql
from cdp.compile.narrow import begin_with, begins_with


def early(select: exp.Select, row: str, keep: Collection[str], name: str, value: exp.Expr) -> exp.Select | None:
    """The query with some of its outputs and a value of its row; None where that cannot be had before its joins, or has none to pass.

    Args:
        select: of a `Statement`; it is not changed.
        row: the alias of its row.
        keep: the outputs that stay.
        name: of the value, which no column of the row has.
        value: made of plain columns of the row, by functions that cannot fail: it is computed for rows too that the query leaves out.
    """
    if not begins_with(select, row) or not select.args.get("joins") or any(column.table != row for column in value.find_all(exp.Column)):
        return None
    found = select.copy()
    whole = exp.Column(this=exp.Star(), table=sql.identifier(row))
    begin_with(found, exp.Select(expressions=[whole, sql.alias(value.copy(), name)], from_=found.args["from_"].copy()))
    kept = [each for each in found.expressions if each.alias_or_name in keep]
    found.set("expressions", [*kept, sql.alias(sql.column(row, name), name)])
    return found
