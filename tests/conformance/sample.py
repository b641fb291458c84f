"""Untidy files as a feed may send them, and a suite that both engines pass."""

from __future__ import annotations

import datetime as dt
import gzip
from pathlib import Path

from cdp.engine import Engine
from cdp.sample.changes import advance
from cdp.sample.generate import generate
from cdp.sample.hospital import TABLES
from cdp.sample.load import load
from cdp.sample.privacy import TABLES as PRIVACY
from cdp.sample.tables import EVERY_TABLE, QUARANTINE, SOURCES

MARKER = "MARKER-4711"
PEOPLE = 3

_SCT, _LOINC = "http://snomed.info/sct", "http://loinc.org"
_FILES = {
    "patients": [
        "id,birthdate,deathdate,gender,given,family,phone,email,line,city,state,zip,race,ethnicity,ssn",
        "p1,1970-05-01,,female,Ann,O'Brien-Lee,1-345-563-8852 x175,,1 High St,Boston,MA,02747,,,999000001",
        "p2,1980-01-31,2019-01-02T23:30:00-05:00,male,Bo,Li,,,2 High St,Boston,MA,02747,,,999000002",
        '"p3",,,,"Line\nbreak","a ""quoted"" name",,,3 High St,Boston,MA,02747,,,',
        f",1970-05-01,,male,{MARKER},Nobody,,,,,,,,,",
        f"p4,1970,,male,{MARKER},Year,,,,,,,,,",
        f"p5,1970-02-30,,male,{MARKER},Never,,,,,,,,,",
        "p1,1970-05-01,,female,Ann,Again,,,,,,,,,",
    ],
    "encounters": [
        "patient,encounter,start,stop,status,system,code,display",
        f"p1,e1,2020-01-02T03:04:05+00:00,2020-01-02T04:04:05+00:00,finished,{_SCT},50849002,",
        f"p1,e1,2020-01-02T03:04:05+00:00,2020-01-02T04:04:05+00:00,finished,{_SCT},50849002,",
        f"p1,,2020-01-02T03:04:05+00:00,,finished,{_SCT},185349003,",
        f"p4,e2,2020-01-02T03:04:05+00:00,,finished,{_SCT},185349003,",  # p4 is in quarantine
    ],
    "conditions": [
        "patient,encounter,start,stop,status,system,code,display",
        f"p1,e1,2020-01-02T03:04:05+00:00,,active,{_SCT},offset,",
        f"p1,e1,2020-01-02T03:04:05.250Z,,active,{_SCT},zulu,",
        f"p1,e1,2020-07-02T03:04:05,,active,{_SCT},local,",
        f"p1,e1,2020-01-02,,active,{_SCT},day,",
        f"p1,e1,,,active,{_SCT},none,",
        f"p1,e1,2020-07,,active,{_SCT},partial,",
        f"p1,e1,2020-07-02T03:04,,active,{_SCT},no seconds,",
        f"p1,e1,2020-07-02,soon,active,{_SCT},end is no date,",
        f"p1,e1,0020-07-02,,active,{_SCT},typing error,",
        f",e1,2020-07-02,,active,{_SCT},44054006,",
        f"stranger,e1,2020-07-02,,active,{_SCT},44054006,",
        f"p1,e1,2020-07-02,,active,{_SCT},,{MARKER}",
        f"p1,e1,2020-07-02,,active,{_SCT},44054006",  # a field short
        f"p1,e1,2020-07-02,,active,{_SCT},44054006,one,too many",
    ],
    "observations": [
        "patient,encounter,date,status,system,code,display,value,unit",
        f"p1,e1,2020-01-02T03:04:05+00:00,final,{_LOINC},4548-4,,6.5,%",
        f"p1,e1,2020-01-02T03:04:05+00:00,final,{_LOINC},4548-4,again,6.5,%",
        f"p1,e1,2020-01-02T03:04:05+00:00,final,{_LOINC},29463-7,,22.631441828064503,kg",
        f"p1,e1,2020-01-02T03:04:05+00:00,final,{_LOINC},4548-4,no result,,%",
        f"p1,e1,2020-01-02T03:04:05+00:00,final,{_LOINC},55277-8,,HIV positive,",
        f"p1,e1,2020-01-03T03:04:05+00:00,final,{_LOINC},4548-4,,{MARKER},%",
        f"p1,e1,2020-01-04T03:04:05+00:00,final,{_LOINC},4548-4,,NaN,%",
        f"p1,e1,2020-01-05T03:04:05+00:00,final,{_LOINC},4548-4,,1e3,%",
        f'p1,e1,2020-01-06T03:04:05+00:00,final,{_LOINC},4548-4,,"6,5",%',
        f"p1,e1,2020-01-07T03:04:05+00:00,final,{_LOINC},4548-4,,1234567890123456789,%",
    ],
    "procedures": [
        "patient,encounter,start,stop,status,system,code,display",
        f"p2,e1,2020-01-02T03:04:05+00:00,,completed,{_SCT},73761001,Caf\xe9".encode("latin-1"),  # display is not read
        f"p2,e1,2020-01-02T03:04:05+00:00,,completed,{_SCT},Caf\xe9,".encode("latin-1"),
    ],
    "medications": ["patient,encounter,start,stop,status,system,code,display", "p2,,2020-01-02,,stopped,rxnorm,860975,"],
    "immunizations": ["patient,encounter,start,stop,status,system,code,display", "p2,,2020-01-02T23:30:00-05:00,,completed,cvx,08,"],
}

REASONS = {
    ("clinical.patients", "id: missing"): 1,
    ("clinical.patients", "birthdate: date precision"): 1,
    ("clinical.patients", "birthdate: not a date"): 1,
    ("clinical.patients", "sent before"): 1,
    ("clinical.encounters", "sent before"): 1,
    ("clinical.encounters", "encounter: missing"): 1,
    ("clinical.encounters", "patient: unknown"): 1,
    ("clinical.conditions", "start: date precision"): 1,
    ("clinical.conditions", "start: not a date"): 2,
    ("clinical.conditions", "stop: not a date"): 1,
    ("clinical.conditions", "patient: missing"): 1,
    ("clinical.conditions", "patient: unknown"): 1,
    ("clinical.conditions", "code: missing"): 1,
    ("clinical.conditions", "7 fields instead of 8"): 1,
    ("clinical.conditions", "9 fields instead of 8"): 1,
    ("clinical.observations", "sent before"): 1,
    ("clinical.observations", "value: not a number"): 5,
    ("clinical.procedures", "not UTF-8"): 1,
}

# Of 500 generated people after a day of change; recompute them when the extract or a derived value is meant to change.
PRINTS = {
    "patients": 139043764846115,
    "encounters": 348405579555953,
    "conditions": 344428007253010,
    "observations": 252674321518431,
    "procedures": 198301642783812,
    "medications": -242184454507532,
    "immunizations": 375337528108171,
    "plan.clinicians": -1091303003087,
    "plan.coverages": -298424299274554,
    "scheduling.appointments": -95806144114225,
    "crm.contacts": -16016222827081,
    "pharmacy.drugs": -29432530837126,
    "pharmacy.fills": -412042518190199,
    "clinical.pregnancies": -22450913165028,
    "behavioral.screens": 76032991981210,
    "devices.uploads": 69028701475343,
    "devices.step_days": -69413442079043,
    "crm.restrictions": 1641636284945,
    "crm.confidential_requests": -36854286356720,
    "crm.suppressions": 18500160858369,
    "crm.guardians": -46802522673673,
}


def write_untidy(folder: Path) -> dict[str, int]:
    """Write the files; how many rows each has."""
    folder.mkdir()
    for name, lines in _FILES.items():
        text = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines) + b"\n"
        (folder / f"{name}.csv.gz").write_bytes(gzip.compress(text))
    return {name: len(lines) - 1 for name, lines in _FILES.items()}


class SampleSuite:
    """What the sample does on an engine; the numbers are the same on each."""

    def test_untidy_files(self, engine: Engine, tmp_path: Path) -> None:
        write_untidy(tmp_path / "raw")
        self._clear(engine)
        load(engine, tmp_path / "raw", shift_to=dt.date(2026, 3, 1))
        found = engine.query(f"SELECT table_name, reason, count(*) AS n FROM {QUARANTINE} GROUP BY 1, 2").to_pylist()
        assert {(row["table_name"], row["reason"]): row["n"] for row in found} == REASONS
        # 2,068 days on, from winter into summer time and back: the time of day in New York stays.
        onsets = engine.query("SELECT code, onset FROM clinical.conditions ORDER BY code").to_pylist()
        assert [row["onset"] and row["onset"].isoformat() for row in onsets] == [
            "2025-08-31T04:00:00+00:00",
            "2026-03-01T08:04:05+00:00",
            None,
            "2025-08-31T02:04:05+00:00",
            "2025-08-31T02:04:05.250000+00:00",
        ]

    def test_the_same_people_and_the_same_changes_on_every_engine(self, engine: Engine) -> None:
        self._clear(engine)
        generate(engine, 500, 7, dt.date(2026, 3, 1))
        changes = advance(engine, 1, now=dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC))
        assert sum(changes.counts.values()) == 8
        assert self._prints(engine) == PRINTS

    @staticmethod
    def _clear(engine: Engine) -> None:
        for table in EVERY_TABLE:
            engine.drop(table)

    @staticmethod
    def _prints(engine: Engine) -> dict[str, int]:
        """A number for all rows of each table."""
        tables = {source.name: (source.table, source.schema) for source in SOURCES} | {
            made.table: (made.table, made.schema) for made in (*TABLES, *PRIVACY)
        }
        each = []
        for name, (table, schema) in tables.items():
            columns = ", ".join(_hashed(column, kind) for column, kind in schema.items())
            each.append(f"SELECT '{name}' AS name, sum(xxhash64({columns}) div 1000000) AS n FROM {table}")
        return {row["name"]: row["n"] for row in engine.query(" UNION ALL ".join(each)).to_pylist()}


def _hashed(column: str, kind: str) -> str:
    """A column as the engines hash it alike."""
    if kind.startswith("decimal"):
        return f"cast(`{column}` AS string)"
    if kind.startswith("array"):
        return f"array_join(`{column}`, ' ')"
    if kind.startswith("struct"):
        return f"`{column}`.kind, `{column}`.model"
    return f"`{column}`, `{column}` IS NULL"
