"""Arrow rows as text: JSON objects and CSV lines, made on whole columns.

JSON and CSV share one spelling of a value: decimals digit by digit, doubles as the shortest text that reads back the
same, dates `2026-07-01`, timestamps ISO 8601, in UTC with `Z` when they have a time zone. What a call costs counts, so the rows of many
batches are best written at once: see docs/performance.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

from cdp.errors import DeliveryError

if TYPE_CHECKING:
    import pyarrow as pa

_JSON_ESCAPED = ("\\", '"')  # in this order; and all that comes before a space: RFC 8259, 7
_FORMULA = r"^[=+\-@\t\r\n]"  # OWASP, CSV injection


def json_rows(table: pa.Table) -> list[str]:
    """One JSON object a row, nulls included, columns in order. The rows must be `finite`.

    Raises:
        DeliveryError: columns have a type that has no JSON form here.
    """
    rows: list[str] = json_texts(table, "").to_pylist()
    return rows


def json_texts(table: pa.Table, end: str) -> pa.StringArray:
    """The same rows, each followed by `end`, without a Python object for any.

    Raises:
        DeliveryError: columns have a type that has no JSON form here.
    """
    leads = [("," if place else "{") + json.dumps(name, ensure_ascii=False) + ":" for place, name in enumerate(table.column_names)]
    return _joined(leads, _cells(table, _json_text, '"', "null"), "}" + end)


def contents(text: pa.StringArray) -> memoryview:
    """The texts of an array without nulls, one after the other, as they lie in memory: nothing is copied."""
    data = text.buffers()[2]
    if not len(text) or data is None:
        return memoryview(b"")
    ends = memoryview(text.buffers()[1]).cast("i")  # 32 bits each: where a text begins, and so where the one before ends
    return memoryview(data)[ends[text.offset] : ends[text.offset + len(text)]]


def values(array: pa.Array) -> memoryview:
    """The values of an array without nulls whose type has a fixed width of whole bytes, little-endian; nothing is copied."""
    width = array.type.bit_width // 8
    data = array.buffers()[1]
    return memoryview(data)[array.offset * width : (array.offset + len(array)) * width] if data else memoryview(b"")


def lengths(text: pa.StringArray) -> memoryview:
    """How many bytes each text of an array without nulls has, 32 bits each, little-endian."""
    import pyarrow.compute as pc

    return values(pc.binary_length(text))


def csv_rows(table: pa.Table, *, spreadsheet: bool = False) -> list[str]:
    """One CSV line a row, without its line break: text is quoted, all else bare, null is nothing at all.

    Args:
        table: the rows.
        spreadsheet: put `'` before text that a spreadsheet would run as a formula.

    Raises:
        DeliveryError: columns have a type that has no text form here.
    """

    def quoted(text: pa.ChunkedArray) -> pa.ChunkedArray:
        return _csv_text(text, spreadsheet)

    leads = ["," if place else "" for place in range(table.num_columns)]
    rows: list[str] = _joined(leads, _cells(table, quoted, "", ""), "").to_pylist()
    return rows


def csv_header(names: Sequence[str]) -> str:
    """The first line of a CSV file."""
    return ",".join('"' + name.replace('"', '""') + '"' for name in names)


def finite(table: pa.Table) -> list[int]:
    """The positions of the rows without NaN or infinity: JSON has no word for those."""
    import pyarrow as pa
    import pyarrow.compute as pc

    masks = [pc.fill_null(pc.is_finite(c), True) for c in table.columns if pa.types.is_floating(c.type)]
    if all(pc.all(mask, min_count=0).as_py() for mask in masks):
        return list(range(table.num_rows))
    kept = masks[0]
    for mask in masks[1:]:
        kept = pc.and_(kept, mask)
    return [place for place, keep in enumerate(kept.to_pylist()) if keep]


@dataclass(frozen=True, slots=True)
class _Cells:
    """A column as texts that stand one after the other, without nulls, and the mark that still has to stand on both sides of each value."""

    texts: Sequence[pa.ChunkedArray | str]
    mark: str


def _joined(leads: Sequence[str], cells: Sequence[_Cells], end: str) -> pa.StringArray:
    """Each row as one text: what stands between two values is one constant, so that a value is copied once."""
    import pyarrow.compute as pc

    parts: list[Any] = []
    before = ""
    for lead, column in zip(leads, cells, strict=True):
        parts += [before + lead + column.mark, *column.texts]
        before = column.mark
    rows: pa.StringArray = pc.binary_join_element_wise(*parts, before + end, "").combine_chunks()
    return rows


def _cells(table: pa.Table, escape: Callable[[pa.ChunkedArray], pa.ChunkedArray], mark: str, null: str) -> list[_Cells]:
    """Each column as text: strings by `escape` and dates and timestamps, between `mark`s; nulls as `null`, between none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    cells, bad = [], []
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind, around = column.type, mark
        texts: Sequence[pa.ChunkedArray | str]
        if _is_text(kind):
            texts, around = [escape(column.cast(pa.string()))], '"'
        elif pa.types.is_timestamp(kind):
            texts = _moments(column)
        elif pa.types.is_date(kind):
            texts = [column.cast(pa.date32()).cast(pa.string())]
        elif _is_bare(kind):
            texts, around = [column.cast(pa.string())], ""
        else:
            bad.append(f"{name} ({kind})")
            continue
        if column.null_count:
            whole = pc.binary_join_element_wise(around, *texts, around, "") if around or len(texts) > 1 else texts[0]
            texts, around = [pc.fill_null(whole, null)], ""
        cells.append(_Cells(texts, around))
    if bad:
        raise DeliveryError(f"columns of a type that cannot be written as text: {', '.join(bad)}", fix="cast them in the sync's mappings")
    return cells


def _moments(column: pa.ChunkedArray) -> Sequence[pa.ChunkedArray | str]:
    """Timestamps as their day and their time: taking the zone off leaves the instant, in UTC."""
    import pyarrow as pa

    unit = column.type.unit
    instant = column.cast(pa.timestamp(unit))
    time = pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)
    return [instant.cast(pa.date32()).cast(pa.string()), "T", instant.cast(time).cast(pa.string()), "Z" if column.type.tz else ""]


def _is_text(kind: pa.DataType) -> bool:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_bare(kind: pa.DataType) -> bool:
    from pyarrow import types as t

    tests = (t.is_integer, t.is_floating, t.is_boolean, t.is_decimal, t.is_null)
    return any(test(kind) for test in tests)


def _json_text(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as it stands between the quotes of a JSON string. They are looked through at once: a regex on each takes fifty times that."""
    import pyarrow as pa
    import pyarrow.compute as pc

    said = [bytes(contents(chunk)) for chunk in text.chunks if len(chunk)]
    if any(_lowest(data) < ord(" ") for data in said):
        return pa.chunked_array([pa.array([None if v is None else encode_basestring(v)[1:-1] for v in text.to_pylist()], pa.string())])
    for mark in _JSON_ESCAPED:
        if any(mark.encode() in data for data in said):
            text = pc.replace_substring(text, mark, f"\\{mark}")
    return text


def _lowest(data: bytes) -> int:
    """The lowest byte of a text; that of a space where it is empty."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.min(pa.Array.from_buffers(pa.uint8(), len(data), [None, pa.py_buffer(data)])).as_py() if data else ord(" ")


def _csv_text(text: pa.ChunkedArray, spreadsheet: bool) -> pa.ChunkedArray:
    """Text as it stands between the quotes of a CSV field."""
    import pyarrow.compute as pc

    if spreadsheet:
        text = pc.if_else(pc.match_substring_regex(text, _FORMULA), pc.binary_join_element_wise("'", text, ""), text)
    return pc.replace_substring(text, '"', '""')
