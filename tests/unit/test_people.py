"""Who may be told: what a rule means for a sync, whom a sync writes to, and the SQL that comes of it."""

from __future__ import annotations

import os
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from cdp.compile.clock import Clock
from cdp.governance.decide import Governor
from cdp.governance.people.audience import Audience
from cdp.governance.people.contact import OWN, Contacts
from cdp.governance.people.eligibility import settled
from cdp.governance.query import GovernedQuery
from cdp.project.load import Project, load
from cdp.project.terms import Condition, ContactOf, Every, Exists, Negation, Some
from cdp.project.terms.describe import describe_rule
from tests.people_world import NOW, RULES, project_at

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden" / "eligibility.sql"
CLOCK = Clock(NOW.astimezone(ZoneInfo("America/New_York")))
PARENT = ContactOf("personal_representative")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return load(project_at(tmp_path_factory.mktemp("people")))


def edited(tmp_path: Path, *edits: tuple[str, str, str]) -> Project:
    root = project_at(tmp_path)
    for name, old, new in edits:
        text = (root / name).read_text()
        assert old in text, (name, old)
        (root / name).write_text(text.replace(old, new))
    return load(root)


def governed(project: Project, sync: str = "mails") -> GovernedQuery:
    return Governor.of(project).govern(sync, clock=CLOCK, now=CLOCK)


def asking(project: Project, sync: str = "mails") -> Audience:
    return Governor.of(project).audience(sync, clock=CLOCK, now=CLOCK)


# -- what a rule means for a sync -----------------------------------------------------------------------------------------


def test_a_rule_is_bound_as_it_is_written_and_once_for_each_way_to_fill_it_in(project: Project) -> None:
    written = project.bound.rules["patient", "suppressed"]
    assert (written.words, describe_rule(written, project)) == (("channel",), "has suppressions: channel is $channel")
    filled = {given: describe_rule(rule, project) for (_, name, given), rule in project.bound.filled.items() if name == "suppressed"}
    assert filled == {(("channel", c),): f"has suppressions: channel is {c}" for c in ("email", "sms", "mail", "portal")}
    assert [name for _, name, _ in project.bound.filled].count("restricted") == 1  # one agreement


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("minor", "age below 18, unless the sync reaches the personal representative"),
        ("turned_adult", "age 18 or more and the sync reaches the personal representative"),
        ("elsewhere", "has requests: active is true, unless this channel can write where they asked for"),
        ("special_consent", "the consent that a special class asks for is missing"),
        ("no_consent", "consent is missing"),
        ("unreachable", "there is no address or number that the channel could use"),
        ("restricted", "has restrictions: active is true and (receiver not known or receiver is empty, all or $receiver)"),
    ],
)
def test_rules_are_said_in_words(project: Project, rule: str, said: str) -> None:
    assert describe_rule(project.bound.rules["patient", rule], project) == said


def _parts(project: Project) -> tuple[Condition, Condition]:
    found = [project.bound.rules["patient", name].when for name in ("deceased", "restricted")]
    assert isinstance(found[0], Negation)
    assert isinstance(found[1], Exists)
    return found[0], found[1]


@pytest.mark.parametrize("reached", [True, False])
def test_what_is_said_of_the_sync_is_known_before_there_is_any_row(project: Project, reached: bool) -> None:
    dead, restricted = _parts(project)
    audience = asking(project, "parents" if reached else "mails")

    def known(term: Condition) -> Condition | bool:
        return settled(term, audience)

    assert known(PARENT) is reached
    assert known(Negation(PARENT)) is not reached
    assert known(Every((dead, PARENT))) == (dead if reached else False)
    assert known(Some((dead, PARENT))) == (True if reached else dead)
    assert known(Every((dead, Some((restricted, Negation(PARENT)))))) == (Every((dead, restricted)) if reached else dead)
    assert known(Negation(Every((dead, PARENT)))) == (Negation(dead) if reached else True)
    assert known(Every((PARENT, Negation(PARENT)))) is False
    assert known(Every((dead, restricted))) == Every((dead, restricted))


def test_a_special_class_is_asked_for_by_its_own_rule_or_with_the_others(tmp_path: Path) -> None:
    for number, (old, apart) in enumerate([("", True), ("  - {name: special_consent, when: {class_consent: missing}}\n", False)]):
        edits = [("governance/eligibility.yml", old, "")] if old else []
        text = governed(edited(tmp_path / str(number), *edits), "clinic").select.sql("spark")
        by_rule = {part.rpartition(" THEN ")[2]: part for part in text.split(" WHEN ")}
        asked = next(part for said, part in by_rule.items() if said.startswith("'no_consent'"))
        assert ("part2_granted" in asked) is not apart
        assert "opt_out_granted" in asked


# -- whom a sync writes to ------------------------------------------------------------------------------------------------


def contacts(project: Project, sync: str) -> Contacts:
    return asking(project, sync).contacts


def test_contact_points_are_found_in_what_the_outputs_tell(project: Project) -> None:
    assert contacts(project, "mails") == Contacts("email", ("email", "phone"), ("email",), frozenset({OWN}))
    assert contacts(project, "parents") == Contacts("email", ("email",), ("email",), frozenset({"personal_representative"}))
    assert contacts(project, "texts").points == ("phone",)
    assert contacts(project, "ids") == Contacts("email", (), (), frozenset())
    assert contacts(project, "clinic").outputs == ()


def test_what_an_expression_asks_of_an_address_is_no_address(tmp_path: Path) -> None:
    fields = 'has_email: {expr: "email IS NOT NULL"}, length: {expr: "length(email)"}, lower: {expr: "lower(email)"}'
    project = edited(tmp_path, ("syncs/adults_mail.yml", "email: email, phone: phone, first_name: given_name", fields))
    assert contacts(project, "mails").outputs == ("has_email", "length", "lower")
    assert contacts(project, "mails").points == ("lower",)


def test_of_an_address_in_parts_nothing_takes_the_place(tmp_path: Path) -> None:
    """Whoever asked for another address on paper is then kept out: a request fits into no part of one."""
    kept = "NOT COALESCE(rule_requests.latest_requests_channel = 'mail' AND TRIM(rule_requests.latest_requests_value) <> '', FALSE)"
    assert kept in governed(edited(tmp_path / "one"), "letters").select.sql("spark")
    parts = ("syncs/adults_mail.yml", "{line: line}", "{line: line, again: line}")
    assert "WHEN rule_requests.has_requests THEN 'elsewhere'" in governed(edited(tmp_path / "two", parts), "letters").select.sql("spark")


def test_a_mask_stands_on_the_address_that_was_asked_for(tmp_path: Path) -> None:
    masked = ("syncs/adults_mail.yml", "email: email, phone", "email: {of: email, mask: last4}, phone")
    declared = ("governance/masks.yml", "masks:\n", "masks:\n  last4: {of: contact, gives: communication}\n")
    text = governed(edited(tmp_path, masked, declared)).select.sql("spark")
    assert "latest_requests_value ELSE patient.email END" in text
    assert text.index("RIGHT(" if "RIGHT(" in text else "SUBSTR") < text.rindex("latest_requests_value ELSE patient.email END")


def test_an_address_that_was_asked_for_tells_its_own_classes(project: Project) -> None:
    decision = governed(project).decision
    assert decision.columns["email"] == ("communication", "contact.email")
    assert decision.columns["phone"] == ("communication", "contact.phone")  # it is empty for whoever asked
    assert decision.columns["first_name"] == ("name.given",)


def test_rules_that_do_not_hold_for_the_purpose_are_not_asked_and_read_nothing(tmp_path: Path) -> None:
    found = governed(edited(tmp_path, ("governance/eligibility.yml", "{name: elsewhere,", "{name: elsewhere, unless_purpose: care,")))
    assert "elsewhere" not in found.rules
    assert "crm.requests" not in found.tables
    assert found.decision.columns["email"] == ("contact.email",)


def test_the_holdout_is_the_last_rule_and_part_of_the_fingerprint(tmp_path: Path) -> None:
    first = governed(edited(tmp_path / "a"), "trial")
    assert first.rules == (*RULES, "holdout")
    assert f"SHA2(CONCAT('first', CAST(patient.patient_id AS STRING)), 256) < '4{'0' * 63}'" in first.eligibility.sql("spark")
    other = governed(edited(tmp_path / "b", ("syncs/adults_mail.yml", "share: 0.25", "share: 0.5")), "trial")
    assert other.fingerprint != first.fingerprint


@pytest.mark.parametrize(
    ("column", "test"),
    [
        ("type: string", r"consent.states RLIKE '(^|[\\s,;])remuneration([\\s,;]|\\z)'"),
        ("type: string, array: true", "ARRAY_CONTAINS(consent.states, 'remuneration')"),
    ],
)
def test_who_pays_must_be_stated(tmp_path: Path, column: str, test: str) -> None:
    """Attack 37: 45 CFR 164.508(a)(3)(ii)."""
    project = edited(tmp_path, ("models/consents.yml", "states: {type: string", f"states: {{{column}"))
    assert test in governed(project, "offers").select.sql("spark")
    assert "remuneration" not in governed(project, "mails").select.sql("spark")


def test_the_sql_of_every_rule_is_as_it_was(project: Project) -> None:
    """The whole of it, to be read; `CDP_UPDATE_GOLDEN=1` writes it anew."""
    text = governed(project).eligibility.sql("spark", pretty=True) + "\n"
    if os.environ.get("CDP_UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()
