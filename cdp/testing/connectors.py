"""What every connector must do, as a test class: an author of a connector subclasses it and describes the channel.

class TestMine(ConnectorSuite):
    @pytest.fixture
    def connector_class(self): return MyConnector

    @pytest.fixture
    def target(self, my_server): return Target(...)

    @pytest.fixture
    def received(self, my_server): return lambda: {row["external_id"]: row for row in my_server.rows()}
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

import pyarrow as pa
import pytest

from cdp.connectors.base import Batch, Connector, Egress, Receipts, Repeats, Target, WireOp, repeats_of
from cdp.errors import DeliveryError

CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
MARKER = "zq7marker"  # stands in every value that must not show anywhere but in the channel
AWKWARD = (
    "plain",
    "",
    None,
    'say "hi"',
    "a,b;c\td",
    "line\nbreak\r\n",
    "back\\slash",
    "Zoë Šimůnek 李",
    "👩‍⚕️",
    "\u2028",
    "null",
    "007",
    "é",
    "' or 1=1",
)

Received = Callable[[], Mapping[str, Mapping[str, Any]]]


def batch(ids: Sequence[str], values: Sequence[str | None] = (), *, op: WireOp = "upsert") -> Batch:
    """A batch as `apply` makes one: the key `external_id`, and for upserts three columns beside it."""
    columns: dict[str, Any] = {"external_id": pa.array(ids, pa.string())}
    if op == "upsert":
        columns["first_name"] = pa.array(list(values) or ["Ann"] * len(ids), pa.string())
        columns["score"] = pa.array([None if place % 3 == 0 else place for place in range(len(ids))], pa.int64())
        columns["seen"] = pa.array([dt.date(2026, 1, 1) + dt.timedelta(days=place) for place in range(len(ids))])
    changes = tuple(hashlib.sha256(f"{op} {each} {values}".encode()).hexdigest() for each in ids)
    return Batch(op, pa.table(columns), ("external_id",), changes)


async def deliver(connector: Connector, *batches: Batch) -> list[Receipts]:
    """Open the connector, send the batches one after the other, flush and close it, as a run does."""
    async with connector:
        receipts = [await connector.send(each) for each in batches]
        await connector.flush()
    return receipts


class ConnectorSuite:
    """Subclass it and define three fixtures.

    connector_class: the class under test.
    target: a `Target` whose channel works, is empty, and keeps rows by `external_id`; its secrets, if it has any,
        hold MARKER.
    received: a function that gives what the channel holds now, as {external_id: row}; values may be text.

    And these, where the channel can do more:

    account: whose account the target's credentials open, as `whoami` must say.
    noticed: a function that gives everything the channel got, as text: a connector that carries notices is held to it.
    """

    @pytest.fixture
    def account(self) -> str | None:
        """None: the channel cannot tell."""
        return None

    @pytest.fixture
    def noticed(self) -> Callable[[], str] | None:
        """None: the connector carries no notice."""
        return None

    def test_says_whose_account_it_opens(
        self, connector_class: type[Connector], target: Target, received: Received, account: str | None
    ) -> None:
        """The channel is asked, nothing is sent; None says that it cannot tell."""

        async def asked(connector: Connector) -> str | None:
            async with connector:
                return await connector.whoami()

        assert asyncio.run(asked(connector_class(target))) == account
        assert not received()

    def test_a_notice_goes_with_every_batch_or_the_connector_says_that_it_carries_none(
        self, connector_class: type[Connector], target: Target, received: Received, noticed: Callable[[], str] | None
    ) -> None:
        """With what is put there and with what is taken off; the rows stay what they are. What has no room for it is refused."""
        assert connector_class.carries_notice == (noticed is not None)
        if noticed is None:
            return
        texts = {"meta.notice": f"notice {MARKER}", "meta.scope": f"scope {MARKER}"}
        try:
            asyncio.run(deliver(connector_class(replace(target, notice=texts)), batch(["p1", "p2"]), batch(["p1"], op="remove")))
        except DeliveryError:
            assert not received()
            return
        assert set(received()) == {"p2"}
        assert all(text in noticed() for text in texts.values())

    def test_says_how_much_it_takes(self, connector_class: type[Connector], target: Target) -> None:
        """Concurrency and batch sizes are numbers that `apply` can work with."""
        connector = connector_class(target)
        assert connector.concurrency >= 1
        assert connector.batch_size("upsert") >= 1
        assert connector.batch_size("remove") >= 0

    def test_says_what_sending_again_does(self, connector_class: type[Connector], target: Target) -> None:
        """`keys`, `state` or `effect`: what is not said is taken for `effect`, the slow and careful one."""
        assert connector_class(target).repeats in get_args(Repeats)

    def test_every_row_arrives_and_has_a_receipt(self, connector_class: type[Connector], target: Target, received: Received) -> None:
        """One receipt a row, and the channel holds the rows."""
        sent = batch([f"p{place:03d}" for place in range(25)])
        (receipts,) = asyncio.run(deliver(connector_class(target), sent))
        assert list(receipts.statuses) == ["delivered"] * 25
        assert list(receipts.codes) == [None] * 25
        assert set(received()) == set(sent.rows["external_id"].to_pylist())

    def test_values_arrive_as_they_are(self, connector_class: type[Connector], target: Target, received: Received) -> None:
        """Nulls, quotes, line breaks, accents and leading zeros survive."""
        ids = [f"p{place}" for place in range(len(AWKWARD))]
        asyncio.run(deliver(connector_class(target), batch(ids, AWKWARD)))
        held = received()
        assert {each: held[each]["first_name"] for each in ids} == dict(zip(ids, AWKWARD, strict=True))
        assert str(held["p1"]["score"]) == "1"
        assert held["p0"]["score"] is None
        assert str(held["p1"]["seen"]) == "2026-01-02"

    def test_a_full_batch_is_taken(self, connector_class: type[Connector], target: Target, received: Received) -> None:
        """A batch of the size that the connector asks for is not too much for it."""
        size = min(connector_class(target).batch_size("upsert"), 50_000)
        (receipts,) = asyncio.run(deliver(connector_class(target), batch([f"p{place}" for place in range(size)])))
        assert set(receipts.statuses) == {"delivered"}
        assert len(receipts.statuses) == len(received()) == size

    def test_a_later_value_wins(self, connector_class: type[Connector], target: Target, received: Received) -> None:
        """An upsert replaces what an earlier one put there."""
        asyncio.run(deliver(connector_class(target), batch(["p1", "p2"], ["Old", "Old"]), batch(["p1"], ["New"])))
        assert {key: row["first_name"] for key, row in received().items()} == {"p1": "New", "p2": "Old"}

    def test_sending_again_changes_nothing(self, connector_class: type[Connector], target: Target, received: Received) -> None:
        """The same change in another run has no further effect, but where the connector says that it has."""
        if repeats_of(connector_class(target)) == "effect":
            return
        sent = batch(["p1", "p2"])
        asyncio.run(deliver(connector_class(target), sent))
        before = dict(received())
        (receipts,) = asyncio.run(deliver(connector_class(replace(target, run=f"{target.run}-2")), sent))
        assert list(receipts.statuses) == ["delivered", "delivered"]
        assert dict(received()) == before

    def test_removes_take_away_only_what_they_name(self, connector_class: type[Connector], target: Target, received: Received) -> None:
        """A removal takes its rows and no others; one of an unknown row is no error."""
        if connector_class(target).batch_size("remove") == 0:
            return  # a channel without removes: a sync that needs them is refused before it gets here
        kept = batch(["p1", "p2", "p3"])
        receipts = asyncio.run(deliver(connector_class(target), kept, batch(["p2", "unknown"], op="remove")))
        assert list(receipts[1].statuses) == ["delivered", "delivered"]
        assert set(received()) == {"p1", "p3"}

    def test_batches_at_the_same_time(self, connector_class: type[Connector], target: Target, received: Received) -> None:
        """As many sends at once as `concurrency` says."""

        async def many(connector: Connector) -> list[Receipts]:
            async with connector:
                found = await asyncio.gather(
                    *(connector.send(batch([f"p{n}-{m}" for m in range(3)])) for n in range(connector.concurrency))
                )
                await connector.flush()
            return found

        receipts = asyncio.run(many(connector_class(target)))
        assert all(set(each.statuses) == {"delivered"} for each in receipts)
        assert len(received()) == 3 * len(receipts)

    def test_flushing_twice_is_harmless(self, connector_class: type[Connector], target: Target, received: Received) -> None:
        """`flush` may come at any time."""

        async def twice(connector: Connector) -> None:
            async with connector:
                await connector.flush()
                await connector.send(batch(["p1"]))
                await connector.flush()
                await connector.flush()

        asyncio.run(twice(connector_class(target)))
        assert set(received()) == {"p1"}

    def test_what_was_flushed_survives_a_run_that_fails(self, connector_class: type[Connector], target: Target, received: Received) -> None:
        """After `flush` a row is delivered, whatever happens next."""

        async def fails(connector: Connector) -> None:
            async with connector:
                await connector.send(batch(["p1"]))
                await connector.flush()
                raise InterruptedError

        with pytest.raises(InterruptedError):
            asyncio.run(fails(connector_class(target)))
        assert "p1" in received()

    def test_nothing_goes_where_no_agreement_reaches(self, connector_class: type[Connector], target: Target, received: Received) -> None:
        """With an empty agreement nothing leaves."""
        with pytest.raises(DeliveryError):
            asyncio.run(deliver(connector_class(replace(target, egress=Egress())), batch(["p1"])))
        assert not received()

    def test_nothing_is_said_of_rows_or_secrets(
        self, connector_class: type[Connector], target: Target, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Neither a value nor a secret shows in logs, output or what objects print as."""
        caplog.set_level(logging.DEBUG)
        connector = connector_class(target)
        (receipts,) = asyncio.run(deliver(connector, batch([f"{MARKER}-{place}" for place in range(3)], [MARKER] * 3)))
        captured = capfd.readouterr()
        said = "".join((caplog.text, captured.out, captured.err, repr(connector), repr(target), repr(receipts)))
        assert MARKER not in said
        assert not any(secret in said for secret in target.secrets.values() if secret)
        assert all(code is None or CODE.fullmatch(code) for code in receipts.codes)
