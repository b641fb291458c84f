"""Binding: every name of every condition, trait, rule and mapping resolved and typed, every mistake reported.

The compiler reads only what comes out of here, so it has no mistakes of the author to handle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cdp.project import conditions, measures, names
from cdp.project.bound import Bound
from cdp.project.terms import (
    ColumnRef,
    Condition,
    ConsentMissing,
    Constant,
    Every,
    Exists,
    Formula,
    InSegment,
    Measure,
    Negation,
    Operand,
    Output,
    Picked,
    Some,
)
from cdp.spec.model import VERBS, Entity

if TYPE_CHECKING:
    from cdp.project.load import Project
    from cdp.project.problems import Problems
    from cdp.project.source import Document
    from cdp.spec.activation import Output as OutputSpec

Path = tuple[str | int, ...]
DEEPEST = 32  # segments inside of segments, traits that rest on traits
MOST = 1_000  # segments that one is, where a segment that is used twice counts twice
LONGEST = 1_000  # characters of an SQL expression in a mapping


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a document binding is, and the words that depend on the project rather than on the entity."""

    problems: Problems
    document: Document
    path: Path
    periods: tuple[str, ...] = ()

    def child(self, *keys: str | int) -> Place:
        """A place further inside."""
        return Place(self.problems, self.document, (*self.path, *keys), self.periods)

    def wrong(self, message: str, *, value: str | None = None, valid: Iterable[str] = (), hint: str = "", key: bool = False) -> None:
        """Report a problem here. Returns None, so that `return at.wrong(...)` ends a binding."""
        self.problems.add(self.document, self.path, message, value=value, valid=valid, hint=hint, key=key)


@dataclass
class Binder:
    """One pass over a project. Traits are bound when first met, so that they may use each other."""

    project: Project
    problems: Problems
    _traits: dict[str, Measure | None] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)
    _by_entity: dict[str, tuple[str, ...]] = field(default_factory=dict)

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
        for name, others in self.project.config.code_systems.items():
            if system == name or system in others:
                return (name, *others)
        return (system,)

    def unit_names(self, unit: str) -> tuple[str, ...]:
        """A unit under all of its names."""
        for name, spec in self.project.config.units.items():
            if unit == name or unit in spec.same_as:
                return (name, *spec.same_as)
        return (unit,)

    def trait(self, name: str, at: Place) -> Measure | None:
        """The measure of a trait; None after a problem was reported, there or here."""
        if name in self._traits:
            return self._traits[name]
        if name in self._open:
            return at.wrong(f"traits in a circle: {' -> '.join([*self._open[self._open.index(name) :], name])}")
        if len(self._open) == DEEPEST:
            return at.wrong(f"traits that rest on traits, more than {DEEPEST} deep")
        self._open.append(name)
        self._traits[name] = self._bind_trait(name)
        self._open.pop()
        return self._traits[name]

    def _bind_trait(self, name: str) -> Measure | None:
        trait = self.project.traits[name]
        entity = self.project.entities.get(trait.entity)
        place = self.place("trait", name)
        tree = {key: value for key in (*VERBS, *measures.MODIFIERS) if (value := getattr(trait, key, None)) is not None}
        verbs = [verb for verb in VERBS if verb in tree]
        if entity is None or len(verbs) != 1:
            return None  # reported by the loader
        if verbs[0] in ("has", "lacks"):
            hint = "make it a segment, or use count"
            return place.child(verbs[0]).wrong(f"`{verbs[0]}` is a condition, not a value", hint=hint, key=True)
        return measures.measure(self, verbs[0], tree, entity, place)

    def condition(self, tree: Any, entity: Entity | None, at: Place) -> Condition | None:
        """A condition on an entity; None after a problem was reported."""
        return conditions.condition(self, tree, entity, at) if entity else None


def bind(project: Project, problems: Problems) -> Bound:
    """Bind the whole project.

    Args:
        project: loaded, its documents valid one by one; names may dangle (reported by the loader, skipped here).
        problems: what is wrong is added here, with its place.

    Returns:
        Every term that could be bound.
    """
    binder = Binder(project, problems)
    entities: dict[str, Condition | None] = {}
    for name, entity in project.entities.items():
        at = binder.place("entity", name, "where")
        entities[name] = _own_where(binder, entity, at) if entity.where is not None else None
    segments = {}
    for name, segment in project.segments.items():
        term = binder.condition(segment.where, project.entities.get(segment.entity), binder.place("segment", name, "where"))
        if term is not None:
            segments[name] = term
    _refuse_cycles(binder, segments)
    traits = {name: measure for name in project.traits if (measure := binder.trait(name, binder.place("trait", name))) is not None}
    return Bound(entities, segments, traits, _rules(binder), _outputs(binder))


def _own_where(binder: Binder, entity: Entity, at: Place) -> Condition | None:
    """An entity's own `where` holds wherever its table is read, so it can only look at the row itself."""
    term = binder.condition(entity.where, entity, at)
    if term is not None and not _plain(term):
        return at.wrong("an entity's own `where` tests its own columns", hint="put measures, paths and segments into a segment")
    return term


def _plain(term: Condition) -> bool:
    if isinstance(term, (Every, Some)):
        return all(_plain(part) for part in term.of)
    if isinstance(term, Negation):
        return _plain(term.of)
    operand = getattr(term, "operand", getattr(term, "birth_date", None))
    return isinstance(operand, ColumnRef) and not operand.hops


def _rules(binder: Binder) -> dict[tuple[str, str], Condition | ConsentMissing]:
    bound: dict[tuple[str, str], Condition | ConsentMissing] = {}
    for name, eligibility in binder.project.policy.eligibility.items():
        for index, rule in enumerate(eligibility.rules):
            at = binder.place("eligibility", name, "rules", index, "when")
            term = _rule(binder, rule.when, binder.project.entities.get(name), at)
            if term is not None:
                bound[name, rule.name] = term
            if rule.unknown and not (term is None or isinstance(term, ConsentMissing) or _plain(term)):
                at.wrong("`unknown: keep_out` needs a test of the person's own columns", hint="a measure or path is never unknown")
    return bound


def _rule(binder: Binder, tree: Any, entity: Entity | None, at: Place) -> Condition | ConsentMissing | None:
    """A rule's condition; `{consent: missing}` stands for what the sync's purpose and channel ask."""
    if not (isinstance(tree, dict) and "consent" in tree and entity is not None and "consent" not in names.names_of(binder, entity)):
        return binder.condition(tree, entity, at)
    if len(tree) > 1 or tree["consent"] != "missing":
        return at.wrong("consent is a rule of its own: `when: {consent: missing}`", hint="make two rules of it")
    return ConsentMissing()


def _outputs(binder: Binder) -> dict[tuple[str, str], Output]:
    bound: dict[tuple[str, str], Output] = {}
    for name, sync in binder.project.syncs.items():
        segment = binder.project.segments.get(sync.segment)
        entity = binder.project.entities.get(segment.entity) if segment else None
        if entity is None:
            continue
        for part, fields in (("key", sync.key), ("mappings", sync.mappings)):
            for field_name, spec in fields.items():
                output = _output(binder, spec, entity, binder.place("sync", name, part, field_name))
                if output is not None:
                    bound[name, field_name] = output
    return bound


def _output(binder: Binder, spec: OutputSpec, entity: Entity, at: Place) -> Output | None:
    if spec.constant is not None:
        return Constant(spec.constant)
    if spec.expr is not None:
        return _formula(binder, spec.expr, entity, at.child("expr"))
    return _value(binder, spec.of, entity, at) if spec.of else None


def _value(binder: Binder, path: str, entity: Entity, at: Place) -> Operand | None:
    operand = names.operand(binder, path, entity, at)
    if operand is not None and names.type_of(operand) is None:
        return at.wrong(f"{path} is a whole row", hint=f"name a column of it: {path}.COLUMN")
    return operand


def _formula(binder: Binder, text: str, entity: Entity, at: Place) -> Formula | None:
    import sqlglot
    from sqlglot import exp

    if len(text) > LONGEST:
        return at.wrong(f"an expression of more than {LONGEST} characters")
    try:
        statements = sqlglot.parse(text, dialect="spark")
    except (sqlglot.errors.SqlglotError, RecursionError):
        return at.wrong("not an SQL expression", hint="such as concat(given_name, ' ', family_name)")
    tree = statements[0] if len(statements) == 1 else None
    if (
        tree is None
        or isinstance(tree, exp.Query)
        or not isinstance(tree, exp.Condition)
        or tree.find(exp.Query, exp.AggFunc, exp.Window, exp.Placeholder)
    ):
        return at.wrong("an expression over columns and traits of one row is expected", hint="no SELECT, aggregate or window")
    operands = {}
    for column in tree.find_all(exp.Column):
        path = ".".join(part.name for part in column.parts)
        operand = _value(binder, path, entity, at)
        if operand is None:
            return None
        operands[path] = operand
    return Formula(tree, tuple(operands.items()))


# -- segments in segments -------------------------------------------------------------------------------------------


def segments_of(term: Condition | None) -> list[str]:
    """The segments that a condition names, those inside of measures too."""
    if isinstance(term, InSegment):
        return [term.name]
    if isinstance(term, (Every, Some)):
        return [name for part in term.of for name in segments_of(part)]
    if isinstance(term, Negation):
        return segments_of(term.of)
    asked = term.measure if isinstance(term, Exists) else getattr(term, "operand", None)
    asked = asked.measure if isinstance(asked, Picked) else asked
    return segments_of(asked.where) if isinstance(asked, Measure) else []


def _refuse_cycles(binder: Binder, segments: Mapping[str, Condition]) -> None:
    """Report circles, and segments that spelled out are too deep or too long for an engine."""
    uses = {name: segments_of(term) for name, term in segments.items()}
    sizes: dict[str, tuple[int, int]] = {}  # how deep it is, and how many segments it is spelled out

    def wrong(name: str, message: str) -> tuple[int, int]:
        binder.place("segment", name, "where").wrong(message)
        return 0, 1  # said once, not again of each segment that uses it

    def visit(name: str, trail: list[str]) -> tuple[int, int]:
        if name in sizes:
            return sizes[name]
        if name in trail:
            return wrong(name, f"segments in a circle: {' -> '.join([*trail[trail.index(name) :], name])}")
        deep, long = 0, 1
        if len(trail) <= DEEPEST:
            inner = [visit(used, [*trail, name]) for used in uses.get(name, ())]
            deep, long = max((d + 1 for d, _ in inner), default=0), 1 + sum(n for _, n in inner)
        if deep > DEEPEST or len(trail) > DEEPEST:
            deep, long = wrong(name, f"segments inside of segments, more than {DEEPEST} deep")
        elif long > MOST:
            deep, long = wrong(name, f"spelled out it is {long} segments, more than {MOST}")
        sizes[name] = deep, long
        return sizes[name]

    for name in uses:
        visit(name, [])
