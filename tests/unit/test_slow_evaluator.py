"""The slow evaluator of the language is right: on the target programmes' own tests, and on the cases that the suite ships."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cdp.project.problems import Problems
from cdp.project.source import read
from cdp.testing.language_cases import AS_OF, CASES
from cdp.testing.language_world import tables, write_project
from tests.slow_calendar import literal
from tests.slow_evaluator import Here, Model, Row, World

SHARED = Path(__file__).parents[2] / "../shared/language/project"
NOT_A_ROW = {"expect", "name", "add", "as_of", "given", "cases"}

Tree = Any


def model(root: Path) -> Model:
    problems = Problems()
    documents = [document.tree for path in sorted(root.rglob("*.yml")) for document in read(path, root, problems)]
    problems.raise_if_any()
    return Model.of(documents)


# -- the tests that stand in the target programmes ------------------------------------------------------------------------


class Fixture:
    """One member with nested related rows, laid flat into tables."""

    def __init__(self, model: Model) -> None:
        self.model, self.zone = model, ZoneInfo(model.config["timezone"])
        self.tables: dict[str, list[dict[str, Any]]] = {}
        self.numbers = count(1)

    def add(self, entity: str, tree: Mapping[str, Tree], given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A row with the rows that are nested in it."""
        spec = self.model.entities[entity]
        row: dict[str, Any] = {spec["key"]: str(next(self.numbers)), **self._passing(spec), **(given or {})}
        for name, value in tree.items():
            if name in spec["columns"]:
                self._put(row, spec, name, value)
            else:
                self._relate(row, spec, name, value)
        self.tables.setdefault(entity, []).append(row)
        return row

    def _passing(self, spec: Mapping[str, Tree]) -> dict[str, Any]:
        """What lets a row through its entity's own `where`."""
        tests = (spec.get("where") or {}).items()
        texts = {name: "other" if isinstance(test, dict) else test[0] if isinstance(test, list) else test for name, test in tests}
        return {name: literal(text, spec["columns"][name]["type"], self.zone) for name, text in texts.items()}

    def _put(self, row: dict[str, Any], spec: Mapping[str, Tree], name: str, text: Tree) -> None:
        column = spec["columns"][name]
        if text is None:
            row[name] = None
            return
        if column.get("unit"):
            text, _, row[column["unit"]] = text.partition(" ")
        value = literal(text, column["type"], self.zone)
        if column["type"] == "timestamp" and not isinstance(value, dt.datetime):
            value = dt.datetime.combine(value, dt.time(), self.zone)
        row[name] = value.astimezone(dt.UTC) if isinstance(value, dt.datetime) else value
        if column["type"] == "code" and column.get("system") in spec["columns"]:
            row.setdefault(column["system"], self._system(text))

    def _system(self, code: str) -> str | None:
        return next((system for name in self.model.value_sets for system, codes in self.model.codes(name).items() if code in codes), None)

    def _relate(self, row: dict[str, Any], spec: Mapping[str, Tree], name: str, tree: Tree) -> None:
        relation = spec["relations"][name]
        target, via = relation.get("many") or relation["one"], relation["via"]
        if "one" in relation:
            row[via] = self.add(target, tree)[self.model.entities[target]["key"]]
            return
        pairs = via if isinstance(via, dict) else {via: spec["key"]}
        for mine in pairs.values():
            row.setdefault(mine, str(next(self.numbers)))
        for child in tree:
            self.add(target, child, {theirs: row[mine] for theirs, mine in pairs.items()})


def cases(model: Model) -> Iterator[tuple[str, str, Mapping[str, Tree], Tree]]:
    """Segment, as_of, the member, and what is expected, of each case of each test."""
    for name, segment in model.segments.items():
        for test in segment.get("tests") or ():
            for case in test.get("cases") or [test]:
                member = {**(test.get("given") or {}), **{k: v for k, v in case.items() if k not in NOT_A_ROW}}
                for relation, rows in (case.get("add") or {}).items():
                    member[relation] = [*(member.get(relation) or []), *rows]
                yield name, case.get("as_of", test["as_of"]), member, case["expect"]


def moment(text: str, zone: str) -> dt.datetime:
    day_or_moment = literal(text, "timestamp", ZoneInfo(zone))
    if isinstance(day_or_moment, dt.datetime):
        return day_or_moment
    return dt.datetime.combine(day_or_moment, dt.time.max, ZoneInfo(zone))


def answers(world: World, here: Here, segment: str, what: str, expected: Tree) -> bool:
    """Whether membership (`in`) or a trait comes to what a case expects."""
    if what == "in":
        return world.holds(here, world.model.segments[segment]["where"]) == (expected == "true")
    found = world.operand(here, what)
    return bool(found.value == (None if expected is None else literal(expected, found.type, world.zone)))


@pytest.mark.skipif(not SHARED.exists(), reason="the target programmes are not beside this checkout")
def test_it_answers_the_tests_of_the_target_programmes() -> None:
    shared = model(SHARED)
    wrong, asked = [], 0
    for name, as_of, member, expect in cases(shared):
        fixture = Fixture(shared)
        fixture.add(shared.segments[name]["entity"], member)
        world = World(shared, fixture.tables, moment(as_of, shared.config["timezone"]))
        subject = world.rows("patient")[0]
        wanted = expect if isinstance(expect, dict) else {"in": "true" if expect == "in" else "false"}
        wrong += [
            (name, as_of, member, what) for what, value in wanted.items() if not answers(world, Here(subject, "patient"), name, what, value)
        ]
        asked += "in" in wanted
    assert not wrong
    assert asked == 73


# -- the cases that the suite ships -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> World:
    spec = model(write_project(tmp_path_factory.mktemp("language")))
    rows = tables()
    by_entity = {name: rows[entity["table"]].to_pylist() for name, entity in spec.entities.items() if "table" in entity}
    return World(spec, by_entity, moment(AS_OF, spec.config["timezone"]))


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("select_")])  # it runs no SQL
def test_it_agrees_with_the_answers_of_the_suite(shipped: World, name: str) -> None:
    members = shipped.members("patient", shipped.model.segments[name]["where"])
    assert " ".join(sorted(row.get("patient_id") for row in members)) == CASES[name][1]


# -- what the evaluator itself could get wrong ------------------------------------------------------------------------


def test_a_row_that_a_relation_does_not_find_has_no_values() -> None:
    assert Row("clinician", None).get("active") is None


def test_decimals_and_floats_compare_exactly() -> None:
    from tests.slow_calendar import compare

    assert compare("eq", Decimal("9.10"), literal("9.1", "decimal", dt.UTC), dt.UTC)
    assert not compare("gt", None, literal("9.1", "decimal", dt.UTC), dt.UTC)
