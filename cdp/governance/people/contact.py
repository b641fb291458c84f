"""Contact points: whose a sync maps, what the channel can use, and where somebody asked to be written to instead.

Which outputs hold one is found in what they tell, so it is the same for a column, a path, a trait and an expression.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from sqlglot import exp

from cdp.compile import sql
from cdp.compile.clock import Clock
from cdp.compile.statement import Statement
from cdp.governance.taint import Fact
from cdp.project.project import Project
from cdp.project.terms import Formula, Output
from cdp.project.terms.people import Instead
from cdp.project.terms.types import type_of

CONTACT: Final = "contact"
OWN: Final = "the person"
ROLE: Final = "rule"  # of the scans that rules read, at a clock of their own

# The class of the contact point that a channel writes to. Others (a portal, a file, an ad) need none.
POINTS: Final[Mapping[str, str]] = {"email": "contact.email", "sms": "contact.phone", "phone": "contact.phone", "mail": "contact.address"}

# HTML Living Standard, "valid e-mail address", with two labels at least. The end is that of the text, where `$` lets a line break pass.
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL: Final = rf"^[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]+@{_LABEL}([.]{_LABEL})+\z"
# E.164, at most 15 digits; of +1 and of what has no country a number of the North American Numbering Plan: NXX NXX XXXX.
_PHONE: Final = r"^([+][2-9][0-9]{6,14}|([+]?1)?[2-9][0-9]{2}[2-9][0-9]{6})\z"
_FILLING: Final = "[ ().-]"  # what people write between the digits

_ASKED = ("_asked_channel", "_asked_value")  # columns that are looked at and never leave


@dataclass(frozen=True, slots=True)
class Contacts:
    """The contact points that a sync maps.

    Attributes:
        channel: of the sync's destination.
        outputs: every output that tells a contact point.
        points: those of them that the channel writes to; none where it needs none, or finds the address by itself.
        whose: `OWN`, or whom the columns say that they are `contact_of`.
    """

    channel: str
    outputs: tuple[str, ...]
    points: tuple[str, ...]
    whose: frozenset[str]

    @classmethod
    def of(cls, project: Project, channel: str, terms: Mapping[str, Output], told: Mapping[str, frozenset[Fact]]) -> Contacts:
        """Find them.

        Args:
            project: whose columns say whose they are.
            channel: of the destination.
            terms: the sync's outputs.
            told: what each of them tells, before masks.
        """
        facts = {name: [fact for fact in found if is_contact(fact.cls)] for name, found in told.items() if name in terms}
        outputs = tuple(name for name, found in facts.items() if found)
        point = POINTS.get(channel)
        points = tuple(name for name in outputs if _is_text(terms[name]) and any(_below(fact.cls, point) for fact in facts[name]))
        return cls(channel, outputs, points, frozenset(_whose(project, (fact for name in outputs for fact in facts[name]))))

    @property
    def needed(self) -> bool:
        """Whether the channel writes to a contact point at all."""
        return self.channel in POINTS

    def reaches(self, whose: str) -> bool:
        """Whether the sync writes to somebody else."""
        return whose in self.whose


NONE: Final = Contacts("", (), (), frozenset())


def is_contact(cls: str) -> bool:
    """Whether a class is a way to reach somebody."""
    return _below(cls, CONTACT)


def _below(cls: str, above: str | None) -> bool:
    return above is not None and f"{cls}.".startswith(f"{above}.")


def _is_text(term: Output) -> bool:
    """Whether an output may be an address. What an expression counts or compares is none."""
    kind = type_of(term) if not hasattr(term, "value") else "string"
    return kind not in ("boolean", "date", "timestamp") and not (isinstance(term, Formula) and kind == "integer")


def _whose(project: Project, facts: Iterable[Fact]) -> Iterable[str]:
    columns = {
        (entity.table.lower(), name.lower()): column.contact_of
        for entity in project.entities.values()
        for name, column in entity.columns.items()
        if column.contact_of
    }
    for fact in facts:
        if not fact.column:
            continue  # that a row is there says nothing of whose address it holds
        yield columns.get((fact.table.lower(), fact.column.lower())) or OWN


# -- can it be used -----------------------------------------------------------------------------------------------------


def unusable(contacts: Contacts, values: Mapping[str, exp.Expr]) -> exp.Expr:
    """True where one of the values that the channel writes to cannot be a contact point; false where it writes to none.

    Of an address on paper it is asked only that something is there.

    Args:
        contacts: of the sync.
        values: its outputs before masks.
    """
    return sql.some([sql.negation(_plausible(contacts.channel, values[name])) for name in contacts.points])


def _plausible(channel: str, value: exp.Expr) -> exp.Expr:
    text = exp.Cast(this=value, to=sql.TEXT)
    match POINTS[channel]:
        case "contact.email":
            return exp.RegexpLike(this=text, expression=sql.string(_EMAIL))
        case "contact.phone":
            digits = exp.RegexpReplace(this=text, expression=sql.string(_FILLING), replacement=sql.string(""))
            return exp.RegexpLike(this=digits, expression=sql.string(_PHONE))
    return filled(text)


def filled(text: exp.Expr) -> exp.Expr:
    """A text that is not blank; of null neither true nor false."""
    return exp.NEQ(this=exp.Trim(this=text), expression=sql.string(""))


# -- the address that somebody asked for ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Requested:
    """The latest request of a person for confidential communications, 45 CFR 164.522(b), as SQL.

    Attributes:
        here: true where it is for the channel of the sync.
        value: the address.
    """

    here: exp.Expr
    value: exp.Expr

    @classmethod
    def of(cls, statement: Statement, instead: Instead, channel: str, now: Clock) -> Requested:
        """Read it, at the wall clock."""
        asked, value = (statement.value(term, now, ROLE) for term in (instead.channel, instead.value))
        return cls(sql.equal(asked, sql.string(channel)), value)

    def kept(self, contacts: Contacts) -> exp.Expr:
        """Whether the sync can keep to it; unknown counts as no.

        On a channel without contact points it keeps to it by being that channel. Where the channel itself finds the address, or
        a letter's address is in parts, nothing can take its place.
        """
        if not contacts.needed:
            return self.here
        if not contacts.points or (POINTS[contacts.channel] == "contact.address" and len(contacts.outputs) > 1):
            return sql.FALSE
        return sql.every([self.here, filled(self.value)])

    def instead(self, contacts: Contacts, name: str, value: exp.Expr) -> exp.Expr:
        """An output: where the request is for this channel, the address asked for, and no other way to reach the person."""
        if name not in contacts.outputs:
            return value
        return sql.chosen([(self.here, self.value if name in contacts.points else exp.Null())], value)


def look(statement: Statement, requested: Requested) -> None:
    """Add what a request says to a statement, so that it can be found out what that tells; `taken` takes it out again."""
    for name, value in zip(_ASKED, (requested.here, requested.value), strict=True):
        statement.column(name, value)


def taken(told: Mapping[str, frozenset[Fact]], contacts: Contacts, table: str, column: str) -> dict[str, frozenset[Fact]]:
    """What outputs tell once an address that was asked for may take the place of the one on file.

    A value counts only in a request for this channel, so there it is a contact point of this channel and no other.

    Args:
        told: what each output, and what `look` added, tells.
        contacts: the outputs that change.
        table: where requests stand.
        column: that of the address.
    """
    here, value = (told[name] for name in _ASKED)
    point, place = POINTS.get(contacts.channel), (table.lower(), column.lower())
    asked_for = {
        replace(fact, cls=point) if point and is_contact(fact.cls) and (fact.table.lower(), fact.column.lower()) == place else fact
        for fact in value
    }
    result = {name: facts for name, facts in told.items() if name not in _ASKED}
    for name in contacts.outputs:
        result[name] |= here | (asked_for if name in contacts.points else frozenset())
    return result
