"""Prefixes that are reserved for as long as a daemon runs, as the kernel has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from faith.daemon.host import discovery, prefix_reservation
from faith.daemon.host.discovery import Running
from faith.daemon.host.prefix_reservation import release, reservation
from faith.errors import SetupError
from faith.kernel.netlink import routes
from faith.kernel.nft import guard
from faith.translation.prefix import LOW32, Prefix

if TYPE_CHECKING:
    from collections.abc import Callable

    Held = Callable[[Prefix], None]

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]

PREFIX = Prefix.parse("2001:db8:ffff::/96")
WITHIN = Prefix.parse("2001:db8:ffff::/64", LOW32)


@pytest.fixture
def held_by_another(monkeypatch: pytest.MonkeyPatch) -> Held:
    """``held_by_another(prefix)``: from then on another faithd has set it up."""

    def hold(prefix: Prefix) -> None:
        usual: dict[str, Any] = {"via": "route", "workers": 1, "started": 0.0, "prefixes": []}
        other = Running(1, "web", "80", sets_up=[str(prefix)], **usual)
        monkeypatch.setattr(discovery, "running", lambda: [other])

    return hold


def test_within_the_block_it_is_reserved_and_guarded_and_afterwards_not() -> None:
    with reservation(PREFIX) as set_up:
        assert set_up
        assert routes.reserved() == [PREFIX]
        assert guard.inspect().covers(PREFIX)
    assert routes.reserved() == []
    assert not guard.inspect().present


def test_an_error_in_the_block_undoes_it_too() -> None:
    with pytest.raises(ZeroDivisionError), reservation(PREFIX):
        raise ZeroDivisionError
    assert routes.reserved() == []


def test_what_faith_e_has_reserved_stays() -> None:
    routes.reserve(PREFIX)
    with reservation(PREFIX) as set_up:
        assert not set_up
    assert routes.reserved() == [PREFIX]


def test_what_the_program_before_has_left_is_ours() -> None:
    routes.reserve(PREFIX)
    with reservation(PREFIX, ours=True) as set_up:
        assert set_up
    assert routes.reserved() == []


def test_what_another_faithd_holds_is_set_up_by_both_and_goes_with_the_last(
    held_by_another: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes.reserve(PREFIX)
    held_by_another(PREFIX)
    with reservation(PREFIX) as set_up:
        assert set_up
    assert routes.reserved() == [PREFIX]
    monkeypatch.setattr(discovery, "running", list)
    release(PREFIX)
    assert routes.reserved() == []
    release(PREFIX)  # nothing is left to do


def test_what_is_in_the_way_is_told_and_nothing_is_done() -> None:
    routes.reserve(PREFIX)
    with pytest.raises(SetupError, match=f"it overlaps {PREFIX}"), reservation(WITHIN):
        pass
    assert routes.reserved() == [PREFIX]


def test_without_nftables_it_is_reserved_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(prefix_reservation, "keep_guarded", lambda coming=(): False)
    with reservation(PREFIX):
        assert routes.reserved() == [PREFIX]
    assert "other servers of this host answer under 2001:db8:ffff::/96 too" in caplog.text
