"""What `cdp test` makes without an engine: rows that pass an entity's own `where`, boundary cases, tests as text, JUnit."""

from __future__ import annotations

import datetime as dt
import xml.etree.ElementTree as ET
from decimal import Decimal
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from cdp.analyst.trials.boundary_cases import boundary_cases
from cdp.analyst.trials.junit import junit
from cdp.analyst.trials.outcomes import Outcome, Results, Status
from cdp.analyst.trials.test_text import appended, flow
from cdp.compile.clock import Clock
from cdp.errors import UsageError
from cdp.project.load import Project, load
from cdp.project.problems import Problems
from cdp.project.source import Document, read
from cdp.project.terms import ColumnRef, Compare, Condition, Every, InWindow, IsNull, Negation, OneOf, Some, Window
from cdp.project.trials import Case
from cdp.project.trials.fixtures import Fixture
from cdp.project.trials.passing import passing
from tests.language_world import clinic, segment

# -- rows that pass -------------------------------------------------------------------------------------------------------

STATUS = ColumnRef((), "observation", "status", "string")
AMOUNT = ColumnRef((), "observation", "amount", "decimal")
SEEN = ColumnRef((), "observation", "seen", "date")
KEPT = OneOf(STATUS, ("final", "amended"), "string")


@pytest.mark.parametrize(
    ("term", "given", "found"),
    [
        (KEPT, {}, {"status": "final"}),
        (KEPT, {"status": "amended"}, {}),
        (KEPT, {"status": "draft"}, {}),  # the row is meant to be dropped
        (Negation(KEPT), {}, {"status": None}),
        (Every((Negation(KEPT), Negation(IsNull(STATUS)))), {}, {"status": "other"}),
        (Every((KEPT, Compare(AMOUNT, "gt", Decimal(5), "decimal"))), {}, {"status": "final", "amount": Decimal(6)}),
        (Every((KEPT, Compare(AMOUNT, "lt", Decimal(5), "decimal"))), {"status": "draft"}, {"amount": Decimal(4)}),
        (Some((KEPT, IsNull(AMOUNT))), {"status": "draft"}, {"amount": None}),
        (Some((KEPT, IsNull(AMOUNT))), {"amount": Decimal(1)}, {"status": "final"}),
        (Compare(SEEN, "ne", dt.date(2026, 1, 1), "date"), {}, {"seen": dt.date(2025, 12, 31)}),
        (Compare(STATUS, "starts_with", "fin", "string"), {}, {"status": "fin"}),
        (IsNull(STATUS), {}, {"status": None}),
        (InWindow(SEEN, Window(None, None), "date"), {}, None),  # the day of the test would decide
        (Every((IsNull(STATUS), Negation(IsNull(STATUS)))), {}, None),
    ],
)
def test_a_row_passes(term: Condition, given: dict[str, object], found: dict[str, object] | None) -> None:
    assert passing(term, given) == found


# -- boundary cases -------------------------------------------------------------------------------------------------------


def generated(tmp_path: Path, where: str, **about: str) -> dict[str, Any]:
    """The test that is generated for a segment, read back; it also loads where it is appended."""
    root = clinic(tmp_path, **{"models/asked.yml": segment(where), **about})
    project = load(root)
    draft = boundary_cases(project, "asked", Clock.parse("2026-07-01", project.timezone))
    document = project.sources["segment", "asked"]
    path = root / document.file
    path.write_text(appended(path.read_text(), document, draft.text))
    (test,) = load(root).segments["asked"].tests
    assert all(case["status"] == "pending" and "expect" not in case for case in test["cases"])
    named = {f"{case['name']} ({number})" if number else case["name"]: _rest(case) for number, case in enumerate(test["cases"])}
    return {"given": test.get("given"), "notes": draft.notes, **named}


def _rest(case: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in case.items() if name not in ("name", "status")}


def test_an_age_has_the_days_around_each_birthday(tmp_path: Path) -> None:
    test = generated(tmp_path, "{age: {between: [18, 75]}}")
    born = [case["birth_date"] for name, case in test.items() if name.startswith("patient.birth_date")]
    assert test["given"] == {"birth_date": "2008-06-30"}
    assert born == ["2008-07-01", "2008-07-02", "1950-06-30", "1950-07-01", "1950-07-02", None]


def test_a_window_has_the_days_around_both_ends_and_no_day(tmp_path: Path) -> None:
    test = generated(tmp_path, "{has: fills, within: {days: [30, 90]}}")
    days = [case["fills"][0]["filled_on"] for name, case in test.items() if name.startswith("fill.filled_on")]
    assert days == ["2026-04-01", "2026-04-02", "2026-04-03", "2026-05-31", "2026-06-01", "2026-06-02", None]
    assert {"fills": []} in test.values()


def test_an_interval_also_ends_around_the_windows_first_day(tmp_path: Path) -> None:
    test = generated(tmp_path, "{has: conditions, within: {days: 10}}")
    ends = [case["conditions"][0]["abated"] for name, case in test.items() if name.startswith("condition.abated")]
    assert ends == ["2026-06-20", "2026-06-21", "2026-06-22"]


def test_a_value_set_has_another_code_and_other_systems(tmp_path: Path) -> None:
    test = generated(tmp_path, "{has: conditions, where: {code: {in: diabetes}}}")
    assert [case["conditions"][0] for name, case in test.items() if name.startswith("condition.code")] == [
        {"onset": "2026-07-01", "code": "other"},
        {"onset": "2026-07-01", "code": None},
        {"onset": "2026-07-01", "code": "44054006", "code_system": "other"},
        {"onset": "2026-07-01", "code": "44054006", "code_system": None},
    ]


def test_a_quantity_has_its_neighbours_null_and_no_unit_and_so_in_a_unit_that_converts(tmp_path: Path) -> None:
    test = generated(tmp_path, "{latest: observations, where: {code: {in: glucose}}, is: {value: {gte: 100 mg/dL}}}")
    assert test["given"]["observations"][0]["value"] == "100 mg/dL"
    rows = [case["observations"][0] for name, case in test.items() if name.startswith(("observation.value", "observation.unit"))]
    said = [(row["value"], row.get("unit", "")) for row in rows]
    assert said[:4] == [("99.9 mg/dL", ""), ("100.1 mg/dL", ""), (None, ""), ("100", None)]
    assert [value for value, _ in said[4:]] == ["5.545071 mmol/L", "5.556172 mmol/L", "5.550622"]  # 99.9 and 100.1 over 18.016


def test_a_count_has_one_too_few_as_many_and_one_more(tmp_path: Path) -> None:
    test = generated(tmp_path, "{count: encounters, within: {months: 6}, distinct: day, is: {gte: 3}}")
    assert len(test["given"]["encounters"]) == 3
    found = {name: case["encounters"] for name, case in test.items() if name.startswith("encounters, ")}
    assert [len(rows) for rows in found.values()] == [2, 4, 3]
    (same_day,) = [rows for name, rows in found.items() if "on the same day" in name]
    assert len({row["start"] for row in same_day}) == 1


def test_doses_apart_are_also_tried_a_day_too_close(tmp_path: Path) -> None:
    test = generated(tmp_path, "{count: fills, spaced: {days: 28}, is: {gte: 2}}")
    (close,) = [case["fills"] for name, case in test.items() if "27 days apart" in name]
    days = [dt.date.fromisoformat(row["filled_on"]) for row in close]
    assert (days[0] - days[1]).days == 27


def test_what_is_excluded_is_tried_at_its_edges(tmp_path: Path) -> None:
    test = generated(tmp_path, "[{age: {gte: 18}}, {lacks: observations, where: {code: {in: glucose}}, within: {months: 6}}]")
    assert test["given"] == {"birth_date": "2008-06-30"}
    dates = [case["observations"][0]["date"] for name, case in test.items() if name.startswith("observation.date")]
    assert {"2025-12-31", "2026-01-01", "2026-01-02", "2026-07-02", None} <= set(dates)


def test_each_branch_of_an_any_is_tried(tmp_path: Path) -> None:
    test = generated(tmp_path, "{any: [{sex: female}, {doses: {gte: 2}}]}")
    assert test["given"] == {"sex": "female"}
    assert [case for name, case in test.items() if name.startswith("branch 2 of an any")] == [{"sex": None, "doses": "2"}]
    assert {"sex": None, "doses": "1"} in test.values()


def test_a_window_after_another_event_counts_from_the_drafts_own(tmp_path: Path) -> None:
    where = """
    has: encounters
    as: stay
    where:
      - end: {within: {days: [15, 45]}}
      - {lacks: patient.encounters, within: {days: [1, 14], after: stay.end}}
    """
    test = generated(tmp_path, where)
    (stay,) = test["given"]["encounters"]
    end = dt.date.fromisoformat(stay["end"])
    starts = {case["encounters"][1]["start"] for case in test.values() if isinstance(case, dict) and len(case.get("encounters", ())) == 2}
    assert {(end + dt.timedelta(days=days)).isoformat() for days in (0, 1, 2, 13, 14, 15)} <= starts


def test_rows_compared_with_each_other(tmp_path: Path) -> None:
    where = """
    has: fills
    as: bought
    where: {has: drug.equivalents, where: {on_formulary: true, unit_cost: {lt: {ref: bought.drug.unit_cost}}}}
    """
    test = generated(tmp_path, where)
    drugs = [case["fills"][0]["drug"] for case in test.values() if isinstance(case, dict) and case.get("fills")]
    costs = {(drug["unit_cost"], row["unit_cost"]) for drug in drugs for row in drug["equivalents"]}
    assert costs >= {("10", "9.9"), ("10", "10"), ("10", "10.1"), ("10", None), (None, "9.9")}


def test_what_cannot_be_made_up_is_said(tmp_path: Path) -> None:
    test = generated(tmp_path, "{has: readings, where: {low: {lt: 70 mg/dL}}}")
    assert test["notes"] == ("not made up, write it by hand: rows of reading, which are computed",)


@pytest.mark.parametrize("name", ["fewer_than", "written"])
def test_nothing_is_derived_from_a_template_or_a_select(tmp_path: Path, name: str) -> None:
    about = "kind: segment\nname: written\nentity: patient\nowner: o@example.org\npurpose: care_coordination\n"
    written = f"{about}sql: SELECT patient_id FROM patient\n"
    project: Project = load(clinic(tmp_path, **{"models/written.yml": written}))
    with pytest.raises(UsageError, match="no boundaries can be derived from it"):
        boundary_cases(project, name, Clock.parse("2026-07-01", "UTC"))


# -- tests as text --------------------------------------------------------------------------------------------------------


def parsed(text: str, tmp_path: Path) -> Document:
    problems = Problems()
    path = tmp_path / "x.yml"
    path.write_text(text)
    documents = read(path, tmp_path, problems)
    problems.raise_if_any()
    return documents[-1]


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        "a: b",
        "a #b",
        "%",
        "9.1 %",
        "-5",
        "- x",
        "null",
        "~",
        "",
        "yes",
        "[x]",
        "{x}",
        'say "no"',
        "back\\slash",
        "a,b",
        "*x",
        "&x",
        "!x",
        "x:",
        "2026-01-02T23:30",
        "08",
        "it's",
        " x",
        "x ",
        "line\nbreak",
        "tab\there",
        "ünï",
        "a: ",
        "@x",
        "`x",
        "?",
        "|",
        ">",
        "=",
        "<<",
        "$x",
        "1_000",
    ],
)
def test_a_text_comes_back_as_it_is(value: str, tmp_path: Path) -> None:
    document = parsed(f"x: {flow({'a': [value, None, True], 'b': value})}\n", tmp_path)
    assert document.tree["x"] == {"a": [value, None, "true"], "b": value}
    assert document.tree["x"]["a"][0] is not None


HEAD = "# a comment\nkind: segment # here\nname: one   # and here\nwhere: {sex: female}\n"
TEST = "- name: new\n  as_of: 2026-07-01\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (HEAD, HEAD + "tests:\n" + indent(TEST, "  ")),
        (HEAD.rstrip("\n"), HEAD + "tests:\n" + indent(TEST, "  ")),
        (HEAD + "\n\n# the end\n", HEAD + "tests:\n" + indent(TEST, "  ") + "\n\n# the end\n"),
        (
            HEAD + "tests:\n  - name: old\n    as_of: 2026-01-01\n",
            HEAD + "tests:\n  - name: old\n    as_of: 2026-01-01\n" + indent(TEST, "  "),
        ),
        (HEAD + "tests:\n- name: old\n", HEAD + "tests:\n- name: old\n" + TEST),
        (HEAD + "tests:\n  - name: old\n\nowner: x\n", HEAD + "tests:\n  - name: old\n" + indent(TEST, "  ") + "\nowner: x\n"),
    ],
)
def test_a_test_is_appended_and_all_else_stays(before: str, after: str, tmp_path: Path) -> None:
    assert appended(before, parsed(before, tmp_path), TEST) == after


def test_only_its_own_document_of_a_file_is_changed(tmp_path: Path) -> None:
    text = f"{HEAD}---\nkind: segment\nname: two\n# last\n---\nkind: segment\nname: three\n"
    problems = Problems()
    (tmp_path / "x.yml").write_text(text)
    second = read(tmp_path / "x.yml", tmp_path, problems)[1]
    assert appended(text, second, TEST) == text.replace("name: two\n", "name: two\ntests:\n" + indent(TEST, "  "))


@pytest.mark.parametrize("text", ["{kind: segment, name: one}\n", f"{HEAD}tests: [{{name: old}}]\n", f"{HEAD}tests: []\n"])
def test_what_stands_in_one_line_is_not_touched(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing can be added to it"):
        appended(text, parsed(text, tmp_path), TEST)


# -- JUnit ----------------------------------------------------------------------------------------------------------------

# The common schema: github.com/jenkinsci/xunit-plugin, junit-10.xsd; by element its attributes, those required first, and its parts.
ELEMENTS: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors", "disabled"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests"},
        {
            "failures",
            "errors",
            "time",
            "disabled",
            "skipped",
            "timestamp",
            "hostname",
            "id",
            "package",
            "file",
            "group",
            "log",
            "url",
            "version",
        },
        {"properties", "testcase", "system-out", "system-err"},
    ),
    "testcase": (
        {"name"},
        {"assertions", "time", "classname", "status", "class", "file", "line", "score", "group"},
        {"skipped", "error", "failure"},
    ),
    "failure": (set(), {"type", "message"}, set()),
    "error": (set(), {"type", "message"}, set()),
}


def outcome(status: Status, subject: str = "one", **more: Any) -> Outcome:
    row = Fixture("patient", {}, {})
    case = Case(
        "segment", subject, "patient", "a <test> & more", "case 1", "models/x.yml", 7, "2026-07-01", row, True, (), status == "pending"
    )
    return Outcome(case, status, **more)


def test_junit_follows_the_common_schema() -> None:
    found = Results(
        (
            outcome("passed", member=True),
            outcome("failed", member=False, tree=("✗ age 18 to 75", "\x00\x1b[0m"), rows=("patient: sex female",)),
            outcome("pending"),
            outcome("error", "two", error="the tests: a declared column is not in the table"),
        ),
        1.5,
    )
    root = ET.fromstring(junit(found))
    for element in root.iter():
        required, optional, parts = ELEMENTS[element.tag]
        assert required <= set(element.attrib) <= required | optional
        assert {part.tag for part in element} <= parts
    assert root.attrib == {"name": "cdp test", "tests": "4", "failures": "2", "errors": "1", "time": "1.500"}
    one, two = root
    assert (one.attrib["tests"], one.attrib["failures"], one.attrib["errors"], two.attrib["errors"]) == ("3", "2", "0", "1")
    failed = one[1]
    assert (failed.attrib["classname"], failed.attrib["file"], failed.attrib["line"]) == ("segment.one", "models/x.yml", "7")
    assert failed.attrib["name"] == "a <test> & more, case 1"
    assert failed[0].attrib == {"message": "expected in, got out", "type": "failed"}
    assert "✗ age 18 to 75" in str(failed[0].text)
    assert "patient: sex female" in str(failed[0].text)
    assert [len(case) for case in one] == [0, 1, 1]
    assert two[0][0].tag == "error"


def test_junit_of_no_tests_is_valid() -> None:
    assert ET.fromstring(junit(Results((), 0.0))).attrib["tests"] == "0"
