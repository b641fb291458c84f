"""HTML from Python: whatever is not `Html` is text, and is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Final

VOID: Final = frozenset({"br", "hr", "input", "link", "meta", "wbr"})


class Html(str):
    """Markup that is safe to stand in a page."""

    __slots__ = ()


Part = str | Iterable["Part"] | None  # text, markup, nothing, or several of them


def tag(name: str, /, *content: Part, **attributes: object) -> Html:
    """An element.

    Args:
        name: of the element.
        content: text is escaped; None is left out; an iterable stands for its parts.
        attributes: `class_` is class, `data_name` is data-name; None and False are left out, True is an attribute without a value.
    """
    words = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None and value is not False)
    return Html(f"<{name}{words}>" if name in VOID else f"<{name}{words}>{join(content)}</{name}>")


def _attribute(key: str, value: object) -> str:
    name = key.removesuffix("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'


def join(content: Part) -> Html:
    """Parts beside each other."""
    if content is None:
        return Html("")
    if isinstance(content, Html):
        return content
    if isinstance(content, str):
        return Html(html.escape(content))
    return Html("".join(join(part) for part in content))


def listed(items: Iterable[Part], *, separator: str = ", ") -> Html:
    """Parts in one line."""
    return Html(html.escape(separator).join(join(item) for item in items))


def embedded(json_text: str) -> Html:
    """JSON for a script element: nothing in it can end the element."""
    return Html(json_text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))
