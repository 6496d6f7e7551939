"""The facts that an explanation is made from: plain values, gathered beforehand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from faith.cli.explain.filtered_packet import NONE, Interface
from faith.daemon.observe.status_report import ServedProxy  # noqa: TC001 - a field of a dataclass
from faith.daemon.services.explain_query import Explained  # noqa: TC001 - a field of a dataclass
from faith.kernel.netlink.route_query import Answer
from faith.translation.address import number
from faith.translation.ports import NO_PORTS, Ports
from faith.translation.prefix import Prefixes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from faith.cli.explain.explanation import Question
    from faith.cli.explain.packet_filter import Fate
    from faith.kernel.netlink.route_query import LinkState, Neighbour
    from faith.kernel.nft.guard import GuardState
    from faith.kernel.nft.rule_dump import Ruleset
    from faith.translation.prefix import Prefix


NO_ANSWER = Answer()
NO_NAME, NOBODY, REFUSED = "no such name", "nobody listens there", "REFUSED"
"""Errors of `NameFacts` that are told apart."""


@dataclass(frozen=True)
class DaemonFacts:
    """A faithd that runs, with so many *workers*.

    *stuck* are the roles of its processes that do not answer, or are stopped by a signal or a
    debugger; *descriptors* is how many a worker has open, and its limit, of the one that has most;
    *full* workers have no place for another session of the client.  *refusals* are counts by path
    and reason, *flows* those open on the kernel path, and the most.  *proxies* are those that it
    serves.
    """

    pid: int
    service: str
    ports: Ports = NO_PORTS
    via: str = "route"
    draining: bool = False
    workers: int = 1
    stuck: tuple[str, ...] = ()
    control: str | None = None
    descriptors: tuple[int, int] = (0, 0)
    dead_name_servers: tuple[str, ...] = ()
    full: int = 0
    refusals: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    flows: tuple[int, int] = (0, 0)
    proxies: tuple[ServedProxy, ...] = ()


@dataclass(frozen=True)
class NameFacts:
    """The answers for a *name*: addresses as text, from the name server *server*.

    *error* is why there is none.  *serves* says whether the client gets answers, *ours* that the
    server is the name service of a faithd here, and *configured* that there is to be one.
    """

    name: str
    server: str
    v6: tuple[str, ...] = ()
    v4: tuple[str, ...] = ()
    error: str = ""
    ours: bool = False
    configured: bool = False
    serves: bool = True


@dataclass(frozen=True)
class LegacyFilter:
    """The rules of the legacy iptables of one family, as ``iptables-save`` prints them.

    *present* says that the kernel has such tables; *text* is None where they cannot be read.
    """

    present: bool = False
    text: str | None = None


@dataclass(frozen=True)
class Dial:
    """The outcome of a test connection: *kind* is ``connected``, ``answered``, ``refused``,
    ``silent``, ``unreachable``, ``forbidden``, ``no source``, ``no port`` or ``failed``.

    *by* is the address of the host that said so, where it is known, *text* the system's message.
    *filtered* are packets that reverse path filtering has dropped meanwhile.
    """

    kind: str
    text: str = ""
    by: str = ""
    filtered: int = 0


@dataclass(frozen=True)
class PathProbe:
    """The outcome of probes without fragmentation: of *mtu* octets and of few.

    Each is True if it was answered, False if not, None if none was sent.  *reported* is the MTU
    that an ICMP error named, or 0.  *error* is why none was sent.
    """

    mtu: int
    small: bool | None = None
    large: bool | None = None
    reported: int = 0
    error: str = ""


@dataclass(frozen=True)
class Live:
    """The trace of a packet of the client: was one *seen*, and by which interface it *arrives*.

    *dropped_by* is the chain that dropped it: family, table and name; *handle* is that of the rule,
    0 for the chain's policy.
    """

    seen: bool = False
    arrives: int = 0
    dropped_by: tuple[str, str, str] | None = None
    handle: int = 0


@dataclass(frozen=True)
class Facts:
    """The facts about a connection and its way.

    *mapped* is the address that the client connects to, "" if there is none; *prefixes* are those
    reserved here.  *arrives* is the interface that the client's packets arrive by, as far as it is
    known.  *back_from* is the source with which *route_back* was asked for.  *steered* says whether
    the daemon's way of steering is in place.  *explained* is the daemon's own answer, or the one
    that the file *from_file* gives.
    """

    question: Question
    mapped: str = ""
    server: str = ""
    name: NameFacts | None = None
    prefixes: tuple[Prefix, ...] = ()
    route_in: Answer = NO_ANSWER
    route_back: Answer = NO_ANSWER
    back_from: str = ""
    route_out: Answer = NO_ANSWER
    arrives: int = 0
    arrives_seen: bool = False
    server_seen_at: int = 0
    route_of_answers: Answer = NO_ANSWER
    links: Mapping[int, LinkState] = field(default_factory=dict)
    down_with_addresses: tuple[str, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    guard: GuardState | None = None
    ruleset: Ruleset | None = None
    ruleset_error: str = ""
    legacy: Mapping[str, LegacyFilter] = field(default_factory=dict)
    daemons: tuple[DaemonFacts, ...] = ()
    silent: tuple[int, ...] = ()
    hidden: int = 0
    unannounced: tuple[int, ...] = ()
    explained: Explained | None = None
    explain_error: str = ""
    from_file: str = ""
    guessed: bool = False
    """That file was not asked for: a daemon that runs may go by another."""
    user: int | None = None
    listening: bool | None = None
    steered: bool | None = None
    rising: frozenset[str] = frozenset()
    """Reasons of refusals that other clients, or this one, are given at this moment."""
    arp_ignored: str = ""
    """Why this host does not answer ARP for the mapped address, where hosts of its links ask so."""
    source_ports: tuple[int, int] = (0, 0)
    dial: Dial | None = None
    probe: PathProbe | None = None
    client_probe: PathProbe | None = None
    client_answers_here: bool = False
    """The client answers echo requests of this host's own, but not those of the mapped address."""
    strict: tuple[str, ...] = ()
    """Interfaces whose reverse path filter would drop answers of the server, and requests of ARP by
    which it asks for this host, which the kernel does not count."""
    mtu_probing: str = ""
    live: Live | None = None
    show_rule: Callable[[Fate], str] = lambda fate: ""

    @property
    def from_v4(self) -> bool:
        """True if the client has an IPv4 address, and the server an IPv6 one."""
        return ":" not in self.question.client

    @property
    def answered(self) -> bool:
        """True if the server has answered a test connection."""
        return self.dial is not None and self.dial.kind in ("connected", "answered")

    @property
    def to_v6(self) -> bool:
        """True if the server has an IPv6 address."""
        return ":" in self.server

    @property
    def daemon(self) -> DaemonFacts | None:
        """The daemon that has the port, or else the first."""
        serving = [one for one in self.daemons if self.question.port in one.ports]
        return next(iter([*serving, *self.daemons]), None)

    @property
    def listed_prefixes(self) -> str:
        """The prefixes that are reserved, as text."""
        return ", ".join(map(str, self.prefixes)) or "none"

    @property
    def is_guarded(self) -> bool:
        """True if the guard of the prefixes has the mapped address."""
        if not self.guard or not self.mapped or self.from_v4:
            return False
        target = number(self.mapped)
        return any((target ^ start) >> 128 - length == 0 for start, length in self.guard.networks)

    def prefix_of(self, address: str) -> Prefix | None:
        """Return the reserved prefix of *address*, None without one."""
        return Prefixes(self.prefixes).find(number(address))

    def interface(self, index: int) -> Interface:
        """Return the interface with that *index*, `NONE` if it is not known."""
        link = self.links.get(index)
        return Interface(link.index, link.name) if link else NONE
