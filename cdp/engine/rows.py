"""Rows on their way into a table: what differs from row to row apart from what does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlglot import exp

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to append.

    Attributes:
        own: the columns that differ from row to row.
        same: further columns, each of one value for all rows.
    """

    own: pa.Table
    same: Mapping[str, pa.Scalar[Any]] = field(default_factory=dict)

    def whole(self) -> pa.Table:
        """All columns, row by row."""
        import pyarrow as pa

        rows = self.own
        for name, value in self.same.items():
            rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
        return rows


def constant(value: pa.Scalar[Any]) -> str:
    """A value of one of the types that control tables have, as SQL; a null has a type too."""
    import pyarrow as pa

    if pa.types.is_timestamp(value.type):
        return "CAST(NULL AS TIMESTAMP)" if value.value is None else f"TIMESTAMP_MICROS({value.value})"
    kind = {pa.string(): "STRING", pa.int64(): "BIGINT", pa.int32(): "INT"}[value.type]
    return exp.cast(exp.convert(value.as_py()), kind, dialect="spark").sql("spark")
