"""The sandbox over HTTP/1.1, on a thread of its own or in the foreground.

POST|PUT|PATCH /<channel>/...           take rows: an array, NDJSON, or an object with one list
DELETE /<channel>/...                   take rows away by key; so does a path that ends in /remove or /delete
GET    /<channel>/...                   whose account it is, as JSON
GET    /<channel>/...?limit=n&after=..  which rows it holds, a page: {"rows": [...], "next": the cursor for `after`, or null}
GET    /<channel>/.../messages/<key>    what became of a change, where `ids` names the field that holds its key
POST   /<channel>/.../messages/lookup   the same of many, in a list
GET    /_sandbox                        counts of every channel
GET    /_sandbox/<channel>/rows         what it holds
GET    /_sandbox/<channel>/requests     what it was asked
POST   /_sandbox/<channel>/options      {"key": [...], "max_rows": n, "effects": true, "ids": "event_id"}
POST   /_sandbox/<channel>/faults       [{"fault": "429", "times": 2, "retry_after": 1}, ...]
DELETE /_sandbox/<channel>/faults       drop the faults that are staged
DELETE /_sandbox                        forget everything
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Self

from cdp.errors import UsageError
from cdp.sandbox.channel import Call, Channel, Reply, Row, reply
from cdp.sandbox.faults import Fault
from cdp.sandbox.journal import Journal
from cdp.sandbox.listener import Listener, is_loopback


class Sandbox:
    """A channel server on loopback. `with Sandbox() as sandbox:` starts and stops it; `sandbox.url` is where it is.

    Args:
        host: a loopback name or address.
        port: 0 takes a free one.
        store: a file in which rows outlive the process; None keeps them in memory only.
        accounts: what channels answer to the question whose account they are, as JSON; others say {"account": their name}.

    Raises:
        UsageError: the host is not loopback, or the port is taken.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, store: Path | None = None, accounts: Mapping[str, Any] | None = None
    ) -> None:
        if not is_loopback(host):
            raise UsageError(f"the sandbox does not listen on {host}: it has no locks on its doors", fix="use 127.0.0.1, ::1 or localhost")
        self._channels: dict[str, Channel] = {}
        self.accounts = dict(accounts or {})
        self._lock = Lock()
        self._journal = Journal(store)
        self._replay()
        try:
            self._server = Listener(host, port, self.handle)
        except OSError as error:
            self._journal.close()
            raise UsageError(f"cannot listen on {host}:{port}: {error.strerror}", fix="choose another --port") from None
        self._thread: Thread | None = None

    # -- life ---------------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The base URL, such as http://127.0.0.1:8765."""
        return self._server.url

    def start(self) -> Self:
        """Answer requests on a thread of its own."""
        self._thread = Thread(target=self.run, name="cdp-sandbox", daemon=True)
        self._thread.start()
        return self

    def run(self) -> None:
        """Answer requests until `stop`."""
        self._server.serve_forever(poll_interval=0.05)

    def stop(self) -> None:
        """Stop listening and close every connection."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.close_all()
        self._journal.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- what it holds and does ---------------------------------------------------------------------------------------

    def channel(self, name: str) -> Channel:
        """The channel of this name, made when it is first asked for."""
        with self._lock:
            if name not in self._channels:
                self._channels[name] = Channel(name, self._took)
            return self._channels[name]

    def rows(self, channel: str) -> list[Row]:
        """The rows that a channel holds."""
        return list(self.channel(channel).rows.values())

    def requests(self, channel: str) -> list[dict[str, Any]]:
        """The requests that a channel saw, in order: no header values, no rows."""
        return list(self.channel(channel).requests)

    def fault(self, channel: str, kind: str, **more: Any) -> None:
        """Stage one fault: `fault("email", "429", times=2, retry_after=1)`.

        Raises:
            ValueError: says what is valid.
        """
        self.channel(channel).stage([Fault.parse({"fault": kind, **more})])

    def options(self, channel: str, **options: Any) -> None:
        """Set `key` (field names), `max_rows`, `effects` or `ids` of a channel.

        Raises:
            ValueError: says what is valid.
        """
        self.channel(channel).set_options(options)
        self._journal.write({"channel": channel, "options": options})

    def reset(self) -> None:
        """Forget everything: rows, requests, options, faults."""
        with self._lock:
            self._channels.clear()
            self._journal.clear()

    def summary(self) -> dict[str, Any]:
        """The counts of every channel."""
        with self._lock:
            channels = sorted(self._channels.items())
        counts = {
            name: {"rows": len(c.rows), "requests": len(c.requests), "duplicates": c.duplicates, "faults": len(c.faults)}
            for name, c in channels
        }
        return {"channels": counts}

    def _took(self, channel: Channel, call: Call, left_out: Sequence[int], answer: bytes) -> None:
        self._journal.took(channel.name, call, left_out, answer)

    def _replay(self) -> None:
        for entry in self._journal.entries():
            channel = self.channel(entry["channel"])
            if "options" in entry:
                channel.set_options(entry["options"])
            else:
                call = Call(entry["method"], entry["path"], (), entry["key"], entry["body"].encode())
                channel.replay(call, entry["digest"], entry["left_out"], entry["answer"].encode())

    # -- requests -----------------------------------------------------------------------------------------------------

    def handle(self, call: Call) -> Reply:
        """Answer one request."""
        parts = [part for part in call.path.split("?", 1)[0].split("/") if part]
        if parts[:1] == ["_sandbox"]:
            return self._inspect(call, parts[1:])
        if not parts:
            return reply(404, {"error": "no_channel"})
        if parts[-2:-1] == ["messages"] and (call.method == "GET" or parts[-1] == "lookup"):
            return self.channel(parts[0]).lookup(call, parts[-1])
        if call.method == "GET" and "limit=" in call.path.partition("?")[2]:
            return self.channel(parts[0]).export(call)
        if call.method == "GET":
            return self.channel(parts[0]).whoami(call, self.accounts.get(parts[0], {"account": parts[0]}))
        return self.channel(parts[0]).handle(call)

    def _inspect(self, call: Call, parts: list[str]) -> Reply:
        match call.method, parts:
            case "GET", []:
                return reply(200, self.summary())
            case "DELETE", []:
                self.reset()
                return reply(200, self.summary())
            case "GET", [name, "rows"]:
                rows = self.rows(name)
                return reply(200, {"count": len(rows), "rows": rows})
            case "GET", [name, "requests"]:
                return reply(200, {"requests": self.requests(name)})
            case "DELETE", [name, "faults"]:
                self.channel(name).recover()
                return reply(200, {})
            case "POST", [name, "options" | "faults" as what]:
                return self._change(name, what, call.body)
        return reply(404, {"error": "not_found"})

    def _change(self, name: str, what: str, body: bytes) -> Reply:
        try:
            given = json.loads(body)
            if what == "options":
                if not isinstance(given, Mapping):
                    raise ValueError("options must be an object")
                self.options(name, **given)
            else:
                faults = given if isinstance(given, list) else [given]
                self.channel(name).stage([Fault.parse(fault) for fault in faults])
        except (ValueError, TypeError, AttributeError) as error:
            return reply(400, {"error": str(error)})
        return reply(200, {})


def serve(
    host: str,
    port: int,
    store: Path | None,
    on_ready: Callable[[str], None] | None = None,
    accounts: Mapping[str, Any] | None = None,
) -> None:
    """Serve in the foreground until interrupted (Ctrl-C).

    Args:
        host: a loopback name or address.
        port: 0 takes a free one.
        store: a file in which rows outlive the process, or None.
        on_ready: called with the URL once it listens; by default the URL is a line on stderr.
        accounts: see `Sandbox`.

    Raises:
        UsageError: the host is not loopback, or the port is taken.
    """
    gc.set_threshold(200_000, 50, 50)  # rows are trees without cycles: looking for some takes a fifth of the time
    sandbox = Sandbox(host, port, store, accounts)
    (on_ready or _say)(sandbox.url)
    try:
        sandbox.run()
    except KeyboardInterrupt:
        pass
    finally:
        sandbox.stop()


def _say(url: str) -> None:
    print(f"sandbox listens on {url}", file=sys.stderr, flush=True)
