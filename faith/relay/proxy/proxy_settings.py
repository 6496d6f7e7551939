"""The operator's settings for a proxy."""

from __future__ import annotations

from dataclasses import dataclass, field

# msgspec looks the annotations up when it decodes.
from faith.proxy.proxy_events import METHODS
from faith.translation.ports import Ports

HTTPS = Ports([(443, 443)])
PSEUDONYM = "faith"


@dataclass(frozen=True)
class ProxySettings:
    """The settings of one proxy, which listens at *port* of *host*, an address or "::" for all.

    *clients* are networks ``(address, length)`` of 128 bits, IPv4 as IPv4-mapped; None stands for
    the networks on the gateway's links.  Clients may ask by *methods*; by CONNECT for
    *connect_ports* only.  *users* are hashes of passwords by name, from *users_file*, and without
    any nobody has to log in.  Clients may wait for one connection (*bind*) and send datagrams
    (*associate*) by SOCKS.  The proxy calls itself *pseudonym* in Via (RFC 9110 §7.6.3).  It
    answers for the file that browsers configure themselves by, if *autoconfig*.  With *tls* clients
    come by TLS, which others terminate: from a channel of `faith.relay.proxy.passed_clients`.
    """

    host: str
    port: int
    clients: tuple[tuple[int, int], ...] | None = None
    methods: frozenset[str] = frozenset(METHODS)
    connect_ports: Ports = HTTPS
    users: dict[str, str] = field(default_factory=dict, repr=False)
    bind: bool = True
    associate: bool = True
    pseudonym: str = PSEUDONYM
    autoconfig: bool = True
    users_file: str = ""
    tls: bool = False
