"""One process at a time at a destination with limits a second: what another process holds, what the syncs of this one share."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdp.connectors.base import Connector, Egress, Target
from cdp.connectors.http import HttpConnector
from cdp.engine import connect
from cdp.engine.base import Engine
from cdp.errors import BusyError, DeliveryError
from cdp.spec.activation import Destination, Environment, HttpOptions
from cdp.spec.delivery import Limits
from cdp.sync import lease
from cdp.sync.exclusive import Patience, leased
from cdp.sync.ledger import Control
from cdp.sync.stopping import Stop
from tests.conformance.world import World, people

NOW = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)


START = time.monotonic()
LIMITED = Limits(requests_per_second=0.5, rows_per_second=1000)


def wall() -> dt.datetime:
    return NOW + dt.timedelta(seconds=time.monotonic() - START)


@pytest.fixture
def ledger(engine: Engine) -> Iterator[Control]:
    control = Control(engine, f"s{uuid.uuid4().hex[:8]}")
    yield control
    engine.drop(f"{control.schema}.leases")


def destination(limits: Limits = LIMITED) -> Destination:
    http = HttpOptions.model_validate({"upsert": {"path": "/contacts"}, "repeats": "keys"})
    return Destination(name="mail", connector="http", channel="email", base_url="https://mail.example.org", http=http, limits=limits)


@pytest.fixture
def connector() -> Connector:
    return HttpConnector(Target(destination(), Egress(hosts=frozenset({"mail.example.org"})), "r1", Path()))


def elsewhere(ledger: Control) -> lease.Lease:
    """The destination's lease as another process takes it."""
    return lease.acquire(ledger, "pace:mail", wall, subject="destination mail", owner="another process")


def test_the_syncs_of_a_process_share_the_destination_and_other_processes_wait(ledger: Control, connector: Connector) -> None:
    none = Patience()
    with leased(ledger, "first", destination(), connector, wall, none) as first:
        with leased(ledger, "second", destination(), connector, wall, none) as second:
            first.renew()
            second.renew()
            with pytest.raises(BusyError, match=r"destination mail is in use by process \d+ on "):
                elsewhere(ledger)
        with pytest.raises(BusyError):
            elsewhere(ledger)  # the first one still delivers
    elsewhere(ledger).release()


def test_another_sync_is_refused_as_ever_and_leaves_the_destination(ledger: Control, connector: Connector) -> None:
    other = lease.acquire(ledger, "first", wall)
    with (
        pytest.raises(BusyError, match="sync first is being applied"),
        leased(ledger, "first", destination(), connector, wall, Patience()),
    ):
        pass
    other.release()
    elsewhere(ledger)


def test_what_was_sent_last_is_paid_for_before_the_next_process_sends(ledger: Control, connector: Connector) -> None:
    async def send() -> None:
        async with connector._pace.turn(1):  # type: ignore[attr-defined]
            pass

    with leased(ledger, "first", destination(), connector, wall, Patience()):
        asyncio.run(send())
    with pytest.raises(BusyError):
        elsewhere(ledger)
    with leased(ledger, "second", destination(), connector, wall, Patience()):
        pass  # this process knows what it owes
    began = time.monotonic()
    lease.acquire(ledger, "pace:mail", wall, owner="another process", patience=5)
    assert time.monotonic() - began < 3


def test_who_waits_says_so_and_gets_its_turn(ledger: Control, connector: Connector) -> None:
    held, said = elsewhere(ledger), list[str]()

    def say(text: str) -> None:
        said.append(text)
        threading.Timer(0.1, held.release).start()

    with leased(ledger, "first", destination(), connector, wall, Patience(10, say)), pytest.raises(BusyError):
        elsewhere(ledger)
    assert len(said) == 1
    assert said[0].startswith("waits: destination mail is in use by process ")


def test_patience_ends(ledger: Control, connector: Connector) -> None:
    elsewhere(ledger)
    stop, told = Stop(), list[str]()
    began = time.monotonic()
    with pytest.raises(BusyError), leased(ledger, "first", destination(), connector, wall, Patience(60, lambda _: stop.ask(), stop)):
        pass
    with pytest.raises(BusyError), leased(ledger, "first", destination(), connector, wall, Patience(0, told.append)):
        pass
    assert time.monotonic() - began < 5
    assert not told


def test_who_held_still_for_too_long_has_lost_both(ledger: Control, connector: Connector) -> None:
    with leased(ledger, "first", destination(), connector, wall, Patience()) as held:
        held.check()
        ledger.engine.execute(f"UPDATE {ledger.table('leases')} SET expires = 1 WHERE sync = 'pace:mail'", what="leases")
        elsewhere(ledger)
        for lost in (held.check, held.renew):
            with pytest.raises(BusyError, match="destination mail: this run lost its lease to process"):
                lost()


def test_without_limits_a_second_nobody_waits(ledger: Control, connector: Connector) -> None:
    elsewhere(ledger)
    with leased(ledger, "first", destination(Limits(rows_per_day=5)), connector, wall, Patience()) as held:
        held.check()


def test_a_connector_that_keeps_no_pace_is_not_opened(engine: Engine, tmp_path: Path) -> None:
    world = World.fresh(engine, tmp_path, limits=Limits(requests_per_second=5))
    world.load(people(2))
    plan = world.plan()
    with pytest.raises(DeliveryError, match="destination mailer: its connector keeps no limits a second"):
        world.apply(plan)
    assert not world.channel.batches


def test_engines_of_one_process_over_one_lakehouse_share_it_too(ledger: Control, connector: Connector, tmp_path: Path) -> None:
    other = connect(Environment(engine="sail", lakehouse=str(ledger.engine.lakehouse)), root=tmp_path)
    try:
        with leased(ledger, "first", destination(), connector, wall, Patience()) as first:
            with leased(Control(other, ledger.schema), "second", destination(), connector, wall, Patience()):
                pass
            first.check()
            with pytest.raises(BusyError, match="destination mail is in use by process"):
                elsewhere(ledger)
    finally:
        other.close()
