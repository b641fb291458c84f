"""`cdp governance`: the policy as a privacy officer reads it, and what can be made of it."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated

import typer

from cdp.cli.command import Group, command
from cdp.cli.export import export
from cdp.cli.names import known
from cdp.cli.output import WIDTH, write
from cdp.cli.session import Session
from cdp.cli.suggest import suggest
from cdp.errors import DataError, EngineError

if TYPE_CHECKING:
    from cdp.analyst.change.reviews import Looked
    from cdp.catalog.report import Numbers


@command("cdp governance report", "cdp governance report --out report.html --no-numbers", "cdp governance report --json", needs="report")
def report(
    session: Session,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write.")] = Path("out/governance.html"),
    numbers: Annotated[bool, typer.Option(help="Count the people at each receiver; it starts the engine.")] = True,
    role: Annotated[str | None, typer.Option(metavar="NAME", help="A role of governance/roles.yml to look in.")] = None,
) -> None:
    """Write what a privacy officer asks, one page of HTML.

    It needs no network. Who is told what, for which purpose, under which agreement, and how many people; agreements by their end, with
    accounts, labels and subprocessors; refusals with every reason; declassifications, reviews, classes that are due; approvals that
    wait; receivers that still hold people who must be taken off; the ends of the disclosure ledger. It holds no value of any patient,
    and no count of 1 to 10 people but for a role with `exact_counts`.
    """
    from cdp.catalog.flows import Flows
    from cdp.catalog.report import Report
    from cdp.governance.decide import Governor

    found, without = _numbers(session, role) if numbers else (None, "--no-numbers was asked for")
    name = session.options.env or session.project.config.default_environment
    made = Report.of(Flows(Governor.of(session.project), session.clock, session.now), name, found, without)
    if session.out.as_json:
        return session.out.json(made.as_json())
    from cdp.catalog.report_page import page

    text = page(made)
    write(out, text)
    session.out.text(f"wrote {out}, {len(text.encode()) // 1000:,} kB; open it in a browser")
    for line in made.attention():
        session.out.text(f"  {line}")
    if without:
        session.out.note(f"without numbers of people: {without}")
    return None


def _numbers(session: Session, role: str | None) -> tuple[Numbers | None, str]:
    """What the control tables say, small numbers suppressed; or why nothing is known."""
    from cdp.analyst.explore.cells import Shown
    from cdp.analyst.explore.received import protected
    from cdp.catalog.report import Numbers
    from cdp.sync.holdings import holdings

    project, small = session.project, session.sight("report", role).small
    syncs = {name: (sync.destination, sync.purpose) for name, sync in project.syncs.items()}
    try:
        with session.out.progress("counting"):
            found = holdings(session.engine, session.environment.control, syncs, session.now.instant)
    except (DataError, EngineError) as error:
        return None, error.message
    people = {cell: number.as_json() for cell, number in protected(found.people, small).items()}
    undeclared = {name: Shown.of(number, small).as_json() for name, number in found.undeclared.items()}
    return Numbers(people, found.latest, undeclared, found.waiting, found.chains, found.overdue), ""


@command("cdp governance review", "cdp governance review diabetes", "cdp governance review diabetes --json")
def review(
    session: Session,
    names: Annotated[list[str] | None, typer.Argument(metavar="VALUE_SET", help="Value sets; default: a list of all.")] = None,
) -> None:
    """Show who reviewed which codes, and what to write then.

    A review is one of exactly the codes that were looked at: its `sha256` is theirs. Of a value set that is named, every code is
    shown, what has changed since the review as far as git knows, and the lines for governance/value_sets.yml. Touches no data.
    """
    from cdp.analyst.change.reviews import look

    project = session.project
    known("value set", names or (), project.value_sets)
    found = [look(project, name, history=bool(names)) for name in names or sorted(project.value_sets)]
    if session.out.as_json:
        return session.out.json([each.as_json() for each in found])
    if not names:
        rows = [(each.name, each.state, *_said(each), sum(len(part.codes) for part in each.members)) for each in found]
        return session.out.table(("value set", "state", "tells", "by", "on", "codes"), rows, empty="no value sets")
    for each in found:
        _looked(session, each)
    return None


def _said(found: Looked) -> tuple[object, object, object]:
    return (found.review.cls, found.review.reviewed.by, found.review.reviewed.on) if found.review else (None, None, None)


def _looked(session: Session, found: Looked) -> None:
    out, (cls, by, on) = session.out, _said(found)
    out.facts({"value set": found.name, "state": found.state, "tells": cls, "reviewed": f"{by} on {on}" if by else None})
    for part in found.members:
        out.text(fill(f"{part.system}: {', '.join(sorted(part.codes))}", WIDTH, subsequent_indent="  ", break_on_hyphens=False))
    if found.since:
        out.text(f"\nsince the review was written ({found.since.commit[:12]})")
        moved = [("+", *pair) for pair in found.since.added] + [("-", *pair) for pair in found.since.removed]
        out.table(("", "system", "code"), moved)
    if found.state != "reviewed":
        out.text(f"\nif you have looked at all of them, write into governance/value_sets.yml:\n{found.line}")
    out.text()


governance = Group("governance", "The policy as a privacy officer reads it, and exports of it.", (report, review, suggest, export))
