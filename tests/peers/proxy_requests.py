"""What proxies are asked, what FAITH answers, and where others answer something else.

The octets are said by `proxy_talk`, which puts answers in words.  `test_proxy_agreement` says them
to FAITH and to the peers.  docs/proxy-conformance.rst has the tables, which this module prints::

    $ .venv/bin/python -m tests.peers.proxy_requests
"""

from __future__ import annotations

from tests.peers import socks_requests as socks
from tests.peers.connect_requests import CONNECT_CASES, CONNECT_DIFFERENCES
from tests.peers.http_differences import HTTP_DIFFERENCES
from tests.peers.http_requests import HTTP_CASES
from tests.peers.proxy_cases import DANTE, HAPROXY, SQUID, TINYPROXY, Case, Difference, Group
from tests.peers.proxy_talk import CLOSED, SILENCE, Http

OTHER_CASES = (
    Case(
        "ClientHello of TLS",
        Http((bytes.fromhex("1603010005") + b"\1\0\0\1\0" + b"\r\n\r\n",)),
        CLOSED,
        "RFC 8446 §4",
    ),
    Case("a NUL", Http((b"\0\r\n\r\n",)), CLOSED, "RFC 1928 §3"),
    Case("SOCKS of version 6", Http((b"\6\1\0\r\n\r\n",)), CLOSED, "RFC 1928 §3"),
    Case("SSH", Http((b"SSH-2.0-OpenSSH_9.2\r\n",)), "400", "RFC 9112 §3"),
    Case("nothing", Http((b"",)), CLOSED, "RFC 9112 §9.5"),
)

OTHER_DIFFERENCES = (
    *(
        Difference(
            peer,
            "it answers in HTTP to what is none; who speaks another protocol cannot read it.",
            {
                "ClientHello of TLS": "400",
                "a NUL": "400",
                "SOCKS of version 6": "400",
            },
        )
        for peer in (SQUID, TINYPROXY, HAPROXY)
    ),
    Difference(SQUID, "it goes on waiting.", {"nothing": SILENCE}),
    Difference(
        DANTE,
        "it has no HTTP, which an upper-case letter is the beginning of for FAITH.",
        {"SSH": CLOSED},
    ),
    Difference(
        HAPROXY,
        "RFC 9110 §15.5.9 has 408 for a client of HTTP, which nothing shows it to be.",
        {"nothing": "408"},
    ),
)

GROUPS = (
    Group("SOCKS5", (DANTE,), socks.SOCKS5_CASES, socks.SOCKS5_DIFFERENCES),
    Group("SOCKS4 and SOCKS4a", (DANTE,), socks.SOCKS4_CASES, socks.SOCKS4_DIFFERENCES),
    Group("HTTP: CONNECT", (SQUID, TINYPROXY), CONNECT_CASES, CONNECT_DIFFERENCES),
    Group("HTTP: forwarding", (SQUID, TINYPROXY, HAPROXY), HTTP_CASES, HTTP_DIFFERENCES),
    Group("Neither", (SQUID, TINYPROXY, HAPROXY, DANTE), OTHER_CASES, OTHER_DIFFERENCES),
)

if __name__ == "__main__":
    for group in GROUPS:
        print(f"{group.title}\n{'-' * len(group.title)}\n\n{group.table()}")
