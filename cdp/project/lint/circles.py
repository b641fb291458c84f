"""Circles: segments, templates and SELECTs that rest on themselves, and what no engine could spell out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cdp.project.terms import InSegment, InSql, SqlValue
from cdp.project.terms.models import SqlModel
from cdp.project.terms.uses import Term, within

if TYPE_CHECKING:
    from cdp.project.language.bind import Binder

DEEPEST = 32  # segments inside of segments
MOST = 1_000  # segments that one is, where a segment that is used twice counts twice

Node = tuple[str, ...]  # a segment's name, and the values that a template is given


def refuse_circles(binder: Binder, segments: Mapping[str, Term], models: Mapping[tuple[str, str], SqlModel]) -> None:
    """Report circles, and segments that spelled out are too deep or too long for an engine."""
    terms: dict[Node, Term | None] = {(name,): term for name, term in segments.items()}
    terms.update({_node(name, given): term for (name, given), term in binder.templates.items()})
    uses = {node: _uses(term, models) for node, term in terms.items()}
    sizes: dict[Node, tuple[int, int]] = {}  # how deep it is, and how many segments it is spelled out

    def wrong(node: Node, message: str) -> tuple[int, int]:
        binder.place("segment", node[0], "where" if binder.project.segments[node[0]].sql is None else "sql").wrong(message)
        return 0, 1  # said once, not again of each segment that uses it

    def visit(node: Node, trail: list[Node]) -> tuple[int, int]:
        if node in sizes:
            return sizes[node]
        if node in trail:
            circle = [step[0] for step in [*trail[trail.index(node) :], node]]
            return wrong(node, f"segments in a circle: {' -> '.join(circle)}")
        deep, long = 0, 1
        if len(trail) <= DEEPEST:
            inner = [visit(used, [*trail, node]) for used in uses.get(node, ())]
            deep, long = max((d + 1 for d, _ in inner), default=0), 1 + sum(n for _, n in inner)
        if deep > DEEPEST or len(trail) > DEEPEST:
            deep, long = wrong(node, f"segments inside of segments, more than {DEEPEST} deep")
        elif long > MOST:
            deep, long = wrong(node, f"spelled out it is {long} segments, more than {MOST}")
        sizes[node] = deep, long
        return sizes[node]

    for node in uses:
        visit(node, [])


def _node(name: str, given: tuple[tuple[str, str], ...]) -> Node:
    return (name, *(f"{key}={value}" for key, value in given))


def _uses(term: Term | None, models: Mapping[tuple[str, str], SqlModel]) -> list[Node]:
    """The segments that a term rests on, also over SELECTs."""
    found: list[Node] = []
    for part in within(term):
        if isinstance(part, InSegment):
            found.append(_node(part.name, part.given))
        elif isinstance(part, InSql):
            found += _selected(models.get(("segment", part.segment)))
        elif isinstance(part, SqlValue):
            found += _selected(models.get(("trait", part.trait)))
    return found


def _selected(model: SqlModel | None) -> list[Node]:
    return [(name,) for name in model.segments] if model is not None else []
