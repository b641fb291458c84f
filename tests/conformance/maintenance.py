"""Tables that only grow are kept small: nothing is lost by it, and nothing too early."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import deltalake
import pyarrow as pa
import pytest

from cdp.engine import maintenance
from cdp.engine.base import Engine
from cdp.errors import EngineError
from cdp.sync import state
from cdp.sync.ledger import Control
from cdp.sync.ledger.verify import verify
from tests.conformance.world import World, passing, people

WEEK = 7 * 86_400


def folder_of(engine: Engine, table: str) -> Path:
    folder = engine.folder(table)
    assert folder is not None
    return folder


def on_disk(folder: Path) -> set[Path]:
    return set(folder.rglob("*.parquet")) - set((folder / "_delta_log").rglob("*"))


def in_use(folder: Path, **part: str) -> int:
    """How many files the newest version has."""
    return len(deltalake.DeltaTable(folder).file_uris(file_pruning_predicate=[(name, "=", value) for name, value in part.items()] or None))


def a_day_later(folder: Path) -> None:
    """As if every part had been looked at a day ago."""
    for mark in folder.glob("_maintained*"):
        os.utime(mark, (time.time() - maintenance.SECONDS,) * 2)


def age(folder: Path, seconds: float) -> None:
    """As if all that is there had been written, and what was removed been removed, so long ago."""
    for log in (folder / "_delta_log").glob("*.json"):
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        for line in lines:
            if "remove" in line:
                line["remove"]["deletionTimestamp"] -= int(seconds * 1000)
        (log.parent / f".{log.name}.crc").unlink(missing_ok=True)  # Spark's, of the file as it was
        log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for path in on_disk(folder):
        os.utime(path, (path.stat().st_mtime - seconds,) * 2)


class MaintenanceStory:
    @pytest.fixture(autouse=True)
    def _soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(maintenance, "FILES", 4)

    @pytest.fixture
    def world(self, engine: Engine, tmp_path: Path) -> Iterator[World]:
        with passing(engine, tmp_path) as world:
            yield world

    @pytest.fixture
    def table(self, world: World) -> str:
        """Two partitions of five files each."""
        table = f"{world.control}.t"
        world.engine.create(table, {"sync": "string", "n": "bigint"}, partition=["sync"])
        for number in range(5):
            world.engine.append(table, pa.table({"sync": ["a", "b"], "n": [number, number]}))
        return table

    def test_small_files_of_one_part_become_one_once_a_day(self, world: World, table: str) -> None:
        engine, folder = world.engine, folder_of(world.engine, table)
        rows = engine.query(f"SELECT * FROM {table} ORDER BY sync, n")
        before, files = engine.version(table), on_disk(folder)
        engine.maintain(table, {"sync": "a"})  # it is new: looked at again in a day
        assert (engine.version(table), in_use(folder)) == (before, 10)
        for _ in range(2):
            a_day_later(folder)
            for _ in range(2):
                engine.maintain(table, {"sync": "a"})
                assert (in_use(folder, sync="a"), in_use(folder, sync="b"), engine.version(table)) == (1, 5, (before or 0) + 1)
        assert engine.query(f"SELECT * FROM {table} ORDER BY sync, n") == rows
        assert engine.query(f"SELECT * FROM {table} VERSION AS OF {before} ORDER BY sync, n") == rows
        assert on_disk(folder) > files
        engine.append(table, pa.table({"sync": ["a"], "n": [5]}))
        assert engine.value(f"SELECT SUM(n) FROM {table} WHERE sync = 'a'") == 15

    def test_old_files_are_deleted_when_no_version_of_the_last_days_needs_them(self, world: World, table: str) -> None:
        engine, folder = world.engine, folder_of(world.engine, table)
        engine.maintain(table, {"sync": "a"})
        age(folder, WEEK + 60)  # files that are old and in use
        engine.execute(f"INSERT INTO {table} REPLACE WHERE sync = 'a' SELECT sync, MAX(n) AS n FROM {table} WHERE sync = 'a' GROUP BY sync")
        rows, kept = engine.query(f"SELECT * FROM {table} ORDER BY sync, n"), on_disk(folder)
        for seconds in (0, WEEK - 120):
            age(folder, seconds)
            a_day_later(folder)
            engine.maintain(table, {"sync": "a"})
            assert on_disk(folder) == kept
        age(folder, 180)
        left, writing = (folder / "sync=a" / f"{name}.parquet" for name in ("of_a_killed_writer", "of_a_writer_of_now"))
        for path in (left, writing):
            path.write_bytes(b"")
        os.utime(left, (time.time() - WEEK - 60,) * 2)
        a_day_later(folder)
        engine.maintain(table, {"sync": "a"})
        assert len(on_disk(folder)) == in_use(folder) + 1
        assert (left.exists(), writing.exists()) == (False, True)
        assert engine.query(f"SELECT * FROM {table} ORDER BY sync, n") == rows


class WholeMaintenanceStory(MaintenanceStory):
    """And of whole runs, which take Spark minutes."""

    def test_many_small_runs_leave_few_files_and_the_same_record(self, world: World) -> None:
        clinic = people(4)
        control = Control(world.engine, world.control)
        for number in range(6):
            clinic[1]["email"] = f"new{number}@example.org"
            world.load(clinic)
            for name in ("receipts", "disclosures", "runs", "plans"):
                a_day_later(folder_of(world.engine, f"{world.control}.{name}"))
            assert world.sync()[1].status == "succeeded"
            if number == 3:
                state.fold(control, "letters", rows=0)
        for name, most in (("receipts", 3), ("disclosures", 6), ("runs", 5), ("plans", 5)):
            assert in_use(folder_of(world.engine, control.table(name))) <= most, name
        assert world.channel.rows[("p001",)]["email"] == "new5@example.org"
        assert world.engine.value(f"SELECT COUNT(*) FROM {control.table('receipts')}") == 9
        (checked,) = verify(control)
        assert (checked.blocks, checked.lines, checked.bad) == (6, 9, None)
        plan, run = world.sync()
        assert (plan.counts["unchanged"], run.status) == (4, "nothing")

    def test_a_failure_is_told_and_disturbs_no_run(
        self, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        world.load(people(2))
        world.sync()
        receipts = folder_of(world.engine, f"{world.control}.receipts")
        a_day_later(receipts)

        def fail(folder: Path, part: object) -> None:
            raise OSError(28, "no space left, of p001")

        with monkeypatch.context() as patch:
            patch.setattr(maintenance, "maintain", fail)
            with pytest.raises(EngineError):
                world.engine.maintain(f"{world.control}.receipts", {"sync": "letters"})
            world.load(people(3))
            assert world.sync()[1].status == "succeeded"
        assert [record.message for record in caplog.records] == [f"no space left while working on maintaining {world.control}.receipts"]
        assert maintenance.due(receipts, {"sync": "letters"})  # the next run tries again
        world.load(people(4))
        assert (world.sync()[1].status, maintenance.due(receipts, {"sync": "letters"})) == ("succeeded", False)
