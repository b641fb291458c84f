"""Small cells: no number of 1 to 10 people is shown, and none follows from what is shown beside it.

The rule is that of the CMS cell size suppression policy: no cell of 1 to 10 is displayed, and no formula over what is displayed
may give one. The method is primary and complementary suppression with an audit, as in Statistical Policy Working Paper 22 of
the Federal Committee on Statistical Methodology:

1. Every number of 1 to 10 is shown as `<11`. Zero is shown.
2. Some combinations of numbers count people too: who was lost between two steps of a funnel, who is in one segment and not in the
   other, all values of a breakdown that are not shown. The forms of a table are these combinations.
3. A number or form of 1 to 10 people is safe if another world exists, with the same numbers on display, in which it is another
   number. Such a world is looked for by moving a person and mending what that breaks. None found counts as none there.
4. For the first that is not safe, one more number is hidden and shown as `11+`: of those it follows from, the one of the lowest
   rank. Ranks come from the place in the output, never from the number, so that the choice itself tells nothing. Then 3 again.
5. If nothing is left to hide, the numbers around it are withheld, without even a bound.
6. At last, whatever can be solved for from the numbers still on display, over the kinds of people behind them, is (`elimination`):
   if that gives a number of 1 to 10, one more is hidden.

Whoever reads the output knows all of this, so a hidden number counts as known to be 1 to 10, or 11 and more.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from cdp.analyst.explore.elimination import Cell, Equations, Kind

SMALL = 11  # a cell must have so many people to be shown
DEPTH = 12  # moves that one other world may take
TRIES = 4_000  # worlds that are looked at for one number

T = TypeVar("T", bound=Hashable)
Form = Mapping[Cell, int]  # how often each cell counts


@dataclass(frozen=True, slots=True)
class Shown:
    """A number of people as it may be shown: a closed span, of one number where it is exact."""

    low: int
    high: int | None

    @classmethod
    def of(cls, number: int, small: int) -> Shown:
        """A number that stands by itself: no other number of the output tells of it."""
        return cls(1, small - 1) if 1 <= number < small else cls(number, number)

    @property
    def exact(self) -> int | None:
        """The number; None where it is not shown."""
        return self.low if self.low == self.high else None

    def __str__(self) -> str:
        if self.exact is not None:
            return f"{self.exact:,}"
        if self.high is not None:
            return f"<{self.high + 1}"
        return f"{self.low}+" if self.low else "withheld"

    def as_json(self) -> int | str:
        """The number, or what stands in its place."""
        return str(self) if self.exact is None else self.exact


WITHHELD = Shown(0, None)


@dataclass(slots=True)
class Table:
    """The numbers of one output, true ones, and how they hang together.

    Attributes:
        small: numbers from 1 to below this are not shown; 1 or less shows everything.
        values: the numbers that are to be shown.
        ranks: which is hidden first, the lowest.
        forms: combinations that count people: never negative.
        wholes: (a cell, the cells that it is the sum of).
        kinds: the kinds of people that there may be, each as the cells that count it; those of `divisions` left out.
        divisions: of each breakdown its lines: for a cell, the one that counts who of it is of this line.
    """

    small: int = SMALL
    values: dict[Cell, int] = field(default_factory=dict)
    ranks: dict[Cell, int] = field(default_factory=dict)
    forms: list[Form] = field(default_factory=list)
    wholes: list[tuple[Cell, tuple[Cell, ...]]] = field(default_factory=list)
    kinds: Sequence[Kind] = ()
    divisions: list[Sequence[Mapping[Cell, Cell]]] = field(default_factory=list)
    _known: set[frozenset[tuple[Cell, int]]] = field(default_factory=set)

    def cell(self, name: Cell, value: int, rank: int = 0) -> None:
        """A number of the output. One that is there already keeps the higher rank: it is the same people."""
        self.values[name] = value
        self.ranks[name] = max(rank, self.ranks.get(name, rank))

    def form(self, form: Form) -> None:
        """A combination of numbers that counts people."""
        kept = frozenset(form.items())
        if len(kept) > 1 and kept not in self._known:
            self._known.add(kept)
            self.forms.append(dict(form))

    def whole(self, name: Cell, parts: Iterable[Cell]) -> None:
        """A cell is the sum of others, which have nobody in common."""
        self.wholes.append((name, tuple(parts)))

    def divide(self, lines: Sequence[Mapping[Cell, Cell]]) -> None:
        """Cells are broken down: each line names, for a cell, the cell of those who are of that line."""
        self.divisions.append(lines)
        for cell in dict.fromkeys(cell for line in lines for cell in line):
            self.whole(cell, [line[cell] for line in lines if cell in line])

    def every_kind(self) -> list[Kind]:
        """The kinds, by the lines of all divisions. Numbers add up over each division apart, so one differs at a time."""
        first = tuple(0 for _ in self.divisions)
        others = [(*first[:at], line, *first[at + 1 :]) for at, lines in enumerate(self.divisions) for line in range(1, len(lines))]
        return [self._divided(kind, places) for kind in self.kinds for places in (first, *others)]

    def _divided(self, kind: Kind, places: Sequence[int]) -> Kind:
        taken = [lines[place] for lines, place in zip(self.divisions, places, strict=True) if lines]
        return kind | {line[cell] for line in taken for cell in kind if cell in line}

    def shown(self) -> dict[Cell, Shown]:
        """Each number as it may be shown."""
        return _Protection(self).run()


def crowds(sets: Mapping[frozenset[T], Form]) -> Iterator[Form]:
    """The combinations that count people, of sets of people that are each defined by conditions that all hold.

    Whoever is in one set and in none of up to three sets inside of it: by inclusion and exclusion, where all the intersections
    are in `sets` too.

    Args:
        sets: by conditions; the form is how the set's number comes from the cells.
    """
    for outer, number in sets.items():
        inside = [inner for inner in sets if outer < inner]
        for first, one in enumerate(inside):
            yield _combined((1, number), (-1, sets[one]))
            for second in range(first + 1, len(inside)):
                two = inside[second]
                if one | two not in sets or _nested(one, two):
                    continue
                pair = [(1, number), (-1, sets[one]), (-1, sets[two]), (1, sets[one | two])]
                yield _combined(*pair)
                for three in inside[second + 1 :]:
                    common = (one | three, two | three, one | two | three)
                    if sets.keys() >= {*common} and not _nested(one, three) and not _nested(two, three):
                        triple = zip((1, 1, -1), (sets[each] for each in common), strict=True)
                        yield _combined(*pair, (-1, sets[three]), *triple)


def _nested(one: frozenset[T], two: frozenset[T]) -> bool:
    return one < two or two < one


def _combined(*terms: tuple[int, Form]) -> dict[Cell, int]:
    total: dict[Cell, int] = {}
    for times, form in terms:
        for cell, each in form.items():
            total[cell] = total.get(cell, 0) + times * each
    return {cell: times for cell, times in total.items() if times}


class _Protection:
    """Hides cells of a table until nothing small follows from the rest."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.values = table.values
        self.shown = {cell: Shown.of(value, table.small) for cell, value in table.values.items()}
        self.near: dict[Cell, list[_Rule]] = {cell: [] for cell in self.values}
        rules = [_Rule(form, exact=False) for form in table.forms]
        rules += [_Rule({name: 1, **dict.fromkeys(parts, -1)}, exact=True) for name, parts in table.wholes]
        for rule in rules:
            for cell in rule.form:
                self.near[cell].append(rule)

    def _is_small(self, value: int) -> bool:
        return 1 <= value < self.table.small

    def run(self) -> dict[Cell, Shown]:
        """Hide, audit, and again."""
        while (exposed := next(self._exposed(), None)) is not None:
            if not self._hide(exposed):
                self._withhold(exposed)
        self._eliminate()
        return self.shown

    def _eliminate(self) -> None:
        """Hide one cell of every computation that gives few people, until there is none."""
        if self.table.small <= 1 or not self.table.kinds:
            return
        equations = Equations(self.table.every_kind(), self.values)
        while self._hide_solved(equations):
            pass

    def _hide_solved(self, equations: Equations) -> bool:
        """Whether something was hidden. What is computed from a cell that was just hidden is left for the next time."""
        known = {cell: span.exact for cell, span in self.shown.items() if span.exact is not None}
        hidden: set[Cell] = set()
        for cells in equations.following(known, self.table.small):
            if hidden.isdisjoint(cells):
                chosen = min(cells, key=lambda cell: self.table.ranks[cell])
                self.shown[chosen] = Shown(self.table.small, None)
                hidden.add(chosen)
        return bool(hidden)

    def _exposed(self) -> Iterator[Form]:
        """What counts few people and follows from what is shown, the first of it first."""
        for form in self._told():
            small = self._is_small(self._number(form, self.values))
            if small and not all(self.shown[cell] == WITHHELD for cell in form) and not self._another_world(form):
                yield form

    def _told(self) -> Iterator[Form]:
        """Every combination that a reader may compute: each cell, each form, what a sum leaves for its hidden parts."""
        for cell in self.values:
            yield {cell: 1}
        yield from self.table.forms
        for _, parts in self.table.wholes:
            yield {part: 1 for part in parts if self.shown[part].exact is None}

    @staticmethod
    def _number(form: Form, values: Mapping[Cell, int]) -> int:
        return sum(times * values[cell] for cell, times in form.items())

    # -- what is hidden next ------------------------------------------------------------------------------------------

    def _hide(self, exposed: Form) -> bool:
        """Hide one more cell that it follows from; False where there is none."""
        for cells in self._around(exposed):
            open_ = [cell for cell in cells if (exact := self.shown[cell].exact) is not None and exact >= self.table.small]
            if open_:
                chosen = min(open_, key=lambda cell: self.table.ranks[cell])
                self.shown[chosen] = Shown(self.table.small, None)
                return True
        return False

    def _withhold(self, exposed: Form) -> None:
        """Say nothing of all the cells around."""
        for cells in self._around(exposed):
            for cell in cells:
                self.shown[cell] = WITHHELD

    def _around(self, exposed: Form) -> Iterator[Sequence[Cell]]:
        """The cells of a form, then those that stand in a rule with one of them, and so on outwards."""
        reached = dict.fromkeys(exposed)
        ring: Sequence[Cell] = tuple(exposed)
        while ring:
            yield ring
            beside = [cell for inner in ring for rule in self.near[inner] for cell in rule.form if cell not in reached]
            ring = tuple(dict.fromkeys(beside))
            reached.update(dict.fromkeys(ring))

    # -- another world ------------------------------------------------------------------------------------------------

    def _another_world(self, form: Form) -> bool:
        """Whether what is shown leaves open what the form comes to."""
        for cell, times in form.items():
            if self.shown[cell].exact is not None:
                continue
            for step in (1, -1):
                search = _Search(self, form, TRIES)
                if times and search.reaches({cell: step}, DEPTH):
                    return True
        return False


@dataclass(frozen=True, slots=True, eq=False)
class _Rule:
    """What holds in every world: a form is zero (`exact`), or not negative."""

    form: Form
    exact: bool


@dataclass(slots=True)
class _Search:
    """Looks for a world in which a form comes to something else, by mending one broken rule after the other."""

    protection: _Protection
    wanted: Form
    tries: int

    def reaches(self, move: dict[Cell, int], depth: int) -> bool:
        """Whether such a world can be made from this move by at most `depth` more steps."""
        self.tries -= 1
        if self.tries < 0 or not all(self._within(cell, by) for cell, by in move.items()):
            return False
        broken = self._broken(move)
        if broken is None:
            return self.protection._number(self.wanted, self._moved(move, self.wanted)) != self.protection._number(
                self.wanted, self.protection.values
            )
        if not depth:
            return False
        rule, excess = broken
        for cell, times in rule.form.items():
            if self.protection.shown[cell].exact is None:
                step = 1 if excess * times < 0 else -1
                if move.get(cell, 0) * step >= 0 and self.reaches({**move, cell: move.get(cell, 0) + step}, depth - 1):
                    return True
        return False

    def _within(self, cell: Cell, by: int) -> bool:
        shown, value = self.protection.shown[cell], self.protection.values[cell] + by
        return shown.low <= value and (shown.high is None or value <= shown.high)

    def _broken(self, move: Mapping[Cell, int]) -> tuple[_Rule, int] | None:
        """The first rule that does not hold after the move, and by how much its form is too high or low."""
        for cell in move:
            for rule in self.protection.near[cell]:
                number = self.protection._number(rule.form, self._moved(move, rule.form))
                if number < 0 or (rule.exact and number):
                    return rule, number
        return None

    def _moved(self, move: Mapping[Cell, int], cells: Iterable[Cell]) -> dict[Cell, int]:
        return {cell: self.protection.values[cell] + move.get(cell, 0) for cell in cells}
