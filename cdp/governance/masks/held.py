"""Which values a mask may lower: those of columns as tables hold them. The one rule for syncs, roles and what is proposed.

What a mask leaves is known of the values that a class has: the first three digits of a ZIP code say its area. Of what somebody
computes they may be anything, the last three digits of a reversed one.
"""

from __future__ import annotations

from cdp.governance.masks import is_constant, needs_form
from cdp.project.project import Project
from cdp.project.terms import ColumnRef, DayOf, Picked
from cdp.spec.policy import Mask

_PICKING = ("min", "max")  # aggregates that give one of the values


def is_held(project: Project, output: object) -> bool:
    """Is it a column as a table holds it, or one of its values that a group, a day or a `latest` picked?

    Args:
        project: whose entities they are.
        output: a bound operand.
    """
    match output:
        case Picked(column=column) | DayOf(column=column):
            return is_held(project, column)
        case ColumnRef(entity=entity, column=own) if entity in project.bound.derived:
            made = project.bound.derived[entity]
            picked = {name: each.of for name, each in made.columns if each.verb in _PICKING}
            return is_held(project, {**picked, **dict(made.group)}.get(own))
        case ColumnRef(entity=entity):
            return bool(entity in project.entities and project.entities[entity].table)
        case _:
            return False


def class_of(project: Project, output: object) -> str:
    """The declared class of an output's column; empty for what is computed."""
    ref = output.column if isinstance(output, Picked) else output
    return project.entities[ref.entity].columns[ref.column].cls if isinstance(ref, ColumnRef) else ""


def may_lower(project: Project, name: str, mask: Mask, output: object) -> bool:
    """May a mask lower an output? One that writes the same into every row may lower any."""
    return is_constant(name, mask) or is_held(project, output)


def fitting(project: Project, output: object) -> dict[str, Mask]:
    """The masks of masks.yml that may stand on an output, whatever they give."""
    cls = class_of(project, output)
    masks = project.policy.masks.items()
    return {name: mask for name, mask in masks if may_lower(project, name, mask, output) and not needs_form(name, mask, cls)}
