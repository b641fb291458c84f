"""A project at a git revision: what it was, what changed since, what depends on that; and every way in which it cannot be told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cdp.analyst.change.changes import Affected, affected
from cdp.analyst.change.revisions import author, prefix, revision
from cdp.cli.app import main
from cdp.errors import UsageError
from cdp.project.load import load
from tests.projects import CLASSES, FILES, PATIENT, SEGMENT, WITH_ACCOUNT, minimal
from tests.repositories import commit, edit, git

CONDITIONS = """\
kind: entity
name: condition
table: clinical.conditions
key: condition_id
time: onset
rows: clinical.condition
columns:
  condition_id: {type: string, class: identifier.internal}
  patient_id: {type: string, class: identifier.mrn}
  code: {type: code, class: clinical.condition, system: SNOMED}
  onset: {type: date, class: clinical.date}
"""

SETS = """\
kind: value_set
name: asthma
system: SNOMED
file: asthma.csv
---
kind: value_set
name: copd
system: SNOMED
codes: [13645005]
"""

MODELS = """\
kind: trait
name: asthma_count
entity: patient
count: conditions
where: {code: {in: asthma}}
---
kind: segment
name: with_asthma
entity: patient
owner: care@example.org
purpose: care_coordination
where: {has: conditions, where: {code: {in: asthma}}}
---
kind: segment
name: often
entity: patient
owner: care@example.org
purpose: care_coordination
where:
  - asthma_count: {gte: 3}
  - segment: adults
---
kind: segment
name: with_copd
entity: patient
owner: care@example.org
purpose: care_coordination
where: {has: conditions, where: {code: {in: copd}}}
"""

OVERLAYS = {
    **WITH_ACCOUNT,  # a project without a warning
    "models/patient.yml": PATIENT.replace("relations:\n", "relations:\n  conditions: {many: condition, via: patient_id}\n"),
    "models/conditions.yml": CONDITIONS,
    "models/sets.yml": SETS,
    "models/asthma.csv": "code\n195967001\n",
    "models/programme.yml": MODELS,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A committed project of four segments."""
    made = minimal(tmp_path, **OVERLAYS)
    commit(made)
    return made


def since(root: Path, ref: str = "HEAD") -> Affected:
    return affected(load(root), ref)


def touched(found: Affected, *kinds: str) -> dict[str, set[str]]:
    return {kind: set(found.names(kind)) for kind in kinds or ("segment", "trait", "sync") if found.names(kind)}


# -- what it was ----------------------------------------------------------------------------------------------------------


def test_a_revision_is_the_project_as_it_was_committed(root: Path) -> None:
    committed = {name: (root / name).read_bytes() for name in (*FILES, *OVERLAYS)}
    edit(root / "models/adults.yml", "18", "21")
    (root / "models/new.yml").write_text("kind: nonsense\n")
    with revision(root, "HEAD") as then:
        assert then.commit == git(root, "rev-parse", "HEAD")
        assert {path.relative_to(then.root).as_posix() for path in then.root.rglob("*") if path.is_file()} == committed.keys()
        assert all((then.root / name).read_bytes() == content for name, content in committed.items())
        assert load(then.root).segments.keys() == {"adults", "with_asthma", "often", "with_copd"}
        folder = then.root
    assert not folder.exists()
    assert "21" in (root / "models/adults.yml").read_text()


@pytest.mark.parametrize("ref", ["HEAD", "main", "v1", "HEAD~1", "short"])
def test_branches_tags_and_commits_are_revisions(root: Path, ref: str) -> None:
    git(root, "tag", "v1")
    commit(root, "another")
    with revision(root, git(root, "rev-parse", "--short", "HEAD") if ref == "short" else ref) as then:
        assert (then.root / "conf/cdp.yml").is_file()
        assert then.commit == git(root, "rev-parse", f"{then.ref}^{{commit}}")


def test_the_project_may_be_a_folder_of_the_repository_and_links_are_links(tmp_path: Path) -> None:
    root = minimal(tmp_path, **OVERLAYS)
    (root / "models/linked.csv").symlink_to("asthma.csv")
    (tmp_path / "README").write_text("not of the project")
    commit(tmp_path)
    assert prefix(root) == "project/"
    assert prefix(tmp_path) == ""
    with revision(root, "HEAD") as then:
        assert os.readlink(then.root / "models/linked.csv") == "asthma.csv"
        assert not (then.root / "README").exists()
    edit(root / "models/adults.yml", "18", "21")
    assert since(root).changed == {"segment": {"adults"}}


def test_attributes_and_hooks_of_git_change_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / ".gitattributes").write_text("models/** export-ignore\n*.yml ident\n")
    commit(root)
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    assert since(root) == Affected({}, {}, {})


# -- what changed ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("models/adults.yml", "kind: segment", "# a comment\nkind: segment"),
        ("models/adults.yml", "where: {age: {gte: 18}}", "where:\n    age: { gte: '18' }\n\n"),
        ("models/sets.yml", "---\n", "\n\n---\n# more\n"),
        ("models/asthma.csv", "\n", "\r\n"),
    ],
)
def test_comments_quotes_and_layout_do_not_count(root: Path, file: str, old: str, new: str) -> None:
    edit(root / file, old, new)
    assert since(root) == Affected({}, {}, {})


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("models/programme.yml", "{in: copd}", "{in: asthma}", {"segment": {"with_copd"}}),
        ("models/adults.yml", "18", "21", {"segment": {"adults", "often"}, "sync": {"adults_mail"}}),
        ("models/adults.yml", "Everyone of age.", "All of age.", {"segment": {"adults", "often"}, "sync": {"adults_mail"}}),
        (
            "models/programme.yml",
            "count: conditions",
            "count: conditions\nwithin: {years: 1}",
            {"trait": {"asthma_count"}, "segment": {"often"}},
        ),
        ("models/sets.yml", "[13645005]", "[13645005, 185086009]", {"segment": {"with_copd"}}),
        ("models/asthma.csv", "195967001", "195967001\n233678006", {"trait": {"asthma_count"}, "segment": {"with_asthma", "often"}}),
        (
            "models/conditions.yml",
            "rows: clinical.condition\n",
            "rows: clinical.condition\nwhere: {code: {not_null: true}}\n",
            {"trait": {"asthma_count"}, "segment": {"with_asthma", "often", "with_copd"}},
        ),
        ("destinations/mail.yml", "channel: email", "channel: mail", {"sync": {"adults_mail"}}),
        ("governance/baa/mailer.yml", "2099-01-14", "2098-01-14", {"sync": {"adults_mail"}}),
        ("governance/classes.yml", "  public: {phi: false}\n", "  public: {phi: false}\n  other: {}\n", {"sync": {"adults_mail"}}),
        ("governance/masks.yml", "per: destination}", "per: destination, key_version: 2}", {"sync": {"adults_mail"}}),
        ("governance/masks.yml", ', over_89: "null"}', "}", {}),
        ("governance/eligibility.yml", "45 CFR 164.502(f)", "x", {"sync": {"adults_mail"}}),
        ("governance/purposes.yml", "consent: opt_in", "consent: none_needed", {"sync": {"adults_mail"}}),
        (
            "conf/cdp.yml",
            "America/New_York",
            "America/Chicago",
            {"trait": {"asthma_count"}, "segment": {"adults", "with_asthma", "often", "with_copd"}, "sync": {"adults_mail"}},
        ),
        ("conf/cdp.yml", "lakehouse: lake", "lakehouse: elsewhere", {}),
    ],
)
def test_what_is_touched_by_a_change(root: Path, file: str, old: str, new: str, expected: dict[str, set[str]]) -> None:
    edit(root / file, old, new)
    assert touched(since(root)) == expected


def test_what_changed_and_what_depends_on_it_are_told_apart(root: Path) -> None:
    edit(root / "models/adults.yml", "18", "21")
    found = since(root)
    assert found.changed == {"segment": {"adults"}}
    assert found.dependent == {"segment": {"often"}, "sync": {"adults_mail"}}
    assert found.removed == {}


def test_what_is_new_and_what_is_gone(root: Path) -> None:
    edit(root / "models/programme.yml", "name: with_copd", "name: copd_patients")
    found = since(root)
    assert found.changed == {"segment": {"copd_patients"}}
    assert found.removed == {"segment": {"with_copd"}}
    assert touched(found) == {"segment": {"copd_patients"}}


def test_a_document_that_moves_to_another_file_is_the_same(root: Path) -> None:
    text = (root / "models/adults.yml").read_text()
    (root / "models/adults.yml").unlink()
    (root / "models/segments").mkdir()
    (root / "models/segments/grown_up.yml").write_text(text)
    assert since(root) == Affected({}, {}, {})


def test_the_order_of_keys_counts_because_the_fingerprint_of_the_sql_does(root: Path) -> None:
    edit(root / "models/adults.yml", "where: {age: {gte: 18}}", "where: {age: {gte: 18}, email: {not_null: true}}")
    commit(root)
    edit(root / "models/adults.yml", "{age: {gte: 18}, email: {not_null: true}}", "{email: {not_null: true}, age: {gte: 18}}")
    assert since(root).changed == {"segment": {"adults"}}


def test_the_revision_need_not_be_a_valid_project(tmp_path: Path) -> None:
    root = minimal(tmp_path, **{"models/adults.yml": "kind: segment\nname: {\n", "governance/classes.yml": CLASSES + "  broken: [\n"})
    commit(root)
    (root / "models/adults.yml").write_text(SEGMENT)
    (root / "governance/classes.yml").write_text(CLASSES)
    found = since(root)
    assert found.changed == {"classes": {"classes"}, "segment": {"adults"}}
    assert found.names("sync") == {"adults_mail"}


# -- what cannot be told --------------------------------------------------------------------------------------------------


def refused(root: Path, ref: str = "HEAD") -> str:
    with pytest.raises(UsageError) as error, revision(root, ref):
        raise AssertionError
    assert error.value.fix
    return str(error.value)


@pytest.mark.parametrize("ref", ["nowhere", "--help", "HEAD~99", "", "-"])
def test_an_unknown_revision(root: Path, ref: str) -> None:
    assert f"git knows no revision {ref!r}" in refused(root, ref)


def test_a_shallow_clone_says_that_it_is_one(root: Path, tmp_path: Path) -> None:
    commit(root, "second")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{root}", "shallow")
    assert "shallow" in refused(tmp_path / "shallow", "HEAD~1")


def test_no_repository(tmp_path: Path) -> None:
    assert "is not in a git repository" in refused(minimal(tmp_path))


def test_a_revision_without_the_project(tmp_path: Path) -> None:
    (tmp_path / "README").write_text("first")
    commit(tmp_path)
    root = minimal(tmp_path)
    assert "HEAD holds no project: project/conf/cdp.yml is not in it" in refused(root)


def test_no_git(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "git is not installed" in refused(root)
    assert prefix(root) is None
    assert author(root) is None


# -- validate -------------------------------------------------------------------------------------------------------------


def test_validate_looks_at_what_a_change_touches_only(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("validate", "--project", str(root), "--changed-since")
    assert main([*words, "HEAD"]) == 0
    assert capsys.readouterr().out.startswith("0 segments, 0 traits and 0 syncs checked: all well")
    edit(root / "models/adults.yml", "18", "21")
    assert main([*words, "HEAD"]) == 0
    assert capsys.readouterr().out.startswith("2 segments, 0 traits and 1 sync checked: all well")
    assert main([*words, "HEAD", "often"]) == 0
    assert capsys.readouterr().out.startswith("1 segment, 0 traits and 0 syncs checked: all well")
    assert main([*words, "nowhere"]) == 2
    assert "git knows no revision 'nowhere'" in capsys.readouterr().err


def test_a_mistake_anywhere_is_found_whatever_changed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(root / "models/adults.yml", "18", "many")
    commit(root)
    assert main(["validate", "--project", str(root), "--changed-since", "HEAD"]) == 1
    assert "models/adults.yml:7" in capsys.readouterr().out
