"""The names of a project, as an editor offers them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from cdp.catalog.language import COVERED, NAME, PATH, Scope
from cdp.project.project import Project
from cdp.spec.model import VERBS, Column, Entity, Trait

# What a document may refer to by name, and how such a name is written.
NAMED: Final[Mapping[str, str]] = {
    "entity": NAME,
    "value_set": NAME,
    "trait": NAME,
    "segment": NAME,
    "destination": NAME,
    "purpose": NAME,
    "agreement": NAME,
    "mask": NAME,
    "class": r"^(\*|[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*)$",
    "system": r"^\S.*$",
    "period": PATH,
    "operand": PATH,
}
CALENDAR: Final = (
    "today",
    "yesterday",
    "tomorrow",
    *(f"{which}_{span}" for which in ("this", "last", "next") for span in ("week", "month", "quarter", "year")),
)


@dataclass(frozen=True, slots=True)
class Known:
    """What a project declares.

    Attributes:
        names: by what they name, a key of `NAMED`.
        scopes: by entity, the names that a condition on it may begin with.
    """

    names: Mapping[str, tuple[str, ...]]
    scopes: Mapping[str, Scope]

    @classmethod
    def of(cls, project: Project) -> Known:
        """The names of a project."""
        policy, config = project.policy, project.config
        scopes = {name: Scope(name, dict(_operands(project, entity))) for name, entity in project.entities.items()}
        linked = {name: Scope(name, scope.operands, _relations(project.entities[name], scopes)) for name, scope in scopes.items()}
        subjects = {segment.entity for segment in project.segments.values()}
        names = {
            "entity": project.entities,
            "value_set": project.value_sets,
            "trait": project.traits,
            "segment": project.segments,
            "destination": project.destinations,
            "purpose": policy.purposes,
            "agreement": policy.agreements,
            "mask": policy.masks,
            "class": policy.classes,
            "system": config.code_systems,
            "period": [*config.periods, *CALENDAR],
            "operand": {name for entity in subjects if entity in linked for name in linked[entity].operands},
        }
        return cls({what: tuple(sorted(found)) for what, found in names.items()}, linked)


def _relations(entity: Entity, scopes: Mapping[str, Scope]) -> dict[str, Scope]:
    """Each relation with the scope of the entity that it leads to. The relations of that one are not known there."""
    targets = {name: relation.one or relation.many or "" for name, relation in entity.relations.items()}
    return {name: scopes[target] for name, target in targets.items() if target in scopes}


def _operands(project: Project, entity: Entity) -> Iterator[tuple[str, str]]:
    """Columns, age, traits with their fields, and the columns of to-one relations; each with a line about it."""
    yield from _columns(entity)
    if any(column.role == "birth_date" for column in entity.columns.values()):
        yield "age", "Completed years on as_of, or on `at`."
    for trait in project.traits.values():
        if trait.entity == entity.name:
            yield from _trait(project, trait, entity)
    for name, relation in entity.relations.items():
        target = project.entities.get(relation.one or "")
        for column, text in _columns(target) if target else ():
            yield f"{name}.{column}", text


def _columns(entity: Entity) -> Iterator[tuple[str, str]]:
    for name in entity.group_by:
        if name not in entity.columns:
            yield name, f"A key of {entity.name}."
    for name, column in entity.columns.items():
        yield name, _about(entity, name, column)
        for field, kind in column.fields.items():
            yield f"{name}.{field}", f"A {kind} inside of {entity.name}.{name}."


def _about(entity: Entity, name: str, column: Column) -> str:
    kind = f"list of {column.type}" if column.array else column.type
    parts = [f"{entity.name}.{name}: {kind}", f"in {column.unit}" if column.unit else "", f"class {column.cls}" if column.cls else ""]
    return ", ".join(part for part in parts if part) + (f". {column.description}" if column.description else "")


def _trait(project: Project, trait: Trait, entity: Entity) -> Iterator[tuple[str, str]]:
    yield trait.name, f"Trait. {trait.description}".strip()
    if trait.of is not None:
        return
    verb = next((word for word in VERBS if getattr(trait, word) is not None), None)
    relation = entity.relations.get(str(getattr(trait, verb))) if verb else None
    target = project.entities.get((relation.many if relation else None) or "")
    if verb == "days_covered":
        yield from ((f"{trait.name}.{field}", f"Of trait {trait.name}.") for field in COVERED)
    elif verb in ("latest", "earliest") and target is not None:
        yield from ((f"{trait.name}.{column}", text) for column, text in _columns(target))
