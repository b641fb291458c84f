"""SQL models: what is accepted, and what is made of it. What is refused stands in fixtures/refused/statements.txt."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from cdp.errors import ProjectError
from cdp.project.load import Project, load
from cdp.project.sql import statements, syntax
from cdp.project.sql.sql_text import functions
from cdp.project.terms.models import SqlModel
from tests.projects import FILES, minimal

MODELS = """\
kind: entity
name: visit
table: clinical.visits
key: visit_id
time: start
rows: public
columns:
  visit_id: {type: string, class: public}
  patient_id: {type: string, class: identifier.mrn}
  start: {type: timestamp, class: clinical.date}
  end: {type: timestamp, class: clinical.date}
  kind: {type: string, class: clinical.condition}
  address: {fields: {city: string, geo.lat: double}, class: demographic.state}
  tags: {type: string, array: true, class: public}
---
{kind: trait, name: consents_given, entity: patient, count: consents}
---
kind: entity
name: visit_day
from: visit
group_by: {patient_id: patient_id, day: start.day}
columns: {visits: {count: true}, last: {max: end}}
---
"""
HEAD = "kind: segment\nname: written\nentity: patient\nowner: a@example.org\npurpose: care_coordination\nsql: |\n"


def project_of(tmp_path: Path, sql: str, head: str = HEAD) -> Project:
    body = "".join(f"  {line}\n" for line in sql.splitlines())
    return load(minimal(tmp_path, **{"models/written.yml": f"{MODELS}{head}{body}"}))


def model(tmp_path: Path, sql: str) -> SqlModel:
    return project_of(tmp_path, sql).bound.sql["segment", "written"]


# what an author writes: what the engines read
ACCEPTED = {
    "SELECT patient_id FROM patient": "SELECT patient.patient_id FROM patient",
    "select PATIENT_ID from Patient p where State = 'Ny' -- home": "SELECT p.patient_id FROM patient AS p WHERE p.state = 'Ny'",
    "SELECT patient_id FROM adults": "SELECT adults.patient_id FROM adults",
    "SELECT patient_id FROM consents_given WHERE consents_given > 1": (
        "SELECT consents_given.patient_id FROM consents_given WHERE consents_given.consents_given > 1"
    ),
    "SELECT patient_id FROM visit WHERE address.city = 'Troy' AND visit.address.geo.lat > 42": (
        "SELECT visit.patient_id FROM visit WHERE visit.address.city = 'Troy' AND visit.address.geo.lat > 42"
    ),
    "SELECT v.patient_id FROM visit v WHERE v.end > as_of": "SELECT v.patient_id FROM visit AS v WHERE v.`end` > as_of",
    "SELECT patient_id FROM visit GROUP BY patient_id HAVING count(*) > 2": (
        "SELECT visit.patient_id FROM visit GROUP BY visit.patient_id HAVING COUNT(*) > 2"
    ),
    "SELECT patient_id FROM visit GROUP BY 1": "SELECT visit.patient_id FROM visit GROUP BY 1",
    "SELECT max(patient_id) AS patient_id FROM visit GROUP BY upper(kind) HAVING upper(kind) <> 'X'": (
        "SELECT MAX(visit.patient_id) AS patient_id FROM visit GROUP BY UPPER(visit.kind) HAVING UPPER(visit.kind) <> 'X'"
    ),
    "WITH often AS (SELECT patient_id, count(*) AS n FROM visit GROUP BY patient_id)\nSELECT patient_id FROM often WHERE n > 3": (
        "WITH often AS (SELECT visit.patient_id, COUNT(*) AS n FROM visit GROUP BY visit.patient_id) "
        "SELECT often.patient_id FROM often WHERE often.n > 3"
    ),
    "WITH often(who, n) AS (SELECT patient_id, count(*) FROM visit GROUP BY patient_id) SELECT who AS patient_id FROM often": (
        "WITH often(who, n) AS (SELECT visit.patient_id, COUNT(*) FROM visit GROUP BY visit.patient_id) "
        "SELECT often.who AS patient_id FROM often"
    ),
    "SELECT patient_id FROM patient UNION SELECT patient_id FROM visit ORDER BY patient_id LIMIT 5": (
        "SELECT patient.patient_id FROM patient UNION SELECT visit.patient_id FROM visit ORDER BY patient_id LIMIT 5"
    ),
    "SELECT patient_id FROM patient p WHERE EXISTS (SELECT 1 FROM visit v WHERE v.patient_id = p.patient_id AND kind = state)": (
        "SELECT p.patient_id FROM patient AS p WHERE EXISTS(SELECT 1 FROM visit AS v "
        "WHERE v.patient_id = p.patient_id AND v.kind = p.state)"
    ),
    "SELECT patient_id FROM patient WHERE patient_id NOT IN (SELECT patient_id FROM visit)": (
        "SELECT patient.patient_id FROM patient WHERE NOT patient.patient_id IN (SELECT visit.patient_id FROM visit)"
    ),
    "SELECT patient_id FROM visit LATERAL VIEW explode(tags) t AS tag WHERE tag = 'x'": (
        "SELECT visit.patient_id FROM visit LATERAL VIEW EXPLODE(visit.tags) t AS tag WHERE t.tag = 'x'"
    ),
    "SELECT patient_id FROM visit WHERE exists(tags, t -> t = kind)": (
        "SELECT visit.patient_id FROM visit WHERE EXISTS(visit.tags, t -> t = visit.kind)"
    ),
    "SELECT patient_id FROM (SELECT patient_id, rank() OVER (PARTITION BY patient_id ORDER BY start) AS n FROM visit) v WHERE n = 2": (
        "SELECT v.patient_id FROM (SELECT visit.patient_id, RANK() OVER (PARTITION BY visit.patient_id ORDER BY visit.start) AS n "
        "FROM visit) AS v WHERE v.n = 2"
    ),
    "SELECT v.patient_id FROM visit v JOIN (VALUES ('a', 1), ('b', 2)) AS w(kind, weight) ON v.kind = w.kind WHERE weight > 1": (
        "SELECT v.patient_id FROM visit AS v JOIN VALUES ('a', 1), ('b', 2) AS w(kind, weight) ON v.kind = w.kind WHERE w.weight > 1"
    ),
    "SELECT patient_id FROM visit_day GROUP BY patient_id HAVING sum(visits) > 9 AND max(day) > date_add(as_of, 3)": (
        "SELECT visit_day.patient_id FROM visit_day GROUP BY visit_day.patient_id HAVING SUM(visit_day.visits) > 9 "
        "AND MAX(visit_day.day) > DATE_ADD(as_of, 3)"
    ),
}


@pytest.mark.parametrize("sql", ACCEPTED)
def test_columns_come_out_qualified(tmp_path: Path, sql: str) -> None:
    found, expected = model(tmp_path, sql).tree, sqlglot.parse_one(ACCEPTED[sql], dialect="spark")
    assert squeezed(found) == squeezed(expected)


def squeezed(tree: exp.Expr) -> str:
    """The text of a tree, without what differs between two ways to write one thing."""
    return tree.sql("spark", comments=False).lower().replace("`", "")


def test_what_a_select_uses(tmp_path: Path) -> None:
    sql = """\
    WITH seen AS (SELECT patient_id FROM visit)
    SELECT a.patient_id FROM adults AS a JOIN consents_given AS c ON a.patient_id = c.patient_id
    WHERE a.patient_id IN (SELECT patient_id FROM seen) AND c.consents_given > (SELECT count(*) FROM patient)
    """
    found = model(tmp_path, sql)
    assert (found.entities, found.segments, found.traits) == (("visit", "patient"), ("adults",), ("consents_given",))
    assert statements.uses(found) == (("entity", "visit"), ("entity", "patient"), ("segment", "adults"), ("trait", "consents_given"))


def test_tables_are_renamed_and_keep_the_names_of_their_columns(tmp_path: Path) -> None:
    sql = """\
    WITH young AS (SELECT patient_id FROM patient WHERE birth_date < as_of)
    SELECT y.patient_id FROM young y JOIN patient p ON y.patient_id = p.patient_id
    """
    found = model(tmp_path, sql)
    text = statements.renamed(found, {("entity", "patient"): "all_patient"}, dt.date(2026, 7, 1)).sql("spark")
    assert text == (
        "WITH young AS (SELECT patient.patient_id FROM all_patient AS patient WHERE patient.birth_date < CAST('2026-07-01' AS DATE)) "
        "SELECT y.patient_id FROM young AS y JOIN all_patient AS p ON y.patient_id = p.patient_id"
    )
    assert "all_patient" not in found.tree.sql("spark"), "the model itself stays as it is"


def test_a_trait_and_an_entity_by_sql(tmp_path: Path) -> None:
    trait = "kind: trait\nname: visits\nentity: patient\ntype: integer\nsql: |\n"
    entity = (
        "kind: entity\nname: region\nkey: state\nrows: public\ncolumns:\n  people: {type: integer, class: public}\n"
        "  state: {type: string, class: demographic.state}\nsql: SELECT state, count(*) AS people FROM patient GROUP BY state\n---\n"
    )
    project = project_of(tmp_path, "SELECT patient_id, count(*) AS visits FROM visit GROUP BY patient_id", entity + trait)
    assert set(project.bound.sql) == {("trait", "visits"), ("entity", "region")}


def test_a_select_may_read_another_that_reads_a_third(tmp_path: Path) -> None:
    more = "kind: segment\nname: {}\nentity: patient\nowner: a@example.org\npurpose: care_coordination\nsql: {}\n---\n"
    head = more.format("first", "SELECT patient_id FROM adults") + more.format("second", "SELECT patient_id FROM first") + HEAD
    assert project_of(tmp_path, "SELECT patient_id FROM second", head).bound.sql["segment", "written"].segments == ("second",)


def test_a_mistake_of_another_model_is_reported_there_only(tmp_path: Path) -> None:
    broken = HEAD.replace("written", "broken") + "  SELECT patient_id FROM nowhere\n---\n"
    with pytest.raises(ProjectError) as caught:
        project_of(
            tmp_path,
            "SELECT patient_id FROM broken JOIN lost ON broken.patient_id = lost.x",
            f"{broken}{{kind: trait, name: lost}}\n---\n" + HEAD,
        )
    said = [problem.message.partition(",")[0] for problem in caught.value.problems]
    assert said == ["no entity", "a trait has exactly one verb", "missing key 'entity'"]


def test_no_message_holds_a_literal(tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as caught:
        project_of(
            tmp_path,
            "SELECT patient_id FROM patient WHERE email = 'jane@example.org' AND stat = rand() AND assert_true(state = 'jane') IS NULL",
        )
    assert len(caught.value.problems) == 2
    assert "jane" not in str(caught.value)


def test_every_function_on_the_list_is_one_that_a_select_may_use() -> None:
    assert {"upper", "xxhash64", "date_trunc", "row_number", "max_by"} <= functions()
    assert not functions() & {"current_date", "rand", "uuid", "reflect", "java_method", "read_files", "ai_query", "raise_error"}
    assert exp.Anonymous in syntax.ARGS


@pytest.mark.parametrize(
    "sql",
    ["SELECT " + "(" * 20_000, "SELECT patient_id FROM patient WHERE " + " OR ".join(["state = 'NY'"] * 2_000), "(" * 9_000 + "SELECT 1"],
)
def test_a_text_without_end_is_refused_in_time(tmp_path: Path, sql: str) -> None:
    started = time.process_time()
    with pytest.raises(ProjectError) as caught:
        project_of(tmp_path, sql)
    assert len(caught.value.problems) == 1
    assert time.process_time() - started < 5


def test_a_long_chain_of_alternatives_is_read(tmp_path: Path) -> None:
    many = " OR ".join(f"state = '{n:02}'" for n in range(900))
    assert model(tmp_path, f"SELECT patient_id FROM patient WHERE {many}").entities == ("patient",)


def test_a_project_without_sql_parses_none(tmp_path: Path) -> None:
    project = load(minimal(tmp_path, **{"models/more.yml": FILES["models/adults.yml"].replace("adults", "more")}))
    assert project.bound.sql == {}
