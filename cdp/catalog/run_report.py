"""What is said of runs to whoever has to answer for them: no key, no value, and no number of few people.

The numbers come as they may be shown (a number, or what stands in its place), so that this page cannot show more than that.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from cdp.errors import Refusal

Number = int | str  # as it may be shown: 1204, or `<11`


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the waterfall; `parts` are what it is made of."""

    title: str
    kind: Literal["level", "less", "more"]
    count: Number
    why: str
    parts: tuple[tuple[str, Number], ...] = ()


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows that the channel took between two commits of receipts, in seconds since the run started."""

    start: float
    end: float
    rows: int

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / max(self.end - self.start, 1e-3)


@dataclass(frozen=True, slots=True)
class Said:
    """One run, or why there was none.

    Attributes:
        status: how it ended.
        facts: names and values: the run, its plan, times.
        people: who planned, approved, applied.
        rests_on: purpose, agreement, classes, fingerprint of the policy, digest of the plan.
        steps: the waterfall.
        errors: (what happened, reason, rows).
        guards: what a guard found, and who let it pass.
        quality: (expectation, verdict, how many were asked, how many failed).
        withheld: (class, table) of special rows that were not read.
        stretches: throughput; none where rows are few.
        failed: why it ended early, in words; `refusals`: every reason of governance.
    """

    sync: str
    status: str
    facts: Mapping[str, str | None]
    people: Mapping[str, str | None] = field(default_factory=dict)
    rests_on: Mapping[str, str | None] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    errors: tuple[tuple[str, str, Number], ...] = ()
    guards: tuple[str, ...] = ()
    quality: tuple[tuple[str, str, Number, Number], ...] = ()
    withheld: tuple[tuple[str, str], ...] = ()
    stretches: tuple[Stretch, ...] = ()
    failed: str = ""
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class RunReport:
    """The runs of one command, in its order."""

    project: str
    environment: str
    made: dt.datetime
    small: int  # smaller numbers of people are not shown
    runs: tuple[Said, ...]


def stretches(commits: list[tuple[float, int]], least: int, most: int = 48) -> tuple[Stretch, ...]:
    """The commits of a run as stretches of time.

    Args:
        commits: (seconds since the start, rows), in their order.
        least: rows of a stretch, so that none is of few people; what is left over at the end counts to the one before.
        most: how many stretches a picture has room for.
    """
    if not commits:
        return ()
    least = max(least, -(-sum(rows for _, rows in commits) // most), 1)
    found: list[Stretch] = []
    start, rows = 0.0, 0
    for end, more in commits:
        rows += more
        if rows >= least:
            found.append(Stretch(start, end, rows))
            start, rows = end, 0
    if rows and found:
        last = found.pop()
        found.append(Stretch(last.start, commits[-1][0], last.rows + rows))
    return tuple(found)
