"""The disclosure ledger: what stands in it, and that no change of it goes unnoticed. attack 44"""

from __future__ import annotations

import datetime as dt
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cdp.connectors.base import Batch, Receipts
from cdp.engine import Engine
from cdp.errors import BusyError
from cdp.sync import diff, lease
from cdp.sync.ledger import Control, chain, verify
from cdp.sync.ledger.accounting import Asked, disclosures, kept
from cdp.sync.ledger.disclosure import Disclosures
from cdp.sync.ledger.verify import Bad, Checked
from tests.conformance.world import World, patient, people, told

LINE, BLOCK = "kind = 'line' AND block = 2 AND key = 'p003'", "kind = 'block' AND block = 2"


def made(engine: Engine, root: Path) -> World:
    return World.fresh(engine, root, values=("email",))


@pytest.fixture
def world(engine: Engine, tmp_path: Path) -> World:
    return made(engine, tmp_path)


@pytest.fixture(scope="module")
def story(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Four blocks of one sync: five people come, all change their address twice, and two are taken off."""
    world = made(engine, tmp_path_factory.mktemp("story"))
    clinic = people(5)
    for turn in ("a", "b", "c"):
        for number in clinic:
            clinic[number]["email"] = f"{turn}{number}@example.org"
        world.load(clinic)
        world.sync()
    world.load({number: clinic[number] for number in (1, 2, 3)})
    world.sync()
    return world


@pytest.fixture
def copied(story: World) -> Control:
    """A ledger of one's own to tamper with."""
    return copy(story)


def copy(story: World) -> Control:
    schema = f"{story.control}_{uuid.uuid4().hex[:6]}"
    lake = story.engine.lakehouse
    assert lake
    for table in ("disclosures", "runs"):
        shutil.copytree(lake / story.control / table, lake / schema / table)
    return Control(story.engine, schema)


def change(control: Control, statement: str) -> None:
    control.engine.execute(statement.format(t=control.table("disclosures")))


def checked(control: Control, *heads: Any) -> Checked:
    """What is found of the one sync; rows that were moved to another name are another sync's."""
    found = list(verify.verify(control, heads))
    return next((one for one in found if one.bad), found[0])


def bad(control: Control, *heads: Any) -> Bad:
    found = checked(control, *heads).bad
    assert found
    return found


# -- what stands in it -------------------------------------------------------------------------------------------------


def test_a_line_says_who_was_told_what_by_whom_under_which_agreement(story: World) -> None:
    first, *_ = told(story, "p003")
    assert {name: first[name] for name in ("person", "key", "op", "sync", "destination", "agreement", "counterparty", "purpose")} == {
        "person": "p003",
        "key": "p003",
        "op": "add",
        "sync": "letters",
        "destination": "mailer",
        "agreement": "mailer_baa",
        "counterparty": "Mailer",
        "purpose": "care",
    }
    assert (first["classes"], first["columns"]) == (["contact.email", "member"], ["patient_id", "email"])
    assert (first["accounting"], first["exempt_under"], first["approver"]) == ("accountable", None, None)


def test_no_value_of_a_row_stands_in_it(story: World) -> None:
    rows = story.engine.query(f"SELECT * FROM {story.control}.disclosures").to_pylist()
    assert "@example.org" not in str(rows)


def test_every_row_is_there_whatever_its_receipt(world: World) -> None:
    """attack 41"""
    world.load(people(6))
    world.channel.size = 2
    answers = ("delivered", "rejected", "retryable")
    world.channel.answers = [lambda b, s=s: Receipts.all(len(b), s, "code") for s in answers]  # type: ignore[misc]
    _, run = world.sync()
    assert (run.delivered, run.rejected, run.retryable) == (2, 2, 2)
    assert checked(Control(world.engine, world.control)).lines == 6


def test_what_is_exempt_is_not_in_the_accounting_and_days_bound_it(world: World) -> None:
    world.load(people(2))
    start = world.now
    world.sync()
    world.exempt_under = "164.528(a)(1)(i)"
    world.load({1: patient(1, email="new@example.org"), 2: patient(2)})
    world.sync()
    control = Control(world.engine, world.control)
    assert [(line["accounting"], line["exempt_under"]) for line in told(world, "p001")] == [
        ("accountable", None),
        ("exempt", "164.528(a)(1)(i)"),
    ]
    assert [line["op"] for line in disclosures(control, Asked("p001", accountable=True))] == ["add"]
    later = start + dt.timedelta(minutes=3)
    assert [line["op"] for line in disclosures(control, Asked("p001", since=later))] == ["change"]
    assert [line["op"] for line in disclosures(control, Asked("p001", until=later))] == ["add"]
    (held,) = kept(control)
    assert (held["lines"], held["accountable"], held["keep_until"]) == (3, 2, "2032-07-01")


def test_the_order_of_lines_is_not_told_and_digests_are_salted(world: World) -> None:
    """The same line in two blocks has two digests, so that who holds a head cannot try out names."""
    control, query = Control(world.engine, world.control), world.governed()
    lines = Disclosures(control, query, "run1", "plan1", None, lambda: world.now)
    for chunk in (0, 1):
        lines.write(chunk, "upsert", rows("p001"))
    blocks = control.engine.query(f"SELECT salt, root FROM {control.table('disclosures')} WHERE kind = 'block'").to_pylist()
    assert len({block["salt"] for block in blocks}) == len({block["root"] for block in blocks}) == 2
    assert all(len(block["salt"]) == 32 for block in blocks)


def test_plans_and_lines_are_for_the_owner_and_the_group_alone(story: World) -> None:
    """attack 10: and a plan's rows are gone once it was applied"""
    lake = story.engine.lakehouse
    assert lake
    assert (lake / story.control).stat().st_mode & 0o007 == 0
    assert [name for name in story.engine.tables(story.control) if name.startswith("plan_")] == []


# -- tampering ---------------------------------------------------------------------------------------------------------


def test_what_nobody_touched_is_as_it_was_written(story: World) -> None:
    found = checked(Control(story.engine, story.control))
    assert (found.blocks, found.lines, found.bad, [head.block for head in found.heads]) == (4, 17, None, [4])
    assert checked(Control(story.engine, story.control), *found.heads).bad is None


@pytest.mark.parametrize("row", [LINE, BLOCK], ids=["line", "block"])
@pytest.mark.parametrize("way", ["another", "null"])
def test_a_change_of_any_field_is_found(story: World, row: str, way: str) -> None:
    others = {"string": "CONCAT(COALESCE({c}, ''), 'x')", "timestamp": "{c} + INTERVAL 1 MICROSECOND"}
    missed = []
    for column, kind in Control(story.engine, story.control).types("disclosures").items():
        control = copy(story)
        new = f"CAST(NULL AS {kind})" if way == "null" else others.get(kind, "COALESCE({c}, 0) + 1").format(c=f"`{column}`")
        same = control.engine.value(f"SELECT MAX({new} <=> `{column}`) FROM {control.table('disclosures')} WHERE {row}")
        if same:
            continue
        change(control, f"UPDATE {{t}} SET `{column}` = {new} WHERE {row}")
        if checked(control).bad is None:
            missed.append(column)
    assert missed == []


@pytest.mark.parametrize(
    ("statement", "block", "what"),
    [
        (f"DELETE FROM {{t}} WHERE {LINE}", 2, "it has 4 lines; 5 were written"),
        (f"INSERT INTO {{t}} SELECT * FROM {{t}} WHERE {LINE}", 2, "it has 6 lines; 5 were written"),
        ("UPDATE {t} SET block = 3 WHERE " + LINE, 2, "it has 4 lines; 5 were written"),
        ("UPDATE {t} SET person = CASE key WHEN 'p003' THEN 'p001' ELSE 'p003' END WHERE kind = 'line' AND block = 2 "
         "AND key IN ('p001', 'p003')", 2, "its lines are not those that were written"),
        ("UPDATE {t} SET block = CASE block WHEN 2 THEN 3 ELSE 2 END WHERE block IN (2, 3)", 2, "the block itself was changed"),
        (f"DELETE FROM {{t}} WHERE {BLOCK}", 2, "the block is gone"),
        ("DELETE FROM {t} WHERE block = 2", 2, "the block is gone"),
        ("DELETE FROM {t} WHERE block = 1", 1, "the block is gone"),
        (f"INSERT INTO {{t}} SELECT * FROM {{t}} WHERE {BLOCK}", 2, "the block is there twice"),
        ("INSERT INTO {t} SELECT * FROM {t} WHERE block = 2", 2, "the block is there twice"),
        ("DELETE FROM {t} WHERE kind = 'block' AND block = 4", 4, "2 rows of no block"),
        ("DELETE FROM {t} WHERE kind = 'block'", 1, "17 rows of no block"),
        (f"UPDATE {{t}} SET block = 99 WHERE {LINE}", 2, "it has 4 lines; 5 were written"),
    ],
)  # fmt: skip
def test_what_is_taken_away_put_in_or_moved_is_found_at_the_first_place(copied: Control, statement: str, block: int, what: str) -> None:
    change(copied, statement)
    found = bad(copied)
    assert (found.sync, found.block, found.what) == ("letters", block, what)


def test_the_first_bad_block_is_named_with_its_run_and_time(copied: Control) -> None:
    change(copied, "UPDATE {t} SET purpose = 'marketing' WHERE block >= 3")
    rows = copied.engine.query(f"SELECT run, at FROM {copied.table('disclosures')} WHERE kind = 'block' AND block = 3").to_pylist()
    found = bad(copied)
    assert (found.block, found.run, found.at) == (3, rows[0]["run"], rows[0]["at"].isoformat())


def test_an_end_that_is_cut_off_shows_only_against_a_head(copied: Control) -> None:
    head = checked(copied).heads[0]
    change(copied, "DELETE FROM {t} WHERE block = 4")
    assert checked(copied).bad is None
    assert "ends at block 3; the head is of block 4" in bad(copied, head).what
    change(copied, "DELETE FROM {t} WHERE block >= 1")
    assert list(verify.verify(copied)) == []
    assert "ends at block 0" in bad(copied, head).what


def test_a_ledger_that_its_writer_wrote_anew_shows_only_against_a_head(copied: Control, story: World) -> None:
    head = checked(copied).heads[0]
    change(copied, "DELETE FROM {t} WHERE block >= 3")
    again = Disclosures(copied, story.governed(), "run9", "plan9", None, lambda: story.now)
    again.write(0, "upsert", rows("p001"))
    again.write(1, "upsert", rows("p002"))
    assert checked(copied).bad is None
    found = bad(copied, head)
    assert (found.block, found.what) == (4, "the head is of another block of this number: the ledger was rewritten")


def test_a_block_beside_the_chain_is_found_where_no_run_lost_its_lease(copied: Control, story: World) -> None:
    """Its hashes are right; but nobody who held the sync can have written it."""
    forged = Disclosures(copied, story.governed(), "forged", "plan9", None, lambda: story.now)
    blocks = copied.engine.query(f"{chain.blocks(copied, 'letters')} AND block = 2").to_pylist()
    forged._number, forged._ends = 2, [blocks[0]["hash"]]
    forged.write(0, "upsert", rows("p001"))
    found = bad(copied)
    assert (found.block, "beside another block" in found.what) == (3, True)


def test_many_blocks_of_several_lines_are_checked_together(world: World) -> None:
    control, count = Control(world.engine, world.control), 30
    for run in range(3):
        lines = Disclosures(control, world.governed(), f"run{run}", "plan", None, lambda: world.now)
        for chunk in range(count // 3):
            lines.write(chunk, "upsert", rows(*(f"p{run}{chunk}{n}" for n in range(chunk + 1))))
    found = checked(control)
    assert (found.blocks, found.lines, found.bad) == (count, 3 * 55, None)
    change(control, "UPDATE {t} SET number = 3 - number WHERE kind = 'line' AND run = 'run1' AND chunk = 3")
    assert (bad(control).block, bad(control).run) == (14, "run1")


@pytest.mark.parametrize(("page", "window"), [(1, 1), (2, 6), (3, 1_000)])
def test_pages_and_windows_find_the_same(copied: Control, page: int, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "PAGE", page)
    monkeypatch.setattr(verify, "WINDOW", window)
    found = checked(copied)
    assert (found.blocks, found.lines, found.bad) == (4, 17, None)
    assert checked(copied, *found.heads).bad is None
    change(copied, "UPDATE {t} SET op = 'change' WHERE kind = 'line' AND block = 4")
    assert bad(copied).block == 4


def test_each_sync_has_a_chain_of_its_own(world: World) -> None:
    world.load(people(2))
    world.sync()
    other = World(world.engine, world.schema, world.control, world.root, name="calls", now=world.now, values=("email",))
    other.sync()
    control = Control(world.engine, world.control)
    assert [(one.sync, one.blocks, one.lines, one.bad) for one in verify.verify(control)] == [
        ("calls", 1, 2, None),
        ("letters", 1, 2, None),
    ]
    change(control, "UPDATE {t} SET sync = 'calls' WHERE sync = 'letters' AND kind = 'line' AND key = 'p001'")
    assert [one.bad and one.bad.sync for one in verify.verify(control)] == ["calls", "letters"]


# -- runs side by side, and ends ---------------------------------------------------------------------------------------


def rows(*names: str) -> pa.Table:
    """Rows of a plan as `write` reads them."""
    count = len(names)
    own = {"_subject": list(names), "_key": list(names), "_op": ["add"] * count, "_content": [1] * count}
    return pa.table({**own, "_base": pa.nulls(count, pa.int64())})


def side_by_side(world: World, ends: Callable[[str], str]) -> Control:
    """Run 1 stands still after its first block; run 2 writes two; then run 1 goes on."""
    control, query = Control(world.engine, world.control), world.governed()
    for run in ("run1", "run2"):
        control.append("runs", [{"sync": "letters", "run": run, "n": 0, "status": ends(run), "at": world.now}])
    first = Disclosures(control, query, "run1", "plan1", None, lambda: world.now)
    first.write(0, "upsert", rows("p001"))
    second = Disclosures(control, query, "run2", "plan2", None, lambda: world.now)
    second.write(0, "upsert", rows("p002"))
    second.write(1, "upsert", rows("p003"))
    first.write(1, "upsert", rows("p004", "p005"))
    return control


def test_a_run_that_lost_its_lease_may_have_written_beside_another_and_the_next_names_both(world: World) -> None:
    control = side_by_side(world, lambda run: "failed" if run == "run1" else "succeeded")
    found = checked(control)
    assert (found.blocks, found.lines, found.bad, sorted(head.block for head in found.heads)) == (4, 5, None, [2, 3])
    third = Disclosures(control, world.governed(), "run3", "plan3", None, lambda: world.now)
    third.write(0, "upsert", rows("p006"))
    joined = checked(control)
    assert (joined.blocks, joined.bad, [head.block for head in joined.heads]) == (5, None, [4])
    assert checked(control, *found.heads).bad is None
    change(control, "DELETE FROM {t} WHERE run = 'run1' AND chunk = 1")
    assert bad(control).block == 4


def test_two_that_both_ended_well_cannot_have_written_beside_each_other(world: World) -> None:
    control = side_by_side(world, lambda run: "succeeded")
    assert "never lost the sync" in bad(control).what


def test_of_two_runs_at_once_the_one_without_the_lease_writes_nothing(world: World) -> None:
    world.load(people(8))
    plan = world.plan()
    control = Control(world.engine, world.control)
    held = lease.acquire(control, "letters", lambda: world.now)
    with pytest.raises(BusyError):
        world.apply(plan)
    assert list(verify.verify(control)) == []
    held.release()
    world.apply(plan)
    assert checked(control).lines == 8


def test_who_lost_the_lease_sends_nothing_of_what_was_disclosed_after(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff, "CHUNK_ROWS", 2)
    world.load(people(24))  # three chunks are on record before the first batch is answered
    world.channel.size, world.channel.concurrency, world.channel.delay = 1, 1, 0.05
    control = Control(world.engine, world.control)

    def robbed(batch: Batch) -> Receipts:
        lease.acquire(control, "letters", lambda: world.now + dt.timedelta(hours=1))
        return Receipts.all(len(batch), "delivered")

    world.channel.answers = [robbed]
    plan = world.plan()
    with pytest.raises(BusyError, match="lost its lease"):
        world.apply(plan)
    assert len(world.channel.batches) < 24
    assert checked(control).bad is None
