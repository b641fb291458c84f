"""Who may no longer be at a receiver: recorded by the plan that saw it first, open until a removal is delivered. attack 39"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdp.connectors.base import Batch, Receipts
from cdp.engine import Engine
from cdp.sync import diff, state
from cdp.sync import revocations as revoked
from cdp.sync.ledger import Control
from cdp.sync.revocations import revocations
from tests.conformance.doubts import die, killed
from tests.conformance.world import World, nonzero, people


@pytest.fixture
def world(engine: Engine, tmp_path: Path) -> World:
    """Eight people are held."""
    made = World.fresh(engine, tmp_path)
    made.load(people(8))
    made.sync()
    return made


def moved(world: World, **changes: dict[str, Any]) -> None:
    """The clinic with some people changed: p3={"consent": False}."""
    clinic = people(8)
    for name, change in changes.items():
        clinic[int(name[1:])] |= change
    world.load(clinic)


def listed(world: World, **options: Any) -> list[tuple[str, str, str]]:
    return [(row["person"], row["reason"], row["state"]) for row in revocations(Control(world.engine, world.control), **options)]


@pytest.mark.parametrize("many", [revoked._MANY, 0], ids=["read", "inserted"])
def test_what_is_new_is_written_down_alike_whether_or_not_it_is_read(world: World, monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    monkeypatch.setattr(revoked, "_MANY", many)
    moved(world, p1={"member": False}, p2={"deceased": True})
    world.plan()
    moved(world, p2={"deceased": True})
    plan, at = world.plan(), world.now
    table = Control(world.engine, world.control).table("revocations")
    rows = world.engine.query(f"SELECT * FROM {table} WHERE sync = 'letters' ORDER BY at, person").to_pylist()
    assert [(row["event"], row["person"], row["reason"]) for row in rows] == [
        ("due", "p001", "left_segment"),
        ("due", "p002", "deceased"),
        ("lifted", "p001", "left_segment"),
    ]
    last = rows[-1]
    assert (last["plan"], last["at"], last["destination"], last["agreement"]) == (plan.id, at, "mailer", "mailer_baa")
    assert all(row["key"] and row["base"] for row in rows)


def test_the_rule_or_the_segment_is_the_reason_and_since_is_the_first_plan(world: World) -> None:
    moved(world, p1={"member": False}, p2={"deceased": True}, p3={"consent": False, "member": False})
    world.plan()
    first = world.now
    world.plan()
    rows = revocations(Control(world.engine, world.control))
    expected = [("p001", "left_segment", "open"), ("p002", "deceased", "open"), ("p003", "no_consent", "open")]
    assert sorted(listed(world)) == expected
    assert {row["since"] for row in rows} == {first.isoformat()}
    assert {(row["sync"], row["destination"], row["agreement"], row["done"]) for row in rows} == {("letters", "mailer", "mailer_baa", None)}
    assert listed(world, sync="other") == []


def test_who_was_taken_off_is_done_and_who_comes_back_and_goes_again_is_listed_twice(world: World) -> None:
    for _ in range(2):
        moved(world, p2={"consent": False})
        world.sync()
        assert listed(world, only_open=True) == []
        moved(world)
        world.sync()
    rows = revocations(Control(world.engine, world.control))
    assert [(row["person"], row["state"]) for row in rows] == [("p002", "done")] * 2
    assert all(row["since"] < row["done"] for row in rows)
    state.fold(Control(world.engine, world.control), "letters", rows=0, share=0)
    assert listed(world) == [("p002", "no_consent", "done")] * 2


def test_a_removal_that_the_channel_does_not_take_stays_open(world: World) -> None:
    moved(world, p2={"consent": False}, p5={"deceased": True})
    keys = {"p002": "rejected", "p005": "retryable"}

    def refuses(batch: Batch) -> Receipts:
        said = [keys[row["patient_id"]] for row in batch.rows.to_pylist()]
        return Receipts(said, ["no"] * len(said))  # type: ignore[arg-type]

    world.channel.answers = [refuses]
    _, run = world.sync()
    assert (run.rejected, run.retryable) == (1, 1)
    assert {state for _, _, state in listed(world)} == {"open"}
    world.sync()
    assert {state for _, _, state in listed(world)} == {"done"}


def test_who_may_be_there_again_before_anything_was_sent_is_lifted(world: World) -> None:
    moved(world, p2={"consent": False})
    world.plan()
    moved(world)
    world.plan()
    assert listed(world) == [("p002", "no_consent", "lifted")]
    moved(world, p2={"deceased": True})
    world.plan()
    assert listed(world, only_open=True) == [("p002", "deceased", "open")]


def test_a_mode_that_removes_nobody_lists_whom_a_rule_keeps_out_and_not_who_left(world: World) -> None:
    world.mode = "upsert"
    moved(world, p1={"member": False}, p2={"consent": False})
    world.sync()
    assert listed(world) == [("p002", "no_consent", "open")]
    moved(world, p1={"member": False}, p2={"member": False})
    world.sync()
    assert listed(world) == [("p002", "no_consent", "lifted")]
    world.mode = "mirror"
    world.sync()
    assert sorted(listed(world)) == [("p001", "left_segment", "done"), ("p002", "left_segment", "done")]


def test_the_end_of_an_agreement_and_of_a_decision_are_reasons_too(world: World) -> None:
    world.told, world.when_changed = "t2", "remove"
    moved(world, p2={"consent": False})
    world.plan()
    assert sorted({(reason, state) for _, reason, state in listed(world)}) == [("decision_changed", "open"), ("no_consent", "open")]
    world.removals = "everyone"
    world.sync()
    assert {(reason, state) for _, reason, state in listed(world)} == {("agreement_ended", "done")}


def test_a_plan_for_those_whom_a_rule_keeps_out_says_nothing_about_the_others(world: World) -> None:
    moved(world, p1={"member": False}, p2={"consent": False})
    world.plan()
    world.apply(world.plan(only="kept_out"))
    assert sorted(listed(world)) == [("p001", "left_segment", "open"), ("p002", "no_consent", "done")]


def test_removals_go_first_also_across_chunks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff, "CHUNK_ROWS", 3)
    world.channel.size, world.channel.concurrency = 2, 1
    world.channel.batches.clear()
    clinic = {n: row for n, row in people(20).items() if n > 7}
    clinic[8]["consent"] = False
    world.load(clinic)
    plan, _ = world.sync()
    ops = [batch.op for batch in world.channel.batches]
    assert (plan.counts["remove"], plan.counts["add"], len(plan.chunks) > 4) == (8, 12, True)
    assert ops == ["remove"] * ops.count("remove") + ["upsert"] * ops.count("upsert")


def refused(batch: Batch) -> Receipts:
    return Receipts.all(len(batch), "rejected", "busy")


def test_who_was_on_the_wire_of_a_killed_run_is_open_until_taken_off_after_that(world: World) -> None:
    """They were there before and were taken off once: that says nothing of the time since."""
    moved(world, p1={"consent": False})
    world.sync()
    moved(world)
    world.channel.answers = [killed(world, applied=True)]
    die(world)
    moved(world, p1={"consent": False})
    world.plan()  # before anybody has settled what the killed run left
    assert listed(world) == [("p001", "no_consent", "open"), ("p001", "no_consent", "done")]
    world.channel.answers = [refused]
    world.sync()
    assert {row["person"] for row in revocations(Control(world.engine, world.control), only_open=True)} == {"p001"}
    assert ("p001",) in world.channel.rows
    world.sync()
    assert {state for _, _, state in listed(world)} == {"done"}
    assert ("p001",) not in world.channel.rows


@pytest.mark.parametrize("settled", [False, True], ids=["in doubt", "nothing in doubt"])
def test_who_was_on_the_wire_of_a_killed_run_and_may_be_there_again_is_lifted(world: World, settled: bool) -> None:
    world.load(people(9))
    world.channel.answers = [killed(world, applied=True)]
    die(world)
    clinic = people(9)
    clinic[9]["consent"] = False
    world.load(clinic)
    world.channel.answers = [refused]
    world.sync()
    assert listed(world) == [("p009", "no_consent", "open")]
    world.load(people(9))
    if settled:  # the channel, or a person, has said that they are there
        table = Control(world.engine, world.control).table("receipts")
        world.engine.execute(f"UPDATE {table} SET status = 'delivered' WHERE key = 'p009' AND op = 'add'", what=table)
    world.sync()
    world.sync()
    assert listed(world) == [("p009", "no_consent", "lifted")]


def test_who_was_due_while_it_was_in_doubt_whether_they_are_there_is_lifted_with_another_receipt(world: World) -> None:
    moved(world, p2={"consent": False})
    world.sync()
    moved(world)
    world.channel.answers = [killed(world, applied=True)]
    die(world)
    moved(world, p2={"consent": False})
    world.channel.answers = [refused]
    world.sync()  # the row of the run that was killed gets its receipt, and the removal is refused
    assert listed(world) == [("p002", "no_consent", "open"), ("p002", "no_consent", "done")]
    moved(world)
    world.sync()
    assert listed(world) == [("p002", "no_consent", "done"), ("p002", "no_consent", "lifted")]


def test_who_revokes_is_taken_off_though_others_dispute_the_key(engine: Engine, tmp_path: Path) -> None:
    world = World.fresh(engine, tmp_path, keys=("email",), values=("given_name",))
    clinic = people(5)
    world.load(clinic)
    world.sync()
    for number in (2, 3):
        clinic[number]["email"] = clinic[1]["email"]
    clinic[5]["email"] = clinic[4]["email"]
    world.load(clinic)
    world.sync()
    assert set(world.channel.rows) == {("p1@example.org",), ("p4@example.org",)}  # whose they were they still may be
    clinic[1]["consent"] = False
    world.load(clinic)
    plan, run = world.sync()
    assert nonzero(plan.counts) == {"remove": 1, "invalid": 4}
    assert (plan.size, run.status) == (5, "succeeded")
    assert set(world.channel.rows) == {("p4@example.org",)}
    assert ("p001", "no_consent", "done") in listed(world)
    assert nonzero(world.plan().counts) == {"invalid": 4}
