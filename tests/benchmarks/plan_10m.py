"""The plan of a second run, stored and hashed, against DuckDB's bare hash diff of the same people, with integer and with 32-character keys.

1% have changed, 0.2% are gone, 0.2% are new. `CDP_BENCH_PEOPLE` says how many there are (10,000,000 for the numbers in
docs/performance.md). Data are written, timed and weighed in processes of their own: the peak of memory is that of a process that
starts the engine and plans once, as `cdp plan` does.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlglot
from sqlglot import exp

from cdp.compile.clock import Clock
from cdp.governance.query import GovernedQuery
from cdp.sync.plan import rows_table
from cdp.sync.planning import make_plan
from tests.benchmarks.clinic import DUE, GONE, SCHEMA, Clinic, opened
from tests.benchmarks.duck import Duck
from tests.benchmarks.ratio import Ratio, best, cpu

PEOPLE = int(os.environ.get("CDP_BENCH_PEOPLE", "1000000"))
ROUNDS = int(os.environ.get("CDP_BENCH_ROUNDS", "3"))
BARS = {"integer": 1.3, "text": 2.0}
GIGABYTES = 2.0
KEYS = {"integer": "id", "text": "md5(CAST(id AS STRING))"}
COLUMNS = ("email", "given_name", "birth_date", "death_date", "state")


def run(folder: Path) -> list[Ratio]:
    """Both kinds of keys: time beside DuckDB's, and memory beside its bar."""
    found = []
    for kind, bar in BARS.items():
        root = folder / kind
        root.mkdir()
        _child("write", root, kind)
        ours, theirs = _child("time", root, kind)
        (peak,) = _child("weigh", root, kind)
        found += [Ratio(f"plan_{kind}", ours, theirs, bar), Ratio(f"plan_{kind}_gb", peak, GIGABYTES, 1.0)]
    return found


def _child(what: str, root: Path, kind: str) -> list[float]:
    """What a process of its own measures."""
    words = [sys.executable, "-m", "tests.benchmarks.plan_10m", what, str(root), kind]
    answer: list[float] = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout or "[]")
    return answer


class Keyed(Clinic):
    """The clinic with a key of a kind and no rules: a plan is then the diff, its rows, their digest and what is due."""

    kind: str = ""

    def plain(self, now: Clock) -> GovernedQuery:
        """The columns of every patient."""
        query = self.governed(now)
        values = ", ".join(f"p.{name} AS {field}" for field, name in zip(query.values, COLUMNS, strict=True))
        person = "SELECT p.patient_id AS _subject, CAST(NULL AS STRING) AS _rule"
        select = f"{person}, p.patient_id AS {query.keys[0]}, {values} FROM clinical.patients AS p"
        nobody = f"{person} FROM clinical.patients AS p WHERE FALSE"
        bare = {"select": _parsed(select), "eligibility": _parsed(nobody), "rules": (), "wire_masks": (), "declared": {}, "freshness": ()}
        return replace(query, **bare, tables=("clinical.patients",))

    def people(self, count: int, second: bool) -> None:
        """Write the patients of the first or the second day."""
        host = f"CASE WHEN id % {DUE} = 7 THEN '@example.com' ELSE '@example.org' END" if second else "'@example.org'"
        there = f"range({count + count // GONE}) WHERE id % {GONE} <> 3 OR id >= {count}" if second else f"range({count})"
        self.engine.drop("clinical.patients")
        self.engine.create_as(
            "clinical.patients",
            f"SELECT {KEYS[self.kind]} AS patient_id, date_add(DATE'1940-01-01', CAST(id % 20000 AS INT)) AS birth_date, "
            f"CAST(NULL AS DATE) AS death_date, concat('Given', id % 5000) AS given_name, concat('patient', id, {host}) AS email, "
            f"CASE id % 3 WHEN 0 THEN 'MA' WHEN 1 THEN 'NH' ELSE 'VT' END AS state FROM {there}",
        )


def _parsed(text: str) -> exp.Select:
    select = sqlglot.parse_one(text, dialect="spark")
    assert isinstance(select, exp.Select)
    return select


def _duck(root: Path) -> Duck:
    return Duck(root / "project" / "lake", root, COLUMNS)


def keyed(root: Path, kind: str, **engine: Any) -> Keyed:
    """The clinic of a folder, on the embedded engine or another."""
    made = opened(root, **engine)
    clinic = Keyed(made.project, made.engine, made.root)
    object.__setattr__(clinic, "kind", kind)
    return clinic


def write(root: Path, kind: str) -> list[float]:
    """The first day, held by the destination and by DuckDB; then the second day."""
    clinic, duck = keyed(root, kind), _duck(root)
    now = Clock.now(clinic.project.timezone)
    clinic.people(PEOPLE, second=False)
    clinic.acknowledge(clinic.plain(now), now)
    duck.hold()
    clinic.people(PEOPLE, second=True)
    return []


def time(root: Path, kind: str) -> list[float]:
    """Plan and diff by turns, in seconds of the processor: others who use the machine do not count."""
    clinic, duck = keyed(root, kind), _duck(root)
    counts = duck.diff()
    return best(ROUNDS, lambda: plan(clinic, counts), duck.diff, clock=cpu)


def weigh(root: Path, kind: str) -> list[float]:
    """The peak of memory of a process that plans once, in gigabytes."""
    plan(keyed(root, kind), None)
    return [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9]


def plan(clinic: Keyed, counts: dict[str, int] | None) -> None:
    """All of `cdp plan` but reading the project and starting the engine."""
    now = Clock.now(clinic.project.timezone)
    made = make_plan(clinic.plain(now), clinic.engine, SCHEMA, now=now.instant, as_of=now.instant)
    assert counts is None or {op: made.counts[op] for op in counts} == counts, made.counts
    clinic.engine.drop(rows_table(clinic.control, made.id))


if __name__ == "__main__":
    what, root, kind = sys.argv[1:]
    print(json.dumps({"write": write, "time": time, "weigh": weigh}[what](Path(root), kind)))
