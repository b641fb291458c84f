"""A change from the terminal to the pull request: cdp new, fmt, diff, and the example's workflow run as GitHub runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cdp.cli.app import main
from cdp.project.load import load
from tests.e2e.conftest import Cdp
from tests.repositories import commit, edit, git

WORKFLOW = ".github/workflows/cdp.yml"


def declared(root: Path, kind: str, name: str) -> Path:
    """The file of the project that declares something."""
    return root / load(root).sources[kind, name].file


@pytest.fixture
def repository(project: Path) -> Path:
    """The example with its lakehouse, committed."""
    commit(project)
    return project


@pytest.fixture
def change(repository: Path) -> Path:
    """Flu shots for people of fifty and more only."""
    edit(declared(repository, "segment", "flu_vaccine_due"), "  - age: {gte: 18}\n", "  - age: {gte: 50}\n")
    return repository


# -- cdp diff -------------------------------------------------------------------------------------------------------------


def test_nothing_changed(cdp: Cdp, repository: Path) -> None:
    said = cdp("diff", "HEAD")
    assert said.code == 0
    assert "nothing that means anything else" in said.out
    found = cdp("diff", "HEAD", "--json").json
    assert (found["models"], found["segments"], found["syncs"]) == ([], [], [])


def test_a_change_as_tables_json_and_markdown(cdp: Cdp, change: Path) -> None:
    found = cdp("diff", "HEAD", "--by", "sex", "--json").json
    assert found["commit"] == git(change, "rev-parse", "HEAD")
    assert {(each["kind"], each["name"], each["change"]) for each in found["models"]} == {
        ("segment", "flu_vaccine_due", "changed"),
        ("sync", "flu_reminder_sms", "changed"),
    }
    (segment,) = found["segments"]
    people = segment["people"]
    assert people["enter"] == 0
    assert people["leave"] == people["before"] - people["after"] > 10
    assert people["by"][0]["rows"][0]["value"] == "female"
    assert found["tables"]["clinical.patients"] is not None
    (sync,) = found["syncs"]
    assert (sync["name"], sync["destination"], sync["people"]) == ("flu_reminder_sms", "outreach_sms", people)

    table = cdp("diff", "HEAD", "--by", "sex")
    assert max(map(len, table.out.split("\nsegment flu_vaccine_due\n")[0].splitlines())) <= 200
    assert "flu_vaccine_due, those who move by sex" in table.out
    assert "-  patient.birth_date <= CAST(" in table.out
    assert "consent" in table.err

    markdown = cdp("diff", "HEAD", "--markdown").out
    assert markdown.startswith("## What changes since `HEAD`\n")
    assert f"| `flu_vaccine_due` | {people['before']} | {people['after']} | {people['stay']} | 0 | {people['leave']} |" in markdown
    assert markdown.count("```") == 2
    assert markdown.count("<details>") == markdown.count("</details>") == 1


def test_uncommitted_files_count_and_names_narrow(cdp: Cdp, change: Path) -> None:
    edit(declared(change, "value_set", "hypertension"), "59621000", "59621001")
    assert cdp("new", "segment", "fresh").code == 0
    everything = cdp("diff", "HEAD", "--no-data", "--json").json
    assert {("segment", "fresh"), ("value_set", "hypertension")} <= {(each["kind"], each["name"]) for each in everything["models"]}
    assert everything["tables"] is None
    narrowed = cdp("diff", "HEAD", "hypertension", "--no-data", "--json").json
    names = {each["name"] for each in narrowed["models"]}
    assert {"hypertension", "bp_uncontrolled", "bp_outreach"} <= names
    assert not names & {"fresh", "flu_vaccine_due"}
    value_set = next(each for each in narrowed["models"] if each["kind"] == "value_set")
    assert value_set["details"] == ["+ SNOMED 59621001", "- SNOMED 59621000"]
    assert "bp_outreach" in value_set["downstream"]


def test_without_a_lakehouse_the_meaning_is_compared_and_a_note_says_so(cdp: Cdp, change: Path) -> None:
    shutil.rmtree(change / "lake")
    said = cdp("diff", "HEAD", "--json")
    assert said.code == 0
    assert f"there is no lakehouse at {change / 'lake'}: nobody is counted" in said.err
    assert [each["people"] for each in said.json["segments"]] == [None]
    assert "Without data: nobody was counted." in cdp("diff", "HEAD", "--markdown", "-q").out


def test_a_revision_that_does_not_load_is_named_as_git_names_files(cdp: Cdp, change: Path) -> None:
    commit(change, "the change")
    file = declared(change, "segment", "flu_vaccine_due")
    edit(file, "age: {gte: 50}", "age: {gte: many}")
    commit(change, "broken")
    edit(file, "age: {gte: many}", "age: {gte: 50}")
    said = cdp("diff", "HEAD")
    assert said.code == 1
    assert f"HEAD:{file.relative_to(change)}:" in said.err
    assert cdp("diff", "HEAD~1", "--no-data").code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere",), "git knows no revision 'nowhere'"),
        (("HEAD", "nobody"), "nothing is named 'nobody'"),
        (("HEAD", "--by", "shoe_size"), "no such column or trait"),
        (("HEAD", "--markdown", "--json"), "two formats"),
        ((), "REF"),
    ],
)
def test_a_wrong_call(cdp: Cdp, change: Path, words: tuple[str, ...], said: str) -> None:
    done = cdp("diff", *words)
    assert done.code == 2
    assert said in done.out + done.err


def test_people_are_not_told_apart_by_what_names_them(cdp: Cdp, change: Path) -> None:
    done = cdp("diff", "HEAD", "--by", "ssn")
    assert done.code == 1
    assert "tells people apart" in done.err


# -- the workflow ---------------------------------------------------------------------------------------------------------


def steps(repository: Path) -> dict[str, dict[str, Any]]:
    """The workflow's steps by name, or by the action that they use."""
    workflow = yaml.safe_load((repository / WORKFLOW).read_text())
    return {step.get("name", step.get("uses")): step for step in workflow["jobs"]["review"]["steps"]}


@pytest.fixture
def runner(change: Path, tmp_path: Path) -> Path:
    """What actions/checkout leaves: the merge commit of the pull request, and as HEAD^1 what it is merged into."""
    git(change, "checkout", "--quiet", "-b", "flu")
    assert main(["fmt", "-q"]) == 0
    commit(change, "the change")
    git(change, "checkout", "--quiet", "main")
    git(change, "merge", "--quiet", "--no-ff", "-m", "merge", "flu")
    git(tmp_path, "clone", "--quiet", "--depth=2", f"file://{change}", "runner")
    return tmp_path / "runner"


def test_the_workflow_pins_its_actions_and_asks_for_no_more_than_it_needs(repository: Path) -> None:
    workflow = yaml.safe_load((repository / WORKFLOW).read_text())
    assert workflow["permissions"] == {"contents": "read", "pull-requests": "write"}
    used = [step["uses"] for step in workflow["jobs"]["review"]["steps"] if "uses" in step]
    assert len(used) == 3
    assert all(action.rpartition("@")[2].removeprefix("v").isdigit() for action in used)
    runs = [step["run"] for step in workflow["jobs"]["review"]["steps"] if "run" in step]
    assert not any("${{" in run for run in runs)  # what others write into a pull request never becomes a part of a script


def test_the_workflow_s_own_commands_work_on_a_merge_commit(runner: Path, tmp_path: Path) -> None:
    tools, temp = tmp_path / "bin", tmp_path / "temp"
    for folder in (tools, temp):
        folder.mkdir()
    (tools / "cdp").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cdp "$@"\n')
    (tools / "cdp").chmod(0o755)
    files = {name: temp / name.lower() for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "RUNNER_TEMP": str(temp)}
    environment |= {name: str(path) for name, path in files.items()}
    own = steps(runner)

    def run(name: str, **env: str) -> subprocess.CompletedProcess[str]:
        script = ["bash", "-eo", "pipefail", "-c", own[name]["run"]]
        return subprocess.run(script, cwd=runner, env={**environment, **env}, capture_output=True, text=True, check=False, timeout=300)

    assert run("Is there a project to compare with?").returncode == 0
    assert files["GITHUB_OUTPUT"].read_text() == "since=HEAD^1\n"
    assert run("Valid, and allowed by governance").stdout.splitlines()[-1].split(": ")[1].startswith("all well")
    layout = run("In the one layout")
    assert layout.returncode == 0, layout.stdout
    tests = run("The tests of what changed, and of what depends on it", SINCE="HEAD^1")
    assert tests.returncode == 1, tests.stdout  # the tests say 18: the change broke them, as it should
    assert "flu_vaccine_due" in tests.stdout
    assert "a1c_overdue" not in tests.stdout
    assert (temp / "cdp-tests.xml").read_text().startswith("<?xml")
    diff = run("What the change does", SINCE="HEAD^1")
    assert diff.returncode == 0, diff.stderr
    comment = (temp / "cdp-diff.md").read_text()
    assert comment.startswith("<!-- cdp diff -->\n## What changes since `HEAD^1`\n")
    assert "`flu_reminder_sms`" in comment
    assert files["GITHUB_STEP_SUMMARY"].read_text() == comment


def test_a_repository_that_gets_its_first_project_has_nothing_to_compare_with(runner: Path, tmp_path: Path) -> None:
    git(runner, "checkout", "--quiet", "--orphan", "empty")
    git(runner, "rm", "-r", "-f", "--quiet", ".")
    commit(runner, "nothing yet")
    git(runner, "checkout", "--quiet", "main", "--", ".")
    commit(runner, "the project")
    output = tmp_path / "output"
    script = ["bash", "-eo", "pipefail", "-c", steps(runner)["Is there a project to compare with?"]["run"]]
    done = subprocess.run(script, cwd=runner, env={**os.environ, "GITHUB_OUTPUT": str(output)}, check=False)
    assert done.returncode == 0
    assert not output.exists()


def test_json_of_every_verb_here_is_json_alone(cdp: Cdp, change: Path) -> None:
    for words in (("diff", "HEAD"), ("fmt", "--check"), ("new", "segment", "more"), ("validate", "--changed-since", "HEAD")):
        json.loads(cdp(*words, "--json").out)
