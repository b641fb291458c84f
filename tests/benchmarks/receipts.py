"""Ten thousand receipts committed by the recorder: of a sync with ten million known rows against one with a hundred thousand."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pyarrow as pa

from cdp.compile.clock import Clock
from cdp.connectors.base import Batch, Receipts
from cdp.sync import lease
from cdp.sync.ledger import Control
from cdp.sync.outgoing import Parcel
from cdp.sync.planning import make_plan
from cdp.sync.recorder import GROUP_ROWS, Recorder
from tests.benchmarks.clinic import Clinic, opened
from tests.benchmarks.ratio import Ratio, best

MANY, FEW, ROWS, BATCH = 10_000_000, 100_000, 10_000, 1_000


def run(folder: Path) -> list[Ratio]:
    """Commit to both."""
    clinic = opened(folder)
    clinic.load(1_000)
    many, few = (Known(clinic, f"cdp_{count}", count) for count in (MANY, FEW))
    ours, theirs = best(15, many.commit, few.commit)
    clinic.engine.close()
    return [Ratio("receipts", ours, theirs, 1.5)]


class Known:
    """A sync of which so many receipts are on record, in groups as the recorder writes them."""

    def __init__(self, clinic: Clinic, schema: str, count: int) -> None:
        now = Clock.now(clinic.project.timezone)
        self.control = Control(clinic.engine, schema)
        self.numbers = itertools.count()
        self.plan = make_plan(clinic.governed(now), clinic.engine, schema, now=now.instant, as_of=now.instant)
        self.now = now.instant
        self.lease = lease.acquire(self.control, self.plan.sync, lambda: self.now)
        for start in range(0, count, GROUP_ROWS):
            asyncio.run(self._record(min(GROUP_ROWS, count - start)))

    def commit(self) -> None:
        """One group of receipts, as it comes in during a run."""
        asyncio.run(self._record(ROWS))

    async def _record(self, rows: int) -> None:
        async def flush() -> None:
            return None

        recorder = Recorder(self.control, self.lease, self.plan, "run", flush=flush, wall=lambda: self.now)
        for _ in range(0, rows, BATCH):
            await recorder.add(self._parcel(), Receipts.all(BATCH, "delivered"))
        recorder.close()
        await recorder.run()
        assert recorder.tally.delivered == rows

    def _parcel(self) -> Parcel:
        keys = [f"{next(self.numbers):032x}" for _ in range(BATCH)]
        key = pa.array(keys, pa.string())
        change = {"_op": pa.repeat("add", BATCH), "_content": pa.array(range(BATCH), pa.int64()), "_base": pa.nulls(BATCH, pa.int64())}
        lines = pa.table({"_key": key, "_subject": key, **change})
        return Parcel(Batch("upsert", pa.table({"external_id": key}), ("external_id",), tuple(keys)), lines)
