"""Ed25519 signatures (RFC 8032) over facts: approvals of plans, heads of the ledger. 45 CFR 164.312(c)(2), (d).

What is signed is one canonical text: UTF-8 JSON with sorted keys and no spaces, of the facts and of what they are, so that a
signature for one kind of thing is never one for another.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cdp.errors import UsageError
from cdp.project import keys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PASSPHRASE: Final = keys.PASSPHRASE
LARGEST: Final = 100_000  # bytes of a key file


def canonical(what: str, facts: Mapping[str, Any]) -> bytes:
    """The text that is signed.

    Args:
        what: the kind of thing, such as `approval`.
        facts: JSON values only.
    """
    return json.dumps({"cdp": what, "facts": facts}, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sign(key: Ed25519PrivateKey, what: str, facts: Mapping[str, Any]) -> str:
    """The signature of some facts, in base64."""
    return base64.b64encode(key.sign(canonical(what, facts))).decode()


def verify(public_key: str, signature: str, what: str, facts: Mapping[str, Any]) -> bool:
    """Whether a signature is of these facts and of this key.

    Args:
        public_key: as governance/roles.yml writes it.
        signature: as `sign` gave it.
        what: the kind of thing.
        facts: the facts.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        public = Ed25519PublicKey.from_public_bytes(keys.raw(public_key))
        public.verify(base64.b64decode(signature, validate=True), canonical(what, facts))
    except (InvalidSignature, ValueError, binascii.Error):
        return False
    return True


def public_of(key: Ed25519PrivateKey) -> str:
    """The public key of a private one, as governance/roles.yml writes it."""
    return keys.text(key.public_key().public_bytes_raw())


# -- files ------------------------------------------------------------------------------------------------------------


def read_key(path: Path) -> Ed25519PrivateKey:
    """A private key from a file: PEM (PKCS #8), OpenSSH, or base64 of its 32 bytes.

    The passphrase of an encrypted one comes from the environment variable CDP_KEY_PASSPHRASE.

    Raises:
        UsageError: the file cannot be read, is no Ed25519 key, or its passphrase is missing or wrong.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        with path.open("rb") as file:
            data = file.read(LARGEST)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", fix="name the file of your private key with --key") from None
    key = _raw(data) or _loaded(path, data)
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path} holds no Ed25519 private key", fix="make one: cdp approve --make-key FILE")
    return key


def _raw(data: bytes) -> Ed25519PrivateKey | None:
    """The key of a file that holds base64 of 32 bytes and nothing else."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        seed = base64.b64decode(data.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    return Ed25519PrivateKey.from_private_bytes(seed) if len(seed) == keys.SIZE else None


def _loaded(path: Path, data: bytes) -> object:
    """The key of a PEM or OpenSSH file; None where it is neither."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    load = serialization.load_ssh_private_key if b"OPENSSH PRIVATE KEY" in data else serialization.load_pem_private_key
    passphrase = os.environ.get(PASSPHRASE)
    secret = passphrase.encode() if passphrase else None
    try:
        return load(data, secret)
    except TypeError:  # encrypted and no passphrase, or, in PEM, a passphrase and not encrypted
        if secret is None:
            raise UsageError(f"{path} is encrypted", fix=f"set {PASSPHRASE} to its passphrase") from None
    except UnsupportedAlgorithm:
        return None
    except ValueError:
        if secret is not None:
            raise UsageError(f"{path} does not open with {PASSPHRASE}", fix="correct the passphrase") from None
        return None
    try:
        return load(data, None)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return None


def make_key(path: Path) -> str:
    """Make a private key in a new file that only its owner can read, encrypted when CDP_KEY_PASSPHRASE is set.

    Returns:
        The public key, as governance/roles.yml writes it.

    Raises:
        UsageError: the file is there already, or cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    passphrase = os.environ.get(PASSPHRASE)
    secret: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    )
    data = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    except FileExistsError:
        raise UsageError(f"{path} is there already", fix="name another file: a key that is lost cannot be made again") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", fix="name another file") from None
    return public_of(key)
