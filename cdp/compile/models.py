"""CTEs that stand for an entity, a segment or a trait: derived entities, and what a SELECT of an author reads by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

from sqlglot import exp

from cdp.compile import sql
from cdp.compile.clock import Clock
from cdp.compile.rows import Asked
from cdp.compile.scans import SelectRow
from cdp.project.sql import statements
from cdp.project.terms import InSegment, Link
from cdp.project.terms.models import Aggregate, SqlModel
from cdp.spec.model import Entity

if TYPE_CHECKING:
    from cdp.compile.conditions import Compiler

_ROWS: Final = re.compile(r"_rows(_[0-9]+)?$")
KINDS: dict[str, type[exp.Expr]] = {"sum": exp.Sum, "avg": exp.Avg, "min": exp.Min, "max": exp.Max}


def made_by(cte: str) -> str:
    """The entity whose rows a CTE of this name may hold, as `rows_of` names them."""
    return _ROWS.sub("", cte)


def rows_of(compiler: Compiler, entity: Entity, clock: Clock) -> str:
    """The CTE that makes the rows of an entity without a table."""
    name = compiler.models.get(("rows", entity.name, clock))
    if name is None:
        body = _derived(compiler, entity, clock) if entity.from_ else _written(compiler, "entity", entity.name, clock)
        name = compiler.models["rows", entity.name, clock] = compiler.unique(f"{entity.name}_rows")
        compiler.define(name, body)
        made = f"grouped from {entity.from_}" if entity.from_ else "made by a SELECT"
        compiler.exceptions[name] = f"{entity.name} is {made}, so what it is made of is read for it alone"
    return name


def _derived(compiler: Compiler, entity: Entity, clock: Clock) -> exp.Select:
    """The rows of a source that pass, grouped: one row for each group."""
    derived = compiler.project.bound.derived[entity.name]
    source = compiler.entity(derived.source)
    row, asked = SelectRow.of(compiler, source, source.name), Asked(clock)
    tests = compiler.existence(row, clock)
    if derived.where is not None:
        tests.append(compiler.condition(derived.where, row, asked))
    groups = [compiler.value(column, row, asked) for _, column in derived.group]
    outputs = [sql.alias(value, name) for (name, _), value in zip(derived.group, groups, strict=True)]
    outputs += [sql.alias(_aggregate(compiler, column, row, asked), name) for name, column in derived.columns]
    return compiler.select(row, clock, outputs, tests, groups)


def _aggregate(compiler: Compiler, column: Aggregate, row: SelectRow, asked: Asked) -> exp.Expr:
    test = compiler.condition(column.where, row, asked) if column.where is not None else sql.TRUE
    if column.of is None:
        return exp.CountIf(this=test)
    return sql.where(KINDS[column.verb](this=compiler.value(column.of, row, asked)), test)


def member(compiler: Compiler, segment: str, row: SelectRow, asked: Asked) -> exp.Expr:
    """Whether the SELECT of a segment returns the row's key."""
    key = row.entity.key
    name = _keyed(compiler, "segment", segment, row, asked, [])
    return sql.not_null(sql.column(name, key))


def trait_value(compiler: Compiler, trait: str, row: SelectRow, asked: Asked) -> exp.Expr:
    """The value that the SELECT of a trait gives for the row's key; of several the highest."""
    highest = sql.alias(exp.Max(this=exp.Column(this=sql.identifier(trait))), trait)
    return sql.column(_keyed(compiler, "trait", trait, row, asked, [highest]), trait)


def _keyed(compiler: Compiler, kind: str, model: str, row: SelectRow, asked: Asked, values: list[exp.Expr]) -> str:
    """Joins what a SELECT returns, one row for each key; returns the name of the CTE."""
    key = row.entity.key
    at = (kind, model, asked)
    if at not in row.tables:
        name = compiler.unique(f"{model}_said" if asked.role else f"{model}_rows")
        inner = exp.Subquery(this=_written(compiler, kind, model, asked.clock), alias=exp.TableAlias(this=sql.identifier("written")))
        column = exp.Column(this=sql.identifier(key))
        grouped = exp.Select(expressions=[column, *values], from_=exp.From(this=inner), group=exp.Group(expressions=[column]))
        compiler.define(name, grouped)
        compiler.exceptions[name] = f"{kind} {model} is a SELECT of its author"
        row.beside(at, name, Link(model, row.entity.name, ((key, key),)), (), asked)
    return row.tables[at].alias_or_name


def _written(compiler: Compiler, kind: str, model: str, clock: Clock) -> exp.Query:
    """A SELECT of an author, its names standing for the rows that exist at the clock."""
    written = compiler.project.bound.sql[kind, model]
    names = {("entity", name): _entity(compiler, name, clock) for name in written.entities}
    names |= {("segment", name): _segment(compiler, name, clock) for name in written.segments}
    names |= {("trait", name): _trait(compiler, name, clock) for name in written.traits}
    return statements.renamed(_apart(compiler, model, written), names, clock.day)


def _apart(compiler: Compiler, model: str, written: SqlModel) -> SqlModel:
    """The SELECT with names of its own for its WITH parts, which Spark SQL lists among all others of the statement."""
    tree, meant = written.tree.copy(), {*written.entities, *written.segments, *written.traits}
    for with_ in list(tree.find_all(exp.With)):
        for cte in with_.expressions:
            old, new = cte.alias, sql.identifier(compiler.unique(f"{model}_{cte.alias}", meant))
            cte.args["alias"].set("this", new)
            for table in cast(exp.Query, with_.parent).find_all(exp.Table):
                if table.name == old and not table.db:
                    table.set("alias", table.args.get("alias") or exp.TableAlias(this=sql.identifier(old)))
                    table.set("this", new)
    return replace(written, tree=tree)


def _entity(compiler: Compiler, name: str, clock: Clock) -> str:
    entity = compiler.entity(name)
    if not entity.table and not compiler.existence(SelectRow.of(compiler, entity, name), clock):
        return rows_of(compiler, entity, clock)
    return _named(compiler, f"all_{name}", entity, clock, lambda row: [sql.column(row.alias, column) for column in entity.columns])


def _segment(compiler: Compiler, name: str, clock: Clock) -> str:
    entity = compiler.entity(compiler.project.segments[name].entity)
    return _named(compiler, f"in_{name}", entity, clock, lambda row: [sql.column(row.alias, entity.key)], InSegment(name))


def _trait(compiler: Compiler, name: str, clock: Clock) -> str:
    entity = compiler.entity(compiler.project.traits[name].entity)
    term = compiler.project.bound.traits[name]

    def outputs(row: SelectRow) -> list[exp.Expr]:
        return [sql.column(row.alias, entity.key), sql.alias(compiler.value(term, row, Asked(clock)), name)]

    return _named(compiler, f"trait_{name}", entity, clock, outputs)


def _named(
    compiler: Compiler,
    label: str,
    entity: Entity,
    clock: Clock,
    outputs: Callable[[SelectRow], list[exp.Expr]],
    only: InSegment | None = None,
) -> str:
    """A CTE over an entity's rows, made once for each label and clock; returns its name."""
    if (label, clock) not in compiler.models:
        row = SelectRow.of(compiler, entity, entity.name)
        tests = compiler.existence(row, clock)
        if only is not None:
            tests.append(compiler.condition(only, row, Asked(clock)))
        body = compiler.select(row, clock, outputs(row), tests)
        name = compiler.models[label, clock] = compiler.unique(label)
        compiler.define(name, body)
    return compiler.models[label, clock]
