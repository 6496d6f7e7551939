"""Hashes of passwords: as others make them, with bounds of their cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.errors import ConfigError
from faith.proxy import password_hash
from faith.proxy.password_hash import NOBODY, PasswordHash, hashed, is_right

PASSLIB = "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E"
"""The hash of "password" by another program."""
SALT, DIGEST = PASSLIB.split("$")[3:]


def test_a_hash_that_another_program_made() -> None:
    found = PasswordHash.parse(PASSLIB)
    assert found.verify(b"password")
    assert not found.verify(b"Password")
    assert str(found) == PASSLIB


def test_the_example_of_the_rfc() -> None:
    """RFC 7914 §12: N 1024, r 8, p 16, which is more than is taken from a file."""
    digest = bytes.fromhex(
        "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
        "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"
    )
    assert PasswordHash(10, 8, 16, b"NaCl", digest).verify(b"password")


def test_a_password_is_hashed_with_a_salt_of_its_own() -> None:
    one, another = hashed("pässword".encode(), ln=4), hashed("pässword".encode(), ln=4)
    assert one.salt != another.salt
    for made in (one, another):
        assert PasswordHash.parse(str(made)) == made
        assert is_right("pässword".encode(), made)
        assert not is_right(b"password", made)


def test_a_new_hash_may_stand_in_a_file() -> None:
    made = hashed(b"secret")
    assert PasswordHash.parse(str(made)) == made
    assert (made.ln, made.r, made.p) == (NOBODY.ln, NOBODY.r, NOBODY.p)


def test_nobody_has_no_password_but_costs_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = []

    def scrypt(password: bytes, salt: bytes, ln: int, r: int, p: int, octets: int) -> bytes:
        costs.append((ln, r, p, len(salt), octets))
        return bytes(octets)  # what NOBODY has: even that is no way in

    made = hashed(b"secret")
    monkeypatch.setattr(password_hash, "_scrypt", scrypt)
    assert not is_right(b"secret", None)
    assert not is_right(b"secret", made)
    assert costs[0] == costs[1]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not"),
        ("secret", "is not"),
        ("$2b$12$abcdefghijklmnopqrstuv", "is not"),
        (PASSLIB + "\n", "is not"),
        (PASSLIB.replace("ln=16", "ln=18"), "ln=18"),
        (PASSLIB.replace("ln=16", "ln=99"), "ln=99"),
        (PASSLIB.replace("ln=16", "ln=999"), "is not"),
        (PASSLIB.replace("ln=16", "ln=0"), "ln=0"),
        (PASSLIB.replace("r=8", "r=9"), "r=9"),
        (PASSLIB.replace("p=1", "p=5"), "p=5"),
        (PASSLIB.replace("ln=16", "ln=-1"), "is not"),
        (f"$scrypt$ln=16,r=8,p=1${SALT}$", "is not"),
        (f"$scrypt$ln=16,r=8,p=1$${DIGEST}", "is not"),
        (f"$scrypt$ln=16,r=8,p=1${SALT}${'A' * 90}", "is not"),
        (f"$scrypt$ln=16,r=8,p=1${'A' * 13}${DIGEST}", "base64"),
    ],
)
def test_what_is_no_hash_or_too_dear(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        PasswordHash.parse(text)
    assert "secret" not in str(caught.value)


@given(st.text(max_size=120))
def test_any_text_is_a_hash_or_refused(text: str) -> None:
    for line in (text, f"$scrypt$ln=4,r=1,p=1${text}${text}"):
        try:
            found = PasswordHash.parse(line)
        except ConfigError:
            continue
        assert PasswordHash.parse(str(found)) == found
