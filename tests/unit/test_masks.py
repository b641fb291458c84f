"""Masks: what they make of values (on DuckDB), what they lower, and what they leave as it is."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from cdp.governance.masks import WIRE, apply_mask, is_constant, is_wire, lower, needs_form, pseudonyms
from cdp.governance.masks.functions import REDACTED, SQL, About
from cdp.governance.taint import Fact
from cdp.spec.activation import PhoneForm
from cdp.spec.policy import CONSTANTS, MECHANISMS, Mask
from tests.mask_cases import (
    AGE_BAND,
    BAND_CASES,
    CONSTANT,
    DAY,
    FORM_CASES,
    LAST4,
    LAST4_CASES,
    NULL,
    SHA256,
    YEAR,
    YEAR_CASES,
    ZIP3,
    ZIP3_CASES,
    digest,
    mask,
)
from tests.taint_world import TREE, analyse

PSEUDONYM = mask("identifier contact name", "identifier.pseudonym", kind="hmac_sha256", key={"env": "KEY"})


def masked(name: str, rule: Mask, value: object, cls: str = "name.given", kind: str = "TEXT", phone: PhoneForm = "e164") -> object:
    column = exp.column("v", "t")
    expression = apply_mask(name, rule, column, About(cls, DAY, phone)).sql("duckdb")
    con = duckdb.connect()
    con.execute(f"CREATE TABLE t (v {kind})")
    con.execute("INSERT INTO t VALUES (?)", [value])
    row = con.execute(f"SELECT {expression} FROM t").fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("value", ["Jane", "", None])
def test_null_and_redact_are_the_same_for_every_row(value: str | None) -> None:
    assert masked("null", NULL, value) is None
    assert masked("redact", NULL, value) == REDACTED
    assert masked("constant", CONSTANT, value) == "a test that is due"


def test_null_has_a_type() -> None:
    """A Delta column of no type cannot be written."""
    assert apply_mask("null", NULL, exp.column("v"), About("name", DAY)).sql("spark") == "CAST(NULL AS STRING)"


@pytest.mark.parametrize(
    ("value", "cls", "shown"),
    LAST4_CASES,
)
def test_last4(value: str | None, cls: str, shown: str | None) -> None:
    assert masked("last4", LAST4, value, cls) == shown


def test_last4_of_a_number() -> None:
    assert masked("last4", LAST4, 1234567, "identifier.mrn", "BIGINT") == "4567"


@pytest.mark.parametrize(
    ("value", "shown"),
    YEAR_CASES,
)
def test_year_of_those_over_89_is_null(value: dt.date | None, shown: int | None) -> None:
    assert masked("year", YEAR, value, "demographic.birth_date", "DATE") == shown


def test_year_of_a_timestamp_and_without_over_89() -> None:
    assert masked("year", YEAR, dt.datetime(2026, 2, 3, 4, 5), "clinical.date", "TIMESTAMP") == 2026
    plain = mask("clinical.date", "demographic.year")
    assert masked("year", plain, dt.date(1900, 1, 1), "clinical.date", "DATE") == 1900


@pytest.mark.parametrize(
    ("value", "shown"),
    ZIP3_CASES,
)
def test_zip3(value: str | None, shown: str | None) -> None:
    assert masked("zip3", ZIP3, value, "demographic.zip") == shown


def test_zip3_without_a_list_of_small_areas() -> None:
    assert masked("zip3", mask("demographic.zip", "demographic.zip3"), "03601") == "036"


@pytest.mark.parametrize(
    ("born", "band"),
    BAND_CASES,
)
def test_age_band(born: dt.date | None, band: str | None) -> None:
    kind = "TIMESTAMP" if isinstance(born, dt.datetime) else "DATE"
    assert masked("age_band", AGE_BAND, born, "demographic.birth_date", kind) == band


def test_age_bands_below_the_first_and_of_one_year() -> None:
    few = mask("demographic.birth_date", "demographic.age_band", bands=[18, 19, 65])
    ages = {17: None, 18: "18", 19: "19-64", 64: "19-64", 65: "65+", 100: "65+"}
    for age, band in ages.items():
        assert masked("age_band", few, dt.date(DAY.year - age, 1, 1), kind="DATE") == band


@pytest.mark.parametrize(
    ("cls", "value", "known"),
    [  # the examples of Meta's page "Customer Information Parameters"
        ("contact.email", "John_Smith@gmail.com", "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"),
        ("contact.phone", "(650)555-1212", "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"),
        ("name.given", "Mary", "6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec"),
        ("name.given", "정", "8fa8cd9c440be61d0151429310034083132b35975c4bea67fdd74158eb51db14"),
        ("name.given", "Valéry", "08e1996b5dd49e62a4b4c010d44e4345592a863bb9f8e3976219bac29417149c"),
    ],
)
def test_sha256_is_what_the_receiver_computes(cls: str, value: str, known: str) -> None:
    assert masked("sha256", SHA256, value, cls, phone="digits") == known


@pytest.mark.parametrize(
    ("cls", "value", "normal"),
    FORM_CASES,
)
def test_sha256_is_of_the_form_that_receivers_hash_and_null_for_what_has_none(cls: str, value: str | None, normal: str | None) -> None:
    assert masked("sha256", SHA256, value, cls) == (normal and digest(normal))


def test_sha256_of_a_phone_number_follows_the_receiver_and_the_mask() -> None:
    assert masked("sha256", SHA256, "650-555-1212", "contact.phone", phone="digits") == digest("16505551212")
    abroad = SHA256.model_copy(update={"without_plus": None})
    assert masked("sha256", abroad, "650-555-1212", "contact.phone") is None
    assert masked("sha256", abroad, "+1 650-555-1212", "contact.phone") == digest("+16505551212")


def test_sha256_as_it_stands() -> None:
    plain = mask("identifier.mrn", "identifier.linkable")
    assert masked("sha256", plain, " Ab", "identifier.mrn") == digest(" Ab")
    assert masked("sha256", plain, "", "identifier.mrn") is None
    assert masked("sha256", plain, None, "identifier.mrn") is None


@pytest.mark.parametrize(("cls", "needs"), [("contact.email", False), ("name.given", False), ("identifier.mrn", True), ("", True)])
def test_a_form_is_known_of_some_classes_only(cls: str, needs: bool) -> None:
    assert needs_form("sha256", SHA256, cls) == needs
    assert not needs_form("sha256", mask("identifier", "identifier.linkable"), cls)


RULES = {
    "null": NULL,
    "redact": NULL,
    "constant": CONSTANT,
    "last4": LAST4,
    "year": YEAR,
    "zip3": ZIP3,
    "age_band": AGE_BAND,
    "sha256": SHA256,
}


@pytest.mark.parametrize(("name", "rule"), RULES.items())
def test_a_mask_can_be_analysed_and_leaves_its_input_alone(name: str, rule: Mask) -> None:
    """A masked query is a governed query too, and the value may stand in the query more than once."""
    value = exp.column("birth_date", "p")
    expression = apply_mask(name, rule, value, About("contact.phone", DAY))
    assert value.parent is None
    relation = analyse(exp.select(expression.as_("z")).from_("clinical.patients AS p").sql("databricks"))
    assert {fact.column for fact in relation.columns["z"]} == (set() if is_constant(name, rule) else {"birth_date"})


# ---- which masks there are ----------------------------------------------------------------------------------------
def test_every_mechanism_that_may_be_named_is_one_and_is_tried_here() -> None:
    assert SQL.keys() | WIRE == set(MECHANISMS)
    assert SQL.keys() == RULES.keys()
    assert SQL.keys() > CONSTANTS


@pytest.mark.parametrize(("name", "rule"), [("pseudonym", PSEUDONYM), ("null", PSEUDONYM), ("rot13", NULL)])
def test_what_is_not_computed_in_sql_is_not_applied(name: str, rule: Mask) -> None:
    with pytest.raises(ValueError, match=f"mask {name} is not computed in SQL; those that are: age_band, constant"):
        apply_mask(name, rule, exp.column("v"), About("name", DAY))


def test_a_mask_of_any_name_works_as_its_kind_says() -> None:
    other = mask("*", "public", kind="constant", value="yes")
    assert masked("a_yes", other, "Jane") == "yes"
    assert is_constant("a_yes", other)
    assert not is_constant("null", ZIP3.model_copy(update={"kind": "zip3"}))


# ---- what they lower ----------------------------------------------------------------------------------------------
def facts(*classes: str) -> frozenset[Fact]:
    return frozenset(Fact("clinical.patients", f"c{i}", cls) for i, cls in enumerate(classes))


def classes(taint: frozenset[Fact]) -> list[str]:
    return sorted(fact.cls for fact in taint)


@pytest.mark.parametrize(
    ("name", "rule", "before", "after"),
    [
        ("null", NULL, ["contact.email", "sensitive.sud"], ["public", "public"]),
        ("redact", NULL, ["clinical.condition"], ["public"]),
        ("null", mask("contact", "public"), ["contact.email", "name.given"], ["contact.email", "name.given"]),
        ("year", YEAR, ["demographic.birth_date"], ["demographic.year"]),
        ("year", YEAR, ["clinical.date", "demographic.birth_date"], ["demographic.year", "demographic.year"]),
        ("year", YEAR, ["clinical.date", "clinical.condition"], ["clinical.condition", "clinical.date"]),  # half a mask lowers nothing
        ("year", YEAR, ["public", "clinical.date"], ["demographic.year", "public"]),
        ("year", YEAR, ["contact.email"], ["contact.email"]),
        ("last4", LAST4, ["identifier.mrn"], ["identifier.mrn"]),  # part of an identifier is one
        ("zip3", ZIP3, ["demographic.zip"], ["demographic.zip3"]),
        ("zip3", ZIP3, ["demographic.zip", "sensitive.hiv"], ["demographic.zip", "sensitive.hiv"]),
        ("pseudonym", PSEUDONYM, ["identifier.mrn"], ["identifier.pseudonym"]),
        ("pseudonym", PSEUDONYM, ["contact.email"], ["identifier.pseudonym"]),
        ("pseudonym", PSEUDONYM, ["clinical.condition"], ["clinical.condition"]),
        # `*` reaches special classes only where the same stands in every row
        ("year", mask("*", "demographic.year"), ["contact.email"], ["demographic.year"]),
        ("year", mask("*", "demographic.year"), ["sensitive.sud"], ["sensitive.sud"]),
        ("null", NULL.model_copy(update={"kind": "hmac_sha256"}), ["sensitive.sud"], ["sensitive.sud"]),
        ("constant", CONSTANT, ["sensitive.sud"], ["public"]),
        ("a_yes", CONSTANT.model_copy(update={"kind": "constant"}), ["sensitive.sud"], ["public"]),
        ("sha256", mask("*", "identifier.linkable"), ["sensitive.sud"], ["sensitive.sud"]),
        ("sha256", SHA256, ["contact.email"], ["identifier.linkable"]),
        ("sha256", SHA256, ["contact.email", "clinical.condition"], ["clinical.condition", "contact.email"]),
        ("age_band", AGE_BAND, ["demographic.birth_date"], ["demographic.age_band"]),
        ("age_band", AGE_BAND, ["clinical.date"], ["clinical.date"]),
        ("year", mask("sensitive.sud", "demographic.year"), ["sensitive.sud"], ["demographic.year"]),
        # what no query may read is not hidden by a mask, so that it is refused
        ("null", NULL, ["sensitive.psychotherapy"], ["sensitive.psychotherapy"]),
        # `gives` by class: the nearest class above; a class that it does not name is not lowered
        ("year", mask("demographic clinical", {"demographic": "public"}), ["demographic.zip"], ["public"]),
        ("year", mask("demographic clinical", {"demographic": "public"}), ["clinical.date"], ["clinical.date"]),
        ("null", NULL, [], []),
    ],
)
def test_a_mask_lowers_a_value_if_it_takes_every_fact_of_it(name: str, rule: Mask, before: list[str], after: list[str]) -> None:
    assert classes(lower(TREE, name, rule, facts(*before))) == after


def test_lowered_facts_keep_their_source() -> None:
    assert lower(TREE, "zip3", ZIP3, frozenset({Fact("clinical.patients", "zip", "demographic.zip")})) == {
        Fact("clinical.patients", "zip", "demographic.zip3")
    }


# ---- pseudonyms ---------------------------------------------------------------------------------------------------
def test_wire_masks_are_told_by_their_kind() -> None:
    assert is_wire("pseudonym", PSEUDONYM)
    assert is_wire("another_name", PSEUDONYM)
    assert not is_wire("zip3", ZIP3)


def test_a_pseudonym_is_the_hmac_of_context_and_value() -> None:
    expected = hmac.new(b"key", b"outreach_email v1\0p1", hashlib.sha256).hexdigest()
    assert pseudonyms(["p1", None, "p1"], b"key", "outreach_email v1") == [expected, None, expected]


@given(st.text(), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.binary(min_size=1))
def test_another_context_or_key_gives_another_pseudonym(value: str, context: str, key: bytes) -> None:
    [here] = pseudonyms([value], key, context)
    assert here is not None
    assert len(here) == 64
    assert pseudonyms([value], key, context + "x") != [here]
    assert pseudonyms([value], key + b"x", context) != [here]
    assert pseudonyms([value + "x"], key, context) != [here]


@pytest.mark.parametrize(("key", "context"), [(b"", "outreach"), (b"key", "out\0reach")])
def test_a_pseudonym_that_anyone_could_make_is_refused(key: bytes, context: str) -> None:
    with pytest.raises(ValueError, match="a key that is not empty, and a context without NUL"):
        pseudonyms(["p1"], key, context)
