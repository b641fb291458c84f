"""How an editor finds the schema: the files under .vscode/ that every project has."""

from __future__ import annotations

import json
from typing import Any, Final

from cdp.catalog.schema import FILES

FOLDER: Final = ".vscode"
SCHEMA: Final = f"{FOLDER}/cdp.schema.json"  # holds the project's names, so it is made on each machine and not committed
WIRING: Final = {SCHEMA: list(FILES)}

SETTINGS: Final[dict[str, Any]] = {
    "yaml.schemas": WIRING,
    "yaml.yamlVersion": "1.2",
    "yaml.format.enable": False,  # `cdp fmt` does that, and keeps comments where they stand
    "files.associations": {"*.yml": "yaml"},
}
EXTENSIONS: Final[dict[str, Any]] = {"recommendations": ["redhat.vscode-yaml"]}

# What is written where there is no such file yet.
FRESH: Final = {f"{FOLDER}/settings.json": SETTINGS, f"{FOLDER}/extensions.json": EXTENSIONS}


def text(value: Any, *, compact: bool = False) -> str:
    """JSON as it stands in a file; `compact` where only a program reads it."""
    separators = (",", ":") if compact else None
    return json.dumps(value, indent=None if compact else 2, separators=separators, ensure_ascii=False) + "\n"


def is_wired(settings: str) -> bool:
    """Whether somebody's own settings name the schema. They may hold comments, so they are not parsed."""
    return f'"{SCHEMA}"' in settings
