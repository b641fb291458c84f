"""Rows that are unknown, asked about again: a channel that could not say what became of them, or was not asked then, may say it now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cdp.connectors.base import Answering, Connector
from cdp.engine.base import literal
from cdp.spec.activation import Destination
from cdp.sync import intents, state
from cdp.sync.asking import asked
from cdp.sync.changes import changed
from cdp.sync.intents import Settling
from cdp.sync.ledger import Control


def can_be_asked(connector: type[Connector], destination: Destination) -> bool:
    """Whether a destination says how to ask what became of a change; a connector of somebody else's does by having a `lookup`."""
    return hasattr(connector, "lookup") and (destination.http is None or destination.http.lookup is not None)


async def ask(settling: Settling) -> int:
    """Give the unknown rows of earlier runs the receipts that the channel's answers make.

    Args:
        settling: of the run; none of its lease's numbers has been given yet.

    Returns:
        The last `seq` that was given.

    Raises:
        DeliveryError: nothing more can be asked.
        BusyError: the lease was lost.
    """
    control, sync, lease, wall = settling.control, settling.sync, settling.lease, settling.wall
    found, connector = _unknown(control, sync), settling.connector
    if not found or not isinstance(connector, Answering):
        return lease.first_seq
    rows: list[dict[str, Any]] = []
    for row, applied in zip(found, await asked(connector, found, settling.mask_keys, lease, wall, settling.pause), strict=True):
        if applied is not None:
            status, code = ("delivered", intents.ASKED_LATER) if applied else ("retryable", state.AGAIN)
            own = {"sync": sync, "op": row["tried_op"], "status": status, "code": code, "seq": lease.first_seq + len(rows) + 1}
            rows.append({**row, **own, "at": wall()})
    if rows:
        lease.check()
        control.append("receipts", rows)
    return lease.first_seq + len(rows)


def _unknown(control: Control, sync: str) -> list[dict[str, Any]]:
    """The rows that have an unknown receipt as their last word; those of runs that are open still are settled first."""
    at = state.known(control, sync)
    if not at.attempts:
        return []
    runs = control.table("runs")
    change = changed(sync, "upsert", "d.tried", "d.tried_base", "d.key")
    opened = ", ".join(literal(run.run) for run in at.open) or "''"
    statement = (
        f"SELECT d.key, d.subject, d.tried_op, d.tried AS content, d.tried_base AS base, d.run, p.plan, d.told, d.at AS sent, "
        f"{change} AS change FROM ({state.doubts(control, sync, replace(at, open=()))}) AS d "
        f"LEFT JOIN (SELECT DISTINCT r.run, r.plan FROM {runs} AS r WHERE r.sync = {literal(sync)} AND r.n = 0) AS p ON p.run = d.run "
        f"WHERE d.doubt = 'unknown' AND d.tried_op <> 'remove' AND d.run NOT IN ({opened})"
    )
    found: list[dict[str, Any]] = control.engine.query(statement, what="the receipts").to_pylist()
    return found
