"""Does a test hold the key of a real person? Asked of the lakehouse; a key of a test that is one of its keys is not made up."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from cdp.analyst.explore.evidence import literal
from cdp.compile import sql
from cdp.governance.classes import ClassTree
from cdp.project.language.bind import Binder
from cdp.project.problems import Problems
from cdp.project.project import Project
from cdp.project.trials import Case, trials

if TYPE_CHECKING:
    from cdp.analyst.explore.rows import Source
    from cdp.project.trials.fixtures import Fixture

MOST = 1000  # keys a statement


@dataclass(frozen=True, slots=True)
class RealKey:
    """A case that holds a key of the lakehouse: where it stands, never the key."""

    file: str
    line: int
    table: str
    column: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: holds a value of {self.table}.{self.column} that is in the lakehouse; make one up"


def real_keys(project: Project, engine: Source, segments: Collection[str], traits: Collection[str] = ()) -> tuple[RealKey, ...]:
    """The cases of segments and traits that hold keys of the lakehouse.

    Args:
        project: loaded.
        engine: over the lakehouse; keys are parameters of what it is asked.
        segments: whose tests are looked through.
        traits: the same of traits.

    Raises:
        DataError: a table of the lakehouse is not there.
    """
    binder = Binder(project, Problems())
    named = [("segment", name) for name in segments] + [("trait", name) for name in traits]
    cases = [case for kind, name in named for case in trials(binder, kind, name)]  # type: ignore[arg-type]
    tree = ClassTree(project.policy.classes)
    places: dict[tuple[str, str], dict[object, list[Case]]] = {}
    for case in cases:
        for place, value in _keys(project, tree, case.row):
            places.setdefault(place, {}).setdefault(value, []).append(case)
    found = {
        RealKey(case.file, case.line, table, column)
        for (table, column), values in sorted(places.items())
        for value in _there(engine, table, column, list(values))
        for case in values[value]
    }
    return tuple(sorted(found, key=lambda each: (each.file, each.line, each.table, each.column)))


def _keys(project: Project, tree: ClassTree, row: Fixture) -> Iterator[tuple[tuple[str, str], object]]:
    """The values of a row, and of those that it leads to, in columns that say who somebody is."""
    entity = project.entities[row.entity]
    for name, value in row.values.items() if entity.table else ():
        if isinstance(value, (str, int)) and not isinstance(value, bool) and tree.is_key(entity.columns[name].cls):
            yield (entity.table, name), value
    for each in (inner for rows in row.related.values() for inner in rows):
        yield from _keys(project, tree, each)


def _there(engine: Source, table: str, column: str, values: list[object]) -> Iterator[object]:
    """Those of the values that the lakehouse has in this column."""
    engine.register([table])
    for start in range(0, len(values), MOST):
        asked = values[start : start + MOST]
        wanted = exp.In(this=sql.column("t", column), expressions=[literal(value) for value in asked])
        select = exp.select(sql.alias(sql.column("t", column), "found")).distinct()
        select = select.from_(sql.table(table, "t")).where(wanted)
        found = {row["found"] for row in engine.query(select, what=table).to_pylist()}
        yield from (value for value in asked if value in found)
