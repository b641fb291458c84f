"""Files that appear whole or not at all: written under a hidden name, made durable, renamed."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from contextlib import suppress
from io import BufferedRandom
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdp.connectors.base import WireOp
from cdp.connectors.bodies import csv_header, csv_rows, json_rows
from cdp.spec.activation import FileOptions

if TYPE_CHECKING:
    import pyarrow as pa


class Part:
    """One file on its way; locked while it is open, so that nobody takes it for a leftover.

    Args:
        path: what it will be called.
        op: the kind of change it holds.
        schema: of its rows.
        options: the format, and who opens it.
    """

    def __init__(self, path: Path, op: WireOp, schema: pa.Schema, options: FileOptions) -> None:
        self.path, self.op, self.schema, self._options = path, op, schema, options
        self._rows = 0
        self._file = create(hidden(path))
        self._parquet: Any = None
        if options.format == "parquet":
            import pyarrow.parquet as pq

            self._parquet = pq.ParquetWriter(self._file, schema, compression="zstd")
        elif options.format == "csv":
            self._file.write(csv_header(schema.names).encode() + b"\n")

    def write(self, rows: pa.Table) -> None:
        """Add rows of the part's schema."""
        self._rows += rows.num_rows
        if self._parquet is not None:
            self._parquet.write_table(rows)
            return
        lines = json_rows(rows) if self._options.format == "jsonl" else csv_rows(rows, spreadsheet=self._options.opened_by == "spreadsheet")
        self._file.write("\n".join(lines).encode() + b"\n")

    def finish(self) -> dict[str, Any]:
        """Make the file durable, give it its name; its line in the manifest."""
        if self._parquet is not None:
            self._parquet.close()
        self._file.flush()
        self._file.seek(0)
        digest = hashlib.file_digest(self._file, "sha256").hexdigest()
        size = self._file.tell()
        settle(self._file, self.path)
        self._file.close()
        return {
            "file": self.path.name,
            "op": self.op,
            "format": self._options.format,
            "columns": self.schema.names,
            "rows": self._rows,
            "bytes": size,
            "sha256": digest,
        }

    def discard(self) -> None:
        """Remove what was written; the disk may be full, so closing may fail."""
        hidden(self.path).unlink(missing_ok=True)
        for writer in (self._parquet, self._file):
            with suppress(OSError, ValueError):
                if writer is not None:
                    writer.close()


def hidden(path: Path) -> Path:
    """The name under which a file is written before it has its own."""
    return path.with_name(f".{path.name}.tmp")


def create(path: Path) -> BufferedRandom:
    """A new file for its owner only, locked until it is closed."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w+b")
    with suppress(OSError):  # a file system without locks: then nothing is swept either
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


def settle(file: BufferedRandom, path: Path) -> None:
    """Put the bytes, then the name, on the disk."""
    file.flush()
    os.fsync(file.fileno())
    os.rename(hidden(path), path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def make_folder(folder: Path) -> None:
    """Make the folder and those above it, for their owner only, where they are missing."""
    for each in (*reversed(folder.parents), folder):
        if not each.is_dir():
            each.mkdir(mode=0o700)


def sweep(folder: Path) -> None:
    """Remove the hidden files of runs that were killed: those that nobody has locked."""
    for path in folder.glob(".*.tmp"):
        if not re.fullmatch(r"\..+(-\d+\.(upsert|remove)\.(csv|jsonl|parquet)|\.(manifest|notice)\.json)\.tmp", path.name):
            continue
        with suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
