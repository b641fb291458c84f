"""What a project means once every name is resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cdp.project.terms import Condition, InSegment, Operand, Output
from cdp.project.terms.models import Derived, SqlModel
from cdp.project.terms.people import Rule

Template = tuple[str, tuple[tuple[str, str], ...]]  # a segment with parameters, and the values that they are given

Filled = tuple[str, str, tuple[tuple[str, str], ...]]  # an entity, a rule, and what its words stand for


@dataclass(frozen=True, slots=True)
class Bound:
    """Typed terms by name; `rules` are by (entity, rule), `outputs` by (sync, field), `sql` by (kind, name).

    `templates` are the segments with parameters, once for each way in which a condition fills them in. `one_per` and `prefer`
    are by sync; of `prefer` True means the highest first. `rules` are as they are written, `filled` as syncs ask them.
    `special` are the rules of governance/rows.yml, by number and entity.
    """

    entities: Mapping[str, Condition | None]
    segments: Mapping[str, Condition]
    traits: Mapping[str, Operand]
    rules: Mapping[tuple[str, str], Rule]
    outputs: Mapping[tuple[str, str], Output]
    templates: Mapping[Template, Condition] = field(default_factory=dict)
    derived: Mapping[str, Derived] = field(default_factory=dict)
    sql: Mapping[tuple[str, str], SqlModel] = field(default_factory=dict)
    one_per: Mapping[str, Operand] = field(default_factory=dict)
    prefer: Mapping[str, tuple[tuple[Operand, bool], ...]] = field(default_factory=dict)
    filled: Mapping[Filled, Rule] = field(default_factory=dict)
    special: Mapping[tuple[int, str], Condition] = field(default_factory=dict)

    def segment(self, term: InSegment) -> Condition:
        """What membership of a segment means."""
        return self.templates[term.name, term.given] if term.given else self.segments[term.name]

    def rule(self, entity: str, name: str, words: Mapping[str, str]) -> Rule:
        """A rule as a sync with these words (`cdp.project.language.rules.words_of`) asks it."""
        written = self.rules[entity, name]
        return self.filled[entity, name, tuple((word, words[word]) for word in written.words)] if written.words else written


NOTHING = Bound({}, {}, {}, {}, {})
