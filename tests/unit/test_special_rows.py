"""Special rows: what queries become, what their tables then say, and which rows roles read."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlglot import exp, parse_one

from cdp.analyst.explore.rows import WHOLE
from cdp.analyst.explore.sight import Sight
from cdp.compile.clock import Clock
from cdp.compile.statement import compile_segment
from cdp.errors import ProjectError, UsageError
from cdp.governance.classes import ClassTree
from cdp.governance.decide import Governor
from cdp.governance.facts import tables_of
from cdp.governance.query import GovernedQuery
from cdp.governance.receivers import Grant, Receiver
from cdp.governance.rows.special import Special, counting, facts, special_rows
from cdp.governance.rows.withhold import ROW, Kept, reading
from cdp.project.language.role_rows import bind_role_rows
from cdp.project.load import Project, load
from tests.governance_corpus import Case
from tests.projects import minimal

NOW = "2026-07-02T12:00"
TEST = parse_one(f"NOT {ROW}.code = 'x'")
KEPT = {"clinical.conditions": Kept(("patient_id", "code"), (TEST,))}
CTE = "SELECT one.patient_id, one.code FROM clinical.conditions AS one WHERE NOT one.code = 'x'"
ROLES = "kind: roles\nroles:\n"


def wards(tmp_path: Path, where: str = "{has: conditions, where: {code: {in: diabetes}}}", **kwargs: object) -> Project:
    case = Case("test", "test", world="wards", where=where, **kwargs)  # type: ignore[arg-type]
    return load(minimal(tmp_path, **case.overlays()))


def governed(project: Project) -> GovernedQuery:
    clock = Clock.parse(NOW, project.timezone)
    return Governor.of(project).govern("adults_mail", clock=clock, now=clock)


def read(text: str, kept: dict[str, Kept] = KEPT) -> str:
    query = parse_one(text, read="spark")
    assert isinstance(query, exp.Query)
    before = query.sql("spark")
    found = reading(query, kept).sql("spark")
    assert query.sql("spark") == before, "the query itself is not changed"
    return found


# -- the query --------------------------------------------------------------------------------------------------------

REPLACED = {
    "an alias": (
        "SELECT c.code FROM clinical.conditions AS c",
        f"WITH kept_conditions AS ({CTE}) SELECT c.code FROM kept_conditions AS c",
    ),
    "no alias, so that its columns keep their names": (
        "SELECT conditions.code FROM clinical.conditions",
        f"WITH kept_conditions AS ({CTE}) SELECT conditions.code FROM kept_conditions AS conditions",
    ),
    "names in capitals": (
        "SELECT c.code FROM CLINICAL.Conditions AS c",
        "WITH kept_conditions AS (SELECT one.patient_id, one.code FROM CLINICAL.Conditions AS one WHERE NOT one.code = 'x') "
        "SELECT c.code FROM kept_conditions AS c",
    ),
    "quoted names": (
        "SELECT c.code FROM `clinical`.`conditions` AS c",
        "WITH kept_conditions AS (SELECT one.patient_id, one.code FROM `clinical`.`conditions` AS one WHERE NOT one.code = 'x') "
        "SELECT c.code FROM kept_conditions AS c",
    ),
    "twice, in one CTE": (
        "SELECT a.code FROM clinical.conditions AS a JOIN clinical.conditions AS b ON a.patient_id = b.patient_id",
        f"WITH kept_conditions AS ({CTE}) SELECT a.code FROM kept_conditions AS a JOIN kept_conditions AS b ON a.patient_id = b.patient_id",
    ),
    "inside of subqueries and EXISTS": (
        "SELECT p.id FROM clinical.patients AS p WHERE EXISTS(SELECT 1 FROM clinical.conditions AS c WHERE c.patient_id = p.id)",
        f"WITH kept_conditions AS ({CTE}) SELECT p.id FROM clinical.patients AS p "
        "WHERE EXISTS(SELECT 1 FROM kept_conditions AS c WHERE c.patient_id = p.id)",
    ),
    "a WITH of the query's own, which reads it": (
        "WITH mine AS (SELECT c.code FROM clinical.conditions AS c) SELECT code FROM mine",
        f"WITH kept_conditions AS ({CTE}), mine AS (SELECT c.code FROM kept_conditions AS c) SELECT code FROM mine",
    ),
    "a CTE that has the table's name is none": (
        "WITH conditions AS (SELECT c.code FROM clinical.conditions AS c) SELECT conditions.code FROM conditions",
        f"WITH kept_conditions AS ({CTE}), conditions AS (SELECT c.code FROM kept_conditions AS c) SELECT conditions.code FROM conditions",
    ),
    "a CTE that has the name of ours": (
        "WITH kept_conditions AS (SELECT c.code FROM clinical.conditions AS c) SELECT code FROM kept_conditions",
        f"WITH kept_conditions_2 AS ({CTE}), kept_conditions AS (SELECT c.code FROM kept_conditions_2 AS c) "
        "SELECT code FROM kept_conditions",
    ),
    "a nested WITH, which Spark's SQL lists after ours": (
        "SELECT t.code FROM (WITH mine AS (SELECT c.code FROM clinical.conditions AS c) SELECT code FROM mine) AS t",
        f"WITH kept_conditions AS ({CTE}), mine AS (SELECT c.code FROM kept_conditions AS c) "
        "SELECT t.code FROM (SELECT code FROM mine) AS t",
    ),
    "both sides of a union": (
        "SELECT c.code FROM clinical.conditions AS c UNION ALL SELECT d.code FROM clinical.conditions AS d",
        f"WITH kept_conditions AS ({CTE}) SELECT c.code FROM kept_conditions AS c UNION ALL SELECT d.code FROM kept_conditions AS d",
    ),
    "as of a version": (
        "SELECT c.code FROM clinical.conditions VERSION AS OF 3 AS c",
        "WITH kept_conditions AS (SELECT one.patient_id, one.code FROM clinical.conditions VERSION AS OF 3 AS one "
        "WHERE NOT one.code = 'x') SELECT c.code FROM kept_conditions AS c",
    ),
}


@pytest.mark.parametrize("name", REPLACED)
def test_a_table_is_replaced_wherever_it_is_named(name: str) -> None:
    text, expected = REPLACED[name]
    assert read(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "SELECT p.id FROM clinical.patients AS p",
        "SELECT conditions.code FROM other.conditions",
        "SELECT 'clinical.conditions' AS t FROM clinical.patients AS p",
        "WITH conditions AS (SELECT 1 AS code) SELECT code FROM conditions",
    ],
)
def test_what_is_not_the_table_stays(text: str) -> None:
    query = parse_one(text, read="spark")
    assert isinstance(query, exp.Query)
    assert reading(query, KEPT) is query


def test_several_tables_have_a_cte_each() -> None:
    found = parse_one(read("SELECT 1 AS x FROM a.t AS t JOIN b.t AS u ON t.i = u.i", {"a.t": Kept((), (TEST,)), "b.t": Kept(("i",))}))
    assert [cte.alias for cte in found.args["with_"].expressions] == ["kept_t", "kept_t_2"]
    assert [cte.this.sql() for cte in found.args["with_"].expressions] == [
        "SELECT one.* FROM a.t AS one WHERE NOT one.code = 'x'",
        "SELECT one.i FROM b.t AS one",
    ]


# -- the rules --------------------------------------------------------------------------------------------------------


def ordinary(tmp_path: Path, rule: str) -> str:
    """The test of the rows of encounters that stay, of one rule."""
    text = f"kind: rows\nrules:\n  - {{class: sensitive.sud, entities: encounter, {rule}}}\n"
    project = wards(tmp_path, files={"governance/rows.yml": text})
    (found,) = special_rows(project)
    return found.ordinary.sql("spark")


UNKNOWN = {
    "where: {facility_id: {in: part2_facilities}}": "NOT one.facility_id IS NULL AND NOT ("
    "UPPER(REGEXP_REPLACE(one.facility_id, '[^0-9A-Za-z]', '')) IN ('F9', 'F8'))",
    "where: {facility_id: {in: part2_facilities}}, unknown: ordinary": "NOT COALESCE(one.facility_id IN ('f9', 'f8'), FALSE)",
    # null is not among those that are not special: whoever is at no known facility may be at a program
    "where: {facility_id: {not_in: [f1, f2]}}": "NOT one.facility_id IS NULL AND NOT (NOT COALESCE(one.facility_id IN ('f1', 'f2'), FALSE) "
    "AND NOT one.facility_id IS NULL)",
    "where: {minor_consented: true}": "NOT one.minor_consented IS NULL AND NOT (one.minor_consented = TRUE)",
    "where: {any: [{facility_id: f9}, {kind: detox}]}": "NOT one.facility_id IS NULL AND NOT one.kind IS NULL "
    "AND NOT (UPPER(REGEXP_REPLACE(one.facility_id, '[^0-9A-Za-z]', '')) = 'F9' "
    "OR UPPER(REGEXP_REPLACE(one.kind, '[^0-9A-Za-z]', '')) = 'DETOX')",
    # to have no value is what is asked, so that is known
    "where: {facility_id: null}": "NOT (one.facility_id IS NULL)",
}


@pytest.mark.parametrize("rule", UNKNOWN)
def test_a_row_that_is_not_known_to_be_ordinary_is_special(tmp_path: Path, rule: str) -> None:
    """Attack 31: a visit whose facility nobody recorded may be one to a program."""
    assert ordinary(tmp_path, rule) == UNKNOWN[rule]


def test_codes_are_special_whatever_system_the_row_names(tmp_path: Path) -> None:
    """The language asks for the code system too; a row that names it wrongly is not less special."""
    edit = {
        "models/care.yml": {"{type: code, system: SNOMED, class": "{type: code, system: code_system, class", "  onset: {": CODE_SYSTEM},
    }
    project = wards(tmp_path, edit=edit)
    found = next(each for each in special_rows(project) if each.cls == "sensitive.hiv")
    assert found.ordinary.sql("spark") == "NOT one.code IS NULL AND NOT (UPPER(REGEXP_REPLACE(one.code, '[^0-9A-Za-z]', '')) = '86406008')"


def test_codes_are_special_in_whatever_spelling(tmp_path: Path) -> None:
    """`f10.20`, `F1020` and ` F10.20 ` are one code to who reads them. What is negated is taken as it is: fewer would be special."""
    letters = "UPPER(REGEXP_REPLACE(one.kind, '[^0-9A-Za-z]', ''))"
    found = ordinary(tmp_path / "in", "where: {kind: {in: [f10.20, F10.20, x]}}")
    assert found == f"NOT one.kind IS NULL AND NOT ({letters} IN ('F1020', 'X'))"
    assert "REGEXP" not in ordinary(tmp_path / "not", "where: {not: {kind: {in: [f10.20, x]}}}")
    assert "REGEXP" not in ordinary(tmp_path / "known", "where: {kind: {in: [f10.20, x]}}, unknown: ordinary")


CODE_SYSTEM = "  code_system: {type: string, class: public}\n  onset: {"


def test_rules_of_one_class_and_table_add_up(tmp_path: Path) -> None:
    found = {(each.cls, each.table): each for each in special_rows(wards(tmp_path))}
    assert list(found) == [
        ("sensitive.sud", "clinical.encounters"),
        ("sensitive.sud", "clinical.conditions"),
        ("sensitive.hiv", "clinical.conditions"),
        ("sensitive.minor_consented", "clinical.encounters"),
    ]
    assert found["sensitive.sud", "clinical.conditions"].lifts == {"facility_id", "code"}
    assert found["sensitive.sud", "clinical.encounters"].lifts == {"facility_id"}


# -- what tables say --------------------------------------------------------------------------------------------------


def said(project: Project, withheld: set[str]) -> dict[str, object]:
    """What tables say of whom the rows of some classes are withheld from."""
    special = special_rows(project)
    gone = [each for each in special if each.cls in withheld]
    stay = [each for each in special if each.cls not in withheld]
    found = facts(tables_of(project), gone, stay, ClassTree(project.policy.classes))
    return {f"{table}.{name}": column for table, each in found.items() for name, column in each.columns.items()} | {
        f"rows of {table}": each.rows for table, each in found.items()
    }


def test_what_is_withheld_is_lifted_from_the_columns_that_decide_and_from_no_other(tmp_path: Path) -> None:
    found = said(wards(tmp_path), {"sensitive.sud", "sensitive.hiv", "sensitive.minor_consented"})
    code, facility, reading_ = (found[f"clinical.{name}"] for name in ("conditions.code", "conditions.facility_id", "readings.facility_id"))
    assert (code.may_hold, code.withheld) == (set(), {"sensitive.sud", "sensitive.hiv"})
    assert (facility.may_hold, facility.withheld) == (set(), {"sensitive.sud"})
    assert (reading_.may_hold, reading_.withheld) == ({"sensitive.sud"}, set())
    assert found["rows of clinical.conditions"] == {"clinical.condition"}


def test_where_it_is_granted_every_row_and_value_says_the_class(tmp_path: Path) -> None:
    found = said(wards(tmp_path), {"sensitive.hiv", "sensitive.minor_consented"})
    assert found["rows of clinical.conditions"] == {"clinical.condition", "sensitive.sud"}
    assert found["rows of clinical.encounters"] == {"clinical.encounter", "sensitive.sud"}
    assert found["rows of clinical.readings"] == {"clinical.observation"}
    assert found["clinical.conditions.onset"].may_hold == {"sensitive.sud"}
    assert found["clinical.conditions.code"].may_hold == {"sensitive.sud"}
    assert found["clinical.conditions.patient_id"].may_hold == set()  # who, not what


def test_what_a_table_says_of_all_its_rows_is_not_lifted(tmp_path: Path) -> None:
    edit = {"models/care.yml": {"rows: clinical.condition\n": "rows: [clinical.condition, sensitive.sud]\n"}}
    found = said(wards(tmp_path, edit=edit), {"sensitive.sud", "sensitive.hiv"})
    assert found["rows of clinical.conditions"] == {"clinical.condition", "sensitive.sud"}


def test_a_class_below_the_withheld_one_is_lifted_with_it_and_one_above_is_not(tmp_path: Path) -> None:
    edit = {
        "governance/classes.yml": {"  sensitive.hiv": "  sensitive.sud.opioid: {}\n  sensitive.hiv"},
        "models/care.yml": {"may_hold: [sensitive.sud, sensitive.hiv]": "may_hold: [sensitive.sud.opioid, sensitive]"},
    }
    found = said(wards(tmp_path, edit=edit), {"sensitive.sud", "sensitive.hiv"})
    assert found["clinical.conditions.code"].may_hold == {"sensitive"}


# -- who reads what ---------------------------------------------------------------------------------------------------


def withheld_from(project: Project, *members: tuple[str, ...]) -> set[str]:
    receiver = Receiver("r", tuple(Grant(str(n), frozenset(), frozenset(each)) for n, each in enumerate(members)))
    return {each.cls for each in Governor.of(project).views.of(receiver).withheld}


def test_a_class_is_granted_only_if_every_grant_says_its_name(tmp_path: Path) -> None:
    project = wards(tmp_path)
    every = {"sensitive.sud", "sensitive.hiv", "sensitive.minor_consented"}
    assert withheld_from(project) == every
    assert withheld_from(project, ("clinical", "sensitive", "*")) == every
    assert withheld_from(project, ("sensitive.sud",), ("sensitive.sud", "sensitive.hiv")) == every - {"sensitive.sud"}
    assert withheld_from(project, tuple(every)) == set()


def test_analyses_are_shared_by_receivers_of_the_same_classes(tmp_path: Path) -> None:
    views = Governor.of(wards(tmp_path)).views
    one, other = (Receiver(name, (Grant(name, frozenset(), frozenset({"sensitive.sud"})),)) for name in "ab")
    assert views.of(one) is views.of(other)
    assert views.of(Receiver("c", ())) is not views.of(one)


def test_a_governed_query_names_what_it_does_not_read(tmp_path: Path) -> None:
    """Attack 31: a row of the program is not even counted."""
    query = governed(wards(tmp_path))
    assert [(each.cls, each.table) for each in query.withheld] == [
        ("sensitive.sud", "clinical.conditions"),
        ("sensitive.hiv", "clinical.conditions"),
    ]
    tables = [node.sql() for node in query.select.find_all(exp.Table) if node.name == "conditions"]
    assert tables == ["clinical.conditions AS one"]
    assert query.tables == ("clinical.conditions", "clinical.patients", "crm.consents")


def test_one_of_each_household_reads_the_rows_that_are_left(tmp_path: Path) -> None:
    edit = {"syncs/adults_mail.yml": {"mode: mirror": "mode: mirror\none_per: state"}}
    text = governed(wards(tmp_path, edit=edit)).select.sql("spark")
    assert text.startswith("WITH kept_conditions AS (SELECT one.condition_id")
    assert text.count("clinical.conditions") == 1


def test_a_select_of_an_author_and_a_derived_entity_read_them_too(tmp_path: Path) -> None:
    files = {
        "models/adults.yml": (
            "{kind: segment, name: adults, entity: patient, description: d, owner: o, purpose: care_coordination, "
            'sql: "WITH condition_rows AS (SELECT patient_id FROM condition) '
            'SELECT s.patient_id FROM sick_day s JOIN condition_rows c ON c.patient_id = s.patient_id"}'
        ),
        "models/days.yml": (
            "{kind: entity, name: sick_day, from: condition, group_by: {patient_id: patient_id, onset: onset}, "
            "rows: clinical.condition, columns: {many: {count: true, class: clinical.condition}}}"
        ),
    }
    case = Case("t", "t", world="wards", files=files)
    text = governed(load(minimal(tmp_path, **case.overlays()))).select.sql("spark")
    assert text.count("clinical.conditions") == 1
    assert text.count("kept_conditions AS condition") == 2


def test_without_rules_nothing_is_replaced(tmp_path: Path) -> None:
    query = governed(wards(tmp_path, files={"governance/rows.yml": None}))
    assert query.withheld == ()
    assert "kept_" not in query.select.sql("spark")


def test_a_code_more_on_the_list_is_another_decision(tmp_path: Path) -> None:
    before = governed(wards(tmp_path / "before"))
    edit = {"governance/rows.yml": {"    unknown: ordinary\n": ""}}
    assert governed(wards(tmp_path / "same")).fingerprint == before.fingerprint
    assert governed(wards(tmp_path / "after", edit=edit)).fingerprint != before.fingerprint


def test_each_table_is_counted_once(tmp_path: Path) -> None:
    where = "{all: [{has: conditions, where: {code: {in: diabetes}}}, {has: encounters}]}"
    query = governed(wards(tmp_path, where=where))
    text = counting(query.withheld).sql("spark")
    assert text.startswith("SELECT withheld_0, withheld_1, withheld_2, withheld_3 FROM (SELECT COUNT_IF(")
    assert (text.count("clinical.conditions"), text.count("clinical.encounters"), text.count("CROSS JOIN")) == (1, 1, 1)


def test_the_same_rows_of_one_table_under_two_classes_are_two_tests() -> None:
    one = Special("a", "s.t", TEST, frozenset(), True)
    assert KEPT["clinical.conditions"].also(one.ordinary) == KEPT["clinical.conditions"]


# -- roles ------------------------------------------------------------------------------------------------------------

FILTERED = ROLES + "  analyst: {use: [membership, demographic, clinical], rows: {where: {facility_id: {in: $facilities}}}}\n"
PEOPLE = (
    'people:\n  - {id: "uid:1", roles: analyst, facilities: [f1, f2]}\n  - {id: "uid:2", roles: analyst}\n'
    '  - {id: "uid:3", roles: [analyst, sud]}\n'
)
SUD = "  sud: {use: [membership, demographic, clinical, sensitive.sud, sensitive.hiv, sensitive.minor_consented]}\n"


def seen(project: Project, role: str | None, person: str) -> str:
    """What a segment reads in a role."""
    clock = Clock.parse(NOW, project.timezone)
    return Sight.of(project, role, person).reach.over(compile_segment(project, "adults", clock).select).sql("spark")


def test_who_looks_without_a_role_reads_no_special_rows(tmp_path: Path) -> None:
    text = seen(wards(tmp_path), None, "uid:9")
    assert "'')) = '86406008')" in text
    assert text.count("clinical.conditions") == 1


def test_a_role_that_may_use_the_classes_reads_every_row(tmp_path: Path) -> None:
    project = wards(tmp_path, files={"governance/roles.yml": ROLES + SUD})
    assert "kept_" not in seen(project, "sud", "uid:9")
    assert Sight.of(project, "sud", "uid:9").reach.partial(["clinical.conditions"]) == WHOLE


def test_a_role_reads_the_rows_of_the_facilities_of_the_person(tmp_path: Path) -> None:
    project = wards(tmp_path, files={"governance/roles.yml": FILTERED + SUD + PEOPLE})
    assert "one.facility_id IN ('f1', 'f2')" in seen(project, None, "uid:1")
    assert " AND FALSE)" in seen(project, None, "uid:2")  # of no facility: no row
    assert bind_role_rows(project, "analyst", ()) == {"encounter": None, "condition": None, "reading": None}
    assert bind_role_rows(project, "sud", ()) == {}
    partial = Sight.of(project, "analyst", "uid:1").reach.partial(["clinical.readings", "clinical.patients"])
    assert partial.filtered == ("clinical.readings",)
    assert partial.notes("analyst") == ["only the rows of role analyst are read of clinical.readings"]


def test_who_has_several_roles_says_in_which_one_to_look_where_rows_differ(tmp_path: Path) -> None:
    project = wards(tmp_path, files={"governance/roles.yml": FILTERED + SUD + PEOPLE})
    with pytest.raises(UsageError, match="several roles, and they read different rows"):
        Sight.of(project, None, "uid:3")
    assert " AND FALSE)" in seen(project, "analyst", "uid:3")
    assert "kept_" not in seen(project, "sud", "uid:3")


def test_a_plan_reads_the_rows_of_every_facility(tmp_path: Path) -> None:
    """Attack 40: a filtered mirror would remove everybody else."""
    with_roles = governed(wards(tmp_path / "with", files={"governance/roles.yml": FILTERED + SUD + PEOPLE}))
    without = governed(wards(tmp_path / "without"))
    assert with_roles.select.sql("spark") == without.select.sql("spark")


@pytest.mark.parametrize(
    ("where", "problem"),
    [
        ("{ward: north}", "no entity with a table has all of these columns: ward; it would keep nothing from anybody"),
        (
            "{facility_id: {in: $facilities}, email: {not_null: true}}",
            "no entity with a table has all of these columns: facility_id, email",
        ),
        ("{start: {within: {days: 30}}}", "compares columns of the row itself with values"),
        ("{has: encounters}", "no entity with a table has all of these columns: has"),
        ("{value: {in: $facilities}}", "it is asked of every row of reading"),
    ],
)
def test_a_filter_that_would_not_filter_is_refused(tmp_path: Path, where: str, problem: str) -> None:
    files = {"governance/roles.yml": f"{ROLES}  analyst: {{rows: {{where: {where}}}}}\n"}
    with pytest.raises(ProjectError) as error:
        wards(tmp_path, files=files)
    assert [each for each in error.value.problems if each.file == "governance/roles.yml" and problem in str(each)]
