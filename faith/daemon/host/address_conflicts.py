"""Detection of other hosts that answer for mapped addresses, by RFC 5227 as far as it applies.

A mapped address on the link of an interface is probed before a start, a reload or ``faith map add``
claims it, which is refused if another host answers; and a few times after any claim.  It is
announced, so that neighbours forget who had it; and whoever claims it later is noticed, another
gateway with the same map too.  What has been claimed is not given up: the maps are the operator's,
who is told.
"""

from __future__ import annotations

import logging
import select
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING

from faith.daemon.observe.findings import finding
from faith.errors import SetupError
from faith.kernel.netlink import mapped_routes, rtnetlink
from faith.kernel.netlink.netlink import NETLINK_ROUTE, Netlink
from faith.kernel.sockets.arp import ArpSocket, link_address
from faith.translation.networks import Networks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from faith.daemon.observe.status_report import Finding
    from faith.daemon.process.loop import Loop
    from faith.kernel.sockets.arp import Claim

    Network = tuple[int, int]
    """An IPv4 address and a prefix length."""

log = logging.getLogger("faith.supervisor")

MOST = 256
"""Addresses probed and announced in a change; all are watched."""
WAIT = 0.2
"""Seconds that a host has to answer a probe before its address is claimed."""
AFTER = (0.0, 1.0, 2.0)
"""Seconds after a claim at which it is announced, and probed once more."""
REMEMBERED = 60.0
"""Seconds that a conflict is reported after it was last seen."""
_MOST_CONFLICTS = 100
_HINT = (
    "another gateway may have the same map or pool: give each of two its own, or the maps to one"
    ' of them by [vrrp]; conflicts = "report" in [maps] claims it all the same'
)


class AddressConflict(SetupError):
    """Another host has *addresses* that were to be mapped, as *claims* say."""

    def __init__(self, claims: Collection[Claim]) -> None:
        more = f", and {len(claims) - 1} more addresses" if len(claims) > 1 else ""
        super().__init__("map IPv4 networks", f"{min(claims)}{more}", _HINT)
        self.addresses = {claim.address for claim in claims}


@dataclass(frozen=True)
class Question:
    """Which other host has an address of *networks*?

    Those that this host *has* itself are left out.  Addresses of *routed* networks, which are on no
    link, are asked for where *router* is.
    """

    networks: Collection[Network]
    has: Callable[[int], bool]
    routed: Collection[Network] = ()
    router: int | None = None

    def places(self) -> list[tuple[str, int]]:
        """Return the addresses to ask for and the interface of each, `MOST` at most."""
        beside = [(self.router, 32)] if self.router is not None and self.routed else []
        routed = (
            (interface, address)
            for interface, _ in mapped_routes.on_link(beside)
            for address in _addresses(self.routed, self.has)
        )
        there = chain(islice(routed, MOST // 2), _on_link(self.networks, self.has))
        return list(dict.fromkeys(islice(there, MOST)))


class _Probe:
    """Addresses that were probed at *places*, and who has them."""

    def __init__(self, places: Iterable[tuple[str, int]]) -> None:
        self._wanted = {address for _, address in places}
        self._ours = _own_link_addresses()
        self._claims: dict[int, Claim] = {}  # the first of each address

    def examine(self, claims: Iterable[Claim]) -> None:
        """Look for conflicts among *claims*.

        Of two hosts that probe at the same time the one with the higher link address gives way; by
        RFC 5227 §2.1.1 both would.
        """
        for claim in claims:
            if claim.address not in self._wanted or claim.by in self._ours:
                continue
            if not claim.probing or claim.by < _link_address(claim.interface):
                self._claims.setdefault(claim.address, claim)

    def conclude(self) -> None:
        """Raise AddressConflict if there are any."""
        if self._claims:
            raise AddressConflict(self._claims.values())


class AddressConflicts:
    """The watch over the mapped networks on the links of this host."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._socket: ArpSocket | None = None
        self._refused = False
        self._watched: tuple[Network, ...] = ()
        self._networks = Networks(32)
        self._seen: dict[Claim, float] = {}
        self._probes: list[_Probe] = []

    def check(self, question: Question) -> None:
        """Raise AddressConflict when another host has an address that *question* is about.

        It takes `WAIT` seconds, or none where no address is on a link.
        """
        probe = self._begin(question)
        if not probe or not (sock := self._socket):
            return
        poll = select.poll()  # select(2) knows no descriptor above 1023
        poll.register(sock, select.POLLIN)
        deadline = time.monotonic() + WAIT
        while (left := deadline - time.monotonic()) > 0:
            if poll.poll(left * 1000):
                probe.examine(sock.claims(probes=True))
        probe.conclude()

    def ask(
        self,
        question: Question,
        then: Callable[[], None],
        refuse: Callable[[AddressConflict], None],
    ) -> None:
        """The same as `check` without waiting: call *then*, or *refuse* with the conflict."""
        probe = self._begin(question)
        if not probe:
            then()
            return

        def end() -> None:
            self._read()
            self._probes.remove(probe)
            try:
                probe.conclude()
            except AddressConflict as conflict:
                refuse(conflict)
            else:
                then()

        self._probes.append(probe)
        self._loop.later(WAIT, end)

    def _begin(self, question: Question) -> _Probe | None:
        """Probe what *question* is about; return None when there is nothing to wait for."""
        places = question.places()
        if not places or not self._open():
            return None
        self._read()  # claims of before
        self._send(places, claimed=False)
        return _Probe(places)

    def watch(self, networks: Collection[Network], own: Iterable[Network]) -> None:
        """Notice who else claims addresses of *networks*, except the gateway's *own*."""
        before, self._watched = set(self._watched), tuple(networks)
        new = [network for network in self._watched if network not in before]
        self._networks = Networks(32, self._watched)
        mine = Networks(32, own)
        on_link = list(islice(_on_link(new, lambda address: address in mine), MOST))
        if on_link and self._open():
            for seconds in AFTER:
                self._loop.later(seconds, partial(self._claim, on_link))

    def _claim(self, on_link: list[tuple[str, int]]) -> None:
        still = [one for one in on_link if one[1] in self._networks]
        self._send(still, claimed=True)
        self._send(still, claimed=False)

    def _send(self, on_link: Iterable[tuple[str, int]], *, claimed: bool) -> None:
        if (sock := self._socket) is None:
            return
        for interface, address in on_link:
            with suppress(OSError):  # the interface is down, or gone
                (sock.announce if claimed else sock.probe)(interface, address)

    def _open(self) -> ArpSocket | None:
        if self._socket is None and not self._refused:
            try:
                self._socket = ArpSocket()
            except SetupError as error:
                self._refused = True
                log.warning("duplicates of mapped addresses go unnoticed: %s", error)
            else:
                self._loop.watch(self._socket, self._read)
        return self._socket

    def _read(self) -> None:
        now = time.monotonic()
        heard = list(self._socket.claims(probes=True)) if self._socket else []
        for probe in self._probes:
            probe.examine(heard)
        others = [one for one in heard if not one.probing and one.address in self._networks]
        ours = _own_link_addresses() if others else set()
        for claim in others:
            if claim.by in ours:
                continue
            if claim not in self._seen and len(self._seen) < _MOST_CONFLICTS:
                log.warning("duplicate address: %s, and by this gateway", claim)
            self._seen.pop(claim, None)
            if len(self._seen) < _MOST_CONFLICTS:
                self._seen[claim] = now

    def findings(self) -> list[Finding]:
        """Return the conflicts of the last minute."""
        oldest = time.monotonic() - REMEMBERED
        self._seen = {claim: last for claim, last in self._seen.items() if last > oldest}
        return [
            finding("address-conflict", f"duplicate address: {claim}, and by this gateway")
            for claim in self._seen
            if claim.address in self._networks
        ]

    def close(self) -> None:
        """Close the descriptor."""
        if self._socket:
            self._socket.close()
            self._socket = None


def _on_link(networks: Iterable[Network], but: Callable[[int], bool]) -> Iterator[tuple[str, int]]:
    """Return the addresses of *networks* on a link, with its interface, but for some."""
    found: dict[str, list[Network]] = {}
    for interface, network in mapped_routes.on_link(networks):
        found.setdefault(interface, []).append(network)
    for interface, there in found.items():
        for address in _addresses(there, but):
            yield interface, address


def _addresses(networks: Iterable[Network], but: Callable[[int], bool]) -> Iterator[int]:
    """Return the addresses of *networks*, the first of each before all others, but for some."""
    spans = [range(first, first + (1 << 32 - length)) for first, length in networks]
    firsts = (span[0] for span in spans)
    others = chain.from_iterable(span[1:] for span in spans)
    return (address for address in chain(firsts, others) if not but(address))


def _link_address(interface: str) -> bytes:
    try:
        return link_address(interface)
    except OSError:  # it is gone
        return b""


def _own_link_addresses() -> set[bytes]:
    """Return those of this host's interfaces, several of which may be on one link."""
    with Netlink.create(NETLINK_ROUTE) as netlink:
        return {link.address for link in rtnetlink.links(netlink).values()}
