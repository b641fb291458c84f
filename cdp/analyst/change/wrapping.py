"""Lines longer than 140 columns: a comment moves above, a flow becomes a block, a list of codes and a text fill lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import yaml

from cdp.analyst.change.tokens import STEP, Line, Piece, items

WIDTH: Final = 140
_BREAKABLE: Final = re.compile(r"(?<=[^\s:\\]) (?=[A-Za-z0-9(])")  # a space of a text at which a line may end


def wrapped(line: Line, made: str) -> list[str]:
    """A laid out line, as several where it is too long and there is a way to break it."""
    if len(made) <= WIDTH or line.flow or not line.pieces or line.pieces[0].inside:
        return [made]
    if line.comment:
        content = made[: len(made) - len(line.comment)].rstrip()
        return [" " * line.indent + line.comment, content]
    head, value = _split(line.pieces)
    if not value or not all(piece.whole for piece in value):
        return [made]
    if value[0].opens and value[-1].closes:
        return _flow(line, head, value)
    if len(value) == 1 and issubclass(value[0].kind, yaml.ScalarToken):
        return _text(line, head, value[0]) or [made]
    return [made]


def _split(pieces: Sequence[Piece]) -> tuple[list[Piece], list[Piece]]:
    """The dashes and the key of a line, and its value."""
    at = 0
    while at < len(pieces) and issubclass(pieces[at].kind, yaml.BlockEntryToken):
        at += 1
    if at + 1 < len(pieces) and issubclass(pieces[at + 1].kind, yaml.ValueToken):
        at += 2
    return list(pieces[:at]), list(pieces[at:])


def _flow(line: Line, head: list[Piece], value: list[Piece]) -> list[str]:
    """A flow as a block, one entry a line; a list of plain values fills lines."""
    entries = list(items(value[1:-1]))
    start = " " * line.indent + _joined(head)
    keyed = bool(head) and issubclass(head[-1].kind, yaml.ValueToken)
    # Entries of a key stand one level further in than the key; those of a dash begin behind it.
    within = line.indent + (STEP * sum(issubclass(piece.kind, yaml.BlockEntryToken) for piece in head)) + (STEP if keyed else 0)
    indent = " " * within
    if issubclass(value[0].kind, yaml.FlowMappingStartToken):
        blocks = [indent + _pair(entry) for entry in entries]
        if keyed:
            return [start, *blocks]
        return [f"{start} {blocks[0].lstrip()}", *blocks[1:]] if head else blocks
    if all(len(entry) == 1 for entry in entries):
        texts = [entry[0].shown for entry in entries]
        return _filled(f"{start} [" if start.strip() else f"{start}[", [f"{text}," for text in texts[:-1]] + [f"{texts[-1]}]"], indent)
    blocks = [f"{indent}- {_joined(entry)}" for entry in entries]
    return [start, *blocks] if keyed or head else blocks


def _pair(entry: Sequence[Piece]) -> str:
    """An entry of a mapping; one without a value gets its colon."""
    return _joined(entry) + ("" if any(issubclass(piece.kind, yaml.ValueToken) for piece in entry[:2]) else ":")


def _text(line: Line, head: list[Piece], value: Piece) -> list[str]:
    """A text over several lines: where it has a single space a line may end, and YAML reads it as that space again."""
    if value.style not in ("", '"') or not head:
        return []
    words = _BREAKABLE.split(value.shown)
    keyed = issubclass(head[-1].kind, yaml.ValueToken)
    within = line.indent + STEP * sum(issubclass(piece.kind, yaml.BlockEntryToken) for piece in head) + (STEP if keyed else 0)
    return _filled(" " * line.indent + _joined(head) + " ", words, " " * within)


def _filled(start: str, words: Sequence[str], indent: str) -> list[str]:
    """Words in lines of the width; the first of them comes right behind `start`."""
    lines = [start + words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) > WIDTH:
            lines.append(indent + word)
        else:
            lines[-1] += f" {word}"
    return lines


def _joined(pieces: Sequence[Piece]) -> str:
    text = pieces[0].shown if pieces else ""
    for before, piece in pairwise(pieces):
        text += before.space(piece) + piece.shown
    return text
