"""The way of a packet through the rules of the legacy iptables, from ``iptables-save``."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple

from faith.cli.explain.explanation import problem, unknown
from faith.cli.explain.filtered_packet import ESTABLISHED, ICMP, ICMPV6, NEW, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.cli.explain.explanation import Step
    from faith.cli.explain.facts import Facts
    from faith.cli.explain.filtered_packet import Packet

_TABLES = ("raw", "mangle", "nat", "filter")
_DEEPEST = 16
_NOTRACK = re.compile(r"-j NOTRACK|--notrack")
_PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1, "ipv6-icmp": 58, "icmpv6": 58, "all": 0}
_STATES: dict[int | None, str] = {NEW: "NEW", ESTABLISHED: "ESTABLISHED"}
_ENDS = {"DROP": "drops", "REJECT": "rejects", "DNAT": "translates", "REDIRECT": "translates"}
_GOES_ON = ("LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS", "CT", "NOTRACK", "TRACE", "DSCP", "TOS")
_WITHOUT_MEANING = ("-m", "--comment")
_WITH_MEANING = (
    *("-s", "-d", "-i", "-o", "-p", "--dport", "--sport", "--dports", "--sports", "--ports"),
    *("--ctstate", "--state"),
)


class LegacyEnd(NamedTuple):
    """How a packet ends: *verb*, such as ``drops``, by the *rule* of the *table*."""

    verb: str
    table: str
    rule: str
    certain: bool


class _Table(NamedTuple):
    policies: dict[str, str]
    rules: dict[str, list[str]]


def steps(step: str, facts: Facts, packet: Packet, chains: tuple[str, ...]) -> Iterator[Step]:
    """Explain what the legacy tables do with *packet* in their *chains*."""
    found = facts.legacy.get(packet.family)
    if not found or not found.present:
        return
    command = f"{packet.family}tables-legacy-save"
    if found.text is None:
        yield unknown(step, f"the legacy tables of {packet.family}tables are not read", command)
        return
    end = fate(found.text, packet, chains)
    if end is None:
        return
    if end.verb == "translates":
        if packet.answer:
            return
        yield problem(
            step,
            "foreign-dnat",
            f"the legacy table {end.table} translates the destination: {end.rule}",
            command,
            "except the addresses of FAITH from that rule",
            certain=False,  # the guard may come before it
        )
        return
    yield problem(
        step,
        "firewall-drops-legacy",
        f"the legacy table {end.table} {end.verb} {_what(packet)}: {end.rule}",
        command,
        "except them from it by a rule before it",
        certain=end.certain,
    )


def _what(packet: Packet) -> str:
    kind = "answers" if packet.answer else "packets"
    return f"{kind} from {packet.source} to {packet.destination}"


def fate(saved: str, packet: Packet, chains: tuple[str, ...]) -> LegacyEnd | None:
    """Return how *packet* ends in *chains* by the rules *saved*; None if it passes."""
    tables = _parsed(saved)
    raw = tables.get("raw", _Table({}, {}))
    if any(_NOTRACK.search(rule) for rules in raw.rules.values() for rule in rules):
        packet = replace(packet, state=None)
    is_echo = packet.protocol in (ICMP, ICMPV6) and not packet.answer
    for chain in chains:
        for name in _TABLES:
            if name not in tables or (name == "nat" and packet.state == ESTABLISHED):
                continue
            if chain == "INPUT" and is_echo and name in ("nat", "filter"):
                continue  # the daemon takes it before them
            end = _Traversal(name, tables[name], packet).base(chain)
            if end:
                return end
    return None


def _parsed(saved: str) -> dict[str, _Table]:
    tables: dict[str, _Table] = {}
    table = _Table({}, {})
    for line in saved.splitlines():
        if line.startswith("*"):
            table = tables.setdefault(line[1:].strip(), _Table({}, {}))
        elif line.startswith(":"):
            chain, policy = line[1:].split()[:2]
            table.policies[chain] = policy
        elif line.startswith("-A "):
            table.rules.setdefault(line.split()[1], []).append(line)
    return tables


class _Ended(Exception):
    def __init__(self, end: LegacyEnd | None) -> None:
        super().__init__(end)
        self.end = end


class _Traversal:
    """One built-in chain of one table, for one packet."""

    def __init__(self, name: str, table: _Table, packet: Packet) -> None:
        self._name = name
        self._table = table
        self._packet = packet
        self._may_be_accepted = False
        self._doubtful: LegacyEnd | None = None

    def base(self, chain: str) -> LegacyEnd | None:
        """Return how the packet ends in the built-in *chain*; None if it passes."""
        try:
            self._follow(chain, 0, sure=True)
        except _Ended as ended:
            return ended.end or self._doubtful
        if self._table.policies.get(chain) == "DROP":
            rule = f"policy of {chain}"
            return LegacyEnd("drops", self._name, rule, not self._may_be_accepted)
        return self._doubtful

    def _follow(self, chain: str, depth: int, *, sure: bool) -> None:
        for rule in self._table.rules.get(chain, ()) if depth < _DEEPEST else ():
            matched, target, goes = _evaluated(rule, self._packet)
            if matched is False or not target or target in _GOES_ON:
                continue
            certain = sure and matched is True
            if target == "RETURN":
                if matched:
                    return
                self._may_be_accepted = True
            elif target == "ACCEPT":
                if certain:
                    raise _Ended(None)
                self._may_be_accepted = True
            elif target in self._table.policies:
                self._follow(target, depth + 1, sure=certain)
                if goes and certain:
                    return
            else:
                self._end(target, rule, certain)

    def _end(self, target: str, rule: str, certain: bool) -> None:
        verb = _ENDS.get(target)
        if verb is None:  # a target that is not known here
            self._may_be_accepted = True
            return
        end = LegacyEnd(verb, self._name, rule, certain and not self._may_be_accepted)
        if certain:
            raise _Ended(end)
        self._doubtful = self._doubtful or end


def _evaluated(rule: str, packet: Packet) -> tuple[bool | None, str, bool]:
    """Return whether *rule* matches (None: it may), its target, and whether it goes there."""
    words = shlex.split(rule)[2:]
    matched: bool | None = True
    target, goes, at = "", False, 0
    while at < len(words):
        negated = words[at] == "!"
        at += negated
        option, value = words[at], words[at + 1] if at + 1 < len(words) else ""
        at += 2
        if option in ("-j", "-g"):
            target, goes = value, option == "-g"
            break
        if option in _WITHOUT_MEANING:
            continue
        one = _matches(option, value, packet) if option in _WITH_MEANING else None
        if one is not None and one == negated:
            return False, "", False
        if one is None:
            matched = None
            at -= option not in _WITH_MEANING and value.startswith("-")
    return matched, target, goes


def _matches(option: str, value: str, packet: Packet) -> bool | None:
    if option in ("-s", "-d"):
        address = ip_address(plain(packet.source if option == "-s" else packet.destination))
        return address in ip_network(value, strict=False)
    if option in ("-i", "-o"):
        name = (packet.arrives if option == "-i" else packet.leaves).name
        return name.startswith(value[:-1]) if value.endswith("+") else name == value
    if option == "-p":
        return _PROTOCOLS.get(value, -1) in (0, packet.protocol)
    if option in ("--ctstate", "--state"):
        return _STATES[packet.state] in value.split(",") if packet.state in _STATES else None
    is_server_port = option.startswith("--s") == packet.answer
    return any(_holds(part, packet.port) for part in value.split(",")) if is_server_port else None


def _holds(ports: str, port: int) -> bool:
    first, colon, last = ports.partition(":")
    return int(first or 0) <= port <= int((last or 65535) if colon else first)
