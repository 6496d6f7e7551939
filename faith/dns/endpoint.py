"""Where servers are reached, as operators write it: ``ADDRESS[:PORT]``, with TLS or without."""

from __future__ import annotations

import socket
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, NamedTuple

from faith.errors import ConfigError

PORT = 53
TLS_PORT = 853
_TLS = "tls://"
_BROADCAST = "255.255.255.255"


class Endpoint(NamedTuple):
    """An address in text (of IPv6, a zone may follow), a port, and the name in a certificate.

    Without a *name* there is no TLS.
    """

    host: str
    port: int = PORT
    name: str | None = None

    @property
    def version(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.host else 4

    def address(self) -> tuple[int, tuple[Any, ...]]:
        """Return the family and the address of a socket.

        A zone is looked up each time, as the interface of that name may be another by now.  Raises
        OSError where there is none.
        """
        return (_looked_up if "%" in self.host else _known)(self.host, self.port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if self.version == 6 else self.host
        text = f"{host}:{self.port}"
        return text if self.name is None else f"{_TLS}{text}#{self.name}"


def _looked_up(host: str, port: int) -> tuple[int, tuple[Any, ...]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
    family, _, _, _, address = found[0]
    return family, address


_known = lru_cache(_looked_up)


def parse(text: str, port: int = PORT) -> Endpoint:
    """Read ``ADDRESS``, ``ADDRESS:PORT``, ``[ADDRESS]:PORT``; *port* stands for none.

    Raises ConfigError.
    """
    return _parse(text, text.strip(), port, None)


def parse_server(text: str) -> Endpoint:
    """Read the same, or ``tls://ADDRESS[:PORT]#NAME`` with the name in the server's certificate.

    Raises ConfigError.
    """
    rest = text.strip()
    if not rest.startswith(_TLS):
        return parse(rest)
    rest, _, name = rest.removeprefix(_TLS).partition("#")
    if not name:
        raise ConfigError(
            f"{text}: TLS needs the name in the server's certificate: tls://ADDRESS#NAME"
        )
    return _parse(text, rest, TLS_PORT, name)


def _parse(text: str, rest: str, port: int, name: str | None) -> Endpoint:
    host, colon, digits = rest, "", ""
    if rest.startswith("["):
        host, closed, behind = rest[1:].partition("]")
        _, colon, digits = behind.partition(":")
        if not closed or (behind and not colon):
            raise ConfigError(f"{text}: after [ADDRESS] only :PORT can follow")
    elif rest.count(":") == 1:
        host, colon, digits = rest.partition(":")
    if not _is_address(host):
        raise ConfigError(f"{text}: {host!r} is not an address")
    if ip_address(host).is_multicast or host == _BROADCAST:
        raise ConfigError(f"{text}: {host} is the address of a group, not of one host")
    if not colon:
        return Endpoint(host, port, name)
    if not (digits.isascii() and digits.isdigit() and 0 < int(digits) < 65536):
        raise ConfigError(f"{text}: {digits!r} is not a port")
    return Endpoint(host, int(digits), name)


def in_resolv_conf(text: str) -> list[Endpoint]:
    """The servers that *text*, of resolv.conf(5), names; as the C library does, skip the rest."""
    lines = [line.split() for line in text.splitlines()]
    hosts = [words[1] for words in lines if words[:1] == ["nameserver"] and len(words) > 1]
    return [Endpoint(host) for host in hosts if _is_address(host)]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
