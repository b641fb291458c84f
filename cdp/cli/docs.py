"""`cdp docs`: the project's catalog as one page of HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdp.cli.command import command
from cdp.cli.output import write
from cdp.cli.session import Session

if TYPE_CHECKING:
    from cdp.catalog.models import Size


@command("cdp docs", "cdp docs --out catalog.html --sizes", "cdp docs --as-of 2026-07-01")
def docs(
    session: Session,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write.")] = Path("out/catalog.html"),
    sizes: Annotated[bool, typer.Option("--sizes", help="Also say how large the segments were in past runs; starts the engine.")] = False,
) -> None:
    """Write the catalog of the project, one page of HTML.

    It needs no network. Segments in words, as YAML and as SQL, with owner, tests and who uses them; traits, value sets, columns and their
    classes; what leaves with each sync; a picture of the lineage; a search. It holds no value of any patient, and no
    count of 1 to 10 people.
    """
    from cdp.catalog.page import page

    with session.out.progress("writing the catalog"):
        text = page(session.project, clock=session.clock, now=session.now, sizes=_sizes(session) if sizes else None)
    write(out, text)
    if session.out.as_json:
        return session.out.json({"file": str(out), "bytes": len(text.encode()), "warnings": len(session.project.warnings)})
    return session.out.text(f"wrote {out}, {len(text.encode()) // 1000:,} kB; open it in a browser")


def _sizes(session: Session) -> Mapping[str, Sequence[Size]]:
    """How large each segment was when its syncs ran."""
    session.permit("runs")
    from cdp.analyst.explore import past
    from cdp.catalog.models import Size

    control = session.environment.control
    found = {name: past.sizes(session.project, session.engine, control, name) for name in session.project.segments}
    return {name: [Size(run.at[:10], run.sync, run.people, run.same) for run in runs] for name, runs in found.items() if runs}
