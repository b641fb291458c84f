"""The plan of a second run on Spark, beside the same diff written by hand in Spark SQL: one join, whose rows are stored.

The lakehouse is that of `plan_10m`, written by the embedded engine; Spark runs in a process of its own, for the two cannot share one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from cdp.compile.clock import Clock
from cdp.engine.base import quoted
from cdp.sync import encoding
from tests.benchmarks.clinic import SCHEMA
from tests.benchmarks.plan_10m import Keyed, keyed, plan
from tests.benchmarks.ratio import Ratio, best

KIND, BAR, ROUNDS = "text", 1.2, 2
HAND = f"{SCHEMA}.by_hand"


def run(folder: Path) -> list[Ratio]:
    """By turns, by the clock: what the JVM takes is not this process's."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SPARK")}
    answer = ""
    for words in (("tests.benchmarks.plan_10m", "write", str(folder), KIND), ("tests.benchmarks.plan_spark", str(folder))):
        answer = subprocess.run([sys.executable, "-m", *words], check=True, stdout=subprocess.PIPE, text=True, env=clean).stdout
    ours, theirs = json.loads(answer.splitlines()[-1])
    return [Ratio("plan_spark", ours, theirs, BAR)]


def time(root: Path) -> list[float]:
    """Plan and diff by turns, in seconds."""
    clinic = keyed(root, KIND, engine="spark")
    counts = by_hand(clinic)
    return best(ROUNDS, lambda: plan(clinic, counts), lambda: by_hand(clinic))


def by_hand(clinic: Keyed) -> dict[str, int]:
    """Who differs and what they are sent, as one would write it; how many of each kind."""
    engine, query = clinic.engine, clinic.plain(Clock.now(clinic.project.timezone))
    engine.register([*query.tables, f"{SCHEMA}.synced"])
    content = encoding.content(query, engine.types(query.select)).sql("spark")
    columns = ", ".join(map(quoted, query.values))
    op = "CASE WHEN a.key IS NULL THEN 'add' WHEN w.key IS NULL THEN 'remove' ELSE 'change' END AS op"
    engine.drop(HAND)
    engine.create_as(
        HAND,
        f"SELECT {op}, COALESCE(w.key, a.key) AS key, w.content, {columns} "
        f"FROM (SELECT {quoted(query.keys[0])} AS key, {content} AS content, {columns} FROM ({query.select.sql('spark')}) AS g) AS w "
        f"FULL OUTER JOIN (SELECT key, content FROM {SCHEMA}.synced WHERE sync = '{query.sync.name}') AS a ON w.key = a.key "
        "WHERE NOT w.content <=> a.content",
    )
    return {row["op"]: row["n"] for row in engine.query(f"SELECT op, COUNT(*) AS n FROM {HAND} GROUP BY op").to_pylist()}


if __name__ == "__main__":
    print(json.dumps(time(Path(sys.argv[1]))))
