"""The target programmes of ../shared/language as a project that loads: with the policy that they leave out, without their syncs."""

from __future__ import annotations

import re
from pathlib import Path

SHARED = Path(__file__).parents[1] / "../shared/language/project"
_GLUCOSE = "kind: value_set\nname: glucose\nsystem: LOINC\ncodes: [2339-0]\n"  # a unit of conf/cdp.yml names it


def programmes(root: Path) -> Path:
    """Write the project and return its root."""
    classes, purposes = {"public"}, set()
    for path in sorted(SHARED.rglob("*.yml")):
        documents = [part for part in re.split(r"^---\n", path.read_text(), flags=re.MULTILINE) if "kind: sync" not in part]
        text = "---\n".join(re.sub(r"^(kind: entity\n)", r"\1rows: public\n", part) for part in documents)
        classes |= set(re.findall(r"class: ([a-z_.]+)", text))
        purposes |= set(re.findall(r"^purpose: (\w+)", text, re.MULTILINE))
        name = path.relative_to(SHARED)
        if name.parts[0] == "conf":
            text += "environments: {dev: {lakehouse: lake}}\n"
        _write(root / (name if name.parts[0] in ("conf", "models") else Path("models") / name), text)
    _write(root / "models/value_sets/glucose.yml", _GLUCOSE)
    _write(root / "governance/all.yml", _policy(classes, purposes))
    return root


def _policy(classes: set[str], purposes: set[str]) -> str:
    every = sorted(classes | {name.split(".")[0] for name in classes})
    grants = 'basis: "45 CFR 164.506(c)", classes: [public], members: [public], channels: [file], consent: none_needed'
    lines = ["kind: classes", "classes:", *(f"  {name}: {{}}" for name in every), "---"]
    lines += ["kind: purposes", "purposes:", *(f"  {name}: {{{grants}}}" for name in sorted(purposes))]
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
