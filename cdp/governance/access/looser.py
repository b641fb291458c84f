"""When a change of one field of the policy lets more through: a rule for each field of each model under governance/.

A field without a rule counts as one whose every change does, so that a new field cannot be forgotten the wrong way round.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cdp.governance.access import at_or_below
from cdp.governance.classes import ClassTree
from cdp.spec import access, activation, people, policy
from cdp.spec.base import Spec


@dataclass(frozen=True, slots=True)
class Trees:
    """The classes then and now: what a word reaches depends on them. `names` are those of now."""

    old: ClassTree
    new: ClassTree
    names: Collection[str]


Looser = Callable[[Any, Any, Trees], bool]  # of two values that differ: whether the second lets more through


@dataclass(frozen=True, slots=True)
class Rule:
    """When a field lets more through, and what is said then, after the name of what it is a field of; `empty` is what nothing means."""

    says: str
    looser: Looser
    empty: str = "none"


@dataclass(frozen=True, slots=True)
class Part:
    """A field that is a model, or none. `appears` and `goes` are said where that lets more through; empty where it does not."""

    appears: str = ""
    goes: str = ""


@dataclass(frozen=True, slots=True)
class Parts:
    """A field that holds models by name, or in order.

    Attributes:
        noun: what one is called before its name.
        key: the name of one of a list; None for a mapping.
        added, removed, reordered: what is said where that lets more through; empty where it does not.
    """

    noun: str
    key: Callable[[Any], str] | None = None
    added: str = ""
    removed: str = ""
    reordered: str = ""


# -- when -------------------------------------------------------------------------------------------------------------


def changes(old: Any, new: Any, _: Trees) -> bool:
    """Any change: which way it goes cannot be told."""
    return True


def never(old: Any, new: Any, _: Trees) -> bool:
    """It is said for people, and decides nothing."""
    return False


def replaced(old: Any, new: Any, _: Trees) -> bool:
    """Something else stands there, or nothing; to say something for the first time only restricts."""
    return bool(old)


def dropped(old: Any, new: Any, _: Trees) -> bool:
    """What was said is not any more."""
    return bool(old) and not new


def appears(old: Any, new: Any, _: Trees) -> bool:
    """It is said, or says something else."""
    return bool(new)


def grows(old: Any, new: Any, _: Trees) -> bool:
    """More names."""
    return bool({*new} - {*old})


def shrinks(old: Any, new: Any, _: Trees) -> bool:
    """Fewer names."""
    return bool({*old} - {*new})


def rises(old: Any, new: Any, _: Trees) -> bool:
    """A larger number, a later day; none is no bound at all."""
    return new is None or (old is not None and new > old)


def falls(old: Any, new: Any, _: Trees) -> bool:
    """A smaller number, an earlier day; none is no bound at all."""
    return new is None or (old is not None and new < old)


def becomes(value: object) -> Looser:
    """It becomes this value."""
    return lambda old, new, _: bool(new == value)


def unless(value: object) -> Looser:
    """It was not this value, the loosest."""
    return lambda old, new, _: bool(old != value)


def down(*words: object) -> Looser:
    """It goes to a word further on."""
    return lambda old, new, _: words.index(new) > words.index(old)


def reaches_more(old: Any, new: Any, trees: Trees) -> bool:
    """A grant reaches a class that it did not; one that the tree did not have then does not count."""
    return any(cls in trees.old and not trees.old.covers(old, cls) and trees.new.covers(new, cls) for cls in trees.names)


def asks_less(old: Any, new: Any, trees: Trees) -> bool:
    """A list that asks for something, each class for those below it, does not ask for one any more."""
    return any(any(at_or_below(cls, name) for name in old) > any(at_or_below(cls, name) for name in new) for cls in trees.names)


def of_all(old: Any, new: Any, _: Trees) -> bool:
    """More names, where none at all stands for every one."""
    return bool(old) and (not new or bool({*new} - {*old}))


def prefixes(old: Any, new: Any, _: Trees) -> bool:
    """A path that none of the old ones covers; no paths are all paths."""
    return bool(old) and (not new or not all(path.startswith(tuple(old)) for path in new))


def bound(old: Any, new: Any, trees: Trees) -> bool:
    """A guard's bound: more rows, a larger share, or none."""
    if old is None or new is None:
        return new is None
    return any(getattr(old, name) is not None and rises(getattr(old, name), getattr(new, name), trees) for name in ("rows", "share"))


def longer(old: Any, new: Any, _: Trees) -> bool:
    """A longer time."""
    return _hours(new) > _hours(old)


def _hours(age: people.MaxAge) -> float:
    return dt.timedelta(hours=age.hours or 0, days=age.days or 0).total_seconds()


# -- of which field ---------------------------------------------------------------------------------------------------

NEUTRAL: Final = Rule("", never)
CHANGED: Final = Rule("says something else", changes)

FIELDS: Final[Mapping[type[Spec], Mapping[str, Rule | Part | Parts]]] = {
    policy.DataClass: {
        "phi": Rule("is not protected any more", unless(False)),
        "key": Rule("counts as a key, whose equality tells nothing", becomes(True)),
        "inherit": Rule("is covered by grants on the classes above it, not only by its own name", becomes(True)),
        "never": Rule("may be read by queries", becomes(False)),
        "safe_harbor": Rule("has another letter of 45 CFR 164.514(b)(2)(i)", replaced),
        "needs_consent": Rule("needs another consent", replaced),
        "review_by": Rule("is reviewed later", rises),
        "law": NEUTRAL,
        "description": NEUTRAL,
    },
    policy.Mask: {
        "of": Rule("may be put on more", reaches_more),
        "gives": Rule("gives something else", changes),
        "kind": Rule("works in another way", changes),
        "key": Rule("has another key", changes),
        "key_version": NEUTRAL,  # everyone gets another pseudonym, as hard to undo as the one before
        "per": Rule("gives people the same pseudonym at all destinations", dropped),
        "value": Rule("gives another text", changes),
        "normalise": Rule("hashes another form", changes),
        "without_plus": Rule("hashes numbers of another country", changes),
        "over_89": Rule("tells ages over 89", dropped),
        "bands": Rule("gives other groups of ages", changes),
        "zero": Rule("tells smaller areas", shrinks),
        "as_of": NEUTRAL,
    },
    policy.Profile: {
        "forbids_safe_harbor": Rule("forbids fewer letters", shrinks),
        "needs": Rule("needs no agreement of its own any more", dropped),
    },
    policy.Purpose: {
        "basis": NEUTRAL,
        "classes": Rule("may tell more values", reaches_more),
        "members": Rule("may tell more by who is listed", reaches_more),
        "channels": Rule("may use more channels", grows),
        "consent": Rule("asks for another consent", unless("none_needed")),
        "funded_by": Rule("may be paid by more", grows),
        "holdout": Rule("may leave people out at random", becomes(True)),
        "profile": Rule("need not keep its profile", replaced),
        "when_changed": Rule("does less about rows told under another decision", down("remove", "resend", "keep")),
        "accounting": Rule("is exempt from the accounting of disclosures", appears),
    },
    policy.DeclassifyEntry: {
        "name": NEUTRAL,
        "of": Rule("is about another model", changes),
        "from_": Rule("lowers other classes", changes),
        "to": Rule("lowers to another class", changes),
        "model_sha256": Rule("approves another version of its model", changes),
        "reason": NEUTRAL,
        "owner": NEUTRAL,
        "approved": Rule("holds earlier", falls),
        "expires": Rule("holds longer", rises),
    },
    policy.ValueSetReview: {
        "cls": Rule("says that the codes give away another class", changes),
        "reviewed": Part(),
    },
    policy.Reviewed: {
        "by": NEUTRAL,
        "on": NEUTRAL,
        "sha256": Rule("is a review of other codes", replaced),
    },
    policy.RowRule: {
        "cls": NEUTRAL,  # class and condition are its name: a rule with another one is another rule
        "where": NEUTRAL,
        "entities": Rule("withholds rows of fewer entities", shrinks),
        "unknown": Rule("lets rows through that it does not know", becomes("ordinary")),
    },
    people.Consent: {
        "entity": Rule("stands in another table", changes),
        "columns": Part(),
        "granted": Rule("takes more words for yes", grows),
        "evaluate_at": Rule("is asked at another moment", changes),
        "max_age": Rule("may be older", longer),
        "semantics": Parts("consent"),
        "channels": Parts("channel", removed="asks for no consent any more"),
        "unknown_overrides": Parts("silence about", lambda each: f"{each.purpose} over {each.channel}", added="means yes"),
    },
    people.ConsentColumns: dict.fromkeys(
        ("person", "purpose", "channel", "receiver", "status", "effective", "expires", "recorded", "states"),
        Rule("is read from another column", replaced),
    ),
    people.Semantics: {
        "need": Rule("is there without a yes", becomes("not_refused")),
        "unknown": Rule("is there when nothing is on record", becomes("allow")),
        "per": Rule("is asked for less by itself", shrinks),
        "valid": NEUTRAL,
    },
    people.ChannelConsent: {"consent": Rule("asks for another consent", changes), "basis": NEUTRAL},
    people.UnknownOverride: dict.fromkeys(("purpose", "channel", "unknown", "by", "on", "reason"), NEUTRAL),  # to have one is looser
    people.Eligibility: {
        "entity": NEUTRAL,  # its name: another entity has rules of its own
        "rules": Parts("eligibility rule", lambda rule: str(rule.name), removed="is gone", reordered="are asked in another order"),
        "visible_to": Rule("may be listed by more roles", grows),
    },
    people.EligibilityRule: {
        "name": NEUTRAL,
        "when": Rule("keeps others out", changes),
        "unless_purpose": Rule("does not hold for more purposes", grows),
        "unless": Rule("has another exception", appears),
        "unknown": Rule("lets people through of whom it is not known", dropped),
        "replace_contact": Rule("writes elsewhere", changes),
        "basis": NEUTRAL,
    },
    access.Agreement: {
        "name": NEUTRAL,
        "counterparty": Rule("is with somebody else", changes),
        "type": Rule("is of another type", changes),
        "signed": NEUTRAL,  # `effective` and `expires` decide
        "effective": Rule("holds earlier", falls),
        "expires": Rule("holds longer", rises),
        "hosts": Rule("covers more hosts", grows),
        "folders": Rule("covers more folders", grows),
        "paths": Rule("covers more paths", prefixes, "all"),
        "account": Rule("is of another account", replaced),
        "channels": Rule("covers more channels", of_all, "all"),
        "purposes": Rule("covers more purposes", grows),
        "classes": Rule("covers more values", reaches_more),
        "members": Rule("covers more of who is listed", reaches_more),
        "labels": Rule("lets names of audiences leave", becomes("named")),
        "part2": Part("covers substance use disorder records"),
        "subprocessors": Parts("subprocessor", lambda each: str(each.name), added="gets data too"),
        "after_end": Part("allows removals after its end"),
        "document": Rule("is not on file any more", dropped),
        "document_sha256": Rule("stands for another document", replaced),
    },
    access.Part2: {
        "basis": Rule("covers substance use disorder records on another basis", changes),
        "notice_field": Rule("has the notice of 42 CFR 2.32 elsewhere", changes),
        "notice": Rule("has another notice of 42 CFR 2.32", changes),
        "consent_scope_field": Rule("has what the consent covers elsewhere", replaced),
        "consent_scope": Rule("says something else of what the consent covers", replaced),
    },
    access.Subprocessor: {"name": NEUTRAL, "flow_down": Rule("is not bound to the same restrictions", becomes(False))},
    access.AfterEnd: {
        "removes": Rule("removes others after its end", changes),
        "days": Rule("allows removals for longer after its end", rises),
    },
    access.Role: {
        "use": Rule("may look at members of more segments", reaches_more),
        "see": Rule("sees more values", reaches_more),
        "small_cells": Rule("sees smaller numbers", falls),
        "exact_counts": Rule("sees exact numbers", becomes(True)),
        "rows": Part(goes="reads all rows"),
        "may": Rule("may do more", of_all, "everything"),
        "purposes": Rule("may do it for more purposes", of_all, "all"),
    },
    access.RoleRows: {"where": Rule("reads other rows", changes)},
    access.Person: {
        "id": NEUTRAL,
        "email": NEUTRAL,
        "roles": Rule("has more roles", grows),
        "facilities": Rule("reads rows of more facilities", grows),
        "public_key": Rule("approves with another key", appears),
    },
    access.Approval: {
        "required": Part(),
        "four_eyes": Rule("may be given by who planned", becomes(False)),
        "expires": Part(),
        "signature": Rule("need not be signed", dropped),
    },
    access.ApprovalRequired: {
        "purposes": Rule("is not asked for by some purposes", shrinks),
        "classes": Rule("is not asked for by some classes", asks_less),
        "channels": Rule("is not asked for by some channels", shrinks),
        "syncs": Rule("is not asked for by some syncs", shrinks),
    },
    access.ApprovalLife: {"hours": Rule("holds longer", rises)},
    activation.Guards: {
        **{name: Rule("lets a run change more", bound) for name in ("max_add", "max_change", "max_remove")},
        "max_invalid": Rule("lets a run go on with more invalid rows", bound),
        "unusual_size": Rule("lets a run go on with a segment of another size", bound),
        "max_failed": Rule("lets a run go on when more rows are rejected", bound),
        "empty": Rule("lets an empty segment empty the destination", becomes("allow")),
    },
}
