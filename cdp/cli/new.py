"""`cdp new`: a segment, sync or destination to begin with."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cdp.cli.command import command
from cdp.cli.names import known
from cdp.cli.session import Session
from cdp.errors import ProjectError, Refusal, UsageError

if TYPE_CHECKING:
    from cdp.project.load import Project

Kind = Literal["segment", "sync", "destination"]

FOLDERS: dict[str, str] = {"segment": "models/segments", "sync": "syncs", "destination": "destinations"}
NEXT: dict[str, tuple[str, ...]] = {
    "segment": ("cdp test {name}", "cdp preview {name}", "cdp new sync {name}_list --segment {name} --destination DESTINATION"),
    "sync": ("cdp validate {name}", "cdp plan {name}"),
    "destination": ("cdp new sync NAME --segment SEGMENT --destination {name}",),
}


@command(
    "cdp new segment asthma --purpose treatment",
    "cdp new sync flu_mail --segment flu_vaccine_due --destination outreach_email",
    "cdp new destination nightly_file --connector file --agreement quality_registry",
)
def new(
    session: Session,
    kind: Annotated[Kind, typer.Argument(help="What to begin.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name, in lower snake case.")],
    entity: Annotated[str | None, typer.Option(metavar="ENTITY", help="Of a segment; default: the one of most segments.")] = None,
    segment: Annotated[str | None, typer.Option(metavar="SEGMENT", help="Of a sync.")] = None,
    destination: Annotated[str | None, typer.Option(metavar="DESTINATION", help="Of a sync.")] = None,
    purpose: Annotated[str | None, typer.Option(metavar="PURPOSE", help="Of a segment or sync.")] = None,
    connector: Annotated[str, typer.Option(metavar="CONNECTOR", help="Of a destination: http or file.")] = "http",
    channel: Annotated[str | None, typer.Option(metavar="CHANNEL", help="Of a destination; default: email, or file.")] = None,
    agreement: Annotated[str | None, typer.Option(metavar="AGREEMENT", help="Of a destination: what covers it.")] = None,
) -> None:
    """Write a small valid file: a segment, a sync or a destination.

    It is made of the project's own names. A segment brings tests that pass; a sync maps what its purpose and agreement
    allow, and says what governance still refuses. A file that is there is never changed.
    """
    project = session.project
    path = _path(session.root, project, kind, name)
    if kind == "segment":
        text = _segment(session, name, entity, purpose)
    elif kind == "sync":
        text = _sync(project, name, segment, destination, purpose)
    else:
        text = _destination(project, name, connector, channel, agreement)
    refusals = _write(session, path, text, kind, name)
    _show(session, path, kind, name, refusals)


def _path(root: Path, project: Project, kind: Kind, name: str) -> Path:
    """Where the file goes.

    Raises:
        UsageError: the name is none, or is taken.
    """
    from cdp.project.index import NAME

    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not lower snake case", fix="letters a-z, digits and _, a letter first, at most 100")
    if (document := project.sources.get((kind, name))) is not None:
        raise UsageError(f"{kind} {name} is there already, in {document.file}", fix="choose another name")
    path = root / FOLDERS[kind] / f"{name}.yml"
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path.relative_to(root)} is there already", fix="choose another name, or add a document to that file by hand")
    return path


# -- what is meant --------------------------------------------------------------------------------------------------------


def _segment(session: Session, name: str, entity: str | None, purpose: str | None) -> str:
    from cdp.analyst.change import starters
    from cdp.analyst.change.revisions import author

    project = session.project
    segments = project.segments.values()
    chosen = _chosen("entity", entity, project.entities, [each.entity for each in segments])
    why = _chosen("purpose", purpose, project.policy.purposes, [each.purpose for each in segments])
    return starters.segment(project, name, entity=chosen, purpose=why, owner=author(session.root) or starters.NOBODY)


def _sync(project: Project, name: str, segment: str | None, destination: str | None, purpose: str | None) -> str:
    from cdp.analyst.change import starters

    of = _chosen("segment", segment, [each for each, spec in project.segments.items() if not spec.params])
    to = _chosen("destination", destination, project.destinations)
    why = _chosen("purpose", purpose or project.segments[of].purpose, project.policy.purposes)
    return starters.sync(project, name, segment=of, destination=to, purpose=why)


def _destination(project: Project, name: str, connector: str, channel: str | None, agreement: str | None) -> str:
    from cdp import connectors
    from cdp.analyst.change import starters

    known("connector", [connector], connectors.names())
    if agreement is not None:
        known("agreement", [agreement], project.policy.agreements)
    over = channel or ("file" if connector == "file" else "email")
    return starters.destination(project, name, connector=connector, channel=over, agreement=agreement)


def _chosen(what: str, given: str | None, declared: Collection[str], used: Collection[str] = ()) -> str:
    """The name that was given, or the only one there can be, or the one that is used most.

    Raises:
        UsageError: it is not declared, or none was given and there are several.
    """
    from cdp.analyst.change.starters import usual

    if given is not None:
        known(what, [given], declared)
        return given
    if used or len(declared) == 1:
        return usual(used, declared) or ""
    listed = ", ".join(sorted(declared)) or f"the project declares no {what}"
    raise UsageError(f"say which {what}: --{what} NAME", fix=f"one of: {listed}" if declared else listed)


# -- what comes of it -----------------------------------------------------------------------------------------------------


def _write(session: Session, path: Path, text: str, kind: Kind, name: str) -> tuple[Refusal, ...]:
    """Write the file and look at the project with it; a file that it cannot hold is taken away again."""
    from cdp import connectors
    from cdp.governance.decide import Governor
    from cdp.project.load import load

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as stream:
        stream.write(text)
    try:
        project = load(session.root, connectors=connectors.names())
        return Governor.of(project).check(name, clock=session.clock, now=session.now) if kind == "sync" else ()
    except ProjectError:
        path.unlink()
        raise


def _show(session: Session, path: Path, kind: Kind, name: str, refusals: tuple[Refusal, ...]) -> None:
    file = path.relative_to(session.root).as_posix()
    lines = [line.format(name=name) for line in NEXT[kind]]
    if session.out.as_json:
        facts = {"file": file, "kind": kind, "name": name, "next": lines}
        return session.out.json(facts | {"refusals": [refusal.as_json() for refusal in refusals]})
    session.out.text(f"wrote {file}")
    if refusals:
        session.out.text(f"governance refuses it as it stands:\n{chr(10).join(f'  {refusal}' for refusal in refusals)}")
    return session.out.text("\n".join(["next:", f"  edit {file}", *(f"  {line}" for line in lines)]))
