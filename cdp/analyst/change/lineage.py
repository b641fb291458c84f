"""Who depends on whom in a project: the parts that it declares, and the parts that each of them rests on.

A part is (kind, name): a document, or an entry of a policy that has entries of its own (a mask, a purpose, the review of
a value set), or a key of conf/cdp.yml. Names are looked for as words wherever a model may write one, so a name that two
kinds share counts for both: what is said to depend may be too much, never too little.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final

from cdp.project.project import Project
from cdp.project.source import Document
from cdp.project.terms import ColumnRef, Link
from cdp.project.terms.models import SqlModel
from cdp.spec.activation import Sync
from cdp.spec.base import Tree

Part = tuple[str, str]
Uses = Mapping[Part, frozenset[Part]]

ENTRIES: Final = {"masks": ("masks", "mask"), "purposes": ("purposes", "purpose"), "value_sets": ("value_sets", "review")}
MEANING: Final = ("timezone", "periods", "code_systems", "units")  # the keys of conf/cdp.yml that say what a model means

_NAMED: Final = ("segment", "trait", "value_set")  # what conditions, expressions and SQL call by name
_PROSE: Final = frozenset({"name", "description", "owner", "purpose", "tests"})
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def parts(part: Part, document: Document) -> dict[Part, Tree]:
    """What a document declares, and the tree of each."""
    kind, _ = part
    if kind == "project":
        return {(kind, key): tree for key, tree in document.tree.items()}
    key, entry = ENTRIES.get(kind, ("", ""))
    trees = document.tree.get(key)
    return {(entry, name): tree for name, tree in trees.items()} if isinstance(trees, dict) else {part: document.tree}


def uses(project: Project) -> Uses:
    """What each part of a project rests on directly."""
    return _Finder.of(project).all()


def inverse(uses: Uses) -> Uses:
    """What rests on each part directly."""
    users: dict[Part, set[Part]] = {}
    for part, used in uses.items():
        for each in used:
            users.setdefault(each, set()).add(part)
    return {part: frozenset(found) for part, found in users.items()}


def reached(edges: Uses, *start: Part) -> frozenset[Part]:
    """The parts that edges lead to from some parts, in one step or several; not these parts themselves."""
    found, waiting = set(start), list(start)
    while waiting:
        new = edges.get(waiting.pop(), frozenset()) - found
        found |= new
        waiting += new
    return frozenset(found) - {*start}


@dataclass(frozen=True, slots=True)
class _Finder:
    """One pass over a project; `named` are the names that a word may mean."""

    project: Project
    named: Mapping[str, tuple[Part, ...]]

    @classmethod
    def of(cls, project: Project) -> _Finder:
        declared = {"segment": project.segments, "trait": project.traits, "value_set": project.value_sets}
        named: dict[str, tuple[Part, ...]] = {}
        for kind in _NAMED:
            for name in declared[kind]:
                named[name] = (*named.get(name, ()), (kind, name))
        return cls(project, named)

    def all(self) -> dict[Part, frozenset[Part]]:
        project, bound = self.project, self.project.bound
        found: dict[Part, set[Part]] = {}
        for name, segment in project.segments.items():
            found["segment", name] = self._model("segment", name, segment.entity, bound.segments.get(name))
        for name, trait in project.traits.items():
            found["trait", name] = self._model("trait", name, trait.entity, bound.traits.get(name))
        # FHIR files name each other by URL, wherever they stand: each of them may be a part of each.
        fhir = {("value_set", name) for name, each in project.value_sets.items() if (each.file or "").lower().endswith(".json")}
        for name in project.value_sets:
            others = fhir if ("value_set", name) in fhir else set()
            found["value_set", name] = {*self._words("value_set", name), *others, ("review", name), ("project", "code_systems")}
        for name in project.entities:
            terms = (bound.entities.get(name), bound.derived.get(name), bound.sql.get(("entity", name)))
            found["entity", name] = self._model("entity", name, name, terms)
        for name, sync in project.syncs.items():
            found["sync", name] = self._sync(name, sync)
        for name, destination in project.destinations.items():
            found["destination", name] = {("baa", destination.baa)} if destination.baa else set()
        found["project", "units"] = {*_parts_of(project.sources["project", "project"].tree.get("units"), self.named)}
        self._policy(found)
        return {part: frozenset(used - {part}) for part, used in found.items()}

    def _model(self, kind: str, name: str, entity: str, term: object) -> set[Part]:
        written = self.project.bound.sql.get((kind, name))
        meant = {("project", key) for key in MEANING}
        return {("entity", entity), *meant, *self._words(kind, name), *_read(term), *_read(written)}

    def _sync(self, name: str, sync: Sync) -> set[Part]:
        bound = self.project.bound
        outputs = [term for (of, _), term in bound.outputs.items() if of == name]
        segment = self.project.segments.get(sync.segment)
        masks = {("mask", output.mask) for output in (*sync.key.values(), *sync.mappings.values()) if output.mask}
        policy = {(kind, kind) for kind in ("classes", "consent", "declassify")}
        entity = {("eligibility", segment.entity), ("entity", segment.entity)} if segment else set()
        named = {("segment", sync.segment), ("destination", sync.destination), ("purpose", sync.purpose)}
        ranked = (bound.one_per.get(name), bound.prefer.get(name))
        return named | masks | policy | entity | {*self._words("sync", name), *_read(outputs), *_read(ranked)}

    def _policy(self, found: dict[Part, set[Part]]) -> None:
        policy, bound = self.project.policy, self.project.bound
        for entity, eligibility in policy.eligibility.items():
            rules = [bound.rules.get((entity, rule.name)) for rule in eligibility.rules]
            found["eligibility", entity] = self._model("eligibility", entity, entity, rules)
        if policy.consent:
            found["consent", "consent"] = {("entity", policy.consent.entity)}

    def _words(self, kind: str, name: str) -> Iterator[Part]:
        """The models that a document names."""
        document = self.project.sources.get((kind, name))
        for key, tree in document.tree.items() if document else ():
            if key not in _PROSE:
                yield from _parts_of(tree, self.named)


def _parts_of(tree: Tree, named: Mapping[str, tuple[Part, ...]]) -> Iterator[Part]:
    for word in _words(tree):
        yield from named.get(word, ())


def _words(tree: Tree) -> Iterator[str]:
    if isinstance(tree, str):
        yield from _WORD.findall(tree)
    elif isinstance(tree, list):
        for item in tree:
            yield from _words(item)
    elif isinstance(tree, dict):
        for key, item in tree.items():
            yield from _WORD.findall(key)
            yield from _words(item)


def _read(term: Any) -> set[Part]:
    """The entities that a term reads, and the models that an SQL of the author names."""
    found: set[Part] = set()
    waiting = [term]
    while waiting:
        each = waiting.pop()
        if isinstance(each, tuple | list):
            waiting += each
        elif isinstance(each, SqlModel):
            found |= {("entity", name) for name in each.entities}
            found |= {("segment", name) for name in each.segments} | {("trait", name) for name in each.traits}
        elif is_dataclass(each):
            if isinstance(each, Link | ColumnRef):
                found.add(("entity", each.entity))
            waiting += [getattr(each, part.name) for part in fields(each)]
    return found
