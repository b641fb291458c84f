"""Git repositories for tests: a project that is committed, and changed afterwards."""

from __future__ import annotations

import subprocess
from pathlib import Path

AUTHOR = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")


def git(root: Path, *words: str) -> str:
    """Run git in a folder; returns what it printed."""
    done = subprocess.run(["git", "-C", str(root), *AUTHOR, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(root: Path, message: str = "as it is") -> str:
    """Commit everything below a folder, in a repository that is made where there is none; returns the commit."""
    if subprocess.run(["git", "-C", str(root), "rev-parse"], check=False, capture_output=True).returncode:
        git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "-m", message)
    return git(root, "rev-parse", "HEAD")


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that stands in a file."""
    text = path.read_text()
    assert old in text, (path, old)
    path.write_text(text.replace(old, new))
