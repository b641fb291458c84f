"""The JSON Schema of a project's files: one for every project, and one that completes the names of this project.

Draft 7, which the YAML support of every editor reads. A file holds documents of several kinds, so one schema serves all
of them: it decides by `kind`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cdp.catalog.language import OPEN, Schema, Scope, completed, definitions, inside, related, scoped
from cdp.catalog.names import NAMED, Known
from cdp.catalog.shapes import Shapes
from cdp.project.files import CONFIG, FOLDERS
from cdp.project.language.rules import ALONE
from cdp.project.project import Project
from cdp.spec import Kind
from cdp.spec.model import VERBS

DRAFT: Final = "http://json-schema.org/draft-07/schema#"
NOTE: Final = "Made by `cdp schema` from the code; do not edit."

# Which documents a project's files are: what an editor is told to check, relative to the project.
FILES: Final = (CONFIG, *(f"{folder}/**/*.{ending}" for folder in FOLDERS for ending in ("yml", "yaml")))

# The key of a document that says which entity its `where` speaks of.
CONDITIONS: Final = (("segment", "entity"), ("trait", "entity"), ("entity", "name"))


def schema() -> Schema:
    """The schema of every kind and of the language; it knows no names."""
    return _assembled({}, {})


def project_schema(project: Project) -> Schema:
    """The same with the names of a project, which an editor then completes. A name that is not among them is no mistake."""
    known = Known.of(project)
    return _assembled(known.names, known.scopes)


def _assembled(names: Mapping[str, tuple[str, ...]], scopes: Mapping[str, Scope]) -> Schema:
    shapes = Shapes()
    kinds = {kind: shapes.ref(model) for kind, model in Kind.registry.items()}
    parts = {**definitions(), **shapes.definitions, "eligibility_when": _eligibility_when()}
    parts |= {f"name.{what}": completed(names.get(what, ()), pattern) for what, pattern in NAMED.items()}
    for scope in (OPEN, *scopes.values()):
        parts |= scoped(scope)
    for kind, key in CONDITIONS:
        parts[kind] = _by_entity(parts[kind], kind, key, scopes)
    return {
        "$schema": DRAFT,
        "title": "A document of a cdp project",
        "$comment": NOTE,
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"enum": sorted(kinds), "description": "What this document declares."}},
        "allOf": [{"if": _is("kind", kind), "then": there} for kind, there in sorted(kinds.items())],
        "definitions": dict(sorted(parts.items())),
    }


def _is(key: str, value: str) -> Schema:
    return {"properties": {key: {"const": value}}, "required": [key]}


def _by_entity(schema: Schema, kind: str, key: str, scopes: Mapping[str, Scope]) -> Schema:
    """What a document says of an entity is completed with that entity's names."""
    if not scopes:
        return schema
    where = {name: text for name, text in schema["properties"]["where"].items() if name != "$ref"}
    known = {"properties": {key: {"enum": sorted(scopes)}}, "required": [key]}
    rules = [{"if": _is(key, name), "then": _there(kind, scope)} for name, scope in scopes.items()]
    rules.append({"if": known, "else": _there(kind, OPEN)})
    return {**schema, "properties": {**schema["properties"], "where": where}, "allOf": [*schema.get("allOf", ()), *rules]}


def _there(kind: str, scope: Scope) -> Schema:
    if kind == "trait":
        return {"properties": {word: related(scope) for word in VERBS}, "allOf": inside(scope)}
    return {"properties": {"where": scope.ref("condition")}}


def _eligibility_when() -> Schema:
    """A condition, or one of the words that are a rule by themselves."""
    schema = OPEN.ref("condition")
    for word, value in ALONE.items():
        alone = {"properties": {word: {"const": value}}, "additionalProperties": False}
        schema = {"if": {"type": "object", "required": [word]}, "then": alone, "else": schema}
    return {"type": ["object", "array"], **schema}
