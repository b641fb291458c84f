"""The control tables: what was planned, sent, answered and is held. Plain Delta tables that people may query.

    plans        one row for each event in a plan's life (created, applied); `body` is its JSON
    runs         one row when a run starts and one when it ends; the state of a run is its row of the highest `n`
    receipts     one row for each answer of a channel; `seq` grows within a sync
    synced       receipts folded together: the last delivered one of each key, removals (tombstones) included
    folds        what each folding made of it: highest seq, rows, a sum; so that a state that lost rows is found
    disclosures  one row (kind `line`) for each row put on the wire, and one (kind `block`) for each commit of them; see chain.py
    revocations  who had to be taken off, since when and why; see revocations.py
    leases       who may write the receipts of a sync, until when, with which fencing token

All are append-only but `synced` and `leases`. Columns cannot be added on the embedded engine, so each table
has what later work is known to need. They are partitioned by sync: syncs that run side by side never conflict. Disclosures,
which are only appended to, by kind: blocks are read without their lines. Receipts also by status: what was rejected is read without what
was delivered.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from cdp.engine.base import Engine

_TABLES: Mapping[str, Mapping[str, str]] = {
    "plans": {
        "sync": "string",
        "plan": "string",
        "event": "string",
        "at": "timestamp",
        "actor": "string",
        "digest": "string",
        "body": "string",
    },
    "runs": {
        "sync": "string",
        "run": "string",
        "n": "int",
        "plan": "string",
        "destination": "string",
        "status": "string",
        "at": "timestamp",
        "planned": "bigint",
        "delivered": "bigint",
        "rejected": "bigint",
        "retryable": "bigint",
        "unknown": "bigint",
        "withheld": "bigint",
        "carried_over": "bigint",
        "open": "bigint",
        "seq": "bigint",
        "repeats": "string",
        "actor": "string",
        "body": "string",
    },
    "receipts": {
        "sync": "string",
        "key": "string",
        "subject": "string",
        "op": "string",
        "content": "bigint",
        "base": "bigint",
        "status": "string",
        "code": "string",
        "run": "string",
        "plan": "string",
        "seq": "bigint",
        "at": "timestamp",
        "told": "string",
    },
    "synced": {
        "sync": "string",
        "key": "string",
        "subject": "string",
        "op": "string",
        "content": "bigint",
        "run": "string",
        "seq": "bigint",
        "at": "timestamp",
        "told": "string",
    },
    "folds": {
        "sync": "string",
        "event": "string",
        "seq": "bigint",
        "rows": "bigint",
        "mark": "bigint",
    },
    "disclosures": {
        "sync": "string",
        "kind": "string",
        "block": "bigint",
        "run": "string",
        "chunk": "int",
        "person": "string",
        "key": "string",
        "op": "string",
        "destination": "string",
        "agreement": "string",
        "counterparty": "string",
        "purpose": "string",
        "classes": "string",
        "columns": "string",
        "plan": "string",
        "approver": "string",
        "accounting": "string",
        "exempt_under": "string",
        "content": "bigint",
        "base": "bigint",
        "at": "timestamp",
        "lines": "bigint",
        "salt": "string",
        "root": "string",
        "previous": "string",
        "hash": "string",
    },
    "revocations": {
        "sync": "string",
        "event": "string",
        "key": "string",
        "person": "string",
        "destination": "string",
        "agreement": "string",
        "reason": "string",
        "base": "bigint",
        "plan": "string",
        "at": "timestamp",
    },
    "leases": {
        "sync": "string",
        "owner": "string",
        "token": "bigint",
        "since": "bigint",
        "expires": "bigint",
        "holder": "string",
        "process": "string",
    },
}

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_PARTITIONS: Mapping[str, tuple[str, ...]] = {"disclosures": ("kind",), "receipts": ("sync", "status")}


class Control:
    """The control tables of one environment.

    Args:
        engine: the environment's.
        schema: `control:` of the environment.
    """

    def __init__(self, engine: Engine, schema: str) -> None:
        self.engine = engine
        self.schema = schema
        self._made: set[str] = set()

    def table(self, name: str) -> str:
        """The full name of a control table, which is made when it is not there."""
        full = f"{self.schema}.{name}"
        if name not in self._made:
            self._closed()
            self.engine.create(full, _TABLES[name], partition=_PARTITIONS.get(name, ("sync",)))
            self._made.add(name)
        return full

    def _closed(self) -> None:
        """Plans and lines are of people: the folder of the tables is made for its owner and group alone."""
        folder = self.engine.folder(f"{self.schema}.plans")
        if folder is not None and not folder.parent.exists():
            folder.parent.mkdir(parents=True)
            folder.parent.chmod(0o770)

    def columns(self, name: str) -> tuple[str, ...]:
        """The columns of a control table, in its order."""
        return tuple(_TABLES[name])

    def types(self, name: str) -> Mapping[str, str]:
        """The columns of a control table and their Spark types."""
        return _TABLES[name]

    def append(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append a few rows given as dicts; columns that are not given are null."""
        import pyarrow as pa

        fields = [pa.field(column, _arrow(kind)) for column, kind in _TABLES[name].items()]
        full = [{field.name: row.get(field.name) for field in fields} for row in rows]
        self.append_table(name, pa.Table.from_pylist(full, schema=pa.schema(fields)))

    def append_table(self, name: str, rows: pa.Table, **same: Any) -> None:
        """Append an Arrow table; together with what is the `same` in each row it has every column."""
        kinds = self.types(name)
        self.engine.append(self.table(name), rows, {column: typed(value, kinds[column]) for column, value in same.items()})


def _arrow(kind: str) -> pa.DataType:
    import pyarrow as pa

    return {"string": pa.string(), "bigint": pa.int64(), "int": pa.int32(), "timestamp": pa.timestamp("us", "UTC")}[kind]


def typed(value: Any, kind: str) -> str:
    """A value as SQL of a type, which a null has too: statements that write take no parameters."""
    from cdp.engine.base import literal

    if isinstance(value, dt.datetime):
        return f"TIMESTAMP_MICROS({(value - _EPOCH) // dt.timedelta(microseconds=1)})"
    return f"CAST({literal(value)} AS {kind})"
