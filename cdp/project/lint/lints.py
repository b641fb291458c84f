"""What is probably a mistake: names that nobody uses, and `ne` where absence was meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cdp.project.terms import Compare, Condition, Every, Measure, Negation, OneOf, Some
from cdp.project.terms.models import SqlModel

if TYPE_CHECKING:
    from cdp.project.language.bind import Binder, Place


def warn_of_unused(binder: Binder, models: Mapping[tuple[str, str], SqlModel]) -> None:
    """Warn of traits, templates and value sets that nothing names."""
    project, used = binder.project, set(binder.used)
    for model in models.values():
        used |= {("trait", name) for name in model.traits} | {("segment", name) for name in model.segments}
    for unit in project.config.units.values():
        used |= {("value_set", unit.of)} if unit.of else set()
    for value_set in project.value_sets.values():
        used |= {("value_set", name) for name in (*value_set.include, *value_set.exclude)}
    for name, segment in project.segments.items():
        if segment.params and ("segment", name) not in used:
            hint = f"use it: {{segment: {name}, with: {{...}}}}"
            binder.place("segment", name).warn(f"nothing fills in template {name}, so nothing checks it", hint=hint)
    for kind, names in (("trait", project.traits), ("value_set", project.value_sets)):
        for name in names:
            if (kind, name) not in used:
                binder.place(kind, name).warn(f"nothing uses {kind.replace('_', ' ')} {name}", hint="take it out, or use it")


def warn_of_denial(term: Measure, verb: str, at: Place) -> None:
    """Warn of `has` whose rows are told by what they are not only: nearly everyone has such a row."""
    if term.where is not None and _denies(term.where):
        hint = f"to say that there is none of those, write `lacks: {term.link.name}` with eq or in"
        at.warn(f"`{verb}` finds a row that is something else, which nearly everyone has", hint=hint)


def _denies(where: Condition) -> bool:
    """Whether `ne` or `not_in` is all that a condition says."""
    if isinstance(where, Compare):
        return where.op == "ne"
    match where:
        case Every((Negation(OneOf() | Some()), Negation())):
            return True
    return False
