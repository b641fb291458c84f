"""Terms in plain English: what a reader of a preview, an explanation or the documentation is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cdp.project.terms.describe import describe, parts
from tests.language_world import asked

SAID = {
    "{sex: female}": "sex is female",
    "{sex: [female, male]}": "sex is female or male",
    "{sex: [a, b, c, d, e, f]}": "sex is one of a, b, c, d, e, ... (6 in all)",
    "{sex: null}": "sex not known",
    "{sex: {not_null: true}}": "sex known",
    "{sex: {ne: female}}": "sex is not female",
    "{sex: {not_in: [female]}}": "sex known but not female",
    "{sex: {starts_with: f, ignore_case: true}}": "sex starts with f whatever the case of its letters",
    "{not: {sex: female}}": "not (sex is female)",
    "{doses: {between: [2, 4]}}": "doses 2 to 4",
    "{doses: {gt: 2}}": "doses above 2",
    "{height: {gte: 80.50 kg}}": "height at least 80.5 kg",
    "{smoker: true}": "smoker is true",
    "{address.city: Troy}": "address.city is Troy",
    "{languages: {any_of: [en, es]}}": "languages with en or es",
    "{languages: {all_of: [en, es]}}": "languages with en and es",
    "{allergies: {any_of: diabetes}}": "allergies with one in diabetes",
    "{birth_date: {weekday: [sat, sun]}}": "birth_date on Saturday or Sunday",
    "{birth_date: {anniversary: {upcoming: {days: 7}}}}": "the anniversary of birth_date within the next 7 days",
    "{birth_date: {since: 1970-01-01}}": "birth_date from 1970-01-01 on",
    "{birth_date: {lt: 1970-01-01}}": "birth_date before 1970-01-01",
    "{death_date: {ne: {ref: birth_date}}}": "death_date is not birth_date",
    "{age: {between: [18, 75]}}": "age 18 to 75",
    "{age: {lt: 18}}": "age below 18",
    "{age: {gte: 7, unit: months}}": "age 7 months or more",
    "{age: {gte: 66, at: measurement_year.end}}": "age 66 or more at the end of measurement_year",
    "{age: {eq: 40, at: 2026-01-01}}": "age 40 on 2026-01-01",
    "{segment: diabetic}": "in segment diabetic",
    "{not: {segment: diabetic}}": "not in segment diabetic",
    "{segment: fewer_than, with: {codes: diabetes, times: 3, days: 28, word: f}}": (
        "in segment fewer_than with codes diabetes, days 28, times 3, word f"
    ),
    "{has: pcp}": "has pcp",
    "{lacks: pcp}": "lacks pcp",
    "{lacks: pcp, where: {active: true}}": "lacks pcp: pcp.active is true",
    "{has: conditions, where: {code: {in: any_diabetes}}, within: {months: 6}}": (
        "has conditions: code in any_diabetes, within the last 6 months"
    ),
    "{lacks: visits, within: {days: [15, 45]}}": "lacks visits: 15 to 45 days ago",
    "{lacks: visits, within: {years: 1}}": "lacks visits: within the last year",
    "{lacks: visits, older_than: {days: 30}}": "lacks visits: more than 30 days ago",
    "{has: visits, during: measurement_year}": "has visits: in measurement_year",
    "{has: visits, during: {period: measurement_year, and_prior: {years: 9}}}": "has visits: in measurement_year or the 9 years before",
    "{has: visits, during: {period: measurement_year, first: {months: 6}}}": "has visits: in the first 6 months of measurement_year",
    "{has: visits, during: tomorrow}": "has visits: tomorrow",
    "{has: visits, before: as_of - 30 days}": "has visits: more than 30 days ago",
    "{has: visits, until: measurement_year.end}": "has visits: until the end of measurement_year",
    "{has: visits, during: {from: 2026-01-01, to: 2026-02-01}}": "has visits: from 2026-01-01 to 2026-02-01",
    "{has: visits, after: birth_date}": "has visits: after birth_date of the patient",
    '{has: visits, where: {start: {time_of_day: ["22:00", "06:00"]}}}': "has visits: start from 22:00 to 06:00",
    "{count: visits, distinct: day, within: {months: 6}, is: {gte: 3}}": (
        "number of visits (within the last 6 months, on different days) at least 3"
    ),
    "{count: visits, spaced: {days: 28}, is: {lt: 3}}": "number of visits (at least 28 days apart) below 3",
    "{count: visits, each: {weeks: [1, 4]}, is: rising}": "visit_count rising over the last 4 weeks",
    "{count: visits, each: {months: [4, 6]}, is: {gte: 1}}": "visit_count at least 1 in each of the 4th to 6th month back",
    "{max: encounters, of: cost, is: {gt: 9}}": "highest cost of encounters above 9",
    "{most_frequent: visits, of: kind, is: telehealth}": "most frequent kind of visits is telehealth",
    "{list: visits, of: kind, limit: 3, is: {any_of: [x]}}": "list of the first 3 kind of visits with x",
    "{latest: visits, is: {kind: x, status: null}}": "the latest of visits has kind is x and status not known",
    "{n_of: [{sex: f}, {doses: 3}], is: {gte: 1}}": "at least 1 of these: sex is f; doses is 3",
    "{any: [{sex: f}, {all: [{doses: 3}, {smoker: true}]}]}": "sex is f or (doses is 3 and smoker is true)",
    "{latest_glucose: null}": "lacks latest_glucose",
    "{latest_glucose.date: {within: {months: 3}}}": "latest_glucose.date within the last 3 months",
    "{latest_glucose.value: {gt: 9 mmHg}}": "latest_glucose.value above 9 mmHg",
    "{statin_cover.share: {lt: 0.8}}": "share of days covered of statin_cover below 0.8",
    "{band: child}": "band is child",
    "{since_last: {gt: 30}}": "since_last above 30",
    "{has: encounters, as: stay, where: {lacks: patient.visits, within: {days: [1, 14], before: stay.start}}}": (
        "has encounters: lacks visits: 1 to 14 days before start of the encounter"
    ),
    "{has: conditions, as: illness, where: {has: patient.visits, during: illness}}": "has conditions: has visits: during the condition",
    "{has: fills, as: bought, where: {has: drug.equivalents, where: {unit_cost: {lt: {ref: bought.drug.unit_cost}}}}}": (
        "has fills: has drug.equivalents: unit_cost below drug.unit_cost of the fill"
    ),
}


@pytest.mark.parametrize("where", SAID)
def test_said(where: str) -> None:
    project = asked(where)
    assert describe(project.bound.segments["asked"], project) == SAID[where]


def test_traits_are_spelled_out_where_they_have_no_name() -> None:
    project = asked("{sex: f}")
    unnamed = replace(project, bound=replace(project.bound, traits={}))
    traits = project.bound.traits
    assert describe(traits["since_last"], unnamed) == "latest days_between(filled_on, as_of) of fills"
    assert describe(traits["statin_cover"], unnamed) == "days covered by fills (drug.code in statins, within the last year)"
    assert describe(traits["called"], unnamed) == "CONCAT(given_name, ' of ', state)"
    assert describe(traits["diagnoses"], unnamed) == "list of the code of conditions"
    assert describe(traits["visit_count"], project) == "visit_count"


def test_parts() -> None:
    project = asked("[{sex: f}, {doses: {between: [2, 4]}}, {any: [{smoker: true}, {has: visits}]}]")
    found = parts(project.bound.segments["asked"], project)
    assert [said for said, _ in found] == ["sex is f", "doses 2 to 4", "smoker is true or has visits"]
    assert parts(found[1][1], project) == ()
    assert [said for said, _ in parts(found[2][1], project)] == ["smoker is true", "has visits"]
    project = asked("{n_of: [{sex: f}, {doses: 3}], is: {gte: 1}}")
    assert [said for said, _ in parts(project.bound.segments["asked"], project)] == ["sex is f", "doses is 3"]
