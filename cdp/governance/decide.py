"""The gate: a sync becomes a GovernedQuery, or is refused with every reason.

In the order of the question a privacy officer asks: what does this say -> lower it -> may this receiver know
it -> which people. Rules, dates and classes come from the project's governance folder; mechanisms are here.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, cast

from cdp.compile import sql
from cdp.compile.clock import Clock
from cdp.compile.statement import Query, compile_segment, model_sha256, segment_statement
from cdp.errors import Refusal, RefusedError, UsageError
from cdp.governance import eligibility as people
from cdp.governance import one_each
from cdp.governance.agreements import contract
from cdp.governance.classes import ClassTree
from cdp.governance.masks import MECHANISMS, apply_mask, has_mechanism, is_wire, lower
from cdp.governance.query import _SEAL, RULE, SUBJECT, Decision, GovernedQuery, WireMask
from cdp.governance.receivers import Grant, Receiver, decide, lower_rows
from cdp.governance.taint import Analyst, ColumnFacts, Fact, Relation, TableFacts, Unsupported
from cdp.project.load import Project
from cdp.project.terms import ColumnRef, Picked
from cdp.spec.activation import Destination, Output, Sync
from cdp.spec.model import Column, ColumnType, Entity
from cdp.spec.policy import Agreement, Consent, DeclassifyEntry, DeclassifyTarget, Mask, Purpose


@dataclass(frozen=True, slots=True)
class _Decided:
    """What was found out about a sync before its final query is made."""

    audience: people.Audience
    agreement: Agreement | None
    entity: Entity
    lowered: Relation
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Governor:
    """A project's policy, ready to decide: classes, and what each table says. Made once, used for every sync."""

    project: Project
    tree: ClassTree
    analyst: Analyst

    @classmethod
    def of(cls, project: Project) -> Governor:
        """The governor of a project."""
        tree = ClassTree(project.policy.classes)
        return cls(project, tree, Analyst(tables_of(project), codes_of(project).get, tree, made_of(project)))

    # -- the question -----------------------------------------------------------------------------------------------

    def segment(self, name: str, clock: Clock) -> Relation:
        """What membership of a segment says. Exploring is free: only what leaves is refused.

        Raises:
            RefusedError: the query uses something that cannot be analysed, or reads a class that no query may.
        """
        return self._relation(compile_segment(self.project, name, clock), f"segment {name}")

    def check(self, name: str, *, clock: Clock, now: Clock) -> tuple[Refusal, ...]:
        """Every reason why a sync is refused, without making the query that would run."""
        try:
            return self._decided(name, clock, now).refusals
        except RefusedError as error:
            return error.refusals

    def audience(self, name: str, *, clock: Clock, now: Clock) -> people.Audience:
        """Whom a sync's rules are asked about, and the consents that they need; it may be refused all the same.

        Raises:
            RefusedError: its query uses something that cannot be analysed.
        """
        return self._decided(name, clock, now).audience

    def govern(self, name: str, *, clock: Clock, now: Clock) -> GovernedQuery:
        """Decide on a sync.

        Args:
            name: the sync.
            clock: as_of, for segment logic.
            now: the wall clock, for consent, eligibility and agreements.

        Raises:
            RefusedError: with every reason.
            UsageError: no sync has this name.
        """
        if name not in self.project.syncs:
            raise UsageError(f"no sync is named {name!r}", fix=f"valid: {', '.join(sorted(self.project.syncs)) or 'none'}")
        decided = self._decided(name, clock, now)
        if decided.refusals or decided.agreement is None:
            raise RefusedError(f"sync {name}", decided.refusals)
        return self._sealed(decided, decided.agreement, clock, now)

    def _decided(self, name: str, clock: Clock, now: Clock) -> _Decided:
        project = self.project
        sync = project.syncs[name]
        destination, purpose = project.destinations[sync.destination], project.policy.purposes[sync.purpose]
        agreement = project.policy.agreements.get(destination.baa or "")
        statement = segment_statement(project, sync.segment, clock)
        outputs = {**sync.key, **sync.mappings}
        for field_name in outputs:
            statement.column(field_name, statement.output(project.bound.outputs[name, field_name]))
        deciding = one_each.columns(statement, project, name)
        query = statement.query(f"sync {name}")

        refusals = [*contract(sync, destination, purpose, agreement, now.day), *self._unknown_masks(outputs)]
        relation, preferred = _split(self._relation(query, f"sync {name}"), deciding)
        lowered = self._lowered(relation, outputs, sync, now.day)
        lowered = replace(lowered, rows=lowered.rows | preferred)  # who approved the segment has not seen whom the sync prefers
        told = decide(lowered, receiver(sync, purpose, agreement), self.tree, project.policy.masks)
        refusals += told
        if told:
            refusals += self._unfitting(relation, outputs, sync, now.day)
        audience = people.Audience(sync, destination, self._needs(sync, destination, purpose, lowered))
        refusals += self._people(statement.entity, audience, agreement)
        return _Decided(audience, agreement, statement.entity, lowered, tuple(refusals))

    # -- lower it ---------------------------------------------------------------------------------------------------

    def _relation(self, query: Query, what: str) -> Relation:
        try:
            return self.analyst.query(query.select)
        except Unsupported as error:
            raise RefusedError(what, [Refusal("syntax", what, "", (), error.message, "write it in another way")]) from None

    def _lowered(self, relation: Relation, outputs: Mapping[str, Output], sync: Sync, day: dt.date) -> Relation:
        """The relation after masks on values and a declassification of the segment's membership."""
        masks = self.project.policy.masks
        columns = {}
        for name, facts in relation.columns.items():
            mask = outputs[name].mask
            masked = lower(self.tree, mask, masks[mask], facts) if mask else facts
            columns[name] = self._declassified(masked, self._entries(trait=_trait_of(self.project, sync, outputs[name])), day)
        return Relation(columns, self._declassified(relation.rows, self._entries(segment=sync.segment), day), relation.keys)

    def _unknown_masks(self, outputs: Mapping[str, Output]) -> Iterator[Refusal]:
        """Masks of masks.yml that nothing here can compute."""
        for field_name, output in outputs.items():
            if output.mask and not has_mechanism(output.mask, self.project.policy.masks[output.mask]):
                fix = f"use one that can be: {', '.join(sorted(MECHANISMS))}"
                yield Refusal("mask", field_name, "", (), f"mask {output.mask} cannot be computed", fix)

    def _entries(self, *, segment: str | None = None, trait: str | None = None) -> list[DeclassifyEntry]:
        """The declassifications of what membership of a segment, or the value of a trait, says."""
        wanted = DeclassifyTarget(segment=segment, trait=trait)
        return [entry for entry in self.project.policy.declassify if entry.of == wanted]

    def _declassified(self, facts: frozenset[Fact], entries: list[DeclassifyEntry], day: dt.date) -> frozenset[Fact]:
        for entry in entries:
            if self._unfit(entry, facts, day) is None:
                facts = lower_rows(facts, frozenset(entry.from_), entry.to, self.tree) or facts
        return facts

    def _unfit(self, entry: DeclassifyEntry, facts: frozenset[Fact], day: dt.date) -> str | None:
        """Why a declassification does not count for its model as it stands; None when it does."""
        if not entry.approved <= day <= entry.expires:
            return f"holds from {entry.approved} to {entry.expires} only"
        model, kind = (entry.of.segment, "segment") if entry.of.segment else (str(entry.of.trait), "trait")
        now = model_sha256(self.project, str(model), cast(Literal["segment", "trait"], kind))
        if entry.model_sha256 != now:
            return f"approves another version of {model}: its model_sha256 is now {now}"
        if lower_rows(facts, frozenset(entry.from_), entry.to, self.tree) is None:
            told = sorted({fact.cls for fact in facts if not self.tree.is_key(fact.cls)})
            return f"is from {', '.join(entry.from_)}; {model} tells {', '.join(told)}"
        return None

    def _unfitting(self, relation: Relation, outputs: Mapping[str, Output], sync: Sync, day: dt.date) -> Iterator[Refusal]:
        """Why entries for this segment and these traits did not lower what they say."""
        said = [(entry, relation.rows) for entry in self._entries(segment=sync.segment)]
        for name, output in outputs.items():
            said += [(entry, relation.columns[name]) for entry in self._entries(trait=_trait_of(self.project, sync, output))]
        for entry, facts in said:
            if (unfit := self._unfit(entry, facts, day)) is not None:
                fix = f"have {entry.owner} look at it again and correct governance/declassify.yml"
                yield Refusal("declassify", f"entry {entry.name}", "", (), unfit, fix)

    # -- which people -----------------------------------------------------------------------------------------------

    def _needs(self, sync: Sync, destination: Destination, purpose: Purpose, lowered: Relation) -> tuple[str, ...]:
        """The kinds of consent: the purpose's, the channel's, and those of the special classes that are told."""
        consent = self.project.policy.consent
        channel = consent.channels.get(destination.channel) if consent else None
        told = [fact.cls for facts in (lowered.rows, *lowered.columns.values()) for fact in facts]
        names = [purpose.consent, channel.consent if channel else None, *(self.tree.needs_consent(cls) for cls in told)]
        return tuple(sorted({name for name in names if name and name != people.NONE_NEEDED}))

    def _people(self, entity: Entity, audience: people.Audience, agreement: Agreement | None) -> Iterator[Refusal]:
        policy = self.project.policy
        what, rules = f"sync {audience.sync.name}", policy.eligibility.get(entity.name)
        if rules is None:
            fix = f"declare `kind: eligibility` with entity: {entity.name} under governance/"
            yield Refusal("eligibility", what, "", (), f"nothing says who of {entity.name} may be told", fix)
            return
        semantics = policy.consent.semantics if policy.consent else {}
        for need in audience.needs:
            if need not in semantics:
                yield Refusal("consent", what, "", (), f"the consent {need!r} is not defined", "define it under `semantics` of consent.yml")
        if audience.needs and not people.asks_consent(self.project, rules, audience.sync.purpose):
            fix = "add a rule `when: {consent: missing}` to the eligibility"
            yield Refusal("consent", what, "", (), f"consent {', '.join(audience.needs)} is needed, but no rule asks for it", fix)
        if audience.needs and policy.consent and not self._consents_for(entity, policy.consent):
            fix = f"declare the relation between {policy.consent.entity}.{policy.consent.columns.person} and {entity.name}"
            yield Refusal("consent", what, "", (), f"nothing says that {policy.consent.entity} holds the consent of {entity.name}", fix)
        signed = any("receiver" in semantics[need].per for need in audience.needs if need in semantics)
        if agreement is not None and agreement.type == "authorization" and not signed:
            missing = f"agreement {agreement.name} is no BAA: only people who signed for this receiver may be told (45 CFR 164.508)"
            yield Refusal("authorization", what, "", (), missing, "use a purpose whose consent is an authorization per receiver")

    def _consents_for(self, entity: Entity, consent: Consent) -> bool:
        """Whether a declared relation leads from the consent's person to this entity: another's keys may look the same."""
        person, entities = consent.columns.person, self.project.entities
        there = [r for r in entities[consent.entity].relations.values() if r.one == entity.name and r.via in (person, {entity.key: person})]
        back = [r for r in entity.relations.values() if r.many == consent.entity and r.via in (person, {person: entity.key})]
        return bool(there or back)

    # -- the result -------------------------------------------------------------------------------------------------

    def _sealed(self, decided: _Decided, agreement: Agreement, clock: Clock, now: Clock) -> GovernedQuery:
        policy, bound = self.project.policy, self.project.bound.outputs
        audience, lowered = decided.audience, decided.lowered
        sync, destination = audience.sync, audience.destination
        rules = policy.eligibility[decided.entity.name]
        final = segment_statement(self.project, sync.segment, clock)
        final.column(SUBJECT, final.key())
        final.column(RULE, people.rule_column(final, rules, audience, now))
        wires = []
        for name, spec in {**sync.key, **sync.mappings}.items():
            value = final.output(bound[sync.name, name])
            if spec.mask and is_wire(policy.masks[spec.mask]):
                wires.append(_wire(name, policy.masks[spec.mask], destination))
            elif spec.mask:
                if self._type_of(bound[sync.name, name]) == "timestamp":
                    value = sql.local_day(value, self.project.timezone)  # a mask sees the day that people mean
                value = apply_mask(spec.mask, policy.masks[spec.mask], value, self._class_of(bound[sync.name, name]), now.day)
            final.column(name, value)
        outputs = (*sync.key, *sync.mappings)
        deciding = one_each.columns(final, self.project, sync.name)
        query = final.query(f"sync {sync.name}")
        preferences = [descending for _, descending in self.project.bound.prefer.get(sync.name, ())]
        select = one_each.first_of_each(query.select, outputs, preferences) if deciding else query.select
        asked = [rule.name for rule in people.applicable(rules, sync.purpose)]
        kept_out = people.kept_out(self.project, rules, audience, now)
        consent = policy.consent if audience.needs else None
        tables = tuple(sorted({*query.tables, *kept_out.tables}))
        decision = Decision(
            destination.name,
            agreement.name,
            sync.purpose,
            {name: _classes(facts) for name, facts in lowered.columns.items()},
            _classes(lowered.rows),
        )
        return GovernedQuery(
            sync=sync,
            destination=destination,
            agreement=agreement,
            entity=decided.entity,
            select=select,
            eligibility=kept_out.select,
            keys=tuple(sync.key),
            values=tuple(sync.mappings),
            wire_masks=tuple(wires),
            rules=(*asked, *([one_each.ONE_PER] if deciding else [])),
            tables=tables,
            declared={table: self._declared(table) for table in tables},
            lookups=query.lookups,
            freshness=(people.freshness(self.project, consent),) if consent else (),
            decision=decision,
            model_sha256=model_sha256(self.project, sync.segment),
            fingerprint=self._fingerprint(sync, agreement, decision),
            _seal=_SEAL,
        )

    def _class_of(self, output: object) -> str:
        """The declared class of a mapping's column; empty for what is computed."""
        ref = output.column if isinstance(output, Picked) else output
        return self.project.entities[ref.entity].columns[ref.column].cls if isinstance(ref, ColumnRef) else ""

    def _type_of(self, output: object) -> ColumnType | None:
        """The declared type of a mapping's column; None for what is computed."""
        ref = output.column if isinstance(output, Picked) else output
        return ref.type if isinstance(ref, ColumnRef) else None

    def _declared(self, table: str) -> dict[str, Column]:
        entities = [entity for entity in self.project.entities.values() if entity.table == table]
        return {name: column for entity in entities for name, column in entity.columns.items()}

    def _fingerprint(self, sync: Sync, agreement: Agreement, decision: Decision) -> str:
        """SHA-256 over what the decision rests on, not over files: comments and order do not matter."""
        policy = self.project.policy
        used = sorted({spec.mask for spec in (*sync.key.values(), *sync.mappings.values()) if spec.mask})
        rests_on = {
            "agreement": agreement.model_dump(mode="json"),
            "purpose": policy.purposes[sync.purpose].model_dump(mode="json"),
            "masks": {name: policy.masks[name].model_dump(mode="json") for name in used},
            "consent": policy.consent.model_dump(mode="json") if policy.consent else None,
            "eligibility": [rule.model_dump(mode="json") for e in policy.eligibility.values() for rule in e.rules],
            "columns": dict(decision.columns),
            "members": decision.members,
        }
        return hashlib.sha256(json.dumps(rests_on, sort_keys=True).encode()).hexdigest()


def govern(project: Project, name: str, *, clock: Clock, now: Clock) -> GovernedQuery:
    """Decide on one sync; see `Governor.govern`."""
    return Governor.of(project).govern(name, clock=clock, now=now)


# -- what the tables say ---------------------------------------------------------------------------------------------


def tables_of(project: Project) -> dict[str, TableFacts]:
    """What every column and every row of every declared table says.

    Two entities of one table add up; the loader sees to it that they say the same of a column that both have.
    """
    tables: dict[str, TableFacts] = {}
    for entity in filter(lambda each: each.table, project.entities.values()):
        table = entity.table.lower()  # `Clinical.patients` is the same table
        other = tables.get(table)
        columns = {**(other.columns if other else {}), **_columns_of(entity)}
        rows = frozenset(entity.rows) | (other.rows if other else frozenset())
        key = frozenset({entity.key}) if other is None or other.key == {entity.key} else frozenset()
        tables[table] = TableFacts(columns, rows, key)
    return tables


def made_of(project: Project) -> dict[str, TableFacts]:
    """What is declared of entities that are made of others. They also say what those say: the walk finds that in their queries."""
    made = (entity for entity in project.entities.values() if not entity.table)
    return {entity.name: TableFacts(_columns_of(entity), frozenset(entity.rows)) for entity in made}


def _columns_of(entity: Entity) -> dict[str, ColumnFacts]:
    """What is declared of an entity's columns; one of a derived entity may have no class of its own."""
    return {name: ColumnFacts(column.cls, frozenset(column.may_hold)) for name, column in entity.columns.items() if column.cls}


def codes_of(project: Project) -> dict[str, frozenset[str]]:
    """Every code whose value sets are all reviewed, and the classes that comparing with it gives away.

    Codes are told apart by their text alone; so a code that also stands in a value set that nobody reviewed, be it of
    another code system, counts as not reviewed.
    """
    codes: dict[str, frozenset[str]] = {}
    unreviewed: set[str] = set()
    for name, value_set in project.value_sets.items():
        review = project.policy.reviews.get(name)
        if review is None:
            unreviewed |= value_set.all_codes
            continue
        classes = frozenset() if review.cls == "none" else frozenset({review.cls})
        for code in value_set.all_codes:
            codes[code] = codes.get(code, frozenset()) | classes
    return {code: classes for code, classes in codes.items() if code not in unreviewed}


def _split(relation: Relation, deciding: tuple[str, ...]) -> tuple[Relation, frozenset[Fact]]:
    """A relation without its deciding columns, which do not leave, and what these hold: who is told, and who is not, tells it."""
    facts = frozenset[Fact]().union(*(relation.columns[name] for name in deciding))
    columns = {name: held for name, held in relation.columns.items() if name not in deciding}
    return Relation(columns, relation.rows, relation.keys), facts


def _trait_of(project: Project, sync: Sync, output: Output) -> str | None:
    """The trait that a mapping names, alone or with a field; not one of another entity, nor a column or relation of that name."""
    name, entity = (output.of or "").partition(".")[0], project.entities[project.segments[sync.segment].entity]
    trait = project.traits.get(name)
    meant = trait is not None and trait.entity == entity.name and not {name} & {*entity.columns, *entity.relations}
    return name if meant else None


def _classes(facts: frozenset[Fact]) -> tuple[str, ...]:
    return tuple(sorted({fact.cls for fact in facts}))


# -- may this receiver know it ---------------------------------------------------------------------------------------


def receiver(sync: Sync, purpose: Purpose, agreement: Agreement | None) -> Receiver:
    """The destination as a receiver: every grant must cover."""
    grants = [Grant(f"purpose {sync.purpose}", frozenset(purpose.classes), frozenset(purpose.members))]
    if agreement is not None:
        grants.append(Grant(f"agreement {agreement.name}", frozenset(agreement.classes), frozenset(agreement.members)))
    return Receiver(sync.destination, tuple(grants))


def _wire(column: str, mask: Mask, destination: Destination) -> WireMask:
    assert mask.key is not None, "the loader asks for the key of a keyed mask"
    return WireMask(column, mask.key, mask.key_version, destination.name)
