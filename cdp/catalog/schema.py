"""The JSON Schema of a project's files: one for every project, and one that completes the names of this project.

Draft 7, which the YAML support of every editor reads. A file holds documents of several kinds, so one schema serves all
of them: it decides by `kind`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cdp.catalog.language import OPEN, Schema, Scope, completed, definitions, inside, relation_word, scoped
from cdp.catalog.names import NAMED, Known
from cdp.catalog.shapes import Shapes
from cdp.project.project import Project
from cdp.spec import Kind
from cdp.spec.model import VERBS

DRAFT: Final = "http://json-schema.org/draft-07/schema#"
NOTE: Final = "Made by `cdp schema` from the code; do not edit."

# Which documents a project's files are: what an editor is told to check, relative to the project.
FILES: Final = tuple(
    f"{folder}/**/*.{ending}" for folder in ("conf", "models", "syncs", "destinations", "governance") for ending in ("yml", "yaml")
)


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
    for kind, key in (("segment", "entity"), ("trait", "entity"), ("entity", "name"), ("entity", "from")):
        if rules := _by_entity(kind, key, scopes):
            parts[kind] = {**parts[kind], "allOf": [*parts[kind].get("allOf", ()), *rules]}
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


def _by_entity(kind: str, key: str, scopes: Mapping[str, Scope]) -> list[Schema]:
    """What a document says of an entity is completed with that entity's names."""
    rules = []
    for name, scope in scopes.items():
        then: Schema = {"properties": {"where": scope.ref("condition")}}
        if kind == "trait":
            then = {"properties": {word: relation_word(scope) for word in VERBS}, "allOf": inside(scope)}
        rules.append({"if": _is(key, name), "then": then})
    return rules


def _eligibility_when() -> Schema:
    """A condition, or `{consent: missing}`."""
    missing = {"properties": {"consent": {"const": "missing"}}, "additionalProperties": False}
    return {"type": ["object", "array"], "if": {"type": "object", "required": ["consent"]}, "then": missing, "else": OPEN.ref("condition")}
