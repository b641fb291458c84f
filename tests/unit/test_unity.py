"""The export for Unity Catalog: who sees what, in SQL that says the same as the project, and against a catalog over real HTTP."""

from __future__ import annotations

import json
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import duckdb
import pytest
import sqlglot

from cdp.catalog.unity import Export, export, quotas
from cdp.catalog.unity import masks as unity_masks
from cdp.catalog.unity import rows as unity_rows
from cdp.catalog.unity.quotas import QUOTAS
from cdp.cli.app import main
from cdp.engine.warehouse import Warehouse
from cdp.errors import EngineError, UsageError
from cdp.governance import tags
from cdp.governance.classes import ClassTree
from cdp.project.load import Project, load
from tests.projects import minimal, review
from tests.unity_workspace import TOKEN, Workspace, serving

ROOT = Path(__file__).parents[2]
PRINCIPAL = "cdp-sync"

ENCOUNTERS = """\
kind: entity
name: encounter
table: clinical.encounters
key: encounter_id
rows: membership.patient
columns:
  encounter_id: {type: string, class: identifier.internal}
  patient_id: {type: string, class: identifier.mrn}
  facility_id: {type: string, class: demographic.state}
  code: {type: code, system: SNOMED, class: clinical.condition, may_hold: sensitive.sud}
"""
ROWS = """\
kind: rows
rules:
  - {class: sensitive.sud, entities: encounter, where: {facility_id: {in: [detox, "o'brien"]}}}
  - {class: sensitive.sud, entities: encounter, where: {code: {in: sud_codes}}, unknown: ordinary}
"""
SUD = "kind: value_set\nname: sud_codes\nsystem: SNOMED\ncodes: ['66590003']\n"
ROLES = f"""\
kind: roles
roles:
  analyst:
    use: [membership, demographic, clinical]
    see: [demographic.year, clinical]
    rows: {{where: {{facility_id: {{in: $facilities}}}}}}
  nurse: {{use: [membership, demographic, clinical, sensitive.sud], see: [demographic, clinical, sensitive.sud, name]}}
  officer: {{may: export}}
  privacy: {{use: ["*", sensitive.sud], see: [identifier, contact, name, demographic, clinical, sensitive.sud], may: [approve, report]}}
people:
  - {{id: "user:ana@example.org", roles: [analyst], facilities: [north, south]}}
  - {{id: "uid:1002", email: alf@example.org, roles: [analyst], facilities: [east]}}
  - {{id: "user:nora@example.org", roles: [analyst, nurse]}}
  - {{id: "uid:{os.getuid()}", roles: [officer]}}
"""


def hospital(tmp_path: Path, **more: str | None) -> Project:
    files = {
        "models/encounters.yml": ENCOUNTERS,
        "models/sud.yml": SUD,
        "governance/rows.yml": ROWS,
        "governance/roles.yml": ROLES,
        "governance/value_sets.yml": "kind: value_sets\nvalue_sets:\n" + review("sud_codes", "sensitive.sud", SNOMED=("66590003",)),
    }
    return load(minimal(tmp_path, **{**files, **more}))


@pytest.fixture
def small(tmp_path: Path) -> Project:
    return hospital(tmp_path)


def tree(project: Project) -> ClassTree:
    return ClassTree(project.policy.classes)


def made(project: Project, *principals: str) -> Export:
    return export(project, "main", principals or (PRINCIPAL,), "cdp_governance", "cdp")


@cache
def example() -> Export:
    return made(load(ROOT))


# -- who sees what ----------------------------------------------------------------------------------------------------


def resolved(found: Export, label: str, groups: set[str], user: str = "somebody") -> list[str]:
    """The masks that a user in some groups gets on a column of a label, as the documentation of policies says."""
    masks = []
    for each in found.statements:
        if each.kind == "policy" and "COLUMN MASK" in each.text and f"'{label}'" in each.text:
            to, _, but = each.text.partition(" TO ")[2].partition(" FOR TABLES")[0].partition(" EXCEPT ")
            principals = set(re.findall(r"`([^`]+)`", to))
            besides = set(re.findall(r"`([^`]+)`", but))
            who = {*groups, user, "account users"}
            if who & principals and not who & besides:
                masks.append(re.search(r"COLUMN MASK `main`\.`cdp_governance`\.`(\w+)`", each.text)[1])  # type: ignore[index]
    return masks


def test_no_user_ever_has_two_masks_on_a_column() -> None:
    project = load(ROOT)
    roles = sorted(project.policy.roles)
    for label in unity_masks.labels(project):
        for number in range(2 ** len(roles)):
            groups = {role for place, role in enumerate(roles) if number >> place & 1}
            assert len(resolved(example(), tags.value(label), groups)) <= 1


def test_a_role_sees_exactly_what_it_may(small: Project) -> None:
    found, classes = made(small), tree(small)
    for label in unity_masks.labels(small):
        for name, role in small.policy.roles.items():
            masks = resolved(found, tags.value(label), {name})
            if all(classes.covers(role.see, cls) for cls in label):
                assert masks == []
    assert resolved(found, "contact:email", {"privacy"}) == []
    assert resolved(found, "contact:email", {"nurse"}) == ["mask_null"]
    assert resolved(found, "contact:email", set()) == ["mask_null"]


def test_a_role_that_sees_what_a_mask_gives_gets_that_mask(small: Project) -> None:
    found = made(small)
    assert resolved(found, "demographic:birth_date", {"analyst"}) == ["mask_year"]
    assert resolved(found, "demographic:birth_date", {"analyst", "nurse"}) == []  # a nurse sees the day
    assert resolved(found, "demographic:birth_date", set()) == ["mask_null"]


def test_who_runs_syncs_is_masked_nowhere() -> None:
    policies = [each for each in example().statements if each.kind == "policy"]
    assert policies
    assert all(f"EXCEPT `{PRINCIPAL}`" in each.text for each in policies)


def test_a_column_is_not_shown_for_what_it_may_hold_unless_those_rows_are_withheld(tmp_path: Path) -> None:
    label = "clinical:condition+sensitive:sud"
    assert resolved(made(hospital(tmp_path / "a")), label, {"analyst"}) == []  # rows with such a code are withheld from analysts
    plain = hospital(tmp_path / "b", **{"governance/rows.yml": None})
    assert resolved(made(plain), label, {"analyst"}) == ["mask_null"]
    assert resolved(made(plain), label, {"nurse"}) == []


def test_every_declared_column_carries_its_class() -> None:
    project = load(ROOT)
    said = {each.on.replace("`", ""): each.state for each in example().statements if each.kind == "tag" and each.name == tags.CLASS}
    for entity in (each for each in project.entities.values() if each.table):
        for name, column in entity.columns.items():
            assert tags.classes(said[f"main.{entity.table}.{name}"]) >= {column.cls, *column.may_hold}


def test_a_role_that_reads_nothing_and_a_table_that_tells_too_much_are_not_granted(small: Project) -> None:
    grants = {(each.on, each.name) for each in made(small).statements if each.kind == "grant"}
    assert ("TABLE `main`.`clinical`.`patients`", "SELECT to analyst") in grants
    assert ("TABLE `main`.`crm`.`consents`", "SELECT to analyst") not in grants  # being in it is consent_state
    assert not any(name.endswith("to privacy") for _, name in grants)  # it may neither preview nor explain
    assert ("TABLE `main`.`crm`.`consents`", f"SELECT to {PRINCIPAL}") in grants


# -- rows -------------------------------------------------------------------------------------------------------------


def reads(project: Project, user: str, groups: set[str], facility: str | None, code: str | None) -> bool:
    """What the filter of encounters says of one row, by another engine."""
    [found] = unity_rows.filters(project, tree(project))
    test = sqlglot.transpile(found.test, read="databricks", write="duckdb")[0]
    test = re.sub(r"(?i)\bcurrent_user\b(\(\))?", f"'{user}'", test)
    connection = duckdb.connect()
    names = ", ".join(f"'{name}'" for name in sorted(groups)) or "''"
    connection.execute(f"CREATE MACRO is_account_group_member(g) AS g IN ({names})")
    values = {"facility_id": facility, "code": code}
    row = ", ".join(f"${name}::VARCHAR AS {name}" for name, _ in found.columns)
    answer = connection.execute(f"SELECT {test} FROM (SELECT {row})", {name: values[name] for name, _ in found.columns}).fetchone()
    assert answer is not None
    assert answer[0] is not None  # a filter that is not known lets a row through or not as the engine likes
    return bool(answer[0])


@pytest.mark.parametrize(
    ("facility", "code", "analyst", "nurse"),
    [
        ("north", "123", True, True),
        ("detox", "123", False, True),
        ("o'brien", "123", False, True),
        (None, "123", False, True),  # unknown: sensitive
        ("north", "66590003", False, True),
        ("north", None, True, True),  # unknown: ordinary
        ("west", "123", False, True),  # not a facility of theirs
    ],
)
def test_rows_are_read_by_whom_they_may_be_read(small: Project, facility, code, analyst, nurse) -> None:
    assert reads(small, "ana@example.org", {"analyst"}, facility, code) is analyst
    assert reads(small, "nora@example.org", {"nurse"}, facility, code) is nurse
    assert reads(small, "somebody@example.org", set(), facility, code) is False


def test_facilities_are_those_of_the_person(small: Project) -> None:
    assert reads(small, "alf@example.org", {"analyst"}, "east", "123")
    assert not reads(small, "alf@example.org", {"analyst"}, "north", "123")
    assert not reads(small, "nora@example.org", {"analyst"}, "north", "123")  # an analyst without facilities
    assert reads(small, "nora@example.org", {"analyst", "nurse"}, "north", "123")


def test_a_filter_names_its_columns_by_tags_and_stands_on_its_table(small: Project) -> None:
    [policy] = [each for each in made(small).statements if each.kind == "policy" and "ROW FILTER" in each.text]
    assert policy.on == "TABLE `main`.`clinical`.`encounters`"
    assert "has_tag_value('cdp_column', 'facility_id') AS `facility_id`" in policy.text
    assert policy.text.endswith("USING COLUMNS (`code`, `facility_id`)")
    tagged = {each.on for each in made(small).statements if each.kind == "tag" and each.name == tags.COLUMN}
    assert tagged == {"`main`.`clinical`.`encounters`.`code`", "`main`.`clinical`.`encounters`.`facility_id`"}


# -- the SQL ----------------------------------------------------------------------------------------------------------


def test_statements_come_in_the_order_in_which_they_rest_on_each_other() -> None:
    kinds = list(dict.fromkeys(each.kind for each in example().statements))
    assert kinds == ["schema", "function", "tag", "policy", "grant"]
    places = [(each.kind, each.on, each.name) for each in example().statements]
    assert len(places) == len(set(places))


def test_what_sqlglot_can_parse_it_does(small: Project) -> None:
    """It knows no CREATE POLICY, no tags of columns and some privileges: those it takes as they are, with a warning."""
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    found = Counter(
        (each.kind, type(sqlglot.parse_one(each.text, dialect="databricks")).__name__)
        for project in (load(ROOT), small)
        for each in made(project).statements
    )
    assert {kind for kind, how in found if how == "Command"} == {"tag", "policy", "grant"}
    assert all(
        count for (kind, how), count in found.items() if (kind, how) in {("function", "Create"), ("grant", "Grant"), ("tag", "Alter")}
    )


def test_no_name_breaks_out_of_its_quotes(tmp_path: Path) -> None:
    found = made(hospital(tmp_path), "it's `me`; DROP")
    text = found.sql()
    assert "`it's ``me``; DROP`" in text
    assert "'OBRIEN'" in text  # of codes that are told apart by their letters no quote is left


def test_values_of_tags_hold_no_character_that_a_governed_tag_may_not() -> None:
    assert {key for key, values in example().governed.items() if values} >= {tags.CLASS, tags.ROWS}
    for values in example().governed.values():
        assert not any(quotas.FORBIDDEN & set(value) for value in values)
    assert tags.classes(tags.value(["clinical.date", "sensitive.sud"])) == {"clinical.date", "sensitive.sud"}


def test_the_same_project_gives_the_same_statements() -> None:
    assert made(load(ROOT)) == example()


# -- quotas -----------------------------------------------------------------------------------------------------------


def test_the_example_keeps_within_every_quota() -> None:
    assert example().excess == ()


def test_every_quota_says_where_it_comes_from() -> None:
    assert all(quota.limit > 0 and quota.source.startswith("https://docs.databricks.com/") for quota in QUOTAS.values())


def test_too_many_principals_are_refused(small: Project) -> None:
    found = made(small, *(f"p{number}" for number in range(25)))
    assert {each.quota for each in found.excess} == {QUOTAS["principals_per_policy"]}


def test_a_filter_of_too_many_columns_is_refused(tmp_path: Path) -> None:
    more = "".join(f"  c{number}: {{type: string, class: clinical.condition}}\n" for number in range(4))
    where = ", ".join(f"{{c{number}: {{eq: x}}}}" for number in range(4))
    rows = f"kind: rows\nrules:\n  - {{class: sensitive.sud, entities: encounter, where: {{any: [{where}]}}}}\n"
    found = made(hospital(tmp_path, **{"models/encounters.yml": ENCOUNTERS + more, "governance/rows.yml": rows}))
    assert {each.quota for each in found.excess} == {QUOTAS["conditions_per_policy"]}


# -- a catalog --------------------------------------------------------------------------------------------------------


@pytest.fixture
def workspace(small: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.chdir(small.root)
    for name in ("DATABRICKS_CONFIG_PROFILE", "DATABRICKS_WAREHOUSE_ID"):
        monkeypatch.delenv(name, raising=False)
    with serving(Workspace("main", ["clinical.patients", "clinical.encounters", "crm.consents"])) as found:
        monkeypatch.setenv("DATABRICKS_HOST", found.url)
        monkeypatch.setenv("DATABRICKS_TOKEN", TOKEN)
        yield found


Cdp = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cdp(capsys: pytest.CaptureFixture[str]) -> Cdp:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(["governance", "export", "--catalog", "main", "--principal", PRINCIPAL, *words])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        assert "zq-a-value-of-a-row" not in out + err  # the warehouse's own words
        return code, out, err

    return run


def on(cdp: Cdp, *words: str) -> list[dict[str, str]]:
    code, out, err = cdp("--warehouse", "wh1", "--json", *words)
    assert code == 0, out + err
    found: list[dict[str, str]] = json.loads(out)["differences"]
    return found


def test_what_was_applied_differs_no_more(workspace: Workspace, cdp: Cdp, small: Project) -> None:
    assert {each["change"] for each in on(cdp, "--diff")} == {"add"}
    assert not workspace.tags  # --diff changes nothing
    assert [each["sql"] for each in on(cdp, "--apply")] == [each.text for each in made(small).statements]
    assert on(cdp, "--diff") == []
    before = len(workspace.seen)
    assert on(cdp, "--apply") == []
    assert not any(sent.startswith(("CREATE", "ALTER", "GRANT", "DROP")) for sent in workspace.seen[before:])


def test_what_somebody_changed_is_mended_and_what_is_wanted_no_more_goes(workspace: Workspace, cdp: Cdp) -> None:
    on(cdp, "--apply")
    workspace.tags["clinical", "patients", "state"]["cdp_class"] = "public"
    workspace.policies["CATALOG `main`", "cdp_name_null"] = "made by hand"
    workspace.policies["CATALOG `main`", "cdp_of_another_day"] = "cdp governance export 0123"
    workspace.policies["CATALOG `main`", "not_ours"] = ""
    del workspace.functions["mask_year"]
    found = {(each["change"], each["kind"], each["name"]) for each in on(cdp, "--diff")}
    assert found == {
        ("add", "function", "mask_year"),
        ("change", "tag", "cdp_class"),
        ("change", "policy", "cdp_name_null"),
        ("remove", "policy", "cdp_of_another_day"),
    }
    on(cdp, "--apply")
    assert on(cdp, "--diff") == []
    assert ("CATALOG `main`", "not_ours") in workspace.policies


def test_a_tag_above_the_declared_class_refuses_and_nothing_is_changed(workspace: Workspace, cdp: Cdp) -> None:
    """Attack 26: a class was lowered in a commit, and the catalog still knows better."""
    workspace.tags["clinical", "patients", "state"] = {"cdp_class": "sensitive:sud"}
    for words in (("--diff",), ("--apply",)):
        code, _, err = cdp("--warehouse", "wh1", *words)
        assert code == 1
        assert "clinical.patients.state says sensitive.sud" in err
    assert workspace.tags["clinical", "patients", "state"] == {"cdp_class": "sensitive:sud"}
    assert not workspace.policies


def test_a_view_of_a_sensitive_table_that_is_declared_as_less_refuses(workspace: Workspace, cdp: Cdp) -> None:
    """Attack 26: a view hides the origin of its columns; the catalog's lineage knows it."""
    assert workspace.lineage is not None
    workspace.lineage.append(["clinical", "encounters", "code", "clinical", "patients", "state"])
    code, _, err = cdp("--warehouse", "wh1", "--diff")
    assert code == 1
    assert "clinical.patients.state says sensitive.sud" in err
    workspace.lineage = None  # whoever asks may not read it
    code, _, err = cdp("--warehouse", "wh1", "--diff")
    assert code == 0
    assert "views are held against their own tags only" in err


def test_a_declared_table_that_the_catalog_does_not_have_is_an_error(workspace: Workspace, cdp: Cdp) -> None:
    workspace.tables.remove("clinical.encounters")
    code, _, err = cdp("--warehouse", "wh1", "--apply")
    assert code == 1
    assert "has no table clinical.encounters" in err
    assert not workspace.tags


def test_a_warehouse_that_takes_its_time_is_asked_again(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdp.engine.warehouse.PAUSE", 0.01)
    workspace.slow = 3
    rows = Warehouse("wh1").rows("SELECT a FROM `main`.`information_schema`.`tables`")
    assert [f"{row['table_schema']}.{row['table_name']}" for row in rows] == workspace.tables  # two chunks


def test_what_fails_is_told_by_its_class_and_not_by_the_warehouse_s_words(workspace: Workspace) -> None:
    with pytest.raises(EngineError, match="PARSE_SYNTAX_ERROR") as error:
        Warehouse("wh1").rows("SELECT nonsense")
    assert "zq-a-value" not in str(error.value)
    with pytest.raises(EngineError, match="ResourceDoesNotExist"):
        Warehouse("another").rows("SELECT 1")


def test_a_token_that_is_not_known_is_refused_in_words(workspace: Workspace, cdp: Cdp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-wrong")
    code, out, err = cdp("--warehouse", "wh1", "--diff")
    assert code == 1
    assert "PermissionDenied" in err
    assert "dapi-wrong" not in out + err
    assert workspace.denied


def test_without_credentials_the_command_says_what_to_set(small: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN", "DATABRICKS_CONFIG_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="no way is known"):
        Warehouse("wh1")


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_script_needs_no_workspace(small: Project, cdp: Cdp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small.root)
    code, out, _ = cdp()
    assert code == 0
    assert out == made(small).sql()
    assert cdp("--output", "out/policy.sql")[0] == 0
    assert Path("out/policy.sql").read_text() == out
    assert [each["sql"] for each in json.loads(cdp("--json")[1])["statements"]] == [each.text for each in made(small).statements]


@pytest.mark.parametrize("words", [("--diff",), ("--apply",)])
def test_a_warehouse_must_be_named(small: Project, cdp: Cdp, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    monkeypatch.chdir(small.root)
    monkeypatch.delenv("DATABRICKS_WAREHOUSE_ID", raising=False)
    code, _, err = cdp(*words)
    assert code == 2
    assert "no SQL warehouse is named" in err


def test_a_catalog_must_be_known(small: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(small.root)
    assert main(["governance", "export", "--principal", PRINCIPAL]) == 2
    assert "no catalog is named" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--principal", "--catalog", "--schema"])
@pytest.mark.parametrize("name", ["", " ", "a`b", "a\nb", "a\rb", "a\u2028b", "a\0b"])
def test_what_is_no_name_of_sql_is_a_wrong_call(small: Project, cdp: Cdp, monkeypatch: pytest.MonkeyPatch, option: str, name: str) -> None:
    monkeypatch.chdir(small.root)
    code, out, err = cdp(option, name)
    assert (code, out) == (2, "")
    assert option in err
