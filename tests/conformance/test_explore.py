"""What an analyst is shown is what the segment's own SQL says: random segments on random rows, on the embedded engine.

`CDP_RANDOM_EXAMPLES=200 pytest tests/conformance/test_explore.py` asks new ones.
"""

from __future__ import annotations

import datetime as dt
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from cdp.analyst.explore.explain import explain, subject
from cdp.analyst.explore.funnel import Census, funnel
from cdp.analyst.explore.horizon import next_turn
from cdp.analyst.explore.sight import Sight
from cdp.analyst.explore.turning import HORIZON
from cdp.compile.clock import Clock
from cdp.compile.statement import Statement
from cdp.engine import Engine
from tests import random_rows
from tests.conformance.explore import ExploreStory, OnRows
from tests.random_rows import Rows
from tests.random_segments import Grammar, text
from tests.random_worlds import Segments, base_model, by_engine
from tests.slow_evaluator import Here, World

EXAMPLES = int(os.environ.get("CDP_RANDOM_EXAMPLES", "0"))
MODEL = base_model()
# Rows compared with rows around them, and groups of rows, make statements that take seconds to plan; with examples asked for they are in.
GRAMMAR = Grammar(MODEL, frozenset() if EXAMPLES else frozenset({"correlated", "relation bp_days"}))
RANDOM = settings(
    max_examples=EXAMPLES or 6,
    derandomize=not EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
    database=None,
)


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


class TestSailExplore(ExploreStory):
    pass
