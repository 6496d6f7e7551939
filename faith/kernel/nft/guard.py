"""The guards: under a reserved prefix or a mapped network, only sockets made for it answer.

A local route makes every address of a prefix the host's own, and so every server on the host that
listens on ``[::]`` reachable under it; the same holds for mapped IPv4 networks.  A guard is an
nftables table that needs no process.  There are two with the same rules, `PREFIXES` (``ip6 faith``)
and `NETWORKS` (``ip faith``); the functions of this module are those of `PREFIXES`.

**Arriving.** A connection passes only to a listener that is transparent (IPV6_TRANSPARENT,
IP_TRANSPARENT), as FAITH's are, or to a port that was opened for ordinary listeners (inetd's).  The
same holds for UDP; echo requests and every other protocol are refused as administratively
prohibited.  ICMP errors pass, because path MTU discovery needs them, and so do packets of
established connections, which were judged at their start.

**Leaving.** Any process may bind(2) such an address, because it is local.  A connection or a
datagram *from* one leaves only if its socket was made by one of the users under guard: root, and
those that relay.  Answers pass: they belong to a connection that was judged, or to no socket.

**Untranslated.** Rules such as Docker's, ``fib daddr type local tcp dport 8080 dnat to …``, match
guarded addresses too and take their connections past the guard.  Where there are chains that
translate, the guard comes before them and translates each guarded address to itself: a connection
is translated once at most.  Elsewhere it does not, because connection tracking would begin by it.

A connection request in fragments has its whole TCP header in the first fragment, or Linux drops it
(RFC 8200 §4.5; since 5.11).
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from faith.errors import SetupError
from faith.kernel.netlink.netlink import setup_error
from faith.kernel.nft import guarded_family, translators
from faith.kernel.nft.guarded_family import NO_REQUEST
from faith.kernel.nft.nftables import Nftables
from faith.kernel.nft.ruleset import (
    Chain,
    Hook,
    Set,
    Table,
    networks_of,
)
from faith.translation.ports import NO_PORTS, Ports

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from faith.kernel.nft.guarded_family import GuardedFamily
    from faith.kernel.nft.ruleset import Range
    from faith.kernel.nft.translators import Translator
    from faith.translation.prefix import Prefix

TABLE = "faith"
PRIORITY = -198
"""The priority of the chains that keep addresses untranslated; nftables allows those above -200."""

ROOT, NOBODY = 0, 65534
USERS = frozenset((ROOT, NOBODY))
"""The users that may always send from guarded addresses: nobody is the usual one of workers."""


class NoNftables(SetupError):
    """This kernel has no nftables, or lacks an expression that the guard needs."""


@dataclass(frozen=True)
class GuardState:
    """The state of a guard in the kernel.

    *intact* is false when a rule, chain or hook differs from what `Guard.install` makes, and when
    the table is missing.  *networks* are the ``(network, length)`` pairs under guard.
    *translators* are the chains of other programs that translate addresses, and
    *keeps_untranslated* says that the guard has the chains against them.
    """

    present: bool = False
    intact: bool = False
    networks: frozenset[tuple[int, int]] = frozenset()
    open_ports: Ports = NO_PORTS
    users: frozenset[int] = USERS
    translators: tuple[Translator, ...] = ()
    keeps_untranslated: bool = False

    @cached_property
    def _lengths(self) -> tuple[int, ...]:
        return tuple(sorted({length for _, length in self.networks}))

    def covers(self, prefix: Prefix) -> bool:
        """Return whether all of *prefix* is under guard."""
        for length in self._lengths:
            if length > prefix.length:
                return False
            if (prefix.address >> 128 - length << 128 - length, length) in self.networks:
                return True
        return False

    @property
    def fits(self) -> bool:
        """Return whether it is against translation where others translate."""
        return self.keeps_untranslated or not self.translators

    @property
    def passed_by(self) -> tuple[Translator, ...]:
        """The chains whose translations take connections past the guard."""
        if not self.keeps_untranslated:
            return self.translators
        return tuple(one for one in self.translators if one.priority <= PRIORITY)


@dataclass(frozen=True)
class Guard:
    """The guard of the addresses of one family."""

    family: GuardedFamily

    def install(
        self,
        addresses: Iterable[Range],
        open_ports: Ports = NO_PORTS,
        users: Iterable[int] = USERS,
    ) -> None:
        """Guard exactly *addresses*, except for *open_ports*; a guard that exists is replaced.

        The replacement is atomic: the addresses are guarded at every moment.  *users* may send
        from them besides `USERS`.  A guard that is against translation stays so: who translated
        once, as Docker does, will again after a restart.  Raises SetupError.
        """
        wanted = tuple(addresses), open_ports, users
        with explained(), self._nftables() as nft:
            if not (
                (self._keeps_untranslated(nft) or translators.found(nft, self.family.name))
                and self._replaced(nft, self._table(*wanted, True))
            ):
                nft.replace(self._table(*wanted, False))

    def _keeps_untranslated(self, nft: Nftables) -> bool:
        return nft.exists(TABLE) and nft.has_rules_of(self._table((), NO_PORTS, (), True))

    @staticmethod
    def _replaced(nft: Nftables, table: Table) -> bool:
        """Make *table*; return False where this kernel's nftables cannot translate."""
        try:
            nft.replace(table)
        except OSError as error:
            if error.errno not in _MISSING:
                raise
            return False
        return True

    def change(
        self,
        addresses: Iterable[Range],
        known: Iterable[Range] | None = None,
        users: Iterable[int] = USERS,
    ) -> None:
        """As `install`, with no more changes than are needed; without *addresses*, remove the
        guard.

        *known* are the ranges of a guard that the caller has found intact, which saves reading it
        again.  Users that may send already still may.  Raises SetupError.
        """
        wanted = list(addresses)
        if not wanted:
            self.remove()
        elif known:
            self._refill(wanted, known)
        elif (state := self._rules()).intact and state.fits and state.users >= {*users}:
            self._refill(wanted, None)
        else:
            self.install(wanted, users=state.users.union(users))

    def _refill(self, wanted: list[Range], known: Iterable[Range] | None) -> None:
        some = Set(self.family.set, self.family.kind)
        with explained(), self._nftables() as nft:
            there, here = set(known or nft.ranges(TABLE, some)), set(wanted)
            if there != here:
                nft.change(TABLE, some, sorted(here - there), sorted(there - here))

    def remove(self) -> bool:
        """Remove the guard; return False when there was none.  Raises SetupError."""
        with explained(), self._nftables() as nft:
            return nft.delete(TABLE)

    def inspect(self) -> GuardState:
        """Return the guard's state in the kernel.  Needs CAP_NET_ADMIN; raises SetupError."""
        state = self._rules()
        with explained(), self._nftables() as nft:
            found = nft.ranges(TABLE, Set(self.family.set, self.family.kind))
        return replace(state, networks=self._networks(found))

    def _rules(self) -> GuardState:
        """Return the guard's state without its networks, of which there may be very many."""
        with explained(), self._nftables() as nft:
            others = translators.found(nft, self.family.name)
            if not nft.exists(TABLE):
                return GuardState(translators=others)
            plain, full = (
                self._table((), NO_PORTS, (), translated) for translated in (False, True)
            )
            keeps = nft.has_rules_of(full)
            _, ports, users = plain.sets
            return GuardState(
                True,
                keeps or nft.has_rules_of(plain),
                open_ports=Ports(nft.ranges(TABLE, ports)),
                users=frozenset(_each(nft.ranges(TABLE, users))),
                translators=others,
                keeps_untranslated=keeps,
            )

    def is_intact(self, addresses: Iterable[Range], users: Iterable[int] = USERS) -> bool:
        """Return whether it is as `change` would leave it.  Raises SetupError."""
        wanted = tuple(addresses)
        with explained(), self._nftables() as nft:
            if not wanted:
                return not nft.exists(TABLE)
            if nft.ranges(TABLE, Set(self.family.set, self.family.kind)) != wanted:
                return False
        state = self._rules()
        return state.intact and state.fits and state.users >= {*users}

    def fits(self) -> bool:
        """Return `GuardState.fits`.  Raises SetupError."""
        return self._rules().fits

    def generation(self) -> int:
        """Return a number that changes with every change of nftables, and with the tables of the
        legacy iptables.  Raises SetupError."""
        with explained(), self._nftables() as nft:
            return nft.generation() << 1 | bool(translators.legacy(self.family.name))

    def render(
        self,
        addresses: Iterable[Range],
        open_ports: Ports = NO_PORTS,
        users: Iterable[int] = USERS,
        *,
        translated: bool = False,
    ) -> str:
        """Return what `install` does as a script for ``nft -f -``.

        *translated* says that other programs translate addresses.
        """
        return self._table(addresses, open_ports, users, translated).text()

    def _table(
        self, addresses: Iterable[Range], open_ports: Ports, users: Iterable[int], translated: bool
    ) -> Table:
        sets = (
            Set(self.family.set, self.family.kind, tuple(addresses)),
            Set.of_ports("open_ports", open_ports),
            Set.of_users("users", {*users} | USERS),
        )
        chains = [
            Chain("guard", (self.family.arriving,), Hook("filter", "input", 0)),
            Chain(self.family.judge, self.family.refused),
            Chain("senders", self.family.leaving, Hook("filter", "output", 0)),
            Chain("sent", (NO_REQUEST, self.family.no_sender)),
        ]
        if translated:
            chains += [
                Chain(
                    f"untranslated_{hook}", (self.family.untranslated,), Hook("nat", hook, PRIORITY)
                )
                for hook in ("prerouting", "output")
            ]
        return Table(TABLE, sets, tuple(chains), family=self.family.name)

    def _nftables(self) -> Nftables:
        return Nftables(family=self.family.name)

    def _networks(self, found: Iterable[Range]) -> frozenset[tuple[int, int]]:
        return frozenset(
            (int(network.network_address), network.prefixlen)
            for first, last in found
            for network in networks_of(self.family.kind, first, last)
        )


def _each(found: Iterable[Range]) -> Iterator[int]:
    for first, last in found:
        yield from range(first, last + 1)


PREFIXES = Guard(guarded_family.PREFIXES)
"""The guard of the reserved prefixes, the table ``ip6 faith``."""

NETWORKS = Guard(guarded_family.NETWORKS)
"""The guard of the mapped networks, the table ``ip faith``."""


def install(
    prefixes: Iterable[Prefix], open_ports: Ports = NO_PORTS, users: Iterable[int] = USERS
) -> None:
    """Guard exactly *prefixes*; see `Guard.install`."""
    PREFIXES.install(_ranges(prefixes), open_ports, users)


def remove() -> bool:
    """Remove the guard of the prefixes; see `Guard.remove`."""
    return PREFIXES.remove()


def inspect() -> GuardState:
    """Return the state of the guard of the prefixes; see `Guard.inspect`."""
    return PREFIXES.inspect()


def render(
    prefixes: Iterable[Prefix],
    open_ports: Ports = NO_PORTS,
    users: Iterable[int] = USERS,
    *,
    translated: bool = False,
) -> str:
    """Return what `install` does as a script; see `Guard.render`."""
    return PREFIXES.render(_ranges(prefixes), open_ports, users, translated=translated)


def _ranges(prefixes: Iterable[Prefix]) -> tuple[Range, ...]:
    return Set.of_prefixes(guarded_family.PREFIXES.set, prefixes).ranges


# EINVAL is the answer of a kernel with nfnetlink but without nf_tables.
_MISSING = (errno.ENOENT, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EINVAL)


@contextmanager
def explained() -> Iterator[None]:
    """Translate an OSError of the kernel into a SetupError, or into `NoNftables`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _MISSING:
            raise setup_error("guard", error) from error
        hint = "the kernel must have nf_tables with its socket and reject expressions"
        raise NoNftables("guard", error.strerror or "", hint) from error
