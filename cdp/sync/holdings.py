"""Who is where: how many people each receiver holds, the plans that wait, the ends of the ledger. Makes and changes no table."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cdp.catalog.report import Chain, Waiting
from cdp.engine.base import Engine, literal
from cdp.sync.plan import LIFETIME
from cdp.sync.revocations import states

Cell = tuple[str, str | None]
STATE = ("sync", "key", "subject", "op", "seq", "at")


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the control tables say.

    Attributes:
        people: who is at a receiver, for a purpose and in all. True numbers: small ones are not to be shown as they are.
        latest: by receiver, when something was last delivered.
        undeclared: by sync that the project does not have, how many of its people are still where it sent them.
        waiting: plans that nobody has approved or applied, and that can still be applied.
        chains: the ends of the disclosure ledger.
        overdue: by sync whose receiver has people that must be taken off, that receiver.
    """

    people: Mapping[Cell, int]
    latest: Mapping[str, str]
    undeclared: Mapping[str, int]
    waiting: tuple[Waiting, ...]
    chains: tuple[Chain, ...]
    overdue: Mapping[str, str]


def holdings(engine: Engine, control: str, syncs: Mapping[str, Cell], now: dt.datetime) -> Holdings:
    """Read what the control tables of an environment say.

    Args:
        engine: over the lakehouse.
        control: their schema.
        syncs: the declared syncs, each with its receiver and purpose.
        now: the wall clock.
    """
    reader = _Reader(engine, control)
    held = reader.held() if reader.have("synced", "receipts") else ""
    known = ", ".join(f"({', '.join(literal(word) for word in (name, *cell))})" for name, cell in sorted(syncs.items()))
    people: dict[Cell, int] = {}
    latest: dict[str, str] = {}
    if held and known:
        declared = (
            f"(SELECT h.*, d.receiver, d.purpose FROM {held} AS h JOIN (VALUES {known}) AS d (name, receiver, purpose) ON h.sync = d.name)"
        )
        for row in reader.rows(f"SELECT receiver, COUNT(DISTINCT subject) AS n, MAX(at) AS at FROM {declared} AS x GROUP BY receiver"):
            people[row["receiver"], None], latest[row["receiver"]] = row["n"], row["at"].isoformat()
        for row in reader.rows(f"SELECT receiver, purpose, COUNT(DISTINCT subject) AS n FROM {declared} AS x GROUP BY receiver, purpose"):
            people[row["receiver"], row["purpose"]] = row["n"]
    counted = reader.rows(f"SELECT sync, COUNT(DISTINCT subject) AS n FROM {held} AS x GROUP BY sync ORDER BY sync") if held else []
    undeclared = {row["sync"]: row["n"] for row in counted if row["sync"] not in syncs}
    return Holdings(people, latest, undeclared, reader.waiting(now), reader.chains(), reader.overdue())


def waiting(engine: Engine, control: str, now: dt.datetime) -> tuple[Waiting, ...]:
    """Plans that need an approval, have none, and can still be applied, oldest first."""
    return _Reader(engine, control).waiting(now)


@dataclass(frozen=True, slots=True)
class _Reader:
    engine: Engine
    control: str

    def have(self, *names: str) -> bool:
        """Whether control tables are there; from then on queries may name them."""
        tables = [f"{self.control}.{name}" for name in names]
        if not all(self.engine.exists(table) for table in tables):
            return False
        self.engine.register(tables)
        return True

    def rows(self, statement: str) -> Sequence[Mapping[str, Any]]:
        found: list[dict[str, Any]] = self.engine.query(statement, what="the control tables").to_pylist()
        return found

    def held(self) -> str:
        """SQL of whom each sync's receiver holds: the last delivered receipt of a key counts, and is no removal."""
        columns = ", ".join(STATE)
        delivered = f"SELECT {columns} FROM {self.control}.receipts WHERE status = 'delivered'"
        every = f"SELECT {columns} FROM {self.control}.synced UNION ALL {delivered}"
        last = "MAX_BY(e.subject, e.seq) AS subject, MAX_BY(e.op, e.seq) AS op, MAX_BY(e.at, e.seq) AS at"
        return f"(SELECT s.* FROM (SELECT e.sync, e.key, {last} FROM ({every}) AS e GROUP BY e.sync, e.key) AS s WHERE s.op <> 'remove')"

    def waiting(self, now: dt.datetime) -> tuple[Waiting, ...]:
        """Plans that need an approval, have none, and can still be applied."""
        if not self.have("plans"):
            return ()
        plans = f"{self.control}.plans"
        done = f"SELECT p.plan FROM {plans} AS p WHERE p.event IN ('approved', 'applied')"  # a guard that was accepted approves nothing
        created = f"SELECT p.body FROM {plans} AS p LEFT ANTI JOIN ({done}) AS d ON p.plan = d.plan WHERE p.event = 'created' ORDER BY p.at"
        found = []
        for body in (json.loads(row["body"]) for row in self.rows(created)):
            expires = dt.datetime.fromisoformat(body["created"]) + LIFETIME
            if body.get("needs_approval") and now < expires:
                why = tuple(body["needs_approval"])
                found.append(Waiting(body["plan"], body["sync"], body["planned_by"], body["created"], expires.isoformat(), why))
        return tuple(found)

    def chains(self) -> tuple[Chain, ...]:
        """The highest block of each sync."""
        if not self.have("disclosures"):
            return ()
        last = "MAX(b.block) AS block, MAX_BY(b.hash, b.block) AS hash, MAX(b.at) AS at, SUM(b.lines) AS lines"
        statement = f"SELECT b.sync, {last} FROM {self.control}.disclosures AS b WHERE b.kind = 'block' GROUP BY b.sync ORDER BY b.sync"
        return tuple(Chain(r["sync"], r["block"], r["hash"], r["at"].isoformat(), r["lines"] or 0) for r in self.rows(statement))

    def overdue(self) -> dict[str, str]:
        """The syncs at whose receiver somebody still is who must not be, each with the receiver."""
        if not self.have("revocations", "receipts"):
            return {}
        every = states(f"{self.control}.revocations", f"{self.control}.receipts")
        statement = f"SELECT s.sync, MAX(s.destination) AS destination FROM ({every}) AS s WHERE s.state = 'open' GROUP BY s.sync"
        return {row["sync"]: row["destination"] for row in sorted(self.rows(statement), key=lambda row: str(row["sync"]))}
