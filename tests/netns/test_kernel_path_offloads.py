"""Checksums and segments by the kernel path, whatever hosts and links leave to each other."""

from __future__ import annotations

import contextlib
import mmap
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from faith.kernel.bpf import bpf
from faith.kernel.bpf.assembler import (
    R0,
    R1,
    R2,
    R6,
    STACK,
    Instruction,
    Label,
    add_value,
    assemble,
    call,
    copy,
    jump_if,
    jump_unless,
    leave,
    load32,
    load_map,
    put,
    shift_right_by,
    store32,
    store32_value,
)
from faith.lab import ThreeHosts
from faith.lab.topology import CLIENT, GATEWAY_V4, GATEWAY_V6, SERVER
from tests.netns.flow_lab import BASE, OFFLOADS, open_maps, set_offloads, tcp_counter
from tests.netns.flow_talk import Talker, both
from tests.netns.gateway import Gateway
from tests.netns.service import connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from faith.lab import Host, Network

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed")]

MEGABYTES = 1_000_000
ENDS = ("client", "to-gateway"), ("server", "to-gateway")
GATEWAY = ("gateway", "to-client"), ("gateway", "to-server")
NO_CHECKSUMS = ("rx", "tx", "sg", "tso")
"""Without them a sender makes checksums in software, and a receiver verifies them so."""
SEGMENT = 1448
"""Octets of data in a packet of 1500."""


@pytest.fixture
def talker(lab: ThreeHosts) -> Iterator[Talker]:
    with contextlib.closing(Talker(lab.server)) as made:
        yield made


def no_damage(lab: ThreeHosts) -> bool:
    """Return whether no host has dropped a segment for its checksum."""
    hosts = lab.client, lab.gateway, lab.server
    return not any(tcp_counter(host, "InCsumErrors") for host in hosts)


@pytest.mark.parametrize(
    ("devices", "off"),
    [
        ((), ()),
        (ENDS, ("tso", "gso")),
        (ENDS, ("gro",)),
        (ENDS, NO_CHECKSUMS),
        (ENDS, OFFLOADS),
        (GATEWAY, ("gro",)),
        (GATEWAY, ("tso",)),
        (GATEWAY, NO_CHECKSUMS),
        (GATEWAY, OFFLOADS),
        ((GATEWAY[0], ENDS[1]), OFFLOADS),
        ((GATEWAY[1], ENDS[0]), OFFLOADS),
        ((*GATEWAY, *ENDS), OFFLOADS),
    ],
    ids=[
        *("as they are", "ends segment", "ends do not merge", "ends verify", "ends do all"),
        *("gateway does not merge", "gateway segments", "gateway makes checksums"),
        *("gateway does all", "mixed", "mixed the other way", "everything off"),
    ],
)
def test_octets_are_whole(
    lab: ThreeHosts,
    talker: Talker,
    tmp_path: Path,
    devices: tuple[tuple[str, str], ...],
    off: tuple[str, ...],
) -> None:
    for host, device in devices:
        set_offloads(getattr(lab, host), device, *off)
    Gateway(lab, tmp_path, BASE)
    both(lambda: connect(lab), 10 * MEGABYTES)
    assert not talker.failed
    assert no_damage(lab)


@pytest.mark.usefixtures("talker")
def test_segments_that_belong_together_are_translated_at_once(
    lab: ThreeHosts, tmp_path: Path, pins: Path
) -> None:
    """What a sender leaves to its card, or the gateway has merged, stays one packet of the flow."""
    Gateway(lab, tmp_path, f'{BASE}[flows]\npins = "{pins}"\n')
    length = 10 * MEGABYTES
    for without in ((), ("tso", "gso")):
        set_offloads(lab.server, "to-gateway", *without)
        if without:
            set_offloads(lab.gateway, "to-server", "gro", on=True)
        with connect(lab) as client:
            client.sendall(b"down %d\n" % length)
            assert len(client.makefile("rb").read()) == length
            with open_maps(pins) as maps:
                flow = maps.read(max(maps.used(), key=maps.generation_of))
        assert length <= flow.from_server.octets < 1.1 * length
        assert flow.from_server.packets < length / SEGMENT / 2
    assert no_damage(lab)


# -- CHECKSUM_COMPLETE ---------------------------------------------------------------------------


class CompleteSums:
    """Counts the packets that arrive by *device* with a sum made by a card (CHECKSUM_COMPLETE).

    A program that is at the ingress before that of the flows asks for it by bpf_csum_update().
    """

    def __init__(self, host: Host, device: str) -> None:
        self._map = bpf.Map.create(
            bpf.MAP_ARRAY, "sums", key=4, value=4, entries=1, flags=bpf.MMAPABLE
        )
        steps: list[Instruction | Label] = [
            put(R2, 0),
            call(40),  # bpf_csum_update(): an error, unless there is a sum
            copy(R6, R0),
            shift_right_by(R6, 63),
            jump_unless(R6, 0, "next"),
            store32_value(STACK, -4, 0),
            copy(R2, STACK),
            add_value(R2, -4),
            load_map(R1, self._map.fd),
            call(1),
            jump_if(R0, 0, "next"),
            load32(R1, R0, 0),
            add_value(R1, 1),
            store32(R0, 0, R1),
            Label("next"),
            put(R0, -1),
            leave(),
        ]
        with bpf.load(bpf.PROGRAM_TC, "sums", assemble(steps), 0) as program:
            index = host.call(socket.if_nametoindex, device)
            self._link = host.call(bpf.link, program, index, bpf.ATTACH_TC_INGRESS)

    @property
    def packets(self) -> int:
        with mmap.mmap(self._map.fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ) as memory:
            return int.from_bytes(memory[:4], sys.byteorder)

    def close(self) -> None:
        self._link.close()
        self._map.close()


def tunnelled(network: Network) -> ThreeHosts:
    """A lab whose links are VXLAN tunnels, over wires that make no checksums."""
    client, gateway, server = (network.host(name) for name in ("client", "gateway", "server"))
    server.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
    ends = ((client, CLIENT, GATEWAY_V6, 64), (server, SERVER, GATEWAY_V4, 24))
    for number, (host, address, of_gateway, length) in enumerate(ends, 1):
        network.link(host, gateway, [f"10.0.{number}.2/24"], [f"10.0.{number}.1/24"])
        for here, other, at, mine, its in (
            (host, "gateway", address, 2, 1),
            (gateway, host.name, of_gateway, 1, 2),
        ):
            wire, tunnel = f"to-{other}", f"over-{other}"
            set_offloads(here, wire, "rx", "tx")
            ends_of = ["local", f"10.0.{number}.{mine}", "remote", f"10.0.{number}.{its}"]
            kind = ["type", "vxlan", "id", str(number), "dstport", "4789", "udpcsum"]
            here.run(["ip", "link", "add", tunnel, *kind, *ends_of, "dev", wire])
            here.run(["ip", "link", "set", tunnel, "up"])
            here.links.add_address(tunnel, f"{at}/{length}")
    client.links.add_route("default", GATEWAY_V6)
    return ThreeHosts(network, client, gateway, server)


def test_sums_made_by_a_card(network: Network, tmp_path: Path) -> None:
    """The sum of a whole packet is of no use after translation, and does no harm."""
    lab = tunnelled(network)
    with contextlib.ExitStack() as stack:
        counted = [CompleteSums(lab.gateway, f"over-{name}") for name in ("client", "server")]
        for each in counted:
            stack.callback(each.close)
        talker = stack.enter_context(contextlib.closing(Talker(lab.server)))
        Gateway(lab, tmp_path, BASE)
        both(lambda: connect(lab))
        assert min(each.packets for each in counted) > 10
        assert not talker.failed
        assert no_damage(lab)
