"""What a purpose's profile and the law on substance use records ask of what is told, beyond the grants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set

from cdp.errors import Refusal
from cdp.governance.classes import ClassTree
from cdp.governance.masks.functions import within
from cdp.governance.receivers import MEMBERSHIP
from cdp.governance.taint import Fact, Relation
from cdp.project.project import Project
from cdp.spec.access import Agreement
from cdp.spec.activation import Sync
from cdp.spec.model import Column
from cdp.spec.policy import Profile

PART2 = "part2"  # the kind of consent that a class of 42 CFR part 2 asks for
ADDRESS = "contact"  # B-street: postal addresses, not the ZIP code, town and state that a limited data set may hold


def kept(project: Project, sync: Sync, lowered: Relation, tree: ClassTree) -> Iterator[Refusal]:
    """The outputs that a profile of the purpose does not let leave: 45 CFR 164.514(b)(2)(i), (e)(2).

    Args:
        project: its policy holds the profile.
        sync: its purpose names the profile.
        lowered: what leaves, after masks.
        tree: the classes.
    """
    name = project.policy.purposes[sync.purpose].profile
    profile = project.policy.profiles.get(name or "")
    if name is None or profile is None:
        return
    typed = free_text(project)
    for column, facts in lowered.columns.items():
        for cls in sorted({fact.cls for fact in facts}):
            letter = _forbidden(cls, profile, tree)
            because = _because(fact for fact in facts if fact.cls == cls)
            if letter is not None:
                missing = f"profile {name} lets no {letter} of 45 CFR 164.514(b)(2)(i) leave"
                yield Refusal("profile", column, cls, because, missing, "leave it out, or mask it to a class without the letter")
        told = [fact for fact in facts if (fact.table, fact.column) in typed and fact.cls == typed[fact.table, fact.column].cls]
        if told:
            missing = f"profile {name} lets no free text leave: it may name anybody, 45 CFR 164.514(b)(2)(ii)"
            yield Refusal("profile", column, "", _because(told), missing, "leave it out")


def free_text(project: Project) -> Mapping[tuple[str, str], Column]:
    """The columns that hold what somebody typed, by table and name."""
    return {
        (entity.table.lower() or entity.name, name): column
        for entity in project.entities.values()
        for name, column in entity.columns.items()
        if column.free_text
    }


def _forbidden(cls: str, profile: Profile, tree: ClassTree) -> str | None:
    """The letter of the class, or of the nearest class above that has one, where the profile forbids it."""
    letter = tree.safe_harbor(cls)
    if letter is None:
        return None
    named = {letter, f"{letter}-street"} if within(cls, ADDRESS) else {letter}
    return None if named.isdisjoint(profile.forbids_safe_harbor) else letter


def part2(agreement: Agreement, lowered: Relation, tree: ClassTree) -> Iterator[Refusal]:
    """Records of substance use go to those only who have agreed to what 42 CFR 2.11, 2.12(c)(4) and 2.32 ask.

    Args:
        agreement: the receiver's.
        lowered: what leaves, after masks.
        tree: the classes.
    """
    if agreement.part2:
        return
    for what, facts in (*lowered.columns.items(), (MEMBERSHIP, lowered.rows)):
        for cls in sorted({fact.cls for fact in facts if tree.needs_consent(fact.cls) == PART2}):
            missing = f"agreement {agreement.name} says nothing of 42 CFR part 2: no notice goes with the records (2.32)"
            fix = "have it cover part 2 (by consent, or as a qualified service organization) and declare it under `part2:`"
            yield Refusal("part2", what, cls, _because(fact for fact in facts if fact.cls == cls), missing, fix)


def consents(kinds: Set[str], agreement: Agreement | None) -> Set[str]:
    """The kinds of consent without the one that a qualified service organization works without: 42 CFR 2.12(c)(4)."""
    qualified = agreement is not None and agreement.part2 and agreement.part2.basis == "qsoa"
    return kinds - {PART2} if qualified else kinds


def _because(facts: Iterable[Fact]) -> tuple[str, ...]:
    return tuple(sorted({str(fact) for fact in facts}))
