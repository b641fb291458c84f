"""The project of the LanguageSuite: a clinic in New York with every kind of table that the language speaks of."""

from __future__ import annotations

MODELS = """
kind: entity
name: patient
table: lang.patients
key: patient_id
rows: membership.patient
columns:
  patient_id: {type: string, class: identifier.mrn}
  birth_date: {type: date, class: demographic.birth_date, role: birth_date}
  sex: {type: string, class: demographic.sex}
  doses: {type: integer, class: clinical.condition}
  weight: {type: decimal, class: clinical.condition}
  smoker: {type: boolean, class: clinical.condition}
  pcp_id: {type: string, class: identifier.mrn}
  household_id: {type: string, class: identifier.mrn}
  languages: {type: string, array: true, class: demographic}
  address: {fields: {city: string, zip: string}, class: demographic}
relations:
  conditions: {many: condition, via: patient_id}
  observations: {many: observation, via: patient_id}
  visits: {many: visit, via: patient_id}
  calls: {many: visit, via: patient_id}
  stays: {many: stay, via: patient_id}
  contacts: {many: contact, via: patient_id}
  fills: {many: fill, via: patient_id}
  bp_days: {many: bp_day, via: patient_id}
  household: {many: patient, via: {household_id: household_id}}
  pcp: {one: clinician, via: pcp_id}
  pcp_group: {one: practice, via: pcp_id}
---
kind: entity
name: clinician
table: lang.clinicians
key: clinician_id
rows: public
columns:
  clinician_id: {type: string, class: identifier.mrn}
  active: {type: boolean, class: public}
  group_id: {type: string, class: public}
relations:
  group: {one: practice, via: {group_id: group_id}}
  patients: {many: patient, via: {pcp_id: clinician_id}}
---
kind: entity
name: practice
table: lang.practices
key: group_id
rows: public
columns:
  group_id: {type: string, class: public}
  city: {type: string, class: public}
---
kind: entity
name: condition
table: lang.conditions
key: condition_id
time: {start: onset, end: abated}
where: {status: {not_in: [entered-in-error]}}
rows: clinical.condition
columns:
  condition_id: {type: string, class: identifier.mrn}
  patient_id: {type: string, class: identifier.mrn}
  code: {type: code, system: code_system, strip: ".", class: clinical.condition}
  code_system: {type: string, class: public}
  onset: {type: timestamp, class: clinical.date}
  abated: {type: timestamp, class: clinical.date}
  status: {type: string, class: clinical.condition}
relations:
  patient: {one: patient, via: patient_id}
---
kind: entity
name: observation
table: lang.observations
key: observation_id
time: date
rows: clinical.observation
columns:
  observation_id: {type: string, class: identifier.mrn}
  patient_id: {type: string, class: identifier.mrn}
  visit_id: {type: string, class: identifier.mrn}
  code: {type: code, system: LOINC, class: clinical.observation}
  date: {type: timestamp, class: clinical.date}
  value: {type: decimal, unit: unit, class: clinical.observation}
  unit: {type: string, class: public}
relations:
  patient: {one: patient, via: patient_id}
  visit: {one: visit, via: visit_id}
---
kind: entity
name: bp_day
from: observation
where:
  - code: [8480-6, 8462-4]
  - lacks: patient.stays
    as: stay
    where: {kind: inpatient}
    during: observation
group_by: {patient_id: patient_id, day: date.day}
time: day
columns:
  systolic: {min: value, where: {code: 8480-6}, unit: mmHg, class: clinical.observation}
  diastolic: {min: value, where: {code: 8462-4}, unit: mmHg, class: clinical.observation}
  readings: {count: true, class: clinical.observation}
---
kind: entity
name: visit
table: lang.visits
key: visit_id
time: day
future: visible
rows: clinical.encounter
columns:
  visit_id: {type: string, class: identifier.mrn}
  patient_id: {type: string, class: identifier.mrn}
  day: {type: date, class: clinical.date}
  kind: {type: string, class: clinical.encounter}
relations:
  patient: {one: patient, via: patient_id}
  readings: {many: observation, via: visit_id}
---
kind: entity
name: stay
table: lang.stays
key: stay_id
time: {start: admitted, end: discharged}
rows: clinical.encounter
columns:
  stay_id: {type: string, class: identifier.mrn}
  patient_id: {type: string, class: identifier.mrn}
  admitted: {type: date, class: clinical.date}
  discharged: {type: date, class: clinical.date}
  kind: {type: string, class: clinical.encounter}
relations:
  patient: {one: patient, via: patient_id}
---
kind: entity
name: contact
table: lang.contacts
key: contact_id
time: started_at
rows: clinical.encounter
columns:
  contact_id: {type: string, class: identifier.mrn}
  patient_id: {type: string, class: identifier.mrn}
  started_at: {type: timestamp, class: clinical.date}
  direction: {type: string, class: clinical.encounter}
relations:
  patient: {one: patient, via: patient_id}
---
kind: entity
name: fill
table: lang.fills
key: fill_id
time: filled_on
where: {reversed: false}
rows: clinical.condition
columns:
  fill_id: {type: string, class: identifier.mrn}
  patient_id: {type: string, class: identifier.mrn}
  drug_id: {type: string, class: clinical.condition}
  filled_on: {type: date, class: clinical.date}
  days_supply: {type: integer, class: clinical.condition}
  reversed: {type: boolean, class: clinical.condition}
relations:
  patient: {one: patient, via: patient_id}
  drug: {one: drug, via: drug_id}
---
kind: entity
name: drug
table: lang.drugs
key: drug_id
rows: public
columns:
  drug_id: {type: string, class: public}
  ingredient: {type: string, class: public}
  family: {type: string, class: public}
  on_formulary: {type: boolean, class: public}
  cost: {type: decimal, class: public}
relations:
  equivalents: {many: drug, via: {family: family}}
---
{kind: value_set, name: diabetes, system: SNOMED, codes: [44054006, 08]}
---
{kind: value_set, name: diabetes_icd, system: ICD10CM, codes: [E11.9]}
---
{kind: value_set, name: any_diabetes, include: [diabetes, diabetes_icd]}
---
{kind: value_set, name: hba1c, system: LOINC, codes: [4548-4]}
---
{kind: value_set, name: glucose, system: LOINC, codes: [2345-7]}
---
kind: segment
name: measured_visit
entity: visit
owner: a@example.org
purpose: treatment
where: {has: readings, where: {code: {in: hba1c}}}
---
kind: segment
name: visited_often
entity: patient
params: {times: integer, back: integer, how: string}
owner: a@example.org
purpose: treatment
where: {count: visits, where: {kind: $how, day: {since: as_of - $back days}}, until: as_of, is: {gte: $times}}
---
{kind: trait, name: latest_a1c, entity: patient, latest: observations, where: {code: {in: hba1c}}, by: day, ties: {value: lowest}}
---
{kind: trait, name: earliest_a1c, entity: patient, earliest: observations, where: {code: {in: hba1c}}, ties: {value: highest}, of: value}
---
{kind: trait, name: visit_count, entity: patient, count: visits, within: {years: 1}}
---
{kind: trait, name: max_weight, entity: patient, max: observations, of: value, where: {code: 29463-7}}
---
{kind: trait, name: days_since_stay, entity: patient, latest: stays, of: "days_between(admitted, as_of)"}
---
{kind: trait, name: twice_the_weight, entity: patient, type: decimal, expr: "coalesce(weight, 0) * 2"}
---
{kind: trait, name: usual_kind, entity: patient, most_frequent: visits, of: kind, until: as_of}
---
{kind: trait, name: kinds, entity: patient, list: visits, of: kind, distinct: kind, limit: 2}
---
{kind: trait, name: supplied, entity: patient, days_covered: fills, within: {months: 6}, supply: days_supply, same: drug.ingredient}
---
kind: trait
name: age_band
entity: patient
case:
  - {when: {age: {lt: 18}}, then: child}
  - {when: {age: {gte: 65}}, then: senior}
  - {else: adult}
"""

CONFIG = """
kind: project
name: language
timezone: America/New_York
environments: {dev: {lakehouse: lake}}
periods: {measurement_year: {year_of: as_of}}
code_systems: {SNOMED: [http://snomed.info/sct], LOINC: [http://loinc.org], ICD10CM: [I10]}
units:
  "%": {same_as: [percent]}
  mmol/L: {of: glucose, times: 18, to: mg/dL}
  mg/dL: {}
  mmHg: {same_as: ["mm[Hg]"]}
"""

POLICY = """
kind: classes
classes:
  public: {}
  identifier: {key: true}
  identifier.mrn: {}
  membership.patient: {}
  demographic: {}
  demographic.birth_date: {}
  demographic.sex: {}
  clinical: {}
  clinical.condition: {}
  clinical.observation: {}
  clinical.encounter: {}
  clinical.date: {}
---
kind: purposes
purposes:
  treatment: {basis: "45 CFR 164.506(c)", classes: [clinical], members: [clinical], channels: [file], consent: none_needed}
"""

# Authors' own SELECTs, which only an engine answers.
SELECTS = """
---
kind: segment
name: by_select
entity: patient
owner: a@example.org
purpose: treatment
sql: SELECT patient_id FROM visit WHERE kind = 'office' AND day <= DATE '2026-07-02'
---
kind: trait
name: visits_by_select
entity: patient
type: integer
sql: SELECT patient_id, count(*) AS visits_by_select FROM visit GROUP BY patient_id
"""
