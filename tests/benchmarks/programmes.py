"""A large project as a health system might keep it: the example project's models, and programmes written over them.

A programme is a file of five segments and a trait, with a value set and a sync of its own: 200 of them are 1,000 segments
and 200 syncs. Every segment has several conditions, most meet value sets, traits and other segments; every sync may leave.
"""

from __future__ import annotations

import shutil
from pathlib import Path

EXAMPLE = Path(__file__).parents[2]
COPIED = ("conf", "destinations", "governance", "models")
SEGMENTS_EACH = 5

# Five segments that resemble those of the example: nested, over several tables, with windows and a trait.
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
description: Adults in the age band of programme {n} who were seen this year and are not in hospice care.
owner: quality@example.org
purpose: treatment
where:
  - age: {{between: [{low}, {high}], at: measurement_year.end}}
  - segment: seen_this_year
  - not: {{segment: in_hospice}}
---
kind: segment
name: p{n}_due
entity: patient
description: Eligible people with the condition and without a result in {months} months.
owner: quality@example.org
purpose: treatment
where:
  all:
    - segment: p{n}_eligible
    - has: conditions
      where: {{code: {{in: diabetes}}, abated: null}}
    - lacks: observations
      where: {{code: {{in: list_{n}}}}}
      within: {{months: {months}}}
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
---
kind: segment
name: p{n}_screening
entity: patient
description: Eligible people without any of the screenings that still count.
owner: prevention@example.org
purpose: treatment
where:
  - segment: p{n}_eligible
  - {{lacks: conditions, where: {{code: {{in: colon_cancer}}}}, until: measurement_year.end}}
  - not:
      any:
        - {{has: observations, where: {{code: {{in: fecal_occult_blood}}, value: {{not_null: true}}}}, during: measurement_year}}
        - has: procedures
          where: {{code: {{in: colonoscopy}}}}
          during: {{period: measurement_year, and_prior: {{years: {years}}}}}
        - {{count: observations, where: {{code: {{in: list_{n}}}}}, within: {{years: {years}}}, is: {{gte: {count}}}}}
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
  - {{lacks: immunizations, where: {{code: {{in: influenza_vaccine}}}}, within: {{months: {months}}}}}
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

VALUE_SET = """\
kind: value_set
name: list_{n}
system: LOINC
codes: [{codes}]
description: The results that programme {n} follows.
"""

REVIEW = "  list_{n}: {{class: none, reviewed: {{by: privacy@example.org, on: 2026-01-20}}}}\n"


def write(root: Path, programmes: int) -> None:
    """Write a project of so many programmes into a new folder."""
    for folder in COPIED:
        shutil.copytree(EXAMPLE / folder, root / folder)
    (root / "models" / "programmes").mkdir()
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
        }
        (root / "models" / "programmes" / f"p{n}.yml").write_text(PROGRAMME.format(**facts))
        codes = ", ".join(f"{10_000 + 20 * n + i}-{i % 10}" for i in range(20))
        (root / "models" / "value_sets" / f"list_{n}.yml").write_text(VALUE_SET.format(n=n, codes=codes))
        reviews.append(REVIEW.format(n=n))
    with (root / "governance" / "value_sets.yml").open("a") as file:
        file.writelines(reviews)
