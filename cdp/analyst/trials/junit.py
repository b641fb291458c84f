"""The outcomes of tests as JUnit XML, which build servers show."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from cdp.analyst.trials.outcomes import Outcome, Results

_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML 1.0 cannot hold


def junit(tested: Results) -> str:
    """A `testsuites` document with a suite for each segment or trait. A pending case is a failure, as in the exit code."""
    root = ET.Element("testsuites", _counted("cdp test", tested.outcomes), time=f"{tested.seconds:.3f}")
    for (kind, subject), outcomes in tested.by_subject().items():
        suite = ET.SubElement(root, "testsuite", _counted(subject, outcomes), time="0.000")
        for outcome in outcomes:
            _case(suite, f"{kind}.{subject}", outcome)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True).replace("us-ascii", "utf-8", 1) + "\n"


def _case(suite: ET.Element, classname: str, outcome: Outcome) -> None:
    case = outcome.case
    said = {"name": _text(outcome.title), "classname": classname, "file": case.file, "line": str(case.line), "time": "0.000"}
    element = ET.SubElement(suite, "testcase", said)
    if not outcome.ok:
        kind = "error" if outcome.status == "error" else "failure"
        problem = ET.SubElement(element, kind, message=_text("; ".join(outcome.said())), type=outcome.status)
        problem.text = _text("\n".join([f"{case.file}:{case.line}, as of {case.as_of}", *outcome.tree, *outcome.rows]))


def _counted(name: str, outcomes: Sequence[Outcome]) -> dict[str, str]:
    errors = sum(outcome.status == "error" for outcome in outcomes)
    failures = sum(not outcome.ok for outcome in outcomes) - errors
    return {"name": name, "tests": str(len(outcomes)), "failures": str(failures), "errors": str(errors)}


def _text(text: str) -> str:
    return _FORBIDDEN.sub("?", text)
