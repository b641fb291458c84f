"""The embedded engine: a Sail server inside this process and the PySpark client. No JVM.

Rows are appended by delta-rs: the server spends 0.12 s of the processor on 50,000 receipts, most of it to take them in, and that half as
much. Both commit in one way, by a file that must not be there yet, so that they may write to one table at once.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdp.engine import log
from cdp.engine.base import Engine
from cdp.engine.rows import Rows
from cdp.errors import UsageError

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from pyspark.sql import SparkSession


class SailEngine(Engine):
    """An engine whose every instance has a session, and so a catalog, of its own."""

    name = "sail"
    _link: Path | None = None

    def __init__(self, session: SparkSession, *, lakehouse: Path | None, catalog: str | None = None) -> None:
        super().__init__(session, lakehouse=lakehouse, catalog=catalog)
        if self.reached is not None and not _PLAIN.fullmatch(str(self.reached)):
            self._link = link_to(self.reached)
            self.reached = self._link
        self._opened: dict[Path, _Opened] = {}

    def close(self) -> None:
        """End the session, and remove the link that it went by."""
        super().close()
        if self._link is not None:
            shutil.rmtree(self._link.parent, ignore_errors=True)

    def _forget(self, table: str) -> None:
        """Its catalog is its own: it knows no name that this session does not."""

    def _append(self, table: str, parts: Sequence[Rows]) -> None:
        folder = self.folder(table)
        if folder is None:
            super()._append(table, parts)
            return
        import pyarrow as pa
        from deltalake import ColumnProperties, CommitProperties, WriterProperties, write_deltalake
        from deltalake.exceptions import CommitFailedError
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

        # A dictionary pays for what is the same in each row, and costs much where each row has a value of its own.
        apart = {name: ColumnProperties(dictionary_enabled=False) for each in parts for name in each.own.column_names}
        properties = WriterProperties(compression="ZSTD", compression_level=1, column_properties=apart)
        first, *others = (each.whole() for each in parts)
        whole = pa.concat_tables([first, *(other.select(first.column_names) for other in others)])
        commit = CommitProperties(max_commit_retries=_COMMITS)
        again = retry_if_exception_type(CommitFailedError)  # it also gives up when others take rows away, which is no matter to new ones
        for attempt in Retrying(retry=again, stop=stop_after_attempt(_TRIES), wait=wait_random(0, 0.05), reraise=True):
            with attempt:
                opened, appends = self._open(folder)
                write_deltalake(opened, whole, mode="append", writer_properties=properties, commit_properties=commit)
        self._opened[folder] = _Opened(opened, log.commit(folder, opened.version()), appends + 1)

    def _open(self, folder: Path) -> tuple[DeltaTable, int]:
        """A table as delta-rs sees it, up to date, and how often it was appended to since it was opened.

        It is kept from append to append: to read its log costs as much as to write rows. But an append looks at all commits since the table
        was opened, so after some of them they are summed up and it is opened anew. Who appends in another thread meanwhile opens it too.
        """
        from deltalake import DeltaTable

        last = self._opened.pop(folder, None)
        if last is None or last.commit is None or log.commit(folder, last.table.version()) != last.commit:  # or another table by now
            return DeltaTable(folder), 0
        if last.appends >= _APPENDS:
            last.table.create_checkpoint()
            return DeltaTable(folder), 0
        last.table.update_incremental()
        return last.table, last.appends


@dataclass(frozen=True, slots=True)
class _Opened:
    """A table that is open, the commit that it was last seen at, and how often it was appended to."""

    table: DeltaTable
    commit: str | None
    appends: int


# Of other paths the embedded engine encodes some characters twice and reads some as a pattern: it would write beside the lakehouse.
_PLAIN = re.compile(r"[A-Za-z0-9_./-]+")
_NO_URL = re.compile(r"[\[\]%\\|^\x00-\x1f\x7f]")  # delta-rs, which follows links, decodes these or fails on them
_APPENDS = 20
_COMMITS, _TRIES = 1_000, 100  # an append fits behind whatever others commit meanwhile
_STARTING = threading.Lock()  # threads that open their first sessions at once would start a server each


def refuse_path(lakehouse: Path) -> None:
    """Stop before anything is written where the embedded engine or delta-rs would write beside the lakehouse, or not at all.

    Raises:
        UsageError: names the characters of the path that they cannot take.
    """
    if wrong := set(_NO_URL.findall(str(lakehouse.resolve()))):
        said = f"the embedded engine cannot work in {lakehouse}: its path holds {' '.join(map(repr, sorted(wrong)))}"
        raise UsageError(said, fix="move the project, or rename the folder")
    if not _PLAIN.fullmatch(str(lakehouse.absolute())) and not _PLAIN.fullmatch(tempfile.gettempdir()):
        said = f"the embedded engine reaches {lakehouse} by a link in {tempfile.gettempdir()}, which is no plain path either"
        raise UsageError(said, fix="set TMPDIR to a folder whose path is of ASCII letters, digits and ./-_")


def link_to(lakehouse: Path) -> Path:
    """A link with a plain path, in a folder of this user alone, to a lakehouse, which is made if need be."""
    lakehouse.mkdir(parents=True, exist_ok=True)
    link = Path(tempfile.mkdtemp(prefix="cdp-")) / "lake"
    link.symlink_to(lakehouse, target_is_directory=True)
    return link


@cache
def _server() -> tuple[Any, int]:
    """The one server of this process. It must be referenced as long as sessions live."""
    os.environ.setdefault("RUST_LOG", "off")
    os.environ.setdefault("SAIL_EXECUTION__BATCH_SIZE", "65536")  # rows at a time: of 8,192, its default, joins take a tenth longer
    from pysail.spark import SparkConnectServer

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    server = SparkConnectServer()
    server.start(background=True)
    port = server.listening_address[1]
    if threading.current_thread() is threading.main_thread():
        # The server would end at a signal, before a run could record what is in flight: signals are ours.
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return server, port


def connect(*, lakehouse: Path | None, catalog: str | None, settings: dict[str, str]) -> SailEngine:
    """Start the server if need be and open a session on it.

    Raises:
        UsageError: the lakehouse stands where it cannot work.
    """
    from pyspark.sql import SparkSession
    from pyspark.sql.connect.client.retries import DefaultPolicy

    if lakehouse is not None:
        refuse_path(lakehouse)
    with _STARTING:
        _, port = _server()
    session = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").create()
    # A signal ends the server in this process; who then waits for it, as the client would for minutes, waits in vain.
    session.client.set_retry_policies([DefaultPolicy(max_retries=2, initial_backoff=50, max_backoff=200)])
    for name, value in settings.items():
        session.conf.set(name, value)
    return SailEngine(session, lakehouse=lakehouse, catalog=catalog)
