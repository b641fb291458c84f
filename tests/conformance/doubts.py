"""Lost receipts told on any engine: what may have been applied is sent again, taken off, asked about, or unknown and never sent again."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cdp.connectors.base import Batch, Receipts, Repeats
from cdp.engine.base import Engine
from cdp.errors import BusyError, DataError, EngineError, StaleError, UsageError
from cdp.sync import resync, state
from cdp.sync.history import list_runs
from cdp.sync.ledger import Control
from cdp.sync.ledger.verify import verify
from cdp.sync.stopping import Stop
from tests.conformance.world import World, nonzero, passing, patient, people


class Killed(BaseException):
    """What a SIGKILL is to the tables: nothing of the run is written any more."""


def killed(world: World, *, applied: bool) -> Callable[[Batch], Receipts]:
    """An answer that never comes, to a batch that was applied or not."""

    def answer(batch: Batch) -> Receipts:
        if applied:
            world.channel.take(batch)
        raise Killed

    return answer


def taken(batch: Batch) -> Receipts:
    return Receipts.all(len(batch), "delivered")


def silent(batch: Batch) -> Receipts:
    return Receipts.all(len(batch), "retryable", "timeout")


def applied_in_silence(world: World) -> Callable[[Batch], Receipts]:
    """A batch that is applied, and that may be sent again."""

    def answer(batch: Batch) -> Receipts:
        world.channel.take(batch)
        return Receipts.all(len(batch), "retryable", "timeout")

    return answer


def silent_after(world: World) -> Callable[[Batch], Receipts]:
    """A batch that is applied, and of which nobody says so."""

    def answer(batch: Batch) -> Receipts:
        world.channel.take(batch)
        return Receipts.all(len(batch), "unknown", "timeout")

    return answer


def sent(world: World) -> Counter[str]:
    """How often each person was sent, and the list starts anew."""
    rows = [row["patient_id"] for batch in world.channel.batches if batch.op == "upsert" for row in batch.rows.to_pylist()]
    world.channel.batches.clear()
    return Counter(rows)


def ids(world: World) -> set[str]:
    return {key[0] for key in world.channel.rows}


def the(*numbers: int) -> set[str]:
    return {f"p{number:03}" for number in numbers}


def die(world: World) -> None:
    with pytest.raises(Killed):
        world.sync()


class DoubtStory:
    """Every statement that a doubt asks of an engine, in few runs: each takes Spark half a minute."""

    @pytest.fixture
    def world(self, engine: Engine, tmp_path: Path) -> Iterator[World]:
        with passing(engine, tmp_path) as world:
            world.channel.size, world.channel.concurrency = 2, 2
            yield world

    def test_what_was_lost_goes_again_under_its_key_and_who_left_is_taken_off(self, world: World) -> None:
        clinic = people(6)
        world.load(clinic)
        world.channel.answers = [killed(world, applied=True)] * 2
        die(world)
        lost = {change for batch in world.channel.batches for change in batch.change_ids}
        gone = next(iter(ids(world)))
        sent(world)
        clinic[int(gone[1:])]["consent"] = False
        world.load(clinic)
        plan, _ = world.sync()
        assert nonzero(plan.counts) == {"add": 5, "remove": 1}
        assert lost & {change for batch in world.channel.batches for change in batch.change_ids}
        assert ids(world) == the(*range(1, 7)) - {gone}
        assert nonzero(world.plan().counts) == {"unchanged": 5}

    def test_receipts_that_are_gone_are_said_and_their_rows_go_again(self, world: World) -> None:
        world.load(people(2))
        world.sync()
        world.load(people(6))
        world.sync()
        last = list_runs(world.engine, world.control)[0]["run"]
        control = Control(world.engine, world.control)
        world.engine.execute(f"DELETE FROM {control.table('receipts')} WHERE run = '{last}'", what="receipts")
        with pytest.raises(DataError, match="receipts that a run counted are gone"):
            world.plan()
        found = resync.rebuild(control, "letters", lambda: world.now)
        assert (found.rebuilt, found.lost, found.doubtful) == (2, ((last, 4),), 4)
        world.channel.batches.clear()
        plan, _ = world.sync()
        assert nonzero(plan.counts) == {"add": 4, "unchanged": 2}
        assert sent(world) == dict.fromkeys(the(3, 4, 5, 6), 1)

    def test_what_is_unknown_stays_so_when_the_state_is_rebuilt(self, world: World) -> None:
        """Rebuilding makes all that was delivered the folded state, and only what is newer than that is looked at for doubts."""
        world.channel.repeats, world.channel.size, world.channel.concurrency = "effect", 2, 1
        world.load(people(6))
        world.channel.answers = [silent_after(world)]
        assert world.sync()[1].unknown == 2
        sent(world)
        control = Control(world.engine, world.control)
        unknown = {row["key"] for row in resync.unknown(control, "letters")}
        for _ in range(2):
            resync.rebuild(control, "letters", lambda: world.now)
            assert {row["key"] for row in resync.unknown(control, "letters")} == unknown
        assert nonzero(world.sync()[0].counts) == {"unchanged": 4, "unknown": 2}
        assert not sent(world)  # nobody is told twice

    def test_a_person_settles_what_is_unknown(self, world: World) -> None:
        world.channel.repeats = "effect"
        world.load(people(4))
        world.channel.answers = [lambda batch: Receipts.all(len(batch), "unknown", "timeout")] * 2
        assert world.sync()[1].unknown == 4
        sent(world)
        control = Control(world.engine, world.control)
        with pytest.raises(UsageError, match="1 of the keys is of no unknown row"):
            resync.settle(control, "letters", "again", ["p001", "p009"], lambda: world.now)
        assert resync.settle(control, "letters", "delivered", ["p001", "p002"], lambda: world.now) == 2
        assert nonzero(world.plan().counts) == {"unchanged": 2, "unknown": 2}
        assert resync.settle(control, "letters", "again", [], lambda: world.now) == 2
        plan, run = world.sync()
        assert (nonzero(plan.counts), run.delivered) == ({"add": 2, "unchanged": 2}, 2)
        assert sent(world) == {"p003": 1, "p004": 1}
        said = world.engine.query(f"SELECT actor, body FROM {world.control}.runs WHERE status = 'settled'").to_pylist()
        assert {row["actor"] for row in said} == {world.engine.whoami()}
        assert {json.loads(row["body"])["resync"]["unknown"] for row in said} == {"delivered", "again"}


class WholeDoubtStory(DoubtStory):
    def test_where_each_request_has_an_effect_nobody_is_told_twice(self, world: World) -> None:
        world.channel.repeats = "effect"
        clinic = people(12)
        world.load(clinic)
        world.channel.answers = [taken, taken, taken, killed(world, applied=True)]
        die(world)
        first, there = sent(world), ids(world)

        plan, run = world.sync()
        # The group before was on record, the one in flight is unknown, the third had not begun.
        assert (nonzero(plan.counts), run.delivered) == ({"add": 4, "unchanged": 4, "unknown": 4}, 4)
        second = sent(world)
        assert not first.keys() & second.keys()
        dead = next(run for run in list_runs(world.engine, world.control) if run["status"] == "killed")
        assert (dead["delivered"], dead["unknown"], dead["retryable"]) == (4, 4, 4)
        plan, run = world.sync()
        assert (nonzero(plan.counts), run.status, sent(world)) == ({"unchanged": 8, "unknown": 4}, "nothing", Counter())

        control = Control(world.engine, world.control)
        assert state.fold(control, "letters", rows=0)  # what is in doubt stays so
        assert nonzero(world.plan().counts) == {"unchanged": 8, "unknown": 4}

        # Another content is another message, and who leaves is taken off wherever they may be.
        doubtful = sorted(int(key[1:]) for key in first.keys() | there if f"p{int(key[1:]):03}" not in self.known(world))
        clinic[doubtful[0]]["email"] = "new@example.org"
        clinic[doubtful[1]]["consent"] = False
        world.load(clinic)
        plan, run = world.sync()
        assert nonzero(plan.counts) == {"add": 1, "remove": 1, "unchanged": 8, "unknown": 2}
        assert sent(world) == {f"p{doubtful[0]:03}": 1}
        assert f"p{doubtful[1]:03}" not in ids(world)
        assert all(checked.bad is None for checked in verify(control))

    @pytest.mark.parametrize("raced", [False, True])
    def test_a_run_that_comes_back_after_another_settled_it_says_nothing_and_stops_nobody(self, world: World, raced: bool) -> None:
        """A machine that was suspended for longer than the lease; `raced`: it wrote how it ended at the moment when it was settled."""
        world.load(people(6))
        world.channel.concurrency = 1
        control = Control(world.engine, world.control)

        def suspended(batch: Batch) -> Receipts:
            world.engine.execute(f"UPDATE {control.table('leases')} SET expires = 0 WHERE sync = 'letters'", what="leases")
            other = replace(world)
            other.sync()
            world.now = other.now
            return taken(batch)

        world.channel.answers = [suspended]
        with pytest.raises(BusyError, match="lost its lease"):
            world.sync()
        first = min(run["run"] for run in list_runs(world.engine, world.control))
        ends = f"SELECT * FROM {world.control}.runs WHERE run = '{first}' ORDER BY n"
        rows = world.engine.query(ends).to_pylist()
        assert [(row["n"], row["status"], row["open"]) for row in rows] == [(0, "running", None), (1, "killed", 0)]
        if raced:
            control.append("runs", [{**rows[1], "status": "failed", "open": None, "at": world.now}])
        world.load(people(7))
        plan, run = world.sync()
        assert (nonzero(plan.counts), run.status) == ({"add": 1, "unchanged": 6}, "succeeded")
        assert state.known(control, "letters").open == ()
        assert ids(world) == the(*range(1, 8))
        assert all(checked.bad is None for checked in verify(control))

    def known(self, world: World) -> set[str]:
        rows = world.engine.query(f"SELECT DISTINCT key FROM {world.control}.receipts WHERE status = 'delivered'").to_pylist()
        return {row["key"] for row in rows}

    def test_a_plan_that_was_made_before_the_kill_is_not_applied_after_it(self, world: World) -> None:
        world.channel.repeats = "effect"
        world.load(people(2))
        plan = world.plan()
        world.channel.answers = [killed(world, applied=True)]
        with pytest.raises(Killed):
            world.apply(plan)
        sent(world)
        with pytest.raises(StaleError, match="may have sent rows of it"):
            world.apply(plan)
        assert not sent(world)
        assert nonzero(world.plan().counts) == {"unknown": 2}

    def test_a_channel_that_can_be_asked_is_asked(self, world: World) -> None:
        world.channel.repeats, world.channel.asks = "effect", True
        world.load(people(12))
        world.channel.answers = [taken, taken, taken, killed(world, applied=False)]
        die(world)
        first = sent(world)
        world.sync()
        plan, run = world.sync()
        assert (plan.counts["unknown"], run.unknown) == (0, 0)
        assert ids(world) == the(*range(1, 13))
        assert max((first + sent(world)).values()) == 2  # the batch that the channel said it never saw
        assert nonzero(world.plan().counts) == {"unchanged": 12}

    def test_what_a_channel_does_not_know_yet_is_asked_about_again_and_is_not_sent(self, world: World) -> None:
        """The run was killed a moment ago, and the channel still works on its last request."""
        world.channel.repeats, world.channel.asks, world.channel.concurrency = "effect", True, 1
        world.load(people(2))
        world.channel.answers = [killed(world, applied=True)]
        die(world)
        world.channel.late, world.channel.known_after = set(world.channel.applied), 0.2
        began = time.monotonic()
        world.sync()
        assert time.monotonic() - began >= 0.2
        assert [len(changes) for changes in world.channel.asked] == [2, 2]
        assert max(sent(world).values()) == 1
        assert nonzero(world.plan().counts) == {"unchanged": 2}

    @pytest.mark.parametrize("new", [0, 1], ids=["nothing to send", "somebody new"])
    def test_a_stop_is_heard_while_a_channel_is_given_its_time(self, world: World, new: int) -> None:
        """Nothing is sent then; what the channel does not know yet stays unknown, and the next run asks again."""
        world.channel.repeats, world.channel.asks, world.channel.concurrency = "effect", True, 1
        world.load(people(2))
        world.channel.answers = [killed(world, applied=True)]
        die(world)
        world.load(people(2 + new))
        world.channel.late, world.channel.known_after = set(world.channel.applied), 60.0
        plan, stop, began = world.plan(), Stop(), time.monotonic()
        assert plan.rows == new
        timer = threading.Timer(0.5, stop.ask)
        timer.start()
        run = world.apply(plan, stop=stop)
        timer.join()
        assert (run.status, run.delivered, time.monotonic() - began < 40) == ("stopped", 0, True)
        assert ids(world) == the(1, 2)
        world.channel.known_after = 0.0
        world.sync()
        world.sync()
        assert ids(world) == the(*range(1, 3 + new))
        assert max(sent(world).values()) == 1
        assert nonzero(world.plan().counts) == {"unchanged": 2 + new}

    def test_what_is_unknown_is_asked_about_when_the_channel_can_be_asked(self, world: World) -> None:
        world.channel.repeats, world.channel.concurrency = "effect", 1
        world.load(people(4))
        lost: list[Callable[[Batch], Receipts]] = [silent_after(world), lambda batch: Receipts.all(len(batch), "unknown", "timeout")]
        world.channel.answers = lost
        assert world.sync()[1].unknown == 4
        sent(world)
        assert (world.sync()[1].status, world.channel.asked) == ("nothing", [])  # it cannot be asked
        world.channel.asks = True
        there = ids(world)
        assert (len(there), world.sync()[1].status) == (2, "nothing")
        assert [len(changes) for changes in world.channel.asked] == [4]
        plan, run = world.sync()
        assert (nonzero(plan.counts), run.delivered) == ({"add": 2, "unchanged": 2}, 2)
        assert sent(world) == dict.fromkeys(the(1, 2, 3, 4) - there, 1)
        assert nonzero(world.plan().counts) == {"unchanged": 4}
        world.sync()
        assert len(world.channel.asked) == 1  # nothing is in doubt any more

    def test_who_was_never_told_is_not_named_by_a_removal(self, world: World) -> None:
        clinic = people(4)
        world.load(clinic)
        never: list[Callable[[Batch], Receipts]] = [lambda batch: Receipts.all(len(batch), "retryable", "connect"), silent]
        world.channel.answers, world.channel.concurrency = never, 1
        world.sync()
        first, second = world.channel.batches
        for batch in (first, second):
            clinic[int(batch.rows.column("patient_id")[0].as_py()[1:])]["consent"] = False
        world.load(clinic)
        plan, _ = world.sync()
        assert nonzero(plan.counts) == {"add": 2, "remove": 1}  # of the one who may be there
        removed = [batch for batch in world.channel.batches if batch.op == "remove"]
        assert [batch.rows.column("patient_id").to_pylist() for batch in removed] == [[second.rows.column("patient_id")[0].as_py()]]

    def test_going_there_and_back_while_receipts_are_lost_is_three_changes(self, world: World) -> None:
        """A channel with keys answers a key that it knows without doing anything: then the old value would stay there."""
        seen: list[str] = []
        for email in ("a@example.org", "b@example.org", "a@example.org", "a@example.org"):
            world.load({1: patient(1, email=email)})
            world.channel.answers = [killed(world, applied=True)] if len(seen) % 2 else [silent]
            if len(seen) % 2:
                die(world)
            else:
                world.sync()
            seen += [change for batch in world.channel.batches for change in batch.change_ids]
            world.channel.batches.clear()
        assert len(seen) == 4
        assert len(set(seen)) == 3
        assert seen[2] == seen[3]  # the same change once more is the same change

    @pytest.mark.parametrize("repeats", ["keys", "effect"])
    def test_a_plan_is_not_applied_again_when_another_change_was_tried_since(self, world: World, repeats: Repeats) -> None:
        """A channel with keys knows the first change and does nothing: the second would stay there, and be taken for the first."""
        world.channel.repeats = repeats
        world.load({1: patient(1, email="a@example.org")})
        first = world.plan()
        world.channel.answers = [killed(world, applied=True)]
        with pytest.raises(Killed):
            world.apply(first)
        world.load({1: patient(1, email="b@example.org")})
        world.channel.answers = [killed(world, applied=True)]
        die(world)
        world.load({1: patient(1, email="a@example.org")})
        world.channel.batches.clear()
        with pytest.raises(StaleError, match="may have sent rows of it, or other changes"):
            world.apply(first)
        assert not world.channel.batches
        assert world.sync()[0].counts["add"] == 1
        assert world.channel.rows["p001",]["email"] == "a@example.org"
        assert nonzero(world.plan().counts) == {"unchanged": 1}

    def test_back_to_what_was_acknowledged_is_sent_when_something_else_may_be_there(self, world: World) -> None:
        world.load({1: patient(1, email="a@example.org")})
        world.sync()
        world.load({1: patient(1, email="b@example.org")})
        world.channel.answers = [killed(world, applied=True)]
        die(world)
        assert world.channel.rows["p001",]["email"] == "b@example.org"
        world.load({1: patient(1, email="a@example.org")})
        plan, _ = world.sync()
        assert nonzero(plan.counts) == {"change": 1}
        assert world.channel.rows["p001",]["email"] == "a@example.org"
        assert nonzero(world.plan().counts) == {"unchanged": 1}

    @pytest.mark.parametrize("count", [1, 6], ids=["the newest", "all"])
    def test_a_state_whose_newest_rows_are_gone_for_good_can_be_rebuilt(self, world: World, count: int) -> None:
        """A backup of yesterday, of some of the tables: what was folded since cannot come again, and is no longer what there has to be."""
        world.load(people(6))
        world.sync()
        control = Control(world.engine, world.control)
        assert state.fold(control, "letters", rows=0)
        last = state.known(control, "letters").last
        for name in ("synced", "receipts"):
            world.engine.execute(f"DELETE FROM {control.table(name)} WHERE seq > {last - count}", what=name)
        with pytest.raises(DataError, match="cdp resync letters"):
            world.plan()
        found = resync.rebuild(control, "letters", lambda: world.now)
        assert resync.inspect(control, "letters").wrong == ()
        world.channel.batches.clear()
        plan, _ = world.sync()
        assert (plan.counts["add"], found.doubtful, found.rebuilt) == (count, count, 6 - count)
        assert sum(sent(world).values()) == count
        assert nonzero(world.plan().counts) == {"unchanged": 6}

    def test_a_folding_that_fails_again_and_again_leaves_few_receipts(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        world.load(people(6))
        world.channel.concurrency, world.channel.answers = 1, [silent]
        world.sync()
        control = Control(world.engine, world.control)
        attempts = state.known(control, "letters").attempts

        def full(*_: object) -> None:
            raise EngineError("no space left")

        monkeypatch.setattr(state, "rewrite", full)
        for _ in range(4):
            with pytest.raises(EngineError):
                state.fold(control, "letters", rows=0)
        assert state.known(control, "letters").attempts == 5 * attempts  # not twice as many each time
        assert nonzero(world.sync()[0].counts) == {"add": attempts, "unchanged": 6 - attempts}

    def test_who_may_be_there_is_taken_off_after_the_state_was_rebuilt(self, world: World) -> None:
        clinic = people(6)
        world.load(clinic)
        world.channel.concurrency = 1

        def lost(batch: Batch) -> Receipts:
            world.channel.take(batch)
            return silent(batch)

        world.channel.answers = [lost]
        world.sync()
        perhaps = [row["patient_id"] for row in world.channel.batches[0].rows.to_pylist()]
        resync.rebuild(Control(world.engine, world.control), "letters", lambda: world.now)
        clinic[int(perhaps[0][1:])]["consent"] = False
        world.load(clinic)
        plan, _ = world.sync()
        assert nonzero(plan.counts) == {"add": len(perhaps) - 1, "remove": 1, "unchanged": 6 - len(perhaps)}
        assert ids(world) == the(*range(1, 7)) - {perhaps[0]}

    def test_a_state_that_is_not_what_was_folded_stops_the_plan_until_it_is_rebuilt(self, world: World) -> None:
        world.load(people(6))
        world.sync()
        control = Control(world.engine, world.control)
        assert state.fold(control, "letters", rows=0)
        for harm in (
            "DELETE FROM {} WHERE key = 'p002'",
            "UPDATE {} SET seq = seq - 1 WHERE key = 'p003'",
            "DELETE FROM {} WHERE sync = 'letters'",
        ):
            world.engine.execute(harm.format(control.table("synced")), what="synced")
            with pytest.raises(DataError, match="cdp resync letters"):
                world.plan()
            found = resync.inspect(control, "letters")
            assert found.wrong
            assert found.rebuilt == 6
            with pytest.raises(DataError):  # looking changes nothing
                world.plan()
            resync.rebuild(control, "letters", lambda: world.now)
            assert resync.inspect(control, "letters").wrong == ()
            assert nonzero(world.plan().counts) == {"unchanged": 6}
        assert [run["status"] for run in list_runs(world.engine, world.control)] == ["resynced"] * 3 + ["succeeded"]

    def test_what_is_in_doubt_stays_so_when_the_state_is_rebuilt(self, world: World) -> None:
        """The state is newer then than the attempt: who may be at the channel would be forgotten, and never taken off."""
        clinic = people(2)
        world.load({1: clinic[1]})
        world.channel.answers = [applied_in_silence(world)]
        world.sync()
        world.load({2: clinic[2]})
        world.channel.removes, world.mode = False, "upsert"
        world.sync()
        control = Control(world.engine, world.control)
        resync.rebuild(control, "letters", lambda: world.now)
        world.channel.removes, world.mode = True, "mirror"
        clinic[1]["consent"] = False
        world.load(clinic)
        assert nonzero(world.sync()[0].counts) == {"remove": 1, "unchanged": 1}
        assert ids(world) == the(2)

    @pytest.mark.parametrize("repeats", ["keys", "effect"])
    def test_of_lost_receipts_that_had_no_answer_the_ledger_knows_who_may_be_there(self, world: World, repeats: Repeats) -> None:
        world.channel.repeats = repeats
        clinic = people(2)
        world.load(clinic)
        world.channel.answers = [silent_after(world) if repeats == "effect" else applied_in_silence(world)]
        world.sync()
        control = Control(world.engine, world.control)
        world.engine.execute(f"DELETE FROM {control.table('receipts')} WHERE sync = 'letters'", what="receipts")
        with pytest.raises(DataError, match="receipts that a run counted are gone"):
            world.plan()
        assert resync.rebuild(control, "letters", lambda: world.now).doubtful == 2
        assert nonzero(world.plan().counts) == ({"unknown": 2} if repeats == "effect" else {"add": 2})
        clinic[1]["consent"] = False
        world.load(clinic)
        world.sync()
        assert ids(world) == the(2)

    def test_a_state_without_anybody_can_be_rebuilt_and_planned_on(self, world: World) -> None:
        world.load(people(2))
        world.channel.answers = [lambda batch: Receipts.all(len(batch), "rejected", "bad")]
        world.sync()
        control = Control(world.engine, world.control)
        assert resync.rebuild(control, "letters", lambda: world.now).rebuilt == 0
        assert nonzero(world.sync()[0].counts) == {"add": 2}
        assert nonzero(world.plan().counts) == {"unchanged": 2}

    def test_a_state_of_which_less_is_left_than_was_folded_can_be_rebuilt_and_planned_on(self, world: World) -> None:
        world.load(people(2))
        world.sync()
        control = Control(world.engine, world.control)
        assert state.fold(control, "letters", rows=0)
        world.load(people(6))
        world.sync()
        assert state.fold(control, "letters", rows=0)
        last = list_runs(world.engine, world.control)[0]["run"]
        for name in ("receipts", "synced"):
            world.engine.execute(f"DELETE FROM {control.table(name)} WHERE run = '{last}'", what=name)
        with pytest.raises(DataError, match="cdp resync letters"):
            world.plan()
        found = resync.rebuild(control, "letters", lambda: world.now)
        assert (found.rebuilt, found.lost, found.doubtful) == (2, ((last, 4),), 4)
        assert nonzero(world.sync()[0].counts) == {"add": 4, "unchanged": 2}
        assert state.fold(control, "letters", rows=0)
        assert nonzero(world.plan().counts) == {"unchanged": 6}
