"""Statements: a segment, a trait or a sync as one SELECT of named CTEs, columns and what they rest on."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal, TypeVar
from zoneinfo import ZoneInfo

from sqlglot import exp

from cdp.compile import sql
from cdp.compile.clock import Clock
from cdp.compile.conditions import Compiler
from cdp.compile.rows import Asked
from cdp.compile.scans import SelectRow
from cdp.errors import UsageError
from cdp.project.load import Project
from cdp.project.terms import ColumnRef, Condition, Constant, Covered, Measure, Operand, Output, Picked
from cdp.project.terms.types import COVERS, ROWS
from cdp.spec.model import Entity

T = TypeVar("T")
FINGERPRINTED = ((2000, 1, 1), (2001, 8, 16), (2004, 3, 15))  # years, months and weeks of different lengths lie before them
SAID = "said"  # the role of scans whose values leave; scans that decide who is in have none


@dataclass(frozen=True, slots=True)
class Query:
    """A compiled query.

    Attributes:
        select: the tree; sqlglot prints it in any dialect. Its parts are shared where they are equal: read it, or change
            a copy.
        tables: every `schema.table` it reads.
        lookups: (table, columns) that to-one relations rely on to be unique.
        exceptions: (CTE, why) of what reads a table that another part of the query may read, too.
    """

    name: str
    entity: Entity
    select: exp.Select
    tables: tuple[str, ...]
    lookups: tuple[tuple[str, tuple[str, ...]], ...]
    exceptions: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Statement:
    """A SELECT over one entity under construction: first what decides, then the columns, then `query`."""

    project: Project
    entity: Entity
    clock: Clock
    compiler: Compiler = field(init=False)
    row: SelectRow = field(init=False)
    _where: list[exp.Expr] = field(default_factory=list)
    _columns: dict[str, exp.Expr] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.compiler = Compiler(self.project)
        self.row = SelectRow.of(self.compiler, self.entity, self.entity.name)
        self._where = self.compiler.existence(self.row, self.clock)

    def where(self, term: Condition) -> None:
        """Keep only rows for which the condition is true."""
        self._where.append(self.compiler.condition(term, self.row, Asked(self.clock)))

    def keep(self, test: exp.Expr) -> None:
        """Keep only rows for which a finished test is true."""
        self._where.append(test)

    def test(self, term: Condition, clock: Clock, role: str) -> exp.Expr:
        """A condition as a value, at a clock of its own."""
        return self.compiler.condition(term, self.row, Asked(clock, role))

    def value(self, term: Operand, clock: Clock, role: str) -> exp.Expr:
        """A value, at a clock of its own."""
        return self.compiler.value(term, self.row, Asked(clock, role))

    def column(self, name: str, value: exp.Expr) -> None:
        """Add an output column."""
        self._columns[name] = value

    def output(self, term: Output, role: str = SAID) -> exp.Expr:
        """The value of a mapping: an operand, a constant or an expression."""
        if isinstance(term, Constant):
            return sql.string(term.value)
        return self.compiler.value(term, self.row, Asked(self.clock, role))

    def key(self) -> exp.Expr:
        """The entity's key."""
        return sql.column(self.entity.name, self.entity.key)

    def query(self, name: str) -> Query:
        """The finished query; its CTEs come innermost first."""
        outputs = [sql.alias(value, column) for column, value in self._columns.items()]
        select = self.compiler.select(self.row, self.clock, outputs, self._where)
        ctes = [exp.CTE(this=body, alias=exp.TableAlias(this=sql.identifier(cte))) for cte, body in self.compiler.ctes.items()]
        select.set("with_", exp.With(expressions=ctes) if ctes else None)
        tables, lookups = self.compiler.tables, tuple(sorted(self.compiler.lookups))
        return Query(name, self.entity, select, tables, lookups, self.compiler.read_apart())


def compile_segment(project: Project, name: str, clock: Clock) -> Query:
    """A segment as a query of its entity's keys.

    Raises:
        UsageError: no segment has this name.
    """
    segment = _known("segment", name, project.segments)
    if segment.params:
        filled = f"{{segment: {name}, with: {{{', '.join(f'{param}: ...' for param in segment.params)}}}}}"
        raise UsageError(f"segment {name} is a template", fix=f"compile a segment that fills it in: {filled}")
    statement = Statement(project, project.entities[segment.entity], clock)
    statement.where(project.bound.segments[name])
    statement.column(statement.entity.key, statement.key())
    return statement.query(name)


def compile_trait(project: Project, name: str, clock: Clock) -> Query:
    """A trait as a query of its entity's keys and the trait's values.

    Raises:
        UsageError: no trait has this name.
    """
    trait = _known("trait", name, project.traits)
    statement = Statement(project, project.entities[trait.entity], clock)
    statement.column(statement.entity.key, statement.key())
    for label, term in trait_values(project, name).items():
        statement.column(label, statement.output(term))
    return statement.query(name)


def trait_values(project: Project, name: str) -> dict[str, Operand]:
    """What there is to see of a trait: its value, or of a row that it picks each column."""
    term = project.bound.traits[name]
    if isinstance(term, Measure) and term.verb == "days_covered":
        return {f"{name}_{value}": Covered(term, value) for value in COVERS}
    if not isinstance(term, Measure) or term.verb not in ROWS or term.of is not None:
        return {name: term}
    target = project.entities[term.link.entity]
    columns = target.columns.items()
    return {f"{name}_{column}": Picked(term, ColumnRef((), target.name, column, spec.type, array=spec.array)) for column, spec in columns}


def compile_sync(project: Project, name: str, clock: Clock) -> Query:
    """What a sync says of whom, before governance: its fields for every member of its segment.

    Raises:
        UsageError: no sync has this name.
    """
    sync = _known("sync", name, project.syncs)
    statement = segment_statement(project, sync.segment, clock)
    for field_name in (*sync.key, *sync.mappings):
        statement.column(field_name, statement.output(project.bound.outputs[name, field_name]))
    return statement.query(name)


def segment_statement(project: Project, segment: str, clock: Clock) -> Statement:
    """A statement over a segment's members that has no columns yet."""
    spec = project.segments[segment]
    statement = Statement(project, project.entities[spec.entity], clock)
    statement.where(project.bound.segments[segment])
    return statement


def model_sha256(project: Project, name: str, kind: Literal["segment", "trait", "sync"] = "segment") -> str:
    """The fingerprint of a model's meaning: SHA-256 (hex) of its SQL at fixed moments, so that the day does not matter.

    At one moment two rules may look alike: a month and 31 days, `as_of` and that very day. Not at all of these.
    """
    compiled = {"segment": compile_segment, "trait": compile_trait, "sync": compile_sync}[kind]
    clocks = [Clock(dt.datetime(*day, 12, tzinfo=ZoneInfo(project.timezone))) for day in FINGERPRINTED]
    texts = [compiled(project, name, clock).select.sql("spark") for clock in clocks]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _known(kind: str, name: str, among: Mapping[str, T]) -> T:
    if name not in among:
        close = get_close_matches(name, among, 3)
        hint = f"did you mean {', '.join(close)}?" if close else f"valid: {', '.join(sorted(among)[:12]) or 'none'}"
        raise UsageError(f"no {kind} is named {name!r}", fix=hint)
    return among[name]
