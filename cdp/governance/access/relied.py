"""What rules about people and special rows rest on: entities, relations, segments and codes that stand outside of governance/.

A rule that stands as it was keeps nobody out any more where the rows that it reads are others: another table, an entity's `where`
that drops the refusals, a relation over another column. So a change of these is shown like one of the rule.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from cdp.project.project import Project
from cdp.project.terms import ColumnRef, InSql, Link, SqlValue
from cdp.project.terms.parts import rests_on
from cdp.spec.model import Column, Entity

# What of an entity decides which rows there are, what tells them apart, and when they count.
ROWS: Final = ("table", "from_", "group_by", "sql", "key", "time", "where", "future")
SAID: Final = frozenset({"cls", "may_hold", "contact_of", "free_text", "description"})  # what a column tells: compared for every column


class Changed(NamedTuple):
    """One thing that rules read in another way: where it stands, and what it was."""

    kind: str
    name: str
    path: tuple[str | int, ...]
    what: str
    before: Any
    after: Any


def changed(old: Project, new: Project) -> Iterator[Changed]:
    """Everything that the rules about people and special rows read in another way, though they are written as they were.

    Args:
        old: the project before.
        new: the project as it stands.
    """
    was, now = _Rests(old), _Rests(new)
    found = [each for name in sorted(was.entities & new.entities.keys()) for each in _entity(old, new, name, was.links | now.links)]
    yield from found
    said = {each.path[1] if each.path[0] == "relations" else each.name for each in found}
    for rule, place in now.rules.items():
        if rule not in was.rules or was.meaning(rule) == now.meaning(rule):
            continue
        if not said & (was.read_by(rule) | now.read_by(rule)):  # what stands in an entity has been said there
            kind, name, path = place
            yield Changed(kind, name, path, f"{rule[0]} {rule[1]} reads something else", "as before", "by what it names")


def _entity(old: Project, new: Project, name: str, links: frozenset[str]) -> Iterator[Changed]:
    before, after = old.entities[name], new.entities[name]
    for field in ROWS:
        was, now = getattr(before, field), getattr(after, field)
        if was != now and not (field == "table" and was.lower() == now.lower()):
            key = Entity.model_fields[field].alias or field
            yield Changed("entity", name, (key,), f"entity {name}, on which rules about people rest, has another `{key}`", was, now)
    for column, spec in after.columns.items():
        if column in before.columns and (was := _read(before.columns[column])) != (now := _read(spec)):
            apart = sorted(key for key in {*was, *now} if was.get(key) != now.get(key))
            what = f"column {name}.{column}, on which rules about people may rest, is read in another way"
            yield Changed("entity", name, ("columns", column), what, *({key: each.get(key) for key in apart} for each in (was, now)))
    for relation, leads in after.relations.items():
        if relation in links and relation in before.relations and (led := before.relations[relation]) != leads:
            what = f"relation {name}.{relation}, on which rules about people rest, leads to another place"
            yield Changed("entity", name, ("relations", relation), what, led, leads)


def _read(column: Column) -> dict[str, Any]:
    return column.model_dump(mode="json", exclude=set(SAID), exclude_defaults=True)


Rule = tuple[str, str, str]  # what kind of rule, its name, what it says


class _Rests:
    """The rules of one project, and all that they read."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.terms: dict[Rule, object] = {}
        self.rules: dict[Rule, tuple[str, str, tuple[str | int, ...]]] = {}
        self._parts: dict[Rule, tuple[object, ...]] = {}
        for rule, place, term in (*self._people(), *self._special()):
            self.terms[rule], self.rules[rule] = term, place
        every = [part for rule in self.terms for part in self.parts(rule)]
        consent = project.policy.consent
        people = {entity for entity, _ in project.bound.rules} | ({consent.entity} if consent else set())
        self.entities = frozenset(_entities(every) | people)
        self.links = frozenset(part.name for part in every if isinstance(part, Link) and part.name)

    def _people(self) -> Iterator[tuple[Rule, tuple[str, str, tuple[str | int, ...]], object]]:
        for entity, eligibility in self.project.policy.eligibility.items():
            for number, rule in enumerate(eligibility.rules):
                if (term := self.project.bound.rules.get((entity, rule.name))) is not None:
                    said = _text([entity, *(getattr(rule, field) for field in ("when", "unless", "replace_contact"))])
                    yield ("eligibility rule", rule.name, said), ("eligibility", entity, ("rules", number)), term

    def _special(self) -> Iterator[tuple[Rule, tuple[str, str, tuple[str | int, ...]], object]]:
        for (number, entity), term in self.project.bound.special.items():
            rule = self.project.policy.rows[number]
            yield ("row rule", f"{rule.cls} of {entity}", _text(rule.where)), ("rows", "rows", ("rules", number)), term

    def parts(self, rule: Rule) -> tuple[object, ...]:
        """All that a rule rests on."""
        if rule not in self._parts:
            self._parts[rule] = tuple(rests_on(self.terms[rule], self.project))
        return self._parts[rule]

    def read_by(self, rule: Rule) -> set[str]:
        """The entities that a rule reads, and the relations that lead to them."""
        return _entities(self.parts(rule)) | {part.name for part in self.parts(rule) if isinstance(part, Link)}

    def meaning(self, rule: Rule) -> tuple[object, ...]:
        """What a rule comes to: its parts, and the text of each SELECT among them."""
        project, texts = self.project, list[str | None]()
        for part in self.parts(rule):
            if isinstance(part, InSql):
                texts.append(project.segments[part.segment].sql)
            elif isinstance(part, SqlValue):
                texts.append(project.traits[part.trait].sql)
        return (*self.parts(rule), *texts)


def _entities(parts: Iterable[object]) -> set[str]:
    return {part.entity for part in parts if isinstance(part, Link | ColumnRef)}


def _text(value: Any) -> str:
    """What stands in a document, as one text."""
    return json.dumps(value, sort_keys=True, default=_plain)


def _plain(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if dump else dict(value) if isinstance(value, Mapping) else str(value)
