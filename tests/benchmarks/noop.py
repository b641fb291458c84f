"""A sync of which nothing has changed, from the governed query to the line on record: many people against few, and against its budget.

`CDP_BENCH_PEOPLE` says how many there are (10,000,000 for the numbers in docs/performance.md). The budget is of the processor's time.
"""

from __future__ import annotations

import os
from pathlib import Path

from cdp.compile.clock import Clock
from cdp.connectors.base import Egress, Target
from cdp.connectors.http import HttpConnector
from cdp.sync import unchanged
from cdp.sync.apply import apply_plan
from cdp.sync.basis import basis
from cdp.sync.planning import make_plan
from tests.benchmarks.clinic import SCHEMA
from tests.benchmarks.plan_10m import Keyed, keyed
from tests.benchmarks.ratio import Ratio, best, cpu

PEOPLE, FEW = int(os.environ.get("CDP_BENCH_PEOPLE", "1000000")), 10_000
BUDGET = 0.3  # seconds over the start of the session
AGAIN = 1.5  # how much longer it may take with many people than with few


def run(folder: Path) -> list[Ratio]:
    """Both sizes by turns."""
    sizes = []
    for count in (PEOPLE, FEW):
        root = folder / str(count)
        root.mkdir()
        sizes.append(Settled(keyed(root, "text"), count))
    many, few = best(10, *(each.skip for each in sizes), clock=cpu)
    return [Ratio("noop_seconds", many, BUDGET, 1.0), Ratio("noop_many_few", many, few, AGAIN)]


class Settled:
    """A sync whose destination holds everybody, and whose last run found nothing to do."""

    def __init__(self, clinic: Keyed, count: int) -> None:
        self.clinic = clinic
        now = Clock.now(clinic.project.timezone)
        clinic.people(count, second=False)
        query = clinic.plain(now)
        clinic.acknowledge(query, now)
        rests = basis(query, clinic.engine, now=now.instant, as_of=now.instant, defaults=None)
        plan = make_plan(query, clinic.engine, SCHEMA, now=now.instant, as_of=now.instant, basis=rests)
        assert not plan.rows, plan.counts
        target = Target(query.destination, Egress(), "", clinic.root)
        assert apply_plan(plan, query, clinic.engine, SCHEMA, HttpConnector, target, now=now.instant, sandbox=True).status == "nothing"

    def skip(self) -> None:
        """Find that nothing has changed, and write that down."""
        clinic, now = self.clinic, Clock.now(self.clinic.project.timezone)
        query = clinic.plain(now)
        rests = basis(query, clinic.engine, now=now.instant, as_of=now.instant, defaults=None)
        found = unchanged.since(clinic.control, query, rests)
        assert found is not None
        unchanged.skip(clinic.control, query, found, now.instant)
