"""A day of change in a sample lakehouse: what an example sync should notice the next time it is planned."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdp.errors import DataError
from cdp.sample import people
from cdp.sample.tables import CONDITIONS, CONSENTS, EVERY_TABLE, OBSERVATIONS, PATIENTS, Source

if TYPE_CHECKING:
    from cdp.engine.base import Engine

_VIEW = "cdp_sample_change"
_DIABETES, _HBA1C = "44054006", "4548-4"
_ROLES = {
    "model": "new_patients",
    "address": "changed_emails",
    "result": "fresh_results",
    "dies": "deaths",
    "withdraws": "withdrawn_consents",
}
_OPEN = {  # of a consent: for every receiver, without an end, and it states nothing more
    "receiver": "cast(NULL AS string)",
    "expires_at": "cast(NULL AS timestamp)",
    "states": "cast(NULL AS string)",
}

# Whom a rule of the example keeps out besides consent, whatever the receiver.
_LEFT_OUT = """SELECT patient_id FROM crm.restrictions WHERE active
    UNION ALL SELECT patient_id FROM crm.confidential_requests WHERE active
    UNION ALL SELECT patient_id FROM crm.suppressions WHERE channel = 'email'"""


@dataclass(frozen=True, slots=True)
class Changes:
    """What one day changed.

    Attributes:
        counts: rows by kind of change: new_patients, changed_emails, fresh_results, deaths, withdrawn_consents.
        withdrew: the patient_id (of a synthetic person) who took their consents back; None when nobody was left to.
    """

    counts: Mapping[str, int]
    withdrew: str | None


def advance(engine: Engine, seed: int, *, now: dt.datetime | None = None) -> Changes:
    """Let a day pass in an existing sample lakehouse.

    Among the people with diabetes whose HbA1c is overdue and who agreed to be written to, one takes all consents back,
    one dies, some get a fresh result and some another address; some people like them are new. The consents are loaded
    again, so that they count as fresh. In a lakehouse of 150 that is about ten people, in a large one a few in a thousand.

    Args:
        engine: over a lakehouse that `load` or `generate` made.
        seed: with `now`, decides who it is.
        now: when it happens, with a time zone; None is the wall clock.

    Raises:
        DataError: there is no sample lakehouse.
    """
    if missing := [table for table in EVERY_TABLE if not engine.exists(table)]:
        raise DataError(f"there is no sample to change: {', '.join(missing)} not found", fix="make one with `cdp sample` first")
    engine.register(EVERY_TABLE)
    moment = (now or dt.datetime.now(dt.UTC)).astimezone(dt.UTC)
    tag = f"{seed}-{int(moment.timestamp() * 1_000_000)}"
    day = _Day(engine, f"timestamp'{moment:%Y-%m-%d %H:%M:%S.%f}'", tag)
    roles = day.assign(max(2, int(engine.value(f"SELECT count(*) FROM {PATIENTS.table}")) // 1000))
    day.withdraw()
    day.die()
    day.measure()
    day.move()
    day.arrive()
    engine.execute(f"UPDATE {CONSENTS} SET recorded_at = {day.stamp}", what=CONSENTS)
    engine.execute(f"DROP VIEW IF EXISTS {_VIEW}")
    counts = {count: sum(role == which for role in roles.values()) for which, count in _ROLES.items()}
    return Changes(counts, next((person for person, role in roles.items() if role == "withdraws"), None))


class _Day:
    """One day: who does what stands in a view (patient_id, new_id, place, role); each method lets one thing happen.

    Args:
        stamp: when, as SQL.
        tag: tells this day's ids from those of other days.
    """

    def __init__(self, engine: Engine, stamp: str, tag: str) -> None:
        self.engine, self.stamp, self.tag = engine, stamp, tag

    def assign(self, few: int) -> dict[str, str]:
        """Give each of the people whose HbA1c is overdue at most one role."""
        bounds = {"withdraws": 1, "dies": 1, "result": few, "address": few, "model": few}
        first, branches = 1, []
        for role, count in bounds.items():
            branches.append(f"WHEN place < {first + count} THEN '{role}'")
            first += count
        rows = self.engine.query(f"""
            SELECT *, CASE {" ".join(branches)} END AS role FROM (
                SELECT patient_id, row_number() OVER (ORDER BY new_id) AS place, new_id FROM (
                    SELECT patient_id, substr(sha2(concat('{self.tag}', patient_id), 256), 1, 16) AS new_id FROM ({self._due()})))
            WHERE place < {first}""")
        self.engine.view(_VIEW, rows)
        return {row["patient_id"]: row["role"] for row in rows.to_pylist()}

    def _due(self) -> str:
        """Who the example's reminder is for and may be told, nearly: the margins are taken wide."""
        return f"""
            SELECT p.patient_id FROM {PATIENTS.table} AS p
            JOIN (SELECT DISTINCT patient_id FROM {CONDITIONS.table} WHERE code = '{_DIABETES}' AND onset < {self.stamp}) AS c
              ON c.patient_id = p.patient_id
            JOIN (SELECT patient_id FROM {CONSENTS} WHERE purpose = 'care_coordination' AND channel = 'email'
                  GROUP BY patient_id HAVING max_by(status, effective_at) = 'active') AS a ON a.patient_id = p.patient_id
            LEFT ANTI JOIN ({_LEFT_OUT}) AS r ON r.patient_id = p.patient_id
            LEFT ANTI JOIN (SELECT patient_id FROM {OBSERVATIONS.table}
                            WHERE code = '{_HBA1C}' AND date > {self.stamp} - INTERVAL 190 DAYS) AS o ON o.patient_id = p.patient_id
            WHERE p.death_date IS NULL AND p.email LIKE '%@example.%'
              AND p.birth_date BETWEEN add_months({self.stamp}, {-12 * 74}) AND add_months({self.stamp}, {-12 * 19})"""

    def withdraw(self) -> None:
        """One person takes back every consent: a later row each, the old ones stay."""
        values = {
            "consent_id": "concat_ws('-', r.new_id, c.purpose, c.channel)",
            "status": "'inactive'",
            "effective_at": self.stamp,
            "recorded_at": self.stamp,
        }
        pairs = f"(SELECT DISTINCT patient_id, purpose, channel FROM {CONSENTS})"
        self._insert(CONSENTS, people.CONSENT_COLUMNS, {**_OPEN, **values}, f"{pairs} AS c {self._with('c', 'withdraws')}", "c")

    def die(self) -> None:
        """One person dies."""
        self._update("dies", f"death_date = cast({self.stamp} AS date)")

    def move(self) -> None:
        """Some people get another address."""
        number = people.dice("t.patient_id", f"'{self.tag}'", sides=10_000)
        given = "regexp_replace(lower(t.given_name), '[^a-z]', '')"
        self._update("address", f"email = concat_ws('.', 'new', {given}, concat({number}, '@example.org'))")

    def measure(self) -> None:
        """Some people have a fresh HbA1c, which ends the reminder."""
        value = people.dice("r.patient_id", f"'{self.tag}'", sides=35)
        values = {
            "observation_id": "r.new_id",
            "patient_id": "r.patient_id",
            "encounter_id": "cast(NULL AS string)",
            "facility_id": "'north'",
            "code": f"'{_HBA1C}'",
            "code_system": "'http://loinc.org'",
            "status": "'final'",
            "date": self.stamp,
            "value": f"cast(5.5 + {value} / 10 AS decimal(18, 6))",
            "unit": "'%'",
            "value_text": "cast(NULL AS string)",
            "value_code": "cast(NULL AS string)",
        }
        self._insert(OBSERVATIONS.table, OBSERVATIONS.columns, values, f"{_VIEW} AS r WHERE r.role = 'result'", "r")

    def arrive(self) -> None:
        """Some people are new: somebody else's history under another name, with an address and every consent."""
        given, last = (f"regexp_replace(lower({name}), '[^a-z]', '')" for name in ("t.given_name", "f.family_name"))
        digits = people.dice("r.new_id", "'number'", sides=10_000)
        family = f"(SELECT row_number() OVER (ORDER BY patient_id DESC) AS nr, family_name FROM {PATIENTS.table} LIMIT 5000)"
        values = {
            "patient_id": "r.new_id",
            "family_name": "f.family_name",
            "email": f"concat_ws('.', {given}, {last}, concat({digits}, '@example.com'))",
            "phone": people.phone("r.new_id"),
            "household_id": "r.new_id",
            "ssn": f"concat('999', lpad(cast({people.dice('r.new_id', sides=1_000_000)} AS string), 6, '0'))",
        }
        source = f"{PATIENTS.table} AS t {self._with('t', 'model')} JOIN {family} AS f ON f.nr = r.place"
        self._insert(PATIENTS.table, PATIENTS.columns, values, source, "t")
        for table in (CONDITIONS, OBSERVATIONS):
            self._copy(table)
        pairs = ", ".join(f"('{purpose}', '{channel}')" for purpose, channel in people.CONSENTS)
        agreed = {
            "consent_id": "concat_ws('-', r.new_id, c.purpose, c.channel)",
            "patient_id": "r.new_id",
            "status": "'active'",
            "effective_at": self.stamp,
            "recorded_at": self.stamp,
        }
        source = f"{_VIEW} AS r CROSS JOIN (VALUES {pairs}) AS c(purpose, channel) WHERE r.role = 'model'"
        self._insert(CONSENTS, people.CONSENT_COLUMNS, {**_OPEN, **agreed}, source, "c")

    def _copy(self, table: Source) -> None:
        """Give the new people the events of those they are modelled on."""
        key = next(iter(table.columns))
        values = {
            key: f"concat(r.new_id, '-', substr(sha2(t.{key}, 256), 1, 12))",
            "patient_id": "r.new_id",
            "encounter_id": "cast(NULL AS string)",
        }
        self._insert(table.table, table.columns, values, f"{table.table} AS t {self._with('t', 'model')}", "t")

    def _with(self, alias: str, role: str) -> str:
        return f"JOIN (SELECT * FROM {_VIEW} WHERE role = '{role}') AS r ON r.patient_id = {alias}.patient_id"

    def _insert(self, table: str, columns: Iterable[str], values: Mapping[str, str], source: str, rest: str) -> None:
        """Insert by the full list of columns; what `values` does not name is taken from the alias `rest`."""
        names = list(columns)
        listed = ", ".join(f"{values.get(name, f'{rest}.`{name}`')} AS `{name}`" for name in names)
        quoted = ", ".join(f"`{name}`" for name in names)
        self.engine.execute(f"INSERT INTO {table} ({quoted}) SELECT {listed} FROM {source}", what=table)

    def _update(self, role: str, change: str) -> None:
        self.engine.execute(
            f"""MERGE INTO {PATIENTS.table} AS t USING (SELECT patient_id FROM {_VIEW} WHERE role = '{role}') AS r
                ON t.patient_id = r.patient_id WHEN MATCHED THEN UPDATE SET {change}""",
            what=PATIENTS.table,
        )
