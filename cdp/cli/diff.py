"""`cdp diff`: what a change does, before it is merged."""

from __future__ import annotations

from dataclasses import replace
from textwrap import fill
from typing import TYPE_CHECKING, Annotated

import typer

from cdp.cli.command import command
from cdp.cli.output import WIDTH
from cdp.cli.session import Session
from cdp.errors import ProjectError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from cdp.analyst.change.comparison import Difference
    from cdp.analyst.change.diff import Diff
    from cdp.analyst.change.movement import Movement
    from cdp.project.load import Project

SIGNS = {"added": "+", "removed": "-", "renamed": ">", "changed": "~", "reworded": "="}


@command("cdp diff main", "cdp diff HEAD a1c_overdue --by sex --by preferred_language", "cdp diff main --no-data --markdown")
def diff(
    session: Session,
    ref: Annotated[str, typer.Argument(metavar="REF", help="A git revision: a branch, tag or commit.")],
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Only these models, and what rests on them.")] = None,
    by: Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="Break down who moves, by a column or trait.")] = None,
    data: Annotated[bool, typer.Option("--data/--no-data", help="Count people, where there is a lakehouse.")] = True,
    role: Annotated[str | None, typer.Option(metavar="NAME", help="A role of governance/roles.yml to look in.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="For a comment on a pull request.")] = False,
) -> None:
    """Show what a change does: models, people, syncs.

    The working tree is compared with a git revision, on the same version of the data and at the same moment. Numbers of 1
    to 10 people are not shown, nor what would give them away. The people of a sync are those of its segment: consent and
    eligibility are asked by `cdp plan`.
    """
    from cdp.analyst.change.diff import diff as compare
    from cdp.analyst.change.markdown import markdown as as_markdown
    from cdp.analyst.change.revisions import revision
    from cdp.analyst.explore.sight import Sight

    if markdown and session.out.as_json:
        raise UsageError("--markdown and --json are two formats", fix="choose one")
    counting = data and _has_data(session, role)
    with session.out.progress(f"reading {ref}") as say, revision(session.root, ref) as then:
        after = session.project
        before = _before(then.root, ref)
        say("comparing")
        engine = (lambda: session.engine) if counting else None
        sight = Sight.of(after, role, session.identity)
        found = compare(then, before, after, session.clock, names=names or (), by=by or (), open_engine=engine, sight=sight)
    if session.out.as_json:
        session.out.json(found.as_json())
    elif markdown:
        session.out.text(as_markdown(found).rstrip("\n"))
    else:
        _show(session, found)
        for note in found.partial.notes(role or ""):
            session.out.note(note)


def _has_data(session: Session, role: str | None) -> bool:
    """Whether there is a lakehouse, in which the caller may count people; a note says so where there is none."""
    lakehouse = session.environment.lakehouse
    if lakehouse is None or (session.root / lakehouse).is_dir():
        session.permit("preview", role=role)
        return True
    session.out.note(f"there is no lakehouse at {session.root / lakehouse}: nobody is counted")
    return False


def _before(root: Path, ref: str) -> Project:
    """The project of the revision.

    Raises:
        ProjectError: it does not load; the files are named as git does, `REF:path`.
    """
    from cdp import connectors
    from cdp.project.load import load

    try:
        return load(root, connectors=connectors.names())
    except ProjectError as error:
        raise ProjectError([replace(problem, file=f"{ref}:{problem.file}") for problem in error.problems]) from None


# -- for people -----------------------------------------------------------------------------------------------------------


def _show(session: Session, found: Diff) -> None:
    from cdp.analyst.change.diff import NOT_COUNTED
    from cdp.analyst.change.markdown import version
    from cdp.analyst.change.movement import COUNTS

    out = session.out
    out.facts({"since": f"{found.ref} ({found.commit[:12]})", "as of": found.as_of})
    tables = ", ".join(version(table, number) for table, number in (found.versions or {}).items())
    out.text(fill(f"data   {tables or 'not looked at'}", WIDTH, subsequent_indent=" " * 7))
    out.text()
    models = [(SIGNS[each.change], each.kind, each.name, _what(each)) for each in found.models]
    out.table(("", "kind", "name", "what"), models, empty="nothing that means anything else")
    if found.segments and found.versions is not None:
        out.text("\npeople")
        out.table(("segment", *COUNTS), [(each.title, *_numbers(each.movement, COUNTS)) for each in found.segments])
        for each in found.segments:
            _details(session, each.title, each.movement)
    if found.syncs:
        shown = ("enter", "leave") if found.versions is not None else ()
        rows = [(s.name, s.destination, s.purpose, s.change, *_numbers(s.movement, shown)) for s in found.syncs]
        out.text("\nsyncs that it reaches")
        out.table(("sync", "destination", "purpose", "", *shown), rows)
        out.note(NOT_COUNTED)
    if found.loosened:
        out.text("\nthe policy lets more through than then; approvals given before are void")
        out.text("\n".join(fill(str(each), WIDTH, initial_indent="  ", subsequent_indent="    ") for each in found.loosened))
    for model in found.models:
        if model.sql:
            out.text(f"\n{model.kind} {model.name}")
            out.text("\n".join(model.sql))


def _what(model: Difference) -> str:
    said = [{"renamed": f"was {model.was}", "reworded": "written anew, means the same"}.get(model.change, model.change)]
    said += [f"through {', '.join(model.through)}"] if model.through else []
    said += model.details
    said += [f"reaches {', '.join(model.downstream)}"] if model.downstream and model.kind != "sync" else []
    return "\n".join(said)


def _numbers(movement: Movement | None, names: tuple[str, ...]) -> list[object]:
    if movement is None:
        return [0 for _ in names]
    return [("?" if not movement.counts else movement.counts[name].as_json()) for name in names]


def _details(session: Session, title: str, movement: Movement | None) -> None:
    if movement is None:
        return
    if movement.note:
        session.out.text(f"{title}: {movement.note}")
    for each in movement.splits:
        if each.rows:
            session.out.text(f"\n{title}, those who move by {each.by}")
            rows = [(value, enter.as_json(), leave.as_json()) for value, enter, leave in each.rows]
            session.out.table((each.by, "enter", "leave"), rows)
