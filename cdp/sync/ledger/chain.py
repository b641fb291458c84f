"""Blocks of the disclosure ledger: what was written cannot be changed unnoticed by whoever kept a head of it elsewhere.

A block is one commit of lines. Its `root` is over the digests of its lines, each with the block's random salt, so that who has a
digest cannot try out names; its `hash` is over all of its own fields, among them the hashes of the blocks before it
(`previous`), so it commits to every line ever written before. 45 CFR 164.312(b), (c)(1).

    field    its text's length, `:`, the text; `-` for null. A moment is its microseconds since 1970
    digest   SHA-256 (hex) of the salt, `|`, the SHA-256 of the fields that all lines of a block share, `|`, its own fields (OWN)
    root     SHA-256 of the sorted digests of the lines, one after the other
    hash     SHA-256 of the fields of the block, all but `hash`

Fields stand in the table's order.

Only the holder of a sync's lease writes, so the blocks of a sync are a line. A run that stood still until it lost its lease can
still commit one block beside it (whose rows it no longer sends); the next run's first block names both.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from cdp.engine.base import literal, quoted
from cdp.sync.ledger import Control

TABLE = "disclosures"
LINE, BLOCK = "line", "block"
OWN = ("person", "key", "op", "content", "base")
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


def digest(columns: Mapping[str, str], salt: str, *, of: str) -> str:
    """SQL for the digest of a line of the table `of`; `salt` is SQL too."""
    common = {name: kind for name, kind in columns.items() if name not in OWN}
    return salted(columns, f"{salt}, '|', SHA2({fields(common, of=of)}, 256), '|'", of=of)


def salted(columns: Mapping[str, str], before: str, *, of: str) -> str:
    """SQL for the digest of a line whose salt and common fields are known: `before` is SQL for what its own fields come after."""
    own = {name: kind for name, kind in columns.items() if name in OWN}
    return f"SHA2(CONCAT({before}, {fields(own, of=of)}), 256)"


def root(digest: str) -> str:
    """SQL for the root of the digests of a group of lines."""
    return f"SHA2(ARRAY_JOIN(ARRAY_SORT(COLLECT_LIST({digest})), ''), 256)"


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
    found: dt.datetime | None = control.engine.value(f"SELECT MAX(at) FROM {table} WHERE kind = '{BLOCK}'", what=table)
    return found
