"""Records: one line, and the same by name."""

from __future__ import annotations

import errno

import pytest

from faith.relay.tcp.record import UDP, Record, broken


def test_a_relayed_connection() -> None:
    record = Record(
        ("2001:db8:6::2", 40000),
        ("2001:db8:ffff::c000:250", 23),
        "closed",
        1_700_000_000.0000014,
        source=("192.0.2.1", 50000),
        server=("192.0.2.80", 23),
        seconds=1.5000014,
        sent=10,
        received=20,
    )
    assert record.text() == (
        "client=[2001:db8:6::2]:40000 mapped=[2001:db8:ffff::c000:250]:23"
        " source=192.0.2.1:50000 server=192.0.2.80:23"
        " sent=10 received=20 started=1700000000.000001 seconds=1.500001 end=closed"
    )
    assert record.fields() == {
        "event": "end",
        "protocol": "tcp",
        "client": "2001:db8:6::2",
        "client_port": 40000,
        "mapped": "2001:db8:ffff::c000:250",
        "mapped_port": 23,
        "source": "192.0.2.1",
        "source_port": 50000,
        "server": "192.0.2.80",
        "server_port": 23,
        "started": 1_700_000_000.000001,
        "seconds": 1.500001,
        "sent": 10,
        "received": 20,
        "end": "closed",
    }


def test_a_start_has_what_is_known_by_then() -> None:
    record = Record(
        ("2001:db8:6::2", 40000),
        ("2001:db8:ffff::c000:250", 23),
        "",
        1_700_000_000.5,
        source=("192.0.2.1", 50000),
        server=("192.0.2.80", 23),
    )
    assert record.text() == (
        "event=start client=[2001:db8:6::2]:40000 mapped=[2001:db8:ffff::c000:250]:23"
        " source=192.0.2.1:50000 server=192.0.2.80:23 started=1700000000.500000"
    )
    fields = record.fields()
    assert fields["event"] == "start"
    assert not fields.keys() & {"sent", "received", "seconds", "end"}


def test_a_flow_says_that_it_is_udp() -> None:
    record = Record(
        ("2001:db8:6::2", 40000),
        ("2001:db8:ffff::c000:250", 53),
        "expired",
        1.0,
        source=("192.0.2.1", 40000),
        server=("192.0.2.80", 53),
        protocol=UDP,
    )
    assert record.text().startswith("protocol=udp client=[2001:db8:6::2]:40000 mapped=[")
    assert record.fields()["protocol"] == "udp"
    record.end = ""
    assert record.text().startswith("event=start protocol=udp client=[2001:db8:6::2]:40000 mapped")


def test_a_client_of_ipv4() -> None:
    record = Record(
        ("192.0.2.80", 40000),
        ("192.0.2.102", 8080),
        "closed",
        1_700_000_000.0,
        source=("2001:db8:ffff::c000:250", 50000),
        server=("2001:db8:6::2", 80),
    )
    assert record.text().startswith(
        "client=192.0.2.80:40000 mapped=192.0.2.102:8080"
        " source=[2001:db8:ffff::c000:250]:50000 server=[2001:db8:6::2]:80 sent=0"
    )
    fields = record.fields()
    assert (fields["source"], fields["source_port"]) == ("2001:db8:ffff::c000:250", 50000)


def test_a_refused_one_has_no_second_leg() -> None:
    record = Record(("::1", 1), ("::2", 2), "no rule permits it", 0.0)
    assert record.text().endswith('end="no rule permits it"')
    assert "server" not in record.text()
    assert "server" not in record.fields()
    assert record.fields()["event"] == "refused"


def test_a_failure_is_told_by_side_and_kind() -> None:
    assert broken("client", errno.ECONNRESET) == "client reset"
    assert broken("server", errno.ETIMEDOUT) == "server timed out"
    assert broken("server", errno.EHOSTUNREACH) == "server no route to host"


def of_a_proxy() -> Record:
    return Record(
        ("192.0.2.7", 40000),
        ("192.0.2.1", 1080),
        "closed",
        1_700_000_000.0,
        source=("2001:db8::1", 50000),
        server=("2001:db8::80", 443),
        method="connect",
        asked=("www.example.org", 443),
    )


def test_a_client_of_a_proxy() -> None:
    record = of_a_proxy()
    assert record.text() == (
        "client=192.0.2.7:40000 method=connect mapped=192.0.2.1:1080 asked=www.example.org:443"
        " source=[2001:db8::1]:50000 server=[2001:db8::80]:443"
        " sent=0 received=0 started=1700000000.000000 seconds=0.000000 end=closed"
    )
    fields = record.fields()
    assert fields["method"] == "connect"
    assert fields["asked"] == "www.example.org"
    assert fields["asked_port"] == 443


@pytest.mark.parametrize(
    ("user", "text"),
    [
        ("ann", "user=ann"),
        ("Änne", "user=Änne"),
        ("ann b", 'user="ann b"'),
        ("end=x", 'user="end=x"'),
        ('a"\\b', r'user="a\"\\b"'),
    ],
)
def test_the_user_of_a_proxy(user: str, text: str) -> None:
    record = of_a_proxy()
    assert "user" not in record.text()
    assert "user" not in record.fields()
    record.user = user
    assert f" method=connect {text} mapped=192.0.2.1:1080 " in record.text()
    assert record.fields()["user"] == user
    record.end = ""
    assert f" {text} " in record.text()


def test_what_it_asked_for_is_part_of_where_it_went() -> None:
    record = of_a_proxy()
    record.discreet = True
    assert "example" not in record.text()
    assert "method=connect" in record.text()
    assert "asked" not in record.fields()


def test_a_client_of_a_proxy_that_was_refused() -> None:
    asked = "2001:db8::80", 25
    record = Record(
        ("192.0.2.7", 4),
        ("192.0.2.1", 1080),
        "port not allowed",
        1.0,
        method="connect",
        asked=asked,
    )
    assert record.fields()["event"] == "refused"
    assert "asked=[2001:db8::80]:25" in record.text()
