"""What the language refuses: every wrong model with the exact problems, each with its place, the valid words and the fix.

The corpus is tests/fixtures/refused/language. A case without files is the condition of a segment, in line 6 of
models/asked.yml; else it is written as `tests.unit.test_load` reads it, over the clinic of `tests.language_world`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cdp.errors import ProjectError
from cdp.project.load import load
from tests.language_world import WORLD, asked, clinic

FIXTURES = Path(__file__).parents[1] / "fixtures" / "refused" / "language"


def _corpus() -> dict[str, str]:
    texts = [path.read_text() for path in sorted(FIXTURES.glob("*.txt"))]
    cases = [part.partition("\n") for text in texts for part in re.split(r"^== ", text, flags=re.MULTILINE)[1:]]
    assert len({name for name, _, _ in cases}) == len(cases), "two cases of one name"
    return {name: body for name, _, body in cases}


def _files(body: str) -> dict[str, str]:
    """The files of a case: those it writes or adds to."""
    files = {}
    for part in re.split(r"^@ ", body, flags=re.MULTILINE)[1:]:
        file, _, lines = part.partition("\n")
        added = "".join(f"{line[2:]}\n" for line in lines.splitlines() if line.startswith("+"))
        removed = [line[2:] for line in lines.splitlines() if line.startswith("- ")]
        if not removed:
            files[file] = added
            continue
        assert WORLD[file].count("\n".join(removed)) == 1, f"{file}: {removed} must stand there once"
        files[file] = WORLD[file].replace("\n".join(removed) + "\n", added)
    return files


CORPUS = _corpus()


@pytest.mark.parametrize("name", CORPUS)
def test_refused(tmp_path: Path, name: str) -> None:
    body = CORPUS[name]
    expected = [".*".join(map(re.escape, line.split("..."))) for line in re.findall(r"^> (.*)$", body, re.MULTILINE)]
    assert expected, "a case must expect a problem"
    files = _files(body)
    with pytest.raises(ProjectError) as error:
        load(clinic(tmp_path, **files)) if files else asked(name)
    found = [str(problem) for problem in error.value.problems]
    assert len(found) == len(expected), "\n".join(found)
    for problem, pattern in zip(found, expected, strict=True):
        assert re.fullmatch(pattern, problem), problem


def test_the_clinic_is_right(tmp_path: Path) -> None:
    project = load(clinic(tmp_path))
    assert not project.bound.segments.keys() ^ {"adults", "diabetic"}


def test_all_mistakes_come_at_once() -> None:
    with pytest.raises(ProjectError) as error:
        asked("[{agee: 1}, {has: condition}, {any: [{sex: $x}, {doses: y}]}]")
    assert [problem.where for problem in error.value.problems] == [
        "where[0].agee",
        "where[1].has",
        "where[2].any[0].sex",
        "where[2].any[1].doses",
    ]
