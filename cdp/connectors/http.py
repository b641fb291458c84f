"""The `http` connector: a REST channel, declared in the destination's YAML."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cdp import __version__
from cdp.connectors import accounts, envelope, exported, lookups, pace
from cdp.connectors.answers import Unclear, check_whole, refused_rows
from cdp.connectors.base import HARMLESS, NOT_SENT, Batch, Receipts, Repeats, Status, Target, WireOp
from cdp.connectors.bodies import contents, finite, json_texts
from cdp.connectors.declared import headers, key_header, options, urls, with_ids
from cdp.connectors.halves import Halves
from cdp.connectors.wire import Answer, Patience, Wire
from cdp.errors import DeliveryError
from cdp.spec.activation import Request

if TYPE_CHECKING:
    import httpx
    import pyarrow as pa

Verdict = tuple[Status, str | None]
_WHOLE = (400, 413, 422)  # the channel may have refused all rows for the sake of one


class HttpConnector:
    """Sends batches as JSON over HTTP and reads which rows were taken.

    What is known of a row after its request: 2xx, delivered, unless the declared `errors` name it; 400, 413 and 422,
    the batch is split until the row that is to blame stands alone; other 4xx, rejected; no answer, 408, what came too
    early (421, 425, 429) and 5xx after all tries, retryable. Where each request has an effect (`repeats: effect`) only what
    came too early or never left is tried again; any other request without an answer that tells is unknown.
    """

    carries_notice = True

    def __init__(self, target: Target) -> None:
        destination = target.destination
        self._who = f"destination {destination.name}"
        self._options = options(target, self._who)
        self._secrets, self._notice = target.secrets, target.notice
        self._urls = urls(target, self._options, self._who)
        self._headers = {
            b"user-agent": f"cdp/{__version__}".encode(),
            b"accept": b"application/json",
            b"accept-encoding": b"identity",  # the limit on a response's size is one on what it becomes
            **headers(target, self._options, self._who),
        }
        self.repeats: Repeats = self._options.repeats
        self.concurrency = self._options.concurrency
        patience = Patience(self._options.attempts, self._options.timeout_seconds, self._options.max_wait_seconds)
        self._down = False  # whether the last batch got no answer that tells anything
        self._pace = pace.of(destination)
        self._wire = Wire(target.egress, self._who, self._pace, patience)

    def batch_size(self, op: WireOp) -> int:
        """The `batch` of the request that is declared for this kind of change."""
        request = self._request(op)
        return request.batch if request else 0

    def _request(self, op: WireOp) -> Request | None:
        return self._options.upsert if op == "upsert" else self._options.remove

    async def whoami(self) -> str | None:
        """The account that `http.whoami` asks for; None when nothing is declared.

        Raises:
            DeliveryError: refused credentials, a redirect, no answer, or one without an account.
        """
        if self._options.whoami is None:
            return None
        answer = await self._call(self._urls["whoami"], "GET", self._headers, b"")
        path = self._options.whoami.account
        found = accounts.read(answer.body, path, self._secrets.values()) if _is_success(answer) else None
        if found is None:
            if halted := self.halted():
                raise halted
            said = f"its answer holds no {path}" if _is_success(answer) else answer.code
            raise DeliveryError(
                f"{self._who}: the channel does not say whose account this is: {said}", fix="mend http.whoami, or run again"
            )
        return found

    async def export(self, keys: Sequence[str]) -> AsyncIterator[pa.Table]:
        """The keys of all rows that `http.export` lists, page by page.

        Raises:
            DeliveryError: nothing is declared, refused credentials, or a page that cannot be read: see `exported.pages`.
        """
        if (spec := self._options.export) is None:
            raise DeliveryError(f"{self._who} has no export", fix="declare http.export in the destination")

        async for page in exported.pages(self._ask, self._urls["export"], spec, keys, self._who):
            yield page

    async def lookup(self, change_ids: Sequence[str]) -> Sequence[bool | None]:
        """For each change whether the channel applied it, by `http.lookup`; None where nothing is declared, or nothing clear said.

        Raises:
            DeliveryError: refused credentials, a redirect, or a pause that is longer than we wait.
        """
        if (spec := self._options.lookup) is None:
            return [None] * len(change_ids)
        return await lookups.applied(self._ask, self._urls["lookup"], spec, change_ids, self.concurrency)

    @property
    def known_after(self) -> float:
        """Seconds until the channel knows what it was sent."""
        return self._options.lookup.known_after if self._options.lookup else 0.0

    async def _ask(self, url: httpx.URL, body: bytes = b"") -> Answer:
        """The answer to a question: one that changes nothing, however often it is asked."""
        kind = {b"content-type": b"application/json"} if body else {}
        answer = await self._call(url, "POST" if body else "GET", {**self._headers, **kind}, body)
        if not _is_success(answer) and (halted := self.halted()):
            raise halted
        return answer

    async def send(self, batch: Batch) -> Receipts:
        """Deliver one batch.

        A batch refused as a whole is halved; so is one at which the channel fails (5xx) after all tries, where its rows may go again in
        other requests. What a row is then is what it was told alone: one at which the channel fails is retryable.

        Raises:
            DeliveryError: a refused host, a redirect, refused credentials, or a column without a JSON form.
        """
        verdicts: list[Verdict] = [("retryable", NOT_SENT)] * len(batch)
        sendable = finite(batch.rows) if batch.texts is None else list(range(len(batch)))
        if len(sendable) < len(batch):
            for place in set(range(len(batch))).difference(sendable):
                verdicts[place] = ("rejected", "not_finite")
        halves, heard = Halves(sendable, len(batch), up=not self._down), False
        while (places := halves.next()) is not None:
            part = batch if len(places) == len(batch) else batch.take(places)
            try:
                answer = await self._post(part, once=halves.failing)
            except DeliveryError as error:
                if part is batch:
                    raise
                if error.doubt and not _doubt(verdicts[places[0]]):
                    _tell(verdicts, places, [self._undecided(batch.op, error.doubt)] * len(places))
                break  # what was settled is told; the next batch meets the same error
            if not answer.doubt and not (answer.status in _WHOLE and len(part) == 1):  # its own content refused: that settles a row
                answer = replace(answer, doubt=_doubt(verdicts[places[0]]))
            heard = heard or not answer.unsettled
            self._down = not heard
            judged = self._judge(part, answer, final=halves.final)
            apart = answer.failed and len(part) > 1 and self._apart(batch.op)
            if part is batch and judged.rest and not judged.named and not apart:  # settled at once, as nearly always
                return Receipts.all(len(batch), *judged.rest)
            found = judged.rows(len(part))
            if answer.doubt:
                _tell(verdicts, places, [self._undecided(batch.op, answer.doubt)] * len(places))
            _tell(verdicts, [places[at] for at in found], list(found.values()))
            if apart:
                halves.failed(places)
            elif rest := [place for at, place in enumerate(places) if at not in found]:
                halves.refused(rest, again=bool(found), too_many=answer.status == 413)
            elif _is_success(answer):
                halves.taken()
        return _receipts(verdicts)

    def _apart(self, op: WireOp) -> bool:
        """Whether rows of a request that may have been applied can be sent again in other requests: the channel knows each, or puts it."""
        return op == "remove" or self.repeats == "state" or (self.repeats == "keys" and self._options.idempotency.field is not None)

    async def _post(self, batch: Batch, *, once: bool) -> Answer:
        request = self._request(batch.op)
        if request is None:
            raise DeliveryError(f"{self._who} has no `remove` request", fix="declare http.remove, or use a mode without removes")
        keyed = key_header(batch, self._options.idempotency)
        sent = {**self._headers, **keyed}
        sent.setdefault(b"content-type", b"application/x-ndjson" if request.body == "ndjson" else b"application/json")
        texts = batch.texts if batch.texts is not None else self._texts(request, batch)
        body = envelope.body(request, contents(texts), self._notice)
        return await self._call(self._urls[batch.op], request.method, sent, body, rows=len(batch), once=once or self._once(batch.op))

    def encoded(self, batch: Batch) -> pa.StringArray | None:
        """The rows as they will stand in requests, for a chunk of them in the thread that reads; None where `send` is to say why not."""
        request = self._request(batch.op)
        with suppress(DeliveryError):
            return self._texts(request, batch) if request and len(finite(batch.rows)) == len(batch) else None
        return None

    def _texts(self, request: Request, batch: Batch) -> pa.StringArray:
        return json_texts(with_ids(batch, self._options.idempotency), envelope.separator(request))

    def _once(self, op: WireOp) -> bool:
        """Whether a request must not be repeated unless it certainly had no effect; a removal always may."""
        return self.repeats == "effect" and op == "upsert"

    async def _call(
        self, url: httpx.URL, method: str, sent: Mapping[bytes, bytes], body: bytes, *, rows: int = 0, once: bool = False
    ) -> Answer:
        answer = await self._wire.send(method, url, sent, body, rows=rows, once=once)
        if answer.status in (401, 403):
            raise DeliveryError(
                f"{self._who}: {url.host} refuses our credentials ({answer.status})",
                fix=f"check the secrets {', '.join(sorted(self._secrets)) or '(none declared)'} and what they may do",
                doubt=answer.doubt,
            )
        return answer

    def _undecided(self, op: WireOp, code: str) -> Verdict:
        """What is told of rows that may have been applied."""
        return ("unknown" if self._once(op) else "retryable", code)

    def _judge(self, batch: Batch, answer: Answer, *, final: bool) -> _Judged:
        """What the answer settles. Rows that it leaves out were refused for others' sake and may be sent again."""
        if answer.unsettled:
            return _Judged(("retryable", answer.code) if answer.harmless else self._undecided(batch.op, answer.code))
        if _is_success(answer):
            return self._read_success(batch, answer)
        if answer.doubt and (final or len(batch) == 1 or answer.status not in _WHOLE or not self._apart(batch.op)):
            # That the same request is refused now (409: it is under way, or was) says nothing of what came of it before.
            return _Judged(self._undecided(batch.op, answer.doubt))
        named = {} if answer.status not in _WHOLE or answer.doubt else self._named(batch, answer)
        if not final and (named or (answer.status in _WHOLE and len(batch) > 1)):
            return _Judged(None, named)
        return _Judged(("rejected", answer.code), named)

    def _read_success(self, batch: Batch, answer: Answer) -> _Judged:
        try:
            if self._options.errors is None or answer.status == 204:
                check_whole(answer.status, answer.body)
                return _Judged(("delivered", None))
            return _Judged(("delivered", None), self._refused(batch, answer))
        except Unclear as unclear:
            return _Judged(self._undecided(batch.op, unclear.code))

    def _named(self, batch: Batch, answer: Answer) -> dict[int, Verdict]:
        try:
            return self._refused(batch, answer)
        except Unclear:
            return {}

    def _refused(self, batch: Batch, answer: Answer) -> dict[int, Verdict]:
        if self._options.errors is None:
            return {}
        found = refused_rows(batch, answer.body, self._options.errors, self._secrets.values())
        return {place: ("rejected", code) for place, code in found.items()}

    async def flush(self) -> None:
        """Nothing to do: a channel's answer is its promise."""

    def waits(self) -> str | None:
        """Why nothing leaves at the moment, in a few words; None while requests do."""
        return self._wire.waits()

    def halted(self) -> DeliveryError | None:
        """Why nothing more can be sent for now: the channel asked for a pause that is longer than we wait."""
        seconds = self._wire.halted()
        if seconds is None:
            return None
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        return DeliveryError(
            f"{self._who}: the channel asks to be left alone until {until:%Y-%m-%d %H:%M:%S} UTC; "
            f"http.max_wait_seconds is {self._options.max_wait_seconds:g}",
            fix="run again after that: what was not taken is sent then",
        )

    def stop(self) -> None:
        """Send nothing more: what waits for its turn, or for another try, ends now."""
        self._wire.stop()

    def debt(self) -> float:
        """Seconds until all that was sent is within the limits a second that the destination declares."""
        return self._pace.debt()

    async def __aenter__(self) -> Self:
        await self._wire.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._wire.__aexit__(kind, error, trace)


@dataclass(frozen=True, slots=True)
class _Judged:
    """What an answer settles: the rows that it names, by position, and `rest` of the others; None where those may be sent again."""

    rest: Verdict | None
    named: Mapping[int, Verdict] = field(default_factory=dict)

    def rows(self, count: int) -> dict[int, Verdict]:
        """The verdict of each row that is settled, of so many."""
        return {**(dict.fromkeys(range(count), self.rest) if self.rest else {}), **self.named}


def _doubt(verdict: Verdict) -> str | None:
    """Why a row may have been applied, which is in doubt so far; None when nothing of it can have arrived, or it is settled."""
    status, code = verdict
    return code if status in ("retryable", "unknown") and code not in HARMLESS else None


def _tell(verdicts: list[Verdict], places: Sequence[int], found: Sequence[Verdict]) -> None:
    """Write down the verdicts of these places; that nothing of a row arrived now does not say that nothing did before."""
    for place, verdict in zip(places, found, strict=True):
        if verdict[1] not in HARMLESS or not _doubt(verdicts[place]):
            verdicts[place] = verdict


def _receipts(verdicts: Sequence[Verdict]) -> Receipts:
    if len(different := set(verdicts)) == 1:
        return Receipts.all(len(verdicts), *different.pop())
    statuses, codes = zip(*verdicts, strict=True)
    return Receipts(statuses, codes)


def _is_success(answer: Answer) -> bool:
    return 200 <= answer.status < 300
