"""Whom the rules keep out now: of everyone, or of the people of a plan, where that is small beside its segment."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from cdp.compile import sql
from cdp.compile.narrow import narrowed
from cdp.governance.query import RULE, SUBJECT, GovernedQuery

_FEW = 5  # no more than one in so many: of more, looking them up costs what it spares


def few_of(planned: int, known: int) -> bool:
    """Whether it pays to ask about the planned people only, among those who are known."""
    return _FEW * planned <= known


@dataclass(frozen=True, slots=True)
class People:
    """The people whose keys a query gives as text, in its one column `key`; or the hashes of those texts, with `hashed` after each."""

    keys: exp.Select
    hashed: str | None = None

    @classmethod
    def of(cls, table: str, column: str) -> People:
        """Those whose keys stand in a column of a table."""
        return cls(exp.select(sql.alias(sql.column("known", column), "key")).from_(sql.table(table, "known")))

    def narrowed(self, select: exp.Select, query: GovernedQuery) -> exp.Select:
        """A query of the entity, of these people only where it can tell; of others it says the same as before, or nothing."""
        return narrowed(select, sql.column(query.entity.name, query.entity.key), lambda key: self._among(key, query))

    def _among(self, key: exp.Expr, query: GovernedQuery) -> exp.Expr:
        """Integers are looked up as what they are."""
        known: exp.Expr = sql.column("people", "key")
        if self.hashed is not None:
            text: exp.Expr = exp.Cast(this=key, to=sql.TEXT)
            text = exp.Concat(expressions=[text, sql.string(self.hashed)]) if self.hashed else text
            key = exp.Anonymous(this="XXHASH64", expressions=[text])
        elif query.entity.columns[query.entity.key].type == "integer":
            known = exp.Cast(this=known, to=exp.DataType(this=exp.DataType.Type.BIGINT))
        else:
            key = exp.Cast(this=key, to=sql.TEXT)
        return exp.In(this=key, query=exp.select(known).from_(self.keys.subquery("people")).subquery())


def kept_out(query: GovernedQuery, people: People | None = None) -> str:
    """SQL of everyone whom a rule keeps out at the query's wall clock: subject, as text, and the first such rule in the alphabet.

    Args:
        query: from governance.
        people: whom it is asked about; None for all. Who is not among them may be left out.
    """
    select = people.narrowed(query.eligibility, query) if people else query.eligibility
    return f"SELECT CAST(e.{SUBJECT} AS STRING) AS subject, MIN(e.{RULE}) AS rule FROM ({select.sql('spark')}) AS e GROUP BY 1"
