"""Killed at a random moment, a run is continued by the next: the channel ends equal to the segment, nothing is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cdp.engine import connect
from cdp.spec.activation import Environment
from cdp.sync.ledger import Control
from cdp.sync.ledger.verify import verify
from tests.conformance.killed_child import replay
from tests.conformance.world import World, patient, people

ROOT = Path(__file__).parents[2]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("SPARK")}


def start(folder: Path, turn: int) -> subprocess.Popen[str]:
    """A child that is about to sync; each turn's wall clock is past the leases of those before."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.conformance.killed_child", str(folder), str(turn)],
        cwd=ROOT,
        env={**CLEAN, "MAILER_KEY": "k"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdout
    assert child.stdout.readline() == "ready\n"
    return child


def finish(folder: Path, turn: int) -> dict[str, object]:
    out, _ = start(folder, turn).communicate(timeout=120)
    found: dict[str, object] = json.loads(out)
    return found


def requests(folder: Path) -> int:
    """How many requests the channel has had."""
    channel = folder / "channel"
    return len(channel.read_text().splitlines()) if channel.exists() else 0


def wait_for(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while requests(folder) < count:
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    engine = connect(Environment(engine="sail", lakehouse="lake"), root=tmp_path)
    World(engine, "clinic", "cdp", tmp_path).load(people(400))
    engine.close()
    return tmp_path


def verified(folder: Path) -> int:
    """The lines of the ledger, every block of which is as it was written: no kill may part a block from its lines."""
    engine = connect(Environment(engine="sail", lakehouse="lake"), root=folder)
    try:
        (found,) = verify(Control(engine, "cdp"))
        assert found.bad is None
        return found.lines
    finally:
        engine.close()


def told(folder: Path) -> int:
    """How many rows were put on the wire: each has a line, whatever became of its receipt. attack 41"""
    return sum(len(json.loads(line)) for line in (folder / "channel").read_text().splitlines())


def test_sigkill_at_random_moments(folder: Path) -> None:
    moments = random.Random(7)
    for turn in range(4):
        before = requests(folder)
        child = start(folder, turn)
        wait_for(folder, before + moments.randint(1, 8))
        time.sleep(moments.random() * 0.03)
        child.kill()
        child.wait()
        assert requests(folder) < 40 * (turn + 1)
        assert told(folder) <= verified(folder)
    assert 0 < finish(folder, 10)["delivered"] < 400
    assert finish(folder, 11)["status"] == "nothing"
    assert told(folder) <= verified(folder)
    rows, _ = replay(folder / "channel")
    assert rows == {patient(n)["patient_id"]: patient(n)["email"] for n in range(1, 401)}


def test_sigterm_finishes_what_is_in_flight_and_records_it(folder: Path) -> None:
    child = start(folder, 0)
    wait_for(folder, 1)
    child.send_signal(signal.SIGTERM)
    out, _ = child.communicate(timeout=60)
    run = json.loads(out)
    assert run["status"] == "stopped"
    assert 0 < run["delivered"] < 400
    assert run["delivered"] + run["retryable"] == 400
    assert finish(folder, 1)["delivered"] == run["retryable"]
    rows, again = replay(folder / "channel")
    assert (len(rows), again) == (400, 0)
