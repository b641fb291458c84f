"""The sandbox of the tests that speak HTTP: one a module, without rows and faults for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cdp.sandbox.server import Sandbox


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    running.reset()
    return running
