"""UDP ASSOCIATE over real sockets: who may send, to whom, and who may answer."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from faith.proxy import socks_datagram
from faith.relay.proxy import association, destinations
from faith.relay.tcp.record import END, REFUSED, START, UDP
from faith.translation import reasons
from faith.translation.ports import Ports
from tests.association_bench import ANYWHERE, GREETING, Associated, Numbers, UdpEnd, limit, to
from tests.proxy_bench import ProxyBench, new_bench

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "time.example.org"


@pytest.fixture(params=["uvloop", "asyncio"])
def bench(request: pytest.FixtureRequest) -> Iterator[ProxyBench]:
    yield from new_bench(request.param)


def at_least(numbers: Numbers, errors: int, answers: int) -> bool:
    """Return whether so many errors were noticed, and answers sent or lost."""
    return numbers.errors >= errors and numbers.sent[2] + numbers.lost >= answers


def closed(bench: ProxyBench, client: Associated) -> None:
    """Have the client's association end."""
    client.control.close()
    bench.until(lambda: not bench.relay.sessions())


# -- there and back ------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("late", [True, False])
def test_datagrams_and_answers(bench: ProxyBench, host: str, late: bool) -> None:
    server, client, numbers = UdpEnd(bench, host), Associated(bench, late=late), Numbers(bench)
    assert bench.stages() == ["open"]
    assert numbers.open == 1
    source = server.at
    for data in b"question", b"", os.urandom(1400):
        client.say(data, *server.at)
        source = server.echo()
        assert client.hear() == (data, server.at)
    assert source[0] == host
    assert source[1] != client.proxy[1]
    assert numbers.sent == (3, 1408, 3, 1408)
    (session,) = bench.relay.sessions()
    assert session.moved == (1408, 1408)
    assert session.fields(0)["method"] == "socks5"
    start = bench.record()
    assert (start.event, start.protocol, start.method) == (START, UDP, "socks5")
    assert (start.client, start.mapped) == (client.at, client.proxy)
    assert (start.source, start.server, start.asked) == (source, server.at, server.at)
    closed(bench, client)
    record = bench.record()
    assert (record.event, record.end) == (END, reasons.CLOSED)
    assert (record.sent, record.received) == (1408, 1408)
    assert (record.source, record.server, record.asked) == (source, server.at, server.at)
    assert bench.records == []
    assert (numbers.open, numbers.all_refused, numbers.lost) == (0, 0, 0)


def test_several_servers_have_a_record_each(bench: ProxyBench) -> None:
    servers = [UdpEnd(bench), UdpEnd(bench, "::1"), UdpEnd(bench, "127.0.0.2")]
    client = Associated(bench)
    for number, server in enumerate(servers):
        client.say(b"x" * number, *server.at)
    sources = [server.echo() for server in servers]
    answers = {client.hear() for _ in servers}
    assert answers == {(b"x" * number, server.at) for number, server in enumerate(servers)}
    assert sources[0][1] == sources[2][1], "one port for all servers of a family"
    closed(bench, client)
    ends = [record for record in bench.records if record.event == END]
    assert {(one.server, one.sent, one.received) for one in ends} == {
        (server.at, number, number) for number, server in enumerate(servers)
    }


def test_a_mapped_address_answers_as_it_was_asked(bench: ProxyBench) -> None:
    server, client = UdpEnd(bench), Associated(bench)
    client.sock.sendto(
        b"\0\0\0\4"
        + socket.inet_pton(socket.AF_INET6, "::ffff:127.0.0.1")
        + server.at[1].to_bytes(2, "big")
        + b"question",
        client.proxy,
    )
    server.echo()
    assert client.hear() == (b"question", server.at)


@pytest.mark.parametrize("size", [9000, 65507 - socks_datagram.LONGEST_HEADER])
def test_a_large_datagram_is_not_cut(bench: ProxyBench, size: int) -> None:
    server, client = UdpEnd(bench), Associated(bench)
    data = os.urandom(size)
    client.say(data, *server.at)
    server.echo()
    assert client.hear() == (data, server.at)


def test_an_answer_that_is_too_large_with_its_header(bench: ProxyBench) -> None:
    server, client, numbers = UdpEnd(bench), Associated(bench), Numbers(bench)
    client.say(b"question", *server.at)
    _, source = server.receive()
    server.sock.sendto(bytes(65507), source)
    bench.until(lambda: numbers.refused(reasons.TOO_LARGE))
    server.sock.sendto(b"small", source)
    assert client.hear() == (b"small", server.at)
    closed(bench, client)
    assert bench.records[-1].received == 5


def test_more_than_a_batch(bench: ProxyBench) -> None:
    server, client = UdpEnd(bench), Associated(bench)
    for number in range(100):
        client.say(b"%d" % number, *server.at)
    for _ in range(100):
        server.echo()
    assert [client.hear()[0] for _ in range(100)] == [b"%d" % number for number in range(100)]


# -- who may send --------------------------------------------------------------------------------


def test_only_the_clients_address_and_port(bench: ProxyBench) -> None:
    server, client, numbers = UdpEnd(bench), Associated(bench), Numbers(bench)
    stranger, other = UdpEnd(bench, "127.0.0.9"), UdpEnd(bench)
    stranger.sock.sendto(to(*server.at) + b"not mine", client.proxy)
    bench.until(lambda: numbers.refused(reasons.NOT_A_CLIENT) == 1)
    client.say(b"mine", *server.at)
    assert server.receive()[0] == b"mine"
    for sock in stranger.sock, other.sock:
        sock.sendto(to(*server.at) + b"not mine either", client.proxy)
    assert server.has_none()
    client.say(b"again", *server.at)
    assert server.receive()[0] == b"again"


def test_what_waited_from_others_before_the_client_was_known(bench: ProxyBench) -> None:
    server, client, numbers = UdpEnd(bench), Associated(bench), Numbers(bench)
    other = UdpEnd(bench)
    client.say(b"first", *server.at)
    other.sock.sendto(to(*server.at) + b"second", client.proxy)
    assert server.receive()[0] == b"first"
    assert server.has_none()
    assert numbers.refused(reasons.NOT_A_CLIENT) == 1


def test_the_port_that_was_announced(bench: ProxyBench) -> None:
    server, client = UdpEnd(bench), Associated(bench, late=False)
    other = UdpEnd(bench)
    other.sock.sendto(to(*server.at) + b"not mine", client.proxy)
    assert server.has_none()
    client.say(b"mine", *server.at)
    assert server.receive()[0] == b"mine"


def test_an_address_that_was_announced_and_is_not_the_clients(bench: ProxyBench) -> None:
    """As behind a NAT: neither it nor the port is what the proxy sees."""
    server = UdpEnd(bench)
    client = Associated(bench, b"\1\xc0\xa8\0\2\x04\0")
    client.say(b"mine", *server.at)
    assert server.receive()[0] == b"mine"


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"\0\0\1" + to("127.0.0.1", 9)[3:] + b"data", reasons.FRAGMENT),
        (b"\0\0\x81" + to("127.0.0.1", 9)[3:] + b"data", reasons.FRAGMENT),
        (b"", reasons.BAD_HEADER),
        (b"\0\0\0\1\x7f\0\0", reasons.BAD_HEADER),
        (b"\0\0\0\7" + bytes(30), reasons.BAD_HEADER),
        (to("127.0.0.1", 0) + b"data", reasons.BAD_HEADER),
        (to("no name", 9) + b"data", reasons.BAD_HEADER),
    ],
)
def test_what_is_no_datagram_of_socks(bench: ProxyBench, octets: bytes, why: str) -> None:
    server, client, numbers = UdpEnd(bench), Associated(bench), Numbers(bench)
    client.sock.sendto(octets, client.proxy)
    bench.until(lambda: numbers.refused(why) == 1)
    client.say(b"good", *server.at)
    assert server.receive()[0] == b"good"
    assert numbers.all_refused == 1


# -- to whom -------------------------------------------------------------------------------------


def test_what_the_rules_refuse_is_not_sent(bench: ProxyBench) -> None:
    server, client, numbers = UdpEnd(bench, "127.0.1.1"), Associated(bench), Numbers(bench)
    for count in 1, 2:
        client.say(b"question", *server.at)
        record = bench.record()
        assert (record.event, record.end) == (REFUSED, reasons.DENIED)
        assert (record.protocol, record.method, record.asked) == (UDP, "socks5", server.at)
        assert record.client == client.at
        assert numbers.refused(reasons.DENIED) == count
    assert server.has_none()


def test_another_policy_decides_about_the_next_datagram(bench: ProxyBench) -> None:
    server, client, numbers = UdpEnd(bench), Associated(bench), Numbers(bench)
    client.say(b"question", *server.at)
    assert server.receive()[0] == b"question"
    bench.relay.policy = bench.policy_of("127.0.0.0/8 permit 127.0.0.0/8")
    client.say(b"allowed still", *server.at)
    assert server.receive()[0] == b"allowed still"
    bench.relay.policy = bench.policy_of("127.0.0.0/8 deny 127.0.0.0/8")
    client.say(b"no more", *server.at)
    bench.until(lambda: numbers.refused(reasons.DENIED) == 1)
    assert server.has_none()
    assert [record.end for record in bench.records] == ["", reasons.DENIED, reasons.DENIED]
    assert [record.event for record in bench.records] == [START, END, REFUSED]
    assert bench.records[1].sent == len(b"questionallowed still")


def test_an_address_that_leads_elsewhere_is_another_destination(bench: ProxyBench) -> None:
    server, client = UdpEnd(bench), Associated(bench)
    client.say(b"question", *server.at)
    server.receive()
    source = "127.0.0.5"
    bench.relay.policy = bench.policy_of(f"127.0.0.0/8 permit 127.0.0.0/8 {source}")
    client.say(b"from another address", *server.at)
    assert server.echo()[0] == source
    assert client.hear() == (b"from another address", server.at)


def test_a_source_that_this_host_has_not(bench: ProxyBench) -> None:
    server, client, numbers = UdpEnd(bench), Associated(bench), Numbers(bench)
    bench.relay.policy = bench.policy_of("127.0.0.0/8 permit 127.0.0.0/8 192.0.2.77")
    client.say(b"question", *server.at)
    bench.until(lambda: numbers.refused(reasons.NO_SOURCE) == 1)
    assert bench.record().end == reasons.NO_SOURCE


# -- who may answer ------------------------------------------------------------------------------


def test_answers_come_from_any_port_of_a_host_that_was_sent_to(bench: ProxyBench) -> None:
    server, client, numbers = UdpEnd(bench), Associated(bench), Numbers(bench)
    again, stranger = UdpEnd(bench), UdpEnd(bench, "127.0.0.7")
    client.say(b"question", *server.at)
    _, source = server.receive()
    stranger.sock.sendto(b"not asked", source)
    bench.until(lambda: numbers.refused(reasons.FILTERED) == 1)
    again.sock.sendto(b"from another port", source)
    assert client.hear() == (b"from another port", again.at)
    closed(bench, client)
    assert bench.records[-1].received == len(b"from another port")


def test_a_destination_expires_and_its_host_cannot_answer_any_more(
    bench: ProxyBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client, numbers = UdpEnd(bench), Associated(bench), Numbers(bench)
    limit(bench, short=0.01, short_ports=Ports([(server.at[1], server.at[1])]))
    client.say(b"question", *server.at)
    _, source = server.receive()
    assert bench.record().event == START
    bench.until(lambda: bench.records)  # a look later, and a sweep
    record = bench.record()
    assert (record.end, record.sent) == (reasons.EXPIRED, 8)
    server.sock.sendto(b"too late", source)
    bench.until(lambda: numbers.refused(reasons.FILTERED) == 1)
    client.say(b"again", *server.at)
    assert server.receive()[0] == b"again"


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_name(bench: ProxyBench, host: str) -> None:
    server, client = UdpEnd(bench, host), Associated(bench)
    bench.names.known[NAME] = (host,)
    for data in b"one", b"two":
        client.say(data, NAME.upper(), server.at[1])
        server.echo()
        assert client.hear() == (data, server.at)
    assert bench.names.asked == [NAME], "asked once as long as it is in use"
    assert bench.record().asked == (NAME, server.at[1])


def test_a_name_whose_first_address_is_refused(bench: ProxyBench) -> None:
    server, client, numbers = UdpEnd(bench, "127.0.0.2"), Associated(bench), Numbers(bench)
    bench.names.known[NAME] = ("127.0.1.1", "127.0.0.2")
    client.say(b"question", NAME, server.at[1])
    assert server.receive()[0] == b"question"
    assert numbers.all_refused == 0


@pytest.mark.parametrize(
    ("addresses", "why"), [((), reasons.NO_NAME), (("127.0.1.1",), reasons.DENIED)]
)
def test_a_name_that_leads_nowhere(bench: ProxyBench, addresses: tuple[str, ...], why: str) -> None:
    client, numbers = Associated(bench), Numbers(bench)
    bench.names.known[NAME] = addresses
    for count in 1, 2:
        client.say(b"question", NAME, 9)
        record = bench.record()
        assert (record.end, record.asked) == (why, (NAME, 9))
        assert numbers.refused(why) == count


def test_the_next_address_where_nobody_is_at_the_first(bench: ProxyBench) -> None:
    server, client, numbers = UdpEnd(bench, "127.0.0.1"), Associated(bench), Numbers(bench)
    bench.names.known[NAME] = ("::1", "127.0.0.1")
    client.say(b"lost", NAME, server.at[1])
    bench.until(lambda: numbers.errors == 1)
    client.say(b"question", NAME, server.at[1])
    server.echo()
    assert client.hear() == (b"question", server.at)
    closed(bench, client)
    ends = {record.server: record.end for record in bench.records if record.event == END}
    assert ends == {("::1", server.at[1]): reasons.REFUSED, server.at: reasons.CLOSED}


class Waiting:
    """Names that are found when the test says so."""

    def __init__(self, bench: ProxyBench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.cancelled = 0
        monkeypatch.setattr(bench.names, "look_up", self.look_up)

    def look_up(self, name: str, found: object, client: int) -> Waiting:
        self.names.append(name)
        return self

    def cancel(self) -> None:
        self.cancelled += 1


def test_what_waits_for_a_name_is_bounded(
    bench: ProxyBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Waiting(bench, monkeypatch)
    client, numbers = Associated(bench), Numbers(bench)
    for number in range(association.MOST_WAITING + 3):
        client.say(b"question", f"{number % 5}.example.org", 9)
    bench.until(lambda: numbers.refused(reasons.QUEUE) == 3)
    assert len(names.names) == 5
    closed(bench, client)
    assert names.cancelled == 5


# -- errors --------------------------------------------------------------------------------------


def test_a_server_that_is_not_there(bench: ProxyBench) -> None:
    gone, server, client = UdpEnd(bench), UdpEnd(bench), Associated(bench)
    numbers = Numbers(bench)
    gone.sock.close()
    for count in 1, 2:
        client.say(b"question", *gone.at)
        bench.until(partial(at_least, numbers, count, 0))
        client.say(b"question", *server.at)
        server.echo()
        assert client.hear() == (b"question", server.at), "the error is none of this one's"
    closed(bench, client)
    ends = {record.server: record.end for record in bench.records if record.event == END}
    assert ends == {gone.at: reasons.REFUSED, server.at: reasons.CLOSED}
    assert numbers.lost == 0


def test_a_client_that_has_gone_for_a_while(bench: ProxyBench) -> None:
    server, client, numbers = UdpEnd(bench), Associated(bench), Numbers(bench)
    client.say(b"question", *server.at)
    _, source = server.receive()
    client.sock.close()
    for count in 1, 2:
        server.sock.sendto(b"answer", source)
        bench.until(partial(at_least, numbers, 0, count))
    assert bench.stages() == ["open"]


def test_no_way_to_a_server(bench: ProxyBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.relay.policy = bench.policy_of("127.0.0.0/8 permit 255.255.255.255")
    client, numbers = Associated(bench), Numbers(bench)
    client.say(b"question", "255.255.255.255", 9)
    bench.until(lambda: numbers.lost + numbers.all_refused == 1)
    assert bench.stages() == ["open"]


# -- limits, and ends ----------------------------------------------------------------------------


def test_destinations_of_one_client_are_limited(bench: ProxyBench) -> None:
    limit(bench, flows_per_client=3)
    servers = [UdpEnd(bench) for _ in range(5)]
    client, numbers = Associated(bench), Numbers(bench)
    for server in servers:
        client.say(b"question", *server.at)
    bench.until(lambda: numbers.refused(reasons.CLIENT_FLOWS) == 2)
    for server in servers[:3]:
        assert server.receive()[0] == b"question"
    closed(bench, client)
    client = Associated(bench)
    client.say(b"question", *servers[4].at)
    assert servers[4].receive()[0] == b"question"


def test_names_of_one_client_are_limited(
    bench: ProxyBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(association, "MOST_PATHS", 2)
    server, client, numbers = UdpEnd(bench), Associated(bench), Numbers(bench)
    for number in range(3):
        bench.names.known[f"{number}.example.org"] = ("127.0.0.1",)
        client.say(b"question", f"{number}.example.org", server.at[1])
    bench.until(lambda: numbers.refused(reasons.CLIENT_FLOWS) == 1)


def test_sockets_of_one_client_are_limited(
    bench: ProxyBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destinations, "MOST_SOCKETS", 1)
    server, client, numbers = UdpEnd(bench), Associated(bench), Numbers(bench)
    client.say(b"question", *server.at)
    server.receive()
    client.say(b"question", "::1", 9)
    bench.until(lambda: numbers.refused(reasons.NO_SOCKET) == 1)


def test_no_socket_no_association(bench: ProxyBench, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_socket(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(association, "socket_for_client", no_socket)
    control = bench.client(GREETING + b"\5\3\0" + ANYWHERE)
    assert control.hear(2) == b"\5\0"
    assert control.hear_all()[:2] == b"\5\1"
    assert bench.record().end.startswith(reasons.SHED)


def test_a_share_of_associations(bench: ProxyBench) -> None:
    bench.relay._proxies._means.associations._associations.limit = 3
    clients = [Associated(bench) for _ in range(2)]
    control = bench.client(GREETING + b"\5\3\0" + ANYWHERE)
    assert control.hear(2) == b"\5\0"
    assert control.hear_all()[:2] == b"\5\1"
    assert bench.record().end == reasons.CLIENT_SHARE
    closed_one = clients.pop()
    closed_one.control.close()
    bench.until(lambda: Numbers(bench).open == 1)
    Associated(bench)


@pytest.mark.parametrize("how", ["fin", "reset"])
def test_it_ends_with_the_connection(bench: ProxyBench, how: str) -> None:
    server, client, numbers = UdpEnd(bench), Associated(bench), Numbers(bench)
    client.say(b"question", *server.at)
    _, source = server.receive()
    bench.record()
    if how == "fin":
        client.control.end()
        assert client.control.hear_all() == b""
    else:
        client.control.reset()
    end = reasons.CLOSED if how == "fin" else "client reset"
    assert bench.record().end == end
    bench.until(lambda: not bench.relay.sessions())
    assert numbers.open == 0
    for _, port in client.proxy, source:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", port))  # it is free


def test_what_the_client_says_on_its_connection_means_nothing(bench: ProxyBench) -> None:
    server, client = UdpEnd(bench), Associated(bench)
    client.control.say(b"\5\1\0\3more" * 1000)
    client.say(b"question", *server.at)
    assert server.receive()[0] == b"question"


def test_an_association_is_killed_as_a_session(bench: ProxyBench) -> None:
    server, client = UdpEnd(bench), Associated(bench)
    client.say(b"question", *server.at)
    server.receive()
    (session,) = bench.relay.sessions()
    bench.relay.kill(session)
    assert [record.end for record in bench.records] == ["", reasons.KILLED]
    assert client.control.hear_all() == b""


def test_an_idle_association_ends(bench: ProxyBench) -> None:
    bench.relay.settings = replace(bench.settings, idle_timeout=0.2)
    server, client = UdpEnd(bench), Associated(bench)
    client.say(b"question", *server.at)
    server.receive()
    bench.record()
    assert bench.record().end == reasons.IDLE
    bench.until(lambda: not bench.relay.sessions())


def test_a_defect_costs_one_client_its_association(
    bench: ProxyBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server, client, other = UdpEnd(bench), Associated(bench), Associated(bench)

    def broken(*_: object) -> int:
        raise RuntimeError("for the test")

    with monkeypatch.context() as patch:
        patch.setattr(socks_datagram, "header_end", broken)
        client.say(b"question", *server.at)
        bench.until(lambda: len(bench.relay.sessions()) == 1)
    assert "a defect in the proxy" in caplog.text
    other.say(b"question", *server.at)
    assert server.receive()[0] == b"question"


def test_associations_end_with_the_relay(bench: ProxyBench) -> None:
    server, client = UdpEnd(bench), Associated(bench)
    client.say(b"question", *server.at)
    server.receive()
    bench.close_relay()
    assert bench.records[-1].end == reasons.STOPPED
