"""Rows that went out under another decision: the next plan counts them, and keeps, re-sends or removes them as the purpose says."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdp.connectors.base import Receipts
from cdp.engine import Engine
from tests.conformance.doubts import silent
from tests.conformance.world import World, nonzero, patient, people


@pytest.fixture
def world(engine: Engine, tmp_path: Path) -> World:
    made = World.fresh(engine, tmp_path)
    made.load(people(6))
    made.sync()
    return made


def some(world: World) -> None:
    """One has moved, one has left, one is new."""
    clinic = people(7)
    clinic[1]["email"] = "moved@example.org"
    clinic[2]["member"] = False
    world.load(clinic)


def test_a_renewed_agreement_or_another_rule_makes_no_row_outdated(world: World) -> None:
    world.fingerprint = "f2"
    assert world.plan().outdated == 0


def test_kept_rows_are_counted_and_nothing_else(world: World) -> None:
    some(world)
    world.told = "t2"
    plan, _ = world.sync()
    assert (plan.outdated, plan.when_changed) == (6, "keep")
    assert plan.as_json()["outdated"] == 6
    assert nonzero(plan.counts) == {"add": 1, "change": 1, "remove": 1, "unchanged": 4}
    assert world.plan().outdated == 4  # who was sent since is up to date


def test_resent_rows_are_changes_until_they_are_acknowledged(world: World) -> None:
    some(world)
    world.told, world.when_changed = "t2", "resend"
    world.channel.answers = [lambda b: Receipts.all(len(b), "delivered"), lambda b: Receipts.all(len(b), "retryable", "busy")]
    plan, run = world.sync()
    assert nonzero(plan.counts) == {"add": 1, "change": 5, "remove": 1}
    assert (plan.size, run.retryable) == (6, 3)
    plan, run = world.sync()
    assert (plan.counts["change"] + plan.counts["add"], run.delivered) == (3, 3)
    last = world.plan()
    assert (last.outdated, last.counts["change"], last.counts["unchanged"]) == (0, 0, 6)


def test_removed_rows_come_again_in_the_next_plan(world: World) -> None:
    some(world)
    world.told, world.when_changed = "t2", "remove"
    plan, _ = world.sync()
    assert nonzero(plan.counts) == {"add": 1, "remove": 6, "held_back": 5}
    assert plan.size == 6 == sum(n for name, n in plan.counts.items() if name != "remove")
    assert {key[0] for key in world.channel.rows} == {"p007"}
    plan, _ = world.sync()
    assert (plan.counts["add"], plan.outdated) == (5, 0)
    assert {key[0] for key in world.channel.rows} == {patient(n)["patient_id"] for n in (1, 3, 4, 5, 6, 7)}


def test_a_removal_without_an_answer_is_the_same_change_when_it_is_sent_again(world: World) -> None:
    """Taken for another one, it would go under another key, and its plan be stale for ever."""
    some(world)
    world.told, world.when_changed = "t2", "remove"
    world.channel.batches.clear()
    world.channel.answers = [silent]
    assert world.sync()[1].retryable == 3
    assert world.sync()[0].counts["remove"] == 3
    first, _, again = ([*batch.change_ids] for batch in world.channel.batches if batch.op == "remove")
    assert first == again


@pytest.mark.parametrize("mode", ["upsert", "insert", "update"])
def test_a_mode_that_cannot_do_it_leaves_them_and_says_so(world: World, mode: str) -> None:
    world.told, world.when_changed, world.mode = "t2", "remove", mode
    plan, _ = world.sync()
    assert (plan.outdated, plan.counts["remove"], plan.counts["unchanged"]) == (6, 0, 6)
    assert len(world.channel.rows) == 6


def test_rows_that_are_disputed_stay_as_they_are(world: World) -> None:
    world.load([*people(6).values(), patient(6)])
    world.told, world.when_changed = "t2", "resend"
    plan = world.plan()
    assert (plan.counts["change"], plan.counts["invalid"], plan.outdated) == (5, 2, 6)
