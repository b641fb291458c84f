"""A condition as a tree that people can read, with a verdict on each node.

The verdicts are columns of one statement, compiled as the segment itself is: a verdict is the segment's own SQL, not a
second opinion. Conditions inside of measures speak of related rows and are no nodes here; `evidence.py` shows those rows.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlglot import exp

from cdp.compile import sql
from cdp.compile.clock import Clock
from cdp.compile.statement import Statement
from cdp.project.load import Project
from cdp.project.terms import Compare, Condition, Every, InSegment, Negation, Satisfies, Some, Tally
from cdp.project.terms.describe import describe, parts

Kind = Literal["all", "any", "not", "n_of", "segment", "test"]
Verdicts = Mapping[tuple[int, ...], bool]


@dataclass(frozen=True, slots=True)
class Node:
    """A condition in its place.

    Attributes:
        path: the positions that lead here from the root, whose path is empty.
        label: the condition in words; of what joins others, the joining word.
        term: the condition itself; it stands on the same row as the root.
        kind: how its children make it; a `test` has no children that decide it, but may have some that explain it.
    """

    path: tuple[int, ...]
    label: str
    term: Condition
    kind: Kind

    @property
    def depth(self) -> int:
        """How far below the root it stands."""
        return len(self.path)


def nodes(term: Condition, project: Project) -> tuple[Node, ...]:
    """Every node of a condition, each before its children, those of segments that it uses included."""
    return tuple(_walk(term, project, ()))


def children(term: Condition, project: Project) -> tuple[Condition, ...]:
    """The conditions of the same row that a condition is made of; none of what is said in one line anyway."""
    match term:
        case Every() | Some() | Compare(operand=Tally()):
            return tuple(part for _, part in parts(term, project))
        case Negation(of):
            return (of,) if children(of, project) else ()
        case InSegment():
            meant = project.bound.segment(term)
            return children(meant, project) if isinstance(meant, Every) and parts(meant, project) else (meant,)
        case Satisfies(measure, Every(of)):
            return tuple(Satisfies(measure, part) for part in of)
    return ()


def ask(statement: Statement, asked: Iterable[Node], clock: Clock) -> None:
    """Add the verdict on each node to a statement, as a boolean column that is never null."""
    for node in asked:
        statement.column(column(node.path), verdict(statement, node.term, clock))


def verdict(statement: Statement, term: Condition, clock: Clock) -> exp.Expr:
    """A condition as a value that is true or false, read from the scans that decide membership."""
    return sql.coalesce(statement.test(term, clock, ""), sql.FALSE)


def column(path: tuple[int, ...]) -> str:
    """The name of a node's column."""
    return "_".join(["verdict", *map(str, path)])


def read(asked: Iterable[Node], row: Mapping[str, object]) -> Verdicts:
    """The verdicts of a row that a statement of `ask` returned."""
    return {node.path: bool(row[column(node.path)]) for node in asked}


def decisive(asked: Sequence[Node], verdicts: Verdicts) -> frozenset[tuple[int, ...]]:
    """The tests that each alone decide: if its verdict were the other one, so would be that of the root."""
    tree = _Tree(asked, verdicts)
    return frozenset(node.path for node in asked if node.kind == "test" and tree.holds((), node.path) != tree.holds(()))


class _Tree:
    """A tree whose tests have verdicts, and whose other nodes follow from them."""

    def __init__(self, asked: Sequence[Node], verdicts: Verdicts) -> None:
        self.verdicts = verdicts
        self.nodes = {node.path: node for node in asked}
        self.below: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
        for node in asked:
            if node.path:
                self.below.setdefault(node.path[:-1], []).append(node.path)

    def holds(self, path: tuple[int, ...], turned: tuple[int, ...] | None = None) -> bool:
        """Whether a node holds; `turned` is a test that is taken to be the other way round."""
        node = self.nodes[path]
        if node.kind == "test":
            return self.verdicts[path] != (path == turned)
        found = [self.holds(child, turned) for child in self.below[path]]
        match node.term:
            case Some():
                return any(found)
            case Negation():
                return not all(found)
            case Compare(op=op, value=value):
                return bool(COMPARED[op](sum(found), value))
        return all(found)


COMPARED = {"eq": operator.eq, "ne": operator.ne, "gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


def lines(asked: Sequence[Node], verdicts: Verdicts, *, tell: Mapping[tuple[int, ...], Sequence[str]] | None = None) -> list[str]:
    """The tree as lines of text: a mark, the condition, and below it what there is to tell of it.

    Args:
        asked: as `nodes` gives them.
        verdicts: by path.
        tell: by path, lines that belong to the node.
    """
    text = []
    for node in asked:
        indent = "  " * node.depth
        text.append(f"{indent}{MARKS[verdicts[node.path]]} {node.label}")
        text += [f"{indent}    {line}" for line in (tell or {}).get(node.path, ())]
    return text


MARKS = {True: "✓", False: "✗"}


def _walk(term: Condition, project: Project, path: tuple[int, ...]) -> Iterable[Node]:
    inner = children(term, project)
    kind = _kind(term) if inner else "test"
    yield Node(path, WORDS.get(kind) or describe(term, project), term, kind)
    for number, child in enumerate(inner):
        yield from _walk(child, project, (*path, number))


def _kind(term: Condition) -> Kind:
    """How a condition's children make it."""
    kinds: dict[type, Kind] = {Every: "all", Some: "any", Negation: "not", InSegment: "segment", Compare: "n_of"}
    return kinds.get(type(term), "test")


WORDS = {"all": "all of", "any": "any of", "not": "not"}
