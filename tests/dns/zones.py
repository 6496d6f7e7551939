"""A small authoritative server with recursion's manners, for tests: zones as text, no network.

It serves UDP and TCP on one port of a loopback address, from a thread.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.zone

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    Handler = Callable[[bytes], bytes | None]
    """Gets a query, gives a reply or is silent."""

EXAMPLE = """$ORIGIN example.
@ 300 IN SOA ns host 1 3600 1200 604800 60
"""
"""The beginning of a zone ``example.``, which records follow."""
CHAIN = 8


class Zones:
    """Zones in master file format; ``$ORIGIN`` must come first in each."""

    def __init__(self, *texts: str) -> None:
        self._zones = [
            dns.zone.from_text(text, relativize=False, check_origin=False) for text in texts
        ]
        self.asked: list[str] = []
        """The questions so far: name and type."""

    def __call__(self, wire: bytes) -> bytes:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        self.asked.append(f"{question.name} {dns.rdatatype.to_text(question.rdtype)}".lower())
        reply = dns.message.make_response(query, recursion_available=True)
        self._answer(reply, question.name, question.rdtype)
        return reply.to_wire(max_size=65535, want_shuffle=False)

    def _answer(
        self, reply: dns.message.Message, name: dns.name.Name, kind: dns.rdatatype.RdataType
    ) -> None:
        for _ in range(CHAIN):
            zone = self._zone(name)
            if zone is None:
                reply.set_rcode(dns.rcode.REFUSED)
                return
            target = self._step(reply, zone, name, kind)
            if target is None:
                return
            name = target

    def _zone(self, name: dns.name.Name) -> dns.zone.Zone | None:
        found = [zone for zone in self._zones if name.is_subdomain(zone.origin or dns.name.root)]
        return max(found, key=lambda zone: len(zone.origin or ()), default=None)

    def _step(
        self,
        reply: dns.message.Message,
        zone: dns.zone.Zone,
        name: dns.name.Name,
        kind: dns.rdatatype.RdataType,
    ) -> dns.name.Name | None:
        """Put in what *zone* has of *name*; the name to go on with, if there is one."""
        for wanted in (kind, dns.rdatatype.CNAME):
            rrset = zone.get_rrset(name, wanted)
            if rrset:
                reply.answer.append(rrset)
                return None if wanted == kind else rrset[0].target
        for depth in range(1, len(name)):
            dname = zone.get_rrset(name.split(len(name) - depth)[1], dns.rdatatype.DNAME)
            if dname and dname.name != name:
                target = name.relativize(dname.name).concatenate(dname[0].target)
                alias = dns.rrset.from_text(name, dname.ttl, "IN", "CNAME", target.to_text())
                reply.answer += [dname, alias]
                return target
        if not any(found.is_subdomain(name) for found in zone.nodes):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        soa = zone.get_rrset(zone.origin or name, dns.rdatatype.SOA)
        if soa:
            reply.authority.append(
                dns.rrset.from_rdata(soa.name, min(soa.ttl, soa[0].minimum), soa[0])
            )
        return None


class NameServer:
    """Serves *handler* at ``host:port`` while the block lasts, after *delay* seconds by UDP.

    By TCP as well, unless *streams* is false.
    Replies by UDP that are too long for the query get the TC bit, as from a real server.
    """

    def __init__(
        self,
        handler: Handler,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        delay: float = 0,
        streams: bool = True,
    ) -> None:
        self.handler = handler
        self.delay = delay
        self.sources: list[tuple[str, int]] = []
        """Where datagrams came from."""
        self.by_tcp = 0
        self.connections = 0
        self._datagrams, self._streams = _sockets(host, port)
        if not streams:
            self._streams.close()
            self._streams = socket.socket()  # nobody can come to it
        self.host, self.port = self._datagrams.getsockname()[:2]
        self._connected: list[socket.socket] = []
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.close()
        self._thread.join()
        for sock in (self._datagrams, self._streams, self._stopped):
            sock.close()

    def disconnect(self) -> None:
        """End all connections, which have nothing to do."""
        for connection in self._connected:
            connection.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        connections = self._connected
        while True:
            mine = [self._datagrams, self._stopped]
            if self._streams.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                mine.append(self._streams)
            ready, _, _ = select.select(mine + connections, [], [])
            for sock in ready:
                if sock is self._stopped:
                    for connection in connections:
                        connection.close()
                    return
                if sock is self._datagrams:
                    self._datagram()
                elif sock is self._streams:
                    self.connections += 1
                    connections.append(self._streams.accept()[0])
                elif not self._stream(sock):
                    connections.remove(sock)
                    sock.close()

    def _datagram(self) -> None:
        query, source = self._datagrams.recvfrom(65535)
        self.sources.append(source[:2])
        time.sleep(self.delay)
        reply = self.handler(query)
        if reply is not None:
            self._datagrams.sendto(_cut(query, reply), source)

    def _stream(self, sock: socket.socket) -> bool:
        with contextlib.suppress(OSError):
            head = sock.recv(2, socket.MSG_WAITALL)
            if len(head) == 2:
                self.by_tcp += 1
                query = sock.recv(struct.unpack("!H", head)[0], socket.MSG_WAITALL)
                reply = self.handler(query)
                if reply is not None:
                    sock.sendall(struct.pack("!H", len(reply)) + reply)
                    return True
        return False


def _sockets(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """UDP and TCP on one port; where any will do, on one that nobody has in either."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    while True:
        datagrams = socket.socket(family, socket.SOCK_DGRAM)
        datagrams.bind(address)
        try:
            return datagrams, socket.create_server(datagrams.getsockname(), family=family)
        except OSError:
            datagrams.close()
            if port:
                raise


def _cut(query: bytes, reply: bytes) -> bytes:
    asked = dns.message.from_wire(query)
    if len(reply) <= (asked.payload if asked.edns >= 0 else 512):
        return reply
    short = dns.message.make_response(asked, recursion_available=True)
    short.flags |= dns.flags.TC
    return short.to_wire()
