"""What the log of a Delta folder says of its table, without asking an engine.

Commits are files that are numbered without gaps (github.com/delta-io/delta/blob/master/PROTOCOL.md, "Delta Log Entries"), each of
which is made once.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

_COMMIT = re.compile(r"(\d{20})\.(json|checkpoint\..*parquet)")


def exists(folder: Path) -> bool:
    """Whether the table is there; one whose first commit is not written is not."""
    return any(_COMMIT.fullmatch(path.name) for path in (folder / "_delta_log").glob("*"))


class Logs:
    """The logs of a lakehouse. What was the newest commit is remembered, and from there one looks further: logs grow long."""

    def __init__(self) -> None:
        self._newest: dict[Path, int] = {}

    def newest(self, folder: Path) -> int | None:
        """The number of a table's newest commit; None where it has none."""
        at = self._newest.get(folder)
        if at is None or not _commit(folder, at).exists():  # never seen, cleaned up, or another table by now
            found = (_COMMIT.fullmatch(path.name) for path in (folder / "_delta_log").glob("*"))
            at = max((int(match[1]) for match in found if match), default=None)
        if at is None:
            return None
        while _commit(folder, at + 1).exists():
            at += 1
        self._newest[folder] = at
        return at

    def state(self, folder: Path) -> str | None:
        """Another word after every change; None where that cannot be told.

        It is that of the newest commit: a table that was dropped and made anew counts from 0 again.
        """
        newest = self.newest(folder)
        return None if newest is None else commit(folder, newest)


def commit(folder: Path, number: int) -> str | None:
    """A word for a commit, which no other has: its number and the hash of what it says; None where that cannot be read."""
    try:
        said = _commit(folder, number).read_bytes()
    except OSError:  # cleaned up, or being replaced
        return None
    return f"{number}:{hashlib.sha256(said).hexdigest()}" if said else None


def _commit(folder: Path, number: int) -> Path:
    return folder / "_delta_log" / f"{number:020}.json"
