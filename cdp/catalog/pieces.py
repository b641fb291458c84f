"""The pieces that every section of the catalog is made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cdp.catalog.html import Html, Part, join, listed, tag
from cdp.catalog.lineage import anchor
from cdp.catalog.uses import Part as Named
from cdp.project.source import Document

WORDS: Final[Mapping[str, str]] = {"value_set": "value set", "rule": "eligibility rule"}

_YAML: Final = re.compile(
    r"(?P<comment>(?:^|(?<=\s))#.*$)|(?P<key>^[ \t-]*[\w.\"'$%/-]+(?=:(?:\s|$)))|(?P<text>\"[^\"\n]*\"|'[^'\n]*')", re.M
)
_SQL: Final = re.compile(
    r"(?P<comment>/\*.*?\*/|--.*$)|(?P<text>'(?:[^']|'')*')|(?P<key>\b(?:WITH|AS|SELECT|DISTINCT|FROM|LEFT|INNER|CROSS|JOIN|SEMI|ANTI|ON|WHERE"
    r"|AND|OR|NOT|IN|IS|NULL|BETWEEN|CASE|WHEN|THEN|ELSE|END|GROUP|ORDER|BY|HAVING|OVER|PARTITION|ROWS|RANGE|FILTER|CAST|EXISTS|UNION|ALL"
    r"|TRUE|FALSE|DATE|TIMESTAMP|INTERVAL|DESC|ASC|LIMIT)\b)",
    re.M | re.S,
)
_LANGUAGES: Final = {"yaml": _YAML, "sql": _SQL}


@dataclass(frozen=True, slots=True)
class Entry:
    """What the page says of one part.

    Attributes:
        part: (kind, name).
        body: what stands below its heading.
        words: what a search finds it by besides its name, plain text.
        about: one line.
    """

    part: Named
    body: Html
    about: str = ""
    words: str = ""


def link(part: Named, known: Iterable[Named] | None = None) -> Html:
    """A part's name, leading to what is said of it; plain text where the page says nothing."""
    kind, name = part
    if known is not None and part not in known:
        return tag("span", name)
    return tag("a", name, href=f"#{anchor(part)}", class_=f"name {kind}")


def breakable(name: str) -> Html:
    """A name that may go on in the next line after each of its words."""
    first, *rest = name.split("_")
    return join([first, *(["_", tag("wbr"), word] for word in rest)])


def users(parts: Sequence[Named], nothing: str = "nothing") -> Html:
    """Who uses something, by kind; rules and columns have no place of their own on the page."""
    if not parts:
        return tag("span", nothing, class_="none")
    kinds = dict.fromkeys(kind for kind, _ in parts)
    return listed(
        (tag("span", [_kind(kind, parts), " ", listed(_shown(part) for part in parts if part[0] == kind)]) for kind in kinds),
        separator="; ",
    )


def _kind(kind: str, parts: Sequence[Named]) -> str:
    word = WORDS.get(kind, kind)
    return word if sum(each == kind for each, _ in parts) == 1 else f"{word.removesuffix('y')}ies" if word.endswith("y") else f"{word}s"


def _shown(part: Named) -> Html:
    kind, name = part
    return tag("span", name.partition(".")[2]) if kind == "rule" else link(part)


def facts(rows: Mapping[str, Part]) -> Html:
    """Names and values; those without a value are left out."""
    kept = {name: text for name, value in rows.items() if (text := join(value))}
    return tag("dl", ([tag("dt", name), tag("dd", value)] for name, value in kept.items())) if kept else Html("")


def table(columns: Sequence[str], rows: Iterable[Sequence[Part]], caption: str = "") -> Html:
    """Rows under headings; the first cell of a row is what it is about."""
    body = [tag("tr", tag("th", first, scope="row"), [tag("td", cell) for cell in rest]) for first, *rest in rows]
    if not body:
        return Html("")
    head = tag("thead", tag("tr", [tag("th", column, scope="col") for column in columns]))
    grid = tag("table", tag("caption", caption) if caption else None, head, tag("tbody", body))
    return tag("div", grid, class_="scroll", tabindex="0", role="region", aria_label=caption or columns[0])


def chips(words: Iterable[str], kind: str = "class") -> Html:
    """Short words, each in a box."""
    return tag("span", [tag("span", word, class_=f"chip {kind}") for word in words], class_="chips")


def folded(title: str, content: Part, *, open_: bool = False) -> Html:
    """What is shown on demand."""
    return tag("details", tag("summary", title), content, open=open_)


def code(text: str, language: str) -> Html:
    """Source text with its comments, keys and texts marked."""
    parts: list[Part] = []
    end = 0
    for match in _LANGUAGES[language].finditer(text):
        parts += [text[end : match.start()], tag("span", match[0], class_=match.lastgroup)]
        end = match.end()
    return tag("pre", tag("code", parts, text[end:]), tabindex="0")


def source(document: Document, text: str) -> str:
    """The YAML of one document: of the file that holds it, what stands between its `---`."""
    lines = text.splitlines()
    first = document.position(())[0] - 1
    start = max((n + 1 for n in range(first) if lines[n].startswith("---")), default=0)
    end = next((n for n in range(first, len(lines)) if lines[n].startswith(("---", "..."))), len(lines))
    return "\n".join(lines[start:end]).strip("\n")
