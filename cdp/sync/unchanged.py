"""May a sync be skipped, because nothing that its last plan rested on has changed since?

A plan is a function of the tables that its query reads, of what governance says, of the acknowledged state, and of the moments
that its SQL names. So before a plan looks at any of them it writes down in which state they are (`Basis`), and the next run skips if
all of them are the same, the last run ended clean and left nothing to a later one. Moments are never the same: a query that
compares columns with the moment of a run is skipped only when no row lies between the old moment and the new one, so that a
consent that ends today at two ends at two. Whatever cannot be told counts as changed.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel
from sqlglot import exp

from cdp import __version__
from cdp.compile import sql
from cdp.engine.base import Engine, literal, quoted
from cdp.governance.query import GovernedQuery
from cdp.spec.activation import Guards
from cdp.sync import planning, resync, state
from cdp.sync.ledger import Control, new_name

# Counts of a plan that leave nothing to a later one: those that went, and those that stay as they are until something changes.
SETTLED: Final = frozenset({"add", "change", "remove", "unchanged", "invalid", "skipped"})
CLOCKS: Final = ("as_of", "now")


@dataclass(frozen=True, slots=True)
class Basis:
    """What a plan rests on, as it was before the plan looked at it.

    Attributes:
        facts: SHA-256 over all that governance says, with the moments of the run as placeholders; days stand as they are.
        tables: each table that is read, and the state that it is in.
        moments: of each clock (`as_of`, `now`) its moment, in microseconds.
        compared: (clock, table, column) of the columns that are compared with a moment.
    """

    facts: str
    tables: Mapping[str, str]
    moments: Mapping[str, int]
    compared: tuple[tuple[str, str, str], ...]

    def as_json(self) -> dict[str, Any]:
        """What is stored with the plan."""
        return {
            "facts": self.facts,
            "tables": dict(self.tables),
            "moments": dict(self.moments),
            "compared": [list(each) for each in self.compared],
        }

    @classmethod
    def of_json(cls, body: Mapping[str, Any]) -> Basis:
        """The basis of a stored plan."""
        compared = tuple((clock, table, column) for clock, table, column in body["compared"])
        return cls(body["facts"], body["tables"], body["moments"], compared)


@dataclass(frozen=True, slots=True)
class Since:
    """The run since which nothing has changed: its plan, and the special rows that were not read, as the plan counted them."""

    run: str
    plan: str
    withheld_rows: tuple[Mapping[str, Any], ...]


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
    clocks = dict(zip(CLOCKS, (as_of, now), strict=True))
    facts = {**_said(query, clocks), "defaults": _plain(defaults, clocks), "version": __version__}
    return Basis(
        facts=hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest(),
        tables={table: found for table, found in states.items() if found},
        moments={clock: int(moment.timestamp() * 1e6) for clock, moment in clocks.items()},
        compared=tuple(sorted(compared)),
    )


def since(control: Control, query: GovernedQuery, today: Basis | None) -> Since | None:
    """The run since which nothing has changed that could make a plan send something; None to plan.

    Args:
        control: the control tables.
        query: from governance.
        today: what a plan made now would rest on.

    Raises:
        DataError: the state is not what was folded, as a plan would say.
    """
    if today is None or (last := _last(control, query.sync.name)) is None:
        return None
    body = _plan(control, query.sync.name, last.plan)
    if body is None or not _settled(body):
        return None
    before = Basis.of_json(body["basis"])
    if (before.facts, before.tables, before.compared) != (today.facts, today.tables, today.compared):
        return None
    now = today.moments["now"]
    if now < before.moments["now"] or (body["fresh_until"] is not None and now > body["fresh_until"]):
        return None
    at = state.known(control, query.sync.name)
    resync.check(control, query.sync.name, at)
    if at.last != last.seq or at.open or _crossed(control.engine, before, today):
        return None
    return Since(last.run, last.plan, tuple(body["withheld_rows"]))


def skip(control: Control, query: GovernedQuery, found: Since, now: dt.datetime) -> str:
    """Put on record that a sync had nothing to do, and since which run; returns the name of this one.

    Args:
        control: the control tables.
        query: from governance.
        found: from `since`.
        now: the wall clock.
    """
    planning.drop_expired(control, now)
    run = new_name(now)
    counts = {name: 0 for name, kind in control.types("runs").items() if kind == "bigint"}
    who = {"sync": query.sync.name, "run": run, "plan": found.plan, "destination": query.destination.name}
    done = {"n": 1, "status": "nothing", "at": now, "actor": control.engine.whoami(), "body": json.dumps({"unchanged_since": found.run})}
    control.append("runs", [{**who, **counts, **done}])
    return run


# -- what a plan rests on ---------------------------------------------------------------------------------------------


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
        for text in tree.find_all(exp.Literal):
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


# -- what has become of it --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Run:
    """A run that ended clean, its plan, and the last receipt that there was then."""

    run: str
    plan: str
    seq: int


def _last(control: Control, sync: str) -> _Run | None:
    """The latest run that was not skipped; None unless it ended clean and no other has ended otherwise, or goes on, since it began."""
    table = control.table("runs")
    last = ", ".join(f"MAX_BY(r.{name}, r.n) AS {name}" for name in ("plan", "status", "planned", "delivered", "body"))
    every = f"SELECT r.run, {last}, MIN(r.at) AS began, MAX(r.at) AS ended FROM {table} AS r WHERE r.sync = {literal(sync)} GROUP BY r.run"
    clean = "COALESCE(x.status IN ('nothing', 'succeeded') AND x.delivered = x.planned, FALSE)"
    whole = "(WHERE GET_JSON_OBJECT(x.body, '$.seq') IS NOT NULL)"
    found = ", ".join(f"MAX_BY(x.{name}, x.began) FILTER {whole} AS {name}" for name in ("run", "plan", "body", "began"))
    statement = f"SELECT {found}, MAX(x.ended) FILTER (WHERE NOT {clean}) AS unclean FROM ({every}) AS x"
    (row,) = control.engine.query(statement, what=table).to_pylist()
    if row["run"] is None or (row["unclean"] is not None and row["unclean"] >= row["began"]):
        return None
    return _Run(row["run"], row["plan"], int(json.loads(row["body"])["seq"]))


def _plan(control: Control, sync: str, plan: str) -> Mapping[str, Any] | None:
    """The body of a plan, where it says what it rests on."""
    table = control.table("plans")
    statement = f"SELECT body FROM {table} WHERE sync = :sync AND plan = :plan AND event = 'created'"
    found = control.engine.value(statement, {"sync": sync, "plan": plan}, what=table)
    body = json.loads(found) if found else {}
    return body if body.get("basis") else None


def _settled(body: Mapping[str, Any]) -> bool:
    """Whether a plan, applied whole, leaves nothing to a later one."""
    waiting = [name for name, count in body["counts"].items() if count and name not in SETTLED]
    return not (waiting or body["guards"] or body["refusals"]) and body["removals"] is None


def _crossed(engine: Engine, before: Basis, today: Basis) -> bool:
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
