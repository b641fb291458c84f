"""Loading a project: what must be refused, where and in which words; and what a valid one holds."""

from __future__ import annotations

import datetime as dt
import gc
import re
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from cdp.errors import Problem, ProjectError, UsageError
from cdp.project.load import Project, find_root, load
from cdp.project.problems import Problems, dotted
from tests.projects import FILES, minimal

CONNECTORS = ("file", "http")
CONF, PATIENT, CONSENTS, SEGMENT = "conf/cdp.yml", "models/patient.yml", "models/consents.yml", "models/adults.yml"
CLASSES, MASKS, PURPOSES = "governance/classes.yml", "governance/masks.yml", "governance/purposes.yml"
CONSENT, ELIGIBILITY, AGREEMENT = "governance/consent.yml", "governance/eligibility.yml", "governance/baa/mailer.yml"
DESTINATION, SYNC, NEW = "destinations/mail.yml", "syncs/adults_mail.yml", "models/new.yml"
DECLASSIFY, REVIEWS = "governance/declassify.yml", "governance/value_sets.yml"

TRAIT = "kind: trait\nname: consents_given\nentity: patient\ncount: consents\n"
VALUE_SET = "kind: value_set\nname: diabetes\nsystem: SNOMED\n"
ENTRY = """\
kind: declassify
entries:
  - name: adults_are_told
    of: {segment: adults}
    from: [demographic.birth_date]
    to: demographic.year
    model_sha256: 3f1c0000
    reason: wording approved
    owner: privacy@example.org
    approved: 2026-06-01
    expires: 2027-05-31
"""

FIXTURES = Path(__file__).parents[1] / "fixtures" / "refused"
Overlays = dict[str, str | bytes | None]


def edit(file: str, old: str, new: str) -> Overlays:
    """The minimal project's file with one change."""
    assert FILES[file].count(old) == 1, f"{old!r} stands {FILES[file].count(old)} times in {file}"
    return {file: FILES[file].replace(old, new)}


def problems_of(root: Path) -> list[Problem]:
    try:
        load(root, CONNECTORS)
    except ProjectError as error:
        return list(error.problems)
    return []


# -- the corpus of tests/fixtures/refused -----------------------------------------------------------------------------
#
#     == what is wrong
#     @ FILE            of the minimal project
#     - old lines       each block of these is replaced ...
#     + new lines       ... by these; without old lines these are the whole file; with neither the file is left out
#     > PROBLEM         every problem that a load reports, in order; `...` stands for anything


@dataclass(frozen=True)
class Case:
    overlays: Overlays
    problems: list[str]


def _case(text: str) -> Case:
    overlays: Overlays = {}
    for part in re.split(r"^@ ", text, flags=re.MULTILINE)[1:]:
        file, _, body = part.partition("\n")
        blocks = re.findall(r"((?:^- .*\n|^-\n)*)((?:^\+ .*\n|^\+\n)*)", body, re.MULTILINE)
        edits = [tuple("".join(line[2:] + "\n" for line in block.splitlines()) for block in pair) for pair in blocks if any(pair)]
        if not any(old for old, _ in edits):
            overlays[file] = edits[0][1] if edits else None
            continue
        content = "\n" + FILES[file]
        for old, new in edits:
            assert content.count("\n" + old) == 1, f"{file}: {old!r} must stand there once"
            content = content.replace("\n" + old, "\n" + new)
        overlays[file] = content[1:]
    return Case(overlays, re.findall(r"^> (.*)$", text, re.MULTILINE))


def _corpus() -> dict[str, Case]:
    texts = [path.read_text() for path in sorted(FIXTURES.glob("*.txt"))]
    cases = [part.partition("\n") for text in texts for part in re.split(r"^== ", text, flags=re.MULTILINE)[1:]]
    assert len({name for name, _, _ in cases}) == len(cases), "two cases of one name"
    return {name: _case(body) for name, _, body in cases}


CORPUS = _corpus()


@pytest.mark.parametrize("name", CORPUS)
def test_refused(tmp_path: Path, name: str) -> None:
    case = CORPUS[name]
    found = [str(problem) for problem in problems_of(minimal(tmp_path, **case.overlays))]
    expected = [".*".join(map(re.escape, problem.split("..."))) for problem in case.problems]
    assert case.problems, "a case must expect a problem"
    assert len(found) == len(expected), "\n".join(found)
    for problem, pattern in zip(found, expected, strict=True):
        assert re.fullmatch(pattern, problem), problem


# -- secrets ----------------------------------------------------------------------------------------------------------

SECRETS: dict[str, tuple[Overlays, str]] = {
    "in place of its reference": (edit(DESTINATION, "{env: MAIL_API_KEY}", "SG.s3cr3t"), "must be a mapping, not text"),
    "as a variable's name": (edit(DESTINATION, "env: MAIL_API_KEY", "env: SG.s3cr3t"), "must be the name of an environment variable"),
    "as a value": (edit(DESTINATION, "{env: MAIL_API_KEY}", "{value: SG.s3cr3t}"), "unknown key 'value'; valid: env"),
    "in a header": (edit(DESTINATION, "Bearer {api_key}", "Bearer SG.s3cr3t"), "holds a credential in plain text"),
    "in a URL": (edit(DESTINATION, "https://api", "https://me:SG.s3cr3t@api"), "holds a user name or password"),
    "in a query": (edit(DESTINATION, "https://api.mail.example", "https://api.mail.example?key=SG.s3cr3t"), "is not a base URL"),
}  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_a_literal_secret_is_refused_and_not_repeated(tmp_path: Path, name: str) -> None:
    overlays, said = SECRETS[name]
    text = "\n".join(str(problem) for problem in problems_of(minimal(tmp_path, **overlays)))
    assert said in text
    assert "s3cr3t" not in text


# -- all at once, and each only once ----------------------------------------------------------------------------------


def test_all_mistakes_of_all_files_come_at_once(tmp_path: Path) -> None:
    wrong = (
        edit(SEGMENT, "owner:", "ownr:")
        | edit(SYNC, "destination: mail", "destination: mial")
        | edit(MASKS, "gives: public", "gives: pubic")
    )
    wrong |= edit(AGREEMENT, "signed: 2026-01-15", "signed: soon") | {NEW: "kind: [\n", "models/latin.yml": b"kind: \xe9\n"}
    wrong |= edit(CONF, "timezone: America/New_York", "timezone: Mars") | edit(CONSENTS, "key: consent_id", "key: id")
    found = problems_of(minimal(tmp_path, **wrong))
    assert {problem.file for problem in found} == {SEGMENT, SYNC, MASKS, AGREEMENT, NEW, "models/latin.yml", CONF, CONSENTS}
    assert found == sorted(found, key=lambda p: (p.file, p.line, p.col, p.message))


def test_the_error_counts_and_lists(tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as caught:
        load(minimal(tmp_path, **edit(SYNC, "segment: adults", "segment: adult")), CONNECTORS)
    (problem,) = caught.value.problems
    assert str(caught.value).splitlines() == ["1 problem in the project", f"  {problem}"]
    assert problem.as_json() == {
        "file": SYNC,
        "line": 3,
        "col": 10,
        "where": "segment",
        "message": "unknown segment 'adult'",
        "valid": ["adults"],
        "hint": "did you mean 'adults'?",
        "severity": "error",
    }


@pytest.mark.parametrize(
    "overlays",
    [
        edit(CLASSES, "  public: {phi: false}", "  public: {phi: perhaps}"),
        edit(PURPOSES, "    consent: opt_in\n", ""),
        edit(MASKS, "over_89", "over89"),
        edit(CONSENT, "need: granted, per: purpose", "need: granted, pr: purpose"),
        edit(PATIENT, "role: birth_date", "role: birthdate"),
        edit(CONSENTS, "rows: consent_state\n", ""),
        edit(DESTINATION, "channel: email\n", ""),
        edit(AGREEMENT, "counterparty: Example Mail\n", ""),
        edit(CONF, "engine: sail", "engine: snail"),
        edit(AGREEMENT, "hosts: [api.mail.example]", "hosts: [api.mail.example"),
        {PURPOSES: FILES[PURPOSES] + "\tx\n"},
        {CLASSES: FILES[CLASSES] + "  x: *y\n"},
        {CONF: FILES[CONF] + "units: {\n"},
        {MASKS: FILES[MASKS] + "x: [\n"},
        {CONSENTS: FILES[CONSENTS] + "x: [\n"},
        {DESTINATION: FILES[DESTINATION] + "x: [\n"},
    ],
)
def test_a_mistake_in_a_document_is_not_reported_again_by_those_that_refer_to_it(tmp_path: Path, overlays: Overlays) -> None:
    found = problems_of(minimal(tmp_path, **overlays))
    assert len(found) == 1, "\n".join(map(str, found))


# -- files ------------------------------------------------------------------------------------------------------------


def test_links_that_leave_the_project_are_refused(tmp_path: Path) -> None:
    root = minimal(tmp_path)
    (tmp_path / "outside.yml").write_text(TRAIT)
    (root / NEW).symlink_to(tmp_path / "outside.yml")
    (root / "syncs" / "more").symlink_to(tmp_path)
    assert [str(p) for p in problems_of(root)] == [
        f"{NEW}: is a link that leaves the project; copy the file here",
        "syncs/more: is a link to a folder, which is not followed; move the folder here",
    ]


def test_a_link_inside_the_project_is_read(tmp_path: Path) -> None:
    root = minimal(tmp_path, **{"lib/trait.yml": TRAIT})
    (root / NEW).symlink_to(root / "lib" / "trait.yml")
    assert "consents_given" in load(root, CONNECTORS).traits


def test_a_link_cannot_bring_policy_from_outside_of_governance(tmp_path: Path) -> None:
    root = minimal(tmp_path, **{MASKS: None, "models/masks.txt": FILES[MASKS]})
    (root / MASKS).symlink_to(root / "models" / "masks.txt")
    assert f"{MASKS}: is a link that leaves governance/" in str(problems_of(root)[0])


def test_a_folder_that_is_a_file_is_reported(tmp_path: Path) -> None:
    root = minimal(tmp_path, **{SYNC: None})
    (root / "syncs").write_text("kind: sync\n")
    assert [str(problem) for problem in problems_of(root)] == ["syncs: cannot be read: Not a directory"]


def test_hidden_and_other_files_are_left_alone(tmp_path: Path) -> None:
    files = {"models/.#adults.yml": "[", "models/.git/x.yml": "[", "models/notes.md": "[", "other/x.yml": "["}
    assert problems_of(minimal(tmp_path, **files)) == []


def test_folders_may_be_missing(tmp_path: Path) -> None:
    project = load(minimal(tmp_path, **{SYNC: None, DESTINATION: None}), CONNECTORS)
    assert (project.syncs, project.destinations) == ({}, {})


def test_the_root_is_found_upwards(tmp_path: Path) -> None:
    root = minimal(tmp_path)
    assert find_root(root) == root
    assert find_root(root / "governance" / "baa") == root
    with pytest.raises(UsageError, match="cdp init DIR"):
        find_root(tmp_path)


# -- what a valid project holds ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    files = {
        "syncs/programme.yml": f"{TRAIT}---\n{FILES[SEGMENT].replace('adults', 'seniors')}---\n{VALUE_SET}codes: [08, 44054006]\n",
        "models/sets/hba1c.yaml": VALUE_SET.replace("diabetes", "hba1c") + "file: hba1c.csv\n",
        "models/sets/hba1c.csv": b'\xef\xbb\xbfdisplay, Code \r\nA1c, 4548-4\r\n\r\nagain,4548-4\r\n"with, comma",017\r\n',
        REVIEWS: "kind: value_sets\nvalue_sets:\n  diabetes: {class: none, reviewed: {by: x, on: 2026-01-01}}\n",
        DECLASSIFY: ENTRY,
    }
    return load(minimal(tmp_path_factory.mktemp("valid"), **files), CONNECTORS)


def test_everything_is_found_by_name(project: Project) -> None:
    assert set(project.entities) == {"patient", "consent"}
    assert set(project.segments) == {"adults", "seniors"}
    assert (set(project.traits), set(project.syncs), set(project.destinations)) == ({"consents_given"}, {"adults_mail"}, {"mail"})
    assert project.timezone == "America/New_York"
    policy = project.policy
    assert (set(policy.agreements), set(policy.purposes), set(policy.masks)) == (
        {"mailer"},
        {"care_coordination"},
        {"null", "pseudonym", "year"},
    )
    assert (set(policy.eligibility), set(policy.reviews)) == ({"patient"}, {"diabetes"})
    assert policy.agreements["mailer"].expires == dt.date(2099, 1, 14)
    assert policy.classes["sensitive"].inherit is False
    assert [entry.name for entry in policy.declassify] == ["adults_are_told"]
    assert policy.consent is not None
    assert policy.consent.granted == ("active",)


def test_codes_keep_their_zeros_from_yaml_and_csv(project: Project) -> None:
    (diabetes,), (hba1c,) = (project.value_sets[name].members for name in ("diabetes", "hba1c"))
    assert (diabetes.system, diabetes.codes) == ("SNOMED", ("08", "44054006"))
    assert (hba1c.system, hba1c.codes) == ("SNOMED", ("4548-4", "017"))


def test_sources_tell_where_everything_stands(project: Project) -> None:
    document = project.sources["segment", "seniors"]
    assert (document.file, document.position(("name",))) == ("syncs/programme.yml", (7, 7))
    assert project.sources["classes", "classes"].file == CLASSES
    assert project.sources["eligibility", "patient"].file == ELIGIBILITY


def test_environments_by_name_or_default(project: Project) -> None:
    assert project.environment().lakehouse == "lake"
    assert project.environment("dev") is project.environment()
    with pytest.raises(UsageError, match=r"environment 'dve' is not in conf/cdp.yml; valid: dev\n  fix: did you mean --env dev\?"):
        project.environment("dve")


def test_a_project_cannot_be_changed(project: Project) -> None:
    with pytest.raises(AttributeError):
        project.root = Path("/")  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        project.segments["adults"].owner = "me"  # type: ignore[misc]


def test_connectors_are_checked_only_when_they_are_known(tmp_path: Path) -> None:
    options = "kind: destination\nname: mail\nconnector: pigeon\nchannel: mail\nbaa: mailer\n"
    assert load(minimal(tmp_path, **{DESTINATION: options})).destinations["mail"].connector == "pigeon"
    assert "unknown connector 'pigeon'" in str(problems_of(tmp_path / "project")[0])


def test_a_mask_named_null_is_written_in_quotes(tmp_path: Path) -> None:
    project = load(minimal(tmp_path, **edit(SYNC, "first_name: given_name", 'first_name: {of: given_name, mask: "null"}')))
    assert project.syncs["adults_mail"].mappings["first_name"].mask == "null"


def test_guards_are_rows_or_shares(tmp_path: Path) -> None:
    guards = "guards: {max_add: 1_000, max_remove: 12.5 %, empty: allow}\nmode: mirror"
    found = load(minimal(tmp_path, **edit(SYNC, "mode: mirror", guards))).syncs["adults_mail"].guards
    assert found.max_add is not None
    assert found.max_remove is not None
    assert (found.max_add.rows, found.max_remove.share, found.empty) == (1000, 0.125, "allow")


def test_a_thousand_segments_load_in_time(tmp_path: Path) -> None:
    root = minimal(tmp_path)
    for number in range(1000):
        (root / "models" / f"s{number}.yml").write_text(FILES[SEGMENT].replace("adults", f"adults_{number}"))
    for number in range(200):
        text = FILES[SYNC].replace("adults_mail", f"mail_{number}").replace("segment: adults", f"segment: adults_{number}")
        (root / "syncs" / f"s{number}.yml").write_text(text)
    started = time.process_time()
    project = load(root, CONNECTORS)
    assert time.process_time() - started < 1.5
    assert (len(project.segments), len(project.syncs)) == (1001, 201)
    assert gc.isenabled(), "the collector runs again"


def test_a_thousand_dangling_references_are_reported_in_time(tmp_path: Path) -> None:
    root = minimal(tmp_path)
    for number in range(1000):
        (root / "models" / f"s{number}.yml").write_text(FILES[SEGMENT].replace("adults", f"adults_{number}"))
        text = FILES[SYNC].replace("adults_mail", f"mail_{number}").replace("segment: adults", f"segment: adult_{number}")
        (root / "syncs" / f"s{number}.yml").write_text(text)
    started = time.process_time()
    assert len(problems_of(root)) == 1000
    assert time.process_time() - started < 4


# -- the collector ----------------------------------------------------------------------------------------------------


def test_paths_read_as_a_person_writes_them() -> None:
    assert dotted(("where", "all", 0, "age")) == "where.all[0].age"
    assert dotted(()) == ""


def test_nothing_found_raises_nothing() -> None:
    problems = Problems()
    problems.raise_if_any()
    problems.add("a.yml", (), "is wrong", value="Adlts", valid=["adults", "others"], hint="look again")
    with pytest.raises(ProjectError, match=r"a.yml: is wrong; valid: adults, others; did you mean 'adults'\?; look again"):
        problems.raise_if_any()


def test_files_are_read_in_one_order(tmp_path: Path) -> None:
    root = minimal(tmp_path, **{f"models/{name}/x.yml": TRAIT.replace("consents_given", name) for name in ("b", "a", "c")})
    assert list(load(root, CONNECTORS).traits) == ["a", "b", "c"]


# -- the key of a request -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({"repeats: state": "repeats: keys"}, True),
        ({"repeats: state": "repeats: keys\n  idempotency: {header: X-Request-Id}"}, True),
        ({"repeats: state": "repeats: keys\n  idempotency: {field: event_id}"}, False),
        ({"repeats: state": "repeats: keys", "batch: 100": "batch: 1"}, False),
        ({"repeats: state": "repeats: effect"}, False),
        ({}, False),
    ],
    ids=str,
)
def test_one_key_for_the_rows_of_a_request_is_warned_of(tmp_path: Path, changes: dict[str, str], warned: bool) -> None:
    """What was not answered goes in the requests of the next run, with other rows, and so under another key."""
    text = FILES[DESTINATION]
    for old, new in changes.items():
        text = text.replace(old, new)
    said = [str(each) for each in load(minimal(tmp_path, **{DESTINATION: text})).warnings if "http.repeats" in str(each)]
    assert len(said) == warned
    assert all("they are applied twice; name the `field`" in each for each in said)


# -- one list of several syncs ----------------------------------------------------------------------------------------


def test_a_mirror_that_takes_off_what_another_sync_put_there_is_warned_of(tmp_path: Path) -> None:
    other = FILES["syncs/adults_mail.yml"].replace("name: adults_mail", "name: others_mail").replace("mode: mirror", "mode: upsert")
    shared = load(minimal(tmp_path / "shared", **{"syncs/others_mail.yml": other}))
    (said,) = [str(each) for each in shared.warnings if "share one list" in str(each)]
    assert said.startswith("syncs/adults_mail.yml:6:")
    assert "people whom others_mail put there" in said
    own = FILES[DESTINATION].replace("/v1/contacts", '"/v1/{sync_id}/contacts"')
    apart = load(minimal(tmp_path / "apart", **{"syncs/others_mail.yml": other, "destinations/mail.yml": own}))
    assert not [each for each in apart.warnings if "share one list" in str(each)]
