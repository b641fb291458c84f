"""What is not sent now: random receipts against a slow oracle, and rows that a channel rejects told run by run."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.connectors.base import Batch, Receipts, Repeats
from cdp.engine import Engine
from cdp.spec.activation import Guards
from cdp.spec.delivery import CodeRetries, Limits, Retries, Wait
from cdp.sync import encoding, pending
from cdp.sync.allowance import Allowance
from cdp.sync.hash_key import COLUMNS, HashKey
from cdp.sync.history import list_runs
from cdp.sync.ledger import Control
from cdp.sync.ledger.disclosure import Disclosures
from cdp.sync.revocations import revocations
from cdp.testing.channel import Channel
from tests.conformance.world import NOW, World, nonzero, people

HOUR = 3600
CHANGES = pa.schema(
    [
        ("op", pa.string()),
        ("h0", pa.int64()),
        ("h1", pa.int64()),
        ("left_out", pa.string()),
        ("content", pa.int64()),
        ("base", pa.int64()),
        ("link", pa.int64()),
        ("n", pa.int64()),
        ("held", pa.bool_()),
    ]
)


@pytest.fixture
def world(engine: Engine, tmp_path: Path) -> World:
    made = World.fresh(engine, tmp_path)
    made.load(people(8))
    return made


# -- the SQL against a slow oracle --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    op: str
    key: str
    content: int | None
    link: int | None


@dataclass(frozen=True)
class Answer:
    key: str
    op: str
    content: int | None
    base: int | None
    status: str
    code: str | None
    hours: int  # ago


def verdict(change: Change, answers: Sequence[Answer], retries: Retries) -> str:
    """What becomes of a change, one rejection after the other."""
    removal = change.op == "remove"
    wait, attempts, next_try, spent = 0, 0, 0, False
    for answer in answers:
        if answer.key != change.key or answer.status != "rejected" or (answer.op == "remove") != removal or answer.base != change.link:
            continue
        if not removal and answer.content != change.content:
            continue
        attempts += 1
        own = retries.codes.get(answer.code or "", CodeRetries())
        wait = (own.wait or retries.wait).seconds
        longest = (own.longest_wait or retries.longest_wait).seconds
        for _ in range(attempts - 1):
            wait = min(2 * wait, longest)
        wait = min(wait, longest, 24 * HOUR if removal else longest)
        next_try = -answer.hours * HOUR + wait
        spent = answer.code in retries.never or attempts >= (own.attempts or retries.attempts)
    if attempts and spent and not removal:
        return "given_up"
    return "waiting" if attempts and next_try > 0 else change.op


KEYS, CODES = ("1", "2", "3"), (None, "full", "bad", "odd")
LINKS = st.sampled_from([None, 5])
UPSERTS = st.tuples(st.sampled_from(["add", "change"]), st.integers(1, 2))
OPS = st.one_of(UPSERTS, st.just(("remove", None)))
WAITS = st.builds(Wait, minutes=st.sampled_from([0, 30]), hours=st.integers(0, 40))
LONG = st.builds(Wait, days=st.integers(2, 5))
RETRIES = st.builds(
    Retries,
    attempts=st.integers(1, 6),
    wait=WAITS,
    longest_wait=LONG,
    never=st.sampled_from([[], ["bad"]]),
    codes=st.dictionaries(
        st.sampled_from(["full", "odd"]), st.builds(CodeRetries, attempts=st.none() | st.integers(1, 4), wait=st.none() | WAITS)
    ),
)


@st.composite
def answers_of(draw: st.DrawFn) -> list[Answer]:
    """Receipts in the order of their seq, which is the order of their moments."""
    hours = sorted(draw(st.lists(st.integers(0, 200), max_size=14)), reverse=True)
    statuses = st.sampled_from(["rejected", "rejected", "rejected", "delivered", "retryable"])
    found = []
    for ago in hours:
        op, content = draw(OPS)
        found.append(Answer(draw(st.sampled_from(KEYS)), op, content, draw(LINKS), draw(statuses), draw(st.sampled_from(CODES)), ago))
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(OPS, LINKS), min_size=3, max_size=3),
    answers=answers_of(),
    retries=RETRIES,
    room=st.none() | st.integers(0, 3),
    number=st.booleans(),
)
def test_the_sql_says_what_a_slow_oracle_says(
    world: World,
    changes: list[tuple[tuple[str, int | None], int | None]],
    answers: list[Answer],
    retries: Retries,
    room: int | None,
    number: bool,
) -> None:
    wanted = [Change(op, key, content, link) for key, ((op, content), link) in zip(KEYS, changes, strict=True)]
    found = judged(world, wanted, answers, retries, room, HashKey(number))
    expected = {change.key: verdict(change, answers, retries) for change in wanted}
    due = [key for key, op in found.items() if expected[key] in ("add", "change")]  # in the order of plans
    if room is not None:
        expected |= dict.fromkeys(due[room:], "carried_over")
    assert found == expected


def judged(
    world: World, changes: Sequence[Change], answers: Sequence[Answer], retries: Retries, room: int | None, hashed: HashKey
) -> dict[str, str]:
    """What the SQL says of each key, in the order of plans."""
    control, sync, now = Control(world.engine, world.control), uuid.uuid4().hex, int(NOW.timestamp() * 1e6)
    shared = {"sync": sync, "run": "r", "plan": "p", "subject": "s", "told": "t"}
    control.append(
        "receipts",
        [
            {
                **shared,
                "key": a.key,
                "op": a.op,
                "content": a.content,
                "base": a.base,
                "status": a.status,
                "code": a.code,
                "seq": seq,
                "at": NOW - dt.timedelta(hours=a.hours),
            }
            for seq, a in enumerate(answers, start=1)
        ],
    )
    listed = ", ".join(f"('{key}')" for key in KEYS)
    numbers = world.engine.query(f"SELECT key, {hashed.listed('key')}{hashed.rest} FROM (VALUES {listed}) AS k (key)").to_pylist()
    stands = {row["key"]: {name: row[name] for name in COLUMNS} for row in numbers}
    rows = [{"op": c.op, **stands[c.key], "content": c.content, "link": c.link, "base": 77, "n": 1, "held": False} for c in changes]
    rows.append({"op": "left_out", "left_out": "deceased", "n": 4, "held": False})
    world.engine.view(f"changes_{sync}", pa.Table.from_pylist(rows, schema=CHANGES))
    some = any(answer.status == "rejected" for answer in answers)
    assert pending.rejected(control, sync) == some
    holding = pending.Holding(pending.tries(control, sync, retries) if some else None, room)
    sql = pending.judged(f"changes_{sync}", holding, ("add", "change", "remove"), now, hashed)
    said = world.engine.query(f"SELECT * FROM ({sql}) AS x").to_pylist()
    assert Counter(row["was"] for row in said) == Counter(row["op"] for row in rows)
    assert [row["n"] for row in said if row["op"] == "left_out"] == [4]
    said_of = {tuple(row[name] for name in COLUMNS): row["op"] for row in said if row["op"] != "left_out"}
    ordered = f"SELECT key FROM (VALUES {listed}) AS k (key) ORDER BY {encoding.order('k.key')}, k.key"
    keys = [row["key"] for row in world.engine.query(ordered).to_pylist()]
    return {key: said_of[tuple(stands[key].values())] for key in keys}


# -- run by run ---------------------------------------------------------------------------------------------------------


def rejects(world: World, *keys: str, code: str = "mailbox_full", removals: bool = False, status: str = "rejected") -> None:
    """From now on the channel does not take these people."""

    def answer(batch: Batch) -> Receipts:
        bad = [row["patient_id"] in keys and (batch.op == "remove") == removals for row in batch.rows.to_pylist()]
        return Receipts([status if b else "delivered" for b in bad], [code if b else None for b in bad])

    world.channel.answers = [answer] * 99


def later(world: World, **span: int) -> dict[str, int]:
    """What a plan counts after some time; it is applied."""
    world.now += dt.timedelta(**span)
    world.load_consent()
    plan, _ = world.sync()
    assert plan.size == sum(n for _, n in plan.excluded) + sum(n for c, n in plan.counts.items() if c not in ("remove", "removals_waiting"))
    return nonzero(plan.counts)


def test_a_rejected_row_waits_twice_as_long_each_time_and_is_given_up_until_its_content_changes(world: World) -> None:
    world.retries = Retries(attempts=3)
    rejects(world, "p003")
    assert world.sync()[1].rejected == 1
    waiting, tried = {"waiting": 1, "unchanged": 7}, {"add": 1, "unchanged": 7}
    assert [later(world, minutes=m) for m in (0, 40, 20, 60, 60)] == [waiting, waiting, tried, waiting, tried]
    assert later(world, days=30) == {"given_up": 1, "unchanged": 7}
    assert world.sync()[1].status == "nothing"

    clinic = people(8)
    clinic[3]["email"] = "new@example.org"
    world.load(clinic, recorded=world.now)
    assert later(world) == tried  # another content starts anew
    assert later(world) == waiting
    world.channel.answers = []
    assert later(world, hours=2) == tried
    assert world.channel.rows[("p003",)]["email"] == "new@example.org"

    world.load(people(8), recorded=world.now)
    assert later(world) == {"change": 1, "unchanged": 7}  # what it was given up for is forgotten: the channel took something since


def test_what_is_sent_again_is_todays_data_under_todays_consent(world: World) -> None:
    world.retries = Retries()
    rejects(world, "p003", "p004")
    world.sync()
    clinic = people(8)
    clinic[3]["consent"] = False
    clinic[4]["given_name"] = "Renamed"
    world.load(clinic, recorded=world.now)
    world.channel.answers = []
    assert later(world) == {"add": 1, "unchanged": 6}
    assert world.channel.rows[("p004",)]["given_name"] == "Renamed"
    assert ("p003",) not in world.channel.rows


def test_a_code_of_never_is_not_tried_again_until_the_yaml_says_otherwise(world: World) -> None:
    world.retries = Retries(never=["invalid_email"], codes={"mailbox_full": CodeRetries(wait=Wait(minutes=10))})
    rejects(world, "p003", code="invalid_email")
    world.sync()
    rejects(world, "p005")
    clinic = people(8)
    clinic[5]["email"] = "full@example.org"
    world.load(clinic)
    world.sync()
    assert later(world) == {"given_up": 1, "waiting": 1, "unchanged": 6}
    assert later(world, minutes=10) == {"given_up": 1, "change": 1, "unchanged": 6}
    world.retries = Retries()
    assert later(world, hours=1) == {"add": 1, "waiting": 1, "unchanged": 6}


def test_no_answer_is_no_rejection(world: World) -> None:
    world.retries = Retries(attempts=1)
    rejects(world, "p003", code="timeout", status="retryable")
    for _ in range(3):
        assert world.sync()[1].retryable == 1
    assert later(world) == {"add": 1, "unchanged": 7}


def test_a_removal_is_never_given_up_and_waits_a_day_at_most(world: World) -> None:
    world.retries = Retries(attempts=1, wait=Wait(days=3), never=["not_allowed"])
    world.sync()
    clinic = people(8)
    clinic[2]["consent"] = False
    world.load(clinic)
    rejects(world, "p002", code="not_allowed", removals=True)
    assert later(world) == {"remove": 1, "unchanged": 7}
    assert later(world, hours=22) == {"removals_waiting": 1, "unchanged": 7}
    assert later(world, hours=2) == {"remove": 1, "unchanged": 7}
    assert [each["state"] for each in revocations(Control(world.engine, world.control))] == ["open"]
    world.channel.answers = []
    assert later(world, hours=25) == {"remove": 1, "unchanged": 7}
    assert ("p002",) not in world.channel.rows
    assert later(world) == {"unchanged": 7}
    assert [each["state"] for each in revocations(Control(world.engine, world.control))] == ["done"]


def test_a_long_wait_that_is_doubled_often_is_the_longest_one(world: World) -> None:
    """A removal is never given up: after a month and a half of rejections its wait, doubled each time, would be no BIGINT."""
    world.retries = Retries(wait=Wait(days=366), longest_wait=Wait(days=366))
    world.sync()
    control = Control(world.engine, world.control)
    tries = pending.tries(control, "letters", world.retries)
    told = {"sync": "letters", "key": "p001", "subject": "p001", "op": "remove", "status": "rejected", "at": world.now}
    control.append("receipts", [{**told, "seq": 1 + n} for n in range(50)])
    (trail,) = world.engine.query(tries).to_pylist()
    assert (trail["attempts"], trail["next"]) == (50, int(world.now.timestamp() * 1e6) + pending.REMOVAL_SECONDS * 1_000_000)


def test_who_is_removed_to_be_told_anew_stays_a_member_while_the_removal_waits(world: World) -> None:
    world.retries, world.when_changed = Retries(), "remove"
    world.sync()
    world.told = "t2"
    rejects(world, "p002", removals=True)
    assert later(world) == {"remove": 8, "held_back": 8}
    assert later(world) == {"add": 7, "removals_waiting": 1, "held_back": 1}
    world.channel.answers = []
    assert later(world, hours=1) == {"remove": 1, "unchanged": 7, "held_back": 1}
    assert later(world) == {"add": 1, "unchanged": 7}


def test_a_plan_with_nothing_to_send_does_not_ask_what_is_pending(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.limits = Limits(rows_per_day=100)
    world.sync()
    monkeypatch.setattr(pending, "rejected", lambda *_: pytest.fail("asked"))
    monkeypatch.setattr(Allowance, "room", lambda *_: pytest.fail("asked"))
    assert later(world) == {"unchanged": 8}
    clinic = people(9)
    world.load(clinic)
    with pytest.raises(pytest.fail.Exception):
        world.plan()


# -- a cap of rows a day ------------------------------------------------------------------------------------------------


def given_to(world: World) -> list[str]:
    """Whom the channel was told of, in this order."""
    return [row["patient_id"] for batch in world.channel.batches if batch.op == "upsert" for row in batch.rows.to_pylist()]


def lines(world: World) -> int:
    table = Control(world.engine, world.control).table("disclosures")
    return int(world.engine.value(f"SELECT COUNT(*) FROM {table} WHERE kind = 'line'"))


def test_what_a_days_cap_leaves_over_goes_out_on_the_next_days_in_the_order_of_plans(world: World) -> None:
    free = World.fresh(world.engine, world.root, channel=Channel(concurrency=1))
    free.load(people(8))
    free.sync()
    world.limits, world.channel.concurrency = Limits(rows_per_day=3), 1
    # The day is that of the project's time zone: in UTC all of the first four runs are on one.
    world.now = dt.datetime(2026, 7, 1, 21, tzinfo=ZoneInfo("America/New_York"))
    full = {"carried_over": 5, "unchanged": 3}
    assert [later(world) for _ in range(2)] == [{"add": 3, "carried_over": 5}, full]
    assert later(world, hours=2) == full
    assert later(world, hours=1) == {"add": 3, "carried_over": 2, "unchanged": 3}
    assert later(world, hours=24) == {"add": 2, "unchanged": 6}
    assert given_to(world) == given_to(free)


def test_a_cap_holds_back_no_removal_and_hides_no_change_from_a_guard(world: World) -> None:
    world.limits = Limits(rows_per_day=3)
    world.sync()
    held = sorted(key[0] for key in world.channel.rows)
    clinic = people(30)
    clinic[int(held[0][1:])]["consent"] = False
    world.load(clinic)
    world.guards = Guards(max_add=20, empty="allow")
    (violation,) = world.plan().guards
    assert (violation.guard, violation.found) == ("max_add", 22)  # five of the 27 were let go out by the first plan
    world.guards = Guards(empty="allow")
    assert later(world) == {"remove": 1, "carried_over": 27, "unchanged": 2}


def test_what_was_let_go_out_once_is_no_addition_again(world: World) -> None:
    """A first load that is spread over days, rejected in part, or cut off goes on by itself; what is new since is counted."""
    world.guards, world.retries = Guards(max_add={"share": 0.5}, empty="allow"), Retries()
    world.limits = Limits(rows_per_day=2)
    rejects(world, "p001", "p002", "p003", "p004", "p005", "p006", "p007", "p008")
    assert later(world) == {"add": 2, "carried_over": 6}
    world.channel.answers = []
    assert later(world, days=1) == {"add": 2, "carried_over": 6}
    world.now += dt.timedelta(days=1)
    world.load(people(9), recorded=world.now)
    assert later(world) == {"add": 2, "carried_over": 5, "unchanged": 2}  # one more is half of what the destination holds
    world.now += dt.timedelta(days=1)
    world.load(people(12), recorded=world.now)
    (violation,) = world.plan().guards
    assert (violation.guard, violation.found) == ("max_add", 3)


@pytest.mark.parametrize("repeats", ["keys", "effect"])
def test_a_plan_sends_what_the_cap_has_room_for_when_it_is_applied(world: World, repeats: Repeats) -> None:
    world.limits, world.channel.repeats = Limits(rows_per_day=5), repeats
    others = replace(world, name="others", channel=Channel(repeats=repeats), select=few(world, 3))
    first, second = world.plan(), others.plan()
    assert (first.counts["add"], second.counts["add"]) == (5, 3)
    others.now = world.now
    assert others.apply(second).delivered == 3
    run = world.apply(first)
    assert (run.delivered, run.carried_over, run.retryable, run.status) == (2, 3, 0, "succeeded")
    assert list_runs(world.engine, world.control, sync="letters", limit=1)[0]["carried_over"] == 3
    assert (len(world.channel.rows), lines(world)) == (2, 5)
    assert later(world) == {"carried_over": 6, "unchanged": 2}
    assert later(world, days=1)["add"] == 5


def few(world: World, count: int) -> str:
    """A query of the first people only."""
    columns = ", ".join((*world.keys, *world.values))
    named = f"SELECT patient_id AS _subject, CAST(NULL AS STRING) AS _rule, {columns} FROM {world.schema}.patients"
    return f"{named} WHERE patient_id <= 'p{count:03}'"


def test_two_syncs_side_by_side_do_not_exceed_the_cap_together(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both would count before the other has committed, if they did not take turns."""
    world.limits = Limits(rows_per_day=5)
    others = replace(world, name="others", channel=Channel())
    plans = [(each, each.plan()) for each in (world, others)]
    assert [plan.counts["add"] for _, plan in plans] == [5, 5]
    write = Disclosures.write

    def slowly(self: Disclosures, *args: Any) -> int:
        time.sleep(0.5)
        return write(self, *args)

    monkeypatch.setattr(Disclosures, "write", slowly)
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda pair: pair[0].apply(pair[1]), plans))
    assert sorted((run.delivered, run.carried_over) for run in runs) == [(0, 5), (5, 0)]
    assert lines(world) == 5
