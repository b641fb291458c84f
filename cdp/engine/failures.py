"""What an engine raised, in words of our own: its text may quote values of rows and is only matched, never shown."""

from __future__ import annotations

import re
from pathlib import Path

from cdp.errors import CdpError, ConflictError, DataError, EngineError

_MISSING = re.compile(r"TABLE_OR_VIEW_NOT_FOUND|Table not found|DELTA_TABLE_NOT_FOUND|PATH_NOT_FOUND", re.I)
_COLUMN = re.compile(r"UNRESOLVED_COLUMN|is missing from the schema|cannot resolve attribute", re.I)
_DISK = re.compile(r"no space left|os error 28|ENOSPC|disk quota", re.I)
_DENIED = re.compile(r"permission denied|os error 13\b|AccessControlException|read-only file system|os error 30\b", re.I)
_LOST = re.compile(r"no such file|object at location|FILE_NOT_EXIST|FileNotFoundException", re.I)
_MEMORY = re.compile(r"OutOfMemory|java heap space|gc overhead limit|resources exhausted|cannot allocate memory|os error 12\b", re.I)
_CONFLICT = re.compile(r"(?<!java\.util\.)concurrent|conflict|Missing commit file|transaction", re.I)
# Java's stack traces name java.util.concurrent and Delta's OptimisticTransaction, whatever failed.
_FRAMES = re.compile(r"^\s*(?:at\s+\S+\(.*\)|\.\.\. \d+ more)\s*$", re.M)


def reduce_error(error: Exception, what: str, lakehouse: Path | None = None) -> CdpError:
    """What went wrong, as an error that holds none of the engine's text.

    Args:
        error: whatever an engine raised.
        what: what was being done.
        lakehouse: the root of the Delta folders, by which a lost file's table is recognised.
    """
    text = f"{type(error).__name__} {_FRAMES.sub('', str(error))}"
    if (lost := _LOST.search(text)) and (table := _table_of(text, lakehouse)):
        return DataError(f"{table}: a file of the table is gone ({lost[0].lower()})", fix="wait until the table is written, then run again")
    if _DISK.search(text):
        return EngineError(f"no space left while working on {what}", fix="free space and run again; nothing is lost")
    if _MEMORY.search(text):
        return EngineError(
            f"not enough memory while working on {what}",
            fix="give the engine more (Spark: spark.driver.memory in conf/cdp.yml), then run again",
        )
    if _DENIED.search(text):
        return EngineError(f"{what}: this user may not read or write it", fix="correct the permissions of the lakehouse, then run again")
    if _MISSING.search(text):
        return DataError(f"{what}: a table is not there, or is being replaced", fix="check the lakehouse, then run again")
    if _COLUMN.search(text):
        return DataError(f"{what}: a declared column is not in the table", fix="compare the entity's columns with the table")
    if _CONFLICT.search(text):
        return ConflictError(f"{what}: another writer was faster", fix="run again")
    return EngineError(
        f"{what}: the engine failed ({type(error).__name__})", fix="run again with -v; check the types of the columns involved"
    )


def _table_of(text: str, lakehouse: Path | None) -> str | None:
    """The table whose file an engine's text names: a folder of the lakehouse, never a value."""
    found = re.search(re.escape(str(lakehouse.absolute()).lstrip("/")) + r"/([a-z_]\w*)/([a-z_]\w*)/", text, re.I) if lakehouse else None
    return f"{found[1]}.{found[2]}" if found else None
