"""The rows that a role reads (`rows:` of governance/roles.yml): a condition that holds of every entity with all of its columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from cdp.project.check_rows import own_columns
from cdp.project.language.bind import Binder
from cdp.project.problems import Problems
from cdp.project.project import Project
from cdp.project.terms import Condition
from cdp.spec.base import Text, Tree
from cdp.spec.model import Entity

if TYPE_CHECKING:
    from cdp.spec.access import Role

FACILITIES: Final = "$facilities"
_AROUND: Final = ("all", "any", "not")  # words around conditions, which name no column


def check(project: Project, problems: Problems) -> None:
    """Report filters that no entity has the columns of, and that do not fit one that has."""
    for name, role in project.policy.roles.items():
        if role.rows is None:
            continue
        if not [*_entities(project, role)]:
            columns = ", ".join(dict.fromkeys(_columns(role.rows.where))) or "(none)"
            at = Binder(project, problems).place("roles", "roles", "roles", name, "rows", "where")
            at.wrong(f"no entity with a table has all of these columns: {columns}", hint="it would keep nothing from anybody")
        people = [person.facilities for person in project.policy.people if name in person.roles and person.facilities]
        for facilities in dict.fromkeys([*people, ("a facility",)]):
            dict(_bound(Binder(project, problems), name, role, facilities))


def bind_role_rows(project: Project, name: str, facilities: Sequence[str]) -> dict[str, Condition | None]:
    """What rows of each entity somebody in a role reads, by the entity's name; entities that are not named are read whole.

    Args:
        project: loaded, so that every filter is known to fit.
        name: the role.
        facilities: those of the person.

    Returns:
        None in the place of a condition where no row is read: the filter asks for facilities, and the person has none.
    """
    role = project.policy.roles[name]
    if role.rows is None:
        return {}
    if not facilities and FACILITIES in map(str, _words(role.rows.where)):
        return {entity.name: None for entity in _entities(project, role)}
    return dict(_bound(Binder(project, Problems()), name, role, facilities))


def _bound(binder: Binder, name: str, role: Role, facilities: Sequence[str]) -> Iterator[tuple[str, Condition]]:
    assert role.rows is not None, "asked of roles with a filter"
    tree = _filled(role.rows.where, [Text(each, quoted=True) for each in facilities])
    for entity in _entities(binder.project, role):
        at = binder.place("roles", "roles", "roles", name, "rows", "where").told(f"it is asked of every row of {entity.name}")
        term = own_columns(binder, tree, entity, at)
        if term is not None:
            yield entity.name, term


def _entities(project: Project, role: Role) -> Iterator[Entity]:
    """The entities with a table that have every column that the filter names."""
    named = set(_columns(role.rows.where)) if role.rows else set()
    yield from (entity for entity in project.entities.values() if entity.table and named and named <= entity.columns.keys())


def _columns(tree: Tree) -> Iterator[str]:
    """The columns that a condition names."""
    if isinstance(tree, list):
        for part in tree:
            yield from _columns(part)
    elif isinstance(tree, dict):
        for key, part in tree.items():
            yield from _columns(part) if key in _AROUND else (str(key),)


def _words(tree: Tree) -> Iterator[str]:
    parts: Iterable[Tree] = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    if isinstance(tree, str):
        yield tree
    for part in parts:
        yield from _words(part)


def _filled(tree: Tree, facilities: list[Text]) -> Tree:
    if isinstance(tree, dict):
        return {key: _filled(part, facilities) for key, part in tree.items()}
    if isinstance(tree, list):
        return [_filled(part, facilities) for part in tree]
    return list(facilities) if tree == FACILITIES and not getattr(tree, "quoted", False) else tree
