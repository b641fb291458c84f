"""Which process this is, and whether another one is provably dead.

A pid alone proves nothing: it is given again, and it means another process in a container or on another machine. A process is
named by its host, the kernel's boot, the pid namespace, its pid and the tick at which it started (proc(5)); only what shares the first
three with us can be asked about. Where there is no /proc, nobody is named and nobody is provably dead.
"""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

_PROC = Path("/proc")
_NAMED = re.compile(r"(?P<place>\S+ \S+ \S+) (?P<pid>[1-9][0-9]{0,9}) (?P<start>[0-9]+)")


def identity() -> str:
    """This process as `host boot namespace pid start`; empty where the system does not tell."""
    pid = os.getpid()
    found = _stat(pid)
    place = _place()
    return f"{place} {pid} {found[1]}" if place and found else ""


def is_dead(named: str | None) -> bool:
    """Whether a process that `identity` named is provably gone. False also means: that cannot be said from here."""
    match = _NAMED.fullmatch(named or "")
    if match is None or match["place"] != _place():
        return False
    pid = int(match["pid"])
    try:
        os.kill(pid, 0)  # asks only; a /proc that hides the processes of others (hidepid) would look as if they were gone
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass
    found = _stat(pid)
    if found is None:
        return False
    state, start = found
    return start != match["start"] or (state in "ZX" and _threads(pid) <= 1)


def _place() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink(_PROC / "self/ns/pid")
    except OSError:
        return ""
    words = (socket.gethostname(), boot, namespace)
    return " ".join(words) if all(re.fullmatch(r"\S+", word) for word in words) else ""


def _stat(pid: int) -> tuple[str, str] | None:
    """State and start tick of a process: fields 3 and 22; the second is its name, in parentheses, and may hold anything."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return (fields[0], fields[19]) if len(fields) > 19 else None


def _threads(pid: int) -> int:
    """The threads that are left of a process whose first one has ended."""
    try:
        return sum(1 for _ in (_PROC / str(pid) / "task").iterdir())
    except OSError:
        return 0
