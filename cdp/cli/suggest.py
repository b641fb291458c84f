"""`cdp governance suggest`: classes for a table that nobody has declared yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdp.cli.command import command
from cdp.cli.session import Session
from cdp.errors import UsageError

if TYPE_CHECKING:
    from cdp.governance.suggest import Suggester, Suggestion
    from cdp.project.load import Project


@command("cdp governance suggest clinical.conditions", "cdp governance suggest encounter", "cdp governance suggest crm.consents --json")
def suggest(
    session: Session,
    names: Annotated[list[str], typer.Argument(metavar="TABLE_OR_ENTITY", help="schema.table, or an entity: its columns without a class.")],
) -> None:
    """Propose an entity for a table, with a class for each column.

    It looks at the names and types of columns only, and at no value. Where a name does not tell, the class is UNDECIDED, and
    the project is refused until somebody has written another word. Of an entity, only the columns that it does not declare are
    proposed. Every proposal is a guess for a person to read.
    """
    from cdp.governance.suggest import as_yaml

    project = session.project
    asked = [_asked(project, name) for name in names]
    suggester = _suggester(project)
    made = [(suggester.table(table, session.engine.columns(table)), known) for table, known in asked]
    if session.out.as_json:
        return session.out.json([_json(found, known) for found, known in made])
    return session.out.text(
        "---\n".join(as_yaml(found, known) or f"# every column of {found.table} is declared\n" for found, known in made).rstrip()
    )


def _asked(project: Project, name: str) -> tuple[str, frozenset[str]]:
    """The table that a word means, and the columns of it that are declared.

    Raises:
        UsageError: it is neither schema.table nor an entity with a table.
    """
    entities = [each for each in project.entities.values() if each.table and name.lower() in (each.name, each.table.lower())]
    if not entities and name.count(".") != 1:
        raise UsageError(f"{name} is neither a table nor an entity with one", fix="write schema.table, such as clinical.conditions")
    return (entities[0].table if entities else name), frozenset(column.lower() for each in entities for column in each.columns)


def _suggester(project: Project) -> Suggester:
    """With the classes of key columns as the project declares them; one that is declared in two ways is left open."""
    from cdp.governance.classes import ClassTree
    from cdp.governance.suggest import Suggester

    tree = ClassTree(project.policy.classes)
    said: dict[str, set[str]] = {}
    for entity in project.entities.values():
        for name, column in entity.columns.items():
            if column.cls and tree.is_key(column.cls):
                said.setdefault(name.lower(), set()).add(column.cls)
    return Suggester(tree, tuple(project.policy.classes), {name: min(classes) for name, classes in said.items() if len(classes) == 1})


def _json(found: Suggestion, known: frozenset[str]) -> dict[str, Any]:
    made = found.as_json()
    return made | {"columns": [column for column in made["columns"] if column["name"].lower() not in known]}
