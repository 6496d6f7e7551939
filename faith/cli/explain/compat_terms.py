"""Matches and targets of iptables inside rules of nftables (iptables-nft), the usual ones.

Their data are the structs of linux/netfilter/xt_tcpudp.h and xt_conntrack.h.
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING

from faith.cli.explain.filtered_packet import NEW, TCP, UDP

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.cli.explain.filtered_packet import Packet
    from faith.kernel.nft.rule_dump import Verdict

_SOURCE_PORTS_INVERTED, _PORTS_INVERTED, _FLAGS_INVERTED = 1, 2, 4
_ALL_PORTS = (0, 65535)
_SYN, _SYN_ACK = 0x02, 0x12
_STATE = 1
"""The flag of struct xt_conntrack_mtinfo3 for states."""
_STATES = struct.Struct("=146xHHH")  # match_flags, invert_flags, state_mask

_CONTINUE = ("LOG", "NFLOG", "TRACE", "MARK", "CONNMARK", "TCPMSS", "CT", "NOTRACK", "DSCP", "TOS")
_TRANSLATE = ("DNAT", "REDIRECT", "NETMAP", "DNPT")
_ACCEPT = ("MASQUERADE", "SNAT")


def match(name: str, info: bytes, packet: Packet) -> bool | None:
    """Return whether the match *name* with the struct *info* fits *packet*; None if not known."""
    known = _MATCHES.get(name)
    return known(info, packet) if known else None


def target(name: str) -> Verdict | str | None:
    """Return how the target *name* ends a rule: "" if it does not, None if that is not known."""
    from faith.kernel.nft.rule_dump import Verdict

    if name == "REJECT":
        return "reject"
    if name in _CONTINUE:
        return ""
    if name in _TRANSLATE:
        return "translate"
    return Verdict(1) if name in _ACCEPT else None


def _ports(info: bytes, packet: Packet, inverted: int) -> bool | None:
    """Compare ports: sources first, of which the client's is unknown."""
    sources, ports = (struct.unpack_from("=2H", info, at) for at in (0, 4))
    servers, clients = (sources, ports) if packet.answer else (ports, sources)
    client_bit = _PORTS_INVERTED if packet.answer else _SOURCE_PORTS_INVERTED
    server_bit = _SOURCE_PORTS_INVERTED if packet.answer else _PORTS_INVERTED
    if (servers[0] <= packet.port <= servers[1]) == bool(inverted & server_bit):
        return False
    return True if clients == _ALL_PORTS and not inverted & client_bit else None


def _tcp(info: bytes, packet: Packet) -> bool | None:
    if packet.protocol != TCP:
        return False
    option, mask, value, inverted = struct.unpack_from("=4B", info, 8)
    flags = _SYN_ACK if packet.answer else _SYN
    if (flags & mask == value) == bool(inverted & _FLAGS_INVERTED):
        return False
    return None if option else _ports(info, packet, inverted)


def _udp(info: bytes, packet: Packet) -> bool | None:
    if packet.protocol != UDP:
        return False
    return _ports(info, packet, info[8])


def _conntrack(info: bytes, packet: Packet) -> bool | None:
    if len(info) < _STATES.size:
        return None
    flags, inverted, mask = _STATES.unpack_from(info)
    if flags != _STATE or packet.state is None:
        return None
    return bool(mask & packet.state) != bool(inverted & _STATE)


def _state(info: bytes, packet: Packet) -> bool | None:
    if packet.state is None:
        return None
    mask = int.from_bytes(info[:4], sys.byteorder)
    return bool(mask & packet.state)


def _comment(info: bytes, packet: Packet) -> bool | None:
    return True


_MATCHES: dict[str, Callable[[bytes, Packet], bool | None]] = {
    "tcp": _tcp,
    "udp": _udp,
    "conntrack": _conntrack,
    "state": _state,
    "comment": _comment,
}
assert NEW == 8  # the states of iptables and nftables are the same bits
