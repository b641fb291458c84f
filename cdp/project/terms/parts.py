"""Everything that a term is made of, however deep: what it reads, compares and rests on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache

from cdp.project.project import Project
from cdp.project.terms import ColumnRef, InSegment, InSql, Link, SqlValue


def parts(term: object) -> Iterator[object]:
    """The term and every term inside of it, each before its own parts."""
    waiting = [term]
    while waiting:
        part = waiting.pop()
        if isinstance(part, tuple):
            waiting.extend(reversed(part))
        elif names := _fields(type(part)):  # type: ignore[arg-type]  # a type is hashable
            yield part
            waiting.extend(getattr(part, name) for name in reversed(names))


@cache
def _fields(kind: type) -> tuple[str, ...]:
    """The fields of a kind of term; none of what is no term."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()


def rests_on(term: object, project: Project) -> Iterator[object]:
    """The parts of a term, of the segments and derived entities that it uses, and of each entity's own `where`; each once.

    A SELECT is followed to the entities, segments and traits that it names.
    """
    seen: set[object] = set()
    waiting: list[object] = [term]
    while waiting:
        for part in parts(waiting.pop()):
            yield part
            for name, meant in _behind(part, project):
                if name not in seen:
                    seen.add(name)
                    waiting.append(meant)


def _behind(part: object, project: Project) -> Iterator[tuple[object, object]]:
    """What a part stands for, under a name by which it is followed once."""
    bound = project.bound
    if isinstance(part, InSegment):
        if part.name in bound.segments or (part.name, part.given) in bound.templates:  # else it has a mistake of its own
            yield part, bound.segment(part)
    elif isinstance(part, InSql):
        yield from _select("segment", part.segment, project)
    elif isinstance(part, SqlValue):
        yield from _select("trait", part.trait, project)
    elif isinstance(part, (Link, ColumnRef)):
        yield from _entity(part.entity, project)


def _entity(name: str, project: Project) -> Iterator[tuple[object, object]]:
    bound = project.bound
    yield ("where", name), bound.entities.get(name)
    yield ("derived", name), bound.derived.get(name)
    if name in bound.derived:
        yield ("source", name), Link("", bound.derived[name].source, ())
    yield from _select("entity", name, project)


def _select(kind: str, name: str, project: Project) -> Iterator[tuple[object, object]]:
    """What a SELECT names; the entities as links of no relation."""
    model = project.bound.sql.get((kind, name))
    if model is not None:
        yield ("sql", kind, name), tuple(Link("", entity, ()) for entity in model.entities)
        for segment in model.segments:
            yield ("segment", segment), InSegment(segment)
        for trait in model.traits:
            yield ("trait", trait), project.bound.traits[trait]
