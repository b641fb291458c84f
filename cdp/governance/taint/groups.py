"""Outputs of one SELECT: which are unique together, and which aggregates do not hear of each other's conditions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from sqlglot import exp

from cdp.governance.taint.scope import Held, Ref, Taint, union
from cdp.governance.taint.syntax import AGGREGATES, name_of, operands, same


class Output(NamedTuple):
    """One item of a SELECT list; `telling`: its value also tells which rows there were."""

    name: str
    node: exp.Expr
    held: Held
    telling: bool


class Choice(NamedTuple):
    """One part of a WHERE that is an OR: its alternatives, and the facts of all of them."""

    options: Sequence[exp.Expr]
    facts: Taint

    def admits(self, condition: exp.Expr) -> bool:
        """Does every row that satisfies the condition satisfy one of the alternatives, by its very words?"""
        return all(any(same(part, option) for option in self.options) for part in operands(condition, exp.Or))


def ref(node: exp.Expr) -> Ref | None:
    """The table and the name of a plain column; None for any other expression."""
    return (name_of(node.args.get("table")), name_of(node.args["this"])) if type(node) is exp.Column else None


def covering(refs: Collection[Ref], outputs: Sequence[Output]) -> frozenset[str]:
    """The outputs that are plain copies of these columns; none unless there is one for each."""
    found = set()
    for wanted in refs:
        copies = [o.name for o in outputs if ref(o.node) == wanted and not o.telling]
        shadows = [o for o in outputs if o.name == wanted[1] and ref(o.node) != wanted]  # the name may mean this output
        if not copies or shadows:
            return frozenset()
        found.add(copies[0])
    return frozenset(found)


def separated(outputs: Sequence[Output], columns: Mapping[str, Held], base: Taint, choices: Sequence[Choice]) -> Mapping[str, Held]:
    """Of a grouped SELECT: aggregates that read one alternative of `WHERE a OR b` only, told apart from the others.

    `MAX(x) FILTER (WHERE a)` reads the rows with `a` whatever `b` is. `b` decides only whether a group without such rows is
    there, with NULL; after a LEFT JOIN that finds the group or not, NULL both times. BOOL_OR(a) and COUNT_IF(a) are the
    same once COALESCE makes FALSE, or 0, of NULL: see `Held.or_absent`. HAVING, DISTINCT and LIMIT could take away a
    group that has such rows, so with one of them nothing is told apart.

    Args:
        outputs: the SELECT list.
        columns: what each output holds when nothing is told apart.
        base: what the rows depend on besides `choices`.
        choices: the parts of WHERE that are an OR.
    """
    apart = {}
    for output in outputs:
        condition, empty = _own_condition(output.node)
        if condition is not None:
            others = union(choice.facts for choice in choices if not choice.admits(condition))
            facts = columns[output.name].facts
            apart[output.name] = Held(facts, facts, alone=output.held.facts | base | others, empty=empty)
    return apart


_NULL_OF_NOTHING = (exp.Min, exp.Max, exp.Sum, exp.Avg, exp.ArgMin, exp.ArgMax, exp.AnyValue, exp.LogicalOr, exp.LogicalAnd)


def _own_condition(node: exp.Expr) -> tuple[exp.Expr | None, str]:
    """The condition an aggregate sets to the rows it reads, and what it gives when no row satisfies it."""
    if type(node) is exp.LogicalOr:
        return node.this, "FALSE"
    if type(node) is exp.CountIf:
        return node.this, "0"
    if type(node) is exp.Filter and type(node.this) in AGGREGATES:
        condition: exp.Expr = node.args["expression"].this
        if type(node.this) in (exp.Count, exp.CountIf):
            return condition, "0"
        if type(node.this) in _NULL_OF_NOTHING:
            return condition, "NULL"
    return None, ""
