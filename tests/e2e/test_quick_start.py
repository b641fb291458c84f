"""The quick start as a person types it, and the notebook: with no channel served but the one that a run starts."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Cdp, spawn

SYNC = "a1c_reminder_email"


def test_a_new_project_validates_and_delivers_as_it_stands_and_what_it_did_is_on_record(cdp: Cdp, project: Path) -> None:
    typed = spawn("validate", cwd=project)
    assert (*typed.communicate(timeout=60), typed.returncode)[1:] == ("", 0)
    first = cdp("sync", "--all", "--json")
    runs = first.json
    assert first.code == 0
    assert "sandbox" in first.err
    assert {run["status"] for run in runs} <= {"succeeded", "nothing"}  # measures of the calendar year may be empty in January
    assert sum(run["status"] == "succeeded" for run in runs) >= 15
    (mails,) = (run for run in runs if run["sync"] == SYNC)
    detail = cdp("runs", mails["run"], "--json").json
    assert detail["delivered"] == mails["delivered"] == sum(line["count"] for line in detail["receipts"])
    again = cdp("sync", "--all", "--json").json  # a sandbox of its own, which finds the rows of the first again
    assert {run["status"] for run in again} == {"nothing"}


def test_a_plan_is_applied_once(cdp: Cdp, project: Path) -> None:
    plan = cdp("plan", SYNC, "--json").json
    left_out = sum(entry["count"] for entry in plan["excluded"])
    assert plan["size"] == left_out + sum(count for name, count in plan["counts"].items() if name != "remove")
    assert cdp("apply", plan["plan"], "--json").json[0]["delivered"] == plan["counts"]["add"]
    stale = cdp("apply", plan["plan"], "--json")
    assert (stale.code, stale.json[0]["error"]["kind"]) == (1, "StaleError")


@pytest.mark.parametrize("words", [("sync", SYNC), ("plan", SYNC)])
def test_a_missing_lakehouse_is_named_with_the_fix(cdp: Cdp, project: Path, words: tuple[str, ...]) -> None:
    shutil.rmtree(project / "lake")
    said = cdp(*words, "--json")
    found: dict[str, Any] = said.json[0] if isinstance(said.json, list) else said.json
    assert said.code == 1
    assert found["error"]["kind"] == "DataError"
    assert str(project / "lake") in found["error"]["message"]
    assert "cdp sample" in found["error"]["fix"]


def test_every_notebook_runs_as_it_stands(cdp: Cdp, project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cdp("sync", SYNC)
    shown = {path.stem: _run(path, capfd) for path in (project / "notebooks").glob("*.py")}
    assert "deliver it: cdp apply" in shown.pop("look_before_you_plan")
    assert "nothing was sent yet" not in shown["explore_runs"]
    assert SYNC in shown.pop("explore_runs")
    assert not shown


def _run(notebook: Path, capfd: pytest.CaptureFixture[str]) -> str:
    runpy.run_path(str(notebook), run_name="__main__")
    return capfd.readouterr().out
