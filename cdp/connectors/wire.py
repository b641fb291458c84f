"""The HTTP client that every channel over HTTP shares: guarded, pooled, patient, silent.

A request ends in an `Answer`: what the channel said, or why nothing is known. Only what makes all further requests
pointless (a refused host, a redirect) is an exception.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from http.cookiejar import CookieJar
from types import TracebackType
from typing import Self

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt

from cdp.connectors.base import HARMLESS, TOO_EARLY, Egress
from cdp.connectors.egress import GuardedTransport
from cdp.connectors.lanes import Lanes, is_spent
from cdp.connectors.pace import Pace, PausedError
from cdp.connectors.quotas import Advice, advice
from cdp.errors import DeliveryError

CONNECT_SECONDS = 10.0
BODY_LIMIT = 1_000_000
FIRST_WAIT_SECONDS = 0.25
LONGEST_BACK_OFF_SECONDS = 30.0
CIRCUIT_LIMIT = 5  # requests in a row, each tried to the end, without any answer

_sending: ContextVar[bool] = ContextVar("cdp_sending", default=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """How one request ended.

    Attributes:
        status: the HTTP status; 0 when there was no whole answer.
        code: `http_<status>`, or why there was none: `timeout`, `connect`, `dns`, `tls`, `reset`, `circuit_open`, `stopped`.
        body: the response's bytes, or None when there were more than BODY_LIMIT.
        wait: the seconds that the channel asked for, if it did.
        sent: whether anything of the request may have reached the channel; known only of one that goes out once.
        doubt: the code of an earlier try of the same request that may have been applied; None when none may.
    """

    status: int
    code: str
    body: bytes | None = field(default=b"", repr=False)
    wait: float | None = None
    sent: bool = True
    doubt: str | None = None

    @property
    def harmless(self) -> bool:
        """Whether the request certainly had no effect: nothing of it was sent, or it came too early."""
        return not self.sent or self.status in TOO_EARLY

    @property
    def unsettled(self) -> bool:
        """Whether the same request may fare better later: nothing is known, or the channel asked for time."""
        return self.status in (0, 408, *TOO_EARLY) or self.status >= 500

    @property
    def failed(self) -> bool:
        """Whether the channel failed at this request, and did not say that it has too many."""
        return self.status >= 500 and self.status != 503


@dataclass(frozen=True, slots=True)
class Patience:
    """How hard to try: `attempts` tries of `seconds` each, no single wait longer than `longest_wait` seconds."""

    attempts: int
    seconds: float
    longest_wait: float


class Wire:
    """A pool of connections to one destination. `async with` opens and closes it.

    Args:
        egress: what may be called; checked for every request on its way out.
        who: names the destination in errors.
        pace: of the destination, shared with all who send to it; no more requests are under way, and so connections open, than it lets.
        patience: how hard to try.
    """

    def __init__(self, egress: Egress, who: str, pace: Pace, patience: Patience) -> None:
        self._pace, self._patience = pace, patience
        self._silent = 0  # requests in a row that ended without an answer
        self._stopped = asyncio.Event()
        self._asked = self._backing_off = 0  # requests under way; those of them that failed and wait before their next try
        self._client = httpx.AsyncClient(
            transport=GuardedTransport(Lanes(_lane, is_spent), egress, who),
            trust_env=False,
            follow_redirects=False,
            cookies=_NoCookies(),
            timeout=httpx.Timeout(patience.seconds, connect=min(CONNECT_SECONDS, patience.seconds), pool=None),
        )

    async def send(
        self, method: str, url: httpx.URL, headers: Mapping[bytes, bytes], content: bytes, *, rows: int = 0, once: bool = False
    ) -> Answer:
        """Send a request until it is answered or patience ends; the last answer counts.

        Args:
            method: of the request.
            url: where it goes.
            headers: of the request.
            content: its body.
            rows: that it holds, which a limit may count.
            once: it has an effect each time, so that only a try that certainly had none is followed by another.

        Raises:
            DeliveryError: the URL is refused, or the channel redirects; see its `doubt`.
        """
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._patience.attempts),
            retry=retry_if_result(lambda answer: self._is_worth_another_try(answer) and (answer.harmless or not once)),
            wait=self._back_off,
            sleep=self._sleep,
            retry_error_callback=_last_answer,
        )
        doubtful: list[str] = []

        async def attempt() -> Answer:
            answer = await self._attempt(method, url, headers, content, rows, once)
            if answer.unsettled and answer.code not in HARMLESS:
                doubtful.append(answer.code)
            return answer

        self._asked += 1
        try:
            answer: Answer = await retrying(attempt)
        except DeliveryError as error:
            error.doubt = next(reversed(doubtful), error.doubt)
            raise
        finally:
            self._asked -= 1
        self._silent = self._silent + 1 if answer.status == 0 else 0
        # Whether the channel may have it, every try says, and not the last one alone.
        doubt = next(reversed(doubtful), None)
        return replace(answer, doubt=doubt, code=doubt if doubt and answer.code in HARMLESS else answer.code)

    def waits(self) -> str | None:
        """Why nothing leaves at the moment, in a few words; None while requests do."""
        if reason := self._pace.waiting():
            return reason
        return "requests failed and are tried again soon" if 0 < self._asked == self._backing_off else None

    def halted(self) -> float | None:
        """Seconds for which the channel asked to be left alone, if that is longer than we wait."""
        pause = self._pace.pause()
        return pause if pause > self._patience.longest_wait else None

    def stop(self) -> None:
        """Send nothing more: what waits for its turn or its next try ends now."""
        self._stopped.set()
        self._pace.look_up()

    async def _attempt(self, method: str, url: httpx.URL, headers: Mapping[bytes, bytes], content: bytes, rows: int, once: bool) -> Answer:
        unsent = Answer(0, "circuit_open", sent=False)
        if self._silent >= CIRCUIT_LIMIT:
            return unsent
        try:
            async with self._pace.turn(rows, self._patience.longest_wait, self._stopped.is_set) as turn:
                if self._silent >= CIRCUIT_LIMIT:  # since it began to wait
                    return unsent
                begun = _Begun()
                watched = {"trace": begun.trace} if once else {}
                request = self._client.build_request(method, url, headers=headers, content=content, extensions=watched)
                answer, turn.advice = await self._exchange(request)
                turn.overloaded = answer.status in (429, 503) or answer.code == "timeout"
        except PausedError as paused:
            if self._stopped.is_set():
                return Answer(0, "stopped", sent=False)
            return Answer(429, "http_429", wait=paused.seconds, sent=False)
        return replace(answer, sent=False) if once and answer.status == 0 and not begun.sent else answer

    async def _exchange(self, request: httpx.Request) -> tuple[Answer, Advice]:
        """One request and its response within the deadline, whatever the channel's pace."""
        failure: Exception
        quiet = _sending.set(True)
        try:
            async with asyncio.timeout(self._patience.seconds):
                response = await self._client.send(request, stream=True)
                try:
                    body = await _read(response)
                finally:
                    await response.aclose()
            said = advice(response.status_code, response.headers, datetime.now(UTC))
            return Answer(response.status_code, f"http_{response.status_code}", body, said.wait), said
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            failure = error
        finally:
            _sending.reset(quiet)
        return Answer(0, _code(failure)), Advice()

    def _is_worth_another_try(self, answer: Answer) -> bool:
        if answer.wait is not None and answer.wait > self._patience.longest_wait:
            return False
        return answer.unsettled and answer.code != "circuit_open" and not self._stopped.is_set()

    def _back_off(self, state: RetryCallState) -> float:
        """Full jitter (AWS Architecture Blog, 2015) up to three times as long each time; none when the pause gate decides."""
        answer = state.outcome.result() if state.outcome else None
        if answer is not None and answer.wait:
            return 0.0
        longest = min(FIRST_WAIT_SECONDS * 3 ** (state.attempt_number - 1), LONGEST_BACK_OFF_SECONDS, self._patience.longest_wait)
        return random.uniform(longest / 2, longest)

    async def _sleep(self, seconds: float) -> None:
        self._backing_off += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._stopped.wait()
        finally:
            self._backing_off -= 1

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        quiet = _sending.set(True)
        try:
            await self._client.aclose()
        finally:
            _sending.reset(quiet)


class _Begun:
    """Whether a request was begun to be written: before that no failure can have had an effect."""

    sent = False

    async def trace(self, event: str, _: Mapping[str, object]) -> None:
        """Told by httpcore of each step."""
        if event.endswith("send_request_headers.started"):
            self.sent = True


class _NoCookies(CookieJar):
    """Keeps none: who we are our credentials say, with every request, and not what another one was answered."""

    def extract_cookies(self, response: object, request: object) -> None:
        """Leave those of a response alone."""


@cache
def _tls() -> ssl.SSLContext:
    """Certificates are verified against the bundle that httpx brings. Loading it takes 30 ms, so it is done once."""
    context = httpx.create_ssl_context(trust_env=False)
    # Python takes SSLKEYLOGFILE from the environment: a file with the keys of every connection.
    context.keylog_filename = None  # type: ignore[assignment]
    return context


def _lane() -> httpx.AsyncBaseTransport:
    """A transport of one connection, at which a request never waits for another."""
    return httpx.AsyncHTTPTransport(verify=_tls(), trust_env=False, limits=httpx.Limits(max_connections=1, max_keepalive_connections=1))


def _last_answer(state: RetryCallState) -> Answer:
    assert state.outcome is not None  # tenacity calls this after an attempt
    answer: Answer = state.outcome.result()
    return answer


async def _read(response: httpx.Response) -> bytes | None:
    """The body as it came, or None when it is longer than BODY_LIMIT: the rest is left unread."""
    parts, size = [], 0
    async for part in response.aiter_raw():
        parts.append(part)
        size += len(part)
        if size > BODY_LIMIT:
            return None
    return b"".join(parts)


def _code(error: Exception) -> str:
    """A short reason for no answer; the libraries' texts may quote the request and are dropped."""
    if isinstance(error, (TimeoutError, httpx.TimeoutException)):
        return "timeout"
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    if isinstance(error, httpx.ConnectError) and any(isinstance(cause, ssl.SSLError) for cause in causes):
        return "tls"
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return "dns"
    return "connect" if isinstance(error, httpx.ConnectError) else "reset"


def _is_loud(_: logging.LogRecord) -> bool:
    return not _sending.get()


# These log URLs and headers; what we send is nobody's log line. Other users of the libraries keep theirs.
for _name in ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks"):
    logging.getLogger(_name).addFilter(_is_loud)
