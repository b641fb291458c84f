"""No value of a patient in any message, log or exception: a marker stands in every column and is looked for everywhere else."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdp.engine import connect
from cdp.sandbox.server import Sandbox
from cdp.spec.activation import Environment
from tests.e2e.conftest import Cdp, answers

MARKER = "zqxMARKERzqx"
SYNCS = ("a1c_reminder_email", "bp_outreach", "choose_a_pcp", "diabetes_registry", "flu_reminder_sms", "panel_reports")
SCHEMAS = ("clinical", "crm", "plan", "scheduling", "pharmacy", "behavioral", "devices")
# What conditions compare with literals, and what stands for no person.
KEPT = {"code", "code_system", "value_code", "type", "type_system", "class", "disposition", "direction", "status", "unit", "system"}
KEPT |= {"purpose", "channel", "receiver"}


@pytest.fixture
def marked(project: Path) -> Path:
    """Every text column of every patient table holds the marker; keys keep what joins them and get it as a prefix."""
    engine = connect(Environment(lakehouse="lake"), root=project)
    for table in (name for schema in SCHEMAS for name in _tables(project, schema)):
        columns = engine.columns(table)
        texts = [c for c, kind in columns.items() if kind == "string" and c not in KEPT]
        changes = ", ".join(f"`{c}` = concat('{MARKER}', `{c}`)" for c in texts)
        if changes:
            engine.execute(f"UPDATE {table} SET {changes}")
    return project


def _tables(project: Path, schema: str) -> list[str]:
    folder = project / "lake" / schema
    return [f"{schema}.{path.name}" for path in sorted(folder.iterdir())] if folder.exists() else []


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Everything that any library logs, at its most talkative."""
    with caplog.at_level(logging.DEBUG):
        yield caplog


def test_nothing_but_payloads_holds_a_value(cdp: Cdp, marked: Path, port: int, log: pytest.LogCaptureFixture) -> None:
    """attacks 8, 9, 17, 20 and 21"""
    said = []
    with Sandbox("127.0.0.1", port, accounts=answers(marked)) as channel:
        for name in ("outreach_email", "care_management", "outreach_sms"):
            channel.fault(name, "422", times=1)
            channel.fault(name, "html", times=1)
            channel.fault(name, "500", times=1)
            channel.fault(name, "not_json", times=1)
        for words in (
            ("validate",),
            ("plan", *SYNCS, "-v"),
            ("plan", "bp_outreach", "--json"),
            ("sync", "--all", "-v"),
            ("sync", *SYNCS, "--json", "-v"),
            ("runs", "-v"),
            ("compile", "a1c_overdue"),
            ("lineage", "clinical.patients.email"),
            ("lineage", "bp_outreach", "--openlineage"),
            ("governance", "report", "--json"),
            ("governance", "report", "--out", "report.html"),
            ("disclosures",),
            ("disclosures", "--verify", "--json", "-v"),
            ("disclosures", "--export-head", "head.json"),
            ("disclosures", "--verify", "--head", "head.json"),
        ):
            said.append(cdp(*words))
        assert MARKER in str(channel.rows("outreach_email"))  # the marker does go where it is meant to go
    for run in cdp("runs", "--json").json:
        said.append(cdp("runs", run["run"], "--json"))
        said.append(cdp("runs", run["run"]))
    _only_keys(cdp, marked)
    said += _broken(cdp, marked)
    for one in said:
        assert MARKER not in one.out
        assert MARKER not in one.err
        assert "Traceback" not in one.err
    assert MARKER not in log.text
    for path in (*marked.rglob("*.manifest.json"), *marked.rglob("*.yml"), marked / "report.html", marked / "head.json"):
        assert MARKER not in path.read_text()
        assert MARKER not in path.name


def _only_keys(cdp: Cdp, project: Path) -> None:
    """What is about a person holds the person's key, which names them, and nothing else of them."""
    engine = connect(Environment(lakehouse="lake"), root=project)
    engine.register(["crm.consents", "clinical.patients", "cdp.disclosures"])
    engine.execute("UPDATE crm.consents SET status = 'inactive'")
    cdp("plan", "a1c_reminder_email")
    lines = "FROM cdp.disclosures WHERE kind = 'line' AND sync = 'a1c_reminder_email'"
    who, key = engine.query(f"SELECT person, key {lines} LIMIT 1").to_pylist()[0].values()
    people = {key, *engine.query("SELECT DISTINCT patient_id FROM clinical.patients").column("patient_id").to_pylist()}
    about = [("disclosures", "--key", who, *form) for form in ((), ("--json",), ("--csv",))]
    for words in (*about, ("revocations",), ("revocations", "--json")):
        one = cdp(*words)
        assert one.code == 0
        assert MARKER not in one.err
        found = re.findall(rf"{MARKER}[^\s\",]*", one.out)  # a long key goes on in the next line of a table
        assert all(any(person.startswith(word) for person in people) for word in found)


def _broken(cdp: Cdp, project: Path) -> list:  # type: ignore[type-arg]
    """Commands over a lakehouse that fights back: a text where a number belongs, a column and a table that are gone."""
    engine = connect(Environment(lakehouse="lake"), root=project)
    said = []
    engine.drop("clinical.observations_new")
    engine.create_as("clinical.observations_new", _with_text_values(engine))
    engine.drop("clinical.observations")
    (project / "lake" / "clinical" / "observations_new").rename(project / "lake" / "clinical" / "observations")
    said.append(cdp("plan", "bp_outreach", "-v"))
    patients = project / "lake" / "clinical" / "patients"
    patients.rename(patients.with_name("patients_gone"))
    said.append(cdp("sync", "a1c_reminder_email", "-v"))
    assert all(one.code == 1 for one in said)
    assert "clinical.observations.value is string, declared as decimal" in said[0].err
    assert "clinical.patients" in said[1].err
    return said


def _with_text_values(engine: object) -> str:
    columns = engine.columns("clinical.observations")  # type: ignore[attr-defined]
    return (
        "SELECT "
        + ", ".join(f"concat('{MARKER}', value) AS value" if c == "value" else f"`{c}`" for c in columns)
        + " FROM clinical.observations"
    )
