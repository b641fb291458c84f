"""A test made of a real person that tells nobody who it is, and proven to come out as the person does.

What the segment does not read is dropped. All dates move by one random number of whole weeks, as_of with them; times of day are
dropped where they do not decide. Texts and codes that the segment does not name become made-up ones, equal texts equal ones; keys
are new. An age over 89 becomes 90 (45 CFR 164.514(b)(2)(i)(C)).
"""

from __future__ import annotations

import datetime as dt
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdp.analyst.explore import verdicts
from cdp.analyst.explore.evidence import literal
from cdp.analyst.explore.sight import Sight
from cdp.analyst.trials import run
from cdp.analyst.trials.outcomes import Outcome, membership
from cdp.analyst.trials.person import Reader, Reads, Record
from cdp.analyst.trials.test_text import Draft, test_text
from cdp.compile import sql
from cdp.compile.clock import Clock
from cdp.compile.statement import Statement, compile_segment
from cdp.compile.windows import add_months, shift
from cdp.errors import DataError, Refusal, RefusedError, UsageError
from cdp.governance.classes import PUBLIC, ClassTree
from cdp.project.load import Project
from cdp.project.problems import Problems
from cdp.project.source import MAX_BYTES, Document, read
from cdp.project.terms import AtTime, Compare, Holds, InSegment, OneOf
from cdp.project.terms.types import column_of
from cdp.project.trials.passing import tested
from cdp.spec.model import Column, Entity, Interval

if TYPE_CHECKING:
    from cdp.analyst.explore.rows import Source
    from cdp.engine.base import Engine

OLDEST = 90  # what every age over 89 becomes
WEEKS = tuple(sign * count for count in range(8, 200) for sign in (1, -1))  # how far dates move
YEARS = tuple(sign * (years * 52 + count) for years in range(1, 12) for count in range(3) for sign in (1, -1))  # and stay in their season
TRIES = 10
SHIFT = "look it through before you share it: whoever knows on which day it was made can tell by how much its dates moved"
CAPPED = "an age over 89 became 90 (45 CFR 164.514(b)(2)(i)(C))"


def case_of(project: Project, segment: str, key: str, clock: Clock, *, source: Engine, tests: Engine, sight: Sight) -> Draft:
    """A de-identified test of a segment.

    Args:
        project: loaded.
        segment: its name.
        key: the person's key in the lakehouse.
        clock: when the person is looked at.
        source: over the lakehouse; only this person's rows are read.
        tests: where the made-up case is run.
        sight: who looks: their role must be allowed to know of single people that they are in the segment.

    Raises:
        UsageError: the segment is a template, or a SELECT decides.
        RefusedError: the role does not allow it.
        DataError: there is no such person, or no disguise comes out as the person does.
    """
    if project.segments[segment].params:
        raise UsageError(f"segment {segment} is a template", fix="name a segment that fills it in")
    if sight.role is None:
        hint = "look in a role: --role NAME"
        raise RefusedError(f"segment {segment}", [Refusal("role", "single people", "", (), "only roles of roles.yml may see any", hint)])
    reads = Reads.of(project, segment)
    sight.members(compile_segment(project, segment, clock).select, f"segment {segment}")
    entity = project.entities[project.segments[segment].entity]
    typed = int(key) if entity.columns[entity.key].type == "integer" and key.isdecimal() else key
    person = Reader(project, sight.through(source), reads, clock).person(entity, typed)
    member = _member(project, segment, entity, typed, clock, sight.through(source))
    return _proven(project, segment, person, reads, clock, member, tests)


def _member(project: Project, segment: str, entity: Entity, key: object, clock: Clock, engine: Source) -> bool:
    """Whether the person is in the segment, as its own SQL says."""
    statement = Statement(project, entity, clock)
    statement.keep(sql.equal(statement.key(), literal(key)))
    statement.column("member", verdicts.verdict(statement, InSegment(segment), clock))
    query = statement.query(segment)
    engine.register(query.tables)
    found = engine.query(query.select, what=f"segment {segment}").to_pylist()
    return bool(found and found[0]["member"])


def _proven(project: Project, segment: str, person: Record, reads: Reads, clock: Clock, member: bool, engine: Engine) -> Draft:
    """The first disguise that comes out as the person does: how much it must tell is found out first, then by how much to move it."""

    def tried(disguises: Sequence[Disguise]) -> list[tuple[Disguise, dict[str, Any], Outcome]]:
        made = [each.test(person, membership(member)) for each in disguises]
        written = _with_tests(project, segment, made)
        outcomes = run(written, engine, [segment]).outcomes if written is not None else ()
        return list(zip(disguises, made, outcomes, strict=False))

    ways = [Disguise(project, reads, clock, 0, times, whole) for whole, times in product((False, True), repeat=2)]
    least = next((each for each, _, outcome in tried(ways) if outcome.ok), ways[-1])
    random = secrets.SystemRandom()
    found = [
        result
        for weeks in (WEEKS, YEARS)
        for result in tried([replace(least, days=count * 7) for count in random.sample(weeks, TRIES)])
        if result[2].member is not None
    ]
    notes = [SHIFT, *([CAPPED] if least.capped else [])]
    for _, test, outcome in found:
        if outcome.ok:
            return Draft(test_text(test), tuple(notes))
    if not (found and least.capped):
        raise DataError(
            f"segment {segment}: no disguise comes out as the person does",
            fix="it may depend on days of the calendar, or on very many rows; choose another person, or write the test by hand",
        )
    _, test, outcome = found[0]
    changed = f"that changes the verdict: the person is {membership(member)}, the case {membership(outcome.member)}"
    return Draft(test_text({**test, "expect": membership(outcome.member)}), (*notes, changed))


def _with_tests(project: Project, segment: str, tests: list[dict[str, Any]]) -> Project | None:
    """The project with these tests instead of the segment's own, read back from their text as an author's are; None if it is too long."""
    text = "tests:\n" + "".join(f"  {line}\n" for test in tests for line in test_text(test).splitlines())
    if len(text.encode()) > MAX_BYTES:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tests.yml"
        path.write_text(text, encoding="utf-8")
        problems = Problems()
        written = read(path, Path(folder), problems)
    problems.raise_if_any()
    own = project.sources["segment", segment]
    document = Document(own.file, {**own.tree, "tests": written[0].tree["tests"]}, written[0].node)
    return replace(project, sources={**project.sources, ("segment", segment): document})


@dataclass
class Disguise:
    """One way to make a person unknown.

    Attributes:
        days: by how many all dates move.
        times: times of day are kept.
        whole: rows of codes that the segment does not name are kept too.
        capped: an age over 89 was met.
    """

    project: Project
    reads: Reads
    clock: Clock
    days: int
    times: bool
    whole: bool
    capped: bool = False
    _texts: dict[object, str] = field(default_factory=dict, init=False)
    _named: dict[tuple[str, str], set[object]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        for term in self.reads.terms:
            if isinstance(term, AtTime):
                self.times = True
            if isinstance(term, (Compare, OneOf, Holds)) and (column := column_of(term.operand)):
                values = term.values if not isinstance(term, Compare) else (term.value,)
                self._named.setdefault((column.entity, column.column), set()).update(values)

    def test(self, person: Record, expect: str) -> dict[str, Any]:
        """The person as a test."""
        given = dict(self._row(person))
        test: dict[str, Any] = {"name": "made of a member, de-identified", "as_of": self._as_of()}
        return {**test, **({"given": given} if given else {}), "expect": expect}

    def _as_of(self) -> str:
        moment = self.clock.instant
        day = shift(moment.date(), "days", self.days).isoformat()
        whole = moment.time().replace(tzinfo=None) == dt.time.max
        return day if whole else f"{day}T{moment:%H:%M:%S}"

    def _row(self, record: Record) -> Iterator[tuple[str, Any]]:
        entity = record.entity
        own = self.project.bound.entities.get(entity.name)
        must = set(tested(own)) if own is not None else set()  # what a test does not say of these is not null
        for name in (column for column in entity.columns if column in self.reads.columns.get(entity.name, ())):
            value = record.values.get(name)
            must |= {str(beside) for beside in (entity.columns[name].unit, entity.columns[name].system) if value is not None}
            if value is not None or name in must:
                yield name, self._cell(entity, name, value)
        for name, others in record.related.items():
            rows = [dict(self._row(other)) for other in sorted(others, key=_when) if self.whole or self._matters(other)]
            if rows:
                yield name, rows[0] if entity.relations[name].one else rows

    def _matters(self, record: Record) -> bool:
        """Whether the segment names a code of the row, where it names codes of such rows at all."""
        codes = [name for name, column in record.entity.columns.items() if column.type == "code"]
        named = [(name, values) for name in codes if (values := self._named.get((record.entity.name, name)))]
        return not named or any(record.values.get(name) in values for name, values in named)

    def _cell(self, entity: Entity, name: str, value: Any) -> Any:
        column = entity.columns[name]
        if column.role == "birth_date" and value is not None and self._too_old(value):
            return add_months(shift(self.clock.day, "days", self.days), -OLDEST * 12).isoformat()
        shown = self._value(value, entity, name, column)
        if column.unit and column.unit not in entity.columns and value is not None:
            return f"{shown} {column.unit}"
        return shown

    def _value(self, value: Any, entity: Entity, name: str, column: Column) -> Any:
        """A value as the test says it; a struct field by field, an array one by one."""
        if isinstance(value, Mapping):
            return {part: self._value(inner, entity, name, column) for part, inner in value.items()}
        if isinstance(value, list):
            return [self._value(inner, entity, name, column) for inner in value]
        if isinstance(value, dt.datetime):
            return self._moment(value)
        if isinstance(value, dt.date):
            return shift(value, "days", self.days).isoformat()
        if isinstance(value, str):
            return self._text(value, entity, name, column)
        if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
            return self._number(value, column)
        return value

    def _moment(self, value: dt.datetime) -> str:
        day = shift(value.date(), "days", self.days).isoformat()
        return f"{day}T{value:%H:%M:%S}" if self.times and value.time() != dt.time.min else day

    def _text(self, value: str, entity: Entity, name: str, column: Column) -> str:
        """The text itself where the segment names it or its class says nothing of a person; else a made-up one."""
        if value in self._named.get((entity.name, name), ()) or column.cls == PUBLIC:
            return value
        if value not in self._texts:
            self._texts[value] = _made_up(column, name, len(self._texts) + 1)
        return self._texts[value]

    def _number(self, value: Any, column: Column) -> Any:
        """A number as it is; one that identifies becomes another."""
        if not self._identifies(column):
            return f"{value.normalize():f}" if isinstance(value, Decimal) else value
        return int(self._texts.setdefault(value, str(len(self._texts) + 1)))

    def _identifies(self, column: Column) -> bool:
        """Whether the law counts such a value among those that say who somebody is."""
        classes = self.project.policy.classes
        return any(classes[cls].key or classes[cls].safe_harbor for cls in ClassTree(classes).line(column.cls))

    def _too_old(self, born: dt.date) -> bool:
        """Whether the person is over 89 at the clock."""
        day = born.date() if isinstance(born, dt.datetime) else born
        self.capped |= day <= add_months(self.clock.day, -OLDEST * 12)
        return self.capped


def _when(record: Record) -> str:
    time = record.entity.time.start if isinstance(record.entity.time, Interval) else record.entity.time
    return str(record.values.get(time) or "") if time else ""


def _made_up(column: Column, name: str, number: int) -> str:
    """A text that nobody has."""
    if column.cls.startswith("contact.email") or "email" in name:
        return f"person{number}@example.org"
    if column.cls.startswith("contact.phone") or "phone" in name:
        return f"555-01{number % 100:02}"
    return f"{name}_{number}"
