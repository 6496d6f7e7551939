"""Requests of SOCKS5 and SOCKS4 to proxies."""

from __future__ import annotations

import socket
import struct

from faith.lab.topology import GATEWAY_V4, SERVER
from tests.peers.proxy_cases import DANTE, Case, Difference
from tests.peers.proxy_lab import CLOSED as SHUT
from tests.peers.proxy_lab import NO_ROUTE, NOBODY, SILENT, V6_SERVER
from tests.peers.proxy_peers import PASSWORD, USER
from tests.peers.proxy_talk import CLOSED, Socks4, Socks5


def address(host: str) -> bytes:
    """The type and the octets of an address, or of a name."""
    if ":" in host:
        return b"\4" + socket.inet_pton(socket.AF_INET6, host)
    if host.replace(".", "").isdigit():
        return b"\1" + socket.inet_aton(host)
    return named(host)


def named(name: str | bytes) -> bytes:
    """The type and the octets of a name, whatever it looks like."""
    octets = name if isinstance(name, bytes) else name.encode()
    return b"\3" + bytes([len(octets)]) + octets


def asks(host: str | bytes, port: int = 443, *, command: int = 1, version: int = 5) -> bytes:
    """A request of SOCKS5; *host* as octets is type and address."""
    where = address(host) if isinstance(host, str) else host
    return bytes([version, command, 0]) + where + struct.pack("!H", port)


def asks4(host: str, port: int = 443, *, command: int = 1, user: bytes = b"user") -> bytes:
    """A request of SOCKS4, or of 4a for a name."""
    named = not host.replace(".", "").isdigit()
    where = b"\0\0\0\1" if named else socket.inet_aton(host)
    tail = host.encode() + b"\0" if named else b""
    return struct.pack("!BBH", 4, command, port) + where + user + b"\0" + tail


def login(user: str, password: str, version: int = 1) -> bytes:
    """What names the user (RFC 1929)."""
    words = (text.encode() for text in (user, password))
    return bytes([version]) + b"".join(bytes([len(word)]) + word for word in words)


NAMES_USER = b"\2"
GOOD = login(USER, PASSWORD)


def socks5(host: str | bytes, port: int = 443, **how: object) -> Socks5:
    """CONNECT to *host* by SOCKS5."""
    return Socks5(asks(host, port), **how)  # type: ignore[arg-type]


OK = "0, served"

SOCKS5_CASES = (
    Case("an IPv4 address", socks5(SERVER), OK, "RFC 1928 §4"),
    Case("an IPv6 address", socks5(V6_SERVER), OK, "RFC 1928 §4"),
    Case("a name with A only", socks5("v4.example"), OK, "RFC 1928 §5"),
    Case("a name with AAAA only", socks5("v6.example"), OK, "RFC 1928 §5"),
    Case("a name with both", socks5("both.example"), OK, "RFC 1928 §5"),
    Case("a name with both, and a dead A", socks5("half.example"), OK, "RFC 8305 §5"),
    Case("a name that is an alias", socks5("ALIAS.example"), OK, "RFC 1928 §5"),
    Case("an IPv4-mapped address", socks5(f"::ffff:{SERVER}"), OK, "RFC 4291 §2.5.5.2"),
    Case("an IPv4 address as a name", socks5(named(SERVER)), OK, "RFC 1928 §5"),
    Case("an IPv6 address as a name", socks5(named(V6_SERVER)), OK, "RFC 1928 §5"),
    Case("greeting and request at once", socks5(SERVER, together=True), OK, "RFC 9293 §3.4"),
    Case("each octet by itself", socks5(SERVER, crumbled=True), OK, "RFC 9293 §3.4"),
    Case("GSSAPI or nothing", socks5(SERVER, methods=b"\1\0"), OK, "RFC 1928 §3"),
    Case("GSSAPI only", socks5(SERVER, methods=b"\1"), "no method", "RFC 1928 §3"),
    Case("no method at all", socks5(SERVER, methods=b""), "no method", "RFC 1928 §3"),
    Case("a port that is closed", socks5(SERVER, SHUT), "5", "RFC 1928 §6"),
    Case("a port that is closed, by name", socks5("both.example", SHUT), "5", "RFC 1928 §6"),
    Case("a server that is silent", socks5(SERVER, SILENT), "6", "RFC 1928 §6"),
    Case("an address that nobody has", socks5(NOBODY), "4", "RFC 1928 §6"),
    Case("a network without a route", socks5(NO_ROUTE), "3", "RFC 1928 §6"),
    Case("a name that does not exist", socks5("nowhere.example"), "4", "RFC 1928 §6"),
    Case("a name without an address", socks5("text.example"), "4", "RFC 1928 §6"),
    Case("a name that is not told", socks5("other.invalid"), "4", "RFC 1928 §6"),
    Case("the gateway's loopback", socks5("127.0.0.1"), "2", "RFC 1928 §6"),
    Case("the loopback, by name", socks5("local.example"), "2", "RFC 1928 §6"),
    Case("the loopback, in IPv6", socks5("::1"), "2", "RFC 1928 §6"),
    Case("the loopback, IPv4-mapped", socks5("::ffff:127.0.0.1"), "2", "RFC 1928 §6"),
    Case("the gateway's address", socks5(GATEWAY_V4), "2", "RFC 1928 §6"),
    Case("a link-local address", socks5("link.example"), "2", "RFC 1928 §6"),
    Case("a multicast address", socks5("224.0.0.1"), "2", "RFC 1928 §6"),
    Case("0.0.0.0", socks5("0.0.0.0"), "2", "RFC 1928 §6"),
    Case("port 0", socks5(SERVER, 0), "1", "RFC 1928 §4"),
    Case("an unknown command", Socks5(asks(SERVER, command=9)), "7", "RFC 1928 §6"),
    Case("an unknown address type", Socks5(b"\5\1\0\2" + bytes(6)), "8", "RFC 1928 §6"),
    Case("RSV that is not 0", Socks5(b"\5\1\1" + asks(SERVER)[3:]), OK, "RFC 1928 §4"),
    Case("an empty name", socks5(named("")), "1", "RFC 1928 §5"),
    Case("a name with a NUL", socks5(named(b"v4.example\0.test")), "1", "RFC 1123 §2.1"),
    Case("a name with a space", socks5(named(b"v4 .example")), "1", "RFC 1123 §2.1"),
    Case("a request of version 4", Socks5(asks(SERVER, version=4)), "1", "RFC 1928 §4"),
    Case("BIND", Socks5(asks(SERVER, 21, command=2), probe=b""), "0", "RFC 1928 §4"),
    Case("UDP ASSOCIATE, IPv6", Socks5(asks("::", 0, command=3), probe=b""), "0", "RFC 1928 §4"),
    Case(
        "UDP ASSOCIATE, IPv4", Socks5(asks("0.0.0.0", 0, command=3), probe=b""), "0", "RFC 1928 §4"
    ),
    Case(
        "user and password",
        socks5(SERVER, methods=NAMES_USER, login=GOOD),
        OK,
        "RFC 1929 §2",
        locked=True,
    ),
    Case(
        "a wrong password",
        socks5(SERVER, methods=NAMES_USER, login=login(USER, "wrong")),
        "login 1",
        "RFC 1929 §2",
        locked=True,
    ),
    Case(
        "an unknown user",
        socks5(SERVER, methods=NAMES_USER, login=login("mallory", PASSWORD)),
        "login 1",
        "RFC 1929 §2",
        locked=True,
    ),
    Case(
        "login of version 5",
        socks5(SERVER, methods=NAMES_USER, login=login(USER, PASSWORD, 5)),
        "login 1",
        "RFC 1929 §2",
        locked=True,
    ),
    Case("nobody's name", socks5(SERVER), "no method", "RFC 1928 §3", locked=True),
)

SOCKS4_CASES = (
    Case("an IPv4 address", Socks4(asks4(SERVER)), "90, served", "SOCKS4"),
    Case("a name with A only", Socks4(asks4("v4.example")), "90, served", "SOCKS4A"),
    Case("a name with AAAA only", Socks4(asks4("v6.example")), "90, served", "SOCKS4A"),
    Case("a port that is closed", Socks4(asks4(SERVER, SHUT)), "91", "SOCKS4"),
    Case("a name that does not exist", Socks4(asks4("nowhere.example")), "91", "SOCKS4A"),
    Case("the gateway's loopback", Socks4(asks4("127.0.0.1")), "91", "SOCKS4"),
    Case("BIND", Socks4(asks4(SERVER, 21, command=2), probe=b""), "90", "SOCKS4"),
    Case("an unknown command", Socks4(asks4(SERVER, command=3)), "91", "SOCKS4"),
    Case("a user of 5000 octets", Socks4(asks4(SERVER, user=b"u" * 5000)), "91", "SOCKS4"),
    Case("a password is wanted", Socks4(asks4(SERVER)), "91", "SOCKS4", locked=True),
)


SOCKS5_DIFFERENCES = (
    Difference(
        DANTE,
        "dials these, and replies what the kernel says; FAITH denies what is nobody's address"
        " before it dials.",
        {"a multicast address": "3", "0.0.0.0": "8"},
    ),
    Difference(
        DANTE,
        "says that the address type is not supported; RFC 1928 §6 has 8 for ATYP only.",
        {"port 0": "8"},
    ),
    Difference(
        DANTE,
        "closes the connection without a reply; RFC 1928 §6 has replies for these, and RFC 1929 §2"
        " a status.",
        {
            "an unknown command": CLOSED,
            "an unknown address type": CLOSED,
            "a request of version 4": CLOSED,
            "login of version 5": CLOSED,
        },
    ),
    Difference(
        DANTE,
        "looks these up; no host has such a name (RFC 1123 §2.1), so that FAITH does not ask.",
        {"an empty name": "4", "a name with a space": "4"},
    ),
    Difference(
        DANTE,
        "reads to the NUL and connects to another name than that it was asked for, which evades"
        " rules about names.",
        {"a name with a NUL": "0, served"},
    ),
)

SOCKS4_DIFFERENCES = (
    Difference(
        DANTE,
        "has no SOCKS4a, and dials 0.0.0.1.",
        {"a name with A only": "91", "a name with AAAA only": "91"},
    ),
    Difference(DANTE, "closes the connection without a reply.", {"a user of 5000 octets": CLOSED}),
)
