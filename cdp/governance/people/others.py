"""Whose values leave: the rules about people are asked of the row's own person, and of nobody whose row a value was found in.

A trait may read other people's rows: the names of a household, the telephone of whoever has the same doctor. Consent, restrictions and
requests for another address (45 CFR 164.522) are those of one person, so what says who somebody else is may not leave by them.
"""

from __future__ import annotations

from collections.abc import Iterator

from cdp.errors import Refusal
from cdp.governance.masks.functions import within
from cdp.governance.taint import Relation
from cdp.project.project import Project

NAMING = ("contact", "name")


def unasked(project: Project, told: Relation) -> Iterator[Refusal]:
    """The outputs that may name or reach people of whom no rule is asked.

    A column of the row itself does not tell that its row is there. What is found in rows of people, by a relation, an aggregate or
    a SELECT, does; whose rows those are nobody can say.

    Args:
        project: its eligibility says which entities are people.
        told: what leaves, after masks; without addresses that people asked for in place of their own.
    """
    people = {project.entities[name].table.lower(): name for name in project.policy.eligibility if name in project.entities}
    for column, facts in told.columns.items():
        found_in = {fact.table for fact in facts if not fact.column} & people.keys()
        naming = [fact for fact in facts if fact.column and fact.table in found_in and _names(fact.cls)]
        for cls in sorted({fact.cls for fact in naming}):
            because = tuple(sorted(str(fact) for fact in naming if fact.cls == cls))
            of = ", ".join(sorted({people[fact.table] for fact in naming if fact.cls == cls}))
            missing = f"it is found in rows of {of}, perhaps of others than the one who is asked for consent and every other rule"
            yield Refusal(
                "value", column, cls, because, missing, f"map a column of {of} itself, or an `expr` over its columns; or leave it out"
            )


def _names(cls: str) -> bool:
    """Does a value of the class say what somebody is called, or where they can be reached?"""
    return any(within(cls, above) for above in NAMING)
