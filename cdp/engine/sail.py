"""The embedded engine: a Sail server inside this process and the PySpark client. No JVM."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from cdp.engine.base import Engine


class SailEngine(Engine):
    """An engine whose every instance has a session, and so a catalog, of its own."""

    name = "sail"


@cache
def _server() -> tuple[Any, int]:
    """The one server of this process. It must be referenced as long as sessions live."""
    os.environ.setdefault("RUST_LOG", "off")
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer()
    server.start(background=True)
    return server, server.listening_address[1]


def connect(*, lakehouse: Path | None, catalog: str | None, settings: dict[str, str]) -> SailEngine:
    """Start the server if need be and open a session on it."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.remote(f"sc://127.0.0.1:{_server()[1]}")
    session = builder.create()
    for name, value in settings.items():
        session.conf.set(name, value)
    return SailEngine(session, lakehouse=lakehouse, catalog=catalog)
