"""What value sets come to, from each of their sources. What is refused stands in fixtures/refused/value_sets.txt."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from cdp.errors import ProjectError
from cdp.governance.facts import codes_of
from cdp.project.codes import json_text
from cdp.project.codes.code_tables import Hierarchy
from cdp.project.codes.reviews import fingerprint
from cdp.project.load import load
from cdp.project.problems import Problems
from cdp.spec.model import Codes
from tests.projects import FILES, minimal, review

SNOMED, LOINC = "http://snomed.info/sct", "http://loinc.org"


def members(tmp_path: Path, document: str, **files: str) -> dict[str, list[str]]:
    """The members of the value set `it`, by system. `files` stand beside it: `a_csv` is a.csv."""
    beside = {f"models/{name.replace('_', '.')}": text for name, text in files.items()}
    project = load(minimal(tmp_path, **{"models/sets.yml": document, **beside}))
    return {part.system: list(part.codes) for part in project.value_sets["it"].members}


def resource(**parts: Any) -> str:
    return json.dumps({"resourceType": "ValueSet", **parts})


def concepts(*codes: str, system: str = SNOMED, **more: Any) -> dict[str, Any]:
    return {"system": system, "concept": [{"code": code} for code in codes], **more}


FHIR = "kind: value_set\nname: it\nfile: it.json\n"


# -- YAML and CSV -----------------------------------------------------------------------------------------------------


def test_sources_add_up_and_exclude_takes_away_last(tmp_path: Path) -> None:
    document = """\
    kind: value_set
    name: it
    system: SNOMED
    codes: [1, 2, 2]
    file: more.csv
    include: [labs, others]
    exclude: without
    ---
    {kind: value_set, name: labs, system: LOINC, codes: [1, 4548-4]}
    ---
    {kind: value_set, name: others, system: SNOMED, codes: [5, 6]}
    ---
    {kind: value_set, name: without, system: SNOMED, codes: [1, 3, 6]}
    """
    found = members(tmp_path, document, more_csv="code\n3\n4\n")
    assert found == {"SNOMED": ["2", "4", "5"], "LOINC": ["1", "4548-4"]}, "a code counts with its system"


def test_a_csv_may_name_the_system_of_each_code(tmp_path: Path) -> None:
    text = f'display,System,CODE\na,{SNOMED},1\nb,LN,"2,5"\nc,SNOMED-CT,08\nd,, 9 \n'
    document = "kind: value_set\nname: it\nsystem: LOINC\nfile: it.csv\n"
    assert members(tmp_path, document, it_csv=text) == {"SNOMED": ["1", "08"], "LOINC": ["2,5", "9"]}


def test_a_branch_of_a_hierarchy(tmp_path: Path) -> None:
    edges = "child,parent,kind\n2,1,is-a\n3,1,is-a\n4,2,is-a\n4,3,is-a\n6,5,is-a\n1,4,is-a\n"  # 1 and 4 in a circle
    document = "kind: value_set\nname: it\nsystem: SNOMED\ndescendants_of: 2\nhierarchy: edges.csv\n"
    assert members(tmp_path, document, edges_csv=edges) == {"SNOMED": ["2", "4", "1", "3"]}


def test_branches_meet_and_a_leaf_is_a_branch(tmp_path: Path) -> None:
    document = "kind: value_set\nname: it\nsystem: SNOMED\ndescendants_of: [2, 4]\nhierarchy: edges.csv\ncodes: [9]\n"
    assert members(tmp_path, document, edges_csv="child,parent\n4,2\n5,2\n") == {"SNOMED": ["9", "2", "4", "5"]}


def test_a_hierarchy_is_walked_in_a_time_that_grows_with_it() -> None:
    size = 200_000
    chain = Hierarchy({str(n): [str(n + 1), "0"] for n in range(size)} | {str(size): []})
    assert sum(1 for _ in chain.branch(["0"])) == size + 1


# -- FHIR -------------------------------------------------------------------------------------------------------------

COMPOSED: dict[str, tuple[dict[str, Any], dict[str, list[str]]]] = {
    "concepts of two systems": (
        {"include": [concepts("1", "2"), concepts("4548-4", system=LOINC)]},
        {"SNOMED": ["1", "2"], "LOINC": ["4548-4"]},
    ),
    "a version of the system": ({"include": [concepts("1", version="http://snomed.info/sct/731000124108")]}, {"SNOMED": ["1"]}),
    "what is excluded": ({"include": [concepts("1", "2", "3")], "exclude": [concepts("2", "9")]}, {"SNOMED": ["1", "3"]}),
    "another value set": ({"include": [{"valueSet": ["http://example.org/other"]}]}, {"SNOMED": ["2", "3"], "LOINC": ["7"]}),
    "another by its version": ({"include": [{"valueSet": ["http://example.org/other|2.0"]}]}, {"SNOMED": ["2", "3"], "LOINC": ["7"]}),
    "another by its OID": ({"include": [{"valueSet": ["urn:oid:1.2.3"]}]}, {"SNOMED": ["2", "3"], "LOINC": ["7"]}),
    "two others": (
        {"include": [{"valueSet": ["http://example.org/other"]}, {"valueSet": ["http://example.org/nested"]}]},
        {"SNOMED": ["2", "3", "5"], "LOINC": ["7"]},
    ),
    "codes of a system in another": ({"include": [{"system": LOINC, "valueSet": ["http://example.org/other"]}]}, {"LOINC": ["7"]}),
    "concepts that are in another": ({"include": [concepts("1", "2", valueSet=["http://example.org/other"])]}, {"SNOMED": ["2"]}),
    "less another": (
        {"include": [concepts("1", "2", "3", "5")], "exclude": [{"valueSet": ["http://example.org/nested"]}]},
        {"SNOMED": ["1", "2"]},
    ),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_a_fhir_compose(tmp_path: Path, name: str) -> None:
    compose, expected = COMPOSED[name]
    other = {"include": [concepts("2", "3"), concepts("7", system=LOINC)]}
    nested = {
        "include": [concepts("5"), {"valueSet": ["http://example.org/other"]}],
        "exclude": [concepts("7", system=LOINC), concepts("2")],
    }
    found = members(
        tmp_path,
        f"{FHIR}---\n{{kind: value_set, name: other, file: other.json}}\n---\n{{kind: value_set, name: nested, file: nested.json}}\n",
        it_json=resource(url="http://example.org/it", compose=compose),
        other_json=resource(url="http://example.org/other", version="2.0", identifier=[{"value": "urn:oid:1.2.3"}], compose=other),
        nested_json=resource(url="http://example.org/nested", compose=nested),
    )
    assert {system: set(codes) for system, codes in found.items()} == {system: set(codes) for system, codes in expected.items()}


def test_a_fhir_expansion_counts_before_its_compose(tmp_path: Path) -> None:
    contains = [
        {"system": SNOMED, "code": "1"},
        {"display": "a heading", "abstract": True, "contains": [{"system": SNOMED, "code": "2", "inactive": True}]},
        {"system": SNOMED, "code": "3", "abstract": True},
        {"display": "no code", "contains": [{"system": SNOMED, "code": "4", "contains": [{"system": LOINC, "code": "5"}]}]},
    ]
    filtered = {"include": [{"system": SNOMED, "filter": [{"property": "concept", "op": "is-a", "value": "1"}]}]}
    text = resource(compose=filtered, expansion={"total": 7, "timestamp": "2026-01-01", "contains": contains})
    found = members(tmp_path, FHIR, it_json=text)
    assert {system: sorted(codes) for system, codes in found.items()} == {"SNOMED": ["1", "2", "4"], "LOINC": ["5"]}


def test_a_fhir_value_set_and_codes_of_the_yaml(tmp_path: Path) -> None:
    document = FHIR + "system: LOINC\ncodes: [9]\nexclude: [less]\n---\n{kind: value_set, name: less, system: SNOMED, codes: [1]}\n"
    found = members(tmp_path, document, it_json=resource(compose={"include": [concepts("1", "2")]}))
    assert found == {"LOINC": ["9"], "SNOMED": ["2"]}


def test_a_reference_means_the_resource_and_not_what_the_yaml_adds_to_it(tmp_path: Path) -> None:
    document = FHIR + "---\n{kind: value_set, name: other, file: other.json, system: SNOMED, codes: [9]}\n"
    files = {
        "it_json": resource(compose={"include": [{"valueSet": ["urn:other"]}]}),
        "other_json": resource(url="urn:other", compose={"include": [concepts("1")]}),
    }
    assert members(tmp_path, document, **files) == {"SNOMED": ["1"]}


def test_a_file_of_mistakes_is_read_to_the_twentieth(tmp_path: Path) -> None:
    text = resource(compose={"include": [{"system": SNOMED, "concept": [{"code": n} for n in range(500)]}]})
    with pytest.raises(ProjectError) as caught:
        members(tmp_path, FHIR, it_json=text)
    assert len(caught.value.problems) == 20


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 100_000, "nested too deep"),
        ('{"a": NaN}', "a number that is none"),
        ('{"a": 1} x', "extra data"),
        ("", "expecting value"),
        ('{"a": "\n"}', "invalid control character"),
    ],
)
def test_what_is_no_json_is_said_with_its_place(text: str, says: str) -> None:
    problems = Problems()
    assert json_text.read(text, "a.json", problems) is None
    with pytest.raises(ProjectError, match=f"a.json:1:[0-9]+: not JSON: {says}"):
        problems.raise_if_any()


def test_places_in_json() -> None:
    text = '{ "a" : [1, {"b,]": "}"},\n  [] , {"c": [true , null]}],\n "d": {}}'
    assert json_text.place(text, ("a",)) == (1, 9)
    assert json_text.place(text, ("a", 1, "b,]")) == (1, 21)
    assert json_text.place(text, ("a", 3, "c", 1)) == (2, 22)
    assert json_text.place(text, ("d",)) == (3, 7)
    assert json_text.place(text, ("a", 9)) == (1, 9), "the nearest part that is there"
    assert json_text.place(text, ("d", "x", 0)) == (3, 7)


# -- time -------------------------------------------------------------------------------------------------------------


def test_a_hundred_thousand_codes_load_in_time(tmp_path: Path) -> None:
    many = range(100_000)
    files = {
        "models/sets.yml": f"{FHIR}---\n{{kind: value_set, name: csv, system: SNOMED, file: csv.csv}}\n---\n"
        "{kind: value_set, name: tree, system: SNOMED, descendants_of: 0, hierarchy: tree.csv}\n---\n"
        "{kind: value_set, name: all, include: [it, csv, tree], exclude: less}\n---\n"
        "{kind: value_set, name: less, system: SNOMED, codes: [7]}\n",
        "models/it.json": resource(compose={"include": [concepts(*map(str, many))]}),
        "models/csv.csv": "code,display\n" + "".join(f"{n},what {n} means\n" for n in many),
        "models/tree.csv": "child,parent\n" + "".join(f"{n},{n // 2}\n" for n in many if n),
    }
    root = minimal(tmp_path, **files)
    started = time.process_time()
    found = load(root).value_sets["all"].members
    assert time.process_time() - started < 2
    assert [len(part.codes) for part in found] == [99_999]


# -- reviews ----------------------------------------------------------------------------------------------------------

SETS = "{kind: value_set, name: it, system: SNOMED, codes: [1]}\n---\n{kind: value_set, name: other, system: SNOMED, codes: [2]}\n"
REVIEW = "kind: value_sets\nvalue_sets:\n" + review("it", "none", SNOMED=("1",))


def test_a_set_without_a_review_is_warned_of_where_one_would_narrow(tmp_path: Path) -> None:
    coded = FILES["models/patient.yml"].replace("class: demographic.state}", "class: demographic.state, may_hold: sensitive.sud}")
    files = {"models/sets.yml": SETS, "governance/value_sets.yml": REVIEW}
    warned = [w.message for w in load(minimal(tmp_path, **files, **{"models/patient.yml": coded})).warnings if "reviewed" in w.message]
    assert warned == ["nobody has reviewed value set other: comparing with it tells all that the column may hold"]
    assert not [w for w in load(minimal(tmp_path / "plain", **files)).warnings if "reviewed" in w.message]


def test_a_code_that_also_stands_in_a_set_nobody_reviewed_is_not_reviewed(tmp_path: Path) -> None:
    """Comparisons are narrowed by the text of a code alone, so that any system of any set counts."""
    more = """---
{kind: value_set, name: made, include: [it, other], exclude: [less]}
---
{kind: value_set, name: less, system: LOINC, codes: [2]}
---
{kind: value_set, name: last, system: LOINC, codes: [3, 4], include: it}
"""
    reviews = REVIEW + review("made", "sensitive.sud", SNOMED=("2", "1")) + review("last", "sensitive.sud", LOINC=("3", "4"), SNOMED=("1",))
    codes = codes_of(load(minimal(tmp_path, **{"models/sets.yml": SETS + more, "governance/value_sets.yml": reviews})))
    assert codes == {"1": {"sensitive.sud"}, "3": {"sensitive.sud"}, "4": {"sensitive.sud"}}, "2 stands in two that nobody reviewed"


def fingerprint_in(tmp_path: Path, sets: str, **files: str) -> str:
    found = load(minimal(tmp_path, **{"models/sets.yml": sets, **files})).value_sets["it"]
    return fingerprint(found.members)


def test_the_fingerprint_is_of_the_codes_wherever_they_come_from(tmp_path: Path) -> None:
    """A list of the YAML, a CSV, a FHIR ValueSet, a branch of a hierarchy and a list of lists; in any order; but not of another system."""
    sources = {
        "yaml": ("{kind: value_set, name: it, system: SNOMED, codes: [1, 2, 3]}", {}),
        "order": ("{kind: value_set, name: it, system: SNOMED, codes: [3, 1, 2, 2]}", {}),
        "csv": ("{kind: value_set, name: it, system: SNOMED, file: x.csv}", {"models/x.csv": "code\n2\n3\n1\n"}),
        "fhir": ("{kind: value_set, name: it, file: x.json}", {"models/x.json": resource(compose={"include": [concepts("3", "2", "1")]})}),
        "branch": (
            "{kind: value_set, name: it, system: SNOMED, descendants_of: 1, hierarchy: x.csv}",
            {"models/x.csv": "child,parent\n2,1\n3,2\n"},
        ),
        "made": (
            "{kind: value_set, name: it, system: SNOMED, codes: [3, 4], include: a, exclude: b}\n---\n"
            "{kind: value_set, name: a, system: SNOMED, codes: [1, 2]}\n---\n{kind: value_set, name: b, system: SNOMED, codes: [4]}",
            {},
        ),
    }  # fmt: skip
    prints = {name: fingerprint_in(tmp_path / name, sets, **files) for name, (sets, files) in sources.items()}
    assert set(prints.values()) == {prints["yaml"]}
    assert fingerprint_in(tmp_path / "other", "{kind: value_set, name: it, system: LOINC, codes: [1, 2, 3]}") != prints["yaml"]
    assert fingerprint_in(tmp_path / "more", "{kind: value_set, name: it, system: SNOMED, codes: [1, 2, 3, 4]}") != prints["yaml"]


def test_codes_of_two_systems_do_not_run_into_each_other() -> None:
    assert fingerprint([Codes(system="A", codes=("1", "2"))]) != fingerprint(
        [Codes(system="A", codes=("1",)), Codes(system="B", codes=("2",))]
    )
    assert fingerprint([Codes(system="A", codes=('1", "B',))]) != fingerprint([Codes(system="A", codes=("1", "B"))])


@pytest.mark.parametrize(
    ("reviewed", "says"),
    [
        ("it: {class: none, reviewed: {by: Ann, on: 2026-01-20}}", "the review does not say of which codes it is, so it is one of none"),
        (
            "it: {class: none, reviewed: {by: Ann, on: 2026-01-20, sha256: 00}}",
            "the codes are others than 'Ann' reviewed on 2026-01-20, so they are not reviewed",
        ),
    ],
)
def test_a_review_of_other_codes_is_none_and_the_warning_gives_the_line_to_write(tmp_path: Path, reviewed: str, says: str) -> None:
    reviews = f"kind: value_sets\nvalue_sets:\n  {reviewed}\n"
    project = load(minimal(tmp_path / "a", **{"models/sets.yml": SETS, "governance/value_sets.yml": reviews}))
    (warning,) = [warning for warning in project.warnings if warning.file == "governance/value_sets.yml"]
    assert warning.message == says
    assert codes_of(project) == {}
    sha256 = warning.hint.partition("write sha256: ")[2]
    mended = f"kind: value_sets\nvalue_sets:\n  it: {{class: none, reviewed: {{by: Ann, on: 2026-01-20, sha256: {sha256}}}}}\n"
    assert codes_of(load(minimal(tmp_path / "b", **{"models/sets.yml": SETS, "governance/value_sets.yml": mended}))) == {"1": frozenset()}
