"""Ten times the people, at most twelve times the time: plan, apply and receipts of a first load, and plan and apply of a second run."""

from __future__ import annotations

import time
from pathlib import Path

from tests.benchmarks import wide
from tests.benchmarks.channel import Channel
from tests.benchmarks.ratio import Ratio
from tests.benchmarks.receiver import receiver

FEW, MANY, BAR = 1_000_000, 10_000_000, 12.0


def run(folder: Path) -> list[Ratio]:
    """Both sizes, each phase beside itself: no channel of either is there before."""
    few, many = (phases(folder / str(count), count) for count in (FEW, MANY))
    return [Ratio(f"scale_{name}", many[name], few[name], BAR) for name in few]


def phases(root: Path, count: int) -> dict[str, float]:
    """Seconds of each phase, by the clock."""
    root.mkdir()
    clinic, found = wide.opened(root), {}
    clinic.load(count)
    with receiver() as url:
        channel = Channel(clinic, url)
        control = channel.fresh()
        for turn in ("first", "second"):
            start = time.perf_counter()
            planned = channel.plan(control)
            between = time.perf_counter()
            channel.apply(planned)
            found |= {f"{turn}_plan": between - start, f"{turn}_apply": time.perf_counter() - between}
            clinic.change(count)
    clinic.engine.close()
    return found
