"""What all tests share: Spark only where Java is, and no skips where CI forbids them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from typing import TypeVar

import pytest

from cdp.connectors import pace

NO_SKIP = bool(os.environ.get("CDP_NO_SKIP"))
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@pytest.fixture(autouse=True)
def _fresh_paces() -> None:
    """What one test's channel asked for is not held against another's, which may have its name and its port."""
    pace.forget()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    java = os.environ.get("JAVA_HOME") or shutil.which("java")
    if not java:
        for item in items:
            if item.get_closest_marker("spark"):
                item.add_marker(pytest.mark.skip(reason="Apache Spark needs Java 17 or later: no java on PATH, no JAVA_HOME"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _unskipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _unskipped((yield))


def _unskipped(report: Report) -> Report:
    """Under CDP_NO_SKIP a skip is a failure that gives the skip's reason. An expected failure stays one."""
    if NO_SKIP and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"CDP_NO_SKIP is set, but this was skipped: {reason}"
    return report
