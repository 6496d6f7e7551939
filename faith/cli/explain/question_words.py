"""The words of a question: a client, a destination with its port, a protocol."""

from __future__ import annotations

import re
import socket
from ipaddress import ip_address

from faith.cli.explain.explanation import Question
from faith.cli.explain.filtered_packet import is_v4, plain
from faith.errors import ConfigError
from faith.translation.map import ICMP, TCP, UDP

USUAL_PORT = 80
"""The port of a question without one."""
_MOST = 65535
_LABEL, _NAME = 63, 254
"""Octets of a label and, with the last dot, of a name (RFC 1035 section 2.3.4)."""
_NUMBERS = re.compile(r"[0-9.]*[0-9]\.?")
"""An attempt at an IPv4 address: no name of the last label ends so (RFC 3696 section 2)."""
_NO_NAME = re.compile(r"[\s/\\@,;\[\]]")


def question(
    client: str, destination: str, *, udp: bool = False, ping: bool = False, proxied: bool = False
) -> Question:
    """Return the question about *client* and *destination*, which is ``HOST[:PORT]``.

    With *proxied*, the client asks a proxy for it, which may be of the other family.

    Raises ConfigError for words that make no question.
    """
    if udp and ping:
        raise ConfigError("--udp and --ping exclude each other")
    protocol = UDP if udp else ICMP if ping else TCP
    try:
        asking = plain(client)
    except ValueError:
        raise ConfigError(f"{client!r} is not the address of a client") from None
    if ip_address(asking).is_multicast or ip_address(asking).is_unspecified:
        raise ConfigError(f"{client} is not the address of one host, as a client's is")
    host, port = _split(destination)
    if ping and port is not None:
        raise ConfigError(f"{destination}: a ping has no port")
    number = 0 if ping else USUAL_PORT if port is None else _port(port, protocol)
    if ":" in host and is_v4(asking) and not proxied:
        raise ConfigError(
            f"{client} has IPv4 only, and {destination} is of IPv6: name the IPv4 address that"
            " is mapped to it"
        )
    return Question(asking, host, number, protocol, proxied)


def endpoint(written: str) -> tuple[str, int | None]:
    """Return address and port of ``ADDRESS[:PORT]``, None without a port.  Raises ConfigError."""
    host, port = _split(written)
    return _address(host, written), None if port is None else _port(port, TCP)


def _split(destination: str) -> tuple[str, str | None]:
    """Return host and port of ``HOST``, ``HOST:PORT`` or ``[ADDRESS]:PORT``."""
    if destination.startswith("["):
        host, closed, rest = destination[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ConfigError(f"{destination}: write [ADDRESS]:PORT")
        return _address(host, destination), rest[1:] or None
    if destination.count(":") > 1:
        return _address(destination, destination), None
    host, colon, port = destination.partition(":")
    if not host:
        raise ConfigError(f"{destination!r}: name a host")
    return _named(host), port if colon else None


def _named(host: str) -> str:
    """Return *host*, an IPv4 address or a name.  Raises ConfigError for what can be neither."""
    if _NUMBERS.fullmatch(host):
        return _address(host, host)
    labels = host.removesuffix(".").split(".")
    usable = all(0 < len(label.encode()) <= _LABEL for label in labels)
    if not usable or len(host.encode()) > _NAME or _NO_NAME.search(host):
        raise ConfigError(f"{host!r} is neither an address nor a name")
    return host


def _address(host: str, destination: str) -> str:
    try:
        return plain(host)
    except ValueError:
        raise ConfigError(f"{destination}: {host!r} is not an address") from None


def _port(text: str, protocol: str) -> int:
    if text.isascii() and text.isdigit():
        number = int(text)
        if not 0 < number <= _MOST:
            raise ConfigError(f"port {text} is not from 1 to {_MOST}")
        return number
    try:
        return socket.getservbyname(text, protocol)
    except OSError:
        raise ConfigError(f"{text!r} is no port, and no service of services(5)") from None
