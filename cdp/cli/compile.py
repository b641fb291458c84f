"""`cdp compile`: the SQL of a segment, trait or sync."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cdp.cli.command import command
from cdp.cli.names import kind_of
from cdp.cli.session import Session
from cdp.errors import RefusedError

if TYPE_CHECKING:
    from sqlglot import exp

    from cdp.compile import Query

Kind = Literal["segment", "trait", "sync"]


@command("cdp compile a1c_overdue", "cdp compile a1c_reminder_email --as-of 2026-07-01", "cdp compile a1c_overdue --dialect databricks")
def compile(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A segment, trait or sync.")],
    dialect: Annotated[Literal["spark", "databricks"], typer.Option(help="The SQL to print; the engines run spark.")] = "spark",
    kind: Annotated[Kind | None, typer.Option(help="Which one is meant, when several kinds have the name.")] = None,
) -> None:
    """Print the SQL of a segment, trait or sync as it will run. Touches no data.

    Each related table is read once; what has to read one apart is listed above the SQL, with the reason. A sync is shown
    governed: masked, and with the rule that leaves each person out. One that is refused is shown as it was written, with
    a note.
    """
    from cdp import compile as compiler

    project = session.project
    models: dict[Kind, Collection[str]] = {"segment": project.segments, "trait": project.traits, "sync": project.syncs}
    found = kind_of(name, kind, models)
    query = _query(session, name, found)
    sql = _select(session, query, name, found).sql(dialect, pretty=True)
    if session.out.as_json:
        digest = compiler.model_sha256(project, name, found)
        exceptions = [{"cte": cte, "why": why} for cte, why in query.exceptions]
        session.out.json({"name": name, "kind": found, "sql": sql, "model_sha256": digest, "exceptions": exceptions})
    else:
        session.out.sql("\n".join([*(f"-- {cte}: {why}" for cte, why in query.exceptions), sql]))


def _query(session: Session, name: str, kind: Kind) -> Query:
    from cdp import compile as compiler

    compilers = {"segment": compiler.compile_segment, "trait": compiler.compile_trait, "sync": compiler.compile_sync}
    return compilers[kind](session.project, name, session.clock)


def _select(session: Session, query: Query, name: str, kind: Kind) -> exp.Select:
    from cdp.governance.decide import govern

    if kind == "sync":
        try:
            return govern(session.project, name, clock=session.clock, now=session.now).select
        except RefusedError:
            session.out.note(f"{name} is refused and will not run; this is what it asks for. `cdp validate {name}` says why")
    return query.select
