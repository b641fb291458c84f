"""Terms of governance/eligibility.yml: what keeps people out."""

from __future__ import annotations

from dataclasses import dataclass

from cdp.project.terms import Condition, Picked


@dataclass(frozen=True, slots=True)
class ConsentMissing:
    """What the sync's purpose and channel ask for is not on record; `of_classes`: what the special classes told ask for."""

    of_classes: bool = False


@dataclass(frozen=True, slots=True)
class ContactInvalid:
    """What the sync maps for its channel to write to cannot be one."""


@dataclass(frozen=True, slots=True)
class Instead:
    """Where somebody asked to be written to: the channel and the address of the latest request."""

    channel: Picked
    value: Picked


@dataclass(frozen=True, slots=True)
class Rule:
    """Keeps out a person for whom `when` is true and `unless` is not; with `instead`, one who cannot be written to as asked for.

    `words` are those of `$receiver`, `$channel`, `$purpose` that the rule as it is written names.
    """

    when: Condition | ConsentMissing | ContactInvalid
    unless: Condition | None = None
    instead: Instead | None = None
    words: tuple[str, ...] = ()
