"""Which people: the eligibility rules as SQL, at the wall clock and never at --as-of.

Each person is counted at the first rule that keeps them out, so the waterfall adds up to the segment's size. What a rule
says of the sync (whom it reaches) is known before there is any SQL; what it says of a person is one predicate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from sqlglot import exp

from cdp.compile import sql
from cdp.compile.clock import Clock
from cdp.compile.statement import Query, Statement
from cdp.governance.people import consent, contact
from cdp.governance.people.audience import Audience
from cdp.governance.people.contact import ROLE, Requested
from cdp.governance.query import RULE, SUBJECT
from cdp.project.project import Project
from cdp.project.terms import Condition, ContactOf, Every, Negation, Some
from cdp.project.terms.people import ConsentMissing, ContactInvalid, Instead, Rule
from cdp.spec.activation import Holdout
from cdp.spec.people import Eligibility

HOLDOUT: Final = "holdout"  # the rule after all others: who is left out at random


def names(project: Project, eligibility: Eligibility, audience: Audience) -> tuple[str, ...]:
    """The rules that are asked, in their order."""
    own = tuple(spec.name for spec, _ in audience.rules(project, eligibility))
    return (*own, HOLDOUT) if audience.sync.holdout else own


def rule_column(statement: Statement, eligibility: Eligibility, audience: Audience, now: Clock) -> exp.Expr:
    """The first rule that keeps the person out, as text; null for who may be told."""
    found = [(test, sql.string(name)) for name, test in tests(statement, eligibility, audience, now)]
    return sql.chosen(found) if found else exp.Cast(this=exp.Null(), to=sql.TEXT)


def kept_out(project: Project, eligibility: Eligibility, audience: Audience, now: Clock) -> Query:
    """SUBJECT and RULE of everyone whom a rule keeps out now."""
    statement = Statement(project, project.entities[eligibility.entity], now)
    found = tests(statement, eligibility, audience, now)
    statement.column(SUBJECT, statement.key())
    statement.column(RULE, rule_column(statement, eligibility, audience, now))
    statement.keep(sql.some([test for _, test in found]))
    return statement.query(f"{audience.sync.name} eligibility")


def tests(statement: Statement, eligibility: Eligibility, audience: Audience, now: Clock) -> list[tuple[str, exp.Expr]]:
    """Each rule that is asked, by name: whether it keeps the person out."""
    found = []
    asking = _Asking(statement, audience, now, tuple(rule for _, rule in audience.rules(statement.project, eligibility)))
    for spec, rule in audience.rules(statement.project, eligibility):
        test = asking.when(rule)
        if spec.unknown == "keep_out":
            test = sql.coalesce(test, sql.TRUE)
        found.append((spec.name, _but_not(test, asking.unless(rule))))
    if audience.sync.holdout:
        found.append((HOLDOUT, held_out(statement.key(), audience.sync.holdout)))
    return found


def outputs(statement: Statement, eligibility: Eligibility, audience: Audience, now: Clock) -> dict[str, exp.Expr]:
    """What a sync says of people, before masks: whoever asked to be written to elsewhere has that address in it."""
    asking = _Asking(statement, audience, now, tuple(rule for _, rule in audience.rules(statement.project, eligibility)))
    return asking.outputs((*audience.sync.key, *audience.sync.mappings))


def look(statement: Statement, eligibility: Eligibility | None, audience: Audience, now: Clock) -> Instead | None:
    """Have a statement look at what people asked for, so that it can be found out what that tells; None where no rule reads it."""
    asked = audience.rules(statement.project, eligibility) if eligibility else ()
    instead = next((rule.instead for _, rule in asked if rule.instead is not None), None)
    if instead is not None:
        contact.look(statement, Requested.of(statement, instead, audience.destination.channel, now))
    return instead


def held_out(key: exp.Expr, holdout: Holdout) -> exp.Expr:
    """Whether somebody is of the share that is left out: SHA-256 of salt and key, as a fraction of all that there are."""
    salted = exp.Concat(expressions=[sql.string(holdout.salt), exp.Cast(this=key, to=sql.TEXT)])
    bound = int(Fraction(str(holdout.share)) * 16**64)
    return exp.LT(this=exp.SHA2(this=salted, length=sql.number(256)), expression=sql.string(f"{bound:064x}"))


@dataclass(frozen=True, slots=True)
class _Asking:
    """The rules of one sync on the row of a statement, at the wall clock."""

    statement: Statement
    audience: Audience
    now: Clock
    rules: tuple[Rule, ...]

    def when(self, rule: Rule) -> exp.Expr:
        """What keeps the person out."""
        audience = self.audience
        match rule.when:
            case ConsentMissing():
                return consent.missing(self.statement, audience, asked_by(rule.when, self.rules, audience), self.now)
            case ContactInvalid():
                return contact.unusable(audience.contacts, self.outputs(audience.contacts.points))
            case condition:
                test = self._condition(condition)
        if rule.instead is None:
            return test
        return _but_not(test, self._requested(rule.instead).kept(audience.contacts))

    def unless(self, rule: Rule) -> exp.Expr:
        """Whether the rule does not hold for the person after all."""
        return self._condition(rule.unless) if rule.unless is not None else sql.FALSE

    def outputs(self, names: Iterable[str]) -> dict[str, exp.Expr]:
        """What the sync says of the person."""
        bound, sync = self.statement.project.bound.outputs, self.audience.sync.name
        values = {name: self.statement.output(bound[sync, name]) for name in names}
        asked = next((self._requested(rule.instead) for rule in self.rules if rule.instead is not None), None)
        return {name: asked.instead(self.audience.contacts, name, value) for name, value in values.items()} if asked else values

    def _requested(self, instead: Instead) -> Requested:
        return Requested.of(self.statement, instead, self.audience.destination.channel, self.now)

    def _condition(self, term: Condition) -> exp.Expr:
        known = settled(term, self.audience)
        return exp.Boolean(this=known) if isinstance(known, bool) else self.statement.test(known, self.now, ROLE)


def _but_not(test: exp.Expr, excuse: exp.Expr) -> exp.Expr:
    return test if excuse == sql.FALSE else sql.every([test, sql.negation(excuse)])


# -- what is known of a sync before there is any SQL ----------------------------------------------------------------------


def asked_by(when: ConsentMissing, rules: Iterable[Rule], audience: Audience) -> tuple[str, ...]:
    """The kinds of consent that a rule asks for: those of special classes stand with the others unless they have a rule of their own."""
    if when.of_classes:
        return audience.special
    apart = any(isinstance(rule.when, ConsentMissing) and rule.when.of_classes for rule in rules)
    return audience.needs if apart else audience.kinds


def settled(term: Condition, audience: Audience) -> Condition | bool:
    """A condition without what it says of the sync; whether it holds, where that decides it."""
    match term:
        case ContactOf(whose):
            return audience.contacts.reaches(whose)
        case Negation(of):
            inner = settled(of, audience)
            return not inner if isinstance(inner, bool) else Negation(inner)
        case Every(of) | Some(of):
            decisive = isinstance(term, Some)  # one true part decides an `any`, one false part an `all`
            parts = [settled(part, audience) for part in of]
            if any(part is decisive for part in parts):
                return decisive
            left = tuple(part for part in parts if not isinstance(part, bool))
            return type(term)(left) if len(left) > 1 else left[0] if left else not decisive
    return term
