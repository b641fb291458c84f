"""Where the time of a run went: its phases, and the steps of each, by the clock on the wall.

Off unless somebody asks: then a step costs one look at a context variable. Tasks and threads that are started with the context
of a run (`asyncio.create_task`, `asyncio.to_thread`) add to its profile, so steps that run side by side may add up to more than
their phase.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

_PLAN: Final = re.compile(r"\bplan_\d+_[0-9a-f]+")


@dataclass(slots=True)
class Profile:
    """What was measured: of each phase and step how often, and how many seconds in all. A phase itself has no step."""

    spent: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, phase: str, step: str, seconds: float) -> None:
        """Count a step; a plan's tables have the same name in every run."""
        at = (phase, _PLAN.sub("plan", step))
        with self._lock:
            times, before = self.spent.get(at, (0, 0.0))
            self.spent[at] = (times + 1, before + seconds)

    def copy(self) -> Profile:
        """Another of its own that begins with the same."""
        return Profile(dict(self.spent))

    def as_json(self) -> list[Mapping[str, Any]]:
        """Each phase in the order of a run, followed by its steps, the longest first."""
        found: list[Mapping[str, Any]] = []
        for phase in dict.fromkeys(phase for phase, _ in self.spent):
            steps = [(step, *spent) for (of, step), spent in self.spent.items() if of == phase]
            for step, times, seconds in sorted(steps, key=lambda each: (each[0] != "", -each[2])):
                found.append({"phase": phase, "step": step, "times": times, "seconds": round(seconds, 4)})
        return found


_PROFILE: ContextVar[Profile | None] = ContextVar("profile", default=None)
_PHASE: ContextVar[str] = ContextVar("phase", default="")


@contextmanager
def profiling(profile: Profile | None) -> Iterator[None]:
    """Measure what is done inside; with None nothing is."""
    token = _PROFILE.set(profile)
    try:
        yield
    finally:
        _PROFILE.reset(token)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """A part of a run; the steps inside are counted to it."""
    token = _PHASE.set(name)
    try:
        with step(""):
            yield
    finally:
        _PHASE.reset(token)


@contextmanager
def step(name: str) -> Iterator[None]:
    """One thing that takes time."""
    profile = _PROFILE.get()
    if profile is None:
        yield
        return
    start = time.perf_counter()
    try:
        yield
    finally:
        profile.add(_PHASE.get(), name, time.perf_counter() - start)
