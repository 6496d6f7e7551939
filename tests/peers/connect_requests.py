"""Requests of CONNECT to proxies."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from faith.lab.topology import GATEWAY_V4, SERVER
from tests.peers.proxy_cases import SQUID, TINYPROXY, Case, Difference
from tests.peers.proxy_lab import CLOSED as SHUT
from tests.peers.proxy_lab import NO_ROUTE, NOBODY, SILENT, V6_SERVER
from tests.peers.proxy_peers import PASSWORD, USER
from tests.peers.proxy_talk import PROBE, Http

if TYPE_CHECKING:
    from tests.peers.proxy_talk import Answer, Talk


def no_length(answers: list[Answer], _: Talk) -> str:
    """RFC 9110 §9.3.6: no Content-Length, no Transfer-Encoding."""
    fields = answers[-1].values("content-length") + answers[-1].values("transfer-encoding")
    return "with a length" if fields else ""


def connect(target: str, *fields: str, version: str = "1.1", early: bytes = b"") -> Http:
    """CONNECT to *target*, with *early* octets for the server behind it."""
    lines = [f"CONNECT {target} HTTP/{version}", f"Host: {target}", *fields, "", ""]
    data = "\r\n".join(lines).encode("latin-1") + early
    return Http((data,), (no_length,), tunnel=True, probe=b"" if early else PROBE)


def basic(user: str, password: str) -> str:
    """A field that names the user."""
    return f"Proxy-Authorization: Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


TUNNEL = "200, served"

CONNECT_CASES = (
    Case("an IPv4 address", connect(f"{SERVER}:443"), TUNNEL, "RFC 9110 §9.3.6"),
    Case("an IPv6 address", connect(f"[{V6_SERVER}]:443"), TUNNEL, "RFC 9110 §9.3.6"),
    Case("a name with A only", connect("v4.example:443"), TUNNEL, "RFC 9110 §9.3.6"),
    Case("a name with AAAA only", connect("v6.example:443"), TUNNEL, "RFC 9110 §9.3.6"),
    Case("HTTP/1.0", connect("v4.example:443", version="1.0"), TUNNEL, "RFC 9110 §9.3.6"),
    Case(
        "octets behind the head", connect("v4.example:443", early=PROBE), TUNNEL, "RFC 9110 §9.3.6"
    ),
    Case(
        "Content-Length: 0",
        connect("v4.example:443", "Content-Length: 0"),
        TUNNEL,
        "RFC 9110 §9.3.6",
    ),
    Case(
        "Content-Length: 5",
        connect("v4.example:443", "Content-Length: 5"),
        "400",
        "RFC 9110 §9.3.6",
    ),
    Case(
        "chunked", connect("v4.example:443", "Transfer-Encoding: chunked"), "400", "RFC 9110 §9.3.6"
    ),
    Case(
        "no Host",
        Http((b"CONNECT v4.example:443 HTTP/1.1\r\n\r\n",), tunnel=True),
        "400",
        "RFC 9112 §3.2",
    ),
    Case(
        "another Host",
        Http((b"CONNECT v4.example:443 HTTP/1.1\r\nHost: elsewhere\r\n\r\n",), tunnel=True),
        TUNNEL,
        "RFC 9112 §3.2.3",
    ),
    Case("a port that is not allowed", connect("v4.example:25"), "403", "RFC 9110 §9.3.6"),
    Case("a port that is closed", connect(f"{SERVER}:{SHUT}"), "502", "RFC 9110 §15.6.3"),
    Case("a server that is silent", connect(f"{SERVER}:{SILENT}"), "504", "RFC 9110 §15.6.5"),
    Case("an address that nobody has", connect(f"{NOBODY}:443"), "502", "RFC 9110 §15.6.3"),
    Case("a network without a route", connect(f"{NO_ROUTE}:443"), "502", "RFC 9110 §15.6.3"),
    Case("a name that does not exist", connect("nowhere.example:443"), "502", "RFC 9209 §2.3.2"),
    Case("a name that is not told", connect("other.invalid:443"), "502", "RFC 9209 §2.3.2"),
    Case("the gateway's loopback", connect("127.0.0.1:443"), "403", "RFC 9110 §15.5.4"),
    Case("the loopback, by name", connect("local.example:443"), "403", "RFC 9110 §15.5.4"),
    Case("the gateway's address", connect(f"{GATEWAY_V4}:443"), "403", "RFC 9110 §15.5.4"),
    Case("no port", connect("v4.example"), "400", "RFC 9112 §3.2.3"),
    Case("port 0", connect("v4.example:0"), "400", "RFC 9110 §9.3.6"),
    Case("port 99999", connect("v4.example:99999"), "400", "RFC 9110 §9.3.6"),
    Case("a user in the target", connect("user@v4.example:443"), "400", "RFC 9112 §3.2.3"),
    Case("a URI as the target", connect("http://v4.example:443/"), "400", "RFC 9112 §3.2.3"),
    Case(
        "user and password",
        connect("v4.example:443", basic(USER, PASSWORD)),
        TUNNEL,
        "RFC 9110 §11.7.2",
        locked=True,
    ),
    Case(
        "a wrong password",
        connect("v4.example:443", basic(USER, "wrong")),
        "407",
        "RFC 9110 §15.5.8",
        locked=True,
    ),
    Case("nobody's name", connect("v4.example:443"), "407", "RFC 9110 §15.5.8", locked=True),
)


UNREACHED = (
    "RFC 9110 §15.6.4 has 503 for a proxy that is overloaded or maintained. Of a server that it"
    " cannot reach it says 502, and 504 if it waited in vain (§15.6.3, §15.6.5)."
)
UNEXPECTED = (
    "RFC 9110 §15.6.1 has 500 for what the proxy did not expect. RFC 9209 §2.3 recommends 502 for"
    " names and refusals, and 504 for time that ran out."
)
NO_RULES = (
    "it has no rules for addresses, and dials; nothing listens there in this lab. FAITH denies"
    " before it dials."
)
NO_HOST = "RFC 9112 §3.2: a server MUST respond with 400."
_AUTHORITY = "RFC 9112 §3.2.3: the target of CONNECT is a host and a port, and nothing else."
_NO_PORT = "RFC 9110 §9.3.6: a server MUST reject a port that is empty or invalid."
CHALLENGE = "401 is a server's; RFC 9110 §15.5.8 has 407 for a proxy."
_CONTENT = (
    "CONNECT has no content (RFC 9110 §9.3.6); where a length says it has, two readers may find the"
    " beginning of the tunnel in two places."
)

CONNECT_DIFFERENCES = (
    Difference(
        SQUID,
        UNREACHED,
        {
            "a port that is closed": "503",
            "a server that is silent": "503",
            "an address that nobody has": "503",
            "a network without a route": "503",
        },
    ),
    Difference(
        SQUID,
        UNEXPECTED,
        {"a name that does not exist": "500", "a name that is not told": "500"},
    ),
    Difference(SQUID, _CONTENT, {"Content-Length: 5": "200, served", "chunked": "200, served"}),
    Difference(SQUID, NO_HOST, {"no Host": "200, served"}),
    Difference(SQUID, _NO_PORT, {"no port": "200, served"}),
    Difference(
        SQUID,
        f"answers 500. {_AUTHORITY}",
        {"a user in the target": "500", "a URI as the target": "500"},
    ),
    Difference(
        TINYPROXY,
        UNEXPECTED,
        {
            "a port that is closed": "500",
            "a server that is silent": "500",
            "an address that nobody has": "500",
            "a network without a route": "500",
            "a name that does not exist": "500",
            "a name that is not told": "500",
        },
    ),
    Difference(
        TINYPROXY,
        NO_RULES,
        {
            "the gateway's loopback": "500",
            "the loopback, by name": "500",
            "the gateway's address": "500",
        },
    ),
    Difference(TINYPROXY, _CONTENT, {"Content-Length: 5": "200, served", "chunked": "200, served"}),
    Difference(TINYPROXY, NO_HOST, {"no Host": "200, served"}),
    Difference(
        TINYPROXY,
        _NO_PORT,
        {"no port": "200, served", "port 0": "200, served", "port 99999": "403"},
    ),
    Difference(
        TINYPROXY,
        _AUTHORITY,
        {"a user in the target": "200, served", "a URI as the target": "200, with a length, dead"},
    ),
    Difference(TINYPROXY, CHALLENGE, {"a wrong password": "401"}),
)
