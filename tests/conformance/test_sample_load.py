"""The sample on the embedded engine: what is packaged, what loading keeps and sets aside, any size, a day of change."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdp.engine import Engine, connect
from cdp.errors import DataError, UsageError
from cdp.sample.changes import advance
from cdp.sample.generate import generate
from cdp.sample.hospital import TABLES
from cdp.sample.load import LoadReport, load
from cdp.sample.made import Made
from cdp.sample.privacy import TABLES as PRIVACY
from cdp.sample.tables import CONSENTS, EVENTS, EVERY_TABLE, MADE, QUARANTINE, SOURCES
from cdp.spec.activation import Environment
from tests.conformance.sample import MARKER, PEOPLE, REASONS, write_untidy

TODAY = dt.date(2026, 3, 1)
FUTURE = (("scheduling.appointments", "start"), ("crm.confidential_requests", "ends_on"))  # what may lie ahead
PACKAGED = Path(__file__).parents[2] / "cdp" / "sample" / "data"
WHOLE = Path(__file__).parents[3] / "shared" / "data" / "synthea"


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Engine]:
    engine = connect(Environment(lakehouse="lake"), root=tmp_path)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, LoadReport]]:
    engine = connect(Environment(lakehouse="lake"), root=tmp_path_factory.mktemp("loaded"))
    yield engine, load(engine, shift_to=TODAY)
    engine.close()


def rows_of(folder: Path, name: str) -> list[dict[str, str]]:
    with gzip.open(folder / f"{name}.csv.gz", "rt", newline="") as file:
        return list(csv.DictReader(file))


def count(engine: Engine, where: str) -> int:
    return int(engine.value(f"SELECT count(*) FROM {where}"))


# -- the packaged patients --------------------------------------------------------------------------------------------


def test_the_package_is_small_and_says_where_it_comes_from() -> None:
    assert sum(file.stat().st_size for file in PACKAGED.iterdir()) < 1_000_000
    notice = (PACKAGED / "NOTICE.md").read_text()
    assert "Apache License 2.0" in notice
    assert "smart-on-fhir/generated-sample-data" in notice


def test_every_packaged_row_is_loaded_or_set_aside(loaded: tuple[Engine, LoadReport]) -> None:
    engine, report = loaded
    for source in SOURCES:
        key = next(iter(source.columns))
        loaded_rows = count(engine, f"{source.table} WHERE {key} NOT LIKE 'adt-%'")
        assert loaded_rows + report.quarantined[source.table] == len(rows_of(PACKAGED, source.name)), source.name
        assert engine.value(f"SELECT count(DISTINCT {key}) FROM {source.table}") == report.rows[source.table]
    assert report.rows["clinical.patients"] == 150
    # The published bundles hold each HbA1c of some panels twice.
    assert {row["reason"] for row in engine.query(f"SELECT DISTINCT reason FROM {QUARANTINE}").to_pylist()} == {"sent before"}


@pytest.mark.parametrize(
    ("table", "where", "least"),
    [
        ("conditions", "code = '44054006'", 30),  # diabetes
        ("conditions", "code = '38341003'", 30),  # hypertension
        ("conditions", "code = '15777000'", 15),  # prediabetes
        ("conditions", "code = '72892002'", 12),  # pregnancy
        ("observations", "value_text = 'HIV positive'", 1),
        ("immunizations", "code = '140'", 500),
        ("immunizations", "status = 'not-done'", 5),
        ("patients", "death_date IS NOT NULL", 12),
        ("patients", "email IS NULL", 3),
        ("encounters", "class = 'EMER'", 20),
        ("encounters", "class = 'IMP'", 5),
    ],
)
def test_every_programme_has_people(loaded: tuple[Engine, LoadReport], table: str, where: str, least: int) -> None:
    assert count(loaded[0], f"clinical.{table} WHERE {where}") >= least


@pytest.mark.parametrize("made", [*TABLES, *PRIVACY], ids=lambda made: made.table)
def test_what_synthea_has_no_table_of_is_made_up_around_its_people(loaded: tuple[Engine, LoadReport], made: Made) -> None:
    engine, report = loaded
    key = next(iter(made.columns))
    assert engine.value(f"SELECT count(DISTINCT {key}) FROM {made.table}") == report.rows[made.table] > 0
    if "patient_id" in made.columns:
        alive = "SELECT patient_id FROM clinical.patients WHERE death_date IS NULL"
        assert count(engine, f"{made.table} WHERE patient_id NOT IN ({alive})") == 0
    for name, kind in made.schema.items():
        future = (made.table, name) in FUTURE
        if kind in ("date", "timestamp") and not future:
            assert count(engine, f"{made.table} WHERE {name} > date'{TODAY}'") == 0


def test_what_hangs_together_fits(loaded: tuple[Engine, LoadReport]) -> None:
    engine, _ = loaded
    assert count(engine, "pharmacy.fills WHERE drug_id NOT IN (SELECT drug_id FROM pharmacy.drugs)") == 0
    assert count(engine, "clinical.patients WHERE pcp_id NOT IN (SELECT clinician_id FROM plan.clinicians)") == 0
    assert (
        count(engine, "clinical.pregnancies AS g JOIN clinical.patients AS p ON p.patient_id = g.patient_id WHERE p.sex <> 'female'") == 0
    )
    assert count(engine, "clinical.encounters WHERE `end` < start AND encounter_id LIKE 'adt-%'") == 0
    assert count(engine, "(SELECT household_id FROM clinical.patients GROUP BY household_id HAVING count(*) > 1) AS h") >= 10
    assert count(engine, "clinical.patients WHERE size(tags) > 1") >= 5


def test_children_were_born_before_they_were_vaccinated(loaded: tuple[Engine, LoadReport]) -> None:
    early = "clinical.immunizations AS i JOIN clinical.patients AS p ON p.patient_id = i.patient_id WHERE i.date < p.birth_date"
    assert count(loaded[0], early) == 0
    assert count(loaded[0], f"clinical.patients WHERE birth_date > add_months(date'{TODAY}', -24)") >= 5


def test_nobody_can_be_reached(loaded: tuple[Engine, LoadReport]) -> None:
    asked_for = "SELECT CASE WHEN channel = 'email' THEN value END AS email, CASE WHEN channel <> 'email' THEN value END AS phone"
    everywhere = f"SELECT email, phone FROM clinical.patients UNION ALL SELECT email, phone FROM crm.guardians UNION ALL {asked_for}"
    for row in loaded[0].query(f"{everywhere} FROM crm.confidential_requests").to_pylist():
        assert row["email"] is None or row["email"].endswith(("@example.org", "@example.com", "@example"))
        assert row["phone"] is None or row["phone"][6:-2] == "-555-01"


def test_consents_are_of_every_kind_and_only_for_addresses_there_are(loaded: tuple[Engine, LoadReport]) -> None:
    engine, _ = loaded
    assert {"active", "inactive", "rejected"} == set(engine.query(f"SELECT DISTINCT status FROM {CONSENTS}").column(0).to_pylist())
    assert count(engine, f"clinical.patients WHERE patient_id NOT IN (SELECT patient_id FROM {CONSENTS})") >= 3  # never asked
    twice = f"(SELECT patient_id FROM {CONSENTS} GROUP BY patient_id, purpose, channel HAVING count(*) = 2) AS t"
    assert count(engine, twice) >= 10  # taken back
    unreachable = (
        f"{CONSENTS} AS c JOIN clinical.patients AS p ON p.patient_id = c.patient_id WHERE c.channel = 'email' AND p.email IS NULL"
    )
    assert count(engine, unreachable) == 0
    assert count(engine, f"{CONSENTS} WHERE effective_at > current_timestamp() OR recorded_at IS NULL") == 0


# -- dates ------------------------------------------------------------------------------------------------------------


def test_the_newest_event_falls_on_the_day_asked_for(loaded: tuple[Engine, LoadReport]) -> None:
    days = {"encounters": "start", "conditions": "onset", "observations": "date", "procedures": "start"}
    local = [
        f"SELECT cast(from_utc_timestamp({column}, 'America/New_York') AS date) AS day FROM clinical.{t}" for t, column in days.items()
    ]
    newest = " UNION ALL ".join([*local, "SELECT start FROM clinical.prescriptions", "SELECT date FROM clinical.immunizations"])
    assert loaded[0].value(f"SELECT max(day) FROM ({newest})") == TODAY


def test_shifting_keeps_ages_and_times_of_day(loaded: tuple[Engine, LoadReport], lake: Engine) -> None:
    report = load(lake)
    assert report.shifted_days == 0
    local = "from_utc_timestamp(o.date, 'America/New_York')"
    ages = f"""SELECT datediff({local}, p.birth_date) AS age, hour({local}) AS hour, count(*) AS n FROM clinical.observations AS o
               JOIN clinical.patients AS p ON p.patient_id = o.patient_id GROUP BY 1, 2 ORDER BY 1, 2"""
    assert lake.query(ages).to_pylist() == loaded[0].query(ages).to_pylist()
    assert lake.value("SELECT max(date) FROM clinical.immunizations") < dt.date(2017, 7, 11)


def test_a_day_is_a_day_where_the_patients_live(lake: Engine, tmp_path: Path) -> None:
    write_untidy(tmp_path / "raw")
    load(lake, tmp_path / "raw")
    # 2020-01-02T23:30:00-05:00 is the 3rd in Greenwich.
    assert lake.value("SELECT date FROM clinical.immunizations") == dt.date(2020, 1, 2)


# -- untidy files -----------------------------------------------------------------------------------------------------


def test_what_cannot_be_typed_is_set_aside_with_the_reason(lake: Engine, tmp_path: Path) -> None:
    lines = write_untidy(tmp_path / "raw")
    report = load(lake, tmp_path / "raw")
    found = lake.query(f"SELECT table_name, reason, count(*) AS n FROM {QUARANTINE} GROUP BY 1, 2").to_pylist()
    assert {(row["table_name"], row["reason"]): row["n"] for row in found} == REASONS
    for source in SOURCES:
        made_up = count(lake, f"{source.table} WHERE {next(iter(source.columns))} LIKE 'adt-%'")
        assert report.rows[source.table] + report.quarantined[source.table] - made_up == lines[source.name], source.name
    assert report.rows["clinical.patients"] == PEOPLE


def test_the_row_is_kept_as_it_came(lake: Engine, tmp_path: Path) -> None:
    write_untidy(tmp_path / "raw")
    load(lake, tmp_path / "raw")
    records = lake.query(f"SELECT record FROM {QUARANTINE} WHERE reason = 'value: not a number'").column(0).to_pylist()
    assert len(records) == REASONS["clinical.observations", "value: not a number"]
    assert any(f'"value":"{MARKER}"' in record for record in records)


def test_dates_of_every_form_are_read(lake: Engine, tmp_path: Path) -> None:
    write_untidy(tmp_path / "raw")
    load(lake, tmp_path / "raw", timezone="America/New_York")
    at = dt.datetime.fromisoformat
    onsets = {row["code"]: row["onset"] for row in lake.query("SELECT code, onset FROM clinical.conditions").to_pylist()}
    assert onsets["offset"] == at("2020-01-02T03:04:05+00:00")
    assert onsets["zulu"] == at("2020-01-02T03:04:05.250+00:00")
    assert onsets["local"] == at("2020-07-02T03:04:05-04:00")
    assert onsets["day"] == at("2020-01-02T00:00:00-05:00")
    assert onsets["none"] is None


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("conditions", None, "conditions.csv.gz is not there"),
        ("conditions", f"patient,start\n{MARKER},2020-01-01\n".encode(), "conditions.csv.gz lacks a column"),
        ("patients", MARKER.encode(), "patients.csv.gz cannot be read as CSV"),
        ("patients", b"", "patients.csv.gz cannot be read as CSV"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_nothing_is_written(
    lake: Engine, tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    write_untidy(tmp_path / "raw")
    path = tmp_path / "raw" / f"{name}.csv.gz"
    path.unlink()
    if content is not None:
        path.write_bytes(gzip.compress(content) if name == "conditions" else content)
    with pytest.raises(DataError) as caught:
        load(lake, tmp_path / "raw")
    assert words in str(caught.value)
    assert MARKER not in str(caught.value)
    assert not any(lake.exists(table) for table in EVERY_TABLE)


def test_nothing_is_overwritten(loaded: tuple[Engine, LoadReport]) -> None:
    engine, report = loaded
    for make in (lambda: load(engine), lambda: generate(engine, 10, 1)):
        with pytest.raises(DataError, match=r"already holds clinical\.patients"):
            make()
    assert count(engine, "clinical.patients") == report.rows["clinical.patients"]


@pytest.mark.skipif(not WHOLE.is_dir(), reason="the 1,461 patients of ../shared/data/synthea are not here")
def test_all_of_synthea(lake: Engine) -> None:
    report = load(lake, WHOLE)
    assert report.rows["clinical.patients"] == 1461
    for source in SOURCES:
        made_up = count(lake, f"{source.table} WHERE {next(iter(source.columns))} LIKE 'adt-%'")
        assert report.rows[source.table] + report.quarantined[source.table] - made_up == len(rows_of(WHOLE, source.name)), source.name
    doubled = rows_of(WHOLE, "observations")
    assert report.quarantined["clinical.observations"] == len(doubled) - len({tuple(row.values()) for row in doubled})


# -- any size ---------------------------------------------------------------------------------------------------------


def everything(engine: Engine) -> dict[str, list[tuple[object, ...]]]:
    """All rows but the time at which consents were recorded, in an order of their own."""
    found = {}
    for table in (*(source.table for source in SOURCES), *MADE, CONSENTS):
        columns = [name for name in engine.columns(table) if name != "recorded_at"]
        listed = ", ".join(f"`{name}`" for name in columns)
        found[table] = [tuple(row.values()) for row in engine.query(f"SELECT {listed} FROM {table} ORDER BY 1").to_pylist()]
    return found


def made(tmp_path: Path, patients: int, seed: int) -> tuple[Engine, LoadReport]:
    engine = connect(Environment(lakehouse=uuid.uuid4().hex), root=tmp_path)
    return engine, generate(engine, patients, seed, TODAY)


def test_a_seed_is_a_lakehouse(tmp_path: Path) -> None:
    first, again, other = (made(tmp_path, 300, seed)[0] for seed in (7, 7, 8))
    rows, others = everything(first), everything(other)
    assert rows == everything(again)
    assert not {row[0] for row in rows["clinical.patients"]} & {row[0] for row in others["clinical.patients"]}
    assert [row[4:6] for row in rows["clinical.patients"]] != [row[4:6] for row in others["clinical.patients"]]


def test_generated_people_are_whole(tmp_path: Path) -> None:
    engine, report = made(tmp_path, 2000, 1)
    assert report.rows["clinical.patients"] == 2000
    assert count(engine, "clinical.patients WHERE given_name IS NULL OR family_name IS NULL OR birth_date IS NULL") == 0
    for source in EVENTS:
        key = next(iter(source.columns))
        assert engine.value(f"SELECT count(DISTINCT {key}) FROM {source.table}") == report.rows[source.table] > 0
        strangers = f"{source.table} WHERE patient_id NOT IN (SELECT patient_id FROM clinical.patients)"
        assert count(engine, strangers) == 0
        if source.name != "encounters":
            dangling = f"{source.table} WHERE encounter_id NOT IN (SELECT encounter_id FROM clinical.encounters)"
            assert count(engine, dangling) == 0
    assert engine.value("SELECT max(cast(from_utc_timestamp(date, 'America/New_York') AS date)) FROM clinical.observations") <= TODAY
    born_late = "clinical.observations AS o JOIN clinical.patients AS p ON p.patient_id = o.patient_id WHERE o.date < p.birth_date"
    assert count(engine, born_late) == 0
    loaded_types = {source.table: engine.columns(source.table) for source in SOURCES}
    assert loaded_types == {source.table: {n: k.replace(", ", ",") for n, k in source.schema.items()} for source in SOURCES}


@pytest.mark.parametrize("patients", [0, -1, 100_000_001])
def test_a_number_that_cannot_be(lake: Engine, patients: int) -> None:
    with pytest.raises(UsageError, match="cannot be made"):
        generate(lake, patients, 1)
    assert not any(lake.exists(table) for table in EVERY_TABLE)


# -- a day of change --------------------------------------------------------------------------------------------------


def test_a_day_changes_a_few_people(lake: Engine) -> None:
    load(lake, shift_to=TODAY)
    before, now = everything(lake), dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
    changes = advance(lake, 3, now=now)
    after = everything(lake)
    assert dict(changes.counts) == {"new_patients": 2, "changed_emails": 2, "fresh_results": 2, "deaths": 1, "withdrawn_consents": 1}
    was, people = ({row[0]: row for row in rows["clinical.patients"]} for rows in (before, after))
    assert len(set(people) - set(was)) == 2
    assert sum(people[key][6] != row[6] for key, row in was.items()) == 2  # email
    assert sum(people[key][2] != row[2] for key, row in was.items()) == 1  # death_date
    fresh = lake.query("SELECT patient_id FROM clinical.observations WHERE date = :now AND code = '4548-4'", {"now": now}).to_pylist()
    assert len({row["patient_id"] for row in fresh}) == 2
    latest = f"SELECT max_by(status, effective_at) AS status FROM {CONSENTS} WHERE patient_id = :person GROUP BY purpose, channel"
    held = lake.query(latest, {"person": changes.withdrew})
    assert set(held.column(0).to_pylist()) == {"inactive"}
    assert lake.value(f"SELECT min(recorded_at) FROM {CONSENTS}") == now


def test_the_next_day_is_another(lake: Engine) -> None:
    load(lake, shift_to=TODAY)
    days = [advance(lake, 3, now=dt.datetime(2026, 3, day, 12, tzinfo=dt.UTC)) for day in (2, 3)]
    assert days[0].withdrew != days[1].withdrew
    for source in SOURCES:
        key = next(iter(source.columns))
        assert count(lake, source.table) == lake.value(f"SELECT count(DISTINCT {key}) FROM {source.table}")
    assert count(lake, CONSENTS) == lake.value(f"SELECT count(DISTINCT consent_id) FROM {CONSENTS}")


def test_there_is_nothing_to_change(lake: Engine) -> None:
    with pytest.raises(DataError, match="no sample to change"):
        advance(lake, 1)
