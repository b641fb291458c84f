"""The ground moves under a run: a disk that is full at each commit, tables that change or are lost, clocks that jump."""

from __future__ import annotations

import datetime as dt
import functools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cdp.engine import Engine, connect, sail
from cdp.errors import CdpError, ConflictError, DataError, EngineError, StaleError
from cdp.spec.activation import Environment
from cdp.sync import lease, state
from cdp.sync.ledger import Control
from cdp.sync.ledger.verify import verify
from tests.conformance.world import NOW, World, patient, people

WRITES = ("create", "create_as", "append_parts", "execute")


@pytest.fixture
def world(engine: Engine, tmp_path: Path) -> World:
    made = World.fresh(engine, tmp_path)
    made.load(people(8))
    return made


def ids(world: World) -> set[str]:
    return {key[0] for key in world.channel.rows}


# -- a full disk -------------------------------------------------------------------------------------------------------


@contextmanager
def full_from(engine: Engine, commit: int, patch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The disk is full from the commit of this number on; gives the tables of all commits. What only reads goes on."""
    tables = list[str]()

    def limited(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(first: Any, *args: Any, **more: Any) -> Any:
            reads = method.__name__ == "execute" and not str(first).lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE", "MERGE"))
            if reads or (method.__name__ == "create" and engine.exists(first)):
                return method(first, *args, **more)
            tables.append(str(more.get("what") or first).rpartition(".")[2].partition("_")[0])
            if len(tables) > commit:
                raise EngineError(f"{tables[-1]}: no space left", fix="free the disk, then run again")
            return method(first, *args, **more)

        return call

    with patch.context() as patched:
        for name in WRITES:
            patched.setattr(engine, name, limited(getattr(engine, name)))
        yield tables


def test_a_disk_that_is_full_at_any_commit_of_a_run_loses_nothing_and_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planning, the plan, the lease, intents, receipts, folding, the end: each fails once, and the next run goes on."""
    control, turns = Control(world.engine, world.control), iter(range(1000))
    monkeypatch.setattr(state, "fold", partial(state.fold, rows=0, share=0))
    clinic = people(8)

    def moved() -> None:
        """Each run has somebody to add or to take off, and somebody to change."""
        turn = next(turns)
        clinic[1]["email"], clinic[2]["member"] = f"{turn}@example.org", turn % 2 == 0
        world.now += dt.timedelta(minutes=10)  # a lease that could not be given back has ended
        world.load(clinic, recorded=world.now)

    world.sync()
    moved()
    with full_from(world.engine, 1000, monkeypatch) as commits:
        world.sync()
    firsts = {name: place for place, name in reversed(list(enumerate(commits)))}
    lasts = {name: place for place, name in enumerate(commits)}
    assert {"plan", "plans", "leases", "runs", "disclosures", "receipts", "synced"} <= set(commits), commits
    for commit in sorted({*firsts.values(), *lasts.values()}):
        moved()
        with full_from(world.engine, commit, monkeypatch) as failed:
            said = attempt(world)
        assert len(failed) > commit
        assert not said or "no space left" in said
        assert lines_told(world) <= sum(checked.lines for checked in verify(control))
        moved()
        world.sync()
        assert ids(world) == {row["patient_id"] for row in clinic.values() if row["member"]}, commits[commit]
        assert world.channel.rows[("p001",)]["email"] == clinic[1]["email"]


def attempt(world: World) -> str:
    """A sync; what it says when it fails."""
    try:
        world.sync()
    except EngineError as error:
        return error.message
    return ""


def lines_told(world: World) -> int:
    """Rows that were put on the wire."""
    return sum(len(batch) for batch in world.channel.batches)


# -- the sources -------------------------------------------------------------------------------------------------------


def drop(world: World) -> None:
    world.engine.drop(f"{world.schema}.patients")


def without_a_column(world: World) -> None:
    table = f"{world.schema}.patients"
    columns = ", ".join(column for column in world.engine.columns(table) if column != "consent")
    rows = world.engine.query(f"SELECT {columns} FROM {table}")
    kinds = {name: kind for name, kind in world.engine.columns(table).items() if name != "consent"}
    world.engine.drop(table)
    world.engine.create(table, kinds)
    world.engine.append(table, rows)


def files_taken_away(world: World) -> None:
    folder = world.engine.folder(f"{world.schema}.patients")
    assert folder
    for file in folder.glob("*.parquet"):
        file.unlink()


@pytest.mark.parametrize("move", [drop, without_a_column, files_taken_away])
def test_a_source_that_went_between_plan_and_apply_stops_it_by_name_and_it_goes_on_when_that_is_mended(
    world: World, move: Callable[[World], None]
) -> None:
    clinic = people(8) | {9: patient(9, consent=False)}
    world.load(clinic)
    plan = world.plan(basis=None)  # of files that went without a commit the log says nothing: who asks nobody again does not miss them
    move(world)
    with pytest.raises((DataError, EngineError)) as caught:
        world.apply(plan)
    assert "patients" in caught.value.message or "column" in caught.value.message
    assert caught.value.fix
    assert world.channel.batches == []
    world.load(clinic)
    assert world.apply(plan).delivered == 8


def test_a_source_that_was_replaced_between_plan_and_apply_is_not_sent_but_says_who_may_be_told(world: World) -> None:
    plan = world.plan()
    clinic = people(9)
    clinic[1]["email"], clinic[2]["consent"] = "new@example.org", False
    world.load(clinic)
    run = world.apply(plan)
    assert (run.delivered, run.withheld) == (7, 1)
    assert world.channel.rows[("p001",)]["email"] == "p1@example.org"  # what was planned, looked at and approved
    assert world.sync()[0].counts["change"] == 1
    assert ids(world) == {f"p00{n}" for n in (1, 3, 4, 5, 6, 7, 8, 9)}


def test_a_key_column_of_the_source_that_is_renamed_changes_nothing_at_the_destination(world: World) -> None:
    world.values = ("email",)
    world.sync()
    table = f"{world.schema}.patients"
    world.select = f"SELECT person_id AS _subject, CAST(NULL AS STRING) AS _rule, person_id AS patient_id, email FROM {table}"
    with pytest.raises((DataError, EngineError), match="column"):
        world.plan()
    rows = world.engine.query(f"SELECT patient_id AS person_id, email, consent, deceased FROM {table}")
    world.engine.drop(table)
    world.engine.create(table, {"person_id": "string", "email": "string", "consent": "boolean", "deceased": "boolean"})
    world.engine.append(table, rows)
    counts = world.plan().counts
    assert (counts["unchanged"], counts["add"], counts["change"], counts["remove"]) == (8, 0, 0, 0)


def test_a_key_that_the_destination_knows_by_another_name_cannot_take_off_what_it_holds(world: World) -> None:
    world.values = ("email",)
    world.sync()
    world.keys = ("contact_id",)
    world.select = (
        f"SELECT patient_id AS _subject, CAST(NULL AS STRING) AS _rule, patient_id AS contact_id, email FROM {world.schema}.patients"
    )
    with pytest.raises(DataError, match=r"named by another key \(patient_id, string; now contact_id, string\)"):
        world.plan()


# -- the clock ---------------------------------------------------------------------------------------------------------


def test_a_clock_that_jumped_forward_sends_nothing_and_leaves_nothing_in_the_way(world: World) -> None:
    world.sync()
    world.load(people(9))
    plan, right = world.plan(), world.now
    world.now = NOW + dt.timedelta(days=3)
    for act, error in ((world.plan, "consent older than"), (lambda: world.apply(plan), "holds for 24 hours")):
        with pytest.raises(CdpError, match=error) as caught:
            act()
        assert caught.value.fix
    assert len(world.channel.rows) == 8
    world.now = right
    assert world.apply(plan).delivered == 1


# -- the control tables ------------------------------------------------------------------------------------------------


def test_without_the_table_of_leases_receipts_are_numbered_on(world: World) -> None:
    """Of each key the newest receipt counts: one with a lower number than those before would count for nothing."""
    control = Control(world.engine, world.control)
    for turn in range(2):
        world.load(people(8 + turn))
        world.sync()
    before = state.known(control, "letters").last
    world.engine.drop(f"{world.control}.leases")
    world.load({1: patient(1, email="new@example.org")})
    world.sync()
    assert state.known(control, "letters").last > before
    assert world.sync()[1].status == "nothing"
    assert lease.acquire(control, "letters", lambda: world.now).token > before >> lease.TOKEN_BITS


@pytest.mark.parametrize("table", ["receipts", "disclosures", "plans", "runs", "leases"])
def test_a_control_table_of_which_a_file_is_missing_stops_the_run_by_its_name(world: World, table: str) -> None:
    world.sync()
    folder = world.engine.folder(f"{world.control}.{table}")
    assert folder
    sent = len(world.channel.batches)
    for file in folder.glob("**/*.parquet"):
        file.unlink()
    world.load(people(9))
    with pytest.raises((DataError, EngineError), match=rf"{world.control}\.{table}|disclosure ledger|acknowledged state") as caught:
        world.sync()
    assert caught.value.fix
    assert len(world.channel.batches) == sent


def test_a_control_table_that_another_process_makes_at_the_same_moment_is_used(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = (connect(Environment(engine="sail", lakehouse="lake"), root=tmp_path) for _ in range(2))
    seen = iter([False])  # the other one commits between the look and the making
    monkeypatch.setattr(here, "exists", lambda table: next(seen, True) and Engine.exists(here, table))
    for engine in (there, here):
        Control(engine, world.control).append("runs", [{"run": engine.name, "sync": "letters"}])
    assert here.value(f"SELECT COUNT(*) FROM {world.control}.runs") == 2
    here.close()
    there.close()


def test_threads_that_open_their_first_sessions_at_once_share_one_server(monkeypatch: pytest.MonkeyPatch) -> None:
    started = list[int]()

    @functools.cache
    def server() -> tuple[object, int]:
        started.append(1)
        time.sleep(0.1)
        return sail_server

    sail_server = sail._server()
    monkeypatch.setattr(sail, "_server", server)
    with ThreadPoolExecutor(4) as pool:
        for session in pool.map(lambda _: sail.connect(lakehouse=None, catalog=None, settings={}), range(4)):
            session.close()
    assert started == [1]


@pytest.mark.parametrize("times", [1, 1000])
def test_a_table_that_is_replaced_under_a_statement_makes_a_plan_begin_again(
    world: World, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    create_as, failed = world.engine.create_as, list[str]()

    def replaced(table: str, *args: Any, **more: Any) -> None:
        if len(failed) < times:
            failed.append(table)
            raise ConflictError(f"{table}: another writer was faster", fix="run again")
        create_as(table, *args, **more)

    monkeypatch.setattr(world.engine, "create_as", replaced)
    if times > 1:
        with pytest.raises(StaleError, match="the tables changed 3 times"):
            world.plan()
        assert not [name for name in world.engine.tables(world.control) if name.startswith("plan_")]
        return
    plan = world.plan()
    assert (plan.counts["add"], len(failed)) == (8, 1)
    assert [name for name in world.engine.tables(world.control) if name.startswith("plan_")] == [f"plan_{plan.id}"]
