"""Others write while a table is maintained, on the embedded engine: rows are neither lost nor does anybody wait."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import deltalake
import pyarrow as pa
import pytest

from cdp.engine import Engine, connect, maintenance
from cdp.errors import ConflictError
from cdp.spec.activation import Environment
from tests.conformance.maintenance import WholeMaintenanceStory, a_day_later, folder_of, in_use

KINDS = {"sync": "string", "key": "string"}


@contextmanager
def maintaining(folder: Path, sync: str) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen([sys.executable, "-m", "tests.conformance.maintaining_child", folder, sync], stdout=subprocess.PIPE, text=True)
    assert child.stdout
    assert child.stdout.readline() == "ready\n"
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


@pytest.fixture
def other(engine: Engine) -> Iterator[Engine]:
    made = connect(Environment(lakehouse=str(engine.lakehouse)), root=Path.cwd())
    yield made
    made.close()


def test_who_appends_meanwhile_loses_nothing(engine: Engine, other: Engine) -> None:
    """Two sessions in threads, and two processes that would merge the same files at all times."""
    table = "kept.appended"
    engine.create(table, KINDS, partition=["sync"])
    folder = folder_of(engine, table)

    def rows(number: int) -> pa.Table:
        return pa.table({"sync": ["a", "b"], "key": [f"a{number}", f"b{number}"]})

    with maintaining(folder, "a"), maintaining(folder, "a"), ThreadPoolExecutor(4) as threads:
        for done in [threads.submit((engine, other)[n % 2].append, table, rows(n)) for n in range(80)]:
            done.result()
    assert in_use(folder, sync="a") < in_use(folder, sync="b") == 80
    counted = f"SELECT sync, COUNT(*) AS n, COUNT(DISTINCT key) AS keys FROM {table} GROUP BY sync ORDER BY sync"
    for each in (engine, other):
        assert each.query(counted).to_pylist() == [{"sync": sync, "n": 80, "keys": 80} for sync in ("a", "b")]


def test_rows_that_are_replaced_or_updated_meanwhile_are_right(engine: Engine, other: Engine) -> None:
    """In another partition nobody is in the way; in the same one the loser is told, and nothing of it is there."""
    table = "kept.replaced"
    engine.create(table, {"sync": "string", "n": "bigint"}, partition=["sync"])
    engine.append(table, pa.table({"sync": ["a", "b", "c"], "n": [0, 0, 0]}))
    won = 0
    with maintaining(folder_of(engine, table), "a"):
        for number in range(1, 21):
            engine.execute(f"INSERT INTO {table} REPLACE WHERE sync = 'b' SELECT 'b' AS sync, CAST({number} AS BIGINT) AS n")
            engine.execute(f"UPDATE {table} SET n = n + 1 WHERE sync = 'c'")
            other.append(table, pa.table({"sync": ["a"], "n": [number]}))
            with suppress(ConflictError):
                engine.execute(f"UPDATE {table} SET n = n + 100 WHERE sync = 'a' AND n = 0")
                won += 1
            with suppress(ConflictError):
                engine.execute(f"UPDATE {table} SET n = n - 100 WHERE sync = 'a' AND n = 100")
                won += 1
    found = engine.query(f"SELECT sync, SUM(n) AS n, COUNT(*) AS rows FROM {table} WHERE n <> 100 GROUP BY sync ORDER BY sync").to_pylist()
    assert [row["n"] for row in found] == [210, 20, 20]
    assert won


def test_a_process_that_is_killed_in_it_leaves_the_table_as_it_was(engine: Engine) -> None:
    table = "kept.killed"
    engine.create(table, KINDS, partition=["sync"])
    folder = folder_of(engine, table)
    for round_ in range(6):
        with maintaining(folder, "a") as child:
            for number in range(4):
                engine.append(table, pa.table({"sync": ["a"], "key": [f"{round_}_{number}"]}))
            time.sleep(round_ / 100)
            child.kill()
        assert engine.value(f"SELECT COUNT(DISTINCT key) FROM {table}") == (round_ + 1) * 4
        assert deltalake.DeltaTable(folder).to_pyarrow_table().num_rows == (round_ + 1) * 4


def test_of_many_who_would_merge_the_same_files_one_does(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a lock delta-rs commits all of them, and every row is there as often."""
    monkeypatch.setattr(maintenance, "FILES", 2)
    table = "kept.both"
    engine.create(table, KINDS, partition=["sync"])
    folder = folder_of(engine, table)
    for number in range(40):
        engine.append(table, pa.table({"sync": ["a"], "key": [f"k{number}"]}))
    engine.maintain(table, {"sync": "a"})
    a_day_later(folder)
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(engine.maintain, table, {"sync": "a"}) for _ in range(4)]:
            done.result()
    assert (in_use(folder), engine.value(f"SELECT COUNT(*) FROM {table}")) == (1, 40)


class TestMaintenance(WholeMaintenanceStory):
    pass
