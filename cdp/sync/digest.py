"""SHA-256 over every row and column of a plan: computed by the engine, so that no row comes to Python."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cdp.engine.base import Engine
from cdp.sync import encoding

WINDOW = 8  # chunks a query: bounds the memory that their sorted row hashes take


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk of a plan: its number, its rows, and the hash of them."""

    number: int
    rows: int
    sha256: str


def chunks(engine: Engine, table: str, columns: Mapping[str, str], count: int) -> tuple[Chunk, ...]:
    """Hash each chunk of a plan's rows: SHA-256 of the sorted SHA-256 of each row. Chunks without rows do not appear."""
    found: list[Chunk] = []
    hashed = f"SHA2({encoding.line(columns)}, 256)"
    for start in range(0, count, WINDOW):
        rows = engine.query(
            f"SELECT _chunk, COUNT(*) AS n, SHA2(ARRAY_JOIN(ARRAY_SORT(COLLECT_LIST({hashed})), ''), 256) AS sha "
            f"FROM {table} WHERE _chunk >= {start} AND _chunk < {start + WINDOW} GROUP BY _chunk ORDER BY _chunk",
            what=f"the digest of {table}",
        )
        found += [Chunk(r["_chunk"], r["n"], r["sha"]) for r in rows.to_pylist()]
    return tuple(found)


def total(chunks_: Sequence[Chunk], facts: Mapping[str, Any]) -> str:
    """The digest of a plan: over its chunks in order and the facts that decide what its rows mean."""
    body = json.dumps({"chunks": [[c.number, c.rows, c.sha256] for c in chunks_], **facts}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(body.encode()).hexdigest()
