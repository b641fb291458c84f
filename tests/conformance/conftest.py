"""One engine a process: a Sail session sets SPARK_CONNECT_MODE_ENABLED=1, with which no classic Spark starts."""

from __future__ import annotations

import os

import pytest


def pytest_collection_finish(session: pytest.Session) -> None:
    here = [item for item in session.items if "conformance" in item.nodeid or item.get_closest_marker("spark")]
    kinds = {bool(item.get_closest_marker("spark")) and not any(m.name == "skip" for m in item.iter_markers()) for item in here}
    if kinds == {True, False} or (True in kinds and os.environ.get("SPARK_CONNECT_MODE_ENABLED")):
        pytest.exit('Spark and Sail need a process each: run `pytest -m "not spark"` and `pytest -m spark`', returncode=4)
