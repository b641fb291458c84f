"""One layout for YAML: the same said, no comment lost, twice is the same as once; on messy files made up by Hypothesis too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.analyst.change.layout import formatted
from cdp.cli.app import main
from cdp.errors import ProjectError
from cdp.project.problems import Problems
from cdp.project.source import parse
from cdp.spec.base import Text
from tests.projects import SEGMENT, minimal

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "../shared/language/project"


def laid_out(text: str) -> str:
    return formatted(dedent(text), "x.yml")


def said(text: str) -> list[object]:
    """What a text says, read apart from the formatter: keys in order, scalars with their quotes."""
    problems = Problems()
    found = [_exact(document.tree) for document in parse(text, "x.yml", problems)]
    problems.raise_if_any()
    return found


def _exact(tree: Any) -> object:
    if isinstance(tree, dict):
        return [(key, _exact(value)) for key, value in tree.items()]
    if isinstance(tree, list):
        return ("list", *(_exact(value) for value in tree))
    return (str(tree), tree.quoted) if isinstance(tree, Text) else tree


CASES = {
    "two spaces a level": (
        "a:\n    b:\n       c: 1\n    d: 2\n",
        "a:\n  b:\n    c: 1\n  d: 2\n",
    ),
    "a list stands one level in": (
        "a:\n- x\n-   y: 1\n    z: 2\nb:\n    - c\n",
        "a:\n  - x\n  - y: 1\n    z: 2\nb:\n  - c\n",
    ),
    "a list in a list": (
        "a:\n-   - x\n    - y\n-\n    - z\n",
        "a:\n  - - x\n    - y\n  -\n    - z\n",
    ),
    "one space or none in a line": (
        "a :   {  b : 1 ,c:   [ 2,3 ]  }\n",
        "a: {b: 1, c: [2, 3]}\n",
    ),
    "quotes that matter stay, single ones become double": (
        "code: 08\nmask: \"null\"\nword: no\nparam: '$x'\nsay: 'it''s'\nraw: 'a\\b'\nplain: 'x y'\nsql: \"concat('a', b)\"\n",
        "code: 08\nmask: \"null\"\nword: no\nparam: \"$x\"\nsay: 'it''s'\nraw: 'a\\b'\nplain: \"x y\"\nsql: \"concat('a', b)\"\n",
    ),
    "columns that lines share stay, others go": (
        "a:      {x: 1,   y: 2}\nbcd:    {x: 12,  y: 3}\n\nlonely:     {x: 1,    y: 2}\n",
        "a:      {x: 1,   y: 2}\nbcd:    {x: 12,  y: 3}\n\nlonely: {x: 1, y: 2}\n",
    ),
    "comments go along and keep their column": (
        "# top\na:\n    # of b\n    b: 1      # one\n    c: 2 # two\n# end\n",
        "# top\na:\n  # of b\n  b: 1      # one\n  c: 2  # two\n# end\n",
    ),
    "the lines of a flow stay": (
        "a:\n    - {has: x,\n       where: {y: 1}}\n    - [1,\n       2]   # two\n",
        "a:\n  - {has: x,\n     where: {y: 1}}\n  - [1,\n     2]   # two\n",
    ),
    "texts over several lines move and stay": (
        "a:\n    b: |\n        one\n          two\n\n        three\n    c: >-\n      x\n\n\n"
        '    d: plain\n      more\n    e: "q\n      r"   # s\n',
        'a:\n  b: |\n      one\n        two\n\n      three\n  c: >-\n    x\n\n  d: plain\n    more\n  e: "q\n    r"   # s\n',
    ),
    "empty lines: one is enough, none at the ends": (
        "\n\na: 1   \n\n\n\nb: 2\n---\n\n\nc: 3\n\n\n",
        "a: 1\n\nb: 2\n---\n\nc: 3\n",
    ),
    "documents keep their order, and the end of a file its line": (
        "b: 1\n---\na: 2",
        "b: 1\n---\na: 2\n",
    ),
    "lines of Windows": ("a:\r\n    b: 1\r\n", "a:\n  b: 1\n"),
    "lines kept at the end of a text": ("a: |+\n  x\n\n\n", "a: |+\n  x\n\n\n"),
    "nothing at all": ("", ""),
    "comments only": ("\n# a\n\n\n# b\n", "# a\n\n# b\n"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_layout(name: str) -> None:
    before, after = CASES[name]
    assert formatted(before, "x.yml") == after
    assert formatted(after, "x.yml") == after
    assert said(after) == said(before)


LONG = "code: 4548-4, date: 2026-01-02, value: 9.5 %"

WRAPPED = {
    "a flow of a key becomes a block": (
        "a:\n  mask: {of: [identifier, contact, name], gives: pseudonym, key: {env: PSEUDONYM_KEY}, "
        f"when: {{{LONG}}}, per: x, y: zz}}\n",
        "a:\n  mask:\n    of: [identifier, contact, name]\n    gives: pseudonym\n    key: {env: PSEUDONYM_KEY}\n"
        f"    when: {{{LONG}}}\n    per: x\n    y: zz\n",
    ),
    "a flow of a list becomes a block": (
        f"cases:\n  - {{observations: [{{{LONG}}}, {{{LONG}}}, {{{LONG}}}], expect: in}}\n",
        f"cases:\n  - observations: [{{{LONG}}}, {{{LONG}}}, {{{LONG}}}]\n    expect: in\n".replace(
            f"[{{{LONG}}}, {{{LONG}}}, {{{LONG}}}]", f"\n      - {{{LONG}}}\n      - {{{LONG}}}\n      - {{{LONG}}}"
        ).replace("observations: \n", "observations:\n"),
    ),
    "codes fill lines": (
        f"codes: [{', '.join(str(number) for number in range(1000, 1040))}]\n",
        f"codes: [{', '.join(str(number) for number in range(1000, 1022))},\n  {', '.join(str(number) for number in range(1022, 1040))}]\n",
    ),
    "a text is folded": (
        f"description: {'word ' * 40}end.\n",
        f"description: {'word ' * 24}word\n  {'word ' * 15}end.\n",
    ),
    "a long comment stands above": (
        f"a:\n  b: {{x: 1}}  # {'why ' * 40}\n",
        f"a:\n  # {'why ' * 39}why\n  b: {{x: 1}}\n",
    ),
    "what cannot be broken stays": (f"a: {'x' * 200}\n", f"a: {'x' * 200}\n"),
    "a text is not broken where that would mean something else": (
        f'a: "{"x" * 135}: {"y" * 10}"\nb: {"x" * 135} - {"y" * 10}\n',
        f'a: "{"x" * 135}: {"y" * 10}"\nb: {"x" * 135} -\n  {"y" * 10}\n',
    ),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_lines_over_140_columns(name: str) -> None:
    before, after = WRAPPED[name]
    made = formatted(before, "x.yml")
    assert made == after
    assert said(made) == said(before)
    assert formatted(made, "x.yml") == made


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &x 1\n", "anchor"),
        ("a: {b: 1\n", "not YAML"),
        ("? a\n: 1\n", "explicit key"),
        ("a: 1\x85b: 2\n", "U+0085"),
        ("a: 1\na: 2\n", "duplicate key"),
    ],
)
def test_what_a_project_may_not_hold_is_left_alone(text: str, words: str) -> None:
    with pytest.raises(ProjectError) as error:
        formatted(text, "x.yml")
    assert words in str(error.value)
    assert "x.yml:" in str(error.value)


@pytest.mark.parametrize("root", [ROOT, TARGET], ids=["example", "target"])
def test_every_file_of_the_projects_says_the_same_afterwards(root: Path) -> None:
    if not root.is_dir():
        pytest.skip("the target of the language is not here")
    folders = ("conf", "models", "syncs", "destinations", "governance", "programmes")
    files = [path for folder in folders for path in sorted((root / folder).rglob("*.yml"))]
    assert files
    for path in files:
        text = path.read_text()
        made = formatted(text, path.name)
        assert said(made) == said(text)
        assert formatted(made, path.name) == made
        assert made.count("#") == text.count("#")


# -- made up by Hypothesis ------------------------------------------------------------------------------------------------

KEYS = st.sampled_from(["a", "where", "date", "has", "all", "x_1", "08", "latest_a1c.value", '"quoted key"', "'q'"])
PLAIN = st.sampled_from(
    ["1", "08", "no", "null", "~", "4548-4", "2026-07-01", "plain words", "a#b", "x:y", "9 %", "$param", "é 𝄞", "-1", "a, b"]
)
QUOTED = st.sampled_from(['"null"', '"$x"', "'it''s'", "'a\\b'", "'plain'", '"a: b # c"', '""', "'say \"hi\"'", '"\\u00e9 \\""', '"%"'])
COMMENT = st.sampled_from(["# c", "#", "# a: {b: 1}", "#! x", "# - 'q"])
WIDE = st.integers(1, 4)


@st.composite
def flow(draw: Any, depth: int) -> str:
    """A flow on one line, with spaces where they are allowed."""
    space = lambda: " " * draw(st.integers(0, 2))  # noqa: E731
    kind = draw(st.sampled_from(["plain", "quoted", "list", "map"] if depth else ["plain", "quoted"]))
    if kind == "plain":
        return draw(PLAIN).replace(", ", "; ").replace("{", "")
    if kind == "quoted":
        return draw(QUOTED)
    size = draw(st.integers(0, 3))
    if kind == "list":
        return "[" + ",".join(space() + draw(flow(depth - 1)) + space() for _ in range(size)) + "]"
    keys = draw(st.lists(KEYS, min_size=size, max_size=size, unique_by=lambda key: key.strip("'\"")))
    return "{" + ",".join(space() + key + ": " + space() + draw(flow(depth - 1)) + space() for key in keys) + "}"


@st.composite
def block(draw: Any, depth: int, indent: int, mapping: bool | None = None) -> list[str]:
    """Lines of a mapping or list at an indentation, laid out as no person would."""
    mapping = draw(st.booleans()) if mapping is None else mapping
    size = draw(st.integers(1, 4))
    keys = draw(st.lists(KEYS, min_size=size, max_size=size, unique_by=lambda key: key.strip("'\"")))
    lines: list[str] = []
    for key in keys:
        noise = draw(st.integers(0, 7))
        if noise == 0:
            lines += [""] * draw(st.integers(1, 3))
        elif noise == 1:
            lines.append(" " * draw(st.integers(0, 9)) + draw(COMMENT))
        head = f"{key}{' ' * draw(st.integers(0, 1))}:" if mapping else "-"
        lines += draw(entry(depth, " " * indent + head, indent, mapping))
    return lines


@st.composite
def entry(draw: Any, depth: int, head: str, indent: int, mapping: bool) -> list[str]:
    """A key or a dash with its value, on one line or several."""
    kind = draw(st.sampled_from(["flow", "flow", "block", "text", "folded", "broken", "nothing"] if depth else ["flow", "nothing"]))
    behind = " " * draw(st.integers(1, 6)) + draw(COMMENT) if draw(st.integers(0, 3)) == 0 else " " * draw(st.integers(0, 2))
    wide = draw(WIDE)
    if kind == "flow":
        return [head + " " * draw(WIDE) + draw(flow(2)) + behind]
    if kind == "block":
        within = draw(st.booleans())
        bare = mapping and not within and draw(st.booleans())  # a list at the column of its key
        return [head + behind, *draw(block(depth - 1, indent + (0 if bare else wide), within))]
    if kind == "text":
        style = draw(st.sampled_from(["|", "|-", "|+", ">", ">-"]))
        lines = [" " * (indent + wide) + line for line in ("one # none", "  more  ", "- {x")]
        return [f"{head} {style}{behind}", *lines, *[""] * draw(st.integers(0, 2))]
    if kind == "folded":
        return [
            f'{head} "begins',
            " " * draw(st.integers(indent + 1, indent + 9)) + "goes on  ",
            "",
            " " * (indent + wide) + 'ends"' + behind,
        ]
    if kind == "broken":
        lines = [draw(flow(1)) + behind, "]"]
        return [head + " " * draw(WIDE) + "[ " + draw(flow(1)) + " ," + behind, *(" " * (indent + wide) + line for line in lines)]
    return [head + behind]


@st.composite
def files(draw: Any) -> str:
    documents = ["\n".join(draw(block(3, 0, True))) for _ in range(draw(st.integers(1, 2)))]
    return "\n---\n".join(documents) + "\n" * draw(st.integers(0, 3))


@settings(max_examples=200, deadline=None)
@given(files())
def test_any_file_says_the_same_keeps_its_comments_and_settles(text: str) -> None:
    made = formatted(text, "x.yml")
    assert said(made) == said(text)
    assert formatted(made, "x.yml") == made
    assert made.count("#") == text.count("#")
    assert not [line for line in made.splitlines() if "\t" in line]
    assert not made.startswith("\n")


# -- the command ----------------------------------------------------------------------------------------------------------

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cdp(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def messy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = minimal(tmp_path, **{"models/adults.yml": SEGMENT.replace("where: {age", "where: {  age")})
    monkeypatch.chdir(root)
    return root


def test_check_writes_nothing_and_fails(cdp: Run, messy: Path) -> None:
    before = (messy / "models/adults.yml").read_bytes()
    code, out, _ = cdp("fmt", "--check", "--json")
    assert (code, json.loads(out)["changed"]) == (1, ["models/adults.yml"])
    assert (messy / "models/adults.yml").read_bytes() == before
    code, out, _ = cdp("fmt", "--check")
    assert code == 1
    assert "models/adults.yml: would be laid out anew\n1 file would be laid out anew, " in out


def test_files_are_written_once_with_their_permissions(cdp: Run, messy: Path) -> None:
    path = messy / "models/adults.yml"
    path.chmod(0o640)
    assert cdp("fmt")[:2] == (0, f"models/adults.yml: laid out\n1 file laid out, {len(list(messy.rglob('*.yml'))) - 1} as they should be\n")
    assert path.read_text() == SEGMENT
    assert path.stat().st_mode & 0o777 == 0o640
    assert not [each for each in path.parent.iterdir() if each.name.startswith(".")]
    assert cdp("fmt", "--check")[0] == 0


def test_a_broken_file_is_left_alone_and_the_others_are_laid_out(cdp: Run, messy: Path) -> None:
    broken = messy / "models/patient.yml"
    broken.write_text("kind: entity\nname: {\n")
    code, out, _ = cdp("fmt")
    assert code == 1
    assert "models/patient.yml:3:1: not YAML" in out
    assert "models/adults.yml: laid out" in out
    assert broken.read_text() == "kind: entity\nname: {\n"


def test_paths_narrow_what_is_laid_out(cdp: Run, messy: Path) -> None:
    assert json.loads(cdp("fmt", "--check", "--json", "syncs", "models/adults.yml")[1])["changed"] == ["models/adults.yml"]
    assert cdp("fmt", "--check", "syncs")[0] == 0
    code, _, err = cdp("fmt", "nowhere.yml")
    assert code == 2
    assert "nowhere.yml is not there" in err
    (messy / "notes.txt").touch()
    assert "notes.txt is no YAML file" in cdp("fmt", "notes.txt")[2]
