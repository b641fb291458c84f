"""Maintenance of a Delta folder: small files are merged, and files are deleted that no version of the last seven days needs.

Done by delta-rs on each engine: the embedded one knows neither OPTIMIZE nor VACUUM, and a VACUUM of a few files takes Spark a minute.
Merging commits files for files, so that readers and who appends at the same time see the same rows. What is deleted, and that it is old
enough, is Delta's own rule (`delta.deletedFileRetentionDuration`), which also spares files that somebody is about to commit.

Of two who merge the same files at once delta-rs lets both commit, and each row is there twice: it passes over what was removed without a
change of data (github.com/delta-io/delta-rs/pull/3982). So a lock of the operating system, which ends with its process, lets one do it.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Mapping
from pathlib import Path

FILES = 32  # of a part of a table, that are worth a merge
SECONDS = 86_400  # between two looks at it


def mark(folder: Path, part: Mapping[str, str]) -> Path:
    """The file whose time says when a part was last maintained, and that is locked meanwhile. Names that begin with `_` are no data."""
    return folder / "_".join(("_maintained", *part.values()))


def due(folder: Path, part: Mapping[str, str]) -> bool:
    """Whether a part was not maintained for a day. Of one that is new it is written down when that began."""
    at = mark(folder, part)
    try:
        return abs(time.time() - at.stat().st_mtime) >= SECONDS
    except FileNotFoundError:
        at.touch()
        return False


def maintain(folder: Path, part: Mapping[str, str]) -> None:
    """Merge the files of a part where they are many, and delete the old ones of the whole table, unless somebody else does or just has.

    Args:
        folder: of the table.
        part: partition columns and their values; none of them for the whole table.
    """
    at = mark(folder, part)
    with at.open("ab") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if due(folder, part):
            _maintain(folder, part)
            at.touch()


def _maintain(folder: Path, part: Mapping[str, str]) -> None:
    from deltalake import DeltaTable, WriterProperties

    table, where = DeltaTable(folder), [(name, "=", value) for name, value in part.items()] or None
    if len(table.file_uris(file_pruning_predicate=where)) >= FILES:
        table.optimize.compact(where, writer_properties=WriterProperties(compression="ZSTD", compression_level=1))
    table.vacuum(dry_run=False, full=True)  # of what a killed writer left no log says anything
