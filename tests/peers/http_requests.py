"""Requests of HTTP to proxies, to be forwarded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from faith.lab.topology import SERVER
from tests.peers.connect_requests import basic
from tests.peers.proxy_cases import Case
from tests.peers.proxy_lab import CLOSED as SHUT
from tests.peers.proxy_lab import NOBODY, SILENT, V6_SERVER
from tests.peers.proxy_peers import PASSWORD, PSEUDONYM, USER
from tests.peers.proxy_talk import Http

if TYPE_CHECKING:
    from tests.peers.proxy_talk import Answer, Fact, Talk


def get(
    target: str,
    *fields: str,
    method: str = "GET",
    version: str = "1.1",
    host: str | None = "v4.example",
    body: str = "",
) -> bytes:
    """A request, with *host* in Host unless it is None."""
    lines = [f"{method} {target} HTTP/{version}"]
    lines += [f"Host: {host}"] if host is not None else []
    return "\r\n".join([*lines, *fields, "", body]).encode("latin-1")


def http(target: str, *fields: str, facts: tuple[Fact, ...] = (), **how: str | None) -> Http:
    """One request."""
    return Http((get(target, *fields, **how),), facts)  # type: ignore[arg-type]


def raw(text: str, *facts: Fact, answers: int = 1) -> Http:
    """One request as it stands, with lines that end in CRLF where *text* has a newline."""
    return Http((text.replace("\n", "\r\n").encode("latin-1"),), facts, answers)


def saw(there: str, octets: str, missing: str = "") -> Fact:
    """Return *there* if the server got *octets*, in whatever case, or else *missing*."""

    def fact(answers: list[Answer], _: Talk) -> str:
        return there if octets.lower().encode() in answers[-1].body.lower() else missing

    return fact


def has(there: str, name: str, missing: str = "") -> Fact:
    """Return *there* if the answer has a field *name*, or else *missing*."""
    return lambda answers, _: there if answers[-1].values(name) else missing


def body_is(text: bytes) -> Fact:
    """Tell if the last answer's body is another one."""
    return lambda answers, _: "whole" if answers[-1].body == text else "another body"


def kept(answers: list[Answer], talk: Talk) -> str:
    """Tell whether the connection is still there."""
    found = Http((get("http://v4.example/again", method="HEAD"),), head=True)(talk)
    return "kept" if found == "200" else "ended"


def in_order(answers: list[Answer], _: Talk) -> str:
    """Tell whether the answers are those to /1, /2 and so on."""
    right = all(b" /%d " % place in answer.body for place, answer in enumerate(answers, 1))
    return "in order" if right else "out of order"


def uploaded(answers: list[Answer], _: Talk) -> str:
    """Tell whether the server got the body "body", in chunks or with a length."""
    head, body = answers[-1].body.split(b"\r\n\r\n", 1)
    if b"\r\ntransfer-encoding: chunked" in head.lower():
        chunks = re.findall(rb"(?:^|\r\n)[0-9a-f]+[^\r\n]*\r\n(.*?)(?=\r\n)", body, re.IGNORECASE)
        body = b"".join(chunks)
    return "whole" if body == b"body" else "another body"


def added_via(answers: list[Answer], _: Talk) -> str:
    """Tell whether the proxy is in Via, after the first."""
    values = re.findall(rb"^via:(.*?)\r?$", answers[-1].body, re.IGNORECASE | re.MULTILINE)
    names = [value.split()[1] for value in b",".join(values).split(b",")]
    return "added" if names == [b"first", PSEUDONYM.encode()] else "not added"


def trailers(answers: list[Answer], _: Talk) -> str:
    """Tell whether the trailer field came."""
    return "trailer" if ("x-sum", "42") in answers[-1].trailers else "no trailer"


def length_or_chunks(answers: list[Answer], _: Talk) -> str:
    """Tell how the answer ends."""
    answer = answers[-1]
    return "chunked" if answer.chunked else "length" if answer.values("content-length") else "end"


V4 = "http://v4.example"
PATH = saw("origin form", "GET /a?b HTTP/1.1", "absolute form")
CHUNKS = "4\n{}\n0\n\n"


def upgraded(answers: list[Answer], talk: Talk) -> str:
    """Tell whether what is sent after 101 comes back."""
    talk.send(b"hello")
    return "and back" if talk.read(5) == b"hello" else "dead"


HTTP_CASES = (
    Case("a name", http(f"{V4}/a?b", facts=(PATH,)), "200, origin form", "RFC 9112 §3.2.1"),
    Case(
        "a name with AAAA only",
        http("http://v6.example/", host="v6.example"),
        "200",
        "RFC 9110 §7.1",
    ),
    Case(
        "an IPv6 address",
        http(f"http://[{V6_SERVER}]/", host=f"[{V6_SERVER}]"),
        "200",
        "RFC 9110 §7.1",
    ),
    Case(
        "no path",
        http(V4, facts=(saw("/", "GET / HTTP/1.1", "no path"),)),
        "200, /",
        "RFC 9112 §3.2.1",
    ),
    Case(
        "another Host",
        http(f"{V4}/", host="elsewhere", facts=(saw("replaced", "Host: v4.example", "passed on"),)),
        "200, replaced",
        "RFC 9112 §3.2.2",
    ),
    Case("no Host", http(f"{V4}/", host=None), "400", "RFC 9112 §3.2"),
    Case("two Hosts", http(f"{V4}/", "Host: v4.example"), "400", "RFC 9112 §3.2"),
    Case("a Host that is none", http(f"{V4}/", host="a b"), "400", "RFC 9112 §3.2"),
    Case(
        "HTTP/1.0, no Host",
        http(f"{V4}/", version="1.0", host=None, facts=(kept,)),
        "200, ended",
        "RFC 9112 §9.3",
    ),
    Case(
        "HTTP/1.0, keep-alive",
        http(f"{V4}/chunked", "Connection: keep-alive", version="1.0", facts=(length_or_chunks,)),
        "200, end",
        "RFC 9112 §7",
    ),
    Case("HTTP/1.1", http(f"{V4}/", facts=(kept,)), "200, kept", "RFC 9112 §9.3"),
    Case(
        "Connection: close",
        http(f"{V4}/", "Connection: close", facts=(kept,)),
        "200, ended",
        "RFC 9112 §9.6",
    ),
    Case("HTTP/2.0 in the line", http(f"{V4}/", version="2.0"), "505", "RFC 9110 §15.6.6"),
    Case(
        "Connection: X-Private",
        http(
            f"{V4}/",
            "Connection: X-Private",
            "X-Private: 1",
            facts=(saw("passed on", "X-Private", "removed"),),
        ),
        "200, removed",
        "RFC 9110 §7.6.1",
    ),
    Case(
        "Connection: Host",
        http(f"{V4}/", "Connection: Host", facts=(saw("Host", "\r\nHost:", "no Host"),)),
        "200, Host",
        "RFC 9110 §7.6.1",
    ),
    Case(
        "Proxy-Connection",
        http(
            f"{V4}/",
            "Proxy-Connection: keep-alive",
            facts=(saw("passed on", "Proxy-Connection", "removed"),),
        ),
        "200, removed",
        "RFC 9112 §C.2.2",
    ),
    Case(
        "Keep-Alive",
        http(
            f"{V4}/",
            "Keep-Alive: timeout=5",
            facts=(saw("passed on", "Keep-Alive: timeout", "removed"),),
        ),
        "200, removed",
        "RFC 9110 §7.6.1",
    ),
    Case(
        "TE: trailers",
        http(
            f"{V4}/", "TE: gzip", "Connection: TE", facts=(saw("passed on", "TE: gzip", "removed"),)
        ),
        "200, removed",
        "RFC 9110 §10.1.4",
    ),
    Case(
        "Proxy-Authorization",
        http(
            f"{V4}/",
            basic(USER, PASSWORD),
            facts=(saw("passed on", "Proxy-Authorization", "removed"),),
        ),
        "200, removed",
        "RFC 9110 §11.7.2",
        locked=True,
    ),
    Case(
        "a wrong password",
        http(f"{V4}/", basic(USER, "wrong")),
        "407",
        "RFC 9110 §15.5.8",
        locked=True,
    ),
    Case("nobody's name", http(f"{V4}/"), "407", "RFC 9110 §15.5.8", locked=True),
    Case(
        "Via is added",
        http(
            f"{V4}/",
            "Via: 1.0 first",
            facts=(added_via,),
        ),
        "200, added",
        "RFC 9110 §7.6.3",
    ),
    Case("Via names the proxy", http(f"{V4}/", f"Via: 1.1 {PSEUDONYM}"), "502", "RFC 9209 §2.3"),
    Case(
        "the same with a comment",
        http(f"{V4}/", f"Via: 1.1 {PSEUDONYM} (squid/5.7)"),
        "502",
        "RFC 9209 §2.3",
    ),
    Case(
        "three at once",
        raw(
            "".join(f"GET {V4}/{n} HTTP/1.1\nHost: v4.example\n\n" for n in (1, 2, 3)),
            in_order,
            answers=3,
        ),
        "200 200 200, in order",
        "RFC 9112 §9.3.2",
    ),
    Case(
        "two servers, one connection",
        raw(
            f"GET {V4}/1 HTTP/1.1\nHost: v4.example\n\n"
            "GET http://v6.example/2 HTTP/1.1\nHost: v6.example\n\n",
            in_order,
            answers=2,
        ),
        "200 200, in order",
        "RFC 9112 §9.3",
    ),
    Case(
        "POST with a length",
        http(
            f"{V4}/",
            "Content-Length: 4",
            method="POST",
            body="body",
            facts=(uploaded,),
        ),
        "200, whole",
        "RFC 9112 §6.3",
    ),
    Case(
        "POST in chunks",
        http(
            f"{V4}/",
            "Transfer-Encoding: chunked",
            method="POST",
            body="4\r\nbody\r\n0\r\n\r\n",
            facts=(uploaded,),
        ),
        "200, whole",
        "RFC 9112 §7.1",
    ),
    Case(
        "chunks with a trailer",
        http(
            f"{V4}/",
            "Transfer-Encoding: chunked",
            "Trailer: X-Sum",
            method="POST",
            body="4\r\nbody\r\n0\r\nX-Sum: 42\r\n\r\n",
            facts=(saw("trailer", "X-Sum: 42", "no trailer"),),
        ),
        "200, trailer",
        "RFC 9110 §6.5",
    ),
    Case(
        "a chunk's extension",
        http(
            f"{V4}/",
            "Transfer-Encoding: chunked",
            method="POST",
            body="4;x=y\r\nbody\r\n0\r\n\r\n",
            facts=(uploaded,),
        ),
        "200, whole",
        "RFC 9112 §7.1.1",
    ),
    Case(
        "Expect: 100-continue",
        Http(
            (get(f"{V4}/", "Content-Length: 4", "Expect: 100-continue", method="POST"), b"body"),
            (uploaded,),
        ),
        "100 200, whole",
        "RFC 9110 §10.1.1",
    ),
    Case(
        "length and chunks",
        http(
            f"{V4}/",
            "Content-Length: 4",
            "Transfer-Encoding: chunked",
            method="POST",
            body="0\r\n\r\n",
        ),
        "400",
        "RFC 9112 §6.3",
    ),
    Case(
        "two lengths that differ",
        http(f"{V4}/", "Content-Length: 4", "Content-Length: 5", method="POST", body="body"),
        "400",
        "RFC 9112 §6.3",
    ),
    Case(
        "the same length twice",
        http(f"{V4}/", "Content-Length: 4", "Content-Length: 4", method="POST", body="body"),
        "400",
        "RFC 9112 §6.3",
    ),
    Case(
        "length +4",
        http(f"{V4}/", "Content-Length: +4", method="POST", body="body"),
        "400",
        "RFC 9110 §8.6",
    ),
    Case(
        "length 4, 4",
        http(f"{V4}/", "Content-Length: 4, 4", method="POST", body="body"),
        "400",
        "RFC 9110 §8.6",
    ),
    Case(
        "an unknown coding",
        http(f"{V4}/", "Transfer-Encoding: xchunked", method="POST", body="0\r\n\r\n"),
        "501",
        "RFC 9112 §6.1",
    ),
    Case(
        "chunked is not the last",
        http(f"{V4}/", "Transfer-Encoding: chunked, identity", method="POST", body="0\r\n\r\n"),
        "400",
        "RFC 9112 §6.3",
    ),
    Case(
        "chunked twice",
        http(f"{V4}/", "Transfer-Encoding: chunked, chunked", method="POST", body="0\r\n\r\n"),
        "400",
        "RFC 9112 §7.1",
    ),
    Case(
        "chunks in HTTP/1.0",
        http(
            f"{V4}/", "Transfer-Encoding: chunked", method="POST", version="1.0", body="0\r\n\r\n"
        ),
        "400",
        "RFC 9112 §6.1",
    ),
    Case(
        "a chunk size of 0x4",
        http(
            f"{V4}/", "Transfer-Encoding: chunked", method="POST", body="0x4\r\nbody\r\n0\r\n\r\n"
        ),
        "400",
        "RFC 9112 §7.1",
    ),
    Case(
        "a chunk size of 17 digits",
        http(
            f"{V4}/",
            "Transfer-Encoding: chunked",
            method="POST",
            body="10000000000000004\r\nbody\r\n0\r\n\r\n",
        ),
        "400",
        "RFC 9112 §7.1",
    ),
    Case(
        "a chunk longer than its size",
        http(f"{V4}/", "Transfer-Encoding: chunked", method="POST", body="2\r\nbody\r\n0\r\n\r\n"),
        "400",
        "RFC 9112 §7.1",
    ),
    Case("a space before the colon", http(f"{V4}/", "X-One : 1"), "400", "RFC 9112 §5.1"),
    Case(
        "a space before the first field",
        raw(f"GET {V4}/ HTTP/1.1\n Host: v4.example\n\n"),
        "400",
        "RFC 9112 §2.2",
    ),
    Case("a folded line", http(f"{V4}/", "X-One: 1", " 2"), "400", "RFC 9112 §5.2"),
    Case(
        "lines that end in LF",
        Http((get(f"{V4}/", "X-One: 1").replace(b"\r\n", b"\n"),)),
        "400",
        "RFC 9112 §2.2",
    ),
    Case("CR in a value", http(f"{V4}/", "X-One: 1\r2"), "400", "RFC 9112 §2.2"),
    Case("NUL in a value", http(f"{V4}/", "X-One: 1\0002"), "400", "RFC 9110 §5.5"),
    Case("a field without a colon", http(f"{V4}/", "X-One"), "400", "RFC 9112 §5"),
    Case("a head of 100 KiB", http(f"{V4}/", "X-One: " + "1" * 102400), "431", "RFC 6585 §5"),
    Case(
        "2000 fields",
        http(f"{V4}/", *(f"X-{number}: {number}" for number in range(2000))),
        "431",
        "RFC 6585 §5",
    ),
    Case(
        "TRACE, Max-Forwards: 0",
        http(
            f"{V4}/",
            "Max-Forwards: 0",
            method="TRACE",
            facts=(saw("echoed", "Max-Forwards: 0", "another body"),),
        ),
        "200, echoed",
        "RFC 9110 §7.6.2",
    ),
    Case(
        "OPTIONS, Max-Forwards: 0",
        http(
            f"{V4}/",
            "Max-Forwards: 0",
            method="OPTIONS",
            facts=(saw("by the server", "OPTIONS ", "by the proxy"),),
        ),
        "200, by the proxy",
        "RFC 9110 §7.6.2",
    ),
    Case(
        "OPTIONS, Max-Forwards: 5",
        http(
            f"{V4}/",
            "Max-Forwards: 5",
            method="OPTIONS",
            facts=(saw("4", "Max-Forwards: 4", "not 4"),),
        ),
        "200, 4",
        "RFC 9110 §7.6.2",
    ),
    Case(
        "OPTIONS without a path",
        http(V4, method="OPTIONS", facts=(saw("*", "OPTIONS * ", "no *"),)),
        "200, *",
        "RFC 9112 §3.2.4",
    ),
    Case("an unknown method", http(f"{V4}/", method="BREW"), "200", "RFC 9110 §9.1"),
    Case("https://", http("https://v4.example/"), "501", "RFC 9110 §15.6.2"),
    Case("ftp://", http("ftp://v4.example/"), "501", "RFC 9110 §15.6.2"),
    Case("a user in the URI", http("http://user:word@v4.example/"), "400", "RFC 9110 §4.2.4"),
    Case("origin form", http("/"), "400", "RFC 9112 §3.2.1"),
    Case(
        "a port that is not allowed",
        http("http://v4.example:25/", host="v4.example:25"),
        "403",
        "RFC 9110 §15.5.4",
    ),
    Case(
        "the gateway's loopback",
        http("http://127.0.0.1/", host="127.0.0.1"),
        "403",
        "RFC 9110 §15.5.4",
    ),
    Case(
        "the loopback, by name",
        http("http://local.example/", host="local.example"),
        "403",
        "RFC 9110 §15.5.4",
    ),
    Case(
        "a port that is closed",
        http(f"http://{SERVER}:{SHUT}/", host=f"{SERVER}:{SHUT}"),
        "502",
        "RFC 9110 §15.6.3",
    ),
    Case(
        "a server that is silent",
        http(f"http://{SERVER}:{SILENT}/", host=f"{SERVER}:{SILENT}"),
        "504",
        "RFC 9110 §15.6.5",
    ),
    Case(
        "an address that nobody has",
        http(f"http://{NOBODY}/", host=NOBODY),
        "502",
        "RFC 9110 §15.6.3",
    ),
    Case(
        "a name that does not exist",
        http("http://nowhere.example/", host="nowhere.example"),
        "502",
        "RFC 9209 §2.3.2",
    ),
    Case(
        "HEAD",
        Http((get(f"{V4}/", method="HEAD"),), (kept,), head=True),
        "200, kept",
        "RFC 9110 §9.3.2",
    ),
    Case("an answer 204", http(f"{V4}/204", facts=(kept,)), "204, kept", "RFC 9110 §15.3.5"),
    Case("an answer 304", http(f"{V4}/304"), "304", "RFC 9110 §15.4.5"),
    Case(
        "an answer 103",
        http(f"{V4}/103", facts=(body_is(b"final"),)),
        "103 200, whole",
        "RFC 9110 §15.2",
    ),
    Case(
        "an answer in chunks",
        http(f"{V4}/chunked", facts=(body_is(b"onetwo"), length_or_chunks, kept)),
        "200, whole, chunked, kept",
        "RFC 9112 §7.1",
    ),
    Case(
        "chunks for HTTP/1.0",
        http(f"{V4}/chunked", version="1.0", facts=(body_is(b"onetwo"), length_or_chunks)),
        "200, whole, end",
        "RFC 9112 §7",
    ),
    Case(
        "an answer with a trailer",
        http(f"{V4}/trailers", "TE: trailers", "Connection: TE", facts=(body_is(b"one"), trailers)),
        "200, whole, trailer",
        "RFC 9110 §6.5",
    ),
    Case(
        "an answer until the end",
        http(f"{V4}/until-close", facts=(body_is(b"until the end"),)),
        "200, whole",
        "RFC 9112 §6.3",
    ),
    Case(
        "an answer's Connection: X-Private",
        http(
            f"{V4}/hop",
            facts=(has("passed on", "x-private", "removed"), has("Keep-Alive", "keep-alive")),
        ),
        "200, removed",
        "RFC 9110 §7.6.1",
    ),
    Case("an answer with length and chunks", http(f"{V4}/two-framings"), "502", "RFC 9112 §6.3"),
    Case("an answer with two lengths", http(f"{V4}/two-lengths"), "502", "RFC 9112 §6.3"),
    Case("an answer that is cut", http(f"{V4}/short"), "200, cut short", "RFC 9112 §8"),
    Case("an end without an answer", http(f"{V4}/silent-end"), "502", "RFC 9110 §15.6.3"),
    Case("an answer that is not HTTP", http(f"{V4}/garbage"), "502", "RFC 9110 §15.6.3"),
    Case(
        "Upgrade: websocket",
        http(
            f"{V4}/upgrade",
            "Connection: upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            facts=(upgraded,),
        ),
        "101, and back",
        "RFC 9110 §7.8",
    ),
    Case(
        "Upgrade: h2c",
        http(
            f"{V4}/",
            "Connection: upgrade, HTTP2-Settings",
            "Upgrade: h2c",
            "HTTP2-Settings: AAMAAABkAAQAAP__",
            facts=(saw("passed on", "\r\nUpgrade: h2c", "removed"),),
        ),
        "200, removed",
        "RFC 9110 §7.8",
    ),
    Case("half of a head", raw(f"GET {V4}/ HTTP/1.1\nHost: v4"), "408", "RFC 9110 §15.5.9"),
)
