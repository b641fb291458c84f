"""Lineage as a Mermaid flowchart: values are solid lines, what being in the audience tells is dotted."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from cdp.catalog.flows import Field, Flow, Source

Node = tuple[str, str]  # kind and label
_SHAPES = {"column": ("[", "]"), "field": ("(", ")"), "members": ("{{", "}}"), "destination": ("[[", "]]")}


def flowchart(flows: Iterable[Flow]) -> str:
    """The flows as the text of a Mermaid diagram: https://mermaid.js.org/syntax/flowchart.html."""
    edges: dict[tuple[Node, Node, str], None] = {}
    for flow in flows:
        for field in flow.all:
            for edge in _edges(flow, field):
                edges[edge] = None
    nodes: dict[Node, str] = {}
    for start, end, _ in edges:
        for node in (start, end):
            nodes.setdefault(node, f"n{len(nodes)}")
    lines = [f"  {name}{_shape(node)}" for node, name in nodes.items()]
    lines += [f"  {nodes[start]} {arrow} {nodes[end]}" for start, end, arrow in edges]
    return "\n".join(["flowchart LR", *lines])


def _edges(flow: Flow, field: Field) -> Iterable[tuple[Node, Node, str]]:
    """From each source over the models on its way to the field, and on to the receiver."""
    told = field.is_value
    line = "-->" if told else "-.->"
    label = f"{flow.sync.name}.{field.name}" if told else f"{flow.sync.name}: who is in"
    end: Node = ("field" if told else "members", f"{label}\n{_lowered(field)}")
    for source in field.sources:
        way = [_origin(source), *((kind, name) for kind, name in reversed(source.via)), end]
        yield from ((one, other, line) for one, other in pairwise(way))
    if field.sources:
        yield end, ("destination", flow.sync.destination), "--x" if flow.refusals else line


def _origin(source: Source) -> Node:
    return "column", f"{source.fact}\n{source.fact.cls}"


def _lowered(field: Field) -> str:
    by = ", ".join(filter(None, (field.mask and f"mask {field.mask}", *field.declassified)))
    return f"{', '.join(field.after) or 'nothing'}{f' ({by})' if by else ''}"


def _shape(node: Node) -> str:
    kind, label = node
    opening, closing = _SHAPES.get(kind, ("([", "])"))
    named = label if kind in _SHAPES else f"{kind} {label}"
    text = named.replace('"', "#quot;").replace("\n", "<br/>")
    return f'{opening}"{text}"{closing}'
