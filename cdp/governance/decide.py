"""The gate: a sync becomes a GovernedQuery, or is refused with every reason.

In the order of the question a privacy officer asks: what does this say -> lower it -> may this receiver know
it -> which people. Rules, dates and classes come from the project's governance folder; mechanisms are here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, cast

from sqlglot import exp

from cdp.compile import sql
from cdp.compile.clock import Clock
from cdp.compile.statement import compile_segment, compile_trait, model_sha256, segment_statement
from cdp.errors import Refusal, RefusedError, UsageError
from cdp.governance import fingerprint, removals
from cdp.governance.access import requirement
from cdp.governance.agreements import contract
from cdp.governance.classes import ClassTree
from cdp.governance.masks import apply_mask, is_wire, lower, needs_form, profiles
from cdp.governance.masks.functions import About
from cdp.governance.masks.held import class_of, fitting, may_lower
from cdp.governance.paths import Paths
from cdp.governance.people import eligibility as people
from cdp.governance.people import one_each, others
from cdp.governance.people import refusals as askable
from cdp.governance.people.audience import Audience
from cdp.governance.people.consent import NONE_NEEDED, freshness
from cdp.governance.people.contact import Contacts, taken
from cdp.governance.query import _SEAL, RULE, SUBJECT, Decision, GovernedQuery, Removals, WireMask
from cdp.governance.receivers import Grant, Receiver, decide, lower_rows
from cdp.governance.redisclosure import notice, unfit
from cdp.governance.reviews import unreviewed
from cdp.governance.rows.special import Special, View, Views
from cdp.governance.taint import Analyst, Fact, Relation
from cdp.project.load import Project
from cdp.project.terms import ColumnRef, Picked
from cdp.spec.access import Agreement
from cdp.spec.activation import Destination, Output, Sync
from cdp.spec.model import Column, ColumnType, Entity
from cdp.spec.policy import DeclassifyEntry, DeclassifyTarget, Mask, Purpose


@dataclass(frozen=True, slots=True)
class Told:
    """What a sync tells: as it is written, lowered by masks and declassifications, and why it may not be told, if so.

    `withheld` are the special rows that its receiver does not read, of any table.
    """

    written: Relation
    lowered: Relation
    refusals: tuple[Refusal, ...]
    withheld: tuple[Special, ...]


@dataclass(frozen=True, slots=True)
class _Decided:
    """What was found out about a sync before its final query is made."""

    audience: Audience
    agreement: Agreement | None
    entity: Entity
    view: View
    written: Relation
    lowered: Relation
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Governor:
    """A project's policy, ready to decide: classes, and what each table says. Made once, used for every sync."""

    project: Project
    tree: ClassTree
    views: Views

    @classmethod
    def of(cls, project: Project) -> Governor:
        """The governor of a project."""
        tree = ClassTree(project.policy.classes)
        return cls(project, tree, Views(project, tree))

    @property
    def analyst(self) -> Analyst:
        """Reads queries of whom no special rows are withheld from."""
        return self.views.whole().analyst

    # -- the question -----------------------------------------------------------------------------------------------

    def segment(self, name: str, clock: Clock) -> Relation:
        """What membership of a segment says. Exploring is free: only what leaves is refused.

        Raises:
            RefusedError: the query uses something that cannot be analysed, or reads a class that no query may.
        """
        return self.views.whole().relation(compile_segment(self.project, name, clock).select, f"segment {name}")

    def trait(self, name: str, clock: Clock) -> Relation:
        """What the value of a trait says, a row for each of its entity.

        Raises:
            RefusedError: the query uses something that cannot be analysed, or reads a class that no query may.
        """
        return self.views.whole().relation(compile_trait(self.project, name, clock).select, f"trait {name}")

    def check(self, name: str, *, clock: Clock, now: Clock) -> tuple[Refusal, ...]:
        """Every reason why a sync is refused, without making the query that would run."""
        try:
            return self._decided(name, clock, now).refusals
        except RefusedError as error:
            return error.refusals

    def told(self, name: str, *, clock: Clock, now: Clock) -> Told:
        """What a sync tells; it may be refused all the same.

        Raises:
            RefusedError: its query uses something that cannot be analysed.
        """
        decided = self._decided(name, clock, now)
        return Told(decided.written, decided.lowered, decided.refusals, decided.view.withheld)

    def audience(self, name: str, *, clock: Clock, now: Clock) -> Audience:
        """Whom a sync's rules are asked about, and the consents that they need; it may be refused all the same.

        Raises:
            RefusedError: its query uses something that cannot be analysed.
        """
        return self._decided(name, clock, now).audience

    def govern(self, name: str, *, clock: Clock, now: Clock, or_removals: bool = False) -> GovernedQuery:
        """Decide on a sync.

        Args:
            name: the sync.
            clock: as_of, for segment logic.
            now: the wall clock, for consent, eligibility and agreements.
            or_removals: of a sync that is refused, give a query that may only remove, where that is allowed.

        Raises:
            RefusedError: with every reason.
            UsageError: no sync has this name.
        """
        if name not in self.project.syncs:
            raise UsageError(f"no sync is named {name!r}", fix=f"valid: {', '.join(sorted(self.project.syncs)) or 'none'}")
        decided = self._decided(name, clock, now)
        may_remove = None
        if decided.refusals and or_removals:
            may_remove = removals.allowed(self.project.syncs[name], decided.agreement, decided.refusals, now.day)
        if decided.agreement is None or (decided.refusals and may_remove is None):
            raise RefusedError(f"sync {name}", decided.refusals)
        return self._sealed(decided, decided.agreement, may_remove, clock, now)

    def _decided(self, name: str, clock: Clock, now: Clock) -> _Decided:
        project = self.project
        sync = project.syncs[name]
        destination, purpose = project.destinations[sync.destination], project.policy.purposes[sync.purpose]
        agreement = project.policy.agreements.get(destination.baa or "")
        statement = segment_statement(project, sync.segment, clock)
        outputs = {**sync.key, **sync.mappings}
        for field_name in outputs:
            statement.column(field_name, statement.output(project.bound.outputs[name, field_name]))
        audience = Audience(sync, destination)
        instead = people.look(statement, project.policy.eligibility.get(statement.entity.name), audience, now)
        deciding = one_each.columns(statement, project, name)
        query = statement.query(f"sync {name}")

        refusals = [*contract(project.policy, sync, destination, now.day), *self._formless(sync, outputs)]
        told_to = receiver(sync, purpose, agreement)
        view = self.views.of(told_to)
        relation, preferred = _split(view.relation(query.select, f"sync {name}"), deciding)
        terms = {field_name: project.bound.outputs[name, field_name] for field_name in outputs}
        found = self._lowered(relation, outputs, sync, now.day)
        contacts = Contacts.of(project, destination.channel, terms, relation.columns)
        if instead is not None:  # an address that somebody asked for may leave in place of the one on file
            table = project.entities[instead.value.column.entity].table
            relation = replace(relation, columns=taken(relation.columns, contacts, table, instead.value.column.column))
        lowered = self._lowered(relation, outputs, sync, now.day)
        lowered = replace(lowered, rows=lowered.rows | preferred)  # who approved the segment has not seen whom the sync prefers
        told = decide(lowered, told_to, self.tree, {name: fitting(project, output) for name, output in terms.items()})
        refusals += [*told, *profiles.kept(project, sync, lowered, self.tree), *others.unasked(project, found)]
        refusals += profiles.part2(agreement, lowered, self.tree) if agreement else ()
        refusals += unfit(destination, notice(agreement, lowered, self.tree))
        if told:
            refusals += self._computed(told, outputs, sync)
            refusals += self._unfitting(relation, outputs, sync, now.day)
            refusals += unreviewed(project, query.select, told, self.tree)
        audience = replace(self._needing(audience, purpose, agreement, lowered), contacts=contacts)
        refusals += [*askable(project, statement.entity, audience, agreement), *self.views.unsafe(statement.entity.name, view)]
        written = replace(relation, rows=relation.rows | preferred)
        traced = Paths(project, lambda inner: self.segment(inner, clock)).traced(refusals, sync.segment)
        return _Decided(audience, agreement, statement.entity, view, written, lowered, tuple(traced))

    # -- lower it ---------------------------------------------------------------------------------------------------

    def _lowered(self, relation: Relation, outputs: Mapping[str, Output], sync: Sync, day: dt.date) -> Relation:
        """The relation after masks on values and a declassification of the segment's membership."""
        masks = self.project.policy.masks
        columns = {}
        for name, facts in ((name, relation.columns[name]) for name in outputs):
            mask = outputs[name].mask
            masked = lower(self.tree, mask, masks[mask], facts) if mask and self._fits(sync, name, mask) else facts
            columns[name] = self._declassified(masked, self._entries(_trait_of(self.project, sync, outputs[name])), day)
        rows = self._declassified(relation.rows, self._entries(DeclassifyTarget(segment=sync.segment)), day)
        return replace(relation, columns=columns, rows=rows)

    def _formless(self, sync: Sync, outputs: Mapping[str, Output]) -> Iterator[Refusal]:
        """Hashes of values for which receivers know no form: nobody would be found by them."""
        for name, output in outputs.items():
            cls = class_of(self.project, self.project.bound.outputs[sync.name, name])
            if output.mask and needs_form(output.mask, self.project.policy.masks[output.mask], cls):
                missing = f"mask {output.mask} knows no form of {cls or 'what is computed'} that receivers hash"
                yield Refusal("mask", name, "", (), missing, "map an e-mail address, a phone number or a name, as the column that it is")

    def _fits(self, sync: Sync, name: str, mask: str) -> bool:
        return may_lower(self.project, mask, self.project.policy.masks[mask], self.project.bound.outputs[sync.name, name])

    def _computed(self, refusals: Iterable[Refusal], outputs: Mapping[str, Output], sync: Sync) -> Iterator[Refusal]:
        """Why a mask did not lower what is refused, where the value is no column."""
        for name in dict.fromkeys(refusal.what for refusal in refusals if refusal.rule == "value"):
            if (mask := outputs[name].mask) and not self._fits(sync, name, mask):
                missing = f"mask {mask} lowers columns only: of what is computed it could give anything"
                yield Refusal("value", name, "", (), missing, "map the column itself, or leave it out")

    def _entries(self, of: DeclassifyTarget | None) -> list[DeclassifyEntry]:
        """The declassifications of what membership of a segment, or a value of a trait, says."""
        return [entry for entry in self.project.policy.declassify if entry.of == of]

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
        said = [(entry, relation.rows) for entry in self._entries(DeclassifyTarget(segment=sync.segment))]
        for name, output in outputs.items():
            said += [(entry, relation.columns[name]) for entry in self._entries(_trait_of(self.project, sync, output))]
        for entry, facts in said:
            if (unfit := self._unfit(entry, facts, day)) is not None:
                fix = f"have {entry.owner} look at it again and correct governance/declassify.yml"
                yield Refusal("declassify", f"entry {entry.name}", "", (), unfit, fix)

    # -- which people -----------------------------------------------------------------------------------------------

    def _needing(self, audience: Audience, purpose: Purpose, agreement: Agreement | None, lowered: Relation) -> Audience:
        """With the kinds of consent: the purpose's and the channel's, and those of the special classes that are told."""
        consent = self.project.policy.consent
        channel = consent.channels.get(audience.destination.channel) if consent else None
        told = [fact.cls for facts in (lowered.rows, *lowered.columns.values()) for fact in facts]
        needs = {purpose.consent, channel.consent if channel else NONE_NEEDED} - {NONE_NEEDED, ""}
        special = profiles.consents({kind for cls in told if (kind := self.tree.needs_consent(cls))}, agreement)
        authorization = purpose.consent if purpose.consent in needs else ""
        return replace(audience, needs=tuple(sorted(needs)), special=tuple(sorted(special)), authorization=authorization)

    # -- the result -------------------------------------------------------------------------------------------------

    def _sealed(self, decided: _Decided, agreement: Agreement, may_remove: Removals | None, clock: Clock, now: Clock) -> GovernedQuery:
        policy, audience, lowered = self.project.policy, decided.audience, decided.lowered
        sync, destination = audience.sync, audience.destination
        rules = policy.eligibility[decided.entity.name]
        final = segment_statement(self.project, sync.segment, clock)
        final.column(SUBJECT, final.key())
        final.column(RULE, people.rule_column(final, rules, audience, now))
        outputs = {**sync.key, **sync.mappings}
        for name, value in people.outputs(final, rules, audience, now).items():
            final.column(name, self._masked(audience, name, outputs[name].mask, value, now.day))
        deciding = one_each.columns(final, self.project, sync.name)
        query = final.query(f"sync {sync.name}")
        preferences = [descending for _, descending in self.project.bound.prefer.get(sync.name, ())]
        select = one_each.first_of_each(query.select, tuple(outputs), preferences) if deciding else query.select
        withheld = decided.view.missing(query.tables)
        kept_out = people.kept_out(self.project, rules, audience, now)
        consent = policy.consent if audience.kinds else None
        tables = tuple(sorted({*query.tables, *kept_out.tables}))
        decision = Decision(
            destination.name,
            agreement.name,
            sync.purpose,
            {name: _classes(facts) for name, facts in lowered.columns.items()},
            _classes(lowered.rows),
            exempt_under=accounting.exempt if (accounting := policy.purposes[sync.purpose].accounting) else None,
        )
        return GovernedQuery(
            sync=sync,
            destination=destination,
            agreement=agreement,
            entity=decided.entity,
            select=decided.view.over(select),
            eligibility=kept_out.select,
            keys=tuple(sync.key),
            values=tuple(sync.mappings),
            wire_masks=tuple(_wire(name, policy.masks[mask], destination) for name, mask in self._wired(outputs)),
            rules=(*people.names(self.project, rules, audience), *([one_each.ONE_PER] if deciding else [])),
            tables=tables,
            declared={table: self._declared(table) for table in tables},
            lookups=tuple(sorted({*query.lookups, *self._relied(decided.written)})),
            # Everyone goes, whatever they consented to.
            freshness=(freshness(self.project, consent),) if consent and may_remove != "everyone" else (),
            decision=decision,
            model_sha256=model_sha256(self.project, sync.segment),
            fingerprint=fingerprint.of_decision(policy, sync, agreement, decision, withheld, model_sha256(self.project, sync.name, "sync")),
            withheld=withheld,
            told=fingerprint.of_told(policy, sync, decision),
            when_changed=policy.purposes[sync.purpose].when_changed,
            notice=notice(agreement, lowered, self.tree),
            removals=may_remove,
            refusals=decided.refusals,
            approval=requirement(self.project, sync, destination, decision.columns, decision.members),
            _seal=_SEAL,
        )

    def _wired(self, outputs: Mapping[str, Output]) -> list[tuple[str, str]]:
        """The outputs that are masked at apply, each with its mask."""
        masks = self.project.policy.masks
        return [(name, each.mask) for name, each in outputs.items() if each.mask and is_wire(each.mask, masks[each.mask])]

    def _masked(self, audience: Audience, name: str, mask: str | None, value: exp.Expr, day: dt.date) -> exp.Expr:
        """An output as the query gives it: masked, but for what is masked at apply."""
        if mask is None or is_wire(mask, self.project.policy.masks[mask]):
            return value
        bound = self.project.bound.outputs[audience.sync.name, name]
        if self._type_of(bound) == "timestamp":
            value = sql.local_day(value, self.project.timezone)  # a mask sees the day that people mean
        about = About(class_of(self.project, bound), day, audience.destination.phone_form)
        return apply_mask(mask, self.project.policy.masks[mask], value, about)

    def _type_of(self, output: object) -> ColumnType | None:
        """The declared type of a mapping's column; None for what is computed."""
        ref = output.column if isinstance(output, Picked) else output
        return ref.type if isinstance(ref, ColumnRef) else None

    def _relied(self, relation: Relation) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The tables whose declared keys the decision rests on: whoever plans asks whether they tell rows apart."""
        names = {entity.table.lower(): entity.table for entity in self.project.entities.values()}
        return ((names[table], tuple(sorted(key))) for table, key in relation.relied)

    def _declared(self, table: str) -> dict[str, Column]:
        entities = [entity for entity in self.project.entities.values() if entity.table == table]
        return {name: column for entity in entities for name, column in entity.columns.items()}


def govern(project: Project, name: str, *, clock: Clock, now: Clock, or_removals: bool = False) -> GovernedQuery:
    """Decide on one sync; see `Governor.govern`."""
    return Governor.of(project).govern(name, clock=clock, now=now, or_removals=or_removals)


# -- outputs ---------------------------------------------------------------------------------------------------------


def _split(relation: Relation, deciding: tuple[str, ...]) -> tuple[Relation, frozenset[Fact]]:
    """A relation without its deciding columns, which do not leave, and what these hold: who is told, and who is not, tells it."""
    facts = frozenset[Fact]().union(*(relation.columns[name] for name in deciding))
    return replace(relation, columns={name: held for name, held in relation.columns.items() if name not in deciding}), facts


def _trait_of(project: Project, sync: Sync, output: Output) -> DeclassifyTarget | None:
    """The trait, and its value, that a mapping names; not one of another entity, nor a column or relation of that name."""
    name, _, value = (output.of or "").partition(".")
    entity, trait = project.entities[project.segments[sync.segment].entity], project.traits.get(name)
    meant = trait is not None and trait.entity == entity.name and not {name} & {*entity.columns, *entity.relations}
    return DeclassifyTarget(trait=name, field=value or None) if meant else None


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
