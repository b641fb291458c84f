"""Guards against past runs and while a plan is applied, and what a person accepts of a plan, on the embedded engine."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from cdp.connectors.base import Batch, Receipts
from cdp.engine import Engine
from cdp.errors import GuardError
from cdp.spec.activation import Guards
from cdp.sync import acceptance
from cdp.sync.history import list_runs, run_detail
from cdp.sync.ledger import Control
from cdp.sync.plan import load_plan
from tests.conformance.world import World, people


def limits(**given: Any) -> Guards:
    return Guards.model_validate({"empty": "allow", **given})


@pytest.fixture
def world(engine: Engine, tmp_path: Path) -> World:
    return World.fresh(engine, tmp_path, values=("email",))


def test_a_segment_far_from_its_usual_size_stops_until_it_is_accepted_and_only_with_these_numbers(world: World) -> None:
    world.guards = limits(unusual_size="50%")
    for size in (20, 20, 21, 19, 20):
        world.load(people(size))
        world.sync()
    world.load(people(8))
    plan = world.plan()
    (violation,) = plan.guards
    assert str(violation) == "unusual_size: at most 0.5 from 20, the median of the last 5 runs, found 8"
    with pytest.raises(GuardError, match="found 8") as refused:
        world.apply(plan)
    assert "--accept-guard unusual_size" in refused.value.fix

    control = Control(world.engine, world.control)
    assert acceptance.pending(control, plan, ["max_add"]) == ()
    acceptance.accept(control, plan, acceptance.pending(control, plan, ["unusual_size", "max_add"]), world.now)
    assert acceptance.pending(control, plan, ["unusual_size"]) == ()
    assert acceptance.left(control, plan) == ()
    world.load(people(7))
    other = world.plan()
    assert acceptance.left(control, other) == other.guards  # another plan, other numbers
    run = world.apply(load_plan(world.engine, world.control, plan.id))
    assert (run.status, len(world.channel.rows)) == ("succeeded", 8)
    (entry,) = run_detail(world.engine, world.control, run.run)["accepted"]
    assert (entry["by"], entry["guards"]) == (world.engine.whoami(), [violation.as_json()])
    assert dt.datetime.fromisoformat(entry["at"]) < world.now


def test_who_is_kept_out_is_taken_off_whatever_size_the_segment_has(world: World) -> None:
    world.guards = limits(unusual_size="50%", max_invalid=0, max_failed=0)
    for _ in range(5):
        world.load(people(10))
        world.sync()
    world.load({number: row | {"consent": number > 8} for number, row in people(10).items()} | {2: people(2)[2]})
    plan = world.plan(only="kept_out")
    assert (plan.counts["remove"], plan.guards, plan.max_failed) == (7, (), None)
    assert world.apply(plan).delivered == 7


def test_invalid_rows_and_dropped_ones_are_held_against_one_limit(world: World) -> None:
    world.quality = ({"expect_column_values_to_not_be_null": {"column": "email"}, "otherwise": "drop"},)
    world.guards = limits(max_invalid="10%")
    clinic = people(20)
    clinic[1]["patient_id"] = None
    clinic[2]["email"] = None
    world.load(clinic)
    assert world.plan().guards == ()
    clinic[3]["email"] = None
    world.load(clinic)
    plan = world.plan()
    assert [str(each) for each in plan.guards] == ["max_invalid: at most 0.1 of the 20 who may be told, found 3"]


def _rejects(batch: Batch) -> Receipts:
    return Receipts.all(len(batch), "rejected", "blocked")


def test_a_channel_that_rejects_too_much_ends_the_delivery_which_says_so(world: World) -> None:
    world.guards, world.channel.concurrency, world.channel.size = limits(max_failed=4), 1, 3
    world.load(people(30))
    world.channel.answers = [_rejects] * 10
    plan = world.plan()
    with pytest.raises(GuardError, match=r"delivery of letters stopped: max_failed: at most 4 rows, found 6"):
        world.apply(plan)
    (run,) = list_runs(world.engine, world.control)
    assert (run["status"], run["delivered"], run["rejected"], run["retryable"]) == ("failed", 0, 6, 24)
    assert run_detail(world.engine, world.control, run["run"])["error"]["error"] == "GuardError"

    world.channel.answers = [_rejects] * 10
    plan, control = world.plan(), Control(world.engine, world.control)
    acceptance.accept(control, plan, acceptance.pending(control, plan, ["max_failed"]), world.now)
    done = world.apply(plan)
    assert (done.rejected, done.delivered) == (30, 0)
