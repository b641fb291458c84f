"""The bounds of what is not on record: rows, seconds, groups; and what a lakehouse that is slow or away does to the delivery."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pyarrow as pa
import pytest

from cdp.connectors.base import Batch, Connector, Receipts, Repeats
from cdp.errors import DeliveryError, EngineError
from cdp.sync import recorder
from cdp.sync.delivery import Delivery
from cdp.sync.lease import Lease
from cdp.sync.ledger import Control
from cdp.sync.outgoing import Parcel
from cdp.sync.plan import Plan
from cdp.sync.recorder import Recorder

ROWS = 10  # of a batch


@dataclass
class Lake:
    """Takes as long as it is told to for each group, or fails at one of them."""

    seconds: float = 0.0
    fails_at: int = 0
    groups: list[list[str]] = field(default_factory=list)
    at: list[float] = field(default_factory=list)

    def append_parts(self, name: str, *parts: tuple[pa.Table, dict[str, Any]]) -> None:
        time.sleep(self.seconds)
        if len(self.groups) + 1 == self.fails_at:
            raise EngineError("table receipts: no space left on the device", fix="free some")
        self.groups.append([key for rows, _ in parts for key in rows.column("key").to_pylist()])
        self.at.append(time.monotonic())

    @property
    def keys(self) -> list[str]:
        return [key for group in self.groups for key in group]


class Leased:
    first_seq, seconds = 1 << 32, 120.0

    def check(self) -> None: ...

    def renew(self) -> None: ...


@dataclass
class Planned:
    rows: int
    sync: str = "letters"
    id: str = "p1"
    told: str = "t"
    destination: str = "mail"


@dataclass
class Sender:
    """A channel that answers at once, or after a while."""

    concurrency: int = 2
    repeats: Repeats = "keys"
    seconds: float = 0.0
    sent: list[str] = field(default_factory=list)
    answered: dict[str, float] = field(default_factory=dict)

    async def send(self, batch: Batch) -> Receipts:
        self.sent += batch.change_ids
        await asyncio.sleep(self.seconds)
        self.answered.update(dict.fromkeys(batch.change_ids, time.monotonic()))
        return Receipts.all(len(batch), "delivered")

    async def flush(self) -> None: ...


def parcels(batches: int, *, once: bool = False) -> list[Parcel]:
    found = []
    for number in range(batches):
        ids = tuple(f"k{number:04}-{place}" for place in range(ROWS))
        lines = {"_key": ids, "_subject": ids, "_op": ["add"] * ROWS, "_content": [1] * ROWS, "_base": [0] * ROWS}
        found.append(Parcel(Batch("upsert", pa.table({"id": ids}), ("id",), ids), pa.table(lines), once))
    return found


def delivery(lake: Lake, sender: Sender, batches: int) -> tuple[Delivery, Recorder]:
    def wall() -> dt.datetime:
        return dt.datetime(2026, 7, 1, tzinfo=dt.UTC)

    writes = Recorder(cast(Control, lake), cast(Lease, Leased()), cast(Plan, Planned(batches * ROWS)), "r1", flush=sender.flush, wall=wall)
    return Delivery(cast(Connector, sender), writes, "mail"), writes


def run(lake: Lake, sender: Sender, chunks: Iterator[list[Parcel]], batches: int) -> Recorder:
    moving, writes = delivery(lake, sender, batches)
    asyncio.run(moving.run(chunks))
    return writes


def test_never_more_than_two_groups_and_what_is_in_flight_are_not_on_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "GROUP_ROWS", 40)
    lake, sender, behind = Lake(seconds=0.02), Sender(), []

    class Watched(Sender):
        async def send(self, batch: Batch) -> Receipts:
            behind.append(len(self.sent) - len(lake.keys))
            return await super().send(batch)

    sender = Watched()
    writes = run(lake, sender, iter([parcels(60)]), 60)
    assert sorted(lake.keys) == sorted(sender.sent)
    assert writes.tally.delivered == 600
    assert max(behind) <= 2 * 40 + sender.concurrency * ROWS
    assert len(lake.groups) > 5
    assert all(len(group) >= 40 for group in lake.groups[:-1])  # what comes while one is written does not become a small one


def test_receipts_that_are_alike_are_one_value_and_say_the_same_as_a_list() -> None:
    alike, listed = Receipts.all(3, "rejected", "bad"), Receipts(["rejected"] * 3, ["bad"] * 3)
    assert (list(alike.statuses), list(alike.codes)) == (listed.statuses, listed.codes)
    assert alike.counts == listed.counts == {"rejected": 3}
    assert (alike.statuses[-1], list(alike.statuses[1:]), alike.statuses.count("rejected"), alike.codes.count(None)) == (
        "rejected",
        ["rejected"] * 2,
        3,
        0,
    )
    with pytest.raises(IndexError):
        alike.statuses[3]
    assert Receipts.all(0, "delivered").counts == {}
    assert Receipts(["delivered", "unknown", "delivered"], [None] * 3).counts == {"delivered": 2, "unknown": 1}


def test_an_answer_is_on_record_in_time_however_few_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is counted from the oldest answer, also where the group before has just taken its time."""
    monkeypatch.setattr(recorder, "GROUP_SECONDS", 0.6)
    lake, sender = Lake(seconds=0.5), Sender(concurrency=1, seconds=0.05)
    run(lake, sender, iter([parcels(50)]), 50)
    written = {key: at for group, at in zip(lake.groups, lake.at, strict=True) for key in group}
    late = [written[key] - at for key, at in sender.answered.items()]
    assert max(late) < 1.4  # 0.6 and 0.5; 1.6 if each group began to wait anew
    assert len(lake.groups) >= 3


def test_a_lakehouse_that_takes_too_long_makes_delivery_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "GROUP_SECONDS", 0.05)
    lake, sender = Lake(seconds=0.5), Sender(concurrency=1, seconds=0.01)
    run(lake, sender, iter([parcels(60)]), 60)
    # Without waiting some fifty batches would be answered in the half second of a group.
    assert max(len(group) for group in lake.groups[1:]) <= 15 * ROWS
    assert sorted(lake.keys) == sorted(sender.sent)


def test_when_a_group_cannot_be_written_nothing_more_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "GROUP_ROWS", 40)
    lake, sender = Lake(fails_at=2), Sender(seconds=0.005)
    with pytest.raises(EngineError, match="no space left"):
        run(lake, sender, iter([parcels(200)]), 200)
    assert len(lake.groups) == 1
    assert len(sender.sent) <= len(lake.keys) + 2 * 40 + 3 * sender.concurrency * ROWS


def test_of_what_must_not_be_sent_twice_a_group_is_handed_out_when_the_one_before_is_on_record() -> None:
    """Reading a group is what discloses it: so at the moment of reading everything before must be on record, without a wait of seconds."""
    lake, sender, asked = Lake(), Sender(repeats="effect"), []

    def groups() -> Iterator[list[Parcel]]:
        for start in range(0, 12, 2):
            asked.append((start * ROWS, len(lake.keys)))
            yield parcels(12, once=True)[start : start + 2]

    began = time.monotonic()
    run(lake, sender, groups(), 12)
    assert asked == [(rows, rows) for rows in range(0, 120, 20)]
    assert time.monotonic() - began < recorder.GROUP_SECONDS


class Refusing(Sender):
    """Cannot be used, as it says of the batch that it is given."""

    async def send(self, batch: Batch) -> Receipts:
        await super().send(batch)
        raise DeliveryError("refuses our credentials")


@pytest.mark.parametrize("removals", [0, 1, 3])
def test_what_was_disclosed_at_a_channel_with_effects_has_its_receipt_and_nothing_more_is_when_the_run_ends(removals: int) -> None:
    """Reading is what discloses: who was not told must not stand in the ledger without a receipt that says so."""
    lake, sender, disclosed = Lake(), Refusing(repeats="effect"), []

    def chunks() -> Iterator[list[Parcel]]:
        for number, parcel in enumerate(parcels(12)):
            disclosed.extend(parcel.lines.column("_key").to_pylist())
            yield [replace(parcel, once=number >= removals)]

    moving, _ = delivery(lake, sender, 12)
    asyncio.run(moving.run(chunks()))
    assert isinstance(moving.error, DeliveryError)
    assert sorted(lake.keys) == sorted(disclosed)
    assert len(disclosed) <= 2 * ROWS if removals else len(disclosed) == ROWS


def test_a_run_that_is_stopped_before_its_first_row_discloses_none() -> None:
    lake, sender = Lake(), Sender(repeats="effect")
    moving, _ = delivery(lake, sender, 4)
    moving.stop()
    left = iter([parcels(4, once=True)])
    asyncio.run(moving.run(left))
    assert (len(list(left)), sender.sent, lake.keys) == (1, [], [])


def test_a_run_that_is_stopped_says_of_each_row_of_its_group_that_it_was_not_sent() -> None:
    lake, sender = Lake(), Sender(repeats="effect", concurrency=1, seconds=0.05)
    moving, writes = delivery(lake, sender, 4)

    async def stopped() -> None:
        asyncio.get_running_loop().call_later(0.07, moving.stop)
        await moving.run(iter([parcels(4, once=True)]))

    asyncio.run(stopped())
    assert (writes.tally.delivered, writes.tally.retryable) == (len(sender.sent), 40 - len(sender.sent))
    assert 0 < len(sender.sent) < 40
    assert len(lake.keys) == 40


@pytest.mark.parametrize(
    "said",
    [None, Receipts(["delivered"] * 9, [None] * 9), Receipts([["delivered"]] * 10, [None] * 10), Receipts(["taken"] * 10, [None] * 10)],
)
def test_receipts_that_are_none_end_the_delivery_and_lose_no_others(said: Any) -> None:
    class Odd(Sender):
        async def send(self, batch: Batch) -> Receipts:
            told = await super().send(batch)
            return said if len(self.sent) > 3 * ROWS else told

    lake = Lake()
    moving, writes = delivery(lake, Odd(concurrency=1), 5)
    asyncio.run(moving.run(iter([parcels(5)])))
    assert "receipts that do not fit its batch" in str(moving.error)
    assert (writes.tally.delivered, writes.tally.retryable, len(lake.keys)) == (30, 10, 40)


def test_a_code_that_is_a_number_is_its_text() -> None:
    class Numbered(Sender):
        async def send(self, batch: Batch) -> Receipts:
            return Receipts(["rejected"] * len(batch), [21211] * len(batch))  # type: ignore[list-item]

    lake = Lake()
    assert run(lake, Numbered(), iter([parcels(2)]), 2).tally.rejected == 20
    assert len(lake.keys) == 20
