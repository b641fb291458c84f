"""`cdp fmt`: one layout for every YAML file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from cdp.cli.command import command
from cdp.cli.session import Session
from cdp.errors import Problem, ProjectError, UsageError

YAML = (".yml", ".yaml")


@command("cdp fmt", "cdp fmt --check", "cdp fmt models/segments syncs/diabetes.yml")
def fmt(
    session: Session,
    paths: Annotated[list[Path] | None, typer.Argument(metavar="PATH", help="Files and folders; default: the project.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 when a file is not in the layout.")] = False,
) -> None:
    """Lay out the YAML files of the project.

    Two spaces a level, lists one level in, double quotes, no line over 140 columns that can be broken. Comments stay, and
    so do quotes that matter, the lines of a flow, and columns that lines share. What a file says never changes: one of
    which that cannot be told is left alone, with the reason.
    """
    changed: list[str] = []
    problems: list[Problem] = []
    files = list(_files(session, paths or ()))
    with session.out.progress("laying out"):
        for path in files:
            try:
                if _lay_out(path, _named(path), write=not check):
                    changed.append(_named(path))
            except ProjectError as error:
                problems += error.problems
    if session.out.as_json:
        listed = [problem.as_json() for problem in problems]
        session.out.json({"files": len(files), "changed": changed, "written": not check, "problems": listed})
    else:
        _show(session, changed, problems, len(files), check)
    if problems or (check and changed):
        raise typer.Exit(1)


def _show(session: Session, changed: Sequence[str], problems: Sequence[Problem], files: int, check: bool) -> None:
    done = "would be laid out anew" if check else "laid out"
    for path in changed:
        session.out.text(f"{path}: {done}")
    for problem in problems:
        session.out.text(str(problem))
    rest = files - len(changed) - len({problem.file for problem in problems})
    session.out.text(f"{len(changed)} {'file' if len(changed) == 1 else 'files'} {done}, {rest} as they should be")


def _files(session: Session, paths: Sequence[Path]) -> Iterator[Path]:
    """The files that are meant, each once."""
    from cdp.project.files import files
    from cdp.project.problems import Problems

    if not paths:
        problems = Problems()
        yield from files(session.root, problems)
        problems.raise_if_any()
        return
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found |= dict.fromkeys(sorted(each for each in path.rglob("*") if each.suffix.lower() in YAML and each.is_file()))
        elif path.suffix.lower() in YAML and path.exists():
            found[path] = None
        else:
            raise UsageError(f"{path} is {'no YAML file' if path.exists() else 'not there'}", fix="name .yml files, or folders of them")
    yield from found


def _named(path: Path) -> str:
    return Path(os.path.relpath(path)).as_posix()


def _lay_out(path: Path, name: str, *, write: bool) -> bool:
    """Whether the file is, or was, not in the layout.

    Raises:
        ProjectError: it cannot be read, or laid out.
    """
    from cdp.analyst.change.layout import formatted
    from cdp.project.problems import Problems
    from cdp.project.source import MAX_BYTES, read_text

    problems = Problems()
    text = read_text(path, name, problems, MAX_BYTES)
    if text is None:
        problems.raise_if_any()
        return False
    made = formatted(text, name).encode()
    if made == path.read_bytes():
        return False
    if write:
        _replace(path.resolve(), made)
    return True


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, with the permissions that it has."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.chmod(name, path.stat().st_mode & 0o7777)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
