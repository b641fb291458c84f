"""What a channel's answer says about how fast to go on: Retry-After, and what is left of its quota.

All of it is trusted to slow us down, never to go faster. A reset that is given as a moment is taken as seconds from the
response's own `Date`, so that a clock that is off on either side does not matter. What is read, and who sends it:

- `Retry-After`, seconds or a date (RFC 9110, 10.2.3), with a fraction too; `Retry-After-Ms`, `X-Ms-Retry-After-Ms` (Azure).
- `RateLimit: "default";r=50;t=30` with `RateLimit-Policy: "default";q=100;w=60` (draft-ietf-httpapi-ratelimit-headers from 08
  on), `RateLimit: limit=100, remaining=50, reset=30` (07), `RateLimit-Remaining` and `RateLimit-Reset` in seconds (before; Klaviyo:
  https://developers.klaviyo.com/en/docs/rate_limits_and_error_handling).
- `X-RateLimit-Remaining` and `X-RateLimit-Reset`, an epoch with SendGrid
  (https://www.twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api/rate-limits), GitHub and Braze
  (https://www.braze.com/docs/api/api_limits), seconds elsewhere; SendGrid's 429 has them and no Retry-After.
- `X-HubSpot-RateLimit-Remaining` of `X-HubSpot-RateLimit-Interval-Milliseconds`, which tell no reset: the interval is taken.

Twilio tells nothing but 429 (https://www.twilio.com/docs/api/errors/20429: too many at a time), which `pace` answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST: Final = 86_400.0  # seconds; more is a mistake, or nothing that a run can wait for
_NUMBER: Final = re.compile(r"\d{1,30}(?:\.\d{1,9})?", re.ASCII)
_EPOCH: Final = 1e9  # a number of seconds from here on is a moment (since 2001), and
_EPOCH_MS: Final = 1e11  # from here on one in milliseconds
_ITEM: Final = re.compile(r'\s*"?([A-Za-z0-9_.:/*-]+)"?((?:\s*;\s*[a-z]+=[^;,]*)+)')  # "name";r=1;t=2 (RFC 9651, lists of items)
_TELLING: Final = ("ratelimit", "x-ratelimit", "x-rate-limit", "x-hubspot-ratelimit")
_PARTS: Final = (
    ("ratelimit-remaining", "ratelimit-reset"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("x-rate-limit-remaining", "x-rate-limit-reset"),
)


@dataclass(frozen=True, slots=True)
class Quota:
    """Requests that the channel still takes within so many seconds."""

    remaining: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Advice:
    """What an answer asks for.

    Attributes:
        wait: the seconds in which nothing more is to be sent, of a 429 or 503 that says so.
        quota: what is left until when; of several the one with least left.
    """

    wait: float | None = None
    quota: Quota | None = None


def advice(status: int, headers: Mapping[str, str], now: datetime) -> Advice:
    """What the headers of a response ask for; what cannot be read asks for nothing.

    Args:
        status: of the response; only 429 and 503 make us wait.
        headers: whose names are found in any case.
        now: our clock, for a response without a date.
    """
    found = {name.lower(): value for name, value in headers.items()}
    if status not in (429, 503) and not any(name.startswith(_TELLING) for name in found):  # as nearly always: nothing is parsed
        return Advice()
    here = _date(found.get("date", "")) or now
    quota = min(_quotas(found, here), key=lambda each: (each.remaining, -each.seconds), default=None)
    if status not in (429, 503):
        return Advice(None, quota)
    wait = _retry_after(found, here)
    if wait is None and status == 429 and quota is not None and quota.remaining == 0:
        wait = quota.seconds
    return Advice(wait, quota)


def _retry_after(headers: Mapping[str, str], here: datetime) -> float | None:
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        if (found := _number(headers.get(name, ""))) is not None:
            return min(found / 1000, LONGEST)
    text = headers.get("retry-after", "")
    if (found := _number(text)) is not None:
        return min(found, LONGEST)
    moment = _date(text)
    return None if moment is None else _until(moment, here)


def _quotas(headers: Mapping[str, str], here: datetime) -> Iterator[Quota]:
    """Every quota that the headers speak of, in any vendor's form."""
    for remaining, reset in _PARTS:
        yield from _quota(headers.get(remaining, ""), _seconds(headers.get(reset, ""), here))
    interval = _number(headers.get("x-hubspot-ratelimit-interval-milliseconds", ""))
    yield from _quota(headers.get("x-hubspot-ratelimit-remaining", ""), None if interval is None else min(interval / 1000, LONGEST))
    stated = headers.get("ratelimit", "")
    if old := dict(re.findall(r"\b(remaining|reset)=(\d+)", stated)):
        yield from _quota(old.get("remaining", ""), _seconds(old.get("reset", ""), here))
    windows = {name: values.get("w", "") for name, values in _items(headers.get("ratelimit-policy", ""))}
    for name, values in _items(stated):
        yield from _quota(values.get("r", ""), _seconds(values.get("t") or windows.get(name, ""), here))


def _quota(remaining: str, seconds: float | None) -> Iterator[Quota]:
    count = _number(remaining)
    if count is not None and seconds is not None:
        yield Quota(int(count), seconds)


def _items(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    for name, parameters in _ITEM.findall(text[:1_000]):
        yield name, {key: value.strip() for key, value in re.findall(r"([a-z]+)=([^;,]*)", parameters)}


def _seconds(text: str, here: datetime) -> float | None:
    """From now until a reset: a number of seconds, or a moment since 1970 in seconds or milliseconds."""
    found = _number(text)
    if found is None or found < _EPOCH:
        return None if found is None else min(found, LONGEST)
    return min(max(0.0, (found / 1000 if found >= _EPOCH_MS else found) - here.timestamp()), LONGEST)


def _number(text: str) -> float | None:
    text = text.strip()
    return float(text) if _NUMBER.fullmatch(text) else None


def _date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _until(moment: datetime, here: datetime) -> float:
    return min(max(0.0, (moment - here).total_seconds()), LONGEST)
