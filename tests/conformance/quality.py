"""What is expected of the rows about to leave, told on any engine: met, refused, warned about, dropped; counted, and nobody named."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from cdp.engine.base import Engine
from cdp.errors import DataError, GuardError
from cdp.spec.quality import EXPECTATIONS
from cdp.sync.plan import Plan, load_plan
from tests.conformance.world import World, passing, patient, people

BAD = "no-address-of-p004"
EMAIL = {"expect_column_values_to_match_regex": {"column": "email", "regex": "^[^@]+@[^@]+$"}}

# Every expectation, of ten patients of whom the fourth has a bad address and the fifth none; how many are asked, and how many fail.
ASKED: dict[str, tuple[dict[str, Any], int, int | None]] = {
    "expect_column_values_to_not_be_null": ({"column": "email"}, 10, 1),
    "expect_column_values_to_be_null": ({"column": "email"}, 10, 9),
    "expect_column_values_to_be_unique": ({"column": "given_name"}, 10, 2),
    "expect_column_values_to_match_regex": ({"column": "email", "regex": "^[^@]+@[^@]+$"}, 9, 1),
    "expect_column_values_to_not_match_regex": ({"column": "email", "regex": r"^p\d@"}, 9, 7),
    "expect_column_values_to_match_regex_list": ({"column": "email", "regex_list": ["^p1", "^p2"]}, 9, 6),
    "expect_column_values_to_not_match_regex_list": ({"column": "email", "regex_list": ["^p10@", "^p2"]}, 9, 2),
    "expect_column_values_to_be_in_set": ({"column": "balance", "value_set": ["1", "2.00"]}, 10, 8),
    "expect_column_values_to_not_be_in_set": ({"column": "born", "value_set": ["1970-01-02"]}, 10, 1),
    "expect_column_values_to_be_between": ({"column": "born", "min_value": "1970-01-04"}, 10, 2),
    "expect_column_value_lengths_to_be_between": ({"column": "email", "max_value": "14"}, 9, 2),
    "expect_column_value_lengths_to_equal": ({"column": "patient_id", "value": "4"}, 10, 0),
    "expect_column_pair_values_to_be_equal": ({"column_A": "balance", "column_B": "visits"}, 10, 0),
    "expect_column_pair_values_a_to_be_greater_than_b": ({"column_A": "visits", "column_B": "score"}, 10, 0),
    "expect_compound_columns_to_be_unique": ({"column_list": ["given_name", "active"]}, 10, 2),
    "expect_select_column_values_to_be_unique_within_record": ({"column_list": ["email", "given_name"]}, 10, 0),
    "expect_table_row_count_to_be_between": ({"min_value": "10", "max_value": "10"}, 10, None),
    "expect_column_proportion_of_non_null_values_to_be_between": ({"column": "email", "min_value": "0.9"}, 10, None),
    "expect_column_proportion_of_unique_values_to_be_between": ({"column": "given_name", "max_value": "0.95"}, 10, None),
    "expect_column_unique_value_count_to_be_between": ({"column": "given_name", "max_value": "9"}, 10, None),
    "expect_column_min_to_be_between": ({"column": "visits", "min_value": "1"}, 10, None),
    "expect_column_max_to_be_between": ({"column": "balance", "max_value": "10"}, 10, None),
    "expect_column_mean_to_be_between": ({"column": "visits", "min_value": "5.5", "max_value": "5.5"}, 10, None),
    "expect_column_sum_to_be_between": ({"column": "visits", "min_value": "55", "max_value": "55"}, 10, None),
    "expect_column_stdev_to_be_between": ({"column": "visits", "min_value": "3", "max_value": "3.1"}, 10, None),
}


def clinic() -> dict[int, dict[str, Any]]:
    """Ten patients."""
    return people(10) | {4: patient(4, email=BAD), 5: patient(5, email=None), 7: patient(7, given_name="N9")}


def said(plan: Plan) -> list[tuple[str, int, int | None, str]]:
    return [(each.expectation, each.evaluated, each.failed, each.verdict) for each in plan.quality]


# One of each way in which an engine works: a pattern, a window, values of a type, a pair, several columns, an aggregate.
SOME = (
    "expect_column_values_to_match_regex",
    "expect_column_values_to_be_unique",
    "expect_column_values_to_be_in_set",
    "expect_column_values_to_be_between",
    "expect_column_pair_values_a_to_be_greater_than_b",
    "expect_compound_columns_to_be_unique",
    "expect_column_mean_to_be_between",
)


class QualityStory:
    names: ClassVar[tuple[str, ...]] = EXPECTATIONS

    @pytest.fixture
    def world(self, engine: Engine, tmp_path: Path) -> Iterator[World]:
        with passing(engine, tmp_path, values=("email", "given_name", "born", "score", "balance", "visits", "active")) as world:
            yield world

    def test_every_expectation_counts_the_same_and_shows_no_value(
        self, world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        world.quality = tuple({name: ASKED[name][0], "otherwise": "warn"} for name in self.names)
        world.load(clinic())
        monkeypatch.chdir(tmp_path)
        with caplog.at_level(logging.DEBUG), _watched() as reached:
            plan = world.plan()
        met = {name for name, (_, _, failed) in ASKED.items() if not failed}
        expected = [(name, ASKED[name][1], ASKED[name][2], "met" if name in met else "warned") for name in self.names]
        assert said(plan) == expected
        assert not reached, "a socket was opened"
        assert not list(tmp_path.iterdir()), "a file was written"
        # What is stored, shown and logged: counts and verdicts; no value of a row.
        stored = load_plan(world.engine, world.control, plan.id)
        assert stored == plan
        shown = json.dumps(plan.as_json()["quality"])
        held = {str(value) for row in clinic().values() for value in row.values() if isinstance(value, str) and len(value) > 3}
        logged = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("py4j"))  # Spark's own wire
        assert not [value for value in held if value in shown or value in logged]
        assert world.apply(plan).delivered == 10

    def test_what_drops_leaves_the_rows_for_a_later_plan(self, world: World) -> None:
        world.load(people(10))
        world.sync()
        world.quality = (
            {"expect_table_row_count_to_be_between": {"max_value": "2"}},
            {**EMAIL, "otherwise": "drop"},
            {"expect_column_values_to_not_be_null": {"column": "email"}, "otherwise": "drop"},
            {"expect_column_values_to_be_unique": {"column": "born"}, "otherwise": "drop"},
        )
        world.load(clinic() | {number: patient(number, born=patient(1)["born"]) for number in (11, 12)})
        plan, run = world.sync()
        assert said(plan) == [
            ("expect_table_row_count_to_be_between", 1, None, "met"),
            ("expect_column_values_to_match_regex", 4, 1, "dropped"),
            ("expect_column_values_to_not_be_null", 5, 1, "dropped"),
            ("expect_column_values_to_be_unique", 5, 2, "dropped"),
        ]
        assert (plan.counts["add"], plan.counts["change"], plan.counts["dropped"], plan.counts["unchanged"]) == (0, 1, 4, 7)
        assert (plan.size, plan.rows, run.delivered, run.status) == (12, 1, 1, "succeeded")
        assert world.channel.rows[("p004",)]["email"] == "p4@example.org"
        world.load(people(12) | {7: patient(7, given_name="N9")})
        plan, run = world.sync()
        assert (plan.counts["add"], plan.counts["dropped"], run.delivered) == (2, 0, 2)
        assert {each.verdict for each in plan.quality} == {"met"}
        assert not [name for name in world.engine.tables(world.control) if name.endswith("_candidates")]


class EveryQualityStory(QualityStory):
    """And what no engine has a part in."""

    def test_what_refuses_stops_the_plan_and_not_who_is_taken_off(self, world: World) -> None:
        world.load(people(10))
        world.sync()
        world.quality = (EMAIL, {"expect_column_values_to_not_be_null": {"column": "email", "mostly": "0.5"}})
        world.load({number: row for number, row in clinic().items() if number != 2})
        plan = world.plan()
        assert said(plan) == [
            ("expect_column_values_to_match_regex", 2, 1, "refused"),
            ("expect_column_values_to_not_be_null", 3, 1, "met"),
        ]
        assert plan.as_json()["quality"][0]["share"] == 0.5
        with pytest.raises(
            GuardError, match="expect_column_values_to_match_regex of email may fail for none of 2 rows, found 1"
        ) as refused:
            world.apply(plan)
        assert "otherwise: drop" in refused.value.fix
        removals = world.plan(only="left")
        assert (removals.counts["remove"], removals.quality, removals.guards) == (1, (), ())
        assert world.apply(removals).delivered == 1
        assert len(world.channel.rows) == 9

    def test_what_a_type_does_not_allow_is_refused_before_anything_is_stored(self, world: World) -> None:
        world.load(people(2))
        world.quality = ({"expect_column_values_to_match_regex": {"column": "born", "regex": "^19"}},)
        with pytest.raises(DataError, match=r"quality\[0\]\.expect_column_values_to_match_regex\.column: born is date"):
            world.plan()
        assert not [name for name in world.engine.tables(world.control) if name.startswith("plan_")]


_REACHED: list[str] = []
_WATCHING: list[bool] = []


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not _WATCHING or event not in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        return
    address = args[0] if event == "socket.getaddrinfo" else args[-1]
    host = address[0] if isinstance(address, tuple) else address
    if host not in ("127.0.0.1", "localhost", "::1"):  # where Apache Spark's own JVM is
        _REACHED.append(f"{event} {host}")


class _watched:
    """Python's sockets, while Great Expectations works; those of gRPC are of C and the engine's. An audit hook stays for ever."""

    def __enter__(self) -> list[str]:
        if not getattr(sys, "_cdp_quality_hook", False):
            sys.addaudithook(_hook)
            sys._cdp_quality_hook = True  # type: ignore[attr-defined]
        _WATCHING.append(True)
        _REACHED.clear()
        return _REACHED

    def __exit__(self, *_: object) -> None:
        _WATCHING.clear()
