"""What a privacy officer asks of a project: who is told what, for what, under which agreement; what ends, what is refused, what waits.

Everything but the numbers comes from the files and from governance's own analysis. The numbers are counts of people, suppressed
where they are small, and are missing where there is no lakehouse.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from cdp.catalog.flows import Flow, Flows
from cdp.errors import Refusal
from cdp.governance.notices import SOON
from cdp.project.codes.reviews import standing
from cdp.project.project import Project
from cdp.spec.access import Agreement
from cdp.spec.policy import DeclassifyEntry

State = Literal["in force", "ending", "ended", "not yet", "no end"]
Cell = tuple[str, str | None]  # a receiver, and a purpose or all of them


@dataclass(frozen=True, slots=True)
class Waiting:
    """A plan that is not applied because nobody has approved it."""

    plan: str
    sync: str
    planned_by: str
    created: str
    expires: str
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """The end of a sync's disclosure ledger, and how many lines it has."""

    sync: str
    block: int
    hash: str
    at: str
    lines: int


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the control tables say.

    Attributes:
        people: who is at a receiver, for a purpose and in all; a number, or what stands in its place.
        latest: by receiver, when something was last delivered.
        undeclared: syncs that the project no longer has, whose people are still at their receiver.
        waiting: plans that wait for an approval.
        chains: the ends of the disclosure ledger.
        overdue: by sync whose receiver has people that must be taken off, that receiver.
    """

    people: Mapping[Cell, int | str]
    latest: Mapping[str, str]
    undeclared: Mapping[str, int | str]
    waiting: tuple[Waiting, ...] = ()
    chains: tuple[Chain, ...] = ()
    overdue: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Told:
    """What a receiver is told for one purpose, over all syncs.

    Attributes:
        values: each class that a column tells, and the fields that tell it, as `sync.field`.
        members: the classes that being on one of the lists tells.
        refused: the syncs of which nothing leaves at present; what they would tell counts here too.
        withheld: (class, table) of special rows that are not read for it.
        approval: what asks for an approval of plans.
    """

    receiver: str
    purpose: str
    syncs: tuple[str, ...]
    values: Mapping[str, tuple[str, ...]]
    members: tuple[str, ...]
    refused: tuple[str, ...]
    withheld: tuple[tuple[str, str], ...]
    approval: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Term:
    """Something that holds from a day to a day."""

    start: dt.date | None
    end: dt.date | None
    today: dt.date

    @property
    def state(self) -> State:
        """Whether it holds today, and for how long."""
        if self.start is not None and self.today < self.start:
            return "not yet"
        if self.end is None:
            return "no end"
        if self.today > self.end:
            return "ended"
        return "ending" if self.end - self.today <= SOON else "in force"

    @property
    def days(self) -> int | None:
        """Days until the end; negative after it."""
        return (self.end - self.today).days if self.end is not None else None

    def as_json(self) -> dict[str, Any]:
        """The term as a JSON object with stable keys."""
        return {"from": self.start, "until": self.end, "state": self.state, "days_left": self.days}


@dataclass(frozen=True, slots=True)
class Report:
    """The report. What ends comes in the order of the ends.

    Attributes:
        without: why there are no numbers; empty when there are.
        reviews: each value set that conditions may narrow with: name, class, by, on, and whether it is of the codes of today.
    """

    project: Project
    environment: str
    made: dt.datetime
    told: tuple[Told, ...]
    agreements: tuple[tuple[Agreement, Term, tuple[str, ...]], ...]
    refusals: Mapping[str, tuple[Refusal, ...]]
    declassify: tuple[tuple[DeclassifyEntry, Term, tuple[str, ...]], ...]
    numbers: Numbers | None
    without: str

    @classmethod
    def of(cls, flows: Flows, environment: str, numbers: Numbers | None, without: str = "") -> Report:
        """The report of a project.

        Args:
            flows: everything that it tells.
            environment: the name of the one that the numbers are of.
            numbers: what its control tables say.
            without: why there are none.
        """
        project, today, found = flows.project, flows.now.day, list(flows.all())
        return cls(
            project=project,
            environment=environment,
            made=flows.now.instant,
            told=tuple(_told(project, found)),
            agreements=tuple(sorted(_agreements(project, today), key=lambda each: (each[1].end or dt.date.max, each[0].name))),
            refusals={flow.sync.name: flow.refusals for flow in found if flow.refusals},
            declassify=tuple(sorted(_declassify(project, found, today), key=lambda each: (each[0].expires, each[0].name))),
            numbers=numbers,
            without=without,
        )

    @property
    def today(self) -> dt.date:
        """The day of the report."""
        return self.made.date()

    def reviews(self) -> Iterator[tuple[str, str, str, dt.date, bool]]:
        """The reviews of value sets, oldest first: name, class, by whom, when, and whether it is one of the codes of today."""
        reviews = sorted(self.project.policy.reviews.items(), key=lambda item: (item[1].reviewed.on, item[0]))
        for name, review in reviews:
            yield name, review.cls, review.reviewed.by, review.reviewed.on, standing(self.project, name) is not None

    def unreviewed(self) -> list[str]:
        """Value sets that nobody reviewed: conditions over them narrow nothing."""
        return sorted(set(self.project.value_sets) - set(self.project.policy.reviews))

    def classes(self) -> list[tuple[str, str, Term]]:
        """The classes that counsel reviews by a date, with the law they stand on."""
        found = (
            (name, each.law or "", Term(None, each.review_by, self.today))
            for name, each in self.project.policy.classes.items()
            if each.review_by is not None
        )
        return sorted(found, key=lambda each: (each[2].end, each[0]))

    def people(self, receiver: str, purpose: str | None = None) -> int | str | None:
        """How many people are at a receiver; None where it is not known."""
        return self.numbers.people.get((receiver, purpose), 0) if self.numbers else None

    def attention(self) -> list[str]:
        """What somebody should do something about."""
        lines = [
            f"agreement {each.name} {_ends(term)}" for each, term, _ in self.agreements if term.state in ("ending", "ended", "not yet")
        ]
        lines += [f"declassification {each.name} {_ends(term)}" for each, term, _ in self.declassify if term.state in ("ending", "ended")]
        lines += [f"class {name} is to be reviewed: {_ends(term)}" for name, _, term in self.classes() if term.state in ("ending", "ended")]
        lines += [f"sync {name} is refused for {_count(len(found), 'reason')}" for name, found in self.refusals.items()]
        stale = [name for name, _, _, _, current in self.reviews() if not current]
        lines += [f"the review of value set {name} is not one of its codes of today" for name in stale]
        if numbers := self.numbers:
            lines += [f"plan {each.plan} of {each.sync} waits for an approval until {each.expires[:16]}" for each in numbers.waiting]
            gone = [name for name, people in numbers.undeclared.items() if people != 0]
            lines += [f"sync {name} is declared no more, and its people are still at their receiver" for name in gone]
            late = numbers.overdue.items()
            lines += [f"people whom sync {name} must take off are still at {receiver}: cdp revocations --open" for name, receiver in late]
        return lines

    def as_json(self) -> dict[str, Any]:
        """The report as a JSON object with stable keys."""
        return {
            "project": self.project.config.name,
            "environment": self.environment,
            "made": self.made.isoformat(),
            "attention": self.attention(),
            "numbers": {"known": self.numbers is not None, "why_not": self.without or None},
            "receivers": [self._receiver(name) for name in sorted(self.project.destinations)],
            "agreements": [_agreement(each, term, used) for each, term, used in self.agreements],
            "refusals": [{"sync": name, "refusals": [each.as_json() for each in found]} for name, found in self.refusals.items()],
            "declassifications": [_entry(each, term, used) for each, term, used in self.declassify],
            "reviews": [
                {"value_set": name, "class": cls, "by": by, "on": on, "age_days": (self.today - on).days, "of_todays_codes": current}
                for name, cls, by, on, current in self.reviews()
            ],
            "unreviewed": self.unreviewed(),
            "classes": [{"class": name, "law": law, "review_by": term.end, **term.as_json()} for name, law, term in self.classes()],
            "approvals": [asdict(each) for each in self.numbers.waiting] if self.numbers else None,
            "ledger": [asdict(each) for each in self.numbers.chains] if self.numbers else None,
            "undeclared_syncs": dict(self.numbers.undeclared) if self.numbers else None,
            "overdue_removals": dict(self.numbers.overdue) if self.numbers else None,
        }

    def _receiver(self, name: str) -> dict[str, Any]:
        destination = self.project.destinations[name]
        return {
            "receiver": name,
            "channel": destination.channel,
            "agreement": destination.baa if destination.baa in self.project.policy.agreements else None,
            "people": self.people(name),
            "latest": self.numbers.latest.get(name) if self.numbers else None,
            "told": [
                {
                    "purpose": each.purpose,
                    "people": self.people(name, each.purpose),
                    "syncs": list(each.syncs),
                    "refused": list(each.refused),
                    "values": {cls: list(fields) for cls, fields in each.values.items()},
                    "members": list(each.members),
                    "withheld": [{"class": cls, "table": table} for cls, table in each.withheld],
                    "needs_approval": list(each.approval),
                }
                for each in self.told
                if each.receiver == name
            ],
        }


def _told(project: Project, flows: Sequence[Flow]) -> Iterator[Told]:
    cells: dict[tuple[str, str], list[Flow]] = {}
    for flow in flows:
        cells.setdefault((flow.sync.destination, flow.sync.purpose), []).append(flow)
    for (receiver, purpose), group in sorted(cells.items()):
        values: dict[str, list[str]] = {}
        for flow in group:
            for leaving in flow.fields:
                for cls in leaving.after:
                    values.setdefault(cls, []).append(f"{flow.sync.name}.{leaving.name}")
        yield Told(
            receiver=receiver,
            purpose=purpose,
            syncs=tuple(flow.sync.name for flow in group),
            values={cls: tuple(fields) for cls, fields in sorted(values.items())},
            members=tuple(sorted({cls for flow in group for cls in flow.members.after})),
            refused=tuple(flow.sync.name for flow in group if flow.refusals),
            withheld=tuple(sorted({each for flow in group for each in flow.withheld})),
            approval=tuple(dict.fromkeys(why for flow in group for why in flow.approval)),
        )


def _agreements(project: Project, today: dt.date) -> Iterator[tuple[Agreement, Term, tuple[str, ...]]]:
    for name, agreement in project.policy.agreements.items():
        used = tuple(sorted(each.name for each in project.destinations.values() if each.baa == name))
        yield agreement, Term(agreement.effective, agreement.expires, today), used


def _declassify(project: Project, flows: Sequence[Flow], today: dt.date) -> Iterator[tuple[DeclassifyEntry, Term, tuple[str, ...]]]:
    """The entries, each with the syncs that tell less because of it."""
    for entry in project.policy.declassify:
        used = tuple(flow.sync.name for flow in flows if any(entry.name in field.declassified for field in flow.all))
        yield entry, Term(entry.approved, entry.expires, today), used


def _agreement(agreement: Agreement, term: Term, used: Sequence[str]) -> dict[str, Any]:
    part2 = agreement.part2.basis if agreement.part2 else None
    return {
        "agreement": agreement.name,
        "counterparty": agreement.counterparty,
        "type": agreement.type,
        **term.as_json(),
        "destinations": list(used),
        "purposes": list(agreement.purposes),
        "classes": list(agreement.classes),
        "members": list(agreement.members),
        "account": agreement.account,
        "labels": agreement.labels,
        "part2": part2,
        "subprocessors": [{"name": each.name, "flow_down": each.flow_down} for each in agreement.subprocessors],
        "after_end": agreement.after_end.model_dump() if agreement.after_end else None,
        "document": agreement.document,
        "document_sha256": agreement.document_sha256,
    }


def _entry(entry: DeclassifyEntry, term: Term, used: Sequence[str]) -> dict[str, Any]:
    said = {
        "name": entry.name,
        "of": entry.of.model_dump(exclude_none=True),
        "from": list(entry.from_),
        "to": entry.to,
        "owner": entry.owner,
        "reason": entry.reason,
    }
    return {**said, **{"approved" if key == "from" else key: value for key, value in term.as_json().items()}, "counts_in": list(used)}


def _ends(term: Term) -> str:
    if term.state == "not yet":
        return f"holds from {term.start}"
    if term.state == "ended":
        return f"ended on {term.end}"
    return f"ends on {term.end}, in {_count(term.days or 0, 'day')}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
