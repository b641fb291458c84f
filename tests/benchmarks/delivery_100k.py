"""100,000 rows of six columns over HTTP to a sandbox in a process of its own, against a bare client with the same bodies.

`connector_100k` makes the bodies from Arrow rows and sends them; `apply_100k` is the whole of applying a plan: the lease, the
digest verified, disclosures, pseudonyms, delivery, receipts. The bare client does none of it: its bodies are made
beforehand. At this size most of an apply is statements whose cost does not grow with the rows.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
import pyarrow as pa

from cdp.compile.clock import Clock
from cdp.connectors.base import Batch, Egress, Target
from cdp.connectors.bodies import json_rows
from cdp.connectors.http import HttpConnector
from cdp.governance.query import GovernedQuery
from cdp.sync.apply import apply_plan
from cdp.sync.ledger import Control
from cdp.sync.plan import Plan
from cdp.sync.planning import make_plan
from tests.benchmarks.clinic import Clinic, opened
from tests.benchmarks.ratio import Prepared, Ratio, best

Item = TypeVar("Item")
ROWS, BATCH, CONCURRENCY = 100_000, 1_000, 4
SERVE = "from cdp.sandbox.server import serve; serve('127.0.0.1', 0, None, lambda url: print(url, flush=True))"


def run(folder: Path) -> list[Ratio]:
    """Send everything three ways."""
    clinic = opened(folder)
    clinic.load(ROWS)
    with sandbox() as url:
        channel = Channel(clinic, url)
        batches = channel.batches()
        bodies = [(batch.idempotency_key, b'{"contacts":[' + ",".join(json_rows(batch.rows)).encode() + b"]}") for batch in batches]
        connected, applied, bare = best(
            5,
            Prepared(channel.forget, lambda _: channel.connector(batches)),
            Prepared(channel.planned, channel.apply),
            Prepared(channel.forget, lambda _: channel.bare(bodies)),
        )
    clinic.engine.close()
    return [Ratio("connector_100k", connected, bare, 2.0), Ratio("apply_100k", applied, bare, 10.0)]


@contextmanager
def sandbox() -> Iterator[str]:
    """A sandbox in a process of its own; its URL."""
    with subprocess.Popen([sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


class Channel:
    """The clinic's destination, at a sandbox."""

    def __init__(self, clinic: Clinic, url: str, rows: int = ROWS) -> None:
        self.clinic, self.url, self.rows, self.runs = clinic, url, rows, 0
        self.now = Clock.now(clinic.project.timezone)
        destination = clinic.project.destinations["mail"]
        assert destination.http is not None
        http = destination.http.model_copy(
            update={"upsert": destination.http.upsert.model_copy(update={"batch": BATCH}), "concurrency": CONCURRENCY}
        )
        placed = destination.model_copy(update={"base_url": f"{url}/mail", "http": http})
        self.target = Target(placed, Egress(plaintext_loopback=True), "", clinic.root, {"api_key": "sandbox"})

    def forget(self) -> None:
        """Empty the sandbox; what it answered before is forgotten too."""
        httpx.delete(f"{self.url}/_sandbox", trust_env=False)

    def held(self) -> int:
        """How many rows the sandbox has."""
        count: int = httpx.get(f"{self.url}/_sandbox", trust_env=False).json()["channels"]["mail"]["rows"]
        return count

    def batches(self) -> list[Batch]:
        """What the sync would send, as a plan's chunks are read: Arrow rows of typed columns."""
        query = self.clinic.bare(self.now)
        self.clinic.engine.register(query.tables)
        rows = self.clinic.engine.query(query.select).combine_chunks()
        ids = tuple(f"{number:064x}" for number in range(rows.num_rows))
        wire: pa.Table = rows.select(list(query.columns))
        whole = Batch("upsert", wire, query.keys, ids)
        return [whole.slice(start, BATCH) for start in range(0, len(whole), BATCH)]

    # -- three ways -------------------------------------------------------------------------------------------------

    def connector(self, batches: Sequence[Batch]) -> None:
        """Through the connector: bodies, guards, receipts."""

        async def send() -> None:
            async with HttpConnector(self.target) as connector:

                async def one(batch: Batch) -> None:
                    receipts = await connector.send(batch)
                    assert set(receipts.statuses) == {"delivered"}

                await each(batches, one)

        asyncio.run(send())
        assert self.held() == self.rows

    def bare(self, bodies: Sequence[tuple[str, bytes]]) -> None:
        """Through a client alone."""

        async def send() -> None:
            limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
            async with httpx.AsyncClient(trust_env=False, limits=limits) as client:

                async def one(made: tuple[str, bytes]) -> None:
                    headers = {"content-type": "application/json", "idempotency-key": made[0]}
                    response = await client.put(f"{self.url}/mail/v1/contacts", content=made[1], headers=headers)
                    assert response.status_code == 200

                await each(bodies, one)

        asyncio.run(send())
        assert self.held() == self.rows

    def planned(self) -> tuple[str, GovernedQuery, Plan]:
        """A sync's first plan: its control schema is its own, its control tables are there as after any earlier run."""
        self.forget()
        self.runs += 1
        control = f"cdp_{self.runs}"
        for name in ("disclosures", "leases", "plans", "receipts", "revocations", "runs", "synced"):
            Control(self.clinic.engine, control).table(name)
        query = self.clinic.governed(self.now)
        return control, query, make_plan(query, self.clinic.engine, control, now=self.now.instant, as_of=self.now.instant)

    def apply(self, made: tuple[str, GovernedQuery, Plan]) -> None:
        """The whole apply."""
        control, query, plan = made
        done = apply_plan(plan, query, self.clinic.engine, control, HttpConnector, self.target, now=self.now.instant, sandbox=True)
        assert done.delivered == self.held() == self.rows, done


async def each(items: Sequence[Item], do: Callable[[Item], Awaitable[None]]) -> None:
    """Do it to every item, so many at a time."""
    left = iter(items)

    async def work() -> None:
        for item in left:
            await do(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(work())
