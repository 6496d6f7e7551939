"""One question to one server, which may lie, stammer or fall silent."""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
import subprocess
from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.rcode
import pytest
import uvloop

from faith.dns import datagrams
from faith.dns.endpoint import Endpoint
from faith.dns.tasks import Tasks
from faith.dns.upstream_exchange import Exchange, tls_context
from faith.dns.wire import NXDOMAIN, REFUSED, WireError
from faith.errors import ConfigError
from tests.dns.messages import lines, question, read, reply_wire
from tests.dns.waiting import result_of
from tests.dns.zones import EXAMPLE, NameServer, Zones

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faith.dns.answer import Answer
    from faith.dns.question import Question
    from tests.dns.zones import Handler

FILLER = "x" * 250
ZONE = f"""{EXAMPLE}www 60 IN AAAA 2001:db8::80
many 60 IN TXT "{FILLER}"
many 60 IN TXT "1{FILLER}"
many 60 IN TXT "2{FILLER}"
many 60 IN TXT "3{FILLER}"
many 60 IN TXT "4{FILLER}"
many 60 IN TXT "5{FILLER}"
"""
WWW = question("www.example.")


def ask(
    server: NameServer, *questions: Question, mixed_case: bool = False, seconds: float = 5
) -> list[Answer]:
    async def main() -> list[Answer]:
        exchange = Exchange(Endpoint(server.host, server.port), mixed_case=mixed_case)
        try:
            async with asyncio.timeout(seconds):
                return [await result_of(exchange.ask, asked) for asked in questions]
        finally:
            exchange.close()

    return uvloop.run(main())


def ignored(result: object) -> None:
    """What it is does not matter."""


class TestDatagrams:
    def test_a_question_is_answered(self) -> None:
        with NameServer(Zones(ZONE)) as server:
            (answer,) = ask(server, WWW)
        assert lines(answer) == ["www.example. 60 IN AAAA 2001:db8::80"]

    def test_over_ipv6_and_with_mixed_case(self) -> None:
        with NameServer(Zones(ZONE), "::1") as server:
            (answer,) = ask(server, WWW, mixed_case=True)
        assert len(lines(answer)) == 1

    def test_rfc5452_9_2_every_question_has_a_port_of_its_own(self) -> None:
        with NameServer(Zones(ZONE)) as server:
            ask(server, *[WWW] * 50)
        ports = [port for _, port in server.sources]
        assert len(set(ports)) > 45
        assert len({b - a for a, b in itertools.pairwise(ports)}) > 40

    def test_rfc5452_9_2_and_an_id(self) -> None:
        zones = Zones(ZONE)
        ids = set()

        def noted(query: bytes) -> bytes:
            ids.add(query[:2])
            return zones(query)

        with NameServer(noted) as server:
            ask(server, *[WWW] * 50)
        assert len(ids) > 45

    def test_ports_serve_again_for_a_while(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As many as there may be, each as often as the others; then there are new ones."""
        monkeypatch.setattr(datagrams, "SOCKETS", 5)

        async def main(server: NameServer) -> None:
            tasks = Tasks()
            exchange = Exchange(Endpoint(server.host, server.port), tasks=tasks)
            for _ in range(20):
                await result_of(exchange.ask, WWW)
            monkeypatch.setattr(datagrams, "LIFETIME", -1)
            for port in exchange.datagrams._ports.values():  # type: ignore[union-attr]
                port.ends = 0
            for _ in range(5):
                await result_of(exchange.ask, WWW)
            exchange.close()
            await tasks.close()

        with NameServer(Zones(ZONE)) as server:
            uvloop.run(main(server))
        ports = [port for _, port in server.sources]
        for at in range(0, 25, 5):
            assert len(set(ports[at : at + 5])) == 5
        assert len(set(ports[:20])) == 5
        assert len({tuple(ports[at : at + 5]) for at in range(0, 20, 5)}) > 1
        assert not set(ports[:20]) & set(ports[20:])

    def test_and_not_longer_however_many_wait_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A flood of what is never answered does not keep a port open for questions."""
        monkeypatch.setattr(datagrams, "SOCKETS", 4)
        zones = Zones(ZONE)

        async def main(server: NameServer) -> None:
            exchange = Exchange(Endpoint(server.host, server.port))
            assert exchange.datagrams
            waiting = []
            for _ in range(5):
                waiting += [exchange.ask(question("dead.example."), ignored) for _ in range(4)]
                for port in exchange.datagrams._live:
                    port.ends = 0
            assert len(exchange.datagrams._ports) == 20
            first = exchange.datagrams._ports[min(exchange.datagrams._ports)].asked
            assert len(first) == 1
            for each in waiting:
                each.cancel()
            assert len(lines(await result_of(exchange.ask, WWW))) == 1
            assert len(exchange.datagrams._ports) == 1
            exchange.close()

        with NameServer(lambda query: None if b"dead" in query else zones(query)) as server:
            uvloop.run(main(server))

    def test_an_old_error_does_not_fail_the_next_question(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is the port's, and the server may be there again."""
        monkeypatch.setattr(datagrams, "SOCKETS", 1)

        async def main() -> Answer:
            with NameServer(Zones(ZONE)) as server:
                exchange = Exchange(Endpoint(server.host, server.port))
                await result_of(exchange.ask, WWW)
            with pytest.raises(ConnectionRefusedError):
                await result_of(exchange.ask, WWW)
            under_way = exchange.ask(WWW, lambda _: None)  # its error waits at the port
            under_way.cancel()
            with NameServer(Zones(ZONE), server.host, server.port):
                answer: Answer = await result_of(exchange.ask, WWW)
            exchange.close()
            return answer

        assert len(lines(uvloop.run(main()))) == 1

    @pytest.mark.parametrize("rcode", ["FORMERR", "SERVFAIL", "REFUSED"])
    def test_an_error_with_edns_and_no_question_is_one_at_once(self, rcode: str) -> None:
        def confused(query: bytes) -> bytes:
            reply = dns.message.make_response(read(query))
            reply.set_rcode(dns.rcode.from_text(rcode))
            reply.question = []
            reply.use_edns(0)
            return reply.to_wire()

        with NameServer(confused) as server:
            (answer,) = ask(server, WWW, seconds=2)
        assert answer.rcode == dns.rcode.from_text(rcode)

    def test_replies_to_something_else_are_dropped(self) -> None:
        zones = Zones(ZONE)

        async def main() -> Answer:
            loop = asyncio.get_running_loop()
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
                server.setblocking(False)
                server.bind(("::1", 0))
                exchange = Exchange(Endpoint(*server.getsockname()[:2]))
                asking = loop.create_task(result_of(exchange.ask, WWW))
                query, source = await loop.sock_recvfrom(server, 512)
                evil = reply_wire("evil.example.", answer="evil.example. 60 IN AAAA ::1")
                good = zones(query)
                for reply in (b"", query[:2] + evil[2:], b"xx" + good[2:], query, good):
                    server.sendto(reply, source)
                answer: Answer = await asking
                exchange.close()
                return answer

        assert lines(asyncio.run(main())) == ["www.example. 60 IN AAAA 2001:db8::80"]

    def test_and_so_are_those_of_others(self) -> None:
        zones = Zones(ZONE)

        async def main() -> None:
            loop = asyncio.get_running_loop()
            with (
                socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server,
                socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as stranger,
            ):
                server.setblocking(False)
                server.bind(("::1", 0))
                exchange = Exchange(Endpoint(*server.getsockname()[:2]))
                asking = loop.create_task(result_of(exchange.ask, WWW))
                query, source = await loop.sock_recvfrom(server, 512)
                stranger.sendto(zones(query), source)
                done, _ = await asyncio.wait([asking], timeout=0.1)
                assert not done
                asking.cancel()
                exchange.close()

        asyncio.run(main())

    def test_what_makes_no_sense_is_told(self) -> None:
        def truncated(query: bytes) -> bytes:
            wire = reply_wire("www.example.", answer="www.example. 1 IN AAAA ::1")
            return query[:2] + wire[2:-1]

        with NameServer(truncated) as server, pytest.raises(WireError):
            ask(server, WWW)

    def test_a_closed_port_is_an_error_at_once(self) -> None:
        with NameServer(Zones(ZONE)) as server:
            pass
        with pytest.raises(ConnectionRefusedError):
            ask(server, WWW)

    @pytest.mark.parametrize("bare", [False, True])
    def test_rfc6891_7_a_server_without_edns_is_asked_without(self, bare: bool) -> None:
        zones = Zones(ZONE)

        def old(query: bytes) -> bytes:
            if read(query).edns < 0:
                return zones(query)
            message = dns.message.make_response(read(query))
            message.use_edns(False)
            message.set_rcode(dns.rcode.FORMERR)
            if bare:
                message.question = []
            return message.to_wire()

        with NameServer(old) as server:
            (answer,) = ask(server, WWW)
        assert lines(answer) == ["www.example. 60 IN AAAA 2001:db8::80"]


class TestMixedCase:
    """Some servers answer in letters of their own."""

    @staticmethod
    def lowered(zones: Zones) -> Handler:
        def handler(query: bytes) -> bytes:
            reply = zones(query)
            name_end = reply.index(0, 12)
            return reply[:12] + reply[12:name_end].lower() + reply[name_end:]

        return handler

    LONG = question("a" * 60 + ".example.")

    def test_other_letters_are_not_believed_by_udp(self) -> None:
        with NameServer(self.lowered(Zones(ZONE))) as server:
            (answer,) = ask(server, self.LONG, mixed_case=True)
        assert answer.rcode == NXDOMAIN
        assert server.by_tcp == 1

    def test_who_has_them_by_tcp_as_well_is_asked_in_small_letters(self) -> None:
        with NameServer(self.lowered(Zones(ZONE))) as server:
            answers = ask(server, *[self.LONG] * 3, mixed_case=True)
        assert [answer.rcode for answer in answers] == [NXDOMAIN] * 3
        assert server.by_tcp == 1

    def test_who_has_no_tcp_is_asked_twice(self) -> None:
        with NameServer(self.lowered(Zones(ZONE)), streams=False) as server:
            (answer,) = ask(server, self.LONG, mixed_case=True)
        assert answer.rcode == NXDOMAIN
        assert len(server.sources) == 2


class TestStreams:
    MANY = question("many.example.", "TXT")

    def test_a_truncated_reply_is_asked_for_by_tcp(self) -> None:
        with NameServer(Zones(ZONE)) as server:
            (answer,) = ask(server, self.MANY)
        assert len(lines(answer)) == 6
        assert server.by_tcp == 1

    def test_a_connection_serves_again_and_may_have_ended(self) -> None:
        zones = Zones(ZONE)
        with NameServer(zones) as server:
            answers = ask(server, self.MANY, self.MANY)
            assert [len(lines(answer)) for answer in answers] == [6, 6]

            assert server.connections == 1

            async def main() -> list[Answer]:
                exchange = Exchange(Endpoint(server.host, server.port))
                found = [await result_of(exchange.ask, self.MANY)]
                server.disconnect()
                found.append(await result_of(exchange.ask, self.MANY))
                exchange.close()
                return found

            assert [len(lines(answer)) for answer in uvloop.run(main())] == [6, 6]
            assert server.connections == 3

    def test_a_wrong_answer_ends_the_connection(self) -> None:
        zones = Zones(ZONE)

        def confused(query: bytes) -> bytes:
            reply = zones(query)
            return reply if server.by_tcp == 0 else b"\0" + reply

        with NameServer(confused) as server, pytest.raises(ConnectionError):
            ask(server, self.MANY)


class TestTls:
    @pytest.fixture
    def certificate(self, tmp_path: Path, need: Callable[[str], str]) -> Path:
        path = tmp_path / "certificate.pem"
        words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
        names = ["-subj", "/CN=dns.example", "-addext", "subjectAltName=DNS:dns.example"]
        command = [need("openssl"), *words.split(), *names, "-keyout", str(path), "-out", str(path)]
        subprocess.run(command, capture_output=True, check=True)
        return path

    def exchange(self, handler: Handler, certificate: Path, name: str, times: int = 1) -> int:
        """Ask *times*; the number of connections that took."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        trust = tls_context(certificate.read_text())
        connections = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            try:
                while head := await reader.read(2):
                    query = await reader.readexactly(int.from_bytes(head, "big"))
                    reply = handler(query) or b""
                    writer.write(len(reply).to_bytes(2, "big") + reply)
            finally:
                writer.transport.abort()

        async def main() -> None:
            server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
            port = server.sockets[0].getsockname()[1]
            exchange = Exchange(Endpoint("127.0.0.1", port, name), context=trust)
            try:
                async with asyncio.timeout(5):
                    for _ in range(times):
                        assert len(lines(await result_of(exchange.ask, WWW))) == 1
            finally:
                exchange.close()
                server.close()

        uvloop.run(main())
        return connections

    def test_questions_share_a_connection(self, certificate: Path) -> None:
        assert self.exchange(Zones(ZONE), certificate, "dns.example", times=3) == 1

    def test_another_name_is_not_trusted(self, certificate: Path) -> None:
        with pytest.raises(ssl.SSLCertVerificationError):
            self.exchange(Zones(ZONE), certificate, "evil.example")


@pytest.mark.parametrize("text", ["", "no certificate", "\N{REPLACEMENT CHARACTER}"])
def test_a_text_without_certificates_is_not_taken_for_the_systems(text: str) -> None:
    with pytest.raises(ConfigError, match="no certificates to trust"):
        tls_context(text)


def test_rcodes_come_through() -> None:
    with NameServer(Zones(ZONE)) as server:
        answers = ask(server, question("no.example."), question("www.other."))
    assert [answer.rcode for answer in answers] == [NXDOMAIN, REFUSED]
