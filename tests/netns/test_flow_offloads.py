"""The program of flows between real TCPs, whatever the network devices do for them.

What arrives is what was sent, and no end saw a wrong checksum: where it matters the ends compute
and verify them in software.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import random
import socket
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.kernel.bpf import bpf
from faith.kernel.bpf.assembler import (
    R0,
    R1,
    R2,
    STACK,
    Label,
    add_value,
    assemble,
    call,
    copy,
    jump_if,
    leave,
    load32,
    load_map,
    put,
    shift_right_by,
    store32,
)
from faith.kernel.bpf.bpf import Map
from faith.kernel.flow.layout import CLOSE, CLOSED, ESTABLISHED, FIN4, FIN6, SYNACK, Side
from faith.kernel.shared.shared_memory import Mapped
from tests.conftest import do_without
from tests.netns.flows import Wires, interfaces, slot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.lab import Host, ThreeHosts

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed")]

CLIENT, SERVER, MAPPED = "2001:db8:6::2", "192.0.2.80", "2001:db8:ffff::c000:250"
PORT, CLIENT_PORT, SOURCE_PORT = 7000, 40001, 3002
OCTETS = 20_000_000

# linux/ethtool.h
RX_CHECKSUM, TX_CHECKSUM, TSO, GSO, GRO = 0x15, 0x17, 0x1F, 0x24, 0x2C
ALL = (GRO, TSO, GSO, TX_CHECKSUM, RX_CHECKSUM)
_SIOCETHTOOL = 0x8946


@pytest.fixture
def wires(lab: ThreeHosts) -> Iterator[Wires]:
    with Wires(lab) as wires:
        yield wires


def switch(host: Host, device: str, *offloads: int, on: bool = False) -> None:
    """Switch *offloads* of a device off, or on."""

    def change() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            for offload in offloads:
                value = bytearray(struct.pack("=II", offload, on))
                address = ctypes.addressof((ctypes.c_char * len(value)).from_buffer(value))
                request = struct.pack("16sQ16x", device.encode(), address)
                fcntl.ioctl(any_socket, _SIOCETHTOOL, request)

    host.call(change)


def checksum_errors(host: Host) -> int:
    text = host.call(Path("/proc/thread-self/net/snmp").read_text)
    names, numbers = (line.split() for line in text.splitlines() if line.startswith("Tcp:"))
    return int(numbers[names.index("InCsumErrors")])


def exchange(connection: socket.socket, seed: int, got: dict[int, str]) -> None:
    """Send OCTETS and end, while as many arrive; leave the digest of those in *got*."""

    def send() -> None:
        connection.sendall(random.Random(seed).randbytes(OCTETS))
        connection.shutdown(socket.SHUT_WR)

    with connection:
        sender = threading.Thread(target=send)
        sender.start()
        digest = hashlib.sha256()
        while octets := connection.recv(1 << 20):
            digest.update(octets)
        sender.join()
        got[seed] = digest.hexdigest()


def bulk(wires: Wires, client: str = CLIENT, server: str = SERVER, **changes: object) -> None:
    """Have *client* and *server* send OCTETS to each other by a flow, and look at all of it."""
    ways = {"oif4": wires.oif4, "oif6": wires.oif6}
    flow = slot(
        wires.oif4,
        wires.oif6,
        CLIENT_PORT,
        SOURCE_PORT,
        client,
        server,
        mapped="2001:db8:ffff::" + server_octets(server),
        port=PORT,
    )
    sides = {"from_client": Side(), "from_server": Side()}
    wires.enter(2, flow._replace(**{**ways, **sides, **changes}))  # type: ignore[arg-type]
    with wires.lab.server.inside():
        listener = socket.create_server((server, PORT))
    got: dict[int, str] = {}
    with listener, wires.lab.client.inside():
        mapped = socket.inet_ntop(socket.AF_INET6, flow.mapped)
        connection = socket.create_connection((mapped, PORT), 10, (client, CLIENT_PORT))
        accepted, _ = listener.accept()
        accepted.settimeout(20)
        connection.settimeout(20)
        both = [
            threading.Thread(target=exchange, args=(one, seed, got))
            for seed, one in enumerate((connection, accepted))
        ]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
    sent = [hashlib.sha256(random.Random(n).randbytes(OCTETS)).hexdigest() for n in (0, 1)]
    assert got == {0: sent[1], 1: sent[0]}
    assert [checksum_errors(host) for host in (wires.lab.client, wires.lab.server)] == [0, 0]
    (event,) = (each for each in wires.maps.events(1000) if each.kind == CLOSE)
    assert event.slot == 2
    assert event.argument == SYNACK | ESTABLISHED | FIN4 | FIN6 | CLOSED
    after = wires.maps.read(2)
    assert min(after.from_client.octets, after.from_server.octets) >= OCTETS
    assert wires.maps.counters()["failed"] == 0


def server_octets(server: str) -> str:
    octets = socket.inet_aton(server)
    return f"{octets[:2].hex()}:{octets[2:].hex()}"


def test_with_the_devices_as_they_are(wires: Wires) -> None:
    bulk(wires)
    flow = wires.maps.read(2)
    assert flow.from_client.octets / flow.from_client.packets > 2000, "no segment was large"


def test_with_all_offloads_off_everywhere(wires: Wires) -> None:
    lab = wires.lab
    for host in (lab.client, lab.server):
        switch(host, "to-gateway", *ALL)
    for device in ("to-client", "to-server"):
        switch(lab.gateway, device, *ALL)
    bulk(wires)
    flow = wires.maps.read(2)
    assert flow.from_client.octets / flow.from_client.packets < 1500


def test_with_checksums_of_the_ends_in_software(wires: Wires) -> None:
    for host in (wires.lab.client, wires.lab.server):
        switch(host, "to-gateway", TSO, TX_CHECKSUM, RX_CHECKSUM)
    bulk(wires)


def test_with_segments_put_together_by_the_gateway(wires: Wires) -> None:
    """GRO joins what senders without TSO sent one by one, and GSO cuts it again."""
    lab = wires.lab
    for host in (lab.client, lab.server):
        switch(host, "to-gateway", TSO, GSO, TX_CHECKSUM)
    for device in ("to-client", "to-server"):
        switch(lab.gateway, device, GRO, on=True)
        switch(lab.gateway, device, TSO, TX_CHECKSUM)
    bulk(wires)
    flow = wires.maps.read(2)
    joined = flow.from_client.octets / flow.from_client.packets
    assert joined > 1500, f"no segments were put together: {joined}"


def test_with_narrow_ways_and_the_mss_that_fits(lab: ThreeHosts) -> None:
    lab.gateway.run(["ip", "link", "set", "to-client", "mtu", "1280"])
    lab.gateway.run(["ip", "link", "set", "to-server", "mtu", "1280"])
    with Wires(lab) as wires:
        bulk(wires, mtu4=1280, mtu6=1280, mss4=1220, mss6=1220)
        assert wires.maps.counters()["too_big"] == 0


# -- CHECKSUM_COMPLETE ---------------------------------------------------------------------------


def probe(kinds: Map) -> bytes:
    """A program that counts packets with CHECKSUM_COMPLETE in entry 0 of *kinds*, others in 1."""
    csum_update, lookup = 40, 1
    return assemble(
        [
            put(R2, 0),
            call(csum_update),  # is an error for other kinds of checksums
            shift_right_by(R0, 63),
            store32(STACK, -4, R0),
            load_map(R1, kinds.fd),
            copy(R2, STACK),
            add_value(R2, -4),
            call(lookup),
            jump_if(R0, 0, "end"),
            load32(R1, R0, 0),
            add_value(R1, 1),
            store32(R0, 0, R1),
            Label("end"),
            put(R0, -1),
            leave(),
        ]
    )


def tunnel(near: Host, far: Host, addresses: dict[Host, tuple[str, str, str]]) -> None:
    """Make a VXLAN device, ``vx-…``, on both ends of a link; its addresses are the last ones."""
    for host, other in ((near, far), (far, near)):
        device, name, inner = addresses[host]
        remote = addresses[other][1]
        command = ["ip", "link", "add", "vx-" + device[3:], "type", "vxlan", "id", "5"]
        command += ["local", name, "remote", remote, "dstport", "4789", "dev", device]
        made = host.run([*command, *([] if ":" in name else ["udpcsum"])], check=False)
        if made.returncode:
            do_without(f"no VXLAN: {made.stderr}")
        host.run(["ip", "link", "set", "vx-" + device[3:], "up"])
        host.run(
            ["ip", "address", "add", inner, "dev", "vx-" + device[3:]]
            + (["nodad"] if ":" in inner else [])
        )
        switch(host, device, *ALL)


def test_with_checksums_that_the_device_has_computed_over_the_whole_packet(wires: Wires) -> None:
    """As many network cards do; here a tunnel whose outer checksum was verified in software."""
    lab = wires.lab
    tunnel(
        lab.client,
        lab.gateway,
        {
            lab.client: ("to-gateway", "2001:db8:6::2", "2001:db8:7::2/64"),
            lab.gateway: ("to-client", "2001:db8:6::1", "2001:db8:7::1/64"),
        },
    )
    tunnel(
        lab.server,
        lab.gateway,
        {
            lab.server: ("to-gateway", "192.0.2.80", "10.9.9.80/24"),
            lab.gateway: ("to-server", "192.0.2.1", "10.9.9.1/24"),
        },
    )
    lab.client.run(["ip", "-6", "route", "add", "2001:db8:ffff::/96", "via", "2001:db8:7::1"])
    lab.server.run(["ip", "route", "add", "192.0.2.9/32", "via", "10.9.9.1"])
    ways = {link.name: index for index, link in lab.gateway.call(interfaces).items()}
    with Map.create(bpf.MAP_ARRAY, "kinds", key=4, value=4, entries=2, flags=bpf.MMAPABLE) as kinds:
        with bpf.load(bpf.PROGRAM_TC, "probe", probe(kinds), 0) as program, lab.gateway.inside():
            links = [
                bpf.link(program, ways[name], bpf.ATTACH_TC_INGRESS)
                for name in ("vx-client", "vx-server")
            ]
        wires.follow()
        bulk(
            wires,
            "2001:db8:7::2",
            "10.9.9.80",
            oif4=ways["vx-server"],
            oif6=ways["vx-client"],
            mtu4=1450,
            mtu6=1430,
            mss4=1370,
            mss6=1370,
        )
        with Mapped(kinds.fd, 16) as mapped:
            counted = mapped.view().cast("I").tolist()
        for link in links:
            link.close()
    assert counted[0] > 1000, f"complete and others: {counted}"
