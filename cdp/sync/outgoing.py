"""From a stored plan to the batches that leave: chunk by chunk, on columns, each disclosed before it is handed on."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdp.connectors.base import Batch, WireOp
from cdp.engine.base import literal
from cdp.governance.masks import pseudonyms
from cdp.governance.query import GovernedQuery
from cdp.sync import diff, encoding
from cdp.sync.digest import Chunk
from cdp.sync.ledger import Control
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
        run: the run's name.
        withheld: a table of subjects who may no longer be told, or None when there are none.
        mask_keys: the secret of each wire mask, by column.
        sizes: rows of a batch of each kind.
        wall: the clock.
    """

    def __init__(
        self,
        ledger: Control,
        plan: Plan,
        query: GovernedQuery,
        run: str,
        *,
        withheld: str | None,
        mask_keys: Mapping[str, bytes],
        sizes: Mapping[WireOp, int],
        wall: Callable[[], dt.datetime],
    ) -> None:
        self.ledger, self.plan, self.query, self.run = ledger, plan, query, run
        self.withheld, self.mask_keys, self.sizes, self.wall = withheld, mask_keys, sizes, wall

    def parcels(self) -> Iterator[list[Parcel]]:
        """The parcels, one list a chunk. Every batch but the last of a kind is full, so that a rerun makes the same ones."""
        import pyarrow as pa

        for op in OPS:
            left: pa.Table | None = None
            for chunk in chunks_of(self.plan, op):
                self._disclose(chunk, op)
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

    def _disclose(self, chunk: Chunk, op: WireOp) -> None:
        """Commit the ledger's lines of a chunk. A run that ends early has then said too much, never too little."""
        decision = self.query.decision
        columns = self.query.columns if op == "upsert" else self.query.keys
        classes = sorted({*decision.members, *(c for name in columns for c in decision.columns.get(name, ()))})
        constant = {
            "sync": literal(self.plan.sync),
            "destination": literal(self.plan.destination),
            "agreement": literal(decision.agreement),
            "purpose": literal(decision.purpose),
            "classes": literal(json.dumps(classes)),
            "columns": literal(json.dumps(columns)),
            "run": literal(self.run),
            "plan": literal(self.plan.id),
            "chunk": f"CAST({chunk.number} AS INT)",
            "at": f"TIMESTAMP_MICROS({int(self.wall().timestamp() * 1e6)})",
        }
        row = {"person": "p._subject", "key": "p._key", "op": "p._op", "content": "p._content", "base": "p._base"}
        selected = ", ".join(f"{(constant | row)[name]} AS {name}" for name in self.ledger.columns("disclosures"))
        table = self.ledger.table("disclosures")
        self.ledger.engine.execute(f"INSERT INTO {table} SELECT {selected} {self._from(chunk, op)}", what=table)

    def _read(self, chunk: Chunk, op: WireOp) -> pa.Table:
        """A chunk with the columns that leave, masked and by their own names, besides those of its receipts."""
        stored = ", ".join(f"p.{c}" for c in (*_LINES, *self.plan.shape.names))
        statement = f"SELECT {stored}, {self._change(op)} AS _change {self._from(chunk, op)} ORDER BY {encoding.order('p._key')}, p._key"
        rows = self.ledger.engine.query(statement, what=f"plan {self.plan.id}").combine_chunks()
        leaving = self._keys_again(rows) if op == "remove" else {name: rows.column(c) for c, name in self.plan.shape.names.items()}
        return _joined(rows.select([*_LINES, "_change"]), {name: self._masked(name, values) for name, values in leaving.items()})

    def _change(self, op: WireOp) -> str:
        """The id of a change: it builds on the receipt before (`_base`), so going back to an old value is a new change."""
        numbers = [f"COALESCE(CAST(p.{name} AS STRING), '-')" for name in ("_content", "_base")]
        parts = (literal(self.plan.sync), literal(op), *numbers, "p._key")
        return f"SHA2(CONCAT_WS('|', {', '.join(parts)}), 256)"

    def _keys_again(self, rows: pa.Table) -> dict[str, pa.ChunkedArray | pa.Array]:
        """The key columns of removals, from the key that was acknowledged."""
        shape = self.plan.shape
        arrays = encoding.key_columns(rows.column("_key").to_pylist(), shape.keys, [rows.schema.field(c).type for c in shape.keys])
        return {shape.names[c]: array for c, array in zip(shape.keys, arrays, strict=True)}

    def _masked(self, name: str, values: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
        import pyarrow as pa

        masks = {mask.column: mask for mask in self.query.wire_masks}
        if name not in masks:
            return values
        return pa.array(pseudonyms(values.cast(pa.string()).to_pylist(), self.mask_keys[name], masks[name].context), pa.string())

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
