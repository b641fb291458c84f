"""How a row becomes a key and a content hash: as SQL, equal on every engine.

A hash skips nulls, and engines print doubles and timestamps differently; so nulls are flagged, decimals are
hashed as text, and doubles and timestamps are no keys. Of different types a hash may say the same; so they are in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from cdp.compile import sql
from cdp.engine.base import quoted
from cdp.errors import DataError

if TYPE_CHECKING:
    from cdp.governance.query import GovernedQuery, WireMask

_EXACT = ("string", "boolean", "tinyint", "smallint", "int", "bigint", "date", "decimal")  # text says all of the value
_INTEGERS = ("tinyint", "smallint", "int", "bigint")
_HASHED = ("float", "double", "timestamp", "timestamp_ntz")  # xxhash64 of eight bytes is one to one


def _base(kind: str) -> str:
    return kind.partition("(")[0]


def check_types(types: Mapping[str, str], keys: Sequence[str]) -> None:
    """Refuse columns that cannot be keyed or hashed the same everywhere.

    Raises:
        DataError: a key is no exact value, or a column is an array, map, struct or binary; all are named.
    """
    wrong = [f"key {name} ({types[name]})" for name in keys if _base(types[name]) not in _EXACT]
    wrong += [f"{name} ({kind})" for name, kind in types.items() if name not in keys and _base(kind) not in _EXACT + _HASHED]
    if wrong:
        fix = f"make it one of: {', '.join(_EXACT)}; a value also {', '.join(_HASHED)}"
        raise DataError(f"cannot be sent: {', '.join(wrong)}", fix=fix)


def _text(column: str, kind: str) -> str:
    """SQL for the text of a key column, whose type `check_types` has seen; different values have different texts."""
    return column if _base(kind) == "string" else f"CAST({column} AS STRING)"


def integer_key(query: GovernedQuery, types: Mapping[str, str]) -> bool:
    """Whether the key is one integer, so that its text and the number stand for each other."""
    return len(query.keys) == 1 and _base(types[query.keys[0]]) in _INTEGERS and not any(m.column in query.keys for m in query.wire_masks)


def key(query: GovernedQuery, types: Mapping[str, str]) -> str:
    """SQL for the key of a row: the text of its key column; of several, each after its length. Null if any is null.

    A key that leaves as a pseudonym carries the version of its mask (`p001@2`): under a new version everybody is somebody
    else at the receiver, so a mirror removes the old pseudonyms and adds the new ones.
    """
    versions = {mask.column: version_text(mask) for mask in query.wire_masks}
    texts = [_text(quoted(name), types[name]) for name in query.keys]
    texts = [f"CONCAT({t}, '{versions[name]}')" if name in versions else t for name, t in zip(query.keys, texts, strict=True)]
    if len(texts) == 1:
        return texts[0]
    return "CONCAT(" + ", ".join(f"LENGTH({t}), ':', {t}" for t in texts) + ")"


def version_text(mask: WireMask) -> str:
    """What follows the text of a key column that leaves as a pseudonym."""
    return f"@{mask.version}"


def split_key(value: str, count: int) -> list[str]:
    """The texts of the key columns, from what `key` made."""
    if count == 1:
        return [value]
    parts, rest = [], value
    for _ in range(count):
        size, _, rest = rest.partition(":")
        parts.append(rest[: int(size)])
        rest = rest[int(size) :]
    return parts


def joined_key(parts: Sequence[str]) -> str:
    """The key of these texts of its columns, as `key` makes it."""
    return parts[0] if len(parts) == 1 else "".join(f"{len(part)}:{part}" for part in parts)


def split_version(value: str) -> tuple[str, int]:
    """The text of a key column that leaves as a pseudonym, and the version of its mask, from what `key` made."""
    text, _, version = value.rpartition("@")
    return text, int(version)


def key_columns(values: Sequence[str], count: int) -> list[list[str]]:
    """The texts of each key column, from keys that `key` made."""
    rows = [split_key(value, count) for value in values]
    return [[row[i] for row in rows] for i in range(count)]


def content(query: GovernedQuery, types: Mapping[str, str], values: Mapping[str, exp.Expr] | None = None) -> exp.Expr:
    """The hash of what a row tells, of which every value has one: a column's new name or type, or a mask's new version, makes it another.

    Args:
        query: from governance.
        types: of its output.
        values: of each column that is no key; by default the column of its name.
    """
    kinds = [_hashed_as(types[name]) for name in query.values]
    shape = json.dumps([query.keys, query.values, kinds, sorted((m.column, m.version, m.context) for m in query.wire_masks)])
    parts: list[exp.Expr] = [sql.string(shape)]
    for name in query.values:
        value, kind = values[name] if values else exp.column(name, quoted=True), types[name]
        to = {"decimal": sql.TEXT, "float": sql.DOUBLE}.get(_base(kind))
        parts += [exp.Cast(this=value, to=to) if to else value, sql.is_null(value)]
    return exp.Anonymous(this="XXHASH64", expressions=parts)


def _hashed_as(kind: str) -> str:
    """What a value is: to a hash `true` is the number 1, a date the days since 1970, a timestamp microseconds, a decimal its text."""
    base = _base(kind)
    return "integer" if base in _INTEGERS else {"float": "double"}.get(base, base)


def order(column: str) -> str:
    """SQL for the place of a key: 31 bits of its hash, so that reruns, engines and plans agree on the order."""
    return shifted(f"XXHASH64({column})")


def shifted(hashed: str) -> str:
    """SQL of `order`, from SQL of the key's hash."""
    return f"SHIFTRIGHTUNSIGNED({hashed}, 33)"
