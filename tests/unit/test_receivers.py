"""Who may know what: grants, refusals with their fixes, declassification of membership, and the tree of classes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.governance.classes import ClassTree, UnknownClass
from cdp.governance.receivers import MEMBERSHIP, Grant, Receiver, decide, lower_rows
from cdp.governance.taint import Fact, Relation
from cdp.spec.policy import DataClass, Mask
from tests.taint_world import TREE, analyse

EMAIL = Fact("clinical.patients", "email", "contact.email")
PATIENT = Fact("clinical.patients", "", "membership.patient")
KEY = Fact("clinical.patients", "patient_id", "identifier.internal")
CODE = Fact("clinical.conditions", "code", "clinical.condition")
SUD = Fact("clinical.conditions", "code", "sensitive.sud")
ROWS = Fact("clinical.conditions", "", "clinical.condition")
NOTES = Fact("clinical.encounters", "notes", "sensitive.psychotherapy")
HOURS = Fact("clinical.facilities", "hours", "public")


def grant(values: str = "", members: str = "", by: str = "purpose care") -> Grant:
    return Grant(by, frozenset(values.split()), frozenset(members.split()))


def relation(rows: set[Fact], **columns: set[Fact]) -> Relation:
    return Relation({name: frozenset(facts) for name, facts in columns.items()}, frozenset(rows))


def reasons(told: Relation, *grants: Grant) -> list[tuple[str, str, str]]:
    return [(r.rule, r.what, r.cls) for r in decide(told, Receiver("mail", grants), TREE)]


# ---- grants -----------------------------------------------------------------------------------------------------------
def test_what_every_grant_covers_may_be_known() -> None:
    told = relation({PATIENT, CODE}, email={EMAIL})
    assert reasons(told, grant("contact", "membership clinical"), grant("contact.email", "membership.patient clinical.condition")) == []


def test_all_grants_must_cover() -> None:
    told = relation({PATIENT}, email={EMAIL})
    wide, narrow = grant("contact", "membership"), grant("name", "membership", by="agreement acme")
    assert [r.missing for r in decide(told, Receiver("mail", (wide, narrow)), TREE)] == ["agreement acme does not cover it"]


def test_values_and_members_are_apart() -> None:
    told = relation({CODE}, code={CODE})
    assert reasons(told, grant("clinical", "")) == [("membership", MEMBERSHIP, "clinical.condition")]
    assert reasons(told, grant("", "clinical")) == [("value", "code", "clinical.condition")]


def test_without_a_grant_nothing_may_be_known() -> None:
    refusals = decide(relation({PATIENT}, email={EMAIL}), Receiver("mail", ()), TREE)
    assert [(r.rule, r.missing) for r in refusals] == [
        ("value", "any grant of mail does not cover it"),
        ("membership", "any grant of mail does not cover it"),
    ]


def test_every_reason_is_given_once_for_each_rule_column_class_and_grant() -> None:
    told = relation({PATIENT, SUD}, a={EMAIL, SUD}, b={EMAIL})
    one, other = grant("", "", by="purpose care"), grant("", "membership", by="agreement acme")
    refusals = decide(told, Receiver("mail", (one, other)), TREE)
    assert [(r.missing.split()[1], r.rule, r.what, r.cls) for r in refusals] == [
        ("care", "value", "a", "contact.email"),
        ("care", "value", "a", "sensitive.sud"),
        ("care", "value", "b", "contact.email"),
        ("care", "membership", MEMBERSHIP, "membership.patient"),
        ("care", "membership", MEMBERSHIP, "sensitive.sud"),
        ("acme", "value", "a", "contact.email"),
        ("acme", "value", "a", "sensitive.sud"),
        ("acme", "value", "b", "contact.email"),
        ("acme", "membership", MEMBERSHIP, "sensitive.sud"),
    ]


def test_a_refusal_names_the_facts_sorted() -> None:
    [refusal] = decide(relation({ROWS, CODE}), Receiver("mail", (grant(),)), TREE)
    assert refusal.because == ("clinical.conditions.code", "rows of clinical.conditions")


@pytest.mark.parametrize("granted", ["sensitive", "*", "sensitive.hiv", "clinical sensitive"])
def test_a_special_class_is_reached_by_its_own_name_only(granted: str) -> None:
    told = relation({SUD}, code={SUD})
    assert len(reasons(told, grant(granted, granted))) == 2
    assert reasons(told, grant("sensitive.sud", "sensitive.sud")) == []


def test_keys_are_left_out_of_membership_but_not_of_values() -> None:
    told = relation({PATIENT, KEY}, id={KEY})
    assert reasons(told, grant("", "membership")) == [("value", "id", "identifier.internal")]


def test_public_needs_no_grant() -> None:
    assert reasons(relation({HOURS}, hours={HOURS}, constant=set()), grant()) == []


@pytest.mark.parametrize("granted", ["sensitive.psychotherapy", "*", "sensitive"])
def test_what_no_query_may_read_refuses_in_filters_too_whatever_is_granted(granted: str) -> None:
    told = relation({NOTES}, notes={NOTES})
    assert reasons(told, grant(granted, granted)) == [
        ("never", "notes", "sensitive.psychotherapy"),
        ("never", MEMBERSHIP, "sensitive.psychotherapy"),
    ]


def test_a_segment_by_substance_use_is_refused_with_its_path() -> None:
    told = analyse(
        "SELECT p.patient_id, p.email FROM clinical.patients AS p WHERE EXISTS "
        "(SELECT 1 FROM clinical.conditions AS c WHERE c.patient_id = p.patient_id AND c.code = 'F10.20')"
    )
    refusals = decide(told, Receiver("mail", (grant("identifier contact", "membership clinical"),)), TREE)
    assert [(r.rule, r.cls, r.because) for r in refusals] == [("membership", "sensitive.sud", ("clinical.conditions.code",))]


# ---- fixes ------------------------------------------------------------------------------------------------------------
def mask(of: str, gives: str | dict[str, str], **more: object) -> Mask:
    return Mask.model_validate({"of": of.split(), "gives": gives, **more})


MASKS = {
    "null": mask("*", "public"),
    "pseudonym": mask("identifier", "identifier.pseudonym", kind="hmac_sha256"),
    "last4": mask("identifier.mrn", "same"),
    "year": mask("clinical.date", "demographic.year"),
}


def test_the_fix_names_the_masks_that_would_do() -> None:
    mrn = Fact("clinical.patients", "mrn", "identifier.mrn")
    [refusal] = decide(relation(set(), external_id={mrn}), Receiver("mail", (grant("identifier.pseudonym"),)), TREE, {"external_id": MASKS})
    assert refusal.fix == "mask external_id with one of: null, pseudonym; or leave it out, or let purpose care list identifier.mrn"
    [strict] = decide(relation(set(), external_id={mrn}), Receiver("mail", (grant("name"),)), TREE, {"external_id": MASKS})
    assert strict.fix.startswith("mask external_id with one of: null; or")
    [other] = decide(relation(set(), external_id={mrn}), Receiver("mail", (grant("name"),)), TREE, {"first_name": MASKS})
    assert other.fix == "leave it out, or let purpose care list identifier.mrn"
    [unknown] = decide(relation(set(), external_id={mrn}), Receiver("mail", (grant("name"),)), TREE)
    assert unknown.fix == "leave it out, or let purpose care list identifier.mrn"


def test_declassification_is_no_fix_for_a_special_class() -> None:
    refusals = decide(relation({CODE, SUD}), Receiver("mail", (grant(),)), TREE)
    assert [("declassify" in r.fix, r.cls) for r in refusals] == [(True, "clinical.condition"), (False, "sensitive.sud")]


# ---- declassification -------------------------------------------------------------------------------------------------
DATE = Fact("clinical.conditions", "start", "clinical.date")
TOLD = frozenset({PATIENT, KEY, HOURS, CODE, ROWS, DATE})


def test_an_entry_that_fits_lowers_exactly_what_it_takes() -> None:
    lowered = lower_rows(TOLD, frozenset({"clinical.condition", "clinical.date"}), "clinical.preventive", TREE)
    assert lowered is not None
    assert {f.cls for f in lowered} == {"membership.patient", "identifier.internal", "public", "clinical.preventive"}
    assert {(f.table, f.column) for f in lowered} == {(f.table, f.column) for f in TOLD}


@pytest.mark.parametrize(
    ("rows", "takes", "gives"),
    [
        (TOLD, {"clinical.condition"}, "clinical.preventive"),  # the model reads dates too
        (TOLD, {"clinical.condition", "clinical.date", "clinical.observation"}, "clinical.preventive"),  # more than the model reads
        (TOLD, {"clinical"}, "clinical.preventive"),  # a parent is not the class
        (TOLD, {"clinical.condition", "clinical.date", "membership.patient"}, "clinical.preventive"),
        (TOLD, {"clinical.condition", "clinical.date"}, "public"),
        (TOLD, {"clinical.condition", "clinical.date"}, "sensitive.hiv"),
        (TOLD | {SUD}, {"clinical.condition", "clinical.date"}, "clinical.preventive"),
        (TOLD | {SUD}, {"clinical.condition", "clinical.date", "sensitive.sud"}, "clinical.preventive"),
        (frozenset({SUD}), {"sensitive.sud"}, "clinical.preventive"),
        (frozenset({NOTES}), {"sensitive.psychotherapy"}, "clinical.preventive"),
        (frozenset({PATIENT}), set(), "clinical.preventive"),
    ],
)
def test_an_entry_that_does_not_fit_lowers_nothing(rows: frozenset[Fact], takes: set[str], gives: str) -> None:
    assert lower_rows(rows, frozenset(takes), gives, TREE) is None


# ---- the tree of classes ----------------------------------------------------------------------------------------------
CLASSES = ["contact", "contact.email", "sensitive", "sensitive.sud", "sensitive.psychotherapy", "public", "identifier.mrn", "clinical.date"]
COVERED = {
    "contact": {"contact", "*"},
    "contact.email": {"contact", "contact.email", "*"},
    "sensitive": {"sensitive"},
    "sensitive.sud": {"sensitive.sud"},
    "sensitive.psychotherapy": set(),
    "identifier.mrn": {"identifier.mrn", "identifier", "*"},
    "clinical.date": {"clinical.date", "clinical", "*"},
}


@pytest.mark.parametrize(("granted", "cls"), list(itertools.product([*CLASSES, "*", "identifier", "clinical", "cont", ""], CLASSES)))
def test_what_a_grant_covers(granted: str, cls: str) -> None:
    assert TREE.covers([granted], cls) == (cls == "public" or granted in COVERED[cls])


@given(st.frozensets(st.sampled_from(CLASSES)), st.frozensets(st.sampled_from(CLASSES)), st.sampled_from(CLASSES))
def test_a_wider_grant_covers_no_less(some: frozenset[str], more: frozenset[str], cls: str) -> None:
    assert TREE.covers(some | more, cls) == (TREE.covers(some, cls) or TREE.covers(more, cls))


def test_below_a_special_class_every_class_is_special() -> None:
    deep = ClassTree({n: DataClass(inherit=n != "s") for n in ("s", "s.a", "s.a.b")})
    assert deep.is_special("s.a.b")
    assert not deep.covers({"s", "s.a", "*"}, "s.a.b")
    assert deep.covers({"s.a.b"}, "s.a.b")


def test_what_a_class_takes_over_from_those_above() -> None:
    assert TREE.is_key("identifier.mrn")
    assert not TREE.is_key("contact.email")
    assert TREE.needs_consent("sensitive.sud") == "part2"
    assert TREE.needs_consent("contact.email") is None
    assert TREE.law("sensitive.sud") == "42 CFR part 2"
    assert TREE.law("sensitive.hiv") == "special categories"  # its own is not stated
    assert TREE.never("sensitive.psychotherapy")
    assert not TREE.never("sensitive.sud")
    assert TREE.line("contact.email") == ("contact.email", "contact")
    assert "contact.email" in TREE
    assert "contact.emai" not in TREE


def test_a_class_is_not_below_another_by_its_letters() -> None:
    tree = ClassTree({"contact": DataClass(), "contacts": DataClass(), "a.b": DataClass()})
    assert not tree.covers({"contact"}, "contacts")
    assert not tree.covers({"a"}, "a.b")  # `a` is declared nowhere


def test_an_unknown_class_is_covered_by_nothing_and_our_mistake_everywhere_else() -> None:
    assert not TREE.covers({"*", "contact", "nonsense"}, "nonsense")
    for ask in (TREE.is_key, TREE.is_special, TREE.never, TREE.law, TREE.needs_consent, TREE.line):
        with pytest.raises(UnknownClass):
            ask("nonsense")
    assert not ClassTree({}).is_key("public")
