"""Cases kept apart: the members of many tests stand in the same tables, and none may see another's rows.

Every table gets a column that says which case a row is of, and every relation leads only to rows of the same case. Then the
project is bound again, so that what is run is what the compiler makes of the author's own conditions.
"""

from __future__ import annotations

from dataclasses import replace

from cdp.project.language.bind import bind
from cdp.project.load import Project
from cdp.project.problems import Problems
from cdp.spec.model import Column, Entity, Relation

CASE = "_case"  # no name of a project begins so


def isolated(project: Project) -> Project:
    """The project over tables of its own, in which every row belongs to one case."""
    entities = {name: _entity(entity, project) for name, entity in project.entities.items()}
    apart = replace(project, entities=entities, syncs={}, policy=replace(project.policy, eligibility={}))
    problems = Problems()
    bound = bind(apart, problems)
    problems.raise_if_any()
    return replace(apart, bound=bound)


def _entity(entity: Entity, project: Project) -> Entity:
    relations = {name: _relation(relation, entity, project) for name, relation in entity.relations.items()}
    changed: dict[str, object] = {"relations": relations}
    if not entity.sql:
        changed["columns"] = {**entity.columns, CASE: Column(type="integer", cls="public")}
    if entity.from_:
        changed["group_by"] = {**entity.group_by, CASE: CASE}
    elif not entity.sql:
        changed["table"] = f"cdp_trial_{entity.table.replace('.', '_').lower()}"
    return entity.model_copy(update=changed)


def _relation(relation: Relation, entity: Entity, project: Project) -> Relation:
    """The relation within a case. What a SELECT returns has no case: keys that no two cases share keep those apart."""
    target = project.entities[relation.one or relation.many or ""]
    if target.sql or entity.sql:
        return relation
    via = relation.via
    if isinstance(via, str):
        via = {via: entity.key} if relation.many else {target.key: via}
    return relation.model_copy(update={"via": {**via, CASE: CASE}})
