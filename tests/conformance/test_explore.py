"""What an analyst is shown is what the segment's own SQL says: random segments on random rows, on the embedded engine.

`CDP_RANDOM_EXAMPLES=200 pytest tests/conformance/test_explore.py` asks new ones.
"""

from __future__ import annotations

import datetime as dt
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from sqlglot import exp

from cdp.analyst.explain import explain, subject
from cdp.analyst.funnel import Census, funnel
from cdp.analyst.horizon import next_turn
from cdp.analyst.preview import Asked, preview
from cdp.analyst.sight import Sight
from cdp.analyst.turning import HORIZON
from cdp.compile.clock import Clock
from cdp.compile.statement import Statement
from cdp.engine import Engine, connect
from cdp.errors import UsageError
from cdp.project.load import Project
from cdp.spec.activation import Environment
from cdp.spec.policy import Role
from tests import random_rows
from tests.random_rows import Rows
from tests.random_segments import Grammar, text
from tests.random_worlds import Segments, arrow, base_model, by_engine
from tests.slow_evaluator import Here, World

EXAMPLES = int(os.environ.get("CDP_RANDOM_EXAMPLES", "0"))
MODEL = base_model()
# Rows compared with rows around them, and groups of rows, make statements that take seconds to plan; with examples asked for they are in.
GRAMMAR = Grammar(MODEL, frozenset() if EXAMPLES else frozenset({"correlated", "relation bp_days"}))
RANDOM = settings(
    max_examples=EXAMPLES or 8,
    derandomize=not EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
    database=None,
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = connect(Environment(engine="sail", lakehouse="lake"), root=tmp_path_factory.mktemp("explore"))
    yield engine
    engine.close()


@dataclass
class OnRows:
    """An engine whose tables are rows of this test, as temporary views."""

    engine: Engine
    project: Project
    rows: Rows
    names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = {entity.table: name for name, entity in self.project.entities.items() if entity.table}
        for name in self.names.values():
            self.engine.view(f"random_{name}", arrow(self.project, name, self.rows.get(name) or [{}]))

    def register(self, tables: Sequence[str]) -> None:
        assert {*tables} <= {*self.names}, "a statement says which tables it reads"

    def exists(self, table: str) -> bool:
        return table in self.names

    def query(self, statement: exp.Expression, *_: object, what: str = "") -> Any:
        return self.engine.query(statement.copy().transform(self._replaced), what=what)

    def _replaced(self, node: exp.Expression) -> exp.Expression:
        if not isinstance(node, exp.Table) or not node.db:
            return node
        name = self.names[f"{node.db}.{node.name}"]
        view = exp.select("*").from_(f"random_{name}")
        return exp.Subquery(this=view if self.rows.get(name) else view.where("FALSE"), alias=node.args.get("alias") or node.name)


@st.composite
def worlds(draw: st.DrawFn, segments: int) -> Any:
    now = draw(random_rows.clocks())
    trees = draw(st.lists(GRAMMAR.conditions("patient"), min_size=segments, max_size=segments))
    return now, draw(random_rows.tables(MODEL, now)), trees


def _written(trees: Sequence[Any], folder: str) -> Segments:
    segments = Segments.written(Path(folder), [text(tree) for tree in trees])
    assume(segments.texts)
    return segments


def _keys(rows: Rows) -> list[str]:
    return [row["patient_id"] for row in rows["patient"] if row.get("patient_id") is not None]


@RANDOM
@given(world=worlds(4))
def test_a_verdict_is_the_segments_own_sql(engine: Engine, world: Any) -> None:
    now, rows, trees = world
    with tempfile.TemporaryDirectory() as folder:
        segments = _written(trees, folder)
    on = OnRows(engine, segments.project, rows)
    members = by_engine(engine, segments, rows, now)
    sight = Sight.of(segments.project, None, "uid:0")
    for name in segments.texts:
        for key in _keys(rows)[:4]:
            told = explain(segments.project, on, name, key, clock=Clock(now), sight=sight)  # type: ignore[arg-type]
            assert told.member == (key in members[name]), (segments.texts[name], key)
            assert told.tree[0].holds == told.member
            assert all(value.value is None or not value.hidden for each in told.tree for value in each.values)


@RANDOM
@given(world=worlds(2))
def test_the_day_of_the_turn_is_the_first_day_on_which_it_turns(engine: Engine, world: Any) -> None:
    """Every day of the horizon is asked of the slow evaluator, which knows nothing of bounds that pass days."""
    now, rows, trees = world
    with tempfile.TemporaryDirectory() as folder:
        segments = _written(trees, folder)
    project, on = segments.project, OnRows(engine, segments.project, rows)
    ahead = [now.date() + dt.timedelta(days=n) for n in range(1, HORIZON + 1)]
    held = [World(segments.model, rows, dt.datetime.combine(day, dt.time.max, now.tzinfo)) for day in ahead]
    for name in segments.texts:
        tree, term = segments.model.segments[name]["where"], project.bound.segments[name]
        for key in _keys(rows)[:3]:
            member = _holds(World(segments.model, rows, now), key, tree)
            who = subject(project.entities["patient"], key)
            found = next_turn(project, on, term, who, clock=Clock(now), now=member)  # type: ignore[arg-type]
            days = zip(ahead[: found.within], held, strict=False)
            turns = next((day for day, world in days if _holds(world, key, tree) != member), None)
            assert found.day == turns, f"{segments.texts[name]} of {key} in {rows} as of {now}"


def _holds(world: World, key: str, tree: Any) -> bool:
    return any(world.holds(Here(row, "patient"), tree) for row in world.rows("patient") if row.get("patient_id") == key)


@RANDOM
@given(world=worlds(4))
def test_a_funnel_ends_with_the_members(engine: Engine, world: Any) -> None:
    now, rows, trees = world
    with tempfile.TemporaryDirectory() as folder:
        segments = _written(trees, folder)
    project = segments.project
    census = Census(Statement(project, project.entities["patient"], Clock(now)))
    funnels = [funnel(name, project) for name in segments.texts]
    for each in funnels:
        census.count(each)
    both = census.common(funnels)
    found = census.read(OnRows(engine, project, rows).query(census.query().select).to_pylist()).crowds
    members = by_engine(engine, segments, rows, now)
    people = {row["patient_id"] for row in rows["patient"]}
    for each in funnels:
        assert found[each.members] == len(members[each.segment]), segments.texts[each.segment]
        sizes = [found[step.cumulative] for step in each.steps]
        assert sizes == sorted(sizes, reverse=True)
        assert all(found[step.cumulative] <= found[step.alone] <= len(people) for step in each.steps)
        for step in each.steps:
            assert not step.branches or found[step.branches[-1].cumulative] == found[step.alone]
    assert found[both] == len(set.intersection(*(members[name] for name in segments.texts)))


# -- rows written by hand ------------------------------------------------------------------------------------------------

NOW = dt.datetime(2026, 7, 2, 12, tzinfo=ZoneInfo("America/New_York"))
SYSTEM = "http://snomed.info/sct"


def _person(key: str, **values: Any) -> dict[str, Any]:
    return {"patient_id": key, "birth_date": dt.date(1970, 5, 1), **values}


def _reading(number: int, day: str, value: float | None, unit: str | None, **values: Any) -> dict[str, Any]:
    when = dt.datetime.fromisoformat(f"{day}T15:00+00:00") if day else None
    reading = {"observation_id": f"o{number}", "patient_id": "p1", "code": "4548-4", "date": when, "unit": unit}
    return {**reading, "value": None if value is None else Decimal(str(value)), **values}


def _world(engine: Engine, where: str, rows: Rows) -> tuple[Project, OnRows]:
    with tempfile.TemporaryDirectory() as folder:
        project = Segments.written(Path(folder), [where]).project
    return project, OnRows(engine, project, rows)


def _ignored(engine: Engine, where: str, **rows: Any) -> dict[tuple[str, str], str]:
    project, on = _world(engine, where, {"patient": [_person(f"p{n}") for n in range(1, 15)], **rows})
    exact = Sight(Sight.of(project, None, "uid:0").governor, "exact", Role(exact_counts=True))
    asked = Asked(["s0"])
    found = preview(project, on, asked, clock=Clock(NOW), sight=exact, control="cdp").populations[0]  # type: ignore[arg-type]
    return {(each.why, each.counted): str(each.number) for each in found.ignored}


def test_rows_of_unknown_units_and_without_a_date_are_counted(engine: Engine) -> None:
    readings = [
        _reading(1, "2026-06-01", 9.5, "%"),
        _reading(2, "2026-06-02", 9.5, "percent"),
        _reading(3, "2026-06-03", 80, "mmol/mol"),
        _reading(4, "2026-06-04", 9.5, None),
        _reading(5, "2026-06-05", None, None),  # no value, so its unit does not matter
        _reading(6, "2026-06-06", 80, "mmol/mol", code="29463-7"),  # another code
        _reading(7, "", 9.5, "%"),
    ]
    where = "{has: observations, where: {code: {in: hba1c}, value: {gt: 9 %}}, within: {months: 6}}"
    assert _ignored(engine, where, observation=readings) == {("unknown unit", "rows"): "2", ("no date", "rows"): "1"}


def test_the_unit_of_the_value_that_is_compared_counts_too(engine: Engine) -> None:
    readings = [_reading(1, "2026-06-01", 80, "mmol/mol"), _reading(2, "2026-06-02", 9.5, "%")]
    where = "{latest: observations, where: {code: {in: hba1c}}, of: value, is: {gt: 9 %}}"
    assert _ignored(engine, where, observation=readings) == {("unknown unit", "rows"): "1"}


def test_rows_without_a_code_system_are_counted(engine: Engine) -> None:
    conditions = [
        {"condition_id": f"c{n}", "patient_id": f"p{n}", "code": code, "code_system": system, "status": "active"}
        for n, (code, system) in enumerate([("44054006", SYSTEM), ("44054006", None), ("44054006", "other"), ("1", None)], 1)
    ]
    where = "{has: conditions, where: {code: {in: diabetes}}}"
    assert _ignored(engine, where, condition=conditions) == {("no code system", "rows"): "1"}


def test_people_whose_row_was_picked_by_its_key_alone_are_counted(engine: Engine) -> None:
    readings = [
        _reading(1, "2026-06-01", 7, "%"),
        _reading(2, "2026-06-01", 8, "%"),  # p1: the same moment
        _reading(3, "2026-06-01", 7, "%", patient_id="p2"),
        _reading(4, "2026-06-02", 8, "%", patient_id="p2"),  # p2: a later one
        _reading(5, "2026-05-01", 7, "%", patient_id="p3"),
        _reading(6, "2026-05-01", 7, "%", patient_id="p3"),
        _reading(7, "2026-06-02", 8, "%", patient_id="p3"),  # p3: the tie is not the latest
    ]
    tied = "{latest: observations, where: {code: {in: hba1c}}, is: {value: {gt: 9 %}}}"
    assert _ignored(engine, tied, observation=readings)[("picked by the key alone", "people")] == "1"
    settled = "{latest: observations, where: {code: {in: hba1c}}, ties: {value: lowest}, is: {value: {gt: 9 %}}}"
    assert ("picked by the key alone", "people") not in _ignored(engine, settled, observation=readings)
    earliest = "{earliest: observations, where: {code: {in: hba1c}}, is: {value: {gt: 9 %}}}"
    assert _ignored(engine, earliest, observation=readings)[("picked by the key alone", "people")] == "2"


VISIT = {"visit_id": "v", "patient_id": "p1", "day": dt.date(2026, 8, 1)}


def _told(engine: Engine, where: str, **rows: Any) -> list[tuple[str, bool, list[str], int]]:
    project, on = _world(engine, where, {"patient": [_person("p1")], **rows})
    seeing = Sight(Sight.of(project, None, "uid:0").governor, "all", Role(use="*", see="*"))
    told = explain(project, on, "s0", "p1", clock=Clock(NOW), sight=seeing)  # type: ignore[arg-type]
    return [
        (each.node.label, each.holds, [miss.text for miss in each.misses], sum(len(e.counted) for e in each.evidence)) for each in told.tree
    ]


@pytest.mark.parametrize(
    ("where", "readings", "misses"),
    [
        (
            "{has: observations, where: {code: {in: hba1c}}, within: {months: 6}}",
            [_reading(1, "2025-12-30", 7, "%"), _reading(2, "2025-10-01", 7, "%")],
            ["2 rows but for: date within the last 6 months; the nearest 3 days too early"],
        ),
        (
            "{has: observations, where: {code: {in: hba1c}}, older_than: {months: 6}}",
            [_reading(1, "2026-01-02", 7, "%")],
            ["1 row but for: date more than 6 months ago; 1 day too late"],
        ),
        (
            "{has: observations, where: {code: {in: hba1c}, value: {gt: 9 %}}, within: {months: 6}}",
            [_reading(1, "2026-06-01", 8.5, "%")],
            ["1 row but for: value above 9 %"],
        ),
        ("{count: observations, where: {code: {in: hba1c}}, is: {gte: 3}}", [_reading(1, "2026-06-01", 8.5, "%")], ["2 too few"]),
        ("{latest: observations, of: value, is: {gt: 9 %}}", [_reading(1, "2026-06-01", 8.5, "%")], ["0.5 % too little for more than 9 %"]),
        ("{has: observations, where: {code: {in: hba1c}}}", [], []),
    ],
)
def test_how_far_a_person_was_from_it(engine: Engine, where: str, readings: list[dict[str, Any]], misses: list[str]) -> None:
    ((_, holds, texts, _),) = _told(engine, where, observation=readings)
    assert not holds
    assert texts == misses


def test_under_not_stands_what_held(engine: Engine) -> None:
    where = "{lacks: observations, where: {code: {in: hba1c}}, within: {months: 6}}"
    ((label, holds, misses, counted),) = _told(engine, where, observation=[_reading(1, "2026-06-01", 7, "%")])
    assert (label.startswith("lacks observations"), holds, misses, counted) == (True, False, [], 1)


def test_what_looks_at_the_row_around_is_asked_of_a_row_alone(engine: Engine) -> None:
    """The birth date is the person's, asked of each reading over a relation back."""
    where = "{has: observations, where: {code: {in: hba1c}}, after: birth_date + 55 years}"
    readings = [_reading(1, "2025-05-02", 7, "%"), _reading(2, "2025-05-01", 7, "%")]
    ((_, holds, misses, counted),) = _told(engine, where, observation=readings)
    assert (holds, counted, len(misses)) == (True, 1, 0)
    ((_, holds, misses, counted),) = _told(engine, where, observation=readings[1:])
    assert (holds, counted) == (False, 0)
    assert misses[0].startswith("1 row but for: ")


@pytest.mark.parametrize(
    ("where", "rows", "day"),
    [
        ("{age: {gte: 57}}", {}, "2027-05-01"),
        ("{age: {lt: 57}}", {}, "2027-05-01"),
        ("{age: {gte: 58}}", {}, None),
        (
            "{lacks: observations, within: {months: 6}}",
            {"observation": [_reading(1, "2026-06-30", 7, "%")]},
            "2027-01-01",
        ),
        (
            "{has: visits, upcoming: {days: 7}}",
            {"visit": [{"visit_id": "v", "patient_id": "p1", "day": dt.date(2026, 8, 1)}]},
            "2026-07-25",
        ),
        ("{birth_date: {anniversary: {upcoming: {days: 7}}}}", {}, "2027-04-24"),
        ("{has: observations, during: measurement_year}", {"observation": [_reading(1, "2026-06-30", 7, "%")]}, "2027-01-01"),
    ],
)
def test_the_day_on_which_it_turns_by_itself(engine: Engine, where: str, rows: Any, day: str | None) -> None:
    project, on = _world(engine, where, {"patient": [_person("p1")], **rows})
    told = explain(project, on, "s0", "p1", clock=Clock(NOW), sight=Sight.of(project, None, "uid:0"))  # type: ignore[arg-type]
    assert told.turn.day == (dt.date.fromisoformat(day) if day else None)


def test_nobody_has_this_key(engine: Engine) -> None:
    project, on = _world(engine, "{age: {gte: 57}}", {"patient": [_person("p1")]})
    with pytest.raises(UsageError, match="there is no patient with this key"):
        explain(project, on, "s0", "p2", clock=Clock(NOW), sight=Sight.of(project, None, "uid:0"))  # type: ignore[arg-type]
