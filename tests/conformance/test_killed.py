"""Killed at random moments, in every phase of a run: the next run continues, the channel ends equal to the segment, nobody is told twice.

CDP_KILLS sets how many moments (README of the tests: 200 of them take about five minutes on two cores).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
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

KILLS = int(os.environ.get("CDP_KILLS", "200"))
MANY = 100  # from so many on, everything that a kill can do has happened
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
        deadline = time.monotonic() + 60
        while not (self.root / "phase").read_text():
            assert time.monotonic() < deadline
            assert process.is_alive(), (self.root / "errors").read_text()
            time.sleep(0.005)
        return process

    def runs(self) -> list[dict[str, Any]]:
        """The runs that came to an end."""
        path = self.root / "runs"
        return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")] if path.exists() else []

    def phase(self) -> str:
        """What the process does, or did last."""
        return (self.root / "phase").read_text().strip()

    def signalled(self, number: signal.Signals) -> int | None:
        """Let a run begin and end it by a signal: in a phase that is drawn, or at any time of its first run and the next; its exit code."""
        process, wanted = self.start(), self.moments.choice([*PHASES, None])
        seconds = [run["seconds"] for run in self.runs()[-5:]]
        end = time.monotonic() + 2 * sum(seconds) / len(seconds) * (self.moments.random() if wanted is None else 3)
        while time.monotonic() < end and (wanted is None or self.phase() != wanted):
            time.sleep(0.001)
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

    def killed(self, times: int) -> None:
        self.after_a_run()
        for _ in range(times):
            assert self.signalled(signal.SIGKILL) == -signal.SIGKILL, (self.root / "errors").read_text()
            assert self.book().lines <= self.ledger()  # whatever was put on the wire has its line before
        self.after_a_run()

    def after_a_run(self) -> None:
        """A process that lives until it has finished a run."""
        process, before = self.start(), len(self.runs())
        deadline = time.monotonic() + 60
        while len(self.runs()) == before and process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
        process.join()
        assert len(self.runs()) > before, (self.root / "errors").read_text()


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> dict[Repeats, Series]:
    """Each kind of channel killed a third of the times, side by side."""
    made = {repeats: Series(tmp_path_factory.mktemp(repeats), repeats, random.Random(n)) for n, repeats in enumerate(KINDS)}
    with ThreadPoolExecutor(len(KINDS)) as pool:
        list(pool.map(lambda one: one.killed(-(-KILLS // len(KINDS))), made.values()))
    return made


@pytest.mark.parametrize("repeats", ["keys", "state"])
def test_the_channel_equals_the_segment_after_every_run(series: dict[Repeats, Series], repeats: Repeats) -> None:
    one = series[repeats]
    runs = one.runs()
    assert [run["version"] for run in runs if run["wrong"]] == []
    assert {run["status"] for run in runs} <= {"succeeded", "nothing"}
    assert len(runs) >= max(2, KILLS / 20)
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
    lost = one.engine.query(
        "SELECT run, COUNT(*) AS n FROM cdp.receipts WHERE status = 'unknown' GROUP BY run", what="cdp.receipts"
    ).to_pylist()
    assert all(row["n"] <= GROUP for row in lost)


def test_the_moments_were_in_every_phase(series: dict[Repeats, Series]) -> None:
    phases = sum((one.phases for one in series.values()), Counter())
    assert sum(phases.values()) >= KILLS
    assert set(phases) >= set(PHASES) or KILLS < MANY
