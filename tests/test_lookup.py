from __future__ import annotations

import socket

import pytest

from faith.errors import SetupError
from faith.kernel.bpf import bpf
from faith.kernel.steering import lookup
from faith.kernel.steering.lookup import NetworkMap, flow_of
from faith.kernel.steering.lookup_program import TCP4, TCP6, UDP4, UDP6


class Nothing(bpf.Map):
    """A map without a kernel."""

    def __init__(self) -> None:
        super().__init__(-1)
        self.changes: list[tuple[str, bytes]] = []

    def update_all(self, values: dict[bytes, bytes]) -> None:
        for key, value in values.items():
            self.changes.append(("add" if value == bytes(4) else "hole", key))

    def delete(self, key: bytes) -> None:
        self.changes.append(("remove", key))


class Known(NetworkMap):
    """The networks of a program without a kernel."""

    def __init__(self) -> None:
        nothing = Nothing()
        super().__init__(TCP4, nothing, {})
        self.changes = nothing.changes


def networks(*numbers: int) -> list[tuple[int, int]]:
    return [(0xC6336400 | number, 32) for number in numbers]


def test_a_change_adds_what_is_new_before_it_takes_what_is_old() -> None:
    known = Known()
    known.replace(networks(1, 2))
    known.changes.clear()
    known.replace(networks(2, 3))
    assert [change for change, _ in known.changes] == ["add", "remove"]
    assert [key[-1] for _, key in known.changes] == [3, 1]


def test_a_hole_comes_and_goes_without_what_is_around_it() -> None:
    known = Known()
    around = [(0xC6336400, 24)]
    known.replace(around, networks(1))
    assert sorted(change for change, _ in known.changes) == ["add", "hole"]
    known.changes.clear()
    known.replace(around)
    assert [change for change, _ in known.changes] == ["remove"]
    known.replace(networks(1))
    known.changes.clear()
    known.replace(networks(), networks(1))
    assert known.changes == [("hole", known._flow.network_key.pack(32, bytes([198, 51, 100, 1])))]


def test_too_many_networks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "MOST_NETWORKS", 3)
    known = Known()
    with pytest.raises(SetupError, match="4 are more than 3"):
        known.replace(networks(1, 2, 3, 4))
    assert not known.changes


def test_its_state_makes_another_like_it() -> None:
    known = Known()
    known.replace([(0xC6336400, 24)], networks(1))
    assert NetworkMap.adopt(known.state(), TCP4).state() == known.state()


@pytest.mark.parametrize(
    ("family", "kind", "flow"),
    [
        (socket.AF_INET, socket.SOCK_STREAM, TCP4),
        (socket.AF_INET6, socket.SOCK_STREAM, TCP6),
        (socket.AF_INET, socket.SOCK_DGRAM, UDP4),
        (socket.AF_INET6, socket.SOCK_DGRAM, UDP6),
    ],
)
def test_the_flow_of_a_socket(family: int, kind: int, flow: object) -> None:
    with socket.socket(family, kind) as sock:
        assert flow_of(sock) == flow
