"""Every port for pairs of a client and a mapped address, by BPF and by nftables."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from faith.errors import SetupError
from faith.kernel.netlink import routes
from faith.kernel.nft import guard
from faith.kernel.sockets.tcp_sockets import listener
from faith.kernel.steering.binding_program import BindingProgram
from faith.kernel.steering.binding_table import BindingTable
from faith.kernel.steering.host_bindings import HostBindings
from faith.lab.topology import CLIENT
from faith.translation.prefix import Prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import ThreeHosts
    from tests.netns.conftest import Arrive

    Visit = Callable[[str, int], int | None]

pytestmark = pytest.mark.netns

MAPPED = "2001:db8:ffff::c000:250"
OTHER = "2001:db8:ffff::c000:251"
PORTS = (1024, 32768, 65535)
PAIR = (CLIENT, MAPPED)


def refuse(*anything: object) -> None:
    raise SetupError("try", "not here")


@pytest.fixture(params=["sk_lookup", "tproxy"])
def pairs(
    request: pytest.FixtureRequest, lab: ThreeHosts, monkeypatch: pytest.MonkeyPatch
) -> Iterator[HostBindings]:
    """Two workers' on the gateway, where the prefix is reserved and guarded."""
    if request.param == "sk_lookup":
        request.getfixturevalue("bpf_allowed")
    else:
        monkeypatch.setattr(BindingProgram, "create", refuse)
    with lab.gateway.inside():
        routes.reserve(Prefix.parse(lab.prefix))
        guard.install([Prefix.parse(lab.prefix)])
        made = HostBindings.create(2)
        assert made.method == request.param
        yield made
        made.close()


@pytest.fixture
def visit(lab: ThreeHosts, pairs: HostBindings, arrive: Arrive) -> Visit:
    """``visit(address, port)`` is the number of the worker that got the client, or None."""

    def visit(address: str, port: int) -> int | None:
        with lab.client.inside():
            try:
                worker, accepted = arrive(pairs.listeners, address, port)
            except ConnectionRefusedError:
                return None
        with accepted:
            assert accepted.getsockname()[:2] == (address, port)
        return worker

    return visit


def test_every_port_above_the_systems_and_nothing_else(pairs: HostBindings, visit: Visit) -> None:
    assert visit(MAPPED, 40000) is None
    pairs.steer(PAIR, 1)
    assert [visit(MAPPED, port) for port in PORTS] == [1, 1, 1]
    assert visit(MAPPED, 1023) is None
    assert visit(OTHER, 40000) is None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((MAPPED, 40000), 5)
    pairs.unsteer(PAIR, 1)
    assert visit(MAPPED, 40000) is None


def test_what_two_ask_for_lasts_until_both_have_taken_it_back(
    pairs: HostBindings, visit: Visit
) -> None:
    for worker in (0, 1, 1, 0):
        pairs.steer(PAIR, worker)
    assert visit(MAPPED, 40000) == 0
    pairs.forget(0)
    assert visit(MAPPED, 40000) == 1
    pairs.unsteer(PAIR, 0)
    pairs.unsteer(PAIR, 1)
    assert visit(MAPPED, 40000) == 1
    pairs.unsteer(PAIR, 1)
    assert visit(MAPPED, 40000) is None


def test_nothing_is_left_when_it_is_closed(pairs: HostBindings, visit: Visit) -> None:
    before = len(os.listdir("/proc/self/fd"))
    pairs.steer(PAIR, 0)
    kept = os.dup(pairs.listeners[0].fileno())
    pairs.close()
    assert visit(MAPPED, 40000) is None
    os.close(kept)
    assert len(os.listdir("/proc/self/fd")) < before


@pytest.mark.parametrize("pairs", ["tproxy"], indirect=True)
def test_a_listener_at_the_very_address_is_left_its_connections(
    pairs: HostBindings, visit: Visit, lab: ThreeHosts
) -> None:
    pairs.steer(PAIR, 0)
    own = listener(MAPPED, 40000, transparent=True)
    assert visit(MAPPED, 40001) == 0
    with lab.client.inside(), socket.create_connection((MAPPED, 40000), 5):
        fd, _ = own._accept()  # type: ignore[attr-defined]
        os.close(fd)
    own.close()


def test_both_refusals_are_reported(lab: ThreeHosts, monkeypatch: pytest.MonkeyPatch) -> None:
    for method in (BindingProgram, BindingTable):
        monkeypatch.setattr(method, "create", refuse)
    with (
        lab.gateway.inside(),
        pytest.raises(SetupError, match=r"no method works; sk_lookup: .*; tproxy: try: not here"),
    ):
        HostBindings.create(1)
