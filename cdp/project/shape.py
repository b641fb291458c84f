"""Turns what pydantic says of a document into problems that a person can act on: one for each mistake, with its place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cdp.project.problems import Problems
from cdp.project.source import Document, short
from cdp.spec.activation import Secret
from cdp.spec.base import Spec, Tree

# What a field asks for, by the part of pydantic's error type that says so.
_SCALARS: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "decimal_type": "a number",
    "decimal_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}
_CONTAINERS: Final = {"dict_type": "a mapping", "model_type": "a mapping", "tuple_type": "a list", "list_type": "a list"}

Path = tuple[str | int, ...]
S = TypeVar("S", bound=Spec)


def validate(document: Document, model: type[S], problems: Problems) -> S | None:
    """The document as its model, or None where it has another shape; each mistake goes to `problems`."""
    try:
        return model.model_validate(document.tree, by_alias=True, by_name=False)
    except ValidationError as error:
        unions: dict[Path, list[ErrorDetails]] = {}
        for detail in error.errors(include_url=False, include_input=False):
            path, branch = _trace(document.tree, detail)
            if branch is None:
                _report(document, model, path, detail, problems)
            else:
                unions.setdefault(branch, []).append(detail)
        for branch, details in unions.items():
            # The author meant the branch that was entered; where none was, one problem names what all of them ask for.
            if entered := [d for d in details if len(d["loc"]) > len(branch) + 1]:
                for detail in entered:
                    _report(document, model, _trace(document.tree, detail)[0], detail, problems)
            else:
                meant = next((d for d in details if d["type"] == "literal_error"), details[0])
                _report(document, model, branch, meant, problems, others=details)
        return None


def _trace(tree: Tree, detail: ErrorDetails) -> tuple[Path, Path | None]:
    """The part of pydantic's location that stands in the document, and where it left the document for a union's branch."""
    path: Path = ()
    branch: Path | None = None
    at = tree
    for number, part in enumerate(detail["loc"]):
        if (isinstance(at, dict) and part in at) or (isinstance(at, list) and isinstance(part, int) and part < len(at)):
            path, at = (*path, part), _at(at, (part,))
        elif detail["type"] == "missing" and number == len(detail["loc"]) - 1:
            break
        elif isinstance(part, str) and branch is None:
            branch = path
    return path, branch


def _report(
    document: Document, model: type[Spec], path: Path, detail: ErrorDetails, problems: Problems, others: Sequence[ErrorDetails] = ()
) -> None:
    kind, value = detail["type"], _at(document.tree, path)
    parent = _model_at(model, path[:-1] if kind == "extra_forbidden" else path)
    if kind == "missing":
        name = str(detail["loc"][-1])
        problems.add(document, path, f"missing key {name!r}", hint=described(parent, name))
    elif kind == "extra_forbidden":
        key = str(path[-1])
        problems.add(document, path, f"unknown key {short(key)}", value=key, valid=_keys(parent), key=True)
    elif kind == "literal_error" and not (others and not isinstance(value, str)):
        valid = re.findall(r"'([^']*)'", detail["ctx"]["expected"])
        if isinstance(value, str):
            problems.add(document, path, f"{short(value)} is not valid", value=value, valid=valid)
        else:
            problems.add(document, path, f"must be one word, not {_got(value, echo=False)}", valid=valid)
    else:
        problems.add(document, path, _said(detail, others, value, parent))


def _said(detail: ErrorDetails, others: Sequence[ErrorDetails], value: Tree, parent: type[BaseModel] | None) -> str:
    """What is wrong with a value, in our words."""
    kind = detail["type"]
    wanted = list(dict.fromkeys(_wanted(d["type"]) for d in others or [detail]))
    if all(wanted):
        scalar = kind in _SCALARS or kind.startswith("date")
        return f"must be {' or '.join(wanted)}, not {_got(value, echo=scalar and parent is not Secret)}"
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    if kind == "too_short":
        return "must not be empty"
    bound = detail["msg"].replace("Input should be", "must be")
    return f"{bound}, not {_got(value, echo=True)}" if isinstance(value, str) else bound


def _wanted(kind: str) -> str:
    if kind == "literal_error":
        return "one of the valid words"
    return _SCALARS.get(kind) or _CONTAINERS.get(kind) or ("a date such as 2026-07-01" if kind.startswith("date") else "")


def _got(value: Tree, echo: bool) -> str:
    """What stands there. A text where a mapping belongs is not repeated: it may be a secret."""
    if isinstance(value, str):
        return short(value) if echo else "text"
    return "empty" if value is None else "a mapping" if isinstance(value, dict) else "a list"


def _at(tree: Tree, path: Path) -> Tree:
    for part in path:
        tree = tree[part]
    return tree


# -- the model behind a place in a document ---------------------------------------------------------------------------


def _model_at(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model whose fields are the keys at `path`, if one is."""
    annotation: Any = model
    for part in path:
        found = _model_of(annotation)
        if found is not None:
            annotation = next((f.annotation for n, f in found.model_fields.items() if part in (n, f.alias)), None)
        else:
            annotation = _items_of(annotation)
    return _model_of(annotation)


def _branches(annotation: Any) -> list[Any]:
    """The types an annotation allows: the members of a union, else itself; `Annotated` peeled off."""
    if hasattr(annotation, "__metadata__"):
        return _branches(annotation.__origin__)
    origin = get_origin(annotation)
    if origin is not None and origin not in (dict, list, tuple):
        return [branch for arg in get_args(annotation) for branch in _branches(arg)]
    return [annotation]


def _model_of(annotation: Any) -> type[BaseModel] | None:
    return next((b for b in _branches(annotation) if isinstance(b, type) and issubclass(b, BaseModel)), None)


def _items_of(annotation: Any) -> Any:
    """What stands in a list or under the keys of a mapping."""
    for branch in _branches(annotation):
        if get_origin(branch) is dict:
            return get_args(branch)[1]
        if get_origin(branch) in (list, tuple):
            return get_args(branch)[0]
    return None


def _keys(model: type[BaseModel] | None) -> list[str]:
    fields: Mapping[str, Any] = model.model_fields if model else {}
    return [field.alias or name for name, field in fields.items()]


def described(model: type[BaseModel] | None, key: str) -> str:
    """What a field of a model is for."""
    fields: Mapping[str, Any] = model.model_fields if model else {}
    return next((f.description or "" for n, f in fields.items() if key in (n, f.alias)), "")
