"""Many syncs in one command: what stops them, who goes when, and what a terminal shows of them."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from cdp.cli import bars, results, synced, together
from cdp.cli.bars import Line, lines, shortened
from cdp.cli.deliver import How
from cdp.cli.outcome import Outcome, no_run
from cdp.cli.output import Output
from cdp.sync import delivery
from cdp.sync.recorder import Tally
from cdp.sync.stopping import SIGNALS, Stop

# -- stopping --------------------------------------------------------------------------------------------------------------


def test_the_first_signal_asks_and_the_second_does_what_it_did_before() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    stop, heard = Stop(), []
    with stop.on_signals(), stop.heard_by(lambda: heard.append(1)):
        os.kill(os.getpid(), signal.SIGINT)
        assert (stop.asked, heard) == (True, [1])
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_who_listens_late_hears_at_once_and_who_has_left_does_not() -> None:
    stop, heard = Stop(), []
    with stop.heard_by(lambda: heard.append("left")):
        pass
    stop.ask()
    with stop.heard_by(lambda: heard.append("late")):
        pass
    assert heard == ["late"]


def test_deliveries_in_threads_of_their_own_all_hear_of_one_signal() -> None:
    stop, started = Stop(), threading.Barrier(4)

    def run(made: SimpleNamespace) -> None:
        async def work() -> None:
            await asyncio.to_thread(started.wait)
            while not made.stopped:
                await asyncio.sleep(0.005)

        asyncio.run(asyncio.wait_for(delivery.stoppable(made.stop, work(), stop), 10))

    made = [SimpleNamespace(stopped=False) for _ in range(3)]
    for each in made:
        each.stop = lambda each=each: setattr(each, "stopped", True)
    threads = [threading.Thread(target=run, args=(each,)) for each in made]
    with stop.on_signals():
        for thread in threads:
            thread.start()
        started.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        for thread in threads:
            thread.join(10)
    assert [each.stopped for each in made] == [True] * 3


# -- side by side ----------------------------------------------------------------------------------------------------------


class Syncs:
    """Stands for the command's session, and for `deliver.synced`: a sync takes as long as its test says."""

    def __init__(self, work: Callable[[str, How], str | None], turns: tuple[tuple[str, ...], ...]) -> None:
        self.work, self.turns = work, turns
        self.out, self.options, self.project, self.engine = Output(quiet=True), SimpleNamespace(verbose=False), None, None
        self.now: set[str] = set()
        self.most: list[set[str]] = []
        self.lock = threading.Lock()

    def synced(self, session: object, name: str, how: How) -> Outcome:
        with self.lock:
            self.now.add(name)
            self.most.append(set(self.now))
        try:
            return Outcome({"sync": name, "status": self.work(name, how) or "succeeded", "retryable": 0})
        finally:
            with self.lock:
                self.now.remove(name)


def ran(monkeypatch: pytest.MonkeyPatch, syncs: Syncs, jobs: int) -> list[tuple[str, str]]:
    monkeypatch.setattr(together, "synced", syncs.synced)
    monkeypatch.setattr("cdp.sync.turns.lanes", lambda project, names: syncs.turns)
    names = [name for turn in syncs.turns for name in turn]
    found = together.run(syncs, names, How(), jobs)  # type: ignore[arg-type]
    return [(outcome.facts["sync"], outcome.facts["status"]) for outcome in found]


def test_as_many_as_asked_for_run_at_once_and_those_of_a_lane_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = Syncs(lambda name, how: time.sleep(0.02), (("a1", "a2", "a3"), ("b",), ("c",), ("d",)))  # type: ignore[func-returns-value]
    found = ran(monkeypatch, syncs, 3)
    assert found == [(name, "succeeded") for name in ("a1", "a2", "a3", "b", "c", "d")]  # whoever was ready first
    assert max(map(len, syncs.most)) == 3
    assert all(sum(name.startswith("a") for name in now) <= 1 for now in syncs.most)


def test_one_that_fails_in_a_way_nobody_foresaw_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(name: str, how: How) -> str | None:
        if name == "bad":
            raise KeyError("a value")
        return None

    found = ran(monkeypatch, Syncs(work, (("bad",), ("one",), ("two",))), 2)
    assert found == [("bad", "failed"), ("one", "succeeded"), ("two", "succeeded")]


@pytest.mark.parametrize("jobs", [1, 2])
def test_after_a_stop_nothing_new_begins_and_each_sync_is_spoken_of(monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    def work(name: str, how: How) -> str | None:
        if name != "first":
            return None
        if how.stop:
            os.kill(os.getpid(), signal.SIGTERM)  # jobs 1: a delivery hears of it by itself
            while not how.stopped:
                time.sleep(0.005)
        return "stopped"

    turns = (("first", "second"), ("third",)) if jobs == 2 else (("first",), ("second",), ("third",))
    syncs = Syncs(work, turns)
    found = dict(ran(monkeypatch, syncs, jobs))
    assert (found["first"], found["second"]) == ("stopped", "stopped")
    assert not any("second" in now for now in syncs.most)


# -- what is shown -----------------------------------------------------------------------------------------------------------


def terminal(width: int) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=30, color_system=None)


@pytest.mark.parametrize("width", [80, 100])
def test_bars_are_aligned_and_no_line_is_wider_than_the_terminal(width: int) -> None:
    names = ["a1c_reminder_email", "a_name_that_is_longer_than_any_terminal_should_have_to_show"]
    board = bars._board(terminal(width), names)
    whole = board.add_task("3 syncs", total=3, kind="whole")
    first, second, third = (bars._Bar(board, name, whole) for name in (*names, "done_already"))
    tally = Tally(1_000_000, delivered=250_000, rejected=12, waits=lambda: "asked to wait 12 s")
    first.say("planning")
    first.tally(tally)
    second.say("planning")
    third.done("succeeded")
    shown = [text.rstrip() for part in board.get_renderables() for text in shown_of(part, width)]
    assert [len(text) <= width for text in shown] == [True] * len(shown)
    assert shown[0].startswith("a1c_reminder_email")
    assert "250,012/1,000,000" in shown[0]
    assert shown[1] == "  asked to wait 12 s · 12 rejected"
    assert shown[2].startswith(shortened(names[1], bars.NAME))
    assert shown[3] == "  planning"
    assert (shown[4].split()[:2], shown[4].split()[-1], len(shown)) == (["3", "syncs"], "1/3", 5)
    assert shown[0].index("━") == shown[2].index("━") == shown[4].index("━")


def shown_of(part: Any, width: int) -> list[str]:
    console = terminal(width)
    console.print(part)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_a_sync_that_took_several_runs_names_each(capsys: pytest.CaptureFixture[str]) -> None:
    """Its counts are those of all of them: `cdp runs` of one says less."""

    def outcome(run: str | None, delivered: int, status: str) -> Outcome:
        return Outcome({**no_run("letters", "p1", status), "run": run, "delivered": delivered, "withheld_rows": [], "put_off": {}})

    removals, rest = outcome("r1", 2, "succeeded"), outcome("r2", 6, "succeeded")
    both = synced._both(synced._both(None, removals), rest)
    assert (both.facts["run"], both.facts["earlier_runs"], both.facts["delivered"]) == ("r2", ["r1"], 8)
    again = synced._both(both, outcome("r3", 1, "succeeded"))
    assert (again.facts["run"], again.facts["earlier_runs"], again.facts["delivered"]) == ("r3", ["r1", "r2"], 9)
    results.show_runs(Output(), [again])
    assert "its rows went in 3 runs; before this one: cdp runs r1, cdp runs r2" in capsys.readouterr().err
    awaiting = synced._both(removals, outcome(None, 0, "awaiting approval")).facts
    assert (awaiting["run"], awaiting["delivered"], "earlier_runs" in awaiting) == ("r1", 2, False)


def test_both_ends_of_a_long_name_are_kept() -> None:
    assert shortened("colorectal_outreach_letters_north", 20) == "colorecta…ters_north"
    assert len(shortened("x" * 80, 26)) == 26
    assert shortened("short", 26) == "short"


@pytest.mark.parametrize(("quiet", "as_json", "tty"), [(True, False, True), (False, True, True), (False, False, False)])
def test_nothing_is_shown_to_who_does_not_look(
    quiet: bool, as_json: bool, tty: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bars, "PATIENCE", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: tty, raising=False)
    with lines(Output(as_json=as_json, quiet=quiet), ["one"]) as line_of:
        line = line_of("one")
        line.say("planning")
        line.tally(Tally(10))
        time.sleep(0.05)
        line.done("succeeded")
    assert type(line) is Line
    assert capsys.readouterr() == ("", "")


def test_a_terminal_that_cannot_draw_gets_plain_lines_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None, _environ={"TERM": "dumb"})
    clock = [0.0]
    monkeypatch.setattr("cdp.cli.bars.time.monotonic", lambda: clock[0])
    with lines(SimpleNamespace(watched=lambda: console), ["one"]) as line_of:  # type: ignore[arg-type]
        line = line_of("one")
        line.say("planning")  # at once: nobody has waited yet
        for clock[0] in (3.0, 4.0, 14.0):
            line.tally(Tally(1000, delivered=int(clock[0]) * 10, waits=lambda: "asked to wait 5 s"))
        line.done("succeeded")
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "one: 30 of 1,000 rows, asked to wait 5 s",
        "one: 140 of 1,000 rows, asked to wait 5 s",
        "one: succeeded after 14 s",
    ]
