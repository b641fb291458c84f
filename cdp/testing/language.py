"""LanguageSuite: what every construct of the segment language means, on real rows, with the answers written down.

The same answers on every engine are what makes the engines equal. A case is a condition and the patients for
whom it is true at the clock of 2026-07-02, in New York.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest

from cdp.compile.clock import Clock
from cdp.compile.statement import compile_segment, compile_trait
from cdp.errors import CdpError
from cdp.project.load import load
from cdp.testing.language_cases import AS_OF, CASES
from cdp.testing.language_world import tables, write_project

if TYPE_CHECKING:
    from cdp.engine import Engine
    from cdp.project.load import Project

__all__ = ["AS_OF", "CASES", "LanguageSuite", "tables", "write_project"]

TOGETHER = 16  # cases in one statement: Spark plans and starts longer than it computes


class LanguageSuite:
    """Subclass it with a fixture `engine` (scope class) whose lakehouse is empty."""

    project: ClassVar[Project]
    answers: ClassVar[dict[str, set[str]]]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _lakehouse(cls, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> None:
        for name, rows in tables().items():
            engine.view("rows_to_load", rows)
            engine.create_as(name, "SELECT * FROM rows_to_load")
        cls.project, cls.answers = load(write_project(tmp_path_factory.mktemp("language"))), {}

    def _members(self, engine: Engine, name: str) -> str:
        """The members of a case; it is asked together with those after it, alone where the engine fails on one of them."""
        if name not in self.answers:
            names = list(CASES)
            try:
                self._ask(engine, names[names.index(name) :][:TOGETHER])
            except CdpError:
                self._ask(engine, [name])
        return " ".join(sorted(self.answers[name]))

    def _ask(self, engine: Engine, names: list[str]) -> None:
        clock = Clock.parse(AS_OF, self.project.timezone)
        queries = {name: compile_segment(self.project, name, clock) for name in names}
        engine.register(sorted({table for query in queries.values() for table in query.tables}))
        parts = [f"SELECT '{name}' AS name, patient_id FROM ({engine.sql(query.select)}) AS q" for name, query in queries.items()]
        found = engine.query(" UNION ALL ".join(parts)).to_pylist()
        self.answers.update({name: {row["patient_id"] for row in found if row["name"] == name} for name in names})

    @pytest.mark.parametrize("name", CASES)
    def test_condition_is_true_of_exactly(self, engine: Engine, name: str) -> None:
        """Each case, on this engine."""
        assert self._members(engine, name) == CASES[name][1]

    def test_trait_of_a_row_has_the_picked_row(self, engine: Engine) -> None:
        """A trait without `of` is the row itself."""
        query = compile_trait(self.project, "latest_a1c", Clock.parse(AS_OF, self.project.timezone))
        engine.register(query.tables)
        picked = {row["patient_id"]: row["latest_a1c_observation_id"] for row in engine.query(query.select).to_pylist()}
        assert picked == {"a": "1", "b": "3", "c": "5", "d": None, "e": None, "f": None, "g": None}
