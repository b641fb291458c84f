"""Who may do what, and which plans need whose approval: attacks 26 and 27, as far as no data is needed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cdp.cli.app import COMMANDS, main
from cdp.cli.command import Command, Group
from cdp.compile.clock import Clock
from cdp.engine.base import uid
from cdp.governance.access import Requirement, at_or_below, refused
from cdp.governance.decide import govern
from cdp.project.load import load
from cdp.project.project import Project
from cdp.spec.access import VERBS
from tests.projects import FILES, minimal
from tests.repositories import commit, edit

ROLES = """\
kind: roles
roles:
  analyst: {use: [membership], see: [], may: [preview, plan]}
  operator: {use: [membership], see: [], may: [plan, apply], purposes: [care_coordination]}
  boss: {use: [membership], see: []}
  privacy: {use: [membership], see: [], may: [approve]}
approval:
  required: {purposes: [care_coordination], classes: [contact], channels: [email], syncs: [adults_mail]}
  four_eyes: true
  signature: ed25519
people:
  - {id: "uid:1", roles: [analyst]}
  - {id: "uid:2", roles: [operator, analyst]}
  - {id: "uid:3", roles: [boss]}
  - {id: "uid:4", roles: [privacy], public_key: "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="}
  - {id: "uid:5", roles: []}
"""
WHERE = "governance/roles.yml"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return load(minimal(tmp_path, **{WHERE: ROLES}))


# -- verbs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "verb", "purpose", "may"),
    [
        ("uid:1", "preview", None, True),
        ("uid:1", "apply", None, False),
        ("uid:1", "plan", "research", True),  # a role without purposes is for all of them
        ("uid:2", "apply", "care_coordination", True),
        ("uid:2", "apply", "research", False),
        ("uid:2", "plan", "research", True),  # as an analyst
        ("uid:2", "approve", None, False),
        ("uid:4", "plan", None, False),
        ("uid:5", "preview", None, False),
        ("uid:6", "preview", None, False),
        ("root", "preview", None, False),
        ("uid:03", "preview", None, False),
        *(("uid:3", verb, "research", True) for verb in VERBS),  # `may` left out is everything
    ],
)
def test_one_role_must_have_both_the_verb_and_the_purpose(project: Project, who: str, verb: str, purpose: str | None, may: bool) -> None:
    assert (refused(project, who, verb, purpose) is None) == may


def test_a_refusal_names_who_asks_the_roles_and_the_line(project: Project) -> None:
    told = refused(project, "uid:2", "approve", "care_coordination")
    assert told is not None
    assert str(told).splitlines()[0] == (
        "[role] uid:2: has operator, analyst; `approve` for purpose care_coordination is for boss, privacy (governance/roles.yml:13)"
    )
    stranger = refused(project, "uid:6", "runs")
    assert stranger is not None
    assert stranger.missing == "is not among the people; `runs` is for boss (governance/roles.yml:11)"


def test_without_people_everything_is_anybody_s(project: Project) -> None:
    laptop = replace(project, policy=replace(project.policy, people=()))
    assert all(refused(laptop, "uid:9", verb) is None for verb in VERBS)


def test_the_identity_is_the_operating_system_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack 27: $USER and the like make nobody somebody else."""
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "privacy")
    assert uid() == f"uid:{os.getuid()}"


def commands(of: tuple[Command | Group, ...] = COMMANDS) -> list[Command]:
    return [inner for each in of for inner in (commands(each.commands) if isinstance(each, Group) else [each])]


def test_what_a_command_needs_is_a_verb_and_every_verb_is_needed_by_one() -> None:
    needed = {verb for each in commands() for verb in each.needs}
    by_option = {"approve", "accept"}  # --make-key is for who is not listed yet; --accept-guard may be left out
    assert needed | by_option == set(VERBS)


# -- which plans need an approval -------------------------------------------------------------------------------------


def requirement(root: Path) -> Requirement | None:
    now = Clock.parse("2026-07-02T12:00", "America/New_York")
    return govern(load(root), "adults_mail", clock=now, now=now).approval


def test_what_asks_for_an_approval_is_named(tmp_path: Path) -> None:
    needed = requirement(minimal(tmp_path, **{WHERE: ROLES}))
    assert needed is not None
    assert needed.why == ("sync adults_mail", "purpose care_coordination", "channel email", "class contact.email")
    assert (needed.signed, needed.four_eyes, needed.hours) == (True, True, 24)
    assert [person.id for person in needed.approvers or ()] == ["uid:3", "uid:4"]
    assert set(needed.keys) == {"uid:4"}
    assert (needed.may("uid:4"), needed.may("uid:1")) == (True, False)


@pytest.mark.parametrize(
    "required", ["classes: [sensitive]", "channels: [sms]", "purposes: [other]", "syncs: [other_mail]", "classes: [contacts]"]
)
def test_another_sync_needs_none(tmp_path: Path, required: str) -> None:
    asked = "{purposes: [care_coordination], classes: [contact], channels: [email], syncs: [adults_mail]}"
    more = {
        "governance/purposes.yml": FILES["governance/purposes.yml"]
        + "  other: {basis: none, classes: [], members: [], channels: [sms], consent: none_needed}\n",
        "governance/classes.yml": FILES["governance/classes.yml"] + "  contacts: {}\n",
        "syncs/other_mail.yml": FILES["syncs/adults_mail.yml"].replace("name: adults_mail", "name: other_mail"),
    }
    root = minimal(tmp_path, **more, **{WHERE: ROLES.replace(asked, f"{{{required}}}")})
    assert requirement(root) is None


def test_a_class_asks_for_those_below_it_special_ones_too() -> None:
    assert at_or_below("sensitive.sud", "sensitive")
    assert at_or_below("sensitive", "sensitive")
    assert not at_or_below("sensitive", "sensitive.sud")
    assert not at_or_below("sensitively.not", "sensitive")


def test_without_people_anybody_approves(tmp_path: Path) -> None:
    roles = "kind: roles\nroles: {}\napproval: {required: {channels: email}, four_eyes: false}\n"
    needed = requirement(minimal(tmp_path, **{WHERE: roles}))
    assert needed is not None
    assert needed.approvers is None
    assert needed.may("uid:77")


@pytest.mark.parametrize(
    ("file", "change"),
    [
        (WHERE, lambda text: text.replace("may: [preview, plan]", "may: [preview, plan, runs]")),
        (WHERE, lambda text: text.replace('  - {id: "uid:5", roles: []}\n', "")),
        (WHERE, lambda text: text.replace("signature: ed25519", "signature: ed25519\n  expires: {hours: 48}")),
        ("governance/classes.yml", lambda text: text.replace("inherit: false", "inherit: true")),
        ("governance/baa/mailer.yml", lambda text: text.replace("2099-01-14", "2098-01-14")),
        ("governance/eligibility.yml", lambda text: text.replace("name: deceased", "name: dead")),
        ("models/patient.yml", lambda text: text.replace("class: demographic.state", "class: demographic.year")),
        ("syncs/adults_mail.yml", lambda text: text + "guards: {empty: allow}\n"),
        ("destinations/mail.yml", lambda text: text.replace("batch: 100", "batch: 10")),
    ],
)
def test_what_an_approval_rests_on_changes_with_the_policy(tmp_path: Path, file: str, change: Callable[[str], str]) -> None:
    before = {**FILES, WHERE: ROLES}
    assert change(before[file]) != before[file]
    first, second = (minimal(tmp_path / name, **{WHERE: ROLES, **more}) for name, more in (("a", {}), ("b", {file: change(before[file])})))
    one, other = requirement(first), requirement(second)
    assert one is not None
    assert other is not None
    assert one.policy != other.policy


def test_comments_and_layout_change_nothing(tmp_path: Path) -> None:
    first = requirement(minimal(tmp_path / "a", **{WHERE: ROLES}))
    second = requirement(minimal(tmp_path / "b", **{WHERE: "# approved by counsel\n" + ROLES.replace("  - {id", "\n  - {id")}))
    assert first == second


# -- what was loosened, as it is shown --------------------------------------------------------------------------------


def test_validate_lists_what_was_loosened_since(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Attack 26: it does not go unseen."""
    root = minimal(tmp_path, **{WHERE: ROLES})
    commit(root)
    words = ("validate", "--project", str(root), "--changed-since", "HEAD")
    assert main([*words, "--json"]) == 0
    assert '"loosened": []' in capsys.readouterr().out
    edit(root / "governance/purposes.yml", "channels: [email]", "channels: [email, sms]")
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "the policy lets more through than before; approvals given before are void:\n" in said
    assert "  governance/purposes.yml:7:5: purpose care_coordination may use more channels: email -> email, sms\n" in said
    assert said.rstrip().endswith("1 loosened")
    assert main([*words, "--format", "github"]) == 0
    assert "::warning file=" in (shown := capsys.readouterr().out)
    assert "title=cdp%3A loosened::purpose care_coordination may use more channels: email -> email, sms" in shown
    assert main([*words, "--format", "sarif"]) == 0
    assert '"id": "loosened"' in capsys.readouterr().out
    assert main(["diff", "HEAD", "--no-data", "--project", str(root)]) == 0
    assert "the policy lets more through than then" in capsys.readouterr().out
    assert main(["diff", "HEAD", "--no-data", "--markdown", "--project", str(root)]) == 0
    assert "### What the policy lets through that it did not" in capsys.readouterr().out


def test_a_revision_that_does_not_load_is_said_to_be_incomparable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = minimal(tmp_path, **{WHERE: ROLES.replace("may: [approve]", "may: [aprove]")})
    commit(root)
    (root / WHERE).write_text(ROLES)
    assert main(["validate", "--project", str(root), "--changed-since", "HEAD"]) == 0
    said = capsys.readouterr().out
    assert "governance/: the policy of HEAD cannot be compared: " in said
