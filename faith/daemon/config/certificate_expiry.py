"""The end of a certificate's validity, as OpenSSL finds it."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

INVALID = 0.0
"""The end of a certificate that is not valid now."""
_NOT_YET, _EXPIRED = 9, 10  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_FLIGHTS = 8
"""Turns that a handshake may take: TLS 1.3 has two, TLS 1.2 three."""


def expiry(server: ssl.SSLContext, certificate: Path) -> float | None:
    """Return the Unix time at which the *certificate* of *server* ends, the first in that file.

    It is INVALID for one that has ended or is not valid yet, and None where OpenSSL does not say.
    A handshake in memory shows the certificate to a client that trusts it.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        client.load_verify_locations(certificate)
        shown = _shown(server, client)
    except ssl.SSLCertVerificationError as error:
        return INVALID if error.verify_code in (_NOT_YET, _EXPIRED) else None
    except OSError:
        return None
    return float(ssl.cert_time_to_seconds(str(shown["notAfter"]))) if shown else None


def _shown(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, object]:
    """Return the certificate that *server* shows *client*, {} without one.  Raises SSLError."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(_FLIGHTS):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            if end is ends[0]:
                return dict(end.getpeercert() or {})
    return {}
