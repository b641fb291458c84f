"""Every rule that keeps people out, over half a million people, beside the same exclusions as somebody would write them in SQL."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

from cdp.compile.clock import Clock
from cdp.engine import Engine, connect
from cdp.governance.decide import Governor
from cdp.governance.query import RULE
from cdp.project.load import load
from cdp.spec.activation import Environment
from tests.benchmarks.ratio import Ratio, best
from tests.people_world import NOW, project_at

PEOPLE = 500_000
_NOW = f"TIMESTAMP'{NOW:%Y-%m-%d %H:%M:%S}+00:00'"

TABLES = {
    "clinical.patients": """SELECT id, concat('p', id) AS patient_id, concat('N', id % 5000) AS given_name, 'a' AS program, 'MA' AS state,
        CASE id % 40 WHEN 0 THEN NULL WHEN 1 THEN concat('bad', id) ELSE concat('p', id, '@example.org') END AS email,
        concat('+1-617-555-01', lpad(CAST(id % 100 AS STRING), 2, '0')) AS phone, '1 High St' AS line,
        date_add(DATE'1940-01-01', CAST(id % 28000 AS INT)) AS birth_date,
        CASE id % 90 WHEN 0 THEN DATE'2020-01-01' END AS death_date FROM range({n})""",
    "crm.consents": """SELECT concat('c', id) AS consent_id, concat('p', id % {n}) AS patient_id,
        CASE (id DIV {n}) % 3 WHEN 0 THEN 'care' WHEN 1 THEN 'news' ELSE 'care' END AS purpose, 'email' AS channel,
        CAST(NULL AS STRING) AS receiver, CAST(NULL AS STRING) AS states,
        CASE WHEN id % 17 = 0 THEN 'rejected' ELSE 'active' END AS status,
        {now} - make_interval(0, 0, 0, CAST(1 + id % 700 AS INT)) AS effective_at,
        CASE WHEN id % 29 = 0 THEN {now} - INTERVAL 1 DAY END AS expires_at, {now} AS recorded_at FROM range({n} * 3)""",
    "crm.restrictions": """SELECT concat('r', id) AS id, concat('p', id * 50) AS patient_id,
        CASE id % 3 WHEN 0 THEN 'all' WHEN 1 THEN 'mailer' ELSE 'other' END AS receiver, id % 5 > 0 AS active FROM range({n} DIV 50)""",
    "crm.requests": """SELECT concat('q', id) AS id, concat('p', id * 12) AS patient_id, id % 4 > 0 AS active,
        CASE id % 3 WHEN 0 THEN 'sms' ELSE 'email' END AS channel, concat('q', id, '@example.org') AS value,
        {now} - make_interval(0, 0, 0, CAST(1 + id % 300 AS INT)) AS asked_at FROM range({n} DIV 24)
        UNION ALL SELECT concat('s', id), concat('p', id * 24), TRUE, 'email', concat('s', id, '@example.org'), {now} - INTERVAL 20 DAYS
        FROM range({n} DIV 48)""",
    "crm.suppressions": """SELECT concat('s', id) AS id, concat('p', id * 30) AS patient_id,
        CASE id % 2 WHEN 0 THEN 'email' ELSE 'sms' END AS channel FROM range({n} DIV 30)""",
}

BY_HAND = """
WITH restricted AS (SELECT DISTINCT patient_id FROM crm.restrictions WHERE active AND receiver IN ('all', 'mailer')),
asked AS (SELECT patient_id, max_by(channel, struct(asked_at, id)) AS channel, max_by(value, struct(asked_at, id)) AS value
  FROM crm.requests WHERE active AND asked_at <= {now} GROUP BY patient_id),
suppressed AS (SELECT DISTINCT patient_id FROM crm.suppressions WHERE channel = 'email'),
agreed AS (SELECT patient_id, max(effective_at) FILTER (WHERE yes) AS yes, max(effective_at) FILTER (WHERE NOT yes) AS no FROM (
    SELECT patient_id, effective_at, status = 'active' AND (expires_at IS NULL OR expires_at > {now}) AS yes
    FROM crm.consents WHERE purpose = 'care' AND channel = 'email' AND effective_at <= {now}) AS c GROUP BY patient_id),
told AS (SELECT p.*, r.patient_id IS NOT NULL AS restricted, s.patient_id IS NOT NULL AS suppressed, a.yes, a.no, q.channel,
    q.value, CASE WHEN q.channel = 'email' THEN q.value ELSE p.email END AS mail,
    CASE WHEN q.channel = 'email' THEN NULL ELSE p.phone END AS number
  FROM clinical.patients AS p LEFT JOIN restricted AS r ON r.patient_id = p.patient_id LEFT JOIN asked AS q ON q.patient_id = p.patient_id
  LEFT JOIN suppressed AS s ON s.patient_id = p.patient_id LEFT JOIN agreed AS a ON a.patient_id = p.patient_id)
SELECT mail AS email, number AS phone, given_name AS first_name, CASE WHEN restricted THEN 'restricted'
    WHEN death_date IS NOT NULL THEN 'deceased'
    WHEN birth_date IS NULL OR birth_date > DATE'2008-07-02' THEN 'minor'
    WHEN channel <> 'email' OR trim(value) = '' THEN 'elsewhere'
    WHEN yes IS NULL OR no >= yes THEN 'no_consent'
    WHEN suppressed THEN 'suppressed'
    WHEN NOT coalesce(mail RLIKE '{email}', FALSE) THEN 'unreachable' END AS _rule
FROM told"""
EMAIL = r"^[A-Za-z0-9.!#$%&*+/=?^_`{|}~-]+@[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+$"
READ = f"""SELECT coalesce({RULE}, '') AS rule, count(*) AS people, sum(CASE WHEN {RULE} IS NULL
    THEN xxhash64(coalesce(email, ''), coalesce(phone, ''), first_name) DIV 1000000 END) AS told
FROM ({{query}}) AS q GROUP BY 1 ORDER BY 1"""


def run(folder: Path) -> list[Ratio]:
    """Ours beside the SQL by hand; both must come to the same people and the same addresses."""
    engine = connect(Environment(lakehouse="lake"), root=folder)
    for name, rows in TABLES.items():
        engine.create_as(name, rows.format(n=PEOPLE, now=_NOW))
    now = Clock(NOW.astimezone(ZoneInfo("America/New_York")))
    governed = Governor.of(load(project_at(folder / "project"))).govern("mails", clock=now, now=now)
    engine.register(governed.tables)
    queries = (governed.select.sql("spark"), BY_HAND.format(now=_NOW, email=EMAIL))
    ours, theirs = (lambda query=query: _counts(engine, query) for query in queries)
    assert ours() == theirs(), "both must keep out the same people"
    assert len(ours()) == 8, "every rule keeps somebody out"
    seconds, by_hand = best(8, ours, theirs)
    engine.close()
    return [Ratio("eligibility", seconds, by_hand, 1.2)]


def _counts(engine: Engine, query: str) -> list[dict[str, object]]:
    """By rule how many people, and of those who are told what is said."""
    return engine.query(READ.format(query=query)).to_pylist()
