"""Binding of a measure's pipeline: `where`, window, `distinct` or `spaced`, pick, `of`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from cdp.project.language import conditions, formulas, names
from cdp.project.language.literals import article, boolean, literal
from cdp.project.language.windows import WORDS, bind_windows, span
from cdp.project.terms import ColumnRef, Converted, DayOf, Formula, Measure, Of, Ties, Verb, Window
from cdp.project.terms.spans import shift
from cdp.project.terms.types import COVERS, NUMBERS, ROWS, is_array, type_of
from cdp.spec.model import Interval

if TYPE_CHECKING:
    from cdp.project.language.bind import Place
    from cdp.project.language.measures import Asked

OF = {  # whether a verb needs `of`, may have it, or takes none
    **dict.fromkeys(("sum", "avg", "min", "max", "most_frequent", "list"), "needs"),
    **dict.fromkeys(("latest", "earliest", "days_covered"), "may"),
    **dict.fromkeys(("has", "lacks", "count"), "none"),
}
BELONGS = {
    "by": ROWS,
    "ties": ROWS,
    "distinct": ("count", "list"),
    "spaced": ("count",),
    "limit": ("list",),
    "supply": ("days_covered",),
    "same": ("days_covered",),
    "even_if_open": ("has", "lacks"),
}


def pipeline(asked: Asked) -> Measure | None:
    """The measure of a mapping, without what is asked of its value; None after a problem was reported."""
    tree, rows, before = asked.tree, asked.rows, len(asked.binder.problems)
    where = conditions.condition(asked.binder, tree["where"], asked.inner, asked.at.child("where")) if "where" in tree else None
    window = _window(asked)
    _belongs(asked)
    ties = _ties(asked, tree["ties"]) if "ties" in tree and asked.verb in ROWS else None
    of = _of(asked)
    distinct, spaced = _dedupe(asked)
    limit = _limit(tree["limit"], asked.at.child("limit")) if "limit" in tree else None
    supply, same = _supply(asked) if asked.verb == "days_covered" else (None, None)
    if len(asked.binder.problems) != before:
        return None
    verb: Verb = "exists" if asked.verb in ("has", "lacks") else cast(Verb, asked.verb)
    return Measure(
        verb, rows.link, where, window, "by" in tree, ties, of, rows.up, rows.hops, distinct, spaced, limit, supply, same,
        label=label(tree) or rows.link.name,
    )  # fmt: skip


def label(tree: dict[str, Any]) -> str:
    """A word that tells a reader of the SQL what a measure is about: its first value set."""
    where = tree.get("where")
    for part in where if isinstance(where, list) else [where]:
        for test in part.values() if isinstance(part, dict) else ():
            if isinstance(test, dict) and isinstance(test.get("in"), str):
                return str(test["in"])
    return ""


def _belongs(asked: Asked) -> None:
    """Report keys that another verb has, and verbs that need a time."""
    target = asked.rows.entity
    if (asked.verb in (*ROWS, "days_covered") or "spaced" in asked.tree) and target.time is None:
        asked.at.child(asked.verb).wrong(f"`{asked.verb}` needs an entity with `time`; {target.name} has none")
    if "by" in asked.tree and asked.tree["by"] != "day":
        asked.at.child("by").wrong("latest and earliest go by moment, or `by: day`")
    for key, verbs in BELONGS.items():
        if key in asked.tree and asked.verb not in verbs:
            asked.at.child(key).wrong(f"`{key}` belongs to {' and '.join(verbs)}", key=True)
    if asked.verb in BELONGS["even_if_open"] and "even_if_open" in asked.tree and not isinstance(asked.tree["even_if_open"], bool):
        boolean(asked.tree["even_if_open"], asked.at.child("even_if_open"))


def _window(asked: Asked) -> Window | None:
    words = [word for word in WORDS if asked.tree.get(word) is not None]
    target, at = asked.rows.entity, asked.at
    if not words:
        if asked.verb == "days_covered":
            at.child(asked.verb).wrong("`days_covered` needs a window", valid=WORDS, hint="during: measurement_year", key=True)
        return None
    place = at.child(words[0])
    if target.time is None:
        return place.wrong(f"a window needs an entity with `time`; {target.name} has none", key=True)
    hidden, hint = target.future != "visible", "declare `future: visible` on the entity"
    if "upcoming" in words and hidden:
        return place.wrong(f"{target.name} hides what is later than as_of", hint=hint, key=True)
    window = bind_windows(asked.binder, asked.tree, asked.inner, at)
    if window and hidden and window.first and window.first.anchor == "as_of" and shift(window.first)[0] > 0:
        return place.wrong(f"never true: {target.name} hides what is later than as_of", hint=hint, key=True)
    return window


# -- parts ------------------------------------------------------------------------------------------------------------


def _ties(asked: Asked, tree: Any) -> Ties | None:
    at = asked.at.child("ties")
    if not isinstance(tree, dict) or len(tree) != 1:
        return at.wrong("`ties` is one column and lowest or highest: {value: lowest}")
    ((name, order),) = tree.items()
    column = names.operand(asked.binder, name, asked.inner, at.child(name))
    if column is None:
        return None
    if not isinstance(column, ColumnRef) or column.type not in (*NUMBERS, "date", "timestamp") or column.array:
        return at.child(name).wrong("ties are broken by a number or a date", key=True)
    if order not in ("lowest", "highest"):
        return at.child(name).wrong(f"unknown order {str(order)!r}", value=str(order), valid=["lowest", "highest"])
    return Ties(column, order == "lowest")


def _of(asked: Asked) -> Of | None:
    tree, place, verb = asked.tree.get("of"), asked.at.child("of"), asked.verb
    columns = asked.rows.entity.columns
    if tree is None:
        if OF[verb] == "needs":
            asked.at.wrong(f"`{verb}` needs `of`: the column", valid=columns)
        return None
    if OF[verb] == "none":
        hint = "`distinct` counts values" if verb == "count" else ""
        return place.wrong(f"`{verb}` takes no `of`", hint=hint, key=True)
    if not isinstance(tree, str):
        return place.wrong("`of` is a column or an expression", valid=columns)
    if verb == "days_covered":
        return None if tree in COVERS else place.wrong(f"`days_covered` has no {str(tree)!r}", value=tree, valid=COVERS)
    of = _value(asked, tree, place)
    kind = type_of(of) if of is not None else None
    if of is None or kind is None:
        return None
    if is_array(of) and verb not in ROWS:
        return place.wrong(f"`{verb}` needs one value a row, {tree} is a list of them")
    if verb in ("sum", "avg") and kind not in NUMBERS:
        return place.wrong(f"`{verb}` needs a number, {tree} is {article(kind)}")
    if verb in ("min", "max") and kind == "boolean":
        return place.wrong(f"`{verb}` has no meaning on a boolean", hint="count the rows where it is true")
    return of


def _value(asked: Asked, text: str, at: Place) -> Of | None:
    """A column, its day, or an expression; a trait of the target is an expression too."""
    if formulas.is_path(text):
        found = names.operand(asked.binder, text, asked.inner, at)
        if found is None or isinstance(found, (ColumnRef, DayOf, Converted, Formula)):
            return found
    return formulas.formula(asked.binder, text, asked.inner, at)


def _dedupe(asked: Asked) -> tuple[Any, int | None]:
    """What counts once: `distinct`, or `spaced`."""
    tree, at = asked.tree, asked.at
    distinct = _distinct(asked, tree["distinct"]) if "distinct" in tree else None
    spaced = _spaced(tree["spaced"], at.child("spaced")) if "spaced" in tree else None
    if distinct is not None and spaced is not None:
        at.child("spaced").wrong("`spaced` counts days already, each once", hint="take `distinct` out", key=True)
    return distinct, spaced


def _distinct(asked: Asked, tree: Any) -> Any:
    """`day`, or a column of the row."""
    at = asked.at.child("distinct")
    if tree == "day":
        if asked.rows.entity.time is None:
            return at.wrong(f"`distinct: day` needs an entity with `time`; {asked.rows.entity.name} has none")
        return "day"
    return _column(asked, tree, at)


def _column(asked: Asked, tree: Any, at: Place) -> ColumnRef | None:
    if not isinstance(tree, str):
        return at.wrong("the name of a column is expected", valid=asked.rows.entity.columns)
    column = names.operand(asked.binder, tree, asked.inner, at)
    if column is None or (isinstance(column, ColumnRef) and not column.array):
        return column
    return at.wrong(f"{tree} is not a column of one value", valid=asked.rows.entity.columns)


def _spaced(tree: Any, at: Place) -> int | None:
    bounds = span(tree, at, ranged=False)
    if bounds is None:
        return None
    unit, _, count = bounds
    if unit not in ("days", "weeks"):
        return at.child(unit).wrong("`spaced` is counted in days or weeks", valid=("days", "weeks"), key=True)
    return count * (7 if unit == "weeks" else 1) if count else at.wrong("0 days apart is no distance", hint="use `distinct: day`")


def _limit(tree: Any, at: Place) -> int | None:
    count = literal(tree, "integer", at) if not isinstance(tree, int) else tree
    return at.wrong("`limit` is a whole number from 1 on") if isinstance(count, int) and count < 1 else cast(int | None, count)


def _supply(asked: Asked) -> tuple[ColumnRef | None, ColumnRef | None]:
    """The columns of `days_covered`: how many days a fill lasts, and which fills follow each other."""
    tree, at = asked.tree, asked.at
    if isinstance(asked.rows.entity.time, Interval):
        at.child("days_covered").wrong(f"`days_covered` needs points in time; {asked.rows.entity.name} has intervals")
    if "supply" not in tree:
        valid = [name for name, spec in asked.rows.entity.columns.items() if spec.type == "integer"]
        at.child("days_covered").wrong("`days_covered` needs `supply`: the column with the days of supply", valid=valid, key=True)
        return None, None
    supply = _column(asked, tree["supply"], at.child("supply"))
    if supply is not None and supply.type not in NUMBERS:
        at.child("supply").wrong(f"`supply` is a number of days, {tree['supply']} is {article(supply.type)}")
    same = _column(asked, tree["same"], at.child("same")) if "same" in tree else None
    return supply, same
