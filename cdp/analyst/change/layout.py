"""One layout for every YAML file: two spaces a level, one space where one is needed, what authors lay out by hand kept.

It moves the scanner's tokens and never looks at values: a token is written as it stood, so comments, quotes that matter and
the lines of a flow (`{has: x, where: {...}}`) stay. Kept are also columns that lines next to each other share, and the
column of a comment behind a line. What would be another tree, or lose a comment, is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import yaml

from cdp.analyst.change.tokens import Line, Unreadable, lines_of
from cdp.analyst.change.wrapping import wrapped
from cdp.errors import Problem, ProjectError
from cdp.project.problems import Problems
from cdp.project.source import parse
from cdp.spec.base import Text, Tree

PASSES: Final = 12  # what one pass brings the next one tidies; three are the most that was seen
GAP: Final = 2  # spaces before a comment


def formatted(text: str, file: str) -> str:
    """The text of a YAML file in its one layout.

    Args:
        text: of the file, without a byte order mark.
        file: its path, for messages.

    Raises:
        ProjectError: it is not YAML that a project may hold, or it cannot be laid out without changing what it says.
    """
    problems = Problems()
    before = _trees(text, file, problems)
    problems.raise_if_any()
    text = text.replace("\r\n", "\n")
    try:
        comments = _comments(text)
        for wrap in (True, False):
            after = _settled(text, wrap)
            if after is not None and _trees(after, file, Problems()) == before and _comments(after) == comments:
                return after
    except Unreadable as error:
        raise ProjectError([Problem(file, error.line, error.col, error.message)]) from None
    raise ProjectError([Problem(file, 0, 0, "cannot be laid out without changing what it says; it was left as it is")])


def _settled(text: str, wrap: bool) -> str | None:
    """Pass after pass until nothing changes, so that laying out twice is the same as once; None where that fails."""
    try:
        for _ in range(PASSES):
            after = _pass(text, wrap)
            if after == text:
                return text
            text = after
    except (Unreadable, yaml.YAMLError):  # a pass made what cannot be read: its own mistake, not the author's
        pass
    return None


def _pass(text: str, wrap: bool) -> str:
    lines = lines_of(text)
    out: list[str] = []
    for number, line in enumerate(lines):
        if line.blank:
            if out and out[-1] != "":
                out.append("")
        elif line.verbatim is not None:
            out.append(_shifted(line.verbatim, line.shift))
        else:
            made = _comment(line, lines, number) if not line.pieces else _line(line, lines, number)
            out += wrapped(line, made) if wrap else [made]
    if lines and lines[-1].verbatim is not None:  # a text that ends with the file: its last line breaks belong to it
        return "\n".join(out) + ("\n" if text.endswith("\n") else "")
    while out and out[-1] == "":
        out.pop()
    return "".join(f"{line}\n" for line in out)


def _line(line: Line, lines: Sequence[Line], number: int) -> str:
    """A line of tokens: indented, one space or none between them, the comment behind where it stood."""
    first = line.pieces[0]
    made = first.shown if first.inside else " " * line.indent + first.shown
    if first.inside:  # the rest of a scalar that began above
        made = _shifted(made, line.shift)
    for before, piece in pairwise(line.pieces):
        space = before.space(piece)
        if space and piece.start - before.end > 1 and _shared(line, lines, number, piece.start):
            space = " " * (piece.start - before.end)
        made += space + piece.shown
    if line.comment:
        made = made.ljust(max(line.comment_at + line.shift, len(made) + GAP)) + line.comment
    return made


def _comment(line: Line, lines: Sequence[Line], number: int) -> str:
    """A comment of its own: it goes along with the line that it stands above, or else with the one that it stands below."""
    if line.flow:
        return " " * max(0, line.comment_at + line.shift) + line.comment
    at = line.comment_at
    below = next((each for each in lines[number + 1 :] if each.pieces and not each.flow and not each.pieces[0].inside), None)
    above = next((each for each in reversed(lines[:number]) if each.pieces and not each.flow and not each.pieces[0].inside), None)
    for near in (below, above):
        if near is not None and near.column == at:
            return " " * near.indent + line.comment
    for old, new in reversed(above.levels) if above else ():
        if old == at:
            return " " * new + line.comment
    shift = below.shift if below is not None else 0
    return " " * (max(0, at + shift) if at else 0) + line.comment


def _shared(line: Line, lines: Sequence[Line], number: int, column: int) -> bool:
    """Whether a line next to this one has a token in the same column, and moves by as much: the author made a table."""
    for step in (-1, 1):
        near = _next(lines, number, step)
        if near is not None and near.shift == line.shift and any(piece.start == column for piece in near.pieces[1:]):
            return True
    return False


def _next(lines: Sequence[Line], number: int, step: int) -> Line | None:
    number += step
    while 0 <= number < len(lines):
        if lines[number].pieces:
            return lines[number]
        if lines[number].blank or lines[number].verbatim is not None:
            return None
        number += step
    return None


def _shifted(text: str, by: int) -> str:
    if by >= 0:
        return " " * by + text if text else text
    spaces = len(text) - len(text.lstrip(" "))
    return text[min(-by, spaces) :]


# -- nothing is lost ------------------------------------------------------------------------------------------------------


def _trees(text: str, file: str, problems: Problems) -> list[object] | None:
    """What a text says; None, and a problem, where it is not YAML that a project may hold."""
    found = [_exact(document.tree) for document in parse(text, file, problems)]
    return None if problems else found


def _exact(tree: Tree) -> object:
    """A tree with all that a reader of it can see: the order of keys and the quotes too."""
    if isinstance(tree, dict):
        return [(key, _exact(value)) for key, value in tree.items()]
    if isinstance(tree, list):
        return tuple(_exact(value) for value in tree)
    return (str(tree), tree.quoted) if isinstance(tree, Text) else tree


def _comments(text: str) -> list[str]:
    return sorted(line.comment for line in lines_of(text) if line.comment)
