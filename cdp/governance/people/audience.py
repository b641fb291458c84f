"""Who asks about people: a sync with its channel, purpose and receiver, what they need, and how it reaches whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cdp.governance.people.contact import NONE, Contacts
from cdp.project.language.rules import words_of
from cdp.project.project import Project
from cdp.project.terms.people import Rule
from cdp.spec.activation import Destination, Sync
from cdp.spec.people import Eligibility, EligibilityRule


@dataclass(frozen=True, slots=True)
class Audience:
    """Who asks.

    Attributes:
        needs: the kinds of consent that the purpose and the channel ask for.
        special: those that the special classes which are told ask for.
        authorization: the kind that the purpose asks for.
        contacts: the contact points that the sync maps.
    """

    sync: Sync
    destination: Destination
    needs: tuple[str, ...] = ()
    special: tuple[str, ...] = ()
    authorization: str = ""
    contacts: Contacts = NONE

    @property
    def words(self) -> Mapping[str, str]:
        """What `$receiver`, `$channel` and `$purpose` stand for."""
        return words_of(self.sync, self.destination)

    @property
    def receiver(self) -> str:
        """The name that an authorization must state: the agreement's."""
        return self.words["receiver"]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Every kind of consent."""
        return tuple(sorted({*self.needs, *self.special}))

    @property
    def sponsored(self) -> bool:
        """Whether a third party pays: then an authorization must say so, 45 CFR 164.508(a)(3)(ii)."""
        return self.sync.funded_by == "third_party"

    def rules(self, project: Project, eligibility: Eligibility) -> tuple[tuple[EligibilityRule, Rule], ...]:
        """The rules that hold for the purpose, in their order, and what they mean for this sync."""
        asked = (rule for rule in eligibility.rules if self.sync.purpose not in rule.unless_purpose)
        return tuple((rule, project.bound.rule(eligibility.entity, rule.name, self.words)) for rule in asked)
