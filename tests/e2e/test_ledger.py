"""The record through the command line: the ledger, its heads, the accounting, revocations."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import pytest

from cdp.engine import connect
from cdp.sandbox.server import Sandbox
from cdp.spec.activation import Environment
from cdp.sync import signing
from tests.e2e.conftest import Cdp

SYNC, CHANNEL = "a1c_reminder_email", "outreach_email"


def tamper(project: Path, statement: str) -> None:
    engine = connect(Environment(lakehouse="lake"), root=project)
    engine.register(["cdp.disclosures"])
    engine.execute(statement)


def edit(project: Path, old: str, new: str) -> None:
    """Another line in the sync."""
    path = project / "models" / "programmes" / "a1c_overdue.yml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_the_ledger_is_verified_and_a_signed_head_shows_what_was_cut_off(cdp: Cdp, channel: Sandbox, project: Path) -> None:
    """attack 44"""
    assert cdp("disclosures").out == "nothing was told yet\n"
    assert cdp("disclosures", "--verify").code == 0
    cdp("sync", SYNC, "diabetes_registry")
    signing.make_key(project / "privacy.key")
    exported = cdp("disclosures", "--export-head", "head.json", "--sign", "privacy.key", "--json")
    assert (exported.code, exported.json["verified"], len(exported.json["exported"]["heads"])) == (0, True, 2)
    assert cdp("disclosures", "--export-head", "head.json").code == 2  # a head is not written over
    checked = cdp("disclosures", "--verify", "--head", "head.json", "--json").json
    assert (checked["verified"], checked["signed_by"], [one["against"] for one in checked["syncs"]]) == (True, "an unknown key", [1, 1])
    _signers(cdp, project)
    tamper(project, f"DELETE FROM cdp.disclosures WHERE sync = '{SYNC}'")
    assert cdp("disclosures", "--verify").code == 0  # its end was cut off, which shows against a head only
    cut = cdp("disclosures", "--verify", "--head", "head.json")
    assert (cut.code, f"{SYNC}, no block: the ledger ends at block 0; the head is of block 1: the end was cut off" in cut.out) == (1, True)
    tamper(project, "UPDATE cdp.disclosures SET purpose = 'treatment' WHERE kind = 'line'")
    bad = cdp("disclosures", "--verify", "--json")
    assert (bad.code, bad.json["verified"], bad.json["exported"]) == (1, False, None)
    (found,) = [one["bad"] for one in bad.json["syncs"]]
    assert (found["sync"], found["block"], found["what"]) == ("diabetes_registry", 1, "its lines are not those that were written")
    assert cdp("disclosures", "--export-head", "other.json").code == 1
    assert not (project / "other.json").exists()  # no head of a ledger that is not whole
    (project / "head.json").write_text((project / "head.json").read_text().replace('"block": 1', '"block": 2'))
    forged = cdp("disclosures", "--verify", "--head", "head.json")
    assert (forged.code, "the signature does not fit the heads" in forged.err) == (2, True)


def _signers(cdp: Cdp, project: Path) -> None:
    """Where people have keys, heads that another key signed are as good as none."""
    roles = project / "governance" / "roles.yml"
    before = roles.read_text()
    signing.make_key(project / "other.key")
    for key, code in (("privacy.key", 0), ("other.key", 1)):
        public = signing.public_of(signing.read_key(project / key))
        person = f'{{id: "uid:{os.getuid()}", email: ana@example.org, roles: [privacy], public_key: "{public}"}}'
        roles.write_text(f"{before}people:\n  - {person}\n")
        said = cdp("disclosures", "--verify", "--head", "head.json", "--json")
        assert said.code == code
        assert ("ana@example.org" in said.out) == (code == 0)
        assert ("signed with a key that nobody has in governance/roles.yml" in said.out + said.err) == (code == 1)
    roles.write_text(before)


def test_the_accounting_of_a_person(cdp: Cdp, channel: Sandbox, project: Path) -> None:
    purposes = project / "governance" / "purposes.yml"
    purposes.write_text(purposes.read_text().replace('    accounting: {exempt: "164.528(a)(1)(i)"}\n', ""))
    cdp("sync", SYNC)
    engine = connect(Environment(lakehouse="lake"), root=project)
    engine.register(["cdp.disclosures"])
    who = engine.value("SELECT MIN(person) FROM cdp.disclosures WHERE kind = 'line'")
    (line,) = cdp("disclosures", "--key", who, "--accountable", "--json").json
    assert (line["person"], line["sync"], line["op"], line["accounting"], line["approver"]) == (who, SYNC, "add", "accountable", None)
    assert line["counterparty"]
    read = list(csv.DictReader(io.StringIO(cdp("disclosures", "--key", who, "--csv").out)))
    assert [(row["person"], row["columns"]) for row in read] == [(who, ", ".join(line["columns"]))]
    assert cdp("disclosures", "--key", who, "--since", "2999-01-01").out == "nothing is on record under this key\n"
    assert cdp("disclosures", "--key", who, "--until", "2020-01-01", "--json").json == []
    (kept,) = cdp("disclosures", "--json").json
    assert (kept["sync"], kept["accountable"] > 0, kept["keep_until"][:4]) == (SYNC, True, str(int(kept["last"][:4]) + 6))


@pytest.mark.parametrize(
    "words",
    [
        ("--key", "x", "--verify"),
        ("--csv",),
        ("--since", "2026-01-01"),
        ("--head", "head.json"),
        ("--sign", "key"),
        ("--key", "x", "--since", "1.1.2026"),
        ("--verify", "--head", "purposes.yml"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_calls(cdp: Cdp, project: Path, words: tuple[str, ...]) -> None:
    (project / "purposes.yml").write_text("kind: purposes\n")
    said = cdp("disclosures", *words)
    assert (said.code, said.out) == (2, "")


def test_who_withdrew_is_open_until_taken_off_and_a_guard_does_not_hold_that_back(cdp: Cdp, channel: Sandbox, project: Path) -> None:
    """attack 39"""
    cdp("sync", SYNC)
    before = len(channel.rows(CHANNEL))
    withdrew = cdp("sample", "--changes", "--json").json["withdrew"]
    edit(project, "max_remove: 40%", "max_remove: 0")
    plan = cdp("plan", SYNC, "--json").json
    assert (plan["counts"]["remove"] >= 2, [guard["guard"] for guard in plan["guards"]]) == (True, ["max_remove"])
    opened = cdp("revocations", "--open", "--json").json
    assert len(opened) == plan["counts"]["remove"]
    mine = next(row for row in opened if row["person"] == withdrew)
    assert (mine["sync"], mine["destination"], mine["state"], mine["done"], mine["fix"]) == (SYNC, CHANNEL, "open", None, None)
    assert "consent" in mine["reason"]
    run = cdp("sync", SYNC, "--json")
    (facts,) = run.json
    assert (run.code, facts["error"]["kind"]) == (1, "GuardError")
    runs = (*facts.get("earlier_runs", ()), facts["run"])
    assert sum(cdp("runs", each, "--json").json["delivered"] for each in runs) == facts["delivered"]
    done = {row["person"]: row for row in cdp("revocations", "--sync", SYNC, "--json").json}
    assert done[withdrew]["state"] == "done"
    assert done[withdrew]["since"] < done[withdrew]["done"]
    taken = sum(row["state"] == "done" for row in done.values())
    assert len(channel.rows(CHANNEL)) == before - taken
    left = [row for row in done.values() if row["reason"] == "left_segment"]
    assert {row["state"] for row in left} <= {"open"}
    shown = cdp("revocations")
    assert (shown.code, f"{len(left)} still there" in shown.out) == (0, bool(left))
    told = shown.out.splitlines()  # to whom stands above, so that there is room for keys as they can be copied
    assert told[0].startswith(f"{SYNC} to {CHANNEL} (")
    assert any(line.startswith(f"{withdrew} ") for line in told)
    assert max(map(len, told)) <= 100


def test_a_mode_that_removes_nobody_lists_them_with_the_fix(cdp: Cdp, channel: Sandbox, project: Path) -> None:
    edit(project, "mode: mirror ", "mode: upsert ")
    cdp("sync", SYNC)
    withdrew = cdp("sample", "--changes", "--json").json["withdrew"]
    cdp("sync", SYNC)
    (row,) = [row for row in cdp("revocations", "--open", "--json").json if row["person"] == withdrew]
    assert row["fix"] == f"mode upsert removes nobody: use mode mirror, or have {CHANNEL} take them off"
    assert "mode upsert removes nobody" in cdp("revocations").out
    unknown = cdp("revocations", "--sync", "nope")
    assert (unknown.code, "nope" in unknown.err) == (2, True)
