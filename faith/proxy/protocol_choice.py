"""The protocol of a client, told by the first octet that it sends."""

from __future__ import annotations

from faith.errors import FaithError
from faith.proxy.http_proxy import HttpProxy
from faith.proxy.socks4 import Socks4
from faith.proxy.socks5 import Socks5

Machine = Socks5 | Socks4 | HttpProxy

_TLS_HANDSHAKE = 0x16
_CR = 0x0D


class UnknownProtocol(FaithError):
    """A client speaks neither SOCKS nor HTTP; the text says what it seems to speak."""


def protocol(first: bytes) -> type[Machine]:
    """Return the class of the machine for a client whose first octets are *first*, at least one.

    HTTP is known by an upper-case letter, with which every registered method begins, or by the
    empty line that may come before a request (RFC 9112 section 2.2).  Raises UnknownProtocol for
    anything else.
    """
    match first[0]:
        case 5:
            return Socks5
        case 4:
            return Socks4
        case octet if 0x41 <= octet <= 0x5A or octet == _CR:
            return HttpProxy
        case octet if octet == _TLS_HANDSHAKE:
            raise UnknownProtocol("TLS, where the proxy expects SOCKS or HTTP in clear")
        case octet:
            raise UnknownProtocol(f"neither SOCKS nor HTTP: the first octet is 0x{octet:02x}")
