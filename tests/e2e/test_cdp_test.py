"""`cdp test` as an analyst uses it, on the example project."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.e2e.conftest import Cdp
from tests.repositories import commit, edit

AS_OF = ("--as-of", "2026-07-02")
TRIED = """\
# A comment that stays.
kind: segment
name: tried
entity: patient
owner: care-management@example.org
purpose: care_coordination
where:                                  # and this one
  - age: {gte: 18}
  - has: conditions
    where: {code: {in: diabetes}}
  - not: {segment: tested}
tests:
  - name: six months, and a day more
    as_of: 2026-07-02
    given: {birth_date: 1970-05-01, conditions: [{code: 44054006, onset: 2025-09-01}]}
    cases:
      - {observations: [{code: 4548-4, date: 2026-01-02}], expect: out}
      - {observations: [{code: 4548-4, date: 2026-01-01}], expect: {in: true, last_test.date: 2026-01-01}}
---
kind: segment
name: tested
entity: patient
owner: care-management@example.org
purpose: care_coordination
where: {has: observations, where: {code: {in: hba1c}}, within: {months: 6}}
tests:
  - {as_of: 2026-07-02, expect: out}
---
{kind: trait, name: last_test, entity: patient, latest: observations, where: {code: {in: hba1c}}}
"""


@pytest.fixture
def tried(project: Path) -> Path:
    """A programme with tests in the example project."""
    path = project / "models/tried.yml"
    path.write_text(TRIED)
    return path


def test_the_examples_own_tests_pass_without_a_lakehouse(project: Path, cdp: Cdp) -> None:
    edit(project / "conf/cdp.yml", "lakehouse: lake", "lakehouse: nowhere")
    said = cdp("test")
    assert (said.code, said.err) == (0, "")
    assert "✓ a1c_overdue" in said.out
    assert said.out.splitlines()[-1].split(" passed, ")[1].startswith("0 failed in ")
    assert max(map(len, said.out.splitlines())) <= 100


def test_a_failure_shows_what_was_expected_why_and_on_which_rows(tried: Path, cdp: Cdp) -> None:
    edit(tried, "date: 2026-01-02}], expect: out", "date: 2026-01-02}], expect: in")
    said = cdp("test", "tried")
    assert said.code == 1
    heading, *rest = said.out.splitlines()
    assert heading.split() == ["✗", "tried", "1", "of", "2"]
    assert rest[0] == "  ✗ six months, and a day more, case 1  (models/tried.yml:17, as of 2026-07-02)"
    assert rest[1].strip() == "expected in, got out"
    assert [line.strip()[0] for line in rest[3:8]] == ["✗", "✓", "✓", "✗", "✓"]
    assert "      patient: birth_date 1970-05-01" in rest
    assert "        observations: code 4548-4, code_system LOINC, date 2026-01-02" in "\n".join(rest)
    assert rest[-1].startswith("1 passed, 1 failed in ")


def test_json_and_junit(tried: Path, cdp: Cdp, tmp_path: Path) -> None:
    edit(tried, "date: 2026-01-02}], expect: out", "date: 2026-01-02}], expect: {in: true, last_test: null}")
    said = cdp("test", "tried", "--json", "--junit", str(tmp_path / "tests.xml"))
    assert said.code == 1
    assert {name: said.json[name] for name in ("passed", "failed", "pending")} == {"passed": 1, "failed": 1, "pending": 0}
    wrong, right = said.json["cases"]
    assert (wrong["kind"], wrong["name"], wrong["status"], wrong["file"], wrong["line"]) == (
        "segment",
        "tried",
        "failed",
        "models/tried.yml",
        17,
    )
    assert (wrong["expected"], wrong["got"]) == ({"in": True, "last_test": None}, {"in": False, "last_test": "a row"})
    assert (bool(wrong["tree"]), bool(wrong["rows"]), right["tree"], right["got"]["in"]) == (True, True, [], True)
    suites = ET.parse(tmp_path / "tests.xml").getroot()
    assert (suites.attrib["tests"], suites.attrib["failures"]) == ("2", "1")


def test_boundary_cases_wait_until_somebody_fills_them_in(tried: Path, cdp: Cdp) -> None:
    said = cdp("test", "--generate", "tried", *AS_OF)
    assert (said.code, said.err, tried.read_text()) == (0, "", TRIED)
    assert said.out.startswith("- name: boundaries\n  as_of: 2026-07-02\n")
    assert cdp("test", "--generate", "tried", "--write", *AS_OF).out == "wrote to models/tried.yml\n"
    written = tried.read_text()
    assert written.replace("".join(f"  {line}\n" for line in said.out.splitlines()), "") == TRIED
    said = cdp("test", "tried")
    assert said.code == 1
    assert "? boundaries, as given" in said.out
    assert "pending: say what is expected" in said.out
    tried.write_text(written.replace("{name: as given, status: pending}", "{name: as given, expect: in}"))
    again = cdp("test", "tried", "--json").json
    assert (again["passed"], again["failed"], again["pending"] >= 8) == (3, 0, True)


def test_a_case_of_a_member_tells_nobody_who_it_is(tried: Path, cdp: Cdp) -> None:
    key = cdp("preview", "tried", "--sample", "5", "--role", "privacy", "--json").json["samples"][0]["rows"][0]["patient_id"]
    refused = cdp("test", "tried", "--from", key)
    assert (refused.code, key in refused.err, "--role NAME" in refused.err) == (1, False, True)
    said = cdp("test", "tried", "--from", key, "--role", "analyst", "--write")
    assert (said.code, key in said.out + said.err) == (0, False)
    assert "look it through before you share it" in said.err
    assert key not in tried.read_text()
    assert "expect: in" in tried.read_text().split("made of a member, de-identified")[1]
    assert cdp("test", "tried").out.splitlines()[-1].startswith("3 passed, 0 failed")


def test_only_what_a_change_can_have_touched(project: Path, tried: Path, cdp: Cdp) -> None:
    commit(project)
    assert cdp("test", "--changed-since", "HEAD").out == "no tests; `cdp test --generate SEGMENT` prints some to begin with\n"
    edit(tried, "within: {months: 6}", "within: {days: 180}")
    said = cdp("test", "--changed-since", "HEAD", "--json")
    assert {case["name"] for case in said.json["cases"]} == {"tried", "tested"}
    assert said.code == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "there is no segment or trait named 'nothing'"),
        (["--generate", "trie"], "did you mean tried?"),
        (["--write"], "--write belongs to --generate and --from"),
        (["--from", "x"], "--from makes a case of one segment"),
        (["tried", "--from", "x", "--generate", "tried"], "make two different tests"),
        (["tried", "--from", "x", "--role", "nobody"], "there is no role named nobody"),
    ],
)
def test_called_wrongly(tried: Path, cdp: Cdp, words: list[str], said: str) -> None:
    wrong = cdp("test", *words)
    assert (wrong.code, wrong.out, tried.read_text()) == (2, "", TRIED)
    assert said in wrong.err


def test_a_fixture_that_reaches_somebody_is_refused_at_load(tried: Path, cdp: Cdp) -> None:
    edit(tried, "given: {birth_date: 1970-05-01,", "given: {birth_date: 1970-05-01, email: jane.roe@gmail.com,")
    for command in ("test", "validate"):
        said = cdp(command)
        assert said.code == 1
        assert "models/tried.yml:15:44: tests[0].given.email: an e-mail address that may be a real person's" in said.out + said.err
        assert "jane" not in said.out + said.err


def test_the_key_of_a_real_patient_is_found_and_not_repeated(project: Path, cdp: Cdp) -> None:
    """attack 22: where a lakehouse is at hand"""
    real = cdp("sample", "--changes", "--json").json["withdrew"]
    (project / "models/tried.yml").write_text(TRIED.replace("given: {birth_date", f"given: {{patient_id: {real}, birth_date"))
    assert cdp("test", "tried").code == 0  # nobody looked
    said = cdp("test", "tried", "--real-keys")
    assert said.code == 1
    line = "models/tried.yml:{}: holds a value of clinical.patients.patient_id that is in the lakehouse; make one up"
    assert [text for text in said.out.splitlines() if "holds a value" in text] == [f"✗ {line.format(n)}" for n in (17, 18)]
    found = cdp("test", "tried", "--real-keys", "--json")
    assert {(each["file"], each["table"], each["column"]) for each in found.json["real_keys"]} == {
        ("models/tried.yml", "clinical.patients", "patient_id")
    }
    assert real not in said.out + said.err + found.out + found.err
    (project / "models/tried.yml").write_text(TRIED)
    assert (cdp("test", "--real-keys").code, cdp("test", "--json").json["real_keys"]) == (0, [])
