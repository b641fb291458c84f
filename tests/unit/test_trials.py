"""Tests that stand in the YAML, as they are read: rows typed by their columns, what is not said filled in, and what is refused."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from cdp.errors import ProjectError
from cdp.project.language.bind import Binder
from cdp.project.load import load
from cdp.project.problems import Problems
from cdp.project.trials import Case, Expected, matches, trials
from cdp.project.trials.contacts import reaches_a_person
from tests.language_world import clinic

SEGMENT = """\
kind: segment
name: tried
entity: patient
owner: care@example.org
purpose: care_coordination
where:
  - {has: conditions, where: {code: {in: any_diabetes}}}
  - {lacks: observations, where: {code: {in: glucose}, value: {gt: 100 mg/dL}}}
tests:
"""


def written(tmp_path: Path, tests: str) -> Path:
    return clinic(tmp_path, **{"models/tried.yml": SEGMENT + indent(tests, "  ")})


def cases(tmp_path: Path, tests: str) -> tuple[Case, ...]:
    project = load(written(tmp_path, tests))
    return trials(Binder(project, Problems()), "segment", "tried")


def one(tmp_path: Path, given: str) -> Any:
    """The row of a test with this member."""
    (case,) = cases(tmp_path, f"- {{as_of: 2026-07-01, given: {given}, expect: in}}\n")
    return case.row


def problems(tmp_path: Path, tests: str) -> list[str]:
    with pytest.raises(ProjectError) as caught:
        load(written(tmp_path, tests))
    return [str(problem) for problem in caught.value.problems]


# -- what a case is -------------------------------------------------------------------------------------------------------


def test_cases_override_what_is_given_and_add_rows_to_it(tmp_path: Path) -> None:
    first, second, third, fourth = cases(
        tmp_path,
        """\
- name: overrides
  as_of: 2026-07-01
  given: {sex: female, conditions: [{code: 44054006}], fills: [{days_supply: 30}]}
  cases:
    - {expect: in}
    - {name: of a man, sex: male, conditions: [], expect: out}
    - {as_of: 2026-07-02T08:00, add: {conditions: [{code: E11.9}], visits: [{kind: office}]}, expect: out}
    - {given: {sex: null}, status: pending}
""",
    )
    assert (first.test, first.name, first.as_of, first.member, first.line) == ("overrides", "case 1", "2026-07-01", True, 14)
    assert (second.name, second.member, second.row.values["sex"], second.row.related["conditions"]) == ("of a man", False, "male", ())
    assert third.as_of == "2026-07-02T08:00"
    assert [row.values["code"] for row in third.row.related["conditions"]] == ["44054006", "E11.9"]
    assert [row.values["kind"] for row in third.row.related["visits"]] == ["office"]
    assert (fourth.pending, fourth.member, fourth.row.values["sex"], len(fourth.row.related["fills"])) == (True, None, None, 1)


def test_a_test_without_cases_is_one(tmp_path: Path) -> None:
    (case,) = cases(
        tmp_path, "- {as_of: 2026-07-01, expect: {in: false, visit_count: 3, latest_glucose: null, latest_glucose.value: 9.50}}\n"
    )
    assert (case.test, case.name, case.member) == ("test 1", "", False)
    assert [(e.path, e.value, e.text) for e in case.values] == [
        ("visit_count", 3, "3"),
        ("latest_glucose", None, None),
        ("latest_glucose.value", Decimal("9.50"), "9.50"),
    ]


def test_values_have_the_types_of_their_columns(tmp_path: Path) -> None:
    row = one(
        tmp_path,
        "{birth_date: 1970-05-01, doses: 1_000, smoker: no, languages: [no, 08],"
        " address: {city: Troy, geo: {lat: 1.5}}, encounters: [{start: 2026-01-02, cost: 9.5, class: 08}],"
        ' observations: [{date: "2026-01-02T23:30"}]}',
    )
    assert row.values["birth_date"] == dt.date(1970, 5, 1)
    assert (row.values["doses"], row.values["smoker"], row.values["languages"]) == (1000, False, ("no", "08"))
    assert row.values["address"] == {"city": "Troy", "moved": None, "geo": {"lat": Decimal("1.5")}}
    (encounter,) = row.related["encounters"]
    assert encounter.values == {"start": dt.datetime(2026, 1, 2), "cost": Decimal("9.5"), "class": "08"}
    assert row.related["observations"][0].values == {"date": dt.datetime(2026, 1, 2, 23, 30)}


def test_an_entitys_own_where_is_passed_unless_the_row_says_otherwise(tmp_path: Path) -> None:
    row = one(tmp_path, "{conditions: [{code: 44054006}, {status: entered-in-error}, {status: null}, {status: resolved}]}")
    assert [condition.values["status"] for condition in row.related["conditions"]] == ["other", "entered-in-error", None, "resolved"]


@pytest.mark.parametrize(
    ("given", "system"),
    [
        ("{code: 44054006}", "SNOMED"),  # the first value set of the condition that holds it
        ("{code: E11.9}", "ICD10CM"),
        ("{code: 2339-0}", "LOINC"),  # no value set of the condition holds it, but one of the project
        ("{code: 999}", "SNOMED"),  # nobody holds it: it is of the condition's first system, so that only the code differs
        ("{code: 44054006, code_system: I10}", "I10"),
        ("{code: 44054006, code_system: null}", None),
        ("{code: null}", None),
    ],
)
def test_a_code_takes_the_system_of_its_value_set(tmp_path: Path, given: str, system: str | None) -> None:
    (condition,) = one(tmp_path, f"{{conditions: [{given}]}}").related["conditions"]
    assert condition.values.get("code_system") == system


def test_a_quantity_fills_the_value_and_its_unit(tmp_path: Path) -> None:
    row = one(tmp_path, "{height: 80 kg, observations: [{value: 9.1 %}, {value: 9.1, unit: null}, {value: 5, unit: mmol/L}]}")
    assert row.values["height"] == 80
    assert [(o.values["value"], o.values["unit"]) for o in row.related["observations"]] == [
        (Decimal("9.1"), "%"),
        (Decimal("9.1"), None),
        (Decimal(5), "mmol/L"),
    ]


# -- what is refused ------------------------------------------------------------------------------------------------------

REFUSED = [
    ("- {as_of: 2026-07-01, given: {sexx: female}, expect: in}", "10:33: tests[0].given.sexx: patient has no column or relation 'sexx'"),
    ("- {as_of: 2026-07-01, given: {age: 18}, expect: in}", "age is computed"),
    ("- {as_of: 2026-07-01, given: {visit_count: 2}, expect: in}", "visit_count is a trait, which is computed"),
    ("- {as_of: 2026-07-01, given: {conditions: {code: 1}}, expect: in}", "conditions leads to many rows: a list of mappings is expected"),
    ("- {as_of: 2026-07-01, given: {conditions: [1]}, expect: in}", "a row of condition is a mapping of its columns"),
    ("- {as_of: 2026-07-01, given: {conditions: [{cod: 1}]}, expect: in}", "did you mean 'code'?"),
    (
        "- {as_of: 2026-07-01, given: {readings: [{low: 1}]}, expect: in}",
        "rows of reading are computed; give the rows that they are made of: observation",
    ),
    ("- {as_of: 2026-07-01, given: {birth_date: 1970}, expect: in}", "'1970' is not a date"),
    ("- {as_of: 2026-07-01, given: {doses: 1.5}, expect: in}", "'1.5' is not an integer"),
    ("- {as_of: 2026-07-01, given: {languages: en}, expect: in}", "the column holds a list of values"),
    ("- {as_of: 2026-07-01, given: {address: Troy}, expect: in}", "the column holds fields: a mapping is expected; valid: city"),
    ("- {as_of: 2026-07-01, given: {address: {geo: {lon: 1}}}, expect: in}", "unknown field 'geo.lon'"),
    ("- {as_of: 2026-07-01, given: {observations: [{value: 9.1}]}, expect: in}", "has no unit, but the column has one"),
    ("- {as_of: 2026-07-01, given: {height: 80 lb}, expect: in}", "every row of this column is in kg, not in lb"),
    (
        "- {as_of: 2026-07-01, given: {encounters: [{cost: 0.12345678901}]}, expect: in}",
        "at most 18 digits before the point and 10 after it",
    ),
    (
        "- {as_of: 2026-07-01, given: {pcp_id: a, pcp: {clinician_id: b}}, expect: in}",
        "clinician_id is what ties this row to the one around it",
    ),
    ("- {given: {sex: female}, expect: in}", "missing key 'as_of': the result would change with the day"),
    ("- {as_of: soon, expect: in}", "'soon' is not a day such as 2026-07-01"),
    ("- {as_of: 2026-07-01}", "missing key 'expect'"),
    ("- {as_of: 2026-07-01, expect: inn}", "did you mean 'in'?"),
    ("- {as_of: 2026-07-01, expect: [in]}", "must be `in`, `out` or a mapping"),
    ("- {as_of: 2026-07-01, expect: {in: maybe}}", "'maybe' is not a boolean"),
    ("- {as_of: 2026-07-01, expect: {visit_cont: 1}}", "did you mean 'visit_count'?"),
    ("- {as_of: 2026-07-01, expect: {visit_count: few}}", "'few' is not an integer"),
    ("- {as_of: 2026-07-01, expect: {latest_glucose: 5}}", "latest_glucose is a row; expect its fields"),
    ("- {as_of: 2026-07-01, expect: {latest_glucose.valu: 5}}", "did you mean 'latest_glucose.value'?"),
    ("- {as_of: 2026-07-01, expect: {statin_cover: 5}}", "statin_cover is a row; expect its fields"),
    ("- {as_of: 2026-07-01, cases: [], expect: in}", "tests[0].cases: must not be empty"),
    ("- {as_of: 2026-07-01, expect: in, cases: [{expect: in}]}", "a test with cases expects nothing itself"),
    ("- {as_of: 2026-07-01, cases: [{expekt: in, expect: in}]}", "did you mean 'expect'?"),
    ("- {as_of: 2026-07-01, cases: [{status: done}]}", "'done' is not valid; valid: pending"),
    ("- {as_of: 2026-07-01, cases: [{add: {sex: male}, expect: in}]}", "sex is not many rows"),
    ("- {as_of: 2026-07-01, cases: [{add: {pcp: {active: true}}, expect: in}]}", "pcp is not many rows"),
    ("- {as_of: 2026-07-01, giveen: {sex: male}, expect: in}", "unknown key 'giveen'"),
    ("as_of: 2026-07-01", "tests: must be a list, not a mapping"),
]


@pytest.mark.parametrize(("tests", "expected"), REFUSED)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, tests: str, expected: str) -> None:
    found = problems(tmp_path, tests)
    assert all(line.startswith("models/tried.yml:") for line in found)
    assert any(expected in line for line in found), found


def test_all_mistakes_are_said_at_once_and_each_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        "- {as_of: 2026-07-01, given: {sexx: a}, cases: [{expect: in}, {expect: out}, {conditions: 5, expect: in}]}\n- {expect: no}\n",
    )
    assert len(found) == 4


def test_the_tests_of_a_template_are_refused(tmp_path: Path) -> None:
    template = SEGMENT.replace("entity: patient", "entity: patient\nparams: {codes: value_set}").replace("in: any_diabetes", "in: $codes")
    root = clinic(tmp_path, **{"models/tried.yml": f"{template}  - {{as_of: 2026-07-01, expect: in}}\n"})
    with pytest.raises(ProjectError, match="a segment with parameters is no population yet; test a segment that fills them in"):
        load(root)


def test_a_trait_expects_its_value(tmp_path: Path) -> None:
    trait = "kind: trait\nname: how_many\nentity: patient\ncount: visits\ntests:\n  - {as_of: 2026-07-01, expect: 0}\n"
    project = load(clinic(tmp_path, **{"models/how_many.yml": trait}))
    (case,) = trials(Binder(project, Problems()), "trait", "how_many")
    assert (case.kind, case.member, [(e.path, e.value) for e in case.values]) == ("trait", None, [("how_many", 0)])
    wrong = trait.replace("expect: 0", "expect: {in: true}")
    with pytest.raises(ProjectError, match=r"a trait has values, not members; write how_many: VALUE"):
        load(clinic(tmp_path / "wrong", **{"models/how_many.yml": wrong}))


# -- nobody real ----------------------------------------------------------------------------------------------------------


def test_who_could_be_reached_is_refused_and_not_repeated(tmp_path: Path) -> None:
    """attack 22"""
    found = problems(tmp_path, "- {as_of: 2026-07-01, given: {email: jane.roe@gmail.com, state: 212-736-5000}, expect: in}\n")
    assert [line.split(": ", 1)[0] for line in found] == ["models/tried.yml:10:40", "models/tried.yml:10:67"]
    assert "an e-mail address that may be a real person's; use @example.org, or a number from 555-0100 to 555-0199" in found[0]
    assert "a telephone number that may be a real person's" in found[1]
    assert not any(text in line for line in found for text in ("jane", "gmail", "736"))


def test_arrays_and_fields_are_looked_through_too(tmp_path: Path) -> None:
    given = "{languages: [en, jane@gmail.com], address: {city: jane@gmail.com}}"
    assert len(problems(tmp_path, f"- {{as_of: 2026-07-01, given: {given}, expect: in}}\n")) == 2


def test_ten_digits_are_a_telephone_number_where_one_belongs(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "- {as_of: 2026-07-01, given: {email: 2127365000}, expect: in}\n")
    assert "a telephone number that may be a real person's" in found
    assert one(tmp_path / "code", "{conditions: [{code: 2127365000}]}").related["conditions"][0].values["code"] == "2127365000"


@pytest.mark.parametrize(
    "text",
    [
        "jane.roe@gmail.com",
        "write to jane@hospital.org please",
        "jane@example.co",
        "jane@notexample.org",
        "555-0200",
        "jane@example.org.evil.com",
        "(212) 736-5000",
        "+49 30 901820",
        "1-800-273-8255",
        "call 212-736-5000",
        "212.736.5000",
        "JANE@GMAIL.COM",
        "jane@example.org, jo@gmail.com",
    ],
)
def test_a_text_that_reaches_somebody(text: str) -> None:
    assert reaches_a_person(text)


@pytest.mark.parametrize(
    "text",
    [
        "jane@example.org",
        "jane@mail.example.com",
        "jane@hospital.test",
        "jane@x.invalid",
        "a@b.example",
        "555-0100",
        "(212) 555-0199",
        "E11.9",
        "+1 212 555 0123",
        "2026-07-01",
        "2026-07-01T08:30",
        "2026-07-01T08:30:00-04:00",
        "44054006",
        "428181000124104",
        "1234567890",
        "4548-4",
        "73832-8",
        "12345-6789",
        "@home",
        "8480-6",
        "Dr. Who",
        "",
    ],
)
def test_a_text_that_reaches_nobody(text: str) -> None:
    assert not reaches_a_person(text)


# -- comparing ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "places", "got", "right"),
    [
        (Decimal("0.96"), 2, 0.9574, True),
        (Decimal("0.957"), 3, 0.9574, True),
        (Decimal("0.95"), 2, 0.9574, False),
        (Decimal(28), 0, 28, True),
        (28, 0, 28, True),
        (28, 0, 27, False),
        (28, 0, None, False),
        (None, 0, None, True),
        (None, 0, 0, False),
        ("a", 0, "a", True),
        (dt.date(2026, 7, 1), 0, dt.datetime(2026, 7, 1, 9), True),
        (dt.date(2026, 7, 1), 0, dt.date(2026, 7, 2), False),
        (dt.datetime(2026, 7, 1, 9), 0, dt.datetime(2026, 7, 1, 9), True),
        (dt.datetime(2026, 7, 1, 8), 0, dt.datetime(2026, 7, 1, 9), False),
        (("a", "b"), 0, ["a", "b"], True),
        (("a",), 0, ["a", "b"], False),
        ((), 0, None, False),
        (True, 0, True, True),
    ],
)
def test_an_expected_value_is_met(value: Any, places: int, got: object, right: bool) -> None:
    assert matches(Expected("t", None, value, "", places), got) is right  # type: ignore[arg-type]
