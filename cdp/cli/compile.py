"""`cdp compile`: the SQL of a segment, trait or sync."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cdp.cli.command import command
from cdp.cli.names import unknown
from cdp.cli.session import Session
from cdp.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from sqlglot import exp

    from cdp.compile import Query
    from cdp.project.load import Project

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

    found = _kind(session.project, name, kind)
    query = _query(session, name, found)
    sql = _select(session, query, name, found).sql(dialect, pretty=True)
    if session.out.as_json:
        digest = compiler.model_sha256(session.project, name, found)
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


def _kind(project: Project, name: str, wanted: Kind | None) -> Kind:
    """The kind of model that has the name.

    Raises:
        UsageError: none has, or several have and none was chosen.
    """
    models: dict[Kind, list[str]] = {"segment": list(project.segments), "trait": list(project.traits), "sync": list(project.syncs)}
    kinds = [kind for kind, names in models.items() if name in names and wanted in (None, kind)]
    if len(kinds) > 1:
        raise UsageError(f"{name} is a {' and a '.join(kinds)}", fix=f"add --kind {kinds[0]} or --kind {kinds[1]}")
    if not kinds:
        declared = [other for kind, names in models.items() if wanted in (None, kind) for other in names]
        raise unknown(wanted or "segment, trait or sync", name, declared)
    return kinds[0]
