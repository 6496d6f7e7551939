"""Access to the admin listener: by a token (RFC 6750, or RFC 7617 as its password), and by TLS."""

from __future__ import annotations

import binascii
import hashlib
import hmac
from base64 import b64decode
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from faith.daemon.config.listener_access import AdminAccess

HEALTH = ("/healthz", "/readyz")
"""Pages that anybody may read unless the configuration says otherwise: they have no numbers."""


class Lack(NamedTuple):
    """The response to a caller who lacks something, by *status*, *text* and *headers*."""

    status: HTTPStatus
    text: str
    headers: tuple[str, ...] = ()


_NO_TOKEN = Lack(
    HTTPStatus.UNAUTHORIZED,
    "the token is needed: as a Bearer token, or as the password of any user",
    (
        'WWW-Authenticate: Basic realm="faithd", charset="UTF-8"',
        'WWW-Authenticate: Bearer realm="faithd"',
    ),
)
_NO_CERTIFICATE = Lack(HTTPStatus.FORBIDDEN, "a client certificate is needed")


class Caller(NamedTuple):
    """A client by its *authorization* header, and whether it has a certificate that was verified.

    Everything that the configuration asks for is needed: token and certificate, if it names both.
    """

    authorization: str
    certified: bool

    def lacks(self, access: AdminAccess, path: str) -> Lack | None:
        """Return what the caller lacks to read *path*, or None."""
        if path in HEALTH and not access.protect_health:
            return None
        if access.tls and access.tls.client_ca and not self.certified:
            return _NO_CERTIFICATE
        if access.tokens and not self._has_one_of(access.tokens):
            return _NO_TOKEN
        return None

    def _has_one_of(self, digests: frozenset[bytes]) -> bool:
        """Compare in a time that depends on neither the token nor where it differs."""
        digest = hashlib.sha256(self._token()).digest()
        found = [hmac.compare_digest(digest, one) for one in digests]
        return any(found)

    def _token(self) -> bytes:
        """Return the token of a Bearer scheme, or the password of Basic; b"" without."""
        scheme, _, credentials = self.authorization.partition(" ")
        given = credentials.strip().encode("latin-1")
        if scheme.lower() == "bearer":
            return given
        if scheme.lower() != "basic":
            return b""
        try:
            return b64decode(given, validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
