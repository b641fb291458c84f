"""What a benchmark gives, and how two things are timed fairly."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours beside theirs.

    Attributes:
        name: of the benchmark.
        ours, theirs: seconds, the best of several runs; `theirs` may be a budget.
        bar: what `ours / theirs` must not exceed.
    """

    name: str
    ours: float
    theirs: float
    bar: float

    @property
    def ratio(self) -> float:
        """How many times as long ours takes."""
        return self.ours / self.theirs

    @property
    def holds(self) -> bool:
        """Whether the ratio keeps to its bar."""
        return self.ratio <= self.bar

    def as_json(self) -> dict[str, object]:
        """The line of build/benchmarks.json."""
        seconds = {"ours_seconds": round(self.ours, 4), "theirs_seconds": round(self.theirs, 4)}
        return {"name": self.name, "ratio": round(self.ratio, 3), "bar": self.bar, "holds": self.holds, **seconds}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A side whose `before` is not timed; what it returns is handed to `timed`."""

    before: Callable[[], Any]
    timed: Callable[[Any], object]


Side = Callable[[], object] | Prepared
Clock = Callable[[], float]


def best(rounds: int, *sides: Side, clock: Clock = time.perf_counter) -> list[float]:
    """The shortest time of each side in seconds.

    The sides take turns, so that what else the machine does hits them alike; the first turn of each is not counted. What is held
    to a budget rather than to another side is timed by the processor's time (`cpu`), which others' work does not use up.
    """
    times = [[_once(side, clock) for side in sides] for _ in range(rounds + 1)]
    return [min(column) for column in zip(*times[1:], strict=True)]


def cpu() -> float:
    """The processor's time of this process and of those that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _once(side: Side, clock: Clock) -> float:
    made = side.before() if isinstance(side, Prepared) else None
    gc.collect()
    start = clock()
    side.timed(made) if isinstance(side, Prepared) else side()
    return clock() - start
