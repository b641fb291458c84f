"""Through which segments and traits a fact came into what is refused: where a reader has to look."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from cdp.errors import Refusal, RefusedError
from cdp.governance.receivers import MEMBERSHIP
from cdp.governance.taint import Relation
from cdp.project.project import Project
from cdp.project.terms import ColumnRef, Measure
from cdp.project.terms.uses import segments_of, within

SHOWN = 2  # paths of a fact that a reason names; the shortest come first
Analysed = Callable[[str], Relation]  # what membership of a segment tells


@dataclass(frozen=True, slots=True)
class Paths:
    """The segments inside of segments, and what each of them tells. Asked when a sync is refused, so nothing is computed before.

    Args:
        project: as loaded.
        analysed: what membership of a segment tells; it may refuse.
    """

    project: Project
    analysed: Analysed
    _told: dict[str, frozenset[str]] = field(default_factory=dict)

    def traced(self, refusals: Iterable[Refusal], segment: str) -> Iterator[Refusal]:
        """The refusals of a sync of this segment; where membership is refused, each fact with the segments that bring it.

        `clinical.conditions.code via a1c_overdue > in_hospice`: the segment names `in_hospice`, which reads the column.
        """
        for refusal in refusals:
            member = refusal.what == MEMBERSHIP
            yield replace(refusal, because=tuple(self._said(fact, segment) for fact in refusal.because)) if member else refusal

    def _said(self, fact: str, segment: str) -> str:
        paths = sorted(self._paths(fact, segment), key=lambda path: (len(path), path))
        if not paths or paths == [(segment,)]:
            return fact
        more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
        return f"{fact} via {' and '.join(' > '.join(path) for path in paths[:SHOWN])}{more}"

    def _paths(self, fact: str, segment: str) -> set[tuple[str, ...]]:
        """From a segment down to those that bring a fact themselves."""
        inside = {name for name in self._inside(segment) if fact in self._of(name)}
        deeper = {(segment, *path) for name in inside for path in self._paths(fact, name)}
        return deeper | ({(segment,)} if not deeper or fact in self._read(segment) else set())

    def _inside(self, segment: str) -> Sequence[str]:
        """The segments that a segment names, in its condition or in its SELECT."""
        written = self.project.bound.sql.get(("segment", segment))
        return written.segments if written is not None else segments_of(self.project.bound.segments.get(segment))

    def _read(self, segment: str) -> frozenset[str]:
        """The facts of the columns and relations that a segment names itself."""
        found = set()
        for term in within(self.project.bound.segments.get(segment)):
            if isinstance(term, ColumnRef):
                found.add(f"{self.project.entities[term.entity].table}.{term.column}")
            elif isinstance(term, Measure):
                found.add(f"rows of {self.project.entities[term.link.entity].table}")
        return frozenset(found)

    def _of(self, segment: str) -> frozenset[str]:
        """The facts that a segment tells; none of a template, which means something only where it is filled in."""
        if segment not in self._told:
            self._told[segment] = frozenset()
            if not self.project.segments[segment].params:
                with suppress(RefusedError):  # the sync is refused for that as well
                    self._told[segment] = frozenset(map(str, self.analysed(segment).rows))
        return self._told[segment]
