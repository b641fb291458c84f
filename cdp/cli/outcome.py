"""What came of a sync, for people and programs: facts with stable keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cdp.cli import boundary
from cdp.cli.boundary import Fault
from cdp.cli.session import Session
from cdp.errors import RefusedError

if TYPE_CHECKING:
    from cdp.sync.plan import Plan

COUNTS = ("delivered", "rejected", "retryable", "unknown", "withheld", "carried_over")  # of a run, in the order in which they are shown
PUT_OFF = {  # counts of a plan that are not sent now, and what is said of them
    "waiting": "rejected before, and tried again later",
    "given_up": "rejected too often or for good, until they change",
    "unknown": "perhaps there already, until cdp resync has settled it",
    "carried_over": "beyond the destination's cap of the day",
    "dropped": "left out because they do not meet what the sync expects (quality)",
    "removals_waiting": "to be removed, rejected before, and tried again within a day",
}
AWAITING = "awaiting approval"  # the status of a plan that is stored, and goes out once somebody has approved it


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one sync: facts with stable keys, and the fault that ended it, if one did.

    `stale`: something had moved since the plan, before anything of it went; a new plan mends that. `busy`: another run took the sync first.
    """

    facts: dict[str, Any]
    fault: Fault | None = None
    stale: bool = False
    busy: bool = False

    def as_json(self) -> dict[str, Any]:
        """The facts as JSON, with `error` only where there is one."""
        return {**self.facts, "error": self.fault.as_json()} if self.fault else self.facts

    @property
    def undone(self) -> bool:
        """Whether a person or the next run must see to something. Rows that a channel rejects do not make it so."""
        left = self.facts["retryable"] + self.facts["unknown"]
        return self.fault is not None or left > 0 or self.facts["status"] in ("failed", "stopped")


def no_run(sync: str, plan: str | None, status: str) -> dict[str, Any]:
    """The facts of a sync of which nothing was sent."""
    counts = dict.fromkeys(COUNTS, 0)
    return {"run": None, "plan": plan, "sync": sync, **counts, "status": status}


def failed(sync: str, fault: Fault) -> Outcome:
    """Of a sync of which nothing was sent, and why."""
    return Outcome({**no_run(sync, None, "refused" if fault.refusals else "failed"), "withheld_rows": [], "put_off": {}}, fault)


def not_begun(sync: str) -> Outcome:
    """Of a sync that was to run, before somebody stopped the command."""
    return Outcome({**no_run(sync, None, "stopped"), "withheld_rows": [], "put_off": {}})


def refusal(plan: Plan) -> Fault | None:
    """Why a plan does nothing but remove, where governance says so."""
    return boundary.fault(RefusedError(f"sync {plan.sync}", plan.refusals)) if plan.refusals else None


def noted(session: Session, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes with what each sync rests on that ends soon (`warnings`); a person reads each of them once."""
    from cdp.governance.notices import of_sync

    found = []
    for outcome in outcomes:
        name = outcome.facts["sync"]
        endings = of_sync(session.project, name, session.now.day) if name in session.project.syncs else ()
        found.append(replace(outcome, facts={**outcome.facts, "warnings": [ending.as_json() for ending in endings]}))
    for message in dict.fromkeys(each["message"] for outcome in found for each in outcome.facts["warnings"]):
        session.out.note(f"warning: {message}")
    return found
