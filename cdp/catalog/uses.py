"""Who uses what in a project, down to single columns: what a reader of the catalog asks before changing something.

A part is (kind, name); of a column the name is `entity.column`, of an eligibility rule `entity.rule`. Columns, value sets
and segments come from the bound terms, so they are exact. Bound terms do not tell traits, which are spelled out in them:
those are looked for by name where a document can name one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cdp.project.project import Project
from cdp.project.terms import ColumnRef, Constant, Measure
from cdp.project.terms.models import Derived, SqlModel
from cdp.project.terms.uses import segments_of, terms_of, within
from cdp.spec.activation import Sync
from cdp.spec.base import Tree

Part = tuple[str, str]

# Keys whose text names something; the text under every other key is a literal.
_NAMING: Final = frozenset(
    {
        "ref",
        "of",
        "expr",
        "sql",
        "key",
        "mappings",
        "one_per",
        "prefer",
        "same",
        "supply",
        "distinct",
        "before",
        "after",
        "since",
        "until",
        "at",
    }
)
_PROSE: Final = frozenset({"kind", "name", "description", "owner", "purpose", "tests", "entity"})
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Uses:
    """The direct uses of a project's parts, both ways."""

    of: Mapping[Part, frozenset[Part]]
    by: Mapping[Part, frozenset[Part]]

    @classmethod
    def find(cls, project: Project) -> Uses:
        """Look through a project once."""
        of = {part: frozenset(used) - {part} for part, used in _Finder(project).all()}
        by: dict[Part, set[Part]] = defaultdict(set)
        for part, used in of.items():
            for each in used:
                by[each].add(part)
        return cls(of, {part: frozenset(users) for part, users in by.items()})

    def users(self, kind: str, name: str) -> tuple[Part, ...]:
        """Who uses a part directly, in order."""
        return tuple(sorted(self.by.get((kind, name), ())))

    def sources(self, part: Part) -> frozenset[Part]:
        """Where what a part holds comes from directly. A sync uses its destination, but what it holds goes there."""
        found = self.by.get(part, frozenset()) if part[0] == "destination" else self.of.get(part, frozenset())
        return frozenset(each for each in found if each[0] != "destination")

    def around(self, part: Part) -> frozenset[Part]:
        """A part with everything that it comes from, and everything that it goes to."""
        return _reached(self.sources, part) | _reached(self._goes_to, part)

    def _goes_to(self, part: Part) -> frozenset[Part]:
        receivers = frozenset(each for each in self.of.get(part, ()) if each[0] == "destination")
        return receivers | (self.by.get(part, frozenset()) if part[0] != "destination" else frozenset())


def _reached(step: Callable[[Part], frozenset[Part]], start: Part) -> frozenset[Part]:
    found, waiting = {start}, [start]
    while waiting:
        new = step(waiting.pop()) - found
        found |= new
        waiting += new
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class _Finder:
    project: Project

    def all(self) -> Iterator[tuple[Part, set[Part]]]:
        project, bound = self.project, self.project.bound
        for name, entity in project.entities.items():
            derived, own = bound.derived.get(name), bound.entities.get(name)
            terms = [own, *_derived(derived)] if derived else [own]
            linked = {("entity", entity.from_)} if entity.from_ else set()
            yield ("entity", name), linked | self._model("entity", name, terms)
        for name, segment in project.segments.items():
            filled = [term for (template, _), term in bound.templates.items() if template == name]
            yield ("segment", name), {("entity", segment.entity)} | self._model("segment", name, [bound.segments.get(name), *filled])
        for name, trait in project.traits.items():
            yield ("trait", name), {("entity", trait.entity)} | self._model("trait", name, [bound.traits.get(name)])
        for name, value_set in project.value_sets.items():
            yield ("value_set", name), {("value_set", other) for other in (*value_set.include, *value_set.exclude)}
        for name, sync in project.syncs.items():
            yield ("sync", name), self._sync(name, sync)
        for (entity_name, rule), bound_rule in bound.rules.items():
            yield ("rule", f"{entity_name}.{rule}"), self._read(terms_of(bound_rule))

    def _sync(self, name: str, sync: Sync) -> set[Part]:
        bound = self.project.bound
        outputs = [term for (of, _), term in bound.outputs.items() if of == name]
        ranked = [bound.one_per.get(name), *(operand for operand, _ in bound.prefer.get(name, ()))]
        named = {("segment", sync.segment), ("destination", sync.destination)}
        return named | self._model("sync", name, [*outputs, *ranked])

    def _read(self, terms: Iterable[Any]) -> set[Part]:
        """The columns, entities, value sets and segments of terms."""
        found: set[Part] = set()
        for term in terms:
            if term is None or isinstance(term, Constant):
                continue
            found |= {("segment", name) for name in segments_of(term)}
            for part in within(term):
                if isinstance(part, ColumnRef):
                    found |= self._column(part)
                elif isinstance(part, Measure):
                    found |= self._related(part)
                elif named := getattr(part, "named", ""):
                    found.add(("value_set", named))
        return found

    def _column(self, column: ColumnRef) -> set[Part]:
        """A column with those that hold its code system and unit."""
        entity = self.project.entities[column.entity]
        spec = entity.columns.get(column.column)
        beside = (spec.system, spec.unit) if spec else ()
        names = (column.column, *(name for name in beside if name in entity.columns))
        return {("entity", column.entity), *(("column", f"{column.entity}.{name}") for name in names)}

    def _related(self, measure: Measure) -> set[Part]:
        """The entity that a measure reads, the columns that join it, and those of its time where it asks for that."""
        name = measure.link.entity
        time = self.project.entities[name].time
        columns = [theirs for theirs, _ in measure.link.on]
        if time is not None and (measure.window is not None or measure.verb in ("latest", "earliest", "days_covered", "list")):
            columns += [time] if isinstance(time, str) else [time.start, time.end]
        return {("entity", name), *(("column", f"{name}.{column}") for column in columns)}

    def _model(self, kind: str, name: str, terms: Iterable[Any]) -> set[Part]:
        """What terms read, and the traits that the document names."""
        written = self.project.bound.sql.get((kind, name))
        document = self.project.sources.get((kind, name))
        tree = {key: part for key, part in document.tree.items() if key not in _PROSE} if document else {}
        traits = {("trait", word) for word in _names(tree, naming=False) if word in self.project.traits and ("trait", word) != (kind, name)}
        return self._read(terms) | traits | (_selected(written) if written else set())


def _derived(derived: Derived) -> Iterator[Any]:
    yield derived.where
    for _, column in derived.group:
        yield column
    for _, aggregate in derived.columns:
        yield aggregate.where
        yield aggregate.of


def _selected(model: SqlModel) -> set[Part]:
    kinds = {"entity": model.entities, "segment": model.segments, "trait": model.traits}
    return {(kind, name) for kind, names in kinds.items() for name in names}


def _names(tree: Tree, *, naming: bool) -> Iterator[str]:
    """The words of a tree that can name a trait: keys, and text where a name belongs."""
    if isinstance(tree, dict):
        for key, part in tree.items():
            yield from _WORD.findall(key)
            yield from _names(part, naming=naming or key in _NAMING)
    elif isinstance(tree, list):
        for part in tree:
            yield from _names(part, naming=naming)
    elif naming and isinstance(tree, str):
        yield from _WORD.findall(tree)
