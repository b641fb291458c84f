"""Random segments as a project, asked of an engine and of the slow evaluator."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlglot import exp

from cdp.compile import sql
from cdp.compile.clock import Clock
from cdp.compile.statement import Statement
from cdp.engine import Engine
from cdp.errors import CdpError, ProjectError
from cdp.project.load import Project, load
from cdp.project.problems import Problems
from cdp.project.source import read
from cdp.testing.language_models import CONFIG, MODELS, POLICY
from tests.random_rows import Rows
from tests.random_segments import text
from tests.slow_evaluator import Here, Model, World

ABOUT = "kind: segment, entity: patient, owner: a@example.org, purpose: treatment"
REFUSED = re.compile(r"never true|always true|true of everyone|true of no one|the window is empty|compared with itself")
TYPES = {
    "string": pa.string(),
    "code": pa.string(),
    "integer": pa.int64(),
    "decimal": pa.decimal128(18, 6),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
}


class NotValid(AssertionError):
    """A condition that the grammar should not have made."""


def _write(root: Path, segments: Mapping[str, str]) -> None:
    files = {"conf/cdp.yml": CONFIG, "models/all.yml": MODELS, "governance/all.yml": POLICY}
    files |= {f"models/{name}.yml": f"{{{ABOUT}, name: {name}, where: {where}}}\n" for name, where in segments.items()}
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)


@cache
def base_model() -> Model:
    """The model that random segments are written over."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), {})
        return _model(Path(folder))


def _model(root: Path) -> Model:
    problems = Problems()
    documents = [document.tree for path in sorted(root.rglob("*.yml")) for document in read(path, root, problems)]
    problems.raise_if_any()
    return Model.of(documents)


@dataclass(frozen=True)
class Segments:
    """Conditions as segments `s0`, `s1`, ... of a loaded project; those that a load refuses as pointless are left out."""

    project: Project
    model: Model
    texts: Mapping[str, str]

    @classmethod
    def written(cls, root: Path, conditions: Sequence[str]) -> Segments:
        """Write a project with these conditions and load it."""
        texts = {f"s{n}": condition for n, condition in enumerate(conditions)}
        for _ in range(3):
            _write(root, texts)
            try:
                return cls(load(root), _model(root), texts)
            except ProjectError as error:
                dropped = {Path(p.file).stem for p in error.problems if REFUSED.search(p.message)}
                if any(not REFUSED.search(p.message) for p in error.problems) or not dropped <= set(texts):
                    raise NotValid("\n".join([*(str(p) for p in error.problems), *(f"{n}: {t}" for n, t in texts.items())])) from None
                for name in dropped:
                    (root / f"models/{name}.yml").unlink()
                    del texts[name]
        return cls(load(root), _model(root), {})


def disagreements(engine: Engine, segments: Segments, rows: Rows, now: dt.datetime) -> list[str]:
    """The segments about which engine and evaluator differ, each with all that is needed to see it again."""
    if not segments.texts:
        return []
    try:
        compiled = by_engine(engine, segments, rows, now)
    except CdpError as error:
        return [_report(f"the engine does not take it: {error.message}", " ".join(segments.texts.values()), rows, now)]
    world = World(segments.model, rows, now)
    wrong = []
    for name, where in segments.texts.items():
        tree = segments.model.segments[name]["where"]
        slow = {row.get("patient_id") for row in world.rows("patient") if world.holds(Here(row, "patient"), tree)}
        if compiled[name] != slow:
            only = f"only on the engine: {sorted(compiled[name] - slow)}, only by the evaluator: {sorted(slow - compiled[name])}"
            wrong.append(_report(only, where, rows, now))
    return wrong


def _report(what: str, where: str, rows: Rows, now: dt.datetime) -> str:
    lines = [what, f"as_of {now}", f"where: {where}"]
    for entity, found in rows.items():
        lines += [f"  {entity}: {text({name: _shown(value) for name, value in row.items() if value is not None})}" for row in found]
    return "\n".join(lines)


def _shown(value: Any) -> Any:
    return value if isinstance(value, (dict, list)) else str(value)


def by_engine(engine: Engine, segments: Segments, rows: Rows, now: dt.datetime) -> dict[str, set[str]]:
    """The members of each segment, by one statement that has a column for each."""
    project = segments.project
    statement = Statement(project, project.entities["patient"], Clock(now))
    statement.column("patient_id", statement.key())
    for name in segments.texts:
        statement.column(name, sql.coalesce(statement.test(project.bound.segments[name], statement.clock, ""), sql.FALSE))
    found = engine.query(_on_views(engine, project, statement.query("random").select, rows)).to_pylist()
    return {name: {row["patient_id"] for row in found if row[name]} for name in segments.texts}


def _on_views(engine: Engine, project: Project, select: exp.Expression, rows: Rows) -> exp.Expression:
    """The statement over temporary views of the rows, in place of its tables."""
    tables = {entity.table: name for name, entity in project.entities.items() if entity.table}
    for name in tables.values():
        found = rows.get(name, [])
        engine.view(f"random_{name}", arrow(project, name, found or [{}]))  # no session makes a view of no rows

    def replaced(node: exp.Expression) -> exp.Expression:
        if not isinstance(node, exp.Table) or not node.db:
            return node
        name = tables[f"{node.db}.{node.name}"]
        view = exp.select("*").from_(f"random_{name}")
        return exp.Subquery(this=view if rows.get(name) else view.where("FALSE"), alias=node.args.get("alias") or node.name)

    return select.copy().transform(replaced)


def arrow(project: Project, entity: str, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows with the declared types."""
    columns = {}
    for name, column in project.entities[entity].columns.items():
        values = [row.get(name) for row in rows]
        if column.fields:
            columns[name] = _structs(values, column.fields)
        else:
            columns[name] = pa.array(values, pa.list_(TYPES[column.type]) if column.array else TYPES[column.type])
    return pa.table(columns)


def _structs(values: Sequence[Mapping[str, Any] | None], fields: Mapping[str, str]) -> pa.Array:
    """Structs whose nulls are null inside too: of a null one the embedded engine reads what is inside."""
    inside = [pa.array([value and value[field] for value in values], TYPES[kind]) for field, kind in fields.items()]
    return pa.StructArray.from_arrays(inside, names=list(fields), mask=pa.array([value is None for value in values]))
