"""Faults on request: what a channel does when it has a bad day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# What happens instead of, before or after taking the rows.
BEFORE = ("reset", "html", "redirect")  # the rows are not taken
AFTER = (
    "applied_but_500",
    "half_applied",
    "half_reset",
    "multi_status",
    "not_json",
    "slow",
    "drip",
)  # rows are taken
KINDS = (*BEFORE, *AFTER, "reject")
QUESTIONS = ("whoami", "export", "lookup")
_KEYS = {"fault", "times", "retry_after", "seconds", "keys", "code", "every", "on"}


@dataclass
class Fault:
    """One staged fault.

    Attributes:
        kind: one of KINDS, or an HTTP status of 400 or more: that answer, and the rows are not taken.
        times: how often it strikes; None is for ever.
        every: it strikes one request in so many (`reject`: one row in so many).
        keys: it strikes only requests that hold one of these keys (`reject`: only these rows).
        seconds: how long `slow` and `drip` take.
        retry_after: the Retry-After header of a status: seconds or an HTTP date.
        code: the code in the answer.
        on: `rows`: it strikes requests that hold rows; `whoami`: those that ask whose account it is;
            `export`: those that ask which rows there are; `lookup`: those that ask what became of changes.
    """

    kind: str
    times: int | None = 1
    every: int = 1
    keys: frozenset[str] = frozenset()
    seconds: float = 1.0
    retry_after: str | None = None
    code: str = "refused"
    on: str = "rows"
    seen: int = field(default=0, repr=False)

    @property
    def status(self) -> int | None:
        """The HTTP status when the fault is one."""
        return int(self.kind) if self.kind.isdigit() else None

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Fault:
        """A fault as the API takes it.

        Raises:
            ValueError: says which key is wrong and what is valid.
        """
        if unknown := set(given) - _KEYS:
            raise ValueError(f"unknown {sorted(unknown)}; valid: {sorted(_KEYS)}")
        kind = str(given.get("fault", ""))
        if kind not in KINDS and not (kind.isdigit() and 400 <= int(kind) <= 599):
            raise ValueError(f"fault must be a status from 400 to 599 or one of {sorted(KINDS)}")
        times = given.get("times", None if kind == "reject" else 1)
        every, seconds, keys = given.get("every", 1), given.get("seconds", 1.0), given.get("keys", [])
        if (times is not None and not _whole(times)) or not _whole(every):
            raise ValueError("times and every must be whole numbers from 1 (times: null is for ever)")
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds <= 3600:
            raise ValueError("seconds must be a number from 0 to 3600")
        if not isinstance(keys, list):
            raise ValueError("keys must be a list")
        if given.get("on", "rows") not in ("rows", *QUESTIONS) or (given.get("on") in QUESTIONS and kind == "reject"):
            raise ValueError("on must be rows, whoami, export or lookup; a question has no rows to reject")
        wait = given.get("retry_after")
        return cls(
            kind=kind,
            times=times,
            every=every,
            keys=frozenset(map(str, keys)),
            seconds=float(seconds),
            retry_after=None if wait is None else str(wait),
            code=str(given.get("code", "refused")),
            on=given.get("on", "rows"),
        )


class Faults:
    """What is staged for one channel: requests consume faults in order, `reject` stays."""

    def __init__(self) -> None:
        self._staged: list[Fault] = []
        self._rejects: list[Fault] = []

    def stage(self, faults: Iterable[Fault]) -> None:
        """Add faults behind those that wait."""
        for fault in faults:
            (self._rejects if fault.kind == "reject" else self._staged).append(fault)

    def clear(self) -> None:
        """Drop all that is staged."""
        self._staged.clear()
        self._rejects.clear()

    def __len__(self) -> int:
        return len(self._staged) + len(self._rejects)

    def strike(self, keys: Sequence[str], on: str = "rows") -> Fault | None:
        """The fault of a request that holds rows with these keys, or is a question; used up by one."""
        for fault in self._staged:
            if fault.on != on:
                continue
            if fault.keys and fault.keys.isdisjoint(keys):
                continue
            fault.seen += 1
            if fault.seen % fault.every:
                return None
            if fault.times is not None:
                fault.times -= 1
                if fault.times == 0:
                    self._staged.remove(fault)
            return fault
        return None

    def rejected(self, keys: Sequence[str]) -> dict[int, str]:
        """The positions of the rows to reject, with their codes."""
        found: dict[int, str] = {}
        for fault in tuple(self._rejects):
            for place, key in enumerate(keys):
                if (fault.keys and key not in fault.keys) or fault.times == 0:
                    continue
                fault.seen += 1
                if fault.seen % fault.every == 0:
                    found[place] = fault.code
                    fault.times = fault.times and fault.times - 1
        self._rejects = [fault for fault in self._rejects if fault.times != 0]
        return found


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
