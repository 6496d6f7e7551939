"""Answers to IPv4 clients for names of IPv6 servers: addresses of a pool (RFC 2766 §4.1).

For a question that `applies` is true of, ask for its own type; if `needs_aaaa` then says so, ask
for type AAAA as well; `concluded` is what the client gets.  Pool addresses have the names of what
they stand for.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from faith.dns import objects, reverse, zone
from faith.dns.answer import Answer, failure
from faith.dns.cache import STALE_TTL
from faith.dns.dns_counters import Counters
from faith.dns.lease_shares import LeaseShares
from faith.dns.options import NO_NETWORKS, Rule
from faith.dns.synthesis import TTL_WITHOUT_SOA, addresses
from faith.dns.wire import AAAA, ANY, IN, NOERROR, NXDOMAIN, PTR, A
from faith.translation.address import packed4
from faith.translation.networks import Networks

if TYPE_CHECKING:
    from collections.abc import Hashable

    from faith.dns.options import Options, View
    from faith.dns.pool import Lease, Pool
    from faith.dns.question import Question

TTL = 300
"""Seconds that records with lent addresses live at most."""
UNLENT_TTL = 5
"""Seconds for which it may be believed that an address has no name: it may have one soon."""
COMPLAINT_PAUSE = 60.0
"""Seconds from one complaint about the pool to the next."""

_UNREACHABLE = Networks(128, [(0, 96), (0xFE80 << 112, 10), (0xFF << 120, 8)])
"""Nothing that a relay could connect to: ::, ::1 and their like, link-local, multicast."""

log = logging.getLogger("faith.dns")


def told_for(stale: int) -> int:
    """Return the seconds for which a lent address may be believed, told *stale* or not."""
    return TTL + (stale + STALE_TTL if stale else 0)


class Lending:
    """Answers with addresses of *pool*; *stale* is for how long they may be told past their time.

    *ours* are IPv6 networks of this host: what listens there is for the host's own networks, and
    nobody who comes as an IPv4 client is to get behind its firewall.  ``now`` is the pool's.
    """

    def __init__(
        self,
        options: Options,
        pool: Pool,
        stale: int = 0,
        counters: Counters | None = None,
        ours: Networks = NO_NETWORKS,
    ) -> None:
        self._options = options
        self.pool = pool
        self._shares = LeaseShares(pool)
        self._counters = counters or Counters()
        self._counters.fills["pool leases"] = lambda: self._shares.fill(time.monotonic())
        self._ours = ours
        self._seconds = told_for(stale)
        self._quiet_until: dict[str, float] = {}

    def applies(self, question: Question, view: View) -> bool:
        """Return whether to lend an address: to clients that want A records without validation."""
        return (
            (question.kind, question.klass) == (A, IN)
            and view.lends
            and not view.filter_a
            and not (question.dnssec_ok and question.unchecked)
            and self._options.rule(question.name) is not Rule.NEVER
        )

    def needs_aaaa(self, reply: Answer) -> bool:
        """Return whether AAAA records are needed: the name exists, and has no A records."""
        return reply.rcode == NOERROR and not addresses(reply, A)

    def concluded(
        self, question: Question, no: Answer, reply: Answer, now: float, client: Hashable = None
    ) -> Answer:
        """The answer, by the "no" to *question* and the *reply* to the one for AAAA records.

        One address is lent for a name: that of its lowest AAAA record, whatever their order is.
        SERVFAIL when there is none left, *client* has its share, or the lease cannot be kept.
        Raises WireError.
        """
        if reply.rcode not in (NOERROR, NXDOMAIN):
            return reply.asked_for(A)
        servers = [v6 for v6 in addresses(reply, AAAA) if self._is_of_use(v6)]
        if not servers:
            return no
        v6 = min(servers)
        if not self._shares.admits(client, v6, now):
            self._counters.refused("leases")
            self._complain(
                now, f"a client has its share of the {len(self.pool)} addresses of the pool"
            )
            refusal = failure(question)
            refusal.lifetime = 0  # it is this client's alone
            return refusal
        try:
            lease = self.pool.lend(v6, self._seconds, now)
        except OSError as error:  # the promise could not be written down
            self._complain(now, f"no address is lent, the file cannot be written: {error.strerror}")
            return failure(question)
        if lease is None:
            self._complain(now, f"all {len(self.pool)} addresses of the pool are lent")
            return failure(question)
        self._shares.lent(client, lease)
        limit = TTL_WITHOUT_SOA if no.negative_ttl is None else no.negative_ttl
        return Answer(objects.lent(reply.message, packed4(lease.v4), min(limit, TTL)))

    def _is_of_use(self, v6: int) -> bool:
        options = self._options
        return not (
            v6 in options.exclude
            or v6 in _UNREACHABLE
            or v6 in self._ours
            or options.all_prefixes.find(v6)  # the IPv4 server itself is nearer
        )

    def _complain(self, now: float, what: str) -> None:
        if now >= self._quiet_until.get(what, now):
            self._quiet_until[what] = now + COMPLAINT_PAUSE
            log.error("%s", what)

    def named(self, question: Question) -> LentName | None:
        """Return the lent name that *question* (PTR or ANY) asks for, if it is of the pool."""
        if question.kind not in (PTR, ANY) or question.klass != IN:
            return None
        v4 = reverse.v4_address(question.name)
        if v4 is None or v4 not in self.pool:
            return None
        lease = self.pool.find(v4)
        return LentName(question, None if lease is None or lease.is_withheld else lease)


class LentName:
    """A PTR query for an address of the pool, which is lent by *lease* or not at all."""

    __slots__ = ("_lease", "_question")

    def __init__(self, question: Question, lease: Lease | None) -> None:
        self._question = question
        self._lease = lease

    def v6_question(self) -> Question | None:
        """The question to ask instead, if there is one."""
        return reverse.v6_question(self._lease.v6) if self._lease else None

    def answer(self, reply: Answer | None, now: float) -> Answer:
        """The answer, by the *reply* to that question.  It holds no longer than the lease.

        Raises WireError.
        """
        question = self._question
        if reply is None or self._lease is None:
            return self._negative(NXDOMAIN, UNLENT_TTL)
        if reply.rcode not in (NOERROR, NXDOMAIN):
            return failure(question, reply.rcode)
        ttl = max(0, min(reply.lifetime, int(self._lease.left(now)), TTL))
        if data := objects.data_of(reply.message, PTR):
            return zone.answer(question, data, ttl, PTR)
        return self._negative(reply.rcode, ttl)

    def _negative(self, rcode: int, ttl: int) -> Answer:
        name = self._question.name
        return zone.negative(self._question, rcode, name[name[0] + 1 :], ttl)
