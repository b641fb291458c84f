"""Who they are in kind: members by the values of a column, a trait, or age."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from cdp.analyst.explore.cells import Shown, Table
from cdp.analyst.explore.elimination import Cell
from cdp.analyst.explore.funnel import Crowd
from cdp.analyst.explore.sight import Sight
from cdp.compile import sql
from cdp.compile.statement import SAID, Statement, trait_values
from cdp.errors import Refusal, RefusedError, UsageError
from cdp.project.language.names import link
from cdp.project.load import Project
from cdp.project.terms import AgeBetween, ColumnRef, Day, Link, Operand
from cdp.project.terms.types import type_of
from cdp.spec.model import Entity

MOST = 30  # values with a line of their own
OTHERS = "(others)"
NONE = "(none)"
AGE = "age"
BANDS = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90)  # from 90 on one band: 45 CFR 164.514(b)(2)(i)(C)


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Members by a value: a line for each value, in it a number for each segment."""

    by: str
    lines: tuple[tuple[str, tuple[Shown, ...]], ...]


def value(statement: Statement, by: str) -> exp.Expr:
    """What members are told apart by, as a text: of a day its year, of an age its decade.

    Raises:
        UsageError: the entity has no such column or trait, or it has no single value.
    """
    entity, project = statement.entity, statement.project
    born = _birth_date(entity)
    if by == AGE and born is not None:
        return _band(statement, born)
    operand = _operand(project, entity, by)
    found, kind = statement.output(operand), type_of(operand)
    if kind in ("date", "timestamp"):
        day = sql.local_day(found, project.timezone) if kind == "timestamp" else found
        found = exp.Year(this=day)
    return exp.Cast(this=found, to=sql.TEXT)


def _birth_date(entity: Entity) -> ColumnRef | None:
    names = [name for name, column in entity.columns.items() if column.role == "birth_date"]
    return ColumnRef((), entity.name, names[0], entity.columns[names[0]].type) if names else None


def _band(statement: Statement, born: ColumnRef) -> exp.Expr:
    """The decade of a person's age; negative ages have none."""
    ends: list[int | None] = [*(start - 1 for start in BANDS[1:]), None]
    ages = [AgeBetween(born, low, high, "years", Day("as_of")) for low, high in zip(BANDS, ends, strict=True)]
    names = [f"{low:02}-{high:02}" if high else f"{low}+" for low, high in zip(BANDS, ends, strict=True)]
    tests = [statement.test(age, statement.clock, SAID) for age in ages]
    return exp.Case(ifs=[exp.If(this=test, true=sql.string(name)) for test, name in zip(tests, names, strict=True)])


def _operand(project: Project, entity: Entity, by: str) -> Operand:
    """A column, a column over to-one relations, a trait or a field of a trait's row."""
    hops: tuple[Link, ...] = ()
    here, rest = entity, by
    while (head := rest.partition(".")[0]) in here.relations and (to := here.relations[head].one):
        target = project.entities[to]
        hops, here, rest = (*hops, link(head, here.relations[head], here, target)), target, rest.partition(".")[2]
    found = _column(here, hops, rest) or (None if hops else _trait(project, entity, rest))
    if found is None or type_of(found) is None:
        traits = [name for name, trait in project.traits.items() if trait.entity == entity.name]
        valid = ", ".join(sorted({*entity.columns, *traits, *((AGE,) if _birth_date(entity) else ())}))
        raise UsageError(f"--by {by}: {entity.name} has no such column or trait with one value", fix=f"one of: {valid}")
    return found


def _column(entity: Entity, hops: tuple[Link, ...], name: str) -> ColumnRef | None:
    column, _, path = name.partition(".")
    spec = entity.columns.get(column)
    if spec is None or spec.array or (path and path not in spec.fields):
        return None
    kind = spec.fields[path] if path else spec.type
    return ColumnRef(hops, entity.name, column, kind, field=tuple(path.split(".")) if path else ())


def _trait(project: Project, entity: Entity, name: str) -> Operand | None:
    trait, _, field = name.partition(".")
    if trait not in project.traits or project.traits[trait].entity != entity.name:
        return None
    values = trait_values(project, trait)
    return values.get(f"{trait}_{field}" if field else trait)


def check(sight: Sight, statement: Statement, by: str) -> bool:
    """Whether every value may be named: those that the role sees, and decades of age. What many people share is named anyway.

    Args:
        sight: who looks.
        statement: one of the entity's, without columns.
        by: what is broken down by.

    Raises:
        RefusedError: the value is of a class that no query may read, or tells single people apart.
    """
    statement.column(by, value(statement, by))
    relation, tree = sight.relation(statement.query(by).select), sight.governor.tree
    facts = relation.columns[by] if relation else frozenset()
    for cls in sorted({fact.cls for fact in facts}):
        if tree.never(cls) or tree.is_key(cls):
            why = (
                tree.law(cls) or "the class is declared `never`"
                if tree.never(cls)
                else "it tells people apart: each cell would be one person"
            )
            raise RefusedError(f"--by {by}", [Refusal("value", by, cls, (), why, "break down by what people have in common")])
    return by == AGE or (relation is not None and not sight.lacking(facts))


def cells(
    table: Table, members: Sequence[Crowd], by: str, found: Sequence[tuple[str | None, Mapping[Crowd, int]]], named: bool
) -> list[str]:
    """Put the numbers of a breakdown into a table; returns the names of its lines, in their order.

    A value that may not be seen has a line of its own only where enough people have it.

    Args:
        table: the numbers of the output.
        members: of each segment.
        by: what is broken down by.
        found: by value, how many of each crowd.
        named: whether whoever looks may see the values.
    """
    lines: dict[str, dict[Crowd, int]] = {}
    sizes = {text: max(numbers[crowd] for crowd in members) for text, numbers in found}
    largest = sorted((text for text in sizes if text is not None), key=lambda text: (-sizes[text], text))
    few = len([text for text in largest if sizes[text]]) <= MOST
    own = {text for text in largest[:MOST] if (named and few) or sizes[text] >= table.small}
    for text, numbers in found:
        name = NONE if text is None else text if text in own else OTHERS
        line = lines.setdefault(name, dict.fromkeys(members, 0))
        for crowd in line:
            line[crowd] += numbers[crowd]
    kept = sorted((name for name, line in lines.items() if any(line.values())), key=lambda name: (name == OTHERS, name == NONE, name))
    for crowd in dict.fromkeys(members):
        for name in kept:
            table.cell(cell(by, crowd, name), lines[name][crowd])
    table.divide([{crowd: cell(by, crowd, name) for crowd in members} for name in kept])
    return kept


def cell(by: str, members: Crowd, line: str) -> Cell:
    """The name of a number of a breakdown."""
    return ("by", by, members, line)
