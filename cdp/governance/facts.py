"""What the tables of a project say: the declared classes, as the analysis of queries needs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cdp.governance.taint import ColumnFacts, TableFacts
from cdp.governance.taint.scope import Codes
from cdp.project.codes.reviews import standing
from cdp.project.project import Project
from cdp.spec.model import Column, Entity

Pair = tuple[str, str]  # a code system and a code
Told = frozenset[str]


def tables_of(project: Project) -> dict[str, TableFacts]:
    """What every column and every row of every declared table says.

    Two entities of one table add up; the loader sees to it that they say the same of a column that both have.
    """
    tables: dict[str, TableFacts] = {}
    for entity in filter(lambda each: each.table, project.entities.values()):
        table = entity.table.lower()  # `Clinical.patients` is the same table
        other = tables.get(table)
        columns = {**(other.columns if other else {}), **_columns_of(entity, project)}
        rows = frozenset(entity.rows) | (other.rows if other else frozenset())
        key = frozenset({entity.key}) if other is None or other.key == {entity.key} else frozenset()
        tables[table] = TableFacts(columns, rows, key)
    return tables


def made_of(project: Project) -> dict[str, TableFacts]:
    """What is declared of entities that are made of others. They also say what those say: the walk finds that in their queries."""
    made = (entity for entity in project.entities.values() if not entity.table)
    return {entity.name: TableFacts(_columns_of(entity), frozenset(entity.rows)) for entity in made}


def codes_of(project: Project) -> dict[str, Told]:
    """Every code whose value sets are all reviewed as they are now, and the classes that comparing with it gives away.

    Codes are told apart by their text alone; so a code that also stands in a value set that nobody reviewed, be it of
    another code system, counts as not reviewed.
    """
    codes: dict[str, Told] = {}
    for (_, code), classes in _reviewed(project):
        codes[code] = codes.get(code, frozenset()) | classes
    unreviewed = _unreviewed(project)
    return {code: classes for code, classes in codes.items() if code not in unreviewed}


def _columns_of(entity: Entity, project: Project | None = None) -> dict[str, ColumnFacts]:
    """What is declared of an entity's columns; one of a derived entity may have no class of its own."""
    declared = {name: column for name, column in entity.columns.items() if column.cls}
    return {
        name: ColumnFacts(column.cls, frozenset(column.may_hold), codes=_spelled(project, entity, column) if project else None)
        for name, column in declared.items()
    }


def _spelled(project: Project, entity: Entity, column: Column) -> Codes | None:
    """What the spellings of a column's codes give away, where some feeds leave `strip` out of them.

    `E119` is then E11.9. But it could be another system's code as it is written, so this holds only of a column that is all of
    one system, of that system's codes, and of a spelling that no unreviewed code shares.
    """
    strip = column.strip
    if not strip or column.system is None or column.system in entity.columns:
        return None
    told: dict[str, Told] = {}
    for (system, code), classes in _reviewed(project):
        for text in {code, code.replace(strip, "")} if system == column.system else ():
            told[text] = told.get(text, frozenset()) | classes
    shared = {code.replace(strip, "") for code in _unreviewed(project)}
    spellings: Mapping[str, Told] = {text: classes for text, classes in told.items() if text.replace(strip, "") not in shared}
    return spellings.get


def _reviewed(project: Project) -> Iterator[tuple[Pair, Told]]:
    """The codes of reviewed value sets, each with the class of its review; one in several sets comes several times."""
    for name, value_set in project.value_sets.items():
        if (review := standing(project, name)) is not None:
            classes = frozenset() if review.cls == "none" else frozenset({review.cls})
            yield from (((part.system, code), classes) for part in value_set.members for code in part.codes)


def _unreviewed(project: Project) -> set[str]:
    sets = (value_set for name, value_set in project.value_sets.items() if standing(project, name) is None)
    return {code for value_set in sets for code in value_set.all_codes}
