"""The replies of SOCKS by reason (RFC 1928 §6 and the protocol of SOCKS4)."""

from __future__ import annotations

from faith.translation import reasons

SUCCEEDED, FAILED, DENIED, NO_NETWORK, NO_HOST, REFUSED, EXPIRED, NO_COMMAND, NO_TYPE = range(9)
"""Reply fields of SOCKS5."""
GRANTED, REJECTED, NO_IDENT, WRONG_USER = range(90, 94)
"""Reply codes of SOCKS4."""

_NETWORK = "network"
"""Details of "unreachable" with this word are about a network, and not a host."""
_BY_REASON = {
    reasons.REFUSED: REFUSED,
    reasons.UNREACHABLE: NO_HOST,
    reasons.TIMEOUT: EXPIRED,
    reasons.NO_NAME: NO_HOST,
    reasons.NAME_FAILED: NO_HOST,
    reasons.PORT_CLOSED: DENIED,
    reasons.NO_METHOD: DENIED,
    reasons.NOT_A_CLIENT: DENIED,
    **dict.fromkeys(reasons.POLICY, DENIED),
}


def reply5(why: str) -> int:
    """Return the reply field of SOCKS5 for a reason, behind which details may follow a colon."""
    reason, _, details = why.partition(":")
    if reason == reasons.UNREACHABLE and _NETWORK in details.lower():
        return NO_NETWORK
    return _BY_REASON.get(reason, FAILED)
