"""`one_per`: of those who share a value (a household) and whom no rule keeps out, one is told."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from cdp.compile import sql
from cdp.compile.statement import Statement
from cdp.governance.query import RULE, SUBJECT
from cdp.project.project import Project

ONE_PER = "one_per"  # the name under which those who stand back are counted, after every rule
_SHARED, _PREFERRED = "_shared", "_preferred"  # columns of the inner query that never leave


def columns(statement: Statement, project: Project, sync: str) -> tuple[str, ...]:
    """Add what decides who of those who share a value is told; returns the names of the columns, none without `one_per`."""
    bound = project.bound
    if sync not in bound.one_per:
        return ()
    terms = {_SHARED: bound.one_per[sync]}
    terms |= {f"{_PREFERRED}_{number}": term for number, (term, _) in enumerate(bound.prefer.get(sync, ()))}
    for name, term in terms.items():
        statement.column(name, statement.output(term, ""))
    return tuple(terms)


def first_of_each(inner: exp.Select, outputs: Sequence[str], descending: Sequence[bool]) -> exp.Select:
    """The inner query without its deciding columns; who stands back for another gets the rule `one_per`.

    Who has no value to share is told in any case. Preferred values come first, missing ones last; the key decides the rest,
    so that every run tells the same people.

    Args:
        inner: has the columns SUBJECT, RULE, those of `columns` and `outputs`.
        outputs: the columns that leave, in order.
        descending: of each preference, whether the highest comes first.
    """
    told = "told"
    rule, shared, subject = (sql.column(told, name) for name in (RULE, _SHARED, SUBJECT))
    order = [_ordered(sql.column(told, f"{_PREFERRED}_{number}"), desc) for number, desc in enumerate(descending)]
    rank = exp.Window(
        this=exp.RowNumber(),
        partition_by=[shared, sql.is_null(rule)],
        order=exp.Order(expressions=[*order, _ordered(subject, False)]),
    )
    back = sql.every([sql.not_null(shared), exp.GT(this=rank, expression=sql.number(1))])
    ruled = sql.chosen([(sql.not_null(rule), rule), (back, sql.string(ONE_PER))])
    leaving = [sql.alias(sql.column(told, name), name) for name in outputs]
    return exp.Select(
        expressions=[sql.alias(subject, SUBJECT), sql.alias(ruled, RULE), *leaving],
        from_=exp.From(this=exp.Subquery(this=inner, alias=exp.TableAlias(this=sql.identifier(told)))),
    )


def _ordered(value: exp.Expr, descending: bool) -> exp.Ordered:
    return exp.Ordered(this=value, desc=descending, nulls_first=False)
