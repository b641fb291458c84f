"""What of an export differs from what a catalog has, and what the catalog says of columns; from rows of its information schema.

https://docs.databricks.com/aws/en/sql/language-manual/sql-ref-information-schema; SHOW POLICIES; system.access.column_lineage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from cdp.catalog.unity import COMMENT, OURS, Export, Kind, Statement, literal, quoted
from cdp.errors import DataError, Refusal
from cdp.governance import tags
from cdp.governance.classes import ClassTree
from cdp.governance.tags import Column
from cdp.project.project import Project

Rows = Sequence[Mapping[str, Any]]
Ask = Callable[[str], Rows]
Place = tuple[Kind, str, str]  # kind, object and name of a statement


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing to change in the catalog.

    Attributes:
        now: what is there; None for nothing.
        wanted: what should be; None for nothing.
        text: the SQL that changes it.
    """

    kind: Kind
    on: str
    name: str
    now: str | None
    wanted: str | None
    text: str

    @property
    def change(self) -> Literal["add", "change", "remove"]:
        """What is to be done."""
        return "add" if self.now is None else "remove" if self.wanted is None else "change"

    def as_json(self) -> dict[str, Any]:
        """The difference as a JSON object with stable keys."""
        said = {"change": self.change, "kind": self.kind, "on": self.on, "name": self.name}
        return {**said, "now": self.now, "wanted": self.wanted, "sql": self.text}


@dataclass(frozen=True, slots=True)
class Catalog:
    """What a catalog has of an export.

    Attributes:
        state: what is there by place; grants of others, and what is not ours, left out.
        classes: the classes that columns are tagged with.
    """

    state: Mapping[Place, str]
    classes: tags.Classes

    @classmethod
    def read(cls, export: Export, tables: Iterable[str], ask: Ask) -> Catalog:
        """Ask a catalog.

        Args:
            export: what it is held against.
            tables: the declared tables.
            ask: runs a query there.

        Raises:
            DataError: a declared table is not there.
        """
        reader = _Reader(export, ask)
        reader.check(tables)
        column_tags = reader.column_tags()
        state = {**reader.schemas(), **reader.functions(), **reader.table_tags(), **column_tags, **reader.policies(), **reader.grants()}
        classes = {_column(on): tags.classes(value) for (_, on, key), value in column_tags.items() if key == tags.CLASS}
        return cls(state, classes)


def differences(export: Export, found: Catalog) -> tuple[Difference, ...]:
    """What to change so that the catalog is as exported; what is no longer wanted goes last."""
    wanted = {(each.kind, each.on, each.name): each for each in export.statements}
    changed = [
        Difference(each.kind, each.on, each.name, found.state.get(place), each.state, each.text)
        for place, each in wanted.items()
        if found.state.get(place) != each.state
    ]
    gone = [
        Difference(kind, on, name, now, None, text)
        for (kind, on, name), now in sorted(found.state.items())
        if (kind, on, name) not in wanted and (text := _removal(kind, on, name)) is not None
    ]
    return (*changed, *sorted(gone, key=lambda each: _ORDER.index(each.kind)))


_ORDER: Final[Sequence[Kind]] = ("policy", "function", "tag", "grant", "schema")  # a policy uses functions and tags


def _removal(kind: Kind, on: str, name: str) -> str | None:
    """The SQL that takes something of ours away. Grants and schemas stay: others may rely on them."""
    if kind == "policy":
        return f"DROP POLICY {quoted(name)} ON {on}"
    if kind == "function":
        return f"DROP FUNCTION IF EXISTS {on}.{quoted(name)}"
    if kind != "tag":
        return None
    parts = on.split(".")
    place = f"ALTER TABLE {'.'.join(parts[:3])}" + (f" ALTER COLUMN {parts[3]}" if len(parts) == 4 else "")
    return f"{place} UNSET TAGS ({literal(name)})"


def above(project: Project, tree: ClassTree, found: Catalog, lineage: Iterable[tuple[Column, Column]]) -> tuple[Refusal, ...]:
    """The columns of which the catalog says more than the project declares: by their tags, or as views of others that say more."""
    declared: dict[Column, frozenset[str]] = {}
    for entity in (each for each in project.entities.values() if each.table):
        for name, column in entity.columns.items():
            place = (entity.table.lower(), name.lower())
            declared[place] = declared.get(place, frozenset()) | {column.cls, *column.may_hold}
    known = {column: declared.get(column, frozenset()) | found.classes.get(column, frozenset()) for column in {*declared, *found.classes}}
    return tags.tags_above(declared, tags.inherited(known, lineage), tree)


def lineage_query(catalog: str) -> str:
    """SQL for the column lineage of a catalog's views: https://docs.databricks.com/aws/en/admin/system-tables/lineage."""
    ends = ", ".join(f"{end}_table_schema, {end}_table_name, {end}_column_name" for end in ("source", "target"))
    here = " AND ".join(f"{end}_table_catalog = {literal(catalog)}" for end in ("source", "target"))
    return f"SELECT DISTINCT {ends} FROM system.access.column_lineage WHERE {here} AND target_type = 'VIEW'"


def lineage_of(rows: Rows) -> Iterator[tuple[Column, Column]]:
    """The steps that `lineage_query` found."""
    for row in rows:
        ends = [(f"{row[f'{end}_table_schema']}.{row[f'{end}_table_name']}", row[f"{end}_column_name"]) for end in ("source", "target")]
        if all(table and column for table, column in ends):
            (source, one), (target, other) = ends
            yield (source.lower(), one.lower()), (target.lower(), other.lower())


@dataclass(frozen=True, slots=True)
class _Reader:
    export: Export
    ask: Ask

    def name(self, *parts: str) -> str:
        return ".".join(map(quoted, (self.export.catalog, *parts)))

    def select(self, columns: str, relation: str, where: str = "") -> Rows:
        return self.ask(f"SELECT {columns} FROM {self.name('information_schema', relation)}{f' WHERE {where}' if where else ''}")

    def check(self, tables: Iterable[str]) -> None:
        """That every declared table is there."""
        there = {f"{row['table_schema']}.{row['table_name']}".lower() for row in self.select("table_schema, table_name", "tables")}
        if missing := sorted(set(tables) - there):
            fix = "mend `table:` of the entities, or name another catalog"
            raise DataError(f"catalog {self.export.catalog} has no table {', '.join(missing)}", fix=fix)

    def schemas(self) -> dict[Place, str]:
        rows = self.select("schema_name", "schemata", f"schema_name = {literal(self.export.schema)}")
        return {("schema", self.name(), row["schema_name"]): "" for row in rows}

    def functions(self) -> dict[Place, str]:
        rows = self.select("routine_name, comment", "routines", f"routine_schema = {literal(self.export.schema)}")
        return {("function", self.name(self.export.schema), row["routine_name"]): _digest(row["comment"]) for row in rows}

    def column_tags(self) -> dict[Place, str]:
        rows = self.select("schema_name, table_name, column_name, tag_name, tag_value", "column_tags", _ours())
        return {("tag", self.name(r["schema_name"], r["table_name"], r["column_name"]), r["tag_name"]): r["tag_value"] for r in rows}

    def table_tags(self) -> dict[Place, str]:
        rows = self.select("schema_name, table_name, tag_name, tag_value", "table_tags", _ours())
        return {("tag", self.name(row["schema_name"], row["table_name"]), row["tag_name"]): row["tag_value"] for row in rows}

    def policies(self) -> dict[Place, str]:
        tables = {_table(each) for each in self.export.statements if each.kind == "tag"}
        found: dict[Place, str] = {}
        for on in (f"CATALOG {self.name()}", *(f"TABLE {table}" for table in sorted(tables))):
            for row in self.ask(f"SHOW POLICIES ON {on}"):
                if str(row["Policy Name"]).startswith(OURS):
                    found["policy", on, row["Policy Name"]] = _digest(row["Comment"])
        return found

    def grants(self) -> dict[Place, str]:
        found: dict[Place, str] = {}
        for row in self.select("grantee, privilege_type", "catalog_privileges", f"catalog_name = {literal(self.export.catalog)}"):
            found[_grant(row, f"CATALOG {self.name()}")] = "granted"
        for row in self.select("grantee, privilege_type, schema_name", "schema_privileges"):
            found[_grant(row, f"SCHEMA {self.name(row['schema_name'])}")] = "granted"
        for row in self.select("grantee, privilege_type, table_schema, table_name", "table_privileges"):
            found[_grant(row, f"TABLE {self.name(row['table_schema'], row['table_name'])}")] = "granted"
        return found


def _grant(row: Mapping[str, Any], on: str) -> Place:
    return "grant", on, f"{str(row['privilege_type']).replace('_', ' ')} to {row['grantee']}"


def _digest(comment: str | None) -> str:
    """The digest of what we made; the whole comment of what somebody else made under the same name."""
    return (comment or "").removeprefix(COMMENT)


def _table(statement: Statement) -> str:
    """The table that a tag stands on, alone or on a column."""
    return ".".join(statement.on.split(".")[:3])


def _column(on: str) -> Column:
    """`schema.table` and column of a quoted name in the catalog."""
    _, schema, table, column = (part.strip("`").lower() for part in on.split("."))
    return f"{schema}.{table}", column


def _ours() -> str:
    return f"tag_name IN ({', '.join(map(literal, tags.KEYS))})"
