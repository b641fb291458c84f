"""Who may do what, and approvals, from the command line: several people on one machine. Attacks 26, 27, 33.

A process may be several people one after the other where it runs as root: its real user id is what `os.getuid` says, while it
keeps the rights to read the test's files.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cdp.engine import connect
from cdp.engine.base import literal
from cdp.sandbox.server import Sandbox
from cdp.spec.access import VERBS
from cdp.spec.activation import Environment
from cdp.sync import signing
from tests.e2e.conftest import Cdp, Said

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several people in one process")

ANALYST, OPERATOR, OFFICER, STRANGER = 1001, 1002, 1003, 1004
SYNC, AGREEMENT = "a1c_reminder_email", "governance/baa/outreach_mail.yml"
PEOPLE = """\
kind: roles
roles:
  analyst: {{use: [membership, demographic, clinical], see: [demographic], may: [preview, plan]}}
  operator: {{use: [membership], see: [], may: [plan, apply, runs], purposes: [care_coordination]}}
  privacy: {{use: ["*"], see: [contact], may: [approve, disclosures]}}
approval:
  required: {{purposes: [care_coordination]}}
  four_eyes: true
  expires: {{hours: 4}}
  signature: ed25519
people:
  - {{id: "uid:1001", email: ana@example.org, roles: [analyst]}}
  - {{id: "uid:1002", email: otto@example.org, roles: [operator], public_key: "{otto}"}}
  - {{id: "uid:1003", email: privacy@example.org, roles: [privacy], public_key: "{privacy}"}}
"""


@contextmanager
def being(uid: int) -> Iterator[None]:
    """This process as somebody else, as the operating system sees it."""
    os.setresuid(uid, 0, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@dataclass(frozen=True)
class Hospital:
    """The example with people; `cdp` runs a command as one of them, whatever $USER says."""

    root: Path
    keys: dict[int, Path]
    run: Cdp

    def cdp(self, uid: int, *words: str) -> Said:
        with being(uid):
            return self.run(*words)

    def plan(self, uid: int = OPERATOR) -> str:
        planned = self.cdp(uid, "plan", SYNC, "--json")
        assert planned.code == 0, planned.err or planned.out
        return str(planned.json["plan"])

    def approve(self, plan: str, uid: int = OFFICER, *words: str) -> Said:
        return self.cdp(uid, "approve", plan, "--yes", "--key", str(self.keys[uid]), *words)

    def edit(self, file: str, change: Callable[[str], str]) -> None:
        path = self.root / file
        assert change(path.read_text()) != path.read_text()
        path.write_text(change(path.read_text()))


@pytest.fixture
def hospital(project: Path, cdp: Cdp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hospital:
    keys = {uid: tmp_path / f"key_{uid}.pem" for uid in (OPERATOR, OFFICER)}
    otto, privacy = (signing.make_key(path) for path in keys.values())
    (project / "governance/roles.yml").write_text(PEOPLE.format(otto=otto, privacy=privacy))
    monkeypatch.setenv("USER", "root")
    monkeypatch.setenv("LOGNAME", "privacy")
    return Hospital(project, keys, cdp)


# -- who may do what --------------------------------------------------------------------------------------------------


COMMANDS = {
    "preview": ("preview", "a1c_overdue"),
    "explain": ("explain", "a1c_overdue", "k"),
    "plan": ("plan", SYNC),
    "approve": ("approve", "p"),
    "accept": ("plan", SYNC, "--accept-guard", "max_add"),
    "apply": ("apply", "p"),
    "runs": ("runs",),
    "disclosures": ("disclosures", "--key", "k"),
    "revocations": ("revocations",),
    "report": ("governance", "report"),
    "export": ("governance", "export", "--principal", "p"),
}


def test_every_verb_of_roles_yml_has_a_command() -> None:
    assert set(COMMANDS) == set(VERBS)


def test_somebody_who_is_not_listed_may_do_nothing_with_peoples_data(hospital: Hospital) -> None:
    """Attack 27: neither $USER nor $LOGNAME makes somebody else of them."""
    for verb, words in COMMANDS.items():
        said = hospital.cdp(STRANGER, *words)
        first = {"accept": "plan"}.get(verb, verb)  # who may not plan is not asked what else they may
        assert said.code == 1, words
        assert f"cdp: `{first}` is refused for 1 reason" in said.err
        assert f"[role] uid:{STRANGER}: is not among the people; `{first}` is for " in said.err
        assert "(governance/roles.yml:11)" in said.err
    refused = hospital.cdp(STRANGER, "sync", "--all", "--json")
    assert {refusal["missing"].split("`")[1] for refusal in refused.json["error"]["refusals"]} == {"plan", "apply"}
    assert hospital.cdp(STRANGER, "validate", SYNC).code == 0  # it touches no data


def test_a_role_may_do_what_it_says_and_no_more(hospital: Hospital) -> None:
    assert hospital.cdp(ANALYST, "preview", "a1c_overdue").code == 0
    for words in (("apply", "p"), ("sync", SYNC), ("runs",), ("disclosures", "--key", "k"), ("approve", "p"), ("docs", "--sizes")):
        said = hospital.cdp(ANALYST, *words)
        assert said.code == 1
        assert "uid:1001: has analyst; `" in said.err
        assert "is for " in said.err
        assert "(governance/roles.yml:12)" in said.err


def test_who_acts_in_one_role_does_not_use_the_verbs_of_another(hospital: Hospital) -> None:
    hospital.edit("governance/roles.yml", lambda text: text.replace("roles: [analyst]}", "roles: [analyst, privacy]}"))
    assert hospital.cdp(ANALYST, "preview", "a1c_overdue", "--role", "analyst").code == 0
    said = hospital.cdp(ANALYST, "preview", "a1c_overdue", "--role", "privacy")  # which sees more, and may not preview
    assert said.code == 1
    assert "uid:1001: acts as privacy; `preview` is for analyst (governance/roles.yml:12)" in said.err


def test_a_role_is_for_its_purposes(hospital: Hospital) -> None:
    said = hospital.cdp(OPERATOR, "plan", "bp_outreach", SYNC, "--json")
    assert said.code == 1
    other, own = said.json
    assert other["plan"] is None
    assert "`plan` for purpose" in other["refusals"][0]["missing"]
    assert own["plan"]


def test_without_people_everything_is_anybody_s(project: Path, cdp: Cdp) -> None:
    with being(STRANGER):
        assert cdp("runs").code == 0


# -- approvals --------------------------------------------------------------------------------------------------------


def test_planned_by_one_approved_by_another_delivered(hospital: Hospital, channel: Sandbox) -> None:
    shown = hospital.cdp(OPERATOR, "plan", SYNC)
    assert "it needs an approval (purpose care_coordination) of uid:1003 (privacy@example.org)\napprove it: cdp approve " in shown.out
    plan = hospital.plan()
    assert [each["plan"] for each in hospital.cdp(OFFICER, "approve", "--json").json] == [shown.out.split()[1].rstrip(":"), plan]
    waiting = hospital.cdp(OPERATOR, "apply", plan, "--json")
    assert (waiting.code, waiting.json[0]["status"]) == (1, "awaiting approval")
    assert "nobody has approved it" in waiting.json[0]["error"]["message"]
    assert not channel.rows("outreach_email")

    approved = hospital.approve(plan)
    assert approved.code == 0
    for part in (
        "by uid:1002, ",
        "outreach_mail with ",
        "care_coordination",
        "contact.email",
        "clinical.preventive",
        "being in the audience",
    ):
        assert part in approved.out
    assert max(map(len, approved.out.splitlines())) <= 100
    assert "approved by uid:1003 (signed), until " in approved.out

    done = hospital.cdp(OPERATOR, "apply", plan, "--json")
    assert (done.code, done.json[0]["status"]) == (0, "succeeded")
    assert len(channel.rows("outreach_email")) == done.json[0]["delivered"] > 0
    detail = hospital.cdp(OPERATOR, "runs", done.json[0]["run"], "--json").json
    assert detail["actor"] == "uid:1002"
    assert detail["approved"]["by"] == "uid:1003"
    assert "approved by" in hospital.cdp(OPERATOR, "runs", done.json[0]["run"]).out
    again = hospital.approve(plan)
    assert (again.code, "was applied already" in again.err) == (1, True)


def test_sync_leaves_a_plan_that_awaits_its_approval_and_removes_at_once(hospital: Hospital, channel: Sandbox) -> None:
    plan = hospital.plan()
    hospital.approve(plan)
    assert hospital.cdp(OPERATOR, "apply", plan).code == 0
    held = len(channel.rows("outreach_email"))
    engine = connect(Environment(lakehouse="lake"), root=hospital.root)
    engine.register(["cdp.receipts", "crm.consents", "clinical.patients"])
    people = f"FROM cdp.receipts WHERE sync = {literal(SYNC)}"
    revoked, renamed = (str(engine.value(f"SELECT {pick}(subject) {people}")) for pick in ("MIN", "MAX"))
    engine.execute(f"UPDATE crm.consents SET status = 'inactive' WHERE patient_id = {literal(revoked)}")
    engine.execute(f"UPDATE clinical.patients SET email = 'new@example.org' WHERE patient_id = {literal(renamed)}")

    said = hospital.cdp(OPERATOR, "sync", SYNC, "--json")
    [waiting] = said.json
    assert (said.code, waiting["status"], waiting["delivered"]) == (1, "awaiting approval", 1)
    assert waiting["error"]["fix"] == f"cdp approve {waiting['plan']}, by uid:1003 (privacy@example.org)"
    assert len(channel.rows("outreach_email")) == held - 1
    assert "new@example.org" not in str(channel.rows("outreach_email"))

    assert hospital.approve(waiting["plan"]).code == 0
    assert hospital.cdp(OPERATOR, "apply", waiting["plan"], "--json").json[0]["delivered"] == 1
    assert "new@example.org" in str(channel.rows("outreach_email"))


@pytest.mark.parametrize(
    ("uid", "words", "why"),
    [
        (OPERATOR, ("--yes",), "`approve` is for privacy"),
        (OFFICER, ("--yes",), "the approval must be signed"),
        (OFFICER, ("--yes", "--key", "missing.pem"), "missing.pem cannot be read"),
        (OFFICER, ("--yes", "--key", "conf/cdp.yml"), "holds no Ed25519 private key"),
        (OFFICER, ("--yes", "--key", "OPERATOR"), "the key is not the one that governance/roles.yml gives uid:1003"),
        (OFFICER, ("--key", "OFFICER"), "an approval must be meant"),
        (OFFICER, ("--key", "OFFICER", "--json"), "an approval must be meant"),
    ],
)
def test_who_cannot_approve_is_told_why(hospital: Hospital, uid: int, words: tuple[str, ...], why: str) -> None:
    plan = hospital.plan()
    named = {"OPERATOR": str(hospital.keys[OPERATOR]), "OFFICER": str(hospital.keys[OFFICER])}
    said = hospital.cdp(uid, "approve", plan, *(named.get(word, word) for word in words))
    assert said.code in (1, 2)
    assert why in said.err + said.out
    assert "Traceback" not in said.err
    assert hospital.cdp(OPERATOR, "apply", plan, "--json").json[0]["status"] == "awaiting approval"


def test_who_planned_cannot_approve_even_with_the_role(hospital: Hospital) -> None:
    hospital.edit("governance/roles.yml", lambda text: text.replace("may: [approve, disclosures]", "may: [approve, plan]"))
    plan = hospital.plan(OFFICER)
    said = hospital.approve(plan)
    assert said.code == 1
    assert "uid:1003 cannot approve it: they planned it, and four eyes are asked for" in said.err


def test_loosening_a_rule_voids_a_standing_approval(hospital: Hospital, channel: Sandbox) -> None:
    """Attack 26: it voids it even where the decision about this sync stays what it was."""
    plan = hospital.plan()
    assert hospital.approve(plan).code == 0
    hospital.edit("governance/roles.yml", lambda text: text.replace("see: [demographic]", "see: [demographic, contact]"))
    void = hospital.cdp(OPERATOR, "apply", plan)
    assert void.code == 1
    assert "that of uid:1003 was for another policy: it has changed since" in void.err
    assert not channel.rows("outreach_email")
    assert hospital.approve(plan).code == 0
    assert hospital.cdp(OPERATOR, "apply", plan).code == 0


def test_a_changed_decision_voids_the_plan_itself(hospital: Hospital) -> None:
    plan = hospital.plan()
    assert hospital.approve(plan).code == 0
    hospital.edit(AGREEMENT, lambda text: text.replace("expires: 2036-01-14", "expires: 2037-01-14"))
    said = hospital.cdp(OPERATOR, "apply", plan)
    assert (said.code, "the policy has changed since it was made" in said.err) == (1, True)


def test_a_key_is_made_for_its_owner_alone(hospital: Hospital) -> None:
    made = hospital.cdp(STRANGER, "approve", "--make-key", "new.pem", "--json")  # before anybody lists them
    assert made.code == 0
    assert stat.S_IMODE(Path("new.pem").stat().st_mode) == 0o600
    assert json.loads(made.out)["public_key"] == signing.public_of(signing.read_key(Path("new.pem")))
    assert hospital.cdp(STRANGER, "approve", "--make-key", "new.pem").code == 2
    assert "no plan waits for an approval" in hospital.cdp(OFFICER, "approve").out


def test_a_plan_that_needs_none_cannot_be_approved(hospital: Hospital) -> None:
    hospital.edit("governance/roles.yml", lambda text: text.replace("purposes: [care_coordination]}\n  four", "channels: [ads]}\n  four"))
    plan = hospital.plan()
    said = hospital.approve(plan)
    assert said.code == 2
    assert f"plan {plan} needs no approval" in said.err
