"""Classes for a table that nobody has declared yet, proposed from the names and types of its columns alone.

Conservative on purpose: a proposal is read by whoever answers for the policy, and where a name does not tell, none is made. The word
UNDECIDED stands there instead, which is no class, so that the project is refused until somebody has decided. No value is read:
what stands in a column today says nothing of what will stand in it tomorrow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cdp.governance.classes import ClassTree
from cdp.governance.suggest_words import CODES, COLUMNS, SPECIAL, TABLES, TEXTS, Hint

UNDECIDED: Final = "UNDECIDED"
WIDTH: Final = 120  # of a line and the comment behind it
_TYPES: Final = {
    "string": "string",
    "tinyint": "integer",
    "smallint": "integer",
    "int": "integer",
    "bigint": "integer",
    "float": "double",
    "double": "double",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
    "timestamp_ntz": "timestamp",
}


@dataclass(frozen=True, slots=True)
class Proposal:
    """One column.

    Attributes:
        type: as an entity declares it; empty where the language has no such type.
        cls: a class of the project, or UNDECIDED.
        may_hold: what a value may say besides.
        reason: why, for the reader.
    """

    name: str
    type: str
    cls: str
    may_hold: tuple[str, ...]
    reason: str
    array: bool = False
    system: str = ""

    @property
    def decided(self) -> bool:
        """Whether there is a proposal at all."""
        return self.cls != UNDECIDED


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A table as an entity; `rows` and `key` may be UNDECIDED too."""

    entity: str
    table: str
    key: str
    rows: str
    because: str
    columns: tuple[Proposal, ...]

    def as_json(self) -> dict[str, Any]:
        """The suggestion as a JSON object with stable keys."""
        columns = [
            {"name": c.name, "type": c.type, "array": c.array, "class": c.cls, "may_hold": list(c.may_hold), "reason": c.reason}
            for c in self.columns
        ]
        return {"entity": self.entity, "table": self.table, "key": self.key, "rows": self.rows, "because": self.because, "columns": columns}


@dataclass(frozen=True, slots=True)
class Suggester:
    """Proposes with the classes of one project.

    Args:
        tree: its classes.
        classes: their names.
        keys: classes of key columns that the project declares already, by column name.
    """

    tree: ClassTree
    classes: Sequence[str]
    keys: Mapping[str, str]

    def table(self, table: str, columns: Mapping[str, str]) -> Suggestion:
        """An entity for a table.

        Args:
            table: schema.table.
            columns: the engine's type of each column, by name.
        """
        entity = _singular(table.rpartition(".")[2])
        key = next((name for name in columns if name.lower() in (f"{entity}_id", f"{entity}id", "id")), UNDECIDED)
        rows, because = self._rows(table)
        own = "identifier.internal" if "identifier.internal" in self.classes else UNDECIDED
        found = [self.column(name, kind, table, columns) for name, kind in columns.items()]
        keyed = (replace(c, cls=own, reason="the key of this table") if c.name == key and not c.decided else c for c in found)
        return Suggestion(entity, table, key, rows, because, tuple(keyed))

    def column(self, name: str, kind: str, table: str, beside: Mapping[str, str]) -> Proposal:
        """A class for a column, by the first rule that knows its name: special words, codes, free text, known keys, other words."""
        words = _words(name)
        kind = kind.strip().lower()
        array = kind.startswith("array<") and kind.endswith(">")
        type_ = _type(kind[6:-1] if array else kind)
        if not type_:
            return Proposal(name, "", UNDECIDED, (), f"a column of type {kind.partition('<')[0]}: declare its `fields`, or leave it out")
        if (cls := self.keys.get(name.lower())) is not None:
            return Proposal(name, type_, cls, (), "as this key is declared elsewhere", array)
        for hints in (SPECIAL, CODES, TEXTS, COLUMNS):
            if (hint := _first(hints, words, type_)) is not None:
                return self._proposed(name, type_, array, hint, table, beside)
        return Proposal(name, type_, UNDECIDED, (), "the name does not tell", array)

    def _proposed(self, name: str, type_: str, array: bool, hint: Hint, table: str, beside: Mapping[str, str]) -> Proposal:
        candidates = hint.classes or (_first(TABLES, _words(table), "") or Hint("", ())).classes
        cls = next((cls for cls in candidates if cls in self.classes), UNDECIDED)
        held = self._special() if hint.holds and cls != UNDECIDED else ()
        reason = hint.reason if cls != UNDECIDED or not hint.classes else f"{hint.reason}; governance/classes.yml has no class for it"
        if not hint.codes:
            return Proposal(name, type_, cls, tuple(each for each in held if each != cls), reason, array)
        system = next((each for each in (f"{name}_system", "code_system", "system", "vocabulary") if each in beside and each != name), "")
        return Proposal(name, "code" if type_ == "string" else type_, cls, held, reason, array, system)

    def _rows(self, table: str) -> tuple[str, str]:
        words = (*_words(table.partition(".")[0]), *_words(table))
        for hints in (SPECIAL, TABLES):
            hint = _first(hints, words, "")
            if hint and (cls := next((cls for cls in hint.classes if cls in self.classes), "")):
                return cls, hint.reason
        return UNDECIDED, "what does being in this table at all tell?"

    def _special(self) -> tuple[str, ...]:
        """Every special class that something can hold; one that no query may read has columns of its own."""
        parents = {cls.rpartition(".")[0] for cls in self.classes}
        return tuple(cls for cls in self.classes if self.tree.is_special(cls) and not self.tree.never(cls) and cls not in parents)


def as_yaml(found: Suggestion, known: frozenset[str] = frozenset()) -> str:
    """The suggestion as a document for models/; of an entity that declares columns already (`known`) only the others' lines."""
    columns = [column for column in found.columns if column.name.lower() not in known]
    lines = [_line(column) for column in columns]
    listed = [f"{line}  # {reason}" if len(line) + len(reason) <= WIDTH else f"  # {reason}\n{line}" for line, reason in lines]
    if known:
        return "\n".join(listed) + "\n" if listed else ""
    head = [
        f"# Proposed from the names and types of the columns of {found.table}; no value was read. Each class is a claim about every value",
        "# that will ever stand in the column: somebody who answers for governance/ reads them all. UNDECIDED is no class, so the",
        "# project is refused until another word stands there.",
        "kind: entity",
        f"name: {found.entity}",
        f"table: {found.table}",
        f"key: {found.key}",
        f"rows: {found.rows}  # {found.because}",
        "columns:",
    ]
    return "\n".join([*head, *listed]) + "\n"


def _line(column: Proposal) -> tuple[str, str]:
    if not column.type:
        return f"  # {column.name}:", column.reason
    said = [f"type: {column.type}"]
    said += ["array: true"] if column.array else []
    said += [f"system: {column.system}"] if column.system else []
    said += [f"class: {column.cls}"]
    said += [f"may_hold: [{', '.join(column.may_hold)}]"] if column.may_hold else []
    return f"  {column.name}: {{{', '.join(said)}}}", column.reason


def _type(kind: str) -> str:
    return "decimal" if kind.startswith("decimal") else _TYPES.get(kind, "")


def _words(name: str) -> tuple[str, ...]:
    """The words of a name, in lower case: `dateOfBirth`, `date_of_birth` and `DATE-OF-BIRTH` are the same."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.rpartition(".")[2])
    return tuple(_singular(word) for word in re.split(r"[^a-z0-9]+", parted.lower()) if word)


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _first(hints: Sequence[Hint], words: tuple[str, ...], type_: str) -> Hint | None:
    """The first hint one of whose phrases stands in the words, in a row; of a column, only one of its types."""
    text = f" {' '.join(words)} "
    return next((h for h in hints if (not h.types or type_ in h.types) and any(f" {phrase} " in text for phrase in h.phrases)), None)
