"""The lineage picture: which entities become which traits and segments, and where these go. A layered drawing as SVG.

Sugiyama's method in its smallest form: longest-path layers, dummy nodes on long edges, barycentre sweeps against
crossings. Edges and nodes name each other, so that a script can mark what hangs together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from cdp.catalog.html import Html, tag
from cdp.catalog.uses import Part, Uses

KINDS: Final = ("entity", "trait", "segment", "sync", "destination")
OUTER: Final = ("sync", "destination")
WIDTH, HEIGHT, GAP, BETWEEN = 164, 26, 9, 52  # of a node; between nodes of a layer; between layers
THREAD: Final = 6  # the height that a long edge takes in a layer that it passes
SHOWN: Final = 21  # characters of a name that fit into a node
SWEEPS: Final = 8
SMALLEST: Final = 0.8  # of its size: how far a picture shrinks to fit

Edge = tuple[Part, Part]


@dataclass(frozen=True, slots=True)
class Drawing:
    """Where everything stands.

    Attributes:
        places: the left upper corner of each node.
        paths: for each edge the points that it passes: the right side of its first node, gaps, the left side of its last.
    """

    places: Mapping[Part, tuple[float, float]]
    paths: Mapping[Edge, Sequence[tuple[float, float]]]
    width: float
    height: float


def edges(uses: Uses, among: Iterable[Part] | None = None) -> list[Edge]:
    """From where something comes to where it goes, of the kinds that are drawn; `among` leaves out all other parts.

    What other edges tell already is left out: a segment reads the entities of the traits that it uses.
    """
    parts = set(among) if among is not None else set(uses.of) | set(uses.by)
    drawn = {part for part in parts if part[0] in KINDS}
    direct = {part: {source for source in uses.sources(part) if source in drawn} for part in drawn}
    told: dict[Part, set[Part]] = {}

    def reached(part: Part) -> set[Part]:
        if part not in told:
            told[part] = set()  # a circle, which no valid project has, ends here
            told[part] = {further for source in direct[part] for further in (source, *reached(source))}
        return told[part]

    implied = {part: {far for source in direct[part] for far in reached(source)} for part in drawn}
    return sorted((source, part) for part in drawn for source in direct[part] - implied[part])


def draw(lines: Sequence[Edge]) -> Drawing:
    """Lay out a graph without circles."""
    layers = _layers(lines)
    chains = {line: _chain(line, layers) for line in lines}
    rows = _ordered(layers, chains)
    places = _places(rows)
    nodes = {node: place for node, place in places.items() if isinstance(node, tuple)}
    paths = {line: _points(chain, places) for line, chain in chains.items()}
    height = max((y + _height(node) for node, (_, y) in places.items()), default=0)
    return Drawing(nodes, paths, len(rows) * (WIDTH + BETWEEN) - BETWEEN, height)


@dataclass(frozen=True, slots=True)
class _Dummy:
    """Where a long edge passes a layer."""

    edge: Edge
    layer: int


_Node = Part | _Dummy


def _layers(lines: Sequence[Edge]) -> dict[Part, int]:
    """Longest paths: each part stands right of all that it comes from, and no kind left of its own first layer."""
    sources: dict[Part, set[Part]] = {}
    for source, part in lines:
        sources.setdefault(part, set()).add(source)
        sources.setdefault(source, set())
    layers: dict[Part, int] = {}

    def layer(part: Part) -> int:
        if part not in layers:
            layers[part] = KINDS.index(part[0])  # where a circle, which no valid project has, would end
            layers[part] = max([layers[part], *(layer(source) + 1 for source in sources[part])])
        return layers[part]

    inner = max((layer(part) for part in sources if part[0] not in OUTER), default=-1)
    for part in sources:
        if part[0] in OUTER:  # what leaves stands in two columns of its own
            layers[part] = inner + 1 + OUTER.index(part[0])
    used = {old: new for new, old in enumerate(sorted(set(layers.values())))}
    return {part: used[old] for part, old in layers.items()}


def _chain(line: Edge, layers: Mapping[Part, int]) -> tuple[_Node, ...]:
    start, end = line
    return (start, *(_Dummy(line, layer) for layer in range(layers[start] + 1, layers[end])), end)


def _ordered(layers: Mapping[Part, int], chains: Mapping[Edge, Sequence[_Node]]) -> list[list[_Node]]:
    """The nodes of each layer from top to bottom, with few crossings."""
    rows: list[list[_Node]] = [[] for _ in range(max(layers.values(), default=-1) + 1)]
    for part in sorted(layers):
        rows[layers[part]].append(part)
    for chain in chains.values():
        for node in chain[1:-1]:
            if isinstance(node, _Dummy):
                rows[node.layer].append(node)
    left: dict[_Node, list[_Node]] = {}
    right: dict[_Node, list[_Node]] = {}
    for chain in chains.values():
        for one, other in pairwise(chain):
            right.setdefault(one, []).append(other)
            left.setdefault(other, []).append(one)
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        order = range(1, len(rows)) if forward else range(len(rows) - 2, -1, -1)
        for index in order:
            fixed = {node: place for place, node in enumerate(rows[index - 1 if forward else index + 1])}
            _sort(rows[index], fixed, left if forward else right)
    return rows


def _sort(row: list[_Node], fixed: Mapping[_Node, int], neighbours: Mapping[_Node, Sequence[_Node]]) -> None:
    """By the mean place of a node's neighbours; one without neighbours keeps its place."""
    own = {node: place for place, node in enumerate(row)}

    def mean(node: _Node) -> float:
        places = [fixed[other] for other in neighbours.get(node, ()) if other in fixed]
        return sum(places) / len(places) if places else own[node]

    row.sort(key=lambda node: (mean(node), own[node]))


def _height(node: _Node) -> int:
    return THREAD if isinstance(node, _Dummy) else HEIGHT


def _places(rows: Sequence[Sequence[_Node]]) -> dict[_Node, tuple[float, float]]:
    """Each layer is a column, and stands in the middle of the tallest one."""
    heights = [sum(_height(node) + GAP for node in row) - GAP for row in rows]
    places: dict[_Node, tuple[float, float]] = {}
    for index, row in enumerate(rows):
        y = (max(heights) - heights[index]) / 2
        for node in row:
            places[node] = (index * (WIDTH + BETWEEN), y)
            y += _height(node) + GAP
    return places


def _points(chain: Sequence[_Node], places: Mapping[_Node, tuple[float, float]]) -> list[tuple[float, float]]:
    points = []
    for node in chain:
        x, y = places[node]
        middle = y + _height(node) / 2
        points += [(x, middle), (x + WIDTH, middle)]
    return points[1:-1]


# -- SVG --------------------------------------------------------------------------------------------------------------


def svg(lines: Sequence[Edge], title: str, *, here: Part | None = None) -> Html:
    """The picture of some edges; `here` is marked. Names lead to what is said of them on the page."""
    drawing = draw(lines)
    numbers = {part: number for number, part in enumerate(drawing.places)}
    curves = [
        tag("path", d=_curve(points), class_="edge", data_from=numbers[used], data_to=numbers[user])
        for (used, user), points in drawing.paths.items()
    ]
    nodes = [_node(part, place, numbers[part], part == here) for part, place in drawing.places.items()]
    size = {"viewBox": f"-1 -1 {drawing.width + 2:g} {drawing.height + 2:g}", "width": f"{drawing.width + 2:g}"}
    size["style"] = f"min-width:{drawing.width * SMALLEST:.0f}px"  # beyond that it is scrolled: names stay readable
    picture = tag("svg", tag("title", title), tag("g", curves), tag("g", nodes), class_="lineage", role="group", **size)
    return tag("div", picture, class_="scroll", tabindex="0", role="region", aria_label=title)


def _node(part: Part, place: tuple[float, float], number: int, marked: bool) -> Html:
    kind, name = part
    x, y = place
    shown = name if len(name) <= SHOWN else name[: SHOWN - 1] + "…"
    box = tag("rect", x=f"{x:g}", y=f"{y:g}", width=WIDTH, height=HEIGHT, rx=5)
    words = tag("text", shown, x=f"{x + 10:g}", y=f"{y + 17:g}")
    classes = f"node {kind}" + (" here" if marked else "")
    return tag("a", tag("title", f"{kind} {name}"), box, words, href=f"#{anchor(part)}", class_=classes, data_node=number)


def _curve(points: Sequence[tuple[float, float]]) -> str:
    """Straight through the nodes that a long edge passes, curved between them."""
    x, y = points[0]
    words = [f"M{x:g} {y:g}"]
    for index, (x2, y2) in enumerate(points[1:]):
        bend = (x + x2) / 2
        words.append(f"L{x2:g} {y2:g}" if index % 2 else f"C{bend:g} {y:g} {bend:g} {y2:g} {x2:g} {y2:g}")
        x, y = x2, y2
    return "".join(words)


def anchor(part: Part) -> str:
    """The id of what is said of a part on the page."""
    return f"{part[0]}-{part[1]}".replace(".", "-")
