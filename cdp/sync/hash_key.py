"""What stands for a key while rows are compared: numbers, which engines move and join faster and in less memory than texts.

An integer stands for itself. A text has two hashes of 64 bits that begin differently; that two of n texts are alike in both has a chance of
n^2 / 2^129 (the birthday bound): of ten million once in 10^24 plans. The texts of what is planned are read again from where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdp.sync import encoding

if TYPE_CHECKING:
    from cdp.governance.query import GovernedQuery

COLUMNS = ("h0", "h1")  # of a table of changes


@dataclass(frozen=True, slots=True)
class HashKey:
    """How the keys of a query are compared: as the integers that they are (`number`), or by hashes of their texts."""

    number: bool

    @classmethod
    def of(cls, query: GovernedQuery, types: Mapping[str, str]) -> HashKey:
        """That of a query whose output has these types."""
        return cls(encoding.integer_key(query, types))

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that tell keys apart."""
        return COLUMNS[:1] if self.number else COLUMNS

    def values(self, key: str) -> tuple[str, ...]:
        """SQL of each of `names`, from SQL of a key: its text, or what is an integer."""
        return (f"CAST({key} AS BIGINT)",) if self.number else (f"XXHASH64({key})", f"XXHASH64(1, {key})")

    def listed(self, key: str, known: str = "") -> str:
        """SQL of `values` as columns, null where the key is not `known` (SQL)."""
        values = (f"CASE WHEN {known} THEN {value} END" if known else value for value in self.values(key))
        return ", ".join(f"{value} AS {name}" for value, name in zip(values, self.names, strict=True))

    def fits(self, key: str) -> str:
        """SQL of whether a text can be a key of this query. A sync that was empty may have had keys of another form, and remembers them."""
        return f"COALESCE(CAST(TRY_CAST({key} AS BIGINT) AS STRING) = {key}, FALSE)" if self.number else "TRUE"

    @property
    def rest(self) -> str:
        """SQL of those of the columns that are not among `names`, with a comma before each."""
        return "".join(f", CAST(0 AS BIGINT) AS {name}" for name in COLUMNS[len(self.names) :])

    def matches(self, key: str, row: str) -> str:
        """SQL of whether the text of a key is that of a row of changes."""
        if self.number:
            return f"{key} = CAST({row}.{COLUMNS[0]} AS STRING)"
        return " AND ".join(f"{value} = {row}.{name}" for value, name in zip(self.values(key), self.names, strict=True))

    def surely(self, key: str, row: str) -> str:
        """SQL of whether the text of a key, whose first hash is that of a row of changes, is the row's."""
        # Not by `=`: an engine would join by it, and hash the key of every row twice.
        return "TRUE" if self.number else f"({self.values(key)[1]} ^ {row}.{COLUMNS[1]}) = 0"

    def order(self, row: str) -> str:
        """SQL of `encoding.order` of the key of a row of changes."""
        first = f"{row}.{COLUMNS[0]}"
        return encoding.order(f"CAST({first} AS STRING)") if self.number else encoding.shifted(first)
