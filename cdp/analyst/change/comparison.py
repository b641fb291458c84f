"""Two revisions of a project side by side: which models mean something else, and by what. No data is touched."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from cdp.analyst.change.changes import Affected, compared, trees
from cdp.analyst.change.lineage import Part, Uses, inverse, reached, uses
from cdp.compile import Clock, Query, compile_segment, compile_sync, compile_trait, model_sha256
from cdp.project.problems import dotted
from cdp.project.project import Project
from cdp.spec.base import Tree
from cdp.spec.model import ValueSet

Change = Literal["added", "removed", "renamed", "changed", "reworded"]
Compiled = Literal["segment", "trait", "sync"]

COMPILERS: Final[Mapping[str, Callable[[Project, str, Clock], Query]]] = {
    "segment": compile_segment,
    "trait": compile_trait,
    "sync": compile_sync,
}
SHOWN: Final = 12  # settings or codes that a difference lists of each
_PROSE: Final = frozenset({"name", "description", "owner", "tests"})  # what a model does not mean


@dataclass(frozen=True, slots=True)
class Difference:
    """One part of the project that is not what it was.

    Attributes:
        change: `reworded` is written in another way and means the same.
        was: the name that it had; None of what is new.
        through: what it rests on that has changed, as `value_set diabetes`.
        details: settings before and after, codes that came and went.
        sql: its compiled SQL, a unified diff at one moment; none where only what it rests on has changed.
        downstream: the syncs that it reaches.
        template: a segment with parameters, which has no people of its own.
    """

    kind: str
    name: str
    change: Change
    was: str | None
    through: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    sql: tuple[str, ...] = ()
    downstream: tuple[str, ...] = ()
    template: bool = False

    def as_json(self) -> dict[str, Any]:
        """The difference as a JSON object with stable keys."""
        lists = {"through": self.through, "details": self.details, "sql": self.sql, "downstream": self.downstream}
        first = {"kind": self.kind, "name": self.name, "change": self.change, "was": self.was}
        return first | {key: list(values) for key, values in lists.items()}


@dataclass(slots=True)
class Comparison:
    """Both projects, and what is known of their parts.

    Attributes:
        before, after: the project then and now; both load.
        then, now: the clocks of both: one moment, each in the zone of its project.
        touched: what was written anew, and what depends on it.
    """

    before: Project
    after: Project
    then: Clock
    now: Clock
    touched: Affected = field(init=False)
    _uses: Uses = field(init=False)
    _users: Uses = field(init=False)
    _trees: tuple[Mapping[Part, Tree], Mapping[Part, Tree]] = field(init=False)

    def __post_init__(self) -> None:
        self._uses = uses(self.after)
        self._users = inverse(self._uses)
        self._trees = trees(self.before.sources), trees(self.after.sources)
        self.touched = compared(self.before.sources, self.before.root, self.after, self._uses)

    @property
    def _sides(self) -> tuple[tuple[Project, Clock], tuple[Project, Clock]]:
        return (self.before, self.then), (self.after, self.now)

    def differences(self) -> tuple[Difference, ...]:
        """Every part that is not what it was, by kind and name; those that only rest on a change, if they mean something else."""
        found = [*self._added_and_removed(), *self._changed()]
        return tuple(sorted(found, key=lambda each: (_order(each.kind), each.kind, each.name)))

    def rests_on(self, part: Part, names: Collection[str]) -> bool:
        """Whether a part rests on what has one of these names."""
        return any(name in names for _, name in reached(self._uses, part))

    # -- what came and went -------------------------------------------------------------------------------------------

    def _added_and_removed(self) -> Iterator[Difference]:
        old, new = self._trees
        removed = {part: self._meaning(self.before, part, old[part]) for part in old.keys() - new.keys()}
        for part in sorted(new.keys() - old.keys()):
            kind, name = part
            meaning = self._meaning(self.after, part, new[part])
            was = next((each for each, same in sorted(removed.items()) if each[0] == kind and same == meaning), None)
            if was is not None:
                del removed[was]
            yield self._with_context(Difference(kind, name, "added" if was is None else "renamed", was[1] if was else None))
        for kind, name in removed:
            yield Difference(kind, name, "removed", name, template=self._is_template((kind, name)))

    @staticmethod
    def _meaning(project: Project, part: Part, tree: Tree) -> object:
        """What makes two parts of different names the same one."""
        kind, name = part
        if (kind == "segment" and not project.segments[name].params) or kind == "trait":
            return _fingerprint(project, kind, name)
        if kind == "value_set":
            return _codes(project.value_sets[name])
        return {key: value for key, value in tree.items() if key not in _PROSE} if isinstance(tree, dict) else tree

    # -- what stayed and is another -----------------------------------------------------------------------------------

    def _changed(self) -> Iterator[Difference]:
        old, new = self._trees
        for part in sorted(old.keys() & new.keys()):
            kind, name = part
            rewritten = name in self.touched.changed.get(kind, ())
            if not rewritten and name not in self.touched.dependent.get(kind, ()):
                continue
            change = self._change(part, rewritten)
            if change is not None:
                details = self._details(part) if rewritten or kind == "value_set" else ()  # codes may come from elsewhere
                sql = self._sql(part) if rewritten and change == "changed" else ()
                yield self._with_context(Difference(kind, name, change, name, details=details, sql=sql))

    def _change(self, part: Part, rewritten: bool) -> Change | None:
        """Whether a part means something else, says the same in other words, or neither."""
        kind, name = part
        if self._is_template(part):
            return "changed" if rewritten else None
        if kind in COMPILERS:
            same = self._means_the_same(kind, name) and not (kind == "sync" and rewritten and self._details(part))
        elif kind == "value_set":
            same = _codes(self.before.value_sets[name]) == _codes(self.after.value_sets[name])
        else:
            same = not rewritten or not self._details(part)
        return ("reworded" if rewritten else None) if same else "changed"

    def _means_the_same(self, kind: str, name: str) -> bool:
        """Whether a compiled model is the same: most that are not differ at this moment already, which is sooner told."""
        now = [COMPILERS[kind](project, name, clock).select.sql("spark") for project, clock in self._sides]
        return now[0] == now[1] and _fingerprint(self.before, kind, name) == _fingerprint(self.after, kind, name)

    def _details(self, part: Part) -> tuple[str, ...]:
        kind, name = part
        if kind == "value_set":
            return tuple(_moved_codes(_codes(self.before.value_sets[name]), _codes(self.after.value_sets[name])))
        if kind in ("segment", "trait") and not self._is_template(part):
            return ()  # the SQL says it
        old, new = self._trees
        return tuple(_settings(old[part], new[part], ()))

    def _sql(self, part: Part) -> tuple[str, ...]:
        kind, name = part
        if kind not in ("segment", "trait") or (
            kind == "segment" and (self.before.segments[name].params or self.after.segments[name].params)
        ):
            return ()
        before, after = (_printed(project, kind, name, clock) for project, clock in self._sides)
        return tuple(difflib.unified_diff(before, after, fromfile="before", tofile="after", lineterm=""))

    def _with_context(self, difference: Difference) -> Difference:
        """The difference with what it rests on that has changed, and the syncs that it reaches."""
        part = difference.kind, difference.name
        rests = reached(self._uses, part)
        through = tuple(f"{kind} {name}" for kind, name in sorted(rests) if name in self.touched.changed.get(kind, ()))
        downstream = tuple(sorted(name for kind, name in reached(self._users, part) if kind == "sync"))
        return replace(difference, through=through, downstream=downstream, template=self._is_template(part))

    def _is_template(self, part: Part) -> bool:
        kind, name = part
        found = [project.segments[name] for project in (self.before, self.after) if kind == "segment" and name in project.segments]
        return any(segment.params for segment in found)


_KINDS: Final = ("segment", "trait", "value_set", "entity", "sync", "destination")


def _order(kind: str) -> int:
    return _KINDS.index(kind) if kind in _KINDS else len(_KINDS)


def _printed(project: Project, kind: str, name: str, clock: Clock) -> list[str]:
    return COMPILERS[kind](project, name, clock).select.sql("spark", pretty=True).splitlines()


def _fingerprint(project: Project, kind: str, name: str) -> tuple[str, str]:
    """What a model means: its SQL, and the zone whose days it counts."""
    compiled: Compiled = "segment" if kind == "segment" else "trait" if kind == "trait" else "sync"
    return project.timezone, model_sha256(project, name, compiled)


def _codes(value_set: ValueSet) -> frozenset[tuple[str, str]]:
    return frozenset((part.system, code) for part in value_set.members for code in part.codes)


def _moved_codes(before: frozenset[tuple[str, str]], after: frozenset[tuple[str, str]]) -> Iterator[str]:
    for sign, codes in (("+", after - before), ("-", before - after)):
        listed = sorted(codes)
        yield from (f"{sign} {system} {code}" for system, code in listed[:SHOWN])
        if len(listed) > SHOWN:
            yield f"{sign} {len(listed) - SHOWN} more codes"


def _settings(before: Tree, after: Tree, path: tuple[str | int, ...]) -> Iterator[str]:
    """What two trees say differently, one line for each place; prose is left out."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            if path or key not in _PROSE:
                yield from _settings(before.get(key, _NOTHING), after.get(key, _NOTHING), (*path, key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, pair in enumerate(zip(before, after, strict=True)):
            yield from _settings(*pair, (*path, index))
    elif before != after:
        yield f"{dotted(path) or 'value'}: {_shown(before)} -> {_shown(after)}"


_NOTHING: Final = object()
_LONGEST: Final = 60


def _shown(tree: Any) -> str:
    """A part of a YAML tree in one line."""
    if tree is _NOTHING:
        return "nothing"
    if isinstance(tree, dict):
        text = "{" + ", ".join(f"{key}: {_shown(value)}" for key, value in tree.items()) + "}"
    elif isinstance(tree, list):
        text = "[" + ", ".join(map(_shown, tree)) + "]"
    else:
        text = "null" if tree is None else str(tree)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
