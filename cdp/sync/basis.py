"""What a plan rests on: the tables in their states, what governance says, the moments that its SQL names.

Before a plan looks at any of them it writes down in which state they are. Whoever comes later can so tell what certainly is as it was
then: whether a sync may be skipped (unchanged.py), and whether the same people may be told (withheld.py). Moments are never the same: a
query that compares columns with the moment of a run says the same as before only when no row lies between the old moment and the
new one, so that a consent that ends today at two ends at two. Whatever cannot be told counts as changed.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from sqlglot import exp

from cdp import __version__
from cdp.compile import sql
from cdp.engine.base import Engine, quoted
from cdp.governance.query import GovernedQuery
from cdp.spec.activation import Guards


@dataclass(frozen=True, slots=True)
class Basis:
    """What a plan rests on, as it was before the plan looked at it.

    Attributes:
        facts: SHA-256 over all that governance says, with the moments of the run as placeholders; days stand as they are.
        people: the same over what decides who may be told.
        tables: each table that is read, and the state that it is in.
        moments: of each clock (`as_of`, `now`) its moment, in microseconds.
        compared: (clock, table, column) of the columns that are compared with a moment.
    """

    facts: str
    people: str
    tables: Mapping[str, str]
    moments: Mapping[str, int]
    compared: tuple[tuple[str, str, str], ...]

    def as_json(self) -> dict[str, Any]:
        """What is stored with the plan."""
        return {
            "facts": self.facts,
            "people": self.people,
            "tables": dict(self.tables),
            "moments": dict(self.moments),
            "compared": [list(each) for each in self.compared],
        }

    @classmethod
    def of_json(cls, body: Mapping[str, Any]) -> Basis:
        """The basis of a stored plan."""
        compared = tuple((clock, table, column) for clock, table, column in body["compared"])
        return cls(body["facts"], body["people"], body["tables"], body["moments"], compared)


def basis(query: GovernedQuery, engine: Engine, *, now: dt.datetime, as_of: dt.datetime, defaults: Guards | None) -> Basis | None:
    """What a plan made now would rest on; None where that cannot be told.

    Args:
        query: from governance.
        engine: of the environment.
        now: the wall clock that it was governed at.
        as_of: the moment that it was compiled for.
        defaults: the project's guards.
    """
    if query.removals is not None:  # a sync that is refused says so on every run
        return None
    tables = {query.entity.table, *query.tables, *(each.table for each in query.freshness), *(each.table for each in query.withheld)}
    tables |= {table for table, _ in query.lookups}
    states = {table: engine.state(table) for table in sorted(tables)}
    compared = _compared(query, now, as_of)
    if compared is None or None in states.values() or engine.filters(sorted(tables)):
        return None
    clocks = {"as_of": as_of, "now": now}
    facts = {**_said(query, clocks), "defaults": _plain(defaults, clocks), "version": __version__}
    return Basis(
        facts=_hash(facts),
        people=_hash({name: facts[name] for name in ("eligibility", "entity", "version")}),
        tables={table: found for table, found in states.items() if found},
        moments={clock: int(moment.timestamp() * 1e6) for clock, moment in clocks.items()},
        compared=tuple(sorted(compared)),
    )


def same_people(engine: Engine, before: Basis | None, today: Basis | None) -> bool:
    """Whether certainly the same people may be told, and are there, as when a plan was made.

    Args:
        engine: of the environment.
        before: what the plan rests on.
        today: what one made now would rest on.
    """
    if before is None or today is None:
        return False
    same = (before.people, before.tables, before.compared) == (today.people, today.tables, today.compared)
    return same and today.moments["now"] >= before.moments["now"] and not crossed(engine, before, today)


def crossed(engine: Engine, before: Basis, today: Basis) -> bool:
    """Whether a moment has passed any row, in a column that is compared with it."""
    wanted: dict[str, set[str]] = {}
    for clock, table, column in today.compared:
        first, last = sorted((before.moments[clock], today.moments[clock]))
        name = quoted(column)
        wanted.setdefault(table, set()).add(f"({name} >= TIMESTAMP_MICROS({first}) AND {name} <= TIMESTAMP_MICROS({last}))")
    if not wanted:
        return False
    engine.register(tuple(wanted))
    asked = [f"(SELECT 1 AS one FROM {table} WHERE {' OR '.join(sorted(tests))} LIMIT 1)" for table, tests in sorted(wanted.items())]
    return bool(engine.query(" UNION ALL ".join(asked), what="the rows between two runs").num_rows)


def _hash(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _said(query: GovernedQuery, clocks: Mapping[str, dt.datetime]) -> dict[str, Any]:
    """All that a governed query says: a field that it gets later is among it."""
    names = [field.name for field in dataclasses.fields(query) if not field.name.startswith("_")]
    return {name: _plain(getattr(query, name), clocks) for name in names}


def _plain(value: Any, clocks: Mapping[str, dt.datetime]) -> Any:
    """A value as JSON holds it."""
    if isinstance(value, exp.Expr):
        text = value.sql("spark")
        for clock, moment in clocks.items():
            text = text.replace(_written(moment), f"'{clock}'")
        return text
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name), clocks) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return [[_plain(key, clocks), _plain(each, clocks)] for key, each in value.items()]
    if isinstance(value, frozenset | set):
        return sorted(json.dumps(_plain(each, clocks), sort_keys=True) for each in value)
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_plain(each, clocks) for each in value]
    return value if value is None or isinstance(value, str | int | float | bool) else repr(value)


def _written(moment: dt.datetime) -> str:
    """A moment's literal as compiled SQL has it."""
    text: str = sql.timestamp_literal(moment).this.sql("spark")
    return text


def _compared(query: GovernedQuery, now: dt.datetime, as_of: dt.datetime) -> set[tuple[str, str, str]] | None:
    """The columns of tables that are compared with a moment of the run; None when one is used in another way."""
    found = set()
    clocks = {_written(now): "now", _written(as_of): "as_of"}
    for tree in (query.select, query.eligibility, *(each.special for each in query.withheld)):
        for text in tree.copy().find_all(exp.Literal):  # of a node that stands in several places only a copy knows which one it is in
            clock = clocks.get(text.sql("spark")) if text.is_string else None
            if clock is None:
                continue
            column = _other_side(text)
            source = _source(column) if column is not None else None
            if source is None:
                return None
            found.add((clock, *source))
    return found


def _other_side(text: exp.Expr) -> exp.Column | None:
    """The column that a moment's literal is compared with."""
    moment = text.parent
    test = moment.parent if isinstance(moment, exp.Cast) else None
    if not isinstance(test, exp.LT | exp.LTE | exp.GT | exp.GTE):
        return None
    other = test.expression if test.this is moment else test.this
    return other if isinstance(other, exp.Column) else None


def _source(column: exp.Column) -> tuple[str, str] | None:
    """The table and the column that a column is, as it stands or through CTEs that hand it on; None for anything else."""
    select = column.find_ancestor(exp.Select)
    while select is not None:
        joins = [join.this for join in select.args.get("joins") or ()]
        from_ = select.args.get("from_")
        here = [*([from_.this] if from_ else ()), *joins]
        named = [each for each in here if each.alias_or_name.lower() == column.table.lower()]
        if not column.table or len(named) != 1 or not isinstance(named[0], exp.Table):
            return None
        table = named[0]
        if table.db:
            return f"{table.db}.{table.name}", column.name
        body = _cte(table)
        if body is None:
            return None
        given = [each for each in body.expressions if each.alias_or_name.lower() == column.name.lower()]
        inner = given[0].unalias() if len(given) == 1 else None
        if not isinstance(inner, exp.Column) or body.args.get("group"):
            return None
        select, column = body, inner
    return None


def _cte(table: exp.Table) -> exp.Select | None:
    """The SELECT behind a name, where it is one of a WITH around it."""
    node = table.parent
    while node is not None:
        with_ = node.args.get("with_")
        for cte in with_.expressions if with_ is not None else ():
            if cte.alias.lower() == table.name.lower():
                return cte.this if isinstance(cte.this, exp.Select) else None
        node = node.parent
    return None
