"""One engine a process: a Sail session sets SPARK_CONNECT_MODE_ENABLED=1, with which no classic Spark starts."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from cdp.engine import Engine, connect
from cdp.spec.activation import Environment


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The embedded engine over an empty lakehouse; a module or class that needs another has a fixture of this name."""
    engine = connect(Environment(engine="sail", lakehouse="lake"), root=tmp_path_factory.mktemp("lakehouse"))
    yield engine
    engine.close()


def pytest_collection_finish(session: pytest.Session) -> None:
    here = [item for item in session.items if "conformance" in item.nodeid or item.get_closest_marker("spark")]
    kinds = {bool(item.get_closest_marker("spark")) and not any(m.name == "skip" for m in item.iter_markers()) for item in here}
    if kinds == {True, False} or (True in kinds and os.environ.get("SPARK_CONNECT_MODE_ENABLED")):
        pytest.exit('Spark and Sail need a process each: run `pytest -m "not spark"` and `pytest -m spark`', returncode=4)
