"""A channel's list of its rows, page by page: only keys come out of it, and a list that may not be whole is an error."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from cdp.connectors.base import Egress, Exporting, Target
from cdp.connectors.exported import EMPTY_PAGES, pages
from cdp.connectors.http import HttpConnector
from cdp.connectors.wire import BODY_LIMIT, Answer
from cdp.errors import DeliveryError
from cdp.sandbox.server import Sandbox
from cdp.spec.activation import Destination, Export

URL = httpx.URL("https://api.mail.example/v1/contacts")
SPEC: dict[str, Any] = {"path": "/v1/contacts", "query": {"limit": "2"}, "items": "data.rows", "next": "paging.next", "cursor": "after"}
ROW = {"id": "a1", "email": "somebody@example.org"}


def page(*rows: Any, next: Any = None) -> dict[str, Any]:
    return {"data": {"rows": list(rows)}, "paging": {"next": next}}


def read(answers: Callable[[httpx.URL], Any], keys: tuple[str, ...] = ("id",), **changes: Any) -> list[dict[str, str]]:
    """What comes out, all parts together. An answer is JSON, bytes or an `Answer`."""
    spec = Export.model_validate({**SPEC, **changes})

    async def ask(url: httpx.URL) -> Answer:
        found = answers(url)
        if isinstance(found, Answer):
            return found
        return Answer(200, "http_200", found if isinstance(found, bytes) else json.dumps(found).encode())

    async def run() -> list[dict[str, str]]:
        return [row async for part in pages(ask, URL, spec, keys, "destination mail") for row in part.to_pylist()]

    return asyncio.run(run())


def test_pages_follow_each_other_by_cursor_or_link_and_only_keys_come_out() -> None:
    by_cursor = {None: page(ROW, {"id": 17}, next="n&2"), "n&2": page({"id": True, "given_name": "Ann"}, next="")}
    seen: list[httpx.URL] = []

    def cursors(url: httpx.URL) -> Any:
        seen.append(url)
        return by_cursor[url.params.get("after")]

    expected = [{"id": "a1"}, {"id": "17"}, {"id": "true"}]  # numbers and truth values are the text that a key has
    assert read(cursors) == expected
    assert [dict(url.params) for url in seen] == [{"limit": "2"}, {"limit": "2", "after": "n&2"}]
    by_link = {None: page(ROW, {"id": 17}, next="?limit=2&at=2"), "2": {"data": {"rows": [{"id": True}]}}}
    assert read(lambda url: by_link[url.params.get("at")], cursor=None, last="absent") == expected
    assert read(lambda _: b'{"data": {"rows": [{"a": 1.50, "b": "x:y"}]}, "paging": {"next": null}}', keys=("a", "b")) == [
        {"a": "1.50", "b": "x:y"}
    ]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(500, "http_500"), "page 1 is answered http_500"),
        (Answer(207, "http_207", json.dumps(page(ROW)).encode()), "page 1 is answered http_207"),
        (Answer(0, "timeout"), "page 1 is answered timeout"),
        (Answer(200, "http_200", None), "page 1 of http.export is too long to read"),
        (b"<html>", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"data": {"rows": [{"id": NaN}]}}', "is not JSON"),
        ({"data": {}}, "has no list at data.rows"),
        ([], "has no list at data.rows"),
        (page({"email": "somebody@example.org"}), "an item of page 1 of http.export has no key in id"),
        (page({"id": None}), "has no key in id"),
        (page({"id": ["a1"]}), "has no key in id"),
        (page("a1"), "has no key in id"),
        ({"data": {"rows": [ROW]}}, "has nothing at paging.next: whether it is the last cannot be told"),
        ({"data": {"rows": [ROW]}, "paging": None}, "has nothing at paging.next"),
        (page(ROW, next={"url": "x"}), "has no cursor and no link at paging.next"),
        (page(ROW, next="same"), "lead in a circle"),
    ],
)
def test_what_is_not_as_declared_is_an_error_that_holds_no_value(answer: Any, words: str) -> None:
    with pytest.raises(DeliveryError) as failed:
        read(lambda _: answer)
    assert words in str(failed.value)
    assert "somebody" not in str(failed.value)
    assert "a1" not in str(failed.value)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 100])
def test_a_circle_of_any_length_ends(length: int) -> None:
    with pytest.raises(DeliveryError, match="lead in a circle"):
        read(lambda url: page(ROW, next=str((int(url.params.get("after", 5)) + 1) % length)))


def test_a_list_without_an_end_ends() -> None:
    def more(url: httpx.URL, *rows: Any) -> Mapping[str, Any]:
        return page(*rows, next=str(int(url.params.get("after", 0)) + 1))

    with pytest.raises(DeliveryError, match=r"after 20 pages http\.export has no end"):
        read(lambda url: more(url, ROW), pages=20)
    with pytest.raises(DeliveryError, match=rf"seen at page {EMPTY_PAGES}"):
        read(more)


@pytest.mark.parametrize(
    "link",
    ["https://evil.example/v1/contacts?at=2", "http://api.mail.example/v1/contacts?at=2", "/v1/other?at=2", "//evil.example/v1/contacts"],
)
def test_a_link_never_leads_to_another_host_or_path(link: str) -> None:
    with pytest.raises(DeliveryError, match="leads away from /v1/contacts"):
        read(lambda _: page(ROW, next=link), cursor=None)


def target(url: str, egress: Egress, **export: Any) -> Target:
    http = {"upsert": {"path": "/mail/rows"}, "attempts": 1, "export": {**SPEC, "items": "rows", "next": "next", **export}}
    declared = {"kind": "destination", "name": "mail", "connector": "http", "channel": "email", "base_url": url, "http": http}
    return Target(Destination.model_validate(declared), egress, "r", Path())


def test_the_agreement_covers_the_path_of_the_list_and_the_client_reads_it() -> None:
    host = Egress(hosts=frozenset({"api.mail.example"}), paths=("/mail",))
    with pytest.raises(DeliveryError, match=r"path /v1/contacts is refused; the agreement allows: /mail"):
        HttpConnector(target("https://api.mail.example", host))

    async def keys(url: str, **export: Any) -> list[str]:
        async with HttpConnector(target(url, Egress(plaintext_loopback=True), **export)) as connector:
            assert isinstance(connector, Exporting)
            return [key async for part in connector.export(("id",)) for key in part.column("id").to_pylist()]

    with Sandbox() as sandbox:
        channel = sandbox.channel("mail")
        channel.rows |= {("", (str(n),)): {"id": n, "note": "x" * 10} for n in range(5)}
        channel.rows["other", ("9",)] = {"id": 9}
        assert asyncio.run(keys(sandbox.url, path="/mail/rows")) == ["0", "1", "2", "3", "4"]
        assert len(sandbox.requests("mail")) == 3
        assert asyncio.run(keys(sandbox.url, path="/mail/lists/other")) == ["9"]
        channel.rows["", ("0",)]["note"] = "x" * BODY_LIMIT
        with pytest.raises(DeliveryError, match="too long to read"):
            asyncio.run(keys(sandbox.url, path="/mail/rows"))
