"""What the value of an expression depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sqlglot import exp

from cdp.governance.classes import ClassTree
from cdp.governance.taint.scope import NONE, Codes, Held, Scope, Source, Taint, union
from cdp.governance.taint.syntax import (
    AGGREGATES,
    ARGS,
    AROUND_AGGREGATES,
    FUNCTIONS,
    GENERATORS,
    SCALARS,
    UNITS,
    WINDOW_FUNCTIONS,
    Unsupported,
    check,
    name_of,
    operands,
)

Reader = Callable[[exp.Expr, Scope], Taint]
Query = Callable[[exp.Expr, Mapping[str, Source], Scope], Source]
NOWHERE = Scope({})
_PAIRS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is)
QUERIES = (exp.Select, exp.Subquery, exp.SetOperation)


class Values:
    """Reads expressions: one function for each node type that means more than "all that stands in it".

    Args:
        codes: the classes that a reviewed code gives away; None for a code in no reviewed value set.
        tree: the classes.
        keys: every fact of the project that says who, not what.
        query: reads a subquery.
    """

    def __init__(self, codes: Codes, tree: ClassTree, keys: Taint, query: Query) -> None:
        self._codes, self._tree, self._keys, self._query = codes, tree, keys, query
        self._told: dict[tuple[Codes, tuple[str, ...]], frozenset[str] | None] = {}
        self._read: dict[type[exp.Expr], Reader] = dict.fromkeys((*SCALARS, *AROUND_AGGREGATES), self._all)
        self._read |= dict.fromkeys(_PAIRS, self._pair)
        self._read |= dict.fromkeys(AGGREGATES, self._aggregate) | dict.fromkeys(GENERATORS, self._generator)
        self._read |= dict.fromkeys((exp.LogicalOr, exp.CountIf), self._flag)
        self._read |= dict.fromkeys((exp.ArgMin, exp.ArgMax), self._pick)
        self._read |= dict.fromkeys((*QUERIES, exp.Union, exp.Except, exp.Intersect), self._scalar)
        self._read |= dict.fromkeys((exp.Boolean, exp.Null, exp.Placeholder), self._constant)
        self._read |= {
            exp.And: self._chain,
            exp.Or: self._chain,
            exp.Column: lambda node, scope: self.column(node, scope).facts,
            exp.Literal: self._literal,
            exp.DataType: self._type,
            exp.Alias: lambda node, scope: self.value(node.this, scope),
            exp.Coalesce: self._coalesce,
            exp.Filter: self._filter,
            exp.Window: self._window,
            exp.Exists: self._exists,
            exp.Lambda: self._lambda,
            exp.Identifier: self._variable,
            exp.Dot: self._field,
            exp.PropertyEQ: self._property,
            exp.Extract: self._extract,
            exp.Anonymous: self._named,
        }

    # ---- what others ask ------------------------------------------------------------------------------------------
    def value(self, node: exp.Expr, scope: Scope) -> Taint:
        """The facts that the value of an expression depends on.

        Raises:
            Unsupported: it holds what is not on the allowlist, or a name that no declared table has.
        """
        read = self._read.get(type(node))
        if read is None:
            raise Unsupported(f"{type(node).__name__} is not supported in a governed query")
        return read(node, scope)

    def condition(self, node: exp.Expr, scope: Scope) -> Taint:
        """The facts of an expression that rows or groups have to satisfy.

        Differs from `value` for what must be true here: a comparison with reviewed codes narrows, equality of two keys
        tells nothing. Under NOT, CASE or a comparison both would give away the opposite too, so there `value` reads them.
        """
        while type(node) is exp.Paren:
            check(node)
            node = node.args["this"]
        kind = type(node)
        if kind is exp.And or kind is exp.Or:
            return union([self.condition(part, scope) for part in operands(node, kind)])
        if kind is exp.In or kind is exp.EQ:
            return self._test(node, scope)
        if kind is exp.Coalesce and _default(node) == "FALSE" and type(node.this) is not exp.Column:
            check(node)
            return self.condition(node.this, scope) | self.value(node.expressions[0], scope)
        return self.value(node, scope)

    def column(self, node: exp.Expr, scope: Scope) -> Held:
        """What the column that a name stands for holds."""
        check(node)
        if type(node.this) is exp.Star:
            raise Unsupported("t.*: name the columns")
        return scope.find(name_of(node.args.get("table")), name_of(node.args["this"]))

    def informative(self, facts: Taint) -> Taint:
        """The facts that say what, not who."""
        return facts - self._keys

    # ---- conditions -----------------------------------------------------------------------------------------------
    def _test(self, node: exp.Expr, scope: Scope) -> Taint:
        check(node)
        left: exp.Expr = node.args["this"]
        right: exp.Expr | None = node.args.get("expression")
        if type(left) is exp.Column and type(right) is exp.Column:
            return self.equal(self.column(left, scope).facts, self.column(right, scope).facts)
        column: exp.Expr = left
        literals: Sequence[exp.Expr] = [] if node.args.get("query") else node.args.get("expressions") or ()
        if right is not None:
            column, literals = (right, [left]) if type(left) is exp.Literal else (left, [right])
        texts = _texts(literals) if type(column) is exp.Column else ()
        return self._narrowed(self.column(column, scope), texts) if texts else self.value(node, scope)

    def equal(self, left: Taint, right: Taint) -> Taint:
        """The facts of an equality: of two keys, nothing but that both sources know the person."""
        both = left | right
        return both if left.isdisjoint(self._keys) or right.isdisjoint(self._keys) else self.informative(both)

    def _narrowed(self, held: Held, texts: tuple[str, ...]) -> Taint:
        """`column IN ('a', 'b')` tells no more than these codes do, if every one of them was reviewed."""
        asked = (held.codes or self._codes, texts)
        if asked not in self._told:  # one list stands in the conditions of many scans
            self._told[asked] = _telling(*asked)
        told = self._told[asked]
        if told is None:
            return held.facts
        kept = {fact for fact in held.bound for cls in told if self._related(cls, fact.cls)}
        if any(self._tree.is_special(cls) and not any(self._related(cls, fact.cls) for fact in kept) for cls in told):
            return held.facts  # the review says what the column is declared not to hold: neither can be relied on
        return held.fixed | kept

    def _related(self, one: str, other: str) -> bool:
        return one in self._tree.line(other) or other in self._tree.line(one)

    # ---- values ---------------------------------------------------------------------------------------------------
    def _all(self, node: exp.Expr, scope: Scope) -> Taint:
        check(node)
        facts = []
        for arg, part in node.args.items():
            if type(part) is list:
                facts += [self.value(item, scope) for item in part]
            elif isinstance(part, exp.Expr):
                if type(part) is exp.Var and arg == "unit":
                    _unit(part)
                else:
                    facts.append(self.value(part, scope))
        return facts[0] if len(facts) == 1 else NONE.union(*facts)

    def _pair(self, node: exp.Expr, scope: Scope) -> Taint:
        """`_all` of a comparison: most nodes are one."""
        check(node)
        left, right = node.args.get("this"), node.args.get("expression")
        if left is None or right is None:
            return self._all(node, scope)
        facts, others = self.value(left, scope), self.value(right, scope)
        return facts | others if facts and others else facts or others

    def _chain(self, node: exp.Expr, scope: Scope) -> Taint:
        return union([self.value(part, scope) for part in operands(node, type(node))])

    def _constant(self, node: exp.Expr, scope: Scope) -> Taint:
        check(node)
        return NONE

    def _literal(self, node: exp.Expr, scope: Scope) -> Taint:
        check(node)
        _unchanged(node.args["this"])
        return NONE

    def _type(self, node: exp.Expr, scope: Scope) -> Taint:
        check(node)
        for part in node.expressions:
            check(part)
            if type(part) is exp.DataType:
                self._type(part, scope)
            elif type(part) is not exp.DataTypeParam:
                raise Unsupported(f"{type(part).__name__} in a type is not supported in a governed query")
        return NONE

    def _coalesce(self, node: exp.Expr, scope: Scope) -> Taint:
        if type(node.this) is exp.Column and (default := _default(node)):
            check(node)
            self.value(node.expressions[0], scope)
            held = self.column(node.this, scope)
            return held.alone if held.alone is not None and held.empty == default else held.facts
        return self._all(node, scope)

    def _aggregate(self, node: exp.Expr, scope: Scope) -> Taint:
        scope.telling = True
        if type(node) is exp.Count and type(node.this) is exp.Star:
            check(node)
            check(node.this)
            return NONE
        return self._all(node, scope)

    def _flag(self, node: exp.Expr, scope: Scope) -> Taint:
        """BOOL_OR(test) and COUNT_IF(test): true for a group that has such a row, so the test is a condition."""
        check(node)
        scope.telling = True
        return self.condition(node.this, scope)

    def _pick(self, node: exp.Expr, scope: Scope) -> Taint:
        """MIN_BY and MAX_BY: a key in the order breaks ties, which says nothing of what the rows hold."""
        check(node)
        scope.telling = True
        return self.value(node.this, scope) | self.informative(self.value(node.args["expression"], scope))

    def _filter(self, node: exp.Expr, scope: Scope) -> Taint:
        check(node)
        where = node.args["expression"]
        if type(node.this) not in AGGREGATES or type(where) is not exp.Where:
            raise Unsupported("FILTER needs an aggregate and WHERE")
        check(where)
        return self.value(node.this, scope) | self.condition(where.this, scope)

    def _window(self, node: exp.Expr, scope: Scope) -> Taint:
        function = node.this
        while type(function) in (exp.IgnoreNulls, exp.RespectNulls):
            check(function)
            function = function.this
        if type(function) in WINDOW_FUNCTIONS:
            facts = self._all(function, scope)
        elif type(function) is exp.Count:
            facts = self._aggregate(function, scope)
        elif type(function) in AGGREGATES:
            facts = self._all(function, scope)  # a flag of each row, not of a group, tells the opposite too
        else:
            raise Unsupported(f"{type(function).__name__} OVER is not supported in a governed query")
        scope.telling = True
        return facts | self.window(node, scope)

    def window(self, node: exp.Expr, scope: Scope) -> Taint:
        """What the rows of a window, named or not, and their order depend on."""
        check(node)
        partition = union([self.value(part, scope) for part in node.args.get("partition_by") or ()])
        rest = union([self.value(part, scope) for part in (node.args.get("order"), node.args.get("spec")) if part])
        facts = self.informative(partition) | rest  # as of GROUP BY: that two rows have one key tells nothing
        return facts | scope.windows if name_of(node.args.get("alias")) else facts

    def _generator(self, node: exp.Expr, scope: Scope) -> Taint:
        """One row for each element: how many rows there are tells of the value."""
        facts = self._all(node, scope)
        scope.rows |= facts
        scope.unique = frozenset()
        return facts

    def _scalar(self, node: exp.Expr, scope: Scope) -> Taint:
        source = self._query(node, scope.ctes, scope)
        return source.rows.union(*[held.facts for held in source.columns.values()])

    def _exists(self, node: exp.Expr, scope: Scope) -> Taint:
        if isinstance(node.this, QUERIES):
            check(node)
            return self._query(node.this, scope.ctes, scope).rows
        return self._all(node, scope)

    def _lambda(self, node: exp.Expr, scope: Scope) -> Taint:
        check(node)
        around = scope.lambdas
        scope.lambdas = (*around, *map(name_of, node.expressions))
        try:
            return self.value(node.this, scope)
        finally:
            scope.lambdas = around

    def _variable(self, node: exp.Expr, scope: Scope) -> Taint:
        """A variable of a lambda function; what it runs over is read beside the function."""
        if name_of(node) not in scope.lambdas:
            raise Unsupported(f"{name_of(node)}: a name in the place of a value")
        return NONE

    def _field(self, node: exp.Expr, scope: Scope) -> Taint:
        check(node)
        name_of(node.args["expression"])
        return self.value(node.this, scope)

    def _property(self, node: exp.Expr, scope: Scope) -> Taint:
        check(node)
        if type(node.this) is not exp.Literal:
            name_of(node.this)
        return self.value(node.args["expression"], scope)

    def _extract(self, node: exp.Expr, scope: Scope) -> Taint:
        check(node)
        _unit(node.this)
        return self.value(node.args["expression"], scope)

    def _named(self, node: exp.Expr, scope: Scope) -> Taint:
        if node.name.lower() not in FUNCTIONS:
            raise Unsupported(f"{node.name}(): not a function a governed query may use")
        return union([self.value(part, scope) for part in node.expressions])


_LITERAL = ARGS[exp.Literal]


def _texts(literals: Sequence[exp.Expr]) -> tuple[str, ...]:
    """The texts of literals; none where one of them is no text."""
    texts = []
    for literal in literals:
        args = literal.args
        if type(literal) is not exp.Literal or not args["is_string"]:
            return ()
        if not args.keys() <= _LITERAL:
            check(literal)
        texts.append(args["this"])
    return tuple(texts)


def _telling(codes: Codes, texts: tuple[str, ...]) -> frozenset[str] | None:
    """What all of these codes give away; None where one of them was not reviewed."""
    told: set[str] = set()
    for text in texts:
        _unchanged(text)
        classes = codes(text)
        if classes is None:
            return None
        told |= classes
    return frozenset(told)


def _unchanged(text: str) -> None:
    if "${" in text:
        raise Unsupported("a text with ${: Spark replaces variables in it")


def _unit(node: exp.Expr) -> None:
    if type(node) is not exp.Var or node.name.upper() not in UNITS:
        raise Unsupported(f"{type(node).__name__} as a unit of time is not supported in a governed query")


def _default(node: exp.Expr) -> str:
    """FALSE or 0 where that is the one thing COALESCE falls back to."""
    defaults: list[exp.Expr] = node.args.get("expressions") or []
    if len(defaults) != 1:
        return ""
    default = defaults[0]
    if type(default) is exp.Boolean:
        return "" if default.this else "FALSE"
    return "0" if type(default) is exp.Literal and default.this == "0" and not default.is_string else ""
