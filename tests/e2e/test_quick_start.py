"""The quick start of the README as a person types it: a new project, validated, delivered, delivered again, looked at."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SYNC = "a1c_reminder_email"
Cdp = Callable[..., Any]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`cdp init`, with the channels on a port that nobody else uses."""
    root = tmp_path_factory.mktemp("quick") / "mydir"
    subprocess.run([sys.executable, "-m", "cdp", "init", str(root)], check=True, capture_output=True, text=True, timeout=120)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    conf = root / "conf" / "cdp.yml"
    conf.write_text(conf.read_text().replace(":8765/", f":{port}/"))
    return root


@pytest.fixture(scope="module")
def cdp(project: Path) -> Cdp:
    """Run a command in the project's folder; what it prints is JSON and nothing else."""

    def run(*words: str, expect: int = 0) -> Any:
        command = [sys.executable, "-m", "cdp", *words, "--json"]
        done = subprocess.run(command, cwd=project, check=False, capture_output=True, text=True, timeout=120)
        assert done.returncode == expect, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def delivered(cdp: Cdp) -> list[dict[str, Any]]:
    """`cdp sync --all` on a new project, whose channel nobody serves: a sandbox is started for the run."""
    return cdp("sync", "--all")


def test_every_sync_of_the_example_delivers(delivered: list[dict[str, Any]]) -> None:
    assert len(delivered) >= 3
    assert {run["status"] for run in delivered} == {"succeeded"}
    assert all(run["delivered"] > 0 and not run["rejected"] and not run["retryable"] for run in delivered)


def test_the_second_time_there_is_nothing_to_do(cdp: Cdp, delivered: list[dict[str, Any]]) -> None:
    again = cdp("sync", "--all")
    assert {run["status"] for run in again} == {"nothing"}
    assert [run["sync"] for run in again] == [run["sync"] for run in delivered]


def test_what_a_plan_counts_adds_up_to_the_segment(cdp: Cdp, delivered: list[dict[str, Any]]) -> None:
    plan = cdp("plan", SYNC)
    before = next(run["delivered"] for run in delivered if run["sync"] == SYNC)
    assert plan["counts"] | {"unchanged": before} == plan["counts"]
    left_out = sum(entry["count"] for entry in plan["excluded"])
    assert plan["size"] == left_out + sum(count for name, count in plan["counts"].items() if name != "remove")


def test_a_day_that_passes_is_planned_shown_and_delivered_once(cdp: Cdp, delivered: list[dict[str, Any]]) -> None:
    changed = cdp("sample", "--changes")
    plan = cdp("plan", SYNC)
    assert plan["counts"]["add"] > 0
    assert plan["counts"]["remove"] > 0
    [run] = cdp("apply", plan["plan"])
    assert run["delivered"] == sum(plan["counts"][op] for op in ("add", "change", "remove"))
    [stale] = cdp("apply", plan["plan"], expect=1)
    assert stale["error"]["kind"] == "StaleError"
    told = cdp("disclosures", "--key", changed["withdrew"])
    assert {line["sync"] for line in told} >= {SYNC}
    assert told[-1]["op"] == "remove"


def test_a_run_shows_its_counts_and_who_was_left_out(cdp: Cdp, delivered: list[dict[str, Any]]) -> None:
    run = next(run for run in delivered if run["sync"] == SYNC)
    assert run["run"] in {listed["run"] for listed in cdp("runs", "--sync", SYNC)}
    detail = cdp("runs", run["run"])
    assert detail["delivered"] == run["delivered"]
    assert sum(line["count"] for line in detail["receipts"]) == run["delivered"]
    assert all(entry["rule"] and entry["count"] >= 0 for entry in detail["excluded"])


@pytest.fixture
def without_a_lakehouse(project: Path) -> Iterator[None]:
    away = project / "elsewhere"
    (project / "lake").rename(away)
    yield
    if (project / "lake").exists():  # whatever a command may have made there
        (project / "lake").rename(project / "debris")
    away.rename(project / "lake")


@pytest.mark.usefixtures("without_a_lakehouse")
def test_a_missing_lakehouse_is_named_with_the_fix(cdp: Cdp, project: Path) -> None:
    [run] = cdp("sync", SYNC, expect=1)
    assert run["run"] is None
    assert run["error"]["kind"] == "DataError"
    assert "clinical.patients" in run["error"]["message"]
    assert "cdp sample" in run["error"]["fix"]


def test_the_notebook_runs_as_it_stands(project: Path, delivered: list[dict[str, Any]]) -> None:
    [notebook] = (project / "notebooks").glob("*.py")
    done = subprocess.run(
        [sys.executable, str(notebook)], cwd=project, check=False, capture_output=True, text=True, timeout=120, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    assert "deliver it: cdp apply" in done.stdout
