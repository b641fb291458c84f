"""What value sets come to: codes of the YAML, of a CSV, of a FHIR ValueSet, of a branch of a hierarchy, of other value sets.

All of these add up, and `exclude` takes away last. A code counts with its system, by the system's name in conf/cdp.yml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

from cdp.project.codes import code_tables, fhir
from cdp.project.codes.code_systems import MAX_BYTES, Pairs, Systems
from cdp.project.index import Index
from cdp.project.source import Document, read_text, short
from cdp.spec.activation import ProjectConfig
from cdp.spec.model import Codes, ValueSet

MAX_CODES: Final = 500_000  # of one value set: they are spelled out in the SQL
DEEPEST: Final = 32  # value sets inside of value sets


def filled(value_sets: Mapping[str, ValueSet], root: Path, config: ProjectConfig | None, index: Index) -> dict[str, ValueSet]:
    """The value sets with their members.

    One with a mistake is left out, and so is each that is made of it: the mistake is reported once.

    Args:
        value_sets: as they are declared.
        root: the project's folder, which no file may lie outside of.
        config: its code systems; None where conf/cdp.yml is broken.
        index: where the value sets stand, and where problems go.
    """
    filler = _Filler(value_sets, root, Systems(config.code_systems if config else None, index.problems), index)
    found = {name: filler.members(name) for name in value_sets}
    return {name: value_sets[name].holding(_by_system(pairs)) for name, pairs in found.items() if pairs is not None}


def _by_system(pairs: Pairs) -> tuple[Codes, ...]:
    systems: dict[str, list[str]] = {}
    for system, code in pairs:
        systems.setdefault(system, []).append(code)
    return tuple(Codes.model_construct(system=system, codes=tuple(codes)) for system, codes in systems.items())


@dataclass
class _Filler:
    """One pass over the value sets of a project. Each file is read once, however many sets use it."""

    value_sets: Mapping[str, ValueSet]
    root: Path
    systems: Systems
    index: Index
    _members: dict[str, Pairs | None] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)
    _resources: dict[Path, fhir.Resource | None] = field(default_factory=dict)
    _expanded: dict[Path, Pairs | None] = field(default_factory=dict)
    _trees: dict[Path, code_tables.Hierarchy | None] = field(default_factory=dict)

    def members(self, name: str) -> Pairs | None:
        """Every (system, code) of a value set; None after a problem, here or there."""
        if name not in self._members:
            self._open.append(name)
            self._members[name] = self._made(self.value_sets[name], self.index.sources["value_set", name])
            self._open.pop()
        return self._members[name]

    def _made(self, value_set: ValueSet, document: Document) -> Pairs | None:
        problems, before = self.index.problems, len(self.index.problems)
        self._named(value_set, document)
        parts: list[Pairs | None] = [self._listed(value_set, document)]
        if value_set.file is not None:
            parts.append(self._file(value_set, document))
        if value_set.descendants_of:
            parts.append(self._branch(value_set, document))
        parts += self._others(value_set.include, "include", document)
        less = self._others(value_set.exclude, "exclude", document)
        if len(problems) > before or any(part is None for part in (*parts, *less)):
            return None
        found = Pairs()
        for part in parts:
            found.update(part or {})
        for pair in [pair for part in less for pair in part or ()]:
            found.pop(pair, None)
        if not found:
            problems.add(
                document, ("exclude",) if value_set.exclude else ("codes",), "no code is left" if value_set.exclude else "must not be empty"
            )
        elif len(found) > MAX_CODES:
            problems.add(document, (), f"comes to {len(found):,} codes, more than {MAX_CODES:,}", hint="join a table of codes instead")
        return found if 0 < len(found) <= MAX_CODES else None

    # -- the kinds of parts -------------------------------------------------------------------------------------------

    def _named(self, value_set: ValueSet, document: Document) -> None:
        systems, hint = self.index.inside("project", "code_systems"), "code systems stand under `code_systems` of conf/cdp.yml"
        self.index.refer(document, ("system",), value_set.system or None, systems, "code system", hint=hint)

    def _listed(self, value_set: ValueSet, document: Document) -> Pairs:
        for number, code in enumerate(value_set.codes):
            if code != code.strip() or not code:
                self.index.problems.add(document, ("codes", number), f"{short(code)} is not a code", hint="no spaces around it")
        return {(value_set.system, code): None for code in value_set.codes}

    def _file(self, value_set: ValueSet, document: Document) -> Pairs | None:
        path = self._path(value_set.file or "", "file", document)
        if path is None:
            return None
        if path.suffix.lower() == ".json":
            return self._fhir(path)
        text = self._text(path)
        return None if text is None else code_tables.codes(text, self._shown(path), value_set.system, self.systems, self.index.problems)

    def _branch(self, value_set: ValueSet, document: Document) -> Pairs | None:
        path = self._path(value_set.hierarchy or "", "hierarchy", document)
        if path is None:
            return None
        if path not in self._trees:
            text = self._text(path)
            self._trees[path] = None if text is None else code_tables.hierarchy(text, self._shown(path), self.index.problems)
        tree = self._trees[path]
        if tree is None:
            return None
        known = True
        for number, code in enumerate(value_set.descendants_of):
            if code not in tree.below:
                known = False
                message = f"{short(code)} stands nowhere in {self._shown(path)}"
                self.index.problems.add(document, ("descendants_of", number), message, hint="name a child or a parent of it")
        return {(value_set.system, code): None for code in tree.branch(value_set.descendants_of)} if known else None

    def _others(self, names: tuple[str, ...], key: str, document: Document) -> list[Pairs | None]:
        known = self.index.names("value_set")
        found: list[Pairs | None] = []
        for number, name in enumerate(names):
            path = (key, number)
            if not self.index.refer(document, path, name, known, "value set") or name not in self.value_sets:
                found.append(None)  # one that is malformed is reported there
            elif name in self._open:
                circle = " -> ".join([*self._open[self._open.index(name) :], name])
                self.index.problems.add(document, path, f"value sets in a circle: {circle}", hint="leave one out")
                found.append(None)
            elif len(self._open) >= DEEPEST:
                self.index.problems.add(document, path, f"value sets inside of value sets, more than {DEEPEST} deep")
                found.append(None)
            else:
                found.append(self.members(name))
        return found

    # -- FHIR ---------------------------------------------------------------------------------------------------------

    def _fhir(self, path: Path, around: tuple[Path, ...] = ()) -> Pairs | None:
        """What the resource of a file comes to."""
        if path in self._expanded:
            return self._expanded[path]
        resource = self._resource(path)
        if resource is None:
            return None
        sets = [self._referred(reference, resource, (*around, path)) for reference in fhir.references(resource)]
        self._expanded[path] = fhir.expanded(resource, sets)
        return self._expanded[path]

    def _referred(self, reference: fhir.Reference, resource: fhir.Resource, around: tuple[Path, ...]) -> Pairs | None:
        problems, paths = self.index.problems, self._canonical.get(reference.url, ())
        if len(paths) == 1 and paths[0] not in around and len(around) < DEEPEST:
            return self._fhir(paths[0], around)
        if len(paths) > 1:
            files = ", ".join(self._shown(path) for path in paths)
            problems.add(
                resource.file, (), f"several files hold {short(reference.url)}: {files}", hint="name one by url|version", at=reference.at
            )
        elif paths:
            problems.add(
                resource.file, (), f"ValueSets in a circle, by way of {short(reference.url)}", hint="leave one out", at=reference.at
            )
        elif not self._broken:  # one of those that cannot be read may be it
            hint = "declare a value set with that `file`"
            problems.add(resource.file, (), f"no file of this project holds {short(reference.url)}", hint=hint, at=reference.at)
        return None

    @cached_property
    def _canonical(self) -> dict[str, tuple[Path, ...]]:
        """The project's FHIR files by everything that a reference may call them."""
        found: dict[str, tuple[Path, ...]] = {}
        for name, value_set in self.value_sets.items():
            if value_set.file is not None and value_set.file.lower().endswith(".json"):
                path = self._path(value_set.file, "file", self.index.sources["value_set", name])
                resource = self._resource(path) if path is not None else None
                for word in resource.names if resource is not None else ():
                    found[word] = tuple(dict.fromkeys((*found.get(word, ()), path))) if path is not None else ()
        return found

    @property
    def _broken(self) -> bool:
        return None in self._resources.values()

    def _resource(self, path: Path) -> fhir.Resource | None:
        if path not in self._resources:
            text = self._text(path)
            shown = self._shown(path)
            self._resources[path] = None if text is None else fhir.read(text, shown, self.systems, self.index.problems)
        return self._resources[path]

    # -- files --------------------------------------------------------------------------------------------------------

    def _path(self, name: str, key: str, document: Document) -> Path | None:
        """A file beside the document that names it; None where a problem was added."""
        path = ((self.root / document.file).parent / name).resolve()
        if not path.is_relative_to(self.root):
            self.index.problems.add(document, (key,), "the file lies outside the project", hint="copy it beside this file")
        elif not path.is_file():
            self.index.problems.add(document, (key,), f"{name}: no such file", hint="the path starts at this file's folder")
        else:
            return path
        return None

    def _shown(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _text(self, path: Path) -> str | None:
        return read_text(path, self._shown(path), self.index.problems, MAX_BYTES)
