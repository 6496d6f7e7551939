"""The tables of the legacy iptables, read from the kernel as ``iptables-legacy-save`` prints them.

That program is often missing where such tables are: Docker and Kubernetes bring their own.  The
structs are those of linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h and
linux/netfilter/x_tables.h.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from contextlib import suppress
from ipaddress import ip_network
from typing import TYPE_CHECKING, NamedTuple

from faith.errors import SetupError
from faith.kernel import text_file

if TYPE_CHECKING:
    from collections.abc import Iterator

_GET_INFO, _GET_ENTRIES = 64, 65
_INFO = struct.Struct("=32sI5I5III")
_HEAD = 40
"""Octets before the entries of struct ipt_get_entries: name, size, padding."""
_HOOKS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
_VERDICTS = {-1: "DROP", -2: "ACCEPT", -4: "QUEUE", -5: "RETURN"}
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp"}
_IN, _OUT, _SOURCE, _DESTINATION, _PROTOCOL = 1, 2, 8, 16, 64
"""Flags for what is inverted."""
_STATES = {1: "INVALID", 2: "ESTABLISHED", 4: "RELATED", 8: "NEW"}
_CONNTRACK_STATE, _CONNTRACK_ALIAS = 1, 1 << 13


class _Family(NamedTuple):
    """The sizes and offsets of one family."""

    socket: socket.AddressFamily
    level: int
    address: int
    """Octets of an address."""
    match: int
    """Octets of struct ipt_ip or ip6t_ip6."""
    entry: int
    flags: int
    """The offset of the flags: behind the protocol, and in IPv6 the traffic class."""
    goto: int


_FAMILIES = {
    "ip": _Family(socket.AF_INET, socket.IPPROTO_IP, 4, 84, 112, 82, 2),
    "ip6": _Family(socket.AF_INET6, socket.IPPROTO_IPV6, 16, 136, 168, 131, 4),
}


def names(family: str) -> tuple[str, ...]:
    """Return the tables of *family* ("ip" or "ip6") in this thread's network namespace."""
    with suppress(SetupError):  # this kernel has none
        return tuple(text_file.read_proc(f"/proc/thread-self/net/{family}_tables_names").split())
    return ()


def read(family: str) -> str:
    """Return all tables of *family* as text.  Needs CAP_NET_ADMIN and CAP_NET_RAW; raises OSError.

    A match or target that is not known here has its name, and the option ``--unread``.
    """
    sizes = _FAMILIES[family]
    lines = []
    with socket.socket(sizes.socket, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        for table in sorted(names(family)):
            lines += [f"*{table}", *_Table(sizes, *_blob(sock, sizes.level, table)).lines()]
    return "".join(f"{line}\n" for line in lines)


def _blob(
    sock: socket.socket, level: int, table: str
) -> tuple[dict[int, str], dict[int, str], bytes]:
    """Return the offsets of the built-in chains and of their policies, and all entries."""
    info = _asked(sock, level, _GET_INFO, table.encode().ljust(_INFO.size, b"\0"))
    _, valid, *offsets, _, size = _INFO.unpack(info)
    hooks = [(number, name) for number, name in enumerate(_HOOKS) if valid & 1 << number]
    wanted = table.encode().ljust(32, b"\0") + struct.pack("=I", size)
    entries = _asked(sock, level, _GET_ENTRIES, wanted.ljust(_HEAD + size, b"\0"))[_HEAD:]
    begin, policy = (
        {offsets[number + first]: name for number, name in hooks} for first in (0, len(_HOOKS))
    )
    return begin, policy, entries


def _asked(sock: socket.socket, level: int, option: int, question: bytes) -> bytes:
    """Return what getsockopt(2) makes of *question*; the socket module cannot ask with octets."""
    buffer = ctypes.create_string_buffer(question, len(question))
    size = ctypes.c_uint(len(question))
    if _LIBC.getsockopt(sock.fileno(), level, option, buffer, ctypes.byref(size)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return buffer.raw


_LIBC = ctypes.CDLL(None, use_errno=True)


class _Entry(NamedTuple):
    """One entry at the offset *at* of its table: *words* are its matches."""

    at: int
    end: int
    words: list[str]
    target: str
    data: bytes
    is_goto: bool

    @property
    def verdict(self) -> int:
        """The verdict of the standard target: an offset, or a negative number."""
        return int(struct.unpack_from("=i", self.data)[0])


class _Table:
    """The entries of a table, chain by chain."""

    def __init__(
        self, family: _Family, begin: dict[int, str], policy: dict[int, str], blob: bytes
    ) -> None:
        self._family = family
        self._policy = policy
        self._entries = list(self._parsed(blob))
        self._begin = dict(begin)
        for entry in self._entries:
            if entry.target == "ERROR":  # the head of a chain of the user's, or the end
                self._begin.setdefault(entry.end, _string(entry.data))

    def lines(self) -> Iterator[str]:
        """Return the chains and then the rules, each as a line."""
        ends = [each for each in self._entries if each.at in self._policy]
        policies = {self._policy[each.at]: each for each in ends}
        chains = [name for at, name in self._begin.items() if at < self._entries[-1].end]
        for chain in chains:
            policy = _VERDICTS[policies[chain].verdict] if chain in policies else "-"
            yield f":{chain} {policy} [0:0]"
        chain = ""
        for entry in self._entries:
            chain = self._begin.get(entry.at, chain)
            is_end = self._is_end(entry)
            if entry.at not in self._policy and entry.target != "ERROR" and not is_end:
                yield " ".join(["-A", chain, *entry.words, *self._action(entry)])

    def _is_end(self, entry: _Entry) -> bool:
        """Return whether *entry* is the RETURN that the kernel's users put behind each chain."""
        next_one = next((each for each in self._entries if each.at == entry.end), None)
        plain = not entry.words and not entry.target and entry.verdict == -5
        return plain and (next_one is None or next_one.target == "ERROR")

    def _action(self, entry: _Entry) -> list[str]:
        if entry.target:
            return ["-j", entry.target]
        verdict = entry.verdict
        if verdict == entry.end:
            return []
        if verdict < 0:
            return ["-j", _VERDICTS.get(verdict, "QUEUE")]
        return ["-g" if entry.is_goto else "-j", self._begin[verdict]]

    def _parsed(self, blob: bytes) -> Iterator[_Entry]:
        family, at = self._family, 0
        while at < len(blob):
            target, following = struct.unpack_from("=HH", blob, at + family.match + 4)
            matches = blob[at + family.entry : at + target]
            words = [*_address_words(family, blob[at : at + family.match]), *_match_words(matches)]
            size, name = struct.unpack_from("=H29s", blob, at + target)
            flags = blob[at + family.flags]
            data = blob[at + target + 32 : at + target + size]
            yield _Entry(at, at + following, words, _string(name), data, bool(flags & family.goto))
            at += following


def _string(octets: bytes) -> str:
    return octets.partition(b"\0")[0].decode(errors="replace")


def _address_words(family: _Family, octets: bytes) -> Iterator[str]:
    """Return the words for addresses, interfaces and protocol."""
    size = family.address
    inverted = octets[family.flags + 1]
    source, destination, of_source, of_destination = (
        octets[number * size : (number + 1) * size] for number in range(4)
    )
    for option, address, mask, flag in (
        ("-s", source, of_source, _SOURCE),
        ("-d", destination, of_destination, _DESTINATION),
    ):
        if any(mask):
            yield from _not(inverted & flag)
            yield from (option, _network(address, mask))
    names = octets[4 * size : 4 * size + 64]
    for number, (option, flag) in enumerate((("-i", _IN), ("-o", _OUT))):
        name, mask = (names[at : at + 16] for at in (16 * number, 32 + 16 * number))
        if any(mask):
            text = _string(name).rstrip("+")
            yield from _not(inverted & flag)
            yield from (option, text if mask[len(text)] else f"{text}+")
    (protocol,) = struct.unpack_from("=H", octets, 4 * size + 64)
    if protocol:
        yield from _not(inverted & _PROTOCOL)
        yield from ("-p", _PROTOCOLS.get(protocol, str(protocol)))


def _not(flag: int) -> list[str]:
    return ["!"] if flag else []


def _network(address: bytes, mask: bytes) -> str:
    """Return ADDRESS/LENGTH; a mask with holes, which iptables allows, counts up to the first."""
    bits = f"{int.from_bytes(mask, 'big'):0{8 * len(mask)}b}"
    length = len(bits) - len(bits.lstrip("1"))
    return str(ip_network((address, length), strict=False))


def _match_words(octets: bytes) -> Iterator[str]:
    at = 0
    while at < len(octets):
        size, name = struct.unpack_from("=H29s", octets, at)
        data, text = octets[at + 32 : at + size], _string(name)
        yield from ("-m", text)
        yield from _MATCHES.get(text, _unread)(data)
        at += size


def _unread(data: bytes) -> list[str]:
    return ["--unread"]


def _port_words(data: bytes, inverted: int) -> Iterator[str]:
    for option, at, flag in (("--sport", 0, 1), ("--dport", 4, 2)):
        first, last = struct.unpack_from("=2H", data, at)
        if (first, last) != (0, 65535) or inverted & flag:
            yield from _not(inverted & flag)
            yield from (option, str(first) if first == last else f"{first}:{last}")


def _tcp_words(data: bytes) -> list[str]:
    option, mask, _, inverted = struct.unpack_from("=4B", data, 8)
    return [*_port_words(data, inverted), *(["--unread"] if option or mask else ())]


def _udp_words(data: bytes) -> list[str]:
    return list(_port_words(data, data[8]))


def _state_words(mask: int) -> str:
    return ",".join(name for bit, name in _STATES.items() if mask & bit)


def _state(data: bytes) -> list[str]:
    return ["--state", _state_words(struct.unpack_from("=I", data)[0])]


def _conntrack(data: bytes) -> list[str]:
    if len(data) < 152:
        return ["--unread"]
    flags, inverted, mask = struct.unpack_from("=3H", data, 146)
    if flags & ~_CONNTRACK_ALIAS != _CONNTRACK_STATE:
        return ["--unread"]
    return [*_not(inverted & _CONNTRACK_STATE), "--ctstate", _state_words(mask)]


def _comment(data: bytes) -> list[str]:
    return []


_MATCHES = {
    "tcp": _tcp_words,
    "udp": _udp_words,
    "state": _state,
    "conntrack": _conntrack,
    "comment": _comment,
}
