"""Which files are the project."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cdp.errors import UsageError
from cdp.project.problems import Problems

CONFIG: Final = "conf/cdp.yml"
FOLDERS: Final = ("models", "syncs", "destinations", "governance")


def find_root(start: Path) -> Path:
    """The project that `start` lies in: the nearest folder upwards that holds conf/cdp.yml.

    Raises:
        UsageError: there is none.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / CONFIG).is_file():
            return folder
    raise UsageError(
        f"no project here: neither {start} nor a folder above it holds {CONFIG}",
        fix="`cdp init DIR` makes one; or name one with --project DIR",
    )


def files(root: Path, problems: Problems) -> Iterator[Path]:
    """conf/cdp.yml and every YAML file below the four folders, in the order of their names; hidden ones are left out."""
    if (root / CONFIG).exists() and _stays(root / CONFIG, root, root, problems):
        yield root / CONFIG
    for top in FOLDERS:
        if not _linked(root / top, root, problems):
            yield from _below(root / top, root, root / top if top == "governance" else root, problems)


def _below(top: Path, root: Path, within: Path, problems: Problems) -> Iterator[Path]:
    for folder, folders, names in os.walk(top, onerror=lambda error: _unreadable(error, root, problems)):
        folders[:] = [n for n in sorted(folders) if not n.startswith(".") and not _linked(Path(folder, n), root, problems)]
        for name in sorted(names):
            if not name.startswith(".") and name.lower().endswith((".yml", ".yaml")):
                path = Path(folder, name)
                if not path.is_symlink() or _stays(path, root, within, problems):
                    yield path


def _linked(folder: Path, root: Path, problems: Problems) -> bool:
    """Whether a folder is a link: not followed, because it may lead out of the project, or round in a circle."""
    if not folder.is_symlink():
        return False
    problems.add(folder.relative_to(root).as_posix(), (), "is a link to a folder, which is not followed", hint="move the folder here")
    return True


def _stays(path: Path, root: Path, within: Path, problems: Problems) -> bool:
    """Whether a link leads to where its owners can see it: not out of the project, and not out of governance/."""
    if path.resolve().is_relative_to(within):
        return True
    place = "the project" if within == root else f"{within.name}/"
    problems.add(path.relative_to(root).as_posix(), (), f"is a link that leaves {place}", hint="copy the file here")
    return False


def _unreadable(error: OSError, root: Path, problems: Problems) -> None:
    if not isinstance(error, FileNotFoundError):  # a project need not have all four folders
        problems.add(Path(error.filename).relative_to(root).as_posix(), (), f"cannot be read: {error.strerror}")
