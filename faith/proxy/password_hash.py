"""Passwords as a file has them: hashes by scrypt (RFC 7914), whose cost has bounds.

A hash is ``$scrypt$ln=LN,r=R,p=P$SALT$DIGEST``, SALT and DIGEST in base64 without padding, as other
programs write it as well: N is 2 to the power of LN.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import os
import re
from dataclasses import dataclass

from faith.errors import ConfigError

LN, R, P = 15, 8, 3
"""The cost of new hashes: 32 MiB, three times over."""
MOST_LN, MOST_R, MOST_P = 17, 8, 4
"""The greatest cost that is taken from a file: 128 MiB, four times over."""
_SALT_OCTETS = 16
_DIGEST_OCTETS = 32
_FORM = "$scrypt$ln=LN,r=R,p=P$SALT$DIGEST"
_HASH = re.compile(
    r"\$scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,2}),p=([0-9]{1,2})"
    r"\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})"
)


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """The *digest* of a password and *salt* by scrypt with parameters *ln*, *r* and *p*."""

    ln: int
    r: int
    p: int
    salt: bytes
    digest: bytes

    @classmethod
    def parse(cls, text: str) -> PasswordHash:
        """Parse a hash.  Raises ConfigError, without the text, for one that is none or too dear."""
        found = _HASH.fullmatch(text)
        if found is None:
            raise ConfigError(
                f"a password's hash is not {_FORM}; faith proxy password NAME makes one"
            )
        ln, r, p = (int(number) for number in found.groups()[:3])
        for name, value, most in (("ln", ln, MOST_LN), ("r", r, MOST_R), ("p", p, MOST_P)):
            if not 0 < value <= most:
                raise ConfigError(f"{name}={value} of a password's hash is not 1 to {most}")
        try:
            salt, digest = map(_decoded, found.groups()[3:])
        except ValueError:
            raise ConfigError("salt or digest of a password's hash is not base64") from None
        return cls(ln, r, p, salt, digest)

    def verify(self, password: bytes) -> bool:
        """Return whether it is the hash of *password*; it takes the same time if not."""
        digest = _scrypt(password, self.salt, self.ln, self.r, self.p, len(self.digest))
        return hmac.compare_digest(digest, self.digest)

    def __str__(self) -> str:
        salt, digest = _encoded(self.salt), _encoded(self.digest)
        return f"$scrypt$ln={self.ln},r={self.r},p={self.p}${salt}${digest}"


NOBODY = PasswordHash(LN, R, P, bytes(_SALT_OCTETS), bytes(_DIGEST_OCTETS))
"""The hash for a user that there is not: no password is known to have it."""


def hashed(password: bytes, ln: int = LN, r: int = R, p: int = P) -> PasswordHash:
    """Return a new hash of *password*, with a salt of its own."""
    salt = os.urandom(_SALT_OCTETS)
    return PasswordHash(ln, r, p, salt, _scrypt(password, salt, ln, r, p, _DIGEST_OCTETS))


def is_right(password: bytes, expected: PasswordHash | None) -> bool:
    """Return whether *password* has the hash *expected*; None is a user that there is not.

    It takes as long for that one as for hashes that are made here.
    """
    is_same = (expected or NOBODY).verify(password)
    return is_same and expected is not None


def _scrypt(password: bytes, salt: bytes, ln: int, r: int, p: int, octets: int) -> bytes:
    n = 1 << ln
    # What the algorithm takes (RFC 7914 §2), and some for what OpenSSL adds.
    memory = 128 * r * (n + p + 2) + (1 << 16)
    return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, dklen=octets, maxmem=memory)


def _encoded(octets: bytes) -> str:
    return binascii.b2a_base64(octets, newline=False).decode("ascii").rstrip("=")


def _decoded(text: str) -> bytes:
    return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
