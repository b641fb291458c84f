"""What became of the rows that a channel rejected in a run: how often they were tried, and when they are again."""

from __future__ import annotations

import datetime as dt
from typing import Any

from cdp.engine.base import literal
from cdp.spec.delivery import Retries
from cdp.sync import pending
from cdp.sync.ledger import Control


def rejected(control: Control, sync: str, run: str, retries: Retries, now: dt.datetime, *, people: bool = False) -> list[dict[str, Any]]:
    """The rejected rows of a run, as they stand now.

    Args:
        control: the control tables.
        sync: the run's.
        run: its name.
        retries: of the destination, as the project says today.
        now: the wall clock.
        people: one entry for each row, with the person, instead of their number.

    Returns:
        op, code, attempts (of the same content until now), state, next_try (the earliest of the rows), and `rows` or `person`. The state is
        `delivered` (something of that key since), `given_up`, `waiting`, or `due`: the next run sends it, if it is still wanted as it was.
    """
    receipts = control.table("receipts")
    mine = (
        f"SELECT r.key, r.subject, r.op, (r.op = 'remove') AS removal, r.content, r.base, r.code, r.seq FROM {receipts} AS r "
        f"WHERE r.sync = {literal(sync)} AND r.run = {literal(run)} AND r.status = 'rejected'"
    )
    taken = (
        f"SELECT r.key, MAX(r.seq) AS seq FROM {receipts} AS r LEFT SEMI JOIN ({mine}) AS m ON m.key = r.key "
        f"WHERE r.sync = {literal(sync)} AND r.status = 'delivered' GROUP BY r.key"
    )
    moment = int(now.timestamp() * 1e6)
    state = (
        "CASE WHEN d.key IS NOT NULL THEN 'delivered' WHEN t.spent THEN 'given_up' "
        f"WHEN t.next > {moment} THEN 'waiting' ELSE 'due' END AS state"
    )
    rows = (
        f"SELECT m.op, m.code, m.subject AS person, t.attempts, {state}, t.next FROM ({mine}) AS m "
        f"JOIN ({pending.tries(control, sync, retries)}) AS t "
        "ON t.key = m.key AND t.removal = m.removal AND t.content <=> m.content AND t.base <=> m.base "
        f"LEFT JOIN ({taken}) AS d ON d.key = m.key AND d.seq > m.seq"
    )
    next_try = "CASE WHEN x.state IN ('waiting', 'due') THEN TIMESTAMP_MICROS({}) END AS next_try"
    same = "x.op, x.code, x.attempts, x.state"
    if people:
        statement = f"SELECT {same}, {next_try.format('x.next')}, x.person FROM ({rows}) AS x ORDER BY {same}, x.person"
    else:
        grouped = f"SELECT {same}, MIN(x.next) AS next, COUNT(*) AS n FROM ({rows}) AS x GROUP BY {same}"
        statement = f"SELECT {same}, {next_try.format('x.next')}, x.n AS `rows` FROM ({grouped}) AS x ORDER BY {same}"
    found = control.engine.query(statement, what=receipts).to_pylist()
    return [{**row, "next_try": row["next_try"].isoformat() if row["next_try"] else None} for row in found]
