"""Reviews of value sets: whoever answers for them sees what has changed since, and what to write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cdp.analyst.change.reviews import look
from cdp.cli.app import main
from cdp.project.load import load
from tests.projects import minimal, review
from tests.repositories import commit, edit

SET = "kind: value_set\nname: diabetes\nsystem: SNOMED\nfile: diabetes.csv\n"
REVIEWS = "kind: value_sets\nvalue_sets:\n" + review("diabetes", "none", SNOMED=("44054006", "46635009"))


def project(tmp_path: Path, reviews: str = REVIEWS) -> Path:
    files = {"models/set.yml": SET, "models/diabetes.csv": "code\n44054006\n46635009\n", "governance/value_sets.yml": reviews}
    return minimal(tmp_path, **files)


def test_what_came_and_went_since_the_review_is_what_git_knows(tmp_path: Path) -> None:
    root = project(tmp_path)
    reviewed = commit(root, "reviewed")
    (root / "models/note.yml").write_text("kind: value_set\nname: other\nsystem: SNOMED\ncodes: [1]\n")
    commit(root, "something else")
    edit(root / "models/diabetes.csv", "46635009", "5602001")
    found = look(load(root), "diabetes")
    assert found.state == "other codes"
    assert found.since is not None
    assert (found.since.commit, found.since.added, found.since.removed) == (reviewed, (("SNOMED", "5602001"),), (("SNOMED", "46635009"),))


@pytest.mark.parametrize("history", ["none", "of a project that did not load", "of a review that never fitted"])
def test_where_git_cannot_tell_nothing_is_made_up(tmp_path: Path, history: str) -> None:
    root = project(tmp_path)
    if history == "of a project that did not load":
        (root / "models/broken.yml").write_text("kind: segmint\n")
        commit(root)
        (root / "models/broken.yml").unlink()
    if history == "of a review that never fitted":
        (root / "models/diabetes.csv").write_text("code\n7\n")
        commit(root)
    (root / "models/diabetes.csv").write_text("code\n5602001\n")
    found = look(load(root), "diabetes")
    assert (found.state, found.since) == ("other codes", None)


def test_a_set_that_was_looked_at_stays_reviewed_whatever_is_written_around_it(tmp_path: Path) -> None:
    root = project(tmp_path)
    (root / "models/diabetes.csv").write_text("display,code\nType 1,46635009\nType 2,44054006\n")
    assert look(load(root), "diabetes").state == "reviewed"


def test_the_command_prints_the_codes_and_what_to_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = project(tmp_path, "kind: value_sets\nvalue_sets:\n  diabetes: {class: none, reviewed: {by: Ann, on: 2026-01-20}}\n")
    assert main(["governance", "review", "diabetes", "--project", str(root)]) == 0
    said = capsys.readouterr().out
    assert "no fingerprint" in said
    assert "SNOMED: 44054006, 46635009" in said
    pasted = said.partition("governance/value_sets.yml:\n")[2].replace("TODAY", "2026-07-01")
    (root / "governance/value_sets.yml").write_text(f"kind: value_sets\nvalue_sets:\n{pasted}")
    assert look(load(root), "diabetes").state == "reviewed"


def test_the_list_names_the_state_of_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = project(tmp_path)
    (root / "models/more.yml").write_text("kind: value_set\nname: other\nsystem: SNOMED\ncodes: [1]\n")
    assert main(["governance", "review", "--json", "--project", str(root)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(each["value_set"], each["state"]) for each in found] == [("diabetes", "reviewed"), ("other", "not reviewed")]
    assert main(["governance", "review", "diabetis", "--project", str(root)]) == 2
