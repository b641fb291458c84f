"""Which keys of a document go together: what the fields of its kind, one by one, cannot say.

Read from the tree, so that a document with other mistakes is told of these as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from cdp.project.problems import Path, Problems
from cdp.project.shape import described
from cdp.project.source import Document, short
from cdp.spec.base import Kind, Tree
from cdp.spec.model import VERBS, Column, Entity, MeasureSpec, Trait, ValueSet

MODIFIERS: Final = tuple(key for name, field in MeasureSpec.model_fields.items() if (key := field.alias or name) not in VERBS)
AGGREGATES: Final = ("count", "sum", "avg", "min", "max")
ROWS_FROM: Final = ("table", "from", "sql")  # an entity's, one of these
PATH: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*")
_SAYS: Final = {"case": "be a list of branches", "expr": "be an SQL expression", "sql": "be one SELECT"}
CODES_FROM: Final = ("codes", "file", "include", "descendants_of")  # a value set's, any of these


def fits(document: Document, problems: Problems) -> bool:
    """Whether the keys of a document go together; what does not is added to `problems`."""
    before = len(problems)
    form = _FORMS.get(str(document.tree.get("kind")))
    if form is not None:
        form(_Part(document.tree, (), document, problems))
    return len(problems) == before


@dataclass(frozen=True, slots=True)
class _Part:
    """A mapping of a document, and what can be wrong with its keys."""

    tree: Mapping[str, Tree]
    path: Path
    document: Document
    problems: Problems

    def parts(self, key: str) -> Iterable[_Part]:
        """The mappings under a key, be they in a mapping or in a list; what is no mapping is reported as a wrong shape."""
        inside = self.tree.get(key)
        pairs = inside.items() if isinstance(inside, dict) else enumerate(inside) if isinstance(inside, list) else ()
        return [_Part(tree, (*self.path, key, name), self.document, self.problems) for name, tree in pairs if isinstance(tree, dict)]

    def has(self, words: Iterable[str]) -> list[str]:
        """Those of the words that are keys here."""
        return [word for word in words if word in self.tree]

    def wrong(self, key: str, message: str, hint: str = "") -> None:
        """Report a key that is there."""
        self.problems.add(self.document, (*self.path, key), message, hint=hint, key=True)

    def one_of(self, words: Iterable[str], hint: str = "") -> str:
        """The one key of these that is there; an empty text after reporting that there are none or several."""
        words = tuple(words)
        found = self.has(words)
        if len(found) == 1:
            return found[0]
        listed, instead = ", ".join(f"`{word}`" for word in words), f", not {' and '.join(found)}" if found else ""
        self.problems.add(self.document, self.path, f"must say exactly one of {listed}{instead}", hint=hint, key=True)
        return ""

    def need(self, words: Iterable[str], model: type[Kind] | type[Column]) -> None:
        """Report those of the keys that are missing."""
        for word in words:
            if word not in self.tree:
                self.problems.add(self.document, self.path, f"missing key {word!r}", hint=described(model, word))

    def refuse(self, words: Iterable[str], message: str, hint: str = "") -> None:
        """Report those of the keys that are there; `message` says of whom they are told."""
        for word in self.has(words):
            self.wrong(word, f"`{word}` {message}", hint)


# -- entities ---------------------------------------------------------------------------------------------------------


def _entity(entity: _Part) -> None:
    way = entity.one_of(ROWS_FROM, "such as `table: clinical.patients`")
    if not way:
        return
    if way == "from":
        _said(entity, "from", "name an entity")
        entity.need(("group_by",), Entity)
        entity.refuse(("key",), "is for rows of a table or an `sql`", "the columns of `group_by` are the key of a derived entity")
        if entity.tree.get("group_by") == {}:
            entity.problems.add(entity.document, ("group_by",), "must not be empty", hint="such as {patient_id: patient_id, day: date.day}")
        for column in entity.parts("columns"):
            _aggregate(column)
        return
    _said(entity, way, _SAYS.get(way, "name a table, such as clinical.patients"))
    entity.need(("key", "rows", "columns"), Entity)
    entity.refuse(("group_by",), "is for a derived entity", "name the entity whose rows are grouped: `from: ENTITY`")
    for column in entity.parts("columns"):
        _column(column)


def _column(column: _Part) -> None:
    if "fields" in column.tree:
        column.refuse(("type", "array"), "is not for a struct", "its fields have types; a list of structs is an entity of its own")
        column.refuse(("role", "system", "strip", "unit"), "is not for a struct")
        if column.tree["fields"] == {}:
            column.problems.add(column.document, (*column.path, "fields"), "must not be empty", hint="such as {city: string, zip: string}")
    if column.tree.get("array") not in (None, "false"):
        column.refuse(("role", "unit"), "is not for an array")
    column.need(("class",) if "fields" in column.tree else ("type", "class"), Column)
    column.refuse((*AGGREGATES, "where"), "is for a column of a derived entity", "give the entity a `from`")


def _aggregate(column: _Part) -> None:
    way = column.one_of(AGGREGATES, "such as `min: value`")
    if way and column.tree[way] is None:
        column.wrong(way, "must be true" if way == "count" else "must name a column of the rows that are grouped")
    elif way == "count" and column.tree[way] == "false":
        column.wrong(way, "must be true", "leave the column out")
    foreign = ("type", "array", "fields", "role", "system", "strip", "may_hold")
    column.refuse(foreign, "is for a column of a table or an `sql`", "that of an aggregate follows from its rows")


# -- what is asked of them --------------------------------------------------------------------------------------------


def _trait(trait: _Part) -> None:
    ways = trait.has((*VERBS, "case", "expr", "sql"))
    if len(ways) != 1:
        found = f"not {' and '.join(ways)}" if ways else "such as `latest: observations`"
        message = f"a trait has exactly one verb, `case`, `expr` or `sql`, {found}"
        trait.problems.add(trait.document, (), message, valid=(*VERBS, "case", "expr", "sql"))
        return
    (way,) = ways
    _said(trait, way, _SAYS.get(way, "name a relation"))
    if way in VERBS:
        trait.refuse(("type",), "is for `case`, `expr` and `sql`", "the type of a measure follows from what it is made of")
    elif way != "case":
        trait.need(("type",), Trait)
    if way not in VERBS:
        trait.refuse(MODIFIERS, f"belongs to a measure, not beside `{way}`")
    if way == "case":
        _branches(trait)


def _branches(trait: _Part) -> None:
    branches = list(trait.parts("case")) if isinstance(trait.tree["case"], list) else []
    for number, branch in enumerate(branches, 1):
        keys = set(branch.tree)
        last = number == len(branches)
        if keys != {"when", "then"} and not (keys == {"else"} and last and number > 1):
            message = "an `else` is the last branch, after others" if keys == {"else"} else "a branch is {when: CONDITION, then: VALUE}"
            trait.problems.add(trait.document, branch.path, message, hint="" if keys == {"else"} else "or, as the last one, {else: VALUE}")
    if trait.tree["case"] == []:
        trait.problems.add(trait.document, ("case",), "must not be empty", hint="such as [{when: {age: {gte: 65}}, then: senior}]")


def _segment(segment: _Part) -> None:
    way = segment.one_of(("where", "sql"))
    if way == "sql":
        _said(segment, "sql", _SAYS["sql"])
        segment.refuse(("params",), "fill in conditions, not an `sql`", "write the segment with `where`")


def _value_set(value_set: _Part) -> None:
    if not value_set.has(CODES_FROM):
        listed = ", ".join(f"`{word}`" for word in CODES_FROM)
        value_set.problems.add(value_set.document, (), f"must say at least one of {listed}", hint="such as `codes: [44054006]`")
        return
    for one, other in (("descendants_of", "hierarchy"), ("hierarchy", "descendants_of")):
        if one in value_set.tree and other not in value_set.tree:
            value_set.wrong(one, f"`{one}` needs a `{other}`", "a CSV of edges, and the codes at the top of the branches")
    file = value_set.tree.get("file")
    if value_set.has(("codes", "descendants_of")):
        value_set.need(("system",), ValueSet)
    elif not (isinstance(file, str) and not file.lower().endswith(".json")):
        hint = "a FHIR ValueSet and other value sets bring their own"
        value_set.refuse(("system",), "is for `codes`, `descendants_of` and a CSV", hint)


def _sync(sync: _Part) -> None:
    """`one_per: NAME`, `prefer: [NAME, NAME desc]`; what the names stand for is told when they are bound."""
    if "one_per" not in sync.tree:
        sync.refuse(("prefer",), "needs a `one_per`", "it says who is told of those who share that value")
    elif isinstance(one_per := sync.tree["one_per"], str) and not PATH.fullmatch(one_per):
        sync.problems.add(sync.document, ("one_per",), "must name a column or trait", hint="such as household_id")
    named: set[str] = set()
    prefer = sync.tree.get("prefer")
    for number, text in enumerate(prefer if isinstance(prefer, list) else ()):
        if not isinstance(text, str):
            continue
        name, *order = text.split() or [""]
        if not PATH.fullmatch(name) or order not in ([], ["asc"], ["desc"]):
            message = f"{short(text)} is not a column or trait with `asc` or `desc`"
            sync.problems.add(sync.document, ("prefer", number), message, hint="such as `age desc`")
        elif name in named:
            sync.problems.add(sync.document, ("prefer", number), f"{short(name)} stands there already", hint="what comes first decides")
        named.add(name)


def _said(part: _Part, key: str, what: str) -> None:
    """Report a key with nothing in it; a list or mapping in its place has another shape, which is reported there."""
    value = part.tree[key]
    if value is None or (isinstance(value, str) and not value.strip()):
        part.problems.add(part.document, (*part.path, key), f"must {what}")


_FORMS: Final[Mapping[str, Callable[[_Part], None]]] = {
    "entity": _entity,
    "trait": _trait,
    "segment": _segment,
    "value_set": _value_set,
    "sync": _sync,
}
