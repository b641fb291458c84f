"""`cdp resync` on the example: texts of which nobody knows whether they went out, and receipts that are gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cdp.engine import connect
from cdp.sandbox.server import Sandbox
from cdp.spec.activation import Environment
from tests.e2e.conftest import Cdp

SYNC = "appointment_reminder"
CHANNEL = "outreach_sms"


def run(cdp: Cdp) -> dict[str, Any]:
    found: dict[str, Any] = cdp("sync", SYNC, "--json").json[0]
    return found


def told(channel: Sandbox) -> list[int]:
    """The rows of each request that the channel applied."""
    return [request["rows"] for request in channel.requests(CHANNEL) if request["rows"]]


def test_unknown_texts_wait_for_a_person_and_gone_receipts_stop_the_plan(cdp: Cdp, project: Path, channel: Sandbox) -> None:
    channel.fault(CHANNEL, "applied_but_500")
    first = run(cdp)
    assert first["unknown"] > 0, first
    again = run(cdp)
    assert (again["status"], again["delivered"]) == ("nothing", 0)
    assert sum(told(channel)) == first["delivered"] + first["unknown"]  # nobody twice

    listed = cdp("resync", SYNC, "--unknown", "list", "--json").json
    assert len(listed) == first["unknown"]
    assert cdp("resync", SYNC, "--unknown", "again", "--json").json == {
        "sync": SYNC,
        "unknown": "again",
        "rows": first["unknown"],
        "done": False,
    }
    wrong = cdp("resync", SYNC, "--unknown", "again", "--key", "nobody", "--yes")
    assert (wrong.code, "of no unknown row" in wrong.err, "nobody" in wrong.err) == (2, True, False)
    one = listed[0]["key"]
    assert cdp("resync", SYNC, "--unknown", "again", "--key", one, "--yes").code == 0
    if len(listed) > 1:
        assert "on record as delivered" in cdp("resync", SYNC, "--unknown", "delivered", "--yes").out
    assert run(cdp)["delivered"] == 1
    assert cdp("resync", SYNC, "--unknown", "list").out.strip() == "no row is unknown"

    engine = connect(Environment(lakehouse="lake"), root=project)
    engine.register(["cdp.receipts"])
    last = engine.query(f"SELECT run FROM cdp.receipts WHERE sync = '{SYNC}' AND status = 'delivered' ORDER BY seq DESC LIMIT 1", what="r")
    lost = last.column("run")[0].as_py()
    engine.execute(f"DELETE FROM cdp.receipts WHERE run = '{lost}'", what="receipts")
    engine.close()
    refused = cdp("plan", SYNC)
    assert (refused.code, f"cdp resync {SYNC}" in refused.err) == (1, True)
    shown = cdp("resync", SYNC)
    assert "receipts that a run counted are gone" in shown.out
    assert f"run {lost}" in shown.out
    assert cdp("plan", SYNC).code == 1  # looking changes nothing
    done = cdp("resync", SYNC, "--yes", "--json").json
    assert (done["done"], done["doubtful"]) == (True, 1)
    assert cdp("plan", SYNC, "--json").json["counts"]["unknown"] == 1
    assert cdp("runs", "--sync", SYNC, "--json").json[0]["status"] == "resynced"
