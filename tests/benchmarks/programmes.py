"""A large project as a health system might keep it: the example project's models, and programmes written over them.

A programme is a file of five segments and a trait, with a value set and a sync of its own: 200 of them are 1,000 segments
and 200 syncs. Every segment has several conditions, most meet value sets, traits and other segments; every sync may leave.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.projects import review

EXAMPLE = Path(__file__).parents[2]
COPIED = ("conf", "destinations", "governance", "models")
SEGMENTS_EACH = 5

# Five segments that resemble those of the example: nested, over several tables, with sequences of events, series, a template
# that is filled in, and a trait.
PROGRAMME = """\
kind: trait
name: latest_p{n}
description: The most recent result that programme {n} follows.
owner: quality@example.org
entity: patient
latest: observations
where: {{code: {{in: list_{n}}}, value: {{not_null: true}}}}
within: {{years: {years}}}
---
kind: segment
name: p{n}_eligible
entity: patient
description: Adults in the age band of programme {n} who were seen often enough and are not in hospice care.
owner: quality@example.org
purpose: treatment
where:
  - age: {{between: [{low}, {high}], at: measurement_year.end}}
  - segment: seen_on_days
    with: {{days: {count}, back: {months}}}
  - not: {{segment: in_hospice}}
---
kind: segment
name: p{n}_due
entity: patient
description: Eligible people with the condition, without a result in {months} months, or home from hospital and not seen since.
owner: quality@example.org
purpose: treatment
where:
  all:
    - segment: p{n}_eligible
    - has: conditions
      where: {{code: {{in: diabetes}}, abated: null}}
    - any:
        - lacks: observations
          where: {{code: {{in: list_{n}}}}}
          within: {{months: {months}}}
        - has: encounters
          as: stay
          where:
            - class: IMP
            - end: {{within: {{days: [15, 45]}}}}
            - lacks: patient.encounters
              where: {{type: {{in: outpatient_visit}}}}
              within: {{days: [1, 14], after: stay.end}}
---
kind: segment
name: p{n}_poor_control
entity: patient
description: Eligible people whose last result is above {limit} %, without a value, or missing.
owner: quality@example.org
purpose: treatment
where:
  - segment: p{n}_eligible
  - {{has: conditions, where: {{code: {{in: hypertension}}}}, during: measurement_year}}
  - any:
      - latest_p{n}: null
      - latest_p{n}.value: null
      - latest_p{n}.value: {{gt: {limit} %}}
{tests}---
kind: segment
name: p{n}_screening
entity: patient
description: Eligible people without any two of the screenings that still count.
owner: prevention@example.org
purpose: treatment
where:
  - segment: p{n}_eligible
  - {{lacks: conditions, where: {{code: {{in: colon_cancer}}}}, until: measurement_year.end}}
  - n_of:
      - {{has: observations, where: {{code: {{in: fecal_occult_blood}}, value: {{not_null: true}}}}, during: measurement_year}}
      - has: procedures
        where: {{code: {{in: colonoscopy}}}}
        during: {{period: measurement_year, and_prior: {{years: {years}}}}}
      - {{count: observations, where: {{code: {{in: list_{n}}}}}, within: {{years: {years}}}, distinct: day, is: {{gte: {count}}}}}
      - {{count: encounters, each: {{months: [1, 3]}}, is: {{gte: 1}}}}
    is: {{lt: 2}}
---
kind: segment
name: p{n}_outreach
entity: patient
description: Who programme {n} calls, less those who are vaccinated and were called before.
owner: care-management@example.org
purpose: treatment
where:
  - any:
      - segment: p{n}_due
      - segment: p{n}_poor_control
  - segment: p{n}_screening
  - state: {{in: [MA, NH, VT, ME]}}
  - {{count: immunizations, where: {{code: {{in: influenza_vaccine}}}}, within: {{years: 3}}, spaced: {{days: 180}}, is: {{lt: {count}}}}}
---
kind: sync
name: p{n}_calls
description: The care managers' list of programme {n}.
segment: p{n}_outreach
destination: care_management
purpose: treatment
mode: mirror
key: {{mrn: patient_id}}
mappings:
  first_name: given_name
  phone: phone
  language: preferred_language
  last_result: latest_p{n}.value
  measured_on: latest_p{n}.date
  programme: {{constant: p{n}}}
schedule: "0 6 * * MON-FRI"
"""

SHARED = """\
kind: segment
name: seen_on_days
entity: patient
description: Had outpatient visits on so many days of the last months.
owner: quality@example.org
purpose: treatment
params: {days: integer, back: integer}
where:
  count: encounters
  where: {type: {in: outpatient_visit}, start: {since: as_of - $back months}}
  distinct: day
  is: {gte: $days}
"""

TESTS = """\
tests:
  - name: programme {n}, a result above {limit} %
    as_of: 2025-12-31
    given:
      birth_date: 1965-05-01
      encounters:
        - {{type: 99213, type_system: CPT, start: 2025-12-01}}
        - {{type: 99213, type_system: CPT, start: 2025-12-08}}
        - {{type: 99213, type_system: CPT, start: 2025-12-09}}
      conditions: [{{code: 38341003, onset: 2020-01-01}}]
    cases:
      - {{expect: in}}
      - {{observations: [{{code: {code}, date: 2025-11-01, value: {limit} %}}], expect: out}}
      - {{observations: [{{code: {code}, date: 2025-11-01, value: {limit}.1 %}}], expect: in}}
      - {{encounters: [], expect: out}}
"""

VALUE_SET = """\
kind: value_set
name: list_{n}
system: LOINC
codes: [{codes}]
description: The results that programme {n} follows.
"""


def write(root: Path, programmes: int, *, tests: bool = False) -> None:
    """Write a project of so many programmes into a new folder; with four test cases each where `tests` are asked for."""
    for folder in COPIED:
        shutil.copytree(EXAMPLE / folder, root / folder)
    generated = root / "models" / "generated"
    generated.mkdir()
    (generated / "shared.yml").write_text(SHARED)
    reviews = []
    for n in range(programmes):
        facts = {
            "n": n,
            "low": 18 + n % 40,
            "high": 64 + n % 20,
            "months": 3 + n % 12,
            "years": 1 + n % 9,
            "limit": 6 + n % 5,
            "count": 1 + n % 3,
            "code": f"{10_000 + 20 * n}-0",
        }
        (generated / f"p{n}.yml").write_text(PROGRAMME.format(**facts, tests=TESTS.format(**facts) if tests else ""))
        codes = tuple(f"{10_000 + 20 * n + i}-{i % 10}" for i in range(20))
        (generated / f"list_{n}.yml").write_text(VALUE_SET.format(n=n, codes=", ".join(codes)))
        reviews.append(review(f"list_{n}", "none", LOINC=codes))
    with (root / "governance" / "value_sets.yml").open("a") as file:
        file.writelines(reviews)
