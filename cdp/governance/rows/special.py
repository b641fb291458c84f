"""Special rows: what a receiver that is not granted a class reads of tables of which rows are special.

A rule of governance/rows.yml makes rows special whatever their columns say: every record of a Part 2 program is one (42 CFR 2.11
"records", 2.12(a)), a blood pressure too. To filter a list would come too late, for a count or a latest value has read them by then.
So the table itself is replaced (`withhold`): nothing that a query gives can depend on a row that it never reads.

Who is granted the class reads the table whole, and being in it then says the class.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from zoneinfo import ZoneInfo

from sqlglot import exp

from cdp.compile import sql
from cdp.compile.clock import Clock
from cdp.compile.conditions import Compiler
from cdp.compile.rows import Asked
from cdp.compile.scans import SelectRow
from cdp.errors import Refusal, RefusedError
from cdp.governance.classes import ClassTree
from cdp.governance.facts import codes_of, made_of, tables_of
from cdp.governance.query import Withheld
from cdp.governance.receivers import Receiver
from cdp.governance.rows.withhold import ROW, Kept, Q, reading
from cdp.governance.taint import Analyst, Relation, TableFacts, Unsupported
from cdp.project.check_rows import columns_of, decided_by, sets_of
from cdp.project.codes.reviews import standing
from cdp.project.project import Project
from cdp.project.terms import Compare, CompareTo, Condition, Every, Holds, Link, Negation, OneOf, Some
from cdp.project.terms.parts import rests_on
from cdp.project.terms.uses import within
from cdp.spec.model import Entity

OTHER: Final = "[^0-9A-Za-z]"  # what spellings of a code differ in, besides the case of letters
_COMPARES = (Compare, CompareTo, OneOf, Holds)


@dataclass(frozen=True, slots=True)
class Special:
    """The special rows of one table under one class.

    Attributes:
        table: as the entity writes it.
        ordinary: true of the rows that are not special; a row of which it is null is special. Its columns are of ROW.
        lifts: the columns by which it is decided: what is left of them does not hold the class.
        reviewed: whether the codes that it is decided by are those that were reviewed. If not, nobody has said what is left.
    """

    cls: str
    table: str
    ordinary: exp.Expr
    lifts: frozenset[str]
    reviewed: bool


@dataclass(frozen=True, slots=True)
class View:
    """What a receiver reads.

    Attributes:
        analyst: tells what its queries tell, of queries as they are before `over`.
        withheld: the special rows that it does not read.
        kept: by table, what it reads of it instead.
    """

    analyst: Analyst
    withheld: tuple[Special, ...]
    kept: Mapping[str, Kept]

    def relation(self, select: exp.Expr, what: str) -> Relation:
        """What a query tells the receiver.

        Raises:
            RefusedError: it uses something that cannot be analysed, or reads a class that no query may.
        """
        try:
            return self.analyst.query(select)
        except Unsupported as error:
            raise RefusedError(what, [Refusal("syntax", what, "", (), error.message, "write it in another way")]) from None

    def over(self, select: Q) -> Q:
        """The query over what the receiver reads."""
        return reading(select, self.kept)

    def missing(self, tables: Iterable[str]) -> tuple[Withheld, ...]:
        """What is withheld of some tables."""
        read = {table.lower() for table in tables}
        return tuple(Withheld(each.cls, each.table, sql.negation(each.ordinary)) for each in self.withheld if each.table.lower() in read)


@dataclass(slots=True)
class Views:
    """What receivers read, by the classes that are withheld from them: few of many receivers differ in these.

    Attributes:
        special: every rule of governance/rows.yml, compiled.
    """

    project: Project
    tree: ClassTree
    special: tuple[Special, ...] = field(init=False)
    _views: dict[frozenset[str], View] = field(default_factory=dict)
    _refusing: dict[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.special = special_rows(self.project)

    def whole(self) -> View:
        """The view of whom nothing is withheld from."""
        return self._of(frozenset())

    def of(self, receiver: Receiver) -> View:
        """What a receiver reads: a class's rows only if the members of all of its grants cover the class."""
        if not receiver.grants:
            return self._of(frozenset(each.cls for each in self.special))
        covers = self.tree.covers
        return self._of(
            frozenset(each.cls for each in self.special if not all(covers(grant.members, each.cls) for grant in receiver.grants))
        )

    def _of(self, classes: frozenset[str]) -> View:
        if classes not in self._views:
            self._views[classes] = self._view(classes)
        return self._views[classes]

    def _view(self, classes: frozenset[str]) -> View:
        project, tree = self.project, self.tree
        withheld = tuple(each for each in self.special if each.cls in classes)
        granted = tuple(each for each in self.special if each.cls not in classes)
        tables = facts(tables_of(project), withheld, granted, tree)
        kept: dict[str, Kept] = {}
        for each in withheld:
            kept[each.table.lower()] = kept.get(each.table.lower(), Kept(columns_of_table(project, each.table))).also(each.ordinary)
        return View(Analyst(tables, codes_of(project).get, tree, made_of(project)), withheld, kept)

    def unsafe(self, entity: str, view: View) -> Iterator[Refusal]:
        """Tables of which rows are withheld while the eligibility of an entity reads them: who must be left out could be told."""
        if not view.withheld:
            return
        if entity not in self._refusing:
            self._refusing[entity] = _refusing(self.project, entity)
        for each in view.withheld:
            if each.table.lower() in self._refusing[entity]:
                missing = "rows are withheld of what the eligibility reads: a reason to keep somebody out may be among them"
                fix = "have the rules of eligibility.yml read another entity, or take this one out of rows.yml"
                yield Refusal("eligibility", each.table, each.cls, (), missing, fix)


# -- rules ------------------------------------------------------------------------------------------------------------


def special_rows(project: Project) -> tuple[Special, ...]:
    """The rules of governance/rows.yml, one for each class and table."""
    found: dict[tuple[str, str], Special] = {}
    for (number, name), term in project.bound.special.items():
        rule, entity = project.policy.rows[number], project.entities[name]
        reviewed = all(standing(project, each) is not None for each in sets_of(term))
        ordinary = _ordinary(project, entity, term, rule.unknown)
        one = Special(rule.cls, entity.table, ordinary, frozenset(decided_by(term)), reviewed)
        key = rule.cls, entity.table.lower()
        found[key] = _both(found[key], one) if key in found else one
    return tuple(found.values())


def _both(one: Special, other: Special) -> Special:
    ordinary = sql.every([one.ordinary, other.ordinary])
    return Special(one.cls, one.table, ordinary, one.lifts | other.lifts, one.reviewed and other.reviewed)


def _ordinary(project: Project, entity: Entity, term: Condition, unknown: str) -> exp.Expr:
    """That a row is not special. Where what is unknown is special: nor is one of which a compared column has no value.

    Codes are then told apart by their letters and digits alone: a row that names its code system wrongly, or writes F10.20 as f1020, is
    not less special.
    """
    if unknown == "ordinary":
        return sql.negation(row_test(project, entity, term))
    compared = {name for part in within(term) if isinstance(part, _COMPARES) for name in columns_of(part)}
    known = [sql.not_null(sql.column(ROW, name)) for name in sorted(compared)]
    test = _spelled_alike(row_test(project, entity, _of_any_system(term)).copy())
    return sql.every([*known, exp.Not(this=sql.grouped(test))])


def row_test(project: Project, entity: Entity, term: Condition) -> exp.Expr:
    """A condition over the row that ROW names. It asks no clock; the project's zone says which day a moment is."""
    clock = Clock(dt.datetime(2000, 1, 1, tzinfo=ZoneInfo(project.timezone)))
    compiler = Compiler(project)
    return compiler.condition(term, SelectRow.of(compiler, entity, ROW), Asked(clock))


def _spelled_alike(test: exp.Expr) -> exp.Expr:
    """A test that texts pass in whatever spelling. What is negated stays: there fewer rows would be special."""
    if isinstance(test, (exp.And, exp.Or, exp.Paren)):
        for part in list(test.iter_expressions()):
            part.replace(_spelled_alike(part))
        return test
    texts = test.expressions if isinstance(test, exp.In) else [test.expression] if isinstance(test, exp.EQ) else []
    if not texts or not isinstance(test.this, exp.Column) or not all(isinstance(text, exp.Literal) and text.is_string for text in texts):
        return test
    letters = exp.RegexpReplace(this=test.this, expression=sql.string(OTHER), replacement=sql.string(""))
    spelled = dict.fromkeys(re.sub(OTHER, "", text.this).upper() for text in texts)
    return sql.one_of(exp.Upper(this=letters), [sql.string(text) for text in spelled])


def _of_any_system(term: Condition) -> Condition:
    match term:
        case Every(of):
            return Every(tuple(map(_of_any_system, of)))
        case Some(of):
            return Some(tuple(map(_of_any_system, of)))
        case Negation(of):
            return Negation(_of_any_system(of))
        case OneOf():
            return replace(term, systems=())
        case _:
            return term


def _refusing(project: Project, entity: str) -> frozenset[str]:
    bound, consent = project.bound, project.policy.consent
    rules = tuple(rule for (of, *_), rule in (*bound.rules.items(), *bound.filled.items()) if of == entity)
    names = {part.entity for part in rests_on(rules, project) if isinstance(part, Link)} | ({consent.entity} if consent else set())
    return frozenset(project.entities[name].table.lower() for name in names if project.entities[name].table)


# -- what is told -------------------------------------------------------------------------------------------------------

Tables = Mapping[str, TableFacts]


def facts(tables: Tables, withheld: Iterable[Special], granted: Iterable[Special], tree: ClassTree) -> dict[str, TableFacts]:
    """What tables say of whom some special rows are withheld from, and others not.

    Without its special rows a column that decided about them does not hold the class, or those below it; it still says so when it
    is compared with reviewed codes of the class. What a table's `rows` and a column's own class say stands. With its special rows
    being in a table says the class, and so does every value; the receiver is granted it for both or is refused.
    """
    found = dict(tables)
    for each in withheld:
        if each.reviewed:
            found[each.table.lower()] = _lifted(found[each.table.lower()], each, tree)
        else:
            found[each.table.lower()] = _added(found[each.table.lower()], each, tree)
    for each in granted:
        found[each.table.lower()] = _added(found[each.table.lower()], each, tree)
    return found


def _lifted(table: TableFacts, special: Special, tree: ClassTree) -> TableFacts:
    columns = dict(table.columns)
    for name in special.lifts & columns.keys():
        gone = frozenset(cls for cls in columns[name].may_hold if special.cls in tree.line(cls))
        columns[name] = replace(columns[name], may_hold=columns[name].may_hold - gone, withheld=columns[name].withheld | gone)
    return replace(table, columns=columns)


def _added(table: TableFacts, special: Special, tree: ClassTree) -> TableFacts:
    more = frozenset({special.cls})
    columns = {
        name: column if tree.is_key(column.cls) else replace(column, may_hold=column.may_hold | more)
        for name, column in table.columns.items()
    }
    return replace(table, columns=columns, rows=table.rows | more)


# -- what is read -------------------------------------------------------------------------------------------------------


def columns_of_table(project: Project, table: str) -> tuple[str, ...]:
    """The declared columns of a table, each once: those of all entities that have it."""
    same = (entity for entity in project.entities.values() if entity.table.lower() == table.lower())
    return tuple({name.lower(): name for entity in same for name in entity.columns}.values())


def counting(withheld: Sequence[Withheld]) -> exp.Select:
    """One row with how many rows are withheld: `withheld_0` of the first, and so on. Each table is read once."""
    counts: dict[str, list[exp.Expr]] = {}
    for number, each in enumerate(withheld):
        counts.setdefault(each.table, []).append(sql.alias(exp.CountIf(this=each.special.copy()), f"withheld_{number}"))
    parts = [
        exp.Subquery(
            this=exp.Select(expressions=values, from_=exp.From(this=sql.table(table, ROW))),
            alias=exp.TableAlias(this=sql.identifier(f"counted_{number}")),
        )
        for number, (table, values) in enumerate(counts.items())
    ]
    names = [exp.Column(this=sql.identifier(f"withheld_{number}")) for number, _ in enumerate(withheld)]
    joins = [exp.Join(this=part, kind="CROSS") for part in parts[1:]]
    return exp.Select(expressions=names, from_=exp.From(this=parts[0]), joins=joins or None)
