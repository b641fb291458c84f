"""`cdp sample`: synthetic patients for trying things out, and for measuring."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdp.cli.command import command
from cdp.cli.session import Session

if TYPE_CHECKING:
    from cdp.engine import Engine
    from cdp.sample.load import LoadReport


@command("cdp sample --out lake", "cdp sample --source synthea/csv --out lake")
def sample(
    session: Session,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The lakehouse to make; default: the environment's.")] = None,
    source: Annotated[Path | None, typer.Option(metavar="DIR", help="Synthea's CSV files; default: 150 patients that come along.")] = None,
) -> None:
    """Make a sample lakehouse of Delta tables.

    Nothing is overwritten. Rows that cannot be typed go to a quarantine table with the reason. The newest event falls
    on today, or on `--as-of`.
    """
    report = load_sample(session, _engine(session, out), source)
    if session.out.as_json:
        session.out.json({"rows": dict(report.rows), "quarantined": dict(report.quarantined), "shifted_days": report.shifted_days})
    else:
        session.out.table(("table", "rows", "quarantined"), [[t, n, report.quarantined.get(t, 0)] for t, n in report.rows.items()])


def load_sample(session: Session, engine: Engine, source: Path | None = None) -> LoadReport:
    """Load Synthea's files, moved in time so that the newest event falls on the session's day."""
    from cdp.sample.load import load

    with session.out.progress("loading the sample"):
        return load(engine, source, shift_to=session.clock.day)


def _engine(session: Session, out: Path | None) -> Engine:
    """The engine over the folder `out`, which needs no project, or the environment's."""
    from cdp.spec.activation import Environment

    if out is None:
        return session.engine
    return session.open(Environment(lakehouse=str(out)), Path.cwd())
