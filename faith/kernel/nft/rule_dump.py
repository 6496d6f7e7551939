"""The whole ruleset of nftables as the kernel has it: chains, rules, sets and their elements.

The tables of the modern iptables are among them.  Reading needs CAP_NET_ADMIN.
"""

from __future__ import annotations

import errno
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from faith.kernel.netlink.netlink import NETLINK_NETFILTER, Netlink, attributes
from faith.kernel.nft.expressions import string

if TYPE_CHECKING:
    from collections.abc import Iterator

FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_HOOKS = ("prerouting", "input", "forward", "output", "postrouting", "ingress")
_DEVICE_HOOKS = ("ingress", "egress")

_SUBSYSTEM = 10
_NFGENMSG = 4
_GETTABLE, _GETCHAIN, _GETRULE, _GETSET, _GETSETELEM = 1, 4, 7, 10, 13
# The attributes, by their names in linux/netfilter/nf_tables.h.
_TABLE_NAME, _TABLE_FLAGS = 1, 2
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE = 1, 3, 4, 5, 7
_HOOK_NUMBER, _HOOK_PRIORITY, _HOOK_DEVICE, _HOOK_DEVICES = 1, 2, 3, 4
_RULE_TABLE, _RULE_CHAIN, _RULE_HANDLE, _RULE_EXPRESSIONS = 1, 2, 3, 4
_SET_TABLE, _SET_NAME, _SET_FLAGS, _SET_DESCRIPTION = 1, 2, 3, 9
_SET_CONCATENATION, _FIELD_LENGTH = 2, 1
_ELEMENTS_TABLE, _ELEMENTS_SET, _ELEMENTS = 1, 2, 3
_ELEMENT_KEY, _ELEMENT_DATA, _ELEMENT_FLAGS, _ELEMENT_KEY_END = 1, 2, 3, 10
_EXPRESSION_NAME, _EXPRESSION_DATA = 1, 2
_VALUE, _VERDICT = 1, 2
_VERDICT_CODE, _VERDICT_CHAIN = 1, 2

_DORMANT = 1
_INTERVAL = 4
_INTERVAL_END, _CATCH_ALL = 1, 2
_DROP_POLICY = 0
JUMP, GOTO, RETURN = -3, -4, -5
DROP, ACCEPT, QUEUE = 0, 1, 3
"""Codes of verdicts."""


class Verdict(NamedTuple):
    """The *code* of a verdict, and the *chain* that a jump leads to."""

    code: int
    chain: str = ""


class Expression(NamedTuple):
    """An expression of a rule: its *name*, such as ``cmp``, and its attributes by number."""

    name: str
    arguments: dict[int, bytes]


class DumpedRule(NamedTuple):
    """A rule, with the *handle* that ``nft -a`` shows."""

    handle: int
    expressions: tuple[Expression, ...]


class DumpedChain(NamedTuple):
    """A chain; a base chain has a *hook*, a *kind*, a *priority* and a policy.

    *devices* are the interfaces of a chain of the family netdev.
    """

    family: str
    table: str
    name: str
    kind: str = ""
    hook: str = ""
    priority: int = 0
    drops: bool = False
    devices: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.family} {self.table} {self.name}"


class Element(NamedTuple):
    """An element of a set: keys from *first* to *last*, and its *value* in a map.

    The element for all other keys has ``first`` None.
    """

    first: bytes | None
    last: bytes
    value: bytes | Verdict | None = None


@dataclass(frozen=True)
class DumpedSet:
    """A set or a map; *fields* are the lengths of a concatenation's parts, in octets."""

    elements: tuple[Element, ...] = ()
    fields: tuple[int, ...] = ()

    @cached_property
    def length(self) -> int | None:
        """The length of a key in octets, None without any key."""
        return len(self._firsts[0]) if self._sorted else None

    @cached_property
    def other(self) -> Element | None:
        """The element for all other keys."""
        return next((one for one in self.elements if one.first is None), None)

    def find(self, key: bytes) -> Element | None:
        """Return the element that holds *key*, or that for all other keys."""
        if self._overlaps:
            return next((one for one in self._sorted if self._holds(one, key)), self.other)
        at = bisect_right(self._firsts, key) - 1
        found = self._sorted[at] if at >= 0 else None
        return found if found and key <= found.last else self.other

    @cached_property
    def _sorted(self) -> list[Element]:
        keyed = (one for one in self.elements if one.first is not None)
        return sorted(keyed, key=lambda one: one.first or b"")

    @cached_property
    def _firsts(self) -> list[bytes]:
        return [one.first or b"" for one in self._sorted]

    @cached_property
    def _overlaps(self) -> bool:
        """True if elements are ranges of each part of a key, which have no common order."""
        return bool(self.fields) and any(one.first != one.last for one in self._sorted)

    def _holds(self, element: Element, key: bytes) -> bool:
        assert element.first is not None
        at = 0
        for length in self.fields:
            part = slice(at, at + length)
            if not element.first[part] <= key[part] <= element.last[part]:
                return False
            at += length + -length % 4
        return True


@dataclass(frozen=True)
class Ruleset:
    """All chains, rules and sets of this network namespace.

    Rules are by family, table and chain; sets by family, table and name.
    """

    chains: tuple[DumpedChain, ...] = ()
    rules: dict[tuple[str, str, str], tuple[DumpedRule, ...]] = field(default_factory=dict)
    sets: dict[tuple[str, str, str], DumpedSet] = field(default_factory=dict)

    def rules_of(self, chain: DumpedChain) -> tuple[DumpedRule, ...]:
        """Return the rules of *chain*, in their order."""
        return self.rules.get((chain.family, chain.table, chain.name), ())


def read() -> Ruleset:
    """Return the ruleset without dormant tables.  Raises OSError; ENOENT has no nftables."""
    with Netlink.create(NETLINK_NETFILTER) as netlink:
        dormant = set(_dormant(netlink))
        chains = [one for one in _chains(netlink) if (one.family, one.table) not in dormant]
        rules: dict[tuple[str, str, str], list[DumpedRule]] = {}
        for place, rule in _rules(netlink):
            rules.setdefault(place, []).append(rule)
        return Ruleset(
            tuple(chains),
            {place: tuple(several) for place, several in rules.items()},
            dict(_sets(netlink)),
        )


def _dump(netlink: Netlink, message: int, body: bytes = b"", family: int = 0) -> Iterator[_Found]:
    found = netlink.dump(_SUBSYSTEM << 8 | message, bytes([family, 0, 0, 0]) + body)
    for one in found:
        yield one[0], dict(attributes(one[_NFGENMSG:]))


_Found = tuple[int, dict[int, bytes]]


def _dormant(netlink: Netlink) -> Iterator[tuple[str, str]]:
    for family, attrs in _dump(netlink, _GETTABLE):
        if _number(attrs.get(_TABLE_FLAGS, b"")) & _DORMANT:
            yield _family(family), _text(attrs[_TABLE_NAME])


def _chains(netlink: Netlink) -> Iterator[DumpedChain]:
    for family, attrs in _dump(netlink, _GETCHAIN):
        place = _family(family), _text(attrs[_CHAIN_TABLE]), _text(attrs[_CHAIN_NAME])
        if _CHAIN_HOOK not in attrs:
            yield DumpedChain(*place)
            continue
        hook = dict(attributes(attrs[_CHAIN_HOOK]))
        names = _DEVICE_HOOKS if place[0] == "netdev" else _HOOKS
        point = _number(hook[_HOOK_NUMBER])
        yield DumpedChain(
            *place,
            _text(attrs[_CHAIN_TYPE]),
            names[point] if point < len(names) else str(point),
            int.from_bytes(hook[_HOOK_PRIORITY], "big", signed=True),
            _number(attrs.get(_CHAIN_POLICY, b"\1")) == _DROP_POLICY,
            _devices(hook),
        )


def _devices(hook: dict[int, bytes]) -> tuple[str, ...]:
    several = attributes(hook.get(_HOOK_DEVICES, b""))
    one = [hook[_HOOK_DEVICE]] if _HOOK_DEVICE in hook else []
    return tuple(dict.fromkeys(_text(name) for name in [*one, *(name for _, name in several)]))


def _rules(netlink: Netlink) -> Iterator[tuple[tuple[str, str, str], DumpedRule]]:
    for family, attrs in _dump(netlink, _GETRULE):
        place = _family(family), _text(attrs[_RULE_TABLE]), _text(attrs[_RULE_CHAIN])
        expressions = attributes(attrs.get(_RULE_EXPRESSIONS, b""))
        yield (
            place,
            DumpedRule(
                _number(attrs[_RULE_HANDLE]), tuple(expression(one) for _, one in expressions)
            ),
        )


def expression(octets: bytes) -> Expression:
    """Parse one expression of a rule."""
    attrs = dict(attributes(octets))
    data = dict(attributes(attrs.get(_EXPRESSION_DATA, b"")))
    return Expression(_text(attrs[_EXPRESSION_NAME]), data)


def _sets(netlink: Netlink) -> Iterator[tuple[tuple[str, str, str], DumpedSet]]:
    for family, attrs in list(_dump(netlink, _GETSET)):
        table, name = _text(attrs[_SET_TABLE]), _text(attrs[_SET_NAME])
        fields = tuple(_fields(attrs.get(_SET_DESCRIPTION, b"")))
        is_interval = bool(_number(attrs.get(_SET_FLAGS, b"")) & _INTERVAL)
        body = string(_ELEMENTS_TABLE, table) + string(_ELEMENTS_SET, name)
        try:
            found = [one for _, one in _dump(netlink, _GETSETELEM, body, family)]
        except OSError as error:
            if error.errno != errno.ENOENT:  # else it is gone since
                raise
            continue
        elements = [
            dict(attributes(element))
            for one in found
            for _, element in attributes(one.get(_ELEMENTS, b""))
        ]
        made = _of_intervals(elements) if is_interval and not fields else _of_keys(elements)
        yield (_family(family), table, name), DumpedSet(tuple(made), fields)


def _fields(description: bytes) -> Iterator[int]:
    parts = dict(attributes(description)).get(_SET_CONCATENATION, b"")
    for _, part in attributes(parts):
        yield _number(dict(attributes(part))[_FIELD_LENGTH])


def _of_keys(elements: list[dict[int, bytes]]) -> Iterator[Element]:
    for element in elements:
        if _ELEMENT_KEY not in element:
            yield Element(None, b"", _value(element))
            continue
        first = _key(element[_ELEMENT_KEY])
        last = _key(element[_ELEMENT_KEY_END]) if _ELEMENT_KEY_END in element else first
        yield Element(first, last, _value(element))


def _of_intervals(elements: list[dict[int, bytes]]) -> Iterator[Element]:
    """Pair the beginnings and ends that the kernel keeps an interval as."""
    points = []
    for element in elements:
        flags = _number(element.get(_ELEMENT_FLAGS, b""))
        if flags & _CATCH_ALL:
            yield Element(None, b"", _value(element))
        elif _ELEMENT_KEY in element:
            points.append((_key(element[_ELEMENT_KEY]), not flags & _INTERVAL_END, element))
    points.sort(key=lambda point: point[:2])
    for at, (first, begins, element) in enumerate(points):
        if begins:
            after = points[at + 1][0] if at + 1 < len(points) else None
            last = _before(after) if after else b"\xff" * len(first)
            yield Element(first, last, _value(element))


def _before(key: bytes) -> bytes:
    return (int.from_bytes(key, "big") - 1).to_bytes(len(key), "big")


def _key(octets: bytes) -> bytes:
    return dict(attributes(octets))[_VALUE]


def _value(element: dict[int, bytes]) -> bytes | Verdict | None:
    return data(element[_ELEMENT_DATA]) if _ELEMENT_DATA in element else None


def data(octets: bytes) -> bytes | Verdict | None:
    """Parse a value or a verdict of an expression or an element."""
    attrs = dict(attributes(octets))
    if _VERDICT in attrs:
        verdict = dict(attributes(attrs[_VERDICT]))
        code = int.from_bytes(verdict[_VERDICT_CODE], "big", signed=True)
        return Verdict(code, _text(verdict.get(_VERDICT_CHAIN, b"")))
    return attrs.get(_VALUE)


def _family(number: int) -> str:
    return FAMILIES.get(number, str(number))


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


def _text(octets: bytes) -> str:
    return octets.rstrip(bytes(1)).decode(errors="replace")
