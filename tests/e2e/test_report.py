"""The numbers of the governance report: those who are at a receiver now, as far as whoever looks may know them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.e2e.conftest import Cdp


def people(cdp: Cdp, *words: str) -> dict[str, int | str]:
    found = cdp("governance", "report", "--json", *words)
    assert found.code == 0, found.err
    assert found.json["numbers"]["known"] is True
    return {each["receiver"]: each["people"] for each in found.json["receivers"]}


def test_who_is_at_a_receiver_is_counted_over_all_of_its_syncs(cdp: Cdp, project: Path, channel: object) -> None:
    assert set(people(cdp).values()) == {0}  # nothing was sent, and no control table is there
    assert cdp("sync", "bp_outreach", "diabetes_registry", "panel_reports", "--quiet").code == 0
    assert cdp("sync", "bp_outreach", "--quiet").code == 0
    told = {name: len(channel.rows(name)) for name in ("care_management",)}  # type: ignore[attr-defined]
    found, exact = people(cdp), people(cdp, "--role", "privacy")
    assert found["care_management"] == told["care_management"] >= 11
    assert (found["panel_folder"], exact["panel_folder"]) == ("<11", 5)
    heads = {each["sync"]: each["lines"] for each in cdp("governance", "report", "--json").json["ledger"]}
    assert heads["bp_outreach"] == told["care_management"]  # the second run told nothing more


def test_people_of_a_sync_that_is_no_more_are_not_forgotten(cdp: Cdp, project: Path, channel: object) -> None:
    assert cdp("sync", "bp_outreach", "--quiet").code == 0
    [home] = [path for path in (project / "models").rglob("*.yml") if re.search(r"^name: bp_outreach$", path.read_text(), re.M)]
    documents = home.read_text().split("\n---\n")
    home.write_text("\n---\n".join(each for each in documents if not re.search(r"^name: bp_outreach$", each, re.M)))
    found = cdp("governance", "report", "--json").json
    assert found["undeclared_syncs"]["bp_outreach"] >= 11
    assert "sync bp_outreach is declared no more, and its people are still at their receiver" in found["attention"]


def test_people_who_must_be_taken_off_and_are_still_there_are_something_to_look_at(cdp: Cdp, project: Path, channel: object) -> None:
    """It said that nothing waits, while `cdp revocations --open` listed them."""
    home = next(path for path in (project / "models").rglob("*.yml") if "name: a1c_reminder_email" in path.read_text())
    home.write_text(home.read_text().replace("mode: mirror ", "mode: upsert "))
    assert cdp("sync", "a1c_reminder_email", "--quiet").code == 0
    assert cdp("governance", "report", "--json").json["attention"] == []
    cdp("sample", "--changes")
    cdp("sync", "a1c_reminder_email", "--quiet")
    assert cdp("revocations", "--open", "--json").json
    found = cdp("governance", "report", "--json").json
    assert found["overdue_removals"] == {"a1c_reminder_email": "outreach_email"}
    said = "people whom sync a1c_reminder_email must take off are still at outreach_email: cdp revocations --open"
    assert found["attention"] == [said]
