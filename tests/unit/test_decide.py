"""The gate: what is refused, with which reasons; what passes, with which query."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdp.compile.clock import Clock
from cdp.compile.statement import model_sha256
from cdp.errors import ProjectError, Refusal, RefusedError
from cdp.governance.decide import Governor, govern
from cdp.governance.query import RULE, SUBJECT, GovernedQuery
from cdp.project.load import Project, load
from tests.projects import FILES, minimal, review

NOW = "2026-07-02T12:00"
Edit = tuple[str, str, str]  # a file, a text in it, the text in its place

CONDITIONS = """\
kind: entity
name: condition
table: clinical.conditions
key: condition_id
time: onset
rows: clinical.condition
columns:
  condition_id: {type: string, class: identifier.internal}
  patient_id: {type: string, class: identifier.mrn}
  code: {type: code, system: SNOMED, class: clinical.condition, may_hold: sensitive.sud}
  onset: {type: date, class: clinical.date}
---
{kind: value_set, name: diabetes, system: SNOMED, codes: [44054006]}
---
{kind: value_set, name: opioid_use, system: SNOMED, codes: [5602001]}
"""
REVIEWS = (
    "kind: value_sets\nvalue_sets:\n"
    + review("diabetes", "none", SNOMED=("44054006",))
    + review("opioid_use", "sensitive.sud", SNOMED=("5602001",))
)
RELATIONS = ("models/patient.yml", "relations:\n", "relations:\n  conditions: {many: condition, via: patient_id}\n")
GRANT_CLINICAL = ("governance/purposes.yml", "members: [membership, demographic]", "members: [membership, demographic, clinical]")
AGREE_CLINICAL = (
    "governance/baa/mailer.yml",
    "members: [membership.patient, demographic]",
    "members: [membership.patient, demographic, clinical]",
)


def edited(tmp_path: Path, *edits: Edit, **files: str) -> Project:
    changed = {**FILES, **files}
    for name, old, new in edits:
        assert old in changed[name], (name, old)
        changed[name] = changed[name].replace(old, new)
    return load(minimal(tmp_path, **changed))


def with_conditions(tmp_path: Path, where: str, *edits: Edit, **files: str) -> Project:
    segment = ("models/adults.yml", "where: {age: {gte: 18}}", f"where: {where}")
    return edited(
        tmp_path, RELATIONS, segment, *edits, **{"models/conditions.yml": CONDITIONS, "governance/value_sets.yml": REVIEWS, **files}
    )


def decided(project: Project, now: str = NOW) -> GovernedQuery:
    clock = Clock.parse(now, project.timezone)
    return govern(project, "adults_mail", clock=clock, now=clock)


def refusals(project: Project, now: str = NOW) -> tuple[Refusal, ...]:
    clock = Clock.parse(now, project.timezone)
    found = Governor.of(project).check("adults_mail", clock=clock, now=clock)
    with pytest.raises(RefusedError) as error:
        govern(project, "adults_mail", clock=clock, now=clock)
    assert error.value.refusals == found
    return found


def test_the_example_passes_with_one_column_for_each_field(tmp_path: Path) -> None:
    governed = decided(edited(tmp_path))
    assert governed.select.named_selects == [SUBJECT, RULE, "external_id", "email", "first_name"]
    assert governed.rules == ("deceased", "no_consent")
    assert governed.decision.columns == {
        "external_id": ("identifier.pseudonym",),
        "email": ("contact.email",),
        "first_name": ("name.given",),
    }
    assert governed.decision.members == ("demographic.birth_date", "membership.patient")
    assert [(mask.column, mask.context) for mask in governed.wire_masks] == [("external_id", "mail/1")]
    assert governed.tables == ("clinical.patients", "crm.consents")


def test_no_governed_query_is_made_around_the_gate(tmp_path: Path) -> None:
    governed = decided(edited(tmp_path))
    fields = {name: getattr(governed, name) for name in GovernedQuery.__slots__ if name != "_seal"}
    with pytest.raises(TypeError, match=r"made by cdp\.governance\.decide\.govern only"):
        GovernedQuery(**fields)


SHA256 = ("governance/masks.yml", "masks:\n", "masks:\n  sha256: {of: [contact, name], gives: contact.email, normalise: receiver}\n")
OTHER = (
    "governance/purposes.yml",
    "  care_coordination:\n",
    "  other: {basis: none, classes: name, members: membership, channels: email, consent: opt_in}\n  care_coordination:\n",
)
REFUSED: dict[str, tuple[list[Edit], str, str]] = {
    "no_agreement": ([("destinations/mail.yml", "baa: mailer\n", "")], "agreement", "no agreement covers it"),
    "not_yet": (
        [("governance/baa/mailer.yml", "effective: 2026-01-15", "effective: 2026-08-01")],
        "agreement",
        "not in force before 2026-08-01",
    ),
    "ended": ([("governance/baa/mailer.yml", "expires: 2099-01-14", "expires: 2026-07-01")], "agreement", "ended on 2026-07-01"),
    "purpose_not_agreed": (
        [OTHER, ("governance/baa/mailer.yml", "purposes: care_coordination", "purposes: other")],
        "agreement",
        "does not cover",
    ),
    "host": (
        [("destinations/mail.yml", "https://api.mail.example", "https://api.mail.example.evil.test")],
        "host",
        "is not in agreement mailer",
    ),
    "plaintext": ([("destinations/mail.yml", "https://api", "http://api")], "host", "http is not encrypted"),
    "channel": ([("governance/purposes.yml", "channels: [email]", "channels: [sms]")], "channel", "is not told over email"),
    "paid": ([("syncs/adults_mail.yml", "mode: mirror", "mode: mirror\nfunded_by: third_party")], "funding", "paid by 'third_party'"),
    "value": ([("syncs/adults_mail.yml", "first_name: given_name", "state: state")], "value", "demographic.state"),
    "raw_key": ([("syncs/adults_mail.yml", "{of: patient_id, mask: pseudonym}", "patient_id")], "value", "identifier.mrn"),
    "mask_that_does_not_take": (
        [("syncs/adults_mail.yml", "first_name: given_name", "born: {of: state, mask: year}")],
        "value",
        "demographic.state",
    ),
    "hash_of_what_has_no_form": (
        [SHA256, ("syncs/adults_mail.yml", "email: email", "email: {expr: lower(email), mask: sha256}")],
        "mask",
        "mask sha256 knows no form of what is computed that receivers hash",
    ),
    "masked_to_what_is_not_granted": (
        [("syncs/adults_mail.yml", "first_name: given_name", "born: {of: birth_date, mask: year}")],
        "value",
        "demographic.year",
    ),
    "expression": (
        [("syncs/adults_mail.yml", "first_name: given_name", 'hello: {expr: "concat(given_name, state)"}')],
        "value",
        "demographic.state",
    ),
    "membership": (
        [("governance/baa/mailer.yml", "members: [membership.patient, demographic]", "members: membership.patient")],
        "membership",
        "birth_date",
    ),
    "no_rule_for_consent": (
        [("governance/eligibility.yml", "  - {name: no_consent, when: {consent: missing}, basis: governance/consent.yml}\n", "")],
        "consent",
        "no rule asks for it",
    ),
    "authorization_without_signature": (
        [("governance/baa/mailer.yml", "counterparty", "type: authorization\ncounterparty")],
        "authorization",
        "only people who signed",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_for_one_reason(tmp_path: Path, name: str) -> None:
    edits, rule, words = REFUSED[name]
    found = refusals(edited(tmp_path, *edits))
    assert {reason.rule for reason in found} == {rule}
    assert all(reason.fix for reason in found)
    assert any(words in str(reason) for reason in found)


@pytest.mark.parametrize("expression", ["reflect('java.lang.System', 'getenv', email)", "raise_error(email)"])
def test_a_function_off_the_list_does_not_even_load(tmp_path: Path, expression: str) -> None:
    with pytest.raises(ProjectError, match="only functions that every engine shares"):
        edited(tmp_path, ("syncs/adults_mail.yml", "first_name: given_name", f'hello: {{expr: "{expression}"}}'))


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("cast(email as date)", "write TRY_CAST"),  # its error would repeat the address
        ("email rlike '(?=a)'", "not in the syntax that all engines share"),
        ("regexp_replace(email, given_name, '')", "a pattern that is not written out"),
    ],
)
def test_an_expression_is_held_to_the_rules_of_a_select(tmp_path: Path, expression: str, words: str) -> None:
    with pytest.raises(ProjectError, match=words):
        edited(tmp_path, ("syncs/adults_mail.yml", "first_name: given_name", f'hello: {{expr: "{expression}"}}'))


def test_every_reason_comes_at_once(tmp_path: Path) -> None:
    edits = [edit for name in ("ended", "host", "channel", "paid", "value", "raw_key") for edit in REFUSED[name][0]]
    assert {reason.rule for reason in refusals(edited(tmp_path, *edits))} == {"agreement", "host", "channel", "funding", "value"}


def test_entity_without_eligibility_is_refused(tmp_path: Path) -> None:
    project = load(minimal(tmp_path, **{**FILES, "governance/eligibility.yml": None}))
    assert {reason.rule for reason in refusals(project)} == {"eligibility"}


def test_a_filter_taints_membership_and_a_reviewed_code_narrows(tmp_path: Path) -> None:
    project = with_conditions(tmp_path, "{has: conditions, where: {code: {in: diabetes}}}", GRANT_CLINICAL, AGREE_CLINICAL)
    assert decided(project).decision.members == ("clinical.condition", "clinical.date", "membership.patient")


@pytest.mark.parametrize(
    "where",
    [
        "{has: conditions, where: {code: {in: opioid_use}}}",  # the reviewed set says it is sensitive
        "{has: conditions, where: {code: 99999}}",  # a code in no reviewed set: the whole bound stands
        "{has: conditions, where: {code: {starts_with: F1}}}",  # prefixes never narrow
        "{has: conditions, where: {code: {ne: 44054006}}}",  # neither does a negation
        "{lacks: conditions, where: {not: {code: {in: diabetes}}}}",
    ],
)
def test_special_categories_are_reached_by_their_own_name_only(tmp_path: Path, where: str) -> None:
    found = refusals(with_conditions(tmp_path, where, GRANT_CLINICAL, AGREE_CLINICAL))
    assert {(reason.rule, reason.cls) for reason in found} >= {("membership", "sensitive.sud")}


def test_a_special_class_asks_for_its_own_consent(tmp_path: Path) -> None:
    grants = [(file, old, new.replace("clinical]", "clinical, sensitive.sud]")) for file, old, new in (GRANT_CLINICAL, AGREE_CLINICAL)]
    opioid_use = "{has: conditions, where: {code: {in: opioid_use}}}"
    for basis, asked in (("consent", True), ("qsoa", False)):  # a qualified service organization needs none: 42 CFR 2.12(c)(4)
        part2 = f"part2: {{basis: {basis}, notice_field: notice, notice: Do not disclose, consent_scope_field: scope}}\nhosts"
        agreed = ("governance/baa/mailer.yml", "hosts", part2)
        room = ("destinations/mail.yml", "body: array", "body: {list: contacts}")  # for the notice
        governed = decided(with_conditions(tmp_path / basis, opioid_use, *grants, agreed, room))
        assert ("part2_granted" in governed.eligibility.sql("spark")) == asked
        assert "opt_in_granted" in governed.eligibility.sql("spark")


DECLASSIFY = """\
kind: declassify
entries:
  - name: due_only
    of: {{segment: adults}}
    from: [clinical.condition, clinical.date]
    to: demographic.state
    model_sha256: {sha}
    reason: approved wording
    owner: privacy@example.org
    approved: 2026-06-01
    expires: 2027-05-31
"""
DIABETES = "{has: conditions, where: {code: {in: diabetes}}}"


def test_declassification_fits_one_version_of_one_model(tmp_path: Path) -> None:
    sha = model_sha256(with_conditions(tmp_path, DIABETES), "adults")
    entry = {"governance/declassify.yml": DECLASSIFY.format(sha=sha)}
    assert decided(with_conditions(tmp_path, DIABETES, **entry)).decision.members == ("demographic.state", "membership.patient")
    late = refusals(with_conditions(tmp_path, DIABETES, **entry), now="2027-06-01T00:00")
    assert ("declassify", "entry due_only") in {(r.rule, r.what) for r in late}
    changed = refusals(with_conditions(tmp_path, "{has: conditions, where: {code: {in: diabetes}}, within: {years: 1}}", **entry))
    assert any(r.rule == "declassify" and "model_sha256 is now" in r.missing for r in changed)


def test_a_refusal_that_names_no_purpose_or_channel_is_one_of_all(tmp_path: Path) -> None:
    text = decided(edited(tmp_path)).eligibility.sql("spark")
    assert "consent.purpose IS NULL OR TRIM(consent.purpose) = '' OR consent.purpose = 'care_coordination'" in text
    granted = text.split(" AS opt_in_granted")[0]
    assert "IS NULL OR consent.purpose" not in granted.split("MAX(")[-1]


def test_consent_is_that_of_the_entity_only_where_a_relation_says_so(tmp_path: Path) -> None:
    cut = [("models/patient.yml", "relations:\n  consents: {many: consent, via: patient_id}\n", "")]
    cut += [("models/consents.yml", "relations:\n  patient: {one: patient, via: patient_id}\n", "")]
    found = refusals(edited(tmp_path, *cut))
    assert [reason.missing for reason in found] == ["nothing says that consent holds the consent of patient"]


def test_a_code_in_a_set_that_nobody_reviewed_does_not_narrow(tmp_path: Path) -> None:
    more = CONDITIONS + "---\n{kind: value_set, name: others, system: LOINC, codes: [44054006]}\n"
    project = with_conditions(tmp_path, DIABETES, GRANT_CLINICAL, AGREE_CLINICAL, **{"models/conditions.yml": more})
    assert ("membership", "sensitive.sud") in {(reason.rule, reason.cls) for reason in refusals(project)}


def test_a_trait_is_declassified_in_its_exact_form(tmp_path: Path) -> None:
    trait = "---\n{kind: trait, name: conditions_seen, entity: patient, count: conditions}\n"
    files = {"models/conditions.yml": CONDITIONS + trait}
    mapped = ("syncs/adults_mail.yml", "first_name: given_name", "first_name: conditions_seen")
    sha = model_sha256(with_conditions(tmp_path, "{age: {gte: 18}}", **files), "conditions_seen", "trait")
    entry = (
        DECLASSIFY.format(sha=sha).replace("segment: adults", "trait: conditions_seen").replace("to: demographic.state", "to: name.given")
    )
    passing = with_conditions(tmp_path, "{age: {gte: 18}}", mapped, **files, **{"governance/declassify.yml": entry})
    assert decided(passing).decision.columns["first_name"] == ("name.given",)
    stale = {"governance/declassify.yml": entry.replace(sha, "0" * 64)}
    found = refusals(with_conditions(tmp_path, "{age: {gte: 18}}", mapped, **files, **stale))
    assert {reason.rule for reason in found} == {"value", "declassify"}


def test_fingerprint_follows_the_policy_not_the_files(tmp_path: Path) -> None:
    first = decided(edited(tmp_path)).fingerprint
    assert decided(edited(tmp_path, ("governance/masks.yml", "kind: masks", "# a comment\nkind: masks"))).fingerprint == first
    rotated = ("governance/masks.yml", "per: destination}", "per: destination, key_version: 2}")
    assert decided(edited(tmp_path, rotated)).fingerprint != first


def test_fingerprint_follows_what_a_field_holds_and_what_a_sync_does(tmp_path: Path) -> None:
    """A plan of a mirror, or of one address, is not applied when the YAML says another: of its class, and under its name at the channel."""
    another = ("models/patient.yml", "columns:\n", "columns:\n  work_email: {type: string, class: contact.email}\n")
    first = decided(edited(tmp_path, another))
    mapped = decided(edited(tmp_path, another, ("syncs/adults_mail.yml", "email: email", "email: work_email")))
    assert mapped.columns == first.columns
    assert mapped.decision == first.decision
    assert (mapped.told, mapped.model_sha256) == (first.told, first.model_sha256)
    assert mapped.fingerprint != first.fingerprint
    upsert = decided(edited(tmp_path, another, ("syncs/adults_mail.yml", "mode: mirror", "mode: upsert")))
    assert upsert.fingerprint != first.fingerprint
    described = decided(edited(tmp_path, another, ("syncs/adults_mail.yml", "mode: mirror", "mode: mirror\ndescription: letters")))
    assert described.fingerprint == first.fingerprint


def test_eligibility_reads_the_wall_clock_and_segments_as_of(tmp_path: Path) -> None:
    project = edited(tmp_path)
    clock, now = Clock.parse("2020-01-01", project.timezone), Clock.parse(NOW, project.timezone)
    governed = govern(project, "adults_mail", clock=clock, now=now)
    consents, people = governed.select.sql("spark").split("SELECT patient.patient_id AS _subject")
    assert "2026-07-02 12:00:00-04:00" in consents
    assert "2020" not in consents
    assert "CAST('2002-01-01' AS DATE)" in people


def test_a_consent_of_tomorrow_is_none_today(tmp_path: Path) -> None:
    """Where the consent's entity does not hide the future, or has another time, the rule asks itself."""
    asked = "consent.effective_at <= CAST('2026-07-02 12:00:00-04:00' AS TIMESTAMP)"
    assert decided(edited(tmp_path / "a")).eligibility.sql("spark").count(asked) == 1
    edits = [
        ("time: effective_at", "time: recorded_at"),
        ("time: effective_at", "time: effective_at\nfuture: visible"),
        ("time: effective_at\n", ""),
    ]
    for number, (old, new) in enumerate(edits):
        text = decided(edited(tmp_path / str(number), ("models/consents.yml", old, new))).eligibility.sql("spark")
        assert text.count(asked) == 1, new  # of what is read, before anything is counted


def test_a_rule_over_a_to_one_relation_reads_it_at_the_wall_clock(tmp_path: Path) -> None:
    block = """\
kind: entity
name: block
table: crm.blocks
key: patient_id
time: noted
rows: consent_state
columns: {patient_id: {type: string, class: identifier.mrn}, noted: {type: date, class: public}, kind: {type: string, class: public}}
"""
    project = edited(
        tmp_path,
        ("models/patient.yml", "relations:\n", "relations:\n  block: {one: block, via: patient_id}\n"),
        ("models/adults.yml", "where: {age: {gte: 18}}", "where: {age: {gte: 18}, block.kind: null}"),
        ("governance/eligibility.yml", "rules:\n", "rules:\n  - {name: blocked, when: {block.kind: {not_null: true}}}\n"),
        ("governance/purposes.yml", "members: [membership, demographic]", "members: [membership, demographic, consent_state]"),
        (
            "governance/baa/mailer.yml",
            "members: [membership.patient, demographic]",
            "members: [membership.patient, demographic, consent_state]",
        ),
        **{"models/blocks.yml": block},
    )
    clock, now = Clock.parse("2020-01-01", project.timezone), Clock.parse(NOW, project.timezone)
    text = govern(project, "adults_mail", clock=clock, now=now).select.sql("spark")
    assert "block.noted <= CAST('2020-01-01' AS DATE)" in text  # who is in the segment
    assert "block_.noted <= CAST('2026-07-02' AS DATE)" in text  # whom the rule keeps out
    assert "WHEN NOT block_.kind IS NULL THEN 'blocked'" in text


def test_two_spellings_of_a_table_add_up(tmp_path: Path) -> None:
    """A second entity of a table, in other letters, must not lower what being in it says."""
    columns = "{patient_id: {type: string, class: identifier.mrn}}"
    other = f"{{kind: entity, name: everyone, table: CLINICAL.patients, key: patient_id, rows: public, columns: {columns}}}"
    for file in ("models/aa.yml", "models/zz.yml"):  # read before the other, and after
        members = decided(edited(tmp_path / file[-6:-4], **{file: other})).decision.members
        assert members == ("demographic.birth_date", "membership.patient", "public")


# -- declared keys ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("select", "asked"),
    [
        ("SELECT p.patient_id FROM patient p LEFT JOIN condition c ON c.condition_id = p.state", True),
        ("SELECT p.patient_id FROM patient p LEFT JOIN (SELECT condition_id FROM condition) c ON c.condition_id = p.state", True),
        ("SELECT p.patient_id FROM patient p LEFT JOIN (SELECT DISTINCT condition_id FROM condition) c ON c.condition_id = p.state", False),
        ("SELECT p.patient_id FROM patient p LEFT JOIN condition c ON c.patient_id = p.patient_id", False),
        ("SELECT p.patient_id FROM patient p JOIN condition c ON c.condition_id = p.state", False),
        (
            "WITH w AS (SELECT q.patient_id FROM patient q LEFT JOIN condition c ON c.condition_id = q.state)\n"
            "  SELECT p.patient_id FROM patient p JOIN w ON w.patient_id = p.patient_id",
            True,
        ),
        (
            "SELECT p.patient_id FROM patient p WHERE EXISTS (SELECT 1 FROM patient q LEFT JOIN condition c ON c.condition_id = q.state\n"
            "  WHERE q.patient_id = p.patient_id)",
            True,
        ),
        ("SELECT patient_id FROM patient UNION SELECT q.patient_id FROM patient q LEFT JOIN condition c ON c.condition_id = q.state", True),
    ],
)
def test_a_declared_key_that_the_decision_rests_on_is_asked_about_when_it_is_planned(tmp_path: Path, select: str, asked: bool) -> None:
    """A LEFT JOIN on a key tells nothing of the other table, if its rows are told apart by it; attack 3 where they are not.

    `key: patient_id` of a table of stays, and COUNT(*) OVER says how many there are.
    """
    segment = f"kind: segment\nname: adults\nentity: patient\nowner: a@example.org\npurpose: care_coordination\nsql: |\n  {select}\n"
    granted = (GRANT_CLINICAL, AGREE_CLINICAL)
    project = edited(
        tmp_path,
        RELATIONS,
        *granted,
        **{"models/conditions.yml": CONDITIONS, "models/adults.yml": segment, "governance/value_sets.yml": REVIEWS},
    )
    wanted = (("clinical.conditions", ("condition_id",)),) if asked else ()
    assert decided(project).lookups == wanted


def test_what_is_grouped_is_unique_by_itself(tmp_path: Path) -> None:
    """The scans that a condition becomes: no plan asks a large table whether its key repeats."""
    where = "{count: conditions, where: {code: {in: diabetes}}, is: {gte: 2}}"
    assert decided(with_conditions(tmp_path, where, GRANT_CLINICAL, AGREE_CLINICAL)).lookups == ()
