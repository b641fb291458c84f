"""Reading YAML: source text and places survive, and nothing a file holds can hurt."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.errors import ProjectError
from cdp.project.problems import Problems
from cdp.project.source import MAX_BYTES, MAX_DEPTH, Document, read
from cdp.spec import Text


def parse(tmp_path: Path, content: str | bytes) -> tuple[list[Document], list[str]]:
    path = tmp_path / "models" / "x.yml"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    problems = Problems()
    documents = read(path, tmp_path, problems)
    try:
        problems.raise_if_any()
    except ProjectError as error:
        return documents, [str(problem) for problem in error.problems]
    return documents, []


@pytest.mark.parametrize(
    "text", ["08", "0123", "no", "on", "yes", "True", "1_000", "12:30", "2026-07-01", "1e3", "0x1F", ".5", "4548-4", "3.10", "+1", "NaN"]
)
def test_a_scalar_keeps_its_source_text(tmp_path: Path, text: str) -> None:
    (document,), problems = parse(tmp_path, f"a: {text}\nb: '{text}'\nc: [{text}]\n")
    assert problems == []
    assert document.tree == {"a": text, "b": text, "c": [text]}
    assert (document.tree["a"].quoted, document.tree["b"].quoted) == (False, True)


def test_text_of_other_scripts_is_read_as_it_is(tmp_path: Path) -> None:
    (document,), problems = parse(tmp_path, 'a: שלום\nb: مرحبا\nc: "\\u202e"\n')  # an escape is seen
    assert (document.tree, problems) == ({"a": "שלום", "b": "مرحبا", "c": "\u202e"}, [])


@pytest.mark.parametrize("nothing", ["", "~", "null", "Null", "NULL"])
def test_plain_nulls_are_none_and_quoted_ones_are_text(tmp_path: Path, nothing: str) -> None:
    (document,), _ = parse(tmp_path, f'a: {nothing}\nb: "{nothing}"\nc: [{nothing or "~"}]\n')
    assert document.tree["a"] is None
    assert document.tree["c"] == [None]
    assert (document.tree["b"], document.tree["b"].quoted) == (nothing, True)


def test_blocks_are_text(tmp_path: Path) -> None:
    (document,), _ = parse(tmp_path, "a: |\n  two\n  lines\nb: >\n  one\n  line\n")
    assert document.tree == {"a": "two\nlines\n", "b": "one line\n"}


def test_a_file_may_hold_several_documents_and_empty_ones(tmp_path: Path) -> None:
    documents, problems = parse(tmp_path, "# a comment\n---\na: 1\n---\n---\nb: 2\n...\n")
    assert ([d.tree for d in documents], problems) == ([{"a": "1"}, {"b": "2"}], [])
    assert [d.position(()) for d in documents] == [(3, 1), (6, 1)]


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"---\n---\n", b"\xef\xbb\xbf"])
def test_a_file_may_be_empty_with_a_warning(tmp_path: Path, content: bytes) -> None:
    """A sync whose file an editor has emptied removes nobody any more, and `sync --all` would not miss it."""
    assert parse(tmp_path, content) == ([], [])
    problems = Problems()
    read(tmp_path / "models" / "x.yml", tmp_path, problems)
    assert [str(each) for each in problems.warnings] == ["models/x.yml: warning: declares nothing; restore what it held, or remove it"]


def test_a_file_that_declares_something_or_is_refused_has_no_such_warning(tmp_path: Path) -> None:
    for content in (b"a: 1\n", b"- a\n", b"a: [\n", b"\xff"):
        parse(tmp_path, content)
        problems = Problems()
        read(tmp_path / "models" / "x.yml", tmp_path, problems)
        assert problems.warnings == ()


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path: Path) -> None:
    (document,), problems = parse(tmp_path, b"\xef\xbb\xbfa: 1\r\nb:\r\n  - c\r\n")
    assert (document.tree, problems) == ({"a": "1", "b": ["c"]}, [])
    assert document.position(("b", 0)) == (3, 5)


def test_positions_of_values_keys_and_what_is_missing(tmp_path: Path) -> None:
    text = 'kind: segment\nwhere:\n  all:\n    - age: {gte: 18}\n    - {"é": [a, b]}\n'
    (document,), _ = parse(tmp_path, text)
    assert document.position(("where", "all", 0, "age", "gte")) == (4, 18)
    assert document.position(("where", "all", 0, "age"), key=True) == (4, 7)
    assert document.position(("where", "all", 1, "é", 1)) == (5, 17), "columns count characters, not bytes"
    assert document.position(("where", "all", 7, "age")) == (4, 5), "the nearest part that exists"
    assert document.position(("where", "all", 0, "nothing"), key=True) == (4, 7)
    assert document.position(("kind", "deeper")) == (1, 7), "nothing is below a scalar"
    assert document.position(()) == (1, 1)


REFUSED = {
    "an anchor": ("a: &x 1\n", "models/x.yml:1:4: anchor '&x'"),
    "an anchor on a list": ("a: &x [1]\n", "models/x.yml:1:4: anchor '&x'"),
    "an alias": ("a: &x 1\nb: *x\n", "models/x.yml:2:4: alias '*x'"),
    "a merge key": ("a: {<<: {b: 1}}\n", "models/x.yml:1:5: merge keys"),
    "a python tag": ("a: !!python/object/apply:os.system [ls]\n", "models/x.yml:1:4: tag 'tag:yaml.org,2002:python/object/apply"),
    "a tag on a scalar": ("a: !!int '3'\n", "models/x.yml:1:4: tag 'tag:yaml.org,2002:int'"),
    "a local tag": ("a: !secret x\n", "models/x.yml:1:4: tag '!secret'"),
    "a duplicate key": ("a: 1\nb: 2\n'a': 3\n", "models/x.yml:3:1: duplicate key 'a'; the first stands in line 1"),
    "a duplicate key inside": ("x:\n  - {a: 1, a: 1}\n", "models/x.yml:2:12: duplicate key 'a'"),
    "a mapping as a key": ("? {a: 1}\n: 2\n", "models/x.yml:1:3: a mapping as a key"),
    "a list as a key": ("[a, b]: 2\n", "models/x.yml:1:1: a list as a key"),
    "an empty key": ("'': 2\n", "models/x.yml:1:1: an empty key"),
    "a null key": ("~: 2\n", "models/x.yml:1:1: an empty key"),
    "a merge that stopped": ("a: 1\n<<<<<<< HEAD\nb: 2\n=======\nb: 3\n>>>>>>> main\n", "models/x.yml:2:1: a merge that is not finished"),
    "a list as a document": ("- a\n", "models/x.yml:1:1: a document must be a mapping, not a list"),
    "a text as a document": ("hello\n", "models/x.yml:1:1: a document must be a mapping, not 'hello'"),
    "a tab": ("a:\n\tb: 1\n", "models/x.yml:2:1: not YAML: a tab"),
    "an open bracket": ("a: [1,\nb: 2\n", "while parsing a flow sequence that began at 1:4"),
    "an open quote": ("a: 'x\n", "began at 1:4"),
    "two colons": ("a: b: c\n", "models/x.yml:1:5: not YAML: mapping values are not allowed"),
    "a control character": ("é: 1\nb: \x07\n", "models/x.yml:2:4: a control character"),
    "letters that are shown in another order": (
        "a: 1\nb: [x, \u202e y]\n",
        "models/x.yml:2:8: U+202E changes the order in which letters are shown",
    ),
    "an unknown directive": ("%NO\n---\na: 1\n", "models/x.yml:1:"),
    "text that is not UTF-8": (b"a: 1\nb: \xe9\n", "models/x.yml:2:4: is not UTF-8: byte 8 is 0xe9"),
    "UTF-16": ("a: 1\n".encode("utf-16"), "is not UTF-8: byte 0"),
    "too much": (b"a: " + b"x" * MAX_BYTES, "models/x.yml: is larger than 1,000,000 bytes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path: Path, name: str) -> None:
    content, expected = REFUSED[name]
    _, problems = parse(tmp_path, content)
    assert any(expected in problem for problem in problems), problems


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "a:\n ", "{[", "!!x [", "'", "&a ["])
def test_no_depth_of_nesting_does_any_harm(tmp_path: Path, opening: str) -> None:
    started = time.monotonic()
    _, problems = parse(tmp_path, opening * (900_000 // len(opening)))
    assert problems
    assert time.monotonic() - started < 5


def test_the_deepest_allowed_nesting_is_read(tmp_path: Path) -> None:
    deep = MAX_DEPTH - 1
    assert parse(tmp_path, "a: " + "[" * deep + "]" * deep)[1] == []
    assert f"deeper than {MAX_DEPTH} levels" in parse(tmp_path, "a: " + "[" * (deep + 1) + "]" * (deep + 1))[1][0]


def test_a_bomb_of_aliases_never_expands(tmp_path: Path) -> None:
    bomb = "a0: &a0 [lol]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30))
    started = time.monotonic()
    documents, problems = parse(tmp_path, bomb)
    assert documents == []
    assert any("aliases are not read" in problem for problem in problems)
    assert time.monotonic() - started < 1


def test_fifty_megabytes_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "big.yml"
    with path.open("wb") as stream:
        stream.truncate(50_000_000)
    problems, started = Problems(), time.monotonic()
    assert read(path, tmp_path, problems) == []
    assert len(problems) == 1
    assert time.monotonic() - started < 0.5


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yml")
    problems = Problems()
    assert read(tmp_path / "pipe.yml", tmp_path, problems) == []
    with pytest.raises(ProjectError, match="not a regular file"):
        problems.raise_if_any()


def test_a_flood_of_mistakes_ends(tmp_path: Path) -> None:
    _, problems = parse(tmp_path, "a: 1\n" * 100_000)
    assert len(problems) == 51
    assert any("the rest was not read" in problem for problem in problems)


def test_mistakes_of_one_file_come_together(tmp_path: Path) -> None:
    (document,), problems = parse(tmp_path, "a: 1\na: 2\nb: !x 3\n<<: {c: 4}\nd: [{}]\n")
    assert [problem.split(": ")[0] for problem in problems] == [f"models/x.yml:{place}" for place in ("2:1", "3:4", "4:1")]
    assert document.tree == {"a": "1", "b": "3", "d": [{}]}


def test_what_a_broken_file_declares_is_known(tmp_path: Path) -> None:
    text = "kind: segment\nname: first\n---\nkind: segment\nname: second\nwhere: [\n---\nkind: trait\nname: 'third'\n"
    documents, _ = parse(tmp_path, text)
    assert [(d.tree["kind"], d.tree["name"], d.sound) for d in documents] == [
        ("segment", "first", True),
        ("segment", "second", False),
        ("trait", "third", False),
    ]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="a:-[]{}?!&*<'\"|> \n\t#%@,~1", max_size=60))
def test_no_text_raises(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    problems = Problems()
    for document in read(path, path.parent, problems):
        assert isinstance(document.tree, dict)


@given(
    st.recursive(
        st.text(alphabet="abc 08:_é'\"{}#", max_size=8), lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text("ab", min_size=1), x)
    )
)
@settings(max_examples=100, deadline=None)
def test_what_is_written_quoted_comes_back(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    import json

    path = tmp_path_factory.getbasetemp() / "round.yml"
    path.write_text(json.dumps({"top": value}, ensure_ascii=False))  # JSON is YAML with every text quoted
    problems = Problems()
    (document,) = read(path, path.parent, problems)
    assert document.tree == {"top": value}
    assert len(problems) == 0


def test_text_is_a_string_that_knows_its_quotes() -> None:
    assert Text("null", quoted=True) == "null"
    assert (Text("a").quoted, Text("a", True).quoted) == (False, True)
