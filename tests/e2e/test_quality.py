"""What a sync expects of the rows about to leave, and what a guard holds back, through the command line."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

import pytest

from cdp.sandbox.server import Sandbox
from tests.e2e.conftest import Cdp

SYNC, CHANNEL = "a1c_reminder_email", "outreach_email"
SPOKEN = "  - expect_column_values_to_be_in_set: {column: language, value_set: [xx]}\n    otherwise: refuse\n"
NAMED = "  - expect_column_values_to_not_match_regex: {column: first_name, regex: '^[A-M]'}\n    otherwise: drop\n"


def edit(project: Path, old: str, new: str) -> None:
    """Another text in the sync."""
    path = project / "models" / "programmes" / "a1c_overdue.yml"
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))


def test_expectations_refuse_warn_and_drop_and_stand_on_record(cdp: Cdp, channel: Sandbox, project: Path) -> None:
    edit(project, 'schedule: "0 7 * * *"', f"quality:\n{SPOKEN}{NAMED}")
    plan = cdp("plan", SYNC, "--json")
    counts, (spoken, named) = plan.json["counts"], plan.json["quality"]
    assert (plan.code, counts["dropped"]) == (1, named["failed"])
    assert 0 < named["failed"] < named["evaluated"] == counts["add"] + counts["dropped"]
    assert (spoken["verdict"], spoken["failed"], named["verdict"]) == ("refused", spoken["evaluated"], "dropped")
    assert [guard["guard"] for guard in plan.json["guards"]] == ["quality"]

    run = cdp("sync", SYNC)
    assert (run.code, channel.rows(CHANNEL)) == (1, [])
    assert "expect_column_values_to_be_in_set of language may fail for none of" in run.err
    assert "fix: mend the rows that fail" in run.err

    edit(project, "otherwise: refuse", "otherwise: warn")
    run = cdp("sync", SYNC, "--json")
    assert (run.code, run.json[0]["delivered"], run.json[0]["put_off"]) == (0, counts["add"], {"dropped": counts["dropped"]})
    assert not [row for row in channel.rows(CHANNEL) if row["first_name"][0] in "ABCDEFGHIJKLM"]
    detail = cdp("runs", run.json[0]["run"], "--json").json
    assert [(each["verdict"], each["failed"]) for each in detail["quality"]] == [("warned", counts["add"]), ("dropped", counts["dropped"])]
    shown = cdp("runs", run.json[0]["run"]).out
    assert "what the sync expects of the rows that are added or changed" in shown
    again = cdp("sync", SYNC, "--json").json[0]
    assert (again["status"], again["put_off"]) == ("nothing", {"dropped": counts["dropped"]})  # they come again, until they are mended


def test_without_great_expectations_a_sync_that_expects_something_is_refused(
    cdp: Cdp, channel: Sandbox, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "great_expectations" else found(name, *rest))
    edit(project, 'schedule: "0 7 * * *"', f"quality:\n{SPOKEN}")
    assert cdp("validate").code == 0  # what is asked can be checked without it
    plan = cdp("plan", SYNC)
    assert (plan.code, channel.rows(CHANNEL)) == (1, [])
    assert "`quality:` needs great-expectations" in plan.err
    assert "pip install 'composable-cdp[quality]'" in plan.err


def test_a_guard_is_accepted_by_a_role_that_may_and_that_stands_on_record(cdp: Cdp, channel: Sandbox, project: Path) -> None:
    edit(project, "max_add: 100%", "max_add: 3")
    acting(project, "accept")
    wrong = cdp("plan", SYNC, "--accept-guard", "max_ad")
    assert (wrong.code, "did you mean max_add?" in wrong.err) == (2, True), wrong.err
    plan = cdp("plan", SYNC, "--json")
    assert (plan.code, plan.json["stopped_by"]) == (1, plan.json["guards"])
    refused = cdp("apply", plan.json["plan"])
    assert (refused.code, "--accept-guard max_add" in refused.err) == (1, True)

    acting(project)
    refused = cdp("apply", plan.json["plan"], "--accept-guard", "max_add")
    assert (refused.code, channel.rows(CHANNEL)) == (1, [])
    assert "`accept` is for" in refused.err

    acting(project, "accept")
    accepted = cdp("plan", SYNC, "--accept-guard", "max_add")
    assert accepted.code == 0
    assert re.search(r"breaks the guard max_add: at most 3 rows, found \d+ \(accepted\)", accepted.out)
    name = accepted.out.split()[1].rstrip(":")
    acting(project)  # who accepted may not any more
    refused = cdp("apply", name)
    assert (refused.code, "as accepted" in refused.err, channel.rows(CHANNEL)) == (1, True, [])
    acting(project, "accept")
    run = cdp("apply", name, "--json")
    assert (run.code, run.json[0]["delivered"]) == (0, plan.json["counts"]["add"])
    (entry,) = cdp("runs", run.json[0]["run"], "--json").json["accepted"]
    assert (entry["by"], [guard["guard"] for guard in entry["guards"]]) == (f"uid:{os.getuid()}", ["max_add"])
    assert f"accepted by uid:{os.getuid()}" in cdp("runs", run.json[0]["run"]).out


def acting(project: Path, *may: str) -> None:
    """Whoever runs this may plan and apply, and what else is said; somebody else may accept."""
    roles = project / "governance" / "roles.yml"
    plain = roles.read_text().partition("\npeople:")[0]
    plain = re.sub(r"\nroles:\n(  (mine|guardian): .*\n)*", "\nroles:\n", plain, count=1)
    mine = f"\nroles:\n  mine: {{may: [{', '.join(('plan', 'apply', 'runs', *may))}]}}\n  guardian: {{may: [accept, approve]}}\n"
    people = f'\npeople:\n  - {{id: "uid:{os.getuid()}", roles: [mine]}}\n  - {{id: "uid:4711", roles: [guardian]}}\n'
    roles.write_text(plain.replace("\nroles:\n", mine, 1) + people)
