"""`cdp validate`: every file, every reference, everything compiled and governed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdp.cli.command import command
from cdp.cli.names import known
from cdp.cli.session import Session
from cdp.errors import Problem, ProjectError, Refusal

if TYPE_CHECKING:
    from cdp.compile.clock import Clock
    from cdp.project.load import Project


@command("cdp validate", "cdp validate a1c_reminder_email", "cdp validate --json | jq .refusals")
def validate(
    session: Session,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Segments, traits and syncs; default: all.")] = None,
) -> None:
    """Check, compile and govern everything; touch no data.

    Every file and reference is checked, every segment and trait compiled, every sync governed. All problems of the files
    are shown at once, and without any all refusals; each of them makes the exit code 1.
    """
    with session.out.progress("reading the project") as say:
        try:
            project = session.project
        except ProjectError as error:
            found = Findings(problems=error.problems)
        else:
            _ = session.environment  # a name that --env cannot mean is an error here too
            say("compiling and governing")
            known("segment, trait or sync", names or (), {*project.segments, *project.traits, *project.syncs})
            found = check(project, names, clock=session.clock, now=session.now)
    if session.out.as_json:
        session.out.json(found.as_json())
    else:
        session.out.text(str(found))
    if not found.ok:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class Findings:
    """What validation looked at, and everything that is wrong with it."""

    segments: int = 0
    traits: int = 0
    syncs: int = 0
    problems: tuple[Problem, ...] = ()
    refusals: tuple[tuple[str, Refusal], ...] = ()  # with the name of the sync

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems and not self.refusals

    def __str__(self) -> str:
        refused = {sync: [str(reason) for name, reason in self.refusals if name == sync] for sync, _ in self.refusals}
        lines = [str(problem) for problem in self.problems]
        for sync, reasons in refused.items():
            lines += [f"sync {sync} is refused:", *(f"  {reason}" for reason in reasons)]
        checked = f"{_count(self.segments, 'segment')}, {_count(self.traits, 'trait')} and {_count(self.syncs, 'sync')} checked"
        wrong = f"{_count(len(self.problems), 'problem')}, {_count(len(refused), 'refused sync')}"
        return "\n".join([*lines, f"{checked}: {'all well' if self.ok else wrong}"])

    def as_json(self) -> dict[str, Any]:
        """The findings as a JSON object with stable keys."""
        return {
            "segments": self.segments,
            "traits": self.traits,
            "syncs": self.syncs,
            "problems": [problem.as_json() for problem in self.problems],
            "refusals": [{"sync": sync, **refusal.as_json()} for sync, refusal in self.refusals],
        }


def check(project: Project, names: Collection[str] | None, *, clock: Clock, now: Clock) -> Findings:
    """Compile and govern what has one of the names, or everything, and collect all that is wrong.

    Args:
        project: as loaded.
        names: of segments, traits and syncs; None or none for all.
        clock: the moment that segments are computed for.
        now: the wall clock, for agreements.
    """
    from cdp.compile import compile_segment, compile_trait
    from cdp.governance.decide import Governor
    from cdp.project import collector

    chosen = [[name for name in kind if not names or name in names] for kind in (project.segments, project.traits, project.syncs)]
    segments, traits, syncs = chosen
    with collector.paused():
        for name in sorted({*segments} - _inside(project, segments, syncs)):
            compile_segment(project, name, clock)
        for name in traits:
            compile_trait(project, name, clock)
        governor = Governor.of(project)
        refusals = tuple((name, reason) for name in syncs for reason in governor.check(name, clock=clock, now=now))
    return Findings(len(segments), len(traits), len(syncs), refusals=refusals)


def _inside(project: Project, segments: Collection[str], syncs: Collection[str]) -> set[str]:
    """The segments that are compiled inside of one of these segments or syncs."""
    from cdp.project.bind import segments_of

    nested = {inner for name in segments for inner in segments_of(project.bound.segments[name])}
    return nested | {project.syncs[name].segment for name in syncs}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
