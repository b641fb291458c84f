"""The names of an author's SELECT: which source each column belongs to, and what the SELECT returns.

Columns come out qualified, so that no engine has to choose; paths into structs come out as fields of a column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from cdp.project.source import short
from cdp.project.sql import syntax
from cdp.project.sql.sql_rules import AS_OF
from cdp.project.sql.sql_text import Select

Columns = Mapping[str, frozenset[str] | None]  # each with the fields of a struct; None where nothing is known of them
QUERIES = (exp.Select, exp.SetOperation, exp.Subquery)


@dataclass(frozen=True, slots=True)
class Source:
    """What a name of FROM holds; None for the columns of one with a mistake of its own.

    `what` is what the project calls it, `table` the name under which the lakehouse knows it.
    """

    columns: Columns | None
    what: str = ""
    table: str = ""

    def may_have(self, column: str) -> bool:
        """Whether the column is one of it, as far as is known."""
        return self.columns is None or column in self.columns


UNKNOWN = Source(None)


@dataclass(slots=True)
class Scope:
    """The names that one SELECT can see."""

    ctes: Mapping[str, Source]
    outer: Scope | None = None
    sources: dict[str, Source] = field(default_factory=dict)
    aliases: dict[str, exp.Expr] = field(default_factory=dict)


class Names:
    """Reads the names of one SELECT.

    Args:
        tables: entities, segments and traits by name, which are the tables of the SELECT.
        at: where mistakes go.
    """

    def __init__(self, tables: Mapping[str, Source], at: Select) -> None:
        self.tables, self.at = tables, at
        self.used: dict[str, None] = {}

    def read(self, tree: exp.Query) -> dict[str, exp.Expr] | None:
        """The columns that the SELECT returns; None after problems. The tree is changed: its columns are qualified."""
        before = len(self.at.problems)
        outputs = self._query(tree, {}, None, named=True)
        return outputs if len(self.at.problems) == before else None

    # -- queries ------------------------------------------------------------------------------------------------------

    def _query(self, node: exp.Expr, ctes: Mapping[str, Source], outer: Scope | None, named: bool = False) -> dict[str, exp.Expr]:
        """The outputs of a query by name; `named`: somebody asks for them by name."""
        ctes = self._with(node, ctes)
        if isinstance(node, exp.Select):
            return self._select(node, Scope(ctes, outer), named)
        if isinstance(node, exp.SetOperation):
            left, right = self._query(node.left, ctes, outer, named), self._query(node.right, ctes, outer)
            if len(left) != len(right):
                self.at.wrong(node, f"{node.key.upper()} of queries with {len(left)} and {len(right)} columns")
            self._tail(node, Scope(ctes, None, aliases=left))
            return left
        if isinstance(node, exp.Subquery):
            outputs = self._query(node.this, ctes, outer, named)
            self._tail(node, Scope(ctes, None, aliases=outputs))
            return outputs
        self.at.wrong(node, f"{type(node).__name__} in the place of a SELECT")
        return {}

    def _with(self, node: exp.Expr, ctes: Mapping[str, Source]) -> Mapping[str, Source]:
        with_ = node.args.get("with_")
        own = dict(ctes)
        for cte in with_.expressions if with_ else ():
            name = cte.alias
            if name in self.tables or name in own:
                taken = self.tables[name].what if name in self.tables else "another part"
                self.at.wrong(cte, f"WITH {name}: that is the name of {taken}", hint="choose another name")
            own[name] = self._aliased(cte, list(self._query(cte.this, own, None, named=not cte.args["alias"].args.get("columns"))))
        return own

    def _aliased(self, node: exp.Expr, outputs: Sequence[str]) -> Source:
        """A query in FROM, its columns renamed where the alias lists names."""
        alias = node.args.get("alias")
        listed = [column.name for column in alias.args.get("columns") or ()] if alias else []
        if listed and outputs and len(listed) != len(outputs):
            self.at.wrong(node, f"{node.alias} names {len(listed)} columns of {len(outputs)}")
        return Source(dict.fromkeys(listed or outputs))

    def _select(self, node: exp.Select, scope: Scope, named: bool) -> dict[str, exp.Expr]:
        self._from(node, scope)
        if where := node.args.get("where"):
            self._values(where, scope)
            if aggregate := next(aggregates(where.this), None):
                self.at.wrong(aggregate, "an aggregate in WHERE", hint="HAVING tests aggregates")
        for projection in node.expressions:
            self._values(projection, scope)
        outputs = self._outputs(node, named)
        scope.aliases = outputs
        self._tail(node, scope)
        self._grouped(node, scope)
        return outputs

    def _outputs(self, node: exp.Select, named: bool) -> dict[str, exp.Expr]:
        found: dict[str, exp.Expr] = {}
        for number, projection in enumerate(node.expressions, 1):
            name = projection.output_name if isinstance(projection, (exp.Alias, exp.Column)) else ""
            if not name and named:
                self.at.wrong(projection, f"column {number} of the SELECT has no name", hint="write: ... AS name")
            elif name and name in found:
                self.at.wrong(projection, f"two columns are named {name!r}", hint="rename one: ... AS name")
            found[f"{number}" if name in ("", *found) else name] = projection.unalias()
        return found

    # -- FROM ---------------------------------------------------------------------------------------------------------

    def _from(self, node: exp.Select, scope: Scope) -> None:
        if from_ := node.args.get("from_"):
            self._source(from_.this, scope)
        for join in node.args.get("joins") or ():
            self._source(join.this, scope)
            if on := join.args.get("on"):
                self._values(on, scope)
        for lateral in node.args.get("laterals") or ():
            self._values(lateral.this, scope)
            self._add(lateral.alias, self._aliased(lateral, ()), lateral, scope)

    def _source(self, node: exp.Expr, scope: Scope) -> None:
        if isinstance(node, exp.Table):
            self._add(node.alias_or_name, self._table(node, scope), node, scope)
        elif isinstance(node, exp.Subquery) and isinstance(node.this, QUERIES):
            outputs = self._query(node, scope.ctes, None, named=True)
            self._add(node.alias, self._aliased(node, list(outputs)), node, scope)
        elif isinstance(node, exp.Values):
            if not (node.args.get("alias") and node.args["alias"].args.get("columns")):
                self.at.wrong(node, "VALUES without names", hint="VALUES (1, 'a') AS t(number, letter)")
            self._values(node, Scope({}))
            self._add(node.alias, self._aliased(node, ()), node, scope)
        elif isinstance(node, exp.Lateral):
            self._values(node.this, scope)
            self._add(node.alias, self._aliased(node, ()), node, scope)
        else:
            self.at.wrong(node, f"{type(node).__name__} in FROM", hint="name an entity, a segment or a trait")

    def _add(self, name: str, source: Source, node: exp.Expr, scope: Scope) -> None:
        if not name:
            self.at.wrong(node, "a part of FROM without a name", hint="(SELECT ...) AS name")
        elif name in scope.sources:
            self.at.wrong(node, f"two sources are named {name!r}", hint="rename one: ... AS name")
        scope.sources[name] = source

    def _table(self, node: exp.Table, scope: Scope) -> Source:
        if not isinstance(node.this, exp.Identifier):
            self.at.wrong(node, "a function in FROM: rows come from entities, segments and traits only", hint="name one of these")
            return UNKNOWN
        if node.args.get("db"):
            text = ".".join(part.name for part in node.parts)
            name = next((name for name, each in self.tables.items() if each.table.lower() == text), "")
            hint = f"write {name}, the entity of that table" if name else "entities, segments and traits have no schema"
            self.at.wrong(node, f"{short(text)} is a table, not a name of this project", hint=hint)
            return UNKNOWN
        name = node.name
        if name in scope.ctes:
            return scope.ctes[name]
        if name not in self.tables:
            valid = [*scope.ctes, *self.tables]
            self.at.wrong(node, f"no entity, segment or trait is named {name!r}", value=name, valid=valid)
            return UNKNOWN
        self.used[name] = None
        return self.tables[name]

    # -- columns ------------------------------------------------------------------------------------------------------

    def _tail(self, node: exp.Expr, scope: Scope) -> None:
        """GROUP BY, HAVING, windows and ORDER BY, where the names of outputs may stand, too."""
        for part in ("group", "having", "order"):
            if clause := node.args.get(part):
                self._values(clause, scope, aliases=part)
        for window in node.args.get("windows") or ():
            self._values(window, scope)

    def _values(self, node: exp.Expr, scope: Scope, aliases: str = "") -> None:
        """Every column of an expression, and every query inside of it."""
        waiting = [node]
        while waiting:
            part = waiting.pop()
            if isinstance(part, exp.Column):
                self._column(part, scope, aliases)
            elif isinstance(part, QUERIES):
                outputs = self._query(part, scope.ctes, scope)
                if len(outputs) != 1 and not isinstance(part.parent, exp.Exists):
                    self.at.wrong(part, f"a subquery of {len(outputs)} columns in the place of a value")
            else:
                waiting += reversed(list(part.iter_expressions()))

    def _column(self, node: exp.Column, scope: Scope, aliases: str) -> None:
        parts = [part.name for part in node.parts]
        if aliases and len(parts) == 1 and parts[0] in scope.aliases and self._output(node, scope, aliases):
            return
        if parts == [AS_OF]:
            return
        found = self._found(parts, scope, node)
        if found is None:
            return
        source, column, rest = found
        self._fields(source, column, rest, scope, node)
        path: exp.Expr = exp.Column(this=_identifier(column), table=_identifier(source))
        for name in rest:
            path = exp.Dot(this=path, expression=_identifier(name))
        node.replace(path)

    def _output(self, node: exp.Column, scope: Scope, clause: str) -> bool:
        """Whether a name stands for an output. ORDER BY looks there first; elsewhere engines differ where a column has it, too."""
        value = scope.aliases[node.name]
        holders = [name for name, source in scope.sources.items() if source.columns is not None and node.name in source.columns]
        if not holders or clause == "order":
            return True
        if not (isinstance(value, exp.Column) and value.name == node.name):
            self.at.wrong(
                node, f"{node.name!r} is an output and a column of {holders[0]}", hint=f"write {holders[0]}.{node.name}, or rename"
            )
            return True
        return False

    def _found(self, parts: list[str], scope: Scope, node: exp.Expr) -> tuple[str, str, list[str]] | None:
        """The source, the column and the fields that a path names; None after a problem, or where that cannot be told."""
        at: Scope | None = scope
        while at is not None:
            if len(parts) > 1 and parts[0] in at.sources:
                source = at.sources[parts[0]]
                if not source.may_have(parts[1]):
                    valid = [f"{parts[0]}.{name}" for name in source.columns or ()]
                    self.at.wrong(node, f"{parts[0]} has no column {parts[1]!r}", value=".".join(parts[:2]), valid=valid)
                    return None
                return parts[0], parts[1], parts[2:]
            holders = [name for name, source in at.sources.items() if source.columns is not None and parts[0] in source.columns]
            if len(holders) > 1:
                either = " or ".join(f"{name}.{parts[0]}" for name in holders)
                self.at.wrong(node, f"{parts[0]!r} is in {' and '.join(holders)}", hint=f"write {either}")
                return None
            if holders and at is not scope and holders[0] in scope.sources:
                self.at.wrong(node, f"{parts[0]!r} is in the {holders[0]} around this query, not in its own", hint="rename one of the two")
                return None
            if holders:
                return holders[0], parts[0], parts[1:]
            if any(source.columns is None for source in at.sources.values()):
                return None
            at = at.outer
        self._unknown(parts, scope, node)
        return None

    def _unknown(self, parts: list[str], scope: Scope, node: exp.Expr) -> None:
        columns = {*scope.aliases, *(column for source in scope.sources.values() for column in source.columns or ())}
        if len(parts) > 1:
            message, value, valid = f"no source is named {parts[0]!r}", parts[0], set(scope.sources)
        else:
            message, value, valid = f"no source has a column {parts[0]!r}", parts[0], columns
        self.at.wrong(node, message, value=value, valid=valid)

    def _fields(self, source: str, column: str, rest: list[str], scope: Scope, node: exp.Expr) -> None:
        """Report a path into what is no struct, or has no such field. Of what a query computes nothing is known."""
        fields, path = (_source(scope, source).columns or {}).get(column), ".".join(rest)
        if not rest or fields is None:
            return
        if path not in fields and not any(name.startswith(f"{path}.") for name in fields):
            what = f"has no field {path!r}" if fields else "is no struct"
            self.at.wrong(node, f"{source}.{column} {what}", value=path, valid=fields)

    # -- groups -------------------------------------------------------------------------------------------------------

    def _grouped(self, node: exp.Select, scope: Scope) -> None:
        """Report a column that is one of many in its group."""
        group = node.args.get("group")
        having = node.args.get("having")
        values = [*node.expressions, *([having.this] if having else [])]
        if not group and not any(next(aggregates(value), None) for value in values):
            return
        keys = [self._key(key, node, scope) for key in (group.expressions if group else ())]
        for value in values:
            for column in _loose(value, keys):
                if column.name in scope.aliases and not column.table:
                    continue  # HAVING names an output
                if column.table in scope.sources:
                    self.at.wrong(
                        column,
                        f"{column.table}.{column.name} is neither grouped nor aggregated",
                        hint="add it to GROUP BY, or take max(...)",
                    )

    def _key(self, key: exp.Expr, node: exp.Select, scope: Scope) -> exp.Expr:
        """What a part of GROUP BY stands for: an output by its name or number, or itself."""
        if isinstance(key, exp.Literal) and not key.is_string and key.name.isdigit() and 0 < int(key.name) <= len(node.expressions):
            output: exp.Expr = node.expressions[int(key.name) - 1].unalias()
            return output
        if isinstance(key, exp.Column) and not key.table:
            return scope.aliases.get(key.name, key)
        return key


def aggregates(node: exp.Expr) -> Iterator[exp.Expr]:
    """The aggregates of an expression that are not taken over a window; those of queries inside belong to them."""
    waiting = [node]
    while waiting:
        part = waiting.pop()
        if isinstance(part, QUERIES):
            continue
        if type(part) in syntax.AGGREGATES:
            yield part
        inner = [part.this.this] if isinstance(part, exp.Window) and type(part.this) in syntax.AGGREGATES else part.iter_expressions()
        waiting += [each for each in inner if isinstance(each, exp.Expr)]


def _loose(node: exp.Expr, keys: list[exp.Expr]) -> Iterator[exp.Column]:
    """The columns of an expression outside of aggregates and of what is grouped by."""
    waiting = [node]
    while waiting:
        part = waiting.pop()
        over_window = isinstance(part.parent, exp.Window) and part.arg_key == "this"
        if isinstance(part, QUERIES) or any(syntax.same(part, key) for key in keys):
            continue
        if type(part) in syntax.AGGREGATES and not over_window:
            continue
        if isinstance(part, exp.Column):
            yield part
        else:
            waiting += reversed(list(part.iter_expressions()))


def _source(scope: Scope, name: str) -> Source:
    at: Scope | None = scope
    while at is not None:
        if name in at.sources:
            return at.sources[name]
        at = at.outer
    return UNKNOWN


def _identifier(name: str) -> exp.Identifier:
    from sqlglot.dialects.spark import Spark

    return exp.Identifier(this=name, quoted=name.upper() in Spark.Tokenizer.KEYWORDS)
