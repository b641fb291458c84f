"""Planning and applying on the embedded engine, over a tiny clinic and a channel in memory."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import hmac
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cdp.connectors.base import Batch, Receipts
from cdp.engine import Engine, connect
from cdp.engine.base import literal
from cdp.errors import BusyError, DataError, DeliveryError, EngineError, GuardError, StaleError, UsageError
from cdp.governance.query import Removals, WireMask
from cdp.spec.activation import Environment, Guards, Secret
from cdp.sync import diff, lease, recorder, state
from cdp.sync.history import list_runs, run_detail
from cdp.sync.ledger import Control
from cdp.sync.plan import load_plan
from tests.conformance.world import NOW, World, nonzero, patient, people, told


@pytest.fixture
def world(engine: Engine, tmp_path: Path) -> World:
    made = World.fresh(engine, tmp_path)
    made.load(people(8))
    return made


def ids(world: World) -> set[str]:
    return {key[0] for key in world.channel.rows}


def the(*numbers: int) -> set[str]:
    return {f"p{number:03}" for number in numbers}


# -- who is in ---------------------------------------------------------------------------------------------------------


def test_rows_without_a_key_or_with_one_that_two_people_have_are_reported_and_not_sent(world: World) -> None:
    world.keys = ("email",)
    world.values = ("given_name",)
    clinic = people(6)
    world.load(clinic)
    world.sync()
    clinic[1]["email"] = None
    clinic[2]["email"] = clinic[3]["email"]
    clinic[4]["given_name"] = "Changed"
    clinic[5]["patient_id"] = None
    world.load(clinic)
    plan, run = world.sync()
    # p1's old address is no longer wanted; p2's neither; p3's is disputed and p5's has nobody: both stay as they are.
    assert nonzero(plan.counts) == {"change": 1, "remove": 2, "unchanged": 1, "invalid": 4}
    assert plan.size == 6
    assert run.status == "succeeded"
    assert set(world.channel.rows) == {(f"p{n}@example.org",) for n in (3, 4, 5, 6)}


def test_of_two_with_one_key_only_the_one_who_may_be_told_counts(world: World) -> None:
    world.keys, world.values = ("email",), ("given_name",)
    clinic = people(2)
    clinic[2] |= {"email": clinic[1]["email"], "consent": False}
    world.load(clinic)
    plan, _ = world.sync()
    assert (plan.counts["add"], plan.counts["invalid"], plan.excluded) == (1, 0, (("deceased", 0), ("no_consent", 1)))
    assert world.channel.rows[("p1@example.org",)]["given_name"] == "N1"


@pytest.mark.parametrize(
    ("mode", "counts", "left"),
    [
        ("upsert", {"add": 1, "change": 1, "remove": 0, "unchanged": 5, "skipped": 0}, the(1, 2, 3, 4, 5, 6, 7, 8, 9)),
        ("update", {"add": 0, "change": 1, "remove": 0, "unchanged": 5, "skipped": 1}, the(1, 2, 3, 4, 5, 6, 7, 8)),
        ("insert", {"add": 1, "change": 0, "remove": 0, "unchanged": 5, "skipped": 1}, the(1, 2, 3, 4, 5, 6, 7, 8, 9)),
        ("mirror", {"add": 1, "change": 1, "remove": 2, "unchanged": 5, "skipped": 0}, the(1, 2, 3, 4, 5, 6, 9)),
    ],
)
def test_modes(world: World, mode: str, counts: dict[str, int], left: set[str]) -> None:
    world.sync()
    clinic = people(9)
    clinic[1]["email"] = "new@example.org"
    del clinic[7]
    clinic[8]["member"] = False
    world.load(clinic)
    world.mode = mode
    plan, _ = world.sync()
    assert {name: plan.counts[name] for name in counts} == counts
    assert plan.size == 7 == sum(n for name, n in plan.counts.items() if name != "remove")
    assert ids(world) == left
    assert (world.channel.rows[("p001",)]["email"] == "new@example.org") == (mode != "insert")


def test_update_sends_nobody_on_a_first_run(world: World) -> None:
    world.mode = "update"
    plan, run = world.sync()
    assert (plan.counts["skipped"], run.status, world.channel.batches) == (8, "nothing", [])


def test_mirror_leaves_alone_what_it_did_not_deliver(world: World) -> None:
    world.channel.rows[("stranger",)] = {"patient_id": "stranger"}
    world.sync()
    world.load({1: patient(1)})
    world.sync()
    assert ids(world) == the(1) | {"stranger"}


def test_a_key_of_several_columns_is_added_and_removed_typed(world: World) -> None:
    world.keys, world.values = ("born", "visits", "given_name", "active"), ("email",)
    clinic = {1: patient(1, given_name="4:x:😀"), 2: patient(2)}
    world.load(clinic)
    world.sync()
    del clinic[1]
    world.load(clinic)
    world.sync()
    removed = world.channel.batches[-1]
    assert removed.rows.to_pylist() == [{"born": dt.date(1970, 1, 2), "visits": 1, "given_name": "4:x:😀", "active": False}]
    assert removed.rows.schema.field("born").type == pa.date32()
    assert len(world.channel.rows) == 1


@pytest.mark.parametrize("column", ["email", "given_name", "born", "score", "balance", "visits", "active", "seen"])
def test_a_change_of_any_column_is_seen_to_null_and_back(world: World, column: str) -> None:
    clinic = people(2)
    before = clinic[1][column]
    world.load(clinic)
    world.sync()
    for value in (None, before):
        clinic[1][column] = value
        world.load(clinic)
        plan, _ = world.sync()
        assert (plan.counts["change"], plan.counts["unchanged"]) == (1, 1)
    assert world.channel.rows[("p001",)][column] == before


def test_a_renamed_column_is_a_change_for_all(world: World) -> None:
    query = "SELECT patient_id AS _subject, CAST(NULL AS STRING) AS _rule, patient_id, email AS `{}` FROM {}.patients"
    for name, changed in (("E-Mail, private", 0), ("mail", 8)):
        world.values, world.select = (name,), query.format(name, world.schema)
        assert world.sync()[0].counts["change"] == changed
        assert world.channel.rows[("p001",)] == {"patient_id": "p001", name: "p1@example.org"}


# -- the wire ----------------------------------------------------------------------------------------------------------


def test_wire_masks_are_put_on_values_and_keys_and_removals_carry_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PSEUDONYM_KEY", "secret")
    mask = WireMask("patient_id", Secret(env="PSEUDONYM_KEY"), 1, "mailer")
    world.masks = (mask,)
    world.sync()
    expected = hmac.new(b"secret", b"mailer/1\0p001", hashlib.sha256).hexdigest()
    assert (expected,) in world.channel.rows
    assert not ids(world) & the(*range(1, 9))
    world.load({2: patient(2)})
    world.sync()
    assert len(world.channel.rows) == 1


def test_a_new_version_takes_the_old_pseudonyms_off_the_channel(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack 4: a pseudonym that was rotated must not stay behind, and who left meanwhile is found by the old one."""
    monkeypatch.setenv("PSEUDONYM_KEY", "secret")

    def there(version: int, *numbers: int) -> set[tuple[str, ...]]:
        context = f"mailer/{version}".encode()
        return {(hmac.new(b"secret", context + f"\0p00{n}".encode(), hashlib.sha256).hexdigest(),) for n in numbers}

    world.masks = (WireMask("patient_id", Secret(env="PSEUDONYM_KEY"), 1, "mailer"),)
    world.sync()
    everybody = range(1, len(world.channel.rows) + 1)
    assert set(world.channel.rows) == there(1, *everybody)
    world.masks = (WireMask("patient_id", Secret(env="PSEUDONYM_KEY"), 2, "mailer"),)
    world.load(people(4))
    plan = world.sync()[0]
    assert (plan.counts["remove"], plan.counts["add"], plan.counts["change"]) == (len(everybody), 4, 0)
    assert set(world.channel.rows) == there(2, 1, 2, 3, 4)
    assert world.plan().counts["add"] == world.plan().counts["remove"] == 0


def test_nobody_is_taken_off_under_another_secret_than_they_were_told_by(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The channel would take the removal of somebody it never had, and who withdrew would stay there and count as gone."""
    monkeypatch.setenv("PSEUDONYM_KEY", "secret")
    world.masks = (WireMask("patient_id", Secret(env="PSEUDONYM_KEY"), 1, "mailer"),)
    world.sync()
    there = dict(world.channel.rows)
    world.load(people(4))
    monkeypatch.setenv("PSEUDONYM_KEY", "another")
    with pytest.raises(DataError, match="the secret of the mask on patient_id is not the one") as raised:
        world.sync()
    assert "another" not in str(raised.value).split("fix:")[0]
    assert world.channel.rows == there
    world.masks = (WireMask("patient_id", Secret(env="PSEUDONYM_KEY"), 2, "mailer"),)  # old pseudonyms are computed with it too
    with pytest.raises(DataError, match="the secret of the mask on patient_id is not the one"):
        world.sync()
    monkeypatch.setenv("PSEUDONYM_KEY", "secret")
    world.load([])
    world.sync()
    assert world.channel.rows == {}
    monkeypatch.setenv("PSEUDONYM_KEY", "another")
    world.load(people(4))
    assert world.sync()[1].delivered == 4


def test_a_value_gets_another_secret_with_another_version(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PSEUDONYM_KEY", "secret")
    world.masks = (WireMask("email", Secret(env="PSEUDONYM_KEY"), 1, "mailer"),)
    world.sync()
    world.load(people(9))
    monkeypatch.setenv("PSEUDONYM_KEY", "another")
    with pytest.raises(DataError, match="the secret of the mask on email is not the one"):
        world.sync()
    world.masks = (WireMask("email", Secret(env="PSEUDONYM_KEY"), 2, "mailer"),)
    assert world.sync()[1].delivered == 9


@pytest.mark.parametrize("removals", [None, "left", "kept_out", "everyone"])
def test_a_pseudonym_that_is_none_any_more_takes_nobody_off_by_what_stands_behind_it(
    world: World, monkeypatch: pytest.MonkeyPatch, removals: Removals | None
) -> None:
    """Attack 4: the state holds what the pseudonym was made of; a removal without the mask would send just that."""
    monkeypatch.setenv("PSEUDONYM_KEY", "secret")
    world.masks = (WireMask("patient_id", Secret(env="PSEUDONYM_KEY"), 1, "mailer"),)
    world.sync()
    sent = len(world.channel.batches)
    world.masks, world.removals = (), removals
    world.load([])
    with pytest.raises(DataError, match="named by another key") as raised:
        world.plan()
    assert "p001" not in str(raised.value)
    assert len(world.channel.batches) == sent


@pytest.mark.parametrize("keys", [("visits",), ("patient_id", "email")])
def test_rows_that_are_named_by_another_key_cannot_be_taken_off(world: World, keys: tuple[str, ...]) -> None:
    world.sync()
    world.keys, world.values = keys, ("born",)
    with pytest.raises(DataError, match="named by another key") as raised:
        world.plan()
    assert "p001" not in str(raised.value)


def test_what_one_receiver_holds_is_not_taken_off_at_another(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.sync()
    governed = world.governed
    other = governed().destination.model_copy(update={"name": "other"})
    monkeypatch.setattr(world, "governed", lambda: dataclasses.replace(governed(), destination=other))
    with pytest.raises(DataError, match="is at mailer, not at other"):
        world.plan()
    company = governed().agreement.model_copy(update={"name": "other_baa", "counterparty": "Other"})
    monkeypatch.setattr(world, "governed", lambda: dataclasses.replace(governed(), agreement=company))
    with pytest.raises(DataError, match="went out under mailer_baa, to another company"):
        world.plan()
    renewed = governed().agreement.model_copy(update={"name": "mailer_baa_2027"})
    monkeypatch.setattr(world, "governed", lambda: dataclasses.replace(governed(), agreement=renewed))
    assert world.plan().counts["unchanged"] == len(world.channel.rows)


def test_what_one_account_holds_is_not_taken_off_at_another(world: World) -> None:
    """The removal would be taken there, by a list that never had them; who withdrew would stay where they are, and count as gone."""
    world.sync()
    world.account = world.channel.account = "clinic-7"  # until now nobody had said which one it is
    world.load(people(9))
    world.sync()
    world.account = world.channel.account = "clinic-8"
    with pytest.raises(DataError, match="is at account clinic-7 of mailer, not at account clinic-8 of mailer"):
        world.plan()
    world.account = world.channel.account = "clinic-7"
    world.load([])
    assert world.sync()[0].counts["remove"] == 9
    world.account = world.channel.account = "clinic-8"
    world.load(people(2))
    assert world.sync()[1].delivered == 2


def test_batches_are_full_and_in_the_same_order_again_so_that_their_keys_repeat(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff, "CHUNK_ROWS", 4)
    world.load(people(30))
    world.channel.size = 7
    world.channel.answers = [lambda b: Receipts.all(len(b), "retryable", "busy")] * 5
    plan, run = world.sync()
    first = {batch.idempotency_key for batch in world.channel.batches}
    assert len(plan.chunks) > 4
    assert sorted(len(batch) for batch in world.channel.batches) == [2, 7, 7, 7, 7]
    assert (run.status, run.retryable) == ("failed", 30)
    world.channel.batches.clear()
    assert world.sync()[1].status == "succeeded"
    assert {batch.idempotency_key for batch in world.channel.batches} == first


def test_going_back_to_an_old_value_is_a_new_change(world: World) -> None:
    seen = []
    for email in ("a@example.org", "b@example.org", "a@example.org", None, "a@example.org"):
        world.load({1: patient(1, email=email)} if email else {2: patient(2)})
        world.sync()
        seen += [change for batch in world.channel.batches for change in batch.change_ids]
        world.channel.batches.clear()
    assert len(seen) == len(set(seen)) == 7


def test_a_connector_that_cannot_remove_is_found_out_before_anything_is_sent(world: World) -> None:
    world.sync()
    world.channel.batches.clear()
    world.load({1: patient(1, email="x@example.org")})
    world.channel.removes = False
    with pytest.raises(DeliveryError, match="cannot take remove rows"):
        world.sync()
    assert world.channel.batches == []


# -- what comes back ---------------------------------------------------------------------------------------------------


def test_after_any_outcome_the_next_run_sends_exactly_what_was_not_acknowledged(world: World) -> None:
    world.channel.size = 4
    outcomes = ["delivered", "rejected", "retryable", "delivered"]
    world.channel.answers = [lambda b: Receipts(outcomes, [None, "bad", "busy", None])] * 2  # type: ignore[arg-type]
    _, run = world.sync()
    assert (run.delivered, run.rejected, run.retryable, run.status) == (4, 2, 2, "partial")
    missing = the(*range(1, 9)) - ids(world)
    world.channel.batches.clear()
    _, run = world.sync()
    assert {row["patient_id"] for batch in world.channel.batches for row in batch.rows.to_pylist()} == missing
    assert run.status == "succeeded"
    first = list_runs(world.engine, world.control)[1]["run"]
    codes = {(r["status"], r["code"]): r["count"] for r in run_detail(world.engine, world.control, first)["receipts"]}
    assert codes == {("delivered", None): 4, ("rejected", "bad"): 2, ("retryable", "busy"): 2}


def test_a_code_that_could_hold_a_value_is_not_kept(world: World) -> None:
    world.channel.answers = [lambda b: Receipts.all(len(b), "rejected", "p1@example.org is on the list")]
    _, run = world.sync()
    found = world.engine.query(f"SELECT DISTINCT code FROM {world.control}.receipts WHERE status = 'rejected'").to_pylist()
    assert (found, run.rejected) == ([{"code": "unreadable_code"}], 3)


@pytest.mark.parametrize("wrong", [Receipts([], []), Receipts(["delivered"] * 9, [None] * 9), Receipts(["fine"] * 3, [None] * 3)])  # type: ignore[list-item]
def test_receipts_that_do_not_fit_end_the_run(world: World, wrong: Receipts) -> None:
    world.channel.concurrency = 1
    world.channel.answers = [lambda b: Receipts.all(len(b), "delivered"), lambda b: wrong]
    plan = world.plan()
    with pytest.raises(DeliveryError, match="receipts that do not fit"):
        world.apply(plan)
    run = list_runs(world.engine, world.control)[0]
    assert (run["status"], run["delivered"], run["retryable"]) == ("partial", 3, 5)
    assert len(world.channel.batches) == 2


def test_a_connector_that_breaks_names_no_value_and_what_was_taken_counts(world: World) -> None:
    def breaks(batch: Batch) -> Receipts:
        raise ValueError(batch.rows.to_pylist())

    world.channel.concurrency = 1
    world.channel.answers = [lambda b: Receipts.all(len(b), "delivered"), breaks]
    plan = world.plan()
    with pytest.raises(DeliveryError, match="ValueError") as caught:
        world.apply(plan)
    assert "example.org" not in f"{caught.value!r}{caught.value.__cause__!r}"
    assert world.plan().counts["unchanged"] == 3


def test_a_destination_that_is_down_ends_the_run_early(world: World) -> None:
    world.load(people(60))
    world.channel.size, world.channel.concurrency = 1, 2
    world.channel.answers = [lambda b: Receipts.all(len(b), "retryable", "no_answer")] * 60
    plan = world.plan()
    with pytest.raises(DeliveryError, match="mailer took nothing of 10 batches in a row"):
        world.apply(plan)
    assert len(world.channel.batches) < 14
    world.channel.answers.clear()
    assert world.sync()[1].delivered == 60


def test_the_ledger_is_written_before_the_request(world: World) -> None:
    lines: list[int] = []
    count = f"SELECT COUNT(*) FROM {world.control}.disclosures WHERE kind = 'line'"

    def look(batch: Batch) -> Receipts:
        lines.append(world.engine.value(count))
        return Receipts.all(len(batch), "rejected", "no")

    world.channel.answers = [look] * 3
    world.sync()
    assert lines == [8, 8, 8]
    (line,) = told(world, "p003")
    assert (line["agreement"], line["purpose"], line["classes"]) == ("mailer_baa", "care", ["contact.email", "member"])


def test_when_receipts_cannot_be_written_delivery_stops_at_once_and_nothing_is_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of the receipts is made a file: every append fails as on a disk that is gone."""
    monkeypatch.setattr(recorder, "GROUP_SECONDS", 0.05)
    world.load(people(60))
    world.channel.size, world.channel.concurrency, world.channel.delay = 1, 1, 0.05
    plan = world.plan()
    folder = world.engine.folder(f"{world.control}.receipts")
    assert folder is not None

    def away(batch: Batch) -> Receipts:
        if folder.is_dir():
            folder.rename(folder.with_name("away"))
            folder.write_text("")
        return Receipts.all(len(batch), "delivered")

    world.channel.answers = [away]
    with pytest.raises((EngineError, DataError), match="receipts"):
        world.apply(plan)
    assert len(world.channel.batches) < 50
    folder.unlink()
    folder.with_name("away").rename(folder)
    assert world.sync()[1].delivered == 60
    assert len(world.channel.rows) == 60


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_named_and_the_next_run_continues(engine: Engine, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    if os.system(f"mount -t tmpfs -o size=1m tmpfs {lake} 2>/dev/null"):
        pytest.skip("a small file system cannot be mounted here")
    try:
        small = connect(Environment(engine="sail", lakehouse="lake"), root=tmp_path)
        world = World(small, "clinic", "cdp", tmp_path)
        world.load(people(20))
        world.sync()
        filler = lake / "filler"
        _fill(filler)
        with pytest.raises(EngineError, match="no space left"):
            world.plan()
        filler.unlink()
        assert world.plan().counts["unchanged"] == 20
        small.close()
    finally:
        os.system(f"umount -l {lake}")


def _fill(path: Path) -> None:
    try:
        with path.open("wb") as file:
            while True:
                file.write(b"x" * 1024)
                file.flush()
    except OSError:
        pass


# -- what a plan rests on ----------------------------------------------------------------------------------------------


def test_a_stored_plan_is_loaded_and_applied_once(world: World) -> None:
    plan = world.plan()
    loaded = load_plan(world.engine, world.control, plan.id)
    assert loaded == plan
    assert loaded.as_json() == plan.as_json()
    assert world.apply(loaded).delivered == 8
    with pytest.raises(StaleError, match="was applied already"):
        world.apply(loaded)
    assert not [name for name in world.engine.tables(world.control) if name.startswith("plan_")]


@pytest.mark.parametrize("change", [{"weighed": None}, {"created": "p001 yesterday"}, {"chunks": 3}])
def test_a_plan_that_another_version_made_is_no_internal_error(world: World, change: dict[str, Any]) -> None:
    plan = world.plan()
    table = Control(world.engine, world.control).table("plans")
    body = json.loads(world.engine.value(f"SELECT body FROM {table}")) | change
    body = {name: value for name, value in body.items() if value is not None}
    world.engine.execute(f"UPDATE {table} SET body = {literal(json.dumps(body))}", what=table)
    with pytest.raises(StaleError, match="is not one that this version of cdp makes") as caught:
        load_plan(world.engine, world.control, plan.id)
    assert "p001" not in str(caught.value)


@pytest.mark.parametrize("far", ["TIMESTAMP_MICROS(400000000000000000)", "DATE_ADD(DATE '9999-12-31', 400)"])
def test_a_rejected_row_of_a_year_that_python_does_not_know_gets_its_receipt(
    world: World, monkeypatch: pytest.MonkeyPatch, far: str
) -> None:
    world.values = ("email", "seen")
    world.select = (
        f"SELECT patient_id AS _subject, CAST(NULL AS STRING) AS _rule, patient_id, email, {far} AS seen FROM {world.schema}.patients"
    )
    monkeypatch.setattr(world.channel, "take", lambda batch, statuses: None)
    world.channel.answers = [lambda batch: Receipts.all(len(batch), "rejected", "bad_row")]
    run = world.sync()[1]
    assert (run.rejected, run.delivered) == (3, 5)
    codes = world.engine.query(f"SELECT DISTINCT code FROM {world.control}.receipts WHERE status = 'rejected'").to_pylist()
    assert codes == [{"code": "bad_row"}]


def test_a_plan_that_does_not_exist_names_those_that_do(world: World) -> None:
    plan = world.plan()
    with pytest.raises(UsageError, match=rf"{plan.id} \(letters\)"):
        load_plan(world.engine, world.control, "nope")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fingerprint": "f2"}, "the policy has changed"),
        ({"values": ("email",)}, "the models or the mappings have changed"),
        ({"name": "calls"}, "is one of letters to mailer"),
        ({"now": NOW + dt.timedelta(hours=25)}, "holds for 24 hours"),
        ({"now": NOW - dt.timedelta(hours=1)}, "holds for 24 hours"),
    ],
)
def test_a_plan_does_not_outlive_what_it_rests_on(world: World, change: dict[str, Any], reason: str) -> None:
    plan = world.plan()
    for name, value in change.items():
        setattr(world, name, value)
    with pytest.raises(StaleError, match=reason) as caught:
        world.apply(plan)
    assert "cdp plan letters" in caught.value.fix
    assert world.channel.batches == []


def test_a_plan_is_stale_when_another_was_applied_since(world: World) -> None:
    plan = world.plan()
    world.sync()
    with pytest.raises(StaleError, match="another run of letters has delivered"):
        world.apply(plan)


@pytest.mark.parametrize("change", ["v0 = 'evil@example.org'", "_subject = 'someone'", "_op = 'change'", "_base = 5"])
def test_a_plan_whose_stored_rows_were_touched_is_not_applied(world: World, change: str) -> None:
    plan = world.plan()
    world.engine.execute(f"UPDATE {world.control}.plan_{plan.id} SET {change} WHERE _key = 'p003'")
    with pytest.raises(StaleError, match="not those that were planned"):
        world.apply(plan)
    assert world.channel.batches == []


def test_chunks_before_one_that_was_touched_leave_and_are_on_record(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff, "CHUNK_ROWS", 4)
    world.load(people(30))
    world.channel.size = 2
    plan = world.plan()
    last = plan.chunks[-1]
    table = f"{world.control}.plan_{plan.id}"
    touched = set(world.engine.query(f"SELECT _key FROM {table} WHERE _chunk = {last.number}").column("_key").to_pylist())
    world.engine.execute(f"UPDATE {table} SET _subject = 'someone' WHERE _chunk = {last.number}")
    with pytest.raises(StaleError, match="not those that were planned"):
        world.apply(plan)
    assert touched
    assert not touched & {row["patient_id"] for batch in world.channel.batches for row in batch.rows.to_pylist()}
    before = sum(len(batch) for batch in world.channel.batches)
    assert 30 - last.rows - 1 <= before <= 30 - last.rows  # of the chunk before, what would not fill a batch waits for the next one
    assert world.sync()[1].delivered == 30 - before
    assert sum(len(batch) for batch in world.channel.batches) == 30


def test_a_field_of_a_channel_may_have_the_name_of_a_column_of_ours(world: World) -> None:
    world.values = ("_key", "_text", "_change", "_place")
    fields = "email AS _key, given_name AS _text, email AS _change, visits AS _place"
    world.select = f"SELECT patient_id AS _subject, CAST(NULL AS STRING) AS _rule, patient_id, {fields} FROM {world.schema}.patients"
    clinic = {1: patient(1, email="one@example.org", given_name="Ann", visits=7)}
    world.load(clinic)
    assert world.sync()[1].delivered == 1
    (batch,) = world.channel.batches
    sent = {"patient_id": "p001", "_key": "one@example.org", "_text": "Ann", "_change": "one@example.org", "_place": 7}
    assert batch.rows.to_pylist() == [sent]


def test_a_row_taken_from_a_plan_or_put_into_it_is_noticed(world: World) -> None:
    for change in ("DELETE FROM {} WHERE _key = 'p003'", "INSERT INTO {0} SELECT * FROM {0} WHERE _key = 'p004'"):
        plan = world.plan()
        world.engine.execute(change.format(f"{world.control}.plan_{plan.id}"))
        with pytest.raises(StaleError, match="not those that were planned"):
            world.apply(plan)


def test_who_withdrew_since_the_plan_is_withheld_and_not_in_the_ledger_but_removals_pass(world: World) -> None:
    world.sync()
    clinic = people(10)
    clinic[9]["email"] = "nine@example.org"
    clinic[1]["email"] = "new@example.org"
    clinic[2]["member"] = False
    world.load(clinic)
    plan = world.plan()
    for number in (1, 2, 9):
        clinic[number]["consent"] = False
    world.load(clinic)
    run = world.apply(plan)
    assert (run.delivered, run.withheld, run.retryable, run.status) == (2, 2, 0, "succeeded")
    assert ids(world) == the(1, 3, 4, 5, 6, 7, 8, 10)
    assert world.channel.rows[("p001",)]["email"] == "p1@example.org"
    assert told(world, "p009") == []
    assert world.sync()[0].counts["remove"] == 1


def test_who_is_gone_from_the_table_since_the_plan_is_not_told(world: World) -> None:
    plan = world.plan()
    clinic = people(8)
    del clinic[3]
    world.load(clinic)
    run = world.apply(plan)
    assert (run.delivered, run.withheld, run.status) == (7, 1, "succeeded")
    assert ids(world) == the(1, 2, 4, 5, 6, 7, 8)
    assert told(world, "p003") == []


@pytest.mark.parametrize(("age", "fine"), [(35, True), (37, False), (-1, False)])
def test_consent_that_is_too_old_or_of_the_future_is_not_used(world: World, age: int, fine: bool) -> None:
    world.load(people(2), recorded=NOW - dt.timedelta(hours=age))
    if fine:
        assert world.plan().counts["add"] == 2
    else:
        with pytest.raises(DataError, match=rf"{world.schema}.consent"):
            world.plan()


def test_consent_may_grow_too_old_between_plan_and_apply(world: World) -> None:
    world.load(people(2), recorded=NOW - dt.timedelta(hours=35))
    plan = world.plan()
    world.now += dt.timedelta(hours=2)
    with pytest.raises(DataError, match="consent older than 36 hours is not used"):
        world.apply(plan)
    assert world.channel.batches == []


def test_an_empty_consent_table_refuses(world: World) -> None:
    world.engine.execute(f"DELETE FROM {world.schema}.consent")
    with pytest.raises(DataError, match="no consent is known"):
        world.plan()


def test_guards_stop_a_run_and_are_told_in_the_plan(world: World) -> None:
    world.sync()
    world.guards = Guards(max_remove="20%")  # type: ignore[arg-type]
    world.load(people(5))
    plan = world.plan()
    assert [v.guard for v in plan.guards] == ["max_remove"]
    assert plan.as_json()["guards"][0]["found"] == 3
    with pytest.raises(GuardError, match="max_remove"):
        world.apply(load_plan(world.engine, world.control, plan.id))
    assert len(world.channel.rows) == 8


def test_an_empty_table_does_not_empty_the_destination(world: World) -> None:
    world.guards = Guards()
    world.sync()
    world.load([])
    plan = world.plan()
    assert [v.guard for v in plan.guards] == ["empty"]
    with pytest.raises(GuardError):
        world.apply(plan)
    assert len(world.channel.rows) == 8


def test_lookups_must_be_unique(world: World) -> None:
    world.lookups = ((f"{world.schema}.patients", ("given_name",)),)
    assert world.plan().counts["add"] == 8
    world.load({1: patient(1), 2: patient(2, given_name="N1")})
    with pytest.raises(DataError, match=r"patients \(given_name\): 1 value more than once") as caught:
        world.plan()
    assert "N1" not in str(caught.value)


def test_a_clock_that_went_back_is_refused(world: World) -> None:
    world.sync()
    """Attack 28, at the plan and at apply."""
    world.load(people(9))
    plan = world.plan()
    world.now -= dt.timedelta(hours=1)
    world.load(people(9), recorded=world.now)
    for act in (world.plan, lambda: world.apply(dataclasses.replace(plan, created=world.now - dt.timedelta(minutes=1)))):
        with pytest.raises(StaleError, match="the clock says"):
            act()


def test_tables_that_change_while_planning_make_it_try_again_and_then_give_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is written to between the diff and reading the values, as a loader would."""
    clinic, tries = people(8), []
    create_as = world.engine.create_as

    def meanwhile(table: str, *args: Any, **options: Any) -> None:
        create_as(table, *args, **options)
        if table.endswith("_changes") and len(tries) < limit:
            tries.append(table)
            clinic[1]["email"] = f"{len(tries)}@example.org"
            world.load(clinic)

    monkeypatch.setattr(world.engine, "create_as", meanwhile)
    limit = 2
    assert world.plan().counts["add"] == 8
    limit = 99
    with pytest.raises(StaleError, match="changed 3 times"):
        world.plan()
    assert len([name for name in world.engine.tables(world.control) if name.startswith("plan_")]) == 1


def test_old_plans_are_dropped_by_the_next(world: World) -> None:
    old = world.plan()
    world.now += dt.timedelta(hours=49)
    world.load(people(8), recorded=world.now)
    world.plan()
    assert f"plan_{old.id}" not in world.engine.tables(world.control)
    with pytest.raises(StaleError):
        world.apply(old)


# -- runs side by side and ends ------------------------------------------------------------------------------------------


def test_of_two_runs_at_once_one_is_refused_and_syncs_do_not_disturb_each_other(world: World) -> None:
    world.channel.delay = 0.5
    plan = world.plan()
    first = threading.Thread(target=world.apply, args=(plan,))
    first.start()
    deadline = time.monotonic() + 20
    while not world.channel.batches and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(BusyError, match="sync letters is being applied by"):
        world.apply(plan)
    other = World(world.engine, world.schema, world.control, world.root, name="calls", now=world.now)
    assert other.sync()[1].delivered == 8
    first.join()
    assert list_runs(world.engine, world.control, sync="letters")[0]["status"] == "succeeded"


def test_a_lost_lease_stops_the_run_before_its_receipts_are_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SECONDS", 120)
    control = Control(world.engine, world.control)

    def robbed(batch: Batch) -> Receipts:
        lease.acquire(control, "letters", lambda: world.now + dt.timedelta(hours=1))
        return Receipts.all(len(batch), "delivered")

    world.channel.answers = [robbed]
    plan = world.plan()
    with pytest.raises(BusyError, match="lost its lease"):
        world.apply(plan)
    assert state.known(control, "letters").last == 0


@pytest.mark.parametrize("again", [False, True], ids=["each key once", "some keys twice"])
def test_folding_what_was_delivered_once_and_twice(world: World, again: bool) -> None:
    control, clinic = Control(world.engine, world.control), people(9)
    world.sync()
    if again:
        del clinic[2]
        clinic[3]["email"] = "new@example.org"
        world.load(clinic)
        world.sync()
    at = state.known(control, "letters")
    before = world.engine.query(state.acknowledged(control, "letters", at)).sort_by("key").to_pylist()
    assert at.fresh == len(before) + 2 * again
    assert state.fold(control, "letters", rows=0, share=0)
    after = state.known(control, "letters")
    assert (after.folded, after.last, after.rows, after.fresh) == (at.last, at.last, len(before), 0)
    assert world.engine.query(state.acknowledged(control, "letters", after)).sort_by("key").to_pylist() == before


def test_folding_keeps_the_state_of_every_sync(world: World) -> None:
    other = World(world.engine, world.schema, world.control, world.root, name="calls")
    world.sync()
    other.sync()
    control = Control(world.engine, world.control)
    clinic = people(9)
    del clinic[1]
    for turn in range(3):
        assert state.fold(control, "letters", rows=0, share=0)
        clinic[3]["email"] = f"{turn}@example.org"
        world.load(clinic)
        plan, _ = world.sync()
        assert plan.counts["change"] == 1
    assert ids(world) == the(*range(2, 10))
    other.now = world.now  # the wall clock is one for all syncs: another's blocks hold it too
    assert nonzero(other.plan().counts) == {"add": 1, "change": 1, "remove": 1, "unchanged": 6}
    assert world.plan().counts["unchanged"] == 8


def test_someone_removed_comes_back(world: World) -> None:
    control = Control(world.engine, world.control)
    for folded in (False, True):
        world.load({2: patient(2)})
        world.sync()
        if folded:
            assert state.fold(control, "letters", rows=0, share=0)
        world.load({1: patient(1), 2: patient(2)})
        assert world.sync()[0].counts["add"] == 1
        assert ids(world) == the(1, 2)
