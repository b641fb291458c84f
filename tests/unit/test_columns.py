"""What is done with a plan's rows as Arrow columns: their digest, their ids, their text; and which files may be read beside the engine."""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import json
import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cdp.connectors.base import Batch
from cdp.connectors.bodies import contents, json_rows, json_texts
from cdp.engine import files
from cdp.sync import changes, digest
from cdp.sync.outgoing import Parcel

KINDS = {
    "_place": "int",
    "_key": "string",
    "_content": "bigint",
    "text": "string",
    "flag": "boolean",
    "amount": "decimal(12,2)",
    "risk": "double",
    "day": "date",
    "moment": "timestamp",
}
ROWS: tuple[Sequence[Any], ...] = (
    (1, "a", 5, "x", True, Decimal("1.25"), 0.5, dt.date(2026, 7, 1), dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)),
    (2, "b", None, None, None, None, None, None, None),
    (2, "c", -7, "", False, Decimal("-3.00"), -0.0, dt.date(1970, 1, 1), dt.datetime(1970, 1, 1, tzinfo=dt.UTC)),
)


def table(rows: Sequence[Sequence[Any]] = ROWS) -> pa.Table:
    columns = zip(KINDS.items(), zip(*rows, strict=True), strict=True)
    return pa.table({name: pa.array(values, files.arrow_type(kind)) for (name, kind), values in columns})


def sha(rows: Sequence[Sequence[Any]]) -> str:
    return digest.sha256(table(rows), KINDS)


@pytest.mark.parametrize("place", range(len(KINDS)))
def test_the_digest_knows_every_value_of_every_column_and_null_from_empty(place: int) -> None:
    for at, other in itertools.product(range(len(ROWS)), {repr(row[place]): row[place] for row in ROWS}.values()):
        rows = [list(row) for row in ROWS]
        rows[at][place] = other
        assert (sha(rows) == sha(ROWS)) == (repr(other) == repr(ROWS[at][place])), (at, other)


def test_the_digest_tells_texts_that_are_cut_elsewhere() -> None:
    cut = [["ab", "c"], ["a", "bc"], [None, "abc"], ["", "abc"], ["abc", None]]
    shas = [digest.sha256(pa.table({"text": pa.array(texts, pa.string())}), {"text": "string"}) for texts in cut]
    assert len(set(shas)) == len(cut)


def test_the_digest_does_not_depend_on_how_rows_lie_in_memory() -> None:
    padded = table([ROWS[1], *ROWS, ROWS[2]]).slice(1, 3)
    chunked = pa.concat_tables([table(ROWS[:1]), table(ROWS[1:])])
    assert digest.sha256(padded, KINDS) == digest.sha256(chunked.combine_chunks(), KINDS) == sha(ROWS)


class Parts:
    """An engine of a plan's rows that are there already, chunk by chunk."""

    def __init__(self, *parts: Sequence[Sequence[Any]]) -> None:
        self.parts = parts

    def part(self, _table: str, _column: str, number: int, _kinds: dict[str, str]) -> pa.Table:
        return table(self.parts[number]) if self.parts[number] else table().slice(0, 0)


@pytest.mark.parametrize("twice", [(1, "a"), (2, "b"), (2, "c"), (2, None), None])
def test_rows_without_a_key_of_their_own_have_no_digest(twice: tuple[int, str | None] | None) -> None:
    again = [] if twice is None else [[*twice, *ROWS[0][2:]]]
    engine: Any = Parts([*again, *ROWS], [], [(2, "a", *ROWS[0][2:])])  # in another place it is another key's
    found = digest.chunks(engine, "x.t", {"_chunk": "int", **KINDS}, 3)
    assert (found is None) == (twice is not None)
    assert found is None or [(chunk.number, chunk.rows, chunk.sha256) for chunk in found] == [
        (0, 3, sha(ROWS)),
        (2, 1, sha([(2, "a", *ROWS[0][2:])])),
    ]


def written(folder: Path, *, protocol: int = 1, actions: Sequence[dict[str, Any]] = ()) -> Path:
    """A Delta table of one commit with two parts; the second one's path holds a space."""
    log = folder / "_delta_log"
    log.mkdir(parents=True)
    lines: list[dict[str, Any]] = [{"protocol": {"minReaderVersion": protocol, "minWriterVersion": 2}}]
    for part, (name, rows) in enumerate((("_chunk=0/a.parquet", ROWS[:1]), ("_chunk=1/b%20c.parquet", ROWS[1:]))):
        path = folder / name.replace("%20", " ")
        path.parent.mkdir()
        pq.write_table(table(rows), path)
        lines.append({"add": {"path": name, "partitionValues": {"_chunk": str(part)}, "size": 1}})
    (log / f"{0:020d}.json").write_text("\n".join(json.dumps(line) for line in [*lines, *actions]))
    return folder


def test_a_part_is_read_from_the_files_that_the_log_names(tmp_path: Path) -> None:
    folder = written(tmp_path / "t")
    pq.write_table(table(ROWS), folder / "_chunk=1" / "of-a-writer-that-failed.parquet")
    found = files.of_part(folder, "_chunk", 1)
    assert found is not None
    assert files.read(found, KINDS).to_pylist() == table(ROWS[1:]).to_pylist()
    assert files.of_part(folder, "_chunk", 7) == []
    assert files.read([], KINDS).schema == table().schema


def test_moments_that_spark_wrote_as_int96_are_the_same(tmp_path: Path) -> None:
    naive = table(ROWS[:1]).set_column(8, "moment", table(ROWS[:1]).column("moment").cast(pa.timestamp("ns")))
    pq.write_table(naive, tmp_path / "x.parquet", use_deprecated_int96_timestamps=True)
    assert files.read([tmp_path / "x.parquet"], KINDS).equals(table(ROWS[:1]))


@pytest.mark.parametrize("how", ["second commit", "checkpoint", "protocol", "remove", "no log"])
def test_a_table_that_asks_for_a_reader_of_delta_is_left_to_the_engine(tmp_path: Path, how: str) -> None:
    protocol = 3 if how == "protocol" else 1
    folder = written(tmp_path / "t", protocol=protocol, actions=[{"remove": {"path": "x"}}] if how == "remove" else ())
    if how == "second commit":
        (folder / "_delta_log" / f"{1:020d}.json").write_text("{}")
    elif how == "checkpoint":
        (folder / "_delta_log" / f"{0:020d}.checkpoint.parquet").write_bytes(b"")
    elif how == "no log":
        (folder / "_delta_log" / f"{0:020d}.json").unlink()
    assert files.of_part(folder, "_chunk", 1) is None


def batch(secret: bytes | None = None) -> Batch:
    rows = table().rename_columns(["_place", "_key", "_content", *list(KINDS)[3:]])
    plan = rows.append_column("_base", pa.array([None, 3, 4], pa.int64()))
    texts = changes.texts("letters", "upsert", plan).combine_chunks()
    return Batch("upsert", rows.select(["_key", "text"]), ("_key",), changes.ids(texts, {"k": secret} if secret else {}))


def test_the_ids_of_changes_are_hashes_of_sync_op_content_base_and_key() -> None:
    ids = batch().change_ids
    said = ["letters|upsert|5|-|a", "letters|upsert|-|3|b", "letters|upsert|-7|4|c"]
    assert list(ids) == [hashlib.sha256(text.encode()).hexdigest() for text in said]
    assert list(batch(b"secret").change_ids) == list(changes.sealed(list(ids), {"k": b"secret"}))
    assert not set(batch(b"secret").change_ids) & set(ids)


def test_the_key_of_a_batch_is_that_of_its_changes_in_their_order() -> None:
    whole, sealed = batch(), batch(b"secret")
    assert whole.take([0, 1, 2]).idempotency_key == whole.slice(0, 3).idempotency_key == batch().idempotency_key
    keys = [whole, whole.slice(1, 2), whole.take([2, 1]), whole.slice(0, 1), sealed]
    assert len({each.idempotency_key for each in keys}) == len(keys)
    assert whole.slice(1, 2).idempotency_key == whole.take([1, 2]).idempotency_key


def test_rows_as_one_text_are_those_made_one_by_one() -> None:
    rows = table([*ROWS, (3, 'quo"te', 1, "line\nbreak \\ \u00e9\U0001f600", True, Decimal("0.10"), 1e300, None, None)])
    texts = json_texts(rows, ",")
    assert bytes(contents(texts)).decode() == "".join(f"{row}," for row in json_rows(rows))
    assert bytes(contents(texts.slice(1, 2))).decode() == "".join(f"{row}," for row in json_rows(rows.slice(1, 2)))
    assert [json.loads(row)["text"] for row in json_rows(rows)] == rows.column("text").to_pylist()
    assert bytes(contents(texts.slice(0, 0))) == b""


def test_what_a_batch_looks_like_in_a_log_holds_no_value() -> None:
    lines = pa.table({"_key": ["patient-1"], "_subject": ["patient-1"]})
    rows = pa.table({"id": ["patient-1"], "name": ["Bartholomew"]})
    parcel = Parcel(Batch("upsert", rows, ("id",), ("c1",), pa.array(["Bartholomew"])), lines)
    assert not {"patient-1", "Bartholomew"} & set(re.findall(r"[\w-]+", f"{parcel!r} {parcel.batch!r} {parcel.batch}"))
