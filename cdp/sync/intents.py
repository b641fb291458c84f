"""Intents: rows that were put on the wire, of which no answer is on record, because their run was killed or cut off.

A row's line of the disclosure ledger is committed before the row leaves: it is the intent. A run that ends by itself says how many of its
lines have no receipt (`open` of its row in `runs`); one that was killed says nothing, and all of its lines are looked at. The next
run of the sync settles them, under its lease and before anything else: each gets a receipt, `unknown` where sending it again would
have an effect again, else `retryable`. So what this costs follows from what is open.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cdp.connectors.base import Answering, Connector, Repeats
from cdp.engine.base import literal
from cdp.sync.asking import asked
from cdp.sync.changes import changed
from cdp.sync.lease import Lease
from cdp.sync.ledger import Control, typed
from cdp.sync.ledger.chain import LINE
from cdp.sync.stopping import Pause

NO_RECEIPT = "no_receipt"  # the code of a row whose run died before its answer was recorded
ASKED = "asked"  # the code of a row of which the channel said, when it was asked, that it had applied it
ASKED_LATER = "asked_later"  # or the same of a row that was unknown until then
ABSENT = "absent"  # or that it had not
RESYNCED = "resynced"  # the status of a row in `runs` that says who rebuilt the state
KILLED = "killed"  # the status of a run that never said how it ended


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
    return runs(control, sync)[0]


def runs(control: Control, sync: str) -> tuple[tuple[Open, ...], int]:
    """The `open_runs`, and the highest seq of a receipt that a run of the sync says it wrote, since the state was last rebuilt."""
    table = control.table("runs")
    own = f"SELECT * FROM {table} WHERE sync = {literal(sync)}"
    last = f"SELECT y.run, MAX(y.n) AS n FROM ({own}) AS y GROUP BY y.run"
    rebuilt = f"SELECT MAX(x.run) FROM ({own}) AS x WHERE x.status = '{RESYNCED}'"
    nothing = ", ".join(f"CAST(NULL AS {kind})" for kind in ("STRING", "STRING", "STRING", "INT"))
    statement = (
        f"SELECT r.run, r.plan, r.repeats, r.n, CAST(NULL AS BIGINT) AS seq FROM ({own}) AS r "
        f"JOIN ({last}) AS z ON r.run = z.run AND r.n = z.n WHERE COALESCE(r.open, 1) > 0 "
        f"UNION ALL SELECT {nothing}, MAX(s.seq) FROM ({own}) AS s WHERE s.run > COALESCE(({rebuilt}), '')"
    )
    found = control.engine.recall(table, statement).to_pylist()
    left = {row["run"]: row for row in found if row["run"] is not None}
    counted = max((row["seq"] or 0 for row in found if row["run"] is None), default=0)
    return tuple(Open(name, row["plan"], row["repeats"] or "effect", row["n"]) for name, row in sorted(left.items())), counted


def last_repeats(control: Control, sync: str) -> Repeats | None:
    """What sending again did at the channel, when the sync last ran."""
    table = control.table("runs")
    statement = f"SELECT repeats FROM {table} WHERE sync = :sync AND repeats IS NOT NULL ORDER BY run DESC LIMIT 1"
    found: Repeats | None = control.engine.value(statement, {"sync": sync}, what=table)
    return found


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


@dataclass(frozen=True, slots=True)
class Settling:
    """Gives each open row of the earlier runs of a sync its receipt.

    Args:
        control: the control tables.
        sync: whose lease is held.
        run_id: the run that settles; its own rows are no part of it.
        lease: held by this run.
        wall: the clock.
        connector: open; asked what became of the rows where it can be asked; None to ask nobody.
        mask_keys: the secret of each wire mask.
        pause: what this waits with, where a channel does not know yet; who ends it has the next run ask.
    """

    control: Control
    sync: str
    run_id: str
    lease: Lease
    wall: Callable[[], dt.datetime]
    connector: Connector | None
    mask_keys: Mapping[str, bytes]
    pause: Pause = field(default_factory=Pause)

    async def run(self, seq: int, opened: Sequence[Open]) -> int:
        """Settle all; the last `seq` that was given.

        Args:
            seq: the last that was given before.
            opened: the runs, as `open_runs` gives them under this lease.

        Raises:
            DeliveryError: the channel can be asked and gives no answer.
            BusyError: the lease was lost.
        """
        for left in opened:
            if left.run == self.run_id:
                continue
            seq += await self._asked(left, seq)
            seq += self.write(left, lines(self.control, self.sync, [left]), seq)
            self._closed(left)
        return seq

    async def _asked(self, left: Open, seq: int) -> int:
        """Receipts of what the channel knows; how many."""
        if left.repeats != "effect" or not isinstance(self.connector, Answering):
            return 0
        change = changed(self.sync, "upsert", "l.content", "l.base", "l.key")
        statement = f"SELECT l.*, {change} AS change FROM ({lines(self.control, self.sync, [left])}) AS l WHERE l.status = 'unknown'"
        found_open = self.control.engine.query(statement, what="the disclosure ledger").to_pylist()
        now = self.wall()  # when a line was written says little: its row may have waited for its turn, up to the end of its run
        rows = [{**row, "sent": now} for row in found_open]
        found: list[dict[str, Any]] = []
        common = self._common(left) if rows else {}
        for row, applied in zip(rows, await asked(self.connector, rows, self.mask_keys, self.lease, self.wall, self.pause), strict=True):
            if applied is not None:
                said = {"status": "delivered", "code": ASKED} if applied else {"status": "retryable", "code": ABSENT}
                found.append({**row, **said, **common, "seq": seq + len(found) + 1})
        if found:
            self.lease.check()
            self.control.append("receipts", found)
        return len(found)

    def write(self, left: Open, opened: str, seq: int) -> int:
        """Receipts of rows that nobody answers for, in the engine: a run that was killed where sending again is harmless leaves many.

        Args:
            left: their run.
            opened: SQL of the rows, as `lines` gives them.
            seq: the last that was given.

        Returns:
            How many.
        """
        count = int(self.control.engine.value(f"SELECT COUNT(*) FROM ({opened}) AS l", what="the disclosure ledger"))
        if count:
            own = {"key": "l.key", "subject": "l.subject", "op": "l.op", "content": "l.content", "base": "l.base", "status": "l.status"}
            own["seq"] = f"{seq} + ROW_NUMBER() OVER (ORDER BY l.key)"
            common = {**self._common(left), "code": NO_RECEIPT}
            kinds = self.control.types("receipts")
            columns = ", ".join(f"{own.get(name) or typed(common.get(name), kind)} AS {name}" for name, kind in kinds.items())
            table = self.control.table("receipts")
            self.lease.check()
            self.control.engine.execute(f"INSERT INTO {table} SELECT {columns} FROM ({opened}) AS l", what=table)
        return count

    def _common(self, left: Open) -> dict[str, Any]:
        body = self.control.engine.value(
            f"SELECT MAX(body) FROM {self.control.table('plans')} WHERE sync = :sync AND plan = :plan AND event = 'created'",
            {"sync": self.sync, "plan": left.plan},
            what="the plans",
        )
        told = json.loads(body or "{}").get("told")
        return {"sync": self.sync, "run": left.run, "plan": left.plan, "at": self.wall(), "told": told}

    def _closed(self, left: Open) -> None:
        """The run's end, with what became of its rows."""
        runs, receipts = self.control.table("runs"), self.control.table("receipts")
        named = {"sync": self.sync, "run": left.run}
        # Of a run that came back when it had lost its lease there may be two rows of one number: its own, and that of who settled it.
        last = f"SELECT * FROM {runs} WHERE sync = :sync AND run = :run AND n = :n ORDER BY at DESC LIMIT 1"
        (row,) = self.control.engine.query(last, {**named, "n": left.n}, what=runs).to_pylist()
        own = "sync = :sync AND run = :run AND COALESCE(code, '') <> 'carried'"
        statement = f"SELECT status, COUNT(*) AS n FROM {receipts} WHERE {own} GROUP BY status"
        counted = self.control.engine.query(statement, named, what=receipts).to_pylist()
        counts = dict.fromkeys(("delivered", "rejected", "unknown"), 0)
        counts |= {each["status"]: each["n"] for each in counted if each["status"] in counts}
        rest = row["planned"] - sum(counts.values()) - (row["withheld"] or 0) - (row["carried_over"] or 0)
        ended = {"n": left.n + 1, "status": KILLED if row["status"] == "running" else row["status"], "at": self.wall(), "open": 0}
        self.control.append("runs", [{**row, **counts, **ended, "retryable": rest}])
