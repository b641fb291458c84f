"""The first load of a million rows of eleven columns in batches of 1,000, on loopback, beside a client with bodies made beforehand.

Every side takes its turn on the same engine and the same receiver, which is a process of its own. `apply_1m` is the whole of
applying the plan, ledger and receipts included; `load_1m` the plan as well.
"""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks import wide
from tests.benchmarks.channel import Channel, Planned
from tests.benchmarks.ratio import Prepared, Ratio, best
from tests.benchmarks.receiver import receiver

ROWS, ROUNDS = 1_000_000, 3


def run(folder: Path) -> list[Ratio]:
    """Send everything in four ways."""
    clinic = wide.opened(folder)
    clinic.load(ROWS)
    with receiver() as url:
        channel = Channel(clinic, url)
        rows = channel.rows()
        bodies = channel.bodies(rows)
        made: list[Planned] = []
        limit, by_hand, planned, applied = best(
            ROUNDS,
            lambda: channel.limit(bodies),
            lambda: channel.by_hand(rows),
            Prepared(channel.fresh, lambda control: made.append(channel.plan(control))),
            lambda: channel.apply(made.pop()),
        )
    clinic.engine.close()
    return [
        Ratio("apply_1m", applied, limit, 1.5),
        Ratio("apply_1m_by_hand", applied, by_hand, 1.0),
        Ratio("load_1m", planned + applied, limit, 2.5),
    ]
