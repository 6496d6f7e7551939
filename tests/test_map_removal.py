"""Which sessions end with a static map or a prefix; real ones are in tests/netns/
test_map_commands.py and test_withdrawal.py."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from faith.daemon.config import static_map
from faith.daemon.services.map_removal import SLICE, MapRemoval, PrefixRemoval
from faith.relay.tcp.routing import Route
from faith.translation.map_table import Maps
from faith.translation.prefix import Prefix, Prefixes
from faith.translation.reasons import PREFIX_GONE

if TYPE_CHECKING:
    from collections.abc import Callable

BEFORE = Maps(
    static_map.parse(
        """
        198.51.100.1 2001:db8::1
        198.51.100.2 2001:db8::2 ports=21,80
        198.51.100.3 2001:db8::3
        """
    )
)
NOW = Maps(static_map.parse("198.51.100.2 2001:db8::2 ports=80\n198.51.100.3 2001:db8::3"))


def from_v4(mapped: str, port: int = 80, parent: Any = None) -> Any:
    route = Route(mapped, source="2001:db8:ffff::c000:201")
    return _session("192.0.2.1", route, port, parent)


def from_v6(client: str, source: str | None) -> Any:
    return _session(client, Route("2001:db8:ffff::1", source=source), 80, None)


def _session(client: str, route: Any, port: int, parent: Any) -> Any:
    return SimpleNamespace(
        client_host=client, route=route, mapped_port=port, parent=parent, end=None, method=""
    )


def ended(*sessions: Any) -> list[Any]:
    """Those of *sessions* that end when the maps change."""
    killed: list[Any] = []
    turns: deque[Callable[[], None]] = deque()
    relay = SimpleNamespace(
        sessions=lambda: [*sessions],
        kill=lambda session, why: killed.append(session),
        policy=SimpleNamespace(maps=NOW),
    )
    MapRemoval(SimpleNamespace(call_soon=turns.append), relay, BEFORE)  # type: ignore[arg-type]
    while turns:
        turns.popleft()()
    return killed


def test_those_that_came_by_a_map_that_is_gone() -> None:
    gone, stays, lent = from_v4("198.51.100.1"), from_v4("198.51.100.3"), from_v4("198.51.100.9")
    assert ended(gone, stays, lent) == [gone]


def test_a_port_may_be_gone_and_its_ftp_data_with_it() -> None:
    control = from_v4("198.51.100.2", 21)
    data = from_v4("198.51.100.2", 40000, control)
    web = from_v4("198.51.100.2")
    assert ended(control, data, web) == [control, data]


def test_the_clients_of_a_proxy_come_by_no_map() -> None:
    at_the_gateway = from_v4("198.51.100.1")
    at_the_gateway.method = "connect"
    gone, stays = from_v6("2001:db8::1", "198.51.100.1"), from_v6("2001:db8::1", None)
    gone.method = stays.method = "socks5"
    of_ipv4 = _session("192.0.2.7", Route("198.51.100.1"), 1080, None)
    of_ipv4.method = "http"
    assert ended(at_the_gateway, gone, stays, of_ipv4) == [gone]


def test_those_that_come_from_an_address_that_is_given_back() -> None:
    gone = from_v6("2001:db8::1", "198.51.100.1")
    by_a_rule = from_v6("2001:db8::1", "192.0.2.7")
    others = from_v6("2001:db8::3", "198.51.100.3"), from_v6("2001:db8::9%eth0", None)
    assert ended(gone, by_a_rule, *others) == [gone]


def test_many_are_looked_at_in_turns() -> None:
    gone = [from_v4("198.51.100.1") for _ in range(SLICE * 2 + 1)]
    gone[7].end = "closed"
    assert ended(*gone) == gone[:7] + gone[8:]


def withdrawn(*sessions: Any) -> list[tuple[Any, str]]:
    """Those of *sessions* that end when one prefix of two is gone, and why."""
    one, two = map(Prefix.parse, ("2001:db8:ffff::/96", "2001:db8:fffe::/96"))
    killed: list[tuple[Any, str]] = []
    turns: deque[Callable[[], None]] = deque()
    relay = SimpleNamespace(
        sessions=lambda: [*sessions],
        kill=lambda session, why: killed.append((session, why)),
        policy=SimpleNamespace(prefixes=Prefixes([two])),
    )
    loop = SimpleNamespace(call_soon=turns.append)
    PrefixRemoval(loop, relay, Prefixes([one, two]))  # type: ignore[arg-type]
    while turns:
        turns.popleft()()
    return killed


def session(mapped: str, source: str | None = None, parent: Any = None) -> Any:
    return _session("::", Route(mapped, source=source), 80, parent)


def test_those_to_a_prefix_that_is_gone_and_their_data_connections() -> None:
    gone, stays = session("2001:db8:ffff::1"), session("2001:db8:fffe::1")
    data = session("::", parent=gone)
    assert withdrawn(gone, stays, data) == [(gone, PREFIX_GONE), (data, PREFIX_GONE)]


def test_those_of_an_ipv4_client_that_the_prefix_stood_for() -> None:
    gone = session("198.51.100.1", "2001:db8:ffff::c000:201")
    others = [
        session("198.51.100.1", source)
        for source in ("2001:db8:fffe::c000:201", "2001:db8::1", None)
    ]
    assert withdrawn(gone, *others) == [(gone, PREFIX_GONE)]


def test_the_clients_of_a_proxy_go_by_no_prefix() -> None:
    asks, stays = session("2001:db8::53"), session("2001:db8::53", "2001:db8::1")
    asks.method, stays.method = "proxy", "connect"
    gone = session("2001:db8::53", "2001:db8:ffff::c000:201")
    gone.method = "socks5"
    assert withdrawn(asks, stays, gone) == [(gone, PREFIX_GONE)]
