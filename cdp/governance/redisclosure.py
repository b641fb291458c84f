"""The notice that goes with records of substance use disorder: 42 CFR 2.32, in each batch, in the field that the agreement names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cdp.errors import Refusal
from cdp.governance.classes import ClassTree
from cdp.governance.masks.profiles import PART2
from cdp.governance.taint import Relation
from cdp.spec.access import Agreement
from cdp.spec.activation import Destination


def notice(agreement: Agreement | None, lowered: Relation, tree: ClassTree) -> dict[str, str]:
    """The texts that must go with every batch, removals too, each by the dotted path of its field; none where nothing asks for them.

    Args:
        agreement: the receiver's; that it says nothing of part 2 is refused elsewhere.
        lowered: what leaves, after masks.
        tree: the classes.
    """
    told = (fact.cls for facts in (lowered.rows, *lowered.columns.values()) for fact in facts)
    if agreement is None or not agreement.part2 or PART2 not in map(tree.needs_consent, told):
        return {}
    terms = agreement.part2
    scope = {terms.consent_scope_field: terms.consent_scope} if terms.consent_scope_field and terms.consent_scope else {}
    return {terms.notice_field: terms.notice, **scope}


def unfit(destination: Destination, texts: Mapping[str, str]) -> Iterator[Refusal]:
    """Requests of a destination that have no room for the notice; other connectors are asked when they are opened."""
    for wrong in destination.http.without_room(tuple(texts)) if destination.http else ():
        fix = "write the body as an object, {list: NAME}, that has no field of the notice's name"
        yield Refusal("notice", f"destination {destination.name}", "", (), wrong, fix)
