"""Agreements: references, names, dates and documents. What they allow is the business of `cdp.governance`."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

from cdp.project.index import Index
from cdp.project.problems import Problems
from cdp.project.project import Project
from cdp.project.source import Document, short
from cdp.spec.access import Agreement

HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")
SHA256: Final = re.compile(r"[0-9a-f]{64}")


def check(project: Project, index: Index) -> None:
    """Report what is wrong with agreements."""
    for name, agreement in project.policy.agreements.items():
        source = index.sources["baa", name]
        _references(agreement, source, index)
        known = frozenset(channel for purpose in project.policy.purposes.values() for channel in purpose.channels)
        index.refer_all(source, ("channels",), agreement.channels, known or None, "channel")
        _dates(agreement, source, index.problems)
        _places(agreement, source, index.problems)
        _part2(agreement, source, index.problems)
        _document(agreement, source, project.root, index.problems)


def _references(agreement: Agreement, document: Document, index: Index) -> None:
    index.named(document, ("name",), agreement.name, "agreement")
    index.refer_all(document, ("purposes",), agreement.purposes, index.inside("purposes", "purposes"), "purpose")
    index.refer_all(document, ("classes",), agreement.classes, index.grants(), "class")
    index.refer_all(document, ("members",), agreement.members, index.grants(), "class")


def _dates(agreement: Agreement, document: Document, problems: Problems) -> None:
    """An agreement is signed and ends; `authorization` is none (see the spec), so it may leave the dates out."""
    for key in ("signed", "effective", "expires"):
        if agreement.type != "authorization" and getattr(agreement, key) is None:
            hint = "only `type: authorization`, which is no agreement, goes without"
            problems.add(document, (), f"an agreement of type {agreement.type} needs `{key}`", hint=hint)
    if agreement.signed and agreement.expires and agreement.signed > agreement.expires:
        problems.add(document, ("expires",), f"{agreement.expires} is before it was signed, {agreement.signed}")
    if agreement.effective and agreement.expires and agreement.effective >= agreement.expires:
        problems.add(document, ("expires",), f"{agreement.expires} is not after it takes effect, {agreement.effective}")


def _places(agreement: Agreement, document: Document, problems: Problems) -> None:
    for number, host in enumerate(agreement.hosts):
        if not HOST.fullmatch(host):
            hint = "an exact name in lower case, such as api.example.org; no wildcard, scheme or path"
            problems.add(document, ("hosts", number), f"{short(host)} is not a host", hint=hint)
    for number, prefix in enumerate(agreement.paths):
        if not prefix.startswith("/"):
            problems.add(document, ("paths", number), f"path {short(prefix)} does not begin with /")


def _part2(agreement: Agreement, document: Document, problems: Problems) -> None:
    if agreement.part2 and agreement.part2.basis == "consent" and agreement.part2.consent_scope_field is None:
        hint = "42 CFR 2.32(b), as amended 2024: a copy of the consent, or an explanation of its scope, goes with the records"
        problems.warn(document, ("part2",), "no `consent_scope_field` carries what the consent covers", hint=hint, key=True)


# -- the signed document ----------------------------------------------------------------------------------------------


def _document(agreement: Agreement, source: Document, root: Path, problems: Problems) -> None:
    """The document is what was declared, where it is here to be looked at."""
    declared, path = agreement.document_sha256, agreement.document
    if declared is not None and not SHA256.fullmatch(declared):
        problems.add(source, ("document_sha256",), "is not a SHA-256: 64 digits 0-9 and a-f")
        return
    if path is None:
        if declared is not None:
            problems.add(source, ("document_sha256",), "nothing says of which document", hint="name it in `document`", key=True)
        return
    folder = (root / "governance").resolve()
    file = (folder / path).resolve()
    if not file.is_relative_to(folder):
        problems.add(source, ("document",), f"{short(path)} is not under governance/", hint="a path relative to governance/")
    elif not file.is_file():
        problems.warn(source, ("document",), f"governance/{path} is not there, so nobody can see that it is what was signed")
    else:
        _compared(hashlib.sha256(file.read_bytes()).hexdigest(), declared, source, problems)


def _compared(found: str, declared: str | None, source: Document, problems: Problems) -> None:
    if declared is None:
        problems.warn(source, ("document",), "nothing pins the document", hint=f"write document_sha256: {found}")
    elif found != declared:
        hint = "if it was signed anew, write the new hash and the new dates"
        problems.add(source, ("document_sha256",), f"the document is another one: declared {declared}, found {found}", hint=hint)
