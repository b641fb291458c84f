"""The examples of docs/segments.md as a project: its models, and a segment for each condition that the page shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "segments.md"
MODELS = ROOT / "docs" / "models.yml"

CONF = """\
kind: project
name: reference
timezone: America/New_York
environments: {dev: {engine: sail, lakehouse: lake}}
periods: {measurement_year: {year_of: as_of}}
code_systems:
  SNOMED: [http://snomed.info/sct]
  LOINC: [http://loinc.org]
  CVX: [http://hl7.org/fhir/sid/cvx]
  RXNORM: [http://www.nlm.nih.gov/research/umls/rxnorm]
units:
  mmHg: {same_as: ["mm[Hg]"]}
  mmol/L: {of: glucose, times: 18.016, to: mg/dL}
"""

POLICY = """\
kind: classes
classes:
  identifier: {key: true}
  identifier.mrn: {}
  identifier.account: {}
  identifier.provider: {}
  identifier.record: {}
  contact: {}
  contact.email: {}
  contact.phone: {}
  contact.address: {}
  demographic: {}
  demographic.birth_date: {}
  demographic.sex: {}
  demographic.language: {}
  membership: {}
  membership.patient: {}
  clinical: {}
  clinical.date: {}
  clinical.encounter: {}
  clinical.condition: {}
  clinical.observation: {}
  clinical.procedure: {}
  clinical.medication: {}
  clinical.immunization: {}
  financial: {}
  financial.coverage: {}
  operations: {}
  operations.scheduling: {}
  operations.contact: {}
  operations.tag: {}
  public: {phi: false}
---
kind: purposes
purposes:
  treatment: {basis: law, classes: [clinical], members: [clinical], channels: [file], consent: none_needed}
  care_coordination: {basis: law, classes: [clinical], members: [clinical], channels: [file], consent: none_needed}
  operations: {basis: law, classes: [clinical], members: [clinical], channels: [file], consent: none_needed}
"""

DESTINATION = """\
kind: destination
name: letters
connector: file
channel: file
file: {folder: out}
"""


@dataclass(frozen=True)
class Example:
    """A piece of YAML of the page, and the line that it begins at."""

    line: int
    yaml: str

    @property
    def name(self) -> str:
        return f"line_{self.line}"

    @property
    def is_document(self) -> bool:
        return bool(re.match(r"(#.*\n)*kind:", self.yaml))

    def documents(self) -> str:
        """Whole documents as they stand; a condition as a segment of patients."""
        if self.is_document:
            return self.yaml
        head = f"kind: segment\nname: {self.name}\nentity: patient\nowner: a@example.org\npurpose: treatment\nwhere:\n"
        return head + indent(self.yaml, "  ")


def examples() -> Iterator[Example]:
    """Every YAML block of the page, and every example in a table."""
    text = PAGE.read_text().partition("<!-- examples -->")[0]
    for block in re.finditer(r"^```yaml\n(.*?)^```", text, re.S | re.M):
        yield Example(text.count("\n", 0, block.start()) + 2, block[1])
    heads: list[str] = []
    number = 0
    for line, row in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        if not cells:
            heads = []
        elif not heads:
            heads = cells
        for head, cell in zip(heads, cells, strict=False) if cells is not heads else ():
            for code in re.findall(r"`([^`]+)`", cell) if head.startswith("example") else ():
                number += 1
                inside = f"{{has: encounters, as: stay, where: {{has: patient.encounters, {code}}}}}"
                yield Example(line * 100 + number, (inside if "inside" in head else code) + "\n")


def write_project(root: Path) -> Path:
    """The page as a project."""
    models = "\n---\n".join([MODELS.read_text(), *(example.documents() for example in examples())])
    files = {"conf/cdp.yml": CONF, "models/all.yml": models, "governance/all.yml": POLICY, "destinations/letters.yml": DESTINATION}
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root
