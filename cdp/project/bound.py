"""What a project means once every name is resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cdp.project.terms import Condition, ConsentMissing, Measure, Output


@dataclass(frozen=True, slots=True)
class Bound:
    """Typed terms by name; `rules` are by (entity, rule), `outputs` by (sync, field)."""

    entities: Mapping[str, Condition | None]
    segments: Mapping[str, Condition]
    traits: Mapping[str, Measure]
    rules: Mapping[tuple[str, str], Condition | ConsentMissing]
    outputs: Mapping[tuple[str, str], Output]


NOTHING = Bound({}, {}, {}, {}, {})
