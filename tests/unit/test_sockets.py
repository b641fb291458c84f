"""A connector with a client of its own reaches the agreement's hosts and this machine, and nothing else. attack 43"""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import httpx
import pytest

from cdp.connectors.base import Egress
from cdp.connectors.sockets import guarded
from cdp.errors import DeliveryError, EngineError
from cdp.sandbox import Sandbox

ELSEWHERE = "192.0.2.7"  # TEST-NET-1, RFC 5737: nobody is there
AGREED = Egress(hosts=frozenset({"api.mail.example", "files.mail.example:8443", "198.51.100.9"}))


def by_name() -> None:
    http.client.HTTPSConnection("telemetry.example", timeout=1).request("GET", "/")


def by_address() -> None:
    socket.create_connection((ELSEWHERE, 443), timeout=1)


def by_datagram() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.sendto(b"x", (ELSEWHERE, 53))


def by_asking_for_a_name() -> None:
    socket.gethostbyname("p001.telemetry.example")  # a look-up alone tells


def by_httpx() -> None:
    httpx.get("https://telemetry.example", trust_env=False)


def by_async_httpx() -> None:
    async def call() -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.get(f"http://{ELSEWHERE}")

    asyncio.run(call())


WAYS = [by_name, by_address, by_datagram, by_asking_for_a_name, by_httpx, by_async_httpx]


@pytest.mark.parametrize("way", WAYS)
def test_another_host_is_refused_on_every_way(way: Callable[[], None]) -> None:
    with pytest.raises(DeliveryError, match=r"a connection to \S+ was refused: the agreement does not name it"), guarded(AGREED):
        way()


@pytest.mark.parametrize("way", WAYS)
def test_who_hides_that_it_was_refused_is_found_out(way: Callable[[], None]) -> None:
    with guarded(AGREED) as refused:
        assert refused() is None
        with suppress(Exception, BaseExceptionGroup):
            way()
        assert "was refused" in str(refused())


def test_a_thread_of_its_own_is_held_too() -> None:
    found: list[BaseException] = []

    def run() -> None:
        try:
            by_address()
        except BaseException as error:
            found.append(error)

    with guarded(AGREED) as refused:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert isinstance(found[0], DeliveryError)
    assert refused() is not None


@pytest.mark.parametrize("host", ["api.mail.example", "API.mail.example.", "files.mail.example", "198.51.100.9"])
def test_the_agreements_hosts_are_looked_up_and_connected_to(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(name: str, port: object, *_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("203.0.113.5", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", answers)
    with guarded(AGREED) as refused:
        (found,) = socket.getaddrinfo(host, 443)
        with socket.socket() as client:
            client.setblocking(False)
            with pytest.raises(OSError, match=r"."):  # it is on its way, or there is no way to it: not refused by us
                client.connect(found[4])
        assert refused() is None
    assert socket.getaddrinfo is answers


def test_this_machine_stays_reachable_for_the_engine_and_the_sandbox() -> None:
    with Sandbox() as sandbox, guarded(Egress()) as refused:
        assert httpx.get(f"{sandbox.url}/_sandbox", trust_env=False).status_code == 200
        assert httpx.get(sandbox.url.replace("127.0.0.1", "localhost") + "/_sandbox", trust_env=False).status_code == 200
        assert refused() is None


def test_nothing_is_held_when_nothing_is_applied_and_what_runs_beside_holds_its_own() -> None:
    other = Egress(hosts=frozenset({"192.0.2.8"}))

    def reachable(host: str) -> bool:
        with socket.socket() as client:
            client.setblocking(False)
            try:
                client.connect((host, 9))
            except DeliveryError:
                return False
            except OSError:
                return True
        return True

    look_up = socket.getaddrinfo
    with guarded(AGREED):
        with guarded(other):
            assert [reachable(host) for host in ("198.51.100.9", "192.0.2.8", ELSEWHERE)] == [True, True, False]
        assert [reachable(host) for host in ("198.51.100.9", "192.0.2.8", ELSEWHERE)] == [True, False, False]
    assert [reachable(host) for host in ("198.51.100.9", "192.0.2.8", ELSEWHERE)] == [True, True, True]
    assert socket.getaddrinfo is look_up


def test_an_error_of_ours_is_not_replaced() -> None:
    def run() -> None:
        with guarded(AGREED):
            with suppress(DeliveryError):
                by_address()
            raise EngineError("receipts could not be written")

    with pytest.raises(EngineError):
        run()


def test_a_refusal_ends_the_apply_that_it_is_of_and_not_the_one_beside() -> None:
    both, tried = threading.Barrier(2), threading.Barrier(2)
    found: dict[str, DeliveryError | None] = {}

    def run(name: str, way: Callable[[], None] | None) -> None:
        with guarded(AGREED) as refused:
            both.wait(10)
            if way:
                with suppress(DeliveryError):
                    way()
            tried.wait(10)
            found[name] = refused()

    threads = [threading.Thread(target=run, args=each) for each in (("bad", by_address), ("good", None))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert ELSEWHERE in str(found["bad"])
    assert found["good"] is None
