"""What the language refuses: the place, the words, and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdp.errors import ProjectError
from cdp.project.load import load
from cdp.testing.language import write_project

# condition: (path that the message names, words that it holds)
REFUSED: dict[str, tuple[str, str]] = {
    "{agee: {gte: 18}}": ("where.agee", "patient has no 'agee'"),
    "{age: {gtee: 18}}": ("where.age.gtee", "did you mean 'gte'"),
    "{age: {gte: abc}}": ("where.age.gte", "'abc' is not an integer"),
    "{age: {between: [1]}}": ("where.age.between", "a list of two"),
    "{age: {gte: 18, unit: weeks}}": ("where.age.unit", "valid: months, years"),
    "{age: {gte: 18, at: someday}}": ("where.age.at", "'someday' is not a day"),
    "{sex: {gt: {ref: doses}}}": ("where.sex.gt", "a literal is expected"),
    "{sex: $word}": ("where.sex", "parameters are not part of the language yet"),
    "{sex: {matches: x}}": ("where.sex.matches", "not part of the language yet"),
    "{sex: {within: {days: 3}}}": ("where.sex.within", "needs a date or timestamp"),
    "{doses: {contains: 3}}": ("where.doses.contains", "needs text"),
    "{doses: two}": ("where.doses", "write a whole number"),
    "{doses: 1.5}": ("where.doses", "'1.5' is not an integer"),
    "{weight: nan}": ("where.weight", "'nan' is not a decimal"),
    "{smoker: maybe}": ("where.smoker", "write true or false"),
    "{smoker: {gt: true}}": ("where.smoker.gt", "no meaning on a boolean"),
    "{birth_date: 01.05.1970}": ("where.birth_date", "write a day such as"),
    "{pcp: {eq: x}}": ("where.pcp", "pcp is a row"),
    "{pcp.actve: true}": ("where.pcp.actve", "did you mean 'pcp.active'"),
    "{pcp.active.x: true}": ("where.pcp.active.x", "has no fields"),
    "{conditions.code: x}": ("where.conditions.code", "leads to many rows"),
    "{conditions: {code: x}}": ("where.conditions", "leads to many rows"),
    "{has: condition}": ("where.has", "did you mean 'conditions'"),
    "{has: pcp}": ("where.has", "leads to one row"),
    "{has: conditions, is: {gte: 2}}": ("where.is", "takes no `is`"),
    "{has: conditions, lacks: visits}": ("where.lacks", "one verb in a condition"),
    "{has: conditions, wher: {code: x}}": ("where.wher", "did you mean 'where'"),
    "{has: visits, each: {weeks: [1, 4]}}": ("where.each", "not part of a measure yet"),
    "{count: visits}": ("where", "needs `is`"),
    "{count: visits, is: rising}": ("where.is", "'rising' is not an integer"),
    "{max: observations, is: {gt: 1 %}}": ("where", "needs `of`"),
    "{max: observations, of: valeu, is: {gt: 1 %}}": ("where.of", "did you mean 'value'"),
    "{sum: observations, of: code, is: {gt: 1}}": ("where.of", "needs a number"),
    "{count: observations, of: value, is: {gt: 1}}": ("where.of", "takes no `of`"),
    "{latest: observations, is: {gt: 9}}": ("where.is.gt", "observation has no 'gt'"),
    "{latest: observations, is: 9}": ("where.is", "tested by its columns"),
    "{latest: observations, is: {value: {gt: 9}}}": ("where.is.value.gt", "has no unit"),
    "{count: visits, by: day, is: {gt: 9}}": ("where.by", "belongs to latest and earliest"),
    "{latest: visits, ties: {kind: lowest}, is: {kind: x}}": ("where.ties.kind", "broken by a number or a date"),
    "{latest: observations, ties: {value: low}, is: {value: null}}": ("where.ties.value", "valid: highest, lowest"),
    "{has: visits, within: 6}": ("where.within", "one unit and a number"),
    "{has: visits, within: {moons: 6}}": ("where.within.moons", "valid: days, months, weeks, years"),
    "{has: visits, within: {days: [90, 30]}}": ("where.within.days", "the window is empty"),
    "{has: visits, within: {days: -3}}": ("where.within.days", "a whole number"),
    "{has: observations, upcoming: {days: 3}}": ("where.upcoming", "future: visible"),
    "{has: visits, during: measurement_yaer}": ("where.during", "did you mean 'measurement_year'"),
    "{has: visits, during: {period: measurement_year, and_pior: {years: 1}}}": ("where.during.and_pior", "did you mean 'and_prior'"),
    "{has: visits, since: 2026-13-01}": ("where.since", "is not a day"),
    "{has: visits, since: 2026-01-01, within: {days: 3}}": ("where.since", "bound the same side twice"),
    "{has: conditions, where: {code: {in: diabetis}}}": ("where.where.code.in", "did you mean 'diabetes'"),
    "{has: conditions, where: {onset: {in: diabetes}}}": ("where.where.onset.in", "needs a column of type code"),
    "{has: observations, where: {code: {in: diabetes}}}": ("where.where.code.in", "never true"),
    "{latest_a1c: {gt: 9}}": ("where.latest_a1c.gt", "a whole row"),
    "{latest_a1c.valu: null}": ("where.latest_a1c.valu", "did you mean 'latest_a1c.value'"),
    "{visit_count.day: null}": ("where.visit_count.day", "is one value"),
    "{weight_span: {gt: 9}}": ("where.weight_span.gt", "has no unit"),
    "{segment: adult}": ("where.segment", "unknown segment"),
    "{segment: wrong}": ("where", "segments in a circle: wrong -> wrong"),
    "{all: {sex: female}}": ("where.all", "takes a list"),
    "{any: []}": ("where.any", "empty condition"),
    "[]": ("where", "empty condition"),
    "{}": ("where", "empty condition"),
    "adult": ("where", "a condition is a mapping"),
    "{has: visits, where: }": ("where.where", "`where` is empty"),  # else: true of everyone with a visit
    "{latest: visits, by: week, is: {kind: x}}": ("where.by", "`by: day`"),
    "{weight: {gt: 1e99999}}": ("where.weight.gt", "is not a decimal"),
    "{doses: {gt: 9223372036854775808}}": ("where.doses.gt", "is not an integer"),
    "{n_of: [{sex: x}], is: {gte: 1}}": ("where.n_of", "not part of the language yet"),
    "{consent: missing}": ("where.consent", "patient has no 'consent'"),
}


def refused(root: Path, where: str) -> list[str]:
    write_project(root)
    document = f"---\nkind: segment\nname: wrong\nentity: patient\nowner: a@example.org\npurpose: treatment\nwhere: {where}\n"
    (root / "models" / "wrong.yml").write_text(document)
    with pytest.raises(ProjectError) as error:
        load(root)
    return [str(problem) for problem in error.value.problems]


@pytest.mark.parametrize("where", REFUSED)
def test_mistake_is_reported_at_its_place(tmp_path: Path, where: str) -> None:
    path, words = REFUSED[where]
    problems = refused(tmp_path, where)
    assert len(problems) == 1, problems
    assert problems[0].startswith("models/wrong.yml:")
    assert f": {path}: " in problems[0]
    assert words in problems[0]


def test_all_mistakes_come_at_once(tmp_path: Path) -> None:
    problems = refused(tmp_path, "[{agee: 1}, {has: condition}, {any: [{sex: $x}, {doses: y}]}]")
    assert [p.split(":")[1] for p in problems] == ["7"] * 4  # line
    assert [w for w in ("agee", "has", "sex", "doses") if any(f"{w}: " in p for p in problems)] == ["agee", "has", "sex", "doses"]


def test_circles_of_segments_and_traits_are_named(tmp_path: Path) -> None:
    write_project(tmp_path)
    parts = ["a: {segment: b}", "b: {not: {segment: c}}", "c: {any: [{segment: a}, {sex: male}]}"]
    text = "".join(
        f"---\n{{kind: segment, name: {p[0]}, entity: patient, owner: a@example.org, purpose: treatment, where: {p[3:]}}}\n" for p in parts
    )
    (tmp_path / "models" / "circle.yml").write_text(text)
    with pytest.raises(ProjectError, match="segments in a circle: a -> b -> c -> a"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("count", "where", "words"),
    [
        (400, "{not: {segment: s%d}}", "more than 32 deep"),  # those inside are declared first
        (25, "{any: [{segment: s%d}, {not: {segment: s%d}}]}", "more than 1000"),  # twice as long each time
    ],
)
def test_segments_that_no_engine_could_run_are_refused(tmp_path: Path, count: int, where: str, words: str) -> None:
    write_project(tmp_path)
    about = "entity: patient, owner: a@example.org, purpose: treatment"
    wheres = ["{sex: male}", *(where.replace("%d", str(number)) for number in range(count))]
    text = "".join(f"---\n{{kind: segment, name: s{number}, {about}, where: {each}}}\n" for number, each in enumerate(wheres))
    (tmp_path / "models" / "many.yml").write_text(text)
    with pytest.raises(ProjectError, match=words):
        load(tmp_path)


def test_traits_on_traits_have_a_bound(tmp_path: Path) -> None:
    write_project(tmp_path)
    columns = "{id: {type: string, class: public}, boss: {type: string, class: public}}"
    entity = f"{{kind: entity, name: staff, table: hr.staff, key: id, rows: public, columns: {columns}, "
    traits = [f"{{kind: trait, name: t{n}, entity: staff, count: team, where: {{t{n + 1}: 1}}}}\n---\n" for n in range(300)]
    text = entity + "relations: {team: {many: staff, via: boss}}}\n---\n" + "".join(traits)
    (tmp_path / "models" / "staff.yml").write_text(text + "{kind: trait, name: t300, entity: staff, count: team}\n")
    with pytest.raises(ProjectError, match="traits that rest on traits, more than 32 deep"):
        load(tmp_path)
