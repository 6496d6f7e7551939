"""Names for the clients of a proxy: by hosts(5), by servers, and how failures are told apart."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
import uvloop

from faith.daemon.config.worker_settings import NameSettings
from faith.daemon.services import proxy_names
from faith.daemon.services.proxy_names import OVER_SHARE, ProxyNames
from faith.dns.endpoint import Endpoint
from faith.relay.proxy.name_search import Found
from faith.translation.reasons import NAME_FAILED, NO_NAME
from tests.dns.zones import NameServer, Zones

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

ZONE = """$ORIGIN example.
@ 300 IN SOA ns host 1 3600 1200 604800 60
both 60 IN A 192.0.2.80
both 60 IN A 192.0.2.81
both 60 IN AAAA 2001:db8::80
v4 60 IN A 192.0.2.82
alias 60 IN CNAME both
text 60 IN TXT "no address"
"""


@pytest.fixture
def zones() -> Zones:
    return Zones(ZONE)


@pytest.fixture
def server(zones: Zones) -> Iterator[NameServer]:
    with NameServer(zones) as server:
        yield server


def found(
    name: str, server: NameServer, hosts: Path | str = "/nonexistent"
) -> dict[int, Found | None]:
    """What is found for *name*, by family."""
    settings = NameSettings((Endpoint(server.host, server.port),))

    async def main() -> dict[int, Found | None]:
        names = ProxyNames(settings, str(hosts))
        try:
            return await look(names, name)
        finally:
            names.close()

    return uvloop.run(main())


async def look(names: ProxyNames, name: str, client: int = 1) -> dict[int, Found | None]:
    answers: asyncio.Queue[Found] = asyncio.Queue()
    names.look_up(name, answers.put_nowait, client)
    async with asyncio.timeout(20):
        both = [await answers.get(), await answers.get()]
    assert answers.empty()
    return {one.family: one for one in both}


@pytest.mark.parametrize(
    ("name", "v4", "v6"),
    [
        ("both.example", Found(4, ("192.0.2.80", "192.0.2.81")), Found(6, ("2001:db8::80",))),
        ("alias.example", Found(4, ("192.0.2.80", "192.0.2.81")), Found(6, ("2001:db8::80",))),
        ("v4.example", Found(4, ("192.0.2.82",)), Found(6)),
        ("text.example", Found(4), Found(6)),
        ("none.example", Found(4, (), NO_NAME), Found(6, (), NO_NAME)),
        ("elsewhere.test", Found(4, (), NAME_FAILED), Found(6, (), NAME_FAILED)),
    ],
)
def test_each_family_has_its_addresses_or_a_reason(
    name: str, v4: Found, v6: Found, server: NameServer
) -> None:
    answers = found(name, server)
    assert answers.keys() == {4, 6}
    assert answers[4] is not None
    assert set(answers[4].addresses) == set(v4.addresses)
    assert answers[4].failure == v4.failure
    assert answers[6] == v6


@pytest.mark.parametrize(
    "name",
    [
        *("localhost", "a.localhost", "some.invalid", "service.onion"),
        *("", "a..example", f"{'a' * 64}.example", f"{'a.' * 127}example", "bjørn.example"),
    ],
)
def test_what_leads_nowhere_is_not_asked_for(name: str, server: NameServer, zones: Zones) -> None:
    assert found(name, server) == {6: Found(6, (), NO_NAME), 4: Found(4, (), NO_NAME)}
    assert zones.asked == []


def test_the_file_of_hosts_comes_first(server: NameServer, zones: Zones, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(
        "127.0.0.1 localhost\n192.0.2.9\tBoth.Example other # comment\n2001:db8::9 both.example.\n"
        "nonsense both.example\n192.0.2.9 both.example\n192.0.2.10 other\n"
    )
    both = found("both.example", server, hosts)
    assert both == {4: Found(4, ("192.0.2.9",)), 6: Found(6, ("2001:db8::9",))}
    other = found("other", server, hosts)
    assert other == {4: Found(4, ("192.0.2.9", "192.0.2.10")), 6: Found(6)}
    assert zones.asked == []
    assert found("v4.example", server, hosts)[4] == Found(4, ("192.0.2.82",))


def test_the_file_of_hosts_is_followed(server: NameServer, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    settings = NameSettings((Endpoint(server.host, server.port),))

    async def main() -> None:
        names = ProxyNames(settings, str(hosts))
        assert (await look(names, "v4.example"))[4] == Found(4, ("192.0.2.82",))
        for address in ("192.0.2.7", "192.0.2.87"):
            hosts.with_suffix(".new").write_text(f"{address} v4.example\n")
            hosts.with_suffix(".new").rename(hosts)
            assert (await look(names, "v4.example"))[4] == Found(4, (address,))
        names.close()

    uvloop.run(main())


def test_answers_are_kept(server: NameServer, zones: Zones) -> None:
    async def main() -> None:
        names = ProxyNames(NameSettings((Endpoint(server.host, server.port),)), "/nonexistent")
        first = await look(names, "v4.example")
        assert await look(names, "v4.example") == first
        assert await look(names, "none.example") == await look(names, "none.example")
        names.close()

    uvloop.run(main())
    assert sorted(zones.asked) == [
        *("none.example. a", "none.example. aaaa", "v4.example. a", "v4.example. aaaa"),
    ]


class Held:
    """A server whose answers wait."""

    def __init__(self, zones: Zones) -> None:
        self.zones = zones
        self.asked = threading.Event()
        self.free = threading.Event()

    def __call__(self, query: bytes) -> bytes:
        self.asked.set()
        assert self.free.wait(10)
        return self.zones(query)


def with_held(main: Callable[[ProxyNames, Held, NameServer], Awaitable[None]]) -> None:
    held = Held(Zones(ZONE))
    with NameServer(held) as server:

        async def all_of_it() -> None:
            names = ProxyNames(NameSettings((Endpoint(server.host, server.port),)), "/nonexistent")
            try:
                await main(names, held, server)
            finally:
                held.free.set()
                names.close()

        uvloop.run(all_of_it())


async def asked(held: Held) -> None:
    assert await asyncio.get_running_loop().run_in_executor(None, held.asked.wait, 10)


def test_what_is_cancelled_calls_nobody() -> None:
    async def main(names: ProxyNames, held: Held, server: NameServer) -> None:
        got: list[Found] = []
        search = names.look_up("both.example", got.append, 1)
        async with asyncio.TaskGroup() as tasks:
            other = tasks.create_task(look(names, "both.example"))
            await asked(held)
            search.cancel()
            search.cancel()
            held.free.set()
        assert other.result()[6] == Found(6, ("2001:db8::80",))
        assert got == []
        assert not len(names._searches)

    with_held(main)


def test_who_cancels_in_an_answer_gets_no_other(server: NameServer) -> None:
    async def main() -> None:
        names = ProxyNames(NameSettings((Endpoint(server.host, server.port),)), "/nonexistent")
        await look(names, "v4.example")
        got: list[Found] = []

        def enough(one: Found) -> None:
            got.append(one)
            search.cancel()

        search = names.look_up("text.example", enough, 1)
        await look(names, "text.example")
        assert len(got) == 1
        assert not len(names._searches)
        names.close()

    uvloop.run(main())


def test_there_is_an_end_to_searches_and_a_share_of_each_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proxy_names, "MOST", 4)

    async def main(names: ProxyNames, held: Held, server: NameServer) -> None:
        async with asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(look(names, f"{one}.example")) for one in ("both", "v4")]
            await asked(held)
            assert (await look(names, "none.example"))[4] == Found(4, (), OVER_SHARE)
            other = tasks.create_task(look(names, "v4.example", client=2))
            held.free.set()
        assert all(one.result()[4] != Found(4, (), OVER_SHARE) for one in (*waiting, other))
        assert (await look(names, "none.example"))[4] == Found(4, (), NO_NAME)

    with_held(main)


def test_other_servers_are_asked_from_the_next_name_on() -> None:
    async def main(names: ProxyNames, held: Held, server: NameServer) -> None:
        async with asyncio.TaskGroup() as tasks:
            before = tasks.create_task(look(names, "v4.example"))
            await asked(held)
            with NameServer(Zones(ZONE.replace("192.0.2.82", "198.51.100.82"))) as other:
                names.apply(NameSettings((Endpoint(other.host, other.port),)))
                assert (await look(names, "v4.example"))[4] == Found(4, ("198.51.100.82",))
            held.free.set()
        assert before.result()[4] == Found(4, ("192.0.2.82",))

    with_held(main)


def test_a_daemon_does_not_ask_itself(caplog: pytest.LogCaptureFixture) -> None:
    own = Endpoint("127.0.0.1", 53)

    async def main() -> None:
        names = ProxyNames(NameSettings((own,), (own,)), "/nonexistent")
        assert (await look(names, "v4.example"))[4] == Found(4, (), NAME_FAILED)

    uvloop.run(main())
    assert "no names for the clients of proxies" in caplog.text
