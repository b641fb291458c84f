"""A lakehouse of a size, its project and its second run: who is known, who has changed, who is new and who is gone."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import sqlglot
from sqlglot import exp

from cdp.compile.clock import Clock
from cdp.engine import Engine, connect
from cdp.governance.decide import govern
from cdp.governance.query import GovernedQuery
from cdp.project.load import Project, load
from cdp.sync import diff, sources, state
from cdp.sync.ledger import Control
from cdp.sync.plan import masks_of
from tests.projects import AGREEMENT, PURPOSES, SYNC, minimal

SCHEMA = "cdp"
DUE = 100  # one of so many has another address
GONE = 500  # one of so many is no longer a patient, and as many are new

SIX_COLUMNS = SYNC.replace(
    "mappings: {email: email, first_name: given_name}",
    "mappings: {email: email, first_name: given_name, born: birth_date, died: death_date, state: state}",
)
TOLD = "classes: [identifier.pseudonym, contact.email, name.given, demographic]"


@dataclass(frozen=True, slots=True)
class Clinic:
    """An engine over a lakehouse and the one sync of its project."""

    project: Project
    engine: Engine
    root: Path
    sent: ClassVar[tuple[str, ...]] = ("patient_id", "email", "given_name", "birth_date", "death_date", "state")

    @property
    def lake(self) -> Path:
        """Where the tables are."""
        return self.root / "lake"

    @property
    def control(self) -> Control:
        """The control tables."""
        return Control(self.engine, SCHEMA)

    def governed(self, now: Clock) -> GovernedQuery:
        """The sync as governance lets it leave: consent asked, the dead left out, the key a pseudonym."""
        return govern(self.project, "adults_mail", clock=now, now=now)

    def bare(self, now: Clock) -> GovernedQuery:
        """The same columns of every patient and no rule, for a comparison with a plain join."""
        query = self.governed(now)
        columns = ", ".join(f"{name} AS {field}" for field, name in zip(query.columns, self.sent, strict=True))
        select = f"SELECT patient_id AS _subject, CAST(NULL AS STRING) AS _rule, {columns} FROM clinical.patients"
        parsed = sqlglot.parse_one(select, dialect="spark")
        assert isinstance(parsed, exp.Select)
        return replace(query, select=parsed, rules=())

    def load(self, count: int) -> None:
        """Write the first day's patients and a consent of each."""
        self._patients(f"SELECT id, '@example.org' AS host FROM range({count})")
        self.engine.drop("crm.consents")
        self.engine.create_as(
            "crm.consents",
            "SELECT concat('c', id) AS consent_id, md5(CAST(id AS STRING)) AS patient_id, "
            "'care_coordination' AS purpose, 'email' AS channel, 'active' AS status, "
            "current_timestamp() - INTERVAL 30 DAYS AS effective_at, CAST(NULL AS TIMESTAMP) AS expires_at, "
            f"current_timestamp() - INTERVAL 1 HOUR AS recorded_at FROM range({count + count // GONE})",
        )

    def change(self, count: int) -> None:
        """Write the second day's patients."""
        host = f"CASE WHEN id % {DUE} = 7 THEN '@example.com' ELSE '@example.org' END AS host"
        self._patients(f"SELECT id, {host} FROM range({count + count // GONE}) WHERE id % {GONE} <> 3 OR id >= {count}")

    def acknowledge(self, query: GovernedQuery, now: Clock) -> None:
        """Have the destination hold everything that a query gives today, as folded receipts of a first run."""
        control, name = self.control, query.sync.name
        sources.check(self.engine, query, now.instant)
        types = self.engine.types(query.select)
        values = {
            "sync": f"'{name}'",
            "subject": "key",
            "op": "'add'",
            "run": "'first'",
            "seq": "ROW_NUMBER() OVER (ORDER BY key)",
            "at": "current_timestamp()",
            "told": f"'{query.told}'",
        }
        columns = ", ".join(f"{values.get(column, column)} AS {column}" for column in control.columns("synced"))
        state.rewrite(control, name, f"SELECT {columns} FROM ({diff.members(query, types)}) AS m WHERE rule IS NULL")
        shape = diff.Shape.of(query, types)
        went = {"destination": query.destination.name, "masks": masks_of(query), "keys": shape.keys}
        body = json.dumps({**went, "names": dict(shape.names), "kinds": dict(shape.kinds)})
        control.append("plans", [{"sync": name, "plan": "first", "event": "created", "at": now.instant, "body": body}])
        ended = {"run": "first", "n": 1, "plan": "first", "status": "succeeded", "open": 0, "at": now.instant}
        control.append("runs", [{"sync": name, **ended}])

    def _patients(self, people: str) -> None:
        self.engine.drop("clinical.patients")
        self.engine.create_as(
            "clinical.patients",
            "SELECT md5(CAST(id AS STRING)) AS patient_id, date_add(DATE'1940-01-01', CAST(id % 20000 AS INT)) AS birth_date, "
            "CAST(NULL AS DATE) AS death_date, concat('Given', id % 5000) AS given_name, concat('patient', id, host) AS email, "
            f"CASE id % 3 WHEN 0 THEN 'MA' WHEN 1 THEN 'NH' ELSE 'VT' END AS state FROM ({people}) AS p",
        )


def opened(root: Path, **engine: Any) -> Clinic:
    """A project in a new folder and an engine over its lakehouse: the embedded one, or as an environment of these fields has it."""
    os.environ.setdefault("CDP_PSEUDONYM_KEY", "a key for benchmarks")
    files = {
        "governance/purposes.yml": PURPOSES.replace("classes: [identifier.pseudonym, contact.email, name.given]", TOLD),
        "governance/baa/mailer.yml": AGREEMENT.replace("classes: [identifier.pseudonym, contact.email, name.given]", TOLD),
        "syncs/adults_mail.yml": SIX_COLUMNS,
    }
    folder = minimal(root, **files)
    project = load(folder, connectors=("http",))
    return Clinic(project, connect(project.environment(None).model_copy(update=engine), root=folder), folder)
