"""`http.lookup` over real HTTP: what a channel says became of changes, and what is not believed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from cdp.connectors.base import Egress, Target, known_after
from cdp.connectors.http import HttpConnector
from cdp.errors import DeliveryError
from cdp.sandbox import Sandbox
from cdp.sandbox.channel import Call, Reply, reply
from cdp.sandbox.listener import Listener
from cdp.testing.connectors import batch
from tests.unit.test_http_connector import make_target, patience, send

ONE = {"path": "/email/v1/messages/{change}", "key": "event_id"}
MANY = {"path": "/email/v1/messages/lookup", "body": {"list": "ids"}, "items": "messages", "key": "event_id", "batch": 2}
STATES = {"status": "status", "applied": ["sent", "delivered"], "not_applied": "failed"}
FORGETS_NOTHING = {"missing": "not_applied"}


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    running.reset()
    running.options("email", effects=True, ids="event_id")
    return running


def asking(url: str, lookup: Mapping[str, Any] | None, **options: Any) -> Target:
    given = {
        "repeats": "effect",
        "idempotency": {"field": "event_id"},
        "lookup": lookup,
        "concurrency": 2,
        "timeout_seconds": 10,
        **options,
    }
    return make_target(url, **given)


def asked(target: Target, changes: Sequence[str]) -> list[bool | None]:
    async def ask() -> list[bool | None]:
        async with HttpConnector(target) as connector:
            return list(await connector.lookup(changes))

    return asyncio.run(ask())


def questions(sandbox: Sandbox) -> list[tuple[str, int]]:
    return [(request["method"], request["status"]) for request in sandbox.requests("email") if "/messages/" in request["path"]]


@pytest.mark.parametrize("spec", [ONE, MANY, ONE | STATES, MANY | STATES, MANY | {"body": "array"}], ids=str)
def test_what_was_taken_is_told_and_what_is_missing_only_where_the_channel_forgets_nothing(sandbox: Sandbox, spec: dict[str, Any]) -> None:
    taken, lost = batch(["p1", "p2", "p3"]), list(batch(["p4", "p5"]).change_ids)
    send(asking(sandbox.url, spec), taken)
    changes = [lost[0], *taken.change_ids, lost[1]]
    assert asked(asking(sandbox.url, spec), changes) == [None, True, True, True, None]
    assert asked(asking(sandbox.url, spec | FORGETS_NOTHING), changes) == [False, True, True, True, False]
    assert all(change in request["path"] for request in sandbox.requests("email") for change in [request["path"][-64:]] if spec == ONE)
    assert {method for method, _ in questions(sandbox)} == {"GET" if spec in (ONE, ONE | STATES) else "POST"}


def test_where_nothing_is_declared_nothing_is_asked(sandbox: Sandbox) -> None:
    target = asking(sandbox.url, None)
    assert asked(target, ["a"]) == [None]
    assert (questions(sandbox), known_after(HttpConnector(target))) == ([], 0.0)
    assert known_after(HttpConnector(asking(sandbox.url, ONE))) == 60.0


@pytest.mark.parametrize("fault", ["500", "503", "reset", "half_reset", "slow", "drip", "html", "not_json", "multi_status", "400", "429"])
@pytest.mark.parametrize("spec", [ONE | FORGETS_NOTHING, MANY | FORGETS_NOTHING], ids=["one", "many"])
def test_an_answer_that_says_nothing_leaves_it_unknown_and_another_counts(sandbox: Sandbox, spec: dict[str, Any], fault: str) -> None:
    sent = batch(["p1", "p2"])
    send(asking(sandbox.url, spec), sent)
    lost = list(batch(["p3"]).change_ids)
    sandbox.fault("email", fault, times=None, on="lookup", seconds=1)
    assert asked(asking(sandbox.url, spec, attempts=2, **patience(fault)), [*sent.change_ids, *lost]) == [None, None, None]
    sandbox.channel("email").recover()
    sandbox.fault("email", "503", on="lookup")  # and one that passes is waited for
    assert asked(asking(sandbox.url, spec), [*sent.change_ids, *lost]) == [True, True, False]


def test_refused_credentials_a_redirect_and_a_long_pause_end_it(sandbox: Sandbox) -> None:
    for fault, said in (("401", "refuses our credentials"), ("redirect", "redirects are refused")):
        sandbox.fault("email", fault, on="lookup")
        with pytest.raises(DeliveryError, match=said):
            asked(asking(sandbox.url, ONE), ["a"])  # one: a second one, cut off here, may reach the sandbox later and take the next fault
    sandbox.fault("email", "429", on="lookup", retry_after=3600)
    with pytest.raises(DeliveryError, match="asks to be left alone"):
        asked(asking(sandbox.url, ONE), ["a"])


def test_it_asks_no_place_that_the_agreement_does_not_name(sandbox: Sandbox) -> None:
    allowed = Egress(hosts=frozenset({"api.example.org"}), paths=("/email/contacts",))
    with pytest.raises(DeliveryError, match="the agreement allows: /email/contacts"):
        HttpConnector(asking("https://api.example.org", ONE, egress=allowed))
    with pytest.raises(DeliveryError, match=r"http\.lookup\.not_applied: sent is among"):
        HttpConnector(asking(sandbox.url, ONE | STATES | {"not_applied": "sent"}))


# -- what channels answer that are less friendly ----------------------------------------------------------------------


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[Call], Reply]], str]]:
    """A server that answers as it is told; its URL."""
    import threading

    listeners: list[Listener] = []

    def start(handle: Callable[[Call], Reply]) -> str:
        listener = Listener("127.0.0.1", 0, handle)
        listeners.append(listener)
        threading.Thread(target=lambda: listener.serve_forever(poll_interval=0.01), daemon=True).start()
        return listener.url

    yield start
    for listener in listeners:
        listener.shutdown()
        listener.close_all()


Serve = Callable[[Callable[[Call], Reply]], str]
A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def message(change: str, status: Any = "sent") -> dict[str, Any]:
    return {"event_id": change, "status": status}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (message(A), True),
        (message(A, "delivered"), True),
        (message(A, "failed"), False),
        (message(A, "queued"), None),  # a state of which nothing is declared
        (message(A, True), None),
        ({"event_id": A}, None),
        (message(B), None),  # of another change
        ({"error": "not found"}, None),
        ([message(A)], None),
        ("sent", None),
        (None, None),
    ],
    ids=str,
)
def test_one_message_counts_for_the_change_that_it_names_and_for_a_state_that_is_declared(
    serve: Serve, answer: Any, expected: object
) -> None:
    url = serve(lambda call: reply(200, answer))
    assert asked(asking(url, ONE | STATES | FORGETS_NOTHING), [A]) == [expected]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([message(B, "failed")], [False, False, False]),  # A and C are asked for once more, and are named by no answer
        ([message(A), message(A, "failed")], [True, False, False]),
        ([message(A, "failed"), message(A, "queued")], [None, False, False]),
        ([message("d" * 64)], [None, None, None]),  # it did not understand the question
        ([message(A), message("d" * 64)], [True, None, None]),
        ([message(A), "?"], [True, None, None]),
        ({"not": "a list"}, [None, None, None]),
        ([], [False, False, False]),
    ],
    ids=str,
)
def test_a_list_counts_for_those_that_it_names_and_for_others_only_if_it_answers_the_question(
    serve: Serve, messages: Any, expected: list[bool | None]
) -> None:
    def handle(call: Call) -> Reply:
        ids = json.loads(call.body)["ids"]
        if isinstance(messages, list) and all(isinstance(each, dict) and each["event_id"] in (A, B, C) for each in messages):
            return reply(200, {"messages": [each for each in messages if each["event_id"] in ids]})
        return reply(200, {"messages": messages})

    assert asked(asking(serve(handle), MANY | STATES | FORGETS_NOTHING | {"batch": 3}), [A, B, C]) == expected


def test_a_list_that_is_one_page_of_several_hides_nobody(serve: Serve) -> None:
    seen: list[list[str]] = []

    def handle(call: Call) -> Reply:
        ids = json.loads(call.body)["ids"]
        seen.append(ids)
        return reply(200, {"messages": [message(each) for each in ids if each != C][:1]})  # never more than one

    assert asked(asking(serve(handle), MANY | STATES | FORGETS_NOTHING | {"batch": 3}), [A, B, C]) == [True, True, False]
    assert seen == [[A, B, C], [B, C], [C]]


def test_a_key_in_a_query_is_found_and_escaped(serve: Serve) -> None:
    paths: list[str] = []

    def handle(call: Call) -> Reply:
        paths.append(call.path)
        return reply(200, {"messages": [message(A)] if A in call.path else []})

    spec = {"path": "/email/v1/messages?ref={change}", "items": "messages", "key": "event_id", **FORGETS_NOTHING}
    assert asked(asking(serve(handle), spec), [A, "../x&y=1"]) == [True, False]
    assert sorted(paths) == ["/email/v1/messages?ref=..%2Fx%26y%3D1", f"/email/v1/messages?ref={A}"]
