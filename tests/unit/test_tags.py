"""Whether a catalog says more of a column than the project declares (attack 26)."""

from __future__ import annotations

import pytest

from cdp.governance.classes import ClassTree
from cdp.governance.tags import Classes, inherited, tags_above
from cdp.spec.policy import DataClass

TREE = ClassTree(
    {
        "clinical": DataClass(),
        "clinical.condition": DataClass(),
        "contact": DataClass(),
        "contact.email": DataClass(),
        "identifier": DataClass(key=True),
        "identifier.mrn": DataClass(),
        "identifier.pseudonym": DataClass(),
        "sensitive": DataClass(inherit=False),
        "sensitive.sud": DataClass(),
        "sensitive.hiv": DataClass(),
        "sensitive.notes": DataClass(never=True),
        "public": DataClass(),
    }
)
COLUMN = ("clinical.conditions", "code")


def above(declared: set[str], tagged: set[str]) -> list[str]:
    return [each.cls for each in tags_above({COLUMN: frozenset(declared)}, {COLUMN: frozenset(tagged)}, TREE)]


@pytest.mark.parametrize(
    ("declared", "tagged", "found"),
    [
        ({"clinical.condition"}, {"clinical.condition"}, []),
        ({"clinical"}, {"clinical.condition"}, []),  # who is granted clinical is granted all below it
        ({"clinical.condition"}, {"clinical"}, ["clinical"]),  # the whole family is more than one of it
        ({"clinical.condition"}, {"contact.email"}, ["contact.email"]),
        ({"clinical.condition"}, {"sensitive.sud"}, ["sensitive.sud"]),
        ({"clinical"}, {"sensitive.sud"}, ["sensitive.sud"]),
        ({"clinical.condition", "sensitive.sud"}, {"sensitive.sud"}, []),  # declared with may_hold
        ({"sensitive.sud"}, {"sensitive.hiv"}, ["sensitive.hiv"]),
        ({"sensitive"}, {"sensitive.sud"}, ["sensitive.sud"]),  # a special class is reached by its own name only
        ({"identifier.pseudonym"}, {"identifier.mrn"}, ["identifier.mrn"]),
        ({"public"}, {"clinical.condition"}, ["clinical.condition"]),
        ({"clinical.condition"}, {"public"}, []),
        ({"sensitive.notes"}, {"sensitive.notes"}, []),
        ({"clinical.condition"}, {"sensitive.notes"}, ["sensitive.notes"]),
        ({"clinical.condition"}, {"clinical.new"}, ["clinical.new"]),
    ],
)
def test_a_class_is_above_if_somebody_could_be_granted_all_but_it(declared, tagged, found) -> None:
    assert above(declared, tagged) == found


def test_a_class_that_nobody_knows_is_said_to_be_unknown() -> None:
    [refusal] = tags_above({COLUMN: frozenset({"clinical"})}, {COLUMN: frozenset({"clinical.new"})}, TREE)
    assert "does not know the class" in refusal.missing
    assert str(refusal).startswith("[tag] clinical.conditions.code says clinical.new")


def test_columns_that_are_not_declared_are_no_concern() -> None:
    assert tags_above({}, {COLUMN: frozenset({"sensitive.sud"})}, TREE) == ()


def test_a_view_of_a_view_inherits_and_a_circle_ends() -> None:
    base, view, top = ("a.base", "x"), ("a.view", "x"), ("a.top", "y")
    tags: Classes = {base: frozenset({"sensitive.sud"}), view: frozenset({"clinical.condition"})}
    found = inherited(tags, [(base, view), (view, top), (top, view), (top, top)])
    assert found[top] == found[view] == {"sensitive.sud", "clinical.condition"}
    assert found[base] == {"sensitive.sud"}
    declared = {view: frozenset({"clinical.condition"}), top: frozenset({"clinical.condition", "sensitive.sud"})}
    assert [(each.what, each.cls) for each in tags_above(declared, found, TREE)] == [("a.view.x", "sensitive.sud")]
