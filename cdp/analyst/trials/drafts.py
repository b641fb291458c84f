"""Made-up members in the making: a row's place in one, and changes that can be made to it again on a copy."""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from cdp.analyst.trials.test_text import flow
from cdp.compile.windows import shift
from cdp.project.terms import AgeBetween, ColumnRef, Covered, Exists, InSegment, Link, Measure, Picked, Satisfies
from cdp.spec.model import Entity, Interval

Row = dict[str, Any]
Path = tuple[int, ...]  # of a condition: positions that lead to it from the whole
Change = Callable[[Row], object]


@dataclass(frozen=True, slots=True)
class Site:
    """A row of a draft: the way to it from the member, its entity, and the row around it."""

    entity: Entity
    route: tuple[str | int, ...] = ()
    outer: Site | None = None
    link: Link | None = None

    def outwards(self, up: int) -> Site:
        """The row so many rows outwards."""
        return self if up == 0 or self.outer is None else self.outer.outwards(up - 1)

    def row(self, draft: Row) -> Row:
        """The row itself; a to-one row is made where it is not there."""
        here: Any = draft
        for part in self.route:
            here = here.setdefault(part, {}) if isinstance(here, dict) else here[part]
        return here  # type: ignore[no-any-return]

    def over(self, hop: Link, entity: Entity) -> Site:
        """The row that a to-one relation leads to: the row around, where the relation leads back to it."""
        back = self.link is not None and {(mine, theirs) for theirs, mine in self.link.on} == set(hop.on)
        if back and self.outer is not None and self.outer.entity.name == hop.entity:
            return self.outer
        return Site(entity, (*self.route, hop.name))


@dataclass(frozen=True, slots=True)
class Variation:
    """A change of the draft; `path` leads to the condition whose edge it is."""

    name: str
    change: Change
    path: Path


# -- values and changes -----------------------------------------------------------------------------------------------


def written(value: object, unit: str = "") -> Any:
    """A value as a test says it."""
    if isinstance(value, list):
        return [written(part) for part in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, dt.datetime):
        return value.isoformat(timespec="minutes")
    return f"{value} {unit}" if unit and isinstance(value, (int, Decimal)) else str(value)


def shown(value: object, unit: str) -> str:
    """A value as the name of a case says it."""
    return str(flow(written(value, unit)))


def setting(row: Site, name: str, value: object, unit: str = "") -> Change:
    """Give a column a value; a number of no unit says so, where rows have a unit each."""
    column = row.entity.columns[name]
    said: Row = {name: written(value, unit)}
    if column.unit and not unit and isinstance(value, (int, Decimal)):
        said |= {column.unit: None} if column.unit in row.entity.columns else {name: written(value, column.unit)}
    return saying(row, said)


def saying(row: Site, said: Row) -> Change:
    """The change that lets a row say this."""
    return lambda draft: row.row(draft).update(copy.deepcopy(said))


def rows_at(draft: Row, way: Iterable[str | int]) -> list[Row]:
    """The rows of a to-many relation; made where they are not there."""
    here: Any = draft
    for part in way:
        here = here.setdefault(part, []) if isinstance(here, dict) else here[part]
    return here  # type: ignore[no-any-return]


def spread(one: Row, entity: Entity, count: int, apart: int) -> list[Row]:
    """Copies of a row, each some days before the last."""
    start = entity.time.start if isinstance(entity.time, Interval) else entity.time
    said = one.get(start) if start else None
    if said is None:
        return [copy.deepcopy(one) for _ in range(count)]
    day = dt.date.fromisoformat(str(said)[:10])
    rest = str(said)[10:]
    return [copy.deepcopy(one) | {str(start): f"{shift(day, 'days', -apart * number)}{rest}"} for number in range(count)]


def anew(base: Row, change: Change, way: Iterable[str | int]) -> Change:
    """A change made to a relation as it was before this condition's own rows were added."""
    route = list(way)

    def changed(draft: Row) -> None:
        rows_at(draft, route)[:] = copy.deepcopy(rows_at(copy.deepcopy(base), route))
        change(draft)

    return changed


def becoming(other: Row) -> Change:
    """The whole draft replaced by another."""

    def changed(draft: Row) -> None:
        draft.clear()
        draft.update(copy.deepcopy(other))

    return changed


def after(held: Row, variation: Variation) -> Variation:
    """A variation of a draft in which something else holds first."""

    def changed(draft: Row) -> None:
        becoming(held)(draft)
        variation.change(draft)

    return Variation(variation.name, changed, variation.path)


def what(term: object) -> str:
    """A term in few words."""
    match term:
        case InSegment(name):
            return f"in segment {name}"
        case Exists(measure) | Satisfies(measure):
            return f"a row of {measure.link.name}"
        case Measure() | Picked() | Covered():
            measure = term if isinstance(term, Measure) else term.measure
            return f"{measure.verb} of {measure.link.name}"
        case AgeBetween():
            return "an age"
    ref = getattr(term, "operand", None)
    return f"{ref.entity}.{ref.column}" if isinstance(ref, ColumnRef) else type(term).__name__
