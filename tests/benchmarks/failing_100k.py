"""100,000 rows in batches of 100 to a channel that refuses one request of twenty, by turns with 429 and `Retry-After: 1` and with 500.

Its time, less the seconds in which the channel had asked to be left alone, beside the time of the same load without failures.
"""

from __future__ import annotations

import time
from pathlib import Path

from tests.benchmarks import wide
from tests.benchmarks.channel import Channel
from tests.benchmarks.ratio import Ratio
from tests.benchmarks.receiver import receiver

ROWS, BATCH, FAIL_EVERY, ROUNDS = 100_000, 100, 20, 2


def run(folder: Path) -> list[Ratio]:
    """Load by turns with and without failures."""
    clinic = wide.opened(folder)
    clinic.load(ROWS)
    clean, failing = [], []
    with receiver() as url, receiver(fail_every=FAIL_EVERY) as bad:
        sides = Channel(clinic, url, batch=BATCH), Channel(clinic, bad, batch=BATCH)
        for _ in range(ROUNDS):
            for channel, seconds in zip(sides, (clean, failing), strict=True):
                planned = channel.plan(channel.fresh())
                start = time.perf_counter()
                channel.apply(planned)
                seconds.append(time.perf_counter() - start - channel.answered["waits"])
            assert sides[1].answered["failed"] > ROWS / BATCH / FAIL_EVERY - 1, sides[1].answered
    clinic.engine.close()
    return [Ratio("failing_100k", min(failing), min(clean), 1.3)]
