"""References and names of entities, their columns and relations."""

from __future__ import annotations

import re
from typing import Final

from cdp.project.index import Index
from cdp.project.problems import Path
from cdp.project.project import Project
from cdp.project.source import Document, short
from cdp.spec.model import Column, Entity, Interval, Relation

TABLE: Final = re.compile(r"[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*", re.IGNORECASE)

# Types that the engines compare with each other; joining any others fails when the query runs.
_FAMILY: Final = {"code": "string", "integer": "number", "decimal": "number", "double": "number"}


def check(project: Project, index: Index) -> None:
    """Report what is wrong with entities."""
    control = {environment.control for environment in project.config.environments.values()}
    for name, entity in project.entities.items():
        document = index.sources["entity", name]
        _entity(entity, document, index, control)
        for each, relation in entity.relations.items():
            _relation(relation, ("relations", each), entity, document, project, index)
    _same_table(project, index)


# -- entities ---------------------------------------------------------------------------------------------------------


def _entity(entity: Entity, document: Document, index: Index, control: set[str]) -> None:
    index.named(document, ("name",), entity.name, "entity", reserved=True)
    if entity.from_ is not None:
        index.refer(document, ("from",), entity.from_, index.names("entity"), "entity")
    elif entity.sql is None:
        _table(entity.table, control, document, index)
    for name, path in ((entity.key, ("key",)), *((time, path) for path, time in _times(entity))):
        if name and index.refer(document, path, name, names_of(entity), "column"):
            _single(entity, name, path, document, index)
    for path, name in _times(entity):
        if name in entity.columns and entity.columns[name].type not in ("date", "timestamp"):
            index.problems.add(document, path, f"column {name!r} is a {entity.columns[name].type}, not a date or timestamp")
    if not entity.rows and entity.from_ is None:
        index.problems.add(
            document, ("rows",), "must name at least one class", hint="what does being in this table say? `public` is an answer"
        )
    index.refer_all(document, ("rows",), entity.rows, index.inside("classes", "classes"), "class")
    for name in entity.group_by:
        index.named(document, ("group_by", name), name, "column", key=True, reserved=True)
    for name, column in entity.columns.items():
        if name in entity.group_by:
            if name in (document.tree.get("columns") or {}):
                message = f"column {name!r} is one of `group_by` already"
                index.problems.add(document, ("columns", name), message, hint="rename one", key=True)
            continue
        index.named(document, ("columns", name), name, "column", key=True, reserved=True)
        _column(column, ("columns", name), entity, document, index)
    _roles(entity, document, index)


def names_of(entity: Entity) -> frozenset[str]:
    """The names of an entity's columns, a derived one's groups included."""
    return frozenset(entity.columns) | frozenset(entity.group_by)


def key_of(entity: Entity) -> tuple[str, ...]:
    """The columns that tell the rows of an entity apart."""
    return (entity.key,) if entity.key else tuple(entity.group_by)


def _table(table: str, control: set[str], document: Document, index: Index) -> None:
    if not TABLE.fullmatch(table):
        index.problems.add(document, ("table",), f"{short(table)} is not schema.table", hint="such as clinical.patients")
    elif (schema := table.partition(".")[0]).lower() in control:
        index.problems.add(document, ("table",), f"schema {schema} holds the control tables", hint="no entity reads those")


def _single(entity: Entity, name: str, path: Path, document: Document, index: Index) -> bool:
    """Whether a column holds one value a row; reports an array or a struct."""
    column = entity.columns.get(name)
    if column is None or not (column.array or column.fields):
        return True
    kind = "an array" if column.array else "a struct"
    index.problems.add(document, path, f"column {name!r} is {kind}", hint="a column of one value is needed")
    return False


def _same_table(project: Project, index: Index) -> None:
    """Two entities may read one table, but not say different things of one column: the lower class would win somewhere."""
    first: dict[tuple[str, str], Entity] = {}
    for name, entity in project.entities.items():
        if not entity.table:
            continue
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


def _column(column: Column, path: tuple[str, ...], entity: Entity, document: Document, index: Index) -> None:
    columns, problems = names_of(entity), index.problems
    classes, systems, units = index.inside("classes", "classes"), index.inside("project", "code_systems"), index.units()
    index.refer(document, (*path, "class"), column.cls or None, classes, "class")
    index.refer_all(document, (*path, "may_hold"), column.may_hold, classes, "class")
    if systems is not None:
        known, hint = columns | systems, "a column, or a name under `code_systems` of conf/cdp.yml"
        if column.array:
            known, hint = systems, "one system for the whole array: a name under `code_systems` of conf/cdp.yml"
        index.refer(document, (*path, "system"), column.system, known, "column or code system", hint=hint)
    if units is not None:
        hint = "a column, or a name under `units` of conf/cdp.yml"
        index.refer(document, (*path, "unit"), column.unit, columns | units, "column or unit", hint=hint)
    for key in ("system", "unit"):  # a column of this row, which must say it in a word
        other = entity.columns.get(getattr(column, key) or "")
        if other is not None and (other.array or other.fields or other.type not in ("string", "code")):
            what = "an array" if other.array else "a struct" if other.fields else f"a {other.type}"
            problems.add(document, (*path, key), f"column {getattr(column, key)!r} is {what}, not a string")
    if entity.from_ is None:
        _typed(column, path, document, index)
    for field in column.fields:
        for word in field.split("."):
            index.named(document, (*path, "fields", field), word, "field", key=True)


def _typed(column: Column, path: tuple[str, ...], document: Document, index: Index) -> None:
    """What only a code, or only a number, has."""
    for key, noun in (("system", "no code system"), ("strip", "nothing to strip")):
        if getattr(column, key) is not None and column.type != "code":
            index.problems.add(document, (*path, key), f"a {column.type} has {noun}", hint="write `type: code`", key=True)
    if column.strip is not None and not column.strip.strip():
        index.problems.add(document, (*path, "strip"), "must be the text that some feeds leave out", hint='such as "."')
    if column.unit and _FAMILY.get(column.type) != "number":
        index.problems.add(document, (*path, "unit"), f"a {column.type} has no unit", hint="units belong to numbers", key=True)


def _roles(entity: Entity, document: Document, index: Index) -> None:
    holders: dict[str, str] = {}
    for name, column in entity.columns.items():
        path = ("columns", name, "role")
        if column.role is None:
            continue
        if column.type not in ("date", "timestamp"):  # forms: an array or a struct has no role
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
        if relation.one is not None:
            _leads_to_one(relation, (*path, "one"), project.entities[target], document, index)


def _leads_to_one(relation: Relation, path: tuple[str, ...], theirs: Entity, document: Document, index: Index) -> None:
    """What is made of other rows has no table whose keys a plan could look at: its own text must say that there is one."""
    joined = set(relation.via) if isinstance(relation.via, dict) else {theirs.key}
    if theirs.sql is not None:
        hint = "declare it with `many` and ask for `latest`, `max` or `has`"
        index.problems.add(document, path, f"{theirs.name} is made by a SELECT, whose keys may repeat", hint=hint)
    elif theirs.from_ is not None and not set(theirs.group_by) <= joined:
        left = ", ".join(sorted(set(theirs.group_by) - joined))
        index.problems.add(document, path, f"{theirs.name} has several rows for each {', '.join(sorted(joined))}", hint=f"join {left} too")


def _via(relation: Relation, path: tuple[str, ...], mine: Entity, theirs: Entity, document: Document, index: Index) -> None:
    """`via: x` names their column for `many`, mine for `one`; `via: {theirs: mine}` names both."""
    keyed = mine if relation.many is not None else theirs
    if isinstance(relation.via, dict):
        pairs = [((*path, left), left, (*path, left), right) for left, right in relation.via.items()]
        if not pairs:
            index.problems.add(document, path, "must not be empty", hint="{their column: my column}")
    elif len(key_of(keyed)) != 1:
        hint = "name them in pairs: {their column: my column}"
        index.problems.add(document, path, f"the key of {keyed.name} has {len(key_of(keyed))} columns", hint=hint)
        return
    elif relation.many is not None:
        pairs = [(path, relation.via, path, key_of(mine)[0])]
    else:
        pairs = [(path, key_of(theirs)[0], path, relation.via)]
    for their_path, left, my_path, right in pairs:
        if left != theirs.key:  # a key that is no column is reported where it is declared
            index.refer(document, their_path, left, names_of(theirs), f"column of {theirs.name}", key=their_path != path)
        if right != mine.key:
            index.refer(document, my_path, right, names_of(mine), f"column of {mine.name}")
        if left in theirs.columns and right in mine.columns:
            _joined(theirs, left, mine, right, their_path, document, index)


def _joined(theirs: Entity, left: str, mine: Entity, right: str, path: Path, document: Document, index: Index) -> None:
    if not (_single(theirs, left, path, document, index) and _single(mine, right, path, document, index)):
        return
    if _family(theirs.columns[left]) != _family(mine.columns[right]):
        message = f"{theirs.name}.{left} is a {theirs.columns[left].type}, {mine.name}.{right} a {mine.columns[right].type}"
        index.problems.add(document, path, message, hint="columns that are joined have one type")


def _family(column: Column) -> str:
    return _FAMILY.get(column.type, column.type)
