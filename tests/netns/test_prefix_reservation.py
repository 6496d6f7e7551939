"""Prefixes that are reserved for as long as a daemon runs, as the kernel has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from faith.daemon.host import discovery, prefix_reservation
from faith.daemon.host.prefix_reservation import release, release_abandoned, reserve
from faith.daemon.observe.status_report import Daemon
from faith.errors import SetupError
from faith.kernel.netlink import routes
from faith.kernel.netlink.routes import OF_DAEMONS, PROTOCOL
from faith.kernel.nft import guard
from faith.translation.prefix import LOW32, RFC6052, Prefix

if TYPE_CHECKING:
    from collections.abc import Callable

    Held = Callable[[Prefix], None]

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]

PREFIX = Prefix.parse("2001:db8:ffff::/96")
OTHER = Prefix.parse("2001:db8:fffe::/96")
WITHIN = Prefix.parse("2001:db8:ffff::/64", LOW32)


@pytest.fixture
def held_by_another(monkeypatch: pytest.MonkeyPatch) -> Held:
    """``held_by_another(prefix)``: from then on another faithd has set it up."""

    def hold(prefix: Prefix) -> None:
        usual: dict[str, Any] = {"via": "route", "started": 0.0, "prefixes": []}
        other = Daemon(1, "web", "80", sets_up=[str(prefix)], **usual)
        monkeypatch.setattr(discovery, "running", lambda: [other])

    return hold


def test_it_is_reserved_guarded_and_a_daemons() -> None:
    assert reserve([PREFIX, OTHER]) == [PREFIX, OTHER]
    assert routes.owners() == {PREFIX: OF_DAEMONS, OTHER: OF_DAEMONS}
    assert guard.inspect().covers(PREFIX)
    release([PREFIX, OTHER])
    assert routes.reserved() == []
    assert not guard.inspect().present


def test_what_faith_e_has_reserved_stays() -> None:
    routes.reserve(PREFIX)
    assert reserve([PREFIX]) == []
    release([PREFIX])
    assert routes.owners() == {PREFIX: PROTOCOL}


def test_what_faith_e_has_reserved_since_stays() -> None:
    reserve([PREFIX])
    routes.reserve(PREFIX)
    release([PREFIX])
    assert routes.owners() == {PREFIX: PROTOCOL}


def test_what_an_older_program_before_has_left_unmarked_is_ours() -> None:
    routes.reserve(PREFIX)
    assert reserve([PREFIX], ours=[PREFIX]) == [PREFIX]
    assert routes.owners() == {PREFIX: OF_DAEMONS}


def test_what_a_killed_daemon_has_left_is_its_successors() -> None:
    routes.reserve(PREFIX, owner=OF_DAEMONS)
    assert reserve([PREFIX]) == [PREFIX]
    release([PREFIX])
    assert routes.reserved() == []


def test_what_a_killed_daemon_has_left_and_nobody_wants_is_released(
    held_by_another: Held, caplog: pytest.LogCaptureFixture
) -> None:
    third = Prefix.parse("64:ff9b::/96")
    routes.reserve(PREFIX, OTHER, owner=OF_DAEMONS)
    routes.reserve(third)
    held_by_another(OTHER)
    with caplog.at_level("INFO"):
        release_abandoned([])
    assert routes.owners() == {third: PROTOCOL, OTHER: OF_DAEMONS}
    assert f"released the prefixes of a faithd that was killed: {PREFIX}" in caplog.text


def test_what_another_faithd_holds_is_set_up_by_both_and_goes_with_the_last(
    held_by_another: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes.reserve(PREFIX, owner=OF_DAEMONS)
    held_by_another(PREFIX)
    assert reserve([PREFIX]) == [PREFIX]
    release([PREFIX])
    assert routes.reserved() == [PREFIX]
    monkeypatch.setattr(discovery, "running", list)
    release([PREFIX])
    assert routes.reserved() == []
    release([PREFIX])  # nothing is left to do


def test_many_are_reserved_and_released_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Daemons are asked once and the guard is written a few times, however many prefixes come."""
    many = [Prefix.parse(f"2001:db8:{number:x}::/96") for number in range(500)]
    asked: list[int] = []
    written: list[int] = []
    install = guard.install

    def ask() -> list[Daemon]:
        asked.append(1)
        return []

    def count(*arguments: Any) -> None:
        written.append(1)
        install(*arguments)

    monkeypatch.setattr(guard, "install", count)
    monkeypatch.setattr(discovery, "running", ask)
    assert reserve(many) == many
    assert routes.owners() == dict.fromkeys(many, OF_DAEMONS)
    assert all(map(guard.inspect().covers, many))
    release(many[100:])
    assert routes.reserved() == many[:100]
    release_abandoned([])
    assert routes.reserved() == []
    assert len(asked) == 2
    assert len(written) <= 4


def test_what_is_in_the_way_is_told_and_nothing_is_done() -> None:
    routes.reserve(PREFIX)
    with pytest.raises(SetupError, match=f"it overlaps {PREFIX}"):
        reserve([OTHER, WITHIN])
    assert routes.reserved() == [PREFIX]


def test_what_is_given_up_is_in_nobodys_way() -> None:
    reserve([PREFIX])
    again = Prefix(PREFIX.address, PREFIX.length, RFC6052)
    assert reserve([again], given_up=[PREFIX]) == [again]
    assert routes.owners() == {again: OF_DAEMONS}
    assert reserve([WITHIN], given_up=[again]) == [WITHIN]
    release([again])
    assert routes.owners() == {WITHIN: OF_DAEMONS}


def test_what_the_kernel_refuses_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = routes.reserve

    def refuse(*prefixes: Prefix, owner: int) -> None:
        before(prefixes[0], owner=owner)
        raise SetupError("reserve", "not here")

    monkeypatch.setattr(routes, "reserve", refuse)
    with pytest.raises(SetupError, match="not here"):
        reserve([PREFIX, OTHER])
    assert routes.reserved() == []
    assert not guard.inspect().present


def test_without_nftables_it_is_reserved_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(prefix_reservation, "keep_guarded", lambda coming=(), users=(): False)
    reserve([PREFIX])
    assert routes.reserved() == [PREFIX]
    assert "other servers of this host answer under 2001:db8:ffff::/96 too" in caplog.text
