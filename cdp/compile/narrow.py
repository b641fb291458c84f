"""A query about some rows of its entity only, narrowed where it reads them: what it costs follows those rows. A pure tree function."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from cdp.compile import sql

Only = Callable[[exp.Expr], exp.Expr]  # a column that holds keys of the entity -> whether it is one of those that are asked about
ROW = "some"  # the alias of a row that is read


def narrowed(select: exp.Select, key: exp.Column, only: Only) -> exp.Select:
    """What a query says of some rows. It says the same of them; of others nothing.

    A scan that leads back to the row by its key (see scans.py) groups its table by that key, so what it finds for one row does
    not depend on those of another, and it may leave them unread. Whatever is read in another way stays as it is.

    Args:
        select: of a `Statement`; it is not changed. Any other is given back as it is.
        key: of the row, as the query names it.
        only: which rows.
    """
    if not begins_with(select, key.table):
        return select
    found = select.copy()
    _narrow(found, key, only)
    bodies = {cte.alias: cte.this for cte in found.ctes}
    for join in found.args.get("joins") or ():
        name = join.this.name
        column = _joined_by(join, key)
        grouped = _grouped_by(bodies.get(name), column.name) if column is not None else None
        if grouped is not None and _times_read(found, name) == 1:
            _narrow(bodies[name], grouped, only)
    return found


def begins_with(select: exp.Select, alias: str) -> bool:
    """Whether the first thing that a SELECT reads is a table of this alias."""
    from_ = select.args.get("from_")
    return from_ is not None and isinstance(from_.this, exp.Table) and from_.this.alias_or_name == alias


def begin_with(select: exp.Select, rows: exp.Select) -> None:
    """Have a SELECT read the rows of a query in the place of its first table, under that table's alias; it is changed."""
    table = select.args["from_"].this
    table.replace(exp.Subquery(this=rows, alias=exp.TableAlias(this=sql.identifier(table.alias_or_name))))


def _joined_by(join: exp.Join, key: exp.Column) -> exp.Column | None:
    """The column of a CTE that a LEFT JOIN holds equal to the key."""
    on = join.args.get("on")
    if join.side != "LEFT" or not isinstance(join.this, exp.Table) or join.this.db or not isinstance(on, exp.Expr):
        return None
    for test in on.flatten() if isinstance(on, exp.And) else (on,):
        if isinstance(test, exp.EQ) and key in (test.this, test.expression):
            other = test.expression if test.this == key else test.this
            if isinstance(other, exp.Column) and other.table == join.this.alias_or_name:
                return other
    return None


def _grouped_by(body: exp.Expr | None, name: str) -> exp.Column | None:
    """The column behind an output by which a SELECT groups what it reads; None where it may compare rows of different groups."""
    if not isinstance(body, exp.Select) or body.args.get("limit") or body.args.get("offset") or body.find(exp.Window) is not None:
        return None
    value = next((each.unalias() for each in body.expressions if each.alias_or_name == name), None)
    group = body.args.get("group")
    grouped = isinstance(value, exp.Column) and group is not None and value in group.expressions and begins_with(body, value.table)
    return value if grouped else None


def _times_read(select: exp.Select, name: str) -> int:
    return sum(not node.db and node.name == name for node in select.find_all(exp.Table))


def _narrow(select: exp.Select, column: exp.Column, only: Only) -> None:
    """Have a SELECT read some rows of its first table only: before its joins, past which no engine moves such a test."""
    table = select.args["from_"].this.copy()
    table.set("alias", exp.TableAlias(this=sql.identifier(ROW)))
    star = exp.Column(this=exp.Star(), table=sql.identifier(ROW))
    where = exp.Where(this=only(sql.column(ROW, column.name)))
    begin_with(select, exp.Select(expressions=[star], from_=exp.From(this=table), where=where))
