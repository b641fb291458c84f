"""The project as it was at a git revision, read without touching the working tree."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from cdp.errors import UsageError
from cdp.project.files import CONFIG, FOLDERS

LARGEST: Final = 25_000_000  # bytes of a file; the loader reads none that is larger

# What git sets for its hooks: it would point every command at the hook's own repository and index.
_INHERITED: Final = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR"})


@dataclass(frozen=True, slots=True)
class Revision:
    """A project as it was.

    Attributes:
        ref: as a person wrote it.
        commit: its full id.
        root: a folder that holds the project's files of then, as long as the revision is open.
    """

    ref: str
    commit: str
    root: Path


@contextmanager
def revision(root: Path, ref: str) -> Iterator[Revision]:
    """The project of `root` as it was at a revision, in a folder that is gone afterwards.

    The blobs are read as they were committed: no filter, attribute or setting of this machine changes them.

    Args:
        root: the project's folder; it may be a subfolder of the repository.
        ref: a commit, branch or tag.

    Raises:
        UsageError: there is no git, no repository, no such revision, or no project in it.
    """
    if shutil.which("git") is None:
        raise UsageError("git is not installed, or not on the PATH", fix="install git")
    within = prefix(root)
    if within is None:
        raise UsageError(f"{root} is not in a git repository", fix="`git init`, commit, and compare with a commit")
    commit = _commit(root, ref)
    with TemporaryDirectory(prefix="cdp_") as folder:
        into = Path(folder).resolve()
        _write(root, commit, within, into)
        if not (into / CONFIG).is_file():
            raise UsageError(f"{ref} holds no project: {within}{CONFIG} is not in it", fix="name a revision that has it")
        yield Revision(ref, commit, into)


def prefix(root: Path) -> str | None:
    """Where the project stands in its repository, as `clinic/`; empty at the top, None without git or a repository.

    Raises:
        UsageError: git does not trust the repository.
    """
    if shutil.which("git") is None:
        return None
    done = _git(root, "rev-parse", "--show-prefix")
    if done.returncode == 0:
        return os.fsdecode(done.stdout).rstrip("\n")
    if b"dubious ownership" in done.stderr:
        raise UsageError(f"{root}: git does not trust this repository", fix="git config --global --add safe.directory REPOSITORY")
    return None


def author(root: Path) -> str | None:
    """The e-mail address that git signs commits with here, if it is set."""
    if shutil.which("git") is None:
        return None
    return os.fsdecode(_git(root, "config", "user.email").stdout).strip() or None


def introduced(root: Path, text: str, folder: str) -> str | None:
    """The first commit in whose change a text came to stand below a folder of the project; None if git knows of none."""
    within = prefix(root)
    if within is None:
        return None
    found = _git(root, "log", "--reverse", "--format=%H", f"-S{text}", "--", folder)
    return found.stdout.decode().partition("\n")[0] or None if found.returncode == 0 else None


def _commit(root: Path, ref: str) -> str:
    found = None if ref.startswith("-") else _git(root, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    if found is not None and found.returncode == 0:
        return found.stdout.decode().strip()
    shallow = _git(root, "rev-parse", "--is-shallow-repository").stdout.strip() == b"true"
    fix = (
        "this clone is shallow: `git fetch --unshallow`, or fetch-depth: 0 in actions/checkout"
        if shallow
        else "see `git log`, `git branch -a`"
    )
    raise UsageError(f"git knows no revision {ref!r}", fix=fix)


def _write(root: Path, commit: str, within: str, into: Path) -> None:
    """Write what the loader may read of a commit below `into`."""
    folders = [f"{within}{folder}" for folder in ("conf", *FOLDERS)]
    listed = _read(root, "ls-tree", "-r", "-z", "-l", "--full-tree", commit, "--", *folders)
    entries = [line.split(b"\t", 1) for line in listed.split(b"\0") if line]
    files = [(meta.split(), os.fsdecode(path).removeprefix(within)) for meta, path in entries]
    kept = [(mode, blob, path) for (mode, kind, blob, size), path in files if kind == b"blob" and int(size) <= LARGEST]
    for (mode, _, path), content in zip(kept, _blobs(root, [blob for _, blob, _ in kept]), strict=True):
        target = into / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if mode == b"120000":
            target.symlink_to(os.fsdecode(content))
        else:
            target.write_bytes(content)


def _blobs(root: Path, ids: Sequence[bytes]) -> Iterator[bytes]:
    """The contents of blobs, in order: each follows a line `ID blob SIZE`."""
    answered = _read(root, "cat-file", "--batch", stdin=b"".join(each + b"\n" for each in ids))
    at = 0
    for _ in ids:
        head = answered.index(b"\n", at)
        size = int(answered[at:head].split()[2])
        yield answered[head + 1 : head + 1 + size]
        at = head + size + 2


def _read(root: Path, *words: str, stdin: bytes = b"") -> bytes:
    done = _git(root, *words, stdin=stdin)
    if done.returncode:
        raise UsageError(f"`git {words[0]}` failed in {root}", fix="run `git fsck`; a partial clone needs its remote")
    return done.stdout


def _git(root: Path, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = {name: value for name, value in os.environ.items() if name not in _INHERITED} | {"LC_ALL": "C"}
    return subprocess.run(["git", "-C", str(root), *words], input=stdin, capture_output=True, check=False, env=environment)
