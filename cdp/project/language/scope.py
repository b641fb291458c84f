"""Scopes: the row that a condition speaks of, and the rows around it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cdp.project.terms import Link
from cdp.spec.model import Entity


@dataclass(frozen=True, slots=True)
class Scope:
    """The row at hand, seen from the rows around it.

    Attributes:
        entity: what the row is one of.
        aliases: what the author calls the row: its `as`, or of an outermost row its entity's name.
        parent: the row around it.
        hops: of a to-one verb, the way from the row at hand to the row whose names are meant.
        joined: it is the row of `parent`, seen over `hops`, not one further inside.
        of_sync: the condition is one that a sync asks, so it may say something of the sync too.
        link: how the row is related to the row `origin` outwards; None where that row is reached over other rows.
        origin: how far outwards that row is.
    """

    entity: Entity
    aliases: tuple[str, ...] = ()
    parent: Scope | None = None
    hops: tuple[Link, ...] = ()
    joined: bool = False
    link: Link | None = None
    origin: int = 1
    of_sync: bool = False

    def around(self) -> Iterator[tuple[Scope, int]]:
        """This row and those around it, innermost first, each with how far outwards it is."""
        scope: Scope | None = self
        up = 0
        while scope is not None:
            yield scope, up
            up += 0 if scope.joined else 1
            scope = scope.parent

    def named(self, alias: str) -> tuple[Scope, int] | None:
        """The row of that name, and how far outwards it is."""
        for scope, up in self.around():
            if alias in scope.aliases:
                return scope, up
        return None

    def outwards(self, up: int) -> Scope:
        """The row that is so far outwards."""
        return next(scope for scope, level in self.around() if level == up and not scope.joined)

    def names(self) -> tuple[str, ...]:
        """What the rows around and the row itself are called, innermost first."""
        return tuple(alias for scope, _ in self.around() for alias in scope.aliases)


def outermost(entity: Entity, *, of_sync: bool = False) -> Scope:
    """The scope of a condition on an entity that stands by itself, or of a rule that a sync asks."""
    return Scope(entity, (entity.name,), of_sync=of_sync)
