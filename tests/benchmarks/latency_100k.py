"""A first load of 100,000 rows in batches of 100 to a channel that answers after 50 ms, beside a client alone at its best concurrency."""

from __future__ import annotations

import time
from pathlib import Path

from tests.benchmarks import wide
from tests.benchmarks.channel import Channel
from tests.benchmarks.ratio import Prepared, Ratio, best
from tests.benchmarks.receiver import receiver

ROWS, BATCH, SECONDS = 100_000, 100, 0.05
TRIED = (8, 16, 32, 64)


def run(folder: Path) -> list[Ratio]:
    """Find the best concurrency of the client alone, and give it to both."""
    clinic = wide.opened(folder)
    clinic.load(ROWS)
    with receiver(latency=SECONDS) as url:
        probe = Channel(clinic, url, batch=BATCH)
        bodies = probe.bodies(probe.rows())
        concurrency = min(TRIED, key=lambda abreast: _seconds(probe, bodies, abreast))
        channel = Channel(clinic, url, batch=BATCH, concurrency=concurrency)
        applied, bare = best(3, Prepared(lambda: channel.plan(channel.fresh()), channel.apply), lambda: channel.limit(bodies))
    clinic.engine.close()
    return [Ratio("latency_100k", applied, bare, 1.5)]


def _seconds(channel: Channel, bodies: list[bytes], abreast: int) -> float:
    start = time.perf_counter()
    channel.limit(bodies, abreast)
    return time.perf_counter() - start
