"""Guards that a person accepted: an event of the plan, with who, when, what the guard allows and what was found.

It stands for the plan of that digest and for the numbers in it, and for no other: a plan that is made anew is looked at anew.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cdp.sync.guards import MAX_FAILED, Violation, in_words

if TYPE_CHECKING:
    from cdp.sync.ledger import Control
    from cdp.sync.plan import Plan

EVENT: Final = "accepted"  # in the table `plans`


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Who accepted which guards of a plan, and when."""

    by: str
    at: dt.datetime
    guards: tuple[Violation, ...]

    def as_json(self) -> dict[str, Any]:
        """The acceptance as a JSON object with stable keys."""
        return {"by": self.by, "at": self.at.isoformat(), "guards": [violation.as_json() for violation in self.guards]}


def of_plan(ledger: Control, plan: str, digest: str) -> tuple[Acceptance, ...]:
    """What was accepted of a plan, in order; what was said of another digest does not count."""
    table = ledger.table("plans")
    statement = f"SELECT actor, at, body FROM {table} WHERE plan = :plan AND event = '{EVENT}' AND digest = :digest ORDER BY at"
    rows = ledger.engine.query(statement, {"plan": plan, "digest": digest}, what=table).to_pylist()
    return tuple(
        Acceptance(row["actor"], row["at"], tuple(Violation(**each) for each in json.loads(row["body"])["guards"])) for row in rows
    )


def accepted(ledger: Control, plan: Plan) -> frozenset[Violation]:
    """The guards of a plan that somebody accepted; a plan that none can stop is not asked for."""
    if not plan.guards and plan.max_failed is None:
        return frozenset()
    return frozenset(violation for each in of_plan(ledger, plan.id, plan.digest) for violation in each.guards)


def left(ledger: Control, plan: Plan) -> tuple[Violation, ...]:
    """The guards that stop a plan: those that it breaks and nobody has accepted."""
    done = accepted(ledger, plan) if plan.guards else frozenset()
    return tuple(violation for violation in plan.guards if violation not in done)


def during(plan: Plan) -> Violation | None:
    """What can be accepted of a plan before it is applied, as it is only found then: that many rows are rejected."""
    return Violation(MAX_FAILED, in_words(plan.max_failed, "the rows that the channel answers")) if plan.max_failed and plan.rows else None


def pending(ledger: Control, plan: Plan, names: Collection[str]) -> tuple[Violation, ...]:
    """What of a plan somebody would accept who names these guards: what it breaks, and what was not accepted already."""
    if not names:
        return ()
    also = during(plan)
    named = [violation for violation in (*plan.guards, *((also,) if also else ())) if violation.guard in names]
    done = accepted(ledger, plan) if named else frozenset()
    return tuple(violation for violation in named if violation not in done)


def people(ledger: Control, plan: Plan) -> tuple[str, ...]:
    """Who has accepted guards of a plan; whether they still may is asked when it is applied."""
    if not plan.guards and plan.max_failed is None:
        return ()
    return tuple(dict.fromkeys(each.by for each in of_plan(ledger, plan.id, plan.digest)))


def accept(ledger: Control, plan: Plan, guards: Collection[Violation], now: dt.datetime) -> None:
    """Put on record that whoever uses the engine accepts these of a plan. Whether they may is asked before."""
    body = json.dumps({"guards": [violation.as_json() for violation in guards]})
    event = {"sync": plan.sync, "plan": plan.id, "event": EVENT, "at": now, "actor": ledger.engine.whoami()}
    ledger.append("plans", [{**event, "digest": plan.digest, "body": body}])
