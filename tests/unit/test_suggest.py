"""Proposals for a table that nobody has declared: from names and types alone, and never too little."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cdp.errors import ProjectError
from cdp.governance.classes import ClassTree
from cdp.governance.suggest import UNDECIDED, Proposal, Suggester, as_yaml
from cdp.governance.suggest_words import CODES, COLUMNS, SPECIAL, TABLES, TEXTS
from cdp.project.load import load
from cdp.spec.policy import DataClass
from tests.projects import minimal

EXAMPLE = Path(__file__).parents[2]
CLASSES: dict[str, DataClass] = {
    name: DataClass(**spec) for name, spec in yaml.safe_load((EXAMPLE / "governance/classes.yml").read_text())["classes"].items()
}
SUGGESTER = Suggester(ClassTree(CLASSES), tuple(CLASSES), {"patient_id": "identifier.mrn", "encounter_id": "identifier.internal"})
SENSITIVE = {name for name, spec in CLASSES.items() if name.startswith("sensitive.") and not spec.never}


def proposed(name: str, kind: str = "string", table: str = "clinical.visits") -> Proposal:
    return SUGGESTER.column(name, kind, table, {name: kind})


@pytest.mark.parametrize(
    ("name", "kind", "cls"),
    [
        ("patient_id", "string", "identifier.mrn"),
        ("ssn", "string", "identifier.ssn"),
        ("home_phone", "string", "contact.phone"),
        ("EmailAddress", "string", "contact.email"),
        ("birthDate", "date", "demographic.birth_date"),
        ("DATE_OF_BIRTH", "date", "demographic.birth_date"),
        ("age", "int", "demographic.birth_date"),
        ("zip_code", "string", "demographic.zip"),
        ("city", "string", "contact.address"),
        ("first_name", "string", "name.given"),
        ("admitted_at", "timestamp", "clinical.date"),
        ("hiv_status", "string", "sensitive.hiv"),
        ("phq9_score", "int", "sensitive.mental_health"),
        ("is_pregnant", "boolean", "sensitive.reproductive"),
        ("psychotherapy_notes", "string", "sensitive.psychotherapy"),
        ("code_system", "string", "public"),
        ("copay_amount", "decimal(10,2)", "financial.coverage"),
        ("status", "string", UNDECIDED),
        ("flag_7", "boolean", UNDECIDED),
        ("payload", "map<string,string>", UNDECIDED),
        ("contact", "struct<email:string>", UNDECIDED),
        ("email_count", "int", UNDECIDED),
    ],
)
def test_a_name_tells_or_nothing_is_proposed(name: str, kind: str, cls: str) -> None:
    assert proposed(name, kind).cls == cls


@pytest.mark.parametrize("name", ["code", "diagnosis_code", "icd10", "note_text", "result", "facility", "reason", "comment"])
def test_codes_texts_and_places_may_say_anything_special(name: str) -> None:
    assert set(proposed(name).may_hold) == SENSITIVE
    assert proposed(name).cls.startswith("clinical.")


def test_what_no_word_tells_is_never_proposed_as_harmless() -> None:
    """`public` is for the names of code systems only: it says that no value will ever tell anything of anybody."""
    public = [hint for hints in (SPECIAL, CODES, TEXTS, COLUMNS, TABLES) for hint in hints if "public" in hint.classes]
    assert [hint.words for hint in public] == ["code system, system, vocabulary"]
    assert proposed("system", "int").cls == UNDECIDED


def test_a_special_word_wins_whatever_else_the_name_says() -> None:
    assert proposed("hiv_test_code").cls == "sensitive.hiv"
    assert proposed("detox_admitted_at", "timestamp").cls == "sensitive.sud"


def test_the_class_is_one_of_the_project_or_none() -> None:
    few = {name: CLASSES[name] for name in ("contact", "identifier")}
    suggester = Suggester(ClassTree(few), tuple(few), {})
    assert suggester.column("email", "string", "a.b", {}).cls == "contact"
    assert suggester.column("birth_date", "date", "a.b", {}).cls == UNDECIDED
    assert "no class for it" in suggester.column("birth_date", "date", "a.b", {}).reason


def test_rows_follow_the_table_and_its_schema() -> None:
    said = {
        table: SUGGESTER.table(table, {}).rows
        for table in ("clinical.allergies", "clinical.conditions", "behavioral.screens", "x.patients")
    }
    assert said == {
        "clinical.allergies": UNDECIDED,
        "clinical.conditions": "clinical.condition",
        "behavioral.screens": "sensitive.mental_health",
        "x.patients": "membership.patient",
    }


COLUMNS_OF_VISITS = {
    "visit_id": "string", "patient_id": "string", "code": "string", "code_system": "string", "started": "timestamp",
    "flags": "array<string>", "blob": "binary", "minutes": "int", "price": "decimal(10,2)",
}  # fmt: skip


def test_the_project_is_refused_until_somebody_decides(tmp_path: Path) -> None:
    text = as_yaml(SUGGESTER.table("clinical.visits", COLUMNS_OF_VISITS))
    classes = (EXAMPLE / "governance/classes.yml").read_text()
    files = {
        "governance/classes.yml": classes,
        "governance/consent.yml": (EXAMPLE / "governance/consent.yml").read_text(),
        "models/visits.yml": text,
    }
    files["models/consents.yml"] = (EXAMPLE / "models/entities/consent.yml").read_text()
    with pytest.raises(ProjectError) as refused:
        load(minimal(tmp_path / "a", **files))
    found = {(problem.where, problem.message) for problem in refused.value.problems if problem.file == "models/visits.yml"}
    assert found == {(f"columns.{name}.class", "unknown class 'UNDECIDED'") for name in ("flags", "minutes")}
    decided = text.replace(UNDECIDED, "clinical.encounter")
    assert "visit" in load(minimal(tmp_path / "b", **{**files, "models/visits.yml": decided})).entities


def test_of_an_entity_only_what_is_not_declared_is_proposed() -> None:
    text = as_yaml(SUGGESTER.table("clinical.visits", COLUMNS_OF_VISITS), frozenset({*COLUMNS_OF_VISITS} - {"price", "minutes"}))
    assert text.splitlines() == [
        "  minutes: {type: integer, class: UNDECIDED}  # the name does not tell",
        "  price: {type: decimal, class: financial.coverage}  # who pays, and what",
    ]
    assert as_yaml(SUGGESTER.table("clinical.visits", COLUMNS_OF_VISITS), frozenset(COLUMNS_OF_VISITS)) == ""


def test_every_candidate_is_a_class_of_the_example() -> None:
    candidates = {cls for hints in (SPECIAL, CODES, TEXTS, COLUMNS, TABLES) for hint in hints for cls in hint.classes}
    assert candidates <= {*CLASSES}
