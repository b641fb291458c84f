"""A page of HTML that needs nothing else: no network, no file beside it."""

from __future__ import annotations

from importlib import resources

from cdp.catalog.html import Html, Part, tag

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def document(title: str, *body: Part) -> str:
    """The whole text of a page; its style stands in it, and its policy lets it load nothing."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Html(asset("page.css"))),
    )
    content = tag("body", tag("a", "Skip to the content", href="#main", class_="skip"), *body)
    return f"<!DOCTYPE html>\n{tag('html', head, content, lang='en')}\n"


def asset(name: str) -> str:
    """The text of a file that stands beside this module."""
    return resources.files("cdp.catalog").joinpath(name).read_text(encoding="utf-8")
