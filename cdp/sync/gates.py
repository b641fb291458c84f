"""What a sync expects of the rows about to leave: asked of the rows that a plan has stored, before they are hashed.

Rows that fail an expectation which drops them are left out first; the others are asked of what is left. Of a plan that only
removes nothing is asked: a removal names nobody anew.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from cdp import quality
from cdp.engine.base import Engine, quoted
from cdp.profile import step
from cdp.quality import Result
from cdp.sync import diff
from cdp.sync.guards import QUALITY, Violation

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from cdp.spec.activation import Sync
    from cdp.spec.quality import Expectation

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Passed:
    """What came of asking: the results in the order of the sync, and how many rows of each op were dropped."""

    results: tuple[Result, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)


def check(sync: Sync, types: Mapping[str, str]) -> None:
    """Whether a sync's expectations can be asked, before anything is computed.

    Args:
        sync: its `quality`.
        types: of the columns that leave.

    Raises:
        EngineError: Great Expectations is not installed.
        DataError: an expectation does not fit its column's type.
    """
    if sync.quality:
        quality.check_installed()
        quality.check_types(sync.quality, types)


def store(engine: Engine, sync: Sync, shape: diff.Shape, table: str, rows: str, *, upserts: bool) -> Passed:
    """Write the rows of a plan, but those that an expectation drops, and ask all expectations of them.

    Args:
        engine: of the environment.
        sync: its `quality`.
        shape: the stored columns.
        table: of the plan.
        rows: SQL of its rows.
        upserts: whether some of them are added or changed.

    Raises:
        DataError: an expectation cannot be evaluated.
    """
    if not sync.quality or not upserts:
        engine.create_as(table, rows, partition=["_chunk"])
        return Passed()
    gate = _Gate(engine, sync, shape, table)
    with step("expectations"):
        return gate.pass_(rows)


def violations(results: Sequence[Result]) -> tuple[Violation, ...]:
    """The expectations that stop a plan."""
    return tuple(_violation(result) for result in results if result.verdict == "refused")


def _violation(result: Result) -> Violation:
    what = f"{result.expectation} of {', '.join(result.columns)}" if result.columns else result.expectation
    if result.failed is None:
        return Violation(QUALITY, f"{what} must be met by the {result.evaluated} rows together, and is not")
    most = "none" if result.mostly == 1 else f"at most {1 - result.mostly:.4g}"
    return Violation(QUALITY, f"{what} may fail for {most} of {result.evaluated} rows", result.failed)


@dataclass(frozen=True, slots=True)
class _Gate:
    """The expectations of a sync, and the table of the plan that they are asked of."""

    engine: Engine
    sync: Sync
    shape: diff.Shape
    table: str

    def pass_(self, rows: str) -> Passed:
        """Write the table and ask; the results stand in the order of the sync."""
        expectations = self.sync.quality
        dropping = [each for each in expectations if each.otherwise == "drop"]
        judging = [each for each in expectations if each.otherwise != "drop"]
        results, dropped = self._dropped(rows, dropping) if dropping else ((), {})
        if not dropping:
            self.engine.create_as(self.table, rows, partition=["_chunk"])
        if judging and (not dropping or self._counted(self.table)):
            results += self._lent(self.table, lambda frame: quality.judge(frame, judging, self._types).results)
        asked = {id(each): result for each, result in zip([*dropping, *judging], results, strict=False)}
        return Passed(tuple(asked[id(each)] for each in expectations if id(each) in asked), dropped)

    def _dropped(self, rows: str, expectations: Sequence[Expectation]) -> tuple[tuple[Result, ...], dict[str, int]]:
        """Write the rows that meet every expectation; the results, and how many are left out of each op."""
        candidates, view = f"{self.table}_candidates", f"cdp_failing_{uuid.uuid4().hex}"

        def judged(frame: DataFrame) -> quality.Verdicts:
            found = quality.judge(frame, expectations, self._types)
            if found.failing is not None:
                found.failing.createOrReplaceTempView(view)
            return found

        try:
            self.engine.create_as(candidates, rows, partition=["_chunk"])
            found = self._lent(candidates, judged)
            meeting = f" LEFT ANTI JOIN {view} AS f ON c.{quality.KEY} = f.{quality.KEY}" if found.failing is not None else ""
            self.engine.create_as(self.table, f"SELECT c.* FROM {candidates} AS c{meeting}", partition=["_chunk"])
            self.engine.execute(f"DROP VIEW IF EXISTS {view}")
            before, after = self._counted(candidates), self._counted(self.table)
        finally:
            self.engine.drop(candidates)
        return found.results, {op: count - after[op] for op, count in before.items()}

    def _counted(self, table: str) -> Counter[str]:
        """How many rows of each op are added or changed."""
        statement = f"SELECT _op AS op, COUNT(*) AS n FROM {table} WHERE _op <> 'remove' GROUP BY _op"
        return Counter({row["op"]: row["n"] for row in self.engine.query(statement, what=table).to_pylist()})

    def _lent(self, table: str, use: Callable[[DataFrame], T]) -> T:
        """Something done with the rows that are added or changed, under the names under which their columns leave."""
        named = ", ".join(f"{stored} AS {quoted(name)}" for stored, name in self.shape.names.items())
        statement = f"SELECT {quality.KEY}, {named} FROM {table} WHERE _op <> 'remove'"
        return self.engine.lend(statement, use, what=f"the expectations of sync {self.sync.name}")

    @property
    def _types(self) -> dict[str, str]:
        return {name: self.shape.kinds[stored] for stored, name in self.shape.names.items()}
