"""The check before a prefix is reserved; tests/netns/test_reservation.py has the kernel."""

from __future__ import annotations

import pytest

from faith.errors import SetupError
from faith.kernel.netlink import routes
from faith.kernel.nft import guard
from faith.kernel.nft.guard import NoNftables
from faith.kernel.nft.reservation import check, keep_guarded
from faith.translation.prefix import LOW32, RFC6052, Prefix

PREFIX = Prefix.parse("2001:db8:ffff::/96")
OTHER = Prefix.parse("2001:db8:fffe::/96")
WIDE = Prefix.parse("2001:db8:100::/40", LOW32)


@pytest.fixture(autouse=True)
def no_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "conflicts_of", lambda prefixes: [])


def test_what_is_apart_or_the_same_can_be_reserved() -> None:
    check([PREFIX], [])
    check([PREFIX], [OTHER, PREFIX])


def test_the_same_prefix_with_another_layout_is_told_with_the_way_out() -> None:
    with pytest.raises(SetupError, match="layout low32 already") as error:
        check([Prefix.parse("2001:db8:100::/40", RFC6052)], [WIDE])
    assert "faith -d -p 2001:db8:100::/40" in str(error.value)


@pytest.mark.parametrize("inner", ["2001:db8:100::/48", "2001:db8:1ff::/96", "2001:db8::/32"])
def test_one_within_another_is_refused_by_name(inner: str) -> None:
    with pytest.raises(SetupError, match="overlaps 2001:db8:100::/40, which is reserved too"):
        check([Prefix.parse(inner, LOW32)], [Prefix.parse("64:ff9b::/96"), WIDE])


def test_those_that_come_together_must_not_overlap_either() -> None:
    inner = Prefix.parse("2001:db8:1ff::/96")
    with pytest.raises(SetupError, match=f"{inner}: it overlaps {WIDE}"):
        check([PREFIX, WIDE, inner], [OTHER])


def test_what_is_reserved_already_may_overlap() -> None:
    """Whoever reserved it may have had to: only what is new is judged."""
    check([PREFIX], [WIDE, Prefix.parse("2001:db8:1ff::/96")])


def test_what_is_in_the_way_on_the_host_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "conflicts_of", lambda some: [(some[0], f"{some[0]} is eth0's")])
    with pytest.raises(SetupError, match=f"reserve {PREFIX}: {PREFIX} is eth0's"):
        check([PREFIX], [OTHER])


def test_without_nftables_there_is_no_guard_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def inspect() -> object:
        raise NoNftables("guard", "Protocol not supported")

    monkeypatch.setattr(routes, "reserved", lambda: [PREFIX])
    monkeypatch.setattr(guard, "inspect", inspect)
    assert keep_guarded() is False


def test_it_does_not_try_for_ever_against_others(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[object] = []
    monkeypatch.setattr(routes, "reserved", lambda: [PREFIX])
    monkeypatch.setattr(guard, "install", lambda prefixes, ports, users: tries.append(prefixes))
    monkeypatch.setattr(guard, "inspect", guard.GuardState)
    with pytest.raises(SetupError, match="other programs keep changing it"):
        keep_guarded()
    assert 1 < len(tries) < 100
