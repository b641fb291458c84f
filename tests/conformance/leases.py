"""Two runs at once, told on any engine: of one machine, of two, of one that was killed. The others are processes on the embedded engine."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdp.engine.base import Engine
from cdp.errors import BusyError, ConflictError, EngineError
from cdp.sync import lease
from cdp.sync.ledger import Control
from cdp.testing.engine import MOMENT
from tests.conformance.lease_child import race

ROOT = Path(__file__).parents[2]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("SPARK")}


class LeaseStory:
    rounds = 8

    @pytest.fixture
    def control(self, engine: Engine) -> Iterator[Control]:
        control = Control(engine, f"s{uuid.uuid4().hex[:8]}")
        control.table("leases")
        yield control
        engine.drop(f"{control.schema}.leases")

    def child(self, control: Control, machine: str, what: str) -> subprocess.Popen[str]:
        lakehouse = control.engine.lakehouse
        assert lakehouse
        return subprocess.Popen(
            [sys.executable, "-m", "tests.conformance.lease_child", str(lakehouse.parent), control.schema, machine, what],
            cwd=ROOT,
            env=CLEAN,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def held_and_killed(self, control: Control, machine: str) -> int:
        """The token under which another process held the lease when it was killed."""
        child = self.child(control, machine, "hold")
        assert child.stdout
        token = int(child.stdout.readline())
        with pytest.raises(
            BusyError, match=rf"is being applied by process {child.pid} on .* since 2026-07-02 03:30:00 UTC; .* until"
        ) as busy:
            lease.acquire(control, "letters", lambda: MOMENT)
        assert "--wait" in busy.value.fix
        child.kill()
        child.communicate()
        return token

    def test_the_lease_of_a_run_that_was_killed_on_this_machine_is_taken_over_at_once(self, control: Control) -> None:
        token = self.held_and_killed(control, "here")
        lease.wait(control, "letters", lambda: MOMENT, 0)
        assert lease.acquire(control, "letters", lambda: MOMENT).token == token + 1
        with pytest.raises(BusyError, match=f"process {os.getpid()} on"):
            lease.acquire(control, "letters", lambda: MOMENT)

    def test_that_of_a_run_on_another_machine_is_waited_for(self, control: Control) -> None:
        token = self.held_and_killed(control, "elsewhere")
        with pytest.raises(BusyError):
            lease.acquire(control, "letters", lambda: MOMENT)
        later = MOMENT + dt.timedelta(seconds=lease.SECONDS + 1)
        assert lease.acquire(control, "letters", lambda: later).token == token + 1

    def test_two_machines_that_race_never_hold_it_together(self, control: Control) -> None:
        lakehouse = control.engine.lakehouse
        assert lakehouse
        rounds = self.rounds
        child = self.child(control, "elsewhere", str(rounds))
        assert child.stdin
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
        child.stdin.write("go\n")
        child.stdin.flush()
        met, tokens = race(control, lakehouse.parent / "floor", rounds)
        out, _ = child.communicate(timeout=300)
        met_there, *tokens_there = map(int, out.split())
        assert (met, met_there) == (0, 0)
        assert (len(tokens), len(tokens_there)) == (rounds, rounds)
        assert len({*tokens, *tokens_there}) == 2 * rounds
        assert tokens == sorted(tokens)
        assert tokens_there == sorted(tokens_there)

    def test_who_waits_is_told_for_whom_and_goes_on_when_that_ends(self, control: Control) -> None:
        held, said = lease.acquire(control, "letters", lambda: MOMENT), list[str]()
        with pytest.raises(BusyError, match="sync letters is being applied by"):
            lease.wait(control, "letters", lambda: MOMENT, 0.2, said.append)
        assert said == [f"waits for process {os.getpid()} on {os.uname().nodename}, which applies it since 2026-07-02 03:30:00 UTC"]
        lease.wait(control, "calls", lambda: MOMENT, 0)
        released = threading.Timer(0.5, held.release)
        released.start()
        began = time.monotonic()
        assert lease.wait(control, "letters", lambda: MOMENT, 300)
        assert 0.3 < time.monotonic() - began < 150
        released.join()

    def test_who_got_only_one_of_two_rows_gives_it_back_though_another_writer_is_in_between(
        self, control: Control, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two processes that make the first row at once make two."""
        held = lease.acquire(control, "letters", lambda: MOMENT)
        control.append("leases", [{"sync": "letters", "token": 0, "expires": 0}])
        update, lost = lease._update, list[str]()

        def contended(control: Control, change: str, where: str) -> EngineError | None:
            if change.startswith("owner = NULL") and not lost:
                lost.append(change)
                return ConflictError("another writer was faster", fix="run again")
            return update(control, change, where)

        with monkeypatch.context() as patched:
            patched.setattr(lease, "_update", contended)
            with pytest.raises(BusyError):
                lease.acquire(control, "letters", lambda: MOMENT)
        assert lost
        assert {row["owner"] for row in lease._rows(control, "letters")} == {held.owner, None}
        held.release()
        lease.acquire(control, "letters", lambda: MOMENT)

    def test_something_that_is_no_sync_is_shared_by_one_owner_and_may_stay_taken_for_a_while(self, control: Control) -> None:
        def take(owner: str, moment: dt.datetime = MOMENT) -> lease.Lease:
            return lease.acquire(control, "pace:mail", lambda: moment, subject="destination mail", owner=owner)

        first, again = take("us"), take("us")
        first.check()
        assert again.token > first.token
        with pytest.raises(BusyError, match="destination mail is in use by process"):
            take("them")
        again.release(after=20)
        with pytest.raises(BusyError):
            take("them", MOMENT + dt.timedelta(seconds=19))
        (row,) = lease._rows(control, "pace:mail")
        assert row["process"] is None  # or the end of this process would end it
        late = take("them", MOMENT + dt.timedelta(seconds=21))
        threading.Timer(0.3, late.release).start()
        lease.acquire(control, "pace:mail", lambda: MOMENT, patience=300)

    def test_who_loses_every_race_is_told_that_others_start_and_who_cannot_write_is_told_why(
        self, control: Control, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lease.acquire(control, "letters", lambda: MOMENT).release()

        def fails(error: EngineError) -> None:
            def execute(*_: object, **__: object) -> None:
                raise error

            monkeypatch.setattr(control.engine, "execute", execute)
            lease.acquire(control, "letters", lambda: MOMENT)

        with pytest.raises(BusyError, match="sync letters: other runs start at the same moment"):
            fails(ConflictError("leases: another writer was faster"))
        with pytest.raises(EngineError, match="no space left"):
            fails(EngineError("no space left while working on leases"))
