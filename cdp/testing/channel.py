"""A channel in memory: a connector that stores what it is sent and answers as a test tells it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from cdp.connectors.base import Batch, Connector, Receipts, Repeats, Target, WireOp

Answer = Callable[[Batch], Receipts]


@dataclass
class Channel:
    """What one destination holds, and how it behaves.

    Attributes:
        rows: what it holds, by the text of the key columns.
        batches: every batch that arrived, in order.
        answers: how the next batches are answered, one each; after these everything is taken.
        size: rows of a batch; `removes` whether it can remove.
        delay: seconds that a batch takes.
        account: whose it is; None cannot tell.
        repeats: what sending again does; a channel of `keys` does nothing twice.
        asks: whether it can be asked what it applied; `known_after`: seconds until it knows.
        asked: the changes of each question; `late`: what it does not know when it is asked for the first time.
        lists: whether it can be asked which rows it has; `size` of them a part.
    """

    rows: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    size: int = 3
    removes: bool = True
    delay: float = 0.0
    concurrency: int = 2
    account: str | None = None
    repeats: Repeats = "keys"
    applied: set[str] = field(default_factory=set)
    asks: bool = False
    known_after: float = 0.0
    asked: list[list[str]] = field(default_factory=list)
    late: set[str] = field(default_factory=set)
    lists: bool = False
    targets: list[Target] = field(default_factory=list)
    flushed: int = 0

    def connector(self) -> type[Connector]:
        """A connector class that delivers here."""
        channel = self

        class Bound(_Connector):
            def __init__(self, target: Target) -> None:
                super().__init__(channel)
                channel.targets.append(target)

        class Asked(Bound):
            async def lookup(self, change_ids: Sequence[str]) -> Sequence[bool | None]:
                channel.asked.append(list(change_ids))
                known, channel.late = channel.applied - channel.late, set()
                return [change in known for change in change_ids]

            @property
            def known_after(self) -> float:
                return channel.known_after

        class Listed(Bound):
            async def export(self, keys: Sequence[str]) -> AsyncIterator[pa.Table]:
                rows = list(channel.rows.values())
                for start in range(0, len(rows), channel.size):
                    part = rows[start : start + channel.size]
                    yield pa.table({name: pa.array([_text(row[name]) for row in part], pa.string()) for name in keys})

        return Listed if self.lists else Asked if self.asks else Bound

    def take(self, batch: Batch, statuses: list[str] | None = None) -> None:
        """Store the rows of a batch, or those of them that `statuses` calls delivered."""
        for at, row in enumerate(batch.rows.to_pylist()):
            if statuses and statuses[at] != "delivered":
                continue
            self.applied.add(batch.change_ids[at])
            key = tuple(row[name] for name in batch.keys)
            if batch.op == "remove":
                self.rows.pop(key, None)
            else:
                self.rows[key] = row


def _text(value: Any) -> str:
    """A value as JSON spells it, without quotes."""
    return json.dumps(value) if isinstance(value, bool) else str(value)


class _Connector:
    carries_notice = False

    def __init__(self, channel: Channel) -> None:
        self.channel, self.repeats = channel, channel.repeats
        self.concurrency = channel.concurrency

    def batch_size(self, op: WireOp) -> int:
        return self.channel.size if op == "upsert" or self.channel.removes else 0

    async def whoami(self) -> str | None:
        return self.channel.account

    async def send(self, batch: Batch) -> Receipts:
        channel = self.channel
        channel.batches.append(batch)
        answer = channel.answers.pop(0) if channel.answers else None
        if channel.delay:
            await asyncio.sleep(channel.delay)
        receipts = answer(batch) if answer else Receipts.all(len(batch), "delivered")
        channel.take(batch, list(receipts.statuses))
        return receipts

    async def flush(self) -> None:
        self.channel.flushed += 1

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None
