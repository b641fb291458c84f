"""Whose account it is, as a channel answers: an answer that would show a secret names none."""

from __future__ import annotations

import asyncio
import json

import pytest

from cdp.connectors import accounts
from cdp.connectors.http import HttpConnector
from cdp.errors import DeliveryError
from tests.unit.test_http_connector import SECRET, http, make_target, raw_server


@pytest.mark.parametrize("said", [SECRET, f"Bearer {SECRET}", f"{SECRET.upper()} north", SECRET.replace("-", " ")])
def test_an_answer_with_a_secret_in_it_is_not_repeated(said: str) -> None:
    async def asked(url: str) -> None:
        async with HttpConnector(make_target(url, whoami={"path": "/me", "account": "account"})) as connector:
            await accounts.check(connector, "north", "destination outreach")

    with raw_server(http("200 OK", json.dumps({"account": said}).encode())) as (url, _), pytest.raises(DeliveryError) as caught:
        asyncio.run(asked(url))
    assert "its answer holds no account" in str(caught.value)
    assert "zq7marker" not in str(caught.value).lower()


@pytest.mark.parametrize(
    ("said", "account"), [("north", "north"), (20417, "20417"), ("sandbox-north", "sandbox-north"), ("", None), (1.5, None)]
)
def test_other_answers_are_what_they_are(said: object, account: str | None) -> None:
    assert accounts.read(json.dumps({"user": {"account": said}}).encode(), "user.account", ["sandbox", SECRET]) == account
