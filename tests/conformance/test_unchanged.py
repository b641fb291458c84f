"""A run is skipped only when nothing has changed that could make it send something: each thing that may, alone, on the embedded engine."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from cdp.compile import sql
from cdp.connectors.base import Batch, Receipts
from cdp.engine import Engine, maintenance
from cdp.errors import DataError
from cdp.governance.query import GovernedQuery
from cdp.spec.activation import Guards
from cdp.sync import unchanged
from cdp.sync.basis import Basis, basis
from cdp.sync.history import list_runs, run_detail
from cdp.sync.ledger import Control
from tests.conformance.maintenance import a_day_later, folder_of, in_use
from tests.conformance.world import NOW, World, patient, people

MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
def world(engine: Engine, tmp_path: Path) -> World:
    made = World.fresh(engine, tmp_path)
    made.load(people(4))
    return made


def rests(world: World, query: GovernedQuery) -> Basis | None:
    return basis(query, world.engine, now=world.now, as_of=world.now, defaults=None)


def ran(world: World) -> str:
    """A whole run; its name."""
    world.now += MINUTE  # the moment that `plan` goes on to
    found = rests(world, world.governed())
    world.now -= MINUTE
    return world.apply(world.plan(basis=found)).run


def since(world: World, query: GovernedQuery | None = None) -> str | None:
    """Since which run nothing has changed, as the next run finds it."""
    world.now += MINUTE
    query = query or world.governed()
    found = unchanged.since(Control(world.engine, world.control), query, rests(world, query))
    return found.run if found else None


def test_files_that_were_merged_since_are_no_change(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "FILES", 2)
    control, last = Control(world.engine, world.control), ""
    for number in range(3):
        world.load(people(5 + number))
        last = ran(world)
    for name in ("receipts", "disclosures", "runs", "plans"):
        folder = folder_of(world.engine, control.table(name))
        before = in_use(folder)
        a_day_later(folder)
        control.maintain("letters")
        assert in_use(folder) < before, name
    assert since(world) == last


def test_a_run_after_a_clean_one_is_skipped_on_record_and_counts_from_there(world: World) -> None:
    assert since(world) is None  # there was none
    first = ran(world)
    assert since(world) == first
    second = ran(world)  # planned all the same, and it found nothing
    control, query = Control(world.engine, world.control), world.governed()
    found = unchanged.since(control, query, rests(world, query))
    assert found is not None
    assert found.run == second
    world.now += MINUTE
    skipped = unchanged.skip(control, query, found, world.now)
    assert since(world) == second
    newest = list_runs(world.engine, world.control)[0]
    assert (newest["run"], newest["status"], newest["planned"], newest["delivered"]) == (skipped, "nothing", 0, 0)
    detail = run_detail(world.engine, world.control, skipped)
    assert (detail["unchanged_since"], detail["error"], detail["plan"]) == (second, None, found.plan)


def test_what_governance_says(world: World) -> None:
    first = ran(world)
    for change in (
        {"fingerprint": "f2"},
        {"told": "t2"},
        {"mode": "upsert"},
        {"values": world.values[:-1]},
        {"guards": Guards(empty="refuse")},
        {"account": "another"},
        {"removals": "left"},
        {"name": "others"},
        {"lookups": ((f"{world.schema}.patients", ("patient_id",)),)},
        {"select": f"SELECT patient_id AS _subject, CAST(NULL AS STRING) AS _rule, * FROM {world.schema}.patients"},
    ):
        other = dataclasses.replace(world, now=world.now, **change)
        assert since(other) is None, change
    assert since(world) == first


def _again(world: World) -> None:
    world.load(people(4))  # the same rows: the same number of commits, another table


def _one_more(world: World) -> None:
    world.engine.append(f"{world.schema}.consent", pa.table({"recorded": pa.array([NOW], pa.timestamp("us", "UTC"))}))


def _deleted(world: World) -> None:
    world.engine.execute(f"DELETE FROM {world.schema}.patients WHERE patient_id = 'p002'")


def _another_run(world: World) -> None:
    row = {"sync": "letters", "run": "r", "n": 0, "plan": "p", "status": "running", "at": world.now, "planned": 3, "delivered": 0}
    Control(world.engine, world.control).append("runs", [row])


def _from_elsewhere(world: World) -> None:
    row = {"sync": "letters", "key": "p001", "subject": "p001", "op": "remove", "status": "delivered", "seq": 1 << 60, "at": world.now}
    Control(world.engine, world.control).append("receipts", [row])


def _rejected(world: World) -> None:
    clinic = people(4)
    clinic[5] = patient(5)
    world.load(clinic)
    world.channel.answers = [lambda batch: Receipts.all(len(batch), "rejected")]
    ran(world)


def _no_log(world: World) -> None:
    folder = world.engine.folder(f"{world.schema}.patients")
    assert folder is not None
    shutil.rmtree(folder / "_delta_log")


def test_tables_and_state(world: World) -> None:
    for change in (_again, _one_more, _deleted, _another_run, _rejected, _from_elsewhere):
        first = ran(world)
        assert since(world) == first, change
        change(world)
        assert since(world) is None, change


def test_receipts_that_are_gone_are_no_quiet_nothing(world: World) -> None:
    ran(world)
    world.engine.execute(f"DELETE FROM {world.control}.receipts WHERE sync = 'letters'")
    with pytest.raises(DataError, match="receipts that a run counted are gone"):
        since(world)


def test_a_table_of_which_no_version_is_known(world: World) -> None:
    ran(world)
    _no_log(world)
    assert since(world) is None


LEAVES = (
    ({}, True),
    ({"counts": {"skipped": 1, "invalid": 2, "unchanged": 3}}, True),
    ({"counts": {"held_back": 1}}, False),
    ({"counts": {"whatever_comes_later": 1}}, False),
    ({"guards": [{"guard": "max_add", "limit": "1", "found": 2}]}, False),
    ({"refusals": [{}]}, False),
    ({"removals": "left"}, False),
    ({"basis": None}, False),
)


def test_a_plan_that_leaves_something_to_a_later_one(world: World) -> None:
    ran(world)
    control = Control(world.engine, world.control)
    plans = control.table("plans")
    (row,) = world.engine.query(f"SELECT * FROM {plans} WHERE event = 'created'").to_pylist()
    for change, skipped in LEAVES:
        world.engine.execute(f"DELETE FROM {plans} WHERE event = 'created'")
        control.append("plans", [{**row, "body": json.dumps({**json.loads(row["body"]), **change})}])
        assert (since(world) is not None) is skipped, change


def test_moments_that_pass_a_row_and_consent_that_grows_old(world: World) -> None:
    clinic = people(2)
    clinic[1]["seen"] = NOW + dt.timedelta(minutes=30)
    world.load(clinic, recorded=NOW)

    def governed() -> GovernedQuery:
        moment = sql.timestamp_literal(world.now).sql("spark")
        table, rule = f"{world.schema}.patients", "CAST(NULL AS STRING) AS _rule"
        columns = ", ".join(f"p.{name}" for name in (*world.keys, *world.values))
        world.select = f"SELECT p.patient_id AS _subject, {rule}, {columns} FROM {table} AS p WHERE p.seen <= {moment}"
        return World.governed(world)

    world.governed = governed  # type: ignore[method-assign]
    first = ran(world)
    assert set(world.channel.rows) == {("p002",)}
    world.now = NOW + dt.timedelta(minutes=28)
    assert since(world) == first
    world.now = NOW + dt.timedelta(minutes=31)
    assert since(world) is None
    second = ran(world)
    assert set(world.channel.rows) == {("p001",), ("p002",)}
    assert since(world) == second
    late = world.now
    world.now = NOW - dt.timedelta(minutes=5)  # a clock that was set back is not believed
    assert since(world) is None
    world.now = late + dt.timedelta(hours=36)  # the consent table is older than it may be: the run has to say so
    assert since(world) is None


def test_a_batch_that_was_left_is_not_forgotten(world: World) -> None:
    def answer(batch: Batch) -> Receipts:
        return Receipts(["retryable"] + ["delivered"] * (len(batch) - 1), [None] * len(batch))

    world.channel.answers = [answer]
    ran(world)
    assert since(world) is None
    second = ran(world)
    assert since(world) == second
