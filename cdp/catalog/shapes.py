"""JSON Schema of the YAML kinds, made from their pydantic models.

pydantic's own generator describes what a model holds after validation; an editor needs what people may write before it:
one name or a list, `200` or `20%`, `email` for `{of: email}`. So the models' fields are walked here. Trees of the language
and references to names are told by the keys in `TREES` and `NAMES`.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cdp.catalog.language import (
    BOOLEAN,
    NAME,
    OPEN,
    SCALARS,
    WINDOW_SHAPES,
    Schema,
    measure_words,
    ref,
    related,
)
from cdp.spec.activation import GuardLimit, Limit, Output, OutputField, ProjectConfig, Sync, UnitSpec
from cdp.spec.base import Day, Kind
from cdp.spec.model import VERBS, Case, Column, Entity, MeasureSpec, Names, Relation, Segment, Trait, ValueSet
from cdp.spec.people import EligibilityRule
from cdp.spec.policy import DeclassifyEntry, DeclassifyTarget, Purpose
from cdp.spec.quality import Bound
from cdp.spec.trial import Moment, TrialSpec

TEXT: Final[Schema] = {"type": SCALARS}
CELL: Final[Schema] = {"type": [*SCALARS, "null", "array", "object"]}  # a column's value, a row, or rows
LIMIT: Final = r"^(\d+(\.\d+)?\s*%|[0-9_]+)$"
MOMENT: Final[Schema] = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2})?)?$", "examples": ["2026-07-02"]}
DAY: Final[Schema] = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$", "examples": ["2026-07-01"]}

# The parts of documents that the language reads, by their key.
TREES: Final[Mapping[str, Schema]] = {
    "where": OPEN.ref("condition"),
    "when": OPEN.ref("condition"),
    "then": {"type": [*SCALARS, "null"]},
    "else": {"type": [*SCALARS, "null"]},
    "expect": {"anyOf": [TEXT, {"type": ["null", "object"], "additionalProperties": CELL}]},
    "add": CELL,
    "given": CELL,
}

# Keys whose text is a name that the project declares: completed by the schema of a project.
NAMES: Final[Mapping[tuple[type[BaseModel], str], str]] = {
    (Column, "class"): "class",
    (Column, "may_hold"): "class",
    (Column, "system"): "system",
    (Relation, "one"): "entity",
    (Relation, "many"): "entity",
    (Entity, "rows"): "class",
    (Entity, "from"): "entity",
    (ValueSet, "system"): "system",
    (ValueSet, "include"): "value_set",
    (ValueSet, "exclude"): "value_set",
    (Trait, "entity"): "entity",
    (Segment, "entity"): "entity",
    (Segment, "purpose"): "purpose",
    (Sync, "segment"): "segment",
    (Sync, "destination"): "destination",
    (Sync, "purpose"): "purpose",
    (Sync, "one_per"): "operand",
    (Output, "of"): "operand",
    (Output, "mask"): "mask",
    (UnitSpec, "of"): "value_set",
    (Purpose, "classes"): "class",
    (Purpose, "members"): "class",
    (DeclassifyTarget, "segment"): "segment",
    (DeclassifyTarget, "trait"): "trait",
    (DeclassifyEntry, "from"): "class",
    (DeclassifyEntry, "to"): "class",
}

# Of these keys exactly one must be there.
ONE_OF: Final[Mapping[type[BaseModel], tuple[str, ...]]] = {
    Relation: ("one", "many"),
    Output: ("of", "expr", "constant"),
    Entity: ("table", "from", "sql"),
    Trait: (*VERBS, "case", "expr", "sql"),
    Segment: ("where", "sql"),
    Case: ("when", "else"),
    Limit: ("rows", "share"),
}
EXAMPLES: Final[Mapping[type[BaseModel], Mapping[str, Any]]] = {
    Column: {"unit": "unit"},
    Entity: {"table": "clinical.patients", "key": "patient_id", "time": "date"},
    Sync: {"schedule": "0 7 * * *", "prefer": ["age desc", "patient_id"]},
    Trait: {"expr": "months_between(as_of, birth_date)"},
    ProjectConfig: {"timezone": "America/New_York"},
}


class Shapes:
    """The definitions of models, each made when it is first referred to."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}

    def ref(self, model: type[BaseModel]) -> Schema:
        """A reference to a model's definition."""
        name = model.model_fields["kind"].default if issubclass(model, Kind) else _snake(model.__name__)
        if name not in self.definitions:
            self.definitions[name] = {}  # a model that holds itself refers to what is being made
            self.definitions[name] = self._model(model)
        return ref(name)

    def _model(self, model: type[BaseModel]) -> Schema:
        keys = {field.alias or name: (name, field) for name, field in model.model_fields.items()}
        schema: Schema = {
            "type": "object",
            "description": summary(model),
            "properties": {key: self._property(model, key, field) for key, (_, field) in keys.items() if not field.exclude},
            "required": [key for key, (name, field) in keys.items() if field.is_required() or (name == "kind" and issubclass(model, Kind))],
            "additionalProperties": CELL if model.model_config.get("extra") == "allow" else False,
        }
        if model in ONE_OF:
            schema["oneOf"] = [{"required": [key]} for key in ONE_OF[model]]
        return schema

    def _property(self, model: type[BaseModel], key: str, field: FieldInfo) -> Schema:
        schema = dict(self._shape(model, key, field))
        if field.description:
            schema["description"] = field.description
        elif isinstance(annotation := _one(field.annotation), type) and issubclass(annotation, BaseModel):
            schema["description"] = summary(annotation)
        if key in (examples := EXAMPLES.get(model, {})):
            schema["examples"] = [examples[key]]
        value = field.default
        if isinstance(value, (str, int, bool)) and value != "" and key != "kind":
            schema["default"] = value
        return schema

    def _shape(self, model: type[BaseModel], key: str, field: FieldInfo) -> Schema:
        if issubclass(model, MeasureSpec) and (found := _measured(key)):
            return found
        if key == "tests":
            return {"type": "array", "items": self.ref(TrialSpec), "minItems": 1}
        if field.annotation is typing.Any:
            return ref("eligibility_when") if model is EligibilityRule else TREES[key]
        if issubclass(model, Kind) and key == "name":
            return {"type": "string", "pattern": NAME}
        annotation = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        return self.of(annotation, NAMES.get((model, key)) or _everywhere(key))

    def of(self, annotation: Any, name: str | None = None) -> Schema:
        """The schema of what may be written for a type; `name` says what the text in it refers to."""
        if (special := self._special(annotation, name)) is not None:
            return special
        origin, args = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is Annotated:
            inner = self.of(args[0], name)
            return {**inner, **_bounds(args[1:], inner.get("type"))}
        if origin in (typing.Union, types.UnionType):
            branches = [self.of(arg, name) for arg in args if arg is not type(None)]
            return branches[0] if len(branches) == 1 else {"anyOf": branches}
        if origin is typing.Literal:
            return {"enum": list(args)}
        if origin is dict:
            return {"type": "object", "additionalProperties": self.of(args[1], name)}
        if origin is tuple:
            return {"type": "array", "items": self.of(args[0], name)}
        return self._plain(annotation, name)

    def _special(self, annotation: Any, name: str | None) -> Schema | None:
        """Types that people may write in more than one way."""
        if annotation == Names:
            text = self._plain(str, name)
            return {"anyOf": [text, {"type": "array", "items": text}]}
        if annotation == OutputField:
            return {"anyOf": [ref("name.operand"), self.ref(Output)]}
        if annotation == GuardLimit:
            return {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": LIMIT}, self.ref(Limit)]}
        if annotation == Bound:
            return {"anyOf": [self._plain(float, None), DAY]}
        if annotation is typing.Any:
            return CELL
        return DAY if annotation == Day else MOMENT if annotation == Moment else None

    def _plain(self, annotation: Any, name: str | None) -> Schema:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return self.ref(annotation)
        if annotation is bool:
            return BOOLEAN
        if annotation is int:
            return {"type": ["integer", "string"], "pattern": r"^[+-]?\d+(_\d+)*$"}
        if annotation is str:
            return ref(f"name.{name}") if name else TEXT
        return {"type": ["number", "string"], "pattern": r"^[+-]?[\d._]+$"}  # float, Decimal


def summary(model: type[BaseModel]) -> str:
    """The first paragraph of a model's docstring, in one line."""
    return " ".join((model.__doc__ or "").split("\n\n")[0].split())


def _measured(key: str) -> Schema | None:
    """The keys that a trait shares with a measure in a condition."""
    if key in VERBS:
        return related(OPEN)
    if key in WINDOW_SHAPES:
        return ref(f"window.{key}")
    return measure_words().get(key)


def _everywhere(key: str) -> str | None:
    """Keys that mean the same wherever they stand."""
    return {"purposes": "purpose", "baa": "agreement", "classes": "class", "members": "class"}.get(key)


def _one(annotation: Any) -> Any:
    args = [arg for arg in typing.get_args(annotation) if arg is not type(None)]
    return args[0] if len(args) == 1 else annotation


def _bounds(metadata: tuple[Any, ...], kind: Any) -> Schema:
    """What pydantic's constraints say, in the words of JSON Schema."""
    least = "minItems" if kind == "array" else "minProperties"
    words = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum", "min_length": least}
    return {word: bound for each in metadata for name, word in words.items() if (bound := getattr(each, name, None)) is not None}


def _snake(name: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name).lstrip("_")
