"""A YAML text as lines of tokens, each line with the indentation that its place in the document gives it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

STEP: Final = 2  # spaces a level

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_OPENS: Final = (yaml.FlowMappingStartToken, yaml.FlowSequenceStartToken)
_CLOSES: Final = (yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)
_SILENT: Final = (yaml.StreamStartToken, yaml.StreamEndToken, yaml.BlockMappingStartToken, yaml.BlockSequenceStartToken, yaml.BlockEndToken)
_OTHER_BREAKS: Final = "\r\x85\u2028\u2029"  # what YAML takes for the end of a line besides \n


class Unreadable(Exception):
    """What this cannot lay out, and where: line and column from 1."""

    def __init__(self, message: str, line: int, col: int) -> None:
        super().__init__(message)
        self.message, self.line, self.col = message, line, col


@dataclass(frozen=True, slots=True)
class Piece:
    """What stands of a token on one line.

    Attributes:
        kind: the class of the token.
        text: as it stands there.
        start, end: its columns.
        inside: it is the rest of a scalar that began on a line above.
        whole: the token begins and ends on this line.
        style: of a scalar, its quotes.
    """

    kind: type[Any]
    text: str
    start: int
    end: int
    inside: bool = False
    whole: bool = True
    style: str = ""

    @property
    def shown(self) -> str:
        """The text, in double quotes where single ones say the same."""
        if self.style == "'" and self.whole and not any(c in self.text[1:-1] for c in "'\"\\"):
            return f'"{self.text[1:-1]}"'
        return self.text

    @property
    def opens(self) -> bool:
        """Whether a flow begins here."""
        return issubclass(self.kind, _OPENS)

    @property
    def closes(self) -> bool:
        """Whether a flow ends here."""
        return issubclass(self.kind, _CLOSES)

    def space(self, following: Piece) -> str:
        """What stands between this and the next token of its line."""
        if self.opens or following.closes or issubclass(following.kind, (yaml.ValueToken, yaml.FlowEntryToken)):
            return ""
        return " "


@dataclass(slots=True)
class Line:
    """One line.

    Attributes:
        pieces: its tokens.
        comment, comment_at: the comment at its end, or alone, and its column.
        verbatim: the whole line, where it is a part of a scalar that the layout must not touch.
        flow: it begins inside of a flow.
        column, indent: where its first token stands, and where it belongs.
        shift: by how much what hangs on the line moves.
        levels: old and new columns of the block collections that are open here.
    """

    pieces: list[Piece] = field(default_factory=list)
    comment: str = ""
    comment_at: int = 0
    verbatim: str | None = None
    flow: bool = False
    column: int = 0
    indent: int = 0
    shift: int = 0
    levels: tuple[tuple[int, int], ...] = ()

    @property
    def blank(self) -> bool:
        """Whether nothing stands here."""
        return not self.pieces and not self.comment and self.verbatim is None


def lines_of(text: str) -> list[Line]:
    """The lines of a text.

    Raises:
        Unreadable: it holds what a project's files need not hold: an explicit key (`?`), an anchor, an alias, a tag.
        yaml.YAMLError: it is not YAML.
    """
    return _Reader(text).read()


@dataclass(slots=True)
class _Level:
    """A block collection that is open: its old and new column; `bare`: a list at the column of the mapping that holds it."""

    mapping: bool
    old: int
    new: int
    bare: bool = False


class _Reader:
    def __init__(self, text: str) -> None:
        for number, line in enumerate(text.split("\n")):
            for col, char in enumerate(line):
                if char in _OTHER_BREAKS:
                    raise Unreadable(f"a line break of another kind (U+{ord(char):04X})", number + 1, col + 1)
        self.text = text
        self.source = text.split("\n")
        if self.source[-1] == "":
            self.source.pop()
        self.lines = [Line() for _ in self.source]
        self.levels: list[_Level] = []
        self.flows = 0
        self.last = -1  # the line on which the last token ended

    def read(self) -> list[Line]:
        for token in yaml.scan(self.text, Loader=_LOADER):
            self._structure(token)
            if not isinstance(token, _SILENT) and not isinstance(token, yaml.KeyToken):
                self._place(token)
        for number, line in enumerate(self.lines):
            if line.verbatim is None:
                self._comment(number, line)
        return self.lines

    # -- block structure ----------------------------------------------------------------------------------------------

    def _structure(self, token: Any) -> None:
        mark = token.start_mark
        if isinstance(token, (yaml.AnchorToken, yaml.AliasToken, yaml.TagToken, yaml.DirectiveToken)):
            raise Unreadable("anchors, aliases, tags and directives are not laid out", mark.line + 1, mark.column + 1)
        if isinstance(token, yaml.KeyToken) and token.end_mark.column > mark.column:
            raise Unreadable("an explicit key (`? `) is not laid out", mark.line + 1, mark.column + 1)
        if isinstance(token, (yaml.DocumentStartToken, yaml.DocumentEndToken)):
            self.levels.clear()
        elif isinstance(token, (yaml.BlockMappingStartToken, yaml.BlockSequenceStartToken)):
            self.levels.append(_Level(isinstance(token, yaml.BlockMappingStartToken), mark.column, self._inner()))
        elif isinstance(token, yaml.BlockEndToken):
            self._leave_bare()
            self.levels.pop()
        elif isinstance(token, yaml.KeyToken) and not self.flows:
            self._leave_bare()
        elif isinstance(token, yaml.BlockEntryToken) and self.levels and self.levels[-1].mapping:
            self.levels.append(_Level(False, mark.column, self._inner(), bare=True))

    def _leave_bare(self) -> None:
        """A list without an indentation of its own ends without a token."""
        if self.levels and self.levels[-1].bare:
            self.levels.pop()

    def _inner(self) -> int:
        return self.levels[-1].new + STEP if self.levels else 0

    # -- tokens on lines ----------------------------------------------------------------------------------------------

    def _place(self, token: Any) -> None:
        begin, end = token.start_mark, token.end_mark
        line = self.lines[begin.line]
        if begin.line > self.last and not line.pieces:
            self._begin(line, token)
        if isinstance(token, _OPENS):
            self.flows += 1
        elif isinstance(token, _CLOSES):
            self.flows -= 1
        style = (token.style or "") if isinstance(token, yaml.ScalarToken) else ""
        if style in ("|", ">"):
            self._block_scalar(token, line)
        elif begin.line == end.line:
            line.pieces.append(
                Piece(type(token), self.source[begin.line][begin.column : end.column], begin.column, end.column, style=style)
            )
            self.last = end.line
        else:
            self._long_scalar(token, style)

    def _begin(self, line: Line, token: Any) -> None:
        """The first token of a line: where it belongs, and how far what hangs on it moves."""
        column = token.start_mark.column
        innermost = self.levels[-1] if self.levels else None
        line.column, line.flow = column, self.flows > 0
        line.levels = tuple((level.old, level.new) for level in self.levels)
        line.shift = innermost.new - innermost.old if innermost else 0
        if isinstance(token, (yaml.DocumentStartToken, yaml.DocumentEndToken)) or innermost is None:
            line.indent = 0 if not line.flow else column
        elif line.flow:
            line.indent = max(0, column + line.shift)
        else:
            line.indent = self._indent(column, innermost)
            line.shift = line.shift if column == innermost.old else line.indent - column

    def _indent(self, column: int, innermost: _Level) -> int:
        """A key or a dash stands in the column of its collection; a value alone on a line one level further in."""
        return next((level.new for level in reversed(self.levels) if level.old == column), innermost.new + STEP)

    def _long_scalar(self, token: Any, style: str) -> None:
        """A text over several lines: its lines stay as they are, only that they move with the first."""
        begin, end = token.start_mark, token.end_mark
        first = self.lines[begin.line]
        text = self.source[begin.line][begin.column :].rstrip(" \t")
        first.pieces.append(Piece(type(token), text, begin.column, begin.column + len(text), whole=False, style=style))
        for number in range(begin.line + 1, end.line + 1):
            line = self.lines[number]
            line.flow, line.shift, line.levels = self.flows > 0, first.shift, first.levels
            if number < end.line:
                line.verbatim = self.source[number]
            else:
                line.pieces.append(
                    Piece(type(token), self.source[number][: end.column], 0, end.column, inside=True, whole=False, style=style)
                )
        self.last = end.line

    def _block_scalar(self, token: Any, line: Line) -> None:
        begin = token.start_mark
        header = self.source[begin.line][begin.column :].rstrip(" \t")
        line.pieces.append(Piece(type(token), header, begin.column, begin.column + len(header), whole=False, style=token.style))
        end = min(token.end_mark.line, len(self.source))
        if token.end_mark.column and token.end_mark.line < len(self.source):
            end += 1
        if "+" not in header.partition("#")[0]:  # lines left empty behind it do not belong to it
            while end > begin.line + 1 and not self.source[end - 1].strip():
                end -= 1
        innermost = self.levels[-1] if self.levels else None
        for number in range(begin.line + 1, end):
            self.lines[number].verbatim = self.source[number]
            self.lines[number].shift = innermost.new - innermost.old if innermost else 0
        self.last = end - 1

    # -- comments -----------------------------------------------------------------------------------------------------

    def _comment(self, number: int, line: Line) -> None:
        """What stands behind the last token of a line, or on a line without one."""
        after = line.pieces[-1].end if line.pieces else 0
        rest = self.source[number][after:]
        text = rest.strip(" \t")
        if text and (not line.pieces or line.pieces[-1].style not in ("|", ">")):
            line.comment, line.comment_at = text, after + len(rest) - len(rest.lstrip(" \t"))
            if not line.pieces:
                above = next((each for each in reversed(self.lines[:number]) if each.pieces), None)
                line.flow = self._in_flow(number)
                line.shift = above.shift if above is not None else 0

    def _in_flow(self, number: int) -> bool:
        """Whether a line without tokens lies inside of a flow: then the next line that has one does too."""
        following = next((line for line in self.lines[number + 1 :] if line.pieces), None)
        return following is not None and following.flow


def items(pieces: list[Piece]) -> Iterator[list[Piece]]:
    """The entries of a flow, from the tokens between its brackets."""
    depth, entry = 0, list[Piece]()
    for piece in pieces:
        depth += piece.opens - piece.closes
        if depth == 0 and issubclass(piece.kind, yaml.FlowEntryToken):
            yield entry
            entry = []
        else:
            entry.append(piece)
    if entry:
        yield entry
