"""The guard of what is reserved and what is about to be, as the kernel has it."""

from __future__ import annotations

import pytest

from faith.errors import PermissionNeeded
from faith.kernel.netlink import routes
from faith.kernel.nft import guard
from faith.kernel.nft.reservation import keep_guarded
from faith.translation.ports import Ports
from faith.translation.prefix import Prefix
from tests.netns.rights import without_capabilities

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]

PREFIX = Prefix.parse("2001:db8:ffff::/96")
OTHER = Prefix.parse("2001:db8:fffe::/96")
PORTS = Ports([(22, 22)])


def guarded() -> frozenset[tuple[int, int]]:
    return guard.inspect().networks


def networks(*prefixes: Prefix) -> frozenset[tuple[int, int]]:
    return frozenset((prefix.address, prefix.length) for prefix in prefixes)


def test_what_is_coming_is_guarded_before_it_is_there() -> None:
    assert keep_guarded([PREFIX])
    assert routes.reserved() == []
    assert guarded() == networks(PREFIX)


def test_what_is_reserved_stays_guarded_beside_what_is_coming() -> None:
    routes.reserve(PREFIX)
    assert keep_guarded()
    assert keep_guarded([OTHER])
    # Neighbours may be one network to the kernel: what counts is that both are covered.
    state = guard.inspect()
    assert state.covers(PREFIX)
    assert state.covers(OTHER)


def test_open_ports_stay_unless_others_are_said() -> None:
    routes.reserve(PREFIX)
    keep_guarded(open_ports=PORTS)
    keep_guarded()
    assert guard.inspect().open_ports == PORTS
    keep_guarded(open_ports=Ports([]))
    assert guard.inspect().open_ports == Ports([])


def test_the_guard_goes_with_the_last_prefix() -> None:
    routes.reserve(PREFIX)
    keep_guarded()
    routes.release(PREFIX)
    assert keep_guarded()
    assert not guard.inspect().present


def test_the_missing_right_is_named() -> None:
    with pytest.raises(PermissionNeeded, match="CAP_NET_ADMIN"):
        without_capabilities(lambda: keep_guarded([PREFIX]))
