"""Changes of the host's routing, each of which the watch notices."""

from __future__ import annotations

import select
import subprocess
from typing import TYPE_CHECKING

import pytest

from faith.flow.route_watch import RouteWatch
from tests.netns.rights import without_capabilities

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]


def ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)


@pytest.fixture
def watch() -> Iterator[RouteWatch]:
    ip("link add one type veth peer name two")
    ip("link set one up")
    ip("link set two up")
    ip("address add 192.0.2.1/24 dev one")
    made = RouteWatch.create()
    yield made
    made.close()


def settled(watch: RouteWatch) -> None:
    """Nothing more comes of what was before."""
    while select.select([watch], [], [], 0.3)[0]:
        watch.changed()


@pytest.mark.parametrize(
    "change",
    [
        "route add 198.51.100.0/24 via 192.0.2.9",
        "-6 route add 2001:db8::/32 dev one",
        "address add 192.0.2.2/24 dev one",
        "-6 address add 2001:db8::1/64 dev one nodad",
        "link set one mtu 1400",
        "link set one down",
        "rule add from 192.0.2.1 lookup 77",
        "-6 rule add from 2001:db8::/32 lookup 77",
        "link add three type veth peer name four",
    ],
)
def test_a_change_is_noticed(watch: RouteWatch, change: str) -> None:
    settled(watch)
    ip(change)
    assert select.select([watch], [], [], 5)[0]
    assert watch.changed()


def test_where_nothing_happens_nothing_is_noticed() -> None:
    watch = RouteWatch.create()
    assert not watch.changed()
    watch.close()


def test_a_storm_that_overflows_the_socket_is_a_change(watch: RouteWatch) -> None:
    settled(watch)
    batch = "".join(f"route add 10.{n >> 8}.{n & 255}.0/24 via 192.0.2.9\n" for n in range(8000))
    subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)
    watching = select.poll()
    watching.register(watch, select.POLLIN)
    # with an error, libuv would stop to look
    assert watching.poll(0) == [(watch.fileno(), select.POLLIN)]
    seen = 0
    while select.select([watch], [], [], 0.3)[0]:
        seen += watch.changed()
    assert seen >= 1


def test_it_takes_no_privilege(watch: RouteWatch) -> None:
    without_capabilities(lambda: RouteWatch.create().close())
