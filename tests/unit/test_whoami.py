"""Whose account do the credentials open? Asked over real HTTP, before the first row leaves. attack 18"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cdp.connectors import accounts
from cdp.connectors.base import Egress, Target
from cdp.connectors.http import HttpConnector
from cdp.errors import DeliveryError
from cdp.sandbox import Sandbox
from cdp.spec.activation import Destination, HttpOptions
from tests.unit.test_http_connector import patience

WHOAMI = {"path": "/email/v3/me", "account": "user.id"}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(accounts={"email": {"user": {"id": "north"}}}) as running:
        yield running


def target(url: str, whoami: dict[str, str] | None = WHOAMI, egress: Egress | None = None, **options: Any) -> Target:
    declared = {"upsert": {"path": "/email/rows"}, "attempts": 2, "max_wait_seconds": 0.01, "timeout_seconds": 10, "whoami": whoami}
    declared |= {"headers": {"Authorization": "Bearer {api_key}"}, **options}
    http = HttpOptions.model_validate(declared)
    destination = Destination(name="mail", connector="http", channel="email", base_url=url, http=http)
    return Target(destination, egress or Egress(plaintext_loopback=True), "r1", Path(), {"api_key": "s3cret"})


def ask(given: Target, account: str | None = "north") -> None:
    async def run() -> None:
        async with HttpConnector(given) as connector:
            await accounts.check(connector, account, "destination mail")

    asyncio.run(run())


def refusal(given: Target, account: str | None = "north") -> str:
    with pytest.raises(DeliveryError) as error:
        ask(given, account)
    assert "s3cret" not in str(error.value)
    return error.value.message


def test_the_account_of_the_agreement_passes(sandbox: Sandbox) -> None:
    ask(target(sandbox.url))
    (seen,) = sandbox.requests("email")
    assert (seen["method"], seen["path"], seen["rows"]) == ("GET", "/email/v3/me", 0)
    assert "authorization" in [name.lower() for name in seen["headers"]]


def test_a_whole_number_is_an_account_too(sandbox: Sandbox) -> None:
    sandbox.accounts["email"] = {"user": {"id": 1029384756}}
    ask(target(sandbox.url), "1029384756")


@pytest.mark.parametrize("said", ["south", "North", "north ", "north\n"])
def test_another_account_is_refused(sandbox: Sandbox, said: str) -> None:
    sandbox.accounts["email"] = {"user": {"id": said}}
    assert "the agreement is about 'north'" in refusal(target(sandbox.url))
    assert "account 'south'" in refusal(target(sandbox.url)) if said == "south" else True


def test_an_answer_that_looks_like_no_account_is_not_repeated(sandbox: Sandbox) -> None:
    sandbox.accounts["email"] = {"user": {"id": "Ann <ann@x.test>"}}
    assert "another account" in refusal(target(sandbox.url))
    sandbox.accounts["email"] = {"user": {"id": "s3cret"}}
    assert "holds no user.id" in refusal(target(sandbox.url))


@pytest.mark.parametrize(
    "said", [{}, [], {"user": "north"}, {"user": {"id": None}}, {"user": {"id": True}}, {"user": {"id": 1.5}}, {"id": "north"}]
)
def test_an_answer_without_the_account_is_refused(sandbox: Sandbox, said: Any) -> None:
    sandbox.accounts["email"] = said
    assert "its answer holds no user.id" in refusal(target(sandbox.url))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("500", "http_500"),
        ("404", "http_404"),
        ("429", "http_429"),
        ("slow", "timeout"),
        ("drip", "timeout"),
        ("reset", "reset"),
        ("half_reset", "reset"),
        ("not_json", "holds no user.id"),
        ("html", "holds no user.id"),
        ("401", "refuses our credentials"),
        ("redirect", "redirects are refused"),
    ],
)
def test_no_answer_is_refused(sandbox: Sandbox, fault: str, said: str) -> None:
    sandbox.fault("email", fault, times=None, on="whoami")
    assert said in refusal(target(sandbox.url, **patience(fault)))


def test_what_passes_is_asked_again(sandbox: Sandbox) -> None:
    sandbox.fault("email", "503", on="whoami")
    ask(target(sandbox.url))
    assert [seen["status"] for seen in sandbox.requests("email")] == [503, 200]


def test_a_channel_that_cannot_tell_is_refused_where_the_agreement_names_an_account(sandbox: Sandbox) -> None:
    assert "cannot tell whose it opens" in refusal(target(sandbox.url, None))
    ask(target(sandbox.url, None), None)
    assert sandbox.requests("email") == []


def test_a_connector_that_fails_to_say_is_refused_without_its_text() -> None:
    class Broken:
        async def whoami(self) -> str:
            raise RuntimeError("Ann Smith")

    with pytest.raises(DeliveryError, match=r"failed to say whose account it opens \(RuntimeError\)") as error:
        asyncio.run(accounts.check(Broken(), "north", "destination mail"))  # type: ignore[arg-type]
    assert "Ann" not in str(error.value)


def test_the_question_goes_where_the_agreement_reaches_and_nowhere_else() -> None:
    egress = Egress(hosts=frozenset({"api.mail.example"}), paths=("/email/rows",))
    with pytest.raises(DeliveryError, match="path /email/v3/me is refused"):
        HttpConnector(target("https://api.mail.example", egress=egress))
    with pytest.raises(DeliveryError, match="names no sync"):
        HttpConnector(target("https://api.mail.example", {"path": "/lists/{sync_id}", "account": "id"}, egress))
