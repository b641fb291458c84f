"""The command line on the example project: real files, a real lakehouse, real HTTP to the sandbox."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cdp.cli.app import main
from cdp.cli.channel import accounts
from cdp.project.load import load
from cdp.sandbox.server import Sandbox

ZONE = ZoneInfo("America/New_York")  # of the example: a day begins there up to five hours after it has here
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("SPARK")}


@dataclass(frozen=True)
class Said:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cdp = Callable[..., Said]


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example project with its sample lakehouse, made once."""
    folder = tmp_path_factory.mktemp("example") / "clinic"
    assert main(["init", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def project(example: Path, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the example whose channels listen on a port of its own; the current folder is in it."""
    folder = tmp_path / "clinic"
    shutil.copytree(example, folder)
    config = folder / "conf" / "cdp.yml"
    config.write_text(config.read_text().replace("127.0.0.1:8765", f"127.0.0.1:{port}"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def channel(project: Path, port: int) -> Iterator[Sandbox]:
    with Sandbox("127.0.0.1", port, accounts=answers(project)) as sandbox:
        yield sandbox


def answers(project: Path) -> dict[str, Any]:
    """What the channels of the example answer when they are asked whose account they are."""
    loaded = load(project)
    return accounts(loaded, loaded.environment(None))


@pytest.fixture
def cdp(capfd: pytest.CaptureFixture[str]) -> Cdp:
    """Runs a command in this process, so that all share one engine."""

    def run(*words: str) -> Said:
        capfd.readouterr()
        code = main(words)
        out, err = capfd.readouterr()
        return Said(code, out, err)

    return run


def spawn(*words: str, cwd: Path, **env: str) -> subprocess.Popen[str]:
    """Starts a command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "cdp", *words],
        cwd=cwd,
        env={**CLEAN, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
