"""The second run of a million people of whom 1% changed, 0.2% are gone and 0.2% new: plan and apply, on an open session.

By the processor's time, as everything that is held to a budget, and by the clock.
"""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from tests.benchmarks import wide
from tests.benchmarks.channel import Channel
from tests.benchmarks.clinic import DUE, GONE, SCHEMA
from tests.benchmarks.ratio import Prepared, Ratio, best, cpu
from tests.benchmarks.receiver import receiver

ROWS, BUDGET_SECONDS, ROUNDS = 1_000_000, 2.0, 3
EXPECTED = {"add": ROWS // GONE, "change": ROWS // DUE, "remove": ROWS // GONE}


def run(folder: Path) -> list[Ratio]:
    """Each round begins with another copy of what is known, and ends with the changes delivered."""
    clinic = wide.opened(folder)
    clinic.load(ROWS)
    with receiver() as url:
        channel = Channel(clinic, url)
        channel.apply(channel.plan(channel.fresh(SCHEMA)))
        clinic.change(ROWS)

        def known() -> str:
            control = f"{SCHEMA}_{uuid.uuid4().hex[:8]}"
            shutil.copytree(clinic.lake / SCHEMA, clinic.lake / control)
            channel.fresh(control)
            return control

        def again(control: str) -> None:
            planned = channel.plan(control)
            assert {op: planned[2].counts[op] for op in EXPECTED} == EXPECTED, planned[2].counts
            channel.apply(planned)

        (seconds,) = best(ROUNDS, Prepared(known, again), clock=cpu)
        (clock,) = best(ROUNDS, Prepared(known, again))
    clinic.engine.close()
    return [Ratio("second_1m", seconds, BUDGET_SECONDS, 1.0), Ratio("second_1m_clock", clock, BUDGET_SECONDS, 1.0)]
