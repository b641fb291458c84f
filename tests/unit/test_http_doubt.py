"""What may have been applied is told as that, whatever the channel says of the same rows afterwards: over real HTTP."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any, cast

import pyarrow as pa
import pytest

from cdp.connectors.base import Repeats, Target, WireOp
from cdp.connectors.http import HttpConnector
from cdp.errors import DeliveryError
from cdp.sandbox import Sandbox
from cdp.sync.delivery import Delivery
from cdp.sync.lease import Lease
from cdp.sync.ledger import Control
from cdp.sync.outgoing import Parcel
from cdp.sync.plan import Plan
from cdp.sync.recorder import Recorder
from cdp.testing.connectors import batch
from tests.unit.test_http_connector import http, make_target, outcome, raw_server, send, statuses
from tests.unit.test_recorder import Lake, Leased, Planned

FIELD = {"repeats": "keys", "idempotency": {"field": "event_id"}}


@pytest.mark.parametrize("options", [{"repeats": "keys"}, {"repeats": "state"}, FIELD], ids=str)
@pytest.mark.parametrize("ids", [["p1"], ["p1", "p2"]], ids=len)
@pytest.mark.parametrize("status", ["404", "409", "410", "412"])
def test_a_refusal_of_the_same_request_does_not_undo_it(sandbox: Sandbox, options: dict[str, Any], ids: list[str], status: str) -> None:
    """409: it is under way, or was; the row is there, so that whoever goes must be taken off."""
    sandbox.fault("email", "applied_but_500")
    sandbox.fault("email", status, times=None)
    assert outcome(send(make_target(sandbox.url, **options), batch(ids))[0]) == {("retryable", "http_500")}
    assert statuses(sandbox) == [500, int(status)]
    assert len(sandbox.rows("email")) == len(ids)


@pytest.mark.parametrize("status", ["400", "413", "422"])
def test_what_has_one_key_for_the_whole_request_is_not_sent_again_in_halves_of_it(sandbox: Sandbox, status: str) -> None:
    """Under other keys the rows would be applied twice."""
    sandbox.fault("email", "applied_but_500")
    sandbox.fault("email", status)
    assert outcome(send(make_target(sandbox.url), batch(["p1", "p2"]))[0]) == {("retryable", "http_500")}
    assert len({request["idempotency_key"] for request in sandbox.requests("email")}) == 1


@pytest.mark.parametrize("options", [{"repeats": "state"}, FIELD], ids=str)
@pytest.mark.parametrize(("then", "code"), [(("409", None), "http_500"), (("429", 3600), "http_500"), (("401", None), "http_500")], ids=str)
def test_it_is_not_forgotten_of_halves_either(sandbox: Sandbox, options: dict[str, Any], then: tuple[str, Any], code: str) -> None:
    sandbox.fault("email", "applied_but_500")
    sandbox.fault("email", "422")
    sandbox.fault("email", then[0], times=None, retry_after=then[1])
    assert outcome(send(make_target(sandbox.url, **options), batch(["p1", "p2"]))[0]) == {("retryable", code)}


def test_halves_that_are_taken_or_refused_for_their_content_are_settled(sandbox: Sandbox) -> None:
    sandbox.fault("email", "applied_but_500")
    sandbox.fault("email", "422", keys=["p2"], times=None)
    (receipts,) = send(make_target(sandbox.url, repeats="state"), batch(["p1", "p2"]))
    assert list(zip(receipts.statuses, receipts.codes, strict=True)) == [("delivered", None), ("rejected", "http_422")]


@pytest.mark.parametrize("fault", ["401", "403", "redirect"])
def test_an_error_that_ends_the_delivery_says_so(sandbox: Sandbox, fault: str) -> None:
    sandbox.fault("email", "applied_but_500")
    sandbox.fault("email", fault)
    with pytest.raises(DeliveryError) as caught:
        send(make_target(sandbox.url), batch(["p1"]))
    assert caught.value.doubt == "http_500"


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
@pytest.mark.parametrize("repeats", ["state", "effect"])
@pytest.mark.parametrize("op", ["upsert", "remove"])
def test_what_is_redirected_may_have_been_done_but_where_the_same_is_to_be_sent_elsewhere(
    status: str, repeats: Repeats, op: WireOp
) -> None:
    """303 is how a channel answers that did what it was asked: a text message that goes again with every run would go each time."""
    with raw_server(http(status, b"", "Location: http://127.0.0.1:9/")) as (url, seen):
        delivery, receipts = delivered(make_target(url, repeats=repeats), op)
        assert len(seen) == 1
    assert isinstance(delivery.error, DeliveryError)
    doubtful = ("unknown" if (repeats, op) == ("effect", "upsert") else "retryable", f"http_{status[:3]}")
    assert receipts == [("retryable", "not_sent") if status[:3] in ("307", "308") else doubtful] * 2


@pytest.mark.parametrize("fault", ["401", "403"])
def test_refused_credentials_say_that_nothing_was_done(sandbox: Sandbox, fault: str) -> None:
    sandbox.fault("email", fault)
    delivery, receipts = delivered(make_target(sandbox.url, repeats="effect"), "upsert")
    assert "refuses our credentials" in str(delivery.error)
    assert receipts == [("retryable", "not_sent")] * 2


def delivered(target: Target, op: WireOp) -> tuple[Delivery, list[tuple[str, str | None]]]:
    """One batch of two rows by a whole delivery: how that ended, and its receipts as they are recorded."""
    found: list[tuple[str, str | None]] = []

    class Kept(Lake):
        def append_parts(self, name: str, *parts: tuple[pa.Table, dict[str, Any]]) -> None:
            for rows, same in parts:
                columns = [rows.column(c).to_pylist() if c in rows.column_names else [same[c]] * len(rows) for c in ("status", "code")]
                found.extend(zip(*columns, strict=True))

    async def run() -> Delivery:
        async with HttpConnector(target) as connector:
            sent = batch(["p1", "p2"], op=op)
            lines = {"_key": ["p1", "p2"], "_subject": ["p1", "p2"], "_op": [op] * 2, "_content": [1] * 2, "_base": [0] * 2}
            recorder = Recorder(
                cast(Control, Kept()),
                cast(Lease, Leased()),
                cast(Plan, Planned(2)),
                "r1",
                flush=connector.flush,
                wall=lambda: dt.datetime(2026, 7, 1, tzinfo=dt.UTC),
            )
            moving = Delivery(connector, recorder, "email")
            await moving.run(iter([[Parcel(sent, pa.table(lines), op == "upsert" and connector.repeats == "effect")]]))
            return moving

    return asyncio.run(run()), found
