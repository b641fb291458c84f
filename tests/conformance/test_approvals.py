"""Plans that need an approval, on the embedded engine: what is refused without one that holds. Attacks 26, 27, 33."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cdp.engine import Engine
from cdp.errors import ApprovalError, StaleError, UsageError
from cdp.governance.access import Requirement
from cdp.spec.access import Person
from cdp.spec.activation import Guards
from cdp.sync import signing
from cdp.sync.acceptance import accept
from cdp.sync.approval import WHAT, Approved, approval_of, bound, give, on_record
from cdp.sync.guards import Violation
from cdp.sync.holdings import waiting
from cdp.sync.ledger import Control
from cdp.sync.plan import Plan, load_plan
from tests.conformance.world import World, people, told

PRIVACY, OTTO, EVE = (Ed25519PrivateKey.generate() for _ in range(3))
BY = "uid:1003"


def person(number: int, key: Ed25519PrivateKey | None) -> Person:
    return Person(id=f"uid:{number}", roles=["privacy"], public_key=signing.public_of(key) if key else None)


def requirement(*approvers: Person, keys: dict[str, str] | None = None, **changes: Any) -> Requirement:
    found = {each.id: each.public_key for each in approvers if each.public_key}
    made = Requirement(("purpose care",), approvers, {**found, **(keys or {})}, signed=True, four_eyes=True, hours=4, policy="p1")
    return replace(made, **changes)


@pytest.fixture
def world(engine: Engine, tmp_path: Path) -> World:
    """Three people whom nobody knows yet; uid:1003 approves."""
    made = World.fresh(engine, tmp_path, approval=requirement(person(1003, PRIVACY)))
    made.load(people(3))
    return made


def approve(world: World, plan: Plan, by: str = BY, key: Ed25519PrivateKey | None = PRIVACY) -> Approved:
    world.now += dt.timedelta(minutes=1)
    query = world.governed()
    assert query.approval is not None
    return give(plan, query, query.approval, Control(world.engine, world.control), by=by, now=world.now, key=key)


def put(world: World, plan: Plan, facts: dict[str, Any], signature: str | None) -> None:
    """An event as whoever can write the control tables could put it there."""
    event = {"sync": plan.sync, "plan": plan.id, "event": "approved", "at": world.now, "actor": facts.get("by"), "digest": plan.digest}
    body = json.dumps({"facts": facts, "signature": signature})
    Control(world.engine, world.control).append("plans", [{**event, "body": body}])


def facts(world: World, plan: Plan, **changes: Any) -> dict[str, Any]:
    query = world.governed()
    assert query.approval is not None
    times = {"at": world.now.isoformat(), "expires": (world.now + dt.timedelta(hours=4)).isoformat()}
    return {**bound(plan, query, query.approval), "by": BY, **times, **changes}


def refused(world: World, plan: Plan, why: str) -> None:
    """It is not applied, and nothing of it left."""
    with pytest.raises(ApprovalError, match=why):
        world.apply(plan)
    assert not world.channel.batches


# -- with and without -------------------------------------------------------------------------------------------------


def test_a_plan_that_nobody_approved_does_not_leave(world: World) -> None:
    plan = world.plan()
    assert plan.needs_approval == ("purpose care",)
    with pytest.raises(ApprovalError) as raised:
        world.apply(plan)
    assert raised.value.message == f"plan {plan.id} of letters needs an approval (purpose care): nobody has approved it"
    assert raised.value.fix == f"cdp approve {plan.id}, by {BY}"
    assert not world.channel.batches


def test_an_approved_plan_leaves_and_the_ledger_names_who_approved(world: World) -> None:
    plan = world.plan()
    given = approve(world, plan)
    assert on_record(Control(world.engine, world.control), plan.id) == (given,)
    run = world.apply(load_plan(world.engine, world.control, plan.id))
    assert (run.status, run.delivered) == ("succeeded", 3)
    assert {line["approver"] for line in told(world, "p001")} == {BY}


def test_where_none_is_needed_none_is_asked_for(world: World) -> None:
    world.approval = None
    plan, run = world.sync()
    assert (plan.needs_approval, run.status) == ((), "succeeded")


def test_an_empty_plan_needs_none(world: World) -> None:
    world.load([])
    assert world.sync()[1].status == "nothing"


# -- what voids it ----------------------------------------------------------------------------------------------------


def test_an_approval_ends(world: World) -> None:
    plan = world.plan()
    approve(world, plan)
    world.now += dt.timedelta(hours=4)
    refused(world, plan, "that of uid:1003 ended at ")


def test_a_changed_policy_voids_it_and_a_new_approval_of_the_same_plan_holds(world: World) -> None:
    """Attack 26: what was loosened since was not approved."""
    plan = world.plan()
    approve(world, plan)
    assert world.approval is not None
    world.approval = replace(world.approval, policy="p2")
    refused(world, plan, "that of uid:1003 was for another policy: it has changed since")
    approve(world, plan)
    assert world.apply(plan).status == "succeeded"


def test_a_plan_that_needed_an_approval_needs_one_under_a_policy_that_asks_for_none(world: World) -> None:
    """Attack 26: whoever runs `cdp` could bring a copy of roles.yml; what was approved before does not count under it either."""
    plan = world.plan()
    world.approval, policy = None, world.approval
    refused(world, load_plan(world.engine, world.control, plan.id), "was made under a policy that asks for an approval \\(purpose care\\)")
    world.approval = policy
    approve(world, plan)
    world.approval = None
    refused(world, plan, "today's asks for none")
    assert world.sync()[1].status == "succeeded"  # planned again, and so decided again


def test_an_approval_is_of_one_plan(world: World) -> None:
    first = world.plan()
    given = approve(world, first)
    second = world.plan()
    refused(world, second, "nobody has approved it")
    put(world, second, dict(given.facts), given.signature)
    refused(world, second, "was for another plan")


def test_a_changed_decision_makes_the_plan_stale(world: World) -> None:
    plan = world.plan()
    approve(world, plan)
    world.fingerprint = "f2"
    with pytest.raises(StaleError, match="the policy has changed"):
        world.apply(plan)


# -- attack 27: forged ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signature", [None, "", "AAAA", "not base64", "A" * 86 + "=="])
def test_an_event_without_a_good_signature_is_no_approval(world: World, signature: str | None) -> None:
    plan = world.plan()
    put(world, plan, facts(world, plan), signature)
    refused(world, plan, "that of uid:1003 is not signed with their key")


@pytest.mark.parametrize(
    "change", [{"by": "uid:1004"}, {"expires": "2099-01-01T00:00:00+00:00"}, {"at": "2026-07-01T12:02:00+00:00"}, {"more": 1}]
)
def test_signed_facts_cannot_be_changed(world: World, change: dict[str, Any]) -> None:
    assert world.approval is not None
    other = person(1004, OTTO)
    world.approval = requirement(person(1003, PRIVACY), other)
    plan = world.plan()
    signed = facts(world, plan)
    put(world, plan, {**signed, **change}, signing.sign(PRIVACY, WHAT, signed))
    refused(world, plan, "is not signed with their key")


def test_a_signature_of_somebody_else_or_for_something_else_does_not_count(world: World) -> None:
    plan = world.plan()
    signed = facts(world, plan)
    put(world, plan, signed, signing.sign(EVE, WHAT, signed))
    put(world, plan, signed, signing.sign(PRIVACY, "head of the ledger", signed))
    refused(world, plan, "is not signed with their key; that of uid:1003 is not signed with their key")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"counts": {"add": 1}}, "was for another counts"),
        ({"columns": {}}, "was for another columns"),
        ({"planned_by": "uid:7"}, "was for another planner"),
        ({"digest": "0"}, "was for another plan"),
        ({"fingerprint": "f0"}, "was for another decision"),
        ({"at": "2026-07-01T11:00:00+00:00"}, "before the plan or in the future"),
        ({"at": "2026-07-02T11:00:00+00:00", "expires": "2026-07-03T00:00:00+00:00"}, "before the plan or in the future"),
        ({"at": "often"}, "says no time"),
        ({"at": "2026-07-01T12:02:00"}, "says no time"),  # of which zone?
        ({"expires": None}, "says no time"),
        ({"by": "uid:9"}, "does not count: no role of theirs may approve it"),
    ],
)
def test_even_well_signed_it_must_fit(world: World, change: dict[str, Any], why: str) -> None:
    plan = world.plan()
    signed = facts(world, plan, **change)
    put(world, plan, signed, signing.sign(PRIVACY, WHAT, signed))
    refused(world, plan, why)


@pytest.mark.parametrize("body", ["", "no json", "[]", "{}", '{"facts": 1, "signature": 2}', '{"facts": {}, "signature": [1]}'])
def test_what_cannot_be_read_approves_nothing(world: World, body: str) -> None:
    plan = world.plan()
    event = {"sync": plan.sync, "plan": plan.id, "event": "approved", "at": world.now, "actor": BY, "digest": plan.digest, "body": body}
    Control(world.engine, world.control).append("plans", [event])
    refused(world, plan, "was for another plan")


def test_it_holds_no_longer_than_the_policy_lets_it_whatever_was_signed(world: World) -> None:
    plan = world.plan()
    signed = facts(world, plan, expires="2099-01-01T00:00:00+00:00")
    put(world, plan, signed, signing.sign(PRIVACY, WHAT, signed))
    world.now += dt.timedelta(hours=5)
    refused(world, plan, "ended at")


def test_who_may_no_longer_approve_has_not_approved(world: World) -> None:
    plan = world.plan()
    approve(world, plan)
    world.approval = requirement(person(1004, OTTO))
    refused(world, plan, "no role of theirs may approve it")


def test_the_key_of_today_decides(world: World) -> None:
    plan = world.plan()
    approve(world, plan)
    world.approval = requirement(person(1003, OTTO))
    refused(world, plan, "is not signed with their key")
    world.approval = requirement(person(1003, None))
    refused(world, plan, "they have no public_key")


# -- four eyes --------------------------------------------------------------------------------------------------------


def test_who_planned_cannot_approve(world: World, engine: Engine) -> None:
    me = int(engine.whoami().removeprefix("uid:"))
    world.approval = requirement(person(me, PRIVACY), person(me + 1, OTTO))
    plan = world.plan()
    assert plan.planned_by == f"uid:{me}"
    with pytest.raises(ApprovalError, match="they planned it, and four eyes are asked for") as raised:
        approve(world, plan, f"uid:{me}")
    assert raised.value.fix == f"ask one who can: uid:{me + 1}"
    signed = facts(world, plan, by=f"uid:{me}")
    put(world, plan, signed, signing.sign(PRIVACY, WHAT, signed))
    refused(world, plan, "they planned it")
    world.approval = replace(world.approval, four_eyes=False)
    approve(world, plan, f"uid:{me}")
    assert world.apply(plan).status == "succeeded"


def test_one_key_is_not_four_eyes(world: World, engine: Engine) -> None:
    world.approval = requirement(person(1003, PRIVACY), keys={engine.whoami(): signing.public_of(PRIVACY)})
    plan = world.plan()
    with pytest.raises(ApprovalError, match="they have the key of who planned it"):
        approve(world, plan)


def test_self_asserted_approvals_are_recorded_as_such_and_are_no_four_eyes(world: World) -> None:
    world.approval = requirement(person(1003, None), signed=False)
    plan = world.plan()
    with pytest.raises(ApprovalError, match="four eyes needs a signature"):
        approve(world, plan, key=None)
    world.approval = replace(world.approval, four_eyes=False)
    assert approve(world, plan, key=None).as_json()["signed"] is False
    assert world.apply(plan).status == "succeeded"


def test_a_key_that_is_missing_or_another_s_does_not_approve(world: World) -> None:
    plan = world.plan()
    with pytest.raises(UsageError, match="must be signed"):
        approve(world, plan, key=None)
    with pytest.raises(UsageError, match=r"not the one that governance/roles\.yml gives uid:1003"):
        approve(world, plan, key=EVE)
    with pytest.raises(ApprovalError, match="uid:7 cannot approve it: no role of theirs may"):
        approve(world, plan, by="uid:7", key=EVE)
    assert on_record(Control(world.engine, world.control), plan.id) == ()


# -- what drifts ------------------------------------------------------------------------------------------------------


def test_who_became_ineligible_is_withheld_from_an_approved_plan(world: World) -> None:
    """Attack 33."""
    plan = world.plan()
    approve(world, plan)
    clinic = people(3)
    clinic[2]["deceased"] = True
    world.load(clinic)
    run = world.apply(plan)
    assert (run.delivered, run.withheld, sorted(world.channel.rows)) == (2, 1, [("p001",), ("p003",)])


def test_a_removal_since_is_a_plan_of_its_own_that_needs_no_approval_and_subtracts(world: World) -> None:
    world.guards = Guards(empty="allow", max_remove=None)
    world.approval = None
    world.sync()  # three are held
    world.approval = requirement(person(1003, PRIVACY))
    clinic = people(4)
    clinic[1]["email"] = "new@example.org"
    clinic[2]["email"] = "other@example.org"
    world.load(clinic)
    plan = world.plan()
    assert (plan.counts["add"], plan.counts["change"], plan.counts["remove"]) == (1, 2, 0)
    approve(world, plan)
    clinic[1]["member"] = False  # left the segment, which no rule about people notices
    world.load(clinic)
    removing = world.plan(only="left")
    assert (removing.needs_approval, removing.counts["remove"]) == ((), 1)
    assert world.apply(removing).delivered == 1
    assert ("p001",) not in world.channel.rows
    run = world.apply(plan)
    assert (run.delivered, run.withheld) == (2, 1)
    assert sorted(world.channel.rows) == [("p002",), ("p003",), ("p004",)]
    assert world.channel.rows[("p002",)]["email"] == "other@example.org"


def test_what_was_told_since_makes_it_stale(world: World) -> None:
    plan = world.plan()
    approve(world, plan)
    world.approval, asked = None, world.approval
    world.sync()
    world.approval = asked
    with pytest.raises(StaleError, match="another run of letters has delivered"):
        world.apply(plan)


def test_the_function_that_the_ledger_asks(world: World) -> None:
    plan, control = world.plan(), Control(world.engine, world.control)
    given = approve(world, plan)
    assert approval_of(plan, world.governed(), control, world.now) == given
    assert (given.by, given.as_json()["signed"]) == (BY, True)


def test_a_plan_of_which_a_guard_was_accepted_waits_for_its_approval_all_the_same(world: World) -> None:
    plan = world.plan()
    control = Control(world.engine, world.control)

    def listed() -> list[str]:
        return [each.plan for each in waiting(world.engine, world.control, world.now)]

    assert listed() == [plan.id]
    accept(control, plan, (Violation("max_add", "at most 2 rows", 3),), world.now)
    assert listed() == [plan.id]
    approve(world, plan)
    assert listed() == []
