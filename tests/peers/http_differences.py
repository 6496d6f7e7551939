"""In which way and why others answer requests to be forwarded differently than FAITH."""

from __future__ import annotations

from tests.peers.connect_requests import CHALLENGE, NO_HOST, NO_RULES, UNEXPECTED, UNREACHED
from tests.peers.proxy_cases import HAPROXY, SQUID, TINYPROXY, Difference
from tests.peers.proxy_talk import CLOSED, NOT_HTTP

_TWO_READERS = (
    "two readers may find the end in two places, which is how requests are smuggled (RFC 9112"
    " §11.2): FAITH passes on what can be read in one way only."
)
_LENIENT = "it reads on; RFC 9112 allows or demands 400, and FAITH guesses at nothing."
_LOOP = (
    "it does not look for itself in Via, which RFC 9110 §7.6.3 has for that; RFC 9209 §2.3 has 502"
    " for a loop."
)
_BIG = "it takes more; RFC 6585 §5 has 431, and every buffer of FAITH is bounded."
_USER_IN_URI = "RFC 9110 §4.2.4: a recipient ought to treat a user in the URI as an error."
_H2C = "FAITH knows WebSocket, and RFC 9113 §3.1 has done away with this one."
_ASTERISK = "RFC 9112 §3.2.4: the last proxy MUST send ``*`` where the URI has no path."

HTTP_DIFFERENCES = (
    # squid
    Difference(
        SQUID,
        UNREACHED,
        {
            "a port that is closed": "503",
            "a server that is silent": "503",
            "an address that nobody has": "503",
        },
    ),
    Difference(
        SQUID,
        f"{NO_HOST} The same holds for more than one, and for one that is invalid.",
        {"no Host": "200", "two Hosts": "200", "a Host that is none": "200"},
    ),
    Difference(
        SQUID,
        "it looks for its name and version, with the comment, and answers 403; a comment says"
        " nothing about who it was (RFC 9110 §7.6.3).",
        {"Via names the proxy": "200", "the same with a comment": "403"},
    ),
    Difference(
        SQUID,
        "RFC 9110 §6.5.1 lets a proxy drop trailer fields; FAITH passes them on.",
        {
            "chunks with a trailer": "200, no trailer",
            "an answer with a trailer": "200, whole, no trailer",
        },
    ),
    Difference(
        SQUID,
        f"it goes by one of them, and sends the other no further; {_TWO_READERS}",
        {
            "length and chunks": "200",
            "the same length twice": "200",
            "length 4, 4": "200",
            "chunks in HTTP/1.0": "200",
        },
    ),
    Difference(
        SQUID,
        "it says that a length is missing; RFC 9112 §6.3 has 400 for one that is invalid.",
        {"two lengths that differ": "411", "length +4": "411"},
    ),
    Difference(
        SQUID,
        "it calls the coding unknown; RFC 9112 §6.3 and §7 have 400 for chunks in the wrong place.",
        {"chunked is not the last": "501", "chunked twice": "501"},
    ),
    Difference(
        SQUID,
        "it closes the connection without an answer; the client does not learn why.",
        {
            "a chunk size of 0x4": CLOSED,
            "a chunk size of 17 digits": CLOSED,
            "a chunk longer than its size": CLOSED,
            "half of a head": CLOSED,
        },
    ),
    Difference(
        SQUID,
        f"it is told here to pass on every upgrade; {_H2C}",
        {"Upgrade: h2c": "200, passed on"},
    ),
    Difference(
        SQUID,
        _LENIENT,
        {
            "a space before the first field": "200",
            "a folded line": "200",
            "lines that end in LF": "200",
            "CR in a value": "200",
        },
    ),
    Difference(SQUID, _BIG, {"2000 fields": "200"}),
    Difference(
        SQUID,
        "it has no OPTIONS of its own; RFC 9110 §7.6.2: the proxy MUST answer as final recipient.",
        {"OPTIONS, Max-Forwards: 0": "501"},
    ),
    Difference(SQUID, _ASTERISK, {"OPTIONS without a path": "200, no *"}),
    Difference(
        SQUID,
        "it speaks TLS or FTP with the server itself, which here does not; FAITH forwards HTTP"
        " only, and says so (RFC 9110 §15.6.2).",
        {"https://": "504", "ftp://": "403"},
    ),
    Difference(
        SQUID,
        _USER_IN_URI,
        {"a user in the URI": "200"},
    ),
    Difference(
        SQUID,
        "it passes answers on that say nothing certain, and makes HTTP/0.9 of what is none; RFC"
        " 9112 §6.3 asks for 502.",
        {"an answer with length and chunks": "200", "an answer that is not HTTP": "200"},
    ),
    # tinyproxy
    Difference(
        TINYPROXY,
        UNEXPECTED,
        {
            "a port that is closed": "500",
            "a server that is silent": "500",
            "an address that nobody has": "500",
            "a name that does not exist": "500",
        },
    ),
    Difference(
        TINYPROXY,
        NO_RULES,
        {
            "the gateway's loopback": "500",
            "the loopback, by name": "500",
            "a port that is not allowed": "500",
        },
    ),
    Difference(
        TINYPROXY,
        f"{NO_HOST} The same holds for more than one, and for one that is invalid.",
        {"no Host": "200", "two Hosts": "200", "a Host that is none": "200"},
    ),
    Difference(
        TINYPROXY,
        "it serves one request by each connection; RFC 9112 §9.3 has connections persist.",
        {
            "HTTP/1.1": "200, ended",
            "three at once": f"200 {CLOSED}",
            "two servers, one connection": f"200 {CLOSED}",
        },
    ),
    Difference(
        TINYPROXY,
        "it sends chunks to a client of HTTP/1.0; RFC 9112 §6.1: a server MUST NOT.",
        {"HTTP/1.0, keep-alive": "200, chunked", "chunks for HTTP/1.0": "200, whole, chunked"},
    ),
    Difference(
        TINYPROXY,
        "it reads another major version; RFC 9110 §15.6.6.",
        {"HTTP/2.0 in the line": "200"},
    ),
    Difference(TINYPROXY, CHALLENGE, {"a wrong password": "401"}),
    Difference(TINYPROXY, _LOOP, {"Via names the proxy": "200", "the same with a comment": "200"}),
    Difference(
        TINYPROXY,
        "it reads the body first, and gives up where the client waits or a trailer comes.",
        {"Expect: 100-continue": CLOSED, "chunks with a trailer": CLOSED},
    ),
    Difference(
        TINYPROXY,
        f"it passes these on, or waits for a body that does not come; {_TWO_READERS}",
        {
            "length and chunks": CLOSED,
            "two lengths that differ": "200",
            "the same length twice": "200",
            "length +4": "200",
            "length 4, 4": "200",
            "an unknown coding": CLOSED,
            "chunked is not the last": CLOSED,
            "chunked twice": CLOSED,
            "chunks in HTTP/1.0": "200",
            "a chunk size of 0x4": "200",
            "a chunk size of 17 digits": CLOSED,
            "a chunk longer than its size": CLOSED,
        },
    ),
    Difference(
        TINYPROXY,
        _LENIENT,
        {
            "a space before the colon": "200",
            "a space before the first field": "200",
            "a folded line": "200",
            "lines that end in LF": "200",
            "CR in a value": "200",
            "NUL in a value": "200",
            "a field without a colon": "200",
        },
    ),
    Difference(
        TINYPROXY,
        "it calls a head malformed that did not come; RFC 9110 §15.5.9 has 408 for a client that is"
        " too slow.",
        {"half of a head": "400"},
    ),
    Difference(TINYPROXY, _BIG, {"a head of 100 KiB": "200", "2000 fields": "200"}),
    Difference(
        TINYPROXY,
        "it passes Max-Forwards on as it is; RFC 9110 §7.6.2: an intermediary MUST check and update"
        " it.",
        {
            "OPTIONS, Max-Forwards: 0": "200, by the server",
            "OPTIONS, Max-Forwards: 5": "200, not 4",
        },
    ),
    Difference(TINYPROXY, _ASTERISK, {"OPTIONS without a path": "200, no *"}),
    Difference(
        TINYPROXY,
        "it drops the scheme and asks by HTTP in clear; FAITH forwards what is asked for, or says"
        " that it does not (RFC 9110 §15.6.2).",
        {"https://": "200", "ftp://": "200"},
    ),
    Difference(TINYPROXY, _USER_IN_URI, {"a user in the URI": "200"}),
    Difference(
        TINYPROXY,
        "it serves its own statistics, or goes by Host, as a proxy that connections are redirected"
        " to; FAITH is asked by absolute URIs.",
        {"origin form": "200"},
    ),
    Difference(
        TINYPROXY,
        "it does not read answers, and passes on what no client can be sure of; RFC 9112 §6.3 and"
        " RFC 9110 §15.6.3 have 502.",
        {
            "an answer with length and chunks": "200",
            "an answer with two lengths": "200",
            "an end without an answer": CLOSED,
            "an answer that is not HTTP": NOT_HTTP,
        },
    ),
    # HAProxy
    Difference(
        HAPROXY,
        UNREACHED,
        {
            "a port that is closed": "503",
            "a server that is silent": "503",
            "an address that nobody has": "503",
            "a name that does not exist": "503",
            "a port that is not allowed": "503",
        },
    ),
    Difference(
        HAPROXY,
        "it goes by Host, as it is told here to: it has no forward proxy of its own. RFC 9112"
        " §3.2.2 has a proxy go by the target, and replace Host.",
        {
            "another Host": "400",
            "no Host": "503",
            "two Hosts": "200",
            "HTTP/1.0, no Host": "503",
            "origin form": "200",
            "https://": "200",
            "ftp://": "200",
            "no path": "200, no path",
        },
    ),
    Difference(
        HAPROXY,
        "it sends chunks to a client of HTTP/1.0; RFC 9112 §6.1: a server MUST NOT.",
        {"HTTP/1.0, keep-alive": "200, chunked", "chunks for HTTP/1.0": "200, whole, chunked"},
    ),
    Difference(
        HAPROXY,
        "it reads another major version; RFC 9110 §15.6.6.",
        {"HTTP/2.0 in the line": "200"},
    ),
    Difference(
        HAPROXY,
        "it removes Connection, and not the fields that it names; RFC 9110 §7.6.1: an intermediary"
        " MUST.",
        {
            "Connection: X-Private": "200, passed on",
            "Keep-Alive": "200, passed on",
            "an answer's Connection: X-Private": "200, passed on, Keep-Alive",
        },
    ),
    Difference(HAPROXY, _LOOP, {"Via names the proxy": "200", "the same with a comment": "200"}),
    Difference(
        HAPROXY,
        f"it goes by one of them, and sends the other no further; {_TWO_READERS}",
        {
            "length and chunks": "200",
            "the same length twice": "200",
            "length 4, 4": "200",
            "chunks in HTTP/1.0": "200",
            "an answer with length and chunks": "200",
        },
    ),
    Difference(
        HAPROXY,
        "it has 400 for whatever is wrong with a head; RFC 9112 §6.1 has 501 for a coding, and RFC"
        " 6585 §5 has 431 for the size.",
        {"an unknown coding": "400", "a head of 100 KiB": "400", "2000 fields": "400"},
    ),
    Difference(
        HAPROXY,
        _LENIENT,
        {"a folded line": "200", "lines that end in LF": "200", "NUL in a value": "200"},
    ),
    Difference(
        HAPROXY,
        "it passes Max-Forwards on as it is; RFC 9110 §7.6.2: an intermediary MUST check and update"
        " it.",
        {
            "OPTIONS, Max-Forwards: 0": "200, by the server",
            "OPTIONS, Max-Forwards: 5": "200, not 4",
        },
    ),
    Difference(HAPROXY, _ASTERISK, {"OPTIONS without a path": "200, no *"}),
    Difference(HAPROXY, f"it passes on every upgrade; {_H2C}", {"Upgrade: h2c": "200, passed on"}),
    Difference(HAPROXY, _USER_IN_URI, {"a user in the URI": "200"}),
)
