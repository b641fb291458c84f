"""Public keys as governance/roles.yml writes them: `ed25519:BASE64`."""

from __future__ import annotations

import base64
import binascii
from typing import Final

SCHEME: Final = "ed25519:"
SPKI: Final = bytes.fromhex("302a300506032b6570032100")  # what RFC 8410 puts before the 32 bytes of an Ed25519 key
SIZE: Final = 32
PASSPHRASE: Final = "CDP_KEY_PASSPHRASE"  # the environment variable; never an argument, which a list of processes shows

# The points of small order, without the sign's bit: under such a key anybody can sign anything. Their y, little endian, and
# those of their y + p that fit; the order divides 8 (RFC 8032 section 5.1 gives the curve).
_ORDER_8: Final = (
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
)
_P: Final = 2**255 - 19
WEAK: Final = frozenset({*map(bytes.fromhex, _ORDER_8), *(y.to_bytes(SIZE, "little") for y in (0, 1, _P - 1, _P, _P + 1))})


def raw(text: str) -> bytes:
    """The 32 bytes of a public key.

    Args:
        text: `ed25519:` and base64 of the 32 bytes (RFC 8032) or of a SubjectPublicKeyInfo (RFC 8410), as
            `openssl pkey -pubout -outform DER` gives it.

    Raises:
        ValueError: it is no such key; the text says why.
    """
    if not text.startswith(SCHEME):
        raise ValueError(f"does not begin with {SCHEME}")
    try:
        found = base64.b64decode(text.removeprefix(SCHEME), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not base64") from None
    key = found.removeprefix(SPKI)
    if len(key) != SIZE or len(found) not in (SIZE, SIZE + len(SPKI)):
        raise ValueError(f"holds {len(found)} bytes, not the {SIZE} of an Ed25519 key (or {SIZE + len(SPKI)} with its header)")
    if bytes([*key[:-1], key[-1] & 0x7F]) in WEAK:
        raise ValueError("is a key under which anybody can sign")
    return key


def text(key: bytes) -> str:
    """A public key of 32 bytes as governance/roles.yml writes it."""
    return SCHEME + base64.b64encode(key).decode()
