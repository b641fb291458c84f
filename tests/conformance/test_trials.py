"""`cdp test` on the embedded engine: every case for itself, however many run together."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pyarrow as pa
import pytest
from sqlglot import exp

from cdp.analyst.explore.sight import Sight
from cdp.analyst.trials import run
from cdp.analyst.trials.boundary_cases import boundary_cases
from cdp.analyst.trials.deidentify import case_of
from cdp.analyst.trials.outcomes import Results
from cdp.analyst.trials.test_text import Draft, appended
from cdp.compile.clock import Clock
from cdp.engine import Engine, connect
from cdp.errors import DataError, EngineError, RefusedError, UsageError
from cdp.project.load import Project, load
from cdp.spec.activation import Environment
from tests.language_world import clinic, segment
from tests.programmes import SHARED, programmes


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = connect(Environment(engine="sail", lakehouse="tests"), root=tmp_path_factory.mktemp("trials"))
    yield engine
    engine.close()


def tried(engine: Engine, project: Project) -> Results:
    return run(project, engine, list(project.segments), list(project.traits))


def world(tmp_path: Path, where: str, tests: str, **more: str) -> Project:
    """The clinic with a segment and its tests, written as items of a list."""
    document = segment(where) + "tests:\n" + indent(dedent(tests).strip("\n"), "  ") + "\n"
    return load(clinic(tmp_path, **{"models/asked.yml": document, **more}))


def verdicts(results: Results) -> str:
    """`in`, `out` or what else came of each case, in their order."""
    return " ".join("in" if each.member else "out" if each.member is False else each.status for each in results.outcomes)


# -- the target programmes --------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/language is not here")
def test_all_cases_of_the_target_programmes_come_out_right(engine: Engine, tmp_path: Path) -> None:
    results = tried(engine, load(programmes(tmp_path)))
    assert [(each.case.subject, each.title, list(each.said())) for each in results.outcomes if not each.ok] == []
    assert len(results.outcomes) == 73


UNFINISHED = {"night_contacts_rising", "pregnant_28_to_36", "refill_due", "statin_not_adherent"}  # hold what cannot be made up


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/language is not here")
def test_boundary_cases_of_all_of_them_load_wait_and_begin_with_a_member(engine: Engine, tmp_path: Path) -> None:
    root = programmes(tmp_path)
    project = load(root)
    clock = Clock.parse("2026-07-02", project.timezone)
    for name in (name for name, each in project.segments.items() if not each.params):
        path = root / project.sources["segment", name].file
        path.write_text(appended(path.read_text(), load(root).sources["segment", name], boundary_cases(project, name, clock).text))
    results = tried(engine, load(root))
    assert results.count("pending") == len(results.outcomes) - 73 > 700
    assert results.count("error") == 0
    begun = {each.case.subject: each.member for each in results.outcomes if each.case.name == "as given"}
    assert len(begun) == 27
    assert {name for name, member in begun.items() if not member} == UNFINISHED


# -- every case for itself --------------------------------------------------------------------------------------------------


def test_cases_do_not_see_each_others_rows(engine: Engine, tmp_path: Path) -> None:
    """Equal keys, a shared household, a catalogue that two cases fill differently."""
    project = world(
        tmp_path,
        "{has: fills, where: [{drug.on_formulary: false}, {has: drug.equivalents, where: {on_formulary: true}}]}",
        """
        - as_of: 2026-07-01
          given: {patient_id: p1, household_id: h1}
          cases:
            - {fills: [{drug_id: d1, drug: {group_id: g, on_formulary: false}}], expect: out}
            - {fills: [{drug_id: d1, drug: {group_id: g, on_formulary: true}}], expect: out}
            - {fills: [{drug_id: d1, drug: {group_id: g, on_formulary: false, equivalents: [{on_formulary: true}]}}], expect: in}
            - {fills: [{drug_id: d1}], expect: out}
        """,
    )
    assert verdicts(tried(engine, project)) == "out out in out"


def test_rows_that_hang_on_a_row_of_the_member_are_the_members_too(engine: Engine, tmp_path: Path) -> None:
    ward = """\
        kind: entity
        name: ward
        table: clinical.wards
        key: ward_id
        rows: public
        columns:
          ward_id: {type: integer, class: public}
          name: {type: string, class: public}
        relations:
          visits: {many: stay, via: ward_id}
        ---
        kind: entity
        name: stay
        table: clinical.stays
        key: stay_id
        rows: public
        columns:
          stay_id: {type: integer, class: public}
          ward_id: {type: integer, class: public}
          patient_id: {type: string, class: identifier.mrn}
          night: {type: boolean, class: public}
        relations:
          ward: {one: ward, via: ward_id}
        """
    patient = (clinic(tmp_path / "plain") / "models/patient.yml").read_text() + "  nights: {many: stay, via: patient_id}\n"
    project = world(
        tmp_path,
        "{count: nights, where: {night: true}, is: 2}",
        """
        - as_of: 2026-07-01
          cases:
            - {nights: [{night: true, ward: {visits: [{night: true}]}}], expect: in}
            - {nights: [{night: true, ward: {visits: [{night: true, patient_id: null}]}}], expect: out}
            - {nights: [{night: true, ward: {name: B}}, {night: true, ward: {name: C}}, {night: false}], expect: in}
            - {nights: [{night: true, ward: null}], expect: out}
        """,
        **{"models/ward.yml": ward, "models/patient.yml": patient},
    )
    assert verdicts(tried(engine, project)) == "in out in out"


def test_a_member_who_does_not_exist_yet_is_out(engine: Engine, tmp_path: Path) -> None:
    document = segment("{class: IMP}").replace("entity: patient", "entity: encounter")
    tests = """\
        tests:
          - given: {class: IMP, start: 2026-07-01T10:00}
            cases:
              - {as_of: 2026-07-01, expect: in}
              - {as_of: 2026-07-01T09:59, expect: out}
              - {as_of: 2026-06-30, expect: out}
              - {as_of: 2026-07-01, start: null, expect: in}
        """
    project = load(clinic(tmp_path, **{"models/asked.yml": document + dedent(tests)}))
    assert verdicts(tried(engine, project)) == "in out out in"


def test_times_are_local(engine: Engine, tmp_path: Path) -> None:
    project = world(
        tmp_path,
        "{has: observations, during: today}",
        """
        - as_of: 2026-07-01T23:45
          cases:
            - {observations: [{date: 2026-07-01T23:30}], expect: in}     # the day after, in UTC
            - {observations: [{date: 2026-06-30T23:59}], expect: out}
            - {observations: [{date: "2026-07-01T03:59+00:00"}], expect: out}
            - {observations: [{date: 2026-07-01}], expect: in}
        """,
    )
    assert verdicts(tried(engine, project)) == "in out out in"


def test_arrays_structs_and_derived_rows(engine: Engine, tmp_path: Path) -> None:
    project = world(
        tmp_path,
        "[{languages: {any_of: [es, fr]}}, {address.city: Troy}, {has: readings, where: {low: {lt: 70 mg/dL}}}]",
        """
        - as_of: 2026-07-01
          given:
            languages: [en, es]
            address: {city: Troy}
            observations: [{code: 2339-0, date: 2026-06-01, value: 60 mg/dL, status: final}]
          cases:
            - {expect: in}
            - {languages: [en], expect: out}
            - {languages: null, expect: out}
            - {address: {geo: {lat: 1}}, expect: out}
            - {add: {observations: [{code: 2339-0, date: 2026-06-02, value: 80 mg/dL, status: final}]}, expect: in}
            - {observations: [{code: 2339-0, date: 2026-06-01, value: 60 mg/dL}], expect: out}
        """,
    )
    assert verdicts(tried(engine, project)) == "in out out out in out"


def test_selects_of_authors_see_the_rows_too(engine: Engine, tmp_path: Path) -> None:
    document = segment("{sex: x}").replace("where: {sex: x}", "sql: SELECT patient_id FROM fill GROUP BY patient_id HAVING count(*) >= 2")
    tests = "tests:\n  - as_of: 2026-07-01\n    cases: [{fills: [{}, {}], expect: in}, {fills: [{}], expect: out}]\n"
    assert verdicts(tried(engine, load(clinic(tmp_path, **{"models/asked.yml": document + tests})))) == "in out"


# -- traits -----------------------------------------------------------------------------------------------------------------


def test_traits_of_every_kind_have_their_values(engine: Engine, tmp_path: Path) -> None:
    project = world(
        tmp_path,
        "{sex: female}",
        """
        - as_of: 2026-07-01
          given:
            sex: female
            given_name: Ada
            state: NY
            birth_date: 2010-01-01
            conditions: [{code: 44054006, onset: 2020-01-01}, {code: E11.9, onset: 2021-01-01}]
            observations: [{code: 2339-0, date: 2026-06-01T22:30, value: 95.5 mg/dL}]
            fills: [{drug: {code: 312961, ingredient: s}, filled_on: 2026-06-01, days_supply: 20}]
            visits: [{}, {}]
          expect:
            in: true
            visit_count: 2
            diagnoses: [44054006, E11.9]
            latest_glucose.value: 95.5 mg/dL
            latest_glucose.date: 2026-06-01
            latest_glucose.unit: mg/dL
            statin_cover.days: 20
            statin_cover.share: 0.65
            statin_cover.first_fill: 2026-06-01
            band: child
            called: Ada of NY
            since_last: 30
        - as_of: 2026-07-01
          expect: {in: false, latest_glucose: null, latest_glucose.value: null, visit_count: 0, diagnoses: null, band: adult}
        """,
    )
    results = tried(engine, project)
    assert [list(each.said()) for each in results.outcomes if not each.ok] == []


def test_a_traits_own_tests(engine: Engine, tmp_path: Path) -> None:
    trait = dedent("""\
        kind: trait
        name: how_many
        entity: patient
        count: fills
        tests:
          - {as_of: 2026-07-01, expect: 0}
          - {as_of: 2026-07-01, given: {fills: [{}, {}]}, expect: 1}
          - {as_of: 2026-07-01, given: {fills: [{}]}, expect: {how_many: 1, visit_count: 0}}
        """)
    project = load(clinic(tmp_path, **{"models/how_many.yml": trait}))
    results = tried(engine, project)
    assert [each.status for each in results.outcomes] == ["passed", "failed", "passed"]
    assert list(results.outcomes[1].said()) == ["how_many: expected 1, got 2"]


# -- failures ---------------------------------------------------------------------------------------------------------------


def test_a_failure_has_the_condition_with_its_verdicts_and_the_rows(engine: Engine, tmp_path: Path) -> None:
    project = world(
        tmp_path,
        "[{age: {gte: 18}}, {any: [{sex: male}, {has: conditions, where: {code: {in: diabetes}}}]}]",
        """
        - name: of age
          as_of: 2026-07-01
          given: {birth_date: 2000-01-01, sex: female, pcp: {active: true}, observations: [{date: 2026-01-01T08:30}]}
          cases:
            - {name: nobody, expect: {in: true, visit_count: 1, latest_glucose: null}}
            - {status: pending}
            - {expect: out}
        """,
    )
    failed, pending, passed = tried(engine, project).outcomes
    assert (failed.status, pending.status, passed.status) == ("failed", "pending", "passed")
    assert (failed.title, failed.case.file, failed.case.line) == ("of age, nobody", "models/asked.yml", 12)
    assert list(failed.said()) == ["expected in, got out", "visit_count: expected 1, got 0"]
    marks = [line.split(" ")[0] or line.lstrip().split(" ")[0] for line in failed.tree]
    assert marks == ["✗", "✓", "✗", "✗", "✗"]
    assert failed.tree[0] == "✗ all of"
    assert failed.rows == (
        "patient: birth_date 2000-01-01, sex female",
        "  pcp: active true",
        "  observations: date 2026-01-01T08:30",
    )
    assert list(pending.said()) == ["pending: say what is expected, and take `status: pending` away"]
    assert (passed.tree, passed.rows, list(passed.said())) == ((), (), [])


class Broken:
    """An engine that cannot answer what names a column; all else goes to the engine behind it."""

    def __init__(self, engine: Engine, word: str) -> None:
        self._engine, self._word = engine, word

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def query(self, statement: exp.Expression, *, what: str = "") -> pa.Table:
        if self._word in statement.sql("spark"):
            raise EngineError(f"{what}: the engine failed (Broken)")
        return self._engine.query(statement, what=what)


def test_a_segment_that_cannot_be_run_spoils_no_other(engine: Engine, tmp_path: Path) -> None:
    other = segment("{smoker: true}", name="other") + "tests:\n  - {as_of: 2026-07-01, given: {smoker: true}, expect: in}\n"
    project = world(tmp_path, "{sex: female}", "- {as_of: 2026-07-01, given: {sex: female}, expect: in}", **{"models/other.yml": other})
    results = run(project, Broken(engine, "smoker"), ["asked", "other"])  # type: ignore[arg-type]
    assert {each.case.subject: (each.status, each.error) for each in results.outcomes} == {
        "asked": ("passed", ""),
        "other": ("error", "the tests: the engine failed (Broken)"),
    }


def test_only_the_named_segments_are_run(engine: Engine, tmp_path: Path) -> None:
    other = segment("{smoker: true}", name="other") + "tests:\n  - {as_of: 2026-07-01, given: {smoker: true}, expect: in}\n"
    project = world(tmp_path, "{sex: female}", "- {as_of: 2026-07-01, given: {sex: female}, expect: in}", **{"models/other.yml": other})
    assert [each.case.subject for each in run(project, engine, ["other"]).outcomes] == ["other"]
    assert run(project, engine, ["diabetic"]).outcomes == ()


def test_six_hundred_cases_of_thirty_segments_take_seconds(engine: Engine, tmp_path: Path) -> None:
    """The issue allows 500 cases 30 s; each segment here has as_of days of its own."""
    documents = []
    for number in range(30):
        where = f"""
        - {{age: {{gte: {18 + number}}}}}
        - {{has: conditions, where: {{code: {{in: any_diabetes}}}}, within: {{months: {number + 1}}}}}
        - {{lacks: observations, where: {{code: {{in: glucose}}, value: {{gt: {100 + number} mg/dL}}}}, within: {{years: 1}}}}
        """
        given = "{birth_date: 1950-01-01, conditions: [{code: 44054006, onset: 2020-01-01}]}"
        cases = "".join(f"      - {{as_of: 2026-0{1 + each % 2}-{1 + number % 15:02}, expect: in}}\n" for each in range(20))
        documents.append(f"{segment(where, name=f'many_{number}')}tests:\n  - given: {given}\n    cases:\n{cases}")
    project = load(clinic(tmp_path, **{"models/many.yml": "---\n".join(documents)}))
    results = tried(engine, project)
    assert (len(results.outcomes), results.ok) == (600, True)
    assert results.seconds < 30


# -- de-identified ----------------------------------------------------------------------------------------------------------

ROLES = """\
kind: roles
roles:
  analyst: {use: [membership, demographic, clinical, contact, public], see: [demographic.state]}
  nobody: {}
"""
WHERE = """
- {email: {not_null: true}}
- {has: conditions, where: {code: {in: diabetes}}, within: {months: 6}}
- {latest: observations, where: {code: {in: glucose}}, is: {value: {gt: 100 mg/dL}}}
- has: conditions
  as: still
  where: [{abated: null}, {has: patient.conditions, where: {abated: {not_null: true}, bare: {eq: {ref: still.bare}}}}]
"""
TABLES: dict[str, tuple[dict[str, str], list[tuple[Any, ...]]]] = {
    "clinical.patients": (
        {"patient_id": "string", "birth_date": "date", "email": "string", "given_name": "string"},
        [
            ("MRN-77", dt.date(1961, 3, 9), "ada.roe@gmail.com", "Ada"),
            ("MRN-78", dt.date(1929, 3, 9), "bob.roe@gmail.com", "Bob"),
            ("MRN-79", dt.date(1980, 3, 9), None, "Cleo"),
        ],
    ),
    "clinical.conditions": (
        dict.fromkeys(("condition_id", "patient_id", "code", "code_system", "bare"), "string")
        | {"onset": "date", "abated": "date", "status": "string"},
        [
            ("c1", "MRN-77", "44054006", "SNOMED", "Secret 7", dt.date(2019, 4, 3), None, "active"),
            ("c2", "MRN-77", "987654321", "SNOMED", "Secret 7", dt.date(2018, 4, 3), dt.date(2018, 5, 3), "active"),
            ("c3", "MRN-78", "44054006", "SNOMED", "Secret 7", dt.date(2019, 4, 3), None, "active"),
            ("c4", "MRN-78", "44054006", "SNOMED", "Secret 7", dt.date(2018, 4, 3), dt.date(2018, 5, 3), "active"),
            ("c5", "MRN-79", "44054006", None, None, dt.date(2019, 4, 3), None, "active"),
        ],
    ),
    "clinical.observations": (
        dict.fromkeys(("observation_id", "patient_id", "code", "code_system"), "string")
        | {"date": "timestamp", "value": "decimal(18,3)", "unit": "string", "status": "string"},
        [
            ("o1", "MRN-77", "2339-0", "LOINC", dt.datetime(2026, 5, 4, 13, 17, tzinfo=dt.UTC), "141.250", "mg/dL", "final"),
            ("o2", "MRN-77", "2339-0", "LOINC", dt.datetime(2026, 8, 4, 13, 17, tzinfo=dt.UTC), "99", "mg/dL", "later than as_of"),
            ("o3", "MRN-78", "2339-0", "LOINC", dt.datetime(2026, 5, 4, 13, 17, tzinfo=dt.UTC), "150", "mg/dL", "final"),
        ],
    ),
}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A lakehouse of three people."""
    lake = connect(Environment(engine="sail", lakehouse="lake"), root=tmp_path_factory.mktemp("people"))
    for table, (columns, rows) in TABLES.items():
        lake.create(table, columns)
        casts = ", ".join(f"CAST(`{name}` AS {kind}) AS `{name}`" for name, kind in columns.items())
        lake.view("loaded", pa.table({name: pa.array([row[place] for row in rows]) for place, name in enumerate(columns)}))
        lake.execute(f"INSERT INTO {table} SELECT {casts} FROM loaded")
    yield lake
    lake.close()


def disguised(tmp_path: Path, lake: Engine, engine: Engine, key: str, where: str = WHERE, role: str | None = "analyst") -> Draft:
    project = load(clinic(tmp_path, **{"models/asked.yml": segment(where), "governance/roles.yml": ROLES}))
    clock = Clock.parse("2026-07-01", project.timezone)
    return case_of(project, "asked", key, clock, source=lake, tests=engine, sight=Sight.of(project, role, "uid:1"))


def test_a_members_case_tells_nobody_who_it_is_and_comes_out_the_same(lake: Engine, engine: Engine, tmp_path: Path) -> None:
    text = disguised(tmp_path, lake, engine, "MRN-77").text
    for known in (
        "MRN",
        "Ada",
        "ada",
        "gmail",
        "1961",
        "987654321",
        "Secret",
        "ward",
        "2026-07-01",
        "2019-04-03",
        "13:17",
        "09:17",
        "later",
        "o1",
    ):
        assert known not in text, known
    assert "expect: in" in text
    assert "email: person1@example.org" in text
    assert "value: 141.25, unit: mg/dL" in text
    assert len(re.findall(r"bare: (bare_\d+)", text)) == 2  # equal texts stay equal
    assert len(set(re.findall(r"bare: (bare_\d+)", text))) == 1
    days = {name: dt.date.fromisoformat(day) for name, day in re.findall(r"(as_of|birth_date|onset|date): (\d{4}-\d\d-\d\d)", text)}
    assert days["as_of"] - days["onset"] == dt.date(2026, 7, 1) - dt.date(2019, 4, 3)
    assert days["as_of"] - days["date"] == dt.date(2026, 7, 1) - dt.date(2026, 5, 4)
    assert (days["as_of"] - dt.date(2026, 7, 1)).days % 7 == 0


def test_it_moves_by_another_number_of_days_each_time(lake: Engine, engine: Engine, tmp_path: Path) -> None:
    moved = {re.findall(r"as_of: (\S+)", disguised(tmp_path / str(number), lake, engine, "MRN-77").text)[0] for number in range(4)}
    assert len(moved) > 1


def test_its_text_is_a_test_that_loads_and_passes(lake: Engine, engine: Engine, tmp_path: Path) -> None:
    draft = disguised(tmp_path / "made", lake, engine, "MRN-77")
    project = load(clinic(tmp_path / "used", **{"models/asked.yml": segment(WHERE) + "tests:\n" + indent(draft.text, "  ")}))
    results = tried(engine, project)
    assert (results.ok, [each.member for each in results.outcomes]) == (True, [True])


def test_who_is_out_is_expected_out_and_a_null_stays_one(lake: Engine, engine: Engine, tmp_path: Path) -> None:
    text = disguised(tmp_path, lake, engine, "MRN-79").text
    assert "expect: out" in text
    assert "code_system: null" in text
    assert "email" not in text


def test_over_89_becomes_90_and_a_changed_verdict_is_said(lake: Engine, engine: Engine, tmp_path: Path) -> None:
    draft = disguised(tmp_path / "same", lake, engine, "MRN-78", where=WHERE + "- {age: {gte: 18}}\n")
    born, as_of = (dt.date.fromisoformat(re.findall(rf"{name}: (\S+)", draft.text)[0]) for name in ("birth_date", "as_of"))
    assert (as_of.year - born.year, as_of.month, as_of.day) == (90, born.month, born.day)
    assert draft.notes[1:] == ("an age over 89 became 90 (45 CFR 164.514(b)(2)(i)(C))",)
    changed = disguised(tmp_path / "changed", lake, engine, "MRN-78", where="[{age: {gte: 95}}]")
    assert "expect: out" in changed.text
    assert changed.notes[2] == "that changes the verdict: the person is in, the case out"


def test_what_depends_on_the_very_day_cannot_be_disguised(lake: Engine, engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no disguise comes out as the person does") as caught:
        disguised(tmp_path, lake, engine, "MRN-77", where="[{has: observations, where: {date: 2026-05-04}}]")
    assert "MRN" not in str(caught.value)


@pytest.mark.parametrize("role", [None, "nobody"])
def test_only_a_role_that_may_know_of_members_makes_one(lake: Engine, engine: Engine, tmp_path: Path, role: str | None) -> None:
    with pytest.raises(RefusedError):
        disguised(tmp_path, lake, engine, "MRN-77", role=role)


def test_nobody_and_selects_are_refused(lake: Engine, engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"clinical\.patients has no patient with this key") as caught:
        disguised(tmp_path / "nobody", lake, engine, "MRN-0")
    assert "MRN-0" not in str(caught.value)
    trait = "kind: trait\nname: told\nentity: patient\ntype: integer\nsql: SELECT patient_id, 1 AS told FROM patient\n"
    project = load(clinic(tmp_path, **{"models/asked.yml": segment("{told: 1}"), "models/told.yml": trait, "governance/roles.yml": ROLES}))
    sight, clock = Sight.of(project, "analyst", "uid:1"), Clock.parse("2026-07-01", project.timezone)
    with pytest.raises(UsageError, match="which rows it reads is not known"):
        case_of(project, "asked", "MRN-77", clock, source=lake, tests=engine, sight=sight)
