"""The answers of a name server for a name, as a client gets them."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from faith.cli.explain.facts import NO_NAME, NOBODY, NameFacts
from faith.errors import SetupError
from faith.kernel import text_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dns.message import Message

TIMEOUT = 3.0
"""Seconds for each question."""
_RESOLV = "/etc/resolv.conf"


def ask(name: str, servers: Sequence[str], *, ours: bool, configured: bool) -> NameFacts:
    """Return the addresses of *name*, by the first of *servers* that answers.

    Without *servers* those of resolv.conf(5) are asked.  *ours* says that they are a faithd's, and
    *configured* that its file has a name service.
    """
    asked = list(servers) or _of_resolv_conf()
    found = NameFacts(name, "resolv.conf", error="no name server is known", configured=configured)
    for server in asked:
        found = _asked(name, server, ours=ours, configured=configured)
        if not found.error:
            return found
    return found


def _asked(name: str, server: str, *, ours: bool, configured: bool) -> NameFacts:
    try:
        v6 = _addresses(name, server, "AAAA")
        v4 = _addresses(name, server, "A")
    except _Unanswered as error:
        said = str(error)
        listens = said != NOBODY
        return NameFacts(name, server, error=said, ours=ours and listens, configured=configured)
    return NameFacts(name, server, v6, v4, ours=ours, configured=configured)


class _Unanswered(Exception):
    """There is no usable answer, and why."""


def _addresses(name: str, server: str, kind: str) -> tuple[str, ...]:
    import dns.exception
    import dns.rcode
    import dns.rdatatype

    host, _, port = server.partition("#")
    try:
        answer = _reply(name, kind, host, int(port or 53))
    except ConnectionRefusedError:
        raise _Unanswered(NOBODY) from None
    except (dns.exception.DNSException, OSError) as error:
        raise _Unanswered(_words(error)) from None
    if answer.rcode() == dns.rcode.NXDOMAIN:
        raise _Unanswered(NO_NAME)
    if answer.rcode() != dns.rcode.NOERROR:
        raise _Unanswered(dns.rcode.to_text(answer.rcode()))
    wanted = dns.rdatatype.from_text(kind)
    return tuple(
        item.address for rrset in answer.answer if rrset.rdtype == wanted for item in rrset
    )


def _reply(name: str, kind: str, host: str, port: int) -> Message:
    """Return the reply of the server at *host*.  Raises DNSException and OSError."""
    import dns.flags
    import dns.message
    import dns.query

    question = dns.message.make_query(name, kind)
    until = time.time() + TIMEOUT
    answer: Message
    with _connected(host, port) as sock:  # else refusals are not seen
        # The kernel keeps others away, of :: as well, which answers from another address.
        dns.query.send_udp(sock, question, None, until)
        while True:
            answer = dns.query.receive_udp(sock, None, until)[0]
            if question.is_response(answer):
                break
        peer = sock.getpeername()[0]
    if answer.flags & dns.flags.TC:
        return dns.query.tcp(question, peer, TIMEOUT, port)
    return answer


def _connected(host: str, port: int) -> socket.socket:
    # A link-local address has its interface in the tuple alone.
    (found, *_) = socket.getaddrinfo(
        host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
    )
    sock = socket.socket(found[0], socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.connect(found[4])
    except OSError:
        sock.close()
        raise
    return sock


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"no answer within {TIMEOUT:g} s" if "Timeout" in type(error).__name__ else str(error)


def _of_resolv_conf() -> list[str]:
    try:
        lines = text_file.read_proc(_RESOLV).splitlines()
    except SetupError:
        return []
    words = [line.split() for line in lines]
    return [one[1] for one in words if len(one) > 1 and one[0] == "nameserver"]
