"""Reads YAML into trees that keep each scalar's source text and each part's place.

One pass over the parser's events builds both, without recursion: a bomb of aliases is never expanded, and no depth of
brackets can exhaust the stack. PyYAML's C parser makes the events; a thousand segments take a quarter of a second.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import yaml
from yaml import events

from cdp.project.problems import Problems
from cdp.spec.base import Text, Tree

MAX_BYTES: Final = 1_000_000
MAX_DEPTH: Final = 64
MAX_PROBLEMS: Final = 50  # of one file, before the rest of it is left unread

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_OURS, _THEIRS = (re.compile(rf"^{mark * 7} ", re.MULTILINE) for mark in "<>")
_TURNING: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")  # CVE-2021-42574: who reviews a file reads another text than we do
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(slots=True)
class Node:
    """Where a mapping or list stands: its own place, its keys' places, its parts.

    A place is one number, and a scalar part is nothing but its place: there are a hundred of them in a document, and
    objects would make the garbage collector the slowest part of a load.
    """

    place: int
    keys: dict[str, int]
    parts: dict[str, Node | int] | list[Node | int]


def _place(mark: Any) -> int:
    """Line and column, both from 0, in one number; a file has less than 2**20 columns."""
    line: int = mark.line
    column: int = mark.column
    return line << 20 | column


def _line_col(place: int) -> tuple[int, int]:
    return (place >> 20) + 1, (place & 0xFFFFF) + 1


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document.

    Attributes:
        file: path relative to the project, with forward slashes.
        tree: dict, list, Text and None.
        node: the places of the tree's parts.
        sound: False for what stands after a mistake that ends the reading of a file: of such a document only
            `kind` and `name` are known, so that references to it are not reported as well.
    """

    file: str
    tree: dict[str, Tree]
    node: Node
    sound: bool = True

    def position(self, path: Sequence[str | int], key: bool = False) -> tuple[int, int]:
        """Line and column, from 1, of the value at `path` (or of its key), or of the nearest part above that exists."""
        node: Node | int = self.node
        place = self.node.place
        for part in path:
            parts: Any = None if isinstance(node, int) else node.parts
            if isinstance(parts, dict) and part in parts:
                keys = {} if isinstance(node, int) else node.keys
            elif isinstance(parts, list) and isinstance(part, int) and part < len(parts):
                keys = {}
            else:
                break
            node = parts[part]
            value = node if isinstance(node, int) else node.place
            place = keys.get(str(part), value) if key else value
        return _line_col(place)


def read(path: Path, root: Path, problems: Problems) -> list[Document]:
    """The documents of one file; what is wrong with it goes to `problems`."""
    file = path.relative_to(root).as_posix()
    text, before = read_text(path, file, problems, MAX_BYTES), len(problems)
    if text is None:
        return []
    found = parse(text, file, problems)
    if not found and len(problems) == before:  # an editor or a disk may have lost what stood there, and with it a sync that would remove
        problems.warn(file, (), "declares nothing", hint="restore what it held, or remove it")
    return found


def parse(text: str, file: str, problems: Problems) -> list[Document]:
    """The documents of a text; what is wrong with it goes to `problems`, as of the file of that name."""
    return _Reader(file, problems).read(text)


def read_text(path: Path, file: str, problems: Problems, limit: int) -> str | None:
    """The text of a file of at most `limit` bytes, without a byte order mark; None where a problem was added."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
            problems.add(file, (), "is not a regular file")
            return None
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        problems.add(file, (), f"cannot be read: {error.strerror}")
        return None
    if len(data) > limit:
        problems.add(file, (), f"is larger than {limit:,} bytes", hint="split it; data does not belong into a project")
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        col = error.start - data.rfind(b"\n", 0, error.start)
        problems.add(file, (), f"is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}", hint="save it as UTF-8", at=(line, col))
        return None


class _Stop(Exception):
    """The rest of the file cannot be read; the problem has been added."""


_BAD: Final = Text("")  # stands for a key that was refused: its value is dropped


class _Frame:
    """A mapping or a list that is being read. `key` waits for its value; `is_key`: the container itself stands as a key."""

    __slots__ = ("is_key", "key", "node", "value")

    def __init__(self, value: dict[str, Tree] | list[Tree], node: Node, is_key: bool) -> None:
        self.value = value
        self.node = node
        self.is_key = is_key
        self.key: str | None = None


class _Reader:
    """Builds the documents of one file from the parser's events."""

    def __init__(self, file: str, problems: Problems) -> None:
        self.file = file
        self.problems = problems
        self.documents: list[Document] = []
        self.stack: list[_Frame] = []
        self.found = 0
        self.handlers: dict[type[events.Event], Callable[[Any], None]] = {
            events.ScalarEvent: self._scalar,
            events.MappingStartEvent: self._mapping,
            events.SequenceStartEvent: self._sequence,
            events.MappingEndEvent: self._end,
            events.SequenceEndEvent: self._end,
            events.AliasEvent: self._alias,
        }

    def read(self, text: str) -> list[Document]:
        handlers = self.handlers
        try:
            self._turned(text)
            for event in yaml.parse(text, Loader=_LOADER):
                if handler := handlers.get(type(event)):
                    handler(event)
        except _Stop:
            self.documents += _names_of(text, self.file, self.documents)
        except yaml.YAMLError as error:
            if not self._conflict(text):
                self._syntax(error, text)
            self.documents += _names_of(text, self.file, self.documents)
        return self.documents

    # -- events -----------------------------------------------------------------------------------------------------

    def _scalar(self, event: Any) -> None:
        if event.tag or event.anchor:
            self._undecorated(event)
        text, plain = event.value, event.style in (None, "")
        frame = self.stack[-1] if self.stack else None
        if frame is not None and frame.key is None and type(frame.value) is dict:
            self._key(frame, text, plain, event.start_mark)
            return
        value = None if plain and text in _NULLS else Text(text, not plain)
        self._put(frame, value, _place(event.start_mark))

    def _key(self, frame: _Frame, text: str, plain: bool, mark: Any) -> None:
        frame.key = _BAD
        if not text or (plain and text == "~"):
            self._problem(_place(mark), "an empty key")
        elif plain and text == "<<":
            self._problem(_place(mark), "merge keys (<<) are not read", "write the keys out")
        elif text in frame.value:
            first, _ = _line_col(frame.node.keys[text])
            self._problem(_place(mark), f"duplicate key {short(text)}", f"the first stands in line {first}; remove one")
        else:
            frame.key = text
            frame.node.keys[text] = _place(mark)

    def _mapping(self, event: Any) -> None:
        self._open(event, {}, Node(_place(event.start_mark), {}, {}))

    def _sequence(self, event: Any) -> None:
        self._open(event, [], Node(_place(event.start_mark), {}, []))

    def _open(self, event: Any, value: Any, node: Node) -> None:
        if event.tag or event.anchor:
            self._undecorated(event)
        if len(self.stack) >= MAX_DEPTH:
            self._problem(_place(event.start_mark), f"nested deeper than {MAX_DEPTH} levels")
            raise _Stop
        frame = self.stack[-1] if self.stack else None
        is_key = frame is not None and frame.key is None and type(frame.value) is dict
        if frame is not None and is_key:
            kind = "mapping" if type(value) is dict else "list"
            self._problem(_place(event.start_mark), f"a {kind} as a key", "keys are text")
            frame.key = _BAD
        else:
            self._put(frame, value, node)
        self.stack.append(_Frame(value, node, is_key))

    def _end(self, _: Any) -> None:
        frame = self.stack.pop()
        if not self.stack:
            if type(frame.value) is dict:
                self.documents.append(Document(self.file, frame.value, frame.node))
        elif not frame.is_key:
            self.stack[-1].key = None

    def _put(self, frame: _Frame | None, value: Tree, node: Node | int) -> None:
        """Hang a value below its parent. A parent keeps its key until a mapping or list that begins here is closed."""
        if frame is None:
            if value is not None and type(value) is not dict:
                kind = "a list" if isinstance(node, Node) else short(value)
                place = node.place if isinstance(node, Node) else node
                self._problem(place, f"a document must be a mapping, not {kind}", "begin with `kind:`")
            return
        values, parts = frame.value, cast(Any, frame.node.parts)
        if isinstance(values, dict):
            if frame.key is not None and frame.key is not _BAD:
                values[frame.key] = value
                parts[frame.key] = node
            if not isinstance(node, Node):
                frame.key = None
        else:
            values.append(value)
            parts.append(node)

    def _alias(self, event: Any) -> None:
        self._problem(_place(event.start_mark), f"alias {short('*' + event.anchor)}: aliases are not read", "write the value out")
        raise _Stop

    # -- mistakes ---------------------------------------------------------------------------------------------------

    def _turned(self, text: str) -> None:
        for found in _TURNING.finditer(text):
            line, col = text.count("\n", 0, found.start()), found.start() - text.rfind("\n", 0, found.start()) - 1
            message = f"U+{ord(found[0]):04X} changes the order in which letters are shown: what stands here is not what is seen"
            self._problem(line << 20 | col, message, "remove it")

    def _undecorated(self, event: Any) -> None:
        if event.anchor:
            self._problem(_place(event.start_mark), f"anchor {short('&' + event.anchor)}: anchors are not read", "write the value out")
        if event.tag:
            self._problem(_place(event.start_mark), f"tag {short(event.tag)}: tags are not read", "remove it; the field decides the type")

    def _problem(self, place: int, message: str, hint: str = "") -> None:
        self.problems.add(self.file, (), message, hint=hint, at=_line_col(place))
        self.found += 1
        if self.found >= MAX_PROBLEMS:
            self.problems.add(self.file, (), f"has {MAX_PROBLEMS} mistakes; the rest was not read")
            raise _Stop

    def _conflict(self, text: str) -> bool:
        """Report a merge of git that nobody has finished, which reads as one odd mistake after another."""
        mark = _OURS.search(text)
        if mark is None or _THEIRS.search(text, mark.end()) is None:
            return False
        at = text.count("\n", 0, mark.start()) + 1, 1
        self.problems.add(self.file, (), "a merge that is not finished", hint="choose between the two versions, remove the marks", at=at)
        return True

    def _syntax(self, error: Any, text: str) -> None:
        if isinstance(error, yaml.reader.ReaderError):
            before = text.encode()[: error.position].decode(errors="ignore")
            at = before.count("\n") + 1, len(before) - before.rfind("\n")
            self.problems.add(self.file, (), "a control character", hint="remove it", at=at)
            return
        mark, began, message, hint = error.problem_mark, error.context_mark, error.problem, ""
        line = text.split("\n")[mark.line :][:1]
        if line and line[0][mark.column :].startswith("\t"):
            message, hint = "a tab", "indent with spaces"
        elif message == "mapping values are not allowed in this context":
            hint = "put text that holds `: ` in quotes"
        elif began and (began.line, began.column) != (mark.line, mark.column):
            message = f"{message} {error.context} that began at {began.line + 1}:{began.column + 1}"
        self.problems.add(self.file, (), f"not YAML: {message}", hint=hint, at=(mark.line + 1, mark.column + 1))


def _names_of(text: str, file: str, read: Sequence[Document]) -> list[Document]:
    """What the unread rest of a broken file seems to declare, found by its `kind:` and `name:` lines."""
    known = {(d.tree.get("kind"), d.tree.get("name")) for d in read}
    found = []
    for part in re.split(r"^---", text, flags=re.MULTILINE):
        pairs = dict(re.findall(r"^(kind|name):[ \t]*[\"']?(\w+)", part, re.MULTILINE))
        if "kind" in pairs and (pairs["kind"], pairs.get("name")) not in known:
            found.append(Document(file, pairs, Node(0, {}, {}), sound=False))
    return found


def short(value: str) -> str:
    """A YAML text quoted for a message, cut where it is long."""
    return repr(str(value) if len(value) <= 60 else value[:57] + "...")
