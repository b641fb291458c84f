"""The second run over a million people: the diff alone, and the whole plan, against DuckDB's bare join of the same files."""

from __future__ import annotations

from pathlib import Path

from cdp.compile.clock import Clock
from cdp.sync import diff, state
from cdp.sync.plan import rows_table
from cdp.sync.planning import make_plan
from tests.benchmarks.clinic import DUE, GONE, SCHEMA, Clinic, opened
from tests.benchmarks.duck import Duck
from tests.benchmarks.ratio import Ratio, best

PEOPLE = 1_000_000
EXPECTED = {"add": PEOPLE // GONE, "change": PEOPLE // DUE, "remove": PEOPLE // GONE}


def run(folder: Path) -> list[Ratio]:
    """Diff and plan, each beside DuckDB."""
    clinic = opened(folder)
    clinic.load(PEOPLE)
    now = Clock.now(clinic.project.timezone)
    clinic.acknowledge(clinic.governed(now), now)
    theirs = Duck(clinic.lake, folder, clinic.sent[1:])
    theirs.hold()
    clinic.change(PEOPLE)
    ours = Ours(clinic, now)
    assert ours.diff() == theirs.diff() == EXPECTED
    diffed, joined = best(8, ours.diff, theirs.diff)
    planned, joined_again = best(4, ours.plan, theirs.diff)
    clinic.engine.close()
    return [Ratio("diff_1m", diffed, joined, 2.0), Ratio("plan_1m", planned, joined_again, 10.0)]


class Ours:
    """The planner's functions on the embedded engine."""

    def __init__(self, clinic: Clinic, now: Clock) -> None:
        self.clinic, self.now = clinic, now
        self.bare, self.query = clinic.bare(now), clinic.governed(now)
        clinic.engine.register(self.bare.tables)
        self.types = clinic.engine.types(self.bare.select)

    def diff(self) -> dict[str, int]:
        """Who should be there, what differs from what was acknowledged, and how many of each kind."""
        engine, control, changes = self.clinic.engine, self.clinic.control, f"{SCHEMA}.bench_changes"
        acknowledged = state.acknowledged(control, self.bare.sync.name, state.known(control, self.bare.sync.name))
        engine.create_as(changes, diff.joined(self.bare, self.types, acknowledged, "FALSE", "keep"))
        counted = engine.query(f"SELECT op, COUNT(*) AS n FROM {changes} WHERE op <> 'same' GROUP BY op").to_pylist()
        engine.drop(changes)
        return {row["op"]: row["n"] for row in sorted(counted, key=lambda row: row["op"])}

    def plan(self) -> None:
        """All of `cdp plan` but reading the project and starting the engine: consent, guards, stored rows and their digest."""
        plan = make_plan(self.query, self.clinic.engine, SCHEMA, now=self.now.instant, as_of=self.now.instant)
        assert {op: plan.counts[op] for op in EXPECTED} == EXPECTED, plan.counts
        self.clinic.engine.drop(rows_table(self.clinic.control, plan.id))
