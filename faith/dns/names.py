"""All that lies between a query and its answer, replaced as one value on any change."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from faith.dns.cache import Cache
from faith.dns.lending import Lending
from faith.dns.resolver import Resolver
from faith.dns.responder import Responder

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from faith.dns.answer import Answer
    from faith.dns.counters import Counters
    from faith.dns.options import Options
    from faith.dns.pool import Pool
    from faith.dns.resolver import Servers
    from faith.dns.responder import Miss
    from faith.dns.search import Search
    from faith.dns.tasks import Tasks
    from faith.translation.networks import Networks


class Names:
    """Answers for clients in *served* (see Responder), by *servers*; *stale* is for Cache.

    *counters* count.  *pool* has the addresses for those who are to be lent some.
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
    ) -> None:
        self._servers = servers
        cache = Cache(stale=stale)
        self._responder = Responder(options, cache, served)
        lending = None if pool is None else Lending(options, pool, stale, counters)
        self._resolver = Resolver(options, cache, servers, tasks, counters, lending)
        self.respond = self._responder.respond
        self.serves = self._responder.serves

    def find(self, miss: Miss, done: Callable[[Answer], object], client: Hashable = None) -> Search:
        """Find the answer to what `respond` did not know; the next time it will.

        *client* asks, as shares know it.  *done* gets the answer, maybe before this returns.  The
        search that is returned can be cancelled.
        """

        def found(answer: Answer) -> None:
            self._responder.keep(miss, answer, time.monotonic())
            answer.forget_records()
            done(answer)

        return self._resolver.resolve(miss.query.question, miss.client.view, found, client)

    def comes_back(self, miss: Miss, source: tuple[Any, ...]) -> bool:
        """Return whether *miss*, from *source*, is a question of our own that goes in a circle."""
        return self._resolver.is_asked(miss.query.question) and self._servers.comes_back(
            source[0], source[1]
        )
