"""A clinic with every kind of entity, for tests of the segment language: laid over the small project of `tests.projects`."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent

from cdp.project.language.bind import bind
from cdp.project.load import Project, load
from cdp.project.problems import Problems
from cdp.project.source import read
from cdp.spec.model import Segment
from tests.projects import CONF, FILES, PATIENT, minimal

_CONF = (
    CONF.replace("  LOINC: [", "  RXNORM: []\n  ICD10CM: [I10]\n  LOINC: [")
    + """\
periods:
  measurement_year: {year_of: as_of}
units:
  mmHg: {same_as: ["mm[Hg]"]}
  mmol/L: {of: glucose, times: 18.016, to: mg/dL}
  kg: {}
  g: {times: 0.001, to: kg}
"""
)

_PATIENT = (
    PATIENT.replace(
        "relations:\n",
        """\
  sex: {type: string, class: demographic.state}
  doses: {type: integer, class: clinical.condition}
  smoker: {type: boolean, class: clinical.condition}
  height: {type: decimal, unit: kg, class: clinical.condition}
  languages: {type: string, array: true, class: demographic.state}
  allergies: {type: code, array: true, system: SNOMED, class: clinical.condition}
  address: {fields: {city: string, moved: date, geo.lat: decimal}, class: demographic.state}
  household_id: {type: string, class: identifier.mrn}
  pcp_id: {type: string, class: identifier.mrn}
relations:
""",
    )
    + """\
  conditions: {many: condition, via: patient_id}
  observations: {many: observation, via: patient_id}
  encounters: {many: encounter, via: patient_id}
  fills: {many: fill, via: patient_id}
  visits: {many: visit, via: patient_id}
  readings: {many: reading, via: patient_id}
  stays: {many: stay_day, via: patient_id}
  pcp: {one: clinician, via: pcp_id}
"""
)

_CLINIC = """\
kind: entity
name: condition
table: clinical.conditions
key: condition_id
time: {start: onset, end: abated}
where: {status: {not_in: [entered-in-error]}}
rows: clinical.condition
columns:
  condition_id: {type: string, class: identifier.internal}
  patient_id: {type: string, class: identifier.mrn}
  code: {type: code, system: code_system, class: clinical.condition}
  code_system: {type: string, class: public}
  icd: {type: code, system: ICD10CM, strip: ".", class: clinical.condition}
  bare: {type: code, class: clinical.condition}
  onset: {type: date, class: clinical.date}
  abated: {type: date, class: clinical.date}
  status: {type: string, class: public}
relations:
  patient: {one: patient, via: patient_id}
---
kind: entity
name: observation
table: clinical.observations
key: observation_id
time: date
rows: clinical.condition
columns:
  observation_id: {type: string, class: identifier.internal}
  patient_id: {type: string, class: identifier.mrn}
  code: {type: code, system: code_system, class: clinical.condition}
  code_system: {type: string, class: public}
  date: {type: timestamp, class: clinical.date}
  value: {type: decimal, unit: unit, class: clinical.condition}
  unit: {type: string, class: public}
  status: {type: string, class: public}
relations:
  patient: {one: patient, via: patient_id}
---
kind: entity
name: encounter
table: clinical.encounters
key: encounter_id
time: start
rows: clinical.condition
columns:
  encounter_id: {type: string, class: identifier.internal}
  patient_id: {type: string, class: identifier.mrn}
  start: {type: timestamp, class: clinical.date}
  end: {type: timestamp, class: clinical.date}
  class: {type: string, class: public}
  cost: {type: decimal, class: public}
relations:
  patient: {one: patient, via: patient_id}
---
kind: entity
name: fill
table: pharmacy.fills
key: fill_id
time: filled_on
rows: clinical.condition
columns:
  fill_id: {type: string, class: identifier.internal}
  patient_id: {type: string, class: identifier.mrn}
  drug_id: {type: string, class: public}
  filled_on: {type: date, class: clinical.date}
  days_supply: {type: integer, class: public}
relations:
  patient: {one: patient, via: patient_id}
  drug: {one: drug, via: drug_id}
---
kind: entity
name: drug
table: pharmacy.drugs
key: drug_id
rows: public
columns:
  drug_id: {type: string, class: public}
  code: {type: code, system: RXNORM, class: public}
  ingredient: {type: string, class: public}
  group_id: {type: string, class: public}
  on_formulary: {type: boolean, class: public}
  unit_cost: {type: decimal, class: public}
relations:
  equivalents: {many: drug, via: {group_id: group_id}}
---
kind: entity
name: visit
table: clinical.visits
key: visit_id
time: start
future: visible
rows: clinical.condition
columns:
  visit_id: {type: string, class: identifier.internal}
  patient_id: {type: string, class: identifier.mrn}
  start: {type: timestamp, class: clinical.date}
  status: {type: string, class: public}
  kind: {type: string, class: public}
relations:
  patient: {one: patient, via: patient_id}
---
kind: entity
name: reading
from: observation
where: {status: final}
group_by: {patient_id: patient_id, day: date.day}
time: day
columns:
  low: {min: value, where: {code: {in: glucose}}, unit: mg/dL, class: clinical.condition}
  many: {count: true, class: clinical.condition}
---
kind: entity
name: stay_day
from: encounter
group_by: {patient_id: patient_id}
columns:
  cost: {sum: cost, class: public}
---
kind: entity
name: clinician
table: plan.clinicians
key: clinician_id
rows: public
columns:
  clinician_id: {type: string, class: identifier.mrn}
  active: {type: boolean, class: public}
  specialty: {type: string, class: public}
---
kind: value_set
name: diabetes
system: SNOMED
codes: [44054006]
---
kind: value_set
name: diabetes_icd
system: ICD10CM
codes: [E11.9]
---
kind: value_set
name: any_diabetes
include: [diabetes, diabetes_icd]
---
kind: value_set
name: glucose
system: LOINC
codes: [2339-0]
---
kind: value_set
name: statins
system: RXNORM
codes: [312961]
---
kind: trait
name: latest_glucose
entity: patient
latest: observations
where: {code: {in: glucose}}
by: day
ties: {value: lowest}
---
kind: trait
name: visit_count
entity: patient
count: visits
---
kind: trait
name: statin_cover
entity: patient
days_covered: fills
where: {drug.code: {in: statins}}
within: {years: 1}
supply: days_supply
same: drug.ingredient
---
kind: trait
name: diagnoses
entity: patient
list: conditions
of: code
---
kind: trait
name: band
entity: patient
case:
  - {when: {age: {lt: 18}}, then: child}
  - {else: adult}
---
kind: trait
name: called
entity: patient
type: string
expr: concat(given_name, ' of ', state)
---
kind: trait
name: since_last
entity: patient
latest: fills
of: days_between(filled_on, as_of)
---
kind: segment
name: fewer_than
entity: patient
params: {codes: value_set, times: integer, days: integer, word: string}
owner: care@example.org
purpose: care_coordination
where:
  - {count: conditions, where: {code: {in: $codes}}, spaced: {days: $days}, is: {lt: $times}}
  - sex: $word
---
kind: segment
name: diabetic
entity: patient
owner: care@example.org
purpose: care_coordination
where: {has: conditions, where: {code: {in: any_diabetes}}}
"""

WORLD = {**FILES, "conf/cdp.yml": _CONF, "models/patient.yml": _PATIENT, "models/clinic.yml": _CLINIC}


def clinic(tmp_path: Path, **overlays: str | bytes | None) -> Path:
    """Write the clinic and return its root; `overlays` as of `tests.projects.minimal`."""
    return minimal(tmp_path, **{**WORLD, **overlays})


def segment(where: str, name: str = "asked") -> str:
    """The document of a segment of patients with this condition, which stands in line 6 of it."""
    about = f"kind: segment\nname: {name}\nentity: patient\nowner: care@example.org\npurpose: care_coordination\n"
    if "\n" not in where.strip():
        return f"{about}where: {where.strip()}\n"
    return about + "where:\n" + "".join(f"  {line}\n" for line in dedent(where).strip().splitlines())


@cache
def _base() -> Project:
    with TemporaryDirectory() as folder:
        return load(clinic(Path(folder)))


def asked(where: str) -> Project:
    """The clinic with one more segment of patients, `asked`; only that is read anew, so that a thousand tests are fast.

    Raises:
        ProjectError: as loading the project would.
    """
    problems = Problems()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "models" / "asked.yml"
        path.parent.mkdir()
        path.write_text(segment(where))
        (document,) = read(path, Path(folder), problems)
    new = Segment.model_validate(document.tree)
    base = _base()
    project = replace(base, segments={**base.segments, "asked": new}, sources={**base.sources, ("segment", "asked"): document})
    bound = bind(project, problems)
    problems.raise_if_any()
    return replace(project, bound=bound, warnings=problems.warnings)
