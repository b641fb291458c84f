"""Special rows and roles' rows on the command line: what is not read is said, by plans, runs and whoever looks."""

from __future__ import annotations

import os
from pathlib import Path

from cdp.sandbox.server import Sandbox
from tests.e2e.conftest import Cdp

SYNC = "a1c_reminder_email"
FILTER = "    rows: {where: {facility_id: {in: $facilities}}}\n"


def test_a_plan_and_its_run_say_how_many_rows_were_not_read(project: Path, channel: Sandbox, cdp: Cdp) -> None:
    """Attack 31: what was recorded at a program for substance use is left out of a reminder, and nobody is surprised by that."""
    plan = cdp("plan", SYNC, "--json").json
    withheld = {(each["class"], each["table"]): each["rows"] for each in plan["withheld_rows"]}
    assert withheld["sensitive.sud", "clinical.observations"] > 100
    assert withheld["sensitive.hiv", "clinical.observations"] > 0
    shown = cdp("plan", SYNC).out
    assert "not read, because the receiver may not know of them (governance/rows.yml)" in shown
    assert "clinical.observations" in shown
    (run,) = cdp("sync", SYNC, "--json").json
    assert (run["status"], run["withheld_rows"]) == ("succeeded", plan["withheld_rows"])
    detail = cdp("runs", run["run"], "--json").json
    assert detail["withheld_rows"] == plan["withheld_rows"]
    assert "clinical.observations" in cdp("runs", run["run"]).out


def test_who_looks_without_a_role_reads_no_special_rows_and_is_told_so(project: Path, cdp: Cdp) -> None:
    said = cdp("preview", "a1c_overdue")
    assert "rows of clinical.observations that are sensitive.sud are not read: nobody without a role may use them" in said.err
    found = cdp("preview", "a1c_overdue", "--json").json
    assert {"class": "sensitive.sud", "table": "clinical.observations"} in found["withheld_rows"]
    privacy = cdp("preview", "a1c_overdue", "--role", "privacy", "--json").json
    assert (privacy["withheld_rows"], privacy["role_rows"]) == ([], [])


def test_a_role_counts_the_rows_of_its_facilities_and_plans_those_of_all(project: Path, cdp: Cdp) -> None:
    """Attack 40: a row filter holds of what is looked at, never of a plan: a filtered mirror would remove everybody else."""
    before = cdp("plan", SYNC, "--json").json
    everyone = cdp("preview", "a1c_overdue", "--role", "analyst", "--json").json
    roles = project / "governance" / "roles.yml"
    text = roles.read_text().replace("    small_cells: 11", f"{FILTER}    small_cells: 11", 1)
    assert FILTER in text
    people = f'people:\n  - {{id: "uid:{os.getuid()}", roles: [analyst, operator], facilities: [south]}}\n'
    roles.write_text(f'{text}{people}  - {{id: "uid:999999", roles: privacy}}\n')  # somebody may approve
    found = cdp("preview", "a1c_overdue", "--role", "analyst", "--json").json
    assert {"clinical.encounters", "clinical.observations"} <= set(found["role_rows"])
    assert found["segments"][0]["people"] != everyone["segments"][0]["people"]
    assert "only the rows of role analyst are read of clinical.conditions" in cdp("preview", "a1c_overdue", "--role", "analyst").err
    assert "they read different rows" in cdp("preview", "a1c_overdue").err
    after = cdp("plan", SYNC, "--json").json
    assert (after["counts"], after["size"], after["withheld_rows"]) == (before["counts"], before["size"], before["withheld_rows"])
