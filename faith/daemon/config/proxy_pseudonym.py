"""The name of a proxy in Via, where its file has none: one that no other proxy has.

Were it the same everywhere, two gateways in a chain would take each other's requests for their own
that came back (RFC 9110 §7.6.3).  It says nothing of the gateway: every server gets to see it.
"""

from __future__ import annotations

import hashlib
import os

from faith.kernel import text_file

MACHINE_ID = "/etc/machine-id"
_NETWORK = "/proc/self/ns/net"
_DIGITS = 8


def usual(host: str, port: int) -> str:
    """Return the name of the proxy at *host* and *port*: it stays the same, as these do.

    It is made of a hash of machine-id(5), which is not to be shown as it is, the name of the host
    and the network namespace, as containers may have the first two in common.
    """
    where = _machine(), os.uname().nodename, str(_network()), host, str(port)
    return "faith-" + hashlib.sha256("\0".join(where).encode()).hexdigest()[:_DIGITS]


def _machine() -> str:
    try:
        return text_file.read_leniently(MACHINE_ID).strip()
    except OSError:
        return ""


def _network() -> int:
    try:
        return os.stat(_NETWORK).st_ino
    except OSError:
        return 0
