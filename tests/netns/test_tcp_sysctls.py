"""Settings of the kernel's TCP: what is advised, and its effect on real paths."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from faith.kernel.sockets.tcp_sysctls import advice
from tests.netns.service import PORT, connect, listener

if TYPE_CHECKING:
    import socket

    from faith.lab import ThreeHosts
    from tests.netns.conftest import Start

pytestmark = pytest.mark.netns

MUCH = 200_000


def set_to(**values: str) -> None:
    for name, value in values.items():
        subprocess.run(["sysctl", "-qw", f"net.ipv4.{name}={value}"], check=True)


@pytest.mark.usefixtures("private_network")
def test_advice_is_given_until_it_is_followed() -> None:
    set_to(tcp_mtu_probing="0", tcp_tw_reuse="2")
    probing, reuse = advice()
    assert probing.startswith("sysctl -w net.ipv4.tcp_mtu_probing=1: at 0, ")
    assert reuse.startswith("sysctl -w net.ipv4.tcp_tw_reuse=1: at 2, ")
    for line in (probing, reuse):
        subprocess.run(line.partition(": ")[0].split(), check=True)
    assert advice() == []


@pytest.mark.usefixtures("reserved")
def test_with_probing_a_path_that_loses_packet_too_big_is_no_black_hole(
    lab: ThreeHosts, start: Start
) -> None:
    """Packets of more than 1,280 octets to the client vanish, and nobody says so."""
    lab.gateway.sysctl("net.ipv4.tcp_mtu_probing", 1)
    for device in ("to-client", "to-server"):
        lab.gateway.run(["ip", "link", "set", device, "gso_max_segs", "1"])  # as on a wire
    narrow = "table ip6 narrow { chain c { type filter hook prerouting priority -400; "
    lab.client.run(["nft", "-f", "-"], stdin=narrow + "meta length > 1280 counter drop; }; }")
    start(str(PORT))
    with contextlib.closing(listener(lab.server)) as server:
        threading.Thread(target=send, args=(server,), daemon=True).start()
        with connect(lab) as client:
            client.settimeout(30)
            received = 0
            while data := client.recv(65536):
                received += len(data)
    assert received == MUCH
    assert "packets 0 " not in lab.client.run(["nft", "list", "table", "ip6", "narrow"]).stdout


def send(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.sendall(bytes(MUCH))
