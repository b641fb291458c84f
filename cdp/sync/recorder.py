"""Receipts become state: committed in groups, every two seconds or 50,000 rows, beside the delivery.

When the lakehouse is slow, delivery waits; when it cannot be written, delivery stops at once. What a crash can repeat is what was answered
since the last group that is on record: two seconds, and as long as a group takes to be written, up to two seconds more; and never more
than two groups of rows, beside what is in flight.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cdp.connectors.base import STATUSES, Batch, Receipts, Same, Status
from cdp.connectors.codes import repeats
from cdp.spec.delivery import CODE
from cdp.sync.lease import Lease
from cdp.sync.ledger import Control
from cdp.sync.outgoing import Parcel
from cdp.sync.plan import Plan

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_SECONDS = 2.0
GROUP_ROWS = 50_000
NEVER = 1 << 62
_STATUSES = frozenset(STATUSES)
UNREADABLE = "unreadable_code"
_SHARED = ("op", "base", "status", "code")  # what most groups have one value of is not handed over row by row; no such value is a person's


@dataclass(slots=True)
class Tally:
    """What was answered so far, by status, of how many rows planned; `waits` says what the run waits for, to whoever asks."""

    planned: int
    delivered: int = 0
    rejected: int = 0
    retryable: int = 0
    unknown: int = 0
    waits: Callable[[], str | None] = field(default=lambda: None, repr=False, compare=False)

    def count(self, statuses: Mapping[Status, int]) -> None:
        """Add the answers to a batch, so many of each status."""
        self.delivered += statuses.get("delivered", 0)
        self.rejected += statuses.get("rejected", 0)
        self.retryable += statuses.get("retryable", 0)
        self.unknown += statuses.get("unknown", 0)

    @property
    def answered(self) -> int:
        """Rows with a receipt."""
        return self.delivered + self.rejected + self.retryable + self.unknown


class Recorder:
    """Writes the receipts of one run.

    Args:
        ledger: the control tables.
        lease: held by this run; checked before each group, renewed in time.
        plan: being applied.
        run: the run's name.
        flush: makes durable what the channel took; called before each group.
        wall: the clock.
        progress: told after each group.
    """

    def __init__(
        self,
        ledger: Control,
        lease: Lease,
        plan: Plan,
        run: str,
        *,
        flush: Callable[[], Awaitable[None]],
        wall: Callable[[], dt.datetime],
        progress: Callable[[Tally], None] | None = None,
    ) -> None:
        self.ledger, self.lease, self.plan, self.run_id = ledger, lease, plan, run
        self.flush, self.wall, self.progress = flush, wall, progress
        self.tally = Tally(plan.rows)
        self._pending: list[tuple[Parcel, Receipts]] = []
        self._rows = self._waiting = 0  # without a receipt on record; those of them that no group has been begun of
        self._seq = lease.first_seq  # grows within a run, and from run to run with the token
        self._room = asyncio.Condition()
        self._wake = asyncio.Event()
        self._closed = False
        self._due = NEVER
        self._oldest = 0.0  # when the first of those that wait came
        self._began: float | None = None  # when the group that is being written was begun
        self._renewed = time.monotonic()

    @property
    def full(self) -> bool:
        """Whether answers wait for receipts to be written: two groups are not, or one has been under way for long."""
        slow = self._began is not None and time.monotonic() - self._began > GROUP_SECONDS
        return slow or self._rows >= 2 * GROUP_ROWS

    @property
    def last(self) -> int:
        """The highest `seq` that was given."""
        return self._seq

    async def add(self, parcel: Parcel, receipts: Receipts) -> None:
        """Take the receipts of a batch, which fit it; waits while two groups are not written."""
        async with self._room:
            await self._room.wait_for(lambda: not self.full)
            if not self._pending:
                self._oldest = time.monotonic()
            self._pending.append((parcel, receipts))
            self._rows += len(parcel.batch)
            self._waiting += len(parcel.batch)
        if self._waiting >= GROUP_ROWS or self._rows >= self._due - self.tally.answered:
            self._wake.set()

    async def settled(self, rows: int) -> None:
        """Wait until so many rows of the run have their receipts on record; the last of them are written without delay."""
        self._due = rows
        async with self._room:
            if self.tally.answered < rows and self._rows >= rows - self.tally.answered:
                self._wake.set()
            await self._room.wait_for(lambda: self.tally.answered >= rows)
        self._due = NEVER

    def after(self, seq: int) -> None:
        """Number receipts from here on: those until there were written before the delivery began."""
        self._seq = max(self._seq, seq)

    def close(self) -> None:
        """No more receipts will come: `run` writes what is left and returns."""
        self._closed = True
        self._wake.set()

    async def run(self) -> None:
        """Write groups until closed.

        Raises:
            EngineError: a group could not be written.
            BusyError: another run has taken the lease.
        """
        while not self._closed or self._pending:
            waited = time.monotonic() - self._oldest if self._pending else 0.0
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), GROUP_SECONDS - waited)
            self._wake.clear()
            if self._pending:
                await self._commit()
            elif time.monotonic() - self._renewed > self.lease.seconds / 4:
                await self._renew()

    async def _commit(self) -> None:
        group, self._pending, self._waiting = self._pending, [], 0
        self._began = time.monotonic()
        await self.flush()
        if time.monotonic() - self._renewed > self.lease.seconds / 4:
            await self._renew()
        rows = self._table(group)
        await asyncio.to_thread(self._write, rows)
        for _, receipts in group:
            self.tally.count(receipts.counts)
        async with self._room:
            self._rows, self._began = self._rows - rows.num_rows, None
            self._room.notify_all()
        if self.progress:
            self.progress(self.tally)

    async def _renew(self) -> None:
        await asyncio.to_thread(self.lease.renew)
        self._renewed = time.monotonic()

    def _write(self, rows: pa.Table) -> None:
        self.lease.check()
        same = {"sync": self.plan.sync, "run": self.run_id, "plan": self.plan.id, "at": self.wall(), "told": self.plan.told}
        shared = {name: rows.column(name)[0].as_py() for name in _SHARED if _uniform(rows.column(name))}
        self.ledger.append_parts("receipts", (rows.drop_columns(list(shared)), same | shared))

    def _table(self, group: list[tuple[Parcel, Receipts]]) -> pa.Table:
        import pyarrow as pa

        lines = pa.concat_tables([parcel.lines for parcel, _ in group])
        count = lines.num_rows
        first, self._seq = self._seq + 1, self._seq + count
        columns = {
            "key": lines.column("_key"),
            "subject": lines.column("_subject"),
            "op": lines.column("_op"),
            "content": lines.column("_content"),
            "base": lines.column("_base"),
            "status": pa.chunked_array([_texts(receipts.statuses) for _, receipts in group]),
            "code": pa.chunked_array([_texts(_codes(parcel, receipts.codes)) for parcel, receipts in group]),
            "seq": pa.arange(first, first + count),
        }
        return pa.table(columns)


def _uniform(values: pa.ChunkedArray) -> bool:
    """Whether a column that has rows has one value, or none."""
    import pyarrow.compute as pc

    return bool(values.null_count == len(values) or (values.null_count == 0 and pc.all(pc.equal(values, values[0])).as_py()))


def fit(batch: Batch, receipts: Receipts) -> bool:
    """Whether a connector, which may be anyone's, has answered for every row of a batch, and in words that are known."""
    try:
        return len(batch) == len(receipts.statuses) == len(receipts.codes) and _STATUSES.issuperset(receipts.counts)
    except (AttributeError, TypeError):  # it is something else, or its statuses are
        return False


def _texts(values: Sequence[str | None]) -> pa.Array:
    """A batch's statuses or codes as a column."""
    import pyarrow as pa

    return pa.repeat(pa.scalar(values.value, pa.string()), len(values)) if isinstance(values, Same) else pa.array(values, pa.string())


def _codes(parcel: Parcel, codes: Sequence[str | None]) -> Sequence[str | None]:
    """A channel's words for its reasons; one that is longer or odder, or is a value of its row, is not repeated."""
    if codes.count(None) == len(codes):
        return codes
    places = [place for place, code in enumerate(codes) if code is not None]
    found = list(codes)
    for place, row in zip(places, _values(parcel.batch.rows.take(places)), strict=True):
        code = str(codes[place])
        found[place] = code if CODE.fullmatch(code) and not repeats(code, row.values()) else UNREADABLE
    return found


def _values(rows: pa.Table) -> list[dict[str, Any]]:
    """Rows as Python has them; days and moments of a year that it does not know, which leave like any other, as texts."""
    import pyarrow as pa

    try:
        found: list[dict[str, Any]] = rows.to_pylist()
    except (OverflowError, ValueError):
        for at, column in enumerate(rows.schema):
            if pa.types.is_temporal(column.type):
                rows = rows.set_column(at, column.name, rows.column(at).cast(pa.string()))
        found = rows.to_pylist()
    return found
