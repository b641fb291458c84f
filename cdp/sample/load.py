"""Raw CSV files into typed Delta tables. What cannot be typed goes to a quarantine with the reason, never silently away."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from sqlglot import exp

from cdp.errors import DataError
from cdp.sample import hospital, people, privacy, raw
from cdp.sample.tables import CONSENTS, EVENTS, EVERY_TABLE, MADE, PATIENTS, QUARANTINE, SOURCES, Source, day

if TYPE_CHECKING:
    import pyarrow as pa

    from cdp.engine.base import Engine

ZONE = "America/New_York"  # where Synthea's patients live
_QUARANTINE_COLUMNS = {"table_name": "string", "record": "string", "reason": "string", "loaded_at": "timestamp"}


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What one load did.

    Attributes:
        rows: rows written, by table.
        quarantined: rows set aside, by the table they were meant for. For a table made of a file, `rows` and
            `quarantined` add up to the rows of the file and the events that `hospital.py` adds (keys with `adt-`).
        shifted_days: the days by which every date was moved.
    """

    rows: Mapping[str, int]
    quarantined: Mapping[str, int]
    shifted_days: int


def load(engine: Engine, source: Path | None = None, *, shift_to: dt.date | None = None, timezone: str = ZONE) -> LoadReport:
    """Load Synthea's CSV files into a new sample lakehouse.

    Args:
        engine: where the tables are made.
        source: a folder with the files (`patients.csv.gz`, ...); None takes the 150 patients of this package.
        shift_to: move all dates by the same number of whole days, so that the newest event falls on this day and
            ages at events stay; None leaves them as they are.
        timezone: where a day is a day, and where a time without an offset was local.

    Raises:
        DataError: a file is missing or is no CSV, or a table is there already: nothing is overwritten.
    """
    refuse_existing(engine)
    stage(engine, source)
    last = newest(engine, timezone)
    shift = (shift_to - last).days if shift_to and last else 0
    for table in SOURCES:
        write(engine, table.table, table.schema, typed(engine, table, shift, timezone))
    _quarantine(engine)
    write_hospital(engine, shift_to or last or dt.date.today(), timezone)
    write_consents(engine, shift_to or dt.datetime.now(ZoneInfo(timezone)).date())
    unstage(engine)
    return report(engine, shift)


def refuse_existing(engine: Engine) -> None:
    """Stop before anything is written when a table of the sample is there.

    Raises:
        DataError: names the tables.
    """
    if there := [table for table in EVERY_TABLE if engine.exists(table)]:
        raise DataError(f"the lakehouse already holds {', '.join(there)}", fix="choose an empty folder, or remove the old sample first")


def stage(engine: Engine, source: Path | None) -> None:
    """Make the raw files readable as views of text, and start the quarantine with the rows that are no text."""
    with as_file(files("cdp.sample") / "data") as packaged:
        read = [(table, raw.read((source or packaged) / f"{table.name}.csv.gz", table.raw)) for table in SOURCES]
    engine.create(QUARANTINE, _QUARANTINE_COLUMNS)
    for table, file in read:
        engine.view(_view(table, "raw"), file.rows)
        if file.broken:
            engine.append(QUARANTINE, _broken_rows(table, file))


def newest(engine: Engine, timezone: str) -> dt.date | None:
    """The local day of the newest staged event."""
    days = " UNION ALL ".join(f"SELECT max({day(str(t.event))}) AS day FROM ({_staged(t, timezone)})" for t in EVENTS)
    found = engine.value(f"SELECT max(day) FROM ({days})", what="the newest event of the sample")
    return found if isinstance(found, dt.date) else None


def write(engine: Engine, table: str, columns: Mapping[str, str], query: str) -> None:
    """Make a table of a query's rows. Its types are said, not inferred: the engines differ about which columns may be null."""
    engine.create(table, columns)
    add(engine, table, columns, query)


def add(engine: Engine, table: str, columns: Iterable[str], query: str) -> None:
    """Put a query's rows into a table."""
    engine.execute(f"INSERT INTO {table} ({_listed(columns)}) SELECT {_listed(columns)} FROM ({query})", what=table)


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in columns)


def write_hospital(engine: Engine, today: dt.date, timezone: str) -> None:
    """Make up what Synthea does not know, around the patients that are there and the day `today`."""
    for made in (*hospital.TABLES, *privacy.TABLES):
        write(engine, made.table, made.schema, made.query(today, timezone))
    for table in dict.fromkeys(more.table for more in hospital.ADDITIONS):
        added = [more for more in hospital.ADDITIONS if more.table == table]
        add(engine, table, added[0].columns, " UNION ALL ".join(more.query(today, timezone) for more in added))


def write_consents(engine: Engine, today: dt.date) -> None:
    """Derive everybody's consents; they date from the two years before `today`."""
    everyone = f"(SELECT patient_id, email, phone, date'{today.isoformat()}' AS today FROM {PATIENTS.table})"
    write(engine, CONSENTS, people.CONSENT_COLUMNS, people.consents(everyone))


def _view(table: Source, state: str) -> str:
    return f"cdp_sample_{state}_{table.name}"


def _staged(table: Source, timezone: str) -> str:
    return f"SELECT *, {exp.Literal.string(timezone).sql('spark')} AS zone FROM {_view(table, 'raw')}"


def typed(engine: Engine, table: Source, shift: int, timezone: str, *, patients: str = PATIENTS.table) -> str:
    """The query of a table's usable rows, over a view that gives each staged row its id and the reason, if any, to set it aside.

    `patients` is where the people are that events may name.
    """
    join, checks = "", [*table.checks, "CASE WHEN copy > 1 THEN 'sent before' END"]
    if table.person:
        join = f"LEFT JOIN (SELECT patient_id AS known FROM {patients}) AS p ON p.known = r.{table.person}"
        checks.append(f"CASE WHEN known IS NULL THEN '{table.person}: unknown' END")
    query = f"""
        SELECT {", ".join(table.raw)}, row_id, zone, {shift} AS shift, coalesce({", ".join(checks)}) AS reason
        FROM (SELECT *, row_number() OVER (PARTITION BY row_id ORDER BY row_id) AS copy
              FROM (SELECT *, {table.key} AS row_id FROM ({_staged(table, timezone)}))) AS r {join}"""
    engine.execute(f"CREATE OR REPLACE TEMPORARY VIEW {_view(table, 'typed')} AS {query}", what=table.name)
    columns = ", ".join(f"{column.sql} AS `{name}`" for name, column in table.columns.items())
    return f"SELECT {columns} FROM {_view(table, 'typed')} WHERE reason IS NULL"


def _quarantine(engine: Engine) -> None:
    """Set aside the rows that have a reason, as they came."""
    aside = []
    for table in SOURCES:
        record = ", ".join(f"'{name}', {name}" for name in table.raw)
        aside.append(
            f"SELECT '{table.table}', to_json(named_struct({record})), reason, current_timestamp() "
            f"FROM {_view(table, 'typed')} WHERE reason IS NOT NULL"
        )
    engine.execute(f"INSERT INTO {QUARANTINE} ({', '.join(_QUARANTINE_COLUMNS)}) {' UNION ALL '.join(aside)}", what=QUARANTINE)


def unstage(engine: Engine) -> None:
    """Forget the staged files."""
    for table in SOURCES:
        for state in ("typed", "raw"):
            engine.execute(f"DROP VIEW IF EXISTS {_view(table, state)}")


def _broken_rows(table: Source, file: raw.RawFile) -> pa.Table:
    import pyarrow as pa

    now = dt.datetime.now(dt.UTC)
    rows = [{"table_name": table.table, "record": text, "reason": reason, "loaded_at": now} for text, reason in file.broken]
    text = pa.string()
    return pa.Table.from_pylist(
        rows, schema=pa.schema([("table_name", text), ("record", text), ("reason", text), ("loaded_at", pa.timestamp("us", "UTC"))])
    )


def report(engine: Engine, shift: int) -> LoadReport:
    """Count what the tables and the quarantine hold."""
    tables = (*(source.table for source in SOURCES), *MADE, CONSENTS)
    rows = {table: int(engine.value(f"SELECT count(*) FROM {table}", what=table)) for table in tables}  # each from the table's log
    counts = engine.query(f"SELECT table_name, count(*) AS n FROM {QUARANTINE} GROUP BY table_name").to_pylist()
    found = {row["table_name"]: row["n"] for row in counts}
    return LoadReport(rows, {table: found.get(table, 0) for table in tables}, shift)
