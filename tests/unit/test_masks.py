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

from cdp.governance.masks import MECHANISMS, REDACTED, apply_mask, has_mechanism, is_wire, lower, pseudonyms
from cdp.governance.taint import Fact
from cdp.spec.policy import Mask
from tests.taint_world import TREE, analyse

DAY = dt.date(2026, 7, 1)


def mask(of: str, gives: str | dict[str, str], **more: object) -> Mask:
    return Mask.model_validate({"of": of.split(), "gives": gives, **more})


NULL = mask("*", "public")
LAST4 = mask("identifier.mrn contact.phone", "same")
YEAR = mask(
    "demographic.birth_date clinical.date",
    {"demographic.birth_date": "demographic.year", "clinical.date": "demographic.year"},
    over_89="null",
)
ZIP3 = mask("demographic.zip", "demographic.zip3", zero=["036", "059"])
PSEUDONYM = mask("identifier contact name", "identifier.pseudonym", kind="hmac_sha256", key={"env": "KEY"})


def masked(name: str, rule: Mask, value: object, cls: str = "name.given", kind: str = "TEXT") -> object:
    column = exp.column("v", "t")
    expression = apply_mask(name, rule, column, cls, DAY).sql("duckdb")
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


def test_null_has_a_type() -> None:
    """A Delta column of no type cannot be written."""
    assert apply_mask("null", NULL, exp.column("v"), "name", DAY).sql("spark") == "CAST(NULL AS STRING)"


@pytest.mark.parametrize(
    ("value", "cls", "shown"),
    [
        ("MRN-0012345", "identifier.mrn", "2345"),
        ("12-34a", "identifier.mrn", "-34a"),
        ("12345", "identifier.mrn", "2345"),
        ("1234", "identifier.mrn", None),  # it would be shown whole
        ("12", "identifier.mrn", None),
        ("", "identifier.mrn", None),
        (None, "identifier.mrn", None),
        ("+1 (555) 010-1 234", "contact.phone", "1234"),
        ("555-0199 ext.", "contact.phone", "0199"),
        ("12-34", "contact.phone", None),
        ("unknown", "contact.phone", None),
        ("éèêëñ", "identifier.mrn", "èêëñ"),
    ],
)
def test_last4(value: str | None, cls: str, shown: str | None) -> None:
    assert masked("last4", LAST4, value, cls) == shown


def test_last4_of_a_number() -> None:
    assert masked("last4", LAST4, 1234567, "identifier.mrn", "BIGINT") == "4567"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (dt.date(1970, 5, 1), 1970),
        (dt.date(1937, 1, 1), 1937),  # 89 at most until the year is over
        (dt.date(1936, 12, 31), None),  # 89 or 90 this year: the year alone may say over 89
        (dt.date(1936, 1, 1), None),
        (dt.date(1900, 1, 1), None),
        (dt.date(2026, 7, 1), 2026),
        (None, None),
    ],
)
def test_year_of_those_over_89_is_null(value: dt.date | None, shown: int | None) -> None:
    assert masked("year", YEAR, value, "demographic.birth_date", "DATE") == shown


def test_year_of_a_timestamp_and_without_over_89() -> None:
    assert masked("year", YEAR, dt.datetime(2026, 2, 3, 4, 5), "clinical.date", "TIMESTAMP") == 2026
    plain = mask("clinical.date", "demographic.year")
    assert masked("year", plain, dt.date(1900, 1, 1), "clinical.date", "DATE") == 1900


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("02139", "021"),
        ("02139-4307", "021"),
        ("03601", "000"),
        ("05901-1234", "000"),
        ("00036", "000"),
        ("0213", None),
        ("021394307", None),  # nine digits are as well a social security number
        ("02139-", None),
        ("02139 4307", None),
        ("ABCDE", None),
        ("K1A 0B1", None),
        (" 02139", None),
        ("x02139", None),
        ("", None),
        (None, None),
    ],
)
def test_zip3(value: str | None, shown: str | None) -> None:
    assert masked("zip3", ZIP3, value, "demographic.zip") == shown


def test_zip3_without_a_list_of_small_areas() -> None:
    assert masked("zip3", mask("demographic.zip", "demographic.zip3"), "03601") == "036"


@pytest.mark.parametrize(("name", "rule"), [("null", NULL), ("redact", NULL), ("last4", LAST4), ("year", YEAR), ("zip3", ZIP3)])
def test_a_mask_can_be_analysed_and_leaves_its_input_alone(name: str, rule: Mask) -> None:
    """A masked query is a governed query too, and the value may stand in the query more than once."""
    value = exp.column("birth_date", "p")
    expression = apply_mask(name, rule, value, "contact.phone", DAY)
    assert value.parent is None
    relation = analyse(exp.select(expression.as_("z")).from_("clinical.patients AS p").sql("databricks"))
    assert {fact.column for fact in relation.columns["z"]} == (set() if name in ("null", "redact") else {"birth_date"})


# ---- which masks there are ----------------------------------------------------------------------------------------
def test_every_mechanism_is_found_and_nothing_else() -> None:
    assert sorted(MECHANISMS) == ["hmac_sha256", "last4", "null", "redact", "year", "zip3"]
    assert has_mechanism("zip3", ZIP3)
    assert has_mechanism("pseudonym", PSEUDONYM)
    assert has_mechanism("another_name", PSEUDONYM)
    assert not has_mechanism("sha256", mask("name", "public"))
    assert not has_mechanism("pseudonym", mask("name", "public"))  # its kind is missing


@pytest.mark.parametrize(("name", "rule"), [("pseudonym", PSEUDONYM), ("null", PSEUDONYM), ("rot13", NULL)])
def test_what_is_not_computed_in_sql_is_not_applied(name: str, rule: Mask) -> None:
    with pytest.raises(ValueError, match=f"mask {name} is not computed in SQL; those that are: last4, null"):
        apply_mask(name, rule, exp.column("v"), "name", DAY)


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
    assert is_wire(PSEUDONYM)
    assert not is_wire(ZIP3)


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
