"""What the walk carries: facts, what a column of a source holds, and the names a SELECT can see."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from cdp.governance.taint.syntax import Unsupported


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing a source says: the value of a column, or, with no column, that a row is there at all."""

    table: str
    column: str
    cls: str

    def __str__(self) -> str:
        return f"{self.table}.{self.column}" if self.column else f"rows of {self.table}"


Taint = frozenset[Fact]
NONE: Taint = frozenset()
Ref = tuple[str, str]  # a source of the SELECT and a column of it
Codes = Callable[[str], frozenset[str] | None]
Trust = frozenset[tuple[str, frozenset[str]]]  # declared tables, each with columns that are declared to be unique together
NO_TRUST: Trust = frozenset()


class Held(NamedTuple):
    """What one column of a source depends on.

    Attributes:
        facts: everything.
        fixed: of these, what stands whatever the value is compared with.
        bound: the special classes it may hold, while it is a plain copy of the source's column; those whose rows are withheld too.
            A comparison with reviewed codes narrows this part to what the codes say.
        alone: facts of the column where a row that is not there and `empty` look alike; None if they never do.
        empty: what an aggregate gives when no row passes its own condition: NULL, FALSE or 0.
        codes: of a plain copy whose codes have other spellings than the reviewed ones, what each spelling gives away.
    """

    facts: Taint
    fixed: Taint
    bound: Taint = NONE
    alone: Taint | None = None
    empty: str = ""
    codes: Codes | None = None

    @classmethod
    def of(cls, facts: Taint) -> Held:
        """A value that is not a plain copy of a column."""
        return cls(facts, facts)

    def beside(self, more: Taint) -> Held:
        """The column where its value depends on `more` too."""
        return Held(self.facts | more, self.fixed | more, self.bound, codes=self.codes)

    def or_absent(self, rows: Taint, on: Taint) -> Held:
        """The column on the right of a LEFT JOIN that finds one row or none.

        As a rule its nullness tells whether a row was found. Not so for an aggregate with a condition of its own: there
        a group without a passing row and no group at all are both `empty`.
        """
        if self.alone is None:
            return self.beside(rows | on)
        alone = self.alone | on
        return Held.of(alone) if self.empty == "NULL" else Held(self.facts | rows | on, self.fixed | rows | on, NONE, alone, self.empty)

    def declared(self, said: Held) -> Held:
        """The column where its declaration says more than what it is made of."""
        alone = None if self.alone is None else self.alone | said.facts
        codes = None if said.bound else self.codes  # what is said to be held besides has spellings that nobody knows
        return Held(self.facts | said.facts, self.fixed | said.fixed, self.bound | said.bound, alone, self.empty, codes)


@dataclass(frozen=True, slots=True)
class Source:
    """A table, CTE or subquery: its columns, what the presence of a row tells, and columns that are unique together.

    `trust` is what is declared of tables that makes `keys` unique; `relied` what has been relied on to say what it tells.
    """

    columns: Mapping[str, Held]
    rows: Taint
    keys: frozenset[str] = frozenset()
    trust: Trust = NO_TRUST
    relied: Trust = NO_TRUST

    def renamed(self, names: list[str]) -> Source:
        """The same with the names of an alias' column list; none: unchanged.

        Raises:
            Unsupported: the list has another length.
        """
        if not names:
            return self
        if len(names) != len(self.columns) or len(set(names)) != len(names):
            raise Unsupported("a column list that does not name each column of its query once")
        new = dict(zip(self.columns, names, strict=True))
        columns = {new[c]: held for c, held in self.columns.items()}
        return replace(self, columns=columns, keys=frozenset(new[k] for k in self.keys))

    def beside(self, more: Taint) -> Source:
        """The same where every value depends on `more` too, and nothing is known to be unique."""
        return Source({c: held.beside(more) for c, held in self.columns.items()}, self.rows, relied=self.relied)

    def declared(self, said: Source) -> Source:
        """The same where a declaration of its columns and rows says more than what they are made of."""
        columns = {c: held.declared(said.columns[c]) if c in said.columns else held for c, held in self.columns.items()}
        return replace(self, columns=columns, rows=self.rows | said.rows)


def union(taints: Iterable[Taint]) -> Taint:
    """Every fact of all of them."""
    return NONE.union(*taints)


@dataclass(slots=True)
class Scope:
    """The names one SELECT can see, and what its rows have come to depend on so far.

    Attributes:
        over_rows: the aliases whose value also tells which rows there were.
        telling: the expression being read does so (it holds an aggregate or a window function).
        unique: columns of the sources that are unique together in the joined rows; empty when none are known.
        trust, relied: as of a source: what makes `unique` so, and what has been relied on so far.
        lambdas: the variables of the lambda functions around the expression being read.
    """

    ctes: Mapping[str, Source]
    outer: Scope | None = None
    sources: dict[str, Source] = field(default_factory=dict)
    aliases: dict[str, Taint] = field(default_factory=dict)
    over_rows: set[str] = field(default_factory=set)
    rows: Taint = NONE
    windows: Taint = NONE
    telling: bool = False
    unique: frozenset[Ref] = frozenset()
    trust: Trust = NO_TRUST
    relied: Trust = NO_TRUST
    lambdas: tuple[str, ...] = ()

    def add(self, name: str, source: Source) -> None:
        """A source of FROM, JOIN or LATERAL VIEW.

        Raises:
            Unsupported: the name is taken; an engine might take either.
        """
        if name in self.sources:
            raise Unsupported(f"{name}: two sources of one name")
        self.sources[name] = source
        self.relied |= source.relied

    def find(self, table: str, column: str) -> Held:
        """The column that a name stands for. Where engines differ about which one that is, all that it could be.

        Raises:
            Unsupported: no declared table in sight has it.
        """
        scope: Scope | None = self
        while scope is not None:
            if hits := scope._qualified(table, column) if table else self._plain(scope, column):
                return hits[0] if len(hits) == 1 else Held.of(union(h.facts for h in hits))
            scope = scope.outer
        raise Unsupported(f"{table + '.' if table else ''}{column}: no such column in a declared table")

    def _qualified(self, table: str, column: str) -> list[Held]:
        if (source := self.sources.get(table)) is not None:
            if column not in source.columns:
                raise Unsupported(f"{table}.{column}: no such column in a declared table")
            return [source.columns[column]]
        # a field of a column that is a struct
        return [Held.of(s.columns[table].facts) for s in self.sources.values() if table in s.columns]

    def _plain(self, scope: Scope, column: str) -> list[Held]:
        """`column` in `scope`, which is this one or one around it: Spark prefers the source's column, others the alias."""
        hits = [s.columns[column] for s in scope.sources.values() if column in s.columns]
        if column in scope.aliases:
            hits.append(Held.of(scope.aliases[column]))
            if column in scope.over_rows:
                self._tell(scope)
        return hits

    def _tell(self, last: Scope) -> None:
        scope: Scope | None = self
        while scope is not None:
            scope.telling = True
            scope = None if scope is last else scope.outer
