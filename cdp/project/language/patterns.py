r"""Regular expressions: the part of RE2's syntax that means the same on every engine, written so that it does.

The engines' own dialects differ in what `\d`, `.` and `$` mean, and RE2 (https://github.com/google/re2/wiki/Syntax) has no
look-around and no back-references. What differs is spelled out (`[0-9]`, `[^\n]`, `\z`) or refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cdp.project.language.bind import Place

MOST: Final = 1000  # repetitions, RE2's own limit
LONGEST: Final = 1000  # characters of a pattern
HINT: Final = "RE2 without \\b, flags and named groups"
_SETS: Final = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\f\r "}
_LETTERS: Final = frozenset("afnrt")  # escapes of one character
_GROUPS: Final = {
    "?=": "look-ahead",
    "?!": "look-ahead",
    "?<=": "look-behind",
    "?<!": "look-behind",
    "?>": "an atomic group",
    "?P<": "a named group",
    "?<": "a named group",
    "?#": "a comment",
}
_REPEAT: Final = re.compile(r"\{(\d{1,4})(?:(,)(\d{1,4})?)?\}")
_HEX: Final = re.compile(r"x(?:[0-9A-Fa-f]{2}|\{[0-9A-Fa-f]{1,6}\})")
_CATEGORY: Final = re.compile(r"[pP](?:[LMNPSZ]|\{[LMNPSZ][a-z]?\})")


class Refused(Exception):
    """What is wrong with a pattern."""


@dataclass(slots=True)
class _Reader:
    """Reads a pattern from left to right and writes it as every engine reads it.

    `known` is the same for Python, which then says whether brackets and repetitions fit together.
    """

    text: str
    at: int = 0
    out: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)

    def put(self, portable: str, python: str | None = None) -> None:
        self.out.append(portable)
        self.known.append(portable if python is None else python)

    def read(self) -> str:
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "\\":
                self._escape(inside=False)
            elif char == "[":
                self._class()
            elif char == "(":
                self._group()
            elif char in "*+?{":
                self._repetition()
            else:
                self.at += 1
                self.put({".": r"[^\n]", "$": r"\z", "}": r"\}"}.get(char, char), {"$": r"\Z", ".": r"[^\n]", "}": r"\}"}.get(char))
        try:
            re.compile("".join(self.known))
        except (re.error, OverflowError, RecursionError) as error:
            raise Refused(str(getattr(error, "msg", "it is too complex"))) from None
        return "".join(self.out)

    def _escape(self, inside: bool) -> None:
        rest = self.text[self.at + 1 :]
        letter = rest[:1]
        if letter and letter.lower() in _SETS:
            self._set(letter, inside)
        elif (match := _HEX.match(rest)) is not None:
            code = int(match[0][1:].strip("{}"), 16)
            if code > 0x10FFFF:
                raise Refused(f"\\{match[0]} is no character")
            self.at += 1 + match.end()
            self.put(f"\\{match[0]}", re.escape(chr(code)))
        elif (match := _CATEGORY.match(rest)) is not None:
            self.at += 1 + match.end()
            self.put(f"\\{match[0]}", "a")
        elif letter in _LETTERS or (letter == "A" and not inside) or (letter.isascii() and letter and not letter.isalnum()):
            self.at += 2
            self.put(f"\\{letter}")
        elif letter == "z" and not inside:
            self.at += 2
            self.put(r"\z", r"\Z")
        else:
            raise Refused(_unknown(letter))

    def _set(self, letter: str, inside: bool) -> None:
        r"""`\d`, `\w`, `\s`: of ASCII, on every engine."""
        if inside and letter.isupper():
            raise Refused(f"\\{letter} inside of [...]")
        chars = _SETS[letter.lower()]
        self.at += 2
        self.put(chars if inside else f"[{'^' if letter.isupper() else ''}{chars}]")

    def _class(self) -> None:
        self.at += 1
        self.put("[")
        if self.text[self.at : self.at + 1] == "^":
            self.at += 1
            self.put("^")
        if self.text[self.at : self.at + 1] == "]":
            raise Refused("an empty [...]; write \\] for the character")
        while self.text[self.at : self.at + 1] != "]":
            char = self.text[self.at : self.at + 1]
            if not char:
                raise Refused("a [ that is not closed")
            if char == "[":
                raise Refused("a [ inside of [...]; write \\[ for the character")
            if self.text[self.at : self.at + 2] in ("&&", "--", "~~", "||"):
                raise Refused(f"{self.text[self.at : self.at + 2]} inside of [...]")
            if char == "\\":
                self._escape(inside=True)
            else:
                self.at += 1
                self.put(char)
        self.at += 1
        self.put("]")

    def _group(self) -> None:
        rest = self.text[self.at + 1 :]
        if not rest.startswith("?"):
            self.at += 1
            self.put("(")
        elif rest.startswith("?:"):
            self.at += 3
            self.put("(?:")
        else:
            what = next((word for start, word in sorted(_GROUPS.items(), key=lambda p: -len(p[0])) if rest.startswith(start)), "flags")
            raise Refused(what)

    def _repetition(self) -> None:
        rest = self.text[self.at :]
        if rest[0] == "{":
            match = _REPEAT.match(rest)
            if match is None:
                raise Refused("a { that counts nothing; write \\{ for the character")
            if max(int(n) for n in (match[1], match[3]) if n) > MOST:
                raise Refused(f"more than {MOST} repetitions")
            length = match.end()
        else:
            length = 1
        after = self.text[self.at + length : self.at + length + 1]
        if after == "+":
            raise Refused("a possessive repetition")
        if after and after in "*{":
            raise Refused("a repetition of a repetition")
        lazy = after == "?"
        self.put(rest[: length + lazy])
        self.at += length + lazy


def _unknown(letter: str) -> str:
    if not letter:
        return "a \\ at the end"
    if letter.isdigit():
        return "a back-reference" if letter != "0" else "\\0"
    return {"b": "\\b", "B": "\\B", "k": "a back-reference"}.get(letter, f"\\{letter}")


def read(pattern: str) -> str:
    """The pattern in the words that every engine reads alike.

    Raises:
        Refused: it is empty, too long, or not in the syntax that all engines share.
    """
    if not pattern or len(pattern) > LONGEST:
        raise Refused("an empty pattern matches everything" if not pattern else f"a pattern of more than {LONGEST} characters")
    return _Reader(pattern).read()


def portable(pattern: str, at: Place) -> str | None:
    """`read`, with a problem at `at` instead of the error, and None."""
    try:
        return read(pattern)
    except Refused as error:
        if not pattern or len(pattern) > LONGEST:
            return at.wrong(str(error))
        return at.wrong(f"not in the syntax that all engines share: {error}", hint=HINT)
