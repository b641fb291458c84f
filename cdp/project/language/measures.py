"""Binding of measures: one verb, one pipeline over related rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

from cdp.project.index import NAME, RESERVED
from cdp.project.language import conditions, names
from cdp.project.language.operators import value_test
from cdp.project.language.pipeline import pipeline
from cdp.project.language.relations import Related, related
from cdp.project.language.scope import Scope
from cdp.project.language.windows import WORDS, series
from cdp.project.lint.always import conjunction
from cdp.project.lint.lints import warn_of_denial
from cdp.project.lint.open_windows import may_be_open
from cdp.project.terms import ColumnRef, CompareTo, Condition, Covered, Every, Exists, IsNull, Measure, Negation, Operand, Picked, Satisfies
from cdp.project.terms.types import COVERS, NUMBERS, ROWS, cover, is_row, type_of
from cdp.spec.model import VERBS

if TYPE_CHECKING:
    from cdp.project.language.bind import Binder, Place

MODIFIERS = (
    "as", "where", *WORDS, "each", "distinct", "spaced", "by", "ties", "of", "limit", "supply", "same", "even_if_open", "is",
)  # fmt: skip
TRENDS = ("rising", "falling")


@dataclass(frozen=True, slots=True)
class Asked:
    """A measure while it is bound: its verb and keys, where its rows are, the scope around and that of a row, and its place."""

    binder: Binder
    verb: str
    tree: dict[str, Any]
    rows: Related
    scope: Scope
    inner: Scope
    at: Place


def measured(binder: Binder, verb: str, tree: dict[str, Any], scope: Scope, at: Place) -> Condition | None:
    """A measure with its `is`."""
    asked = _asked(binder, verb, tree, scope, at)
    if asked is None:
        return None
    presence = verb in ("has", "lacks")
    if presence and "is" in tree:
        return at.child("is").wrong(f"`{verb}` takes no `is`", hint="use count, latest or min", key=True)
    if not presence and "is" not in tree:
        return at.wrong(f"`{verb}` in a condition needs `is`", hint="is: {gte: 2}")
    if asked.rows.one:
        return _one(asked)
    term = pipeline(asked)
    if term is None:
        return None
    if "each" in tree:
        return _each(asked, term)
    if presence:
        return _present(asked, term)
    return _is(asked, term)


def value(binder: Binder, verb: str, tree: dict[str, Any], scope: Scope, at: Place) -> Operand | None:
    """The value of a measure without `is`: what a trait is. None after a problem was reported."""
    if verb in ("has", "lacks"):
        return at.child(verb).wrong(f"`{verb}` is a condition, not a value", hint="make it a segment, or use count", key=True)
    asked = _asked(binder, verb, tree, scope, at)
    if asked is None:
        return None
    if "is" in tree or "each" in tree:
        word = "is" if "is" in tree else "each"
        return at.child(word).wrong(f"`{word}` belongs to a condition", hint="a trait is a measure without it", key=True)
    if asked.rows.one:
        return _one_value(asked)
    term = pipeline(asked)
    return _operand(asked, term) if term is not None else None


def _asked(binder: Binder, verb: str, tree: dict[str, Any], scope: Scope, at: Place) -> Asked | None:
    """The measure, once its keys are known ones and its rows are found."""
    for key, part in tree.items():
        if key != verb and key not in MODIFIERS:
            if key in VERBS:
                return at.child(key).wrong(f"one verb in a condition: {verb} and {key}", hint="write a list of two conditions", key=True)
            hint = (
                "a test of the rows belongs into `where`" if key not in ("segment", "not", "any", "all", "n_of") else "put it into `where`"
            )
            return at.child(key).wrong(f"`{key}` is not part of a measure", value=key, valid=MODIFIERS, hint=hint, key=True)
        if part is None and key != "is":
            return at.child(key).wrong(f"`{key}` is empty", hint="fill it in or take it out", key=True)
    if not isinstance(tree[verb], str):
        return at.child(verb).wrong("the name of a relation is expected", valid=scope.entity.relations)
    rows = related(binder, tree[verb], scope, at.child(verb))
    if rows is None:
        return None
    aliases: tuple[str, ...] = ()
    if "as" in tree:
        if not _alias(binder, tree["as"], rows, scope, at.child("as")):
            return None
        aliases = (str(tree["as"]),)
    return Asked(binder, verb, tree, rows, scope, rows.inside(scope, aliases), at)


def _alias(binder: Binder, alias: object, rows: Related, scope: Scope, at: Place) -> bool:
    """Whether a row can be called that."""
    if not isinstance(alias, str) or not NAME.fullmatch(alias):
        at.wrong(f"{str(alias)!r} is not lower snake case", hint="a word for the row, such as `as: stay`")
    elif alias in RESERVED or alias in at.periods:
        at.wrong(f"{str(alias)!r} is a {'period' if alias in at.periods else 'word of the language'}", hint="choose another")
    elif alias in scope.names():
        at.wrong(f"a row around is called {str(alias)!r} already", hint="choose another")
    elif names.knows(binder, rows.entity, alias):
        at.wrong(f"{str(alias)!r} is a name of {rows.entity.name}", hint="choose another")
    else:
        return True
    return False


# -- what is asked of the value ---------------------------------------------------------------------------------------


def _present(asked: Asked, term: Measure) -> Condition:
    """There is a row, or there is none."""
    if may_be_open(term) and asked.tree.get("even_if_open") not in (True, "true"):
        asked.binder.bounded.append((term, asked.at))
    if asked.verb == "has":
        warn_of_denial(term, asked.verb, asked.at)
    return Exists(term) if asked.verb == "has" else Negation(Exists(term))


def _operand(asked: Asked, term: Measure) -> Operand | None:
    """A measure as a value: a column of the row that it picks, one of the values of `days_covered`."""
    if term.verb == "days_covered":
        word = asked.tree.get("of")
        return Covered(term, chosen) if word is not None and (chosen := cover(str(word))) else term
    return Picked(term, term.of) if term.verb in ROWS and isinstance(term.of, ColumnRef) else term


def _is(asked: Asked, term: Measure) -> Condition | None:
    tree, at = asked.tree["is"], asked.at.child("is")
    operand = _operand(asked, term)
    if operand is None:
        return None
    if term.verb == "count":
        warn_of_denial(term, asked.verb, asked.at)
    if not is_row(operand):
        return value_test(asked.binder, operand, tree, asked.scope, at)
    if not isinstance(tree, (dict, list)):
        hint = "to say that there is none, use lacks" if tree is None else ""
        if term.verb == "days_covered":
            return at.wrong("`days_covered` has several values: {share: {lt: 0.8}}", valid=COVERS, hint=hint)
        return at.wrong("the picked row is tested by its columns: {value: {gt: 9 %}}", valid=asked.rows.entity.columns, hint=hint)
    if term.verb == "days_covered":
        return _covered(asked, term, tree, at)
    of = conditions.condition(asked.binder, tree, asked.inner, at)
    return Satisfies(term, of) if of is not None else None


def _covered(asked: Asked, term: Measure, tree: Any, at: Place) -> Condition | None:
    parts: list[Condition | None] = []
    for part, place in [(tree, at)] if isinstance(tree, dict) else [(part, at.child(i)) for i, part in enumerate(tree)]:
        if not isinstance(part, dict):
            return place.wrong("`days_covered` has several values: {share: {lt: 0.8}}", valid=COVERS)
        for name, test in part.items():
            word = cover(name)
            if word is None:
                place.child(name).wrong(f"`days_covered` has no {name!r}", value=name, valid=COVERS, key=True)
            parts.append(value_test(asked.binder, Covered(term, word), test, asked.scope, place.child(name)) if word is not None else None)
    return conjunction(parts, at)


# -- series -----------------------------------------------------------------------------------------------------------


def _each(asked: Asked, term: Measure) -> Condition | None:
    """The same of each window of a series: all of them satisfy `is`, or they rise or fall from the oldest to the newest."""
    place = asked.at.child("each")
    if term.window is not None:
        return place.wrong("`each` makes the windows; another one beside it would cut them", hint="put it into `where`", key=True)
    if asked.rows.entity.time is None:
        return place.wrong(f"a window needs an entity with `time`; {asked.rows.entity.name} has none", key=True)
    if asked.verb in ("lacks", "days_covered", "list"):
        hint = "write `not:` around has, or `lacks` with one window" if asked.verb == "lacks" else ""
        return place.wrong(f"`{asked.verb}` has no `each`", hint=hint, key=True)
    windows = series(asked.tree["each"], place)
    if not windows:
        return None
    terms = [replace(term, window=window) for window in windows]
    if asked.verb == "has":
        return Every(tuple(Exists(each) for each in terms)) if len(terms) > 1 else Exists(terms[0])
    if asked.tree["is"] in TRENDS:
        return _trend(asked, [operand for each in terms if (operand := _operand(asked, each)) is not None])
    parts = [_is(asked, each) for each in terms]
    return conjunction(parts, asked.at)


def _trend(asked: Asked, values: list[Operand]) -> Condition | None:
    place, kind = asked.at.child("is"), type_of(values[0])
    if kind is None or is_row(values[0]) or kind not in (*NUMBERS, "date", "timestamp"):
        return place.wrong("only numbers and dates rise and fall", hint="name a column with `of`")
    if len(values) < 2:
        return asked.at.child("each").wrong("one window neither rises nor falls", hint="each: {weeks: [1, 4]}")
    op = "gt" if asked.tree["is"] == "rising" else "lt"
    pairs = pairwise(values)
    steps = tuple(CompareTo(newer, cast(Any, op), older, kind) for newer, older in pairs)
    return Every(steps) if len(steps) > 1 else steps[0]


# -- one row ----------------------------------------------------------------------------------------------------------


def _one(asked: Asked) -> Condition | None:
    """`has` and `lacks` of a to-one relation: there is such a row, and it passes `where`."""
    if not _only_where(asked):
        return None
    if asked.rows.up:
        path = str(asked.tree[asked.verb])
        return asked.at.child(asked.verb).wrong(f"{path} is one row of a row around", hint=f"test {path}.COLUMN")
    if not asked.rows.entity.key:
        return asked.at.child(asked.verb).wrong(f"{asked.rows.entity.name} has no single key that says whether there is one")
    there: Condition = Negation(IsNull(names.Spot(asked.rows.entity, 0, asked.inner.hops).key()))
    if "where" in asked.tree:
        where = conditions.condition(asked.binder, asked.tree["where"], asked.inner, asked.at.child("where"))
        if where is None:
            return None
        there = Every((there, where))
    return there if asked.verb == "has" else Negation(there)


def _only_where(asked: Asked) -> bool:
    path = asked.tree[asked.verb]
    if asked.verb not in ("has", "lacks"):
        valid = [name for name, relation in asked.scope.entity.relations.items() if relation.many]
        asked.at.child(asked.verb).wrong(f"{path} leads to one row; `{asked.verb}` needs many", valid=valid, hint=f"test {path}.COLUMN")
        return False
    for key in asked.tree:
        if key not in (asked.verb, "where", "as"):
            asked.at.child(key).wrong(f"{path} is one row, so `{key}` has no meaning", hint="test its columns in `where`", key=True)
            return False
    return True


def _one_value(asked: Asked) -> None:
    path = asked.tree[asked.verb]
    return asked.at.child(asked.verb).wrong(f"{path} leads to one row; a trait needs many", hint=f"use {path}.COLUMN directly")
