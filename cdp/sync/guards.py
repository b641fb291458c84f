"""How much a run may change before a person has to look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cdp.governance.query import Removals
from cdp.spec.activation import Guards, Limit


QUALITY: Final = "quality"  # what stops a plan when an expectation that refuses is not met; see gates.py


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
    fixes = []
    if any(each.guard == QUALITY for each in violations):
        fixes.append("mend the rows that fail (or say `otherwise: drop`, `warn`, or a lower `mostly`)")
    if any(each.guard != QUALITY for each in violations):
        fixes.append("look at the plan; if it is right, raise the guard in the sync's YAML")
    return "; ".join(fixes)


def effective(sync: Guards, defaults: Guards) -> Guards:
    """The guards of a sync: its own, and the project's where it says nothing."""
    own = {name: getattr(sync, name) for name in sync.model_fields_set}
    return defaults.model_copy(update=own)


def holding(guards: Guards, removals: Removals | None) -> Guards:
    """Those that hold for a plan that only removes.

    None where it removes whom a rule keeps out, or all after an agreement's end: what was revoked does not wait for a look.
    """
    return Guards(empty="allow") if removals in ("everyone", "kept_out") else guards


def check(guards: Guards, counts: Mapping[str, int], *, known: int, segment: int, source: int) -> tuple[Violation, ...]:
    """What a plan breaks.

    Args:
        guards: of the sync, defaults included.
        counts: `add`, `change`, `remove`.
        known: rows that the destination has acknowledged and holds.
        segment: members of the segment, whether or not they may be told.
        source: whether the entity's table has rows: their number, or 0 or 1.
    """
    found = [_bound(f"max_{op}", getattr(guards, f"max_{op}"), counts[op], known) for op in ("add", "change", "remove")]
    if guards.empty == "refuse" and source == 0:
        found.append(Violation("empty", "the entity's table must have rows", 0))
    elif guards.empty == "refuse" and segment == 0 and known:
        found.append(Violation("empty", f"the segment must have people while the destination holds {known}", 0))
    return tuple(v for v in found if v)


def _bound(name: str, limit: Limit | None, count: int, known: int) -> Violation | None:
    """A share is one of what the destination holds; it says nothing about additions to an empty one."""
    if limit is None:
        return None
    if limit.rows is not None and count > limit.rows:
        return Violation(name, f"at most {limit.rows} rows", count)
    if limit.share is not None and known and count > limit.share * known:
        return Violation(name, f"at most {limit.share:.4g} of the {known} rows the destination holds", count)
    return None
