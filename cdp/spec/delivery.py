"""How a destination is delivered to over time: what becomes of rows that it rejects, and how much it is told a day."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

from pydantic import Field

from cdp.spec.base import Spec
from cdp.spec.model import Names

CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")  # a channel's word for a reason, as receipts keep it


class Wait(Spec):
    """A span of time: `{hours: 1}`."""

    minutes: int = Field(0, ge=0, le=60 * 24)
    hours: int = Field(0, ge=0, le=24 * 31)
    days: int = Field(0, ge=0, le=366)

    @property
    def seconds(self) -> int:
        """How long it is."""
        return int(dt.timedelta(days=self.days, hours=self.hours, minutes=self.minutes).total_seconds())


class CodeRetries(Spec):
    """What holds for one reason instead."""

    attempts: int | None = Field(None, ge=1, le=1000)
    wait: Wait | None = None
    longest_wait: Wait | None = None


class Retries(Spec):
    """What becomes of rows that the channel rejects. Reasons are the channel's codes, as `cdp runs RUN` shows them."""

    attempts: int = Field(10, ge=1, le=1000, description="how often the same content is sent; then it waits until the content changes")
    wait: Wait = Field(Wait(hours=1), description="after the first rejection; after each further one twice as long")
    longest_wait: Wait = Field(Wait(days=7), description="the longest wait; a removal is tried every day at least, and never given up")
    never: Names = Field((), description="codes after which the same content is not sent again")
    codes: dict[str, CodeRetries] = Field({}, description="what holds for a code instead; the last rejection decides")


class Limits(Spec):
    """How fast and how much the destination is sent, by all syncs together."""

    requests_per_second: float | None = Field(None, gt=0, description="for the connector http; 0.5 is one every two seconds")
    rows_per_second: float | None = Field(None, gt=0, description="for the connector http; at least the `batch` of its requests")
    rows_per_day: int | None = Field(
        None, ge=1, description="additions and changes a day in the project's time zone; the rest is carried over, removals are not counted"
    )
    order: tuple[str, ...] = Field((), description="syncs that come first under --all, in this order; the others follow by name")

    @property
    def a_second(self) -> bool:
        """Whether it says how much may leave in a second."""
        return self.requests_per_second is not None or self.rows_per_second is not None
