"""The main job through the command line: plan, apply, the world moves, faults, crashes, two at once."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from cdp.sandbox.server import Sandbox
from cdp.sync import lease, planning
from cdp.sync.ledger import Control
from cdp.sync.plan import Plan
from tests.e2e.conftest import Cdp, answers, spawn

SYNC, CHANNEL = "a1c_reminder_email", "outreach_email"
KEYS = ["plan", "sync", "counts", "excluded", "refusals"]


def sent(channel: Sandbox) -> list[dict[str, Any]]:
    """The requests that held rows; others asked whose account it is."""
    return [request for request in channel.requests(CHANNEL) if request["method"] != "GET"]


def held(channel: Sandbox) -> set[str]:
    return {row["external_id"] for row in channel.rows(CHANNEL)}


def test_plan_apply_and_again(cdp: Cdp, channel: Sandbox) -> None:
    plan = cdp("plan", SYNC, "--json")
    assert plan.code == 0
    facts = plan.json
    assert set(KEYS) <= set(facts)
    assert set(facts["counts"]) >= {"add", "change", "remove", "unchanged", "invalid"}
    assert facts["counts"]["add"] > 5
    assert facts["size"] == sum(facts["counts"].values()) - facts["counts"]["remove"] + sum(e["count"] for e in facts["excluded"])
    assert sent(channel) == []

    (run,) = cdp("apply", facts["plan"], "--json").json
    assert set(run) >= {"run", "plan", "sync", "delivered", "rejected", "retryable", "status"}
    assert (run["plan"], run["status"]) == (facts["plan"], "succeeded")
    assert run["delivered"] == facts["counts"]["add"] == len(held(channel))

    again = cdp("sync", SYNC, "--json")
    assert (again.code, again.json[0]["status"], again.json[0]["delivered"]) == (0, "nothing", 0)
    assert cdp("apply", facts["plan"], "--json").code == 1  # a plan is applied once


def test_the_next_day_sends_the_difference_and_removes_who_may_not_be_told(cdp: Cdp, channel: Sandbox) -> None:
    cdp("sync", SYNC)
    before = held(channel)
    changes = cdp("sample", "--changes", "--json").json
    withdrew = changes["withdrew"]
    plan = cdp("plan", SYNC, "--json").json
    assert plan["counts"]["add"] >= 1
    assert plan["counts"]["change"] >= 1
    assert plan["counts"]["remove"] >= 2
    (run,) = cdp("apply", plan["plan"], "--json").json
    assert run["status"] == "succeeded"
    assert len(before - held(channel)) == plan["counts"]["remove"]
    told = cdp("disclosures", "--key", withdrew, "--json").json
    assert [line["op"] for line in told if line["sync"] == SYNC] == ["add", "remove"]


def test_all_syncs_of_the_example_run_and_one_that_fails_does_not_stop_the_others(cdp: Cdp, channel: Sandbox, project: Path) -> None:
    (project / "syncs" / "bad.yml").write_text(
        "kind: sync\nname: aaa_refused\nsegment: a1c_overdue\ndestination: outreach_email\npurpose: marketing\n"
        "mode: upsert\nkey: {external_id: patient_id}\n"
    )
    all_runs = cdp("sync", "--all", "--json")
    assert all_runs.code == 1
    status = {run["sync"]: run["status"] for run in all_runs.json}
    assert status.pop("aaa_refused") == "refused"
    assert set(status.values()) <= {"succeeded", "nothing"}  # measures of the calendar year may be empty in January
    assert len(status) >= 5
    assert {status[name] for name in (SYNC, "diabetes_registry", "flu_reminder_sms")} == {"succeeded"}
    assert list((project / "out" / "registry").glob("*.manifest.json"))


def test_a_refusal_gives_every_reason_and_sends_nothing(cdp: Cdp, channel: Sandbox, project: Path) -> None:
    from cdp.cli.demo import ADS

    (project / "syncs" / "ads.yml").write_text(ADS)
    refused = cdp("plan", "lookalike_audience", "--json")
    assert refused.code == 1
    facts = refused.json
    assert (facts["plan"], facts["sync"]) == (None, "lookalike_audience")
    assert {reason["rule"] for reason in facts["refusals"]} >= {"agreement", "funding", "value", "membership"}
    assert cdp("sync", "lookalike_audience").code == 1
    assert channel.requests("ads_platform") == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("columns", "clinical.patients.email is not there"),
        ("missing", "table clinical.patients not found"),
        ("empty", "no row"),
        ("stale", "crm.consents was last recorded"),
        ("half", "clinical.patients"),
    ],
)
def test_a_lakehouse_that_is_not_as_declared(cdp: Cdp, channel: Sandbox, project: Path, change: str, words: str) -> None:
    cdp("sync", SYNC)
    before = held(channel)
    broken(project, change)
    # A file that is lost changes no table, as far as its log says; everything else is seen by a run that may skip.
    said = cdp("sync", SYNC, *(["--no-skip"] if change == "half" else []))
    assert said.code == 1
    assert words in said.err
    assert "fix:" in said.err
    assert "Traceback" not in said.err
    assert held(channel) == before


def test_no_lakehouse_is_said_before_anything_is_made(cdp: Cdp, project: Path) -> None:
    (project / "lake").rename(project / "away")
    for words in (("plan", SYNC), ("sync", SYNC), ("runs",), ("disclosures", "--key", "x")):
        said = cdp(*words)
        assert said.code == 1, words
        assert f"there is no lakehouse at {project / 'lake'}" in said.err
    assert not (project / "lake").exists()


def broken(project: Path, change: str) -> None:
    from cdp.engine import connect
    from cdp.spec.activation import Environment

    engine, clinical = connect(Environment(lakehouse="lake"), root=project), project / "lake" / "clinical"
    engine.register(["clinical.patients", "crm.consents"])
    if change == "columns":
        columns = ", ".join(c for c in engine.columns("clinical.patients") if c != "email")
        engine.create_as("clinical.other", f"SELECT {columns} FROM clinical.patients")
        (clinical / "patients").rename(clinical / "away")
        (clinical / "other").rename(clinical / "patients")
    elif change == "missing":
        (clinical / "patients").rename(clinical / "away")
    elif change == "empty":
        engine.execute("DELETE FROM crm.consents WHERE TRUE")
    elif change == "stale":
        engine.execute("UPDATE crm.consents SET recorded_at = recorded_at - INTERVAL 8 DAYS")
    else:  # a writer that replaces the folder has taken the files away
        for file in (clinical / "patients").glob("*.parquet"):
            file.unlink()


# -- faults: the channel ends equal to the segment, under stable idempotency keys --------------------------------------


def staged(channel: Sandbox, *faults: tuple[str, dict[str, Any]]) -> None:
    for kind, more in faults:
        channel.fault(CHANNEL, kind, **more)


@pytest.mark.parametrize("fault", [("429", {"retry_after": 1}), ("500", {}), ("applied_but_500", {}), ("reset", {})])
def test_a_passing_fault_is_retried_under_the_same_key(cdp: Cdp, channel: Sandbox, fault: tuple[str, dict[str, Any]]) -> None:
    staged(channel, fault)
    (run,) = cdp("sync", SYNC, "--json").json
    assert run["status"] == "succeeded"
    assert len(held(channel)) == run["delivered"]
    keys = [request["idempotency_key"] for request in sent(channel) if request["idempotency_key"]]
    assert len(set(keys)) < len(keys) or fault[0] == "reset"  # a request that was cut may not have been seen


def test_what_was_applied_but_not_acknowledged_is_sent_again_under_the_same_key(cdp: Cdp, channel: Sandbox, project: Path) -> None:
    destination = project / "destinations" / "outreach_email.yml"
    destination.write_text(destination.read_text() + "  attempts: 1\n")
    staged(channel, ("half_reset", {"times": 1}))
    (first,) = cdp("sync", SYNC, "--json").json
    assert first["retryable"] > 0
    (second,) = cdp("sync", SYNC, "--json").json
    assert (second["delivered"], second["retryable"]) == (first["retryable"], 0)
    seen = [request["idempotency_key"] for request in sent(channel)]
    assert seen[0] in seen[1:]


def test_rejected_rows_are_named_by_code_and_wait_before_they_go_again(cdp: Cdp, channel: Sandbox, project: Path) -> None:
    cdp("sync", SYNC)
    cdp("sample", "--changes")
    channel.fault(CHANNEL, "reject", keys=sorted(held(channel)), code="blocked_address")
    plan = cdp("plan", SYNC, "--json").json
    (run,) = cdp("apply", plan["plan"], "--json").json
    refused = {op: plan["counts"][op] for op in ("change", "remove")}
    assert (run["rejected"], run["status"]) == (sum(refused.values()), "partial")
    receipts = cdp("runs", run["run"], "--json").json["receipts"]
    for op, count in refused.items():
        assert {"op": op, "status": "rejected", "code": "blocked_address", "count": count} in receipts
    said = cdp("sync", SYNC, "--json")
    waiting = {"waiting": refused["change"], "removals_waiting": refused["remove"]}
    assert (said.code, said.json[0]["status"], said.json[0]["put_off"]) == (0, "nothing", waiting)
    rejected = cdp("runs", run["run"], "--rejected", "--json").json
    assert [(each["op"], each["code"], each["attempts"], each["state"], each["rows"]) for each in rejected] == [
        (op, "blocked_address", 1, "waiting", count) for op, count in refused.items()
    ]
    assert all(dt.datetime.fromisoformat(each["next_try"]) > dt.datetime.now(dt.UTC) + dt.timedelta(minutes=50) for each in rejected)

    destination = project / "destinations" / "outreach_email.yml"
    destination.write_text(destination.read_text() + "retries: {wait: {minutes: 0}}\n")
    again = cdp("plan", SYNC, "--json").json["counts"]
    assert {op: again[op] for op in ("add", "change", "remove")} == {"add": 0, **refused}
    _who_was_rejected(cdp, project, run["run"], sum(refused.values()))


def _who_was_rejected(cdp: Cdp, project: Path, run: str, count: int) -> None:
    """Keys are shown to whom the ledger answers: the verb `disclosures`."""
    people = cdp("runs", run, "--rejected", "--people", "--json").json
    assert len({each["person"] for each in people}) == len(people) == count
    roles = project / "governance" / "roles.yml"
    me = f"{{id: 'uid:{os.getuid()}', email: otto@example.org, roles: [operator]}}"
    other = f"{{id: 'uid:{os.getuid() + 1}', email: privacy@example.org, roles: [privacy]}}"
    roles.write_text(f"{roles.read_text()}people:\n  - {me}\n  - {other}\n")
    assert cdp("runs", run, "--rejected").code == 0
    denied = cdp("runs", run, "--rejected", "--people")
    assert (denied.code, denied.out) == (1, "")
    assert "disclosures" in denied.err


@pytest.mark.parametrize(("stale", "moves", "kind"), [("replan", 1, None), ("replan", 2, "StaleError"), ("refuse", 1, "StaleError")])
def test_a_plan_that_went_stale_is_made_anew_once_or_refused(
    cdp: Cdp, channel: Sandbox, project: Path, monkeypatch: pytest.MonkeyPatch, stale: str, moves: int, kind: str | None
) -> None:
    """Between the plan and applying it somebody else runs the sync; then the tables change."""
    models = project / "models" / "programmes" / "a1c_overdue.yml"
    models.write_text(models.read_text().replace(f"name: {SYNC}\n", f"name: {SYNC}\nstale: {stale}\n"))
    make_plan, left = planning.make_plan, [moves]

    def moved(*args: Any, **options: Any) -> Plan:
        plan = make_plan(*args, **options)
        if left[0]:
            left[0] -= 1
            before, left[0] = left[0], 0
            assert cdp("sync", SYNC).code == 0
            cdp("sample", "--changes")
            left[0] = before
        return plan

    monkeypatch.setattr(planning, "make_plan", moved)
    said = cdp("sync", SYNC, "--json")
    (run,) = said.json
    assert (run.get("error", {}).get("kind"), said.code) == (kind, 1 if kind else 0)
    assert (run["delivered"] > 0) == (kind is None)
    if moves == 1:  # a second move takes away what was said until then
        assert ("planned once more" in said.err) == (stale == "replan")


@pytest.mark.parametrize("wait", ["30", "0"])
def test_a_run_that_begins_between_our_wait_and_our_turn_is_waited_for_as_well(
    cdp: Cdp, channel: Sandbox, project: Path, monkeypatch: pytest.MonkeyPatch, wait: str
) -> None:
    """The other one takes the sync when ours is planned, and is still there when ours is to be applied."""
    make_plan, plans = planning.make_plan, list[Plan]()

    def overtaken(query: Any, engine: Any, control: str, **options: Any) -> Plan:
        plans.append(make_plan(query, engine, control, **options))
        if len(plans) == 1:
            other = lease.acquire(Control(engine, control), SYNC, lambda: dt.datetime.now(dt.UTC))
            if wait != "0":
                threading.Timer(1.5, other.release).start()
        return plans[-1]

    monkeypatch.setattr(planning, "make_plan", overtaken)
    said = cdp("sync", SYNC, "--wait", wait, "--json")
    (run,) = said.json
    if wait == "0":
        assert (said.code, run["error"]["kind"], run["delivered"], len(plans)) == (1, "BusyError", 0, 1)
        assert "is being applied by" in run["error"]["message"]
        return
    assert (said.code, run["status"], len(plans)) == (0, "succeeded", 2)
    assert run["plan"] == plans[1].id  # what is sent was planned when the other one had ended
    assert run["delivered"] == len(held(channel)) > 0


def test_a_destination_that_is_down_loses_nothing(cdp: Cdp, project: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    destination = project / "destinations" / "outreach_email.yml"
    destination.write_text(destination.read_text() + "  attempts: 1\n")
    monkeypatch.setattr("cdp.cli.channel._listens", lambda host, port: True)  # so that no sandbox is started
    down = cdp("sync", SYNC, "--json")  # nobody says whose account it is
    assert (down.code, down.json[0]["status"], down.json[0]["error"]["kind"]) == (1, "failed", "DeliveryError")
    with Sandbox("127.0.0.1", port, accounts=answers(project)) as channel:
        channel.fault(CHANNEL, "reset", times=None)
        run = cdp("sync", SYNC, "--json")
    assert (run.code, run.json[0]["delivered"]) == (1, 0)
    assert run.json[0]["retryable"] > 0
    assert "Traceback" not in run.err + down.err
    with Sandbox("127.0.0.1", port, accounts=answers(project)) as channel:
        (again,) = cdp("sync", SYNC, "--json").json
        assert again["delivered"] == run.json[0]["retryable"] == len(held(channel))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_cleanly(channel: Sandbox, project: Path, number: signal.Signals) -> None:
    in_small_batches(project)
    channel.fault(CHANNEL, "slow", seconds=0.3, times=6)
    child = spawn("sync", SYNC, "--json", cwd=project)
    wait_for(channel, 3)
    child.send_signal(number)
    out, err = child.communicate(timeout=30)
    (run,) = json.loads(out)
    assert (child.returncode, run["status"]) == (1, "stopped")
    assert run["delivered"] == len(held(channel)) > 0  # what was in flight is finished and on record
    assert "Traceback" not in err


def in_small_batches(project: Path) -> None:
    destination = project / "destinations" / "outreach_email.yml"
    destination.write_text(destination.read_text().replace("batch: 50", "batch: 2").replace("concurrency: 4", "concurrency: 1"))


def wait_for(channel: Sandbox, requests: int) -> None:
    deadline = time.monotonic() + 60
    while len(sent(channel)) < requests:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_killed_in_the_middle_and_run_again(cdp: Cdp, channel: Sandbox, project: Path) -> None:
    in_small_batches(project)
    channel.fault(CHANNEL, "slow", seconds=0.4, times=4)
    child = spawn("sync", SYNC, cwd=project)
    wait_for(channel, 3)
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=30)
    assert len(held(channel)) > 0
    (run,) = cdp("sync", SYNC, "--wait", "0", "--json").json  # its process is gone, and so is its lease
    assert run["status"] == "succeeded"
    size = cdp("plan", SYNC, "--json").json["counts"]
    assert (size["add"], size["unchanged"]) == (0, len(held(channel)))
    applied = [r for r in sent(channel) if not r.get("duplicate")]
    assert len({r["idempotency_key"] for r in applied}) == len(applied)  # nothing was applied twice


def test_of_two_runs_at_once_the_second_waits_or_is_refused(cdp: Cdp, channel: Sandbox, project: Path) -> None:
    in_small_batches(project)
    channel.fault(CHANNEL, "slow", seconds=0.5, times=8)
    child = spawn("sync", SYNC, "--json", cwd=project)
    wait_for(channel, 2)
    refused = cdp("sync", SYNC, "--wait", "0", "--json")
    assert (refused.code, refused.json[0]["error"]["kind"]) == (1, "BusyError")
    assert f"is being applied by process {child.pid} on" in refused.json[0]["error"]["message"]
    second = cdp("sync", SYNC, "--json")
    out, _ = child.communicate(timeout=60)
    (first,) = json.loads(out)
    assert (first["status"], child.returncode) == ("succeeded", 0)
    assert (second.code, second.json[0]["status"], second.json[0]["delivered"]) == (0, "nothing", 0)
    assert len(held(channel)) == first["delivered"]
