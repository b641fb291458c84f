"""Why one person is in a segment or not: a verdict on every condition, the rows behind it, what was missing, and what changes it.

The verdicts are columns of one statement that the segment's own conditions are compiled to, for this one key. The key stands in
no message, no log and no text of a query.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cdp.analyst.explore import verdicts
from cdp.analyst.explore.evidence import Evidence, gather
from cdp.analyst.explore.horizon import Subject, Turn, next_turn
from cdp.analyst.explore.misses import Miss, misses, positive
from cdp.analyst.explore.related import inside, measures
from cdp.analyst.explore.rows import WHOLE, Partial, Source
from cdp.analyst.explore.sight import Sight
from cdp.analyst.explore.verdicts import Node
from cdp.compile import sql
from cdp.compile.clock import Clock
from cdp.compile.statement import Statement, compile_segment
from cdp.engine.base import Engine
from cdp.errors import UsageError
from cdp.project.load import Project
from cdp.project.terms import ColumnRef, CompareTo, Condition, Every, Measure, Negation, Operand, Picked, Satisfies, Tally
from cdp.project.terms.describe import describe
from cdp.project.terms.types import type_of
from cdp.spec.model import Entity


@dataclass(frozen=True, slots=True)
class Value:
    """A value that a condition asks; `hidden` holds the classes that the role does not see."""

    label: str
    value: object = None
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """What there is to tell of a condition.

    Attributes:
        decides: whether the verdict on the whole would be another one if this verdict were.
        misses: why the condition, or what it negates, does not hold.
    """

    node: Node
    holds: bool
    decides: bool
    values: tuple[Value, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    misses: tuple[Miss, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a person is in a segment or not.

    Attributes:
        turn: the day on which the person enters or leaves if nothing new is recorded, and how far was looked.
        partial: what of the tables the role does not read, so that it does not count here.
    """

    segment: str
    entity: str
    clock: Clock
    role: str
    member: bool
    tree: tuple[Told, ...]
    turn: Turn
    partial: Partial = WHOLE


def subject(entity: Entity, key: str) -> Subject:
    """The row of a key that a person typed.

    Raises:
        UsageError: the entity has no single key, or keys of another type.
    """
    if not entity.key:
        raise UsageError(f"{entity.name} has no key of one column", fix="explain a segment of an entity that has one")
    kind = entity.columns[entity.key].type
    if kind == "integer":
        if not key.lstrip("-").isdigit():
            raise UsageError(f"the key of {entity.name} is a whole number", fix="look it up again")
        return Subject(entity, sql.private(sql.number(int(key))))
    if kind not in ("string", "code"):
        raise UsageError(f"the key of {entity.name} is a {kind}, which cannot be typed", fix="explain by a key of text or number")
    return Subject(entity, sql.private(sql.string(key)))


def explain(project: Project, engine: Engine, segment: str, key: str, *, clock: Clock, sight: Sight) -> Explanation:
    """Explain.

    Args:
        project: as loaded.
        engine: over the lakehouse.
        segment: the segment's name.
        key: the person's.
        clock: the moment that the segment is computed for.
        sight: who looks, and may know of single people what membership tells.

    Raises:
        UsageError: no row has this key, or the segment is a template.
        RefusedError: the role may not know of single people that they are in this segment.
    """
    spec = project.segments[segment]
    if spec.params:
        raise UsageError(f"segment {segment} is a template", fix="explain a segment that fills it in")
    query = compile_segment(project, segment, clock)
    sight.members(query.select, f"segment {segment}")
    who = subject(project.entities[spec.entity], key)
    term = project.bound.segments[segment]
    asking = _Asking(project, who, clock, verdicts.nodes(term, project))
    source = sight.through(engine)
    row = asking.row(source)
    if row is None:
        raise UsageError(f"there is no {who.entity.name} with this key", fix="check the key; rows later than --as-of do not exist")
    tree = asking.told(source, sight, row)
    turn = next_turn(project, source, term, who, clock=clock, now=tree[0].holds)
    return Explanation(segment, who.entity.name, clock, sight.name, tree[0].holds, tree, turn, source.reach.partial(query.tables))


class _Asking:
    """The one statement that judges a person: a column for each verdict, each value, and each key to related rows."""

    def __init__(self, project: Project, who: Subject, clock: Clock, nodes: Sequence[Node]) -> None:
        self.project, self.who, self.clock, self.nodes = project, who, clock, nodes
        self.values: dict[Operand, str] = {}
        self.ways: dict[Measure, tuple[str, ...]] = {}
        self.statement = Statement(project, who.entity, clock)
        self.statement.keep(sql.equal(self.statement.key(), who.key))
        verdicts.ask(self.statement, nodes, clock)
        for node in nodes:
            for operand in operands(node) if node.kind == "test" else ():
                self.values.setdefault(operand, f"value_{len(self.values) + 1}")
            for measure in _measures(node, nodes):
                self._way(measure)
        for operand, name in self.values.items():
            self.statement.column(name, self.statement.output(operand, ""))

    def _way(self, measure: Measure) -> None:
        """Columns for the values by which a measure's related rows are found."""
        if measure in self.ways:
            return
        source = self.project.entities[measure.hops[-1].entity] if measure.hops else self.who.entity
        names = tuple(f"way_{len(self.ways) + 1}_{number}" for number, _ in enumerate(measure.link.on))
        self.ways[measure] = names
        for name, (_, mine) in zip(names, measure.link.on, strict=True):
            kind = source.columns[mine].type if mine in source.columns else "string"
            self.statement.column(name, self.statement.output(ColumnRef(measure.hops, source.name, mine, kind), ""))

    def row(self, engine: Source) -> Mapping[str, object] | None:
        """What the statement says of the person; None if there is no such row."""
        query = self.statement.query("explain")
        engine.register(query.tables)
        found = engine.query(query.select, what="the explanation").to_pylist()
        return found[0] if found else None

    def told(self, engine: Source, sight: Sight, row: Mapping[str, object]) -> tuple[Told, ...]:
        """What there is to tell of each node."""
        judged = verdicts.read(self.nodes, row)
        decisive = verdicts.decisive(self.nodes, judged)
        asked = {measure: [row[name] for name in names] for measure, names in self.ways.items()}
        rows = gather(self.project, engine, self.who.entity.name, asked, clock=self.clock, sight=sight)
        hidden = self._hidden(sight)
        found = []
        for node in self.nodes:
            told = Told(node, judged[node.path], node.path in decisive)
            if node.kind == "test":
                values = {operand: Value(describe(operand, self.project), row[self.values[operand]]) for operand in operands(node)}
                shown = {o: replace(v, value=None, hidden=hidden[o]) if hidden[o] else v for o, v in values.items()}
                evidence = tuple(rows[measure] for measure in _measures(node, self.nodes))
                told = replace(told, values=tuple(shown.values()), evidence=evidence)
                told = replace(told, misses=self._misses(told, shown))
            found.append(told)
        return tuple(found)

    def _misses(self, told: Told, values: Mapping[Operand, Value]) -> tuple[Miss, ...]:
        term, turned = positive(told.node.term)
        if told.holds != turned:
            return ()
        seen = [(operand, value.value) for operand, value in values.items() if not value.hidden]
        return misses(term, seen, told.evidence, self.project, self.clock)

    def _hidden(self, sight: Sight) -> dict[Operand, tuple[str, ...]]:
        """Of each value, the classes that the role does not see; how many there are of something is part of the verdict."""
        if not self.values:
            return {}
        statement = Statement(self.project, self.who.entity, self.clock)
        for operand, name in self.values.items():
            statement.column(name, statement.output(operand))
        hidden = sight.hidden(statement.query("values").select)
        return {
            operand: () if isinstance(operand, Measure) and operand.verb == "count" else hidden[name]
            for operand, name in self.values.items()
        }


def operands(node: Node) -> tuple[Operand, ...]:
    """The values that a test compares; of a picked row those of its columns that it looks at."""
    return tuple(dict.fromkeys(operand for operand in _operands(node.term) if not isinstance(operand, Tally) and _is_value(operand)))


def _is_count(operand: Operand) -> bool:
    return isinstance(operand, Measure) and operand.verb == "count"


def _is_value(operand: Operand) -> bool:
    return type_of(operand) is not None


def _operands(term: Condition) -> Iterator[Operand]:
    match term:
        case Negation(of):
            yield from _operands(of)
        case Every(of):
            yield from (operand for part in of for operand in _operands(part))
        case CompareTo(operand, _, other):
            yield from (operand, other)
        case Satisfies(measure, of):
            columns = (part for part in inside(of) if isinstance(part, ColumnRef) and not part.up)
            yield from (Picked(measure, column) for column in columns)
        case _:
            asked: Operand | None = getattr(term, "operand", None) or getattr(term, "birth_date", None)
            if asked is not None:
                yield asked


def _measures(node: Node, nodes: Sequence[Node]) -> tuple[Measure, ...]:
    """The measures of a test; those of a part of a test stand with the whole."""
    if node.kind != "test" or any(other.kind == "test" and other.path == node.path[:-1] for other in nodes if node.path):
        return ()
    return tuple(dict.fromkeys(measures(node.term)))
