"""`cdp schema`: what an editor checks and completes the YAML with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cdp.cli.command import command
from cdp.cli.output import written
from cdp.cli.session import Session


@command("cdp schema > cdp.schema.json", "cdp schema --project-names", "cdp schema --write")
def schema(
    session: Session,
    project_names: Annotated[
        bool, typer.Option("--project-names", help="Complete the names of this project too: columns, relations, traits, segments, ...")
    ] = False,
    write: Annotated[bool, typer.Option("--write", help="Write it, with the names, to .vscode/cdp.schema.json.")] = False,
) -> None:
    """Print the JSON Schema of the project's YAML files.

    Every kind is in it, and the language of conditions. With `--write` an editor that understands YAML schemas completes and checks
    while you type; Visual Studio Code is wired by the project's .vscode/settings.json, which is made where there is none. Run it again
    after adding names.
    """
    from cdp.catalog.schema import project_schema
    from cdp.catalog.schema import schema as plain

    if not write:
        return session.out.json(project_schema(session.project) if project_names else plain())
    made, missing = write_schema(session.root, project_schema(session.project))
    if session.out.as_json:
        return session.out.json({"written": made, "not_wired": missing})
    session.out.text("\n".join(f"wrote {name}" for name in made))
    for name in missing:
        session.out.note(f'{name} is yours and names no schema; add: "yaml.schemas": {wiring()}')
    return None


def wiring() -> str:
    """The setting that tells an editor which files the schema is for, in one line."""
    import json

    from cdp.catalog.editor import WIRING

    return json.dumps(WIRING)


def write_schema(root: Path, made: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Write a schema where the editor looks for it, and the editor's settings where there are none.

    Args:
        root: the project's folder.
        made: the schema.

    Returns:
        The files that were written, and the settings that are somebody's own and do not name the schema.

    Raises:
        UsageError: a file cannot be written.
        OSError: the disk is full.
    """
    from cdp.catalog.editor import FRESH, SCHEMA, is_wired, text

    files = {SCHEMA: made, **{name: value for name, value in FRESH.items() if not (root / name).exists()}}
    for name, value in files.items():
        with written(root / name, "make it writable, or print the schema without --write"):
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text(text(value, compact=name == SCHEMA), encoding="utf-8")
    own = [name for name in FRESH if name not in files and name.endswith("settings.json")]
    return list(files), [name for name in own if not is_wired((root / name).read_text(encoding="utf-8"))]
