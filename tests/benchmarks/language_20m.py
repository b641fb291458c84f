"""Ten conditions on one related table of 20 million rows, and one sequence of two events, beside the same questions in SQL.

The SQL is what a careful engineer would write: one scan, only the codes that matter, conditional aggregates.
"""

from __future__ import annotations

from pathlib import Path

from cdp.compile.clock import Clock
from cdp.compile.statement import compile_segment
from cdp.engine import Engine, connect
from cdp.project.load import load
from cdp.spec.activation import Environment
from cdp.testing.language_models import CONFIG, MODELS, POLICY
from tests.benchmarks.ratio import Ratio, best

ROWS, PEOPLE, CODES = 20_000_000, 400_000, 20
AS_OF = "2026-07-02"
SEGMENT = "---\n{{kind: segment, name: {name}, entity: patient, owner: a@example.org, purpose: treatment, where: {where}}}\n"

TEN = """{n_of: [
  {has: observations, where: {code: c0}, within: {months: 6}},
  {lacks: observations, where: {code: [c1, c2]}, within: {years: 1}},
  {count: observations, where: {code: c3}, within: {years: 2}, is: {gte: 3}},
  {max: observations, of: value, where: {code: c4}, is: {gt: 95 %}},
  {min: observations, of: value, where: {code: c5}, within: {years: 3}, is: {lt: 5 %}},
  {avg: observations, of: value, where: {code: c6}, is: {gte: 50 %}},
  {sum: observations, of: value, where: {code: c7}, within: {years: 1}, is: {gte: 60 %}},
  {latest: observations, where: {code: c8}, is: {value: {gte: 40 %}}},
  {earliest: observations, where: {code: c9}, is: {date: {before: 2022-01-01}}},
  {count: observations, where: {code: c10}, distinct: day, is: {gte: 2}}
], is: {gte: 6}}"""

TEN_BY_HAND = """
WITH by_patient AS (
  SELECT patient_id,
    bool_or(code = 'c0' AND date >= {months_6}) AS t0,
    bool_or(code IN ('c1', 'c2') AND date >= {year_1}) AS t1,
    count_if(code = 'c3' AND date >= {years_2}) AS n3,
    max(value) FILTER (WHERE code = 'c4' AND unit IN ('%', 'percent')) AS v4,
    min(value) FILTER (WHERE code = 'c5' AND unit IN ('%', 'percent') AND date >= {years_3}) AS v5,
    avg(value) FILTER (WHERE code = 'c6' AND unit IN ('%', 'percent')) AS v6,
    sum(value) FILTER (WHERE code = 'c7' AND unit IN ('%', 'percent') AND date >= {year_1}) AS v7,
    max_by(CASE WHEN unit IN ('%', 'percent') THEN value END, struct(date, observation_id))
      FILTER (WHERE code = 'c8' AND date IS NOT NULL) AS v8,
    min(date) FILTER (WHERE code = 'c9') AS d9,
    count(DISTINCT CASE WHEN code = 'c10' THEN CAST(from_utc_timestamp(date, 'America/New_York') AS DATE) END) AS n10
  FROM lang.observations
  WHERE code IN ('c0', 'c1', 'c2', 'c3', 'c4', 'c5', 'c6', 'c7', 'c8', 'c9', 'c10') AND (date IS NULL OR date < {tomorrow})
  GROUP BY patient_id)
SELECT p.patient_id
FROM lang.patients p LEFT JOIN by_patient o ON o.patient_id = p.patient_id
WHERE coalesce(CAST(t0 AS INT), 0) + CAST(NOT coalesce(t1, FALSE) AS INT) + coalesce(CAST(n3 >= 3 AS INT), 0)
  + coalesce(CAST(v4 > 95 AS INT), 0) + coalesce(CAST(v5 < 5 AS INT), 0) + coalesce(CAST(v6 >= 50 AS INT), 0)
  + coalesce(CAST(v7 >= 60 AS INT), 0) + coalesce(CAST(v8 >= 40 AS INT), 0) + coalesce(CAST(d9 < {year_2022} AS INT), 0)
  + coalesce(CAST(n10 >= 2 AS INT), 0) >= 6
"""

FOLLOWED = """{has: observations, as: first, within: {years: 2}, where: [
  {code: c11}, {has: patient.observations, where: {code: c12}, within: {days: [1, 14], after: first.date}}]}"""

FOLLOWED_BY_HAND = """
WITH first AS (
  SELECT patient_id, CAST(from_utc_timestamp(date, 'America/New_York') AS DATE) AS day
  FROM lang.observations WHERE code = 'c11' AND date >= {years_2} AND date < {tomorrow}),
other AS (
  SELECT patient_id, CAST(from_utc_timestamp(date, 'America/New_York') AS DATE) AS day
  FROM lang.observations WHERE code = 'c12' AND date < {tomorrow})
SELECT DISTINCT p.patient_id
FROM lang.patients p JOIN first f ON f.patient_id = p.patient_id
JOIN other o ON o.patient_id = f.patient_id AND o.day BETWEEN date_add(f.day, 1) AND date_add(f.day, 14)
"""

BOUNDS = {
    "months_6": "2026-01-02 00:00:00-05:00",
    "year_1": "2025-07-02 00:00:00-04:00",
    "years_2": "2024-07-02 00:00:00-04:00",
    "years_3": "2023-07-02 00:00:00-04:00",
    "year_2022": "2022-01-01 00:00:00-05:00",
    "tomorrow": "2026-07-03 00:00:00-04:00",
}


def run(folder: Path) -> list[Ratio]:
    """Each question, compiled and by hand."""
    engine = connect(Environment(engine="sail", lakehouse="lake"), root=folder)
    write(engine)
    questions = {"language_20m": (TEN, TEN_BY_HAND, 1.5), "followed_20m": (FOLLOWED, FOLLOWED_BY_HAND, 3.0)}
    compiled = _compiled(folder / "project", {name: where for name, (where, _, _) in questions.items()})
    ratios = []
    for name, (_, by_hand, bar) in questions.items():
        bounds = {key: f"TIMESTAMP '{moment}'" for key, moment in BOUNDS.items()}
        ours, theirs = _counted(compiled[name]), _counted(by_hand.format(**bounds))
        answer = engine.query(ours).to_pylist()
        assert answer == engine.query(theirs).to_pylist(), name
        assert 0 < answer[0]["people"] < PEOPLE, answer
        seconds = best(3, lambda ours=ours: engine.query(ours), lambda theirs=theirs: engine.query(theirs))
        ratios.append(Ratio(name, *seconds, bar))
    engine.close()
    return ratios


def write(engine: Engine) -> None:
    """Patients, and observations over seven years: twenty codes, three units, some without value or date."""
    engine.create_as(
        "lang.patients",
        f"SELECT concat('p', id) AS patient_id, date_add(DATE'1940-01-01', CAST(id % 25000 AS INT)) AS birth_date FROM range({PEOPLE})",
    )
    engine.create_as(
        "lang.observations",
        f"SELECT concat('o', id) AS observation_id, concat('p', pmod(xxhash64(id), {PEOPLE})) AS patient_id, "
        f"concat('c', pmod(xxhash64(id, 1), {CODES})) AS code, "
        "CASE WHEN pmod(xxhash64(id, 2), 50) > 0 THEN timestamp_seconds(1561953600 + pmod(xxhash64(id, 3), 221000000)) END AS date, "
        "CASE WHEN pmod(xxhash64(id, 4), 20) > 0 THEN CAST(pmod(xxhash64(id, 5), 10000) / 100 AS DECIMAL(18, 6)) END AS value, "
        f"CASE pmod(xxhash64(id, 6), 10) WHEN 0 THEN 'percent' WHEN 1 THEN 'mmol/mol' ELSE '%' END AS unit FROM range({ROWS})",
    )


def _compiled(root: Path, segments: dict[str, str]) -> dict[str, str]:
    text = MODELS + "".join(SEGMENT.format(name=name, where=where) for name, where in segments.items())
    for path, content in (("conf/cdp.yml", CONFIG), ("models/all.yml", text), ("governance/all.yml", POLICY)):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    project = load(root)
    return {name: compile_segment(project, name, Clock.parse(AS_OF, project.timezone)).select.sql("spark") for name in segments}


def _counted(select: str) -> str:
    """How many people, and a sum that tells one set of them from another."""
    return f"SELECT count(*) AS people, sum(xxhash64(patient_id) % 1000003) AS who FROM ({select}) AS q"
