"""A row at which the channel fails (5xx) instead of refusing it: found alone, where that is safe, and cheap where the channel is down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from cdp.connectors.base import Target, WireOp
from cdp.connectors.halves import FAILING, Halves
from cdp.sandbox import Sandbox
from cdp.testing.connectors import batch
from tests.unit.test_http_connector import make_target, outcome, send, statuses

FIELD = {"repeats": "keys", "idempotency": {"field": "event_id"}}
TRIES = 2
IDS = [f"p{n}" for n in range(64)]


def target(sandbox: Sandbox, **options: Any) -> Target:
    return make_target(sandbox.url, **{"repeats": "state", "attempts": TRIES, **options})


def told(ids: Sequence[str], target: Target, op: WireOp = "upsert") -> dict[str, tuple[str, str | None]]:
    (receipts,) = send(target, batch(ids, op=op))
    return dict(zip(ids, zip(receipts.statuses, receipts.codes, strict=True), strict=True))


@pytest.mark.parametrize("status", ["500", "502", "504"])
@pytest.mark.parametrize("bad", ["p0", "p21", "p63"])
def test_it_is_found_and_the_others_are_delivered(sandbox: Sandbox, status: str, bad: str) -> None:
    sandbox.fault("email", status, keys=[bad], times=None)
    found = told(IDS, target(sandbox))
    assert found == {each: ("retryable", f"http_{status}") if each == bad else ("delivered", None) for each in IDS}
    assert len(statuses(sandbox)) == TRIES + 2 * 6  # tried again as a whole, and then once
    assert len(sandbox.rows("email")) == 63


@pytest.mark.parametrize("bad", [["p3", "p40"], ["p3", "p4"], ["p0", "p20", "p41"]], ids=str)
def test_several_are_found(sandbox: Sandbox, bad: list[str]) -> None:
    sandbox.fault("email", "500", keys=bad, times=None)
    found = told(IDS, target(sandbox))
    assert {each for each, (status, _) in found.items() if status != "delivered"} == set(bad)


def test_one_that_is_refused_among_them_is_rejected(sandbox: Sandbox) -> None:
    sandbox.fault("email", "500", keys=["p3"], times=None)
    sandbox.fault("email", "422", keys=["p40"], times=None)
    found = told(IDS, target(sandbox))
    assert {each: verdict for each, verdict in found.items() if verdict[0] != "delivered"} == {
        "p3": ("retryable", "http_500"),
        "p40": ("rejected", "http_422"),
    }


def test_who_may_be_there_is_not_refused_for_others(sandbox: Sandbox) -> None:
    """All were applied when the channel failed; then it refuses whatever comes: only a row alone is refused for what it says."""
    sandbox.fault("email", "applied_but_500", times=TRIES)
    sandbox.fault("email", "400", times=None)
    found = told(IDS, target(sandbox))
    verdicts = Counter(found.values())
    assert verdicts[("rejected", "http_400")] <= sum(request["rows"] == 1 for request in sandbox.requests("email"))
    assert verdicts.keys() <= {("rejected", "http_400"), ("retryable", "http_500")}
    assert verdicts[("retryable", "http_500")] > 32


@pytest.mark.parametrize(
    ("options", "op", "halved"),
    [
        ({"repeats": "state"}, "upsert", True),
        (FIELD, "upsert", True),
        ({"repeats": "keys"}, "upsert", False),  # its key is one of the whole request: under another one the rows may be applied twice
        ({"repeats": "effect"}, "upsert", False),
        ({"repeats": "effect", "idempotency": {"field": "event_id"}}, "upsert", False),
        ({"repeats": "keys"}, "remove", True),
        ({"repeats": "effect"}, "remove", True),
    ],
    ids=str,
)
def test_only_rows_that_may_go_again_in_other_requests(sandbox: Sandbox, options: dict[str, Any], op: WireOp, halved: bool) -> None:
    sandbox.options("email", key=["external_id"])
    sandbox.fault("email", "500", keys=["p5"], times=None)
    found = told(IDS[:8], target(sandbox, **options), op)
    undecided = ("unknown" if options["repeats"] == "effect" and op == "upsert" else "retryable", "http_500")
    assert found == {each: undecided if each == "p5" or not halved else ("delivered", None) for each in IDS[:8]}
    assert len({request["idempotency_key"] for request in sandbox.requests("email")}) == (7 if halved else 1)


def test_a_channel_that_is_down_is_asked_a_few_times_more_and_then_not(sandbox: Sandbox) -> None:
    sandbox.fault("email", "500", times=None)
    receipts = send(target(sandbox), *[batch(IDS)] * 4)
    assert [outcome(each) for each in receipts] == [{("retryable", "http_500")}] * 4
    assert len(statuses(sandbox)) == 4 * TRIES + 2 * FAILING
    sandbox.channel("email").recover()
    sandbox.requests("email").clear()


@pytest.mark.parametrize("status", ["503", "429", "408"])
def test_one_that_has_too_many_requests_gets_no_more_of_them(sandbox: Sandbox, status: str) -> None:
    sandbox.fault("email", status, times=None)
    assert set(told(IDS, target(sandbox)).values()) == {("retryable", f"http_{status}")}
    assert len(statuses(sandbox)) == TRIES


@pytest.mark.parametrize("fault", [("429", 3600), ("401", None), ("redirect", None)])
def test_that_the_whole_may_have_been_applied_is_not_forgotten_when_a_part_is_not_sent(sandbox: Sandbox, fault: tuple[str, Any]) -> None:
    sandbox.fault("email", "applied_but_500", times=TRIES)
    sandbox.fault("email", fault[0], times=None, retry_after=fault[1])
    assert set(told(IDS, target(sandbox)).values()) == {("retryable", "http_500")}


def test_halves_are_tried_while_any_part_is_taken() -> None:
    halves = Halves(list(range(8)), 8, up=True)
    asked: list[list[int]] = []
    while (places := halves.next()) is not None:
        asked.append(places)
        if 5 not in places:
            halves.taken()
        elif len(places) > 1:
            halves.failed(places)
    assert sorted(map(len, asked)) == [1, 1, 2, 2, 4, 4, 8]
    down = Halves(list(range(8)), 8, up=False)
    assert down.next() == list(range(8))
    down.failed(list(range(8)))
    assert down.next() is None
