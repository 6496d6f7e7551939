"""All that lies between a query and its answer, replaced as one value on any change."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from faith.dns import local
from faith.dns.answer import NO_SERVER, failure
from faith.dns.cache import Cache
from faith.dns.lending import Lending
from faith.dns.options import NO_NETWORKS
from faith.dns.resolver import Resolver
from faith.dns.responder import Responder
from faith.dns.stale import Stale
from faith.dns.wire import SERVFAIL, WireError

if TYPE_CHECKING:
    from faith.dns.answer import Answer
    from faith.dns.dns_counters import Counters
    from faith.dns.options import Options
    from faith.dns.pool import Pool
    from faith.dns.resolver import Servers
    from faith.dns.responder import Miss
    from faith.dns.tasks import Tasks
    from faith.translation.networks import Networks

log = logging.getLogger("faith.dns")


class Names:
    """Answers for clients in *served* (see Responder), by *servers*; *stale* is for Cache.

    *counters* count.  *pool* has the addresses for those who are to be lent some, and *ours* as in
    Lending.  Names that take the place of others, by other options, may have their *cache*.
    """

    def __init__(
        self,
        options: Options,
        served: Networks | None,
        servers: Servers,
        tasks: Tasks,
        stale: int = 0,
        counters: Counters | None = None,
        pool: Pool | None = None,
        ours: Networks = NO_NETWORKS,
        cache: Cache | None = None,
    ) -> None:
        self._options = options
        self._pool = pool
        cache = Cache(stale=stale) if cache is None else cache
        lending = None if pool is None else Lending(options, pool, stale, ours)
        spare = Stale(options, cache, lending) if stale else None
        self._responder = Responder(options, cache, served, spare)
        self._resolver = Resolver(options, cache, servers, tasks, counters, lending)
        self.respond = self._responder.respond
        self.serves = self._responder.serves

    async def find(self, miss: Miss) -> Answer:
        """The answer to what `respond` did not know; the next time it will."""
        question = miss.query.question
        try:
            answer = await self._resolver.resolve(question, miss.client.view)
        except WireError as error:
            log.debug("a server's reply makes no sense: %s", error)
            answer = failure(question)
        if answer.rcode == SERVFAIL and answer.error is None and answer.bogus is False:
            answer.error = NO_SERVER  # the failure is ours
        answer = local.corrected(question, self._options, miss.client.view, answer, self._pool)
        self._responder.keep(miss, answer, time.monotonic())
        return answer
