"""The answers of name servers, real ones on this host."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from faith.cli.explain import name_answers
from faith.cli.explain.facts import NO_NAME, NOBODY, REFUSED, NameFacts
from tests.dns.zones import EXAMPLE, NameServer, Zones

if TYPE_CHECKING:
    import pytest

ZONE = f"{EXAMPLE}www 60 IN A 192.0.2.80\nboth 60 IN A 192.0.2.81\nboth 60 IN AAAA 2001:db8::1\n"


def ask(name: str, server: NameServer) -> NameFacts:
    address = f"{server.host}#{server.port}"
    return name_answers.ask(name, [address], ours=False, configured=False)


def test_addresses() -> None:
    with NameServer(Zones(ZONE)) as server:
        found = ask("www.example", server)
        assert (found.v4, found.v6, found.error) == (("192.0.2.80",), (), "")
        assert ask("both.example", server).v6 == ("2001:db8::1",)
        assert ask("missing.example", server).error == NO_NAME


def test_a_server_at_all_addresses() -> None:
    """Which `listen` of [dns] may name as :: or 0.0.0.0: it answers from another."""
    for host in ("::", "0.0.0.0"):
        with NameServer(Zones(ZONE), host) as server:
            assert ask("www.example", server).v4 == ("192.0.2.80",)


def test_an_answer_that_is_too_long_for_a_datagram() -> None:
    many = "".join(f"many 60 IN A 192.0.2.{number}\n" for number in range(1, 60))
    with NameServer(Zones(f"{EXAMPLE}{many}"), "0.0.0.0") as server:
        assert len(ask("many.example", server).v4) == 59
        assert server.by_tcp


def test_a_name_of_another_zone() -> None:
    with NameServer(Zones(ZONE)) as server:
        assert ask("www.other", server).error in (REFUSED, "SERVFAIL", NO_NAME)


def test_a_server_that_is_not_there() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = name_answers.ask("x", [f"127.0.0.1#{port}"], ours=True, configured=True)
    assert (found.error, found.ours, found.configured) == (NOBODY, False, True)


def test_a_server_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_answers, "TIMEOUT", 0.1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        address = f"127.0.0.1#{mute.getsockname()[1]}"
        found = name_answers.ask("x", [address], ours=True, configured=True)
    assert "no answer" in found.error
    assert found.ours


def test_the_next_server_is_asked() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free,
        NameServer(Zones(ZONE)) as server,
    ):
        free.bind(("127.0.0.1", 0))
        dead = f"127.0.0.1#{free.getsockname()[1]}"
        free.close()
        servers = [dead, f"{server.host}#{server.port}"]
        found = name_answers.ask("www.example", servers, ours=False, configured=False)
    assert found.v4 == ("192.0.2.80",)
