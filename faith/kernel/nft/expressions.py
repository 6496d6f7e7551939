"""The matches and statements of nftables rules, in the kernel's encoding.

Each is a string of bytes in the kernel's layout (``linux/netfilter/nf_tables.h``), and a rule is
their concatenation: ``daddr_in("prefixes") + jump("reserved")``.  Nested attributes have no
NLA_F_NESTED, as nf_tables itself writes them, so rules read back compare octet by octet.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from faith.kernel.netlink.netlink import attribute, attributes

if TYPE_CHECKING:
    from collections.abc import Iterable

ICMP = 1
TCP = 6
UDP = 17
ICMPV6 = 58

SYN = 0x02
ACK = 0x10

ECHO_REQUEST = 128
ADMIN_PROHIBITED = 1  # codes of ICMPv6 type 1, destination unreachable
PORT_UNREACHABLE = 4
ECHO_REQUEST4 = 8
ADMIN_PROHIBITED4 = 13  # codes of ICMP type 3, destination unreachable
PORT_UNREACHABLE4 = 3

_LIST_ELEM = 1
_EXPR_NAME = 1
_EXPR_DATA = 2
_DATA_VALUE = 1
_DATA_VERDICT = 2

_REG_VERDICT = 0
_REG_1 = 1
_REG_2 = 2
_REG_3 = 3

_NETWORK_HEADER = 1
_TRANSPORT_HEADER = 2

_AF_INET, _AF_INET6 = 2, 10
_META_PRIORITY, _META_SKUID, _META_NFTRACE, _META_L4PROTO = 2, 10, 12, 16
_HTON = 1  # of byteorder
_NAT_DST = 1
_SOCKET_TRANSPARENT, _SOCKET_WILDCARD = 0, 2
_NOT_LESS = 5  # of cmp
_LOOKUP_DREG = 3  # of a map
_REJECT_ICMP_UNREACH = 0
_REJECT_TCP_RST = 1

_DROP = 0
_ACCEPT = 1
_JUMP = -3
_RETURN = -5


def number(kind: int, value: int) -> bytes:
    """Return an attribute of 32 bits in network byte order, as nftables uses throughout."""
    return attribute(kind, (value & 0xFFFFFFFF).to_bytes(4, "big"))


def string(kind: int, text: str) -> bytes:
    """Return an attribute of NUL-terminated text."""
    return attribute(kind, text.encode() + bytes(1))


def daddr_in(name: str) -> bytes:
    """``ip6 daddr @name``"""
    return _load(_NETWORK_HEADER, 24, 16) + _in_set(name)


def daddr4_in(name: str) -> bytes:
    """``ip daddr @name``"""
    return _load(_NETWORK_HEADER, 16, 4) + _in_set(name)


def saddr_in(name: str) -> bytes:
    """``ip6 saddr @name``"""
    return _load(_NETWORK_HEADER, 8, 16) + _in_set(name)


def saddr4_in(name: str) -> bytes:
    """``ip saddr @name``"""
    return _load(_NETWORK_HEADER, 12, 4) + _in_set(name)


def daddr_is(address: bytes) -> bytes:
    """``ip6 daddr address``"""
    return _load(_NETWORK_HEADER, 24, 16) + _equal(address)


def between(source: bytes, destination: bytes) -> bytes:
    """``ip6 saddr source ip6 daddr destination``, or of IPv4, by the number of octets"""
    length, at = len(source), 12 if len(source) == 4 else 8
    saddr = _load(_NETWORK_HEADER, at, length) + _equal(source)
    return saddr + _load(_NETWORK_HEADER, at + length, length) + _equal(destination)


def trace() -> bytes:
    """``meta nftrace set 1``"""
    return _value(_REG_1, bytes([1])) + _expression("meta", None, _META_NFTRACE, _REG_1)


def l4proto(protocol: int) -> bytes:
    """``meta l4proto protocol``: skips IPv6 extension headers"""
    return _load_l4proto() + _equal(bytes([protocol]))


def l4proto_not(protocol: int) -> bytes:
    """``meta l4proto != protocol``"""
    return _load_l4proto() + _equal(bytes([protocol]), negated=True)


def dport_in(name: str) -> bytes:
    """``tcp dport @name``"""
    return l4proto(TCP) + _load(_TRANSPORT_HEADER, 2, 2) + _in_set(name)


def sport_in(name: str) -> bytes:
    """``tcp sport @name``"""
    return l4proto(TCP) + _load(_TRANSPORT_HEADER, 0, 2) + _in_set(name)


def dport_from(port: int) -> bytes:
    """``tcp dport >= port``"""
    return l4proto(TCP) + _load(_TRANSPORT_HEADER, 2, 2) + _not_less(port.to_bytes(2, "big"))


def tcp_flags(mask: int, value: int) -> bytes:
    """``tcp flags & mask == value``"""
    return l4proto(TCP) + _load(_TRANSPORT_HEADER, 13, 1) + _masked(mask) + _equal(bytes([value]))


def tcp_flags_not(mask: int, value: int) -> bytes:
    """``tcp flags & mask != value``"""
    flags = l4proto(TCP) + _load(_TRANSPORT_HEADER, 13, 1) + _masked(mask)
    return flags + _equal(bytes([value]), negated=True)


def skuid_not_in(name: str) -> bytes:
    """``meta skuid != @name``: there is a socket, and it was made by another user"""
    user = _expression("meta", _REG_1, _META_SKUID)
    in_network_order = _expression("byteorder", _REG_1, _REG_1, _HTON, 4, 4)
    return user + in_network_order + _in_set(name, inverted=True)


def icmpv6_type(kind: int) -> bytes:
    """``icmpv6 type kind``"""
    return l4proto(ICMPV6) + _load(_TRANSPORT_HEADER, 0, 1) + _equal(bytes([kind]))


def icmp_type(kind: int) -> bytes:
    """``icmp type kind``"""
    return l4proto(ICMP) + _load(_TRANSPORT_HEADER, 0, 1) + _equal(bytes([kind]))


def socket_not_transparent() -> bytes:
    """``socket transparent 0``: the socket the packet would reach exists and is not transparent"""
    return _expression("socket", _SOCKET_TRANSPARENT, _REG_1) + _equal(bytes(1))


def priority_is(value: int) -> bytes:
    """``meta priority value``: the packet's priority, a number of 32 bits"""
    return _expression("meta", _REG_1, _META_PRIORITY) + _equal(value.to_bytes(4, sys.byteorder))


def socket_of_its_own() -> bytes:
    """``socket transparent 1 socket wildcard 0``: a transparent socket is bound to that very
    address"""
    transparent = _expression("socket", _SOCKET_TRANSPARENT, _REG_1) + _equal(bytes([1]))
    return transparent + _expression("socket", _SOCKET_WILDCARD, _REG_1) + _equal(bytes(1))


def counter() -> bytes:
    """``counter``"""
    return _expression("counter")


def reject_with_reset() -> bytes:
    """``reject with tcp reset``"""
    return _expression("reject", _REJECT_TCP_RST)


def reject(code: int) -> bytes:
    """``reject with icmpv6 code``, or ``icmp code`` in a table of IPv4"""
    return _expression("reject", _REJECT_ICMP_UNREACH, bytes([code]))


def log(group: int, threshold: int) -> bytes:
    """``log group group queue-threshold threshold``"""
    numbers = group.to_bytes(2, "big"), threshold.to_bytes(2, "big")
    return _expression("log", numbers[0], None, None, numbers[1])


def notrack() -> bytes:
    """``notrack``"""
    return _expression("notrack")


def drop() -> bytes:
    """``drop``"""
    return _verdict(_DROP)


def accept() -> bytes:
    """``accept``"""
    return _verdict(_ACCEPT)


def leave() -> bytes:
    """``return``"""
    return _verdict(_RETURN)


def jump(chain: str) -> bytes:
    """``jump chain``"""
    return _verdict(_JUMP, chain.encode() + bytes(1))


def tproxy(address: bytes, port: int) -> bytes:
    """``tproxy to [address]:port``, or ``address:port`` of IPv4; *address* in octets"""
    values = _value(_REG_1, address) + _value(_REG_2, port.to_bytes(2, "big"))
    family = _AF_INET if len(address) == 4 else _AF_INET6
    return values + _expression("tproxy", family, _REG_1, _REG_2)


def port_of_pair(name: str) -> bytes:
    """``ip6 saddr . ip6 daddr map @name``: matches when the pair is in the map; for
    `tproxy_to_it`"""
    source, destination = _load(_NETWORK_HEADER, 8, 16), _load(_NETWORK_HEADER, 24, 16, _REG_2)
    return source + destination + _expression("lookup", name.encode() + bytes(1), _REG_1, _REG_3)


def tproxy_to_it(address: bytes) -> bytes:
    """``tproxy to [address]:`` and the port of `port_of_pair`"""
    return _value(_REG_1, address) + _expression("tproxy", _AF_INET6, _REG_1, _REG_3)


def redirect(port: int) -> bytes:
    """``redirect to :port``"""
    return _value(_REG_1, port.to_bytes(2, "big")) + _expression("redir", _REG_1)


def dnat_to_itself() -> bytes:
    """``dnat to ip6 daddr``: the connection keeps its destination, and no rule changes it later"""
    return _load(_NETWORK_HEADER, 24, 16) + _dnat(_AF_INET6)


def dnat4_to_itself() -> bytes:
    """``dnat to ip daddr``: as `dnat_to_itself`"""
    return _load(_NETWORK_HEADER, 16, 4) + _dnat(_AF_INET)


def _dnat(family: int) -> bytes:
    return _expression("nat", _NAT_DST, family, _REG_1, _REG_1)


def matches(wanted: bytes, found: bytes) -> bool:
    """Return whether the rule *found* in the kernel is the rule *wanted*.

    Attributes that the kernel adds with default values, and the values of counters, are ignored.
    """
    mine, theirs = decoded(wanted), decoded(found)
    return len(mine) == len(theirs) and all(
        name == found_name and arguments.items() <= found_arguments.items()
        for (name, arguments), (found_name, found_arguments) in zip(mine, theirs, strict=True)
    )


def decoded(expressions: bytes) -> list[tuple[str, dict[int, bytes]]]:
    """Return the names of the *expressions* of a rule, each with its attributes."""
    parts = (dict(attributes(value)) for _, value in attributes(expressions))
    return [
        (part[_EXPR_NAME].rstrip(bytes(1)).decode(), dict(attributes(part.get(_EXPR_DATA, b""))))
        for part in parts
    ]


def _load(base: int, offset: int, length: int, register: int = _REG_1) -> bytes:
    return _expression("payload", register, base, offset, length)


def _load_l4proto() -> bytes:
    return _expression("meta", _REG_1, _META_L4PROTO)


def _masked(mask: int) -> bytes:
    nothing_flipped = _data(bytes(1))
    return _expression("bitwise", _REG_1, _REG_1, 1, _data(bytes([mask])), nothing_flipped)


def _equal(value: bytes, *, negated: bool = False) -> bytes:
    return _expression("cmp", _REG_1, int(negated), _data(value))


def _not_less(value: bytes) -> bytes:
    return _expression("cmp", _REG_1, _NOT_LESS, _data(value))


def _in_set(name: str, *, inverted: bool = False) -> bytes:
    return _expression("lookup", name.encode() + bytes(1), _REG_1, None, None, int(inverted))


def _value(register: int, value: bytes) -> bytes:
    return _expression("immediate", register, _data(value))


def _verdict(*verdict: int | bytes) -> bytes:
    return _expression("immediate", _REG_VERDICT, attribute(_DATA_VERDICT, _numbered(verdict)))


def _data(value: bytes) -> bytes:
    return attribute(_DATA_VALUE, value)


def _expression(name: str, *arguments: int | bytes | None) -> bytes:
    named = string(_EXPR_NAME, name)
    return attribute(_LIST_ELEM, named + attribute(_EXPR_DATA, _numbered(arguments)))


def _numbered(values: Iterable[int | bytes | None]) -> bytes:
    """Return attributes 1, 2, … in the order of the kernel's enumeration; None is left out."""
    return b"".join(
        number(kind, value) if isinstance(value, int) else attribute(kind, value)
        for kind, value in enumerate(values, 1)
        if value is not None
    )


# -- the effect of a rule that is not ours -------------------------------------------------------

ACCEPTS, DROPS, PASSES = "accepts", "drops", "passes"
_HARMLESS = frozenset(("counter", "log", "limit", "quota", "connlimit"))
"""Expressions that change no verdict; a limit may end the rule before its verdict."""
_MATCHES = frozenset(("payload", "meta", "cmp", "range", "bitwise", "byteorder", "ct", "exthdr"))
_MATCHES |= {"fib", "socket", "rt", "numgen", "hash", "osf"}


def effect(rule: bytes) -> tuple[str, bool]:
    """Return what the expressions of a *rule* may do to a packet, and whether to every packet.

    What might accept it, or is not known to be harmless, `ACCEPTS`; a rule that only drops or
    rejects `DROPS`, and another one `PASSES`.
    """
    what, to_all = PASSES, True
    for name, arguments in decoded(rule):
        if name in ("counter", "log"):
            continue
        if name == "reject" or (name == "immediate" and _code(arguments) == _DROP):
            what = DROPS
        elif name in _HARMLESS | _MATCHES or (name == "lookup" and _LOOKUP_DREG not in arguments):
            to_all = False
        elif name != "immediate" or _register(arguments) == _REG_VERDICT:
            return ACCEPTS, False
    return what, to_all


def _register(arguments: dict[int, bytes]) -> int:
    return int.from_bytes(arguments.get(1, b""), "big")


def _code(arguments: dict[int, bytes]) -> int | None:
    """Return the verdict of an expression ``immediate``, None if it only loads a value."""
    if _register(arguments) != _REG_VERDICT:
        return None
    verdict = dict(attributes(dict(attributes(arguments.get(2, b""))).get(_DATA_VERDICT, b"")))
    return int.from_bytes(verdict.get(1, b""), "big", signed=True) if verdict else None
