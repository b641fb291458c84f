"""The clinic with eleven columns to a row, of every type, in batches of 1,000: what a first load delivers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from cdp.engine import connect
from cdp.project.load import load
from tests.benchmarks.clinic import Clinic
from tests.projects import AGREEMENT, DESTINATION, PATIENT, PURPOSES, SYNC, minimal

MORE = """\
  city: {type: string, class: demographic.state}
  visits: {type: integer, class: demographic.state}
  risk: {type: double, class: demographic.state}
  balance: {type: decimal, class: demographic.state}
  portal: {type: boolean, class: demographic.state}
  seen_at: {type: timestamp, class: demographic.state}
"""
CLASSES = "classes: [identifier.pseudonym, contact.email, name.given]"
TOLD = "classes: [identifier, contact.email, name.given, demographic]"
PLAIN, PSEUDONYM = "{external_id: patient_id}", "{external_id: {of: patient_id, mask: pseudonym}}"
MAPPINGS = (
    "{email: email, first_name: given_name, born: birth_date, state: state, "
    "city: city, visits: visits, risk: risk, balance: balance, portal: portal, seen_at: seen_at}"
)


class Wide(Clinic):
    """The clinic's people with six columns more."""

    sent: ClassVar[tuple[str, ...]] = (
        "patient_id",
        "email",
        "given_name",
        "birth_date",
        "state",
        "city",
        "visits",
        "risk",
        "balance",
        "portal",
        "seen_at",
    )

    def _patients(self, people: str) -> None:
        self.engine.drop("clinical.patients")
        self.engine.create_as(
            "clinical.patients",
            "SELECT md5(CAST(id AS STRING)) AS patient_id, date_add(DATE'1940-01-01', CAST(id % 20000 AS INT)) AS birth_date, "
            "CAST(NULL AS DATE) AS death_date, concat('Given', id % 5000) AS given_name, concat('patient', id, host) AS email, "
            "CASE id % 3 WHEN 0 THEN 'MA' WHEN 1 THEN 'NH' ELSE 'VT' END AS state, concat('City of ', id % 351) AS city, "
            "CAST(id % 40 AS INT) AS visits, (id % 1000) / 1000D AS risk, "
            "CASE WHEN id % 4 = 0 THEN NULL ELSE CAST((id % 100000) / 100D AS DECIMAL(12, 2)) END AS balance, "
            f"id % 2 = 0 AS portal, timestamp_micros(1700000000000000 + id * 1000003) AS seen_at FROM ({people}) AS p",
        )


def opened(root: Path, *, masked: bool = False) -> Wide:
    """A project in a new folder and an engine over its empty lakehouse; the key as it is, or a pseudonym of it."""
    os.environ.setdefault("CDP_PSEUDONYM_KEY", "a key for benchmarks")
    sync = SYNC.replace(PSEUDONYM, PSEUDONYM if masked else PLAIN).replace("{email: email, first_name: given_name}", MAPPINGS)
    files = {
        "models/patient.yml": PATIENT.replace("relations:", f"{MORE}relations:"),
        "destinations/mail.yml": DESTINATION.replace("batch: 100", "batch: 1000").replace("body: array", "batch: 1000, body: array"),
        "governance/purposes.yml": PURPOSES.replace(CLASSES, TOLD),
        "governance/baa/mailer.yml": AGREEMENT.replace(CLASSES, TOLD),
        "syncs/adults_mail.yml": sync,
    }
    folder = minimal(root, **files)
    project = load(folder, connectors=("http",))
    return Wide(project, connect(project.environment(None), root=folder), folder)
