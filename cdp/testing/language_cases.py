"""What every construct of the segment language means: conditions, and the patients for whom they are true.

The rows are in `language_world`; the clock is 2026-07-02, in New York.
"""

from __future__ import annotations

AS_OF = "2026-07-02"

# name: (condition, the patients for whom it is true)
CASES: dict[str, tuple[str, str]] = {
    "age_at_least": ("{age: {gte: 18}}", "b c d e f"),  # b turned 18 on the day itself
    "age_under": ("{age: {lt: 18}}", "a"),
    "age_between": ("{age: {between: [18, 56]}}", "b c d f"),
    "age_equal": ("{age: 18}", "b"),
    "age_not": ("{age: {ne: 18}}", "a c d e f"),
    "age_unknown": ("{age: null}", "g"),
    "age_at_year_end": ("{age: {gte: 18, at: measurement_year.end}}", "a b c d e f"),
    "age_months": ("{age: {gte: 216, unit: months}}", "b c d e f"),
    "not_is_the_complement": ("{not: {age: {gte: 18}}}", "a g"),
    "born_29_february": ("{age: {gte: 26, at: 2026-02-28}}", "c d e"),  # f was born on 29 February 2000
    "born_29_february_next_day": ("{age: {gte: 26, at: 2026-03-01}}", "c d e f"),
    "scalar": ("{sex: female}", "a c"),
    "list": ("{sex: [female, male]}", "a b c d"),
    "null_fails": ("{sex: {ne: female}}", "b d"),
    "not_in_needs_a_value": ("{sex: {not_in: [female]}}", "b d"),
    "is_null": ("{sex: null}", "e f g"),
    "not_null": ("{sex: {not_null: true}}", "a b c d"),
    "yaml_words_stay_text": ("{sex: {starts_with: fe}}", "a c"),
    "integer": ("{doses: {gte: 2}}", "b c"),
    "integer_underscore": ("{doses: {lt: 1_000}}", "a b"),
    "decimal": ("{weight: {between: [70.5, 80]}}", "a b"),
    "boolean": ("{smoker: false}", "a c"),
    "to_one": ("{pcp.active: true}", "a b"),
    "to_one_missing": ("{pcp.active: null}", "d e f g"),
    "to_one_twice": ("{pcp.group.city: Troy}", "a b c"),
    "to_one_of_a_path_and_of_its_name": ("{pcp.group.city: Troy, pcp_group.city: null}", "a b c"),
    "has_value_set": ("{has: conditions, where: {code: {in: diabetes}}}", "a c d"),
    "has_wrong_system": ("{has: conditions, where: {code: 44054006}}", "a b c d"),  # literals compare the code alone
    "entity_where_drops_errors": ("{has: conditions, where: {code: 999}}", ""),
    "lacks": ("{lacks: conditions, where: {code: {in: diabetes}}}", "b e f g"),
    "interval_ongoing": ("{has: conditions, where: {code: {in: diabetes}}, within: {months: 1}}", "a c"),
    "interval_ended": (
        "{has: conditions, where: {code: {in: diabetes}}, during: {period: measurement_year, and_prior: {years: 6}}}",
        "a c d",
    ),
    "interval_first_half": (
        "{has: conditions, where: {code: {in: diabetes}}, during: {period: measurement_year, first: {months: 6}}}",
        "a c",
    ),
    "null_start_in_no_window": ("{has: conditions, where: {code: 777}, within: {years: 9}}", ""),
    "null_start_without_window": ("{has: conditions, where: {code: 777}}", "e"),
    "within_is_closed": ("{has: observations, where: {code: {in: hba1c}}, within: {months: 6}}", "a c"),  # c: 2026-01-02, the day itself
    "within_from_to": ("{has: observations, where: {code: {in: hba1c}}, within: {months: [6, 12]}}", "b c"),
    "later_than_as_of_does_not_exist": ("{has: observations, where: {code: later}}", ""),
    "future_visible": ("{has: visits, upcoming: {days: 7}}", "b"),
    "tomorrow": ("{has: visits, during: tomorrow}", "b"),
    "older_than_is_strict": ("{has: visits, older_than: {days: 30}}", "a"),
    "before": ("{has: visits, before: 2026-06-02}", "a"),
    "until": ("{has: visits, until: 2026-06-02}", "a c"),
    "since": ("{has: visits, since: as_of - 30 days}", "b c"),
    "day_or_moment": ('{has: observations, where: {date: [2026-01-02, "2026-06-01T09:00"]}}', "a c"),
    "day_equals": ("{has: observations, where: {code: night, date: 2026-07-01}}", "c"),
    "local_time": ('{has: observations, where: {code: {in: hba1c}, date: {gt: "2026-06-01T10:59"}}}', "a"),
    "local_day": ("{has: observations, where: {code: night}, since: 2026-07-02}", "d"),  # 2026-07-02T03:59Z is the day before
    "count": ("{count: observations, where: {code: {in: hba1c}}, is: {gte: 2}}", "a b"),
    "count_of_nothing": ("{count: observations, where: {code: {in: hba1c}}, is: 0}", "d e f g"),
    "count_is_not": ("{count: observations, where: {code: {in: hba1c}}, is: {ne: 2}}", "c d e f g"),
    "max_of_unit": ("{max: observations, of: value, where: {code: {in: hba1c}}, is: {gt: 8 %}}", "b"),
    "min": ("{min: observations, of: value, where: {code: {in: hba1c}}, is: {lt: 6.5 %}}", "a"),
    "min_of_nothing": ("{not: {min: observations, of: value, where: {code: {in: hba1c}}, is: {lt: 6.5 %}}}", "b c d e f g"),
    "latest_is": ("{latest: observations, where: {code: {in: hba1c}}, is: {value: {gte: 7 %}}}", "a b"),
    "latest_by_day_ties_lowest": ("{latest_a1c.value: {lt: 6.5 %}}", "a"),
    "latest_other_unit_fails": ("{latest_a1c.value: {gt: 0 %}}", "a b"),  # c was measured in mmol/mol
    "trait_row_null": ("{latest_a1c: null}", "d e f g"),
    "trait_field_null": ("{latest_a1c.value: null}", "d e f g"),
    "trait_date": ("{latest_a1c.date: {within: {months: 3}}}", "a"),
    "trait_value": ("{earliest_a1c: {gt: 8.5 %}}", "b"),
    "trait_count": ("{visit_count: {gte: 1}}", "a c"),
    "child_to_one": ("{has: observations, where: {visit.kind: telehealth}}", "c"),
    "measure_in_measure": ("{has: visits, where: {has: readings, where: {code: {in: hba1c}}}}", "a c"),
    "any": ("{any: [{sex: male}, {doses: {gte: 2}}]}", "b c d"),
    "segment_over_two_relations": (
        "[{has: visits, where: {segment: measured_visit}}, {has: calls, where: {kind: telehealth, segment: measured_visit}}]",
        "c",
    ),
    "segment": ("{all: [{segment: age_at_least}, {not: {segment: has_value_set}}]}", "b e f"),
    # -- text, arrays, structs --------------------------------------------------------------------------------------
    "ignore_case": ("{address.city: {eq: TROY, ignore_case: true}}", "a b"),
    "ignore_case_list": ("{address.city: {in: [TROY, Ithaca], ignore_case: true}}", "a b"),
    "matches": ('{address.zip: {matches: "^12.*0$"}}', "a b"),
    "ends_with": ("{sex: {ends_with: male}}", "a b c d"),
    "contains": ("{sex: {contains: ema}}", "a c"),
    "struct_field": ("{address.city: Troy}", "a"),
    "struct_field_null": ("{address.city: null}", "c d e f g"),
    "array_any_of": ("{languages: {any_of: [es, fr]}}", "a b e"),
    "array_all_of": ("{languages: {all_of: [en, es]}}", "a"),
    "array_holds_none": ("{not: {languages: {any_of: [en, es, fr]}}}", "c d f g"),
    "array_null": ("{languages: null}", "d f g"),
    "n_of": ("{n_of: [{smoker: true}, {doses: {gte: 2}}, {sex: female}], is: {gte: 2}}", "b c"),
    # -- codes and units ----------------------------------------------------------------------------------------------
    "value_set_of_value_sets": ("{has: conditions, where: {code: {in: any_diabetes}}}", "a c d e f"),  # E119 is E11.9 without its point
    "strip": ("{has: conditions, where: {code: {in: diabetes_icd}}}", "e f"),
    "not_in_value_set": ("{has: conditions, where: {code: {not_in: any_diabetes}}}", "b c e"),
    "unit_converted": ("{has: observations, where: {code: {in: glucose}, value: {gte: 126 mg/dL}}}", "d e"),
    "unit_converted_back": ("{max: observations, of: value, where: {code: {in: glucose}}, is: {between: [7 mmol/L, 7 mmol/L]}}", "d e"),
    "unit_unknown_fails": ("{has: observations, where: {code: {in: glucose}, value: {ne: 126 mg/dL}}}", ""),
    "unit_unknown_fails_not_in": ("{max: observations, of: value, where: {code: {in: glucose}}, is: {not_in: [120 mg/dL]}}", "d e"),
    "unit_unknown_is_no_null": ("{has: observations, where: {code: {in: glucose}, value: {not_null: true}}}", "d e f"),
    # -- clock and calendar ---------------------------------------------------------------------------------------------
    "time_of_day": ('{has: contacts, where: {started_at: {time_of_day: ["22:00", "06:00"]}}}', "a d"),  # c called at 06:00
    "weekday": ("{has: contacts, where: {started_at: {weekday: [sat, sun]}}}", "a"),
    "anniversary": ("{birth_date: {anniversary: {upcoming: {days: 7}}}}", "a b d"),
    "anniversary_29_february": ("{birth_date: {anniversary: {during: {from: 2026-03-01, to: 2026-03-01}}}}", "f"),
    "from_to": ("{has: visits, during: {from: 2026-06-01, to: 2026-06-02}}", "a c"),
    "last_month": ("{has: stays, during: last_month}", "a c"),
    "since_a_birthday": ("{has: observations, where: {code: {in: hba1c}}, since: birth_date + 18 years}", "c"),
    # -- sequences ------------------------------------------------------------------------------------------------------
    "event_without_another_after": (
        "{has: stays, as: stay, where: [{discharged: {within: {days: [15, 90]}}},"
        " {lacks: patient.contacts, within: {days: [1, 14], after: stay.discharged}}]}",
        "b",
    ),
    "event_with_another_after": (
        "{has: stays, as: stay, where: {has: patient.contacts, within: {days: [1, 14], after: stay.discharged}}}",
        "a",
    ),
    "within_before_an_event": (
        "{has: stays, as: stay, where: {has: patient.contacts, within: {days: [40, 60], before: stay.admitted}}}",
        "a",  # the contact of 19 April is 52 days before the stay of 10 June
    ),
    "even_if_open": (
        "{has: stays, as: stay, where: {lacks: patient.contacts, within: {days: [1, 30], after: stay.discharged}, even_if_open: true}}",
        "c d e",  # no end, so there is no window and nothing in it
    ),
    "during_an_event": ("{has: stays, as: stay, where: {has: patient.contacts, during: stay}}", "b c"),  # the stay of c goes on
    "event_after_an_event": ("{has: stays, as: first, where: {has: patient.stays, after: first.discharged}}", "a"),
    "latest_satisfies": ("{latest: stays, as: last, is: [{kind: inpatient}, {has: patient.contacts, since: last.admitted}]}", "a b c"),
    "compared_with_an_event": (
        "{has: fills, as: bought, where: {has: drug.equivalents, where: {on_formulary: true, cost: {lt: {ref: bought.drug.cost}}}}}",
        "d e",
    ),
    "people_of_a_household": ("{has: household, where: {sex: male}}", "a b c d"),
    "older_in_the_household": ("{has: household, as: other, where: {birth_date: {lt: {ref: patient.birth_date}}}}", "a c"),
    "to_one_lacks": ("{lacks: pcp, where: {active: true}}", "c d e f g"),
    # -- series, days and lists -------------------------------------------------------------------------------------------
    "each_week": ("{count: contacts, each: {weeks: [1, 2]}, is: {gte: 1}}", "d"),
    "rising": ("{count: contacts, each: {weeks: [1, 3]}, is: rising}", "d"),  # 0, 1, 2
    "falling": ("{count: contacts, each: {weeks: [2, 3]}, is: falling}", "a"),
    "distinct_days": ("{count: observations, where: {code: 8480-6}, distinct: day, is: 1}", "a c"),
    "distinct_values": ("{count: contacts, distinct: direction, is: 2}", "a"),
    "spaced": ("{count: contacts, spaced: {days: 7}, is: {gte: 2}}", "a b d"),  # d: 24 June and 1 July; 30 June is too near
    "most_frequent": ("{most_frequent: contacts, of: direction, is: inbound}", "a b c d"),  # of a tie the lowest
    "list_of_values": ("{list: contacts, of: direction, is: {all_of: [inbound, outbound]}}", "a"),
    "list_trait": ("{kinds: {any_of: [telehealth]}}", "c"),
    "days_covered": ("{supplied.share: {gte: 0.8}}", "a d"),
    "days_covered_shifted": ("{supplied.until: 2026-07-08}", "d"),
    "days_covered_gap": ("{supplied.longest_gap: 108}", "e"),
    "days_covered_nothing": ("{supplied: null}", "b c f g"),
    # -- derived entities and computed traits -----------------------------------------------------------------------------
    "derived_rows": (
        "{latest: bp_days, where: {systolic: {not_null: true}, diastolic: {not_null: true}},"
        " is: {systolic: {lt: 140 mmHg}, diastolic: {lt: 90 mmHg}}}",
        "a c",
    ),
    "derived_rows_drop_stays": ("{count: bp_days, is: 1}", "a b c"),  # b was in hospital on one of two days
    "derived_count": ("{max: bp_days, of: readings, is: 3}", "a"),
    "case": ("{age_band: adult}", "b c d f g"),
    "case_first_that_holds": ("{age_band: [child, senior]}", "a e"),
    "of_days_between": ("{days_since_stay: {lt: 30}}", "a c"),
    "expression": ("{twice_the_weight: {lt: 160}}", "a d e f g"),
    "template": ("{segment: visited_often, with: {times: 1, back: 60, how: office}}", "a"),
    "select_segment": ("{segment: by_select}", "a"),
    "select_trait": ("{visits_by_select: 1}", "a b c g"),
}
