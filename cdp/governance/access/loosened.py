"""What a change of the policy loosens: everything that lets more through than before, in plain words, where it stands.

Pure: two projects are compared, model by model; `looser.py` says of each field which way is looser. 45 CFR 164.308(a)(8).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cdp.governance.access import relied
from cdp.governance.access.looser import CHANGED, FIELDS, Part, Parts, Trees
from cdp.governance.classes import PUBLIC, ClassTree
from cdp.project.project import Project
from cdp.spec.base import Spec
from cdp.spec.model import Column, Entity
from cdp.spec.quality import STRICTNESS, Expectation

Path = tuple[str | int, ...]

LONG: Final = 6  # names of a list that are shown in full
WIDE: Final = 100  # characters of a value
OPENED: Final = ("spreadsheet", "machine")  # what a file is opened by


@dataclass(frozen=True, slots=True)
class Loosening:
    """One thing that lets more through. Line and column count from 1 and are of the new file; 0 where it is gone."""

    file: str
    line: int
    col: int
    what: str
    before: str
    after: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.col}" if self.line else self.file
        return f"{place}: {self.message}"

    @property
    def message(self) -> str:
        """What is looser, from what to what."""
        return f"{self.what}: {self.before} -> {self.after}"

    def as_json(self) -> dict[str, Any]:
        """The loosening as a JSON object with stable keys."""
        return {name: getattr(self, name) for name in self.__slots__}


def loosened(old: Project, new: Project) -> tuple[Loosening, ...]:
    """Everything in which one project's policy is looser than another's, in the order of files and lines.

    The rules under governance/ and what they read, what tables, columns and destinations are declared to be, and the guards of
    syncs. What cannot be told to be stricter counts as looser.

    Args:
        old: the project before.
        new: the project as it stands.
    """
    found = _Comparison(old, new)
    items = [*found.policy(), *found.declared(), *found.relied(), *found.channels(), *found.guards()]
    return tuple(sorted(items, key=lambda each: (each.file, each.line, each.col, each.what)))


# Where each part of the policy stands: the kind of its document (None: one for each name), and the path of it.
ROOTS: Final[Mapping[str, tuple[str, Path, Part | Parts]]] = {
    "classes": ("classes", ("classes",), Parts("class", removed="is not in the tree any more")),
    "masks": ("masks", ("masks",), Parts("mask", added="lowers values")),
    "profiles": ("masks", ("profiles",), Parts("profile")),
    "purposes": ("purposes", ("purposes",), Parts("purpose", added="may be told for")),
    "consent": ("consent", (), Part()),
    "eligibility": ("eligibility", (), Parts("eligibility of", added="lets people be told of")),
    "reviews": ("value_sets", ("value_sets",), Parts("review of value set", added="narrows what a comparison tells")),
    "declassify": ("declassify", ("entries",), Parts("declassification", lambda each: str(each.name), added="lowers what is told")),
    "agreements": ("baa", (), Parts("agreement", added="lets a receiver be told")),
    "roles": ("roles", ("roles",), Parts("role", added="may be had")),
    "people": ("roles", ("people",), Parts("person", lambda each: str(each.id), added="has a role")),
    "approval": ("roles", ("approval",), Part(goes="is not asked for any more")),
    "rows": (
        "rows",
        ("rules",),
        Parts("row rule", lambda rule: f"{rule.cls} where {_short(rule.where)}", removed="withholds nothing any more"),
    ),
}
ONE_EACH: Final = frozenset({"baa", "eligibility"})  # kinds with a document for each name


class _Comparison:
    """Two projects side by side."""

    def __init__(self, old: Project, new: Project) -> None:
        self.old, self.new = old, new
        self.trees = Trees(ClassTree(old.policy.classes), ClassTree(new.policy.classes), tuple(new.policy.classes))

    # -- the policy -----------------------------------------------------------------------------------------------------

    def policy(self) -> Iterator[Loosening]:
        for name, (kind, path, entry) in ROOTS.items():
            old, new = getattr(self.old.policy, name), getattr(self.new.policy, name)
            if name == "people" and not (old and new):
                if old:
                    yield self._item("roles", "roles", path, "people: every role is anybody's", f"{len(old)} people", "none")
                continue  # from none at all to some: it was everybody
            if isinstance(entry, Part):
                yield from self._part(entry, old, new, {"approval": "approval"}.get(name, "consent"), kind, kind, path)
            else:
                yield from self._parts(entry, old, new, kind, None if kind in ONE_EACH else kind, path)

    def _model(self, old: Spec, new: Spec, subject: str, kind: str, name: str, path: Path) -> Iterator[Loosening]:
        rules = FIELDS.get(type(new), {})
        for field, info in type(new).model_fields.items():
            was, now = getattr(old, field), getattr(new, field)
            entry, at = rules.get(field, CHANGED), (*path, info.alias or field)
            if was == now:
                continue
            if isinstance(entry, Part):
                yield from self._part(entry, was, now, subject, kind, name, at)
            elif isinstance(entry, Parts):
                yield from self._parts(entry, was, now, kind, name, at)
            elif entry.looser(was, now, self.trees):
                before, after = _shown(was, now, entry.empty)
                yield self._item(kind, name, at, f"{subject} {entry.says}", before, after)

    def _part(self, entry: Part, old: Any, new: Any, subject: str, kind: str, name: str, path: Path) -> Iterator[Loosening]:
        if old and new:
            yield from self._model(old, new, subject, kind, name, path)
        elif said := entry.appears if new else entry.goes if old else "":
            before, after = _shown(old, new)
            yield self._item(kind, name, path, f"{subject} {said}", before, after)

    def _parts(self, entry: Parts, old: Any, new: Any, kind: str, name: str | None, path: Path) -> Iterator[Loosening]:
        """Models by name. `name` of the document is None where each stands in one of its own."""
        was, now = _named(entry, old), _named(entry, new)
        for key, (place, model) in now.items():
            at = (*path, place) if name else path
            if key in was:
                yield from self._model(was[key][1], model, f"{entry.noun} {key}", kind, name or key, at)
            elif entry.added:
                yield self._item(kind, name or key, at, f"{entry.noun} {key} {entry.added}", "none", "added")
        for key in was:
            if key not in now and entry.removed:
                yield self._item(kind, name or key, path, f"{entry.noun} {key} {entry.removed}", "declared", "removed")
        kept, again = [key for key in was if key in now], [key for key in now if key in was]
        if entry.reordered and kept != again:
            yield self._item(kind, name or "", path, f"{entry.noun}s {entry.reordered}", *_shown(tuple(kept), tuple(again)))

    # -- what tables say ------------------------------------------------------------------------------------------------

    def declared(self) -> Iterator[Loosening]:
        """Classes of columns and tables, by the physical table: another entity over it is no way around."""
        for name, entity in self.new.entities.items():
            before = self._before(name, entity)
            if entity.table and not before:
                said = {column: spec.cls for column, spec in entity.columns.items()}
                what = f"table {entity.table} may be read, as entity {name}, whose rows say {', '.join(entity.rows)}"
                yield self._item("entity", name, ("table",), what, "not declared", _short(said))
            if before and (gone := sorted({cls for each in before for cls in each.rows} - {*entity.rows, PUBLIC})):
                what = f"table {entity.table} of entity {name} says less of who is in it"
                yield self._item("entity", name, ("rows",), what, ", ".join(gone), "not said")
            for column, spec in entity.columns.items():
                if known := [each.columns[column] for each in before if column in each.columns]:
                    yield from self._column(f"column {name}.{column}", known, spec, name, ("columns", column))
                elif before and not any(column in each.columns for each in self._over(entity.table)):
                    what = f"column {name}.{column} may be read, and is said to be"
                    yield self._item("entity", name, ("columns", column), what, "not declared", spec.cls)

    def _before(self, name: str, entity: Entity) -> list[Entity]:
        """What was said of an entity's table: by the entity itself, or by the others over it."""
        same = self.old.entities.get(name)
        if same is not None and same.table.lower() == entity.table.lower():
            return [same]
        return self._over(entity.table)

    def _over(self, table: str) -> list[Entity]:
        return [each for each in self.old.entities.values() if table and each.table.lower() == table.lower()]

    def relied(self) -> Iterator[Loosening]:
        """What rules read outside of governance/: a rule that stands as it was may keep others out."""
        for each in relied.changed(self.old, self.new):
            yield self._item(each.kind, each.name, each.path, each.what, *_shown(each.before, each.after))

    def _column(self, subject: str, before: list[Column], new: Column, name: str, path: Path) -> Iterator[Loosening]:
        classes = sorted({old.cls for old in before})
        raised = new.cls in self.trees.new and self.trees.new.is_special(new.cls) and not any(map(self._special, classes))
        if new.cls not in classes and not raised:
            yield self._item("entity", name, (*path, "class"), f"{subject} has another class", ", ".join(classes), new.cls)
        if gone := sorted({cls for old in before for cls in old.may_hold} - {*new.may_hold, new.cls, PUBLIC}):
            yield self._item("entity", name, (*path, "may_hold"), f"{subject} may hold less", ", ".join(gone), "not said")
        if any(old.contact_of for old in before) and not new.contact_of:
            what = f"{subject} counts as the person's own address"
            yield self._item("entity", name, (*path, "contact_of"), what, "personal_representative", "none")
        if any(old.free_text for old in before) and not new.free_text:
            yield self._item("entity", name, (*path, "free_text"), f"{subject} does not count as free text", "yes", "no")

    def _special(self, cls: str) -> bool:
        return cls in self.trees.old and self.trees.old.is_special(cls)

    def channels(self) -> Iterator[Loosening]:
        """What a destination is said to be, and which agreement covers it: consent and grants follow from that."""
        told = {(each.baa, each.channel) for each in self.old.destinations.values()}
        for name, destination in self.new.destinations.items():
            was = self.old.destinations.get(name)
            if was is None and destination.baa is not None and (destination.baa, destination.channel) not in told:
                known = sorted(channel for baa, channel in told if baa == destination.baa)
                what = f"destination {name} is told under agreement {destination.baa} over another channel"
                yield self._item("destination", name, ("channel",), what, *_shown(tuple(known), (destination.channel,)))
            if was is not None and was.channel != destination.channel:
                what = f"destination {name} counts as another channel"
                yield self._item("destination", name, ("channel",), what, was.channel, destination.channel)
            if was is not None and was.baa is not None and was.baa != destination.baa:
                what = f"destination {name} is under another agreement"
                yield self._item("destination", name, ("baa",), what, was.baa, destination.baa or "none")
            if was is not None and was.file and destination.file and (was.file.opened_by, destination.file.opened_by) == OPENED:
                what = f"destination {name} leaves what begins like a formula as it is"
                yield self._item("destination", name, ("file", "opened_by"), what, *OPENED)
        for name, environment in self.new.config.environments.items():
            before = self.old.config.environments.get(name)
            if environment.sandbox and (before is None or not before.sandbox):
                what = f"environment {name} lets rows go to this machine in plain text, and secrets be unset"
                yield self._item("project", "project", ("environments", name, "sandbox"), what, "no", "yes")

    # -- guards ---------------------------------------------------------------------------------------------------------

    def guards(self) -> Iterator[Loosening]:
        old, new = self.old.config.guards, self.new.config.guards
        yield from self._model(old, new, "every sync", "project", "project", ("guards",))
        for name, sync in self.new.syncs.items():
            if name in self.old.syncs:
                yield from self._model(self.old.syncs[name].guards, sync.guards, f"sync {name}", "sync", name, ("guards",))
                yield from self._quality(name, self.old.syncs[name].quality, sync.quality)
                if (paid := self.old.syncs[name].funded_by) not in ("none", sync.funded_by):  # 45 CFR 164.501: paid, it is marketing
                    yield self._item("sync", name, ("funded_by",), f"sync {name} is paid by another", paid, sync.funded_by)

    def _quality(self, name: str, old: Sequence[Expectation], new: Sequence[Expectation]) -> Iterator[Loosening]:
        """What a sync expected and does not any more, or lets pass; of other arguments it cannot be told which are stricter."""
        for was in old:
            strict = STRICTNESS.index(was.otherwise)
            same = [each for each in new if (each.name, each.arguments) == (was.name, was.arguments)]
            if strict < len(STRICTNESS) - 1 and not any(STRICTNESS.index(each.otherwise) <= strict for each in same):
                what = f"sync {name} lets rows leave that fail {was.name} of {', '.join(was.arguments.columns) or 'all'}"
                yield self._item("sync", name, ("quality",), what, was.otherwise, same[0].otherwise if same else "not expected")

    # -- places ---------------------------------------------------------------------------------------------------------

    def _item(self, kind: str, name: str, path: Path, what: str, before: str, after: str) -> Loosening:
        document = self.new.sources.get((kind, name))
        if document is None:
            gone = self.old.sources.get((kind, name))
            return Loosening(gone.file if gone else "governance/", 0, 0, what, before, after)
        return Loosening(document.file, *document.position(path, key=True), what, before, after)


def _named(entry: Parts, parts: Any) -> dict[str, tuple[str | int, Any]]:
    """Each part by its name, with the place of it in its document."""
    if entry.key is None:
        return {name: (name, part) for name, part in parts.items()}
    found: dict[str, tuple[str | int, Any]] = {}
    for number, part in enumerate(parts):
        name, times = entry.key(part), 1
        while name in found:  # two rules may be about the same
            times += 1
            name = f"{entry.key(part)} ({times})"
        found[name] = number, part
    return found


def _shown(old: Any, new: Any, empty: str = "none") -> tuple[str, str]:
    """Two values as people read them; of long lists what differs. `empty` is what an empty list means."""
    if isinstance(old, tuple) and isinstance(new, tuple) and new and max(len(old), len(new)) > LONG:
        return _short([*sorted({*old} - {*new}), "..."]), _short([*sorted({*new} - {*old}), "..."])
    return _short(old or empty if old == () else old), _short(new or empty if new == () else new)


def _short(value: Any) -> str:
    text = _words(value.model_dump(mode="json", exclude_none=True) if isinstance(value, Spec) else value)
    return text if len(text) <= WIDE else f"{text[: WIDE - 3]}..."


def _words(value: Any) -> str:
    """A value as YAML would have it on one line, a list without its brackets."""
    if value is None or value in ((), []):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {_words(each)}' for name, each in value.items())}}}"
    return ", ".join(map(_words, value)) if isinstance(value, (tuple, list)) else str(value)
