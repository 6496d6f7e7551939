"""The expressions of a rule, evaluated for one packet: true, false, or not to be told.

Numbers are those of linux/netfilter/nf_tables.h.  An expression that is not known here makes its
rule one that may match.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from faith.cli.explain import compat_terms
from faith.cli.explain.filtered_packet import (
    CONNECTION_MARK,
    ESTABLISHED,
    INVALID,
    LOCAL,
    META_MARK,
    NEW,
    NONE,
    UNTRACKED,
)
from faith.cli.explain.registers import Registers
from faith.kernel.nft.rule_dump import DROP, Verdict, data

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from faith.cli.explain.filtered_packet import Interface, Packet, Passage
    from faith.kernel.nft.rule_dump import DumpedSet, Element, Expression

    Term = Callable[["Evaluation", Mapping[int, bytes]], bool | None]

_META_IIF, _META_OIF, _META_IIFNAME, _META_OIFNAME = 4, 5, 6, 7
_META_SKUID, _META_NFPROTO, _META_L4PROTO, _META_PROTOCOL, _META_PKTTYPE = 10, 15, 16, 1, 19
_CT_STATE, _CT_DIRECTION, _CT_STATUS, _CT_MARK = 0, 1, 2, 3
_NETWORK, _TRANSPORT = 1, 2
_NAME_LENGTH = 16
_EQUAL, _NOT_EQUAL, _LESS, _LESS_EQUAL, _GREATER, _GREATER_EQUAL = range(6)
_SHIFT = 0  # of bitwise: 0 is mask and xor
_INVERTED = 1
_FIB_INTERFACE, _FIB_NAME, _FIB_TYPE = 1, 2, 3
_FIB_SOURCE, _FIB_PRESENT = 1, 32
_DESTINATION_NAT = 1
_MARKING = {"MARK": META_MARK, "CONNMARK": CONNECTION_MARK}
_LIMITING = (2, 4, 5, 8)
"""Types of named objects by which a rule may end: quota, limit, connlimit and synproxy."""


class Outcome(Exception):
    """A rule ends with this *verdict*, ``reject`` or ``translate`` among them, or jumps.

    It is not *certain* if another one is possible as well.
    """

    def __init__(self, verdict: Verdict | str, *, certain: bool = True) -> None:
        super().__init__(verdict)
        self.verdict = verdict
        self.certain = certain


class Evaluation:
    """The evaluation of one rule for the packet of *passage*; *sets* are those of its table.

    *early* says that connection tracking has not seen the packet yet, *sure* that it comes to this
    rule for certain, and that what was evaluated of it so far matches.
    """

    def __init__(
        self,
        passage: Passage,
        sets: Callable[[str], DumpedSet | None],
        *,
        early: bool,
        sure: bool,
    ) -> None:
        self.passage = passage
        self.sets = sets
        self.early = early
        self.sure = sure
        self.registers = Registers()

    @property
    def packet(self) -> Packet:
        """The packet as rules see it here."""
        packet = self.passage.packet
        if self.early and packet.state in (NEW, ESTABLISHED):
            return replace(packet, state=INVALID)
        return packet

    def matches(self, expression: Expression) -> bool | None:
        """Return whether *expression* matches, None where that cannot be told.

        Raises Outcome where it ends the rule.
        """
        term = _TERMS.get(expression.name)
        return term(self, expression.arguments) if term else None


def _load(evaluation: Evaluation, register: bytes, value: bytes | None, length: int = 16) -> bool:
    evaluation.registers.load(_number(register), value, length)
    return True


def _meta(evaluation: Evaluation, attrs: Mapping[int, bytes]) -> bool:
    key = _number(attrs[2])
    if 3 in attrs:  # it sets the mark or the like
        value = evaluation.registers.read(_number(attrs[3]), 4)
        evaluation.passage.mark(key, value, sure=evaluation.sure)
        return True
    return _load(evaluation, attrs[1], _meta_value(evaluation, key))


def _meta_value(evaluation: Evaluation, key: int) -> bytes | None:
    packet = evaluation.packet
    if key in evaluation.passage.marks:
        return evaluation.passage.marks[key]
    if key in (_META_IIF, _META_OIF):
        return _native(_interface(packet, key == _META_IIF).index)
    if key in (_META_IIFNAME, _META_OIFNAME):
        name = _interface(packet, key == _META_IIFNAME).name
        return name.encode().ljust(_NAME_LENGTH, b"\0")
    if key == _META_SKUID:
        return None if packet.user is None else _native(packet.user)
    known = {
        _META_NFPROTO: bytes([packet.number]),
        _META_L4PROTO: bytes([packet.protocol]),
        _META_PROTOCOL: packet.ether_type,
        _META_PKTTYPE: bytes(1) if packet.arrives != NONE else None,
    }
    return known.get(key)


def _interface(packet: Packet, arriving: bool) -> Interface:
    return packet.arrives if arriving else packet.leaves


def _payload(evaluation: Evaluation, attrs: Mapping[int, bytes]) -> bool:
    if 5 in attrs:  # it writes to the packet
        return True
    base, offset, length = (_number(attrs[kind]) for kind in (2, 3, 4))
    headers = {
        _NETWORK: evaluation.packet.network_header,
        _TRANSPORT: evaluation.packet.transport_header,
    }
    if base not in headers:
        return _load(evaluation, attrs[1], None, length)
    octets, unknown = headers[base]()
    places = range(offset, offset + length)
    value = octets[offset : offset + length]
    if len(value) < length or unknown.intersection(places):
        return _load(evaluation, attrs[1], None, length)
    return _load(evaluation, attrs[1], value)


def _ct(evaluation: Evaluation, attrs: Mapping[int, bytes]) -> bool:
    key, state = _number(attrs.get(2, b"")), evaluation.packet.state
    if state in (INVALID, UNTRACKED) and key != _CT_STATE:
        return False  # there is no connection to look at, or to mark
    if 4 in attrs:  # it sets a mark of the connection
        if key == _CT_MARK:
            value = evaluation.registers.read(_number(attrs[4]), 4)
            evaluation.passage.mark(CONNECTION_MARK, value, sure=evaluation.sure)
        return True
    is_new = state == NEW
    known = {
        _CT_STATE: None if state is None else _native(state),
        _CT_DIRECTION: None if state is None else bytes([not is_new]),
        _CT_STATUS: bytes(4) if is_new else None,
        _CT_MARK: evaluation.passage.marks.get(CONNECTION_MARK) if is_new else None,
    }
    return _load(evaluation, attrs[1], known.get(key))


def _notrack(evaluation: Evaluation, attrs: Mapping[int, bytes]) -> bool:
    if evaluation.early:  # later it does nothing
        evaluation.passage.leave_untracked(sure=evaluation.sure)
    return True


def _compare(evaluation: Evaluation, attrs: Mapping[int, bytes]) -> bool | None:
    wanted = data(attrs[3])
    assert isinstance(wanted, bytes)
    value = evaluation.registers.read(_number(attrs[1]), len(wanted))
    if value is None:
        return None
    return {
        _EQUAL: value == wanted,
        _NOT_EQUAL: value != wanted,
        _LESS: value < wanted,
        _LESS_EQUAL: value <= wanted,
        _GREATER: value > wanted,
        _GREATER_EQUAL: value >= wanted,
    }[_number(attrs[2])]


def _range(evaluation: Evaluation, attrs: Mapping[int, bytes]) -> bool | None:
    first, last = data(attrs[3]), data(attrs[4])
    assert isinstance(first, bytes)
    assert isinstance(last, bytes)
    value = evaluation.registers.read(_number(attrs[1]), len(first))
    if value is None:
        return None
    return (first <= value <= last) != bool(_number(attrs[2]))


def _bitwise(evaluation: Evaluation, attrs: Mapping[int, bytes]) -> bool:
    length = _number(attrs[3])
    value = evaluation.registers.read(_number(attrs[1]), length)
    mask, xor = (data(attrs[kind]) if kind in attrs else None for kind in (4, 5))
    if _number(attrs.get(6, b"")) != _SHIFT or not (
        isinstance(mask, bytes) and isinstance(xor, bytes)
    ):
        return _load(evaluation, attrs[2], None, length)
    if value is None:
        known = xor if not any(mask) else None
        return _load(evaluation, attrs[2], known, length)
    result = bytes(octet & m ^ x for octet, m, x in zip(value, mask, xor, strict=True))
    return _load(evaluation, attrs[2], result)


def _byteorder(evaluation: Evaluation, attrs: Mapping[int, bytes]) -> bool:
    length, size = _number(attrs[4]), _number(attrs[5])
    value = evaluation.registers.read(_number(attrs[1]), length)
    if value is not None and sys.byteorder == "little":
        parts = (value[at : at + size] for at in range(0, length, size))
        value = b"".join(part[::-1] for part in parts)
    return _load(evaluation, attrs[2], value, length)


def _immediate(evaluation: Evaluation, attrs: Mapping[int, bytes]) -> bool:
    value = data(attrs[2])
    if isinstance(value, Verdict):
        raise Outcome(value)
    return _load(evaluation, attrs[1], value)


def _lookup(evaluation: Evaluation, attrs: Mapping[int, bytes]) -> bool | None:
    found = evaluation.sets(_text(attrs[1]))
    if found is None:
        return None
    register, inverted = _number(attrs[2]), bool(_number(attrs.get(5, b"")) & _INVERTED)
    element = _element(evaluation.registers, register, found)
    if isinstance(element, str):
        if 3 in attrs:
            _end_by_any(found)
            evaluation.registers.load(_number(attrs[3]), None)
        return None
    if element is not None and 3 in attrs:
        if isinstance(element.value, Verdict):
            raise Outcome(element.value)
        return _load(evaluation, attrs[3], element.value)
    return (element is not None) != inverted


def _end_by_any(among: DumpedSet) -> None:
    """End the rule by the worst of the verdicts in a map, if it has verdicts."""
    verdicts = [one.value for one in among.elements if isinstance(one.value, Verdict)]
    if verdicts:
        raise Outcome(min(verdicts, key=lambda one: one.code != DROP), certain=False)


def _element(registers: Registers, register: int, among: DumpedSet) -> Element | str | None:
    """Return the element that has the key in *register*, None without one; "" if unknown."""
    if among.length is None:
        return among.other
    key = registers.read(register, among.length)
    return "" if key is None else among.find(key)


def _fib(evaluation: Evaluation, attrs: Mapping[int, bytes]) -> bool:
    result, flags = _number(attrs[2]), _number(attrs[3])
    packet, of_source = evaluation.packet, bool(flags & _FIB_SOURCE)
    kind = packet.source_type if of_source else packet.destination_type
    if result == _FIB_TYPE:
        return _load(evaluation, attrs[1], _native(kind))
    if not of_source or kind == LOCAL:
        return _load(evaluation, attrs[1], None)
    there = packet.arrives  # where the way back goes, which is taken to be where it came from
    if flags & _FIB_PRESENT:
        return _load(evaluation, attrs[1], bytes([there != NONE]))
    if result == _FIB_NAME:
        return _load(evaluation, attrs[1], there.name.encode().ljust(_NAME_LENGTH, b"\0"))
    return _load(evaluation, attrs[1], _native(there.index))


def _nat(evaluation: Evaluation, attrs: Mapping[int, bytes]) -> bool:
    if _number(attrs[1]) == _DESTINATION_NAT:
        raise Outcome("translate")
    evaluation.passage.from_other_source = True
    raise Outcome(Verdict(1))


def _end(verdict: Verdict | str) -> Term:
    def term(evaluation: Evaluation, attrs: Mapping[int, bytes]) -> bool:
        raise Outcome(verdict)

    return term


def _nothing(evaluation: Evaluation, attrs: Mapping[int, bytes]) -> bool:
    return True


def _object(evaluation: Evaluation, attrs: Mapping[int, bytes]) -> bool | None:
    """Return whether a named object lets the rule go on, None for a quota or another limit."""
    return None if _number(attrs.get(1, b"")) in _LIMITING else True


def _unknown_value(evaluation: Evaluation, attrs: Mapping[int, bytes]) -> bool:
    if 1 in attrs:
        evaluation.registers.load(_number(attrs[1]), None)
    return True


def _match(evaluation: Evaluation, attrs: Mapping[int, bytes]) -> bool | None:
    return compat_terms.match(_text(attrs[1]), attrs.get(3, b""), evaluation.packet)


def _target(evaluation: Evaluation, attrs: Mapping[int, bytes]) -> bool | None:
    name = _text(attrs[1])
    if name in _MARKING:
        evaluation.passage.mark(_MARKING[name], None, sure=evaluation.sure)
    if name in ("CT", "NOTRACK") and evaluation.early:  # CT does other things, too
        evaluation.passage.leave_untracked(sure=False)
    if name == "SNAT":
        evaluation.passage.from_other_source = True
    verdict = compat_terms.target(name)
    if verdict == "":
        return True
    if verdict is None:
        return None
    raise Outcome(verdict)


_TERMS: dict[str, Term] = {
    "meta": _meta,
    "payload": _payload,
    "ct": _ct,
    "cmp": _compare,
    "range": _range,
    "bitwise": _bitwise,
    "byteorder": _byteorder,
    "immediate": _immediate,
    "lookup": _lookup,
    "fib": _fib,
    "nat": _nat,
    "masq": _end(Verdict(1)),
    "redir": _end("translate"),
    "reject": _end("reject"),
    "queue": _end("queue"),
    "counter": _nothing,
    "log": _nothing,
    "notrack": _notrack,
    "objref": _object,
    "last": _nothing,
    "exthdr": _unknown_value,
    "socket": _unknown_value,
    "hash": _unknown_value,
    "numgen": _unknown_value,
    "rt": _unknown_value,
    "xfrm": _unknown_value,
    "match": _match,
    "target": _target,
}


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


def _native(number: int) -> bytes:
    return number.to_bytes(4, sys.byteorder)


def _text(octets: bytes) -> str:
    return octets.rstrip(bytes(1)).decode(errors="replace")
