"""Binding of SQL expressions: `expr` of a trait or a mapping, `of` of a measure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cdp.project.language import names
from cdp.project.language.scope import Scope
from cdp.project.sql import syntax
from cdp.project.terms import Formula, Operand
from cdp.project.terms.types import is_row, type_of
from cdp.spec.model import ColumnType

if TYPE_CHECKING:
    from sqlglot import exp

    from cdp.project.language.bind import Binder, Place

LONGEST = 1_000  # characters of an expression
BETWEEN = ("days_between", "weeks_between")  # completed days or weeks from the first day to the second
_PATH = re.compile(r"[a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)*")


def is_path(text: str) -> bool:
    """Whether a text is a name or a path of names, not an expression."""
    return _PATH.fullmatch(text) is not None


def formula(binder: Binder, text: str, scope: Scope, at: Place, kind: ColumnType | None = None) -> Formula | None:
    """An expression over columns and traits of the row at hand and `as_of`.

    `kind` is the type that the author states; None lets it follow from the expression. None after a problem was reported.
    """
    tree = _parsed(text, at)
    if tree is None:
        return None
    operands: dict[str, Operand] = {}
    for path in _paths(tree):
        operand = value(binder, path, scope, at)
        if operand is None:
            return None
        operands[path] = operand
    return Formula(tree, tuple(operands.items()), kind or _kind(tree, operands))


def value(binder: Binder, path: str, scope: Scope, at: Place) -> Operand | None:
    """What a path stands for, where a single value is needed."""
    operand = names.operand(binder, path, scope, at)
    if operand is not None and (is_row(operand) or type_of(operand) is None):
        return at.wrong(f"{path} is a whole row", hint=f"name a column of it: {path}.COLUMN")
    return operand


def _parsed(text: str, at: Place) -> exp.Expr | None:
    import sqlglot
    from sqlglot import exp

    if len(text) > LONGEST:
        return at.wrong(f"an expression of more than {LONGEST} characters")
    try:
        statements = sqlglot.parse(text, dialect="spark")
    except (sqlglot.errors.SqlglotError, RecursionError):
        return at.wrong("not an SQL expression", hint="such as concat(given_name, ' ', family_name)")
    tree = statements[0] if len(statements) == 1 else None
    if (
        tree is None
        or isinstance(tree, exp.Query)
        or not isinstance(tree, exp.Condition)
        or tree.find(exp.Query, exp.AggFunc, exp.Window, exp.Placeholder)
    ):
        return at.wrong("an expression over columns and traits of one row is expected", hint="no SELECT, aggregate or window")
    return tree if _allowed(tree, at) else None


def _allowed(tree: exp.Expr, at: Place) -> bool:
    """Whether every function is one that the engines share, and stands where they compute it alike: as in a SELECT."""
    from sqlglot import exp

    from cdp.project.sql.sql_rules import RULES

    for node in tree.walk():
        if isinstance(node, exp.Anonymous) and node.name.lower() in BETWEEN:
            if len(node.expressions) != 2:
                at.wrong(f"{node.name.lower()} takes two days: {node.name.lower()}(onset, as_of)")
                return False
            continue
        what = syntax.refused(node)
        if isinstance(node, exp.Anonymous) and node.name.lower() not in syntax.FUNCTIONS:
            what = node.name.lower()
        if what:
            at.wrong(f"{what} may not stand in an expression", hint="only functions that every engine shares")
            return False
        rule = RULES.get(type(node))
        if said := rule(node) if rule is not None else None:
            at.wrong(said[0], hint=said[1])
            return False
    return True


def _paths(tree: exp.Expr) -> list[str]:
    from sqlglot import exp

    paths = (".".join(part.name for part in column.parts) for column in tree.find_all(exp.Column))
    return [path for path in dict.fromkeys(paths) if path != "as_of"]


def _kind(tree: exp.Expr, operands: dict[str, Operand]) -> ColumnType:
    """The type of an expression, as far as its outermost function says it; a number otherwise."""
    from sqlglot import exp

    while isinstance(tree, exp.Paren):
        tree = tree.this
    if isinstance(tree, exp.Column):
        path = ".".join(part.name for part in tree.parts)
        return "date" if path == "as_of" else type_of(operands[path]) or "decimal"
    if isinstance(tree, (exp.Coalesce, exp.Greatest, exp.Least)):
        return _kind(tree.this, operands)
    if isinstance(tree, (exp.Predicate, exp.Connector, exp.Not, exp.Boolean)):
        return "boolean"
    if isinstance(tree, (exp.Anonymous, exp.DateDiff, exp.Length, exp.Year, exp.Month, exp.Day, exp.Floor, exp.Ceil)):
        return "integer"
    if isinstance(tree, (exp.Concat, exp.ConcatWs, exp.Upper, exp.Lower, exp.Trim, exp.Substring, exp.ArrayToString)):
        return "string"
    if isinstance(tree, (exp.Literal,)) and tree.is_string:
        return "string"
    if isinstance(tree, (exp.DateAdd, exp.DateSub, exp.AddMonths, exp.LastDay)):
        return "date"
    return "decimal"
