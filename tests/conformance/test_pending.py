"""What is not sent now: random receipts against a slow oracle, and rows that a channel rejects told run by run."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.connectors.base import Batch, Receipts
from cdp.engine import Engine
from cdp.spec.delivery import CodeRetries, Limits, Retries, Wait
from cdp.sync import encoding, pending
from cdp.sync.ledger import Control
from tests.conformance.world import NOW, World, patient, people

HOUR = 3600
CHANGES = pa.schema(
    [
        ("op", pa.string()),
        ("key", pa.string()),
        ("left_out", pa.string()),
        ("content", pa.int64()),
        ("base", pa.int64()),
        ("link", pa.int64()),
        ("n", pa.int64()),
        ("held", pa.bool_()),
    ]
)


@pytest.fixture
def world(engine: Engine, tmp_path: Path) -> Iterator[World]:
    made = World.fresh(engine, tmp_path)
    made.load(people(8))
    yield made


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


KEYS, CODES = ("a", "b", "c"), (None, "full", "bad", "odd")
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
)
def test_the_sql_says_what_a_slow_oracle_says(
    world: World, changes: list[tuple[tuple[str, int | None], int | None]], answers: list[Answer], retries: Retries, room: int | None
) -> None:
    wanted = [Change(op, key, content, link) for key, ((op, content), link) in zip(KEYS, changes, strict=True)]
    found = judged(world, wanted, answers, retries, room)
    expected = {change.key: verdict(change, answers, retries) for change in wanted}
    due = [key for key, op in found.items() if expected[key] in ("add", "change")]  # in the order of plans
    if room is not None:
        expected |= dict.fromkeys(due[room:], "carried_over")
    assert found == expected


def judged(world: World, changes: Sequence[Change], answers: Sequence[Answer], retries: Retries, room: int | None) -> dict[str, str]:
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
    rows = [{"op": c.op, "key": c.key, "content": c.content, "link": c.link, "base": 77, "n": 1, "held": False} for c in changes]
    rows.append({"op": "left_out", "left_out": "deceased", "n": 4, "held": False})
    world.engine.view(f"changes_{sync}", pa.Table.from_pylist(rows, schema=CHANGES))
    some = any(answer.status == "rejected" for answer in answers)
    assert pending.rejected(control, sync) == some
    holding = pending.Holding(pending.tries(control, sync, retries) if some else None, room)
    sql = pending.judged(f"changes_{sync}", holding, ("add", "change", "remove"), now)
    said = world.engine.query(f"SELECT * FROM ({sql}) AS x ORDER BY {encoding.order('x.key')}, x.key").to_pylist()
    assert Counter(row["was"] for row in said) == Counter(row["op"] for row in rows)
    assert [row["n"] for row in said if row["op"] == "left_out"] == [4]
    return {row["key"]: row["op"] for row in said if row["op"] != "left_out"}
