"""The `file` connector: CSV, JSON lines or Parquet in a folder that the agreement names, with a manifest.

A part is written under a hidden name beside its place, made durable by `flush`, then renamed: whoever reads the folder
sees whole files only. `<run>-<number>.<op>.<format>` are the parts, `<run>.manifest.json` lists them when the run ends. A notice
that must go with every batch stands in `<run>.notice.json` before the first part does, and again in the manifest.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from cdp.connectors.base import Batch, Receipts, Repeats, Status, Target, WireOp
from cdp.connectors.bodies import finite
from cdp.connectors.envelope import tree
from cdp.connectors.parts import Part, create, hidden, make_folder, settle, sweep
from cdp.errors import DeliveryError

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 50_000
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class FileConnector:
    """Writes batches into parts; a row counts as delivered, and is kept, once `flush` has returned."""

    concurrency = 1
    carries_notice = True
    repeats: Repeats = "state"  # whoever reads the parts in their order has the same rows, also where one stands in two

    def __init__(self, target: Target) -> None:
        self._target = target
        self._name = f"destination {target.destination.name}"
        if target.destination.file is None:
            raise DeliveryError(f"{self._name}: the file connector needs `file`", fix="declare file.folder in the destination")
        self._options = target.destination.file
        if self._options.opened_by == "spreadsheet" and self._options.format != "csv":
            raise DeliveryError(f"{self._name}: opened_by: spreadsheet goes with format: csv", fix="mend the destination's file part")
        if not _RUN.fullmatch(target.run):
            raise DeliveryError(f"{self._name}: run {target.run!r} cannot be a file name", fix="use letters, digits, `_`, `-` and `.`")
        self._folder = self._allowed_folder()
        self._open: dict[WireOp, Part] = {}
        self._done: list[dict[str, Any]] = []
        self._number = 0
        self._failure: DeliveryError | None = None

    def batch_size(self, op: WireOp) -> int:
        """The same for both kinds: a batch is a piece of a part."""
        return BATCH

    async def whoami(self) -> str | None:
        """None: a folder is no account."""
        return None

    async def send(self, batch: Batch) -> Receipts:
        """Write the rows to the open part of their kind.

        Raises:
            DeliveryError: the folder cannot be written, or a column has no form in this format.
        """
        rows, receipts = batch.rows, Receipts.all(len(batch), "delivered")
        if self._options.format == "jsonl" and len(places := finite(rows)) < len(batch):
            rows, kept = rows.take(places), set(places)
            statuses: list[Status] = ["delivered" if place in kept else "rejected" for place in range(len(batch))]
            receipts = Receipts(statuses, [None if status == "delivered" else "not_finite" for status in statuses])
        with self._writing():
            if rows.num_rows:
                self._part(batch.op, rows.schema).write(rows)
        return receipts

    async def flush(self) -> None:
        """Close the open parts, make them durable and give them their names.

        Raises:
            DeliveryError: the folder cannot be written.
        """
        with self._writing():
            for op in tuple(self._open):
                self._finish(op)

    async def __aenter__(self) -> Self:
        with self._writing():
            make_folder(self._folder)
            if self._allowed_folder() != self._folder:
                raise DeliveryError(f"{self._name}: folder {self._folder} has become a link", fix="remove the link")
            sweep(self._folder)
            parts = [re.match(re.escape(self._target.run) + r"-(\d+)\.", name) for name in os.listdir(self._folder)]
            self._number = max((int(part[1]) for part in parts if part), default=0)
            self._done = self._earlier_parts()
            if self._target.notice:
                self._write(self._folder / f"{self._target.run}.notice.json", tree(self._target.notice))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        complete = False
        try:
            if kind is None:
                await self.flush()
                complete = True
        finally:
            self._discard()
            if complete or self._done:
                # After a failure that failure is the news, not that the manifest could not be written either.
                with self._writing() if complete else suppress(OSError):
                    self._write_manifest(complete=complete)

    # -- parts --------------------------------------------------------------------------------------------------------

    def _part(self, op: WireOp, schema: pa.Schema) -> Part:
        """The open part of this kind of change; another schema begins another part."""
        part = self._open.get(op)
        if part is not None and part.schema != schema:
            self._finish(op)
            part = None
        if part is None:
            self._number += 1
            path = self._folder / f"{self._target.run}-{self._number:05d}.{op}.{self._options.format}"
            part = self._open[op] = Part(path, op, schema, self._options)
        return part

    def _finish(self, op: WireOp) -> None:
        self._done.append(self._open[op].finish())
        del self._open[op]

    def _discard(self) -> None:
        while self._open:
            self._open.popitem()[1].discard()

    @property
    def _manifest(self) -> Path:
        return self._folder / f"{self._target.run}.manifest.json"

    def _earlier_parts(self) -> list[dict[str, Any]]:
        """What a manifest of the same run lists already, when a run goes on."""
        try:
            parts: list[dict[str, Any]] = [dict(part) for part in json.loads(self._manifest.read_bytes())["parts"]]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError):
            fix = "move the file away; the parts beside it stand"
            raise DeliveryError(f"{self._name}: {self._manifest} is no manifest", fix=fix) from None
        return parts

    def _write_manifest(self, *, complete: bool) -> None:
        manifest = {
            "run": self._target.run,
            "destination": self._target.destination.name,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "complete": complete,
            **({"notice": tree(self._target.notice)} if self._target.notice else {}),
            "parts": self._done,
        }
        self._write(self._manifest, manifest)

    @staticmethod
    def _write(path: Path, content: Mapping[str, Any]) -> None:
        """A small JSON file that appears whole."""
        temporary = hidden(path)
        try:
            with create(temporary) as file:
                file.write(json.dumps(content, indent=2).encode() + b"\n")
                settle(file, path)
        finally:
            temporary.unlink(missing_ok=True)

    # -- the folder ---------------------------------------------------------------------------------------------------

    def _allowed_folder(self) -> Path:
        """The folder with every symbolic link followed, when the agreement names it or a folder above it."""
        real = (self._target.root / self._options.folder).resolve()
        allowed = [self._agreed(each) for each in self._target.egress.folders]
        if not any(real.is_relative_to(each) for each in allowed):
            names = ", ".join(map(str, allowed)) or "none"
            fix = "mend file.folder or the agreement's folders; a link inside of the project leads out of none"
            raise DeliveryError(f"{self._name}: folder {real} is refused; the agreement allows: {names}", fix=fix)
        return real

    def _agreed(self, folder: Path) -> Path:
        """A folder of the agreement. Inside of the project no link is followed: who writes models may commit one, under that name too."""
        root, named = Path(os.path.abspath(self._target.root)), Path(os.path.abspath(self._target.root / folder))
        return root.resolve() / named.relative_to(root) if named.is_relative_to(root) else named.resolve()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A failure of the disk ends the delivery: what was not renamed is removed, and no later flush may vouch for it."""
        if self._failure is not None:
            raise self._failure
        try:
            yield
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else "input/output error"
        else:
            return
        self._discard()
        fix = "free space or mend the folder's permissions, then run again; nothing that was not acknowledged is lost"
        self._failure = DeliveryError(f"{self._name}: folder {self._folder} cannot be written: {reason}", fix=fix)
        raise self._failure
