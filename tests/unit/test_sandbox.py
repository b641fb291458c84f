"""The sandbox: what it keeps, what it answers, which faults it stages, what it refuses."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from cdp.errors import UsageError
from cdp.sandbox import Sandbox

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def client(running: Sandbox) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, trust_env=False, timeout=5) as opened:
        yield opened


def rows(*ids: str, **more: Any) -> list[dict[str, Any]]:
    return [{"external_id": each, **more} for each in ids]


# -- rows -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize(
    "body",
    [
        json.dumps(rows("p1", "p2")),
        json.dumps({"contacts": rows("p1", "p2"), "list_id": 7}),
        "\n".join(map(json.dumps, rows("p1", "p2"))) + "\n",
    ],
    ids=["array", "list", "ndjson"],
)
def test_rows_are_taken_in_every_form(sandbox: Sandbox, client: httpx.Client, method: str, body: str) -> None:
    answer = client.request(method, "/email/v1/contacts", content=body)
    assert (answer.status_code, answer.json()) == (200, {"accepted": 2, "errors": []})
    assert client.get("/_sandbox/email/rows").json() == {"count": 2, "rows": rows("p1", "p2")}


def test_the_same_key_is_one_row(sandbox: Sandbox, client: httpx.Client) -> None:
    client.post("/email", json=rows("p1", name="Old", extra=1))
    client.post("/email", json=rows("p1", name="New"))
    assert sandbox.rows("email") == rows("p1", name="New")


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/email/x"), ("POST", "/email/x/remove"), ("POST", "/email/x/delete?now=1")])
def test_rows_are_taken_away(sandbox: Sandbox, client: httpx.Client, method: str, path: str) -> None:
    client.post("/email/x", json=rows("p1", "p2"))
    answer = client.request(method, path, json=rows("p2", "stranger"))
    assert answer.json() == {"accepted": 2, "errors": []}
    assert sandbox.rows("email") == rows("p1")


def test_channels_do_not_mix(sandbox: Sandbox, client: httpx.Client) -> None:
    client.post("/email/x", json=rows("p1"))
    client.post("/sms/x", json=rows("p2"))
    assert sandbox.rows("email") == rows("p1")
    assert client.get("/_sandbox").json()["channels"]["sms"] == {"rows": 1, "requests": 1, "duplicates": 0, "faults": 0}


def test_lists_do_not_mix(sandbox: Sandbox, client: httpx.Client) -> None:
    for name in ("a", "b"):
        client.put(f"/calls/v1/lists/{name}/members", json=rows("p1", why=name))
    assert sandbox.rows("calls") == [*rows("p1", why="a"), *rows("p1", why="b")]
    client.request("DELETE", "/calls/v1/lists/a/members", json=rows("p1"))
    client.post("/calls/v1/lists/c/members/remove", json=rows("p1"))
    assert sandbox.rows("calls") == rows("p1", why="b")


def test_the_first_field_is_the_key_where_there_is_no_external_id(sandbox: Sandbox, client: httpx.Client) -> None:
    client.post("/ads", json=[{"hash": "a", "n": 1}, {"hash": "a", "n": 2}, {"n": 3}])
    assert sandbox.rows("ads") == [{"hash": "a", "n": 2}]


def test_the_key_can_be_set(sandbox: Sandbox, client: httpx.Client) -> None:
    client.post("/_sandbox/ads/options", json={"key": ["list", "who"]})
    answer = client.post("/ads", json=[{"who": 1, "list": "a"}, {"who": 1, "list": "b"}, {"who": 1, "list": "a", "n": 1}, {"who": 2}])
    assert answer.json() == {"accepted": 3, "errors": [{"key": [None, 2], "index": 3, "code": "missing_key"}]}
    assert sandbox.rows("ads") == [{"who": 1, "list": "a", "n": 1}, {"who": 1, "list": "b"}]


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"[[]]", b'"x"', b"[{}]", b'[{"a": NaN}]', b"\xff", b"[" * 100_000])
def test_what_is_not_rows_is_refused(sandbox: Sandbox, client: httpx.Client, body: bytes) -> None:
    assert client.post("/email", content=body).status_code == 400
    assert sandbox.rows("email") == []


# -- idempotency ------------------------------------------------------------------------------------------------------------


def test_the_same_key_and_body_is_not_applied_again(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.fault("email", "reject", keys=["p2"])
    answers = [client.post("/email", json=rows("p1", "p2"), headers={"Idempotency-Key": "k"})]
    client.request("DELETE", "/email", json=rows("p1"))
    answers.append(client.post("/email", json=rows("p1", "p2"), headers={"Idempotency-Key": "k"}))
    assert answers[0].content == answers[1].content
    assert sandbox.rows("email") == []
    assert sandbox.summary()["channels"]["email"]["duplicates"] == 1


def test_the_same_key_with_another_body_is_refused(sandbox: Sandbox, client: httpx.Client) -> None:
    client.post("/email", json=rows("p1"), headers={"Idempotency-Key": "k"})
    answer = client.post("/email", json=rows("p2"), headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()) == (422, {"error": "idempotency_mismatch"})
    assert sandbox.rows("email") == rows("p1")


def test_a_request_that_changed_nothing_may_be_tried_again(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.fault("email", "reject", keys=["p1"], times=1)
    sandbox.fault("email", "500")
    found = [client.post("/email", json=rows("p1"), headers={"Idempotency-Key": "k"}) for _ in range(3)]
    assert [(answer.status_code, answer.json().get("accepted")) for answer in found] == [(500, None), (200, 0), (200, 1)]


def test_one_key_at_the_same_time_is_applied_once(sandbox: Sandbox) -> None:
    def post(_: int) -> bytes:
        return httpx.post(f"{sandbox.url}/email", json=rows("p1"), headers={"Idempotency-Key": "k"}, trust_env=False).content

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(post, range(16)))) == 1
    assert sandbox.summary()["channels"]["email"] == {"rows": 1, "requests": 16, "duplicates": 15, "faults": 0}


# -- faults -----------------------------------------------------------------------------------------------------------------


def test_faults_are_used_up_in_order(sandbox: Sandbox, client: httpx.Client) -> None:
    staged = [{"fault": "429", "times": 2, "retry_after": 7}, {"fault": 503, "retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}]
    client.post("/_sandbox/email/faults", json=staged)
    found = [client.post("/email", json=rows("p1")) for _ in range(4)]
    assert [answer.status_code for answer in found] == [429, 429, 503, 200]
    assert [answer.headers.get("retry-after") for answer in found] == ["7", "7", "Wed, 21 Oct 2026 07:28:00 GMT", None]


def test_every_so_many_requests(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.fault("email", "500", every=3, times=2)
    assert [client.post("/email", json=rows("p1")).status_code for _ in range(8)] == [200, 200, 500, 200, 200, 500, 200, 200]


def test_faults_of_certain_rows(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.fault("email", "400", keys=["p2"], times=None)
    assert [client.post("/email", json=rows(*ids)).status_code for ids in (["p1"], ["p1", "p2"], ["p2"], ["p3"])] == [200, 400, 400, 200]


def test_a_channel_recovers(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.fault("email", "500", times=None)
    sandbox.fault("email", "reject")
    assert client.post("/email", json=rows("p1")).status_code == 500
    client.delete("/_sandbox/email/faults")
    assert client.post("/email", json=rows("p1")).json() == {"accepted": 1, "errors": []}


def test_rejects_stay(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.fault("email", "reject", keys=["p2"], code="bounced")
    for _ in range(2):
        assert client.post("/email", json=rows("p1", "p2")).json() == {
            "accepted": 1,
            "errors": [{"key": "p2", "index": 1, "code": "bounced"}],
        }
    assert sandbox.rows("email") == rows("p1")


def test_rejects_every_so_many_rows(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.fault("email", "reject", every=3)
    answer = client.post("/email", json=rows(*(f"p{n}" for n in range(7))))
    assert [error["index"] for error in answer.json()["errors"]] == [2, 5]


@pytest.mark.parametrize(
    ("fault", "status", "kind", "kept"),
    [
        ("applied_but_500", 500, "application/json", 1),
        ("multi_status", 207, "application/json", 1),
        ("html", 200, "text/html", 0),
        ("not_json", 200, "text/plain", 1),
        ("redirect", 302, "application/json", 0),
        ("503", 503, "application/json", 0),
    ],
)
def test_each_fault_takes_the_rows_or_not(sandbox: Sandbox, client: httpx.Client, fault: str, status: int, kind: str, kept: int) -> None:
    sandbox.fault("email", fault)
    answer = client.post("/email", json=rows("p1"))
    assert (answer.status_code, answer.headers["content-type"]) == (status, kind)
    assert len(sandbox.rows("email")) == kept
    assert client.post("/email", json=rows("p1")).status_code == 200


def test_half_a_batch_is_taken_and_all_of_it_when_it_comes_again(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.fault("email", "half_applied")
    found = []
    for _ in range(3):
        answer = client.post("/email", json=rows("p1", "p2", "p3"), headers={"Idempotency-Key": "k"})
        found.append((answer.status_code, len(sandbox.rows("email"))))
    assert found == [(500, 1), (200, 3), (200, 3)]
    assert sandbox.summary()["channels"]["email"]["duplicates"] == 1


def test_a_channel_of_effects_knows_no_idempotency_keys_and_counts_tellings(sandbox: Sandbox, client: httpx.Client) -> None:
    assert client.post("/_sandbox/sms/options", json={"effects": True}).status_code == 200
    for ids in (["p1", "p2"], ["p1", "p2"], ["p2"]):
        client.post("/sms", json=rows(*ids), headers={"Idempotency-Key": "k"})
    client.request("DELETE", "/sms", json=rows("p1"))
    assert sorted(sandbox.channel("sms").told.values()) == [2, 3]
    assert sandbox.summary()["channels"]["sms"]["duplicates"] == 0


@pytest.mark.parametrize(("fault", "kept"), [("reset", 0), ("half_reset", 1)])
def test_cut_connections(sandbox: Sandbox, fault: str, kept: int) -> None:
    sandbox.fault("email", fault)
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        httpx.post(f"{sandbox.url}/email", json=rows("p1"), trust_env=False)
    assert len(sandbox.rows("email")) == kept


@pytest.mark.parametrize("fault", ["slow", "drip"])
def test_slow_answers_come_in_the_end(sandbox: Sandbox, client: httpx.Client, fault: str) -> None:
    sandbox.fault("email", fault, seconds=0.2)
    began = time.monotonic()
    assert client.post("/email", json=rows("p1")).json() == {"accepted": 1, "errors": []}
    assert time.monotonic() - began >= 0.19


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "meteor"},
        {"fault": "200"},
        {"fault": "500", "times": 0},
        {"fault": "500", "every": "2"},
        {"fault": "slow", "seconds": -1},
        {"fault": "reject", "keys": "p1"},
        {"fault": "500", "wait": 1},
        {},
        "500",
    ],
)
def test_faults_that_cannot_be(sandbox: Sandbox, client: httpx.Client, fault: Any) -> None:
    answer = client.post("/_sandbox/email/faults", json=[fault])
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert client.post("/email", json=rows("p1")).status_code == 200


@pytest.mark.parametrize(
    "options", [{"key": "id"}, {"key": [1]}, {"max_rows": 0}, {"max_rows": True}, {"effects": 1}, {"colour": "red"}, [], "x"]
)
def test_options_that_cannot_be(sandbox: Sandbox, client: httpx.Client, options: Any) -> None:
    assert client.post("/_sandbox/email/options", json=options).status_code == 400


def test_a_limit_on_rows(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.options("email", max_rows=2)
    assert [client.post("/email", json=rows(*ids)).status_code for ids in (["1", "2"], ["1", "2", "3"])] == [200, 413]


# -- inspection -----------------------------------------------------------------------------------------------------------------


def test_requests_are_on_record_without_their_values(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.fault("email", "500")
    for _ in range(2):
        client.put("/email/x", json=rows("zq7marker"), headers={"Idempotency-Key": "k", "Authorization": "Bearer zq7marker"})
    found = client.get("/_sandbox/email/requests").json()["requests"]
    assert "zq7marker" not in json.dumps(found)
    assert [(each["method"], each["path"], each["idempotency_key"], each["status"], each["rows"], each["fault"]) for each in found] == [
        ("PUT", "/email/x", "k", 500, 1, "500"),
        ("PUT", "/email/x", "k", 200, 1, None),
    ]
    assert "Authorization" in {name.title() for name in found[0]["headers"]}


def test_reset_forgets_everything(sandbox: Sandbox, client: httpx.Client) -> None:
    client.post("/email", json=rows("p1"))
    sandbox.fault("email", "500")
    assert client.delete("/_sandbox").json() == {"channels": {}}
    assert client.post("/email", json=rows("p1"), headers={"Idempotency-Key": "k"}).status_code == 200


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/", 404), ("GET", "/_sandbox/a/b/c", 404), ("PUT", "/_sandbox", 404)])
def test_paths_that_are_not(sandbox: Sandbox, client: httpx.Client, method: str, path: str, status: int) -> None:
    assert client.request(method, path).status_code == status


# -- the server ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "example.org", "10.0.0.1", "127.0.0.1.evil.com", "192.168.0.1"])
def test_it_listens_on_loopback_only(host: str) -> None:
    with pytest.raises(UsageError, match="does not listen on"):
        Sandbox(host)


def test_a_taken_port_is_said(sandbox: Sandbox) -> None:
    port = int(sandbox.url.rsplit(":", 1)[1])
    with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}"):
        Sandbox(port=port)


def test_a_browser_led_here_by_a_foreign_name_is_refused(sandbox: Sandbox, client: httpx.Client) -> None:
    hosts = ["evil.example.org", "evil.example.org:8765", "localhost.evil.com", "[", "localhost:1", "[::1]", "[::1]:8765", "127.0.0.1"]
    assert [client.get("/_sandbox", headers={"Host": host}).status_code for host in hosts] == [403] * 4 + [200] * 4


def test_many_requests_use_one_connection(sandbox: Sandbox) -> None:
    with socket.create_connection(("127.0.0.1", int(sandbox.url.rsplit(":", 1)[1])), timeout=5) as connection:
        for _ in range(3):
            connection.sendall(b"GET /_sandbox HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("head", "status"), [("Transfer-Encoding: chunked", 411), ("Content-Length: x", 411), ("Content-Length: 999999999", 413)]
)
def test_bodies_without_a_length_or_too_long(sandbox: Sandbox, head: str, status: int) -> None:
    with socket.create_connection(("127.0.0.1", int(sandbox.url.rsplit(":", 1)[1])), timeout=5) as connection:
        connection.sendall(f"POST /email HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n".encode())
        assert connection.recv(65536).startswith(f"HTTP/1.1 {status}".encode())


def test_stopping_cuts_what_is_open() -> None:
    sandbox = Sandbox().start()
    sandbox.fault("email", "slow", seconds=60)
    caught: list[Exception] = []

    def post() -> None:
        try:
            httpx.post(f"{sandbox.url}/email", json=rows("p1"), trust_env=False, timeout=30)
        except httpx.HTTPError as error:
            caught.append(error)

    thread = threading.Thread(target=post)
    thread.start()
    while not sandbox.requests("email"):
        time.sleep(0.01)
    began = time.monotonic()
    sandbox.stop()
    thread.join(5)
    assert time.monotonic() - began < 2
    assert len(caught) == 1
    with pytest.raises(httpx.ConnectError):
        httpx.get(sandbox.url, trust_env=False)


def test_it_says_nothing_of_what_passes(sandbox: Sandbox, client: httpx.Client, capfd: pytest.CaptureFixture[str]) -> None:
    client.post("/email/zq7marker", json=rows("zq7marker"))
    client.post("/email", content=b"zq7marker")
    with socket.create_connection(("127.0.0.1", int(sandbox.url.rsplit(":", 1)[1])), timeout=5) as connection:
        connection.sendall(b"zq7marker zq7marker\r\n\r\n")
        connection.recv(65536)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


# -- the store ----------------------------------------------------------------------------------------------------------------


def test_what_is_stored_outlives_the_process(tmp_path: Path) -> None:
    store = tmp_path / "state" / "sandbox.jsonl"
    with Sandbox(store=store) as first:
        first.options("ads", key=["a", "b"])
        first.fault("email", "reject", keys=["p2"])
        httpx.post(f"{first.url}/email", json=rows("p1", "p2", "p3", name="Zoë\u2028"), headers={"Idempotency-Key": "k"}, trust_env=False)
        httpx.post(f"{first.url}/email/remove", content=json.dumps(rows("p3"), indent=2), trust_env=False)
        httpx.post(f"{first.url}/ads", content='{"a": 1, "b": 2}\n{"a": 1, "b": 3}\n', trust_env=False)
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    store.write_bytes(store.read_bytes() + b'{"channel": "email", "meth')  # a process was killed while it wrote
    for _ in range(2):
        with Sandbox(store=store) as again:
            assert again.rows("email") == rows("p1", name="Zoë\u2028")
            assert again.rows("ads") == [{"a": 1, "b": 2}, {"a": 1, "b": 3}]
            body = json.dumps(rows("p1", "p2", "p3", name="Zoë\u2028"), ensure_ascii=False, separators=(",", ":"))
            answer = httpx.post(f"{again.url}/email", content=body, headers={"Idempotency-Key": "k"}, trust_env=False)
            assert answer.json() == {"accepted": 2, "errors": [{"key": "p2", "index": 1, "code": "refused"}]}
            assert again.rows("email") == rows("p1", name="Zoë\u2028")


def test_reset_empties_the_store(tmp_path: Path) -> None:
    store = tmp_path / "sandbox.jsonl"
    with Sandbox(store=store) as first:
        httpx.post(f"{first.url}/email", json=rows("p1"), trust_env=False)
        first.reset()
        httpx.post(f"{first.url}/email", json=rows("p2"), trust_env=False)
    with Sandbox(store=store) as again:
        assert again.rows("email") == rows("p2")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_serve_in_the_foreground(tmp_path: Path, stop: signal.Signals) -> None:
    store = tmp_path / "sandbox.jsonl"
    script = f"from pathlib import Path; from cdp.sandbox import serve; serve('localhost', 0, Path({str(store)!r}))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("sandbox listens on http://127.0.0.1:")
        httpx.post(f"{line.split()[-1]}/email", json=rows("p1"), trust_env=False)
        process.send_signal(stop)
        killed = threading.Timer(5, process.kill)  # else one that does not hear would be waited for without end
        killed.start()
        assert process.wait() == (0 if stop is signal.SIGINT else -signal.SIGKILL)
        killed.cancel()
        assert process.stderr.read() == ""
    with Sandbox(store=store) as again:
        assert again.rows("email") == rows("p1")
