"""What governance must refuse, with exactly which reasons; what it must let pass; and that every known attack has a test."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdp.compile.clock import Clock
from cdp.governance.decide import govern
from cdp.project.load import load
from tests.governance_corpus import CONNECTORS, Case, cases
from tests.projects import minimal

ROOT = Path(__file__).parents[2]
SHARED = ROOT / ".." / "shared" / "governance" / "attacks.md"
REFUSED, PASSING = cases("refused"), cases("passing")
ATTACKS = range(1, 45)  # the lines of attacks.md


def fits(pattern: str, text: str) -> bool:
    """`...` in the pattern stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("..."))), text) is not None


def unmet(patterns: tuple[str, ...], found: list[str]) -> str:
    """What was expected and is not there, and what is there and was not expected."""
    missing = [f"missing: {pattern}" for pattern in patterns if not any(fits(pattern, text) for text in found)]
    more = [f"not expected: {text}" for text in found if not any(fits(pattern, text) for pattern in patterns)]
    return "\n".join(missing + more)


def named(case: Case) -> str:
    return f"{case.file}: {case.name}"


@pytest.mark.parametrize("case", REFUSED, ids=named)
def test_is_refused_for_exactly_these_reasons(tmp_path: Path, case: Case) -> None:
    problems, reasons, _ = case.found(tmp_path)
    assert case.reasons or case.problems, "a case must expect a reason or a problem"
    assert not unmet(case.problems, problems)
    assert not unmet(case.reasons, reasons)


@pytest.mark.parametrize("case", PASSING, ids=named)
def test_passes(tmp_path: Path, case: Case) -> None:
    problems, reasons, warnings = case.found(tmp_path)
    assert not problems + reasons
    assert case.warnings is None or not unmet(case.warnings, warnings)
    if case.members is not None:
        project = load(minimal(tmp_path / "again", **case.overlays()), CONNECTORS)
        now = Clock.parse(case.now, project.timezone)
        assert set(govern(project, case.sync, clock=now, now=now).decision.members) == case.members


def test_no_two_cases_have_one_name() -> None:
    for found in (REFUSED, PASSING):
        assert sorted(map(named, found)) == sorted({*map(named, found)})


def test_the_corpus_is_large_enough_to_mean_something() -> None:
    assert len(REFUSED) >= 150
    assert len(PASSING) >= 40


# -- attacks ----------------------------------------------------------------------------------------------------------


def spoken_of(text: str) -> set[int]:
    """The numbers after `attack`: `attack 28`, `attacks 3 and 4`, `attack_28_by_name`."""
    said = re.findall(r"attacks?[ _](\d+(?:(?:, | and |, and |_and_)\d+)*)", text, re.IGNORECASE)
    return {int(number) for numbers in said for number in re.findall(r"\d+", numbers)}


def named_by_tests() -> Iterator[set[int]]:
    """The attacks that the names and docstrings of tests speak of, those of the shipped suites included."""
    for path in [
        *(ROOT / "tests").rglob("test_*.py"),
        *(ROOT / "tests" / "conformance").glob("*.py"),
        *(ROOT / "cdp" / "testing").glob("*.py"),
    ]:
        if path == Path(__file__) or "attack" not in (text := path.read_text()).lower():
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield spoken_of(f"{node.name}\n{ast.get_docstring(node) or ''}")


def test_every_attack_that_is_known_has_a_test() -> None:
    covered = {number for case in REFUSED + PASSING for number in case.attacks}.union(*named_by_tests())
    missing = sorted(set(ATTACKS) - covered)
    assert not missing, f"attacks.md, no test names: {', '.join(map(str, missing))}"


def test_the_list_of_attacks_is_the_one_we_were_given() -> None:
    if not SHARED.is_file() and not os.environ.get("CDP_NO_SKIP"):
        pytest.skip("the list lies beside the repository")
    assert [int(number) for number in re.findall(r"^\|(\d+)\|", SHARED.read_text(), re.MULTILINE)] == list(ATTACKS)
