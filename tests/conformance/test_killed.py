"""Killed at random moments, in every phase of a run: the next run continues, the channel ends equal to the segment, nobody is told twice.

CDP_KILLS says how many moments there are (200). They are drawn here, each phase as often as any other, and found by the process that
is ended: how fast the machine is decides nothing.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pytest

from cdp.connectors.base import Repeats
from cdp.engine import connect
from cdp.spec.activation import Environment
from cdp.sync.ledger import Control
from cdp.sync.ledger.verify import verify
from tests.conformance.killed_child import FAILED, GROUP, PHASES, Book, Moment, child
from tests.conformance.world import World, patient

KINDS: tuple[Repeats, ...] = ("keys", "state", "effect")
KILLS = max(len(KINDS) * len(PHASES), int(os.environ.get("CDP_KILLS", "200")))
LIVES = 8  # moments of one lakehouse: its small files make each run slower than the one before
FAILURES = 2  # processes that the engine may fail, of all
UNDER_WAY = {"intents", "sending", "receipts"}  # phases in which a signal is listened to
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.conformance.killed_child"])  # imports take seconds, the engine's start a fifth of one


def drawn(times: int, moments: random.Random, number: signal.Signals) -> list[Moment]:
    """Each phase as often as any other, in any order; half of them in a later run, and in each phase the quarters of a call in turn."""
    made, names = [], tuple(PHASES)
    later = [n % 2 == 0 for n in range(times)]
    moments.shuffle(later)
    for n in range(times):
        again, place = divmod(n, len(names))
        phase = names[place]
        quarter = 3 - (again + place - names.index("sending")) % 4  # at first when a batch is at the channel, and nobody knows
        turn = moments.randint(1, PHASES[phase])
        made.append(Moment(phase, turn, (quarter + moments.random()) / 4, later[n] and phase != "opening", number))
    moments.shuffle(made)
    return made


@dataclass
class Series:
    """One lakehouse and its channel, over some ends of a process."""

    root: Path
    repeats: Repeats
    moments: list[Moment]
    failed: int = 0

    def __post_init__(self) -> None:
        self.engine = connect(Environment(engine="sail", lakehouse="lake"), root=self.root)

    def run(self) -> None:
        """End a process at each moment, each time a new one; then let one come to its end."""
        World(self.engine, "clinic", "cdp", self.root).load([patient(n) for n in range(1, 101)])
        (self.root / "version").write_text("0")
        self.codes = [self.process(moment) for moment in self.moments]
        assert self.process(None) == 0
        self.book, self.runs = Book.read(self.root / "channel", self.repeats), [json.loads(line) for line in self.listed("runs")]
        self.ends = [tuple(line.split()) for line in self.listed("ends")]
        receipts = Control(self.engine, "cdp").table("receipts")
        self.receipts = self.engine.query(f"SELECT run, key, status FROM {receipts}").to_pylist()
        self.engine.close()

    def process(self, moment: Moment | None) -> int | None:
        """The exit code of a process; of a second one, where the engine fails the first (seen once in 30,000 statements, under load)."""
        code = self.once(moment, FAILED)
        if code == FAILED:
            self.failed += 1
            warnings.warn(f"the engine failed a run: {(self.root / 'errors').read_text()}", stacklevel=1)
            code = self.once(moment)
        return code

    def once(self, moment: Moment | None, *also: int) -> int | None:
        """Its exit code. Whatever it put on the wire has its line before, and no kill parts a block of lines from its hash."""
        process = FORKS.Process(target=child, args=(str(self.root), self.repeats, moment), daemon=True)
        process.start()
        process.join(600)
        expected = (0, -signal.SIGTERM) if moment and moment.number == signal.SIGTERM else (-moment.number,) if moment else (0,)
        assert process.exitcode in (*expected, *also), (self.root / "errors").read_text()
        found = list(verify(Control(self.engine, "cdp")))
        assert [checked.bad for checked in found] in ([], [None])
        assert Book.read(self.root / "channel", self.repeats).lines <= sum(checked.lines for checked in found)
        return process.exitcode

    def listed(self, name: str) -> list[str]:
        """The lines of what the processes wrote."""
        return (self.root / name).read_text().splitlines()


def all_series(folder: Callable[[str], Path], moments: dict[Repeats, list[Moment]], lives: int) -> dict[Repeats, list[Series]]:
    """The moments of each kind of channel, `lives` of them in one lakehouse, side by side."""
    made = {
        repeats: [Series(folder(repeats), repeats, listed[n : n + lives]) for n in range(0, len(listed), lives)]
        for repeats, listed in moments.items()
    }
    with ThreadPoolExecutor(len(KINDS)) as pool:
        list(pool.map(Series.run, chain.from_iterable(zip(*made.values(), strict=True))))
    assert sum(one.failed for one in chain.from_iterable(made.values())) <= FAILURES
    return made


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> dict[Repeats, list[Series]]:
    times = -(-KILLS // len(KINDS))
    moments = {repeats: drawn(times, random.Random(n), signal.SIGKILL) for n, repeats in enumerate(KINDS)}
    return all_series(tmp_path_factory.mktemp, moments, LIVES)


@pytest.mark.parametrize("repeats", ["keys", "state"])
def test_the_channel_equals_the_segment_after_every_run(series: dict[Repeats, list[Series]], repeats: Repeats) -> None:
    for one in series[repeats]:
        assert [run["version"] for run in one.runs if run["wrong"]] == []
        assert {run["status"] for run in one.runs} <= {"succeeded", "nothing"}
    assert sum(one.book.again for one in series[repeats]) > 0  # some were killed between sending and recording
    if repeats == "keys":
        assert sum(one.book.twice for one in series[repeats]) == 0


def test_without_keys_nobody_is_told_twice_and_what_was_under_way_is_unknown(series: dict[Repeats, list[Series]]) -> None:
    unknown = 0
    for one in series["effect"]:
        assert one.book.twice == 0
        assert [run["version"] for run in one.runs if run["wrong"] > run["counts"]["unknown"]] == []
        unknown += sum(run["counts"]["unknown"] for run in one.runs)
        lost = Counter(run for run, _ in {(row["run"], row["key"]) for row in one.receipts if row["status"] == "unknown"})
        assert max(lost.values(), default=0) <= GROUP
    assert unknown > 0


def test_each_kind_of_channel_was_killed_in_each_phase_and_its_runs_went_on(series: dict[Repeats, list[Series]]) -> None:
    places: Counter[str] = Counter()
    for lakehouses in series.values():
        moments = [moment for one in lakehouses for moment in one.moments]
        phases = Counter(phase for one in lakehouses for phase, _ in one.ends)
        assert phases == Counter(moment.phase for moment in moments)
        assert set(phases) == set(PHASES)
        places.update(place for one in lakehouses for _, place in one.ends)
        assert all(len(one.runs) > sum(moment.later for moment in one.moments) for one in lakehouses)
        assert sum(len(one.runs) for one in lakehouses) >= KILLS / 6
    assert places.total() >= KILLS
    assert set(places) == {"before", "within", "after"}


def test_sigterm_finishes_what_is_under_way_and_records_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    """While rows are under way it is a clean stop; at any other moment the process ends at once, for there is nothing to finish."""
    first = Moment("sending", 1, 0.0, True, signal.SIGTERM)  # the first batch of a whole version
    times = max(len(PHASES), KILLS // 20)
    moments = {repeats: [first, *drawn(times, random.Random(n), signal.SIGTERM)] for n, repeats in enumerate(KINDS)}
    for repeats, (one,) in all_series(tmp_path_factory.mktemp, moments, times + 1).items():
        assert (one.book.again, one.book.twice) == (0, 0), repeats  # what had gone out was on record
        assert one.book.lines == sum(row["status"] == "delivered" for row in one.receipts), repeats
        assert {run["unknown"] + run["counts"]["unknown"] for run in one.runs} == {0}, repeats
        assert [run["version"] for run in one.runs if run["wrong"] and run["status"] != "stopped"] == [], repeats
        stops = [run for run in one.runs if run["status"] == "stopped"]
        assert len(stops) == one.codes.count(0)
        assert all(code == 0 for code, moment in zip(one.codes, one.moments, strict=True) if moment.phase in UNDER_WAY), repeats
        assert any(run["delivered"] and run["retryable"] for run in stops), repeats
