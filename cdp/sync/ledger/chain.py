"""Blocks of the disclosure ledger: what was written cannot be changed unnoticed by whoever kept a head of it elsewhere.

A block is one commit of lines. Its `root` is over its lines and a random salt, so that who has it cannot try out names; its `hash`
is over all of its own fields, among them the hashes of the blocks before it (`previous`), so it commits to every line ever written
before. 45 CFR 164.312(b), (c)(1).

    field    its text's length, `:`, the text; `-` for null. A moment is its microseconds since 1970
    shared   SHA-256 (hex) of the fields that all lines of a block share
    root     SHA-256 of the salt, `|`, `shared`, `|`, and the SHA-256 of the columns in which lines differ (OWN), by the number of
             the line, which cdp.sync.digest lays out
    hash     SHA-256 of the fields of the block, all but `hash`

Fields and columns stand in the table's order.

Only the holder of a sync's lease writes, so the blocks of a sync are a line. A run that stood still until it lost its lease can
still commit one block beside it (whose rows it no longer sends); the next run's first block names both.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cdp.engine.base import literal, quoted
from cdp.sync import digest
from cdp.sync.ledger import Control

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "disclosures"
LINE, BLOCK = "line", "block"
OWN = ("number", "person", "key", "op", "content", "base")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def salt() -> str:
    """128 random bits."""
    return secrets.token_hex(16)


def fields(columns: Mapping[str, str], *, of: str) -> str:
    """SQL for the fields of a row, one after the other.

    Args:
        columns: names and Spark types.
        of: the table's alias.
    """
    texts = (_text(f"{of}.{quoted(name)}", kind) for name, kind in columns.items())
    return f"CONCAT({', '.join(f'''COALESCE(CONCAT(LENGTH({t}), ':', {t}), '-')''' for t in texts)})"


def _text(column: str, kind: str) -> str:
    if kind == "timestamp":
        return f"CAST(UNIX_MICROS({column}) AS STRING)"
    return column if kind == "string" else f"CAST({column} AS STRING)"


def root(salt: str, shared: str, lines: pa.Table, columns: Mapping[str, str]) -> str:
    """The root of the lines of a block.

    Args:
        salt: of the block.
        shared: what `common` gives of the lines.
        lines: at least the columns OWN, by number.
        columns: of the table, and their Spark types.
    """
    own = lines.select([name for name in columns if name in OWN])
    return hashlib.sha256(f"{salt}|{shared}|{digest.sha256(own, columns)}".encode()).hexdigest()


def block_hash(columns: Mapping[str, str], *, of: str) -> str:
    """SQL for the hash of a block of the table `of`, from its other fields."""
    return f"SHA2({fields({name: kind for name, kind in columns.items() if name != 'hash'}, of=of)}, 256)"


def hashed(columns: Sequence[str], block: Mapping[str, Any]) -> str:
    """The hash of a block about to be written; what `block_hash` finds of it."""
    return _sha256([block.get(name) for name in columns if name != "hash"])


def common(columns: Sequence[str], line: Mapping[str, Any]) -> str:
    """The hash of the fields that all lines of a block share."""
    return _sha256([line.get(name) for name in columns if name not in OWN])


def _sha256(values: Sequence[Any]) -> str:
    texts = map(text, values)
    return hashlib.sha256("".join("-" if t is None else f"{len(t)}:{t}" for t in texts).encode()).hexdigest()


def text(value: Any) -> str | None:
    """The text of a field."""
    if isinstance(value, dt.datetime):
        return str((value - _EPOCH) // dt.timedelta(microseconds=1))
    return None if value is None else str(value)


def blocks(control: Control, sync: str) -> str:
    """SQL of the blocks of a sync."""
    return f"SELECT * FROM {control.table(TABLE)} WHERE sync = {literal(sync)} AND kind = '{BLOCK}'"


def ends(control: Control, sync: str) -> list[dict[str, Any]]:
    """The blocks of a sync that no other names, highest first: one, unless a run wrote beside another."""
    found = blocks(control, sync)
    named = f"SELECT EXPLODE(SPLIT(n.previous, ' ')) AS hash FROM ({found}) AS n"
    statement = f"SELECT b.* FROM ({found}) AS b LEFT ANTI JOIN ({named}) AS p ON b.hash = p.hash ORDER BY b.block DESC, b.hash"
    rows: list[dict[str, Any]] = control.engine.query(statement, what="the disclosure ledger").to_pylist()
    return rows


def last_moment(control: Control) -> dt.datetime | None:
    """When the newest block of any sync was written."""
    table = control.table(TABLE)
    newest = control.engine.recall(table, f"SELECT MAX(at) AS at FROM {table} WHERE kind = '{BLOCK}'").column("at")
    found: dt.datetime | None = newest[0].as_py()
    return found
