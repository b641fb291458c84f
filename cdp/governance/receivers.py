"""May this receiver know this? One question for destinations, roles, reports and folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cdp.errors import Refusal
from cdp.governance.classes import PUBLIC, ClassTree
from cdp.governance.masks import lower
from cdp.governance.taint import Fact, Relation
from cdp.spec.policy import Mask

MEMBERSHIP = "being in this audience"


@dataclass(frozen=True, slots=True)
class Grant:
    """What one authority allows: a purpose, an agreement, a role.

    Attributes:
        by: who says so, as a reader knows it (`purpose care_coordination`).
        values: the classes a column may carry.
        members: the classes that being in the audience may tell.
    """

    by: str
    values: frozenset[str]
    members: frozenset[str]


@dataclass(frozen=True, slots=True)
class Receiver:
    """Whoever is told: all of its grants must cover all that it is told. Without a grant it may know nothing."""

    name: str
    grants: tuple[Grant, ...]


def decide(
    relation: Relation, receiver: Receiver, tree: ClassTree, masks: Mapping[str, Mapping[str, Mask]] | None = None
) -> tuple[Refusal, ...]:
    """Every reason why a receiver may not know what a query tells; none when it may.

    Classes that say who, not what, are left out of membership: the receiver is told who anyway, in the columns. A class
    that no query may read refuses wherever it stands, in filters too.

    Args:
        relation: what the query tells, lowered by masks and declassification.
        receiver: who is told.
        tree: the classes.
        masks: of each column the masks that may stand on it (`masks.held`); the fix names those that lower it far enough.

    Returns:
        One refusal for each rule, column, class and grant.
    """
    grants = receiver.grants or (Grant(f"any grant of {receiver.name}", frozenset(), frozenset()),)
    refusals = list(_never(relation, tree))
    for grant in grants:
        for column, facts in relation.columns.items():
            for cls, because in _lacking(facts, grant.values, tree):
                fix = _value_fix(column, facts, cls, grant, tree, (masks or {}).get(column, {}))
                refusals.append(Refusal("value", column, cls, because, f"{grant.by} does not cover it", fix))
        rows = (fact for fact in relation.rows if not tree.is_key(fact.cls))
        for cls, because in _lacking(rows, grant.members, tree):
            fix = f"leave it out of the segment, or let {grant.by} list {cls} in members{_or_declassify(cls, tree)}"
            refusals.append(Refusal("membership", MEMBERSHIP, cls, because, f"{grant.by} does not cover it", fix))
    return tuple(refusals)


def lower_rows(rows: frozenset[Fact], takes: frozenset[str], gives: str, tree: ClassTree) -> frozenset[Fact] | None:
    """Membership after a declassification, or None where the entry does not fit what the model reads.

    It fits if it takes exactly the classes that membership tells besides keys, `public` and being a patient or member
    (the tree below `membership`). So an entry ends when its model reads more, and never widens by itself. It takes no special
    class and gives neither a special class nor `public`.

    Args:
        rows: what membership depends on.
        takes: the entry's `from`.
        gives: the entry's `to`.
        tree: the classes.
    """
    told = {fact.cls for fact in rows if not (tree.is_key(fact.cls) or fact.cls == PUBLIC or _is_membership(fact.cls))}
    if not takes or takes != told or gives == PUBLIC or any(tree.is_special(cls) or tree.never(cls) for cls in (*takes, gives)):
        return None
    return frozenset(Fact(f.table, f.column, gives) if f.cls in takes else f for f in rows)


def _is_membership(cls: str) -> bool:
    return cls.partition(".")[0] == "membership"


def _never(relation: Relation, tree: ClassTree) -> Iterable[Refusal]:
    fix = "no query may read it: take it out of the model"
    for where, facts in (*relation.columns.items(), (MEMBERSHIP, relation.rows)):
        for cls in sorted({fact.cls for fact in facts if tree.never(fact.cls)}):
            yield Refusal("never", where, cls, _because(facts, cls), tree.law(cls) or "the class is declared `never`", fix)


def _lacking(facts: Iterable[Fact], granted: frozenset[str], tree: ClassTree) -> list[tuple[str, tuple[str, ...]]]:
    """The classes that a grant does not cover, each with the facts that brought it. `never` has a refusal of its own."""
    facts = tuple(facts)
    lacking = sorted({f.cls for f in facts if not tree.covers(granted, f.cls) and not tree.never(f.cls)})
    return [(cls, _because(facts, cls)) for cls in lacking]


def _because(facts: Iterable[Fact], cls: str) -> tuple[str, ...]:
    return tuple(sorted({str(fact) for fact in facts if fact.cls == cls}))


def _value_fix(column: str, facts: frozenset[Fact], cls: str, grant: Grant, tree: ClassTree, masks: Mapping[str, Mask]) -> str:
    """The smallest change: a mask whose outcome the grant covers; else leaving the column out, or a wider grant."""
    fitting = [name for name, mask in masks.items() if all(tree.covers(grant.values, fact.cls) for fact in lower(tree, name, mask, facts))]
    wider = f"leave it out, or let {grant.by} list {cls}"
    return f"mask {column} with one of: {', '.join(fitting)}; or {wider}" if fitting else wider


def _or_declassify(cls: str, tree: ClassTree) -> str:
    return "" if tree.is_special(cls) else ", or declassify the segment"
