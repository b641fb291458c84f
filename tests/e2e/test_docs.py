"""The documents are true: every command in them runs, and what is made from the code is what the code says."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.e2e.conftest import Cdp
from tests.reference import write_project

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(page: Path) -> list[str]:
    """The lines after `$ ` in the console blocks of a page."""
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(), re.S | re.M)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def test_the_readme_has_commands() -> None:
    assert len(commands(ROOT / "README.md")) >= 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_the_page_runs(page: Path, cdp: Cdp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = commands(page)
    if lines and not lines[0].startswith("cdp init"):
        assert cdp("init", "clinic").code == 0
        monkeypatch.chdir(tmp_path / "clinic")
    for line in lines:
        words = shlex.split(line)
        if words[0] == "cd":
            monkeypatch.chdir(words[1])
        else:
            assert words[0] == "cdp", line
            said = cdp(*words[1:])
            assert said.code == 0, f"{line}\n{said.err}"


def test_pages_made_from_the_code_are_up_to_date() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    for page, make in made["PAGES"].items():
        assert (ROOT / "docs" / page).read_text() == make(), f"docs/{page} is stale: run python docs/generate.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_tests_of_the_page_on_the_language_pass(cdp: Cdp, tmp_path: Path) -> None:
    said = cdp("test", "--project", str(write_project(tmp_path)), "--json")
    assert said.code == 0, said.out + said.err
    cases = [line for line in (ROOT / "docs" / "segments.md").read_text().splitlines() if re.search(r"expect: ", line)]
    assert len(cases) >= 8


def test_the_catalog_of_the_example_says_how_large_its_segments_were(cdp: Cdp, project: Path, channel: object) -> None:
    assert cdp("sync", "a1c_reminder_email", "--quiet").code == 0
    assert cdp("docs", "--sizes", "--out", "catalog.html").code == 0
    text = (project / "catalog.html").read_text()
    article = re.search(r'<article id="segment-a1c_overdue">.*?</article>', text, re.S)
    assert article is not None
    [shown] = re.findall(r'<ul class="sizes"><li><strong>(.*?)</strong>', article[0])
    assert int(shown.replace(",", "")) >= 11
    patients = [path for path in (project / "lake").rglob("*.parquet") if "patients" in str(path)]
    assert patients
    keys = pq.read_table(patients[0], columns=["patient_id", "email"]).to_pylist()
    for row in keys:
        for value in row.values():
            assert value is None or value not in text, "a value of a patient stands in the catalog"


def test_the_story_is_told(cdp: Cdp, tmp_path: Path) -> None:
    said = cdp("demo", str(tmp_path / "demo"))
    assert said.code == 0, said.out[-2000:] + said.err
    shown = [line[6:].split()[0] for line in said.out.splitlines() if line.startswith("$ cdp ")]
    assert shown == ["init", "validate", "compile", "plan", "apply", "sync", "sample", "plan", "apply", "plan", "runs", "disclosures"]
    assert "no agreement covers it" in said.out
    assert cdp("demo", str(tmp_path)).code == 2  # a folder that no demo made is left alone
