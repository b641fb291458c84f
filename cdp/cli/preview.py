"""`cdp preview`: how many people a segment is, who they are in kind, and what the number leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdp.cli.command import command
from cdp.cli.names import known
from cdp.cli.output import local, moment
from cdp.cli.session import Session

if TYPE_CHECKING:
    from cdp.analyst.explore.breakdown import Breakdown
    from cdp.analyst.explore.preview import Line, Population, Preview
    from cdp.analyst.explore.sample import Sample


@command(
    "cdp preview a1c_overdue",
    "cdp preview a1c_overdue --by sex --by age",
    "cdp preview a1c_overdue --overlap in_hospice --json",
    needs="preview",
)
def preview(
    session: Session,
    segments: Annotated[list[str], typer.Argument(metavar="SEGMENT...", help="Segments, of one entity.")],
    by: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Break down by a column, a trait, or age. Repeatable.")] = None,
    overlap: Annotated[list[str] | None, typer.Option(metavar="SEGMENT", help="Who is in this one too. Repeatable.")] = None,
    sample: Annotated[int, typer.Option(min=0, max=1000, help="So many members, always the same, as far as the role sees them.")] = 0,
    role: Annotated[str | None, typer.Option(metavar="NAME", help="A role of governance/roles.yml to look in.")] = None,
) -> None:
    """Count a segment, and what it is made of.

    Its size; a funnel, in which each step stands alone and after those before; rows that could not count, and why; its size
    when its syncs ran. Numbers of 1 to 10 people are not shown (<11), nor any that such a number follows from (11+).
    """
    from cdp.analyst.explore.preview import Asked
    from cdp.analyst.explore.preview import preview as count
    from cdp.analyst.explore.sample import members

    project = session.project
    known("segment", [*segments, *(overlap or ())], project.segments)
    sight = session.sight("preview", role)
    asked = Asked(segments, by or (), overlap or ())
    with session.out.progress("counting"):
        found = count(project, session.engine, asked, clock=session.clock, sight=sight, control=session.environment.control)
        samples = [members(project, session.engine, each, sample, clock=session.clock, sight=sight) for each in found.populations if sample]
    if session.out.as_json:
        return session.out.json(as_json(found, samples))
    for each in found.populations:
        _population(session, each, found)
    for broken in found.breakdowns:
        _breakdown(session, broken, [each.segment for each in found.populations])
    if found.overlaps:
        session.out.text("\nin several segments")
        session.out.table(("segments", "people"), [[" and ".join(names), str(number)] for names, number in found.overlaps])
    for some in samples:
        _sample(session, some)
    for note in found.partial.notes(found.role):
        session.out.note(note)
    return None


def _population(session: Session, population: Population, found: Preview) -> None:
    out = session.out
    out.text(
        f"{population.segment} ({found.entity}): {population.people} of {found.everyone}, as of {local(found.clock.instant.isoformat())}"
    )
    out.text()
    out.table(("step", "alone", "so far"), _rows(population.funnel))
    if population.ignored:
        out.text("\ncould not count")
        out.table(
            ("measure", "why", "how many"), [[each.measure, each.why, f"{each.number} {each.counted}"] for each in population.ignored]
        )
    if population.past:
        out.text("\nsize when its syncs ran")
        rows = [[moment(run.at), run.sync, str(people), "" if run.same else "another rule"] for run, people in population.past]
        out.table(("started (UTC)", "sync", "people", ""), rows)


def _rows(lines: tuple[Line, ...], indent: str = "") -> list[list[str]]:
    rows = []
    for line in lines:
        rows.append([indent + line.label, str(line.alone), str(line.cumulative)])
        rows += [[f"{indent}  or {label}", *numbers] for label, *numbers in _rows(line.branches)]
    return rows


def _breakdown(session: Session, breakdown: Breakdown, segments: list[str]) -> None:
    session.out.text(f"\nby {breakdown.by}")
    rows = [[name, *(str(number) for number in numbers)] for name, numbers in breakdown.lines]
    session.out.table((breakdown.by, *(segments if len(segments) > 1 else ["people"])), rows, empty="nobody")


def _sample(session: Session, sample: Sample) -> None:
    out = session.out
    out.text(f"\n{sample.segment}: a sample")
    if sample.withheld:
        return out.text(sample.withheld)
    headings = [f"{name} ({sample.masked[name]})" if name in sample.masked else name for name in sample.columns]
    out.table(headings, [["" if value is None else str(value) for value in row] for row in sample.rows], empty="nobody")
    if sample.hidden:
        out.note(f"hidden from role {sample.role or 'none'}: {', '.join(sample.hidden)}")
    return None


def as_json(found: Preview, samples: list[Sample]) -> dict[str, Any]:
    """A preview as a JSON object with stable keys: a number that is not shown is the text that stands in its place."""
    return {
        "entity": found.entity,
        "as_of": found.clock.instant.isoformat(),
        "everyone": found.everyone.as_json(),
        "segments": [
            {
                "segment": each.segment,
                "people": each.people.as_json(),
                "funnel": [_line(line) for line in each.funnel],
                "ignored": [
                    {"measure": lost.measure, "why": lost.why, "counted": lost.counted, "number": lost.number.as_json()}
                    for lost in each.ignored
                ],
                "past": [
                    {
                        "run": run.run,
                        "sync": run.sync,
                        "started": run.at,
                        "as_of": run.as_of,
                        "people": people.as_json(),
                        "same_rule": run.same,
                    }
                    for run, people in each.past
                ],
            }
            for each in found.populations
        ],
        "breakdowns": [
            {
                "by": each.by,
                "lines": [
                    {
                        "value": name,
                        "people": {
                            population.segment: number.as_json() for population, number in zip(found.populations, numbers, strict=True)
                        },
                    }
                    for name, numbers in each.lines
                ],
            }
            for each in found.breakdowns
        ],
        "overlaps": [{"segments": list(names), "people": number.as_json()} for names, number in found.overlaps],
        "samples": [each.as_json() for each in samples],
        **found.partial.as_json(),
    }


def _line(line: Line) -> dict[str, Any]:
    numbers = {"condition": line.label, "alone": line.alone.as_json(), "cumulative": line.cumulative.as_json()}
    return {**numbers, "branches": [_line(branch) for branch in line.branches]} if line.branches else numbers
