"""From a stored plan to the batches that leave: chunk by chunk, on columns, each disclosed before it is handed on."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from cdp.connectors.base import Batch, Repeats, WireOp
from cdp.errors import StaleError
from cdp.governance.query import GovernedQuery
from cdp.sync import changes, diff, digest
from cdp.sync.allowance import Allowance
from cdp.sync.digest import Chunk
from cdp.sync.lease import Lease
from cdp.sync.leaving import Leaving
from cdp.sync.ledger import Control
from cdp.sync.ledger.disclosure import Disclosures
from cdp.sync.plan import Plan, rows_table

if TYPE_CHECKING:
    import pyarrow as pa

OPS: tuple[WireOp, ...] = ("remove", "upsert")  # removals first: who must no longer be there does not wait
_LINES = ("_key", "_subject", "_op", "_content", "_base")
# They come first in the rows of a chunk and are found by place: a field of a channel may have any name.
_OWN = (*_LINES, "_change", "_text")


@dataclass(frozen=True, slots=True)
class Parcel:
    """A batch and what its receipts will say of each row: key, subject, op, content, base.

    `once`: it must not be sent twice, so that the next one is handed out when all receipts before it are on record.
    """

    batch: Batch
    lines: pa.Table = field(repr=False)
    once: bool = False


class Outgoing:
    """The rows of one run.

    Args:
        ledger: the control tables.
        plan: what to send.
        query: what governance says today, of the same fingerprint as the plan.
        withheld: the subjects who may no longer be told.
        mask_keys: the secret of each wire mask, by column.
        sizes: rows of a batch of each kind.
        disclosures: the run's lines of the ledger.
        lease: held by this run.
        allowance: what the destination may still be told today.
        encoded: the connector's, if it writes the rows of a chunk at once; None from it where it does not.
        repeats: what sending again does at the channel.
        abreast: batches that may be under way at the same time.

    Attributes:
        carried_over: rows that the day's cap had no room for.
    """

    def __init__(
        self,
        ledger: Control,
        plan: Plan,
        query: GovernedQuery,
        *,
        withheld: pa.Array,
        mask_keys: Mapping[str, bytes],
        sizes: Mapping[WireOp, int],
        disclosures: Disclosures,
        lease: Lease,
        allowance: Allowance,
        encoded: Callable[[Batch], pa.StringArray | None] | None = None,
        repeats: Repeats,
        abreast: int,
    ) -> None:
        self.ledger, self.plan, self.query = ledger, plan, query
        self.withheld, self.mask_keys, self.sizes, self.disclosures, self.lease = withheld, mask_keys, sizes, disclosures, lease
        self.allowance, self.encoded, self.repeats, self.abreast = allowance, encoded, repeats, abreast
        self.carried_over = 0

    def parcels(self) -> Iterator[list[Parcel]]:
        """The parcels, one list a chunk. Every batch but the last of a kind is full, so that a rerun makes the same ones.

        Where each request has an effect it is one list a group: as many batches as may be under way, disclosed by themselves.
        """
        for op in OPS:
            if op == "upsert" and self.repeats == "effect":
                for chunk, rows in self._chunks(op):
                    yield from self._groups(chunk, rows)
                continue
            left: pa.Table | None = None
            for chunk, rows in self._chunks(op):
                ready, left = self._full(left, self._disclose(chunk, op, rows), op)
                yield ready
            if left is not None and left.num_rows:
                yield self._cut(left, op)

    def _chunks(self, op: WireOp) -> Iterator[tuple[Chunk, pa.Table]]:
        """The chunks of a kind and their rows, each read while the one before is disclosed and handed out."""
        run = contextvars.copy_context().run
        left = deque(chunks_of(self.plan, op))
        with ThreadPoolExecutor(1, "cdp-read") as reader:
            reading = reader.submit(run, self._read, left[0], op) if left else None
            while reading is not None:
                rows, chunk = reading.result(), left.popleft()
                reading = reader.submit(run, self._read, left[0], op) if left else None
                yield chunk, rows

    def _disclose(self, chunk: Chunk, op: WireOp, rows: pa.Table) -> pa.Table:
        """Put on record what is handed out next, as far as the day's cap has room; who has lost the lease by then hands nothing out."""
        with self.allowance.granted(rows.num_rows) if op == "upsert" else nullcontext(rows.num_rows) as count:
            if count < rows.num_rows:
                self.carried_over += rows.num_rows - count
                rows = rows.slice(0, count)
            if count:
                self.disclosures.write(chunk.number, op, _lines(rows))
        self.lease.check()
        return rows

    def _full(self, left: pa.Table | None, rows: pa.Table, op: WireOp) -> tuple[list[Parcel], pa.Table]:
        """The full batches of what was left of one chunk and the next, and what is left now. Only the batch across both is copied."""
        import pyarrow as pa

        size, ready = self.sizes[op], []
        if left is not None and left.num_rows:
            first = pa.concat_tables([left, rows.slice(0, size - left.num_rows)]).combine_chunks()
            if first.num_rows < size:
                return [], first
            ready, rows = self._cut(first, op), rows.slice(size - left.num_rows)
        full = rows.num_rows - rows.num_rows % size
        return ready + self._cut(rows.slice(0, full), op), rows.slice(full)

    def _groups(self, chunk: Chunk, rows: pa.Table) -> Iterator[list[Parcel]]:
        """The upserts of a chunk in groups of as many rows as may be under way."""
        size = self.sizes["upsert"] * self.abreast
        for start in range(0, rows.num_rows, size):
            yield self._cut(self._disclose(chunk, "upsert", rows.slice(start, size)), "upsert")

    def _read(self, chunk: Chunk, op: WireOp) -> pa.Table:
        """A chunk as it was planned: the columns that leave, masked and by their own names, after `_OWN`.

        Raises:
            StaleError: its rows are not those that were planned.
        """
        import pyarrow as pa

        engine, table, stored = self.ledger.engine, rows_table(self.ledger, self.plan.id), self.plan.shape.stored
        rows = digest.read(engine, table, stored, chunk.number)
        if (rows.num_rows, digest.sha256(rows, stored)) != (chunk.rows, chunk.sha256):
            raise self._not_planned()
        if op == "upsert" and len(self.withheld):
            rows = self._without(rows)
        leaving: Mapping[str, pa.ChunkedArray | pa.Array]
        if op == "remove":
            leaving = self._keys_again(rows)
        else:
            leaving = {name: self._leaving.column(name, rows.column(c)) for c, name in self.plan.shape.names.items()}
        change = changes.texts(self.plan.sync, op, rows).combine_chunks()
        text = None
        if self.encoded is not None:
            wire = _joined(rows.select([]), leaving)
            text = self.encoded(Batch(op, wire, self.query.keys, changes.ids(change, self.mask_keys)))
        own = {"_change": change, "_text": pa.nulls(rows.num_rows, pa.string()) if text is None else text}
        return _joined(_joined(rows.select(list(_LINES)), own), leaving)

    def _without(self, rows: pa.Table) -> pa.Table:
        """Without those who may no longer be told."""
        import pyarrow.compute as pc

        return rows.filter(pc.invert(pc.is_in(rows.column("_subject"), value_set=self.withheld))).combine_chunks()

    def _not_planned(self) -> StaleError:
        again = f"run `cdp plan {self.plan.sync}` again"
        return StaleError(f"plan {self.plan.id}: its stored rows are not those that were planned", fix=again)

    def _keys_again(self, rows: pa.Table) -> Mapping[str, pa.Array]:
        """The key columns of removals, as they left."""
        shape = self.plan.shape
        kinds = {shape.names[column]: rows.schema.field(column).type for column in shape.keys}
        return self._leaving.keys(rows.column("_key").to_pylist(), kinds)

    @cached_property
    def _leaving(self) -> Leaving:
        return Leaving.of(self.query, self.mask_keys)

    def _cut(self, rows: pa.Table, op: WireOp) -> list[Parcel]:
        if not rows.num_rows:
            return []
        wire, lines = rows.select(list(range(len(_OWN), rows.num_columns))), _lines(rows)
        ids, text = changes.ids(_own(rows, "_change").chunk(0), self.mask_keys), _own(rows, "_text").chunk(0)
        whole, size = Batch(op, wire, self.query.keys, ids, None if text.null_count else text), self.sizes[op]
        once = op == "upsert" and self.repeats == "effect"
        return [Parcel(whole.slice(at, size), lines.slice(at, size), once) for at in range(0, rows.num_rows, size)]


def chunks_of(plan: Plan, op: WireOp) -> tuple[Chunk, ...]:
    """The chunks of one kind: removals come first."""
    removals = -(-plan.counts["remove"] // diff.CHUNK_ROWS)
    return tuple(chunk for chunk in plan.chunks if (chunk.number < removals) == (op == "remove"))


def _lines(rows: pa.Table) -> pa.Table:
    return rows.select(list(range(len(_LINES))))


def _own(rows: pa.Table, name: str) -> pa.ChunkedArray:
    return rows.column(_OWN.index(name))


def _joined(table: pa.Table, columns: Mapping[str, pa.ChunkedArray | pa.Array]) -> pa.Table:
    for name, values in columns.items():
        table = table.append_column(name, values)
    return table
