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
}
