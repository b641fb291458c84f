"""Lineage: what governance found is all there, by value and by membership apart, with the models on the way and what lowers it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from cdp.catalog.flows import Flow, Flows
from cdp.catalog.flows.mermaid import flowchart
from cdp.catalog.flows.openlineage import events
from cdp.cli.app import main
from cdp.cli.output import WIDTH
from cdp.compile import Clock
from cdp.governance.decide import Governor
from cdp.project.load import load
from tests.projects import minimal

ROOT = Path(__file__).parents[2]
HOSPICE = ("segment", "in_hospice")


@cache
def flows(root: Path = ROOT) -> Flows:
    project = load(root)
    clock = Clock.parse("2026-07-02", project.timezone)
    return Flows(Governor.of(project), clock, clock)


@cache
def reminder() -> Flow:
    return flows().of("a1c_reminder_email")


@pytest.fixture
def cdp(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.chdir(ROOT)

    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return run


# -- what is told -----------------------------------------------------------------------------------------------------


def test_lineage_says_all_that_governance_decides_on_and_nothing_else() -> None:
    asked = flows()
    for name in asked.project.syncs:
        told, flow = asked.governor.told(name, clock=asked.clock, now=asked.now), asked.of(name)
        assert {field.name: {source.fact for source in field.sources} for field in flow.fields} == told.written.columns
        assert {source.fact for source in flow.members.sources} == told.written.rows
        assert {field.name: set(field.after) for field in flow.fields} == {
            name: {fact.cls for fact in facts} for name, facts in told.lowered.columns.items()
        }
        assert set(flow.members.after) == {fact.cls for fact in told.lowered.rows}


def test_a_masked_key_tells_what_the_mask_gives() -> None:
    key = reminder().fields[0]
    assert (key.name, key.key, key.mask, key.plain) == ("external_id", True, "pseudonym", False)
    assert (key.before, key.after) == (("identifier.mrn",), ("identifier.pseudonym",))


def test_a_column_as_it_stands_is_plain() -> None:
    name = next(field for field in reminder().fields if field.name == "first_name")
    assert name.plain
    assert [str(source.fact) for source in name.sources] == ["clinical.patients.given_name"]


def test_an_address_that_a_request_may_replace_depends_on_the_request() -> None:
    email = next(field for field in reminder().fields if field.name == "email")
    assert not email.plain
    assert {"clinical.patients.email", "rows of crm.confidential_requests"} <= {str(source.fact) for source in email.sources}


def test_membership_is_lowered_by_the_declassification_that_counts() -> None:
    members = reminder().members
    assert members.declassified == ("a1c_reminder_says_preventive",)
    assert "clinical.condition" in members.before
    assert "clinical.condition" not in members.after


def test_the_way_leads_over_the_segments_that_are_named() -> None:
    ends = {str(source.fact): source.via for source in reminder().members.sources}
    assert ends["clinical.conditions.code"] == (("segment", "a1c_overdue"),)
    assert ends["clinical.encounters.disposition"] == (("segment", "a1c_overdue"), HOSPICE)


def test_the_value_of_a_trait_comes_over_the_trait_and_not_over_the_segment() -> None:
    a1c = next(field for field in flows().of("a1c_care_managers").fields if field.name == "a1c")
    assert {source.via for source in a1c.sources} == {(("trait", "latest_glycemic"),)}
    assert not any(kind == "segment" for kind, _ in a1c.models)


def test_a_field_has_nothing_to_do_with_the_traits_of_the_fields_beside_it() -> None:
    names = {field.name: field.models for field in flows().of("panel_reports").fields}
    assert names["name"] == frozenset()
    assert HOSPICE in names["overdue"]


# -- who learns of something ------------------------------------------------------------------------------------------


def about(kind: str, name: str) -> dict[str, Flow]:
    asked = flows()
    part = asked.part(kind, name)
    return {flow.sync.name: found for flow in asked.all() if (found := flow.about(part)) is not None}


def test_a_column_is_told_by_value_and_by_membership_apart() -> None:
    email = about("column", "patient.email")
    assert [field.name for field in email["a1c_reminder_email"].fields] == ["email"]
    assert email["a1c_reminder_email"].members.sources == ()
    birth = about("column", "clinical.patients.birth_date")
    assert birth["a1c_reminder_email"].fields == ()
    assert [str(source.fact) for source in birth["a1c_reminder_email"].members.sources] == ["clinical.patients.birth_date"]


def test_an_entity_s_column_and_its_table_s_column_are_the_same() -> None:
    by_entity, by_table = about("column", "encounter.type"), about("column", "clinical.encounters.type")
    assert by_entity == by_table != {}


def test_who_learns_of_a_segment_that_others_rest_on() -> None:
    assert {"a1c_reminder_email", "panel_reports"} <= set(about("segment", "in_hospice"))
    assert "choose_a_pcp" not in about("segment", "in_hospice")


def test_nobody_learns_of_what_no_sync_reads() -> None:
    assert about("column", "clinical.patients.ssn") == {}


def test_a_column_of_a_derived_entity_is_told_by_what_reads_the_entity() -> None:
    asked = flows()
    derived = next(name for name, entity in asked.project.entities.items() if entity.from_)
    readers = {flow.sync.name for flow in asked.all() for field in flow.all if ("entity", derived) in field.models}
    column = next(iter(asked.project.entities[derived].columns))
    assert readers <= set(about("column", f"{derived}.{column}"))


def test_a_role_sees_a_column_only_if_it_sees_all_that_it_may_hold() -> None:
    asked = flows()
    assert "care_manager" in asked.seen_by(["clinical.encounter"])
    assert "care_manager" not in asked.seen_by(asked.declared("clinical.encounters.type"))  # it may hold sensitive.sud


# -- what is refused --------------------------------------------------------------------------------------------------


def test_a_sync_that_is_refused_is_shown_as_such_with_all_that_it_would_tell(tmp_path: Path) -> None:
    root = minimal(tmp_path)
    agreement = next((root / "governance").rglob("baa/*.yml"))
    agreement.write_text(re.sub(r"(?m)^expires:.*$", "expires: 2026-01-31", agreement.read_text()))
    [flow] = flows(root).all()
    assert flow.refusals
    assert flow.followed
    assert all(field.sources for field in flow.fields)


# -- formats ----------------------------------------------------------------------------------------------------------


def test_mermaid_draws_values_solid_and_membership_dotted() -> None:
    text = flowchart([reminder()])
    assert text.startswith("flowchart LR\n")
    names = dict(re.findall(r"^  (n\d+)\S*?\"(.*)\"", text, re.M))
    edges = {(names[a], arrow, names[b]) for a, arrow, b in re.findall(r"^  (n\d+) (\S+) (n\d+)$", text, re.M)}
    assert ("clinical.patients.given_name<br/>name.given", "-->", "a1c_reminder_email.first_name<br/>name.given") in edges
    assert ("segment in_hospice", "-.->", "segment a1c_overdue") in edges
    assert len(names) == len(set(names.values()))


def test_a_name_cannot_break_out_of_a_mermaid_label() -> None:
    from cdp.catalog.flows.mermaid import _shape

    assert _shape(("column", 'a"]; click b "x')).count('"') == 2


def test_openlineage_tells_values_from_filters() -> None:
    asked = flows()
    [event] = events(asked.project, [reminder()], asked.now, namespace="lake", producer="https://example.org/cdp")
    assert event["schemaURL"].endswith("#/$defs/JobEvent")
    assert not {"run", "eventType"} & set(event)  # a JobEvent has none
    [output] = event["outputs"]
    lineage, schema = output["facets"]["columnLineage"], output["facets"]["schema"]
    assert set(lineage["fields"]) == {field["name"] for field in schema["fields"]}
    assert lineage["fields"]["external_id"]["inputFields"] == [
        {
            "namespace": "lake",
            "name": "clinical.patients",
            "field": "patient_id",
            "transformations": [
                {"type": "DIRECT", "subtype": "TRANSFORMATION", "description": "patient_id, masked by pseudonym", "masking": True}
            ],
        }
    ]
    assert lineage["fields"]["first_name"]["inputFields"][0]["transformations"][0]["subtype"] == "IDENTITY"
    filters = {(each["name"], each["field"]): each["transformations"][0] for each in lineage["dataset"]}
    assert filters["clinical.conditions", "code"]["type"] == "INDIRECT"
    assert filters["clinical.conditions", "code"]["subtype"] == "FILTER"
    tables = {source.fact.table for field in reminder().all for source in field.sources}
    assert {each["name"] for each in event["inputs"]} == tables
    assert all({"_producer", "_schemaURL"} <= set(facet) for facet in output["facets"].values())


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [("a1c_reminder_email",), ("care_management",), ("in_hospice",), ("highest_a1c",), ("clinical.patients.email",), ("encounter.type",)],
    ids=" ".join,
)
def test_a_tree_fits_and_json_is_json(cdp, words: tuple[str, ...]) -> None:
    code, out, err = cdp("lineage", *words)
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= WIDTH
    assert json.loads(cdp("lineage", *words, "--json")[1])["name"] == words[0]
    assert cdp("lineage", *words, "--mermaid")[1].startswith("flowchart LR")


def test_openlineage_of_a_column_is_of_whole_syncs(cdp) -> None:
    code, out, _ = cdp("lineage", "patient.email", "--openlineage", "--namespace", "databricks://dbc.example")
    assert code == 0
    event = next(each for each in json.loads(out) if each["job"]["name"] == "a1c_reminder_email")
    assert set(event["outputs"][0]["facets"]["columnLineage"]["fields"]) == {"external_id", "email", "first_name", "language"}
    assert {each["namespace"] for each in event["inputs"]} == {"databricks://dbc.example"}


def test_a_name_that_is_not_there_is_called_wrongly_and_the_nearest_is_offered(cdp) -> None:
    code, _, err = cdp("lineage", "patient.emial")
    assert code == 2
    assert "patient.email" in err


def test_a_kind_that_the_name_is_not_of_is_called_wrongly(cdp) -> None:
    code, _, err = cdp("lineage", "in_hospice", "--kind", "sync")
    assert code == 2
    assert "no sync named 'in_hospice'" in err


def test_a_name_that_is_empty_is_seen_as_such(cdp) -> None:
    code, _, err = cdp("lineage", "")
    assert code == 2
    assert "named ''" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--mermaid", "--openlineage"), "--mermaid and --openlineage print two different things"),
        (("--mermaid", "--json"), "--mermaid and --json print two different things"),
        (("--namespace", "x"), "--namespace goes with --openlineage"),
        (("--mermaid", "--namespace", ""), "--namespace goes with --openlineage"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_calls(cdp, words: tuple[str, ...], said: str) -> None:
    code, out, err = cdp("lineage", "bp_outreach", *words)
    assert code == 2
    assert said in out + err
    assert "flowchart" not in out


def test_special_rows_that_a_receiver_does_not_read_are_said(cdp) -> None:
    flow = flows().of("bp_outreach")
    assert ("sensitive.sud", "clinical.conditions") in flow.withheld
    assert not any(table.startswith("crm.") for _, table in flow.withheld)  # tables that it does not read are left out
    assert "rows of sensitive.sud are withheld: clinical.conditions" in cdp("lineage", "bp_outreach")[1]


def test_what_asks_for_an_approval_is_said(tmp_path: Path) -> None:
    roles = "kind: roles\nroles: {boss: {}}\napproval: {required: {channels: email}, four_eyes: false}\n"
    [flow] = flows(minimal(tmp_path, **{"governance/roles.yml": roles})).all()
    assert flow.approval == ("channel email",)
    assert flow.as_json()["needs_approval"] == ["channel email"]
