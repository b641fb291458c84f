"""What the catalog says of segments, traits, value sets and entities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cdp.catalog.html import Html, Part, join, listed, tag
from cdp.catalog.lineage import edges, svg
from cdp.catalog.pieces import Entry, chips, code, facts, folded, link, source, table, users
from cdp.catalog.uses import Uses
from cdp.compile import Clock, compile_segment, compile_trait
from cdp.errors import CdpError, Problem
from cdp.project.codes.reviews import standing
from cdp.project.project import Project
from cdp.project.terms import Compare, Condition, Every, Negation, Some
from cdp.project.terms.describe import describe, parts
from cdp.spec.model import Column, Entity, Segment, Trait, ValueSet
from cdp.spec.policy import ValueSetReview

SMALL: Final = 11  # fewer people are never shown as a number
CODES: Final = 500  # codes of a value set that the page lists


@dataclass(frozen=True, slots=True)
class Size:
    """How large a segment was when a sync of it ran: the day, the sync, how many people, and whether it meant the same as now."""

    on: str
    sync: str
    people: int
    same: bool = True

    @property
    def shown(self) -> str:
        """The number, suppressed where it is small."""
        return f"{self.people:,}" if self.people == 0 or self.people >= SMALL else f"<{SMALL}"


@dataclass(frozen=True, slots=True)
class Catalog:
    """What the sections are made from.

    Attributes:
        clock: the moment that SQL is shown for.
        texts: the project's files, by path.
        sizes: by segment, newest first.
    """

    project: Project
    uses: Uses
    clock: Clock
    texts: Mapping[str, str]
    sizes: Mapping[str, Sequence[Size]]

    @classmethod
    def of(cls, project: Project, clock: Clock, sizes: Mapping[str, Sequence[Size]]) -> Catalog:
        """Find who uses what, and read the sources once more as text."""
        files = sorted({document.file for document in project.sources.values()})
        texts = {file: Path(project.root / file).read_text(encoding="utf-8-sig") for file in files}
        return cls(project, Uses.find(project), clock, texts, sizes)

    def yaml(self, kind: str, name: str) -> Html:
        """The source of a document, folded."""
        document = self.project.sources[kind, name]
        place = f"{document.file}:{document.position(())[0]}"
        return folded(f"YAML — {place}", code(source(document, self.texts[document.file]), "yaml"))

    def used_by(self, kind: str, name: str) -> Html:
        """Who uses a part."""
        return users(self.uses.users(kind, name))

    def warnings(self, kind: str, name: str) -> Html:
        """What is probably a mistake in a document."""
        document = self.project.sources[kind, name]
        lines = [w for w in self.project.warnings if w.file == document.file and self._in(w, kind, name)]
        return (
            tag("ul", [tag("li", f"{w.message}{f'; {w.hint}' if w.hint else ''}") for w in lines], class_="warning") if lines else Html("")
        )

    def _in(self, warning: Problem, kind: str, name: str) -> bool:
        """Whether a line lies in a document: after its beginning, before that of the next one of the file."""
        file = self.project.sources[kind, name].file
        begins = sorted(d.position(())[0] for d in self.project.sources.values() if d.file == file)
        own = self.project.sources[kind, name].position(())[0]
        return own == max((line for line in begins if line <= warning.line), default=own)


# -- segments ---------------------------------------------------------------------------------------------------------


def segments(catalog: Catalog) -> Iterator[Entry]:
    """Every segment and template."""
    for name, segment in sorted(catalog.project.segments.items()):
        yield Entry(("segment", name), join(_segment(catalog, segment)), segment.description, f"{segment.owner} {segment.purpose}")


def _segment(catalog: Catalog, segment: Segment) -> Iterator[Part]:
    name, bound = segment.name, catalog.project.bound
    yield tag("p", segment.description) if segment.description else None
    yield catalog.warnings("segment", name)
    yield facts(
        {
            "of": link(("entity", segment.entity)),
            "owner": segment.owner,
            "purpose": segment.purpose,
            "parameters": listed(f"{key}: {kind}" for key, kind in segment.params.items()),
            "tests": _tests(segment.tests),
            "used by": catalog.used_by("segment", name),
            "people": _sizes(catalog.sizes.get(name, ())),
        }
    )
    if (term := bound.segments.get(name)) is not None and not segment.params:
        yield [tag("h4", "Who is in"), tag("ul", tree(term, catalog.project), class_="tree")]
    if fillings := [given for template, given in bound.templates if template == name]:
        yield tag("h4", "Used with")
        yield tag("ul", [tag("li", ", ".join(f"{key}: {value}" for key, value in given)) for given in sorted(fillings)])
    yield _picture(catalog, ("segment", name))
    yield catalog.yaml("segment", name)
    if not segment.params:
        yield _sql(catalog, "segment", name)


def tree(term: Condition, project: Project) -> Html:
    """A condition in words, the parts of it in a list inside."""
    inner = parts(term, project)
    if not inner:
        return tag("li", describe(term, project))
    match term:
        case Some():
            head = "any of"
        case Negation():
            head = "not"
        case Compare():
            head = describe(term, project).partition(":")[0]
        case _:
            head = "all of"
    items = inner[0][1].of if isinstance(term, Negation) and isinstance(inner[0][1], Every) else [part for _, part in inner]
    return tag("li", f"{head}:", tag("ul", [tree(part, project) for part in items]))


def _tests(tests: object) -> str:
    """How many cases the tests of a segment or trait have."""
    cases = sum(
        len(test.get("cases", [None])) if isinstance(test, dict) else len(getattr(test, "cases", None) or (None,)) for test in _each(tests)
    )
    return f"{cases} case{'s' if cases != 1 else ''}" if cases else "none"


def _each(tests: object) -> Sequence[object]:
    return tests if isinstance(tests, (list, tuple)) else ()


def _sizes(sizes: Sequence[Size]) -> Html:
    if not sizes:
        return Html("")
    said = [
        tag("li", tag("strong", size.shown), f" on {size.on}, {size.sync}{'' if size.same else ', another rule then'}") for size in sizes
    ]
    return tag("ul", said, class_="sizes")


def _picture(catalog: Catalog, part: tuple[str, str]) -> Html:
    kind, name = part
    lines = edges(catalog.uses, catalog.uses.around(part))
    return folded("Lineage", svg(lines, f"Lineage of {kind} {name}", here=part)) if lines else Html("")


def _sql(catalog: Catalog, kind: str, name: str) -> Html:
    """What runs, at the catalog's moment."""
    compilers = {"segment": compile_segment, "trait": compile_trait}
    try:
        text = compilers[kind](catalog.project, name, catalog.clock).select.sql("spark", pretty=True)
    except CdpError as error:
        return folded("SQL", tag("p", error.message))
    return folded("SQL", code(text, "sql"))


# -- traits -----------------------------------------------------------------------------------------------------------


def traits(catalog: Catalog) -> Iterator[Entry]:
    """Every trait."""
    for name, trait in sorted(catalog.project.traits.items()):
        yield Entry(("trait", name), join(_trait(catalog, trait)), trait.description, trait.owner or "")


def _trait(catalog: Catalog, trait: Trait) -> Iterator[Part]:
    name, bound = trait.name, catalog.project.bound
    yield tag("p", trait.description) if trait.description else None
    yield catalog.warnings("trait", name)
    term = bound.traits.get(name)
    yield facts(
        {
            "of": link(("entity", trait.entity)),
            "is": describe(term, catalog.project) if term is not None else None,
            "owner": trait.owner,
            "tests": _tests(getattr(trait, "tests", None)),
            "used by": catalog.used_by("trait", name),
        }
    )
    yield _picture(catalog, ("trait", name))
    yield catalog.yaml("trait", name)
    yield _sql(catalog, "trait", name)


# -- value sets -------------------------------------------------------------------------------------------------------


def value_sets(catalog: Catalog) -> Iterator[Entry]:
    """Every value set with its codes."""
    for name, value_set in sorted(catalog.project.value_sets.items()):
        codes = " ".join(sorted(value_set.all_codes)[:CODES])
        yield Entry(("value_set", name), join(_value_set(catalog, value_set)), value_set.description, codes)


def _unreviewed(review: ValueSetReview | None) -> Part:
    what = "its codes are others than were reviewed" if review else "not reviewed"
    return tag("span", f"{what}: what the column may hold at most", class_="alarm")


def _value_set(catalog: Catalog, value_set: ValueSet) -> Iterator[Part]:
    review = catalog.project.policy.reviews.get(value_set.name)
    made = [
        *value_set.include,
        *(f"not {name}" for name in value_set.exclude),
        *(f"descendants of {code}" for code in value_set.descendants_of),
    ]
    yield tag("p", value_set.description) if value_set.description else None
    yield catalog.warnings("value_set", value_set.name)
    yield facts(
        {
            "codes": f"{sum(len(part.codes) for part in value_set.members):,}",
            "made of": listed([*([value_set.file] if value_set.file else []), *made]),
            "comparing tells": chips([review.cls]) if review and standing(catalog.project, value_set.name) else _unreviewed(review),
            "reviewed": f"{review.reviewed.by}, {review.reviewed.on}" if review else None,
            "used by": catalog.used_by("value_set", value_set.name),
        }
    )
    for part in value_set.members:
        shown = sorted(part.codes)[:CODES]
        more = f" and {len(part.codes) - CODES:,} more" if len(part.codes) > CODES else ""
        codes = tag("p", listed((tag("code", each) for each in shown), separator=" "), more, class_="codes")
        yield folded(f"{len(part.codes):,} codes of {part.system}", codes, open_=len(part.codes) <= 12)
    yield catalog.yaml("value_set", value_set.name)


# -- entities ---------------------------------------------------------------------------------------------------------


def entities(catalog: Catalog) -> Iterator[Entry]:
    """Every entity with its columns, their classes and who uses them."""
    for name, entity in sorted(catalog.project.entities.items()):
        yield Entry(("entity", name), join(_entity(catalog, entity)), entity.description, f"{entity.table} {' '.join(entity.columns)}")


def _entity(catalog: Catalog, entity: Entity) -> Iterator[Part]:
    time = entity.time if isinstance(entity.time, str) or entity.time is None else f"{entity.time.start} to {entity.time.end}"
    own = catalog.project.bound.entities.get(entity.name)
    yield tag("p", entity.description) if entity.description else None
    yield catalog.warnings("entity", entity.name)
    yield facts(
        {
            "table": tag("code", entity.table) if entity.table else None,
            "made from": link(("entity", entity.from_)) if entity.from_ else None,
            "key": listed(tag("code", key) for key in ([entity.key] if entity.key else [*entity.group_by])),
            "time": f"{time}{', rows after today too' if entity.future == 'visible' else ''}" if time else None,
            "only rows": describe(own, catalog.project) if own is not None else None,
            "being in it tells": chips(entity.rows),
            "used by": catalog.used_by("entity", entity.name),
        }
    )
    columns = (
        (tag("code", name), _type(column), _classes(column), column.description, _users(catalog, entity, name))
        for name, column in entity.columns.items()
    )
    yield table(("column", "type", "class", "about", "used by"), columns, f"Columns of {entity.name}")
    yield table(("relation", "leads to", "over"), _relations(entity), f"Relations of {entity.name}")
    yield catalog.yaml("entity", entity.name)


def _type(column: Column) -> str:
    of = f", {column.unit}" if column.unit else f", {column.system}" if column.system else ""
    return f"{'list of ' if column.array else ''}{'struct' if column.fields else column.type}{of}"


def _classes(column: Column) -> Part:
    return (
        [chips([column.cls] if column.cls else []), " ", chips(column.may_hold, "may")]
        if column.may_hold
        else chips([column.cls] if column.cls else [])
    )


def _users(catalog: Catalog, entity: Entity, column: str) -> Part:
    found = catalog.uses.users("column", f"{entity.name}.{column}")
    return users(found, "") if found else None


def _relations(entity: Entity) -> Iterator[Sequence[Part]]:
    for name, relation in entity.relations.items():
        target, many = relation.one or relation.many or "", relation.many is not None
        via = relation.via if isinstance(relation.via, str) else ", ".join(f"{theirs} = {mine}" for theirs, mine in relation.via.items())
        yield tag("code", name), [link(("entity", target)), " (many)" if many else " (one)"], tag("code", via)
