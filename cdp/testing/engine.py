"""EngineSuite: what this project relies on an engine for, with the answers written down.

Equal answers are what makes engines equal: a lakehouse written by one is read, diffed and synced by another. An
author of an engine inherits the suite and gives a fixture `engine`; `tests/conformance` shows how.
"""

from __future__ import annotations

import datetime as dt
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from cdp.engine.base import literal, quoted
from cdp.errors import BusyError, DataError, EngineError
from cdp.sync import lease
from cdp.sync.ledger import Control

if TYPE_CHECKING:
    from cdp.engine.base import Engine

NASTY = ["o'neil", 'say "hi"', "back\\slash", "new\nline", "${env:HOME}", ":name ? {x}", "😀é", "", " ", "-- x", "a;b"]
MOMENT = dt.datetime(2026, 7, 2, 3, 30, tzinfo=dt.UTC)  # the evening before in New York


class EngineSuite:
    """Inherit it as a class named `Test...` and give a fixture `engine` over an empty lakehouse."""

    @pytest.fixture
    def schema(self, engine: Engine) -> Iterator[str]:
        """A schema of its own for each test."""
        name = f"s{uuid.uuid4().hex[:8]}"
        yield name
        for table in engine.tables(name):
            engine.drop(f"{name}.{table}")

    # -- who --------------------------------------------------------------------------------------------------------

    def test_it_says_who_uses_it_whatever_the_environment_says(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        """Attack 27: approvals and runs are signed with this name."""
        before = engine.whoami()
        for name in ("USER", "LOGNAME"):
            monkeypatch.setenv(name, "somebody_else")
        assert re.fullmatch(r"uid:\d+|user:\S+", before)
        assert engine.whoami() == before

    # -- tables -----------------------------------------------------------------------------------------------------

    def test_a_table_is_created_once_appended_to_and_dropped(self, engine: Engine, schema: str) -> None:
        table = f"{schema}.t"
        for _ in range(2):
            engine.create(table, {"sync": "string", "n": "bigint", "at": "timestamp"}, partition=["sync"])
        rows = {"sync": ["a", "b"], "n": pa.array([1, None], pa.int64()), "at": pa.array([MOMENT, None], pa.timestamp("us", "UTC"))}
        engine.append(table, pa.table(rows))
        assert engine.columns(table) == {"sync": "string", "n": "bigint", "at": "timestamp"}
        assert engine.query(f"SELECT * FROM {table} ORDER BY sync").to_pylist() == [
            {"sync": "a", "n": 1, "at": MOMENT},
            {"sync": "b", "n": None, "at": None},
        ]
        assert engine.tables(schema) == ("t",)
        engine.drop(table)
        engine.drop(table)
        assert not engine.exists(table)
        assert engine.tables(schema) == ()

    def test_an_append_goes_by_name_not_by_place(self, engine: Engine, schema: str) -> None:
        engine.create(f"{schema}.t", {"a": "string", "b": "string"})
        engine.append(f"{schema}.t", pa.table({"b": ["right"], "a": ["left"]}))
        assert engine.query(f"SELECT a, b FROM {schema}.t").to_pylist() == [{"a": "left", "b": "right"}]

    def test_what_is_recalled_is_of_the_state_that_a_table_is_in(self, engine: Engine, schema: str) -> None:
        table, statement = f"{schema}.t", f"SELECT SUM(n) AS n FROM {schema}.t WHERE n > :low"
        for first in (1, 10):  # the second time it is another table of the same name
            engine.create(table, {"n": "bigint"})
            for rows in ([first], [first + 1, first + 2]):
                engine.append(table, pa.table({"n": rows}))
                for low in (0, first):
                    known = engine.query(statement, {"low": low})
                    assert [engine.recall(table, statement, {"low": low}) for _ in range(3)] == [known] * 3
            engine.execute(f"DELETE FROM {table} WHERE n = {first}")
            assert engine.recall(table, statement, {"low": 0}).to_pylist() == [{"n": 2 * first + 3}]
            engine.drop(table)

    def test_all_missing_tables_are_named(self, engine: Engine, schema: str) -> None:
        with pytest.raises(DataError, match=rf"{schema}\.one, {schema}\.two") as caught:
            engine.register([f"{schema}.two", f"{schema}.one"])
        assert caught.value.fix

    def test_a_name_that_is_no_table_name_is_refused(self, engine: Engine) -> None:
        for name in ("t", "a.b.c", "a.b; DROP TABLE x", "../a.b", "a.`b`"):
            with pytest.raises(DataError, match=r"is not schema\.table"):
                engine.folder(name)

    def test_replacing_a_part_reads_the_table_it_writes_and_leaves_the_rest(self, engine: Engine, schema: str) -> None:
        table = f"{schema}.t"
        engine.create(table, {"sync": "string", "key": "string", "n": "bigint"}, partition=["sync"])
        engine.append(table, pa.table({"sync": ["a", "a", "b"], "key": ["1", "2", "1"], "n": [1, 2, 3]}))
        for _ in range(2):  # the second time with the same outcome
            engine.execute(
                f"INSERT INTO {table} REPLACE WHERE sync = 'a' "
                f"SELECT sync, key, MAX(n) AS n FROM {table} WHERE sync = 'a' AND key = '2' GROUP BY sync, key"
            )
        assert engine.query(f"SELECT * FROM {table} ORDER BY sync").to_pylist() == [
            {"sync": "a", "key": "2", "n": 2},
            {"sync": "b", "key": "1", "n": 3},
        ]

    def test_a_partitioned_table_from_a_query(self, engine: Engine, schema: str) -> None:
        engine.create_as(f"{schema}.t", "SELECT id, CAST(id DIV 50 AS INT) AS chunk FROM RANGE(150)", partition=["chunk"])
        found = engine.query(f"SELECT chunk, COUNT(*) AS n, MIN(id) AS low FROM {schema}.t GROUP BY chunk ORDER BY chunk")
        assert [tuple(row.values()) for row in found.to_pylist()] == [(0, 50, 0), (1, 50, 50), (2, 50, 100)]

    def test_a_table_that_is_dropped_before_long_is_like_any_other(self, engine: Engine, schema: str) -> None:
        for count in (3, 0):  # the second time it is another table of the same name
            rows = f"SELECT id, CAST(NULL AS STRING) AS empty, id > 1 AS high FROM RANGE({count})"
            engine.create_as(f"{schema}.t", rows, brief=True)
            assert engine.columns(f"{schema}.t") == {"id": "bigint", "empty": "string", "high": "boolean"}
            assert engine.query(f"SELECT COUNT(*) AS n, COUNT_IF(high) AS high FROM {schema}.t").to_pylist() == [
                {"n": count, "high": int(count > 1)}
            ]
            assert engine.tables(schema) == ("t",)
            engine.drop(f"{schema}.t")
            assert engine.tables(schema) == ()

    def test_what_is_left_of_a_table_that_was_not_finished_is_found_and_dropped(self, engine: Engine, schema: str) -> None:
        folder = engine.folder(f"{schema}.t")
        if folder is None:
            pytest.skip("a catalog lists its tables itself")
        folder.mkdir(parents=True)
        (folder / "part-0.parquet").write_bytes(b"")
        assert (engine.exists(f"{schema}.t"), engine.tables(schema)) == (False, ("t",))
        engine.drop(f"{schema}.t")
        assert not folder.exists()

    # -- statements and errors -----------------------------------------------------------------------------------------

    @pytest.mark.parametrize("text", NASTY)
    def test_a_text_is_what_it_says_as_parameter_and_as_literal(self, engine: Engine, text: str) -> None:
        assert engine.value("SELECT :text", {"text": text}) == text
        assert engine.value(f"SELECT {literal(text)}") == text

    def test_a_moment_as_parameter(self, engine: Engine) -> None:
        elsewhere = MOMENT.astimezone(dt.timezone(dt.timedelta(hours=-4)))
        assert engine.value("SELECT :at = TIMESTAMP '2026-07-02 03:30:00'", {"at": elsewhere}) is True

    def test_a_name_is_quoted(self, engine: Engine) -> None:
        assert engine.query(f"SELECT 1 AS {quoted('First `Name`')}").column_names == ["First `Name`"]

    def test_types_without_running(self, engine: Engine) -> None:
        query = "SELECT 1 AS a, CAST(1 AS DECIMAL(20, 2)) AS b, DATE '2026-01-01' AS c, TIMESTAMP '2026-01-01 00:00:00' AS d"
        assert engine.types(query) == {"a": "int", "b": "decimal(20,2)", "c": "date", "d": "timestamp"}

    def test_no_error_holds_a_value(self, engine: Engine, schema: str) -> None:
        engine.create_as(f"{schema}.t", "SELECT 'marker-4711' AS a")
        for statement in (
            f"SELECT CAST(a AS DATE) + b FROM {schema}.t",
            f"SELECT ASSERT_TRUE(a = 'x', a) FROM {schema}.t",
            "SELECT 'marker-4711' FROM nowhere.t",
            "SELECT 'marker-4711' FRM t",
        ):
            with pytest.raises((DataError, EngineError)) as caught:
                engine.query(statement, what="the thing")
            assert "marker-4711" not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__ and ''}"
            assert "the thing" in str(caught.value)

    # -- semantics -----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("sql", "answer"),
        [
            ("XXHASH64('abc', 'x', 'x' IS NULL)", 3091733109588346488),
            ("XXHASH64(CAST(1.5 AS DOUBLE))", 7738255526519901366),
            ("XXHASH64(TRUE)", -6698625589789238999),
            ("XXHASH64('{\"a\":1}', CAST(NULL AS STRING), TRUE)", 7864930865062830391),
            ("XXHASH64(CAST(NULL AS STRING), TRUE, 'x', FALSE) = XXHASH64('x', FALSE, CAST(NULL AS STRING), TRUE)", False),
            ("XXHASH64(CAST(-0.0 AS DOUBLE)) = XXHASH64(CAST(0.0 AS DOUBLE))", True),
            ("CAST(CAST(1.50 AS DECIMAL(30, 2)) AS STRING)", "1.50"),
            ("SHIFTRIGHTUNSIGNED(XXHASH64('a'), 33)", 1148354348),
            ("(SHIFTRIGHTUNSIGNED(XXHASH64('a'), 33) * 7) DIV 2147483648", 3),
            ("LENGTH('a😀é')", 3),
            ("ADD_MONTHS(DATE '2024-08-31', -6)", dt.date(2024, 2, 29)),
            ("ADD_MONTHS(DATE '2024-02-29', 12)", dt.date(2025, 2, 28)),
            ("CAST(TIMESTAMP '2026-07-02 03:30:00' AS DATE)", dt.date(2026, 7, 2)),
            ("CAST(FROM_UTC_TIMESTAMP(TIMESTAMP '2026-07-02 03:30:00', 'America/New_York') AS DATE)", dt.date(2026, 7, 1)),
            ("CAST(FROM_UTC_TIMESTAMP(TIMESTAMP '2026-01-02 04:30:00', 'America/New_York') AS DATE)", dt.date(2026, 1, 1)),
            ("NULL IS DISTINCT FROM 1", True),
            ("TRY_CAST('x' AS INT)", None),
            ("CAST(1.005 AS DECIMAL(10, 2))", Decimal("1.01")),
        ],
    )
    def test_values(self, engine: Engine, sql: str, answer: object) -> None:
        assert engine.value(f"SELECT {sql}") == answer

    @pytest.mark.parametrize(
        ("sql", "rows"),
        [
            ("SELECT MAX_BY(a, b) AS x FROM VALUES (1, 1), (CAST(NULL AS INT), 2) AS t(a, b)", [(None,)]),
            ("SELECT BOOL_OR(a IS NULL) AS x, COUNT_IF(a IS NULL) AS y FROM VALUES (1), (NULL) AS t(a)", [(True, 1)]),
            ("SELECT a FROM VALUES (1), (NULL) AS t(a) LEFT ANTI JOIN (SELECT 1 AS b) AS u ON a = b", [(None,)]),
            ("SELECT COUNT(*) AS n FROM VALUES (1), (2) AS t(a) WHERE a NOT IN (SELECT b FROM VALUES (3), (NULL) AS u(b))", [(0,)]),
            ("SELECT k, COUNT(*) AS n FROM VALUES ('a'), (NULL), (NULL) AS t(k) GROUP BY k ORDER BY n", [("a", 1), (None, 2)]),
        ],
    )
    def test_nulls_in_aggregates_and_joins(self, engine: Engine, sql: str, rows: list[tuple[Any, ...]]) -> None:
        assert [tuple(row.values()) for row in engine.query(sql).to_pylist()] == rows

    # -- the lease -----------------------------------------------------------------------------------------------------

    def test_one_lease_at_a_time_with_a_growing_token(self, engine: Engine, schema: str) -> None:
        control = Control(engine, schema)
        first = lease.acquire(control, "letters", lambda: MOMENT)
        other = lease.acquire(control, "calls", lambda: MOMENT)
        with pytest.raises(BusyError, match="sync letters is being applied by"):
            lease.acquire(control, "letters", lambda: MOMENT)
        first.renew()
        first.release()
        second = lease.acquire(control, "letters", lambda: MOMENT)
        assert second.token > first.token
        with pytest.raises(BusyError):
            first.check()
        other.check()

    def test_an_expired_lease_is_taken_over_and_the_old_holder_learns_it(self, engine: Engine, schema: str) -> None:
        control = Control(engine, schema)
        later = MOMENT + dt.timedelta(seconds=lease.SECONDS + 1)
        old = lease.acquire(control, "letters", lambda: MOMENT)
        new = lease.acquire(control, "letters", lambda: later)
        assert new.token == old.token + 1
        with pytest.raises(BusyError):
            old.check()
        with pytest.raises(BusyError):
            old.renew()
        old.release()
        new.check()

    def test_of_threads_that_race_one_gets_the_lease(self, engine: Engine, schema: str) -> None:
        control = Control(engine, schema)
        control.table("leases")
        won: list[lease.Lease] = []

        def race() -> None:
            with suppress(BusyError):
                won.append(lease.acquire(control, "letters", lambda: MOMENT))

        threads = [threading.Thread(target=race) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        won[0].check()
