"""The http connector against the sandbox over real HTTP, and against sockets that misbehave by hand."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
import logging
import math
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cdp.connectors.base import Batch, Egress, Receipts, Target
from cdp.connectors.bodies import finite, json_rows
from cdp.connectors.file import FileConnector
from cdp.connectors.http import HttpConnector
from cdp.connectors.wire import _tls
from cdp.errors import DeliveryError
from cdp.sandbox import Sandbox
from cdp.spec.activation import Destination, FileOptions, HttpOptions, RowErrors, Secret
from cdp.testing.connectors import MARKER, ConnectorSuite, Received, batch, deliver

SECRET = f"secret-{MARKER}"
QUICK = {"attempts": 3, "max_wait_seconds": 0.05, "timeout_seconds": 5}


def patience(fault: str) -> dict[str, float]:
    """The client's timeout: short where the channel is slow, else long, so that a slow machine is not taken for a slow channel."""
    return {"timeout_seconds": 0.3 if fault in ("slow", "drip") else 10}


ERRORS = {"list": "errors", "key": "key", "index": "index", "code": "code"}


def make_target(url: str, *, egress: Egress | None = None, secrets: dict[str, str] | None = None, **options: Any) -> Target:
    declared: dict[str, Any] = {
        "upsert": {"path": "/email/contacts", "batch": 100},
        "remove": {"path": "/email/contacts", "method": "DELETE"},
        "repeats": "keys",
        "headers": {"Authorization": "Bearer {api_key}"},
        **QUICK,
        **options,
    }
    held = {"api_key": SECRET} if secrets is None else secrets
    destination = Destination(
        name="outreach",
        connector="http",
        channel="email",
        base_url=url,
        secrets={name: Secret(env=name.upper()) for name in held},
        http=HttpOptions.model_validate(declared),
    )
    return Target(destination, egress or Egress(plaintext_loopback=True), "r1", Path(), held)


def send(target: Target, *batches: Batch) -> list[Receipts]:
    return asyncio.run(deliver(HttpConnector(target), *batches))


def outcome(receipts: Receipts) -> set[tuple[str, str | None]]:
    return set(zip(receipts.statuses, receipts.codes, strict=True))


def statuses(sandbox: Sandbox) -> list[int]:
    return [request["status"] for request in sandbox.requests("email")]


class TestHttp(ConnectorSuite):
    @pytest.fixture(params=["array", "ndjson", {"list": "contacts"}], ids=["array", "ndjson", "list"])
    def target(self, sandbox: Sandbox, request: pytest.FixtureRequest) -> Target:
        removes = {"path": "/email/contacts/remove", "body": request.param}
        sandbox.accounts["email"] = {"user": {"account": "north"}}
        whoami = {"path": "/email/me", "account": "user.account"}
        upsert = {"path": "/email/contacts", "body": request.param}
        return make_target(sandbox.url, upsert=upsert, remove=removes, errors=ERRORS, whoami=whoami)

    @pytest.fixture
    def connector_class(self) -> type[HttpConnector]:
        return HttpConnector

    @pytest.fixture
    def received(self, sandbox: Sandbox) -> Received:
        return lambda: {row["external_id"]: row for row in sandbox.rows("email")}

    @pytest.fixture
    def account(self) -> str:
        return "north"

    @pytest.fixture
    def noticed(self, sandbox: Sandbox) -> Callable[[], str]:
        return lambda: str([request["beside"] for request in sandbox.requests("email")])


# -- what goes on the wire ------------------------------------------------------------------------------------------------


@contextmanager
def raw_server(*answers: bytes | Callable[[socket.socket], None]) -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers each connection's one request with the next of these bytes, the last one again and again."""
    listener = socket.create_server(("127.0.0.1", 0))
    seen: list[bytes] = []

    def run() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                answer = answers[min(len(seen), len(answers) - 1)]
                seen.append(read_request(connection))
                try:
                    connection.sendall(answer) if isinstance(answer, bytes) else answer(connection)
                except OSError:
                    continue

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", seen
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return data
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length and (part := connection.recv(65536)):
        body += part
    return head + b"\r\n\r\n" + body


def http(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def test_the_request_is_what_was_declared() -> None:
    rows = batch(["p1"], ["Ann"])
    with raw_server(http("200 OK")) as (url, seen):
        target = make_target(url + "/base/", upsert={"path": "/v1/contacts?list=7", "method": "PUT"})
        assert outcome(send(target, rows)[0]) == {("delivered", None)}
    head, _, body = seen[0].partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:])
    assert head.startswith(b"PUT /base/v1/contacts?list=7 HTTP/1.1")
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("cdp/")
    assert headers["idempotency-key"] == rows.idempotency_key
    assert headers["authorization"] == f"bearer {SECRET}"
    assert json.loads(body) == [{"external_id": "p1", "first_name": "Ann", "score": None, "seen": "2026-01-01"}]


@pytest.mark.parametrize("body", ["array", "ndjson", {"list": "contacts"}], ids=["array", "ndjson", "list"])
@pytest.mark.parametrize("field", [None, "change"])
def test_rows_that_were_encoded_together_make_the_bodies_of_rows_alone(body: Any, field: str | None) -> None:
    whole = batch([f"p{n}" for n in range(5)], ["Ann", None, 'B"o', "\u00e9", ""])
    with raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}") as (url, seen):
        idempotency = {"header": "Idempotency-Key", **({"field": field} if field else {})}
        target = make_target(url, upsert={"path": "/email/contacts", "body": body}, idempotency=idempotency)
        encoded = replace(whole, texts=HttpConnector(target).encoded(whole))
        assert encoded.texts is not None
        for each in (whole, encoded):
            send(target, each.slice(0, 2), each.slice(2, 3), each.take([4, 1]))
    bodies = [request.partition(b"\r\n\r\n")[2] for request in seen]
    assert len(bodies) == 6
    assert bodies[:3] == bodies[3:]
    assert all(b'"p4"' in request for request in bodies[2::3])


def test_the_idempotency_key_is_the_same_in_another_run(sandbox: Sandbox) -> None:
    for _ in range(2):
        send(make_target(sandbox.url), batch(["p1", "p2"]))
    first, second = sandbox.requests("email")
    assert first["idempotency_key"] == second["idempotency_key"]
    assert second["duplicate"] is True


def test_the_environment_cannot_redirect_traffic(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """attack 15: no proxy of the environment"""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:9")
    assert outcome(send(make_target(sandbox.url), batch(["p1"]))[0]) == {("delivered", None)}


def test_no_file_of_the_environment_is_trusted_or_sent(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """attacks 15 and 16: neither another list of authorities nor a .netrc, and none that gets the keys of connections"""
    authorities, netrc = tmp_path / "authorities.pem", tmp_path / ".netrc"
    authorities.write_text("no certificate")
    netrc.write_text(f"machine 127.0.0.1 login {MARKER} password {MARKER}\n")
    for name, path in (("SSL_CERT_FILE", authorities), ("SSL_CERT_DIR", tmp_path), ("NETRC", netrc), ("HOME", tmp_path)):
        monkeypatch.setenv(name, str(path))
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
    _tls.cache_clear()
    assert _tls().get_ca_certs()
    assert _tls().keylog_filename is None
    with raw_server(http("200 OK")) as (url, seen):
        send(make_target(url, headers={}), batch(["p1"]))
    assert b"authorization" not in seen[0].lower()


def test_a_path_may_name_the_sync_so_that_each_has_a_list_of_its_own(sandbox: Sandbox) -> None:
    named = Egress(plaintext_loopback=True, names=True)
    members = {"path": "/calls/lists/{sync}/members"}
    hidden = {"path": "/mail/lists/{sync_id}/members"}
    for name in ("recall", "rebook"):
        target = make_target(sandbox.url, egress=named, upsert=members, remove={**members, "method": "DELETE"})
        send(replace(target, sync=name), batch(["p1"], [name]))  # a change of another sync is another change
    send(replace(target, sync="recall"), batch(["p1"], op="remove"))
    send(replace(make_target(sandbox.url, upsert=hidden), sync="a1c_reminder"), batch(["p1"]))
    assert [seen["path"] for seen in sandbox.requests("calls")] == [
        f"/calls/lists/{name}/members" for name in ("recall", "rebook", "recall")
    ]
    assert [row["first_name"] for row in sandbox.rows("calls")] == ["rebook"]  # taken off one list, still on the other
    assert [seen["path"] for seen in sandbox.requests("mail")] == ["/mail/lists/15127d92291f/members"]


def test_a_name_that_is_to_stay_opaque_is_refused_on_the_wire_too() -> None:
    """attack 6"""
    with pytest.raises(DeliveryError, match="the agreement keeps names opaque"):
        HttpConnector(replace(make_target("http://127.0.0.1:9", upsert={"path": "/lists/{sync}"}), sync="hiv_recall"))


def test_nothing_that_leaves_names_the_list(tmp_path: Path) -> None:
    """attack 6: no path, header or body of a request; no file's name, and no manifest"""
    name = "hiv_recall"
    with raw_server(http("200 OK")) as (url, seen):
        paths = {kind: {"path": "/lists/{sync_id}", "body": {"list": "rows"}} for kind in ("upsert", "remove")}
        send(replace(make_target(url, **paths), sync=name), batch(["p1"]), batch(["p1"], op="remove"))
    assert len(seen) == 2
    assert not [request for request in seen if b"hiv" in request.lower()]
    folder = Destination(name="lab", connector="file", channel="file", file=FileOptions(folder="out"))
    target = Target(folder, Egress(folders=(tmp_path / "out",)), "r1", tmp_path, sync=name)
    asyncio.run(deliver(FileConnector(target), batch(["p1"]), batch(["p2"], op="remove")))
    written = list((tmp_path / "out").iterdir())
    assert len(written) == 3
    assert not [path for path in written if "hiv" in (path.name + path.read_text()).lower()]


def test_a_path_names_the_sync_and_nothing_else() -> None:
    """attack 12: no value of a row makes a URL"""
    with pytest.raises(ValidationError, match=r"holds \{email\}; valid: \{sync\}, \{sync_id\}"):
        make_target("https://x.example", upsert={"path": "/lists/{sync}/{email}"})


def test_no_more_requests_at_a_time_than_declared(sandbox: Sandbox) -> None:
    sandbox.fault("email", "slow", seconds=0.1, times=None)

    async def run() -> float:
        async with HttpConnector(make_target(sandbox.url, concurrency=2)) as connector:
            began = time.monotonic()
            await asyncio.gather(*(connector.send(batch([f"p{n}"])) for n in range(6)))
            return time.monotonic() - began

    assert 0.3 <= asyncio.run(run()) < 0.6


def test_a_channel_without_a_remove_request(sandbox: Sandbox) -> None:
    connector = HttpConnector(make_target(sandbox.url, remove=None))
    assert connector.batch_size("remove") == 0
    with pytest.raises(DeliveryError, match="no `remove` request"):
        asyncio.run(deliver(connector, batch(["p1"], op="remove")))


# -- egress -----------------------------------------------------------------------------------------------------------------

AGREED = Egress(hosts=frozenset({"api.example.org"}), paths=("/v3/marketing", "/v3/asm/"))
OPEN = Egress(hosts=frozenset({"api.example.org"}))


@pytest.mark.parametrize(
    ("url", "path", "egress"),
    [
        ("https://api.example.org", "/v3/marketing/contacts", AGREED),
        ("https://api.example.org", "/v3/marketing", AGREED),
        ("https://API.example.org:443/v3", "asm/x?list=/../7", AGREED),
        ("https://api.example.org/anything", "/at/all", OPEN),
        ("https://api.example.org:8443", "/x", Egress(hosts=frozenset({"api.example.org:8443"}))),
        ("http://127.0.0.1:1", "/x", Egress(plaintext_loopback=True)),
        ("http://[::1]:1", "/x", Egress(plaintext_loopback=True)),
        ("https://localhost", "/x", Egress(plaintext_loopback=True)),
    ],
)
def test_what_the_agreement_names_is_allowed(url: str, path: str, egress: Egress) -> None:
    HttpConnector(make_target(url, egress=egress, upsert={"path": path}, remove=None))


@pytest.mark.parametrize(
    ("url", "path", "egress", "message"),
    [
        ("https://evil.example.org", "/x", OPEN, r"host evil.example.org is refused; the agreement allows: api.example.org"),
        ("https://api.example.org.evil.com", "/x", OPEN, "host .* is refused"),
        ("https://xapi.example.org", "/x", OPEN, "host .* is refused"),
        ("https://api.example.org.", "/x", OPEN, "host .* is refused"),
        ("https://api.example.org:8443", "/x", OPEN, "host api.example.org:8443 is refused"),
        ("https://\u0430pi.example.org", "/x", OPEN, "is refused"),  # a Cyrillic letter
        ("https://api.example.org@evil.com", "/x", OPEN, "user name or password"),
        ("https://user:hunter2@api.example.org", "/x", OPEN, "user name or password"),
        ("https://evil.com#@api.example.org", "/x", OPEN, "query or a fragment"),
        ("https://evil.com?@api.example.org", "/x", OPEN, "query or a fragment"),
        ("https://evil.com\\@api.example.org", "/x", OPEN, "refused|no URL|user name"),
        ("http://api.example.org", "/x", OPEN, "only https is"),
        ("ftp://api.example.org", "/x", OPEN, "only https is"),
        ("api.example.org", "/x", OPEN, "is refused"),
        ("", "/x", OPEN, "is refused"),
        ("https://api.example.org:99999", "/x", OPEN, "no URL|refused"),
        (
            "https://api.example.org",
            "/v3/marketingx",
            AGREED,
            r"path /v3/marketingx is refused; the agreement allows: /v3/marketing, /v3/asm/",
        ),
        ("https://api.example.org", "/v3/asm", AGREED, "path .* is refused"),
        ("https://api.example.org", "/v3/marketing/../mail/send", AGREED, "path .* is refused"),
        ("https://api.example.org", "/v3/marketing/%2e%2e/mail", AGREED, "path .* is refused"),
        ("https://api.example.org", "/v3/marketing/..;/mail", AGREED, "path .* is refused"),
        ("https://api.example.org", "/v3/marketing/%2e.;x=1/mail", AGREED, "path .* is refused"),
        ("https://api.example.org", "/v3/marketing/..%3b/mail", AGREED, "path .* is refused"),
        ("https://api.example.org", "/v3/marketing/%252e%252e/mail", AGREED, "path .* is refused"),
        ("https://api.example.org", "/v3/marketing%2f..%2fmail", AGREED, "path .* is refused"),
        ("https://api.example.org", "/v3/marketing/..%5cmail", AGREED, "path .* is refused"),
        ("http://127.0.0.1", "/x", OPEN, "loopback, which is refused here"),
        ("https://localhost", "/x", OPEN, "loopback, which is refused here"),
        ("https://localhost", "/x", Egress(hosts=frozenset({"localhost"})), "loopback"),
        ("http://127.1.2.3", "/x", Egress(), "loopback"),
        ("http://0.0.0.0", "/x", Egress(plaintext_loopback=True), "host 0.0.0.0 is refused"),
        ("http://10.0.0.1", "/x", Egress(plaintext_loopback=True), "host 10.0.0.1 is refused; the agreement allows: none"),
        ("http://169.254.169.254", "/x", Egress(plaintext_loopback=True), "is refused"),
        ("http://localhost.evil.com", "/x", Egress(plaintext_loopback=True), "is refused"),
        ("http://2130706433", "/x", Egress(plaintext_loopback=True), "is refused"),
    ],
)
def test_anything_else_is_refused_before_it_is_sent(url: str, path: str, egress: Egress, message: str) -> None:
    """attacks 12 and 14: exact names; certificates are verified"""
    with pytest.raises(DeliveryError, match=message) as caught:
        HttpConnector(make_target(url, egress=egress, upsert={"path": path}, remove=None))
    assert "destination outreach" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_remove_path_is_checked_too() -> None:
    with pytest.raises(DeliveryError, match="path /v3/mail is refused"):
        HttpConnector(make_target("https://api.example.org/v3", egress=AGREED, upsert={"path": "/asm/x"}, remove={"path": "/mail"}))


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "304 Not Modified", "307 Temporary", "308 Permanent"])
def test_redirects_are_refused(status: str) -> None:
    """attack 13"""
    with raw_server(http(status, b"", f"Location: http://127.0.0.1:9/{MARKER}")) as (url, seen):
        with pytest.raises(DeliveryError, match=rf"127.0.0.1 answered {status[:3]}; redirects are refused") as caught:
            send(make_target(url), batch(["p1"]))
        assert len(seen) == 1
    assert MARKER not in str(caught.value)


def test_the_sandbox_redirect_is_not_followed(sandbox: Sandbox) -> None:
    """attack 13"""
    sandbox.fault("email", "redirect")
    with pytest.raises(DeliveryError, match="redirects are refused"):
        send(make_target(sandbox.url), batch(["p1"]))
    assert sandbox.rows("email") == []


# -- headers and secrets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "secrets", "message"),
    [
        ({"Authorization": "Bearer {apikey}"}, None, r"header Authorization: no secret for {apikey}; valid: api_key"),
        ({"X": "{api_key.__class__}"}, None, r"no secret for {api_key.__class__}"),
        ({"X": "{}"}, None, r"no secret for {}"),
        ({"Authorization": "Bearer {api_key}"}, {}, "valid: none"),
        ({"X": "a\r\nY: b"}, None, "header X: after its secrets it holds"),
        ({"X": "{api_key}"}, {"api_key": f"{SECRET}\n"}, "header X: after its secrets it holds a line break"),
        ({"X": "{api_key}"}, {"api_key": f"{SECRET}€"}, "header X: after its secrets it holds"),
        ({"X": "{api_key}"}, {"api_key": f" {SECRET}"}, "header X"),
        ({"X y": "z"}, None, "header 'X y' cannot be set here"),
        ({"Host": "evil.com"}, None, "header 'Host' cannot be set here"),
        ({"Idempotency-Key": "1"}, None, "cannot be set here"),
        ({"Content-Length": "1"}, None, "cannot be set here"),
        ({"X-Original-URL": "/v3/mail/send"}, None, "header 'X-Original-URL' cannot be set here"),
        ({"x-rewrite-url": "/v3/mail/send"}, None, "cannot be set here"),
        ({"X-Forwarded-Host": "evil.com"}, None, "cannot be set here"),
        ({"Forwarded": "host=evil.com"}, None, "cannot be set here"),
    ],
)
def test_headers_that_cannot_be(headers: dict[str, str], secrets: dict[str, str] | None, message: str) -> None:
    """attack 12: header values come from secrets only, and hold no line break"""
    with pytest.raises(DeliveryError, match=message) as caught:
        HttpConnector(make_target("http://127.0.0.1:9", headers=headers, secrets=secrets))
    assert "destination outreach" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_all_mistakes_in_headers_are_told_at_once() -> None:
    with pytest.raises(DeliveryError, match=r"header A: no secret for {x}.*header B: no secret for {y}"):
        HttpConnector(make_target("http://127.0.0.1:9", headers={"A": "{x}", "B": "{y}"}))


def test_a_secret_is_not_a_template() -> None:
    """attack 12"""
    with raw_server(http("200 OK")) as (url, seen):
        send(make_target(url, headers={"X-Key": "{a}"}, secrets={"a": "{b}", "b": SECRET}), batch(["p1"]))
    assert b"x-key: {b}" in seen[0].lower()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"upsert": {"path": "/x", "body": {"lists": "rows"}}}, r"http.upsert.body: valid: array, ndjson"),
        ({"errors": {"list": "errors", "code": "code"}}, "needs `key` or `index`"),
    ],
)
def test_declarations_that_cannot_work(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DeliveryError, match=message):
        HttpConnector(make_target("http://127.0.0.1:9", **options))


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_stop_the_delivery(sandbox: Sandbox, status: int) -> None:
    sandbox.fault("email", str(status), code=SECRET)
    with pytest.raises(DeliveryError, match=rf"refuses our credentials \({status}\)") as caught:
        send(make_target(sandbox.url), batch(["p1"]))
    assert SECRET not in str(caught.value)
    assert "api_key" in str(caught.value)


@pytest.mark.parametrize("fault", ["429", "500", "reset", "half_reset", "html", "redirect", "401", "400"])
def test_nothing_is_said_of_rows_or_secrets_when_things_go_wrong(
    sandbox: Sandbox, fault: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """attacks 8 and 17"""
    caplog.set_level(logging.DEBUG)
    sandbox.fault("email", fault, times=None)
    said = ""
    try:
        said = repr(send(make_target(sandbox.url, errors=ERRORS), batch([MARKER, f"{MARKER}-2"], [MARKER, MARKER])))
    except DeliveryError as error:
        said = f"{error!r} {error} {error.__cause__}"
    captured = capfd.readouterr()
    assert MARKER not in "".join((said, caplog.text, captured.out, captured.err))
    assert "/email/contacts" not in caplog.text


def test_other_users_of_httpx_keep_their_logs(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """attack 17: ours log no URL and no header"""
    import httpx

    caplog.set_level(logging.INFO)
    send(make_target(sandbox.url), batch(["p1"]))
    assert "HTTP Request" not in caplog.text
    httpx.get(f"{sandbox.url}/_sandbox", trust_env=False)
    assert "HTTP Request" in caplog.text


# -- patience -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("500", [500, 500, 200]),
        ("503", [503, 503, 200]),
        ("408", [408, 408, 200]),
        ("425", [425, 425, 200]),
        ("429", [429, 429, 200]),
        ("reset", [0, 0, 200]),
    ],
)
def test_what_passes_is_tried_again(sandbox: Sandbox, fault: str, seen: list[int]) -> None:
    sandbox.fault("email", fault, times=2)
    assert outcome(send(make_target(sandbox.url), batch(["p1", "p2"]))[0]) == {("delivered", None)}
    assert statuses(sandbox) == seen
    assert len({request["idempotency_key"] for request in sandbox.requests("email")}) == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("500", "http_500"),
        ("503", "http_503"),
        ("429", "http_429"),
        ("421", "http_421"),
        ("408", "http_408"),
        ("reset", "reset"),
        ("half_reset", "reset"),
    ],
)
def test_what_does_not_pass_is_undecided(sandbox: Sandbox, fault: str, code: str) -> None:
    sandbox.fault("email", fault, times=None)
    assert outcome(send(make_target(sandbox.url), batch(["p1", "p2"]))[0]) == {("retryable", code)}
    assert len(statuses(sandbox)) == QUICK["attempts"]


@pytest.mark.parametrize("fault", ["applied_but_500", "half_reset"])
def test_what_was_taken_without_an_answer_is_not_taken_twice(sandbox: Sandbox, fault: str) -> None:
    sandbox.fault("email", fault)
    assert outcome(send(make_target(sandbox.url), batch(["p1", "p2"]))[0]) == {("delivered", None)}
    assert [request["duplicate"] for request in sandbox.requests("email")] == [False, True]
    assert len(sandbox.rows("email")) == 2


def as_date(seconds: float) -> str:
    return format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(("wait", "least"), [("1", 1.0), (lambda: as_date(2), 0.9)], ids=["seconds", "date"])
@pytest.mark.parametrize("status", ["429", "503"])
def test_retry_after_is_obeyed(sandbox: Sandbox, wait: Any, least: float, status: str) -> None:
    sandbox.fault("email", status, retry_after=wait if isinstance(wait, str) else wait())
    began = time.monotonic()
    assert outcome(send(make_target(sandbox.url, max_wait_seconds=3), batch(["p1"]))[0]) == {("delivered", None)}
    assert least <= time.monotonic() - began < 3


def test_all_requests_pause_when_one_is_told_to(sandbox: Sandbox) -> None:
    sandbox.fault("email", "429", retry_after=1)

    async def run() -> None:
        async with HttpConnector(make_target(sandbox.url, max_wait_seconds=3, concurrency=1)) as connector:
            await asyncio.gather(*(connector.send(batch([f"p{n}"])) for n in range(3)))

    asyncio.run(run())
    at = [dt.datetime.fromisoformat(request["at"]) for request in sandbox.requests("email")]
    assert statuses(sandbox) == [429, 200, 200, 200]
    assert (at[1] - at[0]).total_seconds() >= 0.99


@pytest.mark.parametrize("wait", ["3600", "99999999999999999999", as_date(3600)], ids=["seconds", "ages", "date"])
def test_who_asks_for_too_long_is_left_alone(sandbox: Sandbox, wait: str) -> None:
    sandbox.fault("email", "429", retry_after=wait)
    began = time.monotonic()
    first, second = send(make_target(sandbox.url, max_wait_seconds=2), batch(["p1"]), batch(["p2"]))
    assert outcome(first) == outcome(second) == {("retryable", "http_429")}
    assert statuses(sandbox) == [429]  # the second was not even sent
    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("wait", ["soon", "-5", "", "Thu, 99 Foo 2026"])
def test_a_retry_after_that_says_nothing_is_no_wait(sandbox: Sandbox, wait: str) -> None:
    sandbox.fault("email", "429", retry_after=wait)
    assert outcome(send(make_target(sandbox.url), batch(["p1"]))[0]) == {("delivered", None)}


@pytest.mark.parametrize("fault", ["slow", "drip"])
def test_one_deadline_holds_for_the_whole_exchange(sandbox: Sandbox, fault: str) -> None:
    sandbox.fault("email", fault, seconds=5, times=None)
    began = time.monotonic()
    assert outcome(send(make_target(sandbox.url, timeout_seconds=0.3, attempts=2), batch(["p1"]))[0]) == {("retryable", "timeout")}
    assert 0.6 <= time.monotonic() - began < 2


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert outcome(send(make_target(f"http://127.0.0.1:{port}"), batch(["p1"]))[0]) == {("retryable", "connect")}


def test_a_name_that_is_not_known() -> None:
    target = make_target("https://no-such-host.invalid", egress=Egress(hosts=frozenset({"no-such-host.invalid"})), attempts=1)
    assert outcome(send(target, batch(["p1"]))[0]) == {("retryable", "dns")}


def test_a_certificate_that_nobody_signed(tmp_path: Path) -> None:
    """attack 14"""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject, *files], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    taken: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            try:
                connection, _ = listener.accept()
                with context.wrap_socket(connection, server_side=True) as secured:
                    taken.append(secured.recv(65536))
            except OSError:
                return

        threading.Thread(target=run, daemon=True).start()
        target = make_target(f"https://localhost:{listener.getsockname()[1]}", attempts=1)
        assert outcome(send(target, batch(["p1"]))[0]) == {("retryable", "tls")}
    assert taken == []


def test_a_destination_that_is_down_is_soon_left_alone() -> None:
    def hang_up(connection: socket.socket) -> None:
        connection.close()

    with raw_server(hang_up) as (url, seen):
        found = send(make_target(url, attempts=2), *(batch([f"p{n}"]) for n in range(8)))
        assert [next(iter(outcome(each)))[1] for each in found] == ["reset"] * 5 + ["circuit_open"] * 3
        assert len(seen) == 10


def test_one_answer_closes_the_count_of_failures(sandbox: Sandbox) -> None:
    for _ in range(4):
        sandbox.fault("email", "reset", times=4)
        sandbox.fault("email", "500")
    found = send(make_target(sandbox.url, attempts=1), *(batch([f"p{n}"]) for n in range(21)))
    assert outcome(found[-1]) == {("delivered", None)}


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"",
    ],
)
def test_answers_that_are_not_http_are_undecided(answer: bytes) -> None:
    with raw_server(answer) as (url, _):
        assert outcome(send(make_target(url, attempts=1), batch(["p1"]))[0]) == {("retryable", "reset")}


# -- which rows were taken ----------------------------------------------------------------------------------------------------


def test_rejected_rows_are_named_by_key(sandbox: Sandbox) -> None:
    sandbox.fault("email", "reject", keys=["p1", "p3"], code="invalid_email")
    (receipts,) = send(make_target(sandbox.url, errors=ERRORS), batch(["p0", "p1", "p2", "p3"]))
    assert list(receipts.statuses) == ["delivered", "rejected", "delivered", "rejected"]
    assert list(receipts.codes) == [None, "invalid_email", None, "invalid_email"]
    assert {row["external_id"] for row in sandbox.rows("email")} == {"p0", "p2"}


def test_rejected_rows_are_named_by_index(sandbox: Sandbox) -> None:
    sandbox.fault("email", "reject", keys=["p2"], code="7")
    (receipts,) = send(make_target(sandbox.url, errors={"list": "errors", "index": "index", "code": "code"}), batch(["p0", "p1", "p2"]))
    assert list(receipts.statuses) == ["delivered", "delivered", "rejected"]
    assert receipts.codes[2] == "7"


def test_rejected_removals(sandbox: Sandbox) -> None:
    sandbox.fault("email", "reject", keys=["p1"], code="locked")
    (receipts,) = send(make_target(sandbox.url, errors=ERRORS), batch(["p0", "p1"], op="remove"))
    assert list(receipts.statuses) == ["delivered", "rejected"]


def reply(body: object, errors: dict[str, str] | None, rows: Batch, status: str = "200 OK") -> list[tuple[str, str | None]]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with raw_server(http(status, raw)) as (url, _):
        (receipts,) = send(make_target(url, errors=errors and RowErrors(**errors).model_dump(), attempts=1), rows)
    return list(zip(receipts.statuses, receipts.codes, strict=True))


TWO_KEYS = Batch("upsert", pa.table({"a": ["x", "x"], "b": [1, 2], "v": ["one", "two"]}), ("a", "b"), ("c1", "c2"))


@pytest.mark.parametrize("key", [["x", 2], {"b": 2, "a": "x"}, ["x", "2"]])
def test_several_key_columns_are_matched_together(key: Any) -> None:
    assert reply({"errors": [{"key": key, "code": "no"}]}, ERRORS, TWO_KEYS) == [("delivered", None), ("rejected", "no")]


@pytest.mark.parametrize(
    "error",
    [
        {"key": "stranger"},
        {"key": None},
        {"key": ["p0", "p1"]},
        {"key": {"external_id": "stranger"}},
        {},
        {"index": 2},
        {"index": -1},
        {"index": True},
    ],
)
def test_an_error_that_names_no_row_leaves_all_undecided(error: dict[str, Any]) -> None:
    assert reply({"errors": [{"key": "p0"}, error]}, ERRORS, batch(["p0", "p1"])) == [("retryable", "unmatched_errors")] * 2


@pytest.mark.parametrize("error", [{"key": None, "index": 1}, {"key": None, "index": "1"}, {"index": 1}])
def test_an_error_without_a_key_names_its_row_by_position(error: dict[str, Any]) -> None:
    assert reply({"errors": [{**error, "code": "no"}]}, ERRORS, batch(["p0", "p1"])) == [("delivered", None), ("rejected", "no")]
    assert reply({"errors": [{"key": "stranger", "index": 1}]}, ERRORS, batch(["p0", "p1"])) == [("retryable", "unmatched_errors")] * 2


def test_integer_keys_are_matched_as_text() -> None:
    rows = Batch("upsert", pa.table({"id": [7, 8]}), ("id",), ("c1", "c2"))
    assert reply({"errors": [{"key": "8", "code": "no"}]}, ERRORS, rows) == [("delivered", None), ("rejected", "no")]


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("invalid_email", "invalid_email"),
        (1042, "1042"),
        ("no such list", "rejected"),
        ("x" * 65, "rejected"),
        ("", "rejected"),
        (None, "rejected"),
        (True, "rejected"),
        ({"a": 1}, "rejected"),
        ("p0", "rejected"),
        ("Bartholomew", "rejected"),
        ("bad_BARTHOLOMEW_name", "rejected"),
        ("2026-01-01", "rejected"),
        ("20260101", "rejected"),
        ("Barthol", "rejected"),
        ("000-4711.0", "rejected"),
        ("0004711.0", "rejected"),
        (SECRET, "rejected"),
        ("naïve", "rejected"),
        ("ok\n", "rejected"),
    ],
)
def test_a_code_repeats_no_value(code: Any, shown: str) -> None:
    """attack 8: in no spelling"""
    sent = batch(["p0"], ["Bartholomew"])
    sent = replace(sent, rows=sent.rows.append_column("chart", pa.array([4711], pa.int64())))
    answers = reply({"errors": [{"key": "p0", "code": code}]}, ERRORS, sent)
    assert answers == [("rejected", shown)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"OK",
        b"<html>sign in</html>",
        b"[]",
        b"{}",
        b'{"errors": 3}',
        b'{"errors": ["p0"]}',
        b'{"errors": {"p0": "bad"}}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"errors": [' + b" " * 1_100_000 + b"]}",
    ],
)
def test_a_success_that_cannot_be_read_is_undecided(body: bytes) -> None:
    assert reply(body, ERRORS, batch(["p0", "p1"])) == [("retryable", "bad_response")] * 2


@pytest.mark.parametrize("body", [b'{"errors": []}', b'{"errors": null}'])
def test_no_errors_is_success(body: bytes) -> None:
    assert reply(body, ERRORS, batch(["p0"])) == [("delivered", None)]


def test_a_nested_list_of_errors() -> None:
    body = {"result": {"failed": [{"who": "p0", "why": "bounced"}]}}
    errors = {"list": "result.failed", "key": "who", "code": "why"}
    assert reply(body, errors, batch(["p0", "p1"])) == [("rejected", "bounced"), ("delivered", None)]


def test_without_declared_errors_the_body_says_nothing() -> None:
    xml = b'<?xml version="1.0"?><!-- 7 --><response>ok</response>'
    for body in (
        b"",
        b"OK",
        b"<ok/>",
        b"<titled>",
        xml,
        b"<!-- " * 10_000,
        b" " * 100_000 + b"<!-- -->" * 10_000,
        b'{"errors": [{"key": "p0"}]}',
    ):
        assert reply(body, None, batch(["p0"])) == [("delivered", None)]
    assert reply(b"", ERRORS, batch(["p0"]), "204 No Content") == [("delivered", None)]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"\n<!DOCTYPE html><title>Please sign in</title>", "200 OK", "bad_response"),
        (b"<HTML lang=en>", "201 Created", "bad_response"),
        (b"\xef\xbb\xbf<!doctype html><title>Please sign in</title>", "200 OK", "bad_response"),
        (b"<!-- gateway 7 -->\n<!-- <ok> --><html>", "200 OK", "bad_response"),
        (b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "x">', "200 OK", "bad_response"),
        (b"<head><title>Request blocked</title></head>", "202 Accepted", "bad_response"),
        (b"<script>location = '/login'</script>", "200 OK", "bad_response"),
        (b"<body>The service is being maintained", "200 OK", "bad_response"),
        (b'{"errors": []}', "207 Multi-Status", "http_207"),
    ],
)
def test_a_page_or_an_answer_of_parts_is_no_success_where_no_errors_are_declared(body: bytes, status: str, code: str) -> None:
    assert reply(body, None, batch(["p0", "p1"]), status) == [("retryable", code)] * 2
    assert reply(b'{"errors": []}', ERRORS, batch(["p0"]), "207 Multi-Status") == [("delivered", None)]


@pytest.mark.parametrize("fault", ["html", "not_json"])
def test_the_sandbox_says_nonsense(sandbox: Sandbox, fault: str) -> None:
    sandbox.fault("email", fault)
    first, second = send(make_target(sandbox.url, errors=ERRORS), batch(["p1"]), batch(["p1"]))
    assert outcome(first) == {("retryable", "bad_response")}
    assert outcome(second) == {("delivered", None)}


@pytest.mark.parametrize("status", ["404", "405", "409", "410", "451"])
def test_other_refusals_reject_the_batch_without_another_try(sandbox: Sandbox, status: str) -> None:
    sandbox.fault("email", status)
    assert outcome(send(make_target(sandbox.url), batch(["p1", "p2"]))[0]) == {("rejected", f"http_{status}")}
    assert len(statuses(sandbox)) == 1


@pytest.mark.parametrize("status", ["400", "413", "422"])
def test_one_poisoned_row_does_not_take_its_batch_with_it(sandbox: Sandbox, status: str) -> None:
    sandbox.fault("email", status, keys=["p77"], times=None)
    ids = [f"p{n}" for n in range(128)]
    (receipts,) = send(make_target(sandbox.url, errors=ERRORS), batch(ids))
    assert dict(zip(ids, zip(receipts.statuses, receipts.codes, strict=True), strict=True)) == {
        each: ("rejected", f"http_{status}") if each == "p77" else ("delivered", None) for each in ids
    }
    assert len(sandbox.rows("email")) == 127
    assert len(statuses(sandbox)) == 1 + 2 * 7
    assert len({request["idempotency_key"] for request in sandbox.requests("email")}) == 15


def test_several_poisoned_rows_are_all_found(sandbox: Sandbox) -> None:
    bad = {"p1", "p2", "p40", "p63", "p100"}
    sandbox.fault("email", "400", keys=sorted(bad), times=None)
    ids = [f"p{n}" for n in range(128)]
    (receipts,) = send(make_target(sandbox.url), batch(ids))
    assert {each for each, status in zip(ids, receipts.statuses, strict=True) if status == "rejected"} == bad


def test_a_channel_that_takes_fewer_rows_gets_fewer(sandbox: Sandbox) -> None:
    sandbox.options("email", max_rows=10)
    (receipts,) = send(make_target(sandbox.url), batch([f"p{n}" for n in range(100)]))
    assert outcome(receipts) == {("delivered", None)}
    assert len(sandbox.rows("email")) == 100


def test_a_channel_that_refuses_everything_is_soon_left_alone(sandbox: Sandbox) -> None:
    sandbox.fault("email", "400", times=None)
    (receipts,) = send(make_target(sandbox.url), batch([f"p{n}" for n in range(512)]))
    assert outcome(receipts) == {("rejected", "http_400")}
    assert len(statuses(sandbox)) <= 1 + 2 * 10


def test_a_refusal_that_names_its_rows_lets_the_others_through() -> None:
    refusal = http("400 Bad Request", json.dumps({"errors": [{"key": "p1", "code": "bad"}]}).encode())
    with raw_server(refusal, http("200 OK", b'{"errors": []}')) as (url, seen):
        (receipts,) = send(make_target(url, errors=ERRORS), batch(["p0", "p1", "p2"]))
    assert list(zip(receipts.statuses, receipts.codes, strict=True)) == [("delivered", None), ("rejected", "bad"), ("delivered", None)]
    assert [row["external_id"] for row in json.loads(seen[1].partition(b"\r\n\r\n")[2])] == ["p0", "p2"]


def test_an_undecided_half_stays_undecided(sandbox: Sandbox) -> None:
    sandbox.fault("email", "400")
    sandbox.fault("email", "500", times=None, keys=["p0"])
    (receipts,) = send(make_target(sandbox.url), batch(["p0", "p1", "p2", "p3"]))
    assert list(receipts.statuses) == ["retryable", "retryable", "delivered", "delivered"]


def test_rows_that_json_cannot_hold_are_rejected_alone(sandbox: Sandbox) -> None:
    rows = pa.table({"external_id": ["a", "b", "c"], "v": [1.5, math.nan, -math.inf]})
    (receipts,) = send(make_target(sandbox.url), Batch("upsert", rows, ("external_id",), ("1", "2", "3")))
    assert list(zip(receipts.statuses, receipts.codes, strict=True)) == [("delivered", None), *[("rejected", "not_finite")] * 2]
    assert sandbox.rows("email") == [{"external_id": "a", "v": 1.5}]


# -- bodies -------------------------------------------------------------------------------------------------------------------

CELLS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): st.text(),
    pa.large_string(): st.text(),
    pa.dictionary(pa.int32(), pa.string()): st.sampled_from(["a", 'b"', ""]),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.float64(): st.floats(allow_nan=False, allow_infinity=False),
    pa.bool_(): st.booleans(),
    pa.date32(): st.dates(),
    pa.timestamp("us", "UTC"): st.datetimes(timezones=st.just(dt.UTC)),
    pa.timestamp("us", "America/New_York"): st.datetimes(dt.datetime(1900, 1, 1), timezones=st.just(dt.UTC)),
    pa.timestamp("us"): st.datetimes(),
    pa.decimal128(38, 9): st.decimals(Decimal(-(10**28)), Decimal(10**28), places=9),
    pa.decimal128(10, 2): st.decimals(Decimal(-(10**7)), Decimal(10**7), places=2),
}


def read_back(value: Any, kind: pa.DataType) -> Any:
    if value is None or not (pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
        return value
    return dt.date.fromisoformat(value) if pa.types.is_date(kind) else dt.datetime.fromisoformat(value)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_json_says_exactly_what_the_row_holds(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(list(CELLS)), min_size=1, max_size=4))
    names = data.draw(st.lists(st.text(min_size=1), min_size=len(kinds), max_size=len(kinds), unique=True))
    count = data.draw(st.integers(0, 4))
    values = [data.draw(st.lists(st.none() | CELLS[kind], min_size=count, max_size=count)) for kind in kinds]
    table = pa.table([pa.array(column, kind) for column, kind in zip(values, kinds, strict=True)], names=names)
    found = [json.loads(row, parse_float=Decimal) for row in json_rows(table)]
    assert len(found) == count
    for place, row in enumerate(found):
        assert list(row) == names
        for name, kind, column in zip(names, kinds, values, strict=True):
            told = float(row[name]) if pa.types.is_floating(kind) and row[name] is not None else read_back(row[name], kind)
            assert told == column[place]


def test_numbers_stay_numbers_and_decimals_keep_every_digit() -> None:
    big = Decimal("12345678901234567890123456789.012345678")
    table = pa.table({"d": pa.array([big], pa.decimal128(38, 9)), "f": [0.1], "n": pa.nulls(1), "b": [True], "i": [2**63 - 1]})
    assert json_rows(table) == ['{"d":12345678901234567890123456789.012345678,"f":0.1,"n":null,"b":true,"i":9223372036854775807}']


def test_every_control_character_is_escaped() -> None:
    text = "".join(map(chr, range(33))) + '"\\\x7f\u2028\u2029'
    assert json.loads(json_rows(pa.table({'a"\n': [text, "plain"]}))[0]) == {'a"\n': text}


@pytest.mark.parametrize("text", ['"', "\\", '\\"', '"\\n"', '\\\\""'])
def test_quotes_and_backslashes_are_escaped_where_nothing_else_is(text: str) -> None:
    assert [json.loads(row)["a"] for row in json_rows(pa.table({"a": ["plain", text, None, f"x{text}y"]}))] == [
        "plain",
        text,
        None,
        f"x{text}y",
    ]


def test_slices_of_chunked_tables() -> None:
    table = pa.concat_tables([pa.table({"a": [f"x{n}"]}) for n in range(5)])
    assert json_rows(table.slice(1, 3)) == ['{"a":"x1"}', '{"a":"x2"}', '{"a":"x3"}']


def test_nested_columns_are_refused_by_name() -> None:
    with pytest.raises(DeliveryError, match=r"codes \(list.*tags \(struct"):
        json_rows(pa.table({"codes": [[1]], "ok": [1], "tags": [{"a": 1}]}))


def test_finite_names_the_rows_that_json_can_hold() -> None:
    table = pa.table({"a": [1.0, math.nan, None, 4.0], "b": [math.inf, 2.0, 3.0, None], "c": ["x"] * 4})
    assert finite(table) == [2, 3]
    assert finite(pa.table({"c": ["x", "y"]})) == [0, 1]
    assert finite(table.slice(0, 0)) == []


def test_100_000_rows_are_encoded_in_little_time() -> None:
    count = 100_000
    table = pa.table(
        {
            "external_id": [hashlib.md5(str(n).encode()).hexdigest() for n in range(count)],
            "email": [f"p{n}@example.org" for n in range(count)],
            "n": list(range(count)),
        }
    )
    began = time.process_time()
    for start in range(0, count, 500):
        json_rows(table.slice(start, 500))
    assert time.process_time() - began < 0.6
