"""What a change of the policy loosens: every field of every rule has a side that is looser, or is said to decide nothing. Attack 26."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

from cdp.governance.access.loosened import ROOTS, _Comparison, loosened
from cdp.governance.access.looser import FIELDS, NEUTRAL, Part, Parts, Rule, Trees
from cdp.governance.classes import ClassTree
from cdp.project.load import load
from cdp.project.project import Policy
from cdp.spec import access, people, policy
from cdp.spec.activation import Guards, Limit
from cdp.spec.base import Kind, Spec
from cdp.spec.policy import DataClass
from tests.projects import FILES, minimal

# Documents whose one field holds the parts that `ROOTS` names.
ENVELOPES = {policy.Classes, policy.Masks, policy.Purposes, policy.Declassify, policy.ValueSetReviews, policy.Rows, access.Roles}
COMPARED_WHOLE = {people.MaxAge, access.Identity, policy.DeclassifyTarget, policy.Accounting, people.ReplaceContact}


def models() -> set[type[Spec]]:
    """Every model that stands under governance/, but envelopes and those that count as one value."""
    found: set[type[Spec]] = set()

    def walk(annotation: Any) -> None:
        for model in _models_in(annotation):
            if model not in found | COMPARED_WHOLE:
                found.add(model)
                for field in model.model_fields.values():
                    walk(field.annotation)

    for kind in Kind.registry.values():
        if kind.folder == "governance":
            walk(kind)
    return {each for each in found if each.__module__ in {policy.__name__, people.__name__, access.__name__}} - ENVELOPES


def test_every_field_of_every_rule_has_a_side_that_is_looser() -> None:
    assert models() | {Guards} == set(FIELDS)
    for model in models():
        assert set(FIELDS[model]) == set(model.model_fields) - ({"kind"} if issubclass(model, Kind) else set()), model


def test_every_part_of_the_policy_is_compared() -> None:
    assert set(ROOTS) == set(Policy.__dataclass_fields__)


TREE = ClassTree({name: DataClass() for name in ("a", "b", "a.c")})


def samples(model: type[Spec], name: str) -> Iterator[tuple[Any, Any]]:
    """Pairs of two values that a field may have, the second of which is not the first."""
    annotation = model.model_fields[name].annotation
    if (model, name) == (people.Consent, "max_age"):
        yield people.MaxAge(hours=1), people.MaxAge(days=1)
    elif model is Guards and name != "empty":
        yield Limit(rows=1), Limit(rows=2)
        yield Limit(share=0.5), None
    elif get_origin(annotation) is Literal and len(get_args(annotation)) > 1:
        first, *rest = get_args(annotation)
        yield from ((first, other) for other in rest)
    elif annotation is bool or bool in get_args(annotation):
        yield False, True
    elif annotation is int:
        yield 2, 3
    elif annotation is dt.date or dt.date in get_args(annotation):
        yield dt.date(2026, 1, 1), dt.date(2027, 1, 1)
    elif get_origin(annotation) is tuple:
        yield ("a",), ("a", "b")
    else:  # texts, conditions, models that count as one value
        yield "a", "b"
        yield None, "a"


@pytest.mark.parametrize(
    ("model", "name"),
    [(model, name) for model, rules in FIELDS.items() for name in rules],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_one_way_or_the_other_a_change_is_looser_or_it_decides_nothing(model: type[Spec], name: str) -> None:
    rule, trees = FIELDS[model][name], Trees(TREE, TREE, ("a", "b", "a.c"))
    if isinstance(rule, Rule):
        said = [rule.looser(*pair, trees) or rule.looser(*reversed(pair), trees) for pair in samples(model, name)]
        assert any(said) == (rule is not NEUTRAL)
    else:  # its parts have rules of their own
        inner = [part for part in _models_in(model.model_fields[name].annotation) if part not in COMPARED_WHOLE]
        assert inner
        assert all(part in FIELDS for part in inner)
        assert isinstance(rule, Part | Parts)


def _models_in(annotation: Any) -> list[type[Spec]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]  # type: ignore[list-item]
    return [found for part in get_args(annotation) for found in _models_in(part)]


# -- on projects ------------------------------------------------------------------------------------------------------

ROLES = """\
kind: roles
roles:
  analyst: {use: [membership], see: [demographic.year], may: [preview], purposes: [care_coordination]}
  officer: {use: [membership], see: [], may: [approve, plan]}
approval: {required: {purposes: [care_coordination], classes: [sensitive]}, four_eyes: false, signature: ed25519, expires: {hours: 4}}
people:
  - {id: "uid:1", roles: [analyst]}
  - {id: "uid:2", roles: [officer], public_key: "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="}
"""
ROWS = """\
kind: rows
rules:
  - {class: sensitive.sud, entities: [patient], where: {state: NY}}
"""
DECLASSIFY = """\
kind: declassify
entries:
  - name: adults
    of: {segment: adults}
    from: [demographic.birth_date]
    to: demographic.year
    model_sha256: "00"
    reason: said
    owner: privacy@example.org
    approved: 2026-01-01
    expires: 2027-01-01
"""
BEFORE = {**FILES, "governance/roles.yml": ROLES, "governance/rows.yml": ROWS, "governance/declassify.yml": DECLASSIFY}

CONSENTS = "models/consents.yml"
PURPOSES, CLASSES, CONSENT = "governance/purposes.yml", "governance/classes.yml", "governance/consent.yml"
ELIGIBILITY, MASKS, MAILER = "governance/eligibility.yml", "governance/masks.yml", "governance/baa/mailer.yml"
ROLE, ROW, DOWN = "governance/roles.yml", "governance/rows.yml", "governance/declassify.yml"

CASES: list[tuple[str, str, str, list[str]]] = [
    (PURPOSES, "channels: [email]", "channels: [email, sms]", ["purpose care_coordination may use more channels: email -> email, sms"]),
    (PURPOSES, "contact.email, name", "contact, name", ["may tell more values"]),  # `contact` itself is a class too
    (PURPOSES, "classes: [identifier.pseudonym,", "classes: [identifier.pseudonym, contact.email,", []),
    (PURPOSES, "name.given]", "name.given, clinical]", ["may tell more values"]),
    (PURPOSES, "members: [membership, demographic]", "members: [membership, clinical, demographic]", ["may tell more by who is listed"]),
    (PURPOSES, "consent: opt_in", "consent: none_needed", ["asks for another consent: opt_in -> none_needed"]),
    (PURPOSES, "consent: opt_in", "consent: opt_in\n    holdout: true", ["may leave people out at random: no -> yes"]),
    (PURPOSES, "consent: opt_in", "consent: opt_in\n    funded_by: [none, third_party]", ["may be paid by more"]),
    (CLASSES, "inherit: false", "inherit: true", ["class sensitive is covered by grants"]),
    (CLASSES, ", needs_consent: part2", "", ["class sensitive.sud needs another consent: part2 -> none"]),
    (CLASSES, "contact.email: {}", "contact.email: {key: true}", ["class contact.email counts as a key"]),
    (CLASSES, "  clinical.date: {}\n", "", ["class clinical.date is not in the tree any more"]),
    (CLASSES, "  clinical.date: {}\n", "  clinical.date: {}\n  clinical.new: {}\n", []),
    (MASKS, "of: demographic.birth_date,", "of: [demographic.birth_date, clinical.date],", ["mask year may be put on more"]),
    (MASKS, ', over_89: "null"', "", ["mask year tells ages over 89"]),
    (MASKS, ", per: destination", "", ["mask pseudonym gives people the same pseudonym at all destinations"]),
    (MAILER, "expires: 2099-01-14", "expires: 2099-01-15", ["agreement mailer holds longer: 2099-01-14 -> 2099-01-15"]),
    (MAILER, "hosts: [api.mail.example]", "hosts: [api.mail.example, api2.mail.example]", ["agreement mailer covers more hosts"]),
    (MAILER, "paths: [/v1/]\n", "", ["agreement mailer covers more paths: /v1/ -> all"]),
    (MAILER, "paths: [/v1/]", "paths: [/v1/contacts]", []),
    (MAILER, "purposes:", "channels: email\npurposes:", []),
    (MAILER, "purposes:", "labels: named\npurposes:", ["agreement mailer lets names of audiences leave: opaque -> named"]),
    (MAILER, "purposes:", "after_end: {removes: allow, days: 30}\npurposes:", ["agreement mailer allows removals after its end"]),
    (CONSENT, "granted: active", "granted: [active, proposed]", ["consent takes more words for yes"]),
    (CONSENT, "max_age: {hours: 26}", "max_age: {days: 2}", ["consent may be older: {hours: 26} -> {days: 2}"]),
    (CONSENT, "max_age: {hours: 26}", "max_age: {days: 1}", []),
    (CONSENT, "opt_in: {need: granted}", "opt_in: {need: not_refused}", ["consent opt_in is there without a yes"]),
    (CONSENT, "channels:\n  email: {consent: opt_in, basis: 15 U.S.C. 7704}\n", "", ["channel email asks for no consent any more"]),
    (ELIGIBILITY, "  - {name: deceased, when: {death_date: {not_null: true}}, basis: 45 CFR 164.502(f)}\n", "", ["rule deceased is gone"]),
    (ELIGIBILITY, "basis: 45 CFR 164.502(f)", "unless_purpose: care_coordination", ["rule deceased does not hold for more purposes"]),
    (ROW, "rules:\n  - {class: sensitive.sud, entities: [patient], where: {state: NY}}", "rules: []", ["withholds nothing any more"]),
    (ROW, "where: {state: NY}}", "where: {state: NY}, unknown: ordinary}", ["lets rows through that it does not know"]),
    (DOWN, "expires: 2027-01-01", "expires: 2028-01-01", ["declassification adults holds longer"]),
    (ROLE, "may: [preview]", "may: [preview, explain]", ["role analyst may do more: preview -> preview, explain"]),
    (ROLE, "may: [preview], ", "", ["role analyst may do more: preview -> everything"]),
    (ROLE, ", purposes: [care_coordination]}", "}", ["role analyst may do it for more purposes"]),
    (ROLE, "see: [demographic.year]", "see: [demographic]", ["role analyst sees more values"]),
    (ROLE, "roles: [analyst]}", "roles: [analyst, officer]}", ["person uid:1 has more roles"]),
    (ROLE, "people:\n", 'people:\n  - {id: "uid:3", roles: [analyst]}\n', ["person uid:3 has a role"]),
    (ROLE, "classes: [sensitive]", "classes: [sensitive.sud]", ["approval is not asked for by some classes"]),
    (ROLE, "classes: [sensitive]", "classes: [sensitive, sensitive.sud]", []),
    (ROLE, ", classes: [sensitive]", "", ["approval is not asked for by some classes"]),
    (ROLE, "expires: {hours: 4}", "expires: {hours: 5}", ["approval holds longer: 4 -> 5"]),
    ("models/patient.yml", "class: contact.email", "class: name.given", ["column patient.email has another class"]),
    (
        "models/patient.yml",
        "rows: membership.patient",
        "rows: public",
        ["table clinical.patients of entity patient says less of who is in it"],
    ),
    ("destinations/mail.yml", "baa: mailer\n", "", ["destination mail is under another agreement: mailer -> none"]),
    ("destinations/mail.yml", "channel: email", "channel: portal", ["destination mail counts as another channel: email -> portal"]),
    (
        "conf/cdp.yml",
        "sandbox: true}",
        "sandbox: true}\n  other: {sandbox: true, lakehouse: lake}",
        ["environment other lets rows go to this machine"],
    ),
    (ROW, "where: {state: NY}}", "where: {state: NY}}\n  - {class: sensitive.sud, entities: [patient], where: {state: NY}}", []),
    ("conf/cdp.yml", "sandbox: true}", "sandbox: true}\nguards: {empty: allow}", ["every sync lets an empty segment empty"]),
    # what tables say, wherever it stands
    (
        "models/patient.yml",
        "  state: {",
        "  ssn: {type: string, class: public}\n  state: {",
        ["column patient.ssn may be read, and is said to be"],
    ),
    ("models/patient.yml", "clinical.patients", "Clinical.Patients", []),
    # what rules about people read
    (CONSENTS, "key: consent_id\n", "key: consent_id\nwhere: {status: active}\n", ["entity consent, on which rules about people rest"]),
    (CONSENTS, "time: effective_at", "time: recorded_at", ["has another `time`: effective_at -> recorded_at"]),
    (CONSENTS, "key: consent_id\n", "key: consent_id\ndescription: Who may be told.\n", []),
    ("models/patient.yml", "key: patient_id\n", "key: patient_id\nwhere: {state: NY}\n", ["has another `where`: none -> {state: NY}"]),
    ("models/patient.yml", ", role: death_date}", "}", ["column patient.death_date, on which rules about people may rest"]),
    ("models/adults.yml", "where: {age: {gte: 18}}", "where: {age: {gte: 16}}", []),
]


@pytest.mark.parametrize(("file", "old", "new", "said"), CASES)
def test_a_change_is_said_in_words_where_it_stands(tmp_path: Path, file: str, old: str, new: str, said: list[str]) -> None:
    assert BEFORE[file].count(old) == 1
    before = load(minimal(tmp_path / "before", **{name: text for name, text in BEFORE.items() if FILES.get(name) != text}))
    changed = {**BEFORE, file: BEFORE[file].replace(old, new)}
    after = load(minimal(tmp_path / "after", **{name: text for name, text in changed.items() if FILES.get(name) != text}))
    found = [str(each) for each in loosened(before, after)]
    assert len(found) == len(said), found
    for text, part in zip(found, said, strict=True):
        assert part in text
        assert text.startswith(f"{file}:")
        line = int(text.split(":")[1])
        assert 1 <= line <= len(changed[file].splitlines())
    assert loosened(before, before) == loosened(after, after) == ()
    if said:  # what was loosened and is taken back is no loosening, but where nobody can tell which way it went
        assert [each.what for each in loosened(after, before) if "another" not in each.what] == []


OVER = "models/again.yml"
AGAIN = """\
kind: entity
name: again
table: Clinical.PATIENTS
key: patient_id
rows: membership.patient
columns: {patient_id: {type: string, class: identifier.mrn}, ssn: {type: string, class: public}}
"""


def test_a_column_that_another_entity_adds_to_a_table_counts(tmp_path: Path) -> None:
    before, after = load(minimal(tmp_path / "before")), load(minimal(tmp_path / "after", **{OVER: AGAIN}))
    assert [str(each) for each in loosened(before, after)] == [
        f"{OVER}:6:62: column again.ssn may be read, and is said to be: not declared -> public"
    ]
    alike = load(minimal(tmp_path / "alike", **{OVER: AGAIN.replace(", ssn: {type: string, class: public}", "")}))
    assert loosened(before, alike) == ()
    other = load(minimal(tmp_path / "other", **{OVER: AGAIN.replace("Clinical.PATIENTS", "clinical.notes")}))
    assert [each.what for each in loosened(before, other)] == [
        "table clinical.notes may be read, as entity again, whose rows say membership.patient"
    ]


def test_a_class_that_is_lowered_while_the_table_is_written_in_other_letters_counts(tmp_path: Path) -> None:
    patient = FILES["models/patient.yml"].replace("clinical.patients", "Clinical.Patients").replace("contact.email", "public")
    before, after = load(minimal(tmp_path / "before")), load(minimal(tmp_path / "after", **{"models/patient.yml": patient}))
    assert [each.message for each in loosened(before, after)] == ["column patient.email has another class: contact.email -> public"]


def test_a_new_destination_counts_where_its_agreement_was_told_over_other_channels(tmp_path: Path) -> None:
    def with_second(name: str, channel: str) -> list[str]:
        second = FILES["destinations/mail.yml"].replace("name: mail\n", "name: second\n").replace("channel: email", f"channel: {channel}")
        after = load(minimal(tmp_path / name, **{"destinations/second.yml": second}))
        return [each.message for each in loosened(before, after)]

    before = load(minimal(tmp_path / "before"))
    assert with_second("same", "email") == []
    assert with_second("other", "portal") == ["destination second is told under agreement mailer over another channel: email -> portal"]


RESTING = {
    CONSENTS: FILES[CONSENTS],
    ELIGIBILITY: """\
kind: eligibility
entity: patient
rules:
  - {name: refused, when: {segment: refusing}, basis: own choice}
  - {name: no_consent, when: {consent: missing}, basis: governance/consent.yml}
""",
    "models/patient.yml": FILES["models/patient.yml"] + "  others: {many: consent, via: patient_id}\n",
    "models/refusing.yml": """\
{kind: segment, name: refusing, entity: patient, owner: a@example.org, purpose: care_coordination,
  where: {all: [{has: consents, where: {status: inactive}}, {segment: asked}]}}
---
{kind: segment, name: asked, entity: patient, owner: a@example.org, purpose: care_coordination, sql: SELECT patient_id FROM consent}
""",
}


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        (CONSENTS, "table: crm.consents", "table: crm.old", ["has another `table`: crm.consents -> crm.old", "table crm.old may be read"]),
        (
            "models/refusing.yml",
            "status: inactive",
            "status: no",
            ["governance/eligibility.yml:4:5: eligibility rule refused reads something else"],
        ),
        ("models/refusing.yml", "SELECT patient_id FROM consent", "SELECT patient_id FROM patient", ["rule refused reads something else"]),
        ("models/refusing.yml", "a@example.org, purpose: care_coordination, sql", "b@example.org, purpose: care_coordination, sql", []),
        (
            "models/patient.yml",
            "consents: {many: consent, via: patient_id}",
            "consents: {many: consent, via: {consent_id: patient_id}}",
            ["models/patient.yml:14:3: relation patient.consents, on which rules about people rest, leads to another place"],
        ),
        ("models/patient.yml", "others: {many: consent, via: patient_id}", "others: {many: consent, via: {consent_id: patient_id}}", []),
    ],
)
def test_what_a_rule_reads_outside_of_governance_counts_as_the_rule_does(
    tmp_path: Path, file: str, old: str, new: str, said: list[str]
) -> None:
    before = load(minimal(tmp_path / "before", **RESTING))
    assert RESTING[file].count(old) == 1
    after = load(minimal(tmp_path / "after", **{**RESTING, file: RESTING[file].replace(old, new)}))
    found = [str(each) for each in loosened(before, after)]
    assert len(found) == len(said), found
    assert all(part in text for text, part in zip(found, said, strict=True))


def test_who_pays_and_what_opens_a_file_count(tmp_path: Path) -> None:
    sync, folder = "syncs/adults_mail.yml", "destinations/folder.yml"
    kept = "{kind: destination, name: folder, connector: file, channel: file, baa: mailer, file: {folder: out, opened_by: spreadsheet}}"
    old = {sync: FILES[sync] + "funded_by: third_party\n", folder: kept}
    new = {sync: FILES[sync], folder: kept.replace("spreadsheet", "machine")}
    before, after = load(minimal(tmp_path / "before", **old)), load(minimal(tmp_path / "after", **new))
    assert [each.message for each in loosened(before, after)] == [
        "destination folder leaves what begins like a formula as it is: spreadsheet -> machine",
        "sync adults_mail is paid by another: third_party -> none",
    ]
    assert loosened(after, before) == ()


def test_what_is_gone_is_named_with_its_file(tmp_path: Path) -> None:
    before = load(minimal(tmp_path / "before", **{ROW: ROWS, ROLE: ROLES}))
    after = load(minimal(tmp_path / "after"))
    approval, people, rows = [str(each) for each in loosened(before, after)]
    assert approval.startswith("governance/roles.yml: approval is not asked for any more: {required: ")
    assert people == "governance/roles.yml: people: every role is anybody's: 2 people -> none"
    assert rows == "governance/rows.yml: row rule sensitive.sud where {state: NY} withholds nothing any more: declared -> removed"


def test_a_sync_s_own_guard_counts(tmp_path: Path) -> None:
    guarded = "syncs/adults_mail.yml"
    before = load(minimal(tmp_path / "before", **{guarded: FILES[guarded] + "guards: {max_remove: 10%}\n"}))
    after = load(minimal(tmp_path / "after", **{guarded: FILES[guarded] + "guards: {max_remove: 20}\n"}))
    assert [each.what for each in loosened(before, after)] == ["sync adults_mail lets a run change more"]


def test_a_field_without_a_rule_counts_as_looser_whatever_changes(tmp_path: Path) -> None:
    class Coming(Spec):
        new: str = ""

    project = load(minimal(tmp_path))
    found = list(_Comparison(project, project)._model(Coming(new="a"), Coming(new="b"), "x", "roles", "roles", ()))
    assert [each.what for each in found] == ["x says something else"]
