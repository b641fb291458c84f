"""How a population narrows from everyone to the members of a segment: what is counted, as one statement.

Everything that is counted is a crowd: the rows for which a set of conditions all hold. Equal sets are one crowd and one number,
wherever they stand in the output: the size of a segment, a step of its funnel, the overlap of two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, combinations
from random import Random

from sqlglot import exp

from cdp.analyst.explore.cells import Form, Table, crowds
from cdp.analyst.explore.elimination import Kind
from cdp.compile import sql
from cdp.compile.statement import Query, Statement
from cdp.project.load import Project
from cdp.project.terms import Condition, Every, InSegment, Negation, Some
from cdp.project.terms.describe import parts

Crowd = frozenset[Condition]

EVERYONE: Crowd = frozenset()
BRANCH, ALONE, CUMULATIVE, OVERLAP, SIZE, POPULATION = range(1, 7)  # what is hidden first when something has to be


@dataclass(frozen=True, slots=True)
class Step:
    """One part of a conjunction: the rows that pass it, and those that pass it and all parts before; of an `any`, its branches."""

    term: Condition
    alone: Crowd
    cumulative: Crowd
    branches: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Funnel:
    """A segment's condition as steps."""

    segment: str
    steps: tuple[Step, ...]

    @property
    def members(self) -> Crowd:
        """The crowd that passes every step."""
        return self.steps[-1].cumulative if self.steps else EVERYONE

    def crowds(self) -> Iterator[tuple[Crowd, int]]:
        """Every crowd of it, with the rank of its number."""
        for step in self.steps:
            yield from ((step.alone, ALONE), (step.cumulative, CUMULATIVE))
            yield from ((crowd, BRANCH) for branch in step.branches for crowd in (branch.alone, branch.cumulative))
        yield self.members, SIZE


def funnel(name: str, project: Project) -> Funnel:
    """The funnel of a segment. Segments that it uses are steps by their names."""
    steps: list[Step] = []
    passed = EVERYONE
    for term in steps_of(project.bound.segments[name], project):
        alone = crowd(term, project)
        passed |= alone
        steps.append(Step(term, alone, passed, _branches(term, project)))
    return Funnel(name, tuple(steps))


def whole(name: str, project: Project) -> Funnel:
    """A segment as one step: who is in it, and nothing of how they come to be."""
    term = project.bound.segments[name]
    members = crowd(term, project)
    return Funnel(name, (Step(term, members, members),))


def steps_of(term: Condition, project: Project) -> tuple[Condition, ...]:
    """The conditions that a conjunction is made of; a range is one."""
    if not isinstance(term, Every) or not parts(term, project):
        return (term,)
    return tuple(step for _, part in parts(term, project) for step in steps_of(part, project))


def crowd(term: Condition, project: Project) -> Crowd:
    """The conditions that must hold for a row to pass: of a segment that is used, its own."""
    if isinstance(term, Every):
        return frozenset().union(*(crowd(part, project) for part in term.of))
    if isinstance(term, InSegment):
        return crowd(project.bound.segment(term), project)
    return frozenset({term.of[0]} if isinstance(term, Some) and len(term.of) == 1 else {term})


def _branches(term: Condition, project: Project) -> tuple[Step, ...]:
    """Each branch of an `any`; cumulative is who passes it or one before."""
    if not isinstance(term, Some):
        return ()
    return tuple(Step(each, crowd(each, project), crowd(Some(term.of[: n + 1]), project)) for n, each in enumerate(term.of))


PEOPLE = "people"  # the alias of the rows that are counted


@dataclass(frozen=True, slots=True)
class Counts:
    """True numbers, which are not shown as they stand: of crowds, of totals, of crowds by each value of each breakdown."""

    crowds: Mapping[Crowd, int]
    totals: tuple[int, ...]
    groups: tuple[tuple[tuple[str | None, Mapping[Crowd, int]], ...], ...]


@dataclass(slots=True)
class Census:
    """The one statement that counts crowds: inside a boolean column for each condition, outside one count for each crowd.

    With values to break down by, every count is also taken for each value of each of them, in the same pass.
    """

    statement: Statement
    _tests: dict[Condition, exp.Expr] = field(default_factory=dict)
    _crowds: dict[Crowd, exp.Expr] = field(default_factory=lambda: {EVERYONE: sql.TRUE})
    _totals: int = 0
    _groups: int = 0

    def count(self, funnel: Funnel) -> None:
        """Count everyone who passes a step of the funnel, all up to a step, or a branch of a step."""
        passed: list[exp.Expr] = []
        for step in funnel.steps:
            passed.append(self._passes(step.term))
            self._crowds[step.alone] = passed[-1]
            self._crowds[step.cumulative] = sql.every(passed)
            either: list[exp.Expr] = []
            for branch in step.branches:
                either.append(self._passes(branch.term))
                self._crowds[branch.alone] = either[-1]
                self._crowds[branch.cumulative] = sql.some(either)

    def common(self, funnels: Sequence[Funnel]) -> Crowd:
        """Count who is in all of these segments, each of them counted already."""
        crowd: Crowd = EVERYONE.union(*(funnel.members for funnel in funnels))
        self._crowds[crowd] = sql.every(self._crowds[funnel.members] for funnel in funnels)
        return crowd

    def total(self, value: exp.Expr) -> int:
        """Add up a number of each person; returns the place of the sum among the totals."""
        self.statement.column(_total(self._totals), value)
        self._totals += 1
        return self._totals - 1

    def by(self, value: exp.Expr) -> None:
        """Count by a text of each person, too."""
        self.statement.column(_group(self._groups), value)
        self._groups += 1

    def _passes(self, term: Condition) -> exp.Expr:
        """Whether a row passes a condition, as a column that the outer SELECT reads."""
        if term not in self._tests:
            name = f"passes_{len(self._tests) + 1}"
            self.statement.column(name, self.statement.test(term, self.statement.clock, ""))
            self._tests[term] = sql.column(PEOPLE, name)
        return self._tests[term]

    def query(self) -> Query:
        """The statement."""
        query = self.statement.query("census")
        inner, groups = query.select, [sql.column(PEOPLE, _group(number)) for number in range(self._groups)]
        with_ = inner.args.get("with_")
        inner.set("with_", None)
        columns: list[exp.Expr] = [sql.alias(exp.CountIf(this=test), _counted(n)) for n, test in enumerate(self._crowds.values())]
        columns += [sql.alias(exp.Sum(this=sql.column(PEOPLE, _total(n))), _total(n)) for n in range(self._totals)]
        if groups:
            columns += [sql.alias(exp.Anonymous(this="grouping_id"), GROUPED), *groups]
        sets = exp.GroupingSets(expressions=[exp.Tuple(), *(exp.Paren(this=group) for group in groups)])
        counted = exp.Select(
            with_=with_,
            expressions=columns,
            from_=exp.From(this=exp.Subquery(this=inner, alias=exp.TableAlias(this=sql.identifier(PEOPLE)))),
            group=exp.Group(expressions=[sets]) if groups else None,
        )
        return replace(query, select=counted)

    def read(self, rows: Iterable[Mapping[str, object]]) -> Counts:
        """The numbers of the statement's rows."""
        crowds: Mapping[Crowd, int] = {}
        totals: tuple[int, ...] = ()
        groups: list[list[tuple[str | None, Mapping[Crowd, int]]]] = [[] for _ in range(self._groups)]
        for row in rows:
            found = {crowd: int(str(row[_counted(n)])) for n, crowd in enumerate(self._crowds)}
            number = self._which(row)
            if number is None:
                crowds, totals = found, tuple(int(str(row[_total(n)] or 0)) for n in range(self._totals))
            else:
                value = row[_group(number)]
                groups[number].append((None if value is None else str(value), found))
        return Counts(crowds, totals, tuple(tuple(group) for group in groups))

    def _which(self, row: Mapping[str, object]) -> int | None:
        """The breakdown that a row belongs to: GROUPING_ID has a bit for each value that the row is not of, the first the highest."""
        over = {(1 << self._groups) - 1 - (1 << (self._groups - 1 - n)): n for n in range(self._groups)}
        return over.get(int(str(row[GROUPED]))) if self._groups else None


GROUPED = "grouped"


def _group(number: int) -> str:
    return f"by_{number + 1}"


def _total(number: int) -> str:
    return f"total_{number + 1}"


def _counted(number: int) -> str:
    return f"crowd_{number}"


# -- what may be shown of the numbers ------------------------------------------------------------------------------------


def table(funnels: Sequence[Funnel], common: Iterable[Crowd], counts: Mapping[Crowd, int], small: int, project: Project) -> Table:
    """The numbers of all funnels and overlaps, and all combinations of them that count people."""
    made = Table(small)
    ranked = [(EVERYONE, POPULATION), *((crowd, OVERLAP) for crowd in common), *(each for one in funnels for each in one.crowds())]
    for crowd, rank in ranked:
        made.cell(crowd, counts[crowd], rank)
    inside: dict[Crowd, Form] = {crowd: {crowd: 1} for crowd, _ in ranked}
    for form in chain(crowds(inside), *(crowds(outside) for outside in _outside(funnels))):
        made.form(form)
    made.kinds = kinds(list(inside), project)
    return made


KINDS = 2_000  # combinations of conditions that are looked at: all of up to ten conditions, else a choice of them


def kinds(crowds: Sequence[Crowd], project: Project) -> list[Kind]:
    """The kinds of people there may be, by which crowds they are in, if any condition can hold with or without any other.

    The choice among very many is always the same. What it leaves out makes more follow from the numbers than does, so more is
    hidden; conditions that exclude each other in truth are the other way round.
    """
    leaves = list(dict.fromkeys(leaf for crowd in crowds for term in crowd for leaf in _leaves(term, project)))

    def kind(true: frozenset[Condition]) -> Kind:
        return frozenset(crowd for crowd in crowds if all(_holds(term, true, project) for term in crowd))

    return list(dict.fromkeys(map(kind, _worlds(leaves))))


def _worlds(leaves: Sequence[Condition]) -> Iterator[frozenset[Condition]]:
    """Which of the conditions hold: every combination, or of very many those near to all and to none, and some at random."""
    if 2 ** len(leaves) <= KINDS:
        yield from (frozenset(some) for n in range(len(leaves) + 1) for some in combinations(leaves, n))
        return
    yield from (frozenset(leaves).difference(some) for n in range(3) for some in combinations(leaves, n))
    yield from (frozenset(some) for n in range(3) for some in combinations(leaves, n))
    random = Random(0)
    for share in (0.9, 0.7, 0.5):
        yield from (frozenset(leaf for leaf in leaves if random.random() < share) for _ in range(KINDS // 4))


def _leaves(term: Condition, project: Project) -> Iterator[Condition]:
    match term:
        case Every(of) | Some(of):
            yield from (leaf for part in of for leaf in _leaves(part, project))
        case Negation(of):
            yield from _leaves(of, project)
        case InSegment():
            yield from _leaves(project.bound.segment(term), project)
        case _:
            yield term


def _holds(term: Condition, true: frozenset[Condition], project: Project) -> bool:
    match term:
        case Every(of):
            return all(_holds(part, true, project) for part in of)
        case Some(of):
            return any(_holds(part, true, project) for part in of)
        case Negation(of):
            return not _holds(of, true, project)
        case InSegment():
            return _holds(project.bound.segment(term), true, project)
    return term in true


def _outside(funnels: Iterable[Funnel]) -> Iterator[dict[frozenset[Crowd], Form]]:
    """Of each `any`, who passes none of its branches up to each: sets whose conditions all hold, so what is true of such is true here."""
    for step in (step for each in funnels for step in each.steps if step.branches):
        sets: dict[frozenset[Crowd], Form] = {frozenset(): {EVERYONE: 1}}
        before: frozenset[Crowd] = frozenset()
        for branch in step.branches:
            before |= {branch.alone}
            sets[frozenset({branch.alone})] = {EVERYONE: 1, branch.alone: -1}
            sets[before] = {EVERYONE: 1, branch.cumulative: -1}
        yield sets
