"""The `tests:` of a segment or trait: one made-up member, variations of it, and what is expected of each."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from cdp.spec.base import Spec, Tree


def _moment(value: object) -> object:
    if isinstance(value, str):
        try:
            dt.date.fromisoformat(value) if len(value) == 10 else dt.datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{str(value)!r} is not a day such as 2026-07-01 or a local time such as 2026-07-01T08:30") from None
    return value


Moment = Annotated[str, BeforeValidator(_moment)]  # its text: the project's time zone gives it its meaning


class CaseSpec(Spec):
    """A variation of the member: every other key is a column or relation, whose value replaces the one of `given`."""

    model_config = ConfigDict(extra="allow")

    name: str | None = Field(None, description="what the case shows")
    as_of: Moment | None = Field(None, description="the day or local time that the case is computed for, instead of the test's")
    given: dict[str, Tree] | None = Field(None, description="columns and relations that are named like a word of a case")
    add: dict[str, Tree] | None = Field(None, description="rows by relation, besides those that are given")
    expect: Tree = Field(None, description="in, out, or {in: true, TRAIT: VALUE, TRAIT.FIELD: VALUE}; of a trait: its value")
    status: Literal["pending"] | None = Field(None, description="pending: nobody has said yet what is expected; it fails until then")


class TrialSpec(Spec):
    """A test: the member and its related rows, nested by relation, and the cases that vary it. Without cases it is one."""

    name: str | None = Field(None, description="what the test shows")
    as_of: Moment | None = Field(None, description="the day or local time that it is computed for; a case may say its own")
    given: dict[str, Tree] | None = Field(None, description="columns by name, related rows by relation; what is not given is null")
    cases: tuple[CaseSpec, ...] | None = Field(None, min_length=1)
    expect: Tree = Field(None, description="of a test without cases")
    status: Literal["pending"] | None = None


class TrialsSpec(Spec):
    """The part of a segment or trait that holds its tests."""

    tests: tuple[TrialSpec, ...] = ()
