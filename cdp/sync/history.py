"""What was done: runs, and one run in detail."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

from cdp.engine.base import Engine
from cdp.errors import UsageError
from cdp.sync import acceptance
from cdp.sync.ledger import Control
from cdp.sync.state import AGAIN, CARRIED, FOUND

_COUNTS = ("planned", "delivered", "rejected", "retryable", "unknown", "withheld", "carried_over")
_RUN = ("run", "plan", "sync", "destination", "status", "at", *_COUNTS, "actor")


def _latest(ledger: Control) -> str:
    """The state of each run: its row of the highest `n`."""
    columns = ", ".join(f"MAX_BY(r.{c}, r.n) AS {c}" for c in (*_RUN, "body") if c != "run")
    return f"SELECT r.run, {columns}, MIN(r.at) AS started FROM {ledger.table('runs')} AS r GROUP BY r.run"


_PLAN = (  # what is said of a run's plan
    *("counts", "excluded", "size", "as_of", "removals", "guards", "quality", "withheld_rows"),
    *("planned_by", "needs_approval", "fingerprint", "digest"),
)


def list_runs(
    engine: Engine,
    control: str,
    *,
    sync: str | None = None,
    destination: str | None = None,
    status: str | None = None,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
    limit: int = 50,
) -> list[dict[str, Any]]:
    """The latest runs, newest first. One without an end is `running`, or was killed.

    Args:
        engine: of the environment.
        control: the schema of the control tables.
        sync: only its runs; `destination` and `status` likewise.
        destination: only runs to it.
        status: as in the table `runs`.
        since: only those that started then or later.
        until: only those that started earlier.
        limit: how many at most.
    """
    ledger = Control(engine, control)
    asked = {"sync": sync, "destination": destination, "status": status, "since": since, "until": until}
    given = {name: value for name, value in asked.items() if value is not None}
    tests = {"since": "x.started >= :since", "until": "x.started < :until"}
    where = " AND ".join(tests.get(name, f"x.{name} = :{name}") for name in given) or "TRUE"
    runs = f"SELECT {', '.join(_RUN)}, started FROM ({_latest(ledger)}) AS x WHERE {where}"
    found = engine.query(f"{runs} ORDER BY started DESC, run DESC LIMIT {int(limit)}", given or None, what="the runs")
    return [_plain(row) for row in found.to_pylist()]


def run_detail(engine: Engine, control: str, run: str) -> dict[str, Any]:
    """One run: its numbers, those of its plan with who was left out, its receipts by status and code.

    Raises:
        UsageError: there is no such run; the latest are named.
    """
    ledger = Control(engine, control)
    statement = f"SELECT * FROM ({_latest(ledger)}) AS x WHERE run = :run"
    found = engine.query(statement, {"run": run}, what="the runs").to_pylist()
    if not found:
        latest = ", ".join(row["run"] for row in list_runs(engine, control, limit=5)) or "none yet"
        raise UsageError(f"there is no run {run!r}; the latest: {latest}", fix="see `cdp runs`")
    row = found[0]
    body = json.loads(row.pop("body") or "{}")
    said = {"error": body if "error" in body else None, "unchanged_since": body.get("unchanged_since")}
    return {**_plain(row), **said, **_plan(ledger, row["plan"]), "receipts": _receipts(ledger, row["sync"], run)}


def _plan(ledger: Control, plan: str) -> dict[str, Any]:
    statement = f"SELECT body, digest FROM {ledger.table('plans')} WHERE plan = :plan AND event = 'created'"
    found = ledger.engine.query(statement, {"plan": plan}, what="the plans").to_pylist()
    body = {**json.loads(found[0]["body"]), "digest": found[0]["digest"]} if found else {}
    said = {"approved": _approved(ledger, plan), "accepted": _accepted(ledger, plan, body)}
    return {**{name: body.get(name) for name in _PLAN}, **said}


def _accepted(ledger: Control, plan: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The guards of a plan that somebody accepted: who, when, what was found."""
    guarded = body.get("guards") or body.get("max_failed")
    return [each.as_json() for each in acceptance.of_plan(ledger, plan, body["digest"])] if guarded else []


def _approved(ledger: Control, plan: str) -> dict[str, Any] | None:
    """The approval under which a plan was applied, if it needed one: who, when, until when, signed or not."""
    statement = f"SELECT body FROM {ledger.table('plans')} WHERE plan = :plan AND event = 'applied'"
    found: dict[str, Any] | None = json.loads(ledger.engine.value(statement, {"plan": plan}, what="the plans") or "{}").get("approved")
    return found


def _receipts(ledger: Control, sync: str, run: str) -> list[dict[str, Any]]:
    """What the channel said; not what a folding says once more of it, nor what a person decided later."""
    statement = (
        f"SELECT op, status, code, COUNT(*) AS count FROM {ledger.table('receipts')} "
        f"WHERE sync = :sync AND run = :run AND COALESCE(code, '') NOT IN ('{CARRIED}', '{AGAIN}', '{FOUND}') "
        "GROUP BY op, status, code ORDER BY op, status, code"
    )
    return [dict(row) for row in ledger.engine.query(statement, {"sync": sync, "run": run}, what="the receipts").to_pylist()]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in row.items()}


def told(engine: Engine, control: str, sync: str, run: str) -> list[dict[str, Any]]:
    """For which purpose and under which agreement a run told what, as the disclosure ledger says: one entry, or none."""
    ledger = Control(engine, control)
    columns = "purpose, agreement, counterparty, classes, columns"
    lines = f"FROM {ledger.table('disclosures')} WHERE kind = 'line' AND sync = :sync AND run = :run"
    distinct = f"SELECT DISTINCT op = 'remove' AS off, {columns} {lines}"
    found = engine.query(distinct, {"sync": sync, "run": run}, what="the ledger").to_pylist()
    return [row for row in found if not row["off"]] or found  # of a run that only removed, what that told


def commits(engine: Engine, control: str, sync: str, run: str) -> list[tuple[dt.datetime, int]]:
    """When receipts were committed, and how many rows each time the channel had taken."""
    ledger = Control(engine, control)
    taken = f"FROM {ledger.table('receipts')} WHERE sync = :sync AND run = :run AND status = 'delivered'"
    found = engine.query(f"SELECT at, COUNT(*) AS rows {taken} GROUP BY at ORDER BY at", {"sync": sync, "run": run}, what="the receipts")
    return [(row["at"], row["rows"]) for row in found.to_pylist()]
