"""One channel: the rows it holds, the requests it saw, the faults it was asked for. Knows nothing of sockets."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Lock
from typing import Any
from urllib.parse import parse_qs

from cdp.sandbox.faults import BEFORE, Fault, Faults

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A request as the channel sees it."""

    method: str
    path: str
    headers: tuple[str, ...]  # names only: values may be secrets
    idempotency_key: str | None
    body: bytes = field(repr=False)

    @property
    def op(self) -> str:
        """`remove` for DELETE and for paths that end in /remove or /delete, else `upsert`."""
        last = self.path.split("?", 1)[0].rstrip("/").rsplit("/", 1)[-1]
        return "remove" if self.method == "DELETE" or last in ("remove", "delete") else "upsert"

    @property
    def list(self) -> str:
        """Which of a channel's lists it is about: what stands after `/lists/` in the path; else the channel's only one."""
        parts = self.path.split("?", 1)[0].split("/")
        return parts[parts.index("lists") + 1] if "lists" in parts[:-1] else ""

    @property
    def digest(self) -> str:
        """What the idempotency key stands for."""
        return hashlib.sha256(b"\0".join((self.method.encode(), self.path.encode(), self.body))).hexdigest()


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back, and how: `manner` is `plain`, `slow`, `drip`, `reset` or `half_reset`."""

    status: int
    body: bytes = field(repr=False)
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    manner: str = "plain"
    seconds: float = 0.0


def reply(status: int, body: object, **more: Any) -> Reply:
    """A JSON answer."""
    return Reply(status, json.dumps(body).encode(), **more)


class Refused(Exception):
    """A request that is wrong in itself; holds the answer."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.reply = reply(status, {"error": code})


def parse_body(body: bytes) -> tuple[list[Row], Row]:
    """The rows of a body, an array, NDJSON, or an object with one list, and what stands beside that list.

    Raises:
        Refused: it is none of these.
    """
    try:
        given = json.loads(body, parse_constant=_no_constant)
    except ValueError:
        given = _ndjson(body)
    except RecursionError:
        raise Refused(400, "not_json") from None
    beside: Row = {}
    if isinstance(given, dict):
        lists = [name for name, value in given.items() if isinstance(value, list)]
        if len(lists) == 1:
            beside, given = given, given.pop(lists[0])
        else:
            given = [given]
    if not isinstance(given, list) or not all(isinstance(row, dict) and row for row in given):
        raise Refused(400, "not_rows")
    return given, beside


def _ndjson(body: bytes) -> list[Row]:
    try:
        rows = [json.loads(line, parse_constant=_no_constant) for line in body.split(b"\n") if line.strip()]
    except (ValueError, RecursionError):
        rows = []
    if not rows:
        raise Refused(400, "not_json")
    return rows


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


class Channel:
    """Holds rows by list and key. `handle` may be called from many threads.

    Args:
        name: the first part of the path.
        record: called with every request that changed rows, under the lock, so that a journal keeps their order.

    Attributes:
        effects: it is one at which each request has an effect, such as a text message: idempotency keys mean nothing to it.
        told: how often each row that is not a removal had its effect, by key and content; counted only with `effects`.
        ids: the field in which rows hold the key of their change; then it can be asked what became of one.
        messages: the keys of the changes that it took.
    """

    def __init__(self, name: str, record: Callable[[Channel, Call, Sequence[int], bytes], None]) -> None:
        self.name = name
        self.key: tuple[str, ...] = ()
        self.max_rows: int | None = None
        self.effects = False
        self.told: Counter[tuple[str, ...]] = Counter()
        self.ids: str | None = None
        self.messages: set[str] = set()
        self.rows: dict[tuple[str, tuple[str, ...]], Row] = {}
        self.requests: list[dict[str, Any]] = []
        self.duplicates = 0
        self.faults = Faults()
        self.answers: dict[str, tuple[str, bytes]] = {}
        self._record = record
        self._lock = Lock()

    def set_options(self, options: Mapping[str, Any]) -> None:
        """Set the key fields, the rows that one request may hold, whether each request has an effect, or the field of a change's key.

        Raises:
            ValueError: says what is valid.
        """
        key, most = options.get("key", list(self.key)), options.get("max_rows", self.max_rows)
        effects, ids = options.get("effects", self.effects), options.get("ids", self.ids)
        if set(options) - {"key", "max_rows", "effects", "ids"}:
            raise ValueError("valid options: effects, ids, key, max_rows")
        if ids is not None and not (isinstance(ids, str) and ids):
            raise ValueError("ids must be the name of a field")
        if not isinstance(effects, bool):
            raise ValueError("effects must be true or false")
        if not isinstance(key, list) or not all(isinstance(name, str) and name for name in key):
            raise ValueError("key must be a list of field names")
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
            raise ValueError("max_rows must be a whole number from 1")
        with self._lock:
            if tuple(key) != self.key:
                self.rows = {(where, tuple(_text(row.get(name)) for name in key)): row for (where, _), row in self.rows.items()}
            self.key, self.max_rows, self.effects, self.ids = tuple(key), most, effects, ids

    def stage(self, faults: Sequence[Fault]) -> None:
        """Stage faults."""
        with self._lock:
            self.faults.stage(faults)

    def recover(self) -> None:
        """Drop the faults that are staged."""
        with self._lock:
            self.faults.clear()

    def whoami(self, call: Call, account: Any) -> Reply:
        """Say whose account it is, or do what a fault says that is staged for this question."""
        return self._told(call, "whoami", reply(200, account))

    def export(self, call: Call) -> Reply:
        """Say which rows there are: `limit` of them after the cursor `after`, and the cursor of the next page, null on the last one."""
        try:
            asked = {name: int(values[-1]) for name, values in parse_qs(call.path.partition("?")[2]).items() if name in ("limit", "after")}
        except ValueError:
            return self._told(call, "export", reply(400, {"error": "bad_cursor"}))
        start, count = asked.get("after", 0), max(1, asked.get("limit", 100))
        with self._lock:
            rows = [row for (where, _), row in self.rows.items() if where == call.list]
        end = start + count
        return self._told(call, "export", reply(200, {"rows": rows[start:end], "next": str(end) if end < len(rows) else None}))

    def lookup(self, call: Call, last: str) -> Reply:
        """Say what became of a change by the last part of the path, or of those in a list; of one that it does not know, nothing."""
        field = self.ids or "id"
        if call.method == "GET":
            known = last in self.messages
            return self._told(call, "lookup", reply(200, _message(field, last)) if known else reply(404, {"error": "no_message"}))
        try:
            given = json.loads(call.body)
            asked = next(iter(given.values())) if isinstance(given, dict) else given
            found = [_message(field, each) for each in asked if each in self.messages]
        except (ValueError, TypeError, StopIteration):
            return self._told(call, "lookup", reply(400, {"error": "not_keys"}))
        return self._told(call, "lookup", reply(200, {"messages": found}))

    def _told(self, call: Call, question: str, answer: Reply) -> Reply:
        seen = _seen(call)
        with self._lock:
            fault = self.faults.strike([], question) if self.faults else None
        if fault is not None:
            seen["fault"] = fault.kind
            answer = _failing(fault) or (_instead(fault) if fault.kind in BEFORE else _disturbed(fault, answer))
        return self._answered(seen, answer)

    def handle(self, call: Call) -> Reply:
        """Take the rows of a request, or do what a staged fault says."""
        seen = _seen(call)
        try:
            rows, seen["beside"] = parse_body(call.body)
            seen["rows"] = len(rows)
            with self._lock:
                answer = self._answer(call, rows, seen)
        except Refused as refused:
            answer = refused.reply
        return self._answered(seen, answer)

    def _answered(self, seen: dict[str, Any], answer: Reply) -> Reply:
        seen["status"] = 0 if answer.manner in ("reset", "half_reset") else answer.status
        self.requests.append(seen)
        return answer

    def _answer(self, call: Call, rows: list[Row], seen: dict[str, Any]) -> Reply:
        keys = self._keys(rows)
        fault = self.faults.strike([_shown(key) for key in keys if key]) if self.faults else None
        if fault is None:
            return self._take(call, rows, keys, seen)
        seen["fault"] = fault.kind
        if (failing := _failing(fault)) is not None:
            return failing
        if fault.kind in BEFORE:
            return _instead(fault)
        if fault.kind == "half_applied":  # and under its key it may be tried again
            half = dict.fromkeys(range(len(rows) // 2, len(rows)), "not_reached")
            return _disturbed(fault, self._take(replace(call, idempotency_key=None), rows, keys, seen, half))
        return _disturbed(fault, self._take(call, rows, keys, seen))

    def _take(
        self,
        call: Call,
        rows: list[Row],
        keys: Sequence[tuple[str, ...] | None],
        seen: dict[str, Any],
        left_out: Mapping[int, str] | None = None,
    ) -> Reply:
        if self.max_rows is not None and len(rows) > self.max_rows:
            return reply(413, {"error": "too_many_rows"})
        known = self.answers.get(call.idempotency_key) if call.idempotency_key and not self.effects else None
        if known is not None:
            seen["duplicate"] = True
            self.duplicates += 1
            return Reply(200, known[1]) if known[0] == call.digest else reply(422, {"error": "idempotency_mismatch"})
        codes = self.faults.rejected([_shown(key) if key else "" for key in keys]) if self.faults else {}
        codes |= {place: "missing_key" for place, key in enumerate(keys) if key is None} | dict(left_out or {})
        errors = [{"key": _as_sent(rows[place], self.key), "index": place, "code": code} for place, code in sorted(codes.items())]
        answer = reply(200, {"accepted": len(rows) - len(errors), "errors": errors})
        self.apply(call, rows, keys, codes)
        self._record(self, call, sorted(codes), answer.body)
        # An answer is kept when something was done. A request that changed nothing may be tried again.
        if call.idempotency_key and len(errors) < len(rows):
            self.answers[call.idempotency_key] = (call.digest, answer.body)
        return answer

    def apply(self, call: Call, rows: Sequence[Row], keys: Sequence[tuple[str, ...] | None], left_out: Mapping[int, str]) -> None:
        """Put or take away the rows that are not left out."""
        there = enumerate(zip(keys, rows, strict=True))
        taken = {(call.list, key): row for place, (key, row) in there if key is not None and place not in left_out}
        if call.op == "upsert":
            self.rows.update(taken)
            if self.ids:
                self.messages.update(row[self.ids] for row in taken.values() if isinstance(row.get(self.ids), str))
            if self.effects:
                self.told.update((*key, json.dumps(row, sort_keys=True)) for (_, key), row in taken.items())
        else:
            for key in taken:
                self.rows.pop(key, None)

    def _keys(self, rows: Sequence[Row]) -> list[tuple[str, ...] | None]:
        """Each row's key, None where a part is missing. The first row ever seen names the key when no option did."""
        if rows and not self.key:
            self.key = ("external_id",) if "external_id" in rows[0] else (next(iter(rows[0])),)
        if len(self.key) == 1:
            name = self.key[0]
            values = [row.get(name) for row in rows]
            return [(value if isinstance(value, str) else _text(value),) if value is not None else None for value in values]
        return [tuple(_text(row[n]) for n in self.key) if all(row.get(n) is not None for n in self.key) else None for row in rows]

    def replay(self, call: Call, digest: str, left_out: Sequence[int], answer: bytes) -> None:
        """Do again what a journal says was done."""
        rows, _ = parse_body(call.body)
        self.apply(call, rows, self._keys(rows), dict.fromkeys(left_out, ""))
        if call.idempotency_key and len(left_out) < len(rows):
            self.answers[call.idempotency_key] = (digest, answer)


def _seen(call: Call) -> dict[str, Any]:
    """What is kept of a request: no header's value, no row."""
    return {
        "at": datetime.now(UTC).isoformat(),
        "method": call.method,
        "path": call.path,
        "headers": list(call.headers),
        "idempotency_key": call.idempotency_key,
        "rows": 0,
        "beside": {},
        "fault": None,
        "duplicate": False,
    }


def _message(field: str, key: str) -> dict[str, str]:
    return {field: key, "status": "sent"}


def _failing(fault: Fault) -> Reply | None:
    """The answer of a fault that is an HTTP status."""
    if fault.status is None:
        return None
    wait = {"Retry-After": fault.retry_after} if fault.retry_after is not None else {}
    return reply(fault.status, {"error": fault.code}, headers=wait)


def _instead(fault: Fault) -> Reply:
    """The answers for which no row is taken."""
    if fault.kind == "reset":
        return Reply(200, b"", manner="reset")
    if fault.kind == "html":
        return Reply(200, b"<!doctype html><html><body>Please sign in</body></html>", content_type="text/html")
    return Reply(302, b"", headers={"Location": "/_sandbox"})


def _disturbed(fault: Fault, answer: Reply) -> Reply:
    """The answers that hide that the rows were taken."""
    if fault.kind in ("applied_but_500", "half_applied"):
        return reply(500, {"error": fault.code})
    if fault.kind == "multi_status":
        return replace(answer, status=207)
    if fault.kind == "not_json":
        return replace(answer, body=b"OK", content_type="text/plain")
    return replace(answer, manner=fault.kind, seconds=fault.seconds)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _shown(key: tuple[str, ...]) -> str:
    return "|".join(key)


def _as_sent(row: Row, key: tuple[str, ...]) -> Any:
    values = [row.get(name) for name in key]
    return values[0] if len(values) == 1 else values
