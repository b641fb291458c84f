"""`cdp governance export`: the policy as SQL of Unity Catalog, what of it differs from the catalog, and carrying it out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdp.cli.command import command
from cdp.cli.output import write
from cdp.cli.session import Session
from cdp.errors import EngineError, Refusal, RefusedError, UsageError

if TYPE_CHECKING:
    from cdp.catalog.unity import Export
    from cdp.catalog.unity.diff import Difference
    from cdp.engine.warehouse import Warehouse


@command(
    "cdp governance export --catalog main --principal cdp-sync",
    "cdp governance export --catalog main --principal cdp-sync --output policy.sql",
    "cdp governance export --catalog main --principal cdp-sync --diff --warehouse ID",
    needs="export",
)
def export(
    session: Session,
    principal: Annotated[
        list[str], typer.Option(metavar="NAME", help="Who runs syncs, and who loads the tables: they read all as it is. Repeatable.")
    ],
    catalog: Annotated[
        str | None, typer.Option(metavar="NAME", help="The catalog of the tables; default: that of the environment.")
    ] = None,
    schema: Annotated[str, typer.Option(metavar="NAME", help="Where the functions stand, in the catalog.")] = "cdp_governance",
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Write the SQL to a file.")] = None,
    diff: Annotated[bool, typer.Option("--diff", help="Show what of it differs from the catalog now.")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Change the catalog, as far as it differs.")] = False,
    warehouse: Annotated[
        str | None, typer.Option(metavar="ID", envvar="DATABRICKS_WAREHOUSE_ID", help="With --diff and --apply: the SQL warehouse.")
    ] = None,
) -> None:
    """Write the policy as Databricks SQL for Unity Catalog.

    Classes become tags of columns; what each role may `see` becomes column masks, for account groups of the roles' names; special
    rows and the rows of a role become row filters; grants follow. It may be run again. --diff and --apply ask the catalog, over
    a SQL warehouse and databricks-sdk, and refuse where a tag there says more of a column than the project declares.
    """
    from cdp.catalog.unity import export as make

    name = catalog if catalog is not None else session.environment.catalog
    if name is None:
        raise UsageError("no catalog is named", fix="add --catalog NAME, or `catalog:` to the environment in conf/cdp.yml")
    for option, value in [("--catalog", name), ("--schema", schema), *(("--principal", who) for who in principal)]:
        _check(option, value)
    made = make(session.project, name, principal, schema, session.environment.control)
    if made.excess:
        raise RefusedError(
            f"catalog {name}", [Refusal("quota", e.on, "", (), str(e), "have fewer roles, classes or filters") for e in made.excess]
        )
    if diff or apply:
        return _against(session, made, warehouse, carry_out=apply)
    if output is not None:
        write(output, made.sql())
        session.out.note(f"wrote {output}")
    if session.out.as_json:
        statements = [{"kind": e.kind, "on": e.on, "name": e.name, "state": e.state, "sql": e.text} for e in made.statements]
        return session.out.json({"catalog": name, "schema": schema, "once": made.once(), "statements": statements})
    return None if output is not None else session.out.sql(made.sql().rstrip())


def _check(option: str, name: str) -> None:
    """A name that becomes an identifier of SQL: neither nothing, nor what ends the identifier or its line."""
    if not name.strip():
        raise UsageError(f"{option} names nothing", fix=f"write a name after {option}")
    if "`" in name or not name.isprintable():
        raise UsageError(f"{option} {name!r}: a name holds no backtick, line break or control character", fix="write the name as it is")


def _against(session: Session, made: Export, warehouse: str | None, *, carry_out: bool) -> None:
    from cdp.catalog.unity.diff import Catalog, above, differences
    from cdp.engine.warehouse import Warehouse
    from cdp.governance.classes import ClassTree

    if warehouse is None:
        raise UsageError("no SQL warehouse is named", fix="add --warehouse ID, or set DATABRICKS_WAREHOUSE_ID")
    project = session.project
    tables = {entity.table.lower() for entity in project.entities.values() if entity.table}
    with session.out.progress("asking the catalog"):
        there = Warehouse(warehouse)
        found = Catalog.read(made, tables, there.rows)
        refusals = above(project, ClassTree(project.policy.classes), found, _lineage(session, made, there))
    if refusals:
        raise RefusedError(f"catalog {made.catalog}", refusals)
    changes = differences(made, found)
    if carry_out:
        with session.out.progress("changing the catalog") as now:
            for change in changes:
                now(f"{change.change} {change.kind} {change.name}")
                there.rows(change.text)
    _show(session, made, changes, carry_out)


def _lineage(session: Session, made: Export, there: Warehouse) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    """Where the columns of views come from, as the catalog has seen; nothing where that cannot be asked."""
    from cdp.catalog.unity.diff import lineage_of, lineage_query

    try:
        return list(lineage_of(there.rows(lineage_query(made.catalog))))
    except EngineError:
        session.out.note("the catalog's lineage (system.access.column_lineage) cannot be read: views are held against their own tags only")
        return []


def _show(session: Session, made: Export, changes: tuple[Difference, ...], done: bool) -> None:
    if session.out.as_json:
        return session.out.json({"catalog": made.catalog, "applied": done, "differences": [change.as_json() for change in changes]})
    rows = [(change.change, change.kind, _place(change, made.catalog), change.name, *_values(change)) for change in changes]
    session.out.table(("", "what", "on", "name", "now", "wanted"), rows, empty=f"catalog {made.catalog} is as the policy says")
    if changes:
        session.out.text(f"\n{len(changes)} differences{', all of them mended' if done else '; --apply mends them'}")
    return None


def _place(change: Difference, catalog: str) -> str:
    """The object within the catalog."""
    plain = change.on.replace("`", "").rpartition(" ")[2]
    return plain.removeprefix(f"{catalog}.")


def _values(change: Difference) -> tuple[str | None, str | None]:
    """What a tag says now and should say; of the rest there are digests only."""
    return (change.now, change.wanted) if change.kind == "tag" else (None, None)
