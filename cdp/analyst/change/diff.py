"""A change before it is merged: which models mean something else, who enters and leaves, which syncs and destinations it reaches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cdp.analyst.change.comparison import Comparison, Difference
from cdp.analyst.change.movement import Audience, Counter, Movement, Side, check
from cdp.analyst.change.revisions import Revision
from cdp.analyst.explore.rows import WHOLE, Partial
from cdp.analyst.explore.sight import Sight
from cdp.compile import Clock
from cdp.engine.base import Engine
from cdp.errors import UsageError
from cdp.governance.access.loosened import Loosening, loosened
from cdp.project.project import Project

NOT_COUNTED: Final = (
    "A sync's people are those of its segment: consent, eligibility and what the destination has already are asked by `cdp plan`."
)


@dataclass(frozen=True, slots=True)
class SegmentMove:
    """People of a segment; `was` is its name then, None where there was none, and `name` None where there is none now."""

    was: str | None
    name: str | None
    movement: Movement | None

    @property
    def title(self) -> str:
        """The name, for people."""
        if self.name is None:
            return f"{self.was} (removed)"
        return f"{self.name} (new)" if self.was is None else self.name if self.was == self.name else f"{self.name} (was {self.was})"


@dataclass(frozen=True, slots=True)
class SyncMove:
    """A sync that the change reaches: where its people go, and who enters and leaves its segment; None: not counted, or nobody moves."""

    name: str
    change: str
    destination: str
    purpose: str
    segments: Audience
    movement: Movement | None


@dataclass(frozen=True, slots=True)
class Diff:
    """What a change does.

    Attributes:
        ref, commit: what it was compared with.
        as_of: the one moment that both were computed for.
        versions: the tables that were read, and the commit at which; None without data.
        partial: what of them was not.
        loosened: in what the policy lets more through than then.
    """

    ref: str
    commit: str
    as_of: str
    versions: dict[str, int | None] | None
    models: tuple[Difference, ...]
    segments: tuple[SegmentMove, ...]
    syncs: tuple[SyncMove, ...]
    partial: Partial = WHOLE
    loosened: tuple[Loosening, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The change as a JSON object with stable keys."""
        segments = [{"was": each.was, "name": each.name, **_people(each.movement)} for each in self.segments]
        return {
            "ref": self.ref,
            "commit": self.commit,
            "as_of": self.as_of,
            "tables": self.versions,
            **self.partial.as_json(),
            "models": [each.as_json() for each in self.models],
            "segments": segments,
            "syncs": [_sync(each) for each in self.syncs],
            "loosened": [each.as_json() for each in self.loosened],
        }


def diff(
    then: Revision,
    before: Project,
    after: Project,
    clock: Clock,
    *,
    names: Collection[str] = (),
    by: Sequence[str] = (),
    open_engine: Callable[[], Engine] | None = None,
    sight: Sight | None = None,
) -> Diff:
    """Compare a project with a revision of it, on the same data at the same moment.

    Args:
        then: the revision, open.
        before: the project of that revision.
        after: the project as it stands.
        clock: the moment; the old project reads it in its own zone.
        names: only these models and what rests on them; none for all.
        by: columns and traits by which those who move are broken down.
        open_engine: gives the engine over the lakehouse, asked only where people have to be counted; None counts nobody.
        sight: who looks; by default somebody without a role.

    Raises:
        UsageError: a name of `names` or `by` is not known.
        RefusedError: one of `by` tells single people apart.
    """
    old_clock = Clock.parse(clock.instant.isoformat(), before.timezone)
    comparison = Comparison(before, after, old_clock, clock)
    models = comparison.differences()
    _known(names, before, after)
    if names:
        models = tuple(each for each in models if _concerned(each, names, comparison))
    segments = _segments(models)
    syncs = _syncs(models, before, after)
    wanted = list(dict.fromkeys([*segments, *(each.segments for each in syncs if _moved(each.segments, segments))]))
    counter = Counter(Side(before, old_clock), Side(after, clock), sight)
    usable = _usable(wanted, by, counter)
    counted: dict[Audience, Movement] = {}
    if open_engine is not None and wanted:
        engine = open_engine()
        counted = {each: counter.movement(engine, each, usable[counter.entity(each)]) for each in wanted}
    return Diff(
        ref=then.ref,
        commit=then.commit,
        as_of=clock.instant.isoformat(timespec="seconds"),
        versions=dict(sorted(counter.versions.items())) if open_engine is not None else None,
        partial=counter.reach.partial(sorted(counter.versions)),
        models=models,
        segments=tuple(SegmentMove(each.before, each.after, counted.get(each)) for each in segments),
        syncs=tuple(replace(each, movement=counted.get(each.segments)) for each in syncs),
        loosened=loosened(before, after),
    )


def _known(names: Collection[str], before: Project, after: Project) -> None:
    declared = {name for project in (before, after) for _, name in project.sources}
    for name in names:
        if name not in declared:
            raise UsageError(f"nothing is named {name!r}, neither then nor now", fix="name segments, traits, value sets, entities or syncs")


def _concerned(model: Difference, names: Collection[str], comparison: Comparison) -> bool:
    """Whether a difference is of one of these names, or of what rests on one or is reached by one."""
    return bool({model.name, model.was, *model.downstream} & {*names}) or comparison.rests_on((model.kind, model.name), names)


# -- audiences ----------------------------------------------------------------------------------------------------------


def _segments(models: Sequence[Difference]) -> list[Audience]:
    """The segments whose people may be others now; a renamed one means the same, and of a template nobody is a member."""
    changes = [each for each in models if each.kind == "segment" and each.change in ("added", "removed", "changed")]
    return [Audience(each.was, None if each.change == "removed" else each.name) for each in changes if not each.template]


def _syncs(models: Sequence[Difference], before: Project, after: Project) -> list[SyncMove]:
    """The syncs that are others now, or whose segment is."""
    changed = {each.name: each for each in models if each.kind == "sync" and each.change != "reworded"}
    found = []
    for name, model in changed.items():
        then = before.syncs.get(model.was or "")
        now = None if model.change == "removed" else after.syncs[name]
        told = now or then
        if told is not None:
            audience = Audience(then.segment if then else None, now.segment if now else None)
            found.append(SyncMove(name, model.change, told.destination, told.purpose, audience, None))
    return found


def _moved(audience: Audience, segments: Sequence[Audience]) -> bool:
    """Whether the people of a sync may be others: its segment is, or it is another segment."""
    return audience in segments or audience.before != audience.after


def _usable(wanted: Sequence[Audience], by: Sequence[str], counter: Counter) -> dict[str, tuple[str, ...]]:
    """Of each entity the names of `by` that it has; each must be one of some entity."""
    usable: dict[str, tuple[str, ...]] = {}
    unknown: dict[str, UsageError] = {}
    for audience in wanted:
        entity, kept = counter.entity(audience), []
        for name in by if entity not in usable else ():
            try:
                check(counter.side(audience), entity, name)
                kept.append(name)
            except UsageError as error:
                unknown[name] = error
        usable.setdefault(entity, tuple(kept))
    for name, said in unknown.items():
        if not any(name in kept for kept in usable.values()):
            raise said
    return usable


def _people(movement: Movement | None) -> dict[str, Any]:
    return {"people": movement.as_json() if movement else None}


def _sync(move: SyncMove) -> dict[str, Any]:
    facts = {"name": move.name, "change": move.change, "destination": move.destination, "purpose": move.purpose}
    return {**facts, "was_segment": move.segments.before, "segment": move.segments.after, **_people(move.movement)}
