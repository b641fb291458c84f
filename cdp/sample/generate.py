"""A sample lakehouse of any size: every person is one of the extract's patients under another name, some weeks earlier.

The rows hang on the seed and the person's number only, so that the same seed gives the same people on every engine.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING

from cdp.errors import UsageError
from cdp.sample import people
from cdp.sample.load import ZONE, LoadReport, newest, refuse_existing, report, stage, typed, unstage, write, write_consents, write_hospital
from cdp.sample.tables import ENCOUNTERS, EVENTS, OBSERVATIONS, PATIENTS, Source

if TYPE_CHECKING:
    from cdp.engine.base import Engine

# What programmes ask for, and what must not leave; the extract's other observations would make four times as many.
CODES = ("4548-4", "8480-6", "8462-4", "57905-2", "55277-8", "28245-9", "76690-7")
YEARS = 10  # how far back events go; conditions, which last, go back to their onset
DAYS = 84  # how far a person is moved into the past, at most
_MICROSECONDS = 86_400_000_000  # of a day


def generate(engine: Engine, patients: int, seed: int, shift_to: dt.date | None = None, *, timezone: str = ZONE) -> LoadReport:
    """Make a new sample lakehouse of `patients` people with their events and consents.

    Args:
        engine: where the tables are made.
        patients: how many people, from 1 to 100 million.
        seed: the same seed and `shift_to` give the same rows, but for the time at which consents were recorded.
        shift_to: the day on which the newest events fall; None leaves the extract's dates.
        timezone: where a day is a day.

    Raises:
        UsageError: a number of people out of range.
        DataError: a table is there already: nothing is overwritten.
    """
    if not 1 <= patients <= 100_000_000:
        raise UsageError(f"{patients} patients cannot be made", fix="give a number from 1 to 100000000")
    refuse_existing(engine)
    stage(engine, None)
    last = newest(engine, timezone) or dt.date.today()
    today = shift_to or last
    extract = _Extract(engine, today, (today - last).days, timezone)
    crowd = _crowd(patients, seed, extract.size)
    write(engine, PATIENTS.table, PATIENTS.schema, _people(extract, crowd))
    for table in EVENTS:
        write(engine, table.table, table.schema, _events(table, extract.view(table), crowd))
    write_hospital(engine, today, timezone)
    write_consents(engine, today)
    unstage(engine)
    extract.forget()
    return report(engine, (today - last).days)


class _Extract:
    """The packaged patients, typed, in views: people numbered from 0, the events of each from 1."""

    def __init__(self, engine: Engine, today: dt.date, shift: int, timezone: str) -> None:
        self._engine = engine
        self._since = f"date'{today.isoformat()}' - INTERVAL {YEARS} YEARS"
        rows = typed(engine, PATIENTS, shift, timezone)
        self.size = self._hold(PATIENTS, f"SELECT *, row_number() OVER (ORDER BY patient_id) - 1 AS nr FROM ({rows})")
        for table in EVENTS:
            rows = typed(engine, table, shift, timezone, patients=self.view(PATIENTS))
            self._hold(table, self._numbered(table, rows))

    def view(self, table: Source) -> str:
        """The name of a table's view."""
        return f"cdp_sample_extract_{table.name}"

    def forget(self) -> None:
        """Drop the views."""
        for table in (PATIENTS, *EVENTS):
            self._engine.execute(f"DROP VIEW IF EXISTS {self.view(table)}")

    def _hold(self, table: Source, query: str) -> int:
        rows = self._engine.query(query, what=table.name)
        self._engine.view(self.view(table), rows)
        return int(rows.num_rows)

    def _numbered(self, table: Source, rows: str) -> str:
        key = next(iter(table.columns))
        visit, join = "0", ""
        if table is not ENCOUNTERS:
            visit = "v.place"
            join = f"LEFT JOIN (SELECT encounter_id AS visit_id, place FROM {self.view(ENCOUNTERS)}) AS v ON v.visit_id = e.encounter_id"
        return f"""
            SELECT e.*, p.nr, {visit} AS visit, row_number() OVER (PARTITION BY e.patient_id ORDER BY e.{key}) AS place
            FROM ({rows}) AS e JOIN (SELECT patient_id AS id, nr FROM {self.view(PATIENTS)}) AS p ON p.id = e.patient_id {join}
            WHERE {self._useful(table)}"""

    def _useful(self, table: Source) -> str:
        if "onset" in table.columns:
            return "TRUE"
        recent = f"e.{'date' if 'date' in table.columns else 'start'} >= {self._since}"
        codes = ", ".join(f"'{code}'" for code in CODES)
        return f"{recent} AND e.code IN ({codes})" if table is OBSERVATIONS else recent


def _crowd(patients: int, seed: int, templates: int) -> str:
    """A query: the people to make, each with an id, the number of the patient they are drawn from, and days to move back."""

    def dice(what: str, sides: int) -> str:
        return people.dice("id", f"{seed}", f"'{what}'", sides=sides)

    prefix = hashlib.sha256(str(seed).encode()).hexdigest()[:8]
    return f"""
        SELECT id, concat('{prefix}', lpad(lower(hex(id)), 8, '0')) AS person_id, {dice("drawn from", templates)} AS nr,
            cast({dice("back", DAYS + 1)} AS int) AS back, {dice("given", templates)} AS given_nr, {dice("family", templates)} AS family_nr
        FROM range({patients})"""


def _people(extract: _Extract, crowd: str) -> str:
    """The people's own table: names of others, an address and a number of their own, everything else drawn."""
    view = extract.view(PATIENTS)
    values = {
        "patient_id": "c.person_id",
        "birth_date": "date_sub(t.birth_date, c.back)",
        "death_date": "date_sub(t.death_date, c.back)",
        "given_name": "g.given_name",
        "family_name": "f.family_name",
        "email": people.email("c.person_id", "g.given_name", "f.family_name", "c.id"),
        "phone": people.phone("c.person_id"),
        "preferred_language": people.language("c.person_id"),
        "household_id": "concat(substr(c.person_id, 1, 8), '-h', c.id div 3)",
        "address_line": "concat(1 + c.id % 900, ' ', f.family_name, ' Street')",
        "ssn": "concat('999', lpad(cast(c.id % 1000000 AS string), 6, '0'))",  # no real number begins with 9
    }
    columns = ", ".join(f"{values.get(name, f't.{name}')} AS `{name}`" for name in PATIENTS.columns)
    # A given name comes from somebody of the same sex, so that the names fit; which one is drawn for each person.
    return f"""
        SELECT {columns} FROM ({crowd}) AS c JOIN {view} AS t ON t.nr = c.nr
        JOIN (SELECT nr, sex, given_name, row_number() OVER (PARTITION BY sex ORDER BY nr) - 1 AS place,
                     count(*) OVER (PARTITION BY sex) AS names FROM {view}) AS g
          ON g.sex = t.sex AND g.place = c.given_nr % g.names
        JOIN {view} AS f ON f.nr = c.family_nr"""


def _events(table: Source, view: str, crowd: str) -> str:
    """The events of the patient that each person is drawn from, moved back with the person."""
    own = next(iter(table.columns))
    values = {
        own: f"concat(c.person_id, '-{table.name[:2]}', e.place)",
        "patient_id": "c.person_id",
        "encounter_id": f"concat(c.person_id, '-{ENCOUNTERS.name[:2]}', e.{'place' if table is ENCOUNTERS else 'visit'})",
    }
    moved = {
        "date": "date_sub(e.`{}`, c.back)",
        "timestamp": f"timestamp_micros(unix_micros(e.`{{}}`) - c.back * {_MICROSECONDS})",
    }
    columns = [f"{values.get(name) or moved.get(kind, 'e.`{}`').format(name)} AS `{name}`" for name, kind in table.schema.items()]
    return f"SELECT {', '.join(columns)} FROM ({crowd}) AS c JOIN {view} AS e ON e.nr = c.nr"
