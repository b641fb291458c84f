"""Plans that only remove, on the embedded engine: what they hold back, whom they take off, and when they may be applied. attack 39"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from cdp.engine import Engine
from cdp.errors import DataError, EngineError, GuardError, RefusedError, StaleError
from cdp.spec.activation import Guards
from cdp.sync.plan import Plan, load_plan
from tests.conformance.world import NOW, REFUSALS, World, patient, people


@pytest.fixture
def world(engine: Engine, tmp_path: Path) -> World:
    """Eight people are held; then one has left the segment, one is dead, one revoked, one moved and one is new."""
    made = World.fresh(engine, tmp_path)
    made.load(people(8))
    made.sync()
    clinic = people(9)
    clinic[1]["member"] = False
    clinic[2]["deceased"] = True
    clinic[3]["consent"] = False
    clinic[4]["email"] = "new@example.org"
    made.load(clinic)
    made.channel.batches.clear()
    return made


def held(world: World) -> set[int]:
    return {int(key[0][1:]) for key in world.channel.rows}


def counts(plan: Plan) -> dict[str, int]:
    return {name: count for name, count in plan.counts.items() if count}


def test_whoever_should_no_longer_be_there_goes_and_all_else_is_held_back(world: World) -> None:
    world.removals = "left"
    plan, run = world.sync()
    assert counts(plan) == {"remove": 3, "unchanged": 4, "held_back": 2}
    assert (plan.size, plan.excluded) == (8, (("deceased", 1), ("no_consent", 1)))
    assert (run.status, run.delivered, held(world)) == ("succeeded", 3, {4, 5, 6, 7, 8})
    assert {batch.op for batch in world.channel.batches} == {"remove"}
    assert world.channel.rows[("p004",)]["email"] == "p4@example.org"


def test_of_a_sync_that_is_allowed_removals_may_go_alone_and_the_rest_by_the_next_plan(world: World) -> None:
    plan = world.plan(only="left")
    assert (plan.removals_only, plan.refusals, counts(plan)) == (True, (), {"remove": 3, "unchanged": 4, "held_back": 2})
    world.apply(plan)
    assert held(world) == {4, 5, 6, 7, 8}
    assert counts(world.sync()[0]) == {"add": 1, "change": 1, "unchanged": 4}
    assert held(world) == {4, 5, 6, 7, 8, 9}


def test_who_left_a_segment_that_may_not_be_known_stays_and_whom_a_rule_keeps_out_goes(world: World) -> None:
    world.removals = "kept_out"
    plan, _ = world.sync()
    assert (counts(plan), plan.size) == ({"remove": 2, "unchanged": 6}, 0)
    assert held(world) == {1, 4, 5, 6, 7, 8}


def test_a_segment_that_may_not_be_known_is_not_read(world: World) -> None:
    select = world.governed().select.sql("spark")
    world.select = f"SELECT *, IF(_subject = 'p005', RAISE_ERROR('read'), CAST(NULL AS STRING)) AS `x` FROM ({select}) AS q"
    world.values = (*world.values, "x")
    world.removals = "left"
    with pytest.raises(EngineError):
        world.plan()
    world.removals = "kept_out"
    assert counts(world.plan()) == {"remove": 2, "unchanged": 6}


def test_everyone_goes_at_the_end_whatever_the_guards_and_the_consents_age(world: World) -> None:
    world.removals, world.consented = "everyone", False
    world.guards = Guards(max_remove=1, empty="refuse")  # type: ignore[arg-type]
    world.load([], recorded=NOW - dt.timedelta(days=9))
    plan, run = world.sync()
    assert (counts(plan), plan.guards, run.status, world.channel.rows) == ({"remove": 8}, (), "succeeded", {})
    assert counts(world.plan()) == {}  # and once they are gone there is nothing left to do


def test_guards_and_the_age_of_the_consent_hold_for_removals_that_became_necessary(world: World) -> None:
    world.removals, world.guards = "left", Guards(max_remove=2, empty="allow")  # type: ignore[arg-type]
    with pytest.raises(GuardError, match="max_remove"):
        world.sync()
    world.load(people(8), recorded=NOW - dt.timedelta(days=9))
    with pytest.raises(DataError, match="last recorded"):
        world.sync()


def test_a_guard_does_not_hold_back_whom_a_rule_keeps_out(world: World) -> None:
    world.guards = Guards(max_remove=1, empty="refuse")  # type: ignore[arg-type]
    with pytest.raises(GuardError, match="max_remove"):
        world.sync()
    plan = world.plan(only="kept_out")
    assert (counts(plan), plan.guards) == ({"remove": 2, "unchanged": 6}, ())
    assert world.apply(plan).delivered == 2
    assert held(world) == {1, 4, 5, 6, 7, 8}
    assert world.sync()[0].counts["remove"] == 1


@pytest.mark.parametrize("mode", ["upsert", "update", "insert"])
def test_other_modes_than_mirror_remove_nobody(world: World, mode: str) -> None:
    world.mode = mode
    plan = world.plan(only="left")
    assert (plan.counts["remove"], plan.rows, plan.counts["held_back"] > 0) == (0, 0, True)


def test_why_it_only_removes_is_stored_and_part_of_the_digest(world: World) -> None:
    world.removals = "left"
    plan = world.plan()
    assert load_plan(world.engine, world.control, plan.id) == plan
    assert plan.refusals == REFUSALS
    shown = plan.as_json()
    assert (shown["removals_only"], shown["removals"], shown["refusals"]) == (True, "left", [REFUSALS[0].as_json()])
    assert {name: plan.facts()[name] for name in ("removals_only", "removals", "refusals")}.items() <= shown.items()


@pytest.mark.parametrize(
    ("planned", "now", "error"),
    [
        (None, "left", RefusedError),  # the agreement ended since
        ("left", "kept_out", RefusedError),  # by now the segment may not be known
        ("left", "everyone", RefusedError),
        ("everyone", None, StaleError),  # it was renewed
    ],
)
def test_a_plan_is_not_applied_when_by_now_others_may_go(world: World, planned: Any, now: Any, error: type[Exception]) -> None:
    world.removals = planned
    plan = world.plan()
    world.removals = now
    with pytest.raises(error, match=r"ended on 2026-06-30|agreement that is in force"):
        world.apply(plan)
    assert held(world) == {1, 2, 3, 4, 5, 6, 7, 8}


@pytest.mark.parametrize("planned", ["left", "kept_out"])
def test_removals_that_were_necessary_may_go_when_the_sync_is_allowed_again(world: World, planned: Any) -> None:
    world.removals = planned
    plan = world.plan()
    world.removals = None
    world.apply(plan)
    assert {2, 3}.isdisjoint(held(world))


def test_who_may_not_be_told_by_now_is_taken_off_all_the_same(world: World) -> None:
    world.removals = "left"
    plan = world.plan()
    world.load({**people(9), 1: patient(1, member=False, consent=False), 2: patient(2, deceased=True), 3: patient(3, deceased=True)})
    assert (world.apply(plan).withheld, held(world)) == (0, {4, 5, 6, 7, 8})
