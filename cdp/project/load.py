"""A folder becomes a Project: every file read, every reference checked, every mistake reported at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from cdp.project import (
    check_access,
    check_activation,
    check_delivery,
    check_entities,
    check_masks,
    check_models,
    check_people,
    check_policy,
    check_quality,
    check_roles,
    check_rows,
    check_trials,
    codes,
    collector,
    forms,
)
from cdp.project.codes import reviews
from cdp.project.files import CONFIG, files, find_root
from cdp.project.index import NEEDED, Index
from cdp.project.language import derived, role_rows
from cdp.project.language.bind import bind
from cdp.project.problems import Problems
from cdp.project.project import Policy, Project
from cdp.project.shape import validate
from cdp.project.source import Document, read, short
from cdp.project.sql import statements
from cdp.spec.access import Agreement, Roles
from cdp.spec.activation import Destination, ProjectConfig, Sync
from cdp.spec.base import Kind
from cdp.spec.model import Entity, Segment, Trait, ValueSet
from cdp.spec.people import Consent, Eligibility
from cdp.spec.policy import Classes, Declassify, Masks, Purposes, Rows, ValueSetReviews

__all__ = ["Policy", "Project", "find_root", "load"]

ONCE: Final = frozenset({"project", "classes", "masks", "purposes", "consent", "declassify", "value_sets", "roles", "rows"})

K = TypeVar("K", bound=Kind)
Specs = Mapping[tuple[str, str], Kind]


def load(root: Path, connectors: Iterable[str] | None = None) -> Project:
    """Read and check a whole project. No data is touched.

    Args:
        root: the folder that holds conf/cdp.yml.
        connectors: the connectors that are installed; destinations must name one of them. None leaves that unchecked.

    Raises:
        ProjectError: carries every problem of every file.
    """
    problems = Problems()
    with collector.paused():
        project = _read(root.resolve(), problems)
        index = Index(project.sources, problems)
        check_entities.check(project, index)
        check_models.check(project, index)
        check_policy.check(project, index)
        check_masks.check(project, index)
        reviews.check(project, index)
        check_people.check(project, index)
        check_rows.check(project, index)
        check_access.check(project, index)
        check_roles.check(project, index)
        check_activation.check(project, index, frozenset(connectors) if connectors is not None else None)
        check_delivery.check(project, index)
        # Periods, units and code systems stand in the configuration: without it every use of one would look like a mistake.
        project = replace(project, bound=bind(project, problems) if project.config.name else project.bound)
        statements.refuse_circles(project, problems)
        check_trials.check(project, problems)
        check_quality.check(project, problems)
        role_rows.check(project, problems)
    problems.raise_if_any()
    return replace(project, warnings=problems.warnings)


def _read(root: Path, problems: Problems) -> Project:
    sources: dict[tuple[str, str], Document] = {}
    specs: dict[tuple[str, str], Kind] = {}
    for path in files(root, problems):
        for document in read(path, root, problems):
            _declare(document, sources, specs, problems)
    for kind, file in NEEDED.items():
        if (kind, kind) not in sources:
            problems.add(file, (), f"no document says `kind: {kind}`", hint=f"write it to {file}")
    return _assemble(root, specs, sources, problems)


# -- documents --------------------------------------------------------------------------------------------------------


def _declare(
    document: Document,
    sources: dict[tuple[str, str], Document],
    specs: dict[tuple[str, str], Kind],
    problems: Problems,
) -> None:
    """Give a document its place under (kind, name), and its model where its shape is right."""
    model = _model(document, problems)
    if model is None:
        return
    at = identity(document)
    if at is not None and at in sources:
        _twice(document, at, sources[at], problems)
    spec = None
    if document.sound:
        fits = forms.fits(document, problems)
        spec = validate(document, model, problems)
        spec = spec if fits else None
    if at is not None and sources.setdefault(at, document) is document and spec is not None:
        specs[at] = spec


def _model(document: Document, problems: Problems) -> type[Kind] | None:
    """The model of a document's kind, where the kind may stand in this file."""
    kind = document.tree.get("kind")
    if not isinstance(kind, str):
        message = "must be one word" if "kind" in document.tree else "missing key 'kind'"
        problems.add(document, ("kind",), message, valid=Kind.registry)
        return None
    model = Kind.registry.get(kind)
    if model is None:
        problems.add(document, ("kind",), f"unknown kind {short(kind)}", value=kind, valid=Kind.registry)
    elif (kind == "project") != (document.file == CONFIG):
        only = f"`kind: project` stands in {CONFIG}" if kind == "project" else f"{CONFIG} holds `kind: project`"
        problems.add(document, ("kind",), f"{only} and nowhere else" if kind == "project" else f"{only} and nothing else")
    elif model.folder == "governance" and not document.file.startswith("governance/"):
        problems.add(document, ("kind",), f"`kind: {kind}` must stand under governance/, where its owners see it", hint="move it there")
    return model


def identity(document: Document) -> tuple[str, str] | None:
    """(kind, name) of a document; None where the name is missing, which validation reports."""
    kind = str(document.tree["kind"])
    if kind in ONCE:
        return kind, kind
    name = document.tree.get("entity", "patient") if kind == "eligibility" else document.tree.get("name")
    return (kind, str(name)) if isinstance(name, str) else None


def _twice(document: Document, at: tuple[str, str], first: Document, problems: Problems) -> None:
    kind, name = at
    key = "kind" if kind in ONCE else "entity" if kind == "eligibility" else "name"
    line, col = first.position((key,))
    what = f"kind: {kind}" if kind in ONCE else f"{kind} {name!r}"
    problems.add(document, (key,), f"{what} is declared twice, first at {first.file}:{line}:{col}", hint="rename or remove one")


# -- the project ------------------------------------------------------------------------------------------------------


def _assemble(root: Path, specs: Specs, sources: Mapping[tuple[str, str], Document], problems: Problems) -> Project:
    config = _one(specs, ProjectConfig)
    return Project(
        root=root,
        # Without a valid configuration the load fails; the empty one only lets the checks go on.
        config=config or ProjectConfig(name="", timezone="UTC", environments={}),
        entities=derived.typed(_all(specs, Entity), sources, problems),
        value_sets=codes.filled(_all(specs, ValueSet), root, config, Index(sources, problems)),
        traits=_all(specs, Trait),
        segments=_all(specs, Segment),
        syncs=_all(specs, Sync),
        destinations=_all(specs, Destination),
        policy=_policy(specs),
        sources=sources,
    )


def _policy(specs: Specs) -> Policy:
    classes, masks, purposes = _one(specs, Classes), _one(specs, Masks), _one(specs, Purposes)
    reviewed, declassify = _one(specs, ValueSetReviews), _one(specs, Declassify)
    roles, rows = _one(specs, Roles), _one(specs, Rows)
    return Policy(
        classes=classes.classes if classes else {},
        masks=masks.masks if masks else {},
        purposes=purposes.purposes if purposes else {},
        consent=_one(specs, Consent),
        eligibility=_all(specs, Eligibility),
        reviews=reviewed.value_sets if reviewed else {},
        declassify=declassify.entries if declassify else (),
        agreements=_all(specs, Agreement),
        roles=roles.roles if roles else {},
        people=roles.people if roles else (),
        approval=roles.approval if roles else None,
        rows=rows.rules if rows else (),
        profiles=masks.profiles if masks else {},
    )


def _all(specs: Specs, model: type[K]) -> dict[str, K]:
    return {name: spec for (_, name), spec in specs.items() if isinstance(spec, model)}


def _one(specs: Specs, model: type[K]) -> K | None:
    return next((spec for spec in specs.values() if isinstance(spec, model)), None)
