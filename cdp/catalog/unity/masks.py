"""What each role sees of each class, as column masks of Unity Catalog.

Of a column and a user one mask may resolve and no more, so the roles form a ladder: who sees the values, who sees what a mask
leaves of them, and nothing for everybody else. Each step leaves out those of the steps above, so one mask is found for a user
with several roles, too. Columns of the same ladder share its policies.
https://docs.databricks.com/aws/en/data-governance/unity-catalog/abac/policy-evaluation
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlglot import exp

from cdp.governance.classes import PUBLIC, ClassTree
from cdp.governance.masks import apply_mask, is_constant, is_wire, lower
from cdp.governance.masks.functions import About
from cdp.governance.rows.special import Special, special_rows
from cdp.governance.taint import Fact
from cdp.project.project import Project
from cdp.spec.access import Role
from cdp.spec.model import Column
from cdp.spec.policy import Mask, mechanism

Label = tuple[str, ...]  # the class of a column, and what it may hold besides
NOTHING: Final = "null"  # the mask of whoever is in no role that sees more
_TEXTS, _DATES = ("string", "code"), ("date", "timestamp")
_OF_TEXTS, _OF_DATES = ("last4", "zip3", "sha256"), ("year",)
_OF_CLASSES = ("last4", "sha256")  # what they do depends on the class


@dataclass(frozen=True, slots=True)
class Place:
    """A column of a table that a label stands on."""

    table: str
    name: str
    column: Column


@dataclass(frozen=True, slots=True)
class Ladder:
    """Who sees what of some labels.

    Attributes:
        whole: the roles that see the values as they are.
        masked: (mask, the class that it is put on, the roles that see what it gives), the first that fits a role counts.
    """

    whole: tuple[str, ...]
    masked: tuple[tuple[str, str, tuple[str, ...]], ...]


def labels(project: Project) -> Mapping[Label, Sequence[Place]]:
    """The declared columns of tables, by what they may say."""
    found: dict[Label, dict[tuple[str, str], Place]] = {}
    for entity in (each for each in project.entities.values() if each.table):
        for name, column in entity.columns.items():
            label = (column.cls, *sorted(set(column.may_hold) - {column.cls}))
            found.setdefault(label, {})[entity.table.lower(), name.lower()] = Place(entity.table.lower(), name.lower(), column)
    return {label: list(places.values()) for label, places in sorted(found.items())}


def ladders(project: Project, tree: ClassTree) -> Mapping[Ladder, Sequence[Label]]:
    """The ladders of all labels but those that say nothing of a person."""
    special = special_rows(project)
    found: dict[Ladder, list[Label]] = {}
    for label, places in labels(project).items():
        if set(label) != {PUBLIC}:
            ladder = _ladder(project, tree, label, places, special)
            found.setdefault(ladder, []).append(label)
    return found


def _ladder(project: Project, tree: ClassTree, label: Label, places: Sequence[Place], special: Iterable[Special]) -> Ladder:
    whole: list[str] = []
    masked: dict[tuple[str, str], list[str]] = {}
    for name, role in sorted(project.policy.roles.items()):
        said = _said(tree, label, places, special, role)
        if all(tree.covers(role.see, cls) for cls in said):
            whole.append(name)
        elif (mask := _mask(project.policy.masks, tree, said, places, role)) is not None:
            asks = mechanism(mask, project.policy.masks[mask]) in _OF_CLASSES
            masked.setdefault((mask, label[0] if asks else ""), []).append(name)
    return Ladder(tuple(whole), tuple((mask, cls, tuple(roles)) for (mask, cls), roles in masked.items()))


def _said(tree: ClassTree, label: Label, places: Sequence[Place], special: Iterable[Special], role: Role) -> frozenset[str]:
    """What the label says to a role: without the classes whose rows it does not read, where that is so of every such column."""
    gone = set(label[1:])
    for place in places:
        lifting = [each.cls for each in special if _lifts(each, place, role, tree)]
        gone = {cls for cls in gone if not set(lifting).isdisjoint(tree.line(cls))}
    return frozenset(label) - gone


def _lifts(special: Special, place: Place, role: Role, tree: ClassTree) -> bool:
    """Is a column without a class for a role, because the rows that decide about it are withheld?"""
    columns = {column.lower() for column in special.lifts}
    return special.reviewed and special.table.lower() == place.table and place.name in columns and not tree.covers(role.use, special.cls)


def _mask(masks: Mapping[str, Mask], tree: ClassTree, said: frozenset[str], places: Sequence[Place], role: Role) -> str | None:
    """The first mask of masks.yml that fits the columns and leaves only what the role may see; none that writes the same everywhere."""
    facts = frozenset(Fact("", "", cls) for cls in said)
    for name, mask in masks.items():
        if is_wire(name, mask) or is_constant(name, mask) or not all(_fits(mechanism(name, mask), place.column) for place in places):
            continue
        lowered = lower(tree, name, mask, facts)
        if lowered != facts and all(tree.covers(role.see, fact.cls) for fact in lowered):
            return name
    return None


def _fits(how: str, column: Column) -> bool:
    """Can what a mask gives be stored in a column of this type? The catalog casts it to that type."""
    if column.array or column.fields:
        return False
    return (how in _OF_TEXTS and column.type in _TEXTS) or (how in _OF_DATES and column.type in _DATES)


# -- functions --------------------------------------------------------------------------------------------------------


def functions(project: Project, found: Iterable[Ladder]) -> Iterator[tuple[str, str, str]]:
    """(name, parameter and return type, body) of the mask functions that some ladders need."""
    yield function_name(NOTHING, ""), "value VARIANT) RETURNS VARIANT", "CAST(NULL AS VARIANT)"  # of any type: it is cast to the column's
    for mask, cls in sorted({(mask, cls) for ladder in found for mask, cls, _ in ladder.masked}):
        yield function_name(mask, cls), *_body(mask, project.policy.masks[mask], cls)


def function_name(mask: str, cls: str) -> str:
    """The name of a mask's function; of one that depends on the class, with the class."""
    return "_".join(["mask", mask, *cls.split(".")] if cls else ["mask", mask])


def _body(name: str, mask: Mask, cls: str) -> tuple[str, str]:
    if mechanism(name, mask) == "year":  # a column of dates holds dates: the first day of the year
        first = "MAKE_DATE(YEAR(value), 1, 1)"
        young = "YEAR(value) >= YEAR(CURRENT_DATE()) - 89"  # 45 CFR 164.514(b)(2)(i)(C)
        return "value TIMESTAMP) RETURNS DATE", f"CASE WHEN {young} THEN {first} END" if mask.over_89 else first
    about = About(cls, dt.date.min)  # no mask of texts asks the day
    return "value STRING) RETURNS STRING", apply_mask(name, mask, exp.column("value"), about).sql("databricks")
