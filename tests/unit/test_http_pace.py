"""The http connector keeps its destination's pace: what it does with a channel's headers, and with the requests of other syncs."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
import time
from typing import Any

import pytest

from cdp.connectors.base import Paced, Target
from cdp.connectors.http import HttpConnector
from cdp.errors import DeliveryError
from cdp.sandbox import Sandbox
from cdp.spec.delivery import Limits
from cdp.testing.connectors import batch, deliver
from tests.unit.test_http_connector import http, make_target, outcome, raw_server


def limited(target: Target, **limits: Any) -> Target:
    placed = target.destination.model_copy(update={"limits": Limits.model_validate(limits)})
    return Target(placed, target.egress, target.run, target.root, target.secrets)


def arrived(sandbox: Sandbox) -> list[float]:
    return [dt.datetime.fromisoformat(request["at"]).timestamp() for request in sandbox.requests("email")]


def test_what_a_connector_with_a_pace_can_be_asked() -> None:
    assert issubclass(HttpConnector, Paced)


def test_connectors_of_one_destination_share_its_concurrency_over_threads(sandbox: Sandbox) -> None:
    sandbox.fault("email", "slow", seconds=0.15, times=None)

    async def sync(name: str) -> None:
        async with HttpConnector(make_target(sandbox.url, concurrency=2)) as connector:
            await asyncio.gather(*(connector.send(batch([f"{name}{number}"])) for number in range(3)))

    threads = [threading.Thread(target=asyncio.run, args=(sync(name),)) for name in ("a", "b")]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sandbox.rows("email")) == 6
    assert time.monotonic() - began >= 3 * 0.15  # six requests, two at a time
    at = arrived(sandbox)
    assert all(sum(begin <= other < begin + 0.12 for other in at) <= 2 for begin in at)


def test_requests_and_rows_are_counted_where_they_leave(sandbox: Sandbox) -> None:
    """What is tried again counts again; so do the parts of a batch that is halved."""
    sandbox.fault("email", "400", keys=["p1"], times=None)
    target = limited(make_target(sandbox.url), requests_per_second=20)
    (receipts,) = asyncio.run(deliver(HttpConnector(target), batch(["p1", "p2", "p3", "p4"])))
    assert list(receipts.statuses) == ["rejected", "delivered", "delivered", "delivered"]
    at = arrived(sandbox)
    assert len(at) == 5
    assert at[-1] - at[0] >= 4 / 20 - 0.1  # the first one is late: it connects
    sandbox.reset()
    asyncio.run(deliver(HttpConnector(limited(make_target(sandbox.url), rows_per_second=40)), *(batch([f"p{n}", "q"]) for n in range(5))))
    at = arrived(sandbox)
    assert at[-1] - at[0] >= 4 * 2 / 40 - 0.1


def headed(*headers: str) -> bytes:
    return http("200 OK", b"{}", *headers)


def test_a_quota_that_is_used_up_is_waited_for() -> None:
    with raw_server(headed("X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 0.3"), headed()) as (url, seen):
        target = make_target(url, max_wait_seconds=5)

        async def run() -> float:
            async with HttpConnector(target) as connector:
                await connector.send(batch(["p1"]))
                began = time.monotonic()
                second = asyncio.create_task(connector.send(batch(["p2"])))
                await asyncio.sleep(0.05)
                assert connector.waits() == "the channel takes no more for 1 s"
                await second
                assert connector.waits() is None
                return time.monotonic() - began

        assert 0.25 <= asyncio.run(run()) < 2
        assert len(seen) == 2


def test_a_429_of_sendgrid_waits_for_its_reset() -> None:
    """It has no Retry-After: the reset is an epoch, read against the answer's own Date."""
    date = "Date: Sun, 22 Nov 2026 10:00:00 GMT"
    reset = int(dt.datetime(2026, 11, 22, 10, 0, 1, tzinfo=dt.UTC).timestamp())
    refused = http("429 Too Many Requests", b"{}", date, "X-RateLimit-Remaining: 0", f"X-RateLimit-Reset: {reset}")
    with raw_server(refused, headed()) as (url, seen):
        began = time.monotonic()
        (receipts,) = asyncio.run(deliver(HttpConnector(make_target(url, max_wait_seconds=5)), batch(["p1"])))
        assert outcome(receipts) == {("delivered", None)}
        assert 1 <= time.monotonic() - began < 3
        assert len(seen) == 2


def test_a_pause_that_is_too_long_is_told_and_holds_for_every_sync(sandbox: Sandbox) -> None:
    sandbox.fault("email", "429", retry_after=600)
    target = make_target(sandbox.url, max_wait_seconds=2, whoami={"path": "/email/me", "account": "account"})

    async def run() -> None:
        async with HttpConnector(target) as first, HttpConnector(target) as second:
            assert await first.whoami() == "email"
            assert second.halted() is None
            assert outcome(await first.send(batch(["p1"]))) == {("retryable", "http_429")}
            for connector in (first, second):
                halted = connector.halted()
                assert halted is not None
                assert "destination outreach: the channel asks to be left alone until 20" in halted.message
                assert "http.max_wait_seconds is 2" in halted.message
            with pytest.raises(DeliveryError, match="asks to be left alone"):
                await second.whoami()

    asyncio.run(run())
    assert len(sandbox.requests("email")) == 2


@pytest.mark.parametrize(("status", "retry_after"), [("429", 30), ("503", None)], ids=["pause", "back-off"])
def test_a_stop_ends_what_waits(sandbox: Sandbox, status: str, retry_after: int | None) -> None:
    sandbox.fault("email", status, retry_after=retry_after, times=None)

    async def run() -> float:
        async with HttpConnector(make_target(sandbox.url, max_wait_seconds=60, attempts=20, concurrency=1)) as connector:
            sending = [asyncio.create_task(connector.send(batch([f"p{number}"]))) for number in range(3)]
            while len(sandbox.requests("email")) < 2 - (retry_after is not None):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert connector.waits() is not None
            began = time.monotonic()
            connector.stop()
            found = [outcome(each) for each in await asyncio.gather(*sending)]
            assert all({status for status, _ in each} == {"retryable"} for each in found)
            return time.monotonic() - began

    assert asyncio.run(run()) < 1
    assert not sandbox.rows("email")
