"""What a query tells: the source facts that each output column, and the presence of each row, depends on.

One recursive walk over the tree as the compiler built it, with its own name resolution. Filters, join conditions, HAVING,
subqueries, set operations, generators, DISTINCT and ORDER BY with LIMIT count: whoever is told that a row is there learns
of all of them. The walk may name too much, never too little; what it does not know it refuses (`taint_syntax`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from cdp.compile.models import made_by
from cdp.governance.classes import ClassTree
from cdp.governance.taint.groups import Choice, Output, covering, ref, separated
from cdp.governance.taint.scope import NO_TRUST, NONE, Codes, Fact, Held, Scope, Source, Taint, Trust, union
from cdp.governance.taint.syntax import GENERATORS, Unsupported, check, name_of, operands
from cdp.governance.taint.values import Values

__all__ = ["Analyst", "ColumnFacts", "Fact", "Relation", "TableFacts", "Unsupported", "taint"]


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """A declared column: its class, and what a value of it may say besides.

    `withheld` is what it does not hold where the rows of these classes are withheld; to be compared with reviewed codes of
    one of them still says it. `codes`: what comparing with a text gives away, where the column spells reviewed codes in other
    ways too; None: as everywhere.
    """

    cls: str
    may_hold: frozenset[str] = frozenset()
    withheld: frozenset[str] = frozenset()
    codes: Codes | None = None


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A declared table: its columns, the classes of being in it at all, and columns that are unique together.

    `key` is trusted: a LEFT JOIN on it is taken to find one row or none, and `Relation.relied` says so. Empty when nothing is known.
    """

    columns: Mapping[str, ColumnFacts]
    rows: frozenset[str]
    key: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Relation:
    """What a query tells.

    Attributes:
        columns: for each output column, in order, the facts its value depends on.
        rows: the facts that the presence of a row depends on.
        keys: output columns that are unique together; empty when none are known.
        relied: tables, each with its declared key: if it does not tell rows apart, the query tells more than is said here.
    """

    columns: Mapping[str, frozenset[Fact]]
    rows: frozenset[Fact]
    keys: frozenset[str] = frozenset()
    relied: Trust = NO_TRUST


class Analyst:
    """Reads the queries of one project. Built once, used for every query.

    Args:
        tables: the declared tables by `schema.table`.
        codes: the classes that a code of a reviewed value set gives away (none is an answer too); None for a code in no
            reviewed value set. Where several sets hold the code: the classes of all of them.
        tree: the classes.
        made: the entities without a table by name: what is declared of their columns and rows adds to what the query that
            makes them tells, so a declaration may raise a class and never lowers one.

    Raises:
        UnknownClass: a table uses a class that the tree does not hold.
    """

    def __init__(
        self, tables: Mapping[str, TableFacts], codes: Codes, tree: ClassTree, made: Mapping[str, TableFacts] | None = None
    ) -> None:
        self._tables = {tuple(name.lower().split(".")): _base(name.lower(), facts, tree) for name, facts in tables.items()}
        self._made = {name.lower(): _base(name.lower(), facts, tree) for name, facts in (made or {}).items()}
        sources = [*self._tables.values(), *self._made.values()]
        facts = union(held.facts for source in sources for held in source.columns.values())
        facts |= union(source.rows for source in sources)
        self._values = Values(codes, tree, frozenset(fact for fact in facts if tree.is_key(fact.cls)), self._query)

    def query(self, node: exp.Expr) -> Relation:
        """What a query tells.

        Raises:
            Unsupported: it holds what is not on the allowlist, or a table or column that is not declared.
        """
        try:
            source = self._query(node, {}, None)
        except RecursionError:
            raise Unsupported("the query is nested too deep to be followed") from None
        return Relation({name: held.facts for name, held in source.columns.items()}, source.rows, source.keys, source.relied)

    # ---- queries --------------------------------------------------------------------------------------------------
    def _query(self, node: exp.Expr, ctes: Mapping[str, Source], outer: Scope | None) -> Source:
        source = self._read(node, ctes, outer)
        if outer is not None:
            outer.relied |= source.relied
        return source

    def _read(self, node: exp.Expr, ctes: Mapping[str, Source], outer: Scope | None) -> Source:
        if type(node) is exp.Select:
            return self._select(node, ctes, outer)
        if isinstance(node, exp.SetOperation):
            return self._set_operation(node, ctes, outer)
        if type(node) is exp.Subquery:
            check(node)
            return self._query(node.this, self._with(node, ctes, outer), outer)
        raise Unsupported(f"{type(node).__name__} is not a governed query")

    def _with(self, node: exp.Expr, ctes: Mapping[str, Source], outer: Scope | None) -> Mapping[str, Source]:
        with_ = node.args.get("with_")
        if not with_:
            return ctes
        check(with_)
        own: dict[str, Source] = {}
        for cte in with_.expressions:  # a CTE sees those before it, never itself
            check(cte)
            name, columns = _alias(cte, "a CTE")
            if name in own:
                raise Unsupported(f"{name}: two CTEs of one name")
            source = self._query(cte.this, {**ctes, **own}, outer).renamed(columns)
            made = self._made.get(made_by(name))
            own[name] = source.declared(made) if made is not None else source
        return {**ctes, **own}

    def _set_operation(self, node: exp.Expr, ctes: Mapping[str, Source], outer: Scope | None) -> Source:
        check(node)
        ctes = self._with(node, ctes, outer)
        left, right = self._query(node.this, ctes, outer), self._query(node.args["expression"], ctes, outer)
        if len(left.columns) != len(right.columns):
            raise Unsupported("a set operation over different numbers of columns")
        pairs = zip(left.columns.values(), right.columns.values(), strict=True)
        values = [a.facts | b.facts for a, b in pairs]
        rows = left.rows | right.rows
        if node.args.get("distinct") or type(node) is not exp.Union:
            rows |= self._values.informative(union(values))
        tail = Scope(ctes, outer, aliases=dict(zip(left.columns, values, strict=True)), relied=left.relied | right.relied)
        if self._cut(node, tail):
            rows |= union(values)
        # a constant may differ by side and so give the side away: each value carries the rows of both
        return Source({name: Held.of(facts | rows) for name, facts in zip(left.columns, values, strict=True)}, rows, relied=tail.relied)

    def _select(self, node: exp.Expr, ctes: Mapping[str, Source], outer: Scope | None) -> Source:
        check(node)
        scope = Scope(self._with(node, ctes, outer), outer)
        self._sources(node, scope)
        choices = self._where(node, scope)
        for window in node.args.get("windows") or ():
            name_of(window.this)
            scope.windows |= self._values.window(window, scope)
        outputs = self._outputs(node, scope)
        keys = self._grouped(node, scope, outputs)
        base = scope.rows
        scope.rows |= union(choice.facts for choice in choices)
        whole = not self._thinned(node, scope, outputs)
        if node.args.get("distinct"):
            keys = frozenset(output.name for output in outputs)
        columns = {o.name: o.held if not o.telling else Held.of(o.held.facts | scope.rows) for o in outputs}
        if node.args.get("group") and choices and whole:
            columns |= separated(outputs, columns, base, choices)
        made = node.args.get("group") or node.args.get("distinct")  # unique by what is done here
        return Source(columns, scope.rows, keys, NO_TRUST if made else scope.trust, scope.relied)

    # ---- FROM -----------------------------------------------------------------------------------------------------
    def _sources(self, node: exp.Expr, scope: Scope) -> None:
        if from_ := node.args.get("from_"):
            check(from_)
            name, source = self._source(from_.this, scope)
            scope.add(name, source)
            scope.rows, scope.unique, scope.trust = source.rows, frozenset((name, key) for key in source.keys), source.trust
        for join in node.args.get("joins") or ():
            self._join(join, scope)
        for lateral in node.args.get("laterals") or ():
            name, source = self._source(lateral, scope)
            scope.add(name, source)
            scope.rows, scope.unique = scope.rows | source.rows, frozenset()

    def _source(self, node: exp.Expr, scope: Scope) -> tuple[str, Source]:
        check(node)
        if type(node) is exp.Table:
            return self._declared(node, scope)
        name, columns = _alias(node, "a subquery in FROM")
        if type(node) is exp.Values:
            return name, self._constants(node, columns)
        if type(node) is exp.Lateral:
            if type(node.this) is exp.Subquery:
                return name, self._query(node.this, scope.ctes, scope).renamed(columns)
            if type(node.this) not in GENERATORS or not columns:
                raise Unsupported("LATERAL VIEW needs explode or posexplode, and names for its columns")
            facts = self._values.value(node.this, scope)
            return name, Source(dict.fromkeys(columns, Held.of(facts)), facts)
        return name, self._query(node, scope.ctes, scope.outer).renamed(columns)

    def _declared(self, node: exp.Expr, scope: Scope) -> tuple[str, Source]:
        if type(node.this) is not exp.Identifier:
            raise Unsupported("a table function is not supported in a governed query")
        path = tuple(name_of(node.args[part]) for part in ("catalog", "db", "this") if node.args.get(part))
        source = scope.ctes.get(path[0]) if len(path) == 1 else None
        source = source or self._tables.get(path)
        if source is None:
            raise Unsupported(f"{'.'.join(path)}: not a declared table")
        if not node.args.get("alias"):
            return path[-1], source
        name, columns = _alias(node, "a table")
        return name, source.renamed(columns)

    def _constants(self, node: exp.Expr, columns: list[str]) -> Source:
        for row in node.expressions:
            check(row)
        rows = [row.expressions for row in node.expressions if type(row) is exp.Tuple]
        if len(rows) != len(node.expressions) or any(len(row) != len(columns) for row in rows):
            raise Unsupported("VALUES needs rows in parentheses, and a name for each column")
        constant = (exp.Literal, exp.Boolean, exp.Null, exp.Neg, exp.Cast)
        if not all(isinstance(cell, constant) and not self._values.value(cell, Scope({})) for row in rows for cell in row):
            raise Unsupported("VALUES holds more than constants")
        return Source(dict.fromkeys(columns, Held.of(NONE)), NONE)

    def _join(self, join: exp.Expr, scope: Scope) -> None:
        check(join)
        side, kind = (join.args.get("side") or "").upper(), (join.args.get("kind") or "").upper()
        half = kind in ("SEMI", "ANTI")
        if kind not in ("", "INNER", "OUTER", "CROSS", "SEMI", "ANTI") or side not in _SIDES[half]:
            raise Unsupported(f"{side} {kind} JOIN is not supported in a governed query".lstrip())
        name, source = self._source(join.this, scope)
        scope.add(name, source)
        on, equal = self._on(join, name, scope)
        one = bool(source.keys) and source.keys <= equal
        scope.trust |= source.trust if one and not half else NO_TRUST
        if half:
            del scope.sources[name]
        elif side == "LEFT" and one:  # membership stays clean: each row stays, once
            scope.sources[name] = Source({c: held.or_absent(source.rows, on) for c, held in source.columns.items()}, NONE)
            scope.relied |= source.trust
            return
        elif side == "LEFT":
            scope.sources[name] = source.beside(source.rows | on)
        elif side:  # the values of a side that may be missing tell whether there was a match
            match = scope.rows | source.rows | on
            scope.sources = {n: s if n == name and side == "RIGHT" else s.beside(match) for n, s in scope.sources.items()}
        scope.rows |= source.rows | on
        if not half and (not one or side in ("RIGHT", "FULL")):
            scope.unique = frozenset()

    def _on(self, join: exp.Expr, name: str, scope: Scope) -> tuple[Taint, set[str]]:
        """The facts of a join's condition, and the columns of the new source that it sets equal to something outside it."""
        facts, equal, source = NONE, set(), scope.sources[name]
        for column in map(name_of, join.args.get("using") or ()):
            others = [s.columns[column].facts for n, s in scope.sources.items() if n != name and column in s.columns]
            if not others or column not in source.columns:
                raise Unsupported(f"USING {column}: not a column of both sides")
            facts |= self._values.equal(union(others), source.columns[column].facts)
            equal.add(column)
        for part in operands(join.args["on"], exp.And) if join.args.get("on") else ():
            facts |= self._values.condition(part, scope)
            if type(part) is exp.EQ:
                equal |= _fixed(part.this, part.expression, name) | _fixed(part.expression, part.this, name)
        return facts, equal

    # ---- what follows FROM ----------------------------------------------------------------------------------------
    def _where(self, node: exp.Expr, scope: Scope) -> list[Choice]:
        """Adds what WHERE tells to the scope, but for the parts that are an OR, which it returns."""
        choices = []
        where = node.args.get("where")
        if where:
            check(where)
        for part in operands(where.this, exp.And) if where else ():
            facts = self._values.condition(part, scope)
            if type(part) is exp.Or:
                choices.append(Choice(list(operands(part, exp.Or)), facts))
            else:
                scope.rows |= facts
        return choices

    def _outputs(self, node: exp.Expr, scope: Scope) -> list[Output]:
        outputs = []
        for position, item in enumerate(node.expressions):
            inner = item.this if type(item) is exp.Alias else item
            name = (item.alias_or_name or f"_{position}").lower()
            if name in scope.aliases:
                raise Unsupported(f"{name}: two output columns of one name")
            if type(inner) in (exp.Star, exp.Aliases):
                raise Unsupported("SELECT *: name the columns" if type(inner) is exp.Star else "AS (a, b): use LATERAL VIEW")
            check(item)
            name_of(item.args.get("alias") if type(item) is exp.Alias else None)
            scope.telling = False
            if type(inner) is exp.Column:
                held = self._values.column(inner, scope)
                held = held if held.alone is None else Held(held.facts, held.fixed, held.bound, codes=held.codes)
            else:
                held = Held.of(self._values.value(inner, scope))
            outputs.append(Output(name, inner, held, scope.telling))
            scope.aliases[name] = held.facts
            if scope.telling:
                scope.over_rows.add(name)
        return outputs

    def _grouped(self, node: exp.Expr, scope: Scope, outputs: Sequence[Output]) -> frozenset[str]:
        """Adds what GROUP BY tells to the scope. Returns the outputs that are unique together."""
        group = node.args.get("group")
        if not group:
            return covering(scope.unique, outputs)
        check(group)
        scope.rows |= self._values.informative(union(self._positioned(part, scope) for part in group.expressions))
        refs = [ref(part) for part in group.expressions]
        return covering([r for r in refs if r], outputs) if all(refs) else frozenset()

    def _thinned(self, node: exp.Expr, scope: Scope, outputs: Sequence[Output]) -> bool:
        """Adds what HAVING, DISTINCT and LIMIT tell to the scope. True where one of them may take away a group."""
        having, distinct = node.args.get("having"), node.args.get("distinct")
        if having:
            check(having)
            scope.rows |= self._values.condition(having.this, scope)
        if distinct:
            check(distinct)
            if distinct.expressions:
                raise Unsupported("DISTINCT ON is not supported in a governed query")
            scope.rows |= self._values.informative(union(output.held.facts for output in outputs))
        cut = self._cut(node, scope)
        return bool(having or distinct or cut)

    def _cut(self, node: exp.Expr, scope: Scope) -> bool:
        """Reads ORDER BY, LIMIT and OFFSET. Order tells only where it decides who stays: plans are ordered by key hash."""
        order = node.args.get("order")
        facts = NONE
        if order:
            check(order)
            for part in order.expressions:
                check(part)
                facts |= self._positioned(part.this, scope)
        cuts = [node.args[cut] for cut in ("limit", "offset") if node.args.get(cut)]
        for cut in cuts:
            check(cut)
            if type(cut.args["expression"]) is not exp.Literal:
                raise Unsupported(f"{type(cut).__name__} of anything but a number is not supported in a governed query")
            check(cut.args["expression"])
        if cuts:
            scope.rows |= facts
        return bool(cuts)

    def _positioned(self, node: exp.Expr, scope: Scope) -> Taint:
        """An expression of GROUP BY or ORDER BY; a number is the position of an output."""
        if type(node) is not exp.Literal or node.is_string:
            return self._values.value(node, scope)
        check(node)
        position = int(node.this) if node.this.isdigit() else 0
        if not 1 <= position <= len(scope.aliases):
            raise Unsupported(f"{position}: no output column at this position")
        return list(scope.aliases.values())[position - 1]


def taint(query: exp.Expr, tables: Mapping[str, TableFacts], codes: Codes, tree: ClassTree) -> Relation:
    """What one query tells. For more than one query of a project: an `Analyst`, which has the same arguments and errors."""
    return Analyst(tables, codes, tree).query(query)


def _base(name: str, table: TableFacts, tree: ClassTree) -> Source:
    columns = {}
    for column, facts in table.columns.items():
        own = Fact(name, column.lower(), facts.cls)
        held = frozenset(Fact(name, own.column, cls) for cls in facts.may_hold) - {own}
        bound = frozenset(fact for fact in held if tree.is_special(fact.cls))  # a review speaks of special classes only
        asked = frozenset(Fact(name, own.column, cls) for cls in facts.withheld if tree.is_special(cls))
        columns[own.column] = Held(held | {own}, held - bound | {own}, bound | asked, codes=facts.codes)
    rows = frozenset(Fact(name, "", cls) for cls in table.rows)
    key = frozenset(key.lower() for key in table.key)
    return Source(columns, rows, key, frozenset({(name, key)}) if key else NO_TRUST)


def _alias(node: exp.Expr, what: str) -> tuple[str, list[str]]:
    alias = node.args.get("alias")
    if not isinstance(alias, exp.TableAlias) or not alias.this:
        raise Unsupported(f"{what} needs a name")
    check(alias)
    return name_of(alias.this), [name_of(column) for column in alias.args.get("columns") or ()]


_SIDES = {False: ("", "LEFT", "RIGHT", "FULL"), True: ("", "LEFT")}


def _fixed(column: exp.Expr, other: exp.Expr, name: str) -> set[str]:
    """The column, if it is one of the source `name` and the other side is the same for all rows of that source."""
    inside, outside = ref(column), ref(other)
    if inside is None or inside[0] != name:
        return set()
    return {inside[1]} if type(other) is exp.Literal or (outside and outside[0] not in ("", name)) else set()
