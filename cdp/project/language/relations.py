"""Where the rows of a measure are looked for: `fills`, `drug.equivalents`, `patient.encounters`, `stay.procedures`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdp.project.language import names
from cdp.project.language.names import Spot
from cdp.project.language.scope import Scope
from cdp.project.terms import Link
from cdp.spec.model import Entity

if TYPE_CHECKING:
    from cdp.project.language.bind import Binder, Place


@dataclass(frozen=True, slots=True)
class Related:
    """Rows of `entity`, by `link` from the row `up` rows outwards or where `hops` lead from there; `one` of them or many."""

    entity: Entity
    link: Link
    up: int
    hops: tuple[Link, ...]
    one: bool

    def inside(self, scope: Scope, aliases: tuple[str, ...]) -> Scope:
        """The scope of such a row."""
        if self.one:
            return Scope(self.entity, aliases, scope, (*self.hops, self.link), joined=True)
        return Scope(self.entity, aliases, scope, link=None if self.hops else self.link, origin=1 + self.up)


def related(binder: Binder, path: str, scope: Scope, at: Place) -> Related | None:
    """The rows that a path over relations leads to; None after a problem was reported."""
    spot, *words = _start(binder, path, scope)
    for number, word in enumerate(words[:-1]):
        relation = spot.entity.relations.get(word)
        if relation is None:
            return _unknown(path, len(words) - number, spot, at)
        if relation.one is None:
            return at.wrong(f"{path}: {word} leads to many rows", hint=f"nest the measures: has: {word}, where: {{...}}")
        hop = _link(binder, word, spot)
        if hop is None:
            return None
        spot = Spot(binder.project.entities[hop.entity], spot.up, (*spot.hops, hop))
    if not words or words[-1] not in spot.entity.relations:
        return _unknown(path, 1, spot, at)
    link = _link(binder, words[-1], spot)
    if link is None:
        return None  # a dangling relation is reported where it is declared
    target, one = binder.project.entities[link.entity], spot.entity.relations[words[-1]].one is not None
    up, hops = (spot.up, spot.hops) if one else _normal(scope, spot.up, spot.hops)
    return Related(target, link, up, hops, one)


def _start(binder: Binder, path: str, scope: Scope) -> tuple[Spot, *tuple[str, ...]]:
    """The row that a path begins at, and its words."""
    words = path.split(".")
    named = scope.named(words[0])
    if len(words) > 1 and named is not None and words[0] not in scope.entity.relations:
        row, up = named
        return Spot(row.entity, up, row.hops), *words[1:]
    return Spot(scope.entity, 0, scope.hops), *words


def _unknown(path: str, left: int, spot: Spot, at: Place) -> None:
    """The first of the words that are left of a path is no relation."""
    words = path.split(".")
    before = "".join(f"{word}." for word in words[:-left])
    valid = [before + name for name in spot.entity.relations]
    return at.wrong(f"{spot.entity.name} has no relation {words[-left]!r}", value=path, valid=valid)


def _link(binder: Binder, name: str, spot: Spot) -> Link | None:
    relation = spot.entity.relations[name]
    target = binder.project.entities.get(relation.one or relation.many or "")
    return names.link(name, relation, spot.entity, target) if target is not None else None


def _normal(scope: Scope, up: int, hops: tuple[Link, ...]) -> tuple[int, tuple[Link, ...]]:
    """The way back to the row that a row came from is that row itself: no hop, but a step outwards."""
    while hops:
        row = scope.outwards(up)
        if row.link is None or {(mine, theirs) for theirs, mine in hops[0].on} != set(row.link.on):
            break
        if scope.outwards(up + row.origin).entity.name != hops[0].entity:
            break
        up, hops = up + row.origin, hops[1:]
    return up, hops
