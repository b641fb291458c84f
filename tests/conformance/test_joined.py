"""The short way to what differs (`diff.joined`) against the long one (`diff.changes`): the same rows, or it says that it does not count."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from cdp.connectors.base import Receipts
from cdp.engine import Engine
from cdp.sync import diff, state
from cdp.sync.hash_key import HashKey
from tests.conformance.world import World, nonzero, patient, people

ROUNDS = 4


def _people(random_: random.Random, *, twice: bool) -> list[dict[str, Any]]:
    """Some are left out, have no key or no number; with `twice` several have one key."""
    numbers = random_.sample(range(1, 60), 30)
    rows = []
    for number in numbers:
        row = patient(number, consent=random_.random() < 0.8, deceased=random_.random() < 0.1)
        row["patient_id"] = None if random_.random() < 0.05 else row["patient_id"]
        row["visits"] = None if random_.random() < 0.1 else number
        rows.append(row)
    if twice:
        rows += [dict(row, email=random_.choice([row["email"], "other@example.org"])) for row in random_.sample(rows, 5)]
    return rows


@pytest.mark.parametrize("key", ["patient_id", "visits"])
def test_both_ways_give_the_same(engine: Engine, tmp_path: Path, key: str) -> None:
    random_, counted, not_counted = random.Random(7), 0, 0
    for turn in range(ROUNDS):
        world = World.fresh(engine, tmp_path, keys=(key,), values=("email", "score"))
        world.load(_people(random_, twice=False))
        query = world.governed()
        types = engine.types(query.select)
        changed = "WHEN pmod(seq, 7) = 0 THEN NULL WHEN pmod(seq, 5) = 0 THEN m.content + 1 ELSE m.content"
        numbered = f"SELECT *, ROW_NUMBER() OVER (ORDER BY key) AS seq FROM ({diff.members(query, types)}) AS m WHERE key IS NOT NULL"
        told = "CASE WHEN pmod(seq, 3) = 0 THEN 'old' ELSE 't1' END AS told"
        held = f"SELECT key, CASE {changed} END AS content, seq, {told} FROM ({numbered}) AS m"
        table = f"{world.schema}.held"
        engine.create_as(table, held)
        world.load(_people(random_, twice=turn % 2 == 1))  # other people: some are new, some are gone
        query, acknowledged = world.governed(), f"SELECT * FROM {table}"
        nothing = ", ".join(f"CAST(NULL AS {kind}) AS {name}" for name, kind in state.ATTEMPT.items() if name != "acked")
        doubtful = f"SELECT s.*, s.content IS NOT NULL AS acked, {nothing} FROM {table} AS s"
        holds = engine.value(f"SELECT COUNT(content) FROM {table}")
        for mode in ("keep", "resend", "remove"):
            short = engine.query(diff.joined(query, types, acknowledged, state.outdated("t1"), mode)).to_pylist()
            exact = diff.changes(diff.members(query, types), doubtful, state.outdated("t1"), mode, HashKey.of(query, types))
            long = engine.query(exact).to_pylist()
            pairs = sum(max(row["n"], 1) for row in short if row["held"])
            if pairs == holds:
                counted += 1
                assert _sorted(row for row in short if row["op"] != "same") == _sorted(long)
            else:
                not_counted += 1
                assert turn % 2 == 1, "nobody has another's key"
    assert counted
    assert not_counted


def _sorted(rows: Any) -> list[tuple[str, ...]]:
    return sorted(tuple(str(row[name]) for name in ("op", "h0", "h1", "left_out", "content", "base", "link", "n", "held")) for row in rows)


@pytest.mark.parametrize("alike", [0, 1])
def test_one_hash_alone_tells_no_keys_apart(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alike: int) -> None:
    """Texts that are alike in one of their hashes are other keys all the same, in the diff, in the plan's rows and in what is taken off."""
    values = HashKey.values

    def few(self: HashKey, key: str) -> tuple[str, ...]:
        return tuple(f"PMOD({each}, 3)" if i == alike else each for i, each in enumerate(values(self, key)))

    monkeypatch.setattr(HashKey, "values", few)
    world = World.fresh(engine, tmp_path)
    crowd = people(30)
    world.load(crowd)
    world.sync()
    rest = {number: row for number, row in crowd.items() if number % 3}
    next(iter(rest.values()))["email"] = "new@example.org"
    world.load(rest)
    plan, _ = world.sync()
    assert nonzero(plan.counts) == {"change": 1, "remove": len(crowd) - len(rest), "unchanged": len(rest) - 1}
    assert {key for (key,) in world.channel.rows} == {row["patient_id"] for row in rest.values()}


@pytest.mark.parametrize("doubtful", [False, True])
def test_keys_of_another_form_that_were_taken_off_stand_in_nobodys_way(engine: Engine, tmp_path: Path, doubtful: bool) -> None:
    """A sync whose key becomes an integer when everybody was taken off: what is remembered of the old keys is none, or another text."""
    world = World.fresh(engine, tmp_path, keys=("visits",), values=("email",))
    query = world.governed().select.sql("spark")
    for old in ("'007'", "'7'", "'p007'", "' 7'"):
        world.select = query.replace("visits AS `visits`", f"{old} AS `visits`")
        world.load({7: patient(7)})
        world.sync()
        world.load({7: patient(7, member=False)})
        assert nonzero(world.sync()[0].counts) == {"remove": 1}
    world.select = ""
    world.load({7: patient(7), 8: patient(8)})
    if doubtful:
        world.channel.answers = [lambda batch: Receipts.all(len(batch), "retryable", "timeout")]
        world.sync()
    plan, _ = world.sync()
    assert nonzero(plan.counts) == {"add": 2}
    assert set(world.channel.rows) == {(7,), (8,)}
    assert nonzero(world.plan().counts) == {"unchanged": 2}


def test_the_same_number_as_another_type_is_another_value(engine: Engine, tmp_path: Path) -> None:
    """The channel holds `true`, a day, a moment, a number: what a hash says of all of them is a number."""
    world = World.fresh(engine, tmp_path, values=("active", "born", "seen", "balance"))
    world.load({2: patient(2)})
    world.sync()
    query, before = world.governed().select.sql("spark"), dict(world.channel.rows)
    for name, other in {
        "active": "CASE WHEN active THEN 1 ELSE 0 END",
        "born": "DATEDIFF(born, DATE '1970-01-01')",
        "seen": "UNIX_MICROS(seen)",
        "balance": "CAST(balance AS STRING)",
    }.items():
        world.select = query.replace(f"{name} AS `{name}`", f"{other} AS `{name}`")
        assert world.select != query
        plan, _ = world.sync()
        assert nonzero(plan.counts) == {"change": 1}, name
        assert world.channel.rows["p002",][name] is not before["p002",][name]
        world.select = ""
        assert nonzero(world.sync()[0].counts) == {"change": 1}
    assert nonzero(world.plan().counts) == {"unchanged": 1}
