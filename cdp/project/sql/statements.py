"""SQL models: segments, traits and entities that an author writes as one SELECT over names of the project.

Its tables are entities (the rows that exist at as_of, with their declared columns), segments (one column: the entity's key)
and traits (the key, and a column of the trait's name). `as_of` is the day of the clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from sqlglot import exp

from cdp.project.check_entities import key_of
from cdp.project.problems import Problems
from cdp.project.sql.sql_names import Names, Source
from cdp.project.sql.sql_rules import AS_OF
from cdp.project.sql.sql_text import Select, parse
from cdp.project.terms import ColumnRef, InSegment, InSql, Link, SqlValue
from cdp.project.terms.models import SqlModel
from cdp.spec.model import Entity, Segment, Trait

if TYPE_CHECKING:
    import datetime as dt

    from cdp.project.project import Project
    from cdp.project.terms.bound import Bound

Name = tuple[str, str]  # kind and name
KINDS = ("entity", "segment", "trait")


def bound(project: Project, problems: Problems) -> dict[Name, SqlModel]:
    """The SELECTs of a project, checked.

    Args:
        project: its documents valid one by one, derived entities with their columns.
        problems: what is wrong is added here: syntax, names, and what a SELECT has to return.
    """
    wanted: dict[Name, Entity | Segment | Trait] = {}
    for kind, specs in (("entity", project.entities), ("segment", project.segments), ("trait", project.traits)):
        wanted |= {(kind, name): spec for name, spec in specs.items() if spec.sql is not None}
    tables = _tables(project) if wanted else {}
    models = {name: _model(name, spec, tables, project, problems) for name, spec in wanted.items()}
    return {name: model for name, model in models.items() if model is not None}


def _model(at: Name, spec: Entity | Segment | Trait, tables: Mapping[str, Source], project: Project, problems: Problems) -> SqlModel | None:
    text = Select(project.sources[at], ("sql",), problems)
    entity = spec if isinstance(spec, Entity) else project.entities.get(spec.entity)
    tree = parse(spec.sql or "", text)
    if tree is None or entity is None:
        return None
    names = Names(tables, text)
    outputs = names.read(tree)
    if outputs is None or not (_returns(list(outputs), *at, entity, text) and _clear(names.used, project, text)):
        return None
    entities, segments, traits = (tuple(name for name in names.used if (kind, name) in project.sources) for kind in KINDS)
    return SqlModel(tree, entities, segments, traits)


def uses(model: SqlModel) -> tuple[Name, ...]:
    """The entities, segments and traits that a SELECT names."""
    pairs = zip(KINDS, (model.entities, model.segments, model.traits), strict=True)
    return tuple((kind, name) for kind, names in pairs for name in names)


def renamed(model: SqlModel, names: Mapping[Name, str], as_of: dt.date) -> exp.Query:
    """A copy of the SELECT that reads other tables; each keeps the name by which its columns are called.

    Args:
        model: a checked SELECT.
        names: the table to read for each of `uses(model)`.
        as_of: the day that `as_of` stands for.
    """
    tables = {name: table for (_, name), table in names.items()}  # one name is one thing: `bound` sees to it
    tree = model.tree.copy()
    assert isinstance(tree, exp.Query)
    for node in list(tree.find_all(exp.Table, exp.Column)):
        if isinstance(node, exp.Table) and node.name in tables:
            if not node.alias:
                node.set("alias", exp.TableAlias(this=node.this.copy()))
            node.set("this", exp.to_identifier(tables[node.name]))
        elif isinstance(node, exp.Column) and node.name == AS_OF and not node.table:
            node.replace(exp.cast(exp.Literal.string(as_of.isoformat()), exp.DataType.Type.DATE))
    return tree


# -- tables -----------------------------------------------------------------------------------------------------------


def _tables(project: Project) -> dict[str, Source]:
    """What a SELECT may name. What has a mistake of its own holds columns that nobody knows."""
    tables: dict[str, Source] = {name: Source(None, f"{kind} {name}") for kind, name in project.sources if kind in KINDS}
    for name, entity in project.entities.items():
        columns = {column: frozenset(spec.fields) for column, spec in entity.columns.items()}
        tables[name] = Source(columns, f"entity {name}", entity.table)
    for kind, specs in (("segment", project.segments), ("trait", project.traits)):
        for name, spec in specs.items():
            of = project.entities.get(spec.entity)
            if of is not None:
                own = (name,) if kind == "trait" else ()
                tables[name] = Source({column: frozenset[str]() for column in (*key_of(of), *own)}, f"{kind} {name}")
    return tables


def _clear(used: Mapping[str, None], project: Project, at: Select) -> bool:
    """Whether each name that is used stands for one thing, and for one that has rows of its own."""
    before = len(at.problems)
    for name in used:
        kinds = [kind for kind in KINDS if (kind, name) in project.sources]
        if len(kinds) > 1:
            at.wrong(
                None,
                f"{name!r} is the name of {' and of '.join(f'an {k}' if k == 'entity' else f'a {k}' for k in kinds)}",
                hint="rename one",
            )
        elif kinds == ["segment"] and name in project.segments and project.segments[name].params:
            at.wrong(None, f"segment {name} is a template: nothing fills it in here", hint="make a segment that uses it, and name that one")
        elif kinds == ["trait"] and name in project.traits and is_row(project.traits[name]):
            at.wrong(None, f"trait {name} is a whole row", hint="give it `of`, so that it is one value")
    return len(at.problems) == before


def is_row(trait: Trait) -> bool:
    """Is a trait a whole row, or several values, so that each of them is named by a field?"""
    return trait.days_covered is not None or ((trait.latest or trait.earliest) is not None and trait.of is None)


# -- what it returns --------------------------------------------------------------------------------------------------


def _returns(outputs: list[str], kind: str, name: str, entity: Entity, at: Select) -> bool:
    """Whether a SELECT returns exactly the columns that are asked of it."""
    key = key_of(entity)
    if kind != "entity" and len(key) != 1:
        at.wrong(None, f"{entity.name} has no single column as its key", hint="write it with `where`")
        return False
    wanted = list(entity.columns) if kind == "entity" else [*key, *([name] if kind == "trait" else [])]
    for column in wanted:
        if column not in outputs:
            hint = {"entity": "declared under `columns`", "segment": f"the key of {entity.name}"}.get(
                kind, f"a trait returns {' and '.join(wanted)}"
            )
            at.wrong(None, f"it returns no column {column!r}", hint=hint)
    for output in outputs:
        if output not in wanted:
            hint = "declare it under `columns`, or leave it out" if kind == "entity" else f"a {kind} returns {' and '.join(wanted)}"
            at.wrong(None, f"it returns {output!r}, which nobody asks for", value=output, valid=wanted, hint=hint)
    return sorted(outputs) == sorted(wanted)


# -- circles ----------------------------------------------------------------------------------------------------------


def refuse_circles(project: Project, problems: Problems) -> None:
    """Report SELECTs and derived entities that rest on themselves, by way of segments and traits too."""
    made = [*project.bound.sql, *(("entity", name) for name in project.bound.derived)]
    done: set[Name] = set()
    for start in made:
        trail: dict[Name, Iterator[Name]] = {}
        waiting: Name | None = start
        while waiting is not None or trail:
            if waiting in trail:
                _circle([*trail][[*trail].index(waiting) :], project, problems)
            elif waiting is not None and waiting not in done:
                trail[waiting] = iter(dict.fromkeys(_behind(waiting, project)))
            last = next(reversed(trail), None)
            waiting = next(trail[last], None) if last is not None else None
            if waiting is None and last is not None:
                done.add(last)
                del trail[last]


def _circle(steps: list[Name], project: Project, problems: Problems) -> None:
    """Circles of segments alone are reported where these are bound."""
    if all(kind == "segment" for kind, _ in steps):
        return
    made = next(step for step in steps if step in project.bound.sql or step[1] in project.bound.derived)
    at = steps.index(made)
    shown = " -> ".join(f"{kind} {name}" for kind, name in [*steps[at:], *steps[:at], made])
    problems.add(project.sources[made], ("sql",) if made in project.bound.sql else ("from",), f"it rests on itself: {shown}")


def _behind(node: Name, project: Project) -> Iterator[Name]:
    """What a segment, a trait or an entity rests on; a table rests on nothing."""
    bound, (kind, name) = project.bound, node
    if node in bound.sql:
        yield from uses(bound.sql[node])
    if kind == "entity":
        if name in bound.derived:
            yield "entity", bound.derived[name].source
            yield from _mentioned(bound.derived[name], bound)
        return
    specs: Mapping[str, Segment | Trait] = project.segments if kind == "segment" else project.traits
    terms: Mapping[str, object] = bound.segments if kind == "segment" else bound.traits
    if name in specs:
        yield "entity", specs[name].entity
    if node not in bound.sql and name in terms:
        yield from _mentioned(terms[name], bound)


def _mentioned(term: object, bound: Bound) -> Iterator[Name]:
    """The entities, segments and traits that a term names, also where a template is filled in."""
    from cdp.project.terms.parts import parts

    waiting, filled = [term], set[InSegment]()
    while waiting:
        for part in parts(waiting.pop()):
            if isinstance(part, (Link, ColumnRef)):
                yield "entity", part.entity
            elif isinstance(part, InSql):
                yield "segment", part.segment
            elif isinstance(part, SqlValue):
                yield "trait", part.trait
            elif isinstance(part, InSegment) and not part.given:
                yield "segment", part.name
            elif isinstance(part, InSegment) and part not in filled:
                filled.add(part)
                waiting.append(bound.templates.get((part.name, part.given)))
