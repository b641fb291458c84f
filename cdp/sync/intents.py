"""Intents: rows that were put on the wire, of which no answer is on record, because their run was killed or cut off.

A row's line of the disclosure ledger is committed before the row leaves: it is the intent. A run that ends by itself says how many of its
lines have no receipt (`open` of its row in `runs`); one that was killed says nothing, and all of its lines are looked at. The next
run of the sync settles them, under its lease and before anything else: each gets a receipt, `unknown` where sending it again would
have an effect again, else `retryable`. So what this costs follows from what is open.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from cdp.connectors.base import Answering, Repeats
from cdp.engine.base import literal
from cdp.governance.query import GovernedQuery
from cdp.sync.ledger import Control
from cdp.sync.ledger.chain import LINE

NO_RECEIPT = "no_receipt"  # the code of a row whose run died before its answer was recorded
ASKED = "asked"  # the code of a row whose channel said, later, that it had applied it
ASK_ROWS = 1000  # changes a question


@dataclass(frozen=True, slots=True)
class Open:
    """A run of which some rows may be without an answer.

    Attributes:
        repeats: what sending again does, as its connector said then.
        n: of its newest row in `runs`.
    """

    run: str
    plan: str
    repeats: Repeats
    n: int


def open_runs(control: Control, sync: str) -> tuple[Open, ...]:
    """The runs of a sync that did not say that each of their rows has an answer, the oldest first; also one that runs now."""
    table = control.table("runs")
    last = f"SELECT r.run, MAX(r.n) AS n FROM {table} AS r WHERE r.sync = {literal(sync)} GROUP BY r.run"
    statement = (
        f"SELECT r.run, r.plan, r.repeats, r.n FROM {table} AS r JOIN ({last}) AS x ON r.run = x.run AND r.n = x.n "
        f"WHERE r.sync = {literal(sync)} AND COALESCE(r.open, 1) > 0 ORDER BY r.run"
    )
    found = control.engine.query(statement, what=table).to_pylist()
    return tuple(Open(row["run"], row["plan"], row["repeats"] or "effect", row["n"]) for row in found)


def lines(control: Control, sync: str, runs: Sequence[Open]) -> str:
    """SQL of the rows of these runs without a receipt: key, subject, op, content, base, block, run, at, status that they get."""
    named = ", ".join(literal(each.run) for each in runs)
    effects = ", ".join(literal(each.run) for each in runs if each.repeats == "effect") or "NULL"
    doubtful = f"CASE WHEN l.run IN ({effects}) AND l.op <> 'remove' THEN 'unknown' ELSE 'retryable' END AS status"
    answered = f"SELECT r.run, r.key FROM {control.table('receipts')} AS r WHERE r.sync = {literal(sync)} AND r.run IN ({named})"
    return (
        f"SELECT l.key, l.person AS subject, l.op, l.content, l.base, l.block, l.run, l.at, {doubtful} "
        f"FROM {control.table('disclosures')} AS l LEFT ANTI JOIN ({answered}) AS a ON l.run = a.run AND l.key = a.key "
        f"WHERE l.sync = {literal(sync)} AND l.kind = '{LINE}' AND l.run IN ({named})"
    )
