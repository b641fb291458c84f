"""Reading a raw CSV file as it is: every value text, and what is no row of text set aside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdp.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class RawFile:
    """A CSV file in memory.

    Attributes:
        rows: one text column for each column asked for; an empty field is null.
        broken: (the row's text, why) of each row that could not be read as text fields.
    """

    rows: pa.Table
    broken: tuple[tuple[str, str], ...]


def read(path: Path, columns: tuple[str, ...]) -> RawFile:
    """Read `columns` of a CSV file, plain or gzipped.

    Raises:
        DataError: the file is not there, is not CSV, or lacks a column.
    """
    import pyarrow as pa
    from pyarrow import csv

    ragged: list[tuple[str, str]] = []

    def set_aside(row: Any) -> str:
        ragged.append((row.text, f"{row.actual_columns} fields instead of {row.expected_columns}"))
        return "skip"

    try:
        table = csv.read_csv(
            path,
            parse_options=csv.ParseOptions(newlines_in_values=True, invalid_row_handler=set_aside),
            convert_options=csv.ConvertOptions(
                column_types={name: pa.binary() for name in columns},
                include_columns=list(columns),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
    except FileNotFoundError:
        raise DataError(f"{path} is not there", fix="give a folder that holds the CSV files of the sample") from None
    except KeyError:
        raise DataError(f"{path.name} lacks a column", fix=f"it needs {', '.join(columns)}") from None
    except (pa.ArrowInvalid, OSError):  # Arrow's text quotes the row
        raise DataError(f"{path.name} cannot be read as CSV", fix="check that the file is whole, and gzipped when it ends in .gz") from None
    rows, undecodable = _decode(table)
    return RawFile(rows, (*ragged, *undecodable))


def _decode(table: pa.Table) -> tuple[pa.Table, list[tuple[str, str]]]:
    """Bytes to text; rows that are not UTF-8 come back beside it."""
    import pyarrow as pa

    text = pa.schema([(name, pa.string()) for name in table.column_names])
    try:
        return table.cast(text), []
    except pa.ArrowInvalid:
        good, bad = [], []
        for row in table.to_pylist():
            try:
                good.append({name: value if value is None else value.decode() for name, value in row.items()})
            except UnicodeDecodeError:
                fields = (b"" if value is None else value for value in row.values())
                bad.append((b",".join(fields).decode(errors="replace"), "not UTF-8"))
        return pa.Table.from_pylist(good, schema=text), bad
