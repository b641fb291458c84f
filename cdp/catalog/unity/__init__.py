"""The policy as Databricks SQL for Unity Catalog: tags, mask functions, row filters, ABAC policies, grants; in the order of running.

Every statement may be run again. Functions and policies carry a digest of what they are in their comment, so that what the catalog
has can be held against them. Statements: https://docs.databricks.com/aws/en/sql/language-manual/ (CREATE POLICY, SET TAGS, GRANT).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sqlglot import exp

from cdp.catalog.unity import masks as unity_masks
from cdp.catalog.unity import quotas
from cdp.catalog.unity import rows as unity_rows
from cdp.catalog.unity.masks import Label, Ladder
from cdp.catalog.unity.quotas import Excess
from cdp.governance import tags
from cdp.governance.access import permits
from cdp.governance.classes import ClassTree
from cdp.project.project import Project

EVERYBODY: Final = "account users"
OURS: Final = "cdp_"  # the names of our policies begin with it; what is not named so is left alone
COMMENT: Final = "cdp governance export "  # how the comments of our functions and policies begin; a digest follows
READING: Final = ("preview", "explain")  # the verbs that read the lakehouse
Kind = Literal["schema", "function", "tag", "policy", "grant"]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of the export.

    Attributes:
        kind: what it makes.
        on: the object, as the catalog names it.
        name: what it makes there: a tag's key, a policy, a privilege and who gets it.
        state: what is there afterwards: a tag's value, a digest; two exports differ where it does.
        text: the SQL, without a semicolon.
    """

    kind: Kind
    on: str
    name: str
    state: str
    text: str


@dataclass(frozen=True, slots=True)
class Export:
    """The policy of a project for one catalog.

    Attributes:
        catalog: the name of the catalog.
        schema: where the functions stand.
        governed: the tags and their values, which an account admin makes once.
        statements: in the order in which they are run.
        excess: what the catalog would not take; nothing may be run then.
    """

    catalog: str
    schema: str
    governed: Mapping[str, tuple[str, ...]]
    statements: tuple[Statement, ...]
    excess: tuple[Excess, ...]

    def sql(self) -> str:
        """The whole script."""
        head = [
            f"-- The policy for catalog {self.catalog}, made by `cdp governance export`: do not edit, make it again.",
            "-- Tags are governed by the account. Whoever may (CREATE on governed tags) runs this once, and adds values later:",
            *(f"--   {text};" for text in self.once()),
        ]
        body, last = [], ""
        for each in self.statements:
            if each.kind != last:
                body.append(f"\n-- {_TITLES[each.kind]}")
                last = each.kind
            body.append(f"{each.text};")
        return "\n".join([*head, *body]) + "\n"

    def once(self) -> list[str]:
        """The statements that make the governed tags; they are not part of what is run again."""
        return [f"CREATE GOVERNED TAG {key} VALUES ({', '.join(map(literal, values))})" for key, values in self.governed.items() if values]


_TITLES: Final[Mapping[Kind, str]] = {
    "schema": "where the functions stand",
    "function": "what masks and row filters compute",
    "tag": "classes of columns, and what being in a table tells",
    "policy": "who sees what",
    "grant": "who reads at all",
}


def export(project: Project, catalog: str, principals: Sequence[str], schema: str, control: str) -> Export:
    """The policy as SQL.

    Args:
        project: its policy is exported; roles are account groups of the same names.
        catalog: the catalog that holds its tables.
        principals: who runs syncs, and who loads the tables: they read everything as it is.
        schema: where the functions stand.
        control: the schema of the control tables, where syncs write.
    """
    maker = _Maker(project, ClassTree(project.policy.classes), catalog, tuple(principals), schema, control)
    statements = tuple(maker.all())
    governed = {
        key: tuple(dict.fromkeys(each.state for each in statements if each.kind == "tag" and each.name == key)) for key in tags.KEYS
    }
    return Export(catalog, schema, governed, statements, tuple(maker.excess(statements, governed)))


@dataclass(frozen=True, slots=True)
class _Maker:
    project: Project
    tree: ClassTree
    catalog: str
    principals: tuple[str, ...]
    schema: str
    control: str

    def all(self) -> Iterator[Statement]:
        filters = list(unity_rows.filters(self.project, self.tree))
        ladders = unity_masks.ladders(self.project, self.tree)
        yield Statement("schema", self.name(), self.schema, "", f"CREATE SCHEMA IF NOT EXISTS {self.name(self.schema)}")
        for function, signature, body in unity_masks.functions(self.project, ladders):
            yield self.function(function, signature, body)
        for each in filters:
            arguments = ", ".join(f"{quoted(name)} {kind}" for name, kind in each.columns)
            yield self.function(_rows_function(each.table), f"{arguments}) RETURNS BOOLEAN", each.test)
        yield from self.tags(filters)
        yield from self.masks(ladders)
        for each in filters:
            yield self.filter(each)
        yield from self.grants()

    def rows(self) -> dict[str, set[str]]:
        """By table, what being in it tells."""
        rows: dict[str, set[str]] = {}
        for entity in (each for each in self.project.entities.values() if each.table):
            rows.setdefault(entity.table.lower(), set()).update(entity.rows)
        return dict(sorted(rows.items()))

    def name(self, *parts: str) -> str:
        """A name in the catalog."""
        return ".".join(map(quoted, (self.catalog, *parts)))

    def function(self, name: str, signature: str, body: str) -> Statement:
        digest = _digest(signature, body)
        head = f"CREATE OR REPLACE FUNCTION {self.name(self.schema, name)}({signature}"
        return Statement("function", self.name(self.schema), name, digest, f"{head} COMMENT {literal(COMMENT + digest)} RETURN {body}")

    # -- tags -------------------------------------------------------------------------------------------------------

    def tags(self, filters: Sequence[unity_rows.Filter]) -> Iterator[Statement]:
        """The tags of tables and columns. SET TAGS overwrites."""
        asked = {(each.table, name) for each in filters for name, _ in each.columns}
        for table, classes in self.rows().items():
            if classes:
                yield self.tag(table, None, tags.ROWS, tags.value(sorted(classes)))
        labelled = {(place.table, place.name): label for label, places in unity_masks.labels(self.project).items() for place in places}
        for (table, column), label in sorted(labelled.items()):
            yield self.tag(table, column, tags.CLASS, tags.value(label))
            if (table, column) in asked:
                yield self.tag(table, column, tags.COLUMN, column)

    def tag(self, table: str, column: str | None, key: str, value: str) -> Statement:
        where = self.name(*table.split("."))
        place = f"ALTER TABLE {where} ALTER COLUMN {quoted(column)}" if column else f"ALTER TABLE {where}"
        on = f"{where}.{quoted(column)}" if column else where
        return Statement("tag", on, key, value, f"{place} SET TAGS ({literal(key)} = {literal(value)})")

    # -- policies ---------------------------------------------------------------------------------------------------

    def masks(self, ladders: Mapping[Ladder, Sequence[Label]]) -> Iterator[Statement]:
        """The policies of each family of classes. A ladder's steps leave out the roles of the steps above."""
        by_family: dict[str, list[tuple[Ladder, list[Label]]]] = {}
        for ladder, found in ladders.items():
            for family in sorted({label[0].partition(".")[0] for label in found}):
                by_family.setdefault(family, []).append((ladder, [label for label in found if label[0].partition(".")[0] == family]))
        for family, groups in sorted(by_family.items()):
            for number, (ladder, found) in enumerate(groups, 1):
                named = family if len(groups) == 1 else f"{family}_{number}"
                above = [*self.principals, *ladder.whole]
                for mask, cls, roles in ladder.masked:
                    function = unity_masks.function_name(mask, cls)
                    yield self.mask(f"{OURS}{named}_{mask}", function, [*roles], above, found)
                    above = [*above, *roles]
                yield self.mask(
                    f"{OURS}{named}_{unity_masks.NOTHING}", unity_masks.function_name(unity_masks.NOTHING, ""), [EVERYBODY], above, found
                )

    def mask(self, name: str, function: str, to: Sequence[str], besides: Sequence[str], found: Sequence[Label]) -> Statement:
        matching = " OR ".join(f"has_tag_value({literal(tags.CLASS)}, {literal(tags.value(label))})" for label in found)
        place = f"FOR TABLES MATCH COLUMNS {matching} AS masked ON COLUMN masked"
        body = f"COLUMN MASK {self.name(self.schema, function)} {_who(to, besides)} {place}"
        return self.policy(name, f"CATALOG {self.name()}", body)

    def filter(self, found: unity_rows.Filter) -> Statement:
        matching = ", ".join(f"has_tag_value({literal(tags.COLUMN)}, {literal(name)}) AS {quoted(name)}" for name, _ in found.columns)
        using = ", ".join(quoted(name) for name, _ in found.columns)
        columns = f" MATCH COLUMNS {matching} USING COLUMNS ({using})" if found.columns else ""
        function = self.name(self.schema, _rows_function(found.table))
        body = f"ROW FILTER {function} {_who([EVERYBODY], self.principals)} FOR TABLES{columns}"
        return self.policy(f"{OURS}rows", f"TABLE {self.name(*found.table.split('.'))}", body)

    def policy(self, name: str, on: str, body: str) -> Statement:
        digest = _digest(on, body)
        text = f"CREATE OR REPLACE POLICY {quoted(name)} ON {on} COMMENT {literal(COMMENT + digest)} {body}"
        return Statement("policy", on, name, digest, text)

    # -- grants -----------------------------------------------------------------------------------------------------

    def grants(self) -> Iterator[Statement]:
        """Who reads which tables: roles those of which they may know who is in them; syncs everything, and what they write."""
        rows = self.rows()
        for role, spec in sorted(self.project.policy.roles.items()):
            if any(permits(spec, verb) for verb in READING):
                known = [table for table, said in rows.items() if all(self.tree.covers(spec.use, cls) for cls in said)]
                yield from self.reads(role, known)
        for principal in self.principals:
            yield from self.reads(principal, [*rows])
            for privilege in ("USE SCHEMA", "CREATE TABLE", "SELECT", "MODIFY"):
                yield self.grant(privilege, f"SCHEMA {self.name(self.control)}", principal)

    def reads(self, who: str, tables: Sequence[str]) -> Iterator[Statement]:
        if tables:
            yield self.grant("USE CATALOG", f"CATALOG {self.name()}", who)
        for schema in dict.fromkeys(table.partition(".")[0] for table in tables):
            yield self.grant("USE SCHEMA", f"SCHEMA {self.name(schema)}", who)
        for table in tables:
            yield self.grant("SELECT", f"TABLE {self.name(*table.split('.'))}", who)

    def grant(self, privilege: str, on: str, who: str) -> Statement:
        return Statement("grant", on, f"{privilege} to {who}", "granted", f"GRANT {privilege} ON {on} TO {quoted(who)}")

    # -- quotas -----------------------------------------------------------------------------------------------------

    def excess(self, statements: Sequence[Statement], governed: Mapping[str, Sequence[str]]) -> Iterator[Excess]:
        """What the catalog would not take."""
        policies = [each for each in statements if each.kind == "policy"]
        yield from quotas.over("policies_per_catalog", self.catalog, sum(each.on.startswith("CATALOG ") for each in policies))
        for on in dict.fromkeys(each.on for each in policies if each.on.startswith("TABLE ")):
            yield from quotas.over("policies_per_table", on, sum(each.on == on for each in policies))
        for each in policies:
            yield from quotas.over("principals_per_policy", f"policy {each.name}", _principals(each.text))
        for found in unity_rows.filters(self.project, self.tree):
            yield from quotas.over("conditions_per_policy", f"row filter of {found.table}", len(found.columns))
        for key, values in governed.items():
            yield from quotas.over("values_per_tag", f"tag {key}", len(values))
            yield from (over for value in values for over in quotas.over("tag_value_length", f"tag {key}", len(value)))
        for each in statements:
            yield from quotas.over("name_length", f"{each.kind} {each.name}", len(each.name))


def _who(to: Sequence[str], besides: Sequence[str]) -> str:
    but = f" EXCEPT {', '.join(map(quoted, dict.fromkeys(besides)))}" if besides else ""
    return f"TO {', '.join(map(quoted, to))}{but}"


def _principals(text: str) -> int:
    """How many principals a policy names, from its own text: between TO and FOR TABLES."""
    named = text.partition(" TO ")[2].partition(" FOR TABLES")[0]
    return len(named.replace(" EXCEPT ", ", ").split(", "))


def _rows_function(table: str) -> str:
    return f"rows_{table.replace('.', '_')}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def quoted(name: str) -> str:
    """A name as an identifier of Databricks SQL."""
    return exp.to_identifier(name, quoted=True).sql("databricks")


def literal(text: str) -> str:
    """A text as a literal of Databricks SQL."""
    return exp.Literal.string(text).sql("databricks")
