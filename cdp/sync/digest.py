"""SHA-256 over every row and column of a plan, chunk by chunk, on Arrow columns: no row becomes a Python value.

A chunk's hash is over its columns in order, each sorted by the rows' place and key: its name and Spark type, which values are null, how
long each text is, and the values, little-endian, as Arrow lays them out (arrow.apache.org/docs/format/Columnar.html). Keys do not repeat
within a plan, so every engine gives the same order. A chunk is read and checked at once: what leaves is what was hashed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cdp.connectors.bodies import contents, values
from cdp.engine.base import Engine

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK = "_chunk"
_ORDER = (("_place", "ascending"), ("_key", "ascending"))


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk of a plan: its number, its rows, and the hash of them."""

    number: int
    rows: int
    sha256: str


def chunks(engine: Engine, table: str, columns: Mapping[str, str], count: int) -> tuple[Chunk, ...] | None:
    """Hash each chunk of a plan's rows, of which there are at most `count`. Chunks without rows do not appear.

    Returns:
        The chunks; None where a row has no key of its own. Chunk and place follow from the key, so those of one key are neighbours.
    """
    found = []
    for number in range(count):
        rows = read(engine, table, columns, number)
        if not _keyed(rows):
            return None
        if rows.num_rows:
            found.append(Chunk(number, rows.num_rows, sha256(rows, columns)))
    return tuple(found)


def _keyed(rows: pa.Table) -> bool:
    """Whether each of the rows, which are in order, has a key of its own."""
    import pyarrow.compute as pc

    keys = rows.column("_key").combine_chunks()
    return not keys.null_count and not pc.any(pc.equal(keys.slice(1), keys.slice(0, max(0, len(keys) - 1)))).as_py()


def read(engine: Engine, table: str, columns: Mapping[str, str], number: int) -> pa.Table:
    """The rows of a chunk in the order in which they leave.

    Args:
        engine: of the environment.
        table: of the plan's rows.
        columns: all of its columns and their Spark types.
        number: of the chunk.
    """
    rows = engine.part(table, CHUNK, number, {name: kind for name, kind in columns.items() if name != CHUNK})
    return rows.sort_by(list(_ORDER)).combine_chunks()


def sha256(rows: pa.Table, columns: Mapping[str, str]) -> str:
    """The hash of a chunk's rows, which are in order."""
    found = hashlib.sha256()
    for name in rows.column_names:
        column = rows.column(name)
        found.update(json.dumps([name, columns[name], len(column), column.null_count]).encode())
        for part in _bytes(column):
            found.update(part)
    return found.hexdigest()


def _bytes(column: pa.ChunkedArray) -> Iterator[memoryview]:
    """What a column holds: which values there are, and those."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count:
        yield values(pc.is_valid(column).cast(pa.uint8()).combine_chunks())
        column = column.drop_null()
    if pa.types.is_string(column.type):
        yield values(pc.binary_length(column).combine_chunks())
        yield from (contents(chunk) for chunk in column.chunks)
    else:
        yield values((column.cast(pa.uint8()) if pa.types.is_boolean(column.type) else column).combine_chunks())


def total(chunks_: Sequence[Chunk], facts: Mapping[str, Any]) -> str:
    """The digest of a plan: over its chunks in order and the facts that decide what its rows mean."""
    body = json.dumps({"chunks": [[c.number, c.rows, c.sha256] for c in chunks_], **facts}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(body.encode()).hexdigest()
