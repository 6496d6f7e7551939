"""The rules by which a proxy answers its clients."""

from __future__ import annotations

import re
from dataclasses import dataclass

from faith.proxy.proxy_events import METHODS
from faith.translation.ports import Ports

HTTPS = Ports([(443, 443)])
PSEUDONYM = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?")
"""A token, or a host and a port (RFC 9110 §7.6.3)."""


@dataclass(frozen=True, slots=True)
class ProxyRules:
    """The rules of one proxy, for all of its clients.

    Clients may ask by *methods*, each of which has to name a user and a password if *needs_user*.
    By CONNECT they reach *connect_ports* only; by forwarded HTTP, of the ports below 1024, port 80
    and these.  *bind* and *associate* permit the commands of SOCKS.  The proxy is called
    *pseudonym* in Via (RFC 9110 §7.6.3).  *autoconfig* is the text of proxy.pac, None if there is
    none.  *own* are the hosts and ports by which clients reach the proxy itself: what they ask for
    there, the proxy answers.
    """

    methods: frozenset[str] = frozenset(METHODS)
    needs_user: bool = False
    connect_ports: Ports = HTTPS
    bind: bool = True
    associate: bool = True
    pseudonym: str = "faith"
    autoconfig: str | None = None
    own: frozenset[tuple[str, int]] = frozenset()

    def __post_init__(self) -> None:
        """Raise ValueError for a pseudonym that cannot stand in a field."""
        if not PSEUDONYM.fullmatch(self.pseudonym):
            raise ValueError(f"{self.pseudonym!r} is no pseudonym: see RFC 9110 section 7.6.3")
