"""The tree of classes: what a grant on one class covers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cdp.spec.policy import DataClass

PUBLIC = "public"  # says nothing of a person: covered by every grant, and by none
ANY = "*"  # in a grant: every class but the special ones, which are reached by their own name only


class UnknownClass(KeyError):
    """A class that the tree does not hold. The loader checks every reference, so this is a mistake in our code."""


class ClassTree:
    """The classes of governance/classes.yml, with what each takes over from the classes above it.

    Args:
        classes: every declared class by its dotted name; `contact.email` stands below `contact`.
    """

    def __init__(self, classes: Mapping[str, DataClass]) -> None:
        self._lines = {name: _line(name, classes) for name in classes}
        self._keys = frozenset(n for n, line in self._lines.items() if any(c.key for c in line.values()))
        self._special = frozenset(n for n, line in self._lines.items() if not all(c.inherit for c in line.values()))
        self._never = frozenset(n for n, line in self._lines.items() if any(c.never for c in line.values()))
        self._reached_by = {name: self._grants(name) for name in classes}

    def _grants(self, cls: str) -> frozenset[str]:
        """The words that cover a class when a grant holds one of them."""
        if cls in self._never:
            return frozenset()
        return frozenset({cls}) if cls in self._special else frozenset({*self._lines[cls], ANY})

    def __contains__(self, cls: object) -> bool:
        return cls in self._lines

    def covers(self, granted: Iterable[str], cls: str) -> bool:
        """Does a grant of these classes reach `cls`?

        A class covers those below it. A special class is covered by its own exact name only, a `never` class and an
        unknown one by nothing, `public` by everything.
        """
        return cls == PUBLIC or not self._reached_by.get(cls, frozenset()).isdisjoint(granted)

    def is_key(self, cls: str) -> bool:
        """Does it say who, not what? Equality of two keys tells nothing but that both tables know the person."""
        return cls in self._keys or self._missing(cls)

    def is_special(self, cls: str) -> bool:
        """Is it at or below a class with `inherit: false`?"""
        return cls in self._special or self._missing(cls)

    def never(self, cls: str) -> bool:
        """Is it at or below a class that no query may read?"""
        return cls in self._never or self._missing(cls)

    def law(self, cls: str) -> str | None:
        """The law it stands on: its own, or that of the nearest class above."""
        return next((c.law for c in self._line(cls).values() if c.law), None)

    def needs_consent(self, cls: str) -> str | None:
        """The kind of consent it needs besides that of the purpose: its own, or that of the nearest class above."""
        return next((c.needs_consent for c in self._line(cls).values() if c.needs_consent), None)

    def safe_harbor(self, cls: str) -> str | None:
        """The letter of 45 CFR 164.514(b)(2)(i) that it falls under: its own, or that of the nearest class above."""
        return next((c.safe_harbor for c in self._line(cls).values() if c.safe_harbor), None)

    def line(self, cls: str) -> tuple[str, ...]:
        """The class and the declared classes above it, nearest first.

        Raises:
            UnknownClass: the tree does not hold it; `law`, `needs_consent`, `is_key`, `is_special`, `never` raise it too.
        """
        return tuple(self._line(cls))

    def _line(self, cls: str) -> Mapping[str, DataClass]:
        if cls not in self._lines:
            self._missing(cls)
        return self._lines[cls]

    def _missing(self, cls: str) -> bool:
        if cls not in self._lines and cls != PUBLIC:
            raise UnknownClass(cls)
        return False


def _line(name: str, classes: Mapping[str, DataClass]) -> dict[str, DataClass]:
    parts = name.split(".")
    above = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return {cls: classes[cls] for cls in above if cls in classes}
