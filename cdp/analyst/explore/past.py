"""How large a segment was when its syncs ran: read from the control tables, which nothing here makes or changes."""

from __future__ import annotations

import json
from dataclasses import dataclass

from cdp.compile.statement import model_sha256
from cdp.engine.base import Engine
from cdp.project.load import Project

SHOWN = 10


@dataclass(frozen=True, slots=True)
class Past:
    """One run.

    Attributes:
        at: when it began, ISO 8601 in UTC.
        people: the members of the segment, those who were left out included.
        same: whether the segment meant the same as today.
    """

    run: str
    sync: str
    at: str
    as_of: str
    people: int
    same: bool


def sizes(project: Project, engine: Engine, control: str, segment: str) -> tuple[Past, ...]:
    """The latest runs of the syncs of a segment, newest first; none where nothing ever ran."""
    syncs = [sync.name for sync in project.syncs.values() if sync.segment == segment]
    runs, plans = f"{control}.runs", f"{control}.plans"
    if not syncs or not engine.exists(runs) or not engine.exists(plans):
        return ()
    engine.register([runs, plans])
    now = model_sha256(project, segment)
    found = engine.query(_statement(runs, plans, len(syncs)), {f"s{n}": name for n, name in enumerate(syncs)}, what="the runs").to_pylist()
    bodies = [(row, json.loads(row["body"])) for row in found]
    return tuple(
        Past(row["run"], row["sync"], row["started"].isoformat(), body["as_of"], body["size"], body["model_sha256"] == now)
        for row, body in bodies
    )


def _statement(runs: str, plans: str, syncs: int) -> str:
    names = ", ".join(f":s{n}" for n in range(syncs))
    started = (
        f"SELECT r.run, r.sync, r.plan, MIN(r.at) AS started FROM {runs} AS r WHERE r.sync IN ({names}) GROUP BY r.run, r.sync, r.plan"
    )
    return (
        f"SELECT r.run, r.sync, r.started, p.body FROM ({started}) AS r JOIN {plans} AS p ON p.plan = r.plan AND p.sync = r.sync "
        f"WHERE p.event = 'created' ORDER BY r.started DESC, r.run DESC LIMIT {SHOWN}"
    )
