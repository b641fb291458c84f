"""Killed at random moments, in every phase of a run: the next run continues, the channel ends equal to the segment, nobody is told twice.

CDP_KILLS says how many moments there are: 200 take some ten minutes of two cores, so the suite is content with fewer. In
which phases a kill finds its run depends on the machine's pace; what must hold, holds in any.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cdp.connectors.base import Repeats
from cdp.engine import connect
from cdp.spec.activation import Environment
from cdp.sync.ledger import Control
from cdp.sync.ledger.verify import verify
from tests.conformance.killed_child import GROUP, PHASES, Book, child
from tests.conformance.world import World, patient

KILLS = int(os.environ.get("CDP_KILLS", "60"))
MANY = 200  # from so many on, everything that a kill can do has happened
KINDS: tuple[Repeats, ...] = ("keys", "state", "effect")
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.conformance.killed_child"])  # imports take seconds, the engine's start a fifth of one


@dataclass
class Series:
    """One lakehouse and its channel, over many kills."""

    root: Path
    repeats: Repeats
    moments: random.Random
    phases: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.engine = connect(Environment(engine="sail", lakehouse="lake"), root=self.root)
        World(self.engine, "clinic", "cdp", self.root).load([patient(n) for n in range(1, 101)])
        (self.root / "version").write_text("0")

    def start(self) -> Any:
        """A process that has its engine, and begins."""
        (self.root / "phase").write_text("")
        process = FORKS.Process(target=child, args=(str(self.root), self.repeats), daemon=True)
        process.start()
        self.until(process, lambda: self.phase() != "")
        return process

    def runs(self) -> list[dict[str, Any]]:
        """The runs that came to an end."""
        path = self.root / "runs"
        return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")] if path.exists() else []

    def phase(self) -> str:
        """What the process does, or did last."""
        return (self.root / "phase").read_text().strip()

    def until(self, process: Any, reached: Callable[[], bool], seconds: float = 120) -> None:
        """Wait until something is reached, or the time is over."""
        end = time.monotonic() + seconds
        while not reached() and time.monotonic() < end:
            assert process.is_alive(), (self.root / "errors").read_text()
            time.sleep(0.001)

    def signalled(self, number: signal.Signals) -> int | None:
        """End a process by a signal, in a phase that is drawn, of its first run, which goes on where the last was ended, or the next."""
        process, before = self.start(), len(self.runs())
        if self.moments.random() < 0.7:
            self.until(process, lambda: len(self.runs()) > before)
        wanted = self.moments.choice(PHASES)
        self.until(process, lambda: self.phase() == wanted, 5)
        time.sleep(self.moments.random() * 0.03)
        os.kill(process.pid, number)
        process.join(60)
        self.phases[self.phase()] += 1
        return process.exitcode

    def ledger(self) -> int:
        """The lines of the ledger, every block of which is as it was written: no kill may part a block from its lines."""
        found = list(verify(Control(self.engine, "cdp")))
        assert [checked.bad for checked in found] in ([], [None])
        return sum(checked.lines for checked in found)

    def book(self) -> Book:
        return Book.read(self.root / "channel", self.repeats)

    def ended(self, times: int, number: signal.Signals, codes: set[int]) -> None:
        """So many processes ended; then a run that comes to its end."""
        for _ in range(times):
            assert self.signalled(number) in codes, (self.root / "errors").read_text()
            assert self.book().lines <= self.ledger()  # whatever was put on the wire has its line before
        process, before = self.start(), len(self.runs())
        self.until(process, lambda: len(self.runs()) > before)
        process.kill()
        process.join()
        assert len(self.runs()) > before


def all_series(folder: Callable[[str], Path], times: int, number: signal.Signals, *codes: int) -> dict[Repeats, Series]:
    """Each kind of channel a third of the times, side by side."""
    made = {repeats: Series(folder(repeats), repeats, random.Random(n)) for n, repeats in enumerate(KINDS)}
    with ThreadPoolExecutor(len(KINDS)) as pool:
        list(pool.map(lambda one: one.ended(-(-times // len(KINDS)), number, set(codes)), made.values()))
    return made


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> dict[Repeats, Series]:
    return all_series(tmp_path_factory.mktemp, KILLS, signal.SIGKILL, -signal.SIGKILL)


@pytest.mark.parametrize("repeats", ["keys", "state"])
def test_the_channel_equals_the_segment_after_every_run(series: dict[Repeats, Series], repeats: Repeats) -> None:
    one = series[repeats]
    runs = one.runs()
    assert [run["version"] for run in runs if run["wrong"]] == []
    assert {run["status"] for run in runs} <= {"succeeded", "nothing"}
    assert len(runs) >= max(2, KILLS / 10)
    book = one.book()
    assert book.again > 0 or KILLS < MANY  # some were killed between sending and recording
    if repeats == "keys":
        assert book.twice == 0


def test_without_keys_nobody_is_told_twice_and_what_was_under_way_is_unknown(series: dict[Repeats, Series]) -> None:
    one = series["effect"]
    assert one.book().twice == 0
    runs = one.runs()
    unknown = [run["counts"]["unknown"] for run in runs]
    assert [run["version"] for run in runs if run["wrong"] > run["counts"]["unknown"]] == []
    assert max(unknown) > 0 or KILLS < MANY
    receipts = Control(one.engine, "cdp").table("receipts")
    lost = one.engine.query(f"SELECT run, COUNT(DISTINCT key) AS n FROM {receipts} WHERE status = 'unknown' GROUP BY run").to_pylist()
    assert all(row["n"] <= GROUP for row in lost)


def test_the_moments_were_in_every_phase(series: dict[Repeats, Series]) -> None:
    phases = sum((one.phases for one in series.values()), Counter())
    assert sum(phases.values()) >= KILLS
    assert len(phases) >= len(PHASES) / 2


def test_sigterm_finishes_what_is_under_way_and_records_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    """While rows are under way it is a clean stop; at any other moment the process ends at once, for there is nothing to finish."""
    found = all_series(tmp_path_factory.mktemp, max(12, KILLS // 8), signal.SIGTERM, 0, -signal.SIGTERM)
    stopped = 0
    for repeats, one in found.items():
        book, runs = one.book(), one.runs()
        assert (book.again, book.twice) == (0, 0), repeats  # what had gone out was on record
        assert [run["version"] for run in runs if run["wrong"] and run["status"] != "stopped"] == [], repeats
        assert {run["unknown"] + run["counts"]["unknown"] for run in runs} == {0}, repeats
        stopped += sum(run["status"] == "stopped" for run in runs)
    assert stopped > 0
