"""Consent as SQL: the latest effective record counts; a tie, a contradiction, an unknown word and nothing at all mean no."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from sqlglot import exp

from cdp.compile import sql
from cdp.compile.clock import Clock
from cdp.compile.rows import Asked
from cdp.compile.scans import Scan
from cdp.compile.statement import Statement
from cdp.compile.windows import happened
from cdp.governance.people.audience import Audience
from cdp.governance.people.contact import ROLE
from cdp.governance.query import Freshness
from cdp.project.project import Project
from cdp.project.terms import Link
from cdp.spec.model import Entity, Interval
from cdp.spec.people import Consent, Semantics

NONE_NEEDED: Final = "none_needed"
NEVER_OVER: Final = "9999-12-31"
REMUNERATION: Final = "remuneration"  # what an authorization must state where a third party pays: 45 CFR 164.508(a)(3)(ii)


def freshness(project: Project, consent: Consent) -> Freshness:
    """How old the newest consent record may be before its load counts as stale."""
    age = dt.timedelta(days=consent.max_age.days or 0, hours=consent.max_age.hours or 0)
    return Freshness(project.entities[consent.entity].table, consent.columns.recorded, age)


def missing(statement: Statement, audience: Audience, kinds: Sequence[str], now: Clock) -> exp.Expr:
    """True unless every one of these kinds of consent is on record; nothing on record means missing."""
    consent = statement.project.policy.consent
    if consent is None or not kinds:
        return exp.Boolean(this=False)
    return sql.some([_missing(statement, consent, name, audience, now) for name in kinds])


def _missing(statement: Statement, consent: Consent, name: str, audience: Audience, now: Clock) -> exp.Expr:
    """One kind of consent. The latest effective record wins; a tie of yes and no is no; a no without a day or a purpose is no."""
    semantics = consent.semantics[name]
    granted, denied = _latest(statement, consent, name, semantics, audience, now)
    newer = sql.some([sql.is_null(denied), exp.GT(this=granted, expression=denied)])
    given = sql.every([sql.not_null(granted), newer])
    if _may_be_unknown(consent, semantics, audience):
        given = sql.some([given, sql.every([sql.is_null(granted), sql.is_null(denied)])])
    return sql.negation(given)


def _may_be_unknown(consent: Consent, semantics: Semantics, audience: Audience) -> bool:
    """Whether people about whom nothing is recorded may be told: by the semantics or by a signed exception."""
    if semantics.need != "not_refused":
        return False
    where = (audience.sync.purpose, audience.destination.channel)
    return semantics.unknown == "allow" or any((o.purpose, o.channel) == where for o in consent.unknown_overrides)


def _latest(
    statement: Statement, consent: Consent, name: str, semantics: Semantics, audience: Audience, now: Clock
) -> tuple[exp.Expr, exp.Expr]:
    """When consent was last given, and when last refused; a refusal of which nobody knows when comes after everything."""
    columns, entity = consent.columns, statement.project.entities[consent.entity]
    link = Link(consent.entity, consent.entity, ((columns.person, statement.entity.key),))
    scan = statement.row.scan(link, Asked(now, ROLE))
    effective = _column(scan, columns.effective)
    stands_for = {
        "purpose": (columns.purpose, audience.sync.purpose),
        "channel": (columns.channel, audience.destination.channel),
        "receiver": (columns.receiver or "", audience.receiver),
    }
    asked = [(_column(scan, stands_for[word][0]), sql.string(stands_for[word][1])) for word in semantics.per]
    exactly = [sql.equal(column, word) for column, word in asked]
    # A refusal that leaves open what it is for is one of everything.
    at_all = [sql.some([sql.is_null(column), _blank(column), test]) for (column, _), test in zip(asked, exactly, strict=True)]
    in_effect = _in_effect(entity, columns.effective, effective, now)
    concerned = scan.keep(("consent", name), sql.every([*at_all, *in_effect]))
    yes = _yes(scan, entity, consent, now, stated=audience.sponsored and name == audience.authorization)
    kind = sql.TIMESTAMP if entity.columns[columns.effective].type == "timestamp" else sql.DATE
    at_last = sql.coalesce(exp.Cast(this=effective, to=kind), exp.Cast(this=sql.string(NEVER_OVER), to=kind))
    denied = sql.negation(sql.every(yes))
    return (
        scan.aggregate(
            ("granted", name),
            f"{name}_granted",
            sql.every([*exactly, *yes]),
            lambda test: sql.where(exp.Max(this=effective), test),
            concerned,
        ),
        scan.aggregate(("denied", name), f"{name}_denied", denied, lambda test: sql.where(exp.Max(this=at_last), test), concerned),
    )


def _column(scan: Scan, name: str) -> exp.Expr:
    return sql.column(scan.row.alias, name)


def _blank(column: exp.Expr) -> exp.Expr:
    return sql.equal(exp.Trim(this=column.copy()), sql.string(""))


def _yes(scan: Scan, entity: Entity, consent: Consent, now: Clock, *, stated: bool) -> list[exp.Expr]:
    """What makes a record a yes: its word, that it has not ended, and, of one that must, that it states who pays."""
    columns = consent.columns
    yes: list[exp.Expr] = [sql.one_of(_column(scan, columns.status), [sql.string(word) for word in consent.granted])]
    if columns.expires:
        kind, end = entity.columns[columns.expires].type, _column(scan, columns.expires)
        bound = sql.date_literal(now.day) if kind == "date" else sql.timestamp_literal(now.instant)
        yes.append(sql.some([sql.is_null(end), exp.GT(this=end, expression=bound)]))
    if stated:
        yes.append(_states(scan, entity, columns.states) if columns.states else sql.FALSE)
    return yes


def _states(scan: Scan, entity: Entity, name: str) -> exp.Expr:
    """Whether an authorization states that somebody pays: an element of an array, or one of the words of a text."""
    value, word = _column(scan, name), sql.string(REMUNERATION)
    if entity.columns[name].array:
        return exp.ArrayContains(this=value, expression=word)
    return exp.RegexpLike(this=value, expression=sql.string(rf"(^|[\s,;]){REMUNERATION}([\s,;]|\z)"))


def _in_effect(entity: Entity, name: str, effective: exp.Expr, now: Clock) -> list[exp.Expr]:
    """That a record's day has come; nothing to ask where the entity's own time says so of every row that is read."""
    time = entity.time.start if isinstance(entity.time, Interval) else entity.time
    if time == name and entity.future == "hidden":
        return []
    return [happened(effective, entity.columns[name].type, now)]
