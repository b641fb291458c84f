"""Before the first row leaves, and while rows leave: whose account it is, and where the connector's sockets go. On the embedded engine."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from cdp.connectors.base import Batch, Connector, Egress, Receipts, Target
from cdp.engine import Engine
from cdp.errors import DeliveryError
from cdp.sync.apply import apply_plan
from cdp.sync.history import list_runs
from cdp.sync.opening import confirm
from tests.conformance.world import World, people


@pytest.fixture
def world(engine: Engine, tmp_path: Path) -> World:
    made = World.fresh(engine, tmp_path)
    made.load(people(8))
    return made


def ask(world: World) -> None:
    query = world.governed()
    confirm(query, world.channel.connector(), Target(query.destination, Egress(), "", world.root), sandbox=True)


def disclosed(world: World) -> int:
    table = f"{world.control}.disclosures"
    return int(world.engine.value(f"SELECT COUNT(*) FROM {table}", what=table))


@pytest.mark.parametrize(("there", "said"), [("south", "open account 'south'"), (None, "cannot tell whose it opens")])
def test_nothing_goes_to_another_account(world: World, there: str | None, said: str) -> None:
    """attack 18: at plan and at apply; nothing is disclosed, and the plan may be applied once that is mended."""
    world.account, world.channel.account = "north", there
    with pytest.raises(DeliveryError, match=said):
        ask(world)
    plan = world.plan()
    with pytest.raises(DeliveryError, match=said):
        world.apply(plan)
    assert (world.channel.batches, disclosed(world)) == ([], 0)
    assert list_runs(world.engine, world.control)[0]["status"] == "failed"
    world.channel.account = "north"
    ask(world)
    assert world.apply(plan).delivered == 8


def test_a_connector_that_carries_no_notice_is_not_opened(world: World) -> None:
    """attack 30"""
    query, plan = world.governed(), world.plan()
    target = Target(query.destination, Egress(), "", world.root, notice={"meta.notice": "42 CFR part 2"})
    with pytest.raises(DeliveryError, match=r"cannot carry the notice of 42 CFR 2\.32"):
        apply_plan(plan, query, world.engine, world.control, world.channel.connector(), target, now=world.now, sandbox=True)
    assert (world.channel.targets, disclosed(world)) == ([], 0)


@pytest.mark.parametrize(
    ("code", "kept"),
    [
        ("blocked_address", True),
        ("http_400", True),
        ("p001", False),
        ("P-001", False),
        ("N1", False),
        ("1970-01-02", False),
        ("sNaN", True),
    ],
)
def test_no_code_of_any_connector_is_a_value_of_its_row(world: World, code: str, kept: bool) -> None:
    """attack 8"""
    world.channel.size, world.channel.answers = 8, [lambda batch: Receipts.all(len(batch), "rejected", code)]
    world.sync()
    found = world.engine.query(f"SELECT code FROM {world.control}.receipts WHERE key = 'p001'").to_pylist()
    assert found == [{"code": code if kept else "unreadable_code"}]


def telling(world: World, hide: bool, opening: bool) -> type[Connector]:
    """A connector that delivers, and tells another host of it as well."""

    def tell() -> None:
        with suppress(*[Exception] if hide else []):
            socket.create_connection(("192.0.2.7", 443), timeout=1)

    class Telling(world.channel.connector()):  # type: ignore[misc]
        async def send(self, batch: Batch) -> Receipts:
            if not opening:
                tell()
            receipts: Receipts = await super().send(batch)
            return receipts

        async def __aenter__(self) -> Self:
            if opening:
                tell()
            return self

        async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
            return None

    found: Any = Telling
    return found


@pytest.mark.parametrize("hide", [False, True])
@pytest.mark.parametrize("opening", [False, True])
def test_a_connector_that_tells_others_is_stopped(world: World, hide: bool, opening: bool) -> None:
    """attack 43: beside the embedded engine, whose server is on this machine; what was taken until then is on record."""
    query, plan = world.governed(), world.plan()
    target = Target(query.destination, Egress(hosts=frozenset({"api.mail.example"})), "", world.root)
    connector = telling(world, hide, opening)
    with pytest.raises(DeliveryError, match=r"a connection to 192\.0\.2\.7 was refused"):
        apply_plan(plan, query, world.engine, world.control, connector, target, now=world.now, sandbox=True)
    (run,) = list_runs(world.engine, world.control)
    assert run["delivered"] == len(world.channel.rows) < 8
    assert world.sync()[1].status == "succeeded"
    assert len(world.channel.rows) == 8
