"""Columns as they leave: under their wire masks, of today or of the version that a key went out under."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cdp.governance.masks import pseudonyms
from cdp.governance.query import GovernedQuery, WireMask
from cdp.sync import encoding

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Leaving:
    """The wire masks of a query and their secrets, both by column."""

    masks: Mapping[str, WireMask]
    secrets: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def of(cls, query: GovernedQuery, secrets: Mapping[str, bytes]) -> Leaving:
        """The masks of a query."""
        return cls({mask.column: mask for mask in query.wire_masks}, secrets)

    def column(self, name: str, values: pa.ChunkedArray | pa.Array, version: int | None = None) -> pa.ChunkedArray | pa.Array:
        """A column as it leaves, under a version of its mask or the one of today."""
        import pyarrow as pa

        if name not in self.masks:
            return values
        mask = self.masks[name]
        context = mask.context_of(version or mask.version)
        return pa.array(pseudonyms(values.cast(pa.string()).to_pylist(), self.secrets[name], context), pa.string())

    def keys(self, keys: Sequence[str], kinds: Mapping[str, pa.DataType]) -> dict[str, pa.Array]:
        """The key columns as they left, from keys that `encoding.key` made: a pseudonym is that of the version it went out under.

        Args:
            keys: of rows that were acknowledged, or put on the wire.
            kinds: the key columns by the names under which they leave, in order, and their types.
        """
        import pyarrow as pa

        texts = encoding.key_columns(keys, len(kinds))
        return {
            name: self._again(name, values, kind) if name in self.masks else pa.array(values, pa.string()).cast(kind)
            for (name, kind), values in zip(kinds.items(), texts, strict=True)
        }

    def _again(self, name: str, values: Sequence[str], kind: pa.DataType) -> pa.Array:
        """A masked key column, each value under its own version."""
        import pyarrow as pa

        found: list[str | None] = [None] * len(values)
        versions: dict[int, list[int]] = {}
        split = [encoding.split_version(value) for value in values]
        for place, (_, version) in enumerate(split):
            versions.setdefault(version, []).append(place)
        for version, places in versions.items():
            typed = pa.array([split[place][0] for place in places], pa.string()).cast(kind)
            for place, pseudonym in zip(places, self.column(name, typed, version).to_pylist(), strict=True):
                found[place] = pseudonym
        return pa.array(found, pa.string())
