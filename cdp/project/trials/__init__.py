"""Tests of segments and traits: made-up members with typed rows, and what is expected of each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from cdp.project import shape
from cdp.project.language import names
from cdp.project.language.literals import boolean, literal, quantity
from cdp.project.language.scope import outermost
from cdp.project.source import Document
from cdp.project.terms import InSegment, Operand, Value
from cdp.project.terms.types import is_array, is_row, type_of
from cdp.project.trials.fixtures import Fixture, Fixtures, Said
from cdp.spec.base import Tree
from cdp.spec.model import Entity
from cdp.spec.trial import CaseSpec, TrialSpec, TrialsSpec

if TYPE_CHECKING:
    from cdp.project.language.bind import Binder, Place

Kind = Literal["segment", "trait"]
MEMBER = ("in", "out")
WORDS = tuple(CaseSpec.model_fields)


@dataclass(frozen=True, slots=True)
class Expected:
    """A value that a case expects.

    Attributes:
        path: the trait, or a field of its row, as written.
        text: the expected value as written; None is no value.
        places: of a number, how many decimals were written: a computed one is compared to as many.
    """

    path: str
    operand: Operand
    value: Value | tuple[Value, ...] | None
    text: str | None
    places: int = 0


@dataclass(frozen=True, slots=True)
class Case:
    """One member, and what is expected of it.

    Attributes:
        kind: what is tested, with `subject`, its name, and the entity that it is of.
        test: the test's name, or which one of the subject's it is; `name` is the case's.
        line: where the case stands in `file`.
        as_of: the day or local time, as written.
        member: whether the row is expected to be in the segment; None expects nothing of it.
        pending: nobody has said yet what is expected.
    """

    kind: Kind
    subject: str
    entity: str
    test: str
    name: str
    file: str
    line: int
    as_of: str
    row: Fixture
    member: bool | None
    values: tuple[Expected, ...]
    pending: bool


def trials(binder: Binder, kind: Kind, name: str) -> tuple[Case, ...]:
    """The cases of a segment's or trait's tests; what is wrong with them goes to the binder's problems.

    The project of the binder is bound, as far as it can be.
    """
    document = binder.project.sources[kind, name]
    if document.tree.get("tests") is None:
        return ()
    only = Document(document.file, {"tests": document.tree["tests"]}, document.node)
    specs = shape.validate(only, TrialsSpec, binder.problems)
    return tuple(_Subject(binder, kind, name).cases(specs)) if specs else ()


class _Subject:
    """What is tested, while its tests are read."""

    def __init__(self, binder: Binder, kind: Kind, name: str) -> None:
        self.binder = binder
        self.kind: Kind = kind
        self.name = name
        models = binder.project.segments if kind == "segment" else binder.project.traits
        self.entity: Entity | None = binder.project.entities.get(models[name].entity)
        term = InSegment(name) if kind == "segment" else binder.project.bound.traits[name]
        self.fixtures = Fixtures(binder, term)

    def cases(self, specs: TrialsSpec) -> Iterator[Case]:
        for number, spec in enumerate(specs.tests):
            at = self.binder.place(self.kind, self.name, "tests", number)
            title = spec.name or f"test {number + 1}"
            for index, case in enumerate(spec.cases or [None]):
                place = at if case is None else at.child("cases", index)
                made = self._case(spec, case, title, at, place)
                if made is not None:
                    yield made

    def _case(self, test: TrialSpec, case: CaseSpec | None, title: str, test_at: Place, at: Place) -> Case | None:
        said = case if case is not None else test
        as_of = (case.as_of if case else None) or test.as_of
        if case is not None and test.expect is not None:
            test_at.child("expect").wrong("a test with cases expects nothing itself", hint="say it in each case", key=True)
        if as_of is None:
            at.wrong("missing key 'as_of': the result would change with the day", hint="such as as_of: 2026-07-01")
        if self.entity is None:
            return None
        self._added(case, at)
        row = self.fixtures.member(_merged(test, case, test_at, at), self.entity, at, WORDS if case else ())
        member, values, pending = self._expectation(said, at)
        if as_of is None:
            return None
        number = at.path[-1]
        name = (case.name if case else None) or (f"case {int(number) + 1}" if case else "")
        line, _ = at.document.position(at.path)
        return Case(
            self.kind, self.name, self.entity.name, title, name, at.document.file, line, as_of, row, member, values, pending
        )  # fmt: skip

    def _added(self, case: CaseSpec | None, at: Place) -> None:
        """`add` is for rows: one of a column or a to-one relation would be two."""
        assert self.entity is not None
        many = [name for name, relation in self.entity.relations.items() if relation.many]
        for name in (case.add or {}) if case else ():
            if name in self.entity.columns or (name in self.entity.relations and name not in many):
                at.child("add", name).wrong(f"{name} is not many rows", valid=many, hint="write it in the case itself", key=True)

    # -- what is expected -------------------------------------------------------------------------------------------

    def _expectation(self, said: CaseSpec | TrialSpec, at: Place) -> tuple[bool | None, tuple[Expected, ...], bool]:
        pending, place = said.status == "pending", at.child("expect")
        if "expect" not in said.model_fields_set:
            if not pending:
                at.wrong("missing key 'expect'", hint="in, out, or {in: true, TRAIT: VALUE}; `status: pending` until somebody knows")
            return None, (), pending
        tree = said.expect
        if isinstance(tree, dict):
            return self._mapping(tree, place), tuple(self._values(tree, place)), pending
        if self.kind == "trait":
            return None, tuple(self._values({self.name: tree}, at, key="expect")), pending
        if tree not in MEMBER:
            place.wrong("must be `in`, `out` or a mapping such as {in: true, TRAIT: VALUE}", value=str(tree), valid=MEMBER)
        return tree == "in", (), pending

    def _mapping(self, tree: Mapping[str, Tree], at: Place) -> bool | None:
        if "in" not in tree:
            return None
        if self.kind == "trait":
            return at.child("in").wrong("a trait has values, not members", hint=f"write {self.name}: VALUE", key=True)
        return boolean(tree["in"], at.child("in"))

    def _values(self, tree: Mapping[str, Tree], at: Place, key: str = "") -> Iterator[Expected]:
        for path, part in tree.items():
            if path != "in":
                place = at.child(key or path)
                expected = self._value(path, part, place)
                if expected is not None:
                    yield expected

    def _value(self, path: str, tree: Tree, at: Place) -> Expected | None:
        assert self.entity is not None
        traits = self.binder.traits_of(self.entity.name)
        if path.partition(".")[0] not in traits:
            return at.wrong(f"{self.entity.name} has no trait {path!r}", value=path, valid=[*traits, "in"], key=True)
        operand = names.operand(self.binder, path, outermost(self.entity), at)
        if operand is None:
            return None
        if tree is None:
            return Expected(path, operand, None, None)
        if is_row(operand):
            return at.wrong(f"{path} is a row", hint=f"expect its fields, such as {path}.FIELD: VALUE, or null for no row", key=True)
        return self._typed(path, operand, tree, at)

    def _typed(self, path: str, operand: Operand, tree: Tree, at: Place) -> Expected | None:
        kind = type_of(operand) or "string"
        if is_array(operand):
            listed = tree if isinstance(tree, list) else [tree]
            values = [literal(part, kind, at) for part in listed]
            return Expected(path, operand, tuple(v for v in values if v is not None), f"[{', '.join(map(str, listed))}]")
        number = tree
        if isinstance(tree, str) and " " in tree and kind in ("integer", "decimal", "double"):
            measured = quantity(tree, at)
            number = type(tree)(measured[0]) if measured else tree
        value = literal(number, kind, at)
        places = -int(value.as_tuple().exponent) if isinstance(value, Decimal) else 0
        return None if value is None else Expected(path, operand, value, str(tree), places)


def _merged(test: TrialSpec, case: CaseSpec | None, test_at: Place, at: Place) -> Said:
    """What a case says of its member: the test's `given`, replaced by the case's own keys, with the rows of `add` besides."""
    said: dict[str, list[tuple[Tree, Place]]] = {n: [(tree, test_at.child("given", n))] for n, tree in (test.given or {}).items()}
    if case is None:
        return said
    said |= {n: [(tree, at.child("given", n))] for n, tree in (case.given or {}).items()}
    said |= {n: [(tree, at.child(n))] for n, tree in (case.model_extra or {}).items()}
    for name, tree in (case.add or {}).items():
        said[name] = [*said.get(name, []), (tree, at.child("add", name))]
    return said


def matches(expected: Expected, got: object) -> bool:
    """Whether a computed value is the expected one; numbers are compared to as many decimals as are written."""
    value = expected.value
    if isinstance(value, tuple):
        return isinstance(got, list) and list(value) == got
    if value is None or got is None:
        return value is got
    if isinstance(value, Decimal) and isinstance(got, (int, float, Decimal)):
        return round(Decimal(str(got)), expected.places) == value
    if isinstance(value, dt.datetime) or not isinstance(got, dt.datetime):
        return value == got
    return value == got.date()
