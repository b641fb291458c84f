"""The tables of the sample: which file each comes from, its columns as SQL over raw text, and what makes a row unusable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from cdp.sample import people

# FHIR's dates: a day, a moment with seconds, with an offset or without; a partial date (`2010`, `2010-07`) is none of them.
_DAY = "^(18|19|20|21)[0-9]{2}-[0-9]{2}-[0-9]{2}"
_TIME = "T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?"
_OFFSET = "(Z|[+-][0-9]{2}:[0-9]{2})"
_END = r"\\z"  # the end of the text itself, where `$` would let a line break pass
_PARTIAL = rf"^[0-9]{{4}}(-[0-9]{{2}})?{_END}"
_NUMBER = rf"^[+-]?[0-9]+([.][0-9]+)?{_END}"


class Column(NamedTuple):
    """A column of a table: its Spark type and its value as SQL over a raw row, `shift` (days) and `zone` (a time zone)."""

    type: str
    sql: str


@dataclass(frozen=True, slots=True)
class Source:
    """A raw file and the table that is made of it.

    Attributes:
        name: the file is `<name>.csv.gz`.
        raw: the columns of the file that are read.
        key: SQL; rows that agree in it are one row that was sent several times.
        event: the raw column that says when it happened; None when rows are no events.
        checks: SQL that gives the reason to set the row aside, or null; the first reason counts.
        columns: of the table, its own key first.
        person: the raw column that names the patient; None in the table of patients itself.
    """

    name: str
    table: str
    raw: tuple[str, ...]
    key: str
    event: str | None
    checks: tuple[str, ...]
    columns: Mapping[str, Column]
    person: str | None = "patient"

    @property
    def schema(self) -> dict[str, str]:
        """The columns of the table and their Spark types."""
        return {name: column.type for name, column in self.columns.items()}


def moment(column: str) -> str:
    """A text as an instant; without an offset it is local time, a day alone its local midnight. Null when it is neither."""
    return f"""CASE WHEN {column} RLIKE '{_DAY}{_TIME}{_OFFSET}{_END}' THEN try_cast({column} AS timestamp)
        WHEN {column} RLIKE '{_DAY}({_TIME})?{_END}' THEN to_utc_timestamp(try_cast({column} AS timestamp), zone) END"""


def day(column: str) -> str:
    """A text as a local calendar day, or null."""
    return f"cast(from_utc_timestamp({moment(column)}, zone) AS date)"


def _text(sql: str) -> Column:
    return Column("string", sql)


def _moment(column: str) -> Column:
    """Moved by calendar days, so that its local time of day stays."""
    return Column("timestamp", f"to_utc_timestamp(from_utc_timestamp({moment(column)}, zone) + make_interval(0, 0, 0, shift), zone)")


def _day(column: str) -> Column:
    return Column("date", f"date_add({day(column)}, shift)")


def _number(column: str) -> str:
    return f"CASE WHEN {column} RLIKE '{_NUMBER}' THEN try_cast({column} AS decimal(18, 6)) END"


def _missing(column: str) -> str:
    return f"CASE WHEN {column} IS NULL THEN '{column}: missing' END"


def _bad_date(column: str) -> str:
    return f"""CASE WHEN {column} IS NULL THEN NULL WHEN {column} RLIKE '{_PARTIAL}' THEN '{column}: date precision'
        WHEN {moment(column)} IS NULL THEN '{column}: not a date' END"""


def _whole_row(raw: tuple[str, ...]) -> str:
    """The feed names no ids: a row is what all its fields say. `concat_ws` skips nulls, so they are spelt out."""
    fields = ", ".join(f"coalesce({name}, '')" for name in raw)
    return f"substr(sha2(concat_ws('|', {fields}), 256), 1, 32)"


# Where a visit was, and so all that was recorded at it; Synthea's organizations are not in the extract. Harbor is a clinic for
# substance use: a Part 2 program, whose records are special whatever they say.
_PLACE = people.dice("encounter", "'facility'", sides=40)
FACILITY = f"""CASE WHEN encounter IS NULL THEN 'north' ELSE CASE {_PLACE} WHEN 0 THEN 'harbor'
    ELSE CASE pmod({_PLACE}, 3) WHEN 0 THEN 'north' WHEN 1 THEN 'south' ELSE 'west' END END END"""


def _coded(
    name: str,
    table: str,
    key: str,
    columns: Mapping[str, Column],
    *,
    dates: tuple[str, ...],
    raw: tuple[str, ...] = (),
    checks: tuple[str, ...] = (),
) -> Source:
    """A table of coded events: what they have in common, and what `columns`, `raw` and `checks` add. The first date says when."""
    every = ("patient", "encounter", *dates, "status", "system", "code", *raw)
    common = {
        key: _text("row_id"),
        "patient_id": _text("patient"),
        "encounter_id": _text("encounter"),
        "facility_id": _text(FACILITY),
        "code": _text("code"),
        "code_system": _text("system"),
        "status": _text("status"),
    }
    usual = (_missing("patient"), _missing("code"), *map(_bad_date, dates))
    return Source(name, table, every, _whole_row(every), dates[0], (*usual, *checks), {**common, **columns})


PATIENTS = Source(
    "patients",
    "clinical.patients",
    raw=("id", "birthdate", "deathdate", "gender", "given", "family", "line", "city", "state", "zip", "ssn"),
    key="id",
    event=None,
    checks=(_missing("id"), _bad_date("birthdate"), _bad_date("deathdate")),
    columns={
        "patient_id": _text("id"),
        "birth_date": _day("birthdate"),
        "death_date": _day("deathdate"),
        "sex": _text("gender"),
        "given_name": _text("given"),
        "family_name": _text("family"),
        "email": _text(people.email("id", "given", "family", people.dice("id", "'number'", sides=10_000))),
        "phone": _text(people.phone("id")),
        "preferred_language": _text(people.language("id")),
        "household_id": _text("substr(sha2(zip, 256), 1, 16)"),  # Synthea gives everybody a street of their own
        "pcp_id": _text(people.clinician("id")),
        "tags": Column("array<string>", people.tags("id")),
        "address_line": _text("line"),
        "city": _text("city"),
        "state": _text("state"),
        "zip": _text("zip"),
        "ssn": _text("ssn"),
    },
    person=None,
)

# The codes of Synthea's encounters whose kind is known; FHIR calls it the encounter's class (v3-ActCode).
_CLASS = """CASE WHEN code = '50849002' THEN 'EMER'
    WHEN code IN ('183452005', '183460006', '183478001', '183495009', '305408004', '32485007') THEN 'IMP' ELSE 'AMB' END"""

# Where somebody went from a stay; Synthea does not say. SNOMED CT: home with hospice care, a nursing home, home.
_LEFT = people.dice("encounter", "'disposition'", sides=20)
_DISPOSITION = f"""CASE WHEN {_CLASS} = 'IMP' AND stop IS NOT NULL THEN CASE {_LEFT}
    WHEN 0 THEN '428361000124107' WHEN 1 THEN '306694006' ELSE '306689006' END END"""

ENCOUNTERS = Source(
    "encounters",
    "clinical.encounters",
    raw=("patient", "encounter", "start", "stop", "status", "system", "code"),
    key="encounter",
    event="start",
    checks=(_missing("encounter"), _missing("patient"), _missing("code"), _bad_date("start"), _bad_date("stop")),
    columns={
        "encounter_id": _text("encounter"),
        "patient_id": _text("patient"),
        "facility_id": _text(FACILITY),
        "start": _moment("start"),
        "end": _moment("stop"),
        "class": _text(_CLASS),
        "disposition": _text(_DISPOSITION),
        "type": _text("code"),
        "type_system": _text("system"),
        "status": _text("status"),
    },
)

CONDITIONS = _coded(
    "conditions",
    "clinical.conditions",
    "condition_id",
    {"onset": _moment("start"), "abated": _moment("stop")},
    dates=("start", "stop"),
)

# A value with a unit is a number; one without is an answer in words.
OBSERVATIONS = _coded(
    "observations",
    "clinical.observations",
    "observation_id",
    {
        "date": _moment("date"),
        "value": Column("decimal(18, 6)", f"CASE WHEN unit IS NOT NULL THEN {_number('value')} END"),
        "unit": _text("unit"),
        "value_text": _text("CASE WHEN unit IS NULL THEN value END"),
        "value_code": _text("cast(NULL AS string)"),  # Synthea's answers are words
    },
    dates=("date",),
    raw=("value", "unit"),
    checks=(f"CASE WHEN unit IS NOT NULL AND value IS NOT NULL AND {_number('value')} IS NULL THEN 'value: not a number' END",),
)

# Most procedures have no end: they took the moment they started.
PROCEDURES = _coded(
    "procedures",
    "clinical.procedures",
    "procedure_id",
    {"start": _moment("start"), "end": Column("timestamp", f"coalesce({_moment('stop').sql}, {_moment('start').sql})")},
    dates=("start", "stop"),
)

PRESCRIPTIONS = _coded(
    "medications",
    "clinical.prescriptions",
    "prescription_id",
    {"start": _day("start"), "end": _day("stop")},
    dates=("start", "stop"),
)

# Synthea's children get every dose on its day. Here a family postpones or declines one in nine of the early series.
_NINTH = people.dice("row_id", "'given'", sides=9)
_GIVEN = f"CASE WHEN code IN ('20', '10', '08', '03', '21') AND {_NINTH} = 0 THEN 'not-done' ELSE status END"

IMMUNIZATIONS = _coded(
    "immunizations",
    "clinical.immunizations",
    "immunization_id",
    {"date": _day("start"), "status": _text(_GIVEN)},
    dates=("start",),
)

EVENTS = (ENCOUNTERS, CONDITIONS, OBSERVATIONS, PROCEDURES, PRESCRIPTIONS, IMMUNIZATIONS)
SOURCES = (PATIENTS, *EVENTS)  # patients first: events name them
CONSENTS = "crm.consents"
QUARANTINE = "clinical.quarantine"
MADE = (  # see `hospital.py`
    "plan.clinicians",
    "plan.coverages",
    "scheduling.appointments",
    "pharmacy.drugs",
    "pharmacy.fills",
    "crm.contacts",
    "clinical.pregnancies",
    "behavioral.screens",
    "devices.uploads",
    "devices.step_days",
    "crm.restrictions",  # see `privacy.py`
    "crm.confidential_requests",
    "crm.suppressions",
    "crm.guardians",
)
EVERY_TABLE = (*(source.table for source in SOURCES), *MADE, CONSENTS, QUARANTINE)
