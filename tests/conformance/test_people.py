"""Who may be told, on the embedded engine."""

from __future__ import annotations

import datetime as dt
import random
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.compile.clock import Clock
from cdp.connectors.base import Egress, Target
from cdp.engine import Engine
from cdp.errors import DataError
from cdp.governance.decide import Governor
from cdp.governance.query import RULE, GovernedQuery
from cdp.project.load import load
from cdp.sync import unchanged, withheld
from cdp.sync.apply import Run, apply_plan
from cdp.sync.basis import basis
from cdp.sync.ledger import Control
from cdp.sync.people import People, kept_out
from cdp.sync.plan import Plan
from cdp.sync.planning import make_plan
from cdp.sync.revocations import revocations
from cdp.testing.channel import Channel
from tests.conformance.people import CLOCK, PeopleStory, asked
from tests.people_world import ASKING, NOW, RULES, Person, anybody, consent, project_at, slow, somebody, write

ZONE = ZoneInfo("America/New_York")


class TestPeopleOnSail(PeopleStory):
    pass


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations([*RULES]), seed=st.integers(0, 2**32), asking=st.sampled_from(ASKING))
def test_whatever_the_order_everyone_counts_once(
    engine: Engine, tmp_path_factory: pytest.TempPathFactory, order: list[str], seed: int, asking: object
) -> None:
    """The waterfall adds up to the segment's size, and each count is of those whom no rule before keeps out."""
    dice = random.Random(seed)
    people = [anybody(f"p{number}", dice) for number in range(60)]
    write(engine, people)
    query = Governor.of(load(project_at(tmp_path_factory.mktemp("order"), order))).govern(asking.name, clock=CLOCK, now=CLOCK)
    counts = Counter(row[RULE] for row in asked(engine, query).values())
    assert sum(counts.values()) == len(people)
    assert counts == Counter(slow(person, asking, order)[0] for person in people)
    assert {*counts} <= {*query.rules, None}


# -- plans and their application -------------------------------------------------------------------------------------------


@dataclass
class Desk:
    """One sync of the clinic, planned and applied."""

    engine: Engine
    governor: Governor
    root: Path
    sync: str = "mails"
    channel: Channel = field(default_factory=Channel)
    control: str = field(default_factory=lambda: f"cdp_{uuid.uuid4().hex[:8]}")
    now: dt.datetime = NOW

    def plan(self, as_of: str = "") -> Plan:
        now = self._clock()
        clock = Clock.parse(as_of, now.zone) if as_of else self._clock(-1)
        query, times = self.governor.govern(self.sync, clock=clock, now=now), {"now": self.now, "as_of": clock.instant}
        rests = basis(query, self.engine, **times, defaults=None)
        return make_plan(query, self.engine, self.control, **times, basis=rests)

    def apply(self, plan: Plan) -> Run:
        self.now += dt.timedelta(minutes=1)
        query = self.governed(plan.as_of)
        target = Target(query.destination, Egress(), "", self.root)
        return apply_plan(plan, query, self.engine, self.control, self.channel.connector(), target, now=self.now, sandbox=True)

    def governed(self, as_of: dt.datetime) -> GovernedQuery:
        return self.governor.govern(self.sync, clock=Clock(as_of.astimezone(ZONE)), now=self._clock())

    def held(self) -> set[str]:
        return {row.get("email") or row.get("first_name") for row in self.channel.rows.values()}

    def _clock(self, seconds: int = 0) -> Clock:
        return Clock((self.now + dt.timedelta(seconds=seconds)).astimezone(ZONE))


@pytest.fixture
def desk(engine: Engine, tmp_path: Path) -> Desk:
    return Desk(engine, Governor.of(load(project_at(tmp_path))), tmp_path)


def left_out(plan: Plan) -> dict[str, int]:
    return {rule: count for rule, count in plan.excluded if count}


def test_the_counts_of_a_plan_add_up_to_the_segment(desk: Desk) -> None:
    dice = random.Random(9)
    write(desk.engine, [anybody(f"p{number}", dice) for number in range(80)])
    plan = desk.plan()
    assert [rule for rule, _ in plan.excluded] == [*RULES]
    assert sum(plan.counts.values()) + sum(count for _, count in plan.excluded) == plan.size == 80


def _dies(person: Person) -> None:
    person.row["death_date"] = NOW.date()


def _revokes(person: Person) -> None:
    person.consents.append(consent("later", "care", "email", None, effective=NOW, status="inactive"))


def _restricts(person: Person) -> None:
    person.restrictions = [{"id": "1", "receiver": "mailer", "active": True}]


def _moves(person: Person) -> None:
    person.requests = [{"id": "1", "channel": "mail", "value": "PO Box 1", "active": True, "asked_at": NOW}]


def _unsubscribes(person: Person) -> None:
    person.suppressions = [{"id": "1", "channel": "email"}]


HAPPENS = (_dies, _revokes, _restricts, _moves, _unsubscribes)


@pytest.mark.parametrize("happens", HAPPENS, ids=lambda each: each.__name__)
def test_what_happens_between_plan_and_apply_withholds_and_then_removes(desk: Desk, happens: Callable[[Person], None]) -> None:
    """Attacks 33 and 39: who may no longer be told is not, and whoever is there already goes, whatever the rule."""
    ann, bob = somebody("a", email="ann@example.org"), somebody("b", email="bob@example.org")
    write(desk.engine, [ann, bob])
    plan = desk.plan()
    happens(ann)
    write(desk.engine, [ann, bob])
    run = desk.apply(plan)
    assert (run.withheld, desk.held()) == (1, {"bob@example.org"})
    happens(bob)
    write(desk.engine, [ann, bob])
    plan = desk.plan()
    assert (plan.counts["remove"], sum(left_out(plan).values())) == (1, 2)
    desk.apply(plan)
    assert desk.held() == set()


@pytest.mark.parametrize("happens", HAPPENS, ids=lambda each: each.__name__)
def test_a_small_plan_asks_about_its_own_people_and_misses_nobody(
    desk: Desk, happens: Callable[[Person], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of forty people four are planned: what they are told, why one goes, who may no longer be told is asked about them alone."""
    asked_about: list[str] = []
    narrowed = People.narrowed
    monkeypatch.setattr(
        People, "narrowed", lambda self, select, query: asked_about.append(self.keys.sql("spark")) or narrowed(self, select, query)
    )
    crowd = [somebody(f"p{number:02}", email=f"p{number:02}@example.org") for number in range(40)]
    write(desk.engine, crowd)
    desk.apply(desk.plan())
    assert (len(desk.held()), asked_about) == (40, [])
    for person in crowd[:3]:
        person.row["given_name"] = "New"
    happens(crowd[3])
    write(desk.engine, crowd)
    plan = desk.plan()
    assert (plan.counts["change"], plan.counts["remove"], sum(left_out(plan).values())) == (3, 1, 1)
    happens(crowd[0])
    write(desk.engine, crowd)
    run = desk.apply(plan)
    assert (run.withheld, run.delivered, len(desk.held())) == (1, 3, 39)
    assert {row["first_name"] for row in desk.channel.rows.values()} == {"New", crowd[9].row["given_name"]}
    assert sum(row["first_name"] == "New" for row in desk.channel.rows.values()) == 2
    assert [found.split(" AS ", 1)[0] for found in asked_about] == ["SELECT d.h0", *["SELECT known._subject"] * 2]
    assert {row["reason"] for row in revocations(Control(desk.engine, desk.control))} == set(left_out(plan))


def test_who_may_be_told_is_asked_again_only_where_something_has_changed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither tables nor moments: a consent that ends between plan and apply ends, in a table that nobody has touched."""
    asked_again: list[str] = []
    monkeypatch.setattr(withheld, "kept_out", lambda query, people=None: asked_again.append(query.sync.name) or kept_out(query, people))
    ann, bob = somebody("a", email="ann@example.org"), somebody("b", email="bob@example.org")
    ann.consents[0]["expires_at"] = NOW + dt.timedelta(minutes=10)
    write(desk.engine, [ann, bob])
    plan = desk.plan()
    assert (desk.apply(plan).delivered, asked_again) == (2, [])
    ann.row["given_name"] = bob.row["given_name"] = "New"
    write(desk.engine, [ann, bob])
    plan = desk.plan()
    desk.now = NOW + dt.timedelta(minutes=11)
    run = desk.apply(plan)
    assert (run.delivered, run.withheld, asked_again) == (1, 1, ["mails"])
    desk.apply(desk.plan())
    assert desk.held() == {"bob@example.org"}
    bob.row["given_name"] = "Newer"
    write(desk.engine, [ann, bob])
    plan = desk.plan()
    write(desk.engine, [ann, bob])
    asked_again.clear()
    assert (desk.apply(plan).delivered, asked_again) == (1, ["mails"])


def test_a_run_is_skipped_until_a_consent_ends_though_nobody_touches_its_table(desk: Desk) -> None:
    """What `unchanged` says of a query as governance compiles it, in which one node may stand in several places."""
    ann, bob = somebody("a", email="ann@example.org"), somebody("b", email="bob@example.org")
    ann.consents[0]["expires_at"] = NOW + dt.timedelta(minutes=10)
    write(desk.engine, [ann, bob])
    plan = desk.plan()
    desk.apply(plan)
    for minutes, skipped in ((5, True), (9, True), (11, False)):
        desk.now = NOW + dt.timedelta(minutes=minutes)
        query, as_of = desk.governed(plan.as_of), plan.as_of
        today = basis(query, desk.engine, now=desk.now, as_of=as_of, defaults=None)
        assert (unchanged.since(Control(desk.engine, desk.control), query, today) is not None) == skipped, minutes
    desk.apply(desk.plan())
    assert desk.held() == {"bob@example.org"}


def test_a_parent_is_not_told_once_the_child_is_of_age(desk: Desk) -> None:
    """Attacks 33 and 34: planned on the eve of the birthday, applied on the day."""
    desk.sync = "parents"
    child = somebody("a", birth_date=dt.date(2008, 7, 3))
    child.has_guardian, child.guardian_email = True, "parent@example.org"
    write(desk.engine, [child])
    plan = desk.plan()
    assert (plan.counts["add"], left_out(plan)) == (1, {})
    desk.now += dt.timedelta(hours=13)
    run = desk.apply(plan)
    assert (run.delivered, run.withheld, desk.channel.rows) == (0, 1, {})


def test_a_request_for_confidential_communication_takes_the_place_of_the_address_on_file(desk: Desk) -> None:
    """Attack 34: 45 CFR 164.522(b). The number on file does not leave beside the address that was asked for."""
    ann = somebody("a", email="ann@example.org")
    ann.requests = [
        {"id": "1", "channel": "sms", "value": "+1-617-555-0111", "active": True, "asked_at": NOW - dt.timedelta(days=9)},
        {"id": "2", "channel": "email", "value": "private@example.org", "active": True, "asked_at": NOW - dt.timedelta(days=2)},
    ]
    write(desk.engine, [ann])
    desk.apply(desk.plan())
    (row,) = desk.channel.rows.values()
    assert (row["email"], row["phone"]) == ("private@example.org", None)


def test_an_earlier_day_revives_no_consent(desk: Desk) -> None:
    """Attack 28: --as-of is for segments; who may be told is asked now."""
    ann = somebody("a")
    _revokes(ann)
    write(desk.engine, [ann])
    assert left_out(desk.plan(as_of="2026-06-20")) == {"no_consent": 1}


def test_a_row_of_tomorrow_does_not_make_a_stale_table_fresh(desk: Desk) -> None:
    """Attack 29."""
    ann = somebody("a")
    ann.consents[0]["recorded_at"] = NOW + dt.timedelta(hours=1)
    write(desk.engine, [ann], recorded=NOW - dt.timedelta(hours=27))
    with pytest.raises(DataError, match=r"crm\.consents was last recorded 27 hours ago"):
        desk.plan()


def test_a_stale_or_empty_table_is_no_reason_to_remove_everybody(desk: Desk) -> None:
    """Attack 29: at plan and at apply; nobody is taken off meanwhile."""
    write(desk.engine, [somebody("a"), somebody("b", email="bob@example.org")])
    desk.apply(desk.plan())
    write(desk.engine, [somebody("a", given_name="Anna")])
    plan = desk.plan()
    write(desk.engine, [somebody("a", given_name="Anna")], recorded=NOW - dt.timedelta(days=3))
    for attempt in (desk.plan, lambda: desk.apply(plan)):
        with pytest.raises(DataError, match="consent older than 26 hours is not used"):
            attempt()
    desk.engine.execute("DELETE FROM crm.consents")
    for attempt in (desk.plan, lambda: desk.apply(plan)):
        with pytest.raises(DataError, match="no consent is known"):
            attempt()
    assert len(desk.channel.rows) == 2


@pytest.mark.parametrize("table", ["crm.restrictions", "crm.requests", "crm.suppressions", "crm.consents"])
def test_a_table_that_a_rule_needs_and_that_is_not_there_refuses_by_name(engine: Engine, tmp_path: Path, table: str) -> None:
    """Attack 29: what is not loaded is not nothing."""
    write(engine, [somebody("a")])
    engine.drop(table)
    desk = Desk(engine, Governor.of(load(project_at(tmp_path))), tmp_path)
    with pytest.raises(DataError, match=table):
        desk.plan()
    write(engine, [])
