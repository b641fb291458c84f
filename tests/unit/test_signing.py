"""Keys and signatures: what approvals and heads of the ledger rest on."""

from __future__ import annotations

import base64
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from cdp.errors import UsageError
from cdp.project import keys
from cdp.sync import signing

FACTS = {"plan": "p1", "digest": "ab", "told": {"email": ["contact.email"]}, "at": "2026-11-22T06:00:00+00:00", "by": "uid:1003"}

# RFC 8032, 7.1, TEST 1: seed and public key.
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(SEED)


def test_a_signature_is_of_its_facts_its_kind_and_its_key() -> None:
    public, signature = signing.public_of(key()), signing.sign(key(), "approval", FACTS)
    assert public == "ed25519:" + base64.b64encode(PUBLIC).decode()
    assert signing.verify(public, signature, "approval", FACTS)
    assert signing.verify(public, signature, "approval", dict(reversed(FACTS.items())))  # the order of keys says nothing
    assert not signing.verify(public, signature, "head", FACTS)
    assert not signing.verify(public, signature, "approval", {**FACTS, "digest": "ac"})
    assert not signing.verify(signing.public_of(Ed25519PrivateKey.generate()), signature, "approval", FACTS)


@given(st.integers(0, 63), st.integers(1, 255))
def test_no_changed_byte_of_a_signature_passes(place: int, change: int) -> None:
    signature = bytearray(base64.b64decode(signing.sign(key(), "approval", FACTS)))
    signature[place] ^= change
    assert not signing.verify(signing.public_of(key()), base64.b64encode(bytes(signature)).decode(), "approval", FACTS)


@pytest.mark.parametrize("signature", ["", "no base64!", "AAAA", base64.b64encode(bytes(64)).decode()])
def test_what_is_no_signature_does_not_pass(signature: str) -> None:
    assert not signing.verify(signing.public_of(key()), signature, "approval", FACTS)
    assert not signing.verify("ed25519:AAAA", signing.sign(key(), "approval", FACTS), "approval", FACTS)


# -- public keys ------------------------------------------------------------------------------------------------------


def test_a_public_key_is_read_raw_and_with_its_header() -> None:
    spki = key().public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert keys.raw(keys.text(PUBLIC)) == keys.raw("ed25519:" + base64.b64encode(spki).decode()) == PUBLIC


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "does not begin with ed25519:"),
        ("rsa:AAAA", "does not begin with ed25519:"),
        ("ed25519:not base64", "is not base64"),
        ("ed25519:MCowBQYDK2VwAyEA...", "is not base64"),
        ("ed25519:AAAA", "holds 3 bytes"),
        (f"ed25519:{base64.b64encode(bytes(44)).decode()}", "holds 44 bytes"),
        (f"ed25519:{base64.b64encode(keys.SPKI[:-1] + PUBLIC + b'x').decode()}", "holds 44 bytes"),
    ],
)
def test_what_is_no_public_key_is_said_to_be_none(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        keys.raw(text)


def test_a_key_of_small_order_is_none() -> None:
    """Under such a key there are signatures of anything that anybody can make: attack 27."""
    for weak in keys.WEAK:
        for sign in (0, 0x80):
            with pytest.raises(ValueError, match="anybody can sign"):
                keys.raw(keys.text(bytes([*weak[:-1], weak[-1] | sign])))


def test_the_list_of_weak_keys_is_every_point_of_small_order() -> None:
    p = keys._P
    d = -121665 * pow(121666, -1, p) % p
    root = pow(2, (p - 1) // 4, p)

    def x_of(y: int) -> int | None:
        square = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
        x = pow(square, (p + 3) // 8, p)
        x = x if x * x % p == square else x * root % p
        return x if x * x % p == square else None

    def double(x: int, y: int) -> tuple[int, int]:
        k = d * x * x * y * y % p
        return 2 * x * y * pow(1 + k, -1, p) % p, (y * y + x * x) * pow(1 - k, -1, p) % p

    def eightfold(y: int) -> tuple[int, int]:
        x = x_of(y)
        assert x is not None
        point = (x, y)
        for _ in range(3):
            point = double(*point)
        return point

    found = {int.from_bytes(weak, "little") % p for weak in keys.WEAK}
    assert all(eightfold(y) == (0, 1) for y in found)
    assert len(found) == 5  # 0, 1, -1 and the two of order 8: with both signs of x the eight points of that subgroup
    assert {y + p for y in found if y + p < 2**255} <= {int.from_bytes(weak, "little") for weak in keys.WEAK}


# -- private keys -----------------------------------------------------------------------------------------------------


def test_a_made_key_is_read_again_and_its_owner_s_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(signing.PASSPHRASE, raising=False)
    public = signing.make_key(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert signing.public_of(signing.read_key(tmp_path / "key")) == public
    with pytest.raises(UsageError, match="is there already"):
        signing.make_key(tmp_path / "key")
    with pytest.raises(UsageError, match="cannot be written"):
        signing.make_key(tmp_path / "nowhere" / "key")


def test_an_encrypted_key_needs_its_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(signing.PASSPHRASE, "correct horse")
    public = signing.make_key(tmp_path / "key")
    assert signing.public_of(signing.read_key(tmp_path / "key")) == public
    monkeypatch.setenv(signing.PASSPHRASE, "wrong")
    with pytest.raises(UsageError, match="does not open with CDP_KEY_PASSPHRASE") as raised:
        signing.read_key(tmp_path / "key")
    assert "wrong" not in str(raised.value)
    monkeypatch.delenv(signing.PASSPHRASE)
    with pytest.raises(UsageError, match="is encrypted"):
        signing.read_key(tmp_path / "key")


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_a_key_in_the_form_of_openssh_is_read(tmp_path: Path, passphrase: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    (tmp_path / "key").write_bytes(key().private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, secret))
    monkeypatch.setenv(signing.PASSPHRASE, passphrase or "unused")
    assert signing.public_of(signing.read_key(tmp_path / "key")) == keys.text(PUBLIC)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen here")
def test_a_key_of_ssh_keygen_is_read(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    wire = base64.b64decode((tmp_path / "key.pub").read_text().split()[1])
    assert signing.public_of(signing.read_key(tmp_path / "key")) == keys.text(wire[-32:])


def test_a_raw_seed_and_a_plain_pem_are_read_whatever_the_passphrase_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(signing.PASSPHRASE, "unused")
    (tmp_path / "raw").write_text(base64.b64encode(SEED).decode() + "\n")
    pem = key().private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "pem").write_bytes(pem)
    assert {signing.public_of(signing.read_key(tmp_path / name)) for name in ("raw", "pem")} == {keys.text(PUBLIC)}


def test_what_is_no_private_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(signing.PASSPHRASE, raising=False)
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    plain = serialization.NoEncryption()
    (tmp_path / "rsa").write_bytes(other.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    (tmp_path / "public").write_text(keys.text(PUBLIC))
    (tmp_path / "short").write_text(base64.b64encode(SEED[:16]).decode())
    (tmp_path / "empty").write_text("")
    for name in ("rsa", "public", "short", "empty"):
        with pytest.raises(UsageError, match="holds no Ed25519 private key"):
            signing.read_key(tmp_path / name)
    with pytest.raises(UsageError, match="cannot be read"):
        signing.read_key(tmp_path / "missing")
