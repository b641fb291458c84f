"""The governance report: true about who is told what and what ends, well formed, and without numbers that may not be shown."""

from __future__ import annotations

import datetime as dt
import json
import re
from functools import cache
from pathlib import Path

import pytest

from cdp.analyst.explore.received import protected
from cdp.catalog.flows import Flows
from cdp.catalog.report import Chain, Numbers, Report, Term, Waiting
from cdp.catalog.report_page import page
from cdp.cli.app import main
from cdp.compile import Clock
from cdp.governance.decide import Governor
from cdp.project.load import load
from tests.projects import minimal
from tests.unit.test_catalog import parsed, well_formed

ROOT = Path(__file__).parents[2]
TODAY = dt.date(2026, 7, 2)


def made(root: Path, numbers: Numbers | None = None, day: str = "2026-07-02") -> Report:
    project = load(root)
    clock = Clock.parse(day, project.timezone)
    return Report.of(Flows(Governor.of(project), clock, clock), "dev", numbers, "" if numbers else "there is no lakehouse")


@cache
def example() -> Report:
    return made(ROOT)


# -- what it says -----------------------------------------------------------------------------------------------------


def test_every_sync_stands_under_its_receiver_and_purpose() -> None:
    project = example().project
    assert {(told.receiver, told.purpose, sync) for told in example().told for sync in told.syncs} == {
        (sync.destination, sync.purpose, name) for name, sync in project.syncs.items()
    }


def test_a_class_is_told_by_the_fields_that_governance_says() -> None:
    told = next(each for each in example().told if each.receiver == "outreach_email")
    assert "a1c_reminder_email.external_id" in told.values["identifier.pseudonym"]
    assert "identifier.mrn" not in told.values
    assert "clinical.preventive" in told.members
    assert "clinical.condition" not in told.members


@pytest.mark.parametrize(
    ("start", "end", "state", "days"),
    [
        (None, None, "no end", None),
        (None, TODAY, "ending", 0),
        (None, TODAY - dt.timedelta(days=1), "ended", -1),
        (None, TODAY + dt.timedelta(days=30), "ending", 30),
        (None, TODAY + dt.timedelta(days=31), "in force", 31),
        (TODAY + dt.timedelta(days=1), TODAY + dt.timedelta(days=400), "not yet", 400),
    ],
)
def test_what_ends_within_thirty_days_is_said_to_end(start, end, state, days) -> None:
    term = Term(start, end, TODAY)
    assert (term.state, term.days) == (state, days)


@pytest.fixture
def ending(tmp_path: Path) -> Path:
    root = minimal(tmp_path)
    agreement = next((root / "governance").rglob("baa/*.yml"))
    agreement.write_text(re.sub(r"(?m)^expires:.*$", "expires: 2026-07-20", agreement.read_text()))
    return root


def test_an_agreement_that_ends_is_to_be_looked_at_and_one_that_ended_refuses(ending: Path) -> None:
    soon, late = made(ending), made(ending, day="2026-07-21")
    assert any("ends on 2026-07-20, in 18 days" in line for line in soon.attention())
    assert any("ended on 2026-07-20" in line for line in late.attention())
    assert late.refusals
    assert [term.state for _, term, _ in late.agreements] == ["ended"]


def test_refusals_are_those_of_validate() -> None:
    governor = Governor.of(example().project)
    clock = Clock.parse("2026-07-02", example().project.timezone)
    expected = {name: found for name in example().project.syncs if (found := governor.check(name, clock=clock, now=clock))}
    assert dict(example().refusals) == expected


def test_classes_that_counsel_reviews_by_a_date_are_listed(tmp_path: Path) -> None:
    root = minimal(tmp_path)
    classes = root / "governance" / "classes.yml"
    classes.write_text(classes.read_text().replace("  contact.email: {}", "  contact.email: {review_by: 2026-06-30, law: some law}"))
    [(name, law, term)] = made(root).classes()
    assert (name, law, term.state) == ("contact.email", "some law", "ended")
    assert any("class contact.email is to be reviewed" in line for line in made(root).attention())


def test_what_waits_and_what_nobody_would_take_off_is_to_be_looked_at() -> None:
    waiting = Waiting("20260702_x", "diabetes_registry", "uid:1", "2026-07-02T10:00:00+00:00", "2026-07-03T10:00:00+00:00", ("class x",))
    numbers = Numbers({}, {}, {"old_sync": "<11", "empty_sync": 0}, (waiting,), (Chain("a", 3, "ab" * 32, "2026-07-01T00:00:00", 40),))
    lines = made(ROOT, numbers).attention()
    assert any("20260702_x of diabetes_registry waits" in line for line in lines)
    assert any("old_sync is declared no more" in line for line in lines)
    assert not any("empty_sync" in line for line in lines)


def test_without_a_lakehouse_numbers_are_missing_and_not_nothing() -> None:
    found = example().as_json()
    assert found["numbers"] == {"known": False, "why_not": "there is no lakehouse"}
    assert found["receivers"][0]["people"] is None
    assert found["approvals"] is found["ledger"] is None
    json.dumps(found, default=str)


def test_who_is_nowhere_counts_as_nobody_where_numbers_are_known() -> None:
    report = made(ROOT, Numbers({("registry_folder", None): 31, ("registry_folder", "operations"): 31}, {}, {}))
    assert report.people("registry_folder", "operations") == 31
    assert report.people("outreach_email") == 0


# -- numbers ----------------------------------------------------------------------------------------------------------


def shown(people: dict[tuple[str, str | None], int], small: int = 11) -> dict[tuple[str, str | None], str]:
    return {cell: str(number) for cell, number in protected(people, small).items()}


def test_few_people_are_not_shown() -> None:
    assert shown({("a", None): 5, ("a", "x"): 5}) == {("a", None): "<11", ("a", "x"): "<11"}
    assert shown({("a", None): 5, ("a", "x"): 5}, small=1) == {("a", None): "5", ("a", "x"): "5"}


def test_few_people_do_not_follow_from_what_is_shown() -> None:
    found = shown({("a", None): 100, ("a", "x"): 95, ("a", "y"): 100})
    assert found["a", "x"] == "11+"  # 5 are there for y only
    found = shown({("a", None): 40, ("a", "x"): 30, ("a", "y"): 15})
    assert not all(value.isdigit() for value in found.values())  # 5 are there for both


def test_receivers_have_nothing_to_do_with_each_other() -> None:
    found = shown({("a", None): 100, ("a", "x"): 100, ("b", None): 95, ("b", "x"): 95})
    assert set(found.values()) == {"100", "95"}


# -- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_is_well_formed_and_needs_no_network() -> None:
    text = page(example())
    well_formed(text)
    found = parsed(text)
    assert found.addresses == []
    assert "script" not in found.tags
    assert len(found.ids) == len(set(found.ids))
    assert {link[1:] for link in found.links} <= set(found.ids)


def test_the_page_says_what_it_does_not_know() -> None:
    assert "Not known: there is no lakehouse" in page(example())


def test_what_a_project_calls_things_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    root = minimal(tmp_path)
    agreement = next((root / "governance").rglob("baa/*.yml"))
    evil = "</td><script>alert(1)</script>"
    agreement.write_text(re.sub(r"(?m)^counterparty:.*$", f"counterparty: '{evil}'", agreement.read_text()))
    text = page(made(root))
    well_formed(text)
    assert "<script" not in text


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command_works_without_a_lakehouse_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(minimal(tmp_path))
    assert main(["governance", "report"]) == 0
    out, err = capsys.readouterr()
    assert "wrote out/governance.html" in out
    assert "without numbers of people: there is no lakehouse" in err
    well_formed(Path("out/governance.html").read_text())
    assert main(["governance", "report", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["numbers"]["known"] is False


def test_a_file_that_cannot_be_written_is_called_wrongly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(minimal(tmp_path))
    Path("there").write_text("")
    assert main(["governance", "report", "--out", "there/report.html"]) == 2
