"""What is read from a channel's headers, in the forms in which channels send it."""

from __future__ import annotations

import datetime as dt
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.connectors.quotas import LONGEST, Advice, Quota, advice

NOW = dt.datetime(2026, 11, 22, 10, 0, 0, tzinfo=dt.UTC)
EPOCH = int(NOW.timestamp())


def said(status: int, **headers: str) -> Advice:
    return advice(status, httpx.Headers({name.replace("_", "-"): value for name, value in headers.items()}), NOW)


def as_date(seconds: float) -> str:
    return format_datetime(NOW + dt.timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry_after": "7"}, 7),
        ({"retry_after": " 1.5 "}, 1.5),
        ({"retry_after": "0"}, 0),
        ({"retry_after": as_date(90)}, 90),
        ({"retry_after": as_date(-90)}, 0),  # past
        ({"retry_after": as_date(90), "date": as_date(80)}, 10),  # the channel's clock is 80 s ahead of ours
        ({"retry_after": "9" * 25}, LONGEST),
        ({"retry_after": as_date(10**7)}, LONGEST),
        ({"retry_after_ms": "1500"}, 1.5),
        ({"x_ms_retry_after_ms": "250", "retry_after": "1"}, 0.25),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-5"}, None),
        ({"retry_after": ""}, None),
        ({"retry_after": "1e3"}, None),
        ({"retry_after": "Thu, 99 Foo 2026"}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_how_long_to_wait(status: int, headers: dict[str, str], wait: float | None) -> None:
    assert said(status, **headers).wait == wait


@pytest.mark.parametrize("status", [200, 400, 500, 301])
def test_only_429_and_503_make_us_wait(status: int) -> None:
    assert said(status, retry_after="7", x_ratelimit_remaining="0", x_ratelimit_reset="9").wait is None


def test_a_429_without_retry_after_waits_for_the_reset_of_what_is_used_up() -> None:
    assert said(429, x_ratelimit_remaining="0", x_ratelimit_reset=str(EPOCH + 40)).wait == 40  # SendGrid
    assert said(429, x_ratelimit_remaining="3", x_ratelimit_reset=str(EPOCH + 40)).wait is None
    assert said(429, retry_after="2", x_ratelimit_remaining="0", x_ratelimit_reset=str(EPOCH + 40)).wait == 2
    assert said(503, x_ratelimit_remaining="0", x_ratelimit_reset=str(EPOCH + 40)).wait is None  # not for the quota's sake


@pytest.mark.parametrize(
    ("headers", "quota"),
    [
        ({"x_ratelimit_limit": "500", "x_ratelimit_remaining": "499", "x_ratelimit_reset": str(EPOCH + 60)}, Quota(499, 60)),
        ({"x_ratelimit_remaining": "9", "x_ratelimit_reset": str((EPOCH + 60) * 1000)}, Quota(9, 60)),
        ({"x_ratelimit_remaining": "9", "x_ratelimit_reset": "60"}, Quota(9, 60)),
        ({"x_ratelimit_remaining": "9", "x_ratelimit_reset": str(EPOCH + 60), "date": as_date(50)}, Quota(9, 10)),
        ({"x_ratelimit_remaining": "9", "x_ratelimit_reset": str(EPOCH - 60)}, Quota(9, 0)),
        ({"x_ratelimit_remaining": "9", "x_ratelimit_reset": "9" * 20}, Quota(9, LONGEST)),
        ({"x_rate_limit_remaining": "5", "x_rate_limit_reset": str(EPOCH + 3)}, Quota(5, 3)),
        ({"ratelimit_limit": "75, 75;w=1", "ratelimit_remaining": "70", "ratelimit_reset": "30"}, Quota(70, 30)),
        ({"ratelimit": "limit=100, remaining=50, reset=30"}, Quota(50, 30)),
        ({"ratelimit": '"default";r=50;t=30', "ratelimit_policy": '"default";q=100;w=60'}, Quota(50, 30)),
        ({"ratelimit": '"default";r=50', "ratelimit_policy": '"default";q=100;w=60'}, Quota(50, 60)),
        ({"ratelimit": '"burst";r=2;t=1, "daily";r=900;t=3600'}, Quota(2, 1)),
        ({"ratelimit": '"burst";r=0;t=1, "daily";r=0;t=3600'}, Quota(0, 3600)),
        ({"x_hubspot_ratelimit_remaining": "97", "x_hubspot_ratelimit_interval_milliseconds": "10000"}, Quota(97, 10)),
        ({"ratelimit_remaining": "7", "ratelimit_reset": "9", "x_ratelimit_remaining": "3", "x_ratelimit_reset": "5"}, Quota(3, 5)),
        ({"ratelimit_policy": '"default";q=100;w=60'}, None),  # how much there is, not how much is left
        ({"x_ratelimit_remaining": "9"}, None),
        ({"x_ratelimit_reset": "60"}, None),
        ({"x_ratelimit_remaining": "many", "x_ratelimit_reset": "60"}, None),
        ({"x_ratelimit_remaining": "-1", "x_ratelimit_reset": "60"}, None),
        ({"ratelimit": '"default"'}, None),
        ({}, None),
    ],
)
def test_what_is_left(headers: dict[str, str], quota: Quota | None) -> None:
    assert said(200, **headers).quota == quota


_NAMES = ["retry-after", "retry-after-ms", "date", "ratelimit", "ratelimit-policy", "ratelimit-remaining", "ratelimit-reset"]
_NAMES += ["x-ratelimit-remaining", "x-ratelimit-reset", "x-hubspot-ratelimit-remaining", "x-hubspot-ratelimit-interval-milliseconds"]
_VALUES = st.one_of(
    st.text(max_size=40),
    st.from_regex(r"[0-9.,;= rtwq\"-]{0,60}", fullmatch=True),
    st.integers(-(10**40), 10**40).map(str),
    st.datetimes().map(format_datetime),
)


@given(st.dictionaries(st.sampled_from(_NAMES), _VALUES), st.sampled_from([200, 429, 503]))
def test_whatever_a_header_holds_we_wait_no_longer_than_a_day(headers: dict[str, str], status: int) -> None:
    found = advice(status, headers, NOW)
    assert found.wait is None or 0 <= found.wait <= LONGEST
    assert found.quota is None or (found.quota.remaining >= 0 and 0 <= found.quota.seconds <= LONGEST)
