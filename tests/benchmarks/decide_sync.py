"""What one sync costs at the gate: its query compiled, read by the walk, lowered, and decided. Eligibility and agreements included."""

from __future__ import annotations

from pathlib import Path

from cdp import connectors
from cdp.compile.clock import Clock
from cdp.governance.decide import Governor
from cdp.project import collector
from cdp.project.load import load
from tests.benchmarks import programmes
from tests.benchmarks.ratio import Ratio, best, cpu

BUDGET_SECONDS = 0.005
PROGRAMMES = 40


def run(folder: Path) -> list[Ratio]:
    """Decide on each sync of a project of programmes, with a new governor, and take the mean."""
    root = folder / "programmes"
    programmes.write(root, PROGRAMMES)
    project = load(root, connectors.names())
    now = Clock.now(project.timezone)

    def decide() -> None:
        with collector.paused():
            governor = Governor.of(project)
            refused = [name for name in project.syncs if governor.check(name, clock=now, now=now)]
        assert not refused, refused

    (seconds,) = best(7, decide, clock=cpu)
    return [Ratio("decide_sync", seconds / len(project.syncs), BUDGET_SECONDS, 1.0)]
