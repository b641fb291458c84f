"""Small cells: what is shown is tried against every other world that would look the same."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.analyst.explore.cells import Shown, Table
from cdp.analyst.explore.funnel import Funnel, funnel, table
from cdp.project.load import Project, load
from cdp.project.terms import Compare, Condition, Every, InSegment, Some
from tests.projects import minimal

PATIENT = """\
kind: entity
name: patient
table: clinical.patients
key: patient_id
rows: membership.patient
columns:
  patient_id: {type: string, class: identifier.mrn}
  death_date: {type: date, class: demographic.death_date}
  given_name: {type: string, class: name.given}
  email: {type: string, class: contact.email}
  a: {type: boolean, class: demographic.state}
  b: {type: boolean, class: demographic.state}
  c: {type: boolean, class: demographic.state}
  d: {type: boolean, class: demographic.state}
relations:
  consents: {many: consent, via: patient_id}
"""
SHAPES = {
    "one": "{a: true}",
    "two": "[{a: true}, {b: true}]",
    "three": "[{a: true}, {b: true}, {c: true}]",
    "four": "[{a: true}, {b: true}, {c: true}, {d: true}]",
    "either": "{any: [{a: true}, {b: true}]}",
    "either_of_three": "{any: [{a: true}, {b: true}, {c: true}]}",
    "and_either": "[{a: true}, {any: [{b: true}, {c: true}]}]",
    "inner": "[{segment: two}, {c: true}]",
}
SEGMENT = "{{kind: segment, name: {name}, entity: patient, owner: a@example.org, purpose: care_coordination, where: {where}}}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    shapes = {**SHAPES, "adults": "{a: true}"}
    segments = "\n---\n".join(SEGMENT.format(name=name, where=where) for name, where in shapes.items())
    files = {"models/patient.yml": PATIENT, "models/adults.yml": segments}
    return load(minimal(tmp_path_factory.mktemp("cells"), **files))


Person = tuple[bool, ...]  # who has which of a, b, c, d


@dataclass(frozen=True)
class Output:
    """What is asked: funnels, their overlaps, a breakdown of the first by its last letter."""

    project: Project
    funnels: tuple[Funnel, ...]
    values: int = 0

    def crowds(self) -> dict[Hashable, frozenset[Condition]]:
        found = {crowd: crowd for each in self.funnels for crowd, _ in each.crowds()}
        for some in (pair for n in range(2, len(self.funnels) + 1) for pair in itertools.combinations(self.funnels, n)):
            found[frozenset().union(*(each.members for each in some))] = frozenset().union(*(each.members for each in some))
        return {**found, frozenset(): frozenset()}

    def table(self, people: Counter[tuple[Person, int]], small: int) -> Table:
        counts = {crowd: sum(n for (who, _), n in people.items() if self.holds(crowd, who)) for crowd in self.crowds().values()}
        common = [crowd for crowd in counts if crowd and crowd not in {each for one in self.funnels for each, _ in one.crowds()}]
        made = table(self.funnels, common, counts, small, self.project)
        if self.values:
            members = self.funnels[0].members
            for value in range(self.values):
                inside = sum(n for (who, which), n in people.items() if which == value and self.holds(members, who))
                made.cell(("by", value), inside)
            made.divide([{members: ("by", value)} for value in range(self.values)])
        return made

    def holds(self, crowd: frozenset[Condition], who: Person) -> bool:
        return all(self._true(term, who) for term in crowd)

    def inside(self, cell: Hashable, who: Person, value: int) -> bool:
        """Whether a person is counted in a number of the output."""
        if isinstance(cell, frozenset):
            return self.holds(cell, who)
        assert isinstance(cell, tuple)
        return value == cell[1] and self.holds(self.funnels[0].members, who)

    def _true(self, term: Condition, who: Person) -> bool:
        match term:
            case Every(of):
                return all(self._true(each, who) for each in of)
            case Some(of):
                return any(self._true(each, who) for each in of)
            case InSegment():
                return self._true(self.project.bound.segment(term), who)
            case Compare(operand=operand):
                return who["abcd".index(operand.column)]
        raise AssertionError(term)

    def numbers(self, people: Counter[tuple[Person, int]]) -> Mapping[Hashable, int]:
        return self.table(people, 1).values


def _looks_the_same(shown: Mapping[Hashable, Shown], numbers: Mapping[Hashable, int]) -> bool:
    return all(span.low <= numbers[cell] and (span.high is None or numbers[cell] <= span.high) for cell, span in shown.items())


def _worlds(kinds: int, most: int) -> Iterator[tuple[int, ...]]:
    """Every way in which up to `most` people are of these kinds."""
    if not kinds:
        yield ()
        return
    for first in range(most + 1):
        for rest in _worlds(kinds - 1, most - first):
            yield (first, *rest)


@pytest.mark.parametrize(
    ("segments", "letters", "values", "most"),
    [
        (["one"], 1, 3, 8),
        (["two"], 2, 0, 11),
        (["two"], 2, 2, 8),
        (["three"], 3, 0, 6),
        (["either"], 2, 0, 11),
        (["either"], 2, 2, 6),
        (["and_either"], 3, 0, 6),
        (["one", "two"], 2, 0, 11),
        (["inner", "two"], 3, 0, 6),
    ],
)
def test_no_group_of_a_few_people_follows_in_any_small_world(
    project: Project, segments: list[str], letters: int, values: int, most: int
) -> None:
    """Every world of up to `most` people, the threshold at 3: of no group that a reader may think of follows that it is 1 or 2."""
    output = Output(project, tuple(funnel(name, project) for name in segments), values)
    who = [(*letter, *[False] * (4 - letters)) for letter in itertools.product((True, False), repeat=letters)]
    members = output.funnels[0].members
    kinds = [(each, value) for each in who for value in (range(max(values, 1)) if output.holds(members, each) else [0])]
    worlds = list(_worlds(len(kinds), most))
    numbers = [output.numbers(Counter(dict(zip(kinds, world, strict=True)))) for world in worlds]
    groups = list(range(1, 1 << len(kinds)))
    for world, own in zip(worlds, numbers, strict=True):
        if sum(world) > most - 3 or not any(1 <= n < 3 for n in world):
            continue  # those with fewer people have all of their neighbours among the worlds
        shown = output.table(Counter(dict(zip(kinds, world, strict=True))), 3).shown()
        alike = [other for other, theirs in zip(worlds, numbers, strict=True) if _looks_the_same(shown, theirs)]
        assert world in alike
        for group in groups:
            size = _size(world, group)
            told = 1 <= size < 3 and all(_size(other, group) == size for other in alike)
            assert not told, (world, group, {str(cell): str(span) for cell, span in shown.items()}, own)


def _size(world: tuple[int, ...], group: int) -> int:
    return sum(count for kind, count in enumerate(world) if group >> kind & 1)


SEGMENTS = [
    ["four"],
    ["two", "and_either"],
    ["either", "and_either", "either_of_three"],
    ["and_either"],
    ["either_of_three"],
    ["three", "inner"],
]


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    segments=st.sampled_from(SEGMENTS),
    values=st.sampled_from([0, 3]),
    shares=st.lists(st.sampled_from([0.02, 0.3, 0.7, 0.97, 1.0]), min_size=4, max_size=4),
    count=st.sampled_from([12, 40, 400, 5_000]),
    random=st.randoms(use_true_random=False),
)
def test_no_few_people_follow_by_elimination(
    project: Project, segments: list[str], values: int, shares: list[float], count: int, random: Random
) -> None:
    """Attack 38: what is shown as equations over every kind of person.

    No few people that are in one number but not in another can be solved for.
    """
    output = Output(project, tuple(funnel(name, project) for name in segments), values)
    people = Counter((tuple(random.random() < share for share in shares), int(random.random() ** 3 * max(values, 1))) for _ in range(count))
    made = output.table(people, 11)
    shown = made.shown()
    assert all(span.low <= made.values[cell] and (span.high is None or made.values[cell] <= span.high) for cell, span in shown.items())
    assert not any(span.exact is not None and 1 <= span.exact < 11 for span in shown.values())
    kinds = [(who, value) for who in itertools.product((True, False), repeat=4) for value in range(max(values, 1))]
    sets = {cell: [output.inside(cell, *kind) for kind in kinds] for cell in shown}
    known = _echelon([sets[cell] for cell, span in shown.items() if span.exact is not None])
    for inside, outside in itertools.product(sets.values(), [*sets.values(), [False] * len(kinds)]):
        asked = [a and not b for a, b in zip(inside, outside, strict=True)]
        size = sum(people[kind] for kind, is_asked in zip(kinds, asked, strict=True) if is_asked)
        assert not (1 <= size < 11 and not any(_reduced(known, asked))), (asked, size)


def _echelon(rows: list[list[bool]]) -> list[list[Fraction]]:
    done: list[list[Fraction]] = []
    for row in rows:
        if any(left := _reduced(done, row)):
            done.append(left)
    return done


def _reduced(done: list[list[Fraction]], row: list[bool]) -> list[Fraction]:
    left = [Fraction(number) for number in row]
    for pivot in done:
        place = next(number for number, value in enumerate(pivot) if value)
        times = left[place] / pivot[place]
        left = [a - times * b for a, b in zip(left, pivot, strict=True)] if times else left
    return left


def test_large_numbers_are_shown_as_they_are(project: Project) -> None:
    output = Output(project, tuple(funnel(name, project) for name in ("four", "and_either")), 3)
    kinds = itertools.product(itertools.product((True, False), repeat=4), range(3))
    people = Counter({kind: 100 + 7 * number for number, kind in enumerate(kinds)})
    assert all(span.exact is not None for span in output.table(people, 11).shown().values())


def test_a_small_cell_hides_the_one_that_it_follows_from() -> None:
    table = Table()
    for name, value, rank in (("all", 100, 9), ("a", 60, 0), ("b", 37, 0), ("c", 3, 0)):
        table.cell(name, value, rank)
    table.whole("all", ["a", "b", "c"])
    assert {name: str(span) for name, span in table.shown().items()} == {"all": "100", "a": "11+", "b": "37", "c": "<11"}


def test_exact_counts_are_for_those_who_may_see_them() -> None:
    table = Table(small=1)
    table.cell("all", 3)
    assert table.shown()["all"].as_json() == 3


@pytest.mark.parametrize(
    ("span", "text"), [(Shown(1234, 1234), "1,234"), (Shown(1, 10), "<11"), (Shown(11, None), "11+"), (Shown(0, None), "withheld")]
)
def test_how_a_number_reads(span: Shown, text: str) -> None:
    assert str(span) == text
