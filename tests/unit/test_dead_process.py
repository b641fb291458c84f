"""When another process is provably dead, and when that cannot be said."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from cdp.sync import process

pytestmark = pytest.mark.skipif(not process.identity(), reason="the system names no process")


def test_this_process_is_alive_and_names_itself_the_same_again() -> None:
    assert process.identity() == process.identity()
    assert not process.is_dead(process.identity())


def child() -> tuple[subprocess.Popen[bytes], str]:
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    place = process.identity().rsplit(" ", 2)[0]
    found = process._stat(started.pid)
    assert found
    return started, f"{place} {started.pid} {found[1]}"


def test_a_killed_process_is_dead_before_and_after_its_parent_has_asked_for_it() -> None:
    started, named = child()
    assert not process.is_dead(named)
    started.kill()
    os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)  # a zombie still: its entry in /proc is there
    assert process.is_dead(named)
    started.wait()
    assert process.is_dead(named)


def test_a_pid_that_was_given_again_is_another_process() -> None:
    place, pid, start = process.identity().rsplit(" ", 2)
    assert process.is_dead(f"{place} {pid} {int(start) - 1}")


@pytest.mark.parametrize("part", [0, 1, 2])
def test_of_another_host_boot_or_container_nothing_is_said(part: int) -> None:
    started, named = child()
    started.kill()
    started.wait()
    words = named.split(" ")
    words[part] += "x"
    assert process.is_dead(named)
    assert not process.is_dead(" ".join(words))


@pytest.mark.parametrize("named", [None, "", "host boot ns", "host boot ns 0 1", "host boot ns -1 1", "host boot ns x 1", "a b c 1 2 3"])
def test_what_names_no_process_is_not_dead(named: str | None) -> None:
    assert not process.is_dead(named)


def test_a_pid_that_cannot_be_is_not_asked_for() -> None:
    place = process.identity().rsplit(" ", 2)[0]
    for pid in ("0", "-1", "00001"):
        assert not process.is_dead(f"{place} {pid} 1")


def test_where_processes_are_hidden_a_live_one_is_not_taken_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """hidepid: /proc shows nothing of a process of somebody else."""
    named = process.identity()
    monkeypatch.setattr(process, "_stat", lambda pid: None)
    assert not process.is_dead(named)
    assert process.identity() == ""
