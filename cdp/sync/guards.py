"""How much a run may change before a person has to look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from cdp.connectors.base import Status
from cdp.errors import GuardError
from cdp.governance.query import Removals
from cdp.spec.activation import Guards, Limit
from cdp.sync.usual import LEAST

MAX_FAILED: Final = "max_failed"  # the guard that is asked while a plan is applied
FEW: Final = 100  # answers below which a share of them says nothing
QUALITY: Final = "quality"  # what stops a plan when an expectation that refuses is not met; see gates.py

BOUNDS: Final = {op: f"max_{op}" for op in ("add", "change", "remove")}
NAMES: Final = (*Guards.model_fields, QUALITY)


@dataclass(frozen=True, slots=True)
class Violation:
    """A guard that a plan breaks: its name, what it allows and what was found; None where that is no number."""

    guard: str
    limit: str
    found: int | None = None

    def __str__(self) -> str:
        return f"{self.guard}: {self.limit}" + (f", found {self.found}" if self.found is not None else "")

    def as_json(self) -> dict[str, Any]:
        """The violation as a JSON object with stable keys."""
        return {"guard": self.guard, "limit": self.limit, "found": self.found}


def advice(violations: Sequence[Violation]) -> str:
    """What a person does about a plan that breaks these."""
    names = list(dict.fromkeys(each.guard for each in violations))
    fixes = []
    if QUALITY in names:
        fixes.append("mend the rows that fail (or say `otherwise: drop`, `warn`, or a lower `mostly`) and plan again")
    if set(names) - {QUALITY}:
        fixes.append("look at the plan; if it is right, raise the guard in the sync's YAML and plan again")
    return f"{'; '.join(fixes)}; or have somebody who may accept it: {' '.join(f'--accept-guard {name}' for name in names)}"


def effective(sync: Guards, defaults: Guards) -> Guards:
    """The guards of a sync: its own, and the project's where it says nothing."""
    own = {name: getattr(sync, name) for name in sync.model_fields_set}
    return defaults.model_copy(update=own)


def holding(guards: Guards, removals: Removals | None) -> Guards:
    """Those that hold for a plan that only removes.

    None where it removes whom a rule keeps out, or all after an agreement's end: what was revoked does not wait for a look.
    """
    return Guards(empty="allow") if removals in ("everyone", "kept_out") else guards


@dataclass(frozen=True, slots=True)
class Found:
    """What guards look at.

    Attributes:
        counts: `add`, `change`, `remove`.
        known: rows that the destination has acknowledged and holds.
        segment: members of the segment, whether or not they may be told.
        source: whether the entity's table has rows: their number, or 0 or 1.
        invalid: people who cannot be sent, and rows that do not meet what the sync expects; `eligible`: members who may be told.
        past: the sizes of the segment in the last runs, the newest first; fewer than `usual.LEAST` say nothing.
    """

    counts: Mapping[str, int]
    known: int
    segment: int
    source: int
    invalid: int = 0
    eligible: int = 0
    past: tuple[int, ...] = ()


def check(guards: Guards, found: Found) -> tuple[Violation, ...]:
    """What a plan breaks of the guards of its sync, defaults included."""
    known, segment = found.known, found.segment
    holds = f"the {known} rows the destination holds"
    broken = [_bound(name, getattr(guards, name), found.counts[op], known, holds) for op, name in BOUNDS.items()]
    if guards.empty == "refuse" and found.source == 0:
        broken.append(Violation("empty", "the entity's table must have rows", 0))
    elif guards.empty == "refuse" and segment == 0 and known:
        broken.append(Violation("empty", f"the segment must have people while the destination holds {known}", 0))
    broken.append(_bound("max_invalid", guards.max_invalid, found.invalid, found.eligible, f"the {found.eligible} who may be told"))
    broken.append(_unusual(guards.unusual_size, segment, found.past))
    return tuple(v for v in broken if v)


def _bound(name: str, limit: Limit | None, count: int, whole: int, of: str) -> Violation | None:
    """A share is one of a whole; it says nothing where that is empty, such as about additions to an empty destination."""
    if limit is None:
        return None
    if limit.rows is not None and count > limit.rows:
        return Violation(name, in_words(limit, of), count)
    if limit.share is not None and whole and count > limit.share * whole:
        return Violation(name, in_words(limit, of), count)
    return None


def _unusual(limit: Limit | None, size: int, past: Sequence[int]) -> Violation | None:
    """Whether a segment's size is far from the median of the last runs, which a single odd run does not move."""
    if limit is None or len(past) < LEAST:
        return None
    usual = median(past)
    if abs(size - usual) <= (limit.rows if limit.rows is not None else (limit.share or 0) * usual):
        return None
    by = f"{limit.rows} people" if limit.rows is not None else f"{limit.share:.4g}"
    return Violation("unusual_size", f"at most {by} from {usual:.10g}, the median of the last {len(past)} runs", size)


def in_words(limit: Limit, of: str) -> str:
    """A bound, and the whole that its share is one of."""
    return f"at most {limit.rows} rows" if limit.rows is not None else f"at most {limit.share:.4g} of {of}"


class Failing:
    """Rows that a channel rejects while a plan is applied, and when that is too many.

    Removals are not counted: they go first, and nothing holds them back. A share says nothing until FEW rows were answered.

    Args:
        limit: `max_failed`, or None.
        sync: of which.
    """

    def __init__(self, limit: Limit | None, sync: str) -> None:
        self.limit, self.sync = limit, sync
        self.answered = self.rejected = 0

    def after(self, op: str, statuses: Mapping[Status, int]) -> GuardError | None:
        """Count the answers to a batch, so many of each status; the error that ends the delivery, where it is to end."""
        if self.limit is None or op == "remove":
            return None
        rejected = statuses.get("rejected", 0)
        self.answered += statuses.get("delivered", 0) + rejected
        self.rejected += rejected
        whole = self.answered if self.answered >= FEW else 0
        broken = _bound(MAX_FAILED, self.limit, self.rejected, whole, f"the {self.answered} rows that the channel answered")
        if broken is None:
            return None
        fix = f"see `cdp runs RUN` for what it says of them, and mend that; or have somebody who may accept it: --accept-guard {MAX_FAILED}"
        return GuardError(f"delivery of {self.sync} stopped: {broken}", fix=fix)
