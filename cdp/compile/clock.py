"""The one moment that all segment logic of a run is computed for."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from cdp.errors import UsageError


@dataclass(frozen=True, slots=True)
class Clock:
    """A moment in the project's time zone: rows after it do not exist, windows count from its calendar day.

    Attributes:
        instant: time-zone aware; a clock given as a day is that day's last microsecond.
        day: the local calendar day of `instant`.
    """

    instant: dt.datetime

    @property
    def day(self) -> dt.date:
        """The local calendar day."""
        return self.instant.date()

    @property
    def zone(self) -> str:
        """The IANA name of the project's time zone."""
        return str(self.instant.tzinfo)

    def midnight(self, day: dt.date) -> dt.datetime:
        """The moment at which a local calendar day begins."""
        return dt.datetime.combine(day, dt.time.min, self.instant.tzinfo)

    @classmethod
    def now(cls, timezone: str) -> Clock:
        """The wall clock."""
        return cls(dt.datetime.now(ZoneInfo(timezone)))

    @classmethod
    def parse(cls, text: str | None, timezone: str) -> Clock:
        """`2026-07-01`, `2026-07-01T23:30` (local time) or with an offset; None is the wall clock.

        Raises:
            UsageError: the text is no date or timestamp.
        """
        if text is None:
            return cls.now(timezone)
        zone = ZoneInfo(timezone)
        try:
            if len(text) == 10:
                return cls(dt.datetime.combine(dt.date.fromisoformat(text), dt.time.max, zone))
            moment = dt.datetime.fromisoformat(text)
        except ValueError:
            raise UsageError(f"--as-of {text!r} is neither a date nor a timestamp", fix="write 2026-07-01 or 2026-07-01T23:30") from None
        return cls(moment.replace(tzinfo=zone) if moment.tzinfo is None else moment.astimezone(zone))
