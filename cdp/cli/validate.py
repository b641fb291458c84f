"""`cdp validate`: every file, every reference, everything compiled and governed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdp.cli import formats
from cdp.cli.command import command
from cdp.cli.formats import Format
from cdp.cli.names import known
from cdp.cli.session import Session
from cdp.errors import Problem, ProjectError, Refusal, UsageError

if TYPE_CHECKING:
    from cdp.compile.clock import Clock
    from cdp.governance.access.loosened import Loosening
    from cdp.project.load import Project


@command("cdp validate", "cdp validate a1c_reminder_email", "cdp validate --changed-since main", "cdp validate --format sarif > cdp.sarif")
def validate(
    session: Session,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Segments, traits and syncs; default: all.")] = None,
    changed_since: Annotated[
        str | None, typer.Option(metavar="REF", help="Only what changed since this git revision, and what depends on it.")
    ] = None,
    format: Annotated[
        Format | None, typer.Option(help="`github`: annotations of a pull request; `sarif`: for code scanning. Default: text.")
    ] = None,
) -> None:
    """Check, compile and govern everything; touch no data.

    Every file and reference is checked, every segment and trait compiled, every sync governed. All problems of the files
    are shown at once, and without any all refusals; each of them makes the exit code 1. Warnings do not. With
    --changed-since the files are all checked too, but only what a change can have touched is compiled and governed; and
    everything is listed in which the policy lets more through than it did.
    """
    if session.out.as_json and format in ("text", "github"):
        raise UsageError(f"--format {format} and --json are two formats", fix="choose one")
    with session.out.progress("reading the project") as say:
        try:
            project = session.project
        except ProjectError as error:
            found = Findings(problems=error.problems)
        else:
            known("segment, trait or sync", names or (), {*project.segments, *project.traits, *project.syncs})
            chosen = Chosen.of(project, names, changed_since)
            say("compiling and governing")
            found = check(project, chosen, clock=session.clock, now=session.now)
            if changed_since is not None:
                from cdp.analyst.change.changes import loosened_since

                found = replace(found, loosened=loosened_since(project, changed_since))
    _show(session, found, format or ("json" if session.out.as_json else "text"))
    if not found.ok:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The names to look at, by kind."""

    segments: tuple[str, ...]
    traits: tuple[str, ...]
    syncs: tuple[str, ...]

    @classmethod
    def of(cls, project: Project, names: Collection[str] | None = None, changed_since: str | None = None) -> Chosen:
        """What has one of the names (None or none: all) and, where a git revision is given, may mean something else than then."""
        touched = None
        if changed_since is not None:
            from cdp.analyst.change.changes import affected

            touched = affected(project, changed_since)

        def kept(kind: str, declared: Collection[str]) -> tuple[str, ...]:
            among = touched.names(kind) if touched is not None else declared
            return tuple(name for name in declared if name in among and (not names or name in names))

        return cls(kept("segment", project.segments), kept("trait", project.traits), kept("sync", project.syncs))


@dataclass(frozen=True, slots=True)
class Refused:
    """One reason why a sync is refused, and where the sync is declared: file, line, column."""

    sync: str
    refusal: Refusal
    place: tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Findings:
    """What validation looked at, and everything that is wrong with it."""

    segments: int = 0
    traits: int = 0
    syncs: int = 0
    problems: tuple[Problem, ...] = ()
    refusals: tuple[Refused, ...] = ()
    warnings: tuple[Problem, ...] = ()
    loosened: tuple[Loosening, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; a warning is not, nor is what was loosened: who owns the policy decides on that."""
        return not self.problems and not self.refusals

    @property
    def summary(self) -> str:
        """What was looked at and what came of it, in one line."""
        checked = f"{_count(self.segments, 'segment')}, {_count(self.traits, 'trait')} and {_count(self.syncs, 'sync')} checked"
        refused = len({reason.sync for reason in self.refusals})
        wrong = f"{_count(len(self.problems), 'problem')}, {_count(refused, 'refused sync')}"
        warned = f", {_count(len(self.warnings), 'warning')}" if self.warnings else ""
        looser = f", {len(self.loosened)} loosened" if self.loosened else ""
        return f"{checked}: {'all well' if self.ok else wrong}{warned}{looser}"

    @property
    def notes(self) -> list[formats.Note]:
        """Everything that is wrong or may be, each at its place."""
        told = [formats.of_problem(problem) for problem in (*self.problems, *self.warnings)]
        told += [formats.of_loosening(each) for each in self.loosened]
        return told + [formats.of_refusal(reason.sync, reason.refusal, reason.place) for reason in self.refusals]

    def __str__(self) -> str:
        refused: dict[str, list[str]] = {}
        for reason in self.refusals:
            refused.setdefault(reason.sync, []).append(f"  {reason.refusal}")
        lines = [str(problem) for problem in (*self.problems, *self.warnings)]
        for sync, reasons in refused.items():
            lines += [f"sync {sync} is refused:", *reasons]
        if self.loosened:
            lines += [
                "the policy lets more through than before; approvals given before are void:",
                *(f"  {each}" for each in self.loosened),
            ]
        return "\n".join([*lines, self.summary])

    def as_json(self) -> dict[str, Any]:
        """The findings as a JSON object with stable keys."""
        return {
            "segments": self.segments,
            "traits": self.traits,
            "syncs": self.syncs,
            "problems": [problem.as_json() for problem in self.problems],
            "warnings": [problem.as_json() for problem in self.warnings],
            "loosened": [each.as_json() for each in self.loosened],
            "refusals": [{"sync": reason.sync, **reason.refusal.as_json()} for reason in self.refusals],
        }


def check(project: Project, chosen: Chosen, *, clock: Clock, now: Clock) -> Findings:
    """Compile and govern what was chosen, and collect all that is wrong.

    Args:
        project: as loaded.
        chosen: segments, traits and syncs.
        clock: the moment that segments are computed for.
        now: the wall clock, for agreements.
    """
    from cdp.compile import compile_segment, compile_trait
    from cdp.governance import notices
    from cdp.governance.decide import Governor
    from cdp.project import collector

    with collector.paused():
        for name in sorted({*chosen.segments} - _inside(project, chosen)):
            if not project.segments[name].params:  # a template means something only where it is filled in
                compile_segment(project, name, clock)
        for name in chosen.traits:
            compile_trait(project, name, clock)
        governor = Governor.of(project)
        refused = [(name, reason) for name in chosen.syncs for reason in governor.check(name, clock=clock, now=now)]
    counts = (len(chosen.segments), len(chosen.traits), len(chosen.syncs))
    refusals = tuple(Refused(name, reason, _place(project, name)) for name, reason in refused)
    return Findings(*counts, refusals=refusals, warnings=(*project.warnings, *notices.warnings(project, now.day)))


def _place(project: Project, sync: str) -> tuple[str, int, int]:
    document = project.sources["sync", sync]
    return (document.file, *document.position(("name",)))


def _inside(project: Project, chosen: Chosen) -> set[str]:
    """The segments that are compiled inside of one of these segments or syncs."""
    from cdp.project.language.bind import segments_of

    nested = {inner for name in chosen.segments for inner in segments_of(project.bound.segments.get(name))}
    return nested | {project.syncs[name].segment for name in chosen.syncs}


def _show(session: Session, found: Findings, format: Format) -> None:
    if format == "text":
        return session.out.text(str(found))
    if format == "json":
        return session.out.json(found.as_json())
    from cdp.analyst.change.revisions import prefix

    base = formats.base(session.root, prefix(session.root))
    if format == "sarif":
        return session.out.json(formats.sarif(found.notes, base))
    return session.out.text("\n".join(filter(None, [formats.github(found.notes, base), found.summary])))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
