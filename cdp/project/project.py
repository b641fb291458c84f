"""A loaded project: everything its files declare, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from cdp.errors import Problem, UsageError
from cdp.project.source import Document
from cdp.project.terms.bound import NOTHING, Bound
from cdp.spec.access import Agreement, Approval, Person, Role
from cdp.spec.activation import Destination, Environment, ProjectConfig, Sync
from cdp.spec.model import Entity, Segment, Trait, ValueSet
from cdp.spec.people import Consent, Eligibility
from cdp.spec.policy import DataClass, DeclassifyEntry, Mask, Profile, Purpose, RowRule, ValueSetReview


@dataclass(frozen=True, slots=True)
class Policy:
    """What stands under governance/.

    `eligibility` is by entity, `reviews` by value set, everything else by its own name.
    """

    classes: Mapping[str, DataClass]
    masks: Mapping[str, Mask]
    purposes: Mapping[str, Purpose]
    consent: Consent | None
    eligibility: Mapping[str, Eligibility]
    reviews: Mapping[str, ValueSetReview]
    declassify: tuple[DeclassifyEntry, ...]
    agreements: Mapping[str, Agreement]
    roles: Mapping[str, Role] = field(default_factory=dict)
    people: tuple[Person, ...] = ()
    approval: Approval | None = None
    rows: tuple[RowRule, ...] = ()
    profiles: Mapping[str, Profile] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Project:
    """One folder of YAML, valid document by document and reference by reference.

    `sources` finds the document of a (kind, name); of kinds that a project has once the name is the kind again, of
    `eligibility` it is the entity. It also holds documents whose mistakes keep them out of the other mappings.
    `bound` is what the conditions, traits, rules and mappings mean, `warnings` what is probably a mistake.
    """

    root: Path
    config: ProjectConfig
    entities: Mapping[str, Entity]
    value_sets: Mapping[str, ValueSet]
    traits: Mapping[str, Trait]
    segments: Mapping[str, Segment]
    syncs: Mapping[str, Sync]
    destinations: Mapping[str, Destination]
    policy: Policy
    sources: Mapping[tuple[str, str], Document]
    bound: Bound = NOTHING
    warnings: tuple[Problem, ...] = ()

    @property
    def timezone(self) -> str:
        """The IANA name of the time zone in which days are days."""
        return self.config.timezone

    def environment(self, name: str | None = None) -> Environment:
        """The environment of that name, or the project's default one.

        Raises:
            UsageError: there is none of that name.
        """
        wanted = name or self.config.default_environment
        if wanted in self.config.environments:
            return self.config.environments[wanted]
        valid = sorted(self.config.environments)
        close = get_close_matches(wanted, valid, n=1)
        raise UsageError(
            f"environment {wanted!r} is not in conf/cdp.yml; valid: {', '.join(valid)}",
            fix=f"did you mean --env {close[0]}?" if close else "name one of these with --env, or add it under `environments`",
        )
