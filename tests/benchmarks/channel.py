"""A clinic's destination at a receiver: what the sync does with it, and what a client alone would.

`limit` posts bodies that were made beforehand, `by_hand` makes them from Arrow rows as a script would; both use the client of the
`http` connector (httpx). `plan` and `apply` are the whole of `cdp plan` and `cdp apply` but reading the project and starting the
engine: consent, digest, ledger, lease, receipts.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import httpx
import pyarrow as pa

from cdp.compile.clock import Clock
from cdp.connectors import pace
from cdp.connectors.base import Egress, Target
from cdp.connectors.bodies import contents, json_texts
from cdp.connectors.http import HttpConnector
from cdp.governance.query import GovernedQuery
from cdp.sync.apply import apply_plan
from cdp.sync.basis import basis
from cdp.sync.ledger import Control
from cdp.sync.plan import Plan
from cdp.sync.planning import make_plan
from tests.benchmarks.clinic import Clinic
from tests.benchmarks.receiver import counted

Item = TypeVar("Item")
Planned = tuple[str, GovernedQuery, Plan]
TABLES = ("disclosures", "leases", "plans", "receipts", "revocations", "runs", "synced")


class Channel:
    """The sync's destination, at a receiver.

    Args:
        clinic: its lakehouse.
        url: of the receiver.
        batch: rows of a request.
        concurrency: requests at a time, declared and of the bare clients.
    """

    def __init__(self, clinic: Clinic, url: str, *, batch: int = 1_000, concurrency: int = 4) -> None:
        self.clinic, self.url, self.batch, self.concurrency = clinic, url, batch, concurrency
        self.now = Clock.now(clinic.project.timezone)
        destination = clinic.project.destinations["mail"]
        assert destination.http is not None
        upsert = destination.http.upsert.model_copy(update={"batch": batch})
        http = destination.http.model_copy(update={"upsert": upsert, "concurrency": concurrency, "repeats": "state"})
        placed = destination.model_copy(update={"base_url": url, "http": http})
        self.target = Target(placed, Egress(plaintext_loopback=True), "", clinic.root, {"api_key": "sandbox"})
        self.answered: dict[str, float] = {}

    # -- the sync ---------------------------------------------------------------------------------------------------

    def fresh(self, control: str = "") -> str:
        """A control schema whose tables are all there, as after any earlier run of another sync; a new one knows nothing."""
        control = control or f"cdp_{uuid.uuid4().hex[:8]}"
        for name in TABLES:
            Control(self.clinic.engine, control).table(name)
        return control

    def plan(self, control: str) -> Planned:
        """All of a plan."""
        query, times = self.clinic.governed(self.now), {"now": self.now.instant, "as_of": self.now.instant}
        rests = basis(query, self.clinic.engine, **times, defaults=None)
        return control, query, make_plan(query, self.clinic.engine, control, **times, basis=rests)

    def apply(self, planned: Planned) -> None:
        """The whole of applying it, to the last receipt; every row must have come."""
        control, query, plan = planned
        pace.forget()
        done = apply_plan(plan, query, self.clinic.engine, control, HttpConnector, self.target, now=self.now.instant, sandbox=True)
        self.answered = counted(self.url)
        told = plan.counts["add"] + plan.counts["change"]
        assert done.delivered == plan.rows, (done, self.answered)
        assert self.answered["rows"] >= told, (told, self.answered)

    # -- without it -------------------------------------------------------------------------------------------------

    def rows(self) -> list[pa.Table]:
        """What the sync would send, in Arrow, a table a request."""
        query = self.clinic.bare(self.now)
        self.clinic.engine.register(query.tables)
        rows = self.clinic.engine.query(query.select).select(list(query.columns)).combine_chunks()
        return [rows.slice(start, self.batch) for start in range(0, rows.num_rows, self.batch)]

    def bodies(self, rows: Sequence[pa.Table]) -> list[bytes]:
        """The bodies of these requests."""
        return [b'{"contacts":[' + bytes(contents(json_texts(table, ",")))[:-1] + b"]}" for table in rows]

    def limit(self, bodies: Sequence[bytes], concurrency: int | None = None) -> None:
        """A client alone, with bodies that are there."""
        self._send(list(bodies), lambda body: body, concurrency or self.concurrency)

    def by_hand(self, rows: Sequence[pa.Table]) -> None:
        """A client that makes each body from its rows, as one would in a script."""
        self._send(list(rows), lambda table: json.dumps({"contacts": table.to_pylist()}, default=str).encode(), self.concurrency)

    def _send(self, items: Sequence[Item], body: Callable[[Item], bytes], concurrency: int) -> None:
        async def send() -> None:
            limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
            async with httpx.AsyncClient(trust_env=False, limits=limits) as client:

                async def one(item: Item) -> None:
                    headers = {"content-type": "application/json", "idempotency-key": f"{id(item):064x}"}
                    response = await client.put(f"{self.url}/v1/contacts", content=body(item), headers=headers)
                    assert response.status_code == 200

                await each(items, one, concurrency)

        asyncio.run(send())
        assert counted(self.url)["requests"] == len(items)


async def each(items: Sequence[Item], do: Callable[[Item], Awaitable[None]], abreast: int) -> None:
    """Do it to every item, so many at a time."""
    left = iter(items)

    async def work() -> None:
        for item in left:
            await do(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(abreast):
            group.create_task(work())
