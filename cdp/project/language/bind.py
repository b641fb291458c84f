"""Binding: every name of every condition, trait, rule and mapping resolved and typed, every mistake reported.

The compiler reads only what comes out of here, so it has no mistakes of the author to handle.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cdp.project import check_rows
from cdp.project.language import conditions, derived, outputs, rules, traits
from cdp.project.language.scope import Scope, outermost
from cdp.project.lint.circles import DEEPEST, refuse_circles
from cdp.project.lint.lints import warn_of_unused
from cdp.project.lint.open_windows import refuse_open_windows
from cdp.project.sql import statements
from cdp.project.terms import Condition, InSql, Measure, Operand, Output
from cdp.project.terms.bound import Bound, Template
from cdp.project.terms.models import Derived
from cdp.project.terms.uses import Term, plain, segments_of
from cdp.spec.model import Entity

if TYPE_CHECKING:
    from cdp.project.problems import Problems
    from cdp.project.project import Project
    from cdp.project.source import Document

__all__ = ["Binder", "Place", "bind", "segments_of"]

Path = tuple[str | int, ...]
TOO_DEEP = "nested too deeply, together with the traits and templates that it rests on"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a document binding is, and the words that depend on the project rather than on the entity.

    `note` tells from where a template was filled in.
    """

    problems: Problems
    document: Document
    path: Path
    periods: tuple[str, ...] = ()
    note: str = ""

    def child(self, *keys: str | int) -> Place:
        """A place further inside."""
        return Place(self.problems, self.document, (*self.path, *keys), self.periods, self.note)

    def told(self, note: str) -> Place:
        """The same place, whose problems end with a note."""
        return replace(self, note=note)

    def where(self) -> str:
        """File and line."""
        return f"{self.document.file}:{self.document.position(self.path)[0]}"

    def wrong(self, message: str, *, value: str | None = None, valid: Iterable[str] = (), hint: str = "", key: bool = False) -> None:
        """Report a problem here. Returns None, so that `return at.wrong(...)` ends a binding."""
        hint = "; ".join(filter(None, [hint, self.note]))
        self.problems.add(self.document, self.path, message, value=value, valid=valid, hint=hint, key=key)

    def warn(self, message: str, *, hint: str = "", key: bool = False) -> None:
        """Report what is probably a mistake."""
        hint = "; ".join(filter(None, [hint, self.note]))
        self.problems.warn(self.document, self.path, message, hint=hint, key=key)


@dataclass
class Binder:
    """One pass over a project. Traits are bound when first met, so that they may use each other.

    Attributes:
        used: the (kind, name) of value sets, traits and segments that something names.
        templates: the segments with parameters, once for each way in which they are filled in.
        filling: those that are being bound.
        stripped: codes of value sets, with and without the text that some feeds leave out.
        bounded: the measures whose window ends after an event, with their places.
    """

    project: Project
    problems: Problems
    used: set[tuple[str, str]] = field(default_factory=set)
    templates: dict[Template, Condition | None] = field(default_factory=dict)
    filling: list[Template] = field(default_factory=list)
    stripped: dict[tuple[str, str, str], tuple[str, ...]] = field(default_factory=dict)
    bounded: list[tuple[Measure, Place]] = field(default_factory=list)
    _traits: dict[str, Operand | None] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)
    _by_entity: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _systems: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for trait in self.project.traits.values():
            self._by_entity[trait.entity] = (*self._by_entity.get(trait.entity, ()), trait.name)

    @cached_property
    def periods(self) -> tuple[str, ...]:
        """The named spans of days: the project's own and those of the calendar."""
        spans = tuple(f"{which}_{span}" for which in ("this", "last", "next") for span in ("week", "month", "quarter", "year"))
        return (*self.project.config.periods, *spans)

    def place(self, kind: str, name: str, *path: str | int) -> Place:
        """A place in the document that declares something."""
        return Place(self.problems, self.project.sources[kind, name], path, self.periods)

    def traits_of(self, entity: str) -> tuple[str, ...]:
        """The names of an entity's traits."""
        return self._by_entity.get(entity, ())

    def malformed(self, kind: str, name: str) -> bool:
        """Whether a document declares this name but is wrong itself: then its own mistakes are reported, not each use."""
        return (kind, name) in self.project.sources

    def system_names(self, system: str) -> tuple[str, ...]:
        """A code system under all of its names."""
        if system not in self._systems:
            names = ((name, *others) for name, others in self.project.config.code_systems.items() if system == name or system in others)
            self._systems[system] = next(names, (system,))
        return self._systems[system]

    def unit_names(self, unit: str) -> tuple[str, ...]:
        """A unit under all of its names."""
        for name, spec in self.project.config.units.items():
            if unit == name or unit in spec.same_as:
                return (name, *spec.same_as)
        return (unit,)

    def trait(self, name: str, at: Place) -> Operand | None:
        """The value of a trait; None after a problem was reported, there or here."""
        self.used.add(("trait", name))
        if name in self._traits:
            return self._traits[name]
        if name in self._open:
            return at.wrong(f"traits in a circle: {' -> '.join([*self._open[self._open.index(name) :], name])}")
        if len(self._open) == DEEPEST:
            return at.wrong(f"traits that rest on traits, more than {DEEPEST} deep")
        self._open.append(name)
        before = len(self.bounded)
        try:
            found = self._traits[name] = traits.bind_trait(self, self.project.traits[name])
        except RecursionError:
            return at.wrong(TOO_DEEP)
        finally:
            self._open.pop()
        self._over(found, before)
        return found

    def condition(self, tree: Any, entity: Entity | None, at: Place, *, scope: Scope | None = None) -> Condition | None:
        """A condition on an entity, by itself or in a scope; None after a problem was reported."""
        if entity is None:
            return None
        before = len(self.bounded)
        try:
            term = conditions.condition(self, tree, scope or outermost(entity), at)
        except RecursionError:
            return at.wrong(TOO_DEEP)
        self._over(term, before)
        return term

    def _over(self, term: Term | None, before: int) -> None:
        """Look at the windows after events that were met since."""
        if term is not None and len(self.bounded) > before:
            refuse_open_windows(self, term, dict(reversed(self.bounded[before:])))


def bind(project: Project, problems: Problems) -> Bound:
    """Bind the whole project.

    Args:
        project: loaded, its documents valid one by one; names may dangle (reported by the loader, skipped here).
        problems: what is wrong is added here, with its place.

    Returns:
        Every term that could be bound.
    """
    binder = Binder(project, problems)
    entities, made = _entities(binder)
    segments = _segments(binder)
    found = {}
    for name in project.traits:
        used = ("trait", name) in binder.used
        operand = binder.trait(name, binder.place("trait", name))
        if not used:
            binder.used.discard(("trait", name))
        if operand is not None:
            found[name] = operand
    written, filled = rules.bind_rules(binder)
    fields, one_per, prefer = _syncs(binder)
    special = check_rows.bind_rows(binder)
    sql = statements.bound(project, problems)
    refuse_circles(binder, segments, sql)
    if not problems:
        warn_of_unused(binder, sql)
    templates = {key: term for key, term in binder.templates.items() if term is not None}
    return Bound(entities, segments, found, written, fields, templates, made, sql, one_per, prefer, filled, special)


def _entities(binder: Binder) -> tuple[dict[str, Condition | None], dict[str, Derived]]:
    entities: dict[str, Condition | None] = {}
    made: dict[str, Derived] = {}
    for name, entity in binder.project.entities.items():
        entities[name] = None
        if entity.from_ is not None:
            rows = derived.bind_derived(binder, entity)
            if rows is not None:
                made[name] = rows
        elif entity.where is not None:
            entities[name] = _own_where(binder, entity, binder.place("entity", name, "where"))
    return entities, made


def _own_where(binder: Binder, entity: Entity, at: Place) -> Condition | None:
    """An entity's own `where` holds wherever its table is read, so it can only look at the row itself."""
    term = binder.condition(entity.where, entity, at)
    if term is not None and not plain(term):
        return at.wrong("an entity's own `where` tests its own columns", hint="put measures, paths and segments into a segment")
    return term


def _segments(binder: Binder) -> dict[str, Condition]:
    segments: dict[str, Condition] = {}
    for name, segment in binder.project.segments.items():
        if segment.sql is not None:
            segments[name] = InSql(name)
        elif not segment.params:
            term = binder.condition(segment.where, binder.project.entities.get(segment.entity), binder.place("segment", name, "where"))
            if term is not None:
                segments[name] = term
    return segments


def _syncs(
    binder: Binder,
) -> tuple[dict[tuple[str, str], Output], dict[str, Operand], dict[str, tuple[tuple[Operand, bool], ...]]]:
    fields: dict[tuple[str, str], Output] = {}
    one_per: dict[str, Operand] = {}
    prefer: dict[str, tuple[tuple[Operand, bool], ...]] = {}
    for name, sync in binder.project.syncs.items():
        entity = outputs.subject(binder, sync)
        if entity is None:
            continue
        fields.update(outputs.bind_outputs(binder, sync, entity))
        value, order = outputs.bind_one_per(binder, sync, entity), outputs.bind_prefer(binder, sync, entity)
        if value is not None:
            one_per[name], prefer[name] = value, order
    return fields, one_per, prefer
