"""Which servers are asked, as resolv.conf and the addresses of this host change."""

from __future__ import annotations

import logging
import os
from functools import partial
from typing import TYPE_CHECKING

import pytest
import uvloop

from faith.dns import upstream_servers
from faith.dns.cache import Cache
from faith.dns.dns_counters import Counters
from faith.dns.endpoint import Endpoint
from faith.dns.options import Options
from faith.dns.resolver import Resolver
from faith.dns.tasks import Tasks
from faith.dns.upstream_exchange import Exchange
from faith.dns.upstream_servers import Servers
from faith.dns.wire import NOERROR, SERVFAIL
from faith.errors import ConfigError
from faith.translation.prefix import Prefix
from tests.dns.messages import lines, question
from tests.dns.waiting import result_of, until
from tests.dns.zones import NameServer, Zones

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

OTHER = Endpoint("192.0.2.53")
ZONE = "$ORIGIN example.\n@ 300 IN SOA ns host 1 1 1 1 60\nwww 60 IN AAAA 2001:db8::80\n"


@pytest.fixture
def resolv_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "resolv.conf"
    monkeypatch.setattr(upstream_servers, "RESOLV_CONF", path)
    monkeypatch.setattr(upstream_servers, "LOOK", 0.01)
    return path


def run(main: Callable[[Servers], Awaitable[None]], *forward: Endpoint) -> None:
    async def all_of_it() -> None:
        tasks = Tasks()
        found = Servers(forward, tasks, Counters())
        try:
            await main(found)
        finally:
            await tasks.close()
            found.close()

    uvloop.run(all_of_it())


def write(path: Path, text: str) -> None:
    """Put another file there, as whoever manages resolv.conf does."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


def asked(found: Servers) -> list[str]:
    return [str(upstream.exchange.endpoint) for upstream in found.upstreams._all]


def test_resolv_conf_is_followed(resolv_conf: Path) -> None:
    async def main(found: Servers) -> None:
        write(resolv_conf, "nameserver 192.0.2.53\nnameserver 192.0.2.54\n")
        found.start([])
        assert asked(found) == ["192.0.2.53:53", "192.0.2.54:53"]
        kept = found.upstreams._all[1]
        write(resolv_conf, "nameserver 192.0.2.55\nnameserver 192.0.2.54\n")
        await until(lambda: asked(found) == ["192.0.2.55:53", "192.0.2.54:53"])
        assert found.upstreams._all[1] is kept, "with what is known of its health"
        os.unlink(resolv_conf)
        await until(lambda: not asked(found))
        write(resolv_conf, "nameserver 2001:db8::53\n")
        await until(lambda: asked(found) == ["[2001:db8::53]:53"])

    run(main)


@pytest.mark.parametrize("text", [None, "", "search example\n", "nameserver nobody\n"])
def test_one_that_names_nobody_yet_is_waited_for(
    text: str | None, resolv_conf: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(found: Servers) -> None:
        if text is not None:
            write(resolv_conf, text)
        found.start([])
        answer = await result_of(found.upstreams.ask, question("www.example."))
        assert answer.rcode == SERVFAIL

    run(main)
    assert caplog.messages == [f"{resolv_conf} names no server to ask yet"]


def test_a_question_under_way_is_answered_by_who_was_asked(
    resolv_conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream_servers, "in_resolv_conf", with_a_port)
    with NameServer(Zones(ZONE), delay=0.2) as server:

        async def main(found: Servers) -> None:
            write(resolv_conf, f"{server.host} {server.port}")
            found.start([])
            tasks = Tasks()
            waiting = tasks.start(
                result_of(found.upstreams.ask, question("www.example.")), "question"
            )
            await until(lambda: server.sources)
            write(resolv_conf, "192.0.2.99 53")
            await until(lambda: asked(found) == ["192.0.2.99:53"])
            assert (await waiting).rcode == NOERROR

        run(main)


def with_a_port(text: str) -> list[Endpoint]:
    """The server of a resolv.conf that says more than such a file can."""
    host, port = text.split()
    return [Endpoint(host, int(port))]


def test_that_nobody_was_asked_is_not_kept(resolv_conf: Path) -> None:
    """A name is there as soon as there is a server that knows it."""
    with NameServer(Zones(ZONE.replace("AAAA 2001:db8::80", "A 192.0.2.80"))) as server:

        async def main(found: Servers) -> None:
            options = Options((Prefix.parse("2001:db8:ffff::/96"),))
            resolver = Resolver(options, Cache(), found.upstreams, Tasks())
            asked = question("www.example.")
            find = partial(result_of, resolver.resolve, asked, options.view(0))
            found.start([])
            answer = await find()
            assert (answer.rcode, answer.lifetime) == (SERVFAIL, 0)
            found.upstreams.replace([Exchange(Endpoint(server.host, server.port))])
            answer = await find()
            assert lines(answer) == ["www.example. 60 IN AAAA 2001:db8:ffff::c000:250"]

        run(main)


class TestOurselves:
    OWN = Endpoint("2001:db8::1")

    @pytest.mark.parametrize("named", ["2001:db8::1", "2001:DB8:0::1"])
    def test_the_operator_is_told(self, named: str) -> None:
        async def main(found: Servers) -> None:
            with pytest.raises(ConfigError, match="where this server listens itself"):
                found.start([self.OWN])

        run(main, OTHER, Endpoint(named))

    def test_on_another_port_it_is_somebody_else(self) -> None:
        async def main(found: Servers) -> None:
            found.start([self.OWN])
            assert asked(found) == ["[2001:db8::1]:5353"]

        run(main, Endpoint("2001:db8::1", 5353))

    def test_it_is_told_which_are_asked(self) -> None:
        """These are left to the servers, whatever address of this host they are at."""

        async def main(found: Servers) -> None:
            assert not found.asks(Endpoint("127.0.0.1"))
            found.start([self.OWN])
            assert found.asks(Endpoint("127.0.0.1"))
            assert not found.asks(Endpoint("127.0.0.1", 5353))
            assert not found.asks(self.OWN)

        run(main, Endpoint("127.0.0.1"))

    def test_any_address_is_every_one(self) -> None:
        async def main(found: Servers) -> None:
            with pytest.raises(ConfigError):
                found.start([Endpoint("::")])

        run(main, Endpoint("127.0.0.1"))

    def test_of_several_in_resolv_conf_the_others_are_asked(
        self, resolv_conf: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def main(found: Servers) -> None:
            write(resolv_conf, "nameserver 2001:db8::1\nnameserver 192.0.2.53\n")
            found.start([self.OWN])
            assert asked(found) == ["192.0.2.53:53"]

        run(main)
        assert caplog.messages == ["[2001:db8::1]:53 is not asked: it is this server itself"]

    def test_an_address_that_comes_later_is_one_and_that_goes_is_not(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def main(found: Servers) -> None:
            found.refresh([self.OWN])  # before it has started
            found.start([])
            assert asked(found) == ["192.0.2.53:53", "[2001:db8::1]:53"]
            found.refresh([self.OWN])
            assert asked(found) == ["192.0.2.53:53"]
            found.refresh([])
            assert asked(found) == ["192.0.2.53:53", "[2001:db8::1]:53"]

        with caplog.at_level(logging.INFO):
            run(main, OTHER, self.OWN)
        assert "servers to ask: 192.0.2.53:53" in caplog.messages
