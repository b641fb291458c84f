"""From a stored plan to the batches that leave: chunk by chunk, on columns, each disclosed before it is handed on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from cdp.connectors.base import Batch, WireOp
from cdp.engine.base import literal
from cdp.governance.masks import pseudonyms
from cdp.governance.query import GovernedQuery, WireMask
from cdp.sync import diff, encoding
from cdp.sync.digest import Chunk
from cdp.sync.lease import Lease
from cdp.sync.ledger import Control
from cdp.sync.ledger.disclosure import Disclosures
from cdp.sync.plan import Plan, rows_table

if TYPE_CHECKING:
    import pyarrow as pa

OPS: tuple[WireOp, ...] = ("remove", "upsert")  # removals first: who must no longer be there does not wait
_LINES = ("_key", "_subject", "_op", "_content")


@dataclass(frozen=True, slots=True)
class Parcel:
    """A batch and what its receipts will say of each row: key, subject, op, content."""

    batch: Batch
    lines: pa.Table


class Outgoing:
    """The rows of one run.

    Args:
        ledger: the control tables.
        plan: what to send.
        query: what governance says today, of the same fingerprint as the plan.
        withheld: a table of subjects who may no longer be told, or None when there are none.
        mask_keys: the secret of each wire mask, by column.
        sizes: rows of a batch of each kind.
        disclosures: the run's lines of the ledger.
        lease: held by this run.
    """

    def __init__(
        self,
        ledger: Control,
        plan: Plan,
        query: GovernedQuery,
        *,
        withheld: str | None,
        mask_keys: Mapping[str, bytes],
        sizes: Mapping[WireOp, int],
        disclosures: Disclosures,
        lease: Lease,
    ) -> None:
        self.ledger, self.plan, self.query = ledger, plan, query
        self.withheld, self.mask_keys, self.sizes, self.disclosures, self.lease = withheld, mask_keys, sizes, disclosures, lease

    def parcels(self) -> Iterator[list[Parcel]]:
        """The parcels, one list a chunk. Every batch but the last of a kind is full, so that a rerun makes the same ones."""
        import pyarrow as pa

        for op in OPS:
            left: pa.Table | None = None
            for chunk in chunks_of(self.plan, op):
                self.disclosures.write(chunk.number, op, self._from(chunk, op))
                self.lease.check()  # who lost it sends nothing of what it has just disclosed
                rows = self._read(chunk, op)
                rows = pa.concat_tables([left, rows]).combine_chunks() if left is not None and left.num_rows else rows
                full = rows.num_rows - rows.num_rows % self.sizes[op]
                left = rows.slice(full)
                yield self._cut(rows.slice(0, full), op)
            if left is not None and left.num_rows:
                yield self._cut(left, op)

    def _from(self, chunk: Chunk, op: WireOp) -> str:
        """The rows of a chunk that may leave. Removals always may."""
        keep = f" LEFT ANTI JOIN {self.withheld} AS w ON p._subject = w.subject" if self.withheld and op == "upsert" else ""
        return f"FROM {rows_table(self.ledger, self.plan.id)} AS p{keep} WHERE p._chunk = {chunk.number}"

    def _read(self, chunk: Chunk, op: WireOp) -> pa.Table:
        """A chunk with the columns that leave, masked and by their own names, besides those of its receipts."""
        stored = ", ".join(f"p.{c}" for c in (*_LINES, *self.plan.shape.names))
        statement = f"SELECT {stored}, {self._change(op)} AS _change {self._from(chunk, op)} ORDER BY {encoding.order('p._key')}, p._key"
        rows = self.ledger.engine.query(statement, what=f"plan {self.plan.id}").combine_chunks()
        if op == "remove":
            leaving = self._keys_again(rows)
        else:
            leaving = {name: self._masked(name, rows.column(c)) for c, name in self.plan.shape.names.items()}
        return _joined(rows.select([*_LINES, "_change"]), leaving)

    def _change(self, op: WireOp) -> str:
        """The id of a change: it builds on the receipt before (`_base`), so going back to an old value is a new change."""
        numbers = [f"COALESCE(CAST(p.{name} AS STRING), '-')" for name in ("_content", "_base")]
        parts = (literal(self.plan.sync), literal(op), *numbers, "p._key")
        return f"SHA2(CONCAT_WS('|', {', '.join(parts)}), 256)"

    def _keys_again(self, rows: pa.Table) -> dict[str, pa.ChunkedArray | pa.Array]:
        """The key columns of removals, from the key that was acknowledged: a pseudonym is that of the version it went out under."""
        import pyarrow as pa

        shape, leaving = self.plan.shape, {}
        texts = encoding.key_columns(rows.column("_key").to_pylist(), len(shape.keys))
        for column, values in zip(shape.keys, texts, strict=True):
            name, kind = shape.names[column], rows.schema.field(column).type
            if name in self._masks:
                leaving[name] = self._masked_again(name, values, kind)
            else:
                leaving[name] = pa.array(values, pa.string()).cast(kind)
        return leaving

    @cached_property
    def _masks(self) -> Mapping[str, WireMask]:
        return {mask.column: mask for mask in self.query.wire_masks}

    def _masked(self, name: str, values: pa.ChunkedArray | pa.Array, version: int | None = None) -> pa.ChunkedArray | pa.Array:
        """A column as it leaves, under a version of its mask or the one of today."""
        import pyarrow as pa

        if name not in self._masks:
            return values
        mask = self._masks[name]
        context = mask.context_of(version or mask.version)
        return pa.array(pseudonyms(values.cast(pa.string()).to_pylist(), self.mask_keys[name], context), pa.string())

    def _masked_again(self, name: str, values: Sequence[str], kind: pa.DataType) -> pa.Array:
        """A key column of removals, each value under its own version."""
        import pyarrow as pa

        found: list[str | None] = [None] * len(values)
        versions: dict[int, list[int]] = {}
        split = [encoding.split_version(value) for value in values]
        for place, (_, version) in enumerate(split):
            versions.setdefault(version, []).append(place)
        for version, places in versions.items():
            typed = pa.array([split[place][0] for place in places], pa.string()).cast(kind)
            for place, pseudonym in zip(places, self._masked(name, typed, version).to_pylist(), strict=True):
                found[place] = pseudonym
        return pa.array(found, pa.string())

    def _cut(self, rows: pa.Table, op: WireOp) -> list[Parcel]:
        lines, wire = rows.select(_LINES), rows.select([c for c in rows.column_names if c not in (*_LINES, "_change")])
        changes, size = rows.column("_change").to_pylist(), self.sizes[op]
        return [
            Parcel(Batch(op, wire.slice(at, size), self.query.keys, tuple(changes[at : at + size])), lines.slice(at, size))
            for at in range(0, rows.num_rows, size)
        ]


def chunks_of(plan: Plan, op: WireOp) -> tuple[Chunk, ...]:
    """The chunks of one kind: removals come first."""
    removals = -(-plan.counts["remove"] // diff.CHUNK_ROWS)
    return tuple(chunk for chunk in plan.chunks if (chunk.number < removals) == (op == "remove"))


def _joined(table: pa.Table, columns: Mapping[str, pa.ChunkedArray | pa.Array]) -> pa.Table:
    for name, values in columns.items():
        table = table.append_column(name, values)
    return table
