"""The synced state, held against what is on record, and made anew from it; and what a person says of rows of which nobody knows.

Each folding writes down what it made (`folds`), so that a state which lost rows, or is of another day than the receipts, is found by the
next plan and not sent to anybody. It is rebuilt from all receipts. Where receipts are gone too, the rows of the state that are newer than
any receipt are kept; and what the disclosure ledger says was put on the wire, and nothing says what came of it, is in doubt: sent again,
or, where that would have an effect again, unknown.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cdp.engine.base import literal
from cdp.errors import DataError, UsageError
from cdp.sync import intents, lease, state
from cdp.sync.ledger import Control, new_name

SETTLED = "settled"  # the status of the row in `runs` that says who settled unknown rows; the code of those that were delivered
Verdict = Literal["delivered", "again"]


@dataclass(frozen=True, slots=True)
class Found:
    """What the state of a sync is, and what rebuilding it would make of it.

    Attributes:
        wrong: what does not fit; empty where the state is what was folded.
        rows: keys in the state as it is; `rebuilt`: as it would be.
        added, changed, dropped: keys that only the rebuilt state has, that it has otherwise, that it does not have.
        unproven: keys of the rebuilt state that no receipt stands behind any more: they are kept as the state has them.
        lost: runs with fewer receipts than they counted, each with how many at least.
        doubtful: rows of these that were put on the wire, and nothing says what came of it.
        unknown: rows that wait for a person to say whether they were delivered.
    """

    sync: str
    wrong: tuple[str, ...]
    rows: int
    rebuilt: int
    added: int
    changed: int
    dropped: int
    unproven: int
    lost: tuple[tuple[str, int], ...]
    doubtful: int
    unknown: int

    def as_json(self) -> dict[str, Any]:
        """The finding as a JSON object with stable keys."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return {**found, "wrong": list(self.wrong), "lost": [{"run": run, "receipts": count} for run, count in self.lost]}


def check(control: Control, sync: str, at: state.Known) -> None:
    """Refuse to plan on a state that is not what was folded.

    Raises:
        DataError: says what does not fit.
    """
    # Read a second time: another process may have folded between the two tables that are compared.
    if (wrong := _wrong(control, sync, at)) and (wrong := _wrong(control, sync, state.known(control, sync))):
        raise DataError(
            f"sync {sync}: what its destination holds cannot be told: {'; '.join(wrong)}",
            fix=f"see `cdp resync {sync}`; it rebuilds the state from the receipts",
        )


def _wrong(control: Control, sync: str, at: state.Known) -> tuple[str, ...]:
    """What does not fit."""
    folded, ever = state.folds(control, sync)
    wrong = []
    if (at.rows or ever) and (at.folded, at.rows, at.mark) not in folded:
        last = f"{max(folded)[1]:,}" if folded else "nothing"
        there = f"holds {at.rows:,} rows, which are not what was last folded ({last})" if at.rows else "is empty"
        wrong.append(f"the table synced {there}")
    if at.newest < at.counted:
        wrong.append("receipts that a run counted are gone")
    return tuple(wrong)


def inspect(control: Control, sync: str) -> Found:
    """Compare the state with what is on record; nothing is changed."""
    return _Rebuilding(control, sync, state.known(control, sync)).found()


def rebuild(control: Control, sync: str, wall: Callable[[], dt.datetime]) -> Found:
    """Make the state anew, under the sync's lease; what was found before.

    Raises:
        BusyError: a run holds the sync.
    """
    held = lease.acquire(control, sync, wall)
    try:
        at = state.known(control, sync)
        rebuilding = _Rebuilding(control, sync, at)
        found = rebuilding.found()
        held.check()
        rebuilding.write(held, wall)
        record(control, sync, wall(), intents.RESYNCED, {"rebuilt": found.as_json()})
        return found
    finally:
        held.release()


@dataclass(frozen=True, slots=True)
class _Rebuilding:
    control: Control
    sync: str
    at: state.Known

    @property
    def _mine(self) -> str:
        return f"sync = {literal(self.sync)}"

    def _state(self) -> str:
        """SQL of the rebuilt state: of each key what the newest of its receipts says, or the state where that is newer."""
        columns = self.control.columns("synced")
        listed = ", ".join(columns)
        receipts = f"SELECT {listed}, TRUE AS proven FROM {self.control.table('receipts')} WHERE {self._mine} AND status = 'delivered'"
        every = f"{receipts} UNION ALL SELECT {listed}, FALSE FROM {self.control.table('synced')} WHERE {self._mine}"
        # Of one seq a receipt is believed before the state: the state is only a copy of it.
        ranked = f"SELECT e.*, ROW_NUMBER() OVER (PARTITION BY e.key ORDER BY e.seq DESC, e.proven DESC) AS nth FROM ({every}) AS e"
        return f"SELECT {listed}, proven FROM ({ranked}) AS r WHERE r.nth = 1"

    def _lost(self) -> str:
        """SQL of the runs that counted more answers than they have receipts, or lack the last one: run, n, repeats, plan, missing.

        Rows without an answer are not counted by a run, for most of them may not have left; but its last receipt may be of one.
        """
        runs, receipts = self.control.table("runs"), self.control.table("receipts")
        last = f"SELECT r.run, MAX(r.n) AS n FROM {runs} AS r WHERE {self._mine} GROUP BY r.run"
        later = ", ".join(map(literal, (SETTLED, intents.ASKED_LATER, state.AGAIN, state.CARRIED)))
        answered = (
            f"SELECT r.run, COUNT_IF(r.status <> 'retryable') AS answered, MAX(r.seq) AS seq FROM {receipts} AS r "
            f"WHERE {self._mine} AND COALESCE(r.code, '') NOT IN ({later}) GROUP BY r.run"
        )
        missing = "r.delivered + r.rejected + r.unknown - COALESCE(a.answered, 0)"
        return (
            f"SELECT r.run, r.plan, r.n, r.repeats, GREATEST({missing}, 1) AS missing "
            f"FROM {runs} AS r JOIN ({last}) AS x ON r.run = x.run AND r.n = x.n LEFT JOIN ({answered}) AS a ON a.run = r.run "
            f"WHERE r.{self._mine} AND r.plan IS NOT NULL AND ({missing} > 0 OR r.seq > COALESCE(a.seq, 0)) ORDER BY r.run"
        )

    def _doubtful(self, left: Sequence[intents.Open]) -> str:
        """SQL of the lines of such runs that no receipt and no row of the state speaks of."""
        opened = intents.lines(self.control, self.sync, left)
        return f"SELECT l.* FROM ({opened}) AS l LEFT ANTI JOIN ({self._state()}) AS s ON s.key = l.key AND s.run >= l.run"

    def _lost_runs(self) -> list[tuple[intents.Open, int]]:
        rows = self.control.engine.query(self._lost(), what="the runs").to_pylist()
        return [(intents.Open(row["run"], row["plan"], row["repeats"] or "effect", row["n"]), row["missing"]) for row in rows]

    def found(self) -> Found:
        """Count what would change."""
        now = f"SELECT key, op, content, seq FROM ({state.acknowledged(self.control, self.sync, self.at)}) AS n"
        compared = (
            "SELECT COUNT(n.key) AS had, COUNT(s.key) AS has, COUNT_IF(n.key IS NULL) AS added, COUNT_IF(s.key IS NULL) AS dropped, "
            "COUNT_IF(n.key IS NOT NULL AND s.key IS NOT NULL AND NOT (n.op <=> s.op AND n.content <=> s.content AND n.seq <=> s.seq)) "
            "AS changed, COUNT_IF(NOT s.proven) AS unproven "
            f"FROM ({now}) AS n FULL OUTER JOIN ({self._state()}) AS s ON n.key = s.key"
        )
        (row,) = self.control.engine.query(compared, what="the synced state").to_pylist()
        lost = self._lost_runs()
        doubtful = 0
        if lost:
            count = f"SELECT COUNT(*) FROM ({self._doubtful([left for left, _ in lost])}) AS d"
            doubtful = int(self.control.engine.value(count, what="the disclosure ledger"))
        return Found(
            sync=self.sync,
            wrong=_wrong(self.control, self.sync, self.at),
            rows=row["had"],
            rebuilt=row["has"],
            added=row["added"],
            changed=row["changed"],
            dropped=row["dropped"],
            unproven=row["unproven"],
            lost=tuple((left.run, missing) for left, missing in lost),
            doubtful=doubtful,
            unknown=len(unknown(self.control, self.sync)),
        )

    def write(self, held: lease.Lease, wall: Callable[[], dt.datetime]) -> None:
        """Receipts for what is in doubt, then the state: a crash between leaves doubts, and the state to be rebuilt again."""
        held.check()
        seq = state.carry(self.control, self.sync, self.at, held.first_seq)
        for left, _ in self._lost_runs():
            settling = intents.Settling(self.control, self.sync, "", held, wall, None, {})
            seq += settling.write(left, self._doubtful([left]), seq)
        columns = ", ".join(self.control.columns("synced"))
        state.rewrite(self.control, self.sync, f"SELECT {columns} FROM ({self._state()}) AS s", anew=True)


# -- what a person says -----------------------------------------------------------------------------------------------


def unknown(control: Control, sync: str) -> list[dict[str, Any]]:
    """The rows of which nobody knows whether they were applied: key, op, content, base, run, at; the oldest first."""
    at = state.known(control, sync)
    if not at.open and not at.attempts:
        return []
    doubts = state.doubts(control, sync, at)
    statement = (
        f"SELECT d.key, d.subject, d.op, d.content, d.tried_base AS base, d.run, d.at, d.told FROM ({doubts}) AS d "
        "WHERE d.doubt = 'unknown' ORDER BY d.at, d.key"
    )
    rows: list[dict[str, Any]] = control.engine.query(statement, what="the receipts").to_pylist()
    return rows


def settle(control: Control, sync: str, verdict: Verdict, keys: Sequence[str], wall: Callable[[], dt.datetime]) -> int:
    """Put on record what a person says of unknown rows: that they were delivered, or that they are to be sent again.

    Args:
        control: the control tables.
        sync: theirs.
        verdict: what is said.
        keys: of whom; none: of all of them.
        wall: the clock.

    Returns:
        Of how many rows.

    Raises:
        UsageError: a key is of no unknown row.
        BusyError: a run holds the sync.
    """
    held = lease.acquire(control, sync, wall)
    try:
        picked = _picked(control, sync, keys)
        said = {"delivered": ("delivered", SETTLED), "again": ("retryable", state.AGAIN)}[verdict]
        plans = _plans(control, sync)
        rows = [
            {
                **row,
                "sync": sync,
                "status": said[0],
                "code": said[1],
                "plan": plans.get(row["run"]),
                "seq": held.first_seq + n,
                "at": wall(),
            }
            for n, row in enumerate(picked, 1)
        ]
        if rows:
            held.check()
            control.append("receipts", rows)
            record(control, sync, wall(), SETTLED, {"unknown": verdict, "rows": len(rows)})
        return len(rows)
    finally:
        held.release()


def chosen(control: Control, sync: str, keys: Sequence[str]) -> int:
    """Of how many rows `settle` would put something on record.

    Raises:
        UsageError: a key is of no unknown row.
    """
    return len(_picked(control, sync, keys))


def _picked(control: Control, sync: str, keys: Sequence[str]) -> list[dict[str, Any]]:
    found = unknown(control, sync)
    if missing := len(set(keys) - {row["key"] for row in found}):
        said = f"{missing} of the keys {'are' if missing > 1 else 'is'} of no unknown row of {sync}"
        raise UsageError(said, fix=f"see `cdp resync {sync} --unknown list`")
    return [row for row in found if not keys or row["key"] in keys]


def _plans(control: Control, sync: str) -> dict[str, str]:
    table = control.table("runs")
    found = control.engine.query(f"SELECT DISTINCT run, plan FROM {table} WHERE sync = :sync AND n = 0", {"sync": sync}, what=table)
    return {row["run"]: row["plan"] for row in found.to_pylist()}


def record(control: Control, sync: str, now: dt.datetime, status: str, what: dict[str, Any], run: str = "") -> None:
    """Who did it, when, and what came of it, as a row in `runs`.

    Args:
        control: the control tables.
        sync: what it was done to.
        now: the wall clock.
        status: `resynced` or `settled`.
        what: came of it.
        run: its name, where it has one already.
    """
    run = run or new_name(now)
    counts = dict.fromkeys(("planned", "delivered", "rejected", "retryable", "unknown", "withheld", "carried_over", "open"), 0)
    row = {"sync": sync, "run": run, "n": 1, "status": status, "at": now, "actor": control.engine.whoami(), **counts}
    control.append("runs", [{**row, "body": json.dumps({"resync": what})}])
