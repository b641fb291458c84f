"""What a sandbox took, kept in a file: one JSON line for each request that changed something."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from cdp.sandbox.channel import Call


class Journal:
    """An append-only file that only its owner may read: it holds what was sent.

    Args:
        path: the file; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._lock = Lock()
        self._file = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b")

    def entries(self) -> Iterator[dict[str, Any]]:
        """What is in the file. A last line that was cut off is dropped, here and from the file."""
        if self._file is None:
            return
        self._file.seek(0)
        whole = 0
        for line in self._file:
            try:
                entry = json.loads(line)
            except ValueError:
                break
            whole += len(line)
            yield entry
        self._file.truncate(whole)

    def took(self, channel: str, call: Call, left_out: Sequence[int], answer: bytes) -> None:
        """Record a request. Its body stands as it came: JSON holds no line break that matters."""
        if self._file is None:
            return
        head = {"channel": channel, "method": call.method, "path": call.path, "key": call.idempotency_key, "digest": call.digest}
        tail = {"left_out": list(left_out), "answer": answer.decode()}
        self._write({**head, **tail}, call.body)

    def write(self, entry: dict[str, Any]) -> None:
        """Record options."""
        if self._file is not None:
            self._write(entry, None)

    def _write(self, entry: dict[str, Any], body: bytes | None) -> None:
        line = json.dumps(entry)
        if body is not None:
            line = f'{line[:-1]}, "body": {json.dumps(body.decode())}}}'
        with self._lock:
            assert self._file is not None
            self._file.write(line.encode() + b"\n")
            self._file.flush()

    def clear(self) -> None:
        """Forget everything."""
        if self._file is not None:
            with self._lock:
                self._file.truncate(0)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
