"""Tree functions over a compiled query: asked about some rows only, and a value computed where its row is read."""

from __future__ import annotations

import pytest
import sqlglot
from sqlglot import exp

from cdp.compile import sql
from cdp.compile.early import early
from cdp.compile.narrow import narrowed

KEY = sql.column("patient", "id")
PEOPLE = "SELECT some.* FROM clinic.patients AS some WHERE some.id IN (SELECT known.key FROM few AS known)"
SCAN = "SELECT v.person, MAX(v.at) AS last FROM clinic.visits AS v GROUP BY v.person"
JOINED = "LEFT JOIN seen ON seen.person = patient.id"


def parsed(text: str) -> exp.Select:
    found = sqlglot.parse_one(text, dialect="spark")
    assert isinstance(found, exp.Select)
    return found


def one_of_few(key: exp.Expr) -> exp.Expr:
    return exp.In(this=key, query=exp.select("known.key").from_("few AS known").subquery())


def narrow(text: str) -> str:
    given = parsed(text)
    before = given.sql("spark")
    found = narrowed(given, KEY, one_of_few).sql("spark")
    assert given.sql("spark") == before, "the query that was given stays as it is"
    return found.replace("`some`", "some")


def query(scan: str = SCAN, join: str = JOINED, rest: str = "") -> str:
    return f"WITH seen AS ({scan}) SELECT patient.id AS _subject, seen.last FROM clinic.patients AS patient {join}{rest}"


def test_a_scan_by_the_key_and_the_row_itself_are_narrowed_where_they_are_read() -> None:
    assert narrow(query()) == (
        "WITH seen AS (SELECT v.person, MAX(v.at) AS last FROM (SELECT some.* FROM clinic.visits AS some "
        "WHERE some.person IN (SELECT known.key FROM few AS known)) AS v GROUP BY v.person) "
        f"SELECT patient.id AS _subject, seen.last FROM ({PEOPLE}) AS patient LEFT JOIN seen ON seen.person = patient.id"
    )


def test_so_is_a_scan_by_the_key_and_something_else() -> None:
    scan = "SELECT v.person, v.site, MAX(v.at) AS last FROM clinic.visits AS v GROUP BY v.person, v.site"
    for join in ("seen.person = patient.id AND seen.site = patient.site", "seen.site = patient.site AND patient.id = seen.person"):
        assert "clinic.visits AS some WHERE some.person IN" in narrow(query(scan, f"LEFT JOIN seen ON {join}"))


@pytest.mark.parametrize(
    "text",
    [
        query(SCAN + " LIMIT 5"),
        query(SCAN + " OFFSET 1"),
        query("SELECT v.person, MAX(v.at) AS last, RANK() OVER (ORDER BY MAX(v.at)) AS place FROM clinic.visits AS v GROUP BY v.person"),
        query("SELECT v.person, v.at AS last FROM clinic.visits AS v"),  # not grouped: rows could be compared
        query("SELECT v.site AS person, MAX(v.at) AS last FROM clinic.visits AS v GROUP BY v.person, v.kind"),
        query("SELECT UPPER(v.person) AS person, MAX(v.at) AS last FROM clinic.visits AS v GROUP BY UPPER(v.person)"),
        query("SELECT o.person, MAX(v.at) AS last FROM clinic.visits AS v JOIN clinic.owners AS o ON o.id = v.id GROUP BY o.person"),
        query(join="LEFT JOIN seen ON seen.person = patient.mother"),
        query(join="LEFT JOIN seen ON seen.person <> patient.id"),
        query(join="LEFT JOIN seen ON seen.person = patient.id OR patient.site = 'x'"),
        query(join="JOIN seen ON seen.person = patient.id"),
        query(join="LEFT JOIN clinic.seen ON seen.person = patient.id"),
        query(rest=" LEFT JOIN seen AS other ON other.person = patient.mother"),  # somebody else's rows are read there
        query(rest=" WHERE patient.id IN (SELECT seen.person FROM seen)"),
    ],
)
def test_what_may_speak_of_others_too_is_read_whole(text: str) -> None:
    found = narrow(text)
    assert f"({PEOPLE}) AS patient" in found
    assert found.count("few AS known") == 1


@pytest.mark.parametrize(
    "text",
    [
        "SELECT p.id AS _subject FROM clinic.patients AS p",
        f"SELECT q.* FROM ({query()}) AS q",
        "SELECT patient.id FROM (SELECT * FROM clinic.patients) AS patient",
        "SELECT 1 AS one",
    ],
)
def test_any_other_query_is_given_back(text: str) -> None:
    given = parsed(text)
    assert narrowed(given, KEY, one_of_few) is given


# -- a value computed early ---------------------------------------------------------------------------------------------


def value(*names: str) -> exp.Expr:
    return exp.Anonymous(this="XXHASH64", expressions=[sql.column(*name.split(".")) for name in names])


def test_a_value_of_the_row_is_computed_before_the_joins() -> None:
    given = parsed(
        "WITH seen AS (SELECT 1 AS one) "
        "SELECT patient.id AS _subject, patient.email AS email, CASE WHEN seen.one = 1 THEN 'x' END AS _rule "
        "FROM clinic.patients AS patient LEFT JOIN seen ON TRUE WHERE patient.born < '2000-01-01'"
    )
    before = given.sql("spark")
    found = early(given, "patient", ("_subject", "_rule"), "hash", value("patient.email"))
    assert found is not None
    assert given.sql("spark") == before
    assert found.sql("spark") == (
        "WITH seen AS (SELECT 1 AS one) SELECT patient.id AS _subject, CASE WHEN seen.one = 1 THEN 'x' END AS _rule, patient.hash AS hash "
        "FROM (SELECT patient.*, XXHASH64(patient.email) AS hash FROM clinic.patients AS patient) AS patient "
        "LEFT JOIN seen ON TRUE WHERE patient.born < '2000-01-01'"
    )


@pytest.mark.parametrize(
    ("text", "row", "of"),
    [
        ("SELECT patient.id FROM clinic.patients AS patient", "patient", "patient.email"),  # nothing to pass
        (query(), "patient", "seen.last"),
        (f"SELECT q.* FROM ({query()}) AS q LEFT JOIN clinic.x AS x ON TRUE", "q", "q.email"),
    ],
)
def test_where_it_cannot_be_or_need_not_it_is_not(text: str, row: str, of: str) -> None:
    assert early(parsed(text), row, ("_subject",), "hash", value(of)) is None
