"""Texts whose receipts were lost, asked about at the channel over real HTTP: nobody is told twice, and no person has to look."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cdp.engine import connect
from cdp.sandbox.server import Sandbox
from cdp.spec.activation import Environment
from tests.e2e.conftest import Cdp, spawn

SYNC, CHANNEL = "appointment_reminder", "outreach_sms"
ASKED = """\
  idempotency: {field: event_id}
  concurrency: 1
  lookup:
    path: /v2/messages/lookup
    body: {list: ids}
    items: messages
    key: event_id
    status: status
    applied: [sent, delivered]
    missing: not_applied
    known_after: 0.5
"""
ONE_BY_ONE = ASKED.replace("path: /v2/messages/lookup\n    body: {list: ids}\n    items: messages", 'path: "/v2/messages/{change}"')


@pytest.fixture
def texts(project: Path, channel: Sandbox) -> Path:
    """The destination's file; each text is a request, and the channel knows it by the key of its change."""
    path = project / "destinations" / "outreach_sms.yml"
    path.write_text(path.read_text().replace("batch: 100", "batch: 1"))
    agreement = project / "governance" / "baa" / "outreach_texts.yml"
    agreement.write_text(agreement.read_text().replace("paths: [/v2/lists,", "paths: [/v2/lists, /v2/messages,"))
    channel.options(CHANNEL, effects=True, ids="event_id")
    return path


def run(cdp: Cdp) -> dict[str, Any]:
    found: dict[str, Any] = cdp("sync", SYNC, "--wait", "0", "--json").json[0]
    return found


def told(channel: Sandbox) -> int:
    """How many texts there were; nobody got one twice."""
    told = channel.channel(CHANNEL).told
    assert max(told.values()) == 1
    return len(told)


def questions(channel: Sandbox) -> Counter[str]:
    return Counter(request["method"] for request in channel.requests(CHANNEL) if "/messages/" in request["path"])


def codes(project: Path) -> Counter[tuple[str, str | None]]:
    engine = connect(Environment(lakehouse="lake"), root=project)
    engine.register(["cdp.receipts"])
    rows = engine.query(f"SELECT status, code FROM cdp.receipts WHERE sync = '{SYNC}'", what="receipts").to_pylist()
    engine.close()
    return Counter((row["status"], row["code"]) for row in rows)


def test_texts_that_were_under_way_when_the_run_was_killed_are_asked_about(cdp: Cdp, channel: Sandbox, project: Path, texts: Path) -> None:
    """Of a group one was applied, and its answer is on the way; the other one was asked to wait."""
    texts.write_text(texts.read_text() + ASKED.replace("concurrency: 1", "concurrency: 2"))
    channel.fault(CHANNEL, "slow", seconds=3)
    channel.fault(CHANNEL, "429", times=None, retry_after=30)
    child = spawn("sync", SYNC, cwd=project)
    deadline = time.monotonic() + 120
    while not any(request["status"] == 429 for request in channel.requests(CHANNEL)):
        assert time.monotonic() < deadline
        assert child.poll() is None
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=30)
    channel.channel(CHANNEL).recover()

    runs = [run(cdp), run(cdp)]
    assert sum(each["unknown"] for each in runs) == 0, runs
    assert cdp("plan", SYNC, "--json").json["counts"]["unknown"] == 0
    found = codes(project)
    assert (found["delivered", "asked"], found["retryable", "absent"]) == (1, 1)
    assert found["delivered", None] + found["delivered", "asked"] == told(channel)
    assert questions(channel) == {"POST": 3}  # what is missing is asked about by itself, and again when the channel must know
    (killed,) = cdp("runs", "--sync", SYNC, "--status", "killed", "--json").json
    assert (killed["unknown"], killed["delivered"]) == (0, 1)


def test_what_is_unknown_is_asked_about_by_each_run_until_the_channel_says(cdp: Cdp, channel: Sandbox, project: Path, texts: Path) -> None:
    channel.fault(CHANNEL, "applied_but_500")
    channel.fault(CHANNEL, "500")
    texts.write_text(texts.read_text() + "  idempotency: {field: event_id}\n  concurrency: 1\n")
    first = run(cdp)
    assert first["unknown"] == 2, first
    assert (run(cdp)["status"], questions(channel)) == ("nothing", {})  # nobody said how to ask
    texts.write_text(texts.read_text().replace("  idempotency: {field: event_id}\n  concurrency: 1\n", ONE_BY_ONE))

    channel.fault(CHANNEL, "not_json", on="lookup", times=2)
    assert (run(cdp)["status"], questions(channel)) == ("nothing", {"GET": 2})
    assert cdp("plan", SYNC, "--json").json["counts"]["unknown"] == 2
    assert run(cdp)["status"] == "nothing"
    assert codes(project)["delivered", "asked_later"] == codes(project)["retryable", "send_again"] == 1
    last = run(cdp)
    assert (last["status"], last["delivered"]) == ("succeeded", 1)
    assert told(channel) == first["delivered"] + 2
    counts = cdp("plan", SYNC, "--json").json["counts"]
    assert (counts["unchanged"], counts["unknown"], counts["add"]) == (first["delivered"] + 2, 0, 0)
    assert cdp("resync", SYNC, "--unknown", "list").out.strip() == "no row is unknown"
    assert cdp("resync", SYNC, "--json").json["lost"] == []
    asked = sum(questions(channel).values())
    run(cdp)
    assert sum(questions(channel).values()) == asked  # nothing is in doubt: nothing is asked
