"""nftables in the kernel: tables made, refilled, compared and deleted, each in one transaction.

No nft program is needed.  Everything here, reading too, needs CAP_NET_ADMIN; every refusal of the
kernel is an OSError.
"""

from __future__ import annotations

import _socket
import errno
from itertools import starmap
from typing import TYPE_CHECKING, NamedTuple

from faith.kernel.netlink.netlink import (
    NETLINK_NETFILTER,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    Netlink,
    attribute,
    attributes,
)
from faith.kernel.nft.expressions import matches, number, string
from faith.kernel.nft.ruleset import IP, IP6, Map

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Self

    from faith.kernel.netlink.netlink import Command
    from faith.kernel.nft.ruleset import Chain, ElementType, Range, Set, Table

_SUBSYSTEM = 10
_ATTRIBUTE = 4  # octets in front of an attribute's value
_NFGENMSG = 4  # octets of struct nfgenmsg: the family, version 0, no resource

_NEWTABLE, _GETTABLE, _DELTABLE = 0, 1, 2
_NEWCHAIN, _GETCHAIN = 3, 4
_NEWRULE, _GETRULE = 6, 7
_NEWSET = 9
_NEWSETELEM, _GETSETELEM, _DELSETELEM = 12, 13, 14
_GETGEN = 16

# The attributes of each kind of object, by their names in linux/netfilter/nf_tables.h.
_TABLE_NAME, _TABLE_FLAGS = 1, 2
_CHAIN_TABLE, _CHAIN_NAME = 1, 3
_CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE = _BASE = 4, 5, 7
_HOOK_HOOKNUM, _HOOK_PRIORITY = 1, 2
_RULE_TABLE, _RULE_CHAIN, _RULE_EXPRESSIONS = 1, 2, 4
_SET_TABLE, _SET_NAME, _SET_FLAGS = 1, 2, 3
_SET_KEY_TYPE, _SET_KEY_LEN, _SET_ID = 4, 5, 10
_SET_DATA_TYPE, _SET_DATA_LEN = 6, 7
_ELEM_LIST_TABLE, _ELEM_LIST_SET, _ELEM_LIST_ELEMENTS = 1, 2, 3
_LIST_ELEM, _ELEM_KEY, _ELEM_DATA, _ELEM_FLAGS = 1, 1, 2, 3
_DATA_VALUE = 1
_GEN_ID = 1

_TABLE_F_DORMANT = 1
_TABLE_F_OWNER = 2
_SET_INTERVAL, _SET_MAP = 4, 8
_ELEM_INTERVAL_END = 1
_POLICY_ACCEPT = 1
_HOOKS = {"prerouting": 0, "input": 1, "output": 3}
_FAMILIES = {IP: _socket.AF_INET, IP6: _socket.AF_INET6}
_FAMILY_NAMES = {1: "inet", 5: "netdev", 7: "bridge"} | {n: name for name, n in _FAMILIES.items()}
_HOOK_NAMES = {point: name for name, point in _HOOKS.items()}
_RANGES_IN_A_MESSAGE = 500  # an attribute holds 64 KiB


class BaseChain(NamedTuple):
    """A chain at a hook, by the names of nft(8)."""

    family: str
    table: str
    name: str
    kind: str
    hook: str
    priority: int
    drops: bool = False
    """The policy is drop."""


class Nftables:
    """The nftables of this network namespace, for one *family* of tables."""

    def __init__(self, netlink: Netlink | None = None, family: str = IP6) -> None:
        self._netlink = netlink or Netlink.create(NETLINK_NETFILTER)
        self._header = bytes([_FAMILIES[family], 0, 0, 0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._netlink.fileno()

    def close(self) -> None:
        """Close the socket; the kernel deletes the tables that `create` made."""
        self._netlink.close()

    def replace(self, table: Table) -> None:
        """Make *table*, replacing a table of the same name atomically."""
        old = _command(_DELTABLE, string(_TABLE_NAME, table.name))
        self._batch([_new_table(table.name), old, _new_table(table.name), *_contents(table)])

    def create(self, table: Table) -> None:
        """Make *table*, owned by this object: nobody else can change it.

        The kernel deletes it when the last copy of the descriptor is closed, after SIGKILL too.
        ``nft flush ruleset`` leaves it alone.  Needs Linux 5.12; raises OSError (EEXIST) when the
        name is taken.
        """
        owned = _new_table(table.name, _TABLE_F_OWNER, NLM_F_CREATE | NLM_F_EXCL)
        self._batch([owned, *_contents(table)])

    def delete(self, name: str) -> bool:
        """Delete a table; return False when there was none."""
        try:
            self._batch([_command(_DELTABLE, string(_TABLE_NAME, name))])
        except OSError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        return True

    def refill(self, table: str, new: Set) -> None:
        """Replace the elements of a set by those of *new*, atomically."""
        empty = _command(_DELSETELEM, _elements_of(table, new))
        self._batch([empty, *_elements(table, new)])

    def change(self, table: str, of: Set, added: Iterable[Range], removed: Iterable[Range]) -> None:
        """Add and remove ranges of the set *of*, in one transaction."""
        old = _elements(table, of.of(removed), _DELSETELEM, 0)
        self._batch([*old, *_elements(table, of.of(added))])

    def generation(self) -> int:
        """Return the generation number, which every change of any table increases."""
        (found,) = self._netlink.request(_kind(_GETGEN), self._header)
        return int.from_bytes(_attributes_of(found)[_GEN_ID], "big")

    def put(self, table: str, of: Map, key: bytes, value: bytes, *, again: bool) -> None:
        """Map *key* to *value*; *again* says that the key is in the map and has to be replaced."""
        new = _entry(key) + attribute(_ELEM_DATA, attribute(_DATA_VALUE, value))
        old = [_change_of(_DELSETELEM, table, of, _entry(key))] if again else []
        self._batch([*old, _change_of(_NEWSETELEM, table, of, new, NLM_F_CREATE)])

    def remove(self, table: str, of: Map, key: bytes) -> None:
        """Remove *key* from a map; raises OSError (ENOENT) when it is not in it."""
        self._batch([_change_of(_DELSETELEM, table, of, _entry(key))])

    def exists(self, name: str) -> bool:
        """Return whether there is a table of that name."""
        return self._flags(name) is not None

    def ranges(self, table: str, wanted: Set) -> tuple[Range, ...]:
        """Return the ranges in the set named by *wanted*; none when there is no such set."""
        try:
            found = self._dump(_GETSETELEM, _elements_of(table, wanted))
        except OSError as error:
            if error.errno == errno.ENOENT:
                return ()
            raise
        points = [
            point for attrs in found for point in _points(attrs.get(_ELEM_LIST_ELEMENTS, b""))
        ]
        return tuple(_intervals(points, wanted.kind.top))

    def base_chains(self) -> list[BaseChain]:
        """Return the base chains of every table, of every family."""
        of_all = bytes(_NFGENMSG)
        bodies = self._netlink.dump(_kind(_GETCHAIN), of_all)
        return [one for body in bodies if (one := _base_chain(body))]

    def rules_of(self, chain: BaseChain) -> list[bytes]:
        """Return the expressions of each rule of *chain*, which may be of any family."""
        wanted = string(_RULE_TABLE, chain.table) + string(_RULE_CHAIN, chain.name)
        bodies = self._netlink.dump(_kind(_GETRULE), _header_of(chain) + wanted)
        return [_attributes_of(body).get(_RULE_EXPRESSIONS, b"") for body in bodies]

    def is_in_force(self, chain: BaseChain) -> bool:
        """Return whether the table of *chain* is not dormant."""
        wanted = _header_of(chain) + string(_TABLE_NAME, chain.table)
        (found,) = self._netlink.request(_kind(_GETTABLE), wanted)
        flags = int.from_bytes(_attributes_of(found)[_TABLE_FLAGS], "big")
        return not flags & _TABLE_F_DORMANT

    def has_rules_of(self, table: Table) -> bool:
        """Return whether the kernel's chains, hooks and rules are exactly those of *table*.

        The elements of sets are not compared.
        """
        return (
            self._is_active(table.name)
            and self._chains(table.name) == {chain.name: _base(chain) for chain in table.chains}
            and all(self._has_rules(table.name, chain) for chain in table.chains)
        )

    def _is_active(self, table: str) -> bool:
        flags = self._flags(table)
        return flags is not None and not flags & _TABLE_F_DORMANT

    def _flags(self, table: str) -> int | None:
        """Return the flags of a table, None when there is none of that name."""
        try:
            (found,) = self._netlink.request(
                _kind(_GETTABLE), self._header + string(_TABLE_NAME, table)
            )
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return int.from_bytes(_attributes_of(found)[_TABLE_FLAGS], "big")

    def _has_rules(self, table: str, chain: Chain) -> bool:
        found = self._dump(_GETRULE, string(_RULE_TABLE, table) + string(_RULE_CHAIN, chain.name))
        rules = [attrs[_RULE_EXPRESSIONS] for attrs in found]
        return len(rules) == len(chain.rules) and all(
            matches(rule.expressions, there) for rule, there in zip(chain.rules, rules, strict=True)
        )

    def _chains(self, table: str) -> dict[str, tuple[bytes, ...]]:
        """Return the hook, type and policy of each chain of a table, empty for regular chains."""
        found = self._dump(_GETCHAIN, b"")
        return {
            _name(attrs, _CHAIN_NAME): tuple(attrs.get(kind, b"") for kind in _BASE)
            for attrs in found
            if _name(attrs, _CHAIN_TABLE) == table
        }

    def _batch(self, commands: Iterable[Command]) -> None:
        headed = ((kind, flags, self._header + body) for kind, flags, body in commands)
        self._netlink.batch(_SUBSYSTEM, headed)

    def _dump(self, message: int, wanted: bytes) -> list[dict[int, bytes]]:
        found = self._netlink.dump(_kind(message), self._header + wanted)
        return [_attributes_of(body) for body in found]


def _header_of(chain: BaseChain) -> bytes:
    """Return the struct nfgenmsg of the family of *chain*."""
    (family,) = (number for number, name in _FAMILY_NAMES.items() if name == chain.family)
    return bytes([family, 0, 0, 0])


def _base_chain(body: bytes) -> BaseChain | None:
    attrs = _attributes_of(body)
    if _CHAIN_HOOK not in attrs:
        return None
    hook = dict(attributes(attrs[_CHAIN_HOOK]))
    point = int.from_bytes(hook[_HOOK_HOOKNUM], "big")
    return BaseChain(
        _FAMILY_NAMES.get(body[0], str(body[0])),
        _name(attrs, _CHAIN_TABLE),
        _name(attrs, _CHAIN_NAME),
        _name(attrs, _CHAIN_TYPE),
        _HOOK_NAMES.get(point, str(point)),
        int.from_bytes(hook[_HOOK_PRIORITY], "big", signed=True),
        attrs.get(_CHAIN_POLICY) == bytes(4),
    )


def _contents(table: Table) -> Iterator[Command]:
    for place, new in enumerate(table.containers, 1):
        yield _new_set(table.name, new, place)
    for chain in table.chains:
        yield _new_chain(table.name, chain)
    for new in table.sets:
        yield from _elements(table.name, new)
    for chain in table.chains:
        for rule in chain.rules:
            where = string(_RULE_TABLE, table.name) + string(_RULE_CHAIN, chain.name)
            body = where + attribute(_RULE_EXPRESSIONS, rule.expressions)
            yield _command(_NEWRULE, body, NLM_F_CREATE | NLM_F_APPEND)


def _new_table(name: str, table_flags: int = 0, flags: int = NLM_F_CREATE) -> Command:
    return _command(_NEWTABLE, string(_TABLE_NAME, name) + number(_TABLE_FLAGS, table_flags), flags)


def _new_set(table: str, new: Set | Map, place: int) -> Command:
    body = string(_SET_TABLE, table) + string(_SET_NAME, new.name) + number(_SET_ID, place)
    keys = new.keys if isinstance(new, Map) else new.kind
    body += number(_SET_KEY_TYPE, keys.number) + number(_SET_KEY_LEN, keys.octets)
    if isinstance(new, Map):
        body += number(_SET_FLAGS, _SET_MAP) + number(_SET_DATA_TYPE, new.values.number)
        body += number(_SET_DATA_LEN, new.values.octets)
    else:
        body += number(_SET_FLAGS, _SET_INTERVAL)
    return _command(_NEWSET, body, NLM_F_CREATE)


def _new_chain(table: str, chain: Chain) -> Command:
    body = string(_CHAIN_TABLE, table) + string(_CHAIN_NAME, chain.name)
    for kind, value in zip(_BASE, _base(chain), strict=True):
        body += attribute(kind, value) if value else b""
    return _command(_NEWCHAIN, body, NLM_F_CREATE)


def _base(chain: Chain) -> tuple[bytes, ...]:
    """Return the attribute values that make a base chain, all empty for a regular chain."""
    if not (hook := chain.hook):
        return (b"", b"", b"")
    where = number(_HOOK_HOOKNUM, _HOOKS[hook.name]) + number(_HOOK_PRIORITY, hook.priority)
    return where, _POLICY_ACCEPT.to_bytes(4, "big"), hook.kind.encode() + bytes(1)


def _elements(
    table: str, of: Set, message: int = _NEWSETELEM, flags: int = NLM_F_CREATE
) -> Iterator[Command]:
    interval = _intervals_of(of.kind)
    for start in range(0, len(of.ranges), _RANGES_IN_A_MESSAGE):
        some = of.ranges[start : start + _RANGES_IN_A_MESSAGE]
        elements = b"".join(starmap(interval, some))
        body = _elements_of(table, of) + attribute(_ELEM_LIST_ELEMENTS, elements)
        yield _command(message, body, flags)


def _change_of(message: int, table: str, of: Map, entry: bytes, flags: int = 0) -> Command:
    elements = attribute(_ELEM_LIST_ELEMENTS, attribute(_LIST_ELEM, entry))
    return _command(message, _elements_of(table, of) + elements, flags)


def _entry(key: bytes) -> bytes:
    return attribute(_ELEM_KEY, attribute(_DATA_VALUE, key))


def _elements_of(table: str, of: Set | Map) -> bytes:
    return string(_ELEM_LIST_TABLE, table) + string(_ELEM_LIST_SET, of.name)


def _intervals_of(kind: ElementType) -> Callable[[int, int], bytes]:
    """Return a function that encodes an interval as its two elements.

    An interval that reaches the highest value has no end element.  There can be very many elements,
    so everything but the values is encoded once.
    """
    octets, top = kind.octets, kind.top
    nothing = _entry(bytes(octets))
    at = nothing.rindex(bytes(octets + -octets % 4)) + _ATTRIBUTE
    first_head, first_tail = _around(attribute(_LIST_ELEM, nothing), at, octets)
    ended = nothing + number(_ELEM_FLAGS, _ELEM_INTERVAL_END)
    end_head, end_tail = _around(attribute(_LIST_ELEM, ended), at, octets)

    def interval(first: int, last: int) -> bytes:
        start = first_head + first.to_bytes(octets, "big") + first_tail
        if last == top:
            return start
        return start + end_head + (last + 1).to_bytes(octets, "big") + end_tail

    return interval


def _around(element: bytes, at: int, octets: int) -> tuple[bytes, bytes]:
    return element[:at], element[at + octets :]


def _points(elements: bytes) -> Iterator[tuple[int, bool]]:
    """Return the ``(value, whether it starts an interval)`` pairs of a list of elements."""
    for _, element in attributes(elements):
        attrs = dict(attributes(element))
        key = dict(attributes(attrs[_ELEM_KEY]))[_DATA_VALUE]
        flags = int.from_bytes(attrs.get(_ELEM_FLAGS, b""), "big")
        yield int.from_bytes(key, "big"), not flags & _ELEM_INTERVAL_END


def _intervals(points: Iterable[tuple[int, bool]], top: int) -> Iterator[Range]:
    first = None
    for value, starts in sorted(points):  # an end comes before a start of the same value
        if first is not None:
            yield first, value - 1
        first = value if starts else None
    if first is not None:
        yield first, top


def _command(message: int, body: bytes, flags: int = 0) -> Command:
    return _kind(message), flags, body


def _kind(message: int) -> int:
    return _SUBSYSTEM << 8 | message


def _attributes_of(body: bytes) -> dict[int, bytes]:
    return dict(attributes(body[_NFGENMSG:]))


def _name(attrs: dict[int, bytes], kind: int) -> str:
    return attrs[kind].rstrip(bytes(1)).decode()
