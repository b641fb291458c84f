"""May a sync be skipped, because nothing that its last plan rested on has changed since?

A plan is a function of the tables that its query reads, of what governance says, of the moments that its SQL names, and of the
acknowledged state. Of the first three it says what it rests on (basis.py), and the next run skips if all of them are the same, the last
run ended clean and left nothing to a later one.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cdp.engine.base import literal
from cdp.governance.query import GovernedQuery
from cdp.sync import planning, resync, state
from cdp.sync.basis import Basis, crossed
from cdp.sync.ledger import Control, new_name

# Counts of a plan that leave nothing to a later one: those that went, and those that stay as they are until something changes.
SETTLED: Final = frozenset({"add", "change", "remove", "unchanged", "invalid", "skipped"})


@dataclass(frozen=True, slots=True)
class Since:
    """The run since which nothing has changed: its plan, and the special rows that were not read, as the plan counted them."""

    run: str
    plan: str
    withheld_rows: tuple[Mapping[str, Any], ...]


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
    if at.last != last.seq or at.open or crossed(control.engine, before, today):
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
    control.maintain(query.sync.name)
    return run


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
