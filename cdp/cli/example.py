"""The example project, which every new project starts as."""

from __future__ import annotations

import shutil
from pathlib import Path

import cdp

FOLDERS = ("conf", "models", "syncs", "destinations", "governance", "notebooks", ".github")
IGNORED = """\
# what runs leave behind: patients' data and the state of this machine
/lake/
/out/
/.cdp/
# what `cdp schema --write` makes for the editor
/.vscode/cdp.schema.json
"""


def example_root() -> Path:
    """The folder that holds the example project: in the installed package, or at the top of a checkout."""
    package = Path(cdp.__file__).parent
    packed = package / "example"
    return packed if packed.is_dir() else package.parent


def copy_example(target: Path) -> None:
    """Copy the example project into `target`, which is made where needed, and keep its data out of git.

    Raises:
        OSError: a file cannot be written; copytree itself would go on, and then say so as text.
    """
    failed: list[OSError] = []

    def copied(source: str, aim: str) -> str:
        try:
            return shutil.copy2(source, aim)
        except OSError as error:
            failed.append(OSError(error.errno, error.strerror, aim))
            raise

    for folder in FOLDERS:
        try:
            shutil.copytree(
                example_root() / folder, target / folder, ignore=shutil.ignore_patterns(".*", "__pycache__"), copy_function=copied
            )
        except shutil.Error:
            raise (failed or [OSError(f"{folder} cannot be copied")])[0] from None
    (target / ".gitignore").write_text(IGNORED, encoding="utf-8")
