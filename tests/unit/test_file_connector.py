"""The file connector: whole files or none, for their owner only, in the agreement's folder only."""

from __future__ import annotations

import asyncio
import csv
import datetime as dt
import errno
import hashlib
import json
import os
import re
import resource
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cdp.connectors.base import Batch, Egress, Target
from cdp.connectors.file import FileConnector
from cdp.errors import DeliveryError
from cdp.spec.activation import Destination, FileOptions
from cdp.testing.connectors import MARKER, ConnectorSuite, Received, batch, deliver

CELL = re.compile(r'("(?:[^"]|"")*"|[^,\n]*)([,\n])')


def make_target(root: Path, *, folder: str = "out/lab", allowed: str = "out", run: str = "r1", **options: Any) -> Target:
    declared = FileOptions.model_validate({"folder": folder, **options})
    destination = Destination(name="lab", connector="file", channel="file", file=declared)
    return Target(destination, Egress(folders=(root / allowed,)), run, root)


def read_csv(text: str) -> list[dict[str, str | None]]:
    """The rows of a CSV file, where a bare nothing is null and a quoted nothing is empty text."""
    lines: list[list[str | None]] = [[]]
    for cell, end in CELL.findall(text):
        lines[-1].append(cell[1:-1].replace('""', '"') if cell.startswith('"') else cell or None)
        lines += [[]] if end == "\n" else []
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:-1]]


def read_part(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    text = path.read_bytes().decode()
    return [json.loads(line) for line in text.split("\n") if line] if path.suffix == ".jsonl" else read_csv(text)


def manifests(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.manifest.json"), key=lambda path: path.stat().st_mtime_ns)]


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


class TestFile(ConnectorSuite):
    @pytest.fixture(params=["csv", "jsonl", "parquet"])
    def target(self, tmp_path: Path, request: pytest.FixtureRequest) -> Target:
        return make_target(tmp_path, format=request.param)

    @pytest.fixture
    def connector_class(self) -> type[FileConnector]:
        return FileConnector

    @pytest.fixture
    def received(self, tmp_path: Path) -> Received:
        folder = tmp_path / "out/lab"

        def rows() -> dict[str, Any]:
            held: dict[str, Any] = {}
            for part in (part for manifest in manifests(folder) for part in manifest["parts"]):
                for row in read_part(folder / part["file"]):
                    held.pop(row["external_id"], None)
                    if part["op"] == "upsert":
                        held[row["external_id"]] = row
            return held

        return rows

    @pytest.fixture
    def noticed(self, tmp_path: Path) -> Callable[[], str]:
        return lambda: "".join(path.read_text() for path in (tmp_path / "out/lab").glob("*.json"))


def test_parts_and_manifest_say_the_same(tmp_path: Path) -> None:
    target = make_target(tmp_path, format="csv")
    asyncio.run(deliver(FileConnector(target), batch(["p1", "p2"]), batch(["p3"], op="remove"), batch(["p4"])))
    folder = tmp_path / "out/lab"
    assert listing(folder) == ["r1-00001.upsert.csv", "r1-00002.remove.csv", "r1.manifest.json"]
    (manifest,) = manifests(folder)
    assert (manifest["run"], manifest["destination"], manifest["complete"]) == ("r1", "lab", True)
    for part, rows, columns in zip(
        manifest["parts"], (3, 1), (["external_id", "first_name", "score", "seen"], ["external_id"]), strict=True
    ):
        content = (folder / part["file"]).read_bytes()
        assert (part["rows"], part["bytes"], part["columns"]) == (rows, len(content), columns)
        assert part["sha256"] == hashlib.sha256(content).hexdigest()


def test_csv_bytes_are_the_same_every_time(tmp_path: Path) -> None:
    rows = pa.table(
        {
            "k": ["a", "b"],
            'q"n': ['x,"y"', None],
            "d": pa.array([1, None], pa.decimal128(10, 2)),
            "f": [0.1, None],
            "b": [True, None],
            "t": pa.array([dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC), None], pa.timestamp("us", "America/New_York")),
            "day": [dt.date(2026, 1, 2), None],
        }
    )
    asyncio.run(deliver(FileConnector(make_target(tmp_path)), Batch("upsert", rows, ("k",), ("1", "2"))))
    text = (tmp_path / "out/lab/r1-00001.upsert.csv").read_text()
    assert text == ('"k","q""n","d","f","b","t","day"\n"a","x,""y""",1.00,0.1,true,2026-01-02T03:04:05.000000Z,2026-01-02\n"b",,,,,,\n')
    assert list(csv.reader(text.splitlines()))[1][1] == 'x,"y"'


FORMULAS = ["=1+1", "+15550100", "-2", "@SUM(A1)", "\tx", "\rx", "plain", "a=b", "", None]


@pytest.mark.parametrize(
    ("opened_by", "expected"), [("spreadsheet", ["'" + f if f and f[0] in "=+-@\t\r" else f for f in FORMULAS]), ("machine", FORMULAS)]
)
def test_formulas_are_escaped_for_spreadsheets_only(tmp_path: Path, opened_by: str, expected: list[str | None]) -> None:
    """attack 23"""
    rows = pa.table({"k": [str(n) for n in range(len(FORMULAS))], "v": FORMULAS, "n": [-1] * len(FORMULAS)})
    asyncio.run(deliver(FileConnector(make_target(tmp_path, opened_by=opened_by)), Batch("upsert", rows, ("k",), ("c",) * len(FORMULAS))))
    found = read_part(tmp_path / "out/lab/r1-00001.upsert.csv")
    assert [row["v"] for row in found] == expected
    assert {row["n"] for row in found} == {"-1"}


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    """attack 24"""
    asyncio.run(deliver(FileConnector(make_target(tmp_path)), batch(["p1"])))
    folder = tmp_path / "out/lab"
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_nothing_has_its_name_before_flush_and_hidden_names_hold_no_value(tmp_path: Path) -> None:
    folder = tmp_path / "out/lab"

    async def run() -> tuple[list[str], list[str]]:
        async with FileConnector(make_target(tmp_path)) as connector:
            await connector.send(batch([MARKER], [MARKER]))
            before = listing(folder)
            await connector.flush()
            return before, listing(folder)

    assert asyncio.run(run()) == ([".r1-00001.upsert.csv.tmp"], ["r1-00001.upsert.csv"])


def test_a_failing_run_leaves_what_was_flushed_and_nothing_half(tmp_path: Path) -> None:
    async def run() -> None:
        async with FileConnector(make_target(tmp_path, format="parquet")) as connector:
            await connector.send(batch(["p1"]))
            await connector.flush()
            await connector.send(batch(["p2"]))
            raise InterruptedError

    with pytest.raises(InterruptedError):
        asyncio.run(run())
    folder = tmp_path / "out/lab"
    assert listing(folder) == ["r1-00001.upsert.parquet", "r1.manifest.json"]
    (manifest,) = manifests(folder)
    assert manifest["complete"] is False
    assert [part["file"] for part in manifest["parts"]] == ["r1-00001.upsert.parquet"]


def test_a_run_that_goes_on_overwrites_nothing(tmp_path: Path) -> None:
    for each in ("p1", "p2"):
        asyncio.run(deliver(FileConnector(make_target(tmp_path)), batch([each])))
    assert listing(tmp_path / "out/lab") == ["r1-00001.upsert.csv", "r1-00002.upsert.csv", "r1.manifest.json"]
    assert [part["file"] for part in manifests(tmp_path / "out/lab")[0]["parts"]] == ["r1-00001.upsert.csv", "r1-00002.upsert.csv"]


def test_leftovers_of_a_killed_run_are_swept_but_not_those_of_a_living_one(tmp_path: Path) -> None:
    script = (
        "import asyncio, os, sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from test_file_connector import *\n"
        "async def main():\n"
        "    connector = await FileConnector(make_target(Path(sys.argv[1]), run='dead')).__aenter__()\n"
        "    await connector.send(batch(['p1'])); os._exit(9)\n"
        "asyncio.run(main())"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path), str(Path(__file__).parent)], check=False, cwd=Path(__file__).parents[2])
    folder = tmp_path / "out/lab"
    assert listing(folder) == [".dead-00001.upsert.csv.tmp"]
    (folder / ".notes.tmp").write_text("not ours")

    async def run() -> list[str]:
        async with FileConnector(make_target(tmp_path, run="living")) as living:
            await living.send(batch(["p2"]))
            async with FileConnector(make_target(tmp_path, run="third")):
                return listing(folder)

    assert asyncio.run(run()) == [".living-00001.upsert.csv.tmp", ".notes.tmp"]


def test_rows_that_json_cannot_hold_are_rejected_alone(tmp_path: Path) -> None:
    rows = pa.table({"k": ["a", "b", "c"], "v": [1.5, float("nan"), float("inf")]})
    (receipts,) = asyncio.run(deliver(FileConnector(make_target(tmp_path, format="jsonl")), Batch("upsert", rows, ("k",), ("1", "2", "3"))))
    assert list(zip(receipts.statuses, receipts.codes, strict=True)) == [("delivered", None), *[("rejected", "not_finite")] * 2]
    assert read_part(tmp_path / "out/lab/r1-00001.upsert.jsonl") == [{"k": "a", "v": 1.5}]


# -- refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["elsewhere", "out/../elsewhere", "/etc", "outside", "out-side"])
def test_a_folder_outside_the_agreement_is_refused(tmp_path: Path, folder: str) -> None:
    """attack 24"""
    with pytest.raises(DeliveryError, match=r"destination lab: folder .* is refused; the agreement allows: .*/out"):
        FileConnector(make_target(tmp_path, folder=folder))
    assert not (tmp_path / folder).exists() or folder == "/etc"


def test_a_link_out_of_the_agreement_is_refused(tmp_path: Path) -> None:
    """attack 24"""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/lab").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DeliveryError, match="elsewhere is refused"):
        FileConnector(make_target(tmp_path))


@pytest.mark.parametrize("link", ["out", "out/lab"])
def test_a_link_in_the_place_of_the_agreement_s_own_folder_is_refused(tmp_path: Path, link: str) -> None:
    """attack 24: the project is under version control, and so would be the link"""
    (tmp_path / "elsewhere/lab").mkdir(parents=True)
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to(tmp_path / "elsewhere")
    for agreed in ("out", "out/lab"):
        with pytest.raises(DeliveryError, match=r"elsewhere.* is refused; the agreement allows: .*/out"):
            FileConnector(make_target(tmp_path, allowed=agreed))
    assert listing(tmp_path / "elsewhere") in ([], ["lab"])


def test_links_above_the_project_and_outside_of_it_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real/project").mkdir(parents=True)
    (tmp_path / "project").symlink_to(tmp_path / "real/project")
    FileConnector(make_target(tmp_path / "project"))  # /tmp is a link on some systems
    (tmp_path / "share").symlink_to(tmp_path / "real")
    FileConnector(make_target(tmp_path / "project", folder=str(tmp_path / "share/lab"), allowed=str(tmp_path / "share")))


def test_a_folder_that_becomes_a_link_is_refused(tmp_path: Path) -> None:
    connector = FileConnector(make_target(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/lab").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DeliveryError, match="refused"):
        asyncio.run(deliver(connector, batch(["p1"])))
    assert listing(tmp_path / "elsewhere") == []


@pytest.mark.parametrize(
    ("change", "message"),
    [({"run": "../r1"}, "file name"), ({"format": "parquet", "opened_by": "spreadsheet"}, "goes with format: csv")],
)
def test_declarations_that_cannot_work(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DeliveryError, match=message):
        FileConnector(make_target(tmp_path, **change))


def test_a_destination_without_its_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="needs `file`"):
        FileConnector(Target(Destination(name="lab", connector="file", channel="file"), Egress(folders=(tmp_path,)), "r", tmp_path))


def test_a_column_without_a_text_form_names_itself(tmp_path: Path) -> None:
    rows = pa.table({"k": ["a"], "codes": pa.array([[1, 2]])})
    with pytest.raises(DeliveryError, match=r"codes \(list"):
        asyncio.run(deliver(FileConnector(make_target(tmp_path)), Batch("upsert", rows, ("k",), ("1",))))
    assert listing(tmp_path / "out/lab") == []


# -- a disk with troubles -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_full_disk_names_the_folder_and_leaves_nothing_half(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def run() -> None:
        async with FileConnector(make_target(tmp_path, format=form)) as connector:
            await connector.send(batch(["p1"]))
            await connector.flush()
            await connector.send(batch([MARKER]))
            monkeypatch.setattr(os, "fsync", full)
            await connector.flush()

    with pytest.raises(DeliveryError, match=r"destination lab: folder .*/out/lab cannot be written: No space left") as caught:
        asyncio.run(run())
    assert MARKER not in str(caught.value)
    assert listing(tmp_path / "out/lab") == [f"r1-00001.upsert.{form}"]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_write_that_fails_midway_leaves_nothing_half(tmp_path: Path, form: str) -> None:
    size, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    big = batch([hashlib.sha256(str(n).encode()).hexdigest() for n in range(5000)])
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(DeliveryError, match="cannot be written: File too large"):
            asyncio.run(deliver(FileConnector(make_target(tmp_path, format=form)), big))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    assert listing(tmp_path / "out/lab") == []


def test_no_flush_vouches_for_rows_that_a_failure_removed(tmp_path: Path) -> None:
    async def run() -> None:
        size, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        async with FileConnector(make_target(tmp_path)) as connector:
            await connector.send(batch(["p0"]))
            await connector.flush()
            await connector.send(batch(["p1"]))
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
            try:
                with pytest.raises(DeliveryError, match="File too large"):
                    await connector.send(batch([str(n) for n in range(50_000)]))
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
            await connector.flush()

    with pytest.raises(DeliveryError, match="File too large"):
        asyncio.run(run())
    assert listing(tmp_path / "out/lab") == ["r1-00001.upsert.csv", "r1.manifest.json"]
    assert manifests(tmp_path / "out/lab")[0]["complete"] is False


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(DeliveryError, match="cannot be written"):
        asyncio.run(deliver(FileConnector(make_target(tmp_path)), batch(["p1"])))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"parts": 5}', '{"parts": null}', '{"parts": ["r1-00001.upsert.csv"]}'])
def test_a_manifest_of_the_same_run_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "out" / "lab").mkdir(parents=True)
    (tmp_path / "out" / "lab" / "r1.manifest.json").write_text(text)
    with pytest.raises(DeliveryError, match=r"r1\.manifest\.json is no manifest"):
        asyncio.run(deliver(FileConnector(make_target(tmp_path)), batch(["p1"])))
    assert (tmp_path / "out" / "lab" / "r1.manifest.json").read_text() == text
