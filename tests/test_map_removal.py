"""Which sessions end with a static map; tests/netns/test_map_commands.py has real ones."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from faith.daemon.config import static_map
from faith.daemon.services.map_removal import SLICE, MapRemoval
from faith.translation.map_table import Maps

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


def inward(mapped: str, port: int = 80, parent: Any = None) -> Any:
    route = SimpleNamespace(mapped=mapped, source="2001:db8:ffff::c000:201")
    return _session("192.0.2.1", route, port, parent)


def outward(client: str, source: str | None) -> Any:
    return _session(client, SimpleNamespace(mapped="2001:db8:ffff::1", source=source), 80, None)


def _session(client: str, route: Any, port: int, parent: Any) -> Any:
    return SimpleNamespace(
        client_host=client, route=route, mapped_port=port, parent=parent, end=None
    )


def ended(*sessions: Any) -> list[Any]:
    """Those of *sessions* that end when the maps change."""
    killed: list[Any] = []
    turns: deque[Callable[[], None]] = deque()
    relay = SimpleNamespace(
        sessions=lambda: [*sessions], kill=killed.append, policy=SimpleNamespace(maps=NOW)
    )
    MapRemoval(SimpleNamespace(call_soon=turns.append), relay, BEFORE)  # type: ignore[arg-type]
    while turns:
        turns.popleft()()
    return killed


def test_those_that_came_by_a_map_that_is_gone() -> None:
    gone, stays, lent = inward("198.51.100.1"), inward("198.51.100.3"), inward("198.51.100.9")
    assert ended(gone, stays, lent) == [gone]


def test_a_port_may_be_gone_and_its_ftp_data_with_it() -> None:
    control = inward("198.51.100.2", 21)
    data = inward("198.51.100.2", 40000, control)
    web = inward("198.51.100.2")
    assert ended(control, data, web) == [control, data]


def test_those_that_come_from_an_address_that_is_given_back() -> None:
    gone = outward("2001:db8::1", "198.51.100.1")
    by_a_rule = outward("2001:db8::1", "192.0.2.7")
    others = outward("2001:db8::3", "198.51.100.3"), outward("2001:db8::9%eth0", None)
    assert ended(gone, by_a_rule, *others) == [gone]


def test_many_are_looked_at_in_turns() -> None:
    gone = [inward("198.51.100.1") for _ in range(SLICE * 2 + 1)]
    gone[7].end = "closed"
    assert ended(*gone) == gone[:7] + gone[8:]
