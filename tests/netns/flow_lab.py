"""Hosts around a gateway with a kernel path: on its own links, and behind routers."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import socket
import struct
import sys
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faith.kernel.flow.flow_maps import FlowMaps
from faith.kernel.flow.flow_pins import Pins
from faith.lab import ThreeHosts, three_hosts
from faith.lab.topology import CLIENT, PREFIX
from tests.faithd import ENVIRONMENT
from tests.netns.service import PORT, connect_from

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from faith.lab import Host, Network
    from tests.faithd import Faithd
    from tests.netns.gateway import Gateway

CLOSED_PORT = 2324
"""A port of the kernel path where nothing listens."""
OWN = "192.0.2.9"
"""An address on the gateway's link to the server, for flows alone: see `add_own`."""
FAR_CLIENT, FAR_SERVER = "2001:db8:62::2", "198.51.100.2"
ROUTER6, ROUTER4 = "2001:db8:61::2", "203.0.113.2"
"""The routers' addresses on the links to the gateway."""
GATEWAY_FAR_V6, GATEWAY_FAR_V4 = "2001:db8:61::1", "203.0.113.1"
"""The gateway's addresses on these links."""
OTHER_CLIENT = "2001:db8:7::2"
"""The client's address in another network: see `add_other_client`."""
BASE = f"""
workers = 1
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "22,80,{PORT}-{CLOSED_PORT},5201"
path = "kernel"
[metrics]
listen = "[::1]:9064"
[timeouts]
drain = 0
"""
"""The file of a gateway that ends with its test, whatever flows there are."""
FROM_OWN = f'[flows]\naddresses = ["{OWN}"]\n'
OFFLOADS = {"rx": 0x15, "tx": 0x17, "sg": 0x19, "tso": 0x1F, "gso": 0x24, "gro": 0x2C}
"""Offloads as ethtool -K names them, and the command that sets each (linux/ethtool.h)."""
_SIOCETHTOOL = 0x8946
_REPAIR, _REPAIR_QUEUE, _QUEUE_SEQUENCE, _REPAIR_OFF = 19, 20, 21, -1  # linux/tcp.h
_RECEIVED, _SENT = 1, 2


@dataclass(frozen=True, kw_only=True)
class Routed(ThreeHosts):
    """As `ThreeHosts`, with a client and a server that are behind routers as well."""

    router6: Host
    router4: Host
    far_client: Host
    far_server: Host

    def connect(self, port: int = PORT) -> socket.socket:
        """A connection from the far client to the far server.  Raises OSError."""
        return connect_from(self.far_client, self.mapped(FAR_SERVER), port)

    def narrow(self, v6: int = 1500, v4: int = 1500) -> None:
        """Have the routers pass no packets larger than so many octets, in either direction."""
        for router, family, mtu in ((self.router6, "-6", v6), (self.router4, "-4", v4)):
            for route in router.run(["ip", family, "route", "show"]).stdout.splitlines():
                if "fe80::" not in route:
                    words = re.sub(" mtu [0-9]+| pref [a-z]+", "", route).split()
                    router.run(["ip", family, "route", "replace", *words, "mtu", str(mtu)])


def routed(network: Network) -> Routed:
    """Build in *network*, beside the `three_hosts`::

    far_client ───── router6 ───── gateway ───── router4 ───── far_server
    """
    near = three_hosts(network)
    names = "router6", "router4", "far-client", "far-server"
    router6, router4, client, server = (network.host(name) for name in names)
    server.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
    network.link(client, router6, [f"{FAR_CLIENT}/64"], ["2001:db8:62::1/64"])
    network.link(router6, near.gateway, [f"{ROUTER6}/64"], [f"{GATEWAY_FAR_V6}/64"])
    network.link(near.gateway, router4, [f"{GATEWAY_FAR_V4}/24"], [f"{ROUTER4}/24"])
    network.link(router4, server, ["198.51.100.1/24"], [f"{FAR_SERVER}/24"])
    router6.sysctl("net.ipv6.conf.all.forwarding", 1)
    router4.sysctl("net.ipv4.conf.all.forwarding", 1)
    client.links.add_route("default", "2001:db8:62::1")
    router6.links.add_route("default", GATEWAY_FAR_V6)
    near.gateway.links.add_route("2001:db8:62::/64", ROUTER6)
    near.gateway.links.add_route("198.51.100.0/24", ROUTER4)
    router4.links.add_route("default", GATEWAY_FAR_V4)
    server.links.add_route("default", "198.51.100.1")
    return Routed(
        network=network,
        client=near.client,
        gateway=near.gateway,
        server=near.server,
        router6=router6,
        router4=router4,
        far_client=client,
        far_server=server,
    )


def give_up_soon(host: Host, device: str) -> None:
    """Have *host* find out within half a second that a neighbour by *device* is dead."""
    host.sysctl(f"net.ipv4.neigh.{device}.retrans_time_ms", 150)


def add_own(lab: ThreeHosts) -> None:
    """Give the gateway the address that is for flows alone."""
    lab.gateway.links.add_address("to-server", f"{OWN}/24")


def add_other_client(lab: ThreeHosts) -> None:
    """Give the client an address in another network, which counts as another client."""
    lab.client.links.add_address("to-gateway", f"{OTHER_CLIENT}/64")
    lab.gateway.links.add_route("2001:db8:7::/64", CLIENT)


def connect_as(lab: ThreeHosts, source: str, port: int = PORT, from_port: int = 0) -> socket.socket:
    """A connection of the client to the server from the address *source*.  Raises OSError."""
    sock = lab.client.call(socket.socket, socket.AF_INET6)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.settimeout(10)
        sock.bind((source, from_port))
        sock.connect((lab.mapped(), port))
    except BaseException:
        sock.close()
        raise
    return sock


# -- what the gateway says -----------------------------------------------------------------------


def faith(lab: ThreeHosts, *words: str) -> str:
    """What ``faith WORDS`` prints on the gateway; raises CalledProcessError.

    The status is never good here: the gateway has no default route.
    """
    command = [sys.executable, "-m", "faith.cli.faith", *words]
    return lab.gateway.run(command, env=ENVIRONMENT, check=words[0] != "status").stdout


def sessions(lab: ThreeHosts) -> list[dict[str, Any]]:
    """The open sessions, of both paths."""
    found: list[dict[str, Any]] = json.loads(faith(lab, "sessions", "--json"))
    return found


def why_not(lab: ThreeHosts, address: str = "", port: int = PORT) -> int:
    """The errno of a connection of the client that is not made, 0 for one that is."""
    try:
        connect_from(lab.client, address or lab.mapped(), port).close()
    except OSError as error:
        return error.errno or errno.ETIMEDOUT
    return 0


def refused(gateway: Gateway, why: str) -> float:
    """How many first packets were refused for that reason: counted once the client knows."""
    return gateway.counted("faith_flow_refusals_total")[why]


def brain(faithd: Faithd) -> int:
    """The process that decides about flows: the only one of the children with BPF maps."""
    (found,) = (pid for pid in faithd.workers if has_maps(pid))
    return found


def has_maps(pid: int) -> bool:
    """Whether a process has a BPF map open; it may end meanwhile."""
    return any("bpf-map" in link for link in _open_files(pid))


def _open_files(pid: int) -> Iterator[str]:
    directory = f"/proc/{pid}/fd"
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(directory):
            with contextlib.suppress(FileNotFoundError):
                yield os.readlink(f"{directory}/{name}")


def open_maps(directory: Path) -> FlowMaps:
    """The maps that a daemon keeps in *directory*; the caller closes them."""
    (pins,) = directory.glob("faith-*")
    return FlowMaps.from_pins(Pins(pins).get)


def program_counters(directory: Path) -> dict[str, int]:
    """What the program has counted, by the pins in *directory*."""
    with open_maps(directory) as maps:
        return maps.counters()


# -- hosts ---------------------------------------------------------------------------------------


def set_offloads(host: Host, device: str, *names: str, on: bool = False) -> None:
    """Turn the offloads *names* of *device* on or off, as ethtool -K does."""

    def apply() -> None:
        with socket.socket() as sock:
            for name in names:
                value = array("I", [OFFLOADS[name], on])
                request = struct.pack("16sP16x", device.encode(), value.buffer_info()[0])
                fcntl.ioctl(sock, _SIOCETHTOOL, request)

    host.call(apply)


def tcp_counter(host: Host, name: str) -> int:
    """The number of that *name* in the line Tcp of /proc/net/snmp."""
    text = host.call(Path("/proc/thread-self/net/snmp").read_text)
    names, values = (line.split()[1:] for line in text.splitlines() if line.startswith("Tcp:"))
    return int(dict(zip(names, values, strict=True))[name])


class Counter:
    """A rule that counts packets in a hook of *host*, and may drop or refuse them as well."""

    def __init__(self, host: Host, hook: str, match: str, verdict: str = "") -> None:
        self._host = host
        self._name = f"counting_{abs(hash((hook, match, verdict)))}"
        chain = f"type filter hook {hook} priority 5"
        rules = f"chain c {{ {chain}; {match} counter {verdict}; }}"
        host.run(["nft", "-f", "-"], stdin=f"table inet {self._name} {{ {rules}; }}")

    @property
    def packets(self) -> int:
        listed = self._host.run(["nft", "list", "table", "inet", self._name]).stdout
        return int(re.findall(r"counter packets (\d+)", listed)[0])

    def remove(self) -> None:
        self._host.run(["nft", "delete", "table", "inet", self._name])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.remove()


# -- packets of the test's own --------------------------------------------------------------------


def numbers(sock: socket.socket) -> tuple[int, int]:
    """The sequence number that the connection sends next, and that it expects next."""
    found = []
    sock.setsockopt(socket.IPPROTO_TCP, _REPAIR, 1)
    for queue in (_SENT, _RECEIVED):
        sock.setsockopt(socket.IPPROTO_TCP, _REPAIR_QUEUE, queue)
        found.append(sock.getsockopt(socket.IPPROTO_TCP, _QUEUE_SEQUENCE) & 0xFFFFFFFF)
    sock.setsockopt(socket.IPPROTO_TCP, _REPAIR, _REPAIR_OFF)
    return found[0], found[1]


def send_raw(host: Host, packets: Iterator[bytes] | list[bytes]) -> None:
    """Send whole IP packets from *host*."""

    def send() -> None:
        for packet in packets:
            family = socket.AF_INET6 if packet[0] >> 4 == 6 else socket.AF_INET
            with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, 36, 1)  # IPV6_HDRINCL
                    sock.sendto(packet, (socket.inet_ntop(family, packet[24:40]), 0))
                else:
                    sock.sendto(packet, (socket.inet_ntop(family, packet[16:20]), 0))

    host.call(send)


class Errors:
    """The ICMPv6 or ICMP errors that arrive at *host* from now on."""

    def __init__(self, host: Host, family: int = socket.AF_INET6) -> None:
        self._v6 = family == socket.AF_INET6
        protocol = socket.IPPROTO_ICMPV6 if self._v6 else socket.IPPROTO_ICMP
        self._socket = host.call(socket.socket, family, socket.SOCK_RAW, protocol)
        self._socket.settimeout(5)

    def next(self) -> tuple[str, int, int, int]:
        """Sender, type, code and the last 32 bits of the header; neighbour discovery is passed
        over."""
        while True:
            octets, sender = self._socket.recvfrom(2048)
            message = octets if self._v6 else octets[20:]
            kind, code, word = struct.unpack_from("!BB2xI", message)
            if not self._v6 or kind < 128:
                return sender[0], kind, code, word

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()
