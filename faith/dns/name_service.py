"""The way from a query to its answer, as one value that is replaced on any change."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from faith.dns import local
from faith.dns.answer import NO_SERVER
from faith.dns.cache import Cache
from faith.dns.lending import Lending
from faith.dns.options import NO_NETWORKS
from faith.dns.resolver import Resolver
from faith.dns.responder import Responder
from faith.dns.stale import Stale
from faith.dns.wire import SERVFAIL

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from faith.dns.answer import Answer
    from faith.dns.dns_counters import Counters
    from faith.dns.look_ups import Servers
    from faith.dns.options import Options
    from faith.dns.pool import Pool
    from faith.dns.responder import Miss
    from faith.dns.search import Search
    from faith.dns.tasks import Tasks
    from faith.translation.networks import Networks


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
        self._servers = servers
        cache = Cache(stale=stale) if cache is None else cache
        lending = None if pool is None else Lending(options, pool, stale, counters, ours)
        spare = Stale(options, cache, lending) if stale else None
        self._responder = Responder(options, cache, served, spare)
        self._resolver = Resolver(options, cache, servers, tasks, counters, lending)
        self.respond = self._responder.respond
        self.serves = self._responder.serves

    def find(self, miss: Miss, done: Callable[[Answer], object], client: Hashable = None) -> Search:
        """Find the answer to what `respond` did not know; the next time it will.

        *client* asks, as shares know it.  *done* gets the answer, maybe before this returns.  The
        search that is returned can be cancelled.
        """
        question, view = miss.query.question, miss.client.view

        def found(answer: Answer) -> None:
            if answer.rcode == SERVFAIL and answer.error is None and answer.bogus is False:
                answer.error = NO_SERVER  # the failure is ours
            told = local.corrected(question, self._options, view, answer, self._pool)
            self._responder.keep(miss, told, time.monotonic())
            told.forget_records()
            done(told)

        return self._resolver.resolve(question, view, found, client)

    def comes_back(self, miss: Miss, source: tuple[Any, ...]) -> bool:
        """Return whether *miss*, from *source*, is a question of our own that goes in a circle."""
        return self._resolver.is_asked(miss.query.question) and self._servers.comes_back(
            source[0], source[1]
        )
