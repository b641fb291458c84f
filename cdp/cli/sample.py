"""`cdp sample`: synthetic patients for trying things out, and for measuring."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdp.cli.command import command
from cdp.cli.session import Session
from cdp.errors import UsageError

if TYPE_CHECKING:
    from cdp.engine import Engine
    from cdp.sample.load import LoadReport


@command(
    "cdp sample --out lake", "cdp sample --patients 1000000 --out big", "cdp sample --source synthea/csv --out lake", "cdp sample --changes"
)
def sample(
    session: Session,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The lakehouse to make; default: the environment's.")] = None,
    patients: Annotated[int | None, typer.Option(min=1, metavar="N", help="Generate so many; default: the 150 that come along.")] = None,
    seed: Annotated[int, typer.Option(help="Of --patients and --changes: who it is.")] = 0,
    source: Annotated[Path | None, typer.Option(metavar="DIR", help="Load Synthea's CSV files from here instead.")] = None,
    changes: Annotated[bool, typer.Option("--changes", help="Let a day pass in a sample that is there.")] = False,
) -> None:
    """Make a sample lakehouse, or let a day pass in one.

    Nothing is overwritten. Rows that cannot be typed go to a quarantine table with the reason. The newest event falls
    on today, or on `--as-of`. A day that passes brings new patients and addresses, results, a death, a consent withdrawn.
    """
    if (patients is not None) + (source is not None) + changes > 1:
        raise UsageError("--patients generates people, --source loads them, --changes lets a day pass", fix="give one of the three")
    if changes:
        return _change(session, _engine(session, out), seed)
    report = make_sample(session, _engine(session, out), patients=patients, seed=seed, source=source)
    if session.out.as_json:
        facts = {"rows": dict(report.rows), "quarantined": dict(report.quarantined), "shifted_days": report.shifted_days}
        return session.out.json(facts)
    rows = [[table, count, report.quarantined.get(table, 0)] for table, count in report.rows.items()]
    return session.out.table(("table", "rows", "quarantined"), rows)


def make_sample(session: Session, engine: Engine, *, patients: int | None = None, seed: int = 0, source: Path | None = None) -> LoadReport:
    """Generate people, or load Synthea's files, so that the newest event falls on the session's day."""
    from cdp.compile.clock import Clock
    from cdp.sample.generate import generate
    from cdp.sample.load import load

    timezone = _timezone(session)
    day = Clock.parse(session.options.as_of, timezone).day
    with session.out.progress("making the sample"):
        if patients:
            return generate(engine, patients, seed, day, timezone=timezone)
        return load(engine, source, shift_to=day, timezone=timezone)


def _change(session: Session, engine: Engine, seed: int) -> None:
    from cdp.sample.changes import advance

    with session.out.progress("letting a day pass"):
        changed = advance(engine, seed)
    if session.out.as_json:
        return session.out.json({"changes": dict(changed.counts), "withdrew": changed.withdrew})
    session.out.table(("what changed", "people"), [[name.replace("_", " "), count] for name, count in changed.counts.items()])
    return session.out.text(f"what was told about who withdrew: cdp disclosures --key {changed.withdrew}" if changed.withdrew else "")


def _engine(session: Session, out: Path | None) -> Engine:
    """The engine over the folder `out`, which needs no project, or the environment's."""
    from cdp.spec.activation import Environment

    if out is None:
        return session.open(session.environment, session.root)
    return session.open(Environment(lakehouse=str(out)), Path.cwd())


def _timezone(session: Session) -> str:
    """Where a day is a day: in the project's zone, or without a project in that of the sample's patients."""
    from cdp.sample.load import ZONE

    try:
        return session.project.timezone
    except UsageError:
        return ZONE
