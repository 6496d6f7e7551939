"""The supervisor's IPv4 side, on a kernel of words."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from faith.daemon.host import discovery
from faith.daemon.host.mapped_networks import MappedNetworks
from faith.errors import SetupError
from faith.kernel.netlink import mapped_routes
from faith.kernel.nft.guard import Guard, NoNftables
from faith.kernel.steering import mapped_steering

if TYPE_CHECKING:
    from collections.abc import Collection

OURS = os.getpid()
ONE, TWO, WHOLE = (0xC6336401, 32), (0xC6336402, 32), (0xC6336400, 24)
THREE, FOUR, SEVEN, TEN = ((0xC6336400 + host, 32) for host in (3, 4, 7, 10))
TWO_AND_THREE = (0xC6336402, 31)


class Kernel:
    """Routes, a guard, and what was done in which order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.routes: dict[int, set[tuple[int, int]]] = {}
        self.guard: list[tuple[int, int]] = []
        self.changes = 0
        self.reads = 0
        self.has_nftables = True
        self.refuses = False
        self.steered: list[Any] = []
        self.listeners = [["first"], ["second"]]
        self.method = "sk_lookup"
        for module, names in ((mapped_routes, ("held", "hold", "release", "unanswered")),):
            for name in names:
                monkeypatch.setattr(module, name, getattr(self, name))
        for name in ("change", "is_intact", "generation", "fits"):
            its = getattr(self, name)
            monkeypatch.setattr(Guard, name, lambda _, *args, its=its: its(*args))
        monkeypatch.setattr(mapped_steering, "create", lambda method, workers: self)
        monkeypatch.setattr(discovery, "running", lambda: [SimpleNamespace(pid=OURS + 1)])

    def held(self) -> dict[int, set[tuple[int, int]]]:
        self.reads += 1
        return {process: set(networks) for process, networks in self.routes.items() if networks}

    def hold(self, networks: Collection[tuple[int, int]], process: int) -> None:
        if self.refuses:
            raise SetupError("map IPv4 networks", "no")
        self.done += ["hold"] * bool(networks)
        self.routes.setdefault(process, set()).update(networks)

    def release(self, networks: Collection[tuple[int, int]], process: int) -> None:
        self.done += ["release"] * bool(networks)
        self.routes.setdefault(process, set()).difference_update(networks)

    def unanswered(self, networks: Collection[tuple[int, int]]) -> list[str]:
        return ["somebody is deaf"] if networks else []

    def change(self, ranges: list[tuple[int, int]], known: object, users: object) -> None:
        self.done.append("guard")
        self.guard = ranges
        self.changes += 1

    def is_intact(self, ranges: list[tuple[int, int]], users: object) -> bool:
        return self.guard == ranges

    def fits(self) -> bool:
        return True

    def generation(self) -> int:
        if not self.has_nftables:
            raise NoNftables("guard", "no")
        return self.changes

    def steer(self, networks: object, holes: object) -> None:
        self.done.append("steer")
        self.steered = [networks, holes]

    def close(self) -> None:
        self.done.append("close")


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


@pytest.fixture
def side(kernel: Kernel) -> MappedNetworks:
    shared: list[object] = []
    made = MappedNetworks("auto", 2, lambda: shared.extend(map(made.listeners, range(2))))
    made.shared = shared  # type: ignore[attr-defined]
    made.start()
    return made


def test_nothing_is_done_without_maps(kernel: Kernel, side: MappedNetworks) -> None:
    side.follow((), ())
    assert not side.look()
    assert not side.look_at_routes()
    side.close()
    assert kernel.done == []


def test_it_is_guarded_before_it_is_there_and_steered_after(
    kernel: Kernel, side: MappedNetworks
) -> None:
    side.follow((ONE,), ())
    assert kernel.done == ["guard", "hold", "steer"]
    assert side.shared == [["first"], ["second"]]  # type: ignore[attr-defined]
    kernel.done.clear()
    side.follow((TWO,), ())
    assert kernel.done == ["guard", "hold", "steer", "release", "guard"]
    assert kernel.held() == {OURS: {TWO}}
    assert kernel.guard == [(TWO[0], TWO[0])]
    kernel.done.clear()
    side.close()
    assert kernel.done == ["close", "release", "guard"]
    assert (kernel.held(), kernel.guard) == ({}, [])


def test_the_gateways_own_addresses_are_no_part_of_it(kernel: Kernel, side: MappedNetworks) -> None:
    side.follow((WHOLE,), (ONE, (0x7F000000, 8)))
    assert kernel.steered == [(WHOLE,), [ONE]]
    assert kernel.guard == [(WHOLE[0], WHOLE[0]), (TWO[0], WHOLE[0] | 255)]


def test_the_guard_is_of_what_others_hold_too(kernel: Kernel, side: MappedNetworks) -> None:
    kernel.routes[OURS + 1] = {TWO}
    side.follow((ONE,), ())
    assert kernel.guard == [(ONE[0], TWO[0])]
    side.close()
    assert kernel.guard == [(TWO[0], TWO[0])]


def alone(*networks: tuple[int, int]) -> list[tuple[int, int]]:
    return [(address, address) for address, _ in networks]


def test_a_new_network_is_guarded_beside_the_others_which_are_not_read_again(
    kernel: Kernel, side: MappedNetworks
) -> None:
    kernel.routes[OURS + 1] = {FOUR}
    side.follow((ONE,), (TWO,))
    kernel.reads = 0
    side.follow((ONE, THREE), (TWO,))
    assert kernel.reads == 0
    assert kernel.guard == [*alone(ONE), (THREE[0], FOUR[0])]
    kernel.changes += 1  # another daemon's, which may hold others now
    kernel.routes[OURS + 1] = {TEN}
    side.follow((ONE, THREE, SEVEN), (TWO,))
    assert kernel.guard == alone(ONE, THREE, SEVEN, TEN)
    side.follow((TWO, THREE, SEVEN), ())
    assert kernel.guard == [(TWO[0], THREE[0]), *alone(SEVEN, TEN)]


def test_networks_that_are_joined_stay_under_guard(kernel: Kernel, side: MappedNetworks) -> None:
    side.follow((TWO, SEVEN), ())
    kernel.reads = 0
    side.follow((TWO_AND_THREE, SEVEN), ())
    assert kernel.done[-4:] == ["guard", "hold", "steer", "release"]
    assert kernel.reads == 0
    side.follow((TWO, SEVEN), ())
    assert kernel.guard == alone(TWO, SEVEN)
    assert kernel.held() == {OURS: {TWO, SEVEN}}


def test_after_a_refusal_all_is_read(kernel: Kernel, side: MappedNetworks) -> None:
    side.follow((ONE,), ())
    kernel.refuses = True
    with pytest.raises(SetupError):
        side.follow((ONE, SEVEN), ())
    kernel.refuses = False
    side.follow((ONE, TEN), ())
    assert kernel.guard == alone(ONE, TEN)


def test_its_own_routes_are_no_news(
    kernel: Kernel, side: MappedNetworks, monkeypatch: pytest.MonkeyPatch
) -> None:
    side.follow((ONE,), ())
    known = {}
    for network in (ONE, TWO):
        for process in (OURS, OURS + 1):
            for came in (True, False):
                change = network, process, came
                monkeypatch.setattr(mapped_routes, "change", lambda *_, change=change: change)
                known[change] = side.knows(24, b"")
    assert [change for change, is_known in known.items() if is_known] == [
        (ONE, OURS, True),
        (TWO, OURS, False),
    ]
    monkeypatch.setattr(mapped_routes, "change", lambda *_: None)
    assert not side.knows(24, b"")


def test_what_dead_ones_left_goes_and_what_living_ones_hold_stays(
    kernel: Kernel, side: MappedNetworks
) -> None:
    kernel.routes = {OURS + 1: {ONE}, OURS + 2: {TWO}}
    side.start()
    assert kernel.held() == {OURS + 1: {ONE}}


def test_the_next_program_goes_on_with_what_the_process_holds(kernel: Kernel) -> None:
    kernel.routes = {OURS: {ONE, TWO}}
    side = MappedNetworks("auto", 2, lambda: None)
    side.start()
    side.follow((ONE,), ())
    assert kernel.held() == {OURS: {ONE}}
    assert "hold" not in kernel.done


def test_what_others_do_is_put_right(kernel: Kernel, side: MappedNetworks) -> None:
    side.follow((ONE,), ())
    assert not side.look()
    kernel.changes += 1  # something else in nftables
    assert not side.look()
    kernel.guard, kernel.changes = [], kernel.changes + 1
    assert side.look()
    assert kernel.guard == [(ONE[0], ONE[0])]
    assert not side.look_at_routes()
    kernel.routes.clear()
    assert side.look_at_routes()
    assert kernel.held() == {OURS: {ONE}}


def test_without_nftables_it_goes_on_and_says_so_once(
    kernel: Kernel, side: MappedNetworks, caplog: pytest.LogCaptureFixture
) -> None:
    kernel.has_nftables = False
    side.follow((ONE,), ())
    side.follow((TWO,), ())
    assert caplog.text.count("this kernel has no nftables") == 1
    assert kernel.held() == {OURS: {TWO}}
    assert not side.look()


def test_what_keeps_arp_from_being_answered_is_told(
    kernel: Kernel, side: MappedNetworks, caplog: pytest.LogCaptureFixture
) -> None:
    side.follow((ONE,), ())
    assert "somebody is deaf" in caplog.text


def test_a_refusal_is_raised_and_the_old_maps_can_be_gone_back_to(
    kernel: Kernel, side: MappedNetworks
) -> None:
    side.follow((ONE,), ())
    kernel.refuses = True
    with pytest.raises(SetupError):
        side.follow((ONE, TWO), ())
    kernel.refuses = False
    side.follow((ONE,), ())
    assert kernel.held() == {OURS: {ONE}}
    assert kernel.guard == [(ONE[0], ONE[0])]
