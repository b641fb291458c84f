"""Rows withheld at the scan: a query whose tables are replaced, wherever it names them, by what is kept of them. A pure tree function.

A filter on what a query gives would come too late: its counts, its latest values and its joins have read every row by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from sqlglot import exp

from cdp.compile import sql

ROW = "one"  # the alias of the row that the tests of a kept table speak of


Q = TypeVar("Q", bound=exp.Query)


@dataclass(frozen=True, slots=True)
class Kept:
    """What is read of a table: the rows that pass every test, whose columns are of ROW.

    `columns` are what there is to read of them; none: all.
    """

    columns: tuple[str, ...] = ()
    tests: tuple[exp.Expr, ...] = ()

    def also(self, *tests: exp.Expr) -> Kept:
        """The same with more tests."""
        return Kept(self.columns, (*self.tests, *(test for test in tests if test not in self.tests)))


def reading(select: Q, kept: Mapping[str, Kept]) -> Q:
    """The query with tables replaced by CTEs in front of all others, which hold what is kept of them.

    Every place that names a table counts: scans, joins, subqueries, CTEs inside of CTEs. A CTE has no schema, a table always
    has, so that one of a table's name is not meant.

    Args:
        select: is not changed.
        kept: by `schema.table` in lower case.
    """
    if not any(_named(node) in kept for node in select.find_all(exp.Table)):
        return select
    found = select.copy()
    taken = {name.name.lower() for name in found.find_all(exp.Identifier)}
    ctes: dict[object, exp.CTE] = {}
    for node in list(found.find_all(exp.Table)):
        table = _named(node)
        if table not in kept:
            continue
        key = table, node.args.get("version")
        if key not in ctes:
            ctes[key] = _cte(_free(f"kept_{node.name.lower()}", taken), node, kept[table])
        node.set("alias", node.args.get("alias") or exp.TableAlias(this=node.this.copy()))
        node.set("this", sql.identifier(ctes[key].alias))
        for arg in _PLACE:
            node.set(arg, None)
    with_ = found.args.get("with_") or exp.With(expressions=[])
    with_.set("expressions", [*ctes.values(), *with_.expressions])
    found.set("with_", with_)
    return found


_PLACE = ("db", "catalog", "version")  # what says where a table is, and as of when


def _named(node: exp.Table) -> str:
    return f"{node.db}.{node.name}".lower() if node.db else ""


def _free(name: str, taken: set[str]) -> str:
    chosen, count = name, 1
    while chosen in taken:
        count += 1
        chosen = f"{name}_{count}"
    taken.add(chosen)
    return chosen


def _cte(name: str, table: exp.Table, kept: Kept) -> exp.CTE:
    place = {arg: part.copy() for arg in ("this", *_PLACE) if (part := table.args.get(arg)) is not None}
    star = [exp.Column(this=exp.Star(), table=sql.identifier(ROW))]
    select = exp.Select(
        expressions=[sql.column(ROW, column) for column in kept.columns] or star,
        from_=exp.From(this=exp.Table(**place, alias=exp.TableAlias(this=sql.identifier(ROW)))),
        where=exp.Where(this=sql.every(kept.tests)) if kept.tests else None,
    )
    return exp.CTE(this=select.copy(), alias=exp.TableAlias(this=sql.identifier(name)))
