"""SQL that an author writes: one SELECT, held to the syntax and the functions that the engines share.

What is refused here is refused whatever the names mean. What they mean is in `sql_names`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError

from cdp.project.problems import Problems, suggestion
from cdp.project.sql import syntax
from cdp.project.sql.sql_rules import RULES, call

if TYPE_CHECKING:
    from cdp.project.source import Document

LONGEST: Final = 20_000  # characters of one SELECT
DEEPEST: Final = 100  # parts inside of parts; chains of AND and OR do not count

_BEGINS: Final = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/|\()*(?:select|with)\b", re.IGNORECASE | re.DOTALL)
_CHAINS: Final = (exp.And, exp.Or)
_CLOCK: Final = "write `as_of`: the day for which everything is computed"
_ANEW: Final = "every run must give the same answer"
# How an author would call some of what is not on the list, and what to write instead.
_INSTEAD: Final[dict[str, tuple[str, str]]] = {
    **{name: (name, _CLOCK) for name in ("current_date()", "current_timestamp()", "now()", "localtimestamp()", "current_time()")},
    **{name: (name, _ANEW) for name in ("rand()", "randn()", "uuid()", "shuffle()", "monotonically_increasing_id()", "random()")},
    "Table.sample": ("TABLESAMPLE", _ANEW),
    "Table.pivots": ("PIVOT", "write sum(CASE WHEN ... THEN ... END)"),
    "Table.version": ("a version of a table", "every table is read as it was at `as_of`"),
    "Select.hint": ("a hint", "leave it out"),
    "Select.qualify": ("QUALIFY", "number the rows in a subquery and filter outside of it"),
    "Select.cluster": ("CLUSTER BY", "leave it out"),
    "Select.sort": ("SORT BY", "write ORDER BY"),
    "Select.distribute": ("DISTRIBUTE BY", "leave it out"),
    "Join.method": ("NATURAL JOIN", "write JOIN ... ON"),
    "With.recursive": ("WITH RECURSIVE", "engines differ about recursion"),
    "Group.all": ("GROUP BY ALL", "name the columns"),
    "Cube": ("CUBE", "write a UNION ALL of what is grouped"),
    "Rollup": ("ROLLUP", "write a UNION ALL of what is grouped"),
    "GroupingSets": ("GROUPING SETS", "write a UNION ALL of what is grouped"),
}


@dataclass(slots=True)
class Select:
    """One SELECT under a key of a document, and where its mistakes go."""

    document: Document
    path: tuple[str | int, ...]
    problems: Problems
    lines: bool = field(default=False)

    def wrong(self, node: exp.Expr | None, message: str, *, hint: str = "", value: str | None = None, valid: Iterable[str] = ()) -> None:
        """Report a mistake; in a text of several lines with the line of the nearest part that knows its own."""
        line = _line(node) if self.lines and node is not None else 0
        said = f"{message} (line {line} of it)" if line else message
        self.problems.add(self.document, self.path, said, value=value, valid=valid, hint=hint)


def _line(node: exp.Expr) -> int:
    at: exp.Expr | None = node
    while at is not None:
        for part in at.walk():
            if line := part.meta.get("line"):
                return int(line)
        at = at.parent
    return 0


def parse(text: str, at: Select) -> exp.Query | None:
    """The tree of a text that holds one SELECT and nothing that is not on the list; None after problems.

    Names are in lower case, as the engines compare them, and comments are left out.
    """
    import sqlglot

    at.lines = "\n" in text.strip()
    if len(text) > LONGEST:
        return at.wrong(None, f"a SELECT of more than {LONGEST:,} characters")
    if "${" in text:
        return at.wrong(None, "`${`: engines replace variables in it", hint="write the value itself")
    if not _BEGINS.match(text):
        return at.wrong(None, "one SELECT is expected", hint="it may begin with WITH; nothing that changes data or settings")
    try:
        statements = sqlglot.parse(text, dialect="spark")
    except (SqlglotError, RecursionError) as error:
        return at.wrong(None, _said(error))
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        return at.wrong(None, "one SELECT is expected", hint=f"not {len(statements)} statements" if len(statements) > 1 else "")
    tree = statements[0]
    before = len(at.problems)
    for node, message, hint in _mistakes(tree):
        at.wrong(node, message, hint=hint)
    return _plain(tree) if len(at.problems) == before else None


def _said(error: Exception) -> str:
    if not isinstance(error, ParseError) or not error.errors:
        return "not SQL: nested too deep" if isinstance(error, RecursionError) else "not SQL"
    first = error.errors[0]
    what = str(first.get("description") or "").rstrip(".")
    if not what or "<class" in what or "Invalid expression" in what:
        what = "it cannot be read"
    return f"not SQL: {what[:1].lower()}{what[1:]}, near {str(first.get('highlight'))!r} (line {first.get('line')} of it)"


def _plain(tree: exp.Query) -> exp.Query:
    from sqlglot.dialects.spark import Spark

    for node in tree.walk():
        node.comments = None
        if type(node) is exp.Identifier:
            name = node.name.lower()
            node.set("this", name)
            node.set("quoted", name.upper() in Spark.Tokenizer.KEYWORDS)  # `end`, `date`: some engine reserves it
    return tree


# -- the list ---------------------------------------------------------------------------------------------------------

Mistake = tuple[exp.Expr, str, str]  # what, what is wrong with it, what to do


def _mistakes(tree: exp.Query) -> Iterator[Mistake]:
    """What may not stand in the SELECT, each once."""
    if _depth(tree) > DEEPEST:
        yield tree, f"nested deeper than {DEEPEST} levels", "name the parts: WITH part AS (SELECT ...)"
        return
    said: set[str] = set()
    waiting: list[exp.Expr] = [tree]
    while waiting:
        node = waiting.pop()
        unlisted = _unlisted(node)
        found = _refusal(node, unlisted) if unlisted else _misplaced(node)
        if found is not None and found[1] not in said:
            said.add(found[1])
            yield found
        if not unlisted or "." in unlisted:  # what stands in something that is refused is not looked at
            _, _, arg = unlisted.partition(".")
            waiting += [part for part in reversed(list(node.iter_expressions())) if (part.arg_key or "").rstrip("_") != arg]


def _refusal(node: exp.Expr, name: str) -> Mistake:
    shown, hint = _INSTEAD.get(name, (name, ""))
    if name.endswith("()"):
        hint = hint or suggestion(name.removesuffix("()"), functions())
        return node, f"{shown} is not among the functions that a SELECT may use", hint
    return node, f"{shown} may not stand in it", hint


def _misplaced(node: exp.Expr) -> Mistake | None:
    rule = RULES.get(type(node))
    said = rule(node) if rule is not None else None
    return (node, *said) if said is not None else None


def _unlisted(node: exp.Expr) -> str:
    """The function, node or part of one that is not on the list; else an empty text."""
    if isinstance(node, exp.Anonymous):
        return "" if node.name.lower() in syntax.FUNCTIONS else f"{node.name.lower()}()"
    if type(node) is exp.Column and len(node.parts) > 2:  # a path into a struct; `sql_names` looks into it
        return ""
    what = syntax.refused(node)
    return call(node) if what == type(node).__name__ and isinstance(node, exp.Func) else what


@lru_cache(maxsize=1)
def functions() -> frozenset[str]:
    """The names of the functions that may stand in a SELECT."""
    listed = (kind for kind in syntax.ARGS if isinstance(kind, type) and issubclass(kind, exp.Func) and kind is not exp.Anonymous)
    return syntax.FUNCTIONS | {name.lower() for kind in listed for name in kind.sql_names()}


def _depth(tree: exp.Expr) -> int:
    """How many parts stand inside of each other, not counting chains of AND and OR."""
    deepest, waiting = 0, [(tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        deepest = max(deepest, depth)
        waiting += [(part, depth + (type(part) is not type(node) or type(node) not in _CHAINS)) for part in node.iter_expressions()]
    return deepest
