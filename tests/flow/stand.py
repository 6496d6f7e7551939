"""A brain's parts in tests: real maps, wires in the place of raw sockets, and routes as told."""

from __future__ import annotations

import errno
import itertools
import struct
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, cast

from faith.flow.flow_counters import LAYOUT, FlowCounters
from faith.flow.flow_ends import FlowEnds
from faith.flow.flow_output import FlowOutput
from faith.flow.flow_settings import FlowSettings
from faith.flow.flow_table import FlowTable
from faith.flow.judge import Judge
from faith.flow.opening import Opening
from faith.flow.route_cache import NoRoute, RouteCache, RouteTo
from faith.flow.tcp_segment import SYN, with_checksum
from faith.kernel.sockets.flow_sockets import FlowSockets
from faith.translation.access import Access
from faith.translation.destination import Policy
from faith.translation.networks import Networks
from faith.translation.ports import Ports
from faith.translation.prefix import Prefix, Prefixes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.flow.flow_view import FlowView
    from faith.kernel.flow.flow_maps import FlowMaps
    from faith.kernel.netlink.netlink import Netlink
    from faith.kernel.shared.families import Family

PREFIX, WELL_KNOWN = Prefix.parse("2001:db8:ffff::/96"), Prefix.parse("64:ff9b::/96")
SERVER, SOURCE, CLIENT = "198.51.100.80", "198.51.100.9", "2001:db8:1::7"
MAPPED = f"2001:db8:ffff::{SERVER}"
OWN = (SOURCE, "198.51.100.10", *(f"203.0.113.{n}" for n in range(1, 9)))
"""Addresses of the gateway."""
PORT, CLIENT_PORT, NUMBER = 80, 40000, 1000


def octets(text: str) -> bytes:
    """The packed address."""
    return ip_address(text).packed


def policy(*rules: str, own: tuple[str, ...] = (), prefix: Prefix = PREFIX) -> Policy:
    """A policy with *rules*, a prefix, and *own* addresses."""
    owned = Networks(32, [(int(ip_address(one)), 32) for one in own])
    return Policy(Prefixes([prefix]), owned, Access.parse("\n".join(rules)))


def settings(**changed: Any) -> FlowSettings:
    """Settings with one source address of its own, but for what is *changed*."""
    made: dict[str, Any] = {"services": Ports([(80, 80)]), "addresses": (int(ip_address(SOURCE)),)}
    return FlowSettings(**{**made, **changed})


def segment(
    flags: int = SYN, data: bytes = b"", *, number: int = NUMBER, answer: int = 0, mss: int = 1440
) -> bytes:
    """A segment of the client's, without checksum; a SYN has the MSS option."""
    options = struct.pack("!BBH", 2, 4, mss) if flags & SYN else b""
    offset = (20 + len(options)) << 2
    head = struct.pack("!HHIIBBHHH", CLIENT_PORT, PORT, number, answer, offset, flags, 64240, 0, 0)
    return head + options + data


def packet_v6(
    octets_of_it: bytes | None = None,
    *,
    client: str = CLIENT,
    mapped: str = MAPPED,
    port: int = CLIENT_PORT,
    hops: int = 64,
    octet: int = 0,
) -> bytes:
    """An IPv6 packet of the client's, a SYN unless something else is given."""
    ends = octets(client) + octets(mapped)
    made = bytearray(segment() if octets_of_it is None else octets_of_it)
    made[:2] = port.to_bytes(2, "big")
    body = with_checksum(made, ends)
    return struct.pack("!IHBB", 0x60000000 | octet << 20, len(body), 6, hops) + ends + body


class Wire:
    """A raw socket in name only, which keeps what is sent; *fails* is the errno of its refusal."""

    _descriptors = itertools.count(1000)

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.to: list[Any] = []
        self.fails = 0
        self._descriptor = next(self._descriptors)

    def sendto(self, packet: bytes, to: Any) -> None:
        if self.fails:
            raise OSError(self.fails, "as told")
        self.sent.append(packet)
        self.to.append(to)

    def sendmsg(self, parts: list[bytes], control: Any, flags: int, to: Any) -> None:
        self.sendto(b"".join(parts), (to, control))

    def fileno(self) -> int:
        return self._descriptor


class Log:
    """A packet log in name only: *packets* wait in it."""

    def __init__(self) -> None:
        self.packets: list[tuple[bytes, int]] = []

    def read(self, most: int) -> Iterator[tuple[bytes, int]]:
        some, self.packets = self.packets[:most], self.packets[most:]
        yield from some


class Routes(RouteCache):
    """Routes as *told*, by address; every other leads to interface 3 by 1500 octets.

    Addresses in OWN are this host's, except those that are *absent*.
    """

    def __init__(self) -> None:
        super().__init__(cast("Netlink", None))
        self.told: dict[str, RouteTo | NoRoute] = {}
        self.absent: set[str] = set()
        self.asked: list[str] = []

    def _ask(self, address: bytes, source: bytes, interface: int) -> RouteTo | NoRoute:
        text = str(ip_address(address))
        if text in OWN:
            own = RouteTo(1, 65535, address, True)
            return NoRoute(errno.ENETUNREACH) if text in self.absent else own
        self.asked.append(text)
        return self.told.get(text, RouteTo(interface or 3, 1500, octets(SOURCE), False))


class Reports:
    """Reports, as they came."""

    def __init__(self) -> None:
        self.views: list[FlowView] = []
        self.begun_: list[int] = []
        self.ended_: list[tuple[int, str]] = []
        self.refused_: list[tuple[str, str]] = []

    def begun(self, view: FlowView) -> None:
        self.begun_.append(view.serial)

    def ended(self, view: FlowView, why: str) -> None:
        self.views.append(view)
        self.ended_.append((view.serial, why))

    def refused(self, why: str, client: bytes, client_port: int, mapped: bytes, port: int) -> None:
        self.refused_.append((why, str(ip_address(client))))

    @property
    def ends(self) -> list[str]:
        return [why for _, why in self.ended_]


class Stand:
    """The parts of a brain over *maps*, without its loop."""

    def __init__(self, maps: FlowMaps, *rules: str, **changed: Any) -> None:
        self.maps = maps
        self.wires = {name: Wire() for name in ("raw_v4", "raw_v6", "icmp_v4", "icmp_v6")}
        self.syns, self.fallen = Log(), Log()
        made: Any = (self.syns, self.fallen, *self.wires.values())
        self.sockets = FlowSockets(*made)
        self.cells = [0] * LAYOUT.size
        self.counters = FlowCounters(self.cells)
        self.reports = Reports()
        self.routes = Routes()
        self.settings = settings(**changed)
        self.judge = Judge(policy(*rules), self.settings, self.routes)
        self.table = FlowTable(maps, self.settings)
        length = self.settings.client_length
        self.output = FlowOutput(self.sockets, self.counters, length, clock=lambda: 1000.0)
        self.ends = FlowEnds(self.table, self.output, self.counters, self.reports)
        shared = self.table, self.ends, self.output, self.counters, self.reports
        self.opening = Opening(self.sockets.syns, self.judge, *shared)

    def syn(self, *packets: bytes, interface: int = 2) -> None:
        """These SYNs arrive and are handled."""
        self.syns.packets += [(packet, interface) for packet in packets]
        while self.syns.packets:
            self.opening.read()

    def open(self, count: int = 1, **how: Any) -> list[int]:
        """Open *count* flows from ports that ascend; their slots."""
        before = set(self.maps.used())
        self.syn(*(packet_v6(port=CLIENT_PORT + n, **how) for n in range(count)))
        return [n for n in self.maps.used() if n not in before]

    def counted(self, family: Family) -> dict[str, int]:
        """The cells of *family* that are not 0."""
        found = zip(family.values, LAYOUT.of(family, self.cells), strict=True)
        return {value: count for value, count in found if count}

    def sent(self, wire: str) -> list[bytes]:
        """What was sent by a wire since the last call."""
        found, self.wires[wire].sent = self.wires[wire].sent, []
        return found
