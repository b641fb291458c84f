"""What flows where: from a column of the lakehouse over segments and traits to a field at a receiver.

What is told comes from governance's own analysis, the same that decides, so that lineage never says less than what was
decided. Which models stand on the way is looked up in the uses of the project: it explains, and takes nothing away.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from cdp.catalog.uses import Part, Uses
from cdp.compile.clock import Clock
from cdp.errors import Refusal, RefusedError
from cdp.governance.access import requirement
from cdp.governance.decide import Governor, Told
from cdp.governance.receivers import MEMBERSHIP
from cdp.governance.taint import Fact
from cdp.project.project import Project
from cdp.spec.activation import Output, Sync

MODELS = ("segment", "trait", "entity")  # what stands between a table and what leaves


@dataclass(frozen=True, slots=True)
class Source:
    """A fact of the lakehouse that something depends on.

    Attributes:
        fact: the table and column, and the class that it brings; without a column, that a row is there at all.
        via: the models on the way, the one nearest to the receiver first; none where it is read directly.
    """

    fact: Fact
    via: tuple[Part, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The source as a JSON object with stable keys."""
        via = [{"kind": kind, "name": name} for kind, name in self.via]
        return {"table": self.fact.table, "column": self.fact.column or None, "class": self.fact.cls, "via": via}


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that a receiver is told: a column, or being in the audience.

    Attributes:
        name: of the field at the receiver; MEMBERSHIP for being in the audience.
        of: what it is made of, as the sync says; empty for membership.
        key: it names the person at the receiver.
        plain: one column as it stands, neither computed, replaced nor masked.
        mask: the mask that lowers it, if any.
        before, after: the classes that it tells before and after masks and declassifications.
        declassified: the entries of declassify.yml that count.
        sources: where it comes from.
        models: every segment, trait and entity that it is made of.
    """

    name: str
    of: str
    key: bool
    plain: bool
    mask: str | None
    before: tuple[str, ...]
    after: tuple[str, ...]
    declassified: tuple[str, ...]
    sources: tuple[Source, ...]
    models: frozenset[Part]

    @property
    def is_value(self) -> bool:
        """A column, and not what being in the audience tells."""
        return bool(self.of)

    def as_json(self) -> dict[str, Any]:
        """The field as a JSON object with stable keys."""
        return {
            "field": self.name,
            "key": self.key,
            "of": self.of or None,
            "mask": self.mask,
            "tells_before": list(self.before),
            "tells": list(self.after),
            "declassified": list(self.declassified),
            "sources": [source.as_json() for source in self.sources],
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """A part of the project that somebody asks about: columns, or a model.

    Attributes:
        columns: (table, column) of which a source is one.
        model: a segment, trait or derived entity; what is made of it may tell all of it.
    """

    columns: frozenset[tuple[str, str]]
    model: Part | None

    def of(self, field: Field) -> Field | None:
        """A field with only the sources that tell of the part; None if there are none."""
        if self.model in field.models:
            return replace(field, sources=tuple(source for source in field.sources if self.model in source.via) or field.sources)
        kept = tuple(source for source in field.sources if (source.fact.table, source.fact.column) in self.columns)
        return replace(field, sources=kept) if kept else None


@dataclass(frozen=True, slots=True)
class Flow:
    """What one sync tells its receiver.

    Attributes:
        fields: the columns that leave, keys first; empty where `followed` is false.
        members: what being in the audience tells.
        refusals: why nothing leaves at present.
        withheld: (class, table) of the special rows that are not read for this receiver.
        approval: what asks for an approval of its plans; empty where none is needed.
        followed: whether the query could be analysed; if not, nobody knows what it would tell, and it is refused.
    """

    sync: Sync
    agreement: str | None
    fields: tuple[Field, ...]
    members: Field
    refusals: tuple[Refusal, ...]
    followed: bool = True
    withheld: tuple[tuple[str, str], ...] = ()
    approval: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[Field, ...]:
        """Columns and membership."""
        return (*self.fields, self.members)

    def about(self, part: Asked) -> Flow | None:
        """What of it tells of a part of the project, of each field only the sources that do; None if nothing does."""
        fields = tuple(field for each in self.fields if (field := part.of(each)) is not None)
        members = part.of(self.members)
        if not fields and members is None and self.followed:
            return None
        return replace(self, fields=fields, members=members or replace(self.members, sources=()))

    def as_json(self) -> dict[str, Any]:
        """The flow as a JSON object with stable keys."""
        return {
            "sync": self.sync.name,
            "receiver": self.sync.destination,
            "agreement": self.agreement,
            "purpose": self.sync.purpose,
            "segment": self.sync.segment,
            "refused": bool(self.refusals),
            "followed": self.followed,
            "withheld": [{"class": cls, "table": table} for cls, table in self.withheld],
            "needs_approval": list(self.approval),
            "fields": [field.as_json() for field in self.fields],
            "members": self.members.as_json(),
        }


@dataclass(frozen=True)
class Flows:
    """Everything that a project tells to anybody.

    Args:
        governor: the project's policy.
        clock: as_of, for segment logic.
        now: the wall clock, for agreements and declassifications.
    """

    governor: Governor
    clock: Clock
    now: Clock

    @property
    def project(self) -> Project:
        """The project that is looked at."""
        return self.governor.project

    @cached_property
    def uses(self) -> Uses:
        """Who uses what in the project."""
        return Uses.find(self.project)

    def all(self) -> Iterator[Flow]:
        """The flow of every sync, by name."""
        return (self.of(name) for name in sorted(self.project.syncs))

    def of(self, name: str) -> Flow:
        """The flow of one sync."""
        sync = self.project.syncs[name]
        agreement = self.project.destinations[sync.destination].baa
        agreement = agreement if agreement in self.project.policy.agreements else None
        try:
            told = self.governor.told(name, clock=self.clock, now=self.now)
        except RefusedError as error:
            nothing = Field(MEMBERSHIP, "", False, False, None, (), (), (), (), frozenset())
            return Flow(sync, agreement, (), nothing, error.refusals, followed=False)
        columns = {**sync.key, **sync.mappings}
        fields = tuple(self._field(sync, name, output, told) for name, output in columns.items())
        members = self._members(sync, told)
        read = {source.fact.table for field in (*fields, members) for source in field.sources}
        return Flow(
            sync=sync,
            agreement=agreement,
            fields=fields,
            members=members,
            refusals=told.refusals,
            withheld=tuple(sorted({(each.cls, each.table.lower()) for each in told.withheld if each.table.lower() in read})),
            approval=self._approval(sync, fields, members),
        )

    def _approval(self, sync: Sync, fields: Iterable[Field], members: Field) -> tuple[str, ...]:
        """What asks for an approval."""
        columns = {field.name: field.after for field in fields}
        needed = requirement(self.project, sync, self.project.destinations[sync.destination], columns, members.after)
        return needed.why if needed is not None else ()

    def segment(self, name: str) -> tuple[Source, ...]:
        """Where membership of a segment comes from.

        Raises:
            RefusedError: its query uses something that cannot be analysed.
        """
        return _sources(self.governor.segment(name, self.clock).rows, self._ways([("segment", name)])[0])

    def trait(self, name: str) -> tuple[Source, ...]:
        """Where the value of a trait comes from.

        Raises:
            RefusedError: its query uses something that cannot be analysed.
        """
        relation = self.governor.trait(name, self.clock)
        key = self.project.entities[self.project.traits[name].entity].key
        facts = frozenset(fact for column, held in relation.columns.items() if column != key for fact in held)
        return _sources(facts, self._ways([("trait", name)])[0])

    def part(self, kind: str, name: str) -> Asked:
        """A segment, a trait, or a column as `entity.column` or `schema.table.column`."""
        if kind != "column":
            return Asked(frozenset(), (kind, name))
        place, _, column = name.rpartition(".")
        entities = [entity for entity in self.project.entities.values() if place in (entity.name, entity.table)]
        made = next((("entity", entity.name) for entity in entities if not entity.table), None)
        return Asked(frozenset(((entity.table or entity.name).lower(), column.lower()) for entity in entities), made)

    def declared(self, column: str) -> tuple[str, ...]:
        """The classes that are declared of a column: its own, and what it may hold besides."""
        place, _, name = column.rpartition(".")
        entities = (entity for entity in self.project.entities.values() if place in (entity.name, entity.table))
        specs = (entity.columns[name] for entity in entities if name in entity.columns)
        return tuple(dict.fromkeys(cls for spec in specs for cls in (spec.cls, *spec.may_hold) if cls))

    def seen_by(self, classes: Sequence[str]) -> list[str]:
        """The roles that may see single values which tell these classes."""
        roles = self.project.policy.roles
        return [name for name, role in sorted(roles.items()) if all(self.governor.tree.covers(role.see, cls) for cls in classes)]

    # -- fields -----------------------------------------------------------------------------------------------------

    def _field(self, sync: Sync, name: str, output: Output, told: Told) -> Field:
        facts = told.written.columns[name]
        traits = [("trait", word) for word in self._traits(output.of or output.expr or "")]
        ways, models = self._ways([*traits, ("sync", sync.name)])
        return Field(
            name=name,
            of=output.of or output.expr or f"always {output.constant!r}",
            key=name in sync.key,
            plain=output.of is not None and not output.mask and not traits and len({(fact.table, fact.column) for fact in facts}) == 1,
            mask=output.mask,
            before=_classes(facts),
            after=_classes(told.lowered.columns[name]),
            declassified=self._entries(traits, facts, told.lowered.columns[name]),
            sources=_sources(facts, ways),
            models=models,
        )

    def _members(self, sync: Sync, told: Told) -> Field:
        segment = ("segment", sync.segment)
        before, after = told.written.rows, told.lowered.rows
        deciding = " ".join([sync.one_per or "", *sync.prefer])
        ways, models = self._ways([segment, *(("trait", word) for word in self._traits(deciding)), ("sync", sync.name)])
        return Field(
            name=MEMBERSHIP,
            of="",
            key=False,
            plain=False,
            mask=None,
            before=_classes(before),
            after=_classes(after),
            declassified=self._entries([segment], before, after),
            sources=_sources(before, ways),
            models=models,
        )

    def _traits(self, text: str) -> list[str]:
        """The traits that a path or an expression names."""
        words = "".join(letter if letter.isalnum() or letter == "_" else " " for letter in text).split()
        return [word for word in dict.fromkeys(words) if word in self.project.traits]

    def _entries(self, models: Iterable[Part], before: frozenset[Fact], after: frozenset[Fact]) -> tuple[str, ...]:
        """The declassifications of these models that took a class away."""
        gone = {fact.cls for fact in before - after}
        told = {fact.cls for fact in after}
        about = {entry.name: {("segment", entry.of.segment), ("trait", entry.of.trait)} for entry in self.project.policy.declassify}
        counting = (entry for entry in self.project.policy.declassify if not about[entry.name].isdisjoint(models))
        return tuple(entry.name for entry in counting if entry.to in told and not gone.isdisjoint(entry.from_))

    # -- the way ----------------------------------------------------------------------------------------------------

    def _ways(self, starts: Sequence[Part]) -> tuple[_Ways, frozenset[Part]]:
        """By table and column the shortest way there, and all models that are met; an earlier start comes first.

        A sync counts for the columns that it reads itself: which of its traits belong to which field, the caller says.
        """
        found: dict[tuple[str, str], tuple[Part, ...]] = {}
        waiting = deque((start, (start,) if start[0] in MODELS else ()) for start in starts)
        seen = set(starts)
        while waiting:
            part, way = waiting.popleft()
            for used in sorted(self.uses.of.get(part, ())):
                if (place := self._place(used)) is not None:
                    found.setdefault(place, way)
                if used not in seen and self._is_model(used) and not (part[0] == "sync" and used[0] != "entity"):
                    seen.add(used)
                    waiting.append((used, (*way, used)))
        return found, frozenset(part for part in seen if part[0] in MODELS)

    def _place(self, used: Part) -> tuple[str, str] | None:
        """The table and column that a part is, if it is one."""
        kind, name = used
        entity, _, column = name.partition(".")
        if kind not in ("entity", "column") or entity not in self.project.entities:
            return None
        return (self.project.entities[entity].table or entity).lower(), column.lower()

    def _is_model(self, part: Part) -> bool:
        """Whether something is computed there: an entity with a table is where it ends."""
        kind, name = part
        return kind in MODELS and not (kind == "entity" and self.project.entities[name].table)


_Ways = Mapping[tuple[str, str], tuple[Part, ...]]


def _sources(facts: Iterable[Fact], ways: _Ways) -> tuple[Source, ...]:
    """The facts, each with the way to its column, or else to its table."""
    found = (Source(fact, ways.get((fact.table, fact.column)) or ways.get((fact.table, ""), ())) for fact in facts)
    return tuple(sorted(found, key=lambda source: (source.via, source.fact.table, source.fact.column, source.fact.cls)))


def _classes(facts: Iterable[Fact]) -> tuple[str, ...]:
    return tuple(sorted({fact.cls for fact in facts}))
