"""What a project means once every name is resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cdp.project.terms import Condition, ConsentMissing, Derived, InSegment, Operand, Output, SqlModel

Template = tuple[str, tuple[tuple[str, str], ...]]  # a segment with parameters, and the values that they are given


@dataclass(frozen=True, slots=True)
class Bound:
    """Typed terms by name; `rules` are by (entity, rule), `outputs` by (sync, field), `sql` by (kind, name).

    `templates` are the segments with parameters, once for each way in which a condition fills them in. `one_per` and `prefer`
    are by sync; of `prefer` True means the highest first.
    """

    entities: Mapping[str, Condition | None]
    segments: Mapping[str, Condition]
    traits: Mapping[str, Operand]
    rules: Mapping[tuple[str, str], Condition | ConsentMissing]
    outputs: Mapping[tuple[str, str], Output]
    templates: Mapping[Template, Condition] = field(default_factory=dict)
    derived: Mapping[str, Derived] = field(default_factory=dict)
    sql: Mapping[tuple[str, str], SqlModel] = field(default_factory=dict)
    one_per: Mapping[str, Operand] = field(default_factory=dict)
    prefer: Mapping[str, tuple[tuple[Operand, bool], ...]] = field(default_factory=dict)

    def segment(self, term: InSegment) -> Condition:
        """What membership of a segment means."""
        return self.templates[term.name, term.given] if term.given else self.segments[term.name]


NOTHING = Bound({}, {}, {}, {}, {})
