"""`cdp init`: a new project from the example, ready to run."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cdp.cli.command import command
from cdp.cli.example import copy_example
from cdp.cli.sample import make_sample
from cdp.cli.schema import write_schema
from cdp.cli.session import Session
from cdp.errors import UsageError

NEXT = ("cdp validate", "cdp compile a1c_overdue", "cdp plan --all", "cdp sync --all", "cdp runs")


@command("cdp init mydir && cd mydir && cdp validate && cdp sync --all", "cdp init mydir --no-data")
def init(
    session: Session,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or an empty folder.")],
    data: Annotated[bool, typer.Option("--data/--no-data", help="Build the sample lakehouse too.")] = True,
) -> None:
    """Make a new project from the example, with sample data.

    The patients are synthetic (Synthea); the newest of their events falls on today, or on `--as-of`.
    """
    from cdp.catalog.schema import project_schema

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty", fix="name a new folder; nothing was written")
    copy_example(folder)
    with Session(replace(session.options, project=folder)) as made:
        write_schema(folder, project_schema(made.project))
        rows = sum(make_sample(made, made.open(made.environment, made.root)).rows.values()) if data else 0
    _show(session, folder, rows)


def _show(session: Session, folder: Path, rows: int) -> None:
    if session.out.as_json:
        return session.out.json({"project": str(folder), "rows": rows})
    session.out.text(f"made {folder}{f' with {rows:,} rows of sample data' if rows else ', without data (`cdp sample` makes some)'}")
    return session.out.text("\n".join(["next:", f"  cd {shlex.quote(str(folder))}", *(f"  {line}" for line in NEXT)]))
