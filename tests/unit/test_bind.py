"""What the YAML of the language means: each construct and the terms that it becomes, written down by hand."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cdp.errors import ProjectError
from cdp.project.load import Project, load
from cdp.project.terms import (
    AgeBetween,
    Anniversary,
    AtTime,
    Chosen,
    ColumnRef,
    Compare,
    CompareTo,
    Condition,
    Converted,
    Covered,
    Day,
    DayOf,
    Every,
    Exists,
    Factor,
    Holds,
    InSegment,
    InWindow,
    IsNull,
    Link,
    Measure,
    Negation,
    OneOf,
    OnWeekday,
    Picked,
    Satisfies,
    Some,
    Tally,
    Ties,
    Window,
)
from cdp.project.terms.models import Aggregate, Derived
from tests.language_world import asked, clinic, segment
from tests.projects import SYNC

TODAY = Day("as_of")
BORN = ColumnRef((), "patient", "birth_date", "date")
SEX, DOSES = ColumnRef((), "patient", "sex", "string"), ColumnRef((), "patient", "doses", "integer")
CODE = ColumnRef((), "condition", "code", "code")
GLUCOSE = OneOf(ColumnRef((), "observation", "code", "code"), ("2339-0",), "code", ("LOINC", "http://loinc.org", "LN"))
VALUE = ColumnRef((), "observation", "value", "decimal")
UNIT = ColumnRef((), "observation", "unit", "string")
KIND, START = ColumnRef((), "visit", "kind", "string"), ColumnRef((), "visit", "start", "timestamp")
FILLED, SUPPLY = ColumnRef((), "fill", "filled_on", "date"), ColumnRef((), "fill", "days_supply", "integer")
DRUG, PCP = Link("drug", "drug", (("drug_id", "drug_id"),)), Link("pcp", "clinician", (("clinician_id", "pcp_id"),))
PATIENT = Link("patient", "patient", (("patient_id", "patient_id"),))
MG, MMOL, FACTOR = ("mg/dL",), ("mmol/L",), Decimal("18.016")


def many(name: str, entity: str) -> Link:
    return Link(name, entity, (("patient_id", "patient_id"),))


CONDITIONS, OBSERVATIONS, VISITS = many("conditions", "condition"), many("observations", "observation"), many("visits", "visit")
ENCOUNTERS, FILLS = many("encounters", "encounter"), many("fills", "fill")
END = ColumnRef((), "encounter", "end", "timestamp")


def outwards(column: ColumnRef, up: int = 1) -> ColumnRef:
    return ColumnRef(column.hops, column.entity, column.column, column.type, up, column.field, column.array)


def ago(count: int, unit: Any = "days") -> Day:
    return TODAY.plus(unit, -count)


def bound(where: str) -> Condition:
    """What a condition on a patient becomes."""
    return asked(where).bound.segments["asked"]


def with_models(tmp_path: Path, text: str) -> Project:
    return load(clinic(tmp_path, **{"models/new.yml": text}))


VALUES: dict[str, Condition] = {
    "{sex: female}": Compare(SEX, "eq", "female", "string"),
    "{sex: no}": Compare(SEX, "eq", "no", "string"),
    "{sex: [a, b]}": OneOf(SEX, ("a", "b"), "string"),
    "{sex: null}": IsNull(SEX),
    "{sex: {not_null: true}}": Negation(IsNull(SEX)),
    "{sex: {not_in: [a]}}": Every((Negation(OneOf(SEX, ("a",), "string")), Negation(IsNull(SEX)))),
    "{sex: {eq: F, ignore_case: true}}": Compare(SEX, "eq", "F", "string", ignore_case=True),
    "{sex: {in: [f, m], ignore_case: true}}": OneOf(SEX, ("f", "m"), "string", ignore_case=True),
    "{sex: {matches: '^f\\d+.$'}}": Compare(SEX, "matches", r"^f[0-9]+[^\n]\z", "string"),
    "{sex: {matches: '[\\w.]\\S{2,3}?|\\pL\\x41'}}": Compare(SEX, "matches", r"[0-9A-Za-z_.][^\t\n\f\r ]{2,3}?|\pL\x41", "string"),
    "{sex: {ne: {ref: state}}}": CompareTo(SEX, "ne", ColumnRef((), "patient", "state", "string"), "string"),
    "{doses: {between: [1_000, 2_000]}}": Every((Compare(DOSES, "gte", 1000, "integer"), Compare(DOSES, "lte", 2000, "integer"))),
    "{languages: {any_of: [en, es]}}": Holds(ColumnRef((), "patient", "languages", "string", array=True), ("en", "es"), "string", False),
    "{allergies: {any_of: any_diabetes}}": Holds(ColumnRef((), "patient", "allergies", "code", array=True), ("44054006",), "code", False),
    "{address.geo.lat: {gt: 40.5}}": Compare(
        ColumnRef((), "patient", "address", "decimal", field=("geo", "lat")), "gt", Decimal("40.5"), "decimal"
    ),
    "{birth_date: {weekday: [sun, mon]}}": OnWeekday(BORN, (1, 7), "date"),
    "{birth_date: {anniversary: {upcoming: {days: 7}}}}": Anniversary(BORN, Window(TODAY, TODAY.plus("days", 7)), "date"),
    "{death_date: {lt: {ref: address.moved}}}": CompareTo(
        ColumnRef((), "patient", "death_date", "date"), "lt", ColumnRef((), "patient", "address", "date", field=("moved",)), "date"
    ),
    "{pcp.active: true}": Compare(ColumnRef((PCP,), "clinician", "active", "boolean"), "eq", True, "boolean"),
    "{height: {gt: 80 kg}}": Compare(ColumnRef((), "patient", "height", "decimal"), "gt", Decimal(80), "decimal"),
    "{height: {gt: 80000 g}}": Compare(ColumnRef((), "patient", "height", "decimal"), "gt", Decimal(80), "decimal"),
    "{age: {between: [18, 75], at: measurement_year.end}}": AgeBetween(BORN, 18, 75, "years", Day(("measurement_year", "end"))),
    "{age: {gte: 7, unit: months}}": AgeBetween(BORN, 7, None, "months", TODAY),
    "{segment: diabetic}": InSegment("diabetic"),
    "{n_of: [{sex: f}, {doses: 3}], is: {gte: 1}}": Compare(
        Tally((Compare(SEX, "eq", "f", "string"), Compare(DOSES, "eq", 3, "integer"))), "gte", 1, "integer"
    ),
}


@pytest.mark.parametrize("where", VALUES)
def test_values(where: str) -> None:
    assert bound(where) == VALUES[where]


def has(where: Condition | None = None, link: Link = VISITS, **more: Any) -> Condition:
    return Exists(Measure("exists", link, where, **more))


def visits(verb: Any, **more: Any) -> Measure:
    return Measure(verb, VISITS, **more)


WEEKS = tuple(Window(ago(n, "weeks").plus("days", 1), ago(n - 1, "weeks")) for n in (1, 2, 3))
SYSTEMS = (("SNOMED", "http://snomed.info/sct", "SNOMED-CT"), ("ICD10CM", "I10"))

MEASURES: dict[str, Condition] = {
    "{lacks: visits}": Negation(has()),
    "{has: visits, within: {months: 6}}": has(window=Window(ago(6, "months"), TODAY)),
    "{has: visits, during: tomorrow}": has(window=Window(TODAY.plus("days", 1), TODAY.plus("days", 1))),
    "{has: visits, during: {from: 2026-01-01, to: as_of}}": has(window=Window(Day(dt.date(2026, 1, 1)), TODAY)),
    "{has: visits, older_than: {days: 30}}": has(window=Window(None, ago(30).plus("days", -1))),
    "{has: visits, within: {days: [1, 14], after: birth_date}}": has(
        window=Window(Day(outwards(BORN), (("days", 1),)), Day(outwards(BORN), (("days", 14),)))
    ),
    "{has: visits, within: {days: 3, before: birth_date - 1 years}}": has(
        window=Window(Day(outwards(BORN), (("years", -1), ("days", -3))), Day(outwards(BORN), (("years", -1),)))
    ),
    "{has: conditions, where: {code: {in: any_diabetes}}}": has(
        Some((OneOf(CODE, ("44054006",), "code", SYSTEMS[0]), OneOf(CODE, ("E11.9",), "code", SYSTEMS[1]))), CONDITIONS
    ),
    "{has: conditions, where: {icd: {in: any_diabetes}}}": has(
        OneOf(ColumnRef((), "condition", "icd", "code"), ("E11.9", "E119"), "code"), CONDITIONS
    ),
    "{has: conditions, where: {icd: E11.9}}": has(OneOf(ColumnRef((), "condition", "icd", "code"), ("E11.9", "E119"), "code"), CONDITIONS),
    "{has: conditions, where: {icd: E11}}": has(Compare(ColumnRef((), "condition", "icd", "code"), "eq", "E11", "code"), CONDITIONS),
    "{has: conditions, where: {bare: {in: diabetes}}}": has(
        OneOf(ColumnRef((), "condition", "bare", "code"), ("44054006",), "code"), CONDITIONS
    ),
    '{has: visits, where: {start: {time_of_day: ["22:00", "06:30"]}}}': has(AtTime(START, 1320, 390)),
    "{has: visits, where: {start.day: 2026-01-01}}": has(Compare(DayOf(START), "eq", dt.date(2026, 1, 1), "date")),
    "{has: visits, where: {start: {gt: {ref: birth_date}}}}": has(CompareTo(DayOf(START), "gt", outwards(BORN), "date")),
    "{has: visits, where: {patient.age: {gte: 18, at: start}}}": has(
        AgeBetween(ColumnRef((PATIENT,), "patient", "birth_date", "date"), 18, None, "years", Day(START))
    ),
    "{count: visits, distinct: day, is: {gte: 3}}": Compare(visits("count", distinct="day"), "gte", 3, "integer"),
    "{count: visits, distinct: kind, is: {gte: 3}}": Compare(visits("count", distinct=KIND), "gte", 3, "integer"),
    "{count: visits, spaced: {weeks: 4}, is: {lt: 3}}": Compare(visits("count", spaced=28), "lt", 3, "integer"),
    "{most_frequent: visits, of: kind, is: x}": Compare(visits("most_frequent", of=KIND), "eq", "x", "string"),
    "{list: visits, of: kind, limit: 2, is: {all_of: [x]}}": Holds(visits("list", of=KIND, limit=2), ("x",), "string", True),
    "{latest: visits, of: kind, is: x}": Compare(Picked(visits("latest", of=KIND), KIND), "eq", "x", "string"),
    "{earliest: visits, by: day, ties: {start: highest}, is: {kind: x, status: null}}": Satisfies(
        visits("earliest", by_day=True, ties=Ties(START, False)),
        Every((Compare(KIND, "eq", "x", "string"), IsNull(ColumnRef((), "visit", "status", "string")))),
    ),
    "{count: visits, each: {weeks: [2, 3]}, is: {gte: 1}}": Every(
        tuple(Compare(visits("count", window=week), "gte", 1, "integer") for week in WEEKS[1:])
    ),
    "{count: visits, each: {weeks: 3}, is: rising}": Every(
        (
            CompareTo(visits("count", window=WEEKS[0]), "gt", visits("count", window=WEEKS[1]), "integer"),
            CompareTo(visits("count", window=WEEKS[1]), "gt", visits("count", window=WEEKS[2]), "integer"),
        )
    ),
    "{has: visits, each: {weeks: 2}}": Every((has(window=WEEKS[0]), has(window=WEEKS[1]))),
    "{days_covered: fills, within: {years: 1}, supply: days_supply, same: drug.ingredient, is: {share: {lt: 0.8}}}": Compare(
        Covered(
            Measure(
                "days_covered",
                FILLS,
                window=Window(ago(1, "years"), TODAY),
                supply=SUPPLY,
                same=ColumnRef((DRUG,), "drug", "ingredient", "string"),
            ),
            "share",
        ),
        "lt",
        Decimal("0.8"),
        "double",
    ),
    "{lacks: pcp, where: {active: true}}": Negation(
        Every(
            (
                Negation(IsNull(ColumnRef((PCP,), "clinician", "clinician_id", "string"))),
                Compare(ColumnRef((PCP,), "clinician", "active", "boolean"), "eq", True, "boolean"),
            )
        )
    ),
    "{has: pcp}": Negation(IsNull(ColumnRef((PCP,), "clinician", "clinician_id", "string"))),
}


@pytest.mark.parametrize("where", MEASURES)
def test_measures(where: str) -> None:
    assert bound(where) == MEASURES[where]


# -- rows in rows -----------------------------------------------------------------------------------------------------


def test_a_window_after_a_named_event() -> None:
    term = bound(
        """
        has: encounters
        as: stay
        where:
          - end: {within: {days: [15, 45]}}
          - lacks: patient.encounters
            within: {days: [1, 14], after: stay.end}
        """
    )
    after = Window(Day(outwards(END), (("days", 1),)), Day(outwards(END), (("days", 14),)))
    seen = Exists(Measure("exists", ENCOUNTERS, window=after, up=1))
    assert term == has(Every((InWindow(END, Window(ago(45), ago(15)), "timestamp"), Negation(seen))), ENCOUNTERS)


def test_the_way_back_to_the_row_around_is_that_row() -> None:
    inner = Exists(Measure("exists", VISITS, Exists(Measure("exists", FILLS, up=2)), up=1))
    assert bound("{has: encounters, where: {has: patient.visits, where: {has: patient.fills}}}") == has(inner, ENCOUNTERS)


def test_the_way_to_another_row_is_a_hop() -> None:
    cost = ColumnRef((), "drug", "unit_cost", "decimal")
    bought = ColumnRef((DRUG,), "drug", "unit_cost", "decimal", up=1)
    cheaper = Measure("exists", EQUIVALENTS, CompareTo(cost, "lt", bought, "decimal"), hops=(DRUG,))
    term = bound("{has: fills, as: bought, where: {has: drug.equivalents, where: {unit_cost: {lt: {ref: bought.drug.unit_cost}}}}}")
    assert term == has(Exists(cheaper), FILLS)


EQUIVALENTS = Link("equivalents", "drug", (("group_id", "group_id"),))


def test_rows_are_named_by_as_and_the_outermost_by_its_entity() -> None:
    def cheaper(where: Condition) -> Condition:
        return has(Exists(Measure("exists", EQUIVALENTS, where, hops=(DRUG,))), FILLS)

    female = Compare(outwards(SEX, 2), "eq", "female", "string")
    assert bound("{has: fills, where: {has: drug.equivalents, where: {patient.sex: female}}}") == cheaper(female)
    visited = Exists(Measure("exists", VISITS, up=2))
    assert bound("{has: fills, where: {has: drug.equivalents, where: {has: patient.visits}}}") == cheaper(visited)


def test_during_a_row_around() -> None:
    onset, abated = (ColumnRef((), "condition", name, "date", up=1) for name in ("onset", "abated"))
    visit = Measure("exists", VISITS, window=Window(Day(onset), Day(abated), ongoing=True), up=1)
    assert bound("{has: conditions, as: illness, where: {has: patient.visits, during: illness}}") == has(Exists(visit), CONDITIONS)
    day = Day(outwards(FILLED))
    visit = Measure("exists", VISITS, window=Window(day, day), up=1)
    assert bound("{has: fills, as: bought, where: {has: patient.visits, during: bought}}") == has(Exists(visit), FILLS)


def test_a_bare_name_in_a_point_is_of_the_nearest_row_that_has_it() -> None:
    term = bound("{has: visits, where: {start: {since: birth_date + 42 days}}}")
    assert term == has(InWindow(START, Window(Day(outwards(BORN), (("days", 42),)), None), "timestamp"))


def test_the_picked_row_is_the_row_at_hand() -> None:
    term = bound(
        "{latest: visits, as: seen, is: [{start: {older_than: {days: 30}}}, {lacks: patient.fills, within: {days: 30, after: seen.start}}]}"
    )
    start = Day(outwards(START))
    fills = Measure("exists", FILLS, window=Window(start, start.plus("days", 30)), up=1)
    older = InWindow(START, Window(None, ago(30).plus("days", -1)), "timestamp")
    assert term == Satisfies(visits("latest"), Every((older, Negation(Exists(fills)))))


def test_a_trait_of_a_row_around_or_over_a_relation() -> None:
    term = bound("{has: visits, where: {patient.visit_count: 3}}")
    assert term == has(Compare(Measure("count", VISITS, hops=(PATIENT,)), "eq", 3, "integer"))
    term = bound("{has: fills, where: {has: drug.equivalents, where: {patient.visit_count: 3}}}")
    counted = Compare(Measure("count", VISITS, up=2), "eq", 3, "integer")
    assert term == has(Exists(Measure("exists", EQUIVALENTS, counted, hops=(DRUG,))), FILLS)


def test_a_trait_that_looks_outwards_follows_its_row(tmp_path: Path) -> None:
    trait = "kind: trait\nname: late\nentity: patient\ncount: visits\nwhere: {start: {gt: {ref: death_date}}}\n"
    where = segment("{has: fills, where: {patient.late: {gte: 1}}}")
    project = with_models(tmp_path, f"{trait}---\n{where}")
    died = ColumnRef((PATIENT,), "patient", "death_date", "date", up=1)
    counted = Measure("count", VISITS, CompareTo(DayOf(START), "gt", died, "date"), hops=(PATIENT,))
    assert project.bound.segments["asked"] == has(Compare(counted, "gte", 1, "integer"), FILLS)


# -- units ------------------------------------------------------------------------------------------------------------


def test_rows_in_other_units_are_converted() -> None:
    plain = Compare(VALUE, "gt", Decimal(126), "decimal", MG)
    other = Every((Compare(Converted(VALUE, UNIT, (Factor(MMOL, FACTOR),)), "gt", Decimal(126), "decimal"), GLUCOSE))
    assert bound("{has: observations, where: {value: {gt: 126 mg/dL}}}") == has(Some((plain, other)), OBSERVATIONS)


def test_the_way_back_multiplies_the_literal_which_is_exact() -> None:
    plain = Compare(VALUE, "gt", Decimal(7), "decimal", MMOL)
    other = Every((Compare(VALUE, "gt", Decimal("126.112"), "decimal", MG), GLUCOSE))
    assert bound("{has: observations, where: {value: {gt: 7 mmol/L}}}") == has(Some((plain, other)), OBSERVATIONS)


def test_a_picked_quantity_is_looked_at_as_a_row() -> None:
    term = bound("{latest_glucose.value: {gt: 126 mg/dL}}")
    assert isinstance(term, Satisfies)
    assert term.measure == Measure("latest", OBSERVATIONS, GLUCOSE, by_day=True, ties=Ties(VALUE, True))
    assert isinstance(term.of, Some)


def test_a_quantity_without_conversions_stays_a_column_of_the_picked_row() -> None:
    term = bound("{latest_glucose.value: {gt: 9 mmHg}}")
    assert isinstance(term, Compare)
    assert isinstance(term.operand, Picked)
    assert term.units == ("mmHg", "mm[Hg]")


def test_an_aggregate_is_taken_in_one_unit() -> None:
    term = bound("{max: observations, of: value, is: {gt: 126 mg/dL}}")
    of = Converted(VALUE, UNIT, (Factor(MG), Factor(MMOL, FACTOR)))
    rows = Some((OneOf(UNIT, MG, "string"), Every((OneOf(UNIT, MMOL, "string"), GLUCOSE))))
    assert term == Compare(Measure("max", OBSERVATIONS, rows, of=of), "gt", Decimal(126), "decimal")


def test_two_quantities_are_compared_in_one_unit() -> None:
    term = bound("{has: observations, as: one, where: {has: patient.observations, where: {value: {gt: {ref: one.value}}}}}")
    same = Every((CompareTo(VALUE, "gt", outwards(VALUE), "decimal"), CompareTo(UNIT, "eq", outwards(UNIT), "string")))
    assert term == has(Exists(Measure("exists", OBSERVATIONS, same, up=1)), OBSERVATIONS)


# -- templates, traits, derived entities ------------------------------------------------------------------------------


def test_a_template_is_bound_for_each_use(tmp_path: Path) -> None:
    uses = ["{codes: diabetes, times: 3, days: 28, word: female}", "{word: male, codes: diabetes, times: 4, days: 7}"]
    where = segment(f"{{any: [{', '.join(f'{{segment: fewer_than, with: {use}}}' for use in uses)}]}}")
    bound = with_models(tmp_path, where).bound
    first = InSegment("fewer_than", (("codes", "diabetes"), ("days", "28"), ("times", "3"), ("word", "female")))
    second = InSegment("fewer_than", (("codes", "diabetes"), ("days", "7"), ("times", "4"), ("word", "male")))
    assert bound.segments["asked"] == Some((first, second))
    assert "fewer_than" not in bound.segments
    codes = OneOf(CODE, ("44054006",), "code", SYSTEMS[0])
    counted = Compare(Measure("count", CONDITIONS, codes, spaced=7), "lt", 4, "integer")
    assert bound.segment(second) == Every((counted, Compare(SEX, "eq", "male", "string")))
    assert bound.templates.keys() == {(term.name, term.given) for term in (first, second)}


def test_traits(tmp_path: Path) -> None:
    traits = load(clinic(tmp_path)).bound.traits
    assert traits["band"] == Chosen(((AgeBetween(BORN, None, 17, "years", TODAY), "child"),), "adult", "string")
    assert traits["diagnoses"] == Measure("list", CONDITIONS, of=CODE)
    assert traits["called"].type == "string"  # type: ignore[union-attr]
    since = traits["since_last"]
    assert isinstance(since, Measure)
    assert since.of is not None
    assert (since.of.operands, since.of.type) == ((("filled_on", FILLED),), "integer")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("branches", "kind", "values"),
    [
        ("[{when: {sex: f}, then: 1}, {else: 2}]", "integer", (1, 2)),
        ("[{when: {sex: f}, then: 1}, {else: 2.5}]", "decimal", (Decimal(1), Decimal("2.5"))),
        ("[{when: {sex: f}, then: 08}, {else: 10}]", "string", ("08", "10")),
        ("[{when: {sex: f}, then: '1'}, {else: 10}]", "string", ("1", "10")),
        ("[{when: {sex: f}, then: yes}, {else: no}]", "boolean", (True, False)),
        ("[{when: {sex: f}, then: 2026-01-01}]", "date", (dt.date(2026, 1, 1), None)),
        ("[{when: {sex: f}, then: null}, {else: x}]", "string", (None, "x")),
    ],
)
def test_the_values_of_a_case_are_typed(tmp_path: Path, branches: str, kind: str, values: tuple[Any, Any]) -> None:
    trait = with_models(tmp_path, f"kind: trait\nname: new\nentity: patient\ncase: {branches}\n").bound.traits["new"]
    assert trait == Chosen(((Compare(SEX, "eq", "f", "string"), values[0]),), values[1], kind)  # type: ignore[arg-type]


def test_a_derived_entity(tmp_path: Path) -> None:
    project = load(clinic(tmp_path))
    reading = project.entities["reading"]
    assert {name: column.type for name, column in reading.columns.items()} == {
        "patient_id": "string", "day": "date", "low": "decimal", "many": "integer",
    }  # fmt: skip
    assert (reading.key, reading.rows, reading.columns["patient_id"].cls) == ("", ("clinical.condition",), "identifier.mrn")
    assert project.entities["stay_day"].key == "patient_id"
    date = ColumnRef((), "observation", "date", "timestamp")
    units = Some((OneOf(UNIT, MG, "string"), Every((OneOf(UNIT, MMOL, "string"), GLUCOSE))))
    low = Aggregate("min", Every((GLUCOSE, units)), Converted(VALUE, UNIT, (Factor(MG), Factor(MMOL, FACTOR))))
    assert project.bound.derived["reading"] == Derived(
        "observation",
        Compare(ColumnRef((), "observation", "status", "string"), "eq", "final", "string"),
        (("patient_id", ColumnRef((), "observation", "patient_id", "string")), ("day", DayOf(date))),
        (("low", low), ("many", Aggregate("count", None, None))),
    )


def test_one_per_and_prefer(tmp_path: Path) -> None:
    sync = f"{SYNC}one_per: household_id\nprefer: [age desc, visit_count, patient_id desc]\n"
    bound = load(clinic(tmp_path, **{"syncs/adults_mail.yml": sync})).bound
    assert bound.one_per == {"adults_mail": ColumnRef((), "patient", "household_id", "string")}
    key = ColumnRef((), "patient", "patient_id", "string")
    assert bound.prefer == {"adults_mail": ((BORN, False), (Measure("count", VISITS), False), (key, True))}


# -- windows that are over, warnings, bounds --------------------------------------------------------------------------

OVER = [
    "{has: encounters, as: stay, where: [{end: {within: {days: [15, 45]}}}, {lacks: patient.visits, within: {days: 14, after: stay.end}}]}",
    "{has: encounters, as: stay, where: [{end: {older_than: {days: 14}}}, {lacks: patient.visits, within: {days: 14, after: stay.end}}]}",
    "{has: encounters, as: stay, where: {lacks: patient.visits, within: {days: 2, after: stay.start}}, within: {days: [3, 9]}}",
    "{has: encounters, as: stay, where: {lacks: patient.visits, within: {days: 30, before: stay.start}}}",
    "{has: encounters, as: stay, where: {lacks: patient.visits, after: stay.start}}",
    "{has: encounters, as: stay, where: {lacks: patient.visits, within: {days: 9, after: stay.end}, even_if_open: true}}",
    "{has: encounters, as: stay, where: {has: patient.visits, within: {days: 9, after: stay.end}}}",
    "{has: encounters, as: stay, where: [{end: {within: {months: [1, 3]}}}, {lacks: patient.visits, within: {days: 27, after: stay.end}}]}",
    "[{age: {gte: 1}}, {lacks: visits, during: {from: birth_date, to: birth_date + 42 days}}]",
    "{not: {lacks: visits, during: {from: birth_date, to: birth_date + 42 days}}}",
]


@pytest.mark.parametrize("where", OVER)
def test_a_window_that_is_over_is_taken(where: str) -> None:
    assert bound(where)


def test_warnings(tmp_path: Path) -> None:
    text = segment("[{has: visits, where: {kind: {ne: x}}}, {visit_count: {gte: 2}}]")
    project = with_models(tmp_path, text)
    said = [str(warning) for warning in project.warnings]
    assert "models/new.yml:6:9: warning: where[0]: `has` finds a row that is something else" in said[-1]
    assert [line.partition("warning: ")[2].partition(";")[0].partition(",")[0] for line in said[:-1]] == [
        "nothing uses trait latest_glucose",
        "nothing uses trait statin_cover",
        "nothing uses trait diagnoses",
        "nothing uses trait band",
        "nothing uses trait called",
        "nothing uses trait since_last",
        "nothing fills in template fewer_than",
    ]
    assert project.warnings[0].as_json()["severity"] == "warning"


@pytest.mark.parametrize(
    ("count", "where", "words"),
    [
        (400, "{not: {segment: s%d}}", "more than 32 deep"),  # those inside are declared first
        (25, "{any: [{segment: s%d}, {all: [{sex: male}, {segment: s%d}]}]}", "more than 1000"),  # twice as long each time
    ],
)
def test_segments_that_no_engine_could_run_are_refused(tmp_path: Path, count: int, where: str, words: str) -> None:
    about = "entity: patient, owner: a@example.org, purpose: care_coordination"
    wheres = ["{sex: male}", *(where.replace("%d", str(number)) for number in range(count))]
    text = "".join(f"---\n{{kind: segment, name: s{number}, {about}, where: {each}}}\n" for number, each in enumerate(wheres))
    with pytest.raises(ProjectError, match=words):
        with_models(tmp_path, text)


def test_what_is_nested_too_deeply_together_is_said(tmp_path: Path) -> None:
    deep = "{not: " * 50
    traits = [
        f"kind: trait\nname: t{n}\nentity: patient\ncount: visits\nwhere: {deep}{{patient.t{n + 1}: 1}}{'}' * 50}\n---\n" for n in range(30)
    ]
    with pytest.raises(ProjectError, match="nested too deeply"):
        with_models(tmp_path, f"{''.join(traits)}kind: trait\nname: t30\nentity: patient\ncount: visits\n")


def test_traits_on_traits_have_a_bound(tmp_path: Path) -> None:
    columns = "{id: {type: string, class: public}, boss: {type: string, class: public}}"
    entity = f"{{kind: entity, name: staff, table: hr.staff, key: id, rows: public, columns: {columns}, "
    traits = [f"{{kind: trait, name: t{n}, entity: staff, count: team, where: {{t{n + 1}: 1}}}}\n---\n" for n in range(300)]
    text = entity + "relations: {team: {many: staff, via: boss}}}\n---\n" + "".join(traits)
    with pytest.raises(ProjectError, match="traits that rest on traits, more than 32 deep"):
        with_models(tmp_path, f"{text}{{kind: trait, name: t300, entity: staff, count: team}}\n")


@pytest.mark.parametrize(
    ("pattern", "portable"),
    [
        ("^E1[01]\\.?9$", r"^E1[01]\.?9\z"),
        ("a|b(?:c|d)*?", "a|b(?:c|d)*?"),
        ("[^-\\]a-z\\d]+", r"[^-\]a-z0-9]+"),
        ("\\A.\\z", r"\A[^\n]\z"),
        ("x{2}y{2,}z{2,3}", "x{2}y{2,}z{2,3}"),
        ("\\W\\D", "[^0-9A-Za-z_][^0-9]"),
        ("\\p{Lu}\\PN\\x{1F600}", r"\p{Lu}\PN\x{1F600}"),
        ("[$.]}", r"[$.]\}"),
    ],
)
def test_a_pattern_is_written_as_every_engine_reads_it(pattern: str, portable: str) -> None:
    term = bound("{sex: {matches: '" + pattern + "'}}")
    assert isinstance(term, Compare)
    assert term.value == portable
