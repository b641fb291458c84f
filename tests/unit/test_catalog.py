"""The catalog page: well formed, self-contained, escaped, and true about who uses what."""

from __future__ import annotations

import datetime as dt
import json
import re
import xml.etree.ElementTree as ElementTree
from functools import cache
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from cdp.catalog.html import VOID, Html, embedded, join, tag
from cdp.catalog.lineage import KINDS, WIDTH, draw, edges, svg
from cdp.catalog.models import Size
from cdp.catalog.page import page
from cdp.catalog.pieces import code
from cdp.catalog.uses import Uses
from cdp.cli.app import main
from cdp.compile import Clock
from cdp.project.load import Project, load
from tests.projects import SEGMENT, minimal

ROOT = Path(__file__).parents[2]
EVIL = '</script><script>alert("&quot;")</script><img src=x onerror=alert(1)>'


@cache
def example() -> Project:
    return load(ROOT)


def made(project: Project, **more: object) -> str:
    clock = Clock.parse("2026-07-02", project.timezone)
    return page(project, clock=clock, now=clock, **more)  # type: ignore[arg-type]


@cache
def text() -> str:
    return made(example())


class Ids(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(name)
        for key, value in attributes:
            if key == "id":
                self.ids.append(str(value))
            if key == "href":
                self.links.append(str(value))
            if key in ("src", "srcset", "action", "data", "poster") or (key == "href" and not str(value).startswith("#")):
                self.addresses.append(str(value))


class Strict(HTMLParser):
    """Every element is closed in its turn, no attribute stands twice, and every `<` and `&` of a text is escaped."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.open: list[str] = []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        keys = [key for key, _ in attributes]
        assert len(keys) == len(set(keys)), self.get_starttag_text()
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self.open, name
        assert self.open.pop() == name, self.getpos()

    def handle_data(self, data: str) -> None:
        assert self.open[-1:] in (["script"], ["style"]) or not set("<>&") & set(data), self.getpos()


def well_formed(content: str) -> None:
    parser = Strict()
    assert content.startswith("<!DOCTYPE html>")
    parser.feed(content.removeprefix("<!DOCTYPE html>"))
    parser.close()
    assert parser.open == []


def parsed(content: str) -> Ids:
    parser = Ids()
    parser.feed(content)
    return parser


# -- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_is_well_formed() -> None:
    well_formed(text())


@pytest.mark.parametrize("broken", ["<p><b></p></b>", "<ul><li></ul>", "<p>", "</p>", "<a href=x href=y></a>", "<p>a < b & c</p>"])
def test_what_is_not_well_formed_is_noticed(broken: str) -> None:
    with pytest.raises(AssertionError):
        well_formed(f"<!DOCTYPE html>{broken}")


def test_the_page_needs_no_network() -> None:
    found = parsed(text())
    assert found.addresses == []
    assert "link" not in found.tags
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", text())
    assert "default-src 'none'" in unescape(text())


def test_every_link_leads_somewhere_and_every_id_is_one() -> None:
    found = parsed(text())
    assert len(found.ids) == len(set(found.ids))
    assert {link[1:] for link in found.links} <= set(found.ids)


def test_everything_that_the_project_declares_is_on_the_page() -> None:
    project, ids = example(), set(parsed(text()).ids)
    for kind, names in {
        "segment": project.segments,
        "trait": project.traits,
        "value_set": project.value_sets,
        "sync": project.syncs,
        "destination": project.destinations,
        "entity": project.entities,
    }.items():
        assert {f"{kind}-{name}" for name in names} <= ids


def test_it_reads_without_a_script() -> None:
    found = parsed(text())
    assert found.tags.count("script") == 2  # the index of the search, and the script that uses it
    assert "<noscript" not in text()
    assert re.search(r'<form[^>]*role="search"[^>]* hidden', text()), "the search is shown by the script that does it"


def test_a_reader_who_does_not_see_is_led() -> None:
    found = parsed(text())
    for landmark in ("header", "nav", "main", "h1", "h2"):
        assert landmark in found.tags
    assert found.tags.count("h1") == found.tags.count("main") == 1
    assert '<html lang="en">' in text()
    assert re.search(r'<label for="search">', text())
    for grid in re.findall(r"<table>.*?</table>", text(), re.S):
        assert '<th scope="col">' in grid
        assert "<caption>" in grid


def test_the_search_finds_names_codes_and_owners() -> None:
    index = json.loads(re.search(r'<script type="application/json" id="index">(.*?)</script>', text(), re.S)[1])
    words = {entry["id"]: f"{entry['name']} {entry['text']}" for entry in index}
    assert set(words) <= set(parsed(text()).ids)
    assert "4548-4" in words["value_set-hba1c"]
    assert "care-management@example.org" in words["segment-a1c_overdue"]
    assert "birth_date" in words["entity-patient"]


def test_a_sync_says_what_leaves_and_what_being_on_it_tells() -> None:
    article = re.search(r'<article id="sync-a1c_reminder_email">.*?</article>', text(), re.S)[0]
    for word in (
        "outreach_mail",
        "pseudonym",
        "identifier.pseudonym",
        "contact.email",
        "clinical.preventive",
        "no_consent",
        "max_remove 40%",
    ):
        assert word in article, word


def test_a_refused_sync_says_why(tmp_path: Path) -> None:
    project = load(minimal(tmp_path, **{"governance/baa/mailer.yml": None, "destinations/mail.yml": NO_AGREEMENT}))
    content = made(project)
    assert "Refused: nothing leaves." in content
    assert "No agreement covers it" in content


NO_AGREEMENT = """\
kind: destination
name: mail
connector: file
channel: email
file: {folder: out}
"""


def test_text_of_the_project_is_text_on_the_page(tmp_path: Path) -> None:
    content = SEGMENT.replace("Everyone of age.", json.dumps(EVIL))
    html = made(load(minimal(tmp_path, **{"models/adults.yml": content})))
    well_formed(html)
    found = parsed(html)
    assert found.tags.count("script") == 2
    assert "img" not in found.tags
    [index] = re.findall(r'<script type="application/json" id="index">(.*?)</script>', html, re.S)
    assert EVIL in {entry["text"].removesuffix(" care@example.org care_coordination") for entry in json.loads(index)}


def test_small_sizes_are_suppressed(tmp_path: Path) -> None:
    project = load(minimal(tmp_path))
    sizes = {"adults": [Size("2026-07-01", "adults_mail", people) for people in (0, 1, 10, 11, 4_711)]}
    shown = re.search(r'<ul class="sizes">(.*?)</ul>', made(project, sizes=sizes))[1]
    assert re.findall(r"<strong>(.*?)</strong>", shown) == ["0", "&lt;11", "&lt;11", "11", "4,711"]


def test_warnings_stand_on_the_page_and_at_their_entry(tmp_path: Path) -> None:
    unused = "kind: trait\nname: yes_count\nentity: patient\ncount: consents\n"
    project = load(minimal(tmp_path, **{"models/unused.yml": unused}))
    assert project.warnings
    content = made(project)
    assert "models/unused.yml:" in content
    assert 'class="warning"' in re.search(r'<article id="trait-yes_count">.*?</article>', content, re.S)[0]


def test_the_page_of_an_empty_project_is_whole(tmp_path: Path) -> None:
    gone = ("models/adults.yml", "syncs/adults_mail.yml", "destinations/mail.yml", "governance/baa/mailer.yml")
    well_formed(made(load(minimal(tmp_path, **dict.fromkeys(gone)))))


def test_it_is_the_same_page_again() -> None:
    assert made(example()) == text()


# -- who uses what ----------------------------------------------------------------------------------------------------


def test_uses_are_found_in_terms_and_by_name() -> None:
    uses = Uses.find(example())
    overdue = uses.of["segment", "a1c_overdue"]
    assert {("value_set", "diabetes"), ("value_set", "hba1c"), ("segment", "in_hospice"), ("column", "observation.code")} <= overdue
    assert ("trait", "latest_glycemic") in uses.of["segment", "a1c_poor_control"]
    assert ("trait", "latest_systolic") not in uses.of["segment", "a1c_poor_control"]
    assert ("sync", "a1c_reminder_email") in uses.users("column", "patient.email")
    assert ("rule", "patient.deceased") in uses.users("column", "patient.death_date")
    assert ("segment", "a1c_overdue") in uses.users("column", "observation.date"), "its window asks for the time"
    assert ("segment", "a1c_overdue") in uses.users("column", "observation.code_system"), "codes are compared with their system"


def test_a_literal_is_no_name(tmp_path: Path) -> None:
    trait = "kind: trait\nname: active\nentity: patient\ncount: consents\n---\n"
    segment = trait + SEGMENT.replace("{age: {gte: 18}}", "[{age: {gte: 18}}, {has: consents, where: {status: active}}]")
    uses = Uses.find(load(minimal(tmp_path, **{"models/adults.yml": segment})))
    assert uses.users("trait", "active") == ()


def test_around_a_segment_are_its_tables_and_its_receivers() -> None:
    around = Uses.find(example()).around(("segment", "a1c_overdue"))
    assert {("entity", "condition"), ("sync", "a1c_reminder_email"), ("destination", "outreach_email")} <= around
    assert ("destination", "outreach_sms") not in around
    assert ("segment", "flu_vaccine_due") not in around


# -- the picture ------------------------------------------------------------------------------------------------------


def test_lineage_leads_from_left_to_right_and_nothing_overlaps() -> None:
    lines = edges(Uses.find(example()))
    drawing = draw(lines)
    assert {kind for line in lines for kind, _ in line} == set(KINDS)
    for start, end in lines:
        assert drawing.places[start][0] + WIDTH < drawing.places[end][0]
    for column in {x for x, _ in drawing.places.values()}:
        heights = sorted(y for x, y in drawing.places.values() if x == column)
        assert all(below - above >= 26 for above, below in pairwise(heights))
    for (start, end), points in drawing.paths.items():
        assert points[0][0] == drawing.places[start][0] + WIDTH
        assert points[-1][0] == drawing.places[end][0]
        assert all(left[0] <= right[0] for left, right in pairwise(points))


def test_what_other_edges_tell_is_not_drawn() -> None:
    drawn = edges(Uses.find(example()))
    assert (("segment", "in_hospice"), ("segment", "a1c_overdue")) in drawn
    assert (("entity", "encounter"), ("segment", "a1c_overdue")) not in drawn  # through in_hospice


def test_a_hundred_segments_are_laid_out_quickly() -> None:
    parts = [("segment", f"s{number:03}") for number in range(100)]
    lines = [*pairwise(parts), *((("entity", "patient"), part) for part in parts[::7])]
    began = dt.datetime.now()
    drawing = draw(sorted(lines))
    assert (dt.datetime.now() - began).total_seconds() < 2
    assert len(drawing.places) == 101


def test_the_picture_is_xml_and_marks_its_subject() -> None:
    picture = svg(edges(Uses.find(example())), "Lineage <of> everything", here=("segment", "in_hospice"))
    root = ElementTree.fromstring(picture)
    [marked] = [node for node in root.iter("a") if "here" in node.get("class", "")]
    assert marked.get("href") == "#segment-in_hospice"


# -- pieces -----------------------------------------------------------------------------------------------------------


def test_html_escapes_what_is_not_html() -> None:
    made = tag("p", "<b>", tag("b", "&"), None, ["x", Html("<i>")], class_='a"b', data_x=1, hidden=True, open=False)
    assert made == '<p class="a&quot;b" data-x="1" hidden>&lt;b&gt;<b>&amp;</b>x<i></p>'
    assert join(None) == ""
    assert tag("br") == "<br>"
    assert "</" not in embedded('{"a": "</script>"}')


@pytest.mark.parametrize(("language", "source"), [("yaml", 'a: "<b>" # c & d\n- {x: 1}'), ("sql", "SELECT '<b>' -- c & d\n/* e */ FROM a")])
def test_marked_source_is_the_source(language: str, source: str) -> None:
    marked = code(source, language)
    assert "".join(ElementTree.fromstring(marked).itertext()) == source
    assert 'class="comment"' in marked


def test_a_document_is_shown_without_its_neighbours() -> None:
    article = re.search(r'<article id="segment-has_diabetes">.*?</article>', text(), re.S)[0]
    yaml = "".join(re.findall(r"<pre.*?</pre>", article, re.S)[:1])
    assert "has_diabetes" in yaml
    assert "a1c_overdue" not in yaml


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = minimal(tmp_path), tmp_path / "deep" / "catalog.html"
    assert main(["docs", "--project", str(root), "--out", str(out)]) == 0
    assert str(out) in capsys.readouterr().out.replace("\n", "")
    well_formed(out.read_text())
    assert main(["docs", "--project", str(root), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == out.stat().st_size
    assert main(["docs", "--project", str(root), "--out", str(tmp_path)]) == 2
