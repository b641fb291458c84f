"""`cdp docs`: the whole project on one page of HTML that needs nothing else.

It says what the files of the project say, and nothing of any patient: sizes are counts, suppressed where they are small.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cdp.catalog import activation, models
from cdp.catalog.document import asset, document
from cdp.catalog.html import Html, Part, embedded, join, tag
from cdp.catalog.lineage import anchor, edges, svg
from cdp.catalog.models import Catalog, Size
from cdp.catalog.pieces import Entry, breakable, facts
from cdp.compile import Clock
from cdp.project.project import Project

LARGEST: Final = 120  # parts in the picture of the whole project; beyond that each segment's own picture has to do


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: all entries of one kind."""

    name: str
    title: str
    about: str
    entries: tuple[Entry, ...]
    before: Html | None = None


def page(project: Project, *, clock: Clock, now: Clock, sizes: Mapping[str, Sequence[Size]] | None = None) -> str:
    """The catalog of a project.

    Args:
        project: loaded and valid.
        clock: the moment that SQL is shown for.
        now: the wall clock, for what governance decides and for the page's date.
        sizes: by segment, how large it was in past runs, newest first.
    """
    catalog = Catalog.of(project, clock, sizes or {})
    sections = list(_sections(catalog, now))
    title = f"{project.config.name} — segments and syncs"
    main = tag("main", _overview(catalog, sections, now), [_section(section) for section in sections], id="main")
    index = tag("script", embedded(json.dumps(search_index(sections), ensure_ascii=False)), type="application/json", id="index")
    columns = tag("div", _navigation(sections), main, class_="columns")
    return document(title, _top(project), columns, index, tag("script", Html(asset("page.js"))))


def _sections(catalog: Catalog, now: Clock) -> Iterator[Section]:
    made = (
        ("segment", "Segments", "Who is meant: populations by name.", models.segments(catalog)),
        ("trait", "Traits", "Values with a name, used like columns.", models.traits(catalog)),
        ("value_set", "Value sets", "Codes by name, and what comparing with them tells.", models.value_sets(catalog)),
        ("sync", "Syncs", "What leaves, where to, and why.", activation.syncs(catalog, now)),
        ("destination", "Destinations", "Who receives it, under which agreement.", activation.destinations(catalog)),
        ("entity", "Entities", "The tables, their columns and classes, and who uses them.", models.entities(catalog)),
    )
    for kind, title, about, entries in made:
        before = activation.rules(catalog) if kind == "sync" else None
        yield Section(kind, title, about, tuple(entries), before)


# -- parts of the page ------------------------------------------------------------------------------------------------


def _top(project: Project) -> Html:
    search = tag(
        "form",
        tag("label", "Search", for_="search"),
        tag("input", id="search", type="search", placeholder="a name, a code, an owner …", autocomplete="off", spellcheck="false"),
        tag("output", id="found", aria_live="polite"),
        role="search",
        hidden=True,
    )
    return tag("header", tag("h1", tag("a", project.config.name, href="#main")), search)


def _navigation(sections: Iterable[Section]) -> Html:
    groups = [
        tag(
            "details",
            tag("summary", tag("a", section.title, href=f"#{section.name}s"), " ", tag("span", str(len(section.entries)), class_="count")),
            tag("ul", [tag("li", tag("a", breakable(entry.part[1]), href=f"#{anchor(entry.part)}")) for entry in section.entries]),
            open=True,
        )
        for section in sections
        if section.entries
    ]
    return tag("nav", groups, aria_label="Contents")


def _overview(catalog: Catalog, sections: Sequence[Section], now: Clock) -> Html:
    project = catalog.project
    counts = tag(
        "p",
        [[tag("a", tag("strong", str(len(s.entries))), " ", s.title.lower(), href=f"#{s.name}s"), " "] for s in sections],
        class_="counts",
    )
    said: list[Part] = [
        tag("h2", "Overview"),
        counts,
        facts({"made": f"{now.day}", "SQL as of": f"{catalog.clock.day}", "time zone": project.config.timezone}),
    ]
    if project.warnings:
        lines = [tag("li", tag("code", f"{w.file}:{w.line}"), f" {w.where + ': ' if w.where else ''}{w.message}") for w in project.warnings]
        said += [tag("h3", f"{len(lines)} warning{'s' if len(lines) != 1 else ''}"), tag("ul", lines, class_="warning")]
    lines_ = edges(catalog.uses)
    if 0 < len({part for line in lines_ for part in line}) <= LARGEST:
        said += [
            tag("h3", "Lineage"),
            tag("p", "From tables over traits and segments to what leaves. Each name leads to its entry."),
            svg(lines_, "Lineage"),
        ]
    return tag("section", said, id="overview")


def _section(section: Section) -> Html:
    if not section.entries:
        return Html("")
    entries = [tag("article", tag("h3", entry.part[1], _self(entry)), entry.body, id=anchor(entry.part)) for entry in section.entries]
    return tag("section", tag("h2", section.title), tag("p", section.about, class_="about"), section.before, entries, id=f"{section.name}s")


def _self(entry: Entry) -> Html:
    return tag("a", "#", href=f"#{anchor(entry.part)}", class_="self", aria_label=f"Link to {entry.part[1]}")


def search_index(sections: Iterable[Section]) -> list[dict[str, str]]:
    """What the search looks through: names, one line about each, and other words it is found by."""
    return [
        {"id": anchor(entry.part), "kind": entry.part[0], "name": entry.part[1], "text": " ".join(filter(None, (entry.about, entry.words)))}
        for section in sections
        for entry in section.entries
    ]


__all__ = ["Section", "Size", "join", "page", "search_index"]
