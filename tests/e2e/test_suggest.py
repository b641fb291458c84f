"""`cdp governance suggest` on the lakehouse of the example."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.conftest import Cdp
from tests.repositories import edit


def test_a_column_that_nobody_declared_is_proposed_for_its_entity(cdp: Cdp, project: Path) -> None:
    """Attack 25: whoever declares what is new in the lakehouse is helped not to forget what it may say."""
    assert cdp("governance", "suggest", "step_day").out == "# every column of devices.step_days is declared\n"
    entity = project / "models/entities/monitoring.yml"
    (line,) = [line for line in entity.read_text().splitlines() if line.strip().startswith("steps:")]
    edit(entity, f"{line}\n", "")
    (project / "models/programmes/step_drop.yml").unlink()  # it asks for the column
    said = cdp("governance", "suggest", "devices.step_days")
    assert (said.code, said.out) == (0, "  steps: {type: integer, class: UNDECIDED}  # the name does not tell\n")
    (found,) = cdp("governance", "suggest", "devices.step_days", "clinical.pregnancies", "--json").json[:1]
    assert [(column["name"], column["class"]) for column in found["columns"]] == [("steps", "UNDECIDED")]


def test_what_is_no_table_is_said(cdp: Cdp, project: Path) -> None:
    assert cdp("governance", "suggest", "nowhere").code == 2
    missing = cdp("governance", "suggest", "clinical.nowhere")
    assert missing.code == 1
    assert "clinical.nowhere" in missing.err
