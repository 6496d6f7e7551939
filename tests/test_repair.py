"""Kernel state that other programs remove is restored, logged and counted."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from faith.daemon.host import repair
from faith.daemon.host.repair import Repair
from faith.daemon.observe.health import LAYOUT, REPAIRS, RelayHealth
from faith.daemon.process.loop import Loop
from faith.errors import SetupError
from faith.kernel.netlink import routes
from faith.kernel.nft import guard
from faith.kernel.nft.guard import USERS, Guard, GuardState, NoNftables
from faith.kernel.nft.translators import Translator
from faith.translation.ports import Ports
from faith.translation.prefix import Prefix

PREFIX = Prefix.parse("2001:db8:ffff::/96")
GUARD = GuardState(True, True, frozenset([(PREFIX.address, 96)]), Ports([(80, 80)]))


class Kernel:
    """Its tables, and the daemon that looks after them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.routes = [PREFIX]
        self.guard: GuardState | SetupError = GUARD
        self.guards = True
        self.reads = 0
        self.changes = 0
        self.refused: set[Prefix] = set()
        monkeypatch.setattr(routes, "reserved", lambda: self.routes)
        monkeypatch.setattr(routes, "reserve", self.reserve)
        monkeypatch.setattr(Guard, "generation", self.generation)
        monkeypatch.setattr(guard, "inspect", self.inspect)
        monkeypatch.setattr(repair, "keep_guarded", self.keep_guarded)
        self.cells = [0] * LAYOUT.size
        loop = Loop()
        self.set_up = [PREFIX]
        reservations: Any = SimpleNamespace(set_up=self.set_up, users=frozenset([0]))
        self.repair = Repair(loop, reservations, RelayHealth(self.cells))
        loop.close()

    def reserve(self, *prefixes: Prefix, owner: int) -> None:
        assert owner == routes.OF_DAEMONS
        self.routes += [prefix for prefix in prefixes if prefix not in self.refused]
        if self.refused.intersection(prefixes):
            raise SetupError("reserve", "somebody else's route is in the way")

    def generation(self) -> int:
        """A change is of the table as a whole."""
        if isinstance(self.guard, SetupError):
            raise self.guard
        return hash(self.guard) + self.changes

    def inspect(self) -> GuardState:
        self.reads += 1
        if isinstance(self.guard, SetupError):
            raise self.guard
        return self.guard

    def keep_guarded(self, *, open_ports: Ports = GUARD.open_ports, users: frozenset[int]) -> None:
        if self.guards:
            state = self.inspect()
            self.guard = replace(
                GUARD,
                open_ports=open_ports,
                users=USERS | users,
                translators=state.translators,
                keeps_untranslated=bool(state.translators),
            )

    @property
    def repairs(self) -> list[int]:
        return list(LAYOUT.of(REPAIRS, self.cells))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


def test_what_is_there_is_left_alone(kernel: Kernel) -> None:
    kernel.repair.look()
    assert kernel.repairs == [0, 0]


def test_a_route_is_put_back(kernel: Kernel) -> None:
    kernel.routes.clear()
    kernel.repair.look()
    assert kernel.routes == [PREFIX]
    assert kernel.repairs == [1, 0]


def test_a_guard_is_put_back_with_its_open_ports(kernel: Kernel) -> None:
    kernel.repair.look()
    kernel.guard = GuardState()
    kernel.repair.look()
    assert kernel.guard == GUARD
    assert kernel.repairs == [1, 0]


def test_a_guard_that_cannot_be_put_right_is_not_tried_for_ever(kernel: Kernel) -> None:
    kernel.repair.look()
    kernel.guards = False
    kernel.guard = GuardState()
    for _ in range(5):
        kernel.repair.look()
    assert kernel.repairs == [1, 0]


def test_nothing_is_put_back_that_never_was(kernel: Kernel) -> None:
    kernel.guard = GuardState()
    kernel.repair.look()
    assert kernel.guard == GuardState()


def test_without_a_prefix_no_guard_is_looked_for(
    kernel: Kernel, caplog: pytest.LogCaptureFixture
) -> None:
    kernel.set_up.clear()
    kernel.routes.clear()
    kernel.guard = SetupError("guard", "needs CAP_NET_ADMIN (run it as root)")
    kernel.repair.look()
    assert caplog.text == ""
    assert kernel.repairs == [0, 0]
    kernel.guard = GUARD
    kernel.routes.append(PREFIX)
    kernel.repair.look()
    kernel.guard = GuardState()
    kernel.repair.look()
    assert kernel.guard == GUARD
    assert kernel.repairs == [1, 0]


def test_what_cannot_be_done_is_said_once(kernel: Kernel, caplog: pytest.LogCaptureFixture) -> None:
    kernel.guard = SetupError("guard", "not permitted")
    with caplog.at_level(logging.ERROR):
        for _ in range(5):
            kernel.repair.look()
    assert len(caplog.records) == 1
    assert kernel.repairs == [0, 1]


def test_what_cannot_be_done_keeps_nothing_else_from_being_done(
    kernel: Kernel, caplog: pytest.LogCaptureFixture
) -> None:
    other = Prefix.parse("2001:db8:eeee::/96")
    kernel.repair.look()
    kernel.refused = {PREFIX}
    kernel.set_up.append(other)
    kernel.routes.clear()
    kernel.guard = GuardState()
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            kernel.repair.look()
    assert kernel.routes == [other]
    assert kernel.guard == GUARD
    assert len(caplog.records) == 1


def test_without_nftables_there_is_nothing_to_keep(kernel: Kernel) -> None:
    kernel.guard = NoNftables("guard", "there is no nftables")
    kernel.repair.look()
    assert kernel.repairs == [0, 0]


def test_what_has_not_changed_is_not_read_again(kernel: Kernel) -> None:
    kernel.repair.look()
    reads = kernel.reads
    for _ in range(3):
        kernel.repair._look()
    assert kernel.reads == reads
    kernel.changes += 1
    kernel.repair._look()
    assert kernel.reads == reads + 1


def test_chains_that_translate_are_told_and_kept_off_once(
    kernel: Kernel, caplog: pytest.LogCaptureFixture
) -> None:
    kernel.repair.look()
    docker = Translator("ip6", "docker", "pre", -100)
    kernel.guard = replace(GUARD, translators=(docker,))
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            kernel.repair.look()
    assert kernel.inspect().passed_by == ()
    assert [record.message for record in caplog.records] == [
        f"other programs translate addresses ({docker}): the guard keeps the prefixes from that"
    ]
    assert kernel.repairs == [0, 0], "nobody did any harm"


def test_the_user_of_the_workers_may_send(kernel: Kernel) -> None:
    reservations: Any = SimpleNamespace(set_up=[PREFIX], users=frozenset([990]))
    loop = Loop()
    Repair(loop, reservations, RelayHealth(kernel.cells)).look()
    loop.close()
    assert kernel.inspect().users == USERS | {990}
