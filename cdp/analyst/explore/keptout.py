"""Why one person is told by a sync or not: the segment, and each rule that keeps the person out."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from cdp.analyst.explore.explain import Explanation, explain, subject
from cdp.analyst.explore.horizon import Subject
from cdp.analyst.explore.sight import Sight
from cdp.compile import sql
from cdp.compile.clock import Clock
from cdp.compile.statement import Statement
from cdp.engine.base import Engine
from cdp.errors import Refusal, RefusedError
from cdp.governance.decide import Governor
from cdp.governance.people.eligibility import HOLDOUT, tests
from cdp.governance.query import RULE, SUBJECT, GovernedQuery
from cdp.project.load import Project
from cdp.project.terms.describe import describe_rule

DESIRED = "desired"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the eligibility, and whether it keeps the person out now."""

    name: str
    label: str
    basis: str
    keeps_out: bool


@dataclass(frozen=True, slots=True)
class Addressed:
    """Why a person is told by a sync or not.

    Attributes:
        rules: all that hold for the purpose, in their order.
        told: whether the person is among the rows that the destination should have.
        by: the rule that the person is counted at; `one_per` where another of the household is told instead.
        refusals: why the sync tells nobody at all.
        shown_to: the roles that see rules of single people, where this one does not: what was asked of us is confidential.
    """

    sync: str
    segment: Explanation
    rules: tuple[Rule, ...]
    told: bool
    by: str
    refusals: tuple[Refusal, ...] = ()
    shown_to: tuple[str, ...] = ()


def explain_sync(project: Project, engine: Engine, sync: str, key: str, *, clock: Clock, now: Clock, sight: Sight) -> Addressed:
    """Explain. Rules are asked at the wall clock, the segment as of `clock`.

    Raises:
        UsageError: no row has this key.
        RefusedError: the role may not know of single people that they are in this segment.
    """
    governor, spec = sight.governor, project.syncs[sync]
    segment = explain(project, engine, spec.segment, key, clock=clock, sight=sight)
    who = subject(project.entities[segment.entity], key)
    eligibility = project.policy.eligibility.get(who.entity.name)
    hidden = eligibility.visible_to if eligibility and sight.name not in eligibility.visible_to else ()
    rules = _rules(project, engine, governor, sync, who, clock, now) if not hidden else ()
    try:
        query = governor.govern(sync, clock=clock, now=now)
    except RefusedError as error:
        return Addressed(sync, segment, rules, False, "", error.refusals, hidden)
    told, by = _desired(engine, query, who)
    return Addressed(sync, segment, rules, told, by if not hidden else "", shown_to=hidden)


def _rules(project: Project, engine: Engine, governor: Governor, sync: str, who: Subject, clock: Clock, now: Clock) -> tuple[Rule, ...]:
    """A verdict on each rule, all columns of one statement."""
    eligibility = project.policy.eligibility.get(who.entity.name)
    if eligibility is None:
        return ()
    audience = governor.audience(sync, clock=clock, now=now)
    statement = Statement(project, who.entity, now)
    statement.keep(sql.equal(statement.key(), who.key))
    asked = tests(statement, eligibility, audience, now)
    for name, test in asked:
        statement.column(name, sql.coalesce(test, sql.FALSE))
    if not asked:
        return ()
    query = statement.query(f"the rules of sync {sync}")
    engine.register(query.tables)
    row = (engine.query(query.select, what=f"the rules of sync {sync}").to_pylist() or [{}])[0]
    labels = {spec.name: (describe_rule(rule, project), spec.basis) for spec, rule in audience.rules(project, eligibility)}
    labels[HOLDOUT] = ("one of the share that the sync leaves out at random", "")
    return tuple(Rule(name, *labels[name], bool(row.get(name))) for name, _ in asked)


def _desired(engine: Engine, query: GovernedQuery, who: Subject) -> tuple[bool, str]:
    """Whether the governed query has the person, and the rule that it leaves the person out by. No other column is read."""
    inner = exp.Subquery(this=query.select, alias=exp.TableAlias(this=sql.identifier(DESIRED)))
    select = exp.Select(
        expressions=[sql.column(DESIRED, RULE)],
        from_=exp.From(this=inner),
        where=exp.Where(this=sql.equal(sql.column(DESIRED, SUBJECT), who.key)),
    )
    engine.register(query.tables)
    rows = engine.query(select, what=f"sync {query.sync.name}").to_pylist()
    return bool(rows) and rows[0][RULE] is None, str(rows[0][RULE] or "") if rows else ""
