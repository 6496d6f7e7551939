"""Flows of the kernel path without a brain: the test writes the slots, and both ends are packets.

Neither end has a TCP that would answer: what is sent to them is read as it comes from the wire.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from faith.datagram.checksum import checksum, holds, ones_sum
from faith.kernel.flow.flow_links import FlowLinks
from faith.kernel.flow.flow_maps import FlowMaps
from faith.kernel.flow.layout import Side, Slot
from faith.kernel.netlink import rtnetlink
from faith.kernel.netlink.netlink import NETLINK_ROUTE, Netlink
from faith.kernel.netlink.packet_log import PacketLog
from faith.lab.topology import PREFIX
from faith.translation.ports import Ports

if TYPE_CHECKING:
    from typing import Self

    from faith.lab import Host, ThreeHosts

CLIENT, MAPPED = "2001:db8:6::99", "2001:db8:ffff::c000:263"
SOURCE, SERVER = "192.0.2.9", "192.0.2.99"
PORT, CLIENT_PORT, SOURCE_PORT = 80, 40000, 2000
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

_ETHERNET = struct.Struct("!6s6sH")
_IPV4, _IPV6, _VLAN = 0x0800, 0x86DD, 0x8100
_SO_RCVBUFFORCE = 33
_MARK = b"mark"
_NOW = 1_000_000_000

_RULES = """
table ip6 flows {{
  chain input {{
    type filter hook input priority 10
    ip6 daddr {prefix} meta priority fa17:1 log group {tagged} queue-threshold 1 drop
    ip6 daddr {prefix} log group {passed} queue-threshold 1 drop
  }}
}}
table ip flows {{
  chain input {{
    type filter hook input priority -10
    ip daddr {source} log group {passed} queue-threshold 1 drop
  }}
}}
"""


class Segment(NamedTuple):
    """A TCP segment with the octets of its IP header that matter, of either family."""

    source_port: int = CLIENT_PORT
    port: int = PORT
    flags: int = ACK
    sequence: int = 1000
    acknowledged: int = 5000
    payload: bytes = b""
    options: bytes = b""
    hops: int = 64
    tos: int = 0
    fragment: int = 0x4000
    source: str = CLIENT
    to: str = MAPPED

    def _tcp(self, pseudo: bytes) -> bytes:
        head = struct.pack("!HHII", self.source_port, self.port, self.sequence, self.acknowledged)
        head += struct.pack("!BBHHH", (20 + len(self.options)) // 4 << 4, self.flags, 8192, 0, 0)
        octets = head + self.options + self.payload
        check = checksum(octets, ones_sum(pseudo) + 6 + len(octets))
        return octets[:16] + check.to_bytes(2, "big") + octets[18:]

    def ipv6(self) -> bytes:
        """The packet of a client."""
        addresses = packed(self.source) + packed(self.to)
        tcp = self._tcp(addresses)
        return struct.pack("!IHBB", 6 << 28 | self.tos << 20, len(tcp), 6, self.hops) + (
            addresses + tcp
        )

    def ipv4(self) -> bytes:
        """The packet of a server."""
        addresses = packed(self.source) + packed(self.to)
        return ipv4_header(self._tcp(addresses), addresses, self.fragment, self.hops, self.tos)


def ipv4_header(
    payload: bytes, addresses: bytes, fragment: int = 0, hops: int = 64, tos: int = 0, kind: int = 6
) -> bytes:
    """*payload* behind an IPv4 header."""
    head = struct.pack("!BBHHHBBH", 0x45, tos, 20 + len(payload), 7, fragment, hops, kind, 0)
    head += addresses
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + payload


def server_segment(**changes: object) -> Segment:
    """A segment from the server to the gateway's source address."""
    usual = Segment(source_port=PORT, port=SOURCE_PORT, source=SERVER, to=SOURCE)
    return usual._replace(sequence=5000, acknowledged=1000)._replace(**changes)  # type: ignore[arg-type]


def parsed(packet: bytes) -> Segment:
    """Parse a packet; its checksums must be right."""
    if packet[0] >> 4 == 6:
        _, length, kind, hops = struct.unpack_from("!IHBB", packet)
        tos, fragment = struct.unpack_from("!H", packet)[0] >> 4 & 0xFF, 0
        addresses, tcp = packet[8:40], packet[40:]
    else:
        _, tos, length, _, fragment, hops, kind = struct.unpack_from("!BBHHHBB", packet)
        assert packet[0] == 0x45
        assert holds(packet[:20])
        addresses, tcp, length = packet[12:20], packet[20:], length - 20
    assert (kind, length) == (6, len(tcp))
    assert holds(tcp, ones_sum(addresses) + 6 + len(tcp)), "the checksum of TCP is wrong"
    ports_and_numbers = struct.unpack_from("!HHII", tcp)
    end, half = (tcp[12] >> 4) * 4, len(addresses) // 2
    text = socket.inet_ntop(socket.AF_INET6 if half == 16 else socket.AF_INET, addresses[:half])
    to = socket.inet_ntop(socket.AF_INET6 if half == 16 else socket.AF_INET, addresses[half:])
    source_port, port, sequence, acknowledged = ports_and_numbers
    return Segment(
        source_port,
        port,
        tcp[13],
        sequence,
        acknowledged,
        tcp[end:],
        tcp[20:end],
        hops,
        tos,
        fragment,
        text,
        to,
    )


def packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def sums(client: bytes, mapped: bytes, source: bytes, server: bytes) -> tuple[int, int]:
    """What a slot says of the pseudo headers, in the order of this machine."""

    def words(octets: bytes) -> int:
        return sum(memoryview(octets).cast("H")) % 0xFFFF

    six, four = words(client + mapped), words(source + server)
    return (four - six) % 0xFFFF, (six - four) % 0xFFFF


def slot(
    oif4: int,
    oif6: int,
    client_port: int = CLIENT_PORT,
    source_port: int = SOURCE_PORT,
    client: str = CLIENT,
    server: str = SERVER,
    mapped: str = MAPPED,
    source: str = SOURCE,
    port: int = PORT,
) -> Slot:
    """The slot of an established flow, or of a new one with `_replace`."""
    addresses = packed(client), packed(mapped), packed(source), packed(server)
    return Slot(
        *addresses,
        source_port=source_port,
        client_port=client_port,
        server_port=port,
        oif4=oif4,
        oif6=oif6,
        sum64=sums(*addresses)[0],
        sum46=sums(*addresses)[1],
        mtu4=1500,
        mtu6=1500,
        mss4=0,
        mss6=0,
        state=0,
        generation=1,
        started=_NOW,
        from_client=Side(next=1000, acked=5000, last=_NOW),
        from_server=Side(next=5000, acked=1000, last=_NOW),
    )


class End:
    """The wire of *host* to the gateway, whose link address is *gateway*."""

    def __init__(self, host: Host, protocol: int, gateway: bytes) -> None:
        with host.inside():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
            self._socket.bind(("to-gateway", protocol))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 23)
        self.address = self._socket.getsockname()[4]
        self._head = _ETHERNET.pack(gateway, self.address, protocol)

    def close(self) -> None:
        self._socket.close()

    def send(self, packet: bytes, to: bytes = b"") -> None:
        """Send *packet* to the gateway, or to another link address."""
        self._socket.send((to or self._head[:6]) + self._head[6:] + packet)

    def send_tagged(self, packet: bytes, vlan: int) -> None:
        """Send *packet* with the tag of a VLAN."""
        tag = struct.pack("!HH", _VLAN, vlan)
        self._socket.send(self._head[:12] + tag + self._head[12:] + packet)

    def until_mark(self) -> list[bytes]:
        """The TCP packets that came from the gateway, up to the mark."""
        found: list[bytes] = []
        while True:
            assert select.select([self._socket], [], [], 5)[0], f"no mark after {found[-9:]}"
            frame, sender = self._socket.recvfrom(1 << 17)
            packet = frame[_ETHERNET.size :]
            if sender[2] == socket.PACKET_OUTGOING or packet[6 if packet[0] >> 4 == 6 else 9] != 6:
                continue
            if packet.rstrip(b"\0").endswith(_MARK):
                return found
            found.append(packet)


class Wires:
    """The program on the gateway of *lab*, and its maps.  Flow 0 is that of the marks."""

    def __init__(self, lab: ThreeHosts, *, tcx: bool = True, slots: int = 16) -> None:
        self.lab, self._undo = lab, ExitStack()
        # one CPU takes packets in the order in which it sends them: the mark comes last
        self.cpus = sorted(os.sched_getaffinity(0))
        self._undo.callback(os.sched_setaffinity, 0, self.cpus)
        os.sched_setaffinity(0, self.cpus[:1])
        gateway = lab.gateway
        gateway.links.add_address("to-server", f"{SOURCE}/24")
        gateway.run(["ip", "-6", "route", "add", "local", PREFIX, "dev", "lo"])
        self.oif4, self.oif6 = (
            gateway.call(socket.if_nametoindex, f"to-{name}") for name in ("server", "client")
        )
        addresses = {each.name: each.address for each in gateway.call(interfaces).values()}
        self.client = End(lab.client, _IPV6, addresses["to-client"])
        self.server = End(lab.server, _IPV4, addresses["to-server"])
        for address, end, name in (
            (CLIENT, self.client, "client"),
            (SERVER, self.server, "server"),
        ):
            self._undo.callback(end.close)
            lladdr = end.address.hex(":")
            command = ["ip", "neigh", "add", address, "lladdr", lladdr, "dev", f"to-{name}"]
            gateway.run([*command, "nud", "permanent"])
        with gateway.inside():
            self.tagged, self.passed = PacketLog.create(), PacketLog.create()
            self.maps = FlowMaps.create(slots)
            self.links = FlowLinks.create(self.maps, tcx=tcx)
            for each in (self.links, self.maps, self.tagged, self.passed):
                self._undo.callback(each.close)
        self._undo.callback(self.inside_close)
        groups = {"tagged": self.tagged.group, "passed": self.passed.group}
        rules = _RULES.format(prefix=PREFIX, source=SOURCE, **groups)
        gateway.run(["nft", "-f", "-"], stdin=rules)
        network = int.from_bytes(packed(PREFIX.split("/")[0]), "big")
        self.maps.set_prefixes([(network, 96)])
        self.maps.set_ports(Ports([(PORT, PORT)]))
        self.maps.heartbeat(1 << 62)
        self.follow()
        self.enter(0, slot(self.oif4, self.oif6, 1, 1))

    def inside_close(self) -> None:
        with self.lab.gateway.inside():
            self.links.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._undo.close()

    def follow(self) -> None:
        """Attach the program to all interfaces of the gateway."""
        with self.lab.gateway.inside():
            self.links.follow(interfaces())

    def enter(self, number: int, flow: Slot) -> None:
        """Make *flow* that of the slot *number*."""
        self.maps.write(number, flow)
        self.maps.insert([(flow.key6, flow.key4, number)])

    def flow(self, **changes: object) -> int:
        """Make a flow between the usual ends, changed, in slot 1; return that."""
        self.enter(1, slot(self.oif4, self.oif6)._replace(**changes))  # type: ignore[arg-type]
        return 1

    def enter_from(self, number: int, client: str, port: int = PORT) -> None:
        """Make a flow of *client* to *port* in the slot *number*, with the port 3000 + *number*."""
        flow = slot(self.oif4, self.oif6, source_port=3000 + number, client=client, port=port)
        self.enter(number, flow)

    def up(self, *packets: bytes) -> list[bytes]:
        """Send *packets* of the client; return those that came to the server."""
        for packet in packets:
            self.client.send(packet)
        self.client.send(Segment(source_port=1, payload=_MARK).ipv6())
        return self.server.until_mark()

    def down(self, *packets: bytes) -> list[bytes]:
        """Send *packets* of the server; return those that came to the client."""
        for packet in packets:
            self.server.send(packet)
        self.server.send(server_segment(port=1, payload=_MARK).ipv4())
        return self.client.until_mark()

    def logged(self, log: PacketLog) -> list[bytes]:
        """The packets in *log*."""
        return [packet for packet, _ in log.read(100)]


def interfaces() -> dict[int, rtnetlink.Link]:
    """The interfaces of this namespace."""
    with Netlink.create(NETLINK_ROUTE) as netlink:
        return rtnetlink.links(netlink)
