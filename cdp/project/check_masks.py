"""Masks and profiles: mechanisms, what each of them needs, references. What they lower is the business of `cdp.governance`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Final

from cdp.project.index import Index
from cdp.project.project import Project
from cdp.project.source import Document, short
from cdp.spec.policy import CONSTANTS, MECHANISMS, DataClass, Mask, Profile, mechanism

# The keys that say how one mechanism works; on another they would say something that nobody does.
OPTIONS: Final = {
    "key": "hmac_sha256",
    "key_version": "hmac_sha256",
    "per": "hmac_sha256",
    "value": "constant",
    "normalise": "sha256",
    "without_plus": "sha256",
    "over_89": "year",
    "bands": "age_band",
    "zero": "zip3",
    "as_of": "zip3",
}
NEEDED: Final = {
    "hmac_sha256": ("key", "{env: NAME_OF_A_VARIABLE}"),
    "constant": ("value", "some text"),
    "age_band": ("bands", "[0, 18, 65, 90]"),
}
OLDEST: Final = 90  # everybody from this age on is one group: 45 CFR 164.514(b)(2)(i)(C)
LETTERS: Final = frozenset("ABCDEFGHIJKLMNOPQR") | {"B-street"}  # of 164.514(b)(2)(i); B without the ZIP code: (e)(2)(ii)


def check(project: Project, index: Index) -> None:
    """Report what is wrong with them."""
    for name, mask in project.policy.masks.items():
        _mask(name, mask, project.policy.classes, index)
    for name, profile in project.policy.profiles.items():
        _profile(name, profile, index)


def _mask(name: str, mask: Mask, classes: Mapping[str, DataClass], index: Index) -> None:
    document, path = index.sources["masks", "masks"], ("masks", name)
    index.named(document, path, name, "mask", key=True)
    _references(mask, document, path, index)
    how = mechanism(name, mask)
    if how not in MECHANISMS:
        hint = "name one with `kind:`"
        index.problems.add(document, path, f"no mask works like {short(how)}", value=how, valid=MECHANISMS, hint=hint, key=True)
        return
    for message, key, hint in (*_options(mask, how), *_bands(mask, how), *_given(mask, how, classes)):
        index.problems.add(document, (*path, key), message, hint=hint, key=True)


def _references(mask: Mask, document: Document, path: tuple[str, str], index: Index) -> None:
    classes, grants = index.inside("classes", "classes"), index.grants()
    index.refer_all(document, (*path, "of"), mask.of, grants and grants | {"*"}, "class")
    if isinstance(mask.gives, str):
        index.refer(document, (*path, "gives"), mask.gives, classes and classes | {"same"}, "class")
        return
    for was, becomes in mask.gives.items():
        index.refer(document, (*path, "gives", was), was, grants, "class", key=True)
        index.refer(document, (*path, "gives", was), becomes, classes and classes | {"same"}, "class")


Found = Iterator[tuple[str, str, str]]  # what is wrong, at which key, the fix


def _options(mask: Mask, how: str) -> Found:
    for key in mask.model_fields_set & OPTIONS.keys():
        if OPTIONS[key] != how:
            yield f"`{key}` is for a mask that works like {OPTIONS[key]}; this one works like {how}", key, "take it out"
    if how in NEEDED:
        key, example = NEEDED[how]
        if not getattr(mask, key):
            yield f"a mask that works like {how} needs `{key}`", key, f"{key}: {example}"


def _bands(mask: Mask, how: str) -> Found:
    if how != "age_band" or not mask.bands:
        return
    if mask.bands[0] < 0 or any(low >= high for low, high in pairwise(mask.bands)):
        yield "must be ages that grow", "bands", "such as [0, 18, 65, 90]"
    if mask.bands[-1] > OLDEST:
        yield f"ages over 89 are one group, so the last one begins at {OLDEST} at most", "bands", "45 CFR 164.514(b)(2)(i)(C)"


def _given(mask: Mask, how: str, classes: Mapping[str, DataClass]) -> Found:
    """Only what is the same in every row says nothing of anybody any more."""
    given = [mask.gives] if isinstance(mask.gives, str) else mask.gives.values()
    for cls in given:
        if cls in classes and classes[cls].phi is False and how not in CONSTANTS:
            constants = ", ".join(sorted(CONSTANTS))
            yield (
                f"what {how} makes of a value still says something of a person, and {cls} says nothing",
                "gives",
                f"only {constants} do that",
            )


def _profile(name: str, profile: Profile, index: Index) -> None:
    document, path = index.sources["masks", "masks"], ("profiles", name)
    index.named(document, path, name, "profile", key=True)
    for number, letter in enumerate(profile.forbids_safe_harbor):
        if letter not in LETTERS:
            hint = "a letter of 45 CFR 164.514(b)(2)(i), A to R, or B-street"
            index.problems.add(document, (*path, "forbids_safe_harbor", number), f"{short(letter)} is none", hint=hint)
