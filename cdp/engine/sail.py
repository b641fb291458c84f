"""The embedded engine: a Sail server inside this process and the PySpark client. No JVM."""

from __future__ import annotations

import os
import signal
import threading
from functools import cache
from pathlib import Path
from typing import Any

from cdp.engine.base import Engine


class SailEngine(Engine):
    """An engine whose every instance has a session, and so a catalog, of its own."""

    name = "sail"

    def _forget(self, table: str) -> None:
        """Its catalog is its own: it knows no name that this session does not."""


_STARTING = threading.Lock()  # threads that open their first sessions at once would start a server each


@cache
def _server() -> tuple[Any, int]:
    """The one server of this process. It must be referenced as long as sessions live."""
    os.environ.setdefault("RUST_LOG", "off")
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
    """Start the server if need be and open a session on it."""
    from pyspark.sql import SparkSession
    from pyspark.sql.connect.client.retries import DefaultPolicy

    with _STARTING:
        _, port = _server()
    session = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").create()
    # A signal ends the server in this process; who then waits for it, as the client would for minutes, waits in vain.
    session.client.set_retry_policies([DefaultPolicy(max_retries=2, initial_backoff=50, max_backoff=200)])
    for name, value in settings.items():
        session.conf.set(name, value)
    return SailEngine(session, lakehouse=lakehouse, catalog=catalog)
