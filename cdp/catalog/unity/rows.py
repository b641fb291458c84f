"""The rows that people read, as row filters of Unity Catalog: special rows (rows.yml) and the rows of a role (roles.yml).

Of a table and a user one filter may resolve and no more, so a table has one function that asks for the groups itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlglot import exp

from cdp.governance.classes import ClassTree
from cdp.governance.rows.special import Special, row_test, special_rows
from cdp.project.language.role_rows import bind_role_rows
from cdp.project.project import Project
from cdp.spec.access import Person
from cdp.spec.model import Entity

TYPES: Final[Mapping[str, str]] = {
    "string": "STRING",
    "code": "STRING",
    "integer": "BIGINT",
    "decimal": "DECIMAL(38, 10)",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
}


@dataclass(frozen=True, slots=True)
class Filter:
    """The filter of one table: a function of some columns.

    Attributes:
        columns: (name, type), the arguments in order.
        test: SQL that is true of the rows that whoever asks may read.
        about: what it keeps out, in words.
    """

    table: str
    columns: tuple[tuple[str, str], ...]
    test: str
    about: str


def filters(project: Project, tree: ClassTree) -> Iterator[Filter]:
    """One filter for each table that has special rows or rows that only some roles read."""
    special = special_rows(project)
    roles = {table: tests for table in _tables(project) if (tests := _role_tests(project, table))}
    for table in _tables(project):
        own = [each for each in special if each.table.lower() == table]
        if own or table in roles:
            yield _filter(project, tree, table, own, roles.get(table))


def _tables(project: Project) -> list[str]:
    return sorted({entity.table.lower() for entity in project.entities.values() if entity.table})


def _filter(project: Project, tree: ClassTree, table: str, special: Sequence[Special], roles: Mapping[str, exp.Expr] | None) -> Filter:
    tests = [_granted(project, tree, each) for each in special]
    about = [f"rows of {each.cls} for who is not granted it" for each in special]
    if roles is not None:
        tests.append(_any(roles.values()))
        about.append(f"rows that no role of theirs reads ({', '.join(roles)})")
    test = exp.and_(*tests)
    types = {name.lower(): TYPES[spec.type] for entity in _entities(project, table) for name, spec in entity.columns.items()}
    names = sorted({column.name.lower() for column in test.find_all(exp.Column)})
    plain = test.transform(lambda node: exp.column(node.name.lower()) if isinstance(node, exp.Column) else node)
    return Filter(table, tuple((name, types[name]) for name in names), plain.sql("databricks"), "; ".join(about))


def _granted(project: Project, tree: ClassTree, special: Special) -> exp.Expr:
    """True of ordinary rows, and of all for members of the roles that are granted the class. What is not known is special."""
    roles = [name for name, role in sorted(project.policy.roles.items()) if tree.covers(role.use, special.cls)]
    ordinary = exp.Coalesce(this=special.ordinary.copy(), expressions=[exp.false()])
    return _any([*map(_member, roles), ordinary])


def _role_tests(project: Project, table: str) -> dict[str, exp.Expr]:
    """By role, the rows that its members read; empty where no role reads only some. Who has several roles reads what each may."""
    limited = {name: test for name in sorted(project.policy.roles) if (test := _role_test(project, name, table)) is not None}
    if not limited:
        return {}
    every = {name: _member(name) for name in sorted(project.policy.roles)}
    return every | {name: exp.and_(_member(name), test) for name, test in limited.items()}


def _role_test(project: Project, role: str, table: str) -> exp.Expr | None:
    """The rows of a table that people in a role read; None where they read all. Each person has facilities of their own."""
    people = [person for person in project.policy.people if role in person.roles]
    same = _rows(project, role, table, ())
    if same is None or same != exp.false():
        return same  # it asks for no facility, so it is the same for everybody
    tests = []
    for facilities in dict.fromkeys(person.facilities for person in people if person.facilities):
        who = [user for person in people if person.facilities == facilities and (user := _user(person))]
        rows = _rows(project, role, table, facilities)
        if who and rows is not None:
            tests.append(exp.and_(exp.In(this=exp.CurrentUser(), expressions=[exp.Literal.string(user) for user in who]), rows))
    return _any(tests)


def _rows(project: Project, role: str, table: str, facilities: Sequence[str]) -> exp.Expr | None:
    bound = bind_role_rows(project, role, facilities)
    tests = []
    for entity in _entities(project, table):
        if entity.name in bound:
            term = bound[entity.name]
            tests.append(exp.false() if term is None else exp.Coalesce(this=row_test(project, entity, term), expressions=[exp.false()]))
    return exp.and_(*tests) if tests else None


def _entities(project: Project, table: str) -> list[Entity]:
    return [entity for entity in project.entities.values() if entity.table.lower() == table]


def _user(person: Person) -> str | None:
    """Who somebody is on Databricks: `user:NAME`, or by e-mail."""
    kind, _, name = person.id.partition(":")
    return name if kind == "user" else person.email


def _member(role: str) -> exp.Expr:
    return exp.func("is_account_group_member", exp.Literal.string(role))


def _any(tests: Iterable[exp.Expr]) -> exp.Expr:
    found = list(tests)
    return exp.or_(*found) if found else exp.false()
