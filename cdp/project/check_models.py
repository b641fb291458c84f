"""References and names of entities, traits, segments and value sets."""

from __future__ import annotations

import re
from typing import Final

from cdp.project.index import Index
from cdp.project.problems import Path
from cdp.project.project import Project
from cdp.project.source import Document, short
from cdp.spec.model import VERBS, Column, Entity, Interval, Relation, Segment, Trait, ValueSet

TABLE: Final = re.compile(r"[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*", re.IGNORECASE)

# Types that the engines compare with each other; joining any others fails when the query runs.
_FAMILY: Final = {"code": "string", "integer": "number", "decimal": "number", "double": "number"}


def check(project: Project, index: Index) -> None:
    """Report what is wrong with the kinds under models/."""
    control = {environment.control for environment in project.config.environments.values()}
    for name, entity in project.entities.items():
        document = index.sources["entity", name]
        _entity(entity, document, index, control)
        for each, relation in entity.relations.items():
            _relation(relation, ("relations", each), entity, document, project, index)
    _same_table(project, index)
    for name, trait in project.traits.items():
        _trait(trait, index.sources["trait", name], project, index)
    for name, segment in project.segments.items():
        _segment(segment, index.sources["segment", name], index)
    for name, value_set in project.value_sets.items():
        _value_set(value_set, index.sources["value_set", name], index)


# -- entities ---------------------------------------------------------------------------------------------------------


def _entity(entity: Entity, document: Document, index: Index, control: set[str]) -> None:
    columns, problems = frozenset(entity.columns), index.problems
    index.named(document, ("name",), entity.name, "entity")
    if not TABLE.fullmatch(entity.table):
        problems.add(document, ("table",), f"{short(entity.table)} is not schema.table", hint="such as clinical.patients")
    elif entity.table.split(".")[0].lower() in control:
        problems.add(document, ("table",), f"schema {entity.table.split('.')[0]} holds the control tables", hint="no entity reads those")
    index.refer(document, ("key",), entity.key, columns, "column")
    for path, name in _times(entity):
        if index.refer(document, path, name, columns, "column") and entity.columns[name].type not in ("date", "timestamp"):
            problems.add(document, path, f"column {name!r} is a {entity.columns[name].type}, not a date or timestamp")
    if not entity.rows:
        problems.add(document, ("rows",), "must name at least one class", hint="what does being in this table say? `public` is an answer")
    index.refer_all(document, ("rows",), entity.rows, index.inside("classes", "classes"), "class")
    for name, column in entity.columns.items():
        index.named(document, ("columns", name), name, "column", key=True, reserved=True)
        _column(column, ("columns", name), columns, document, index)
    _roles(entity, document, index)


def _same_table(project: Project, index: Index) -> None:
    """Two entities may read one table, but not say different things of one column: the lower class would win somewhere."""
    first: dict[tuple[str, str], Entity] = {}
    for name, entity in project.entities.items():
        for column, spec in entity.columns.items():
            other = first.setdefault((entity.table.lower(), column.lower()), entity)
            said = other.columns.get(column, spec)
            if (said.cls, set(said.may_hold)) != (spec.cls, set(spec.may_hold)):
                line, _ = index.sources["entity", other.name].position(("columns", column))
                message = f"{entity.table}.{column} has another class or `may_hold` in entity {other.name}"
                hint = f"say the same as {index.sources['entity', other.name].file}:{line}"
                index.problems.add(index.sources["entity", name], ("columns", column), message, hint=hint)


def _times(entity: Entity) -> list[tuple[Path, str]]:
    if isinstance(entity.time, Interval):
        return [(("time", "start"), entity.time.start), (("time", "end"), entity.time.end)]
    return [(("time",), entity.time)] if entity.time is not None else []


def _column(column: Column, path: tuple[str, ...], columns: frozenset[str], document: Document, index: Index) -> None:
    classes = index.inside("classes", "classes")
    index.refer(document, (*path, "class"), column.cls, classes, "class")
    index.refer_all(document, (*path, "may_hold"), column.may_hold, classes, "class")
    index.refer(document, (*path, "unit"), column.unit, columns, "column")
    systems = index.inside("project", "code_systems")
    if systems is not None:
        hint = "a column, or a name under `code_systems` of conf/cdp.yml"
        index.refer(document, (*path, "system"), column.system, columns | systems, "column or code system", hint=hint)
    if column.system and column.type != "code":
        index.problems.add(document, (*path, "system"), f"a {column.type} has no code system", hint="write `type: code`", key=True)
    if column.unit and _FAMILY.get(column.type) != "number":
        index.problems.add(document, (*path, "unit"), f"a {column.type} has no unit", hint="units belong to numbers", key=True)


def _roles(entity: Entity, document: Document, index: Index) -> None:
    holders: dict[str, str] = {}
    for name, column in entity.columns.items():
        path = ("columns", name, "role")
        if column.role is None:
            continue
        if column.type not in ("date", "timestamp"):
            index.problems.add(document, path, f"a {column.role} is a date or timestamp, not a {column.type}")
        if holders.setdefault(column.role, name) != name:
            index.problems.add(document, path, f"column {holders[column.role]!r} is the {column.role} already")


def _relation(relation: Relation, path: tuple[str, ...], entity: Entity, document: Document, project: Project, index: Index) -> None:
    name = path[-1]
    index.named(document, path, name, "relation", key=True, reserved=True)
    if name in entity.columns:
        line, col = document.position(("columns", name), key=True)
        message = f"relation {name!r} has the name of a column of {entity.name} ({document.file}:{line}:{col})"
        index.problems.add(document, path, message, hint="rename one", key=True)
    if (relation.one is None) == (relation.many is None):
        index.problems.add(document, path, "must say either `one: ENTITY` or `many: ENTITY`", key=True)
        return
    cardinality = "one" if relation.one is not None else "many"
    target = relation.one if relation.one is not None else str(relation.many)
    if index.refer(document, (*path, cardinality), target, index.names("entity"), "entity") and target in project.entities:
        _via(relation, (*path, "via"), entity, project.entities[target], document, index)


def _via(relation: Relation, path: tuple[str, ...], mine: Entity, theirs: Entity, document: Document, index: Index) -> None:
    """`via: x` names their column for `many`, mine for `one`; `via: {theirs: mine}` names both."""
    if isinstance(relation.via, dict):
        pairs = [((*path, left), left, (*path, left), right) for left, right in relation.via.items()]
        if not pairs:
            index.problems.add(document, path, "must not be empty", hint="{their column: my column}")
    elif relation.many is not None:
        pairs = [(path, relation.via, path, mine.key)]
    else:
        pairs = [(path, theirs.key, path, relation.via)]
    for their_path, left, my_path, right in pairs:
        known = left in theirs.columns and right in mine.columns
        if left != theirs.key:  # a key that is no column is reported where it is declared
            index.refer(document, their_path, left, frozenset(theirs.columns), f"column of {theirs.name}", key=their_path != path)
        if right != mine.key:
            index.refer(document, my_path, right, frozenset(mine.columns), f"column of {mine.name}")
        if known and _family(theirs.columns[left]) != _family(mine.columns[right]):
            message = f"{theirs.name}.{left} is a {theirs.columns[left].type}, {mine.name}.{right} a {mine.columns[right].type}"
            index.problems.add(document, their_path, message, hint="columns that are joined have one type")


def _family(column: Column) -> str:
    return _FAMILY.get(column.type, column.type)


# -- what is asked of them --------------------------------------------------------------------------------------------


def _trait(trait: Trait, document: Document, project: Project, index: Index) -> None:
    index.named(document, ("name",), trait.name, "trait", reserved=True)
    index.refer(document, ("entity",), trait.entity, index.names("entity"), "entity")
    verbs = [verb for verb in VERBS if verb in document.tree]
    if len(verbs) != 1:
        found = f"not {' and '.join(verbs)}" if verbs else "such as `latest: observations`"
        index.problems.add(document, (), f"a trait has exactly one verb, {found}", valid=VERBS)
    elif document.tree[verbs[0]] is None:
        index.problems.add(document, (verbs[0],), "must name a relation")
    entity = project.entities.get(trait.entity)
    for part in ("columns", "relations"):
        if entity is not None and trait.name in getattr(entity, part):
            source = index.sources["entity", entity.name]
            line, col = source.position((part, trait.name), key=True)
            message = f"trait {trait.name!r} has the name of a {part[:-1]} of {entity.name} ({source.file}:{line}:{col})"
            index.problems.add(document, ("name",), message, hint="rename one")


def _segment(segment: Segment, document: Document, index: Index) -> None:
    index.named(document, ("name",), segment.name, "segment")
    index.refer(document, ("entity",), segment.entity, index.names("entity"), "entity")
    index.refer(document, ("purpose",), segment.purpose, index.inside("purposes", "purposes"), "purpose")
    if not segment.owner.strip():
        index.problems.add(document, ("owner",), "must say who answers for this segment")


def _value_set(value_set: ValueSet, document: Document, index: Index) -> None:
    index.named(document, ("name",), value_set.name, "value set")
    systems, hint = index.inside("project", "code_systems"), "code systems stand under `code_systems` of conf/cdp.yml"
    index.refer(document, ("system",), value_set.system, systems, "code system", hint=hint)
