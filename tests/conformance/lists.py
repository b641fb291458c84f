"""A channel's own list told on any engine: what it says of the state, what is put on record of it, and what it cannot say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cdp.connectors.base import Egress, Target
from cdp.engine.base import Engine
from cdp.errors import BusyError, DataError, DeliveryError
from cdp.governance.query import WireMask
from cdp.spec.activation import Secret
from cdp.sync import lease, resync, state
from cdp.sync.history import list_runs
from cdp.sync.ledger import Control
from cdp.sync.ledger.verify import verify
from cdp.sync.reconcile import Compared, reconcile
from tests.conformance.doubts import die, ids, killed, sent, silent, the
from tests.conformance.world import World, nonzero, passing, people


def ask(world: World, **how: Any) -> Compared:
    query = world.governed()
    target = Target(query.destination, Egress(), "", world.root)
    return reconcile(
        query, Control(world.engine, world.control), world.channel.connector(), target, wall=lambda: world.now, sandbox=True, **how
    )


def said(compared: Compared) -> dict[str, int]:
    """What a comparison counted, without zeros and without whose it is."""
    return nonzero({name: count for name, count in compared.as_json().items() if isinstance(count, int)})


def lose(world: World, *numbers: int) -> None:
    for key in [key for key in world.channel.rows if key[0] in the(*numbers)]:
        del world.channel.rows[key]


class ListStory:
    """Every statement that a list asks of an engine. It holds on Spark too, where it takes minutes, so the gate runs it embedded."""

    @pytest.fixture
    def world(self, engine: Engine, tmp_path: Path) -> Iterator[World]:
        with passing(engine, tmp_path) as world:
            world.channel.size, world.channel.lists = 2, True
            yield world

    def test_what_the_channel_lost_is_added_and_what_others_put_there_is_left_alone(self, world: World) -> None:
        clinic = people(6)
        world.load(clinic)
        world.sync()
        clinic[6]["consent"] = False
        world.load(clinic)
        world.sync()
        row = dict(world.channel.rows["p001",])
        lose(world, 2, 3)
        world.channel.rows["p006",] = row | {"patient_id": "p006"}  # whom we took off
        world.channel.rows["x900",] = row | {"patient_id": "x900"}  # whom somebody else put there
        counts = {"listed": 5, "held": 5, "confirmed": 3, "lost": 2, "found": 1, "foreign": 1}
        assert said(ask(world)) == counts
        assert nonzero(world.plan().counts) == {"unchanged": 5}  # looking changes nothing
        assert said(ask(world, write=True)) == counts
        sent(world)
        plan, _ = world.sync()
        assert nonzero(plan.counts) == {"add": 2, "unchanged": 3, "remove": 1}
        assert sent(world) == {"p002": 1, "p003": 1}
        assert ids(world) == the(1, 2, 3, 4, 5) | {"x900"}
        control = Control(world.engine, world.control)
        assert said(ask(world)) == {"listed": 6, "held": 5, "confirmed": 5, "foreign": 1}
        run = next(run for run in list_runs(world.engine, world.control) if run["status"] == "resynced")
        body = world.engine.value(f"SELECT body FROM {world.control}.runs WHERE run = '{run['run']}'", what="runs")
        assert nonzero({n: c for n, c in json.loads(body)["resync"]["channel"].items() if isinstance(c, int)}) == counts
        # What was put on record are receipts: it stands when the state is made anew from them.
        resync.rebuild(control, "letters", lambda: world.now)
        assert nonzero(world.plan().counts) == {"unchanged": 5}
        assert all(checked.bad is None for checked in verify(control))
        assert not [table for table in world.engine.tables(world.control) if table.endswith(("_there", "_known", "_wires"))]

    def test_pseudonyms_are_known_by_the_version_under_which_they_left(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MASK_KEY", "m")
        mask = WireMask("patient_id", Secret(env="MASK_KEY"), 1, "mailer")
        world.masks = (mask,)
        world.load(people(3))
        world.sync()
        world.masks = (WireMask("patient_id", mask.secret, 2, "mailer"),)
        world.load(people(4))
        world.mode = "upsert"
        world.sync()
        assert len(world.channel.rows) == 7
        assert not ids(world) & the(1, 2, 3, 4)
        assert said(ask(world)) == {"listed": 7, "held": 7, "confirmed": 7}
        first = next(iter(world.channel.rows))  # of version 1
        del world.channel.rows[first]
        assert ask(world, write=True).lost == 1
        assert state.known(Control(world.engine, world.control), "letters").any
        assert said(ask(world)) == {"listed": 6, "held": 6, "confirmed": 6}


class WholeListStory(ListStory):
    def test_of_a_lost_state_the_ledger_knows_who_may_be_there_and_under_another_change_they_go_again(self, world: World) -> None:
        world.load(people(4))
        world.sync()
        first = {change for batch in world.channel.batches for change in batch.change_ids}
        control = Control(world.engine, world.control)
        for table in ("receipts", "synced"):
            world.engine.execute(f"DELETE FROM {control.table(table)} WHERE sync = 'letters'", what=table)
        with pytest.raises(DataError, match="cdp resync letters"):
            ask(world, write=True)
        world.engine.execute(f"UPDATE {control.table('runs')} SET delivered = 0, seq = 0 WHERE sync = 'letters'", what="runs")
        assert said(ask(world, write=True)) == {"listed": 4, "found": 4}
        clinic = people(4)
        clinic[4]["consent"] = False
        world.load(clinic)
        world.channel.batches.clear()
        plan, _ = world.sync()
        assert nonzero(plan.counts) == {"add": 3, "remove": 1}
        assert not first & {change for batch in world.channel.batches if batch.op == "upsert" for change in batch.change_ids}
        assert ids(world) == the(1, 2, 3)

    def test_a_list_without_any_row_of_ours_is_not_believed_and_half_a_list_tells_nothing(self, world: World) -> None:
        world.load(people(4))
        world.sync()
        row = dict(world.channel.rows["p001",])
        for rows in ({}, {("x1",): row | {"patient_id": "x1"}}):
            world.channel.rows = dict(rows)
            with pytest.raises(DataError, match=rf"lists none of the 4 rows that were delivered \(others: {len(rows)}\)"):
                ask(world, write=True)
        world.channel.rows["p001",] = row
        world.channel.rows["bad",] = {}  # its connector fails after the first part
        world.channel.size = 1
        with pytest.raises(DeliveryError, match=r"failed to say which rows there are \(KeyError\)"):
            ask(world, write=True)
        world.account, world.channel.account = "20417", "20418"
        with pytest.raises(DeliveryError, match="the agreement is about '20417'"):
            ask(world, write=True)
        world.account = None
        control = Control(world.engine, world.control)
        held = lease.acquire(control, "letters", lambda: world.now)
        with pytest.raises(BusyError):
            ask(world)
        held.release()
        assert nonzero(world.plan().counts) == {"unchanged": 4}
        world.channel.rows.clear()
        assert ask(world, write=True, all_lost=True).lost == 4
        assert nonzero(world.plan().counts) == {"add": 4}
        world.channel.lists = False
        with pytest.raises(DeliveryError, match="cannot say which rows there are"):
            ask(world)

    def test_what_is_in_doubt_stays_so_and_unknown_rows_are_for_a_person(self, world: World) -> None:
        world.load(people(2))
        world.channel.answers = [silent]
        world.sync()  # one batch of both, without an answer, and nothing of it applied
        lose(world, 1, 2)
        assert said(ask(world, write=True)) == {"doubtful": 2}
        assert nonzero(world.plan().counts) == {"add": 2}
        world.sync()
        world.channel.repeats = "effect"
        world.load(people(6))
        world.channel.answers = [killed(world, applied=True)]
        die(world)
        world.sync()
        there = len(ids(world)) - 2
        unknown = world.plan().counts["unknown"]
        assert unknown
        assert there
        lose(world, 1)
        compared = ask(world, write=True)
        assert (compared.unknown, compared.unknown_there, compared.lost) == (unknown, unknown, 1)
        assert world.plan().counts["unknown"] == unknown
        # Whom we took off, and who is there all the same, is not told again by itself either.
        clinic = people(6)
        clinic[2]["consent"] = False
        world.load(clinic)
        row = dict(world.channel.rows["p002",])
        world.sync()
        world.channel.rows["p002",] = row
        world.load(people(6))
        assert ask(world, write=True).found == 1
        assert world.plan().counts["unknown"] == unknown + 1

    def test_several_key_columns_of_any_kind_are_one_key(self, world: World) -> None:
        world.keys, world.values = ("patient_id", "visits", "active", "born"), ("email",)
        world.load(people(5))
        world.sync()
        assert said(ask(world)) == {"listed": 5, "held": 5, "confirmed": 5}
