"""`cdp preview` and `cdp explain` as an analyst types them, on the example project."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Cdp

SEGMENT, SYNC, SMALL, SENSITIVE = "a1c_overdue", "a1c_reminder_email", "ed_frequent", "positive_screen_no_followup"


@pytest.fixture
def people(cdp: Cdp, project: Path) -> list[str]:
    """Keys of members, which only a role sees that is meant to."""
    return _members(cdp, SEGMENT)


def _members(cdp: Cdp, segment: str, *more: str) -> list[str]:
    found = cdp("preview", segment, "--sample", "1000", "--role", "privacy", "--json", *more).json
    return [row["patient_id"] for row in found["samples"][0]["rows"]]


def _numbers(value: Any) -> list[Any]:
    """Every count of a preview."""
    if isinstance(value, dict):
        own = [value[name] for name in ("people", "alone", "cumulative", "everyone", "number") if name in value]
        inner = [number for each in own if isinstance(each, dict) for number in each.values()]
        return [n for n in own if not isinstance(n, dict)] + inner + [n for part in value.values() for n in _numbers(part)]
    return [n for part in value for n in _numbers(part)] if isinstance(value, list) else []


def test_a_preview_counts_what_a_plan_counts(cdp: Cdp, project: Path) -> None:
    plan = cdp("plan", SYNC, "--json").json
    found = cdp("preview", SEGMENT, "--json").json["segments"][0]
    assert found["people"] == plan["size"]
    assert found["funnel"][-1]["cumulative"] == plan["size"]
    assert found["past"] == []  # a plan is no run


def test_a_preview_for_people_is_narrow_and_says_what_each_step_leaves(cdp: Cdp, project: Path) -> None:
    said = cdp("preview", SEGMENT, "--by", "sex", "--by", "age", "--overlap", "has_diabetes")
    assert said.code == 0
    assert max(map(len, said.out.splitlines())) <= 100
    assert "so far" in said.out
    assert "in hba1c, within the last 6 months" in said.out
    assert f"{SEGMENT} and has_diabetes" in said.out


@pytest.mark.parametrize("segment", [SEGMENT, SMALL, "flu_vaccine_due", "bp_uncontrolled", "clinicians_with_overdue_patients"])
def test_no_number_of_1_to_10_is_shown(cdp: Cdp, project: Path, segment: str) -> None:
    by = () if segment.startswith("clinicians") else ("--by", "sex", "--by", "age", "--by", "preferred_language")
    numbers = _numbers(cdp("preview", segment, *by, "--json").json)
    assert numbers
    assert all(isinstance(n, str) or n == 0 or n >= 11 for n in numbers)
    assert {n for n in numbers if isinstance(n, str)} <= {"<11", "11+", "withheld"}


def test_a_role_may_see_exact_counts(cdp: Cdp, project: Path) -> None:
    hidden = cdp("preview", SMALL, "--json").json["segments"][0]["people"]
    assert hidden == "<11"
    exact = cdp("preview", SMALL, "--role", "privacy", "--json").json["segments"][0]["people"]
    assert 0 < exact < 11


def test_breakdowns_and_overlaps_add_up(cdp: Cdp, project: Path) -> None:
    names = (SEGMENT, "has_diabetes", "flu_vaccine_due")
    found = cdp("preview", *names, "--by", "sex", "--role", "privacy", "--json").json
    sizes = {each["segment"]: each["people"] for each in found["segments"]}
    for name in names:
        assert sum(line["people"][name] for line in found["breakdowns"][0]["lines"]) == sizes[name]
    shared = {frozenset(each["segments"]): each["people"] for each in found["overlaps"]}
    assert set(map(len, shared)) == {2, 3}
    assert shared[frozenset(names)] <= min(people for several, people in shared.items() if len(several) == 2)
    assert shared[frozenset({SEGMENT, "has_diabetes"})] == sizes[SEGMENT]  # who is overdue has diabetes


def test_a_sample_shows_what_the_role_sees_and_is_always_the_same(cdp: Cdp, project: Path) -> None:
    asked = ("preview", "flu_vaccine_due", "--sample", "4", "--role", "analyst", "--json")
    first = cdp(*asked).json["samples"][0]
    assert first == cdp(*asked).json["samples"][0]
    assert len(first["rows"]) == 4
    assert not {"patient_id", "given_name", "email", "ssn"} & first["rows"][0].keys()
    assert {"patient_id", "given_name", "email", "ssn"} <= first["hidden"].keys()
    assert first["masked"]["birth_date"] == "year"
    assert all(row["birth_date"] is None or 1900 < int(row["birth_date"]) < 2100 for row in first["rows"])


def test_there_is_no_sample_without_a_role_or_of_a_few(cdp: Cdp, project: Path) -> None:
    assert "roles" in cdp("preview", SEGMENT, "--sample", "3", "--json").json["samples"][0]["withheld"]
    few = cdp("preview", SMALL, "--sample", "3", "--role", "analyst", "--json").json["samples"][0]
    assert (few["rows"], few["withheld"]) == ([], "too few people to show some of them")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("preview", "a1c_overdu"), 2, "did you mean a1c_overdue?"),
        (("preview", SEGMENT, "--overlap", "nobody"), 2, "there is no segment named 'nobody'"),
        (("preview", SEGMENT, "clinicians_with_overdue_patients"), 2, "segments of several entities"),
        (("preview", SEGMENT, "--by", "shoe_size"), 2, "--by shoe_size: patient has no such column or trait"),
        (("preview", SEGMENT, "--by", "patient_id"), 1, "it tells people apart"),
        (("preview", SEGMENT, "--role", "boss"), 2, "there is no role named boss"),
        (("preview", SENSITIVE, "--sample", "1", "--role", "analyst"), 0, "too few"),
        (("explain", "nothing", "x"), 2, "there is no segment or sync named 'nothing'"),
    ],
)
def test_what_cannot_be_asked_is_said(cdp: Cdp, project: Path, words: tuple[str, ...], code: int, said: str) -> None:
    found = cdp(*words)
    assert (found.code, said in found.err + found.out) == (code, True), found


def test_past_runs_are_read_and_no_table_is_made(cdp: Cdp, project: Path) -> None:
    shutil.rmtree(project / "lake" / "cdp", ignore_errors=True)
    assert cdp("preview", SEGMENT, "--json").json["segments"][0]["past"] == []
    assert not (project / "lake" / "cdp").exists()
    cdp("sync", SYNC, "--json")
    found = cdp("preview", SEGMENT, "--json").json["segments"][0]
    assert [(run["sync"], run["people"], run["same_rule"]) for run in found["past"]] == [(SYNC, found["people"], True)]
    path = project / "models" / "programmes" / "a1c_overdue.yml"
    source = path if path.exists() else next(p for p in (project / "models").rglob("*.yml") if f"name: {SEGMENT}\n" in p.read_text())
    source.write_text(source.read_text().replace("between: [18, 75]", "between: [18, 74]"))
    assert not cdp("preview", SEGMENT, "--json").json["segments"][0]["past"][0]["same_rule"]


# -- one person ----------------------------------------------------------------------------------------------------------


def test_members_are_in_and_on_the_day_of_the_turn_they_are_out(cdp: Cdp, people: list[str]) -> None:
    for key in people[:3]:
        told = cdp("explain", SEGMENT, key, "--json").json
        assert told["member"]
        assert told["tree"][0]["holds"]
        if told["turns"]:
            assert not cdp("explain", SEGMENT, key, "--as-of", told["turns"], "--json").json["member"]
    becomes = _members(cdp, "flu_vaccine_due")
    out = [key for key in _members(cdp, "seen_this_year") if key not in becomes]
    turning = next(told for key in out if (told := {**cdp("explain", "flu_vaccine_due", key, "--json").json, "key": key})["turns"])
    assert not turning["member"]
    assert cdp("explain", "flu_vaccine_due", turning["key"], "--as-of", turning["turns"], "--json").json["member"]
    assert "enters on" in cdp("explain", "flu_vaccine_due", turning["key"]).out


def test_evidence_is_masked_by_role(cdp: Cdp, people: list[str]) -> None:
    blind = cdp("explain", SEGMENT, people[0], "--json").json
    seeing = cdp("explain", SEGMENT, people[0], "--role", "care_manager", "--json").json
    rows = {found["measure"]: found for node in blind["tree"] for found in node["evidence"]}
    seen = {found["measure"]: found for node in seeing["tree"] for found in node["evidence"]}
    assert rows.keys() == seen.keys()
    has = next(name for name in rows if name.startswith("conditions"))
    assert rows[has]["counted"] == seen[has]["counted"] > 0
    assert "code" in rows[has]["hidden"]
    assert not any("code" in row or "onset" in row for row in rows[has]["rows"])
    assert all(row["onset"] for row in seen[has]["rows"])
    assert "sensitive.mental_health" in seen[has]["hidden"]["code"]  # what the column may hold counts too
    assert "sensitive.sud" not in seen[has]["hidden"]["code"]  # but for the rows that are not read: governance/rows.yml
    age = next(value for node in blind["tree"] for value in node["values"] if value["of"] == "birth_date")
    assert (age["value"], age["hidden"]) == (None, ["demographic.birth_date"])
    assert [node["holds"] for node in blind["tree"]] == [node["holds"] for node in seeing["tree"]]


def test_the_tree_is_narrow_and_says_what_alone_would_change_it(cdp: Cdp, people: list[str]) -> None:
    said = cdp("explain", "bp_uncontrolled", people[0], "--role", "care_manager")
    assert max(map(len, said.out.splitlines())) <= 100
    said = cdp("explain", SEGMENT, people[0], "--role", "care_manager")
    assert "✓ all of" in said.out
    assert "would take the person out" in said.out
    assert "if nothing new is recorded" in said.out


def test_an_unknown_key_is_not_repeated(cdp: Cdp, project: Path) -> None:
    for words in (
        ("explain", SEGMENT, "MARKER-4711"),
        ("explain", SYNC, "MARKER-4711", "--json"),
        ("explain", SEGMENT, "MARKER-4711", "-v"),
    ):
        said = cdp(*words)
        assert said.code == 2
        assert "there is no patient with this key" in said.out + said.err
        assert "MARKER" not in said.out + said.err


def test_a_sync_names_each_rule_that_keeps_a_person_out(cdp: Cdp, people: list[str]) -> None:
    left_out = {entry["rule"]: entry["count"] for entry in cdp("plan", SYNC, "--json").json["excluded"]}
    told = [cdp("explain", SYNC, key, "--role", "privacy", "--json").json for key in people]
    counted = {rule: sum(each["rule"] == rule for each in told) for rule in left_out}
    assert counted == left_out
    assert any(left_out.values())
    for each in told:
        keeping = [rule["rule"] for rule in each["rules"] if rule["keeps_out"]]
        assert each["told"] == (not keeping)
        assert not keeping or each["rule"] == keeping[0]
    kept = next(key for key, each in zip(people, told, strict=True) if not each["told"])
    said = cdp("explain", SYNC, kept, "--role", "privacy")
    assert "keeps out" in said.out
    assert "is not among those who are told: rule" in said.out
    assert {*left_out} <= {word for line in said.out.splitlines() for word in line.split()[:1]}


def test_which_rule_keeps_a_person_out_is_shown_to_those_who_may_see_it(cdp: Cdp, people: list[str]) -> None:
    """That somebody asked for a restriction is theirs and the privacy office's to know."""
    for key in people[:3]:
        told, seen = (cdp("explain", SYNC, key, *role, "--json").json for role in ((), ("--role", "privacy")))
        assert (told["told"], told["rule"], told["rules"], told["rules_shown_to"]) == (seen["told"], "", [], ["privacy"])
        assert seen["rules_shown_to"] == []
        said = cdp("explain", SYNC, key).out
        assert "shown to --role privacy" in said
        assert "restricted" not in said


def test_what_is_specially_protected_needs_a_role_that_names_it(cdp: Cdp, people: list[str]) -> None:
    assert cdp("preview", SENSITIVE, "--json").code == 0  # counts are free
    for role in ((), ("--role", "care_manager")):
        said = cdp("explain", SENSITIVE, people[0], *role)
        assert said.code == 1
        assert "sensitive.mental_health" in said.err
    assert cdp("explain", SENSITIVE, people[0], "--role", "privacy").code == 0


def test_a_role_is_only_for_those_who_have_it(cdp: Cdp, project: Path, people: list[str]) -> None:
    roles = project / "governance" / "roles.yml"
    people_of = f'[{{id: "uid:{os.getuid()}", roles: [care_manager]}}, {{id: "uid:4294967294", roles: [privacy]}}]'
    roles.write_text(f"{roles.read_text()}\npeople: {people_of}\n")
    said = cdp("explain", SEGMENT, people[0], "--role", "privacy")
    assert said.code == 1
    assert "people of roles.yml do not give it" in said.err
    assert cdp("preview", SMALL, "--json").json["segments"][0]["people"] == "<11"
