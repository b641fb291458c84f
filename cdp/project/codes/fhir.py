"""FHIR R4 ValueSet resources: the codes that they list, and the value sets that they are made of.

What is listed is read: `expansion`, or else the concepts and value sets of `compose`. What would have to be looked up in a
code system, a filter or a system as a whole, is refused: no terminology server stands behind a project.
Source of the rules: https://hl7.org/fhir/R4/valueset.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cdp.project.codes import json_text
from cdp.project.codes.code_systems import MAX_PROBLEMS, Pairs, Systems
from cdp.project.problems import Problems

EXPAND: Final = "save the result of its $expand operation, which lists the codes"
PARTIAL: Final = ("valueset-toocostly", "valueset-unclosed")  # extensions of an expansion that does not list all codes

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """Another value set by its canonical URL, and where it is named."""

    url: str
    at: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Clause:
    """One `include` or `exclude`: codes that are listed and that are in the value set it refers to; None asks nothing."""

    listed: Pairs | None
    system: str
    of: Reference | None


@dataclass(frozen=True, slots=True)
class Resource:
    """A ValueSet: the clauses whose codes are in it, less those of `exclude`."""

    file: str
    names: frozenset[str]
    include: tuple[Clause, ...]
    exclude: tuple[Clause, ...]


def read(text: str, file: str, systems: Systems, problems: Problems) -> Resource | None:
    """A ValueSet of a JSON file; None after a problem."""
    before = len(problems)
    tree = json_text.read(text, file, problems)
    if len(problems) > before:
        return None
    reader = _Reader(text, file, systems, problems, before)
    if not isinstance(tree, dict) or tree.get("resourceType") != "ValueSet":
        reader.wrong(("resourceType",), "is not a FHIR ValueSet", 'it has "resourceType": "ValueSet"')
        return None
    include: tuple[Clause, ...] = ()
    exclude: tuple[Clause, ...] = ()
    if isinstance(tree.get("expansion"), dict):
        include = (reader.expansion(tree["expansion"]),)
    else:
        compose = tree.get("compose")
        parts = compose if isinstance(compose, dict) else {}
        reader.unmodified(parts, ("compose",))
        include, exclude = reader.clauses(parts, "include"), reader.clauses(parts, "exclude")
        if not include and len(problems) == before:
            reader.wrong(("compose",), "lists no codes", EXPAND)
    reader.unmodified(tree, ())
    return Resource(file, _names(tree), include, exclude) if len(problems) == before else None


def _names(tree: dict[str, Any]) -> frozenset[str]:
    """What other value sets may call this one."""
    words = [tree.get("url"), tree.get("name"), tree.get("id")]
    identifiers = tree.get("identifier")
    words += [each.get("value") for each in identifiers if isinstance(each, dict)] if isinstance(identifiers, list) else []
    found = {word for word in words if isinstance(word, str) and word}
    if isinstance(tree.get("url"), str) and isinstance(tree.get("version"), str):
        found.add(f"{tree['url']}|{tree['version']}")
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class _Reader:
    """One file, and where its problems go."""

    text: str
    file: str
    systems: Systems
    problems: Problems
    before: int

    def place(self, path: Path) -> tuple[int, int]:
        return json_text.place(self.text, path)

    def wrong(self, path: Path, message: str, hint: str = "") -> None:
        self.problems.add(self.file, path, message, hint=hint, at=self.place(path))

    def full(self) -> bool:
        """Whether the file has so many problems that the rest is left unread."""
        return len(self.problems) - self.before >= MAX_PROBLEMS

    def unmodified(self, part: dict[str, Any], path: Path) -> None:
        """Refuse an extension that changes what its element means: nobody may read past one."""
        for key in ("modifierExtension", "implicitRules"):
            if key in part:
                self.wrong((*path, key), f"`{key}` changes what this means, and is not read")

    # -- compose ------------------------------------------------------------------------------------------------------

    def clauses(self, compose: dict[str, Any], key: str) -> tuple[Clause, ...]:
        """The clauses of `include` or `exclude`."""
        found = []
        for path, part in self.items(compose.get(key, []), ("compose", key)):
            clause = self.clause(part, path)
            if clause is not None:
                found.append(clause)
        return tuple(found)

    def clause(self, part: dict[str, Any], path: Path) -> Clause | None:
        self.unmodified(part, path)
        if "filter" in part:
            return self.wrong((*path, "filter"), "a filter has to be looked up in the code system", EXPAND)
        of = self.reference(part["valueSet"], (*path, "valueSet")) if "valueSet" in part else None
        if "valueSet" in part and of is None:
            return None
        if "system" not in part and "concept" in part:
            return self.wrong((*path, "concept"), "concepts without a `system`")
        if "concept" not in part and of is None:
            what = f"all of {part['system']!r} has to be looked up" if isinstance(part.get("system"), str) else "names no codes"
            return self.wrong(path, what, EXPAND)
        system = self.system(part["system"], (*path, "system")) if "system" in part else ""
        listed = None
        if "concept" in part:
            listed = Pairs()
            for at, concept in self.items(part["concept"], (*path, "concept")):
                if code := self.code(concept, at):
                    listed[system, code] = None
        return Clause(listed, system, of)

    def reference(self, value: object, path: Path) -> Reference | None:
        """The value set that a clause refers to. R4 says of several at once that they add up, R5 that all must hold the code."""
        if not isinstance(value, list) or not all(isinstance(url, str) and url for url in value) or not value:
            return self.wrong(path, "must be a list of canonical URLs")
        if len(value) > 1:
            return self.wrong(path, "several value sets in one clause mean different things in R4 and R5", "write a clause for each")
        return Reference(value[0], self.place((*path, 0)))

    # -- expansion ----------------------------------------------------------------------------------------------------

    def expansion(self, expansion: dict[str, Any]) -> Clause:
        """Every code that an expansion lists, below others too; those that are only headings are left out.

        Codes that the system has retired (`inactive`) count: old records hold them.
        """
        listed, nodes = Pairs(), 0
        self.unmodified(expansion, ("expansion",))
        waiting: list[tuple[Path, Any]] = [(("expansion", "contains"), expansion.get("contains", []))]
        while waiting and not self.full():
            path, inside = waiting.pop()
            for at, part in self.items(inside, path):
                nodes += 1
                if part.get("abstract") is not True and ("code" in part or "contains" not in part):
                    self.contained(part, at, listed)
                if "contains" in part:
                    waiting.append(((*at, "contains"), part["contains"]))
        self.whole(expansion, nodes)
        if not listed and len(self.problems) == self.before:
            self.wrong(("expansion",), "holds no codes")
        return Clause(listed, "", None)

    def contained(self, part: dict[str, Any], path: Path, listed: Pairs) -> None:
        if "system" not in part:
            self.wrong(path, "a code without a `system`")
            return
        system, code = self.system(part["system"], (*path, "system")), self.code(part, path)
        if system and code:
            listed[system, code] = None

    def whole(self, expansion: dict[str, Any], nodes: int) -> None:
        """Refuse an expansion that lists only some of the codes."""
        total, offset = expansion.get("total"), expansion.get("offset")
        if (isinstance(total, int) and total > nodes) or (isinstance(offset, int) and offset > 0):
            self.wrong(("expansion",), "holds one page of the codes", "ask $expand for all of them at once")
        extensions = expansion.get("extension")
        for extension in extensions if isinstance(extensions, list) else ():
            url = str(extension.get("url", "")) if isinstance(extension, dict) else ""
            if url.rpartition("/")[2] in PARTIAL:
                self.wrong(("expansion",), f"says of itself that it does not hold every code ({url.rpartition('/')[2]})")

    # -- parts --------------------------------------------------------------------------------------------------------

    def items(self, value: object, path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
        """The objects of a list, each with its path."""
        if not isinstance(value, list):
            self.wrong(path, "must be a list")
            return
        for number, item in enumerate(value):
            if self.full():
                return
            if isinstance(item, dict):
                yield (*path, number), item
            else:
                self.wrong((*path, number), "must be an object")

    def system(self, value: object, path: Path) -> str:
        if isinstance(value, str) and value:
            return self.systems.find(value, self.file, lambda: self.place(path))
        self.wrong(path, "must be the URI of a code system")
        return ""

    def code(self, part: dict[str, Any], path: Path) -> str:
        value = part.get("code")
        if isinstance(value, str) and value.strip():
            return value.strip()
        self.wrong((*path, "code"), "must be a code" if "code" in part else "has no `code`")
        return ""


def expanded(resource: Resource, sets: Sequence[Pairs | None]) -> Pairs | None:
    """What a resource comes to, given what its references come to, in the order of `references`; None where one has a mistake."""
    if any(found is None for found in sets):
        return None
    behind = iter([found for found in sets if found is not None])
    members = Pairs()
    for clause in resource.include:
        members.update(_selected(clause, behind))
    for clause in resource.exclude:
        for pair in _selected(clause, behind):
            members.pop(pair, None)
    return members


def references(resource: Resource) -> list[Reference]:
    """The value sets that a resource is made of."""
    return [clause.of for clause in (*resource.include, *resource.exclude) if clause.of is not None]


def _selected(clause: Clause, behind: Iterator[Pairs]) -> Pairs:
    if clause.of is None:
        return clause.listed or {}
    others = next(behind)
    if clause.listed is not None:
        return {pair: None for pair in clause.listed if pair in others}
    return {pair: None for pair in others if clause.system in ("", pair[0])}
