"""A channel where each request has an effect, over real HTTP: what may have been applied is never sent again, and says so."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from cdp.connectors.base import Egress, Receipts, Target
from cdp.errors import DeliveryError
from cdp.sandbox import Sandbox
from cdp.testing.connectors import batch
from tests.unit.test_http_connector import ERRORS, make_target, outcome, patience, raw_server, send, statuses


def once(url: str, **options: Any) -> Target:
    return make_target(url, repeats="effect", **options)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("500", "http_500"),
        ("503", "http_503"),
        ("408", "http_408"),
        ("applied_but_500", "http_500"),
        ("reset", "reset"),
        ("half_reset", "reset"),
        ("slow", "timeout"),
        ("not_json", "bad_response"),
    ],
)
def test_what_may_have_been_applied_is_unknown_and_is_sent_once(sandbox: Sandbox, fault: str, code: str) -> None:
    sandbox.fault("email", fault, times=None)
    assert outcome(send(once(sandbox.url, errors=ERRORS, **patience(fault)), batch(["p1", "p2"]))[0]) == {("unknown", code)}
    assert len(statuses(sandbox)) == 1


@pytest.mark.parametrize("status", [421, 425, 429])
def test_what_came_too_early_had_no_effect_and_is_sent_again(sandbox: Sandbox, status: int) -> None:
    sandbox.fault("email", str(status), times=2)
    assert outcome(send(once(sandbox.url), batch(["p1"]))[0]) == {("delivered", None)}
    assert statuses(sandbox) == [status, status, 200]


def test_what_never_left_is_retryable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert outcome(send(once(f"http://127.0.0.1:{port}"), batch(["p1"]))[0]) == {("retryable", "connect")}
    unknown = once("https://no-such-host.invalid", egress=Egress(hosts=frozenset({"no-such-host.invalid"})))
    assert outcome(send(unknown, batch(["p1"]))[0]) == {("retryable", "dns")}


def test_a_server_that_never_answers_may_have_read_the_request() -> None:
    def hang(connection: socket.socket) -> None:
        connection.recv(1)

    with raw_server(hang) as (url, seen):
        assert outcome(send(once(url, timeout_seconds=0.5), batch(["p1"]))[0]) == {("unknown", "timeout")}
    assert len(seen) == 1


def test_a_removal_may_be_repeated(sandbox: Sandbox) -> None:
    sandbox.fault("email", "500", times=1)
    assert outcome(send(once(sandbox.url), batch(["p1"], op="remove"))[0]) == {("delivered", None)}
    assert statuses(sandbox) == [500, 200]


def test_of_a_batch_that_was_halved_what_was_settled_is_told_when_the_rest_cannot_be_sent(sandbox: Sandbox) -> None:
    sandbox.options("email", max_rows=2, key=["external_id"])
    sandbox.fault("email", "401", every=3)
    (receipts,) = send(once(sandbox.url), batch(["p1", "p2", "p3", "p4"]))
    assert _said(receipts) == [("delivered", None)] * 2 + [("retryable", "not_sent")] * 2
    sandbox.fault("email", "401")
    with pytest.raises(DeliveryError, match="refuses our credentials"):
        send(once(sandbox.url), batch(["p3"]))


def _said(receipts: Receipts) -> list[tuple[str, str | None]]:
    return list(zip(receipts.statuses, receipts.codes, strict=True))


# -- the key of a change in the channel's own form --------------------------------------------------------------------


def test_the_key_goes_in_the_header_and_the_field_that_the_channel_knows(sandbox: Sandbox) -> None:
    sent = batch(["p1", "p2"])
    target = make_target(sandbox.url, idempotency={"header": "X-Request-Id", "field": "event_id"})
    assert outcome(send(target, sent)[0]) == {("delivered", None)}
    assert [row["event_id"] for row in sandbox.rows("email")] == list(sent.change_ids)
    (request,) = sandbox.requests("email")
    assert "x-request-id" in {name.lower() for name in request["headers"]}
    assert request["idempotency_key"] is None
    send(make_target(sandbox.url, idempotency={"header": None}), sent)
    assert sandbox.requests("email")[-1]["idempotency_key"] is None


@pytest.mark.parametrize("header", ["Host", "Content-Length", "no header", ""])
def test_a_header_that_cannot_hold_it_is_refused(sandbox: Sandbox, header: str) -> None:
    with pytest.raises(DeliveryError, match=r"http\.idempotency\.header"):
        send(make_target(sandbox.url, idempotency={"header": header}), batch(["p1"]))
    with pytest.raises(DeliveryError, match="cannot be set here"):
        send(make_target(sandbox.url, headers={"Idempotency-Key": "x"}), batch(["p1"]))


def test_that_an_earlier_try_may_have_been_applied_is_not_forgotten(sandbox: Sandbox) -> None:
    sandbox.fault("email", "applied_but_500")
    sandbox.fault("email", "429", times=None)
    assert outcome(send(make_target(sandbox.url), batch(["p1"]))[0]) == {("retryable", "http_500")}
    assert statuses(sandbox) == [500, 429, 429]
