"""Does the corpus bite? Take one rule out of governance at a time, and some case must say so.

The rules of the walk are those of test_noninterference, where the perturbation of data must catch each of them; here those that
a project of YAML can show. The rules around the walk are taken out one by one as well.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cdp.compile.clock import Clock
from cdp.governance import decide, facts, receivers, reviews
from cdp.governance.classes import ClassTree
from cdp.governance.decide import Governor
from cdp.governance.rows import special
from cdp.governance.taint import Fact
from cdp.project.load import Project, load
from tests.governance_corpus import CONNECTORS, Case, cases
from tests.projects import minimal
from tests.unit.test_governance_corpus import unmet
from tests.unit.test_noninterference import MUTANTS, mutant

FILES = ("narrowing", "joins", "filters", "sql", "classes", "never", "derived", "declassify", "keys")
WALK = [
    "WHERE tells nothing",
    "WHERE with OR tells nothing",
    "HAVING tells nothing",
    "ON tells nothing",
    "GROUP BY tells nothing",
    "a joined table's rows tell nothing",
    "nullness tells nothing",
    "EXISTS tells nothing",
    "a scalar subquery's value tells nothing",
    "LIMIT tells nothing of the order",
    "a window's order tells nothing",
    "set operations read one side",
    "narrow by any code",
    "narrow what is no copy",
    "narrow to nothing",
]


class Loaded(NamedTuple):
    """A case of the corpus whose project loads."""

    case: Case
    project: Project

    def unmet(self) -> str:
        """What the case expects and does not find, or finds and does not expect."""
        now = Clock.parse(self.case.now, self.project.timezone)
        clock = Clock.parse(self.case.as_of, self.project.timezone) if self.case.as_of else now
        found = Governor.of(self.project).check(self.case.sync, clock=clock, now=now)
        return unmet(self.case.reasons, [str(refusal).splitlines()[0] for refusal in found])


@pytest.fixture(scope="module")
def corpus() -> list[Loaded]:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(each for each in cases("refused") if each.file in FILES and not each.problems):
            found.append(Loaded(case, load(minimal(Path(folder) / str(number), **case.overlays()), CONNECTORS)))
    return found


def test_as_it_is_every_case_is_met(corpus: list[Loaded]) -> None:
    assert not [(loaded.case.name, missing) for loaded in corpus if (missing := loaded.unmet())]
    assert len(corpus) > 80


@pytest.mark.parametrize("name", WALK)
def test_a_rule_taken_out_of_the_walk_is_caught(corpus: list[Loaded], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(special, "Analyst", type(mutant(monkeypatch, *MUTANTS[name])))
    assert any(loaded.unmet() for loaded in corpus), f"no case shows the difference: {name}"


def _lax(rows: frozenset[Fact], takes: frozenset[str], gives: str, tree: ClassTree) -> frozenset[Fact]:
    return frozenset(Fact(f.table, f.column, gives) if f.cls in takes else f for f in rows)


AROUND: Mapping[str, tuple[object, str, Callable[..., Any]]] = {
    "a review is one of a name, whatever the codes": (facts, "standing", lambda project, name: project.policy.reviews.get(name)),
    "a code is reviewed, whatever other list it stands in": (facts, "_unreviewed", lambda project: set()),
    "a review that is none is not said": (decide, "unreviewed", lambda *_: ()),
    "nothing is never read": (receivers, "_never", lambda *_: ()),
    "a class above covers what is special": (ClassTree, "covers", lambda self, granted, cls: any(cls.startswith(g) for g in granted)),
    "every class is one of a key": (ClassTree, "is_key", lambda self, cls: True),
    "a declassification takes from any classes": (decide, "lower_rows", _lax),
    "an entity that is made of others is what it says": (special, "made_of", lambda project: {}),
}


@pytest.mark.parametrize("name", AROUND)
def test_a_rule_taken_out_around_the_walk_is_caught(corpus: list[Loaded], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(*AROUND[name])
    assert any(loaded.unmet() for loaded in corpus), f"no case shows the difference: {name}"


def test_the_rules_are_still_where_they_are_taken_out() -> None:
    assert set(WALK) <= set(MUTANTS)
    assert reviews.standing is facts.standing
