"""References and names of traits, segments and value sets."""

from __future__ import annotations

from cdp.project.index import Index
from cdp.project.project import Project
from cdp.project.source import Document
from cdp.spec.model import Segment, Trait


def check(project: Project, index: Index) -> None:
    """Report what is wrong with what is asked of entities."""
    for name, trait in project.traits.items():
        _trait(trait, index.sources["trait", name], project, index)
    for name, segment in project.segments.items():
        _segment(segment, index.sources["segment", name], index)
    for name, value_set in project.value_sets.items():
        index.named(index.sources["value_set", name], ("name",), value_set.name, "value set")


def _trait(trait: Trait, document: Document, project: Project, index: Index) -> None:
    index.named(document, ("name",), trait.name, "trait", reserved=True)
    index.refer(document, ("entity",), trait.entity, index.names("entity"), "entity")
    entity = project.entities.get(trait.entity)
    for part in ("columns", "relations"):
        if entity is not None and trait.name in getattr(entity, part):
            source = index.sources["entity", entity.name]
            line, col = source.position((part, trait.name), key=True)
            message = f"trait {trait.name!r} has the name of a {part[:-1]} of {entity.name} ({source.file}:{line}:{col})"
            index.problems.add(document, ("name",), message, hint="rename one")


def _segment(segment: Segment, document: Document, index: Index) -> None:
    index.named(document, ("name",), segment.name, "segment")
    index.refer(document, ("entity",), segment.entity, index.names("entity"), "entity")
    index.refer(document, ("purpose",), segment.purpose, index.inside("purposes", "purposes"), "purpose")
    for name in segment.params:
        index.named(document, ("params", name), name, "parameter", key=True)
    if not segment.owner.strip():
        index.problems.add(document, ("owner",), "must say who answers for this segment")
