"""The tables of the sample: which file each comes from, its columns as SQL over raw text, and what makes a row unusable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cdp.sample import people

# FHIR's dates: a day, a moment with seconds, with an offset or without; a partial date (`2010`, `2010-07`) is none of them.
_DAY = "^(18|19|20|21)[0-9]{2}-[0-9]{2}-[0-9]{2}"
_TIME = "T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?"
_OFFSET = "(Z|[+-][0-9]{2}:[0-9]{2})"
_END = r"\\z"  # the end of the text itself, where `$` would let a line break pass
_PARTIAL = rf"^[0-9]{{4}}(-[0-9]{{2}})?{_END}"
_NUMBER = rf"^[+-]?[0-9]+([.][0-9]+)?{_END}"


@dataclass(frozen=True, slots=True)
class Source:
    """A raw file and the table that is made of it.

    Attributes:
        raw: the columns of the file that are read.
        key: SQL; rows that agree in it are one row that was sent several times.
        event: the raw column that says when it happened; None when rows are no events.
        types: the Spark type of each column that is not a string.
        columns: each column of the table as SQL over `raw`, `shift` (a number of days) and `zone` (a time zone).
        checks: SQL that gives the reason to set the row aside, or null; the first reason counts.
        person: the raw column that names the patient; None in the table of patients itself.
    """

    name: str
    table: str
    raw: tuple[str, ...]
    key: str
    event: str | None
    columns: Mapping[str, str]
    checks: tuple[str, ...]
    types: Mapping[str, str]
    person: str | None = "patient"

    @property
    def schema(self) -> dict[str, str]:
        """The columns of the table and their Spark types."""
        return {name: self.types.get(name, "string") for name in self.columns}


def moment(column: str) -> str:
    """A text as an instant; without an offset it is local time, a day alone its local midnight. Null when it is neither."""
    return f"""CASE WHEN {column} RLIKE '{_DAY}{_TIME}{_OFFSET}{_END}' THEN try_cast({column} AS timestamp)
        WHEN {column} RLIKE '{_DAY}({_TIME})?{_END}' THEN to_utc_timestamp(try_cast({column} AS timestamp), zone) END"""


def day(column: str) -> str:
    """A text as a local calendar day, or null."""
    return f"cast(from_utc_timestamp({moment(column)}, zone) AS date)"


def _shifted_moment(column: str) -> str:
    """Moved by calendar days: its local time of day stays."""
    return f"to_utc_timestamp(from_utc_timestamp({moment(column)}, zone) + make_interval(0, 0, 0, shift), zone)"


def _shifted_day(column: str) -> str:
    return f"date_add({day(column)}, shift)"


def _missing(column: str) -> str:
    return f"CASE WHEN {column} IS NULL THEN '{column}: missing' END"


def _bad_date(column: str) -> str:
    return f"""CASE WHEN {column} IS NULL THEN NULL WHEN {column} RLIKE '{_PARTIAL}' THEN '{column}: date precision'
        WHEN {moment(column)} IS NULL THEN '{column}: not a date' END"""


def _number(column: str) -> str:
    return f"CASE WHEN {column} RLIKE '{_NUMBER}' THEN try_cast({column} AS decimal(18, 6)) END"


def _whole_row(raw: tuple[str, ...]) -> str:
    """The feed names no ids: a row is what all its fields say. `concat_ws` skips nulls, so they are spelt out."""
    fields = ", ".join(f"coalesce({name}, '')" for name in raw)
    return f"substr(sha2(concat_ws('|', {fields}), 256), 1, 32)"


def _events(name: str, table: str, key: str, dates: tuple[str, ...], raw: tuple[str, ...], columns: Mapping[str, str], types: Mapping[str, str], *checks: str) -> Source:
    every = ("patient", "encounter", *dates, "status", "system", "code", *raw)
    common = {key: "row_id", "patient_id": "patient", "encounter_id": "encounter", "code": "code", "code_system": "system", "status": "status"}
    return Source(
        name, table, every, _whole_row(every), dates[0], {**common, **columns},
        (_missing("patient"), _missing("code"), *(_bad_date(date) for date in dates), *checks), types,
    )  # fmt: skip


# The codes of Synthea's encounters whose kind is known; FHIR calls it the encounter's class (v3-ActCode).
_CLASS = """CASE WHEN code = '50849002' THEN 'EMER'
    WHEN code IN ('183452005', '183460006', '183478001', '183495009', '305408004', '32485007') THEN 'IMP' ELSE 'AMB' END"""

_PATIENT = ("id", "birthdate", "deathdate", "gender", "given", "family", "line", "city", "state", "zip", "ssn")

PATIENTS = Source(
    "patients", "clinical.patients", _PATIENT, "id", None,
    {
        "patient_id": "id",
        "birth_date": _shifted_day("birthdate"),
        "death_date": _shifted_day("deathdate"),
        "sex": "gender",
        "given_name": "given",
        "family_name": "family",
        "email": people.email("id", "given", "family", people.dice("id", "'number'", sides=10_000)),
        "phone": people.phone("id"),
        "preferred_language": people.language("id"),
        "household_id": "substr(sha2(concat_ws('|', line, zip), 256), 1, 16)",
        "address_line": "line",
        "city": "city",
        "state": "state",
        "zip": "zip",
        "ssn": "ssn",
    },
    (_missing("id"), _bad_date("birthdate"), _bad_date("deathdate")),
    {"birth_date": "date", "death_date": "date"},
    None,
)  # fmt: skip

ENCOUNTERS = Source(
    "encounters", "clinical.encounters", ("patient", "encounter", "start", "stop", "status", "system", "code"), "encounter", "start",
    {
        "encounter_id": "encounter",
        "patient_id": "patient",
        "start": _shifted_moment("start"),
        "end": _shifted_moment("stop"),
        "class": _CLASS,
        "type": "code",
        "type_system": "system",
        "status": "status",
    },
    (_missing("encounter"), _missing("patient"), _missing("code"), _bad_date("start"), _bad_date("stop")),
    {"start": "timestamp", "end": "timestamp"},
)  # fmt: skip

CONDITIONS = _events(
    "conditions", "clinical.conditions", "condition_id", ("start", "stop"), (),
    {"onset": _shifted_moment("start"), "abated": _shifted_moment("stop")},
    {"onset": "timestamp", "abated": "timestamp"},
)  # fmt: skip

# A value with a unit is a number; one without is an answer in words.
OBSERVATIONS = _events(
    "observations", "clinical.observations", "observation_id", ("date",), ("value", "unit"),
    {"date": _shifted_moment("date"), "value": f"CASE WHEN unit IS NOT NULL THEN {_number('value')} END",
     "unit": "unit", "value_text": "CASE WHEN unit IS NULL THEN value END"},
    {"date": "timestamp", "value": "decimal(18, 6)"},
    f"CASE WHEN unit IS NOT NULL AND value IS NOT NULL AND {_number('value')} IS NULL THEN 'value: not a number' END",
)  # fmt: skip

PROCEDURES = _events(
    "procedures", "clinical.procedures", "procedure_id", ("start", "stop"), (),
    # Most have no end: they took the moment they started.
    {"start": _shifted_moment("start"), "end": f"coalesce({_shifted_moment('stop')}, {_shifted_moment('start')})"},
    {"start": "timestamp", "end": "timestamp"},
)  # fmt: skip

PRESCRIPTIONS = _events(
    "medications", "clinical.prescriptions", "prescription_id", ("start", "stop"), (),
    {"start": _shifted_day("start"), "end": _shifted_day("stop")},
    {"start": "date", "end": "date"},
)  # fmt: skip

IMMUNIZATIONS = _events(
    "immunizations", "clinical.immunizations", "immunization_id", ("start",), (),
    {"date": _shifted_day("start")}, {"date": "date"},
)  # fmt: skip

EVENTS = (ENCOUNTERS, CONDITIONS, OBSERVATIONS, PROCEDURES, PRESCRIPTIONS, IMMUNIZATIONS)
SOURCES = (PATIENTS, *EVENTS)  # patients first: events name them
CONSENTS = "crm.consents"
QUARANTINE = "clinical.quarantine"
EVERY_TABLE = (*(source.table for source in SOURCES), CONSENTS, QUARANTINE)
