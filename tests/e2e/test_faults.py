"""Faults through the command line over real HTTP: what the channel holds, what the receipts say, the exit code; then the next run.

Each row of the table is a sync of its own to a channel of its own, of one project over one lakehouse.
"""

from __future__ import annotations

import datetime as dt
import io
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cdp.cli.app import main
from cdp.engine import connect
from cdp.sandbox.server import Sandbox
from cdp.spec.activation import Environment
from tests.projects import AGREEMENT, CONF, PURPOSES, minimal

PEOPLE, BATCH = 32, 8
EVERYBODY = {f"p{n:02}" for n in range(PEOPLE)}
BAD = "p17"
ERRORS = "{list: errors, key: key, index: index, code: code}"
PATIENCE = {"attempts": 2, "timeout_seconds": 20, "max_wait_seconds": 2, "concurrency": 1, "errors": ERRORS, "repeats": "keys"}
DESTINATION = """\
kind: destination
name: {name}
connector: http
channel: email
baa: mailer
base_url: https://api.mail.example
secrets: {{api_key: {{env: MAIL_API_KEY}}}}
retries: {{wait: {{minutes: 0}}}}
http:
  headers: {{Authorization: "Bearer {{api_key}}"}}
  upsert: {{method: PUT, path: /v1/contacts, batch: {batch}, body: array}}
  remove: {{method: DELETE, path: /v1/contacts, batch: {batch}, body: array}}
"""
SYNC = """\
kind: sync
name: {name}
segment: adults
destination: {name}
purpose: care_coordination
mode: mirror
key: {{external_id: patient_id}}
mappings: {{email: email}}
guards: {{max_add: 100%, empty: refuse}}
"""

Fault = tuple[str, dict[str, Any]]
Stage = Callable[[], Fault]


def fault(kind: str, **more: Any) -> Stage:
    return lambda: (kind, more)


def dated(kind: str, seconds: float) -> Stage:
    """A Retry-After that is a date."""
    return lambda: (kind, {"retry_after": format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds), usegmt=True)})


FOREVER: dict[str, Any] = {"times": None}
# Longer than a slow machine needs for an answer, shorter than a slow channel takes.
SLOW: dict[str, Any] = {"timeout_seconds": 1.5}


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        name: of the sync, the destination and the channel.
        faults: staged before the first run.
        status: of the first run.
        receipts: how many rows of each status and code.
        held: how many rows the channel has afterwards.
        code: the exit code.
        calls: how many requests, at most, held rows.
        options: of the destination's `http:` that differ.
        channel: options of the sandbox channel.
        url: where the destination is; by default its channel of the sandbox.
        kind: the error, where one ends the run.
        second: the rows that the second run delivers, where it is not what the first one left.
        stays: it is away in the second run too.
    """

    name: str
    faults: tuple[Stage, ...]
    status: str
    receipts: Mapping[tuple[str, str | None], int]
    held: int
    code: int
    calls: int = PEOPLE // BATCH
    options: Mapping[str, Any] = field(default_factory=dict)
    channel: Mapping[str, Any] = field(default_factory=dict)
    url: str = ""
    kind: str | None = None
    second: int | None = None
    stays: bool = False


ALL = {("delivered", None): PEOPLE}
BUT_ONE_BATCH = {("delivered", None): PEOPLE - BATCH}
ONE = PEOPLE // BATCH + 1
EFFECT = {"options": {"repeats": "effect"}, "channel": {"effects": True}}

FAILS = (fault("500", keys=[BAD], **FOREVER),)
ALL_BUT_ONE = {("delivered", None): PEOPLE - 1, ("retryable", "http_500"): 1}
FIELD = {"idempotency": "{field: event_id}"}

TABLE = [
    # -- what passes within the run
    Case("a429", (fault("429"),), "succeeded", ALL, PEOPLE, 0, ONE),
    Case("a429_seconds", (fault("429", retry_after=1),), "succeeded", ALL, PEOPLE, 0, ONE),
    Case("a429_date", (dated("429", 1.5),), "succeeded", ALL, PEOPLE, 0, ONE),
    Case("a503_seconds", (fault("503", retry_after=1),), "succeeded", ALL, PEOPLE, 0, ONE),
    Case("a500", (fault("500"),), "succeeded", ALL, PEOPLE, 0, ONE),
    Case("cut", (fault("reset"),), "succeeded", ALL, PEOPLE, 0, ONE),
    Case("cut_in_the_answer", (fault("half_reset"),), "succeeded", ALL, PEOPLE, 0, ONE),
    Case("applied_but_500", (fault("applied_but_500"),), "succeeded", ALL, PEOPLE, 0, ONE),
    Case("half_applied", (fault("half_applied"),), "succeeded", ALL, PEOPLE, 0, ONE),
    Case("slow_loris", (fault("drip", seconds=5),), "succeeded", ALL, PEOPLE, 0, ONE, SLOW),
    # -- what does not: the rows of one batch stay undecided, and the next run sends them under the same key
    Case("b500", (fault("500", times=2),), "partial", {**BUT_ONE_BATCH, ("retryable", "http_500"): BATCH}, PEOPLE - BATCH, 1, ONE),
    Case("b429", (fault("429", times=2),), "partial", {**BUT_ONE_BATCH, ("retryable", "http_429"): BATCH}, PEOPLE - BATCH, 1, ONE),
    Case("b_cut", (fault("reset", times=2),), "partial", {**BUT_ONE_BATCH, ("retryable", "reset"): BATCH}, PEOPLE - BATCH, 1, ONE),
    Case("b_cut_late", (fault("half_reset", times=2),), "partial", {**BUT_ONE_BATCH, ("retryable", "reset"): BATCH}, PEOPLE, 1, ONE),
    Case(
        "b_slow", (fault("slow", seconds=5, times=2),), "partial", {**BUT_ONE_BATCH, ("retryable", "timeout"): BATCH}, PEOPLE, 1, ONE, SLOW
    ),
    Case(
        "b_loris", (fault("drip", seconds=5, times=2),), "partial", {**BUT_ONE_BATCH, ("retryable", "timeout"): BATCH}, PEOPLE, 1, ONE, SLOW
    ),
    Case("b_applied", (fault("applied_but_500", times=2),), "partial", {**BUT_ONE_BATCH, ("retryable", "http_500"): BATCH}, PEOPLE, 1, ONE),
    Case("b_half", (fault("half_applied", times=2),), "partial", {**BUT_ONE_BATCH, ("retryable", "http_500"): BATCH}, PEOPLE - 4, 1, ONE),
    Case("b_not_json", (fault("not_json"),), "partial", {**BUT_ONE_BATCH, ("retryable", "bad_response"): BATCH}, PEOPLE, 1),
    Case("b_html", (fault("html"),), "partial", {**BUT_ONE_BATCH, ("retryable", "bad_response"): BATCH}, PEOPLE - BATCH, 1),
    Case(
        "html_where_nothing_is_expected",
        (fault("html"),),
        "partial",
        {**BUT_ONE_BATCH, ("retryable", "bad_response"): BATCH},
        PEOPLE - BATCH,
        1,
        options={"errors": None},
    ),
    Case(
        "multi_status_unread",
        (fault("multi_status"),),
        "partial",
        {**BUT_ONE_BATCH, ("retryable", "http_207"): BATCH},
        PEOPLE,
        1,
        options={"errors": None},
    ),
    # -- what a channel says of single rows
    Case(
        "row_errors",
        (fault("reject", keys=["p03", BAD], code="invalid_email"),),
        "partial",
        {("delivered", None): PEOPLE - 2, ("rejected", "invalid_email"): 2},
        PEOPLE - 2,
        0,
    ),
    Case(
        "multi_status",
        (fault("reject", keys=["p03", BAD], code="invalid_email"), fault("multi_status", **FOREVER)),
        "partial",
        {("delivered", None): PEOPLE - 2, ("rejected", "invalid_email"): 2},
        PEOPLE - 2,
        0,
    ),
    Case(
        "poison",  # halved until it is alone: 2 requests for each time that 32 can be halved, and the first
        (fault("400", keys=[BAD], **FOREVER),),
        "partial",
        {("delivered", None): PEOPLE - 1, ("rejected", "http_400"): 1},
        PEOPLE - 1,
        0,
        calls=1 + 2 * 5,
        options={"batch": PEOPLE},
    ),
    # -- a row at which the channel fails: found in the same way, where rows of a request that may have been applied can go in others
    Case("fails_state", FAILS, "partial", ALL_BUT_ONE, PEOPLE - 1, 1, calls=2 + 2 * 5, options={"batch": PEOPLE, "repeats": "state"}),
    Case("fails_keys", FAILS, "partial", ALL_BUT_ONE, PEOPLE - 1, 1, calls=2 + 2 * 5, options={"batch": PEOPLE, **FIELD}),
    Case("fails_whole", FAILS, "failed", {("retryable", "http_500"): PEOPLE}, 0, 1, calls=2, options={"batch": PEOPLE}),
    Case("too_many", (), "succeeded", ALL, PEOPLE, 0, calls=32, channel={"max_rows": 3}),
    # -- a channel at which each request has an effect: what may have been told is never told again
    Case("e_429", (fault("429"),), "succeeded", ALL, PEOPLE, 0, ONE, **EFFECT),
    Case(
        "e_applied",
        (fault("applied_but_500"),),
        "partial",
        {**BUT_ONE_BATCH, ("unknown", "http_500"): BATCH},
        PEOPLE,
        1,
        second=0,
        **EFFECT,
    ),
    Case("e_cut", (fault("half_reset"),), "partial", {**BUT_ONE_BATCH, ("unknown", "reset"): BATCH}, PEOPLE, 1, second=0, **EFFECT),
    Case(
        "e_slow",
        (fault("slow", seconds=5),),
        "partial",
        {**BUT_ONE_BATCH, ("unknown", "timeout"): BATCH},
        PEOPLE,
        1,
        options={"repeats": "effect", **SLOW},
        channel={"effects": True},
        second=0,
    ),
    # -- a destination that cannot be reached at all, or will not have us
    Case("no_such_host", (), "failed", {("retryable", "dns"): PEOPLE}, 0, 1, 0, url="https://no-such-host.invalid", stays=True),
    Case("own_certificate", (), "failed", {("retryable", "tls"): PEOPLE}, 0, 1, 0, url="TLS", stays=True),
    Case("nobody_listens", (), "failed", {("retryable", "connect"): PEOPLE}, 0, 1, 0, url="CLOSED", stays=True),
    Case(
        "asks_for_an_hour",
        (fault("429", retry_after=3600),),
        "failed",
        {("retryable", "http_429"): BATCH},
        0,
        1,
        1,
        kind="DeliveryError",
        stays=True,
    ),
    Case(  # the circuit opens after five requests without an answer, each tried twice, and the run ends after ten batches
        "down",
        (fault("reset", **FOREVER),),
        "failed",
        {("retryable", "reset"): 10, ("retryable", "circuit_open"): 10},
        0,
        1,
        10,
        options={"batch": 2},
        kind="DeliveryError",
    ),
    Case(  # of the first batch its two rows are tried alone; after that nothing is, until the channel says something
        "down_500",
        (fault("500", **FOREVER),),
        "failed",
        {("retryable", "http_500"): 20},
        0,
        1,
        10 * 2 + 2,
        options={"batch": 2, "repeats": "state"},
        kind="DeliveryError",
    ),
    Case("credentials", (fault("401", **FOREVER),), "failed", {("retryable", "not_sent"): BATCH}, 0, 1, 1, kind="DeliveryError"),
    Case("redirect", (fault("redirect", **FOREVER),), "failed", {("retryable", "http_302"): BATCH}, 0, 1, 1, kind="DeliveryError"),
]


# -- the project ----------------------------------------------------------------------------------------------------------


def load(root: Path) -> None:
    engine = connect(Environment(lakehouse="lake"), root=root)
    now, ids = dt.datetime.now(dt.UTC), sorted(EVERYBODY)
    empty = pa.nulls(len(ids), pa.date32())
    patients = pa.table(
        {
            "patient_id": ids,
            "birth_date": pa.array([dt.date(1970, 1, 1)] * len(ids)),
            "death_date": empty,
            "given_name": ["Ann"] * len(ids),
            "email": [f"{each}@example.org" for each in ids],
            "state": ["NY"] * len(ids),
        }
    )
    stamps = pa.array([now - dt.timedelta(minutes=5)] * len(ids), pa.timestamp("us", "UTC"))
    consents = pa.table(
        {
            "consent_id": ids,
            "patient_id": ids,
            "purpose": ["care_coordination"] * len(ids),
            "channel": ["email"] * len(ids),
            "status": ["active"] * len(ids),
            "effective_at": stamps,
            "expires_at": pa.nulls(len(ids), pa.timestamp("us", "UTC")),
            "recorded_at": stamps,
        }
    )
    for name, rows in (("clinical.patients", patients), ("crm.consents", consents)):
        kinds = {"string": "string", "date32[day]": "date", "timestamp[us, tz=UTC]": "timestamp"}
        engine.create(name, {column.name: kinds[str(column.type)] for column in rows.schema})
        engine.append(name, rows)
    engine.close()


def files(name: str, options: Mapping[str, Any]) -> dict[str, str]:
    """The destination and the sync of one row of the table."""
    given = {**PATIENCE, **options}
    batch = given.pop("batch", BATCH)
    text = DESTINATION.format(name=name, batch=batch)
    text += "".join(f"  {key}: {value}\n" for key, value in given.items() if value is not None)
    return {f"destinations/{name}.yml": text, f"syncs/{name}.yml": SYNC.format(name=name)}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server with a certificate that nobody signed, and a port at which nobody answers."""
    with self_signed(tmp_path_factory.mktemp("tls")) as url, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, so that nobody else listens there
        yield {"TLS": url, "CLOSED": f"http://127.0.0.1:{closed.getsockname()[1]}"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox, elsewhere: dict[str, str]) -> Path:
    overlays: dict[str, str | None] = {"destinations/mail.yml": None, "syncs/adults_mail.yml": None}
    for case in TABLE:
        overlays |= files(case.name, case.options)
    urls = {case.name: elsewhere.get(case.url, case.url) or f"{sandbox.url}/{case.name}" for case in TABLE}
    granted = ("classes: [identifier.pseudonym,", "classes: [identifier.mrn, identifier.pseudonym,")
    overlays["governance/purposes.yml"] = PURPOSES.replace(*granted)
    overlays["governance/baa/mailer.yml"] = (
        AGREEMENT.replace(*granted).replace("hosts: [", "hosts: [no-such-host.invalid, ").replace("paths: [/v1/]\n", "")
    )
    places = ", ".join(f"{name}: {{base_url: '{url}'}}" for name, url in urls.items())
    overlays["conf/cdp.yml"] = CONF.replace("sandbox: true}", f"sandbox: true, destinations: {{{places}}}}}")
    root = minimal(tmp_path_factory.mktemp("faults"), **overlays)
    load(root)
    return root


@contextmanager
def self_signed(folder: Path) -> Iterator[str]:
    key, certificate = folder / "key.pem", folder / "cert.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    continue

        threading.Thread(target=serve, daemon=True).start()
        yield f"https://localhost:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


# -- the table ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """What came of one sync in one run: its facts, its receipts, the people and the requests that its channel has afterwards."""

    facts: Mapping[str, Any]
    receipts: Mapping[tuple[str, str | None], int]
    held: frozenset[str]
    calls: Sequence[Mapping[str, Any]]


def command(*words: str) -> tuple[int, Any]:
    """A command in this process: its exit code and its JSON."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(words)
    assert "Traceback" not in err.getvalue()
    return code, json.loads(out.getvalue())


def sync(root: Path, sandbox: Sandbox, names: Sequence[str]) -> tuple[int, dict[str, Told]]:
    """Several syncs by one command, and what it is that each told."""
    code, listed = command("sync", *names, "--jobs", "4", "--json")
    assert isinstance(listed, list), listed
    engine = connect(Environment(lakehouse="lake"), root=root)
    engine.register(["cdp.receipts"])
    counted: dict[str, dict[tuple[str, str | None], int]] = {}
    for row in engine.query("SELECT run, status, code, COUNT(*) AS n FROM cdp.receipts GROUP BY run, status, code").to_pylist():
        counted.setdefault(row["run"], {})[row["status"], row["code"]] = row["n"]
    engine.close()
    found = {}
    for facts in listed:
        name = facts["sync"]
        held = frozenset(row["external_id"] for row in sandbox.rows(name))
        found[name] = Told(facts, counted.get(facts["run"], {}), held, sandbox.requests(name))
    return code, found


@dataclass(frozen=True)
class Runs:
    """Both runs of every sync; `codes` are the exit codes of the commands: of those that are to end with 0, and with 1."""

    codes: tuple[int, int]
    first: Mapping[str, Told]
    second: Mapping[str, Told]


@pytest.fixture(scope="module")
def runs(root: Path, sandbox: Sandbox) -> Iterator[Runs]:
    for case in TABLE:
        if case.channel:
            sandbox.options(case.name, **case.channel)
        for stage in case.faults:
            kind, more = stage()
            sandbox.fault(case.name, kind, **more)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr("cdp.cli.channel._listens", lambda host, port: True)  # a channel that is away stays away
        fine, first = sync(root, sandbox, [case.name for case in TABLE if case.code == 0])
        bad, more_first = sync(root, sandbox, [case.name for case in TABLE if case.code == 1])
        for case in TABLE:
            sandbox.channel(case.name).recover()
        _, second = sync(root, sandbox, [case.name for case in TABLE])
        yield Runs((fine, bad), first | more_first, second)


def test_the_exit_codes_say_whether_rows_are_left(runs: Runs) -> None:
    assert runs.codes == (0, 1)


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_fault(case: Case, runs: Runs, sandbox: Sandbox) -> None:
    first, second = runs.first[case.name], runs.second[case.name]
    assert first.facts["status"] == case.status, first.facts.get("error")
    assert first.receipts == case.receipts
    assert len(first.held) == case.held
    assert len(first.calls) <= case.calls
    assert first.facts.get("error", {}).get("kind") == case.kind
    left = first.facts["retryable"] > 0 or first.facts.get("unknown", 0) > 0 or case.kind is not None
    assert left == (case.code == 1)  # each of those that end with 1 does so by itself

    if case.stays:
        assert (second.facts["delivered"], second.held) == (0, frozenset())
        return
    assert second.facts["delivered"] == (PEOPLE - first.facts["delivered"] if case.second is None else case.second), second.facts.get(
        "error", second.facts
    )
    assert second.held == EVERYBODY
    told = sandbox.channel(case.name).told
    assert not told or max(told.values()) == 1  # nobody twice
    applied = [r["idempotency_key"] for r in second.calls if r["status"] == 200 and not r["duplicate"] and r["fault"] != "html"]
    assert len(applied) == len(set(applied))
    undecided = {r["idempotency_key"] for r in first.calls if r["fault"]}
    if first.facts["retryable"] == BATCH:  # what was undecided comes again under the key that it had
        assert undecided & {r["idempotency_key"] for r in second.calls[len(first.calls) :]}
