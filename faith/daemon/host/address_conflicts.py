"""Detection of other hosts that answer for mapped addresses, by RFC 5227 as far as it applies.

A mapped address on the link of an interface is probed before ``faith map add`` claims it, and a
few times after any claim; it is announced, so that neighbours forget who had it; and whoever claims
it later is noticed, another gateway with the same map too.  Nothing is given up: the maps are the
operator's, who is told.
"""

from __future__ import annotations

import logging
import select
import time
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from faith.daemon.observe.findings import finding
from faith.errors import SetupError
from faith.kernel.netlink import mapped_routes, rtnetlink
from faith.kernel.netlink.netlink import NETLINK_ROUTE, Netlink
from faith.kernel.sockets.arp import ArpSocket
from faith.translation.networks import Networks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

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


class AddressConflicts:
    """The watch over the mapped networks on the links of this host."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._socket: ArpSocket | None = None
        self._refused = False
        self._watched: tuple[Network, ...] = ()
        self._networks = Networks(32)
        self._seen: dict[Claim, float] = {}

    def check(self, networks: Iterable[Network]) -> None:
        """Raise SetupError when another host answers for an address of *networks*."""
        on_link = self._on_link(networks)
        if not on_link or not (sock := self._open()):
            return
        wanted, ours = {address for _, address in on_link}, _own_link_addresses()
        list(sock.claims())  # of before
        self._send(on_link, claimed=False)
        poll = select.poll()  # select(2) knows no descriptor above 1023
        poll.register(sock, select.POLLIN)
        deadline = time.monotonic() + WAIT
        while (left := deadline - time.monotonic()) > 0:
            if poll.poll(left * 1000):
                for claim in sock.claims():
                    if claim.address in wanted and claim.by not in ours:
                        hint = "another gateway may have the same map"
                        raise SetupError("map IPv4 networks", str(claim), hint)

    def watch(self, networks: Collection[Network], own: Iterable[Network]) -> None:
        """Notice who else claims addresses of *networks*, except the gateway's *own*."""
        before, self._watched = set(self._watched), tuple(networks)
        new = [network for network in self._watched if network not in before]
        self._networks = Networks(32, self._watched)
        mine = Networks(32, own)
        on_link = [one for one in self._on_link(new) if one[1] not in mine]
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

    @staticmethod
    def _on_link(networks: Iterable[Network]) -> list[tuple[str, int]]:
        """Return the addresses of *networks* on a link, with its interface, up to `MOST`."""

        def each() -> Iterator[tuple[str, int]]:
            for interface, (first, length) in mapped_routes.on_link(networks):
                for address in range(first, first + (1 << 32 - length)):
                    yield interface, address

        return list(islice(each(), MOST))

    def _read(self) -> None:
        now = time.monotonic()
        claims = self._socket.claims() if self._socket else ()
        others = [claim for claim in claims if claim.address in self._networks]
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


def _own_link_addresses() -> set[bytes]:
    """Return those of this host's interfaces, several of which may be on one link."""
    with Netlink.create(NETLINK_ROUTE) as netlink:
        return {link.address for link in rtnetlink.links(netlink).values()}
