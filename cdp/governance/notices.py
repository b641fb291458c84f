"""What is in order today and needs somebody soon: agreements, declassifications and reviews that end, hosts without an account."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from cdp.errors import Problem
from cdp.project.problems import dotted
from cdp.project.project import Project
from cdp.spec.access import Agreement
from cdp.spec.policy import DeclassifyEntry

SOON: Final = dt.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Ending:
    """Something that ends soon, or ended.

    Attributes:
        what: as a reader knows it: `agreement sendgrid`.
        ends: the last day on which it holds.
        days: until then; negative when it is over.
    """

    what: str
    ends: dt.date
    days: int

    def __str__(self) -> str:
        if self.days < 0:
            return f"{self.what} ended on {self.ends}, {_days(-self.days)} ago"
        return f"{self.what} ends on {self.ends}, {f'in {_days(self.days)}' if self.days else 'today'}"

    def as_json(self) -> dict[str, Any]:
        """The ending as a JSON object with stable keys."""
        return {"what": self.what, "ends": self.ends.isoformat(), "days": self.days, "message": str(self)}


def ending(subject: Agreement | DeclassifyEntry, today: dt.date) -> Ending | None:
    """Whether an agreement or a declassification ends within 30 days, or has ended; None where it goes on or has no end."""
    if subject.expires is None or today + SOON < subject.expires:
        return None
    kind = "agreement" if isinstance(subject, Agreement) else "declassification"
    return Ending(f"{kind} {subject.name}", subject.expires, (subject.expires - today).days)


def of_sync(project: Project, name: str, today: dt.date) -> tuple[Ending, ...]:
    """What a sync rests on that ends within 30 days: its agreement, and what its segment and its traits were declassified by."""
    sync = project.syncs[name]
    agreement = project.policy.agreements.get(project.destinations[sync.destination].baa or "")
    named = {(output.of or "").partition(".")[0] for output in (*sync.key.values(), *sync.mappings.values())}
    entries = (each for each in project.policy.declassify if each.of.segment == sync.segment or (each.of.trait in named))
    found = (ending(subject, today) for subject in ([agreement] if agreement else []) + [*entries])
    return tuple(each for each in found if each is not None)


def warnings(project: Project, today: dt.date) -> tuple[Problem, ...]:
    """What `cdp validate` warns of, each at its place."""
    return (*_agreements(project, today), *_entries(project, today), *_classes(project, today))


def _agreements(project: Project, today: dt.date) -> Iterator[Problem]:
    for name, agreement in project.policy.agreements.items():
        if (end := ending(agreement, today)) is not None:
            hint = "renew it and correct `expires`" if end.days >= 0 else "renew it, or take people off while `after_end` lasts"
            yield _at(project, ("baa", name), ("expires",), str(end), hint)
        if agreement.hosts and agreement.account is None:
            hint = "one host serves every customer: write the account that the channel's `whoami` must answer"
            yield _at(project, ("baa", name), ("hosts",), "nothing says which account of the receiver is ours", hint)


def _entries(project: Project, today: dt.date) -> Iterator[Problem]:
    for number, entry in enumerate(project.policy.declassify):
        if (end := ending(entry, today)) is not None:
            hint = f"have {entry.owner} look at it again"
            yield _at(project, ("declassify", "declassify"), ("entries", number, "expires"), str(end), hint)


def _classes(project: Project, today: dt.date) -> Iterator[Problem]:
    """Classes whose law is to be looked at again by now, or within 30 days: courts and legislatures change what they stand on."""
    for name, spec in project.policy.classes.items():
        if (due := spec.review_by) is None or today + SOON < due:
            continue
        when = f"was due for review on {due}" if due < today else f"is due for review by {due}"
        hint = f"check {spec.law or 'the law that it stands on'} again, then set another `review_by`"
        yield _at(project, ("classes", "classes"), ("classes", name, "review_by"), f"class {name} {when}", hint)


def _at(project: Project, source: tuple[str, str], path: tuple[str | int, ...], message: str, hint: str) -> Problem:
    document = project.sources[source]
    return Problem(document.file, *document.position(path), message, dotted(path), hint=hint, warning=True)


def _days(count: int) -> str:
    return f"{count} day{'' if count == 1 else 's'}"
