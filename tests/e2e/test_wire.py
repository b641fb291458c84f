"""The wire and the ends of agreements through the command line, over real HTTP."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest

from cdp.sandbox.server import Sandbox
from tests.e2e.conftest import ZONE, Cdp

SYNC, CHANNEL = "a1c_reminder_email", "outreach_email"
AGREEMENT = Path("governance", "baa", "outreach_mail.yml")


def held(channel: Sandbox) -> set[str]:
    return {row["external_id"] for row in channel.rows(CHANNEL)}


def ended(project: Path, days: int, after_end: str) -> None:
    """The agreement of the channel ended so many days ago."""
    path, end = project / AGREEMENT, dt.datetime.now(ZONE).date() - dt.timedelta(days=days)
    text = re.sub(
        r"signed: \S+\neffective: \S+\nexpires: \S+", f"signed: 2020-01-15\neffective: 2020-01-15\nexpires: {end}", path.read_text()
    )
    path.write_text(re.sub(r"after_end: .*\n", after_end, text))


def test_after_the_end_of_an_agreement_removals_go_and_nothing_else(cdp: Cdp, channel: Sandbox, project: Path) -> None:
    """attack 39"""
    cdp("sync", SYNC)
    before = held(channel)
    cdp("sample", "--changes")
    ended(project, 3, "after_end: {removes: allow, days: 30}\n")
    shown = cdp("plan", SYNC)
    assert shown.code == 1
    assert "ended on" in shown.err
    assert "it only removes: whoever should no longer be there" in shown.out
    assert re.search(r"held back +[1-9]", shown.out)
    plan = cdp("plan", SYNC, "--json").json
    assert plan["removals_only"] is True
    assert [refusal["rule"] for refusal in plan["refusals"]] == ["agreement"]
    assert (plan["counts"]["add"], plan["counts"]["change"], plan["counts"]["remove"] > 1, plan["counts"]["held_back"] > 1) == (
        0,
        0,
        True,
        True,
    )
    said = cdp("sync", SYNC)
    assert said.code == 1
    assert f"{SYNC}: is refused; {plan['counts']['remove']} removals went all the same" in said.err
    assert held(channel) < before
    assert len(before - held(channel)) == plan["counts"]["remove"]
    (again,) = cdp("sync", SYNC, "--json").json
    assert (again["status"], again["delivered"], again["error"]["kind"]) == ("refused", 0, "RefusedError")
    assert [refusal["rule"] for refusal in cdp("validate", "--json").json["refusals"]] == ["agreement"] * 1

    ended(project, 31, "")
    (late,) = cdp("sync", SYNC, "--json").json
    assert (late["status"], late["plan"]) == ("refused", None)


def test_at_its_end_everybody_is_taken_off_when_the_agreement_says_so(cdp: Cdp, channel: Sandbox, project: Path) -> None:
    """attack 39: 45 CFR 164.504(e)(2)(ii)(J)"""
    cdp("sync", SYNC)
    assert len(held(channel)) > 5
    ended(project, 1, "after_end: {removes: all, days: 30}\n")
    (run,) = cdp("sync", SYNC, "--json").json
    assert (run["status"], held(channel)) == ("refused", set())


def test_nothing_is_planned_for_another_account(cdp: Cdp, channel: Sandbox) -> None:
    """attack 18: at plan, and at apply when it has changed since"""
    plan = cdp("plan", SYNC, "--json").json
    channel.accounts[CHANNEL] = {"account": {"id": "OM-99999"}}
    for words in (("plan", SYNC), ("sync", SYNC), ("apply", plan["plan"])):
        said = cdp(*words)
        assert said.code == 1
        assert "the credentials open account 'OM-99999', the agreement is about 'OM-20417'" in said.err
    assert channel.rows(CHANNEL) == []


def test_keys_stand_in_no_query(cdp: Cdp, channel: Sandbox, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """attack 42: the text of every statement that the engine is given, of every command that knows a key"""
    from pyspark.sql.connect.session import SparkSession

    texts: list[str] = []
    run = SparkSession.sql

    def recorded(self: SparkSession, text: str, *args: object, **more: object) -> object:
        texts.append(text)
        return run(self, text, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(SparkSession, "sql", recorded)
    withdrew = cdp("sample", "--changes", "--json").json["withdrew"]
    texts.clear()
    pseudonyms = {row["external_id"] for row in channel.rows(CHANNEL)}
    cdp("sync", SYNC, "bp_outreach")
    for words in (("explain", "a1c_overdue", withdrew), ("explain", "bp_uncontrolled", withdrew), ("disclosures", "--key", withdrew)):
        assert cdp(*words).code == 0, words
    assert len(texts) > 20
    people = {withdrew, *pseudonyms, *(row["external_id"] for row in channel.rows(CHANNEL))}
    assert len(people) > 5
    assert not [text for text in texts if any(person in text for person in people)]
