"""Which people: the eligibility rules as SQL, at the wall clock and never at --as-of.

Each person is counted at the first rule that keeps them out, so the waterfall adds up to the segment's size.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlglot import exp

from cdp.compile import sql
from cdp.compile.clock import Clock
from cdp.compile.rows import Asked
from cdp.compile.statement import Query, Statement
from cdp.compile.windows import happened
from cdp.governance.query import RULE, SUBJECT, Freshness
from cdp.project.load import Project
from cdp.project.terms import ConsentMissing, Link
from cdp.spec.activation import Destination, Sync
from cdp.spec.model import Entity, Interval
from cdp.spec.policy import Consent, Eligibility, EligibilityRule, Semantics

ROLE = "rule"
NONE_NEEDED = "none_needed"


@dataclass(frozen=True, slots=True)
class Audience:
    """Who is asked about: the sync's purpose, channel and receiver, and the kinds of consent that they need."""

    sync: Sync
    destination: Destination
    needs: tuple[str, ...]

    @property
    def receiver(self) -> str:
        """The name that an authorization must state: the agreement's."""
        return self.destination.baa or self.destination.name


def applicable(eligibility: Eligibility, purpose: str) -> tuple[EligibilityRule, ...]:
    """The rules that hold for a purpose, in their order."""
    return tuple(rule for rule in eligibility.rules if purpose not in rule.unless_purpose)


def asks_consent(project: Project, eligibility: Eligibility, purpose: str) -> bool:
    """Whether one of the rules keeps out people whose consent is missing."""
    bound = project.bound.rules
    return any(isinstance(bound[eligibility.entity, rule.name], ConsentMissing) for rule in applicable(eligibility, purpose))


def rule_column(statement: Statement, eligibility: Eligibility, audience: Audience, now: Clock) -> exp.Expr:
    """The first rule that keeps the person out, as text; null for who may be told."""
    found = tests(statement, eligibility, audience, now)
    if not found:
        return exp.Cast(this=exp.Null(), to=exp.DataType(this=exp.DataType.Type.TEXT))
    return exp.Case(ifs=[exp.If(this=test, true=sql.string(name)) for name, test in found])


def kept_out(project: Project, eligibility: Eligibility, audience: Audience, now: Clock) -> Query:
    """SUBJECT and RULE of everyone whom a rule keeps out now."""
    statement = Statement(project, project.entities[eligibility.entity], now)
    found = tests(statement, eligibility, audience, now)
    statement.column(SUBJECT, statement.key())
    statement.column(RULE, rule_column(statement, eligibility, audience, now))
    statement.keep(sql.some([test for _, test in found]))
    return statement.query(f"{audience.sync.name} eligibility")


def tests(statement: Statement, eligibility: Eligibility, audience: Audience, now: Clock) -> list[tuple[str, exp.Expr]]:
    """Each rule that holds for the purpose, by name: whether it keeps the person out."""
    found = []
    for rule in applicable(eligibility, audience.sync.purpose):
        term = statement.project.bound.rules[eligibility.entity, rule.name]
        if isinstance(term, ConsentMissing):  # noqa: SIM108  the types follow the branches
            test = consent_missing(statement, audience, now)
        else:
            test = statement.test(term, now, ROLE)
        if rule.unknown == "keep_out":
            test = sql.coalesce(test, exp.Boolean(this=True))
        found.append((rule.name, test))
    return found


# -- consent --------------------------------------------------------------------------------------------------------


def freshness(project: Project, consent: Consent) -> Freshness:
    """How old the newest consent record may be before its load counts as stale."""
    age = dt.timedelta(days=consent.max_age.days or 0, hours=consent.max_age.hours or 0)
    return Freshness(project.entities[consent.entity].table, consent.columns.recorded, age)


def consent_missing(statement: Statement, audience: Audience, now: Clock) -> exp.Expr:
    """True unless every kind of consent that is needed is on record; nothing on record means missing."""
    consent = statement.project.policy.consent
    if consent is None or not audience.needs:
        return exp.Boolean(this=False)
    return sql.some([_missing(statement, consent, name, audience, now) for name in audience.needs])


def _missing(statement: Statement, consent: Consent, name: str, audience: Audience, now: Clock) -> exp.Expr:
    """One kind of consent. The latest effective record wins; a tie of yes and no is no; a no without a day or a purpose is no."""
    semantics = consent.semantics[name]
    granted, denied, undated = _latest(statement, consent, name, semantics, audience, now)
    newer = sql.some([sql.is_null(denied), exp.GT(this=granted, expression=denied)])
    given = sql.every([sql.not_null(granted), newer, sql.negation(undated)])
    if _may_be_unknown(consent, semantics, audience):
        unheard = sql.every([sql.is_null(granted), sql.is_null(denied), sql.negation(undated)])
        given = sql.some([given, unheard])
    return sql.negation(given)


def _may_be_unknown(consent: Consent, semantics: Semantics, audience: Audience) -> bool:
    """Whether people about whom nothing is recorded may be told: by the semantics or by a signed exception."""
    if semantics.need != "not_refused":
        return False
    where = (audience.sync.purpose, audience.destination.channel)
    return semantics.unknown == "allow" or any((o.purpose, o.channel) == where for o in consent.unknown_overrides)


def _latest(
    statement: Statement, consent: Consent, name: str, semantics: Semantics, audience: Audience, now: Clock
) -> tuple[exp.Expr, exp.Expr, exp.Expr]:
    """When consent was last given, when last refused, and whether it was refused at an unknown time."""
    columns = consent.columns
    link = Link(consent.entity, consent.entity, ((columns.person, statement.entity.key),))
    scan = statement.row.scan(link, Asked(now, ROLE))

    def of(column: str) -> exp.Expr:
        return sql.column(scan.row.alias, column)

    stands_for = {"purpose": (columns.purpose, audience.sync.purpose), "channel": (columns.channel, audience.destination.channel)}
    if columns.receiver:
        stands_for["receiver"] = (columns.receiver, audience.receiver)
    asked = [(of(stands_for[word][0]), sql.string(stands_for[word][1])) for word in semantics.per]
    exactly = [sql.equal(column, word) for column, word in asked]
    # A refusal that leaves open what it is for is one of everything.
    at_all = [sql.some([sql.is_null(column), test]) for (column, _), test in zip(asked, exactly, strict=True)]
    in_effect = _in_effect(statement.project.entities[consent.entity], columns.effective, of(columns.effective), now)
    concerned = sql.every([*at_all, *in_effect])
    scan.keep(("consent", name), concerned)
    yes: list[exp.Expr] = [exp.In(this=of(columns.status), expressions=[sql.string(word) for word in consent.granted])]
    if columns.expires:
        kind = statement.project.entities[consent.entity].columns[columns.expires].type
        bound = sql.date_literal(now.day) if kind == "date" else sql.timestamp_literal(now.instant)
        yes.append(sql.some([sql.is_null(of(columns.expires)), exp.GT(this=of(columns.expires), expression=bound)]))
    granted = sql.every([*exactly, *in_effect, *yes])
    denied = sql.every([concerned, sql.negation(sql.every(yes))])
    undated = sql.every([denied, sql.is_null(of(columns.effective))])

    def last(test: exp.Expr) -> exp.Expr:
        return exp.Filter(this=exp.Max(this=of(columns.effective)), expression=exp.Where(this=test))

    return (
        scan.aggregate(("granted", name), f"{name}_granted", granted, last),
        scan.aggregate(("denied", name), f"{name}_denied", denied, last),
        scan.aggregate(("undated", name), f"{name}_denied_undated", undated, lambda test: exp.LogicalOr(this=test)),
    )


def _in_effect(entity: Entity, name: str, effective: exp.Expr, now: Clock) -> list[exp.Expr]:
    """That a record's day has come; nothing to ask where the entity's own time says so of every row that is read."""
    time = entity.time.start if isinstance(entity.time, Interval) else entity.time
    if time == name and entity.future == "hidden":
        return []
    return [happened(effective, entity.columns[name].type, now)]
