"""Replies to queries: at once where the answer is known, else by a miss that is looked up."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from faith.dns import local
from faith.dns.answer import failure
from faith.dns.cache import is_told
from faith.dns.question import EDNS_LIMIT, PLAIN_LIMIT, Rejected, parse
from faith.dns.wire import (
    BADVERS,
    HEADER,
    MESSAGE_LIMIT,
    OPCODE,
    OPT,
    QR,
    RCODE,
    RD,
    REFUSED,
    TC,
    WireError,
    question_end,
)
from faith.translation.address import number6

if TYPE_CHECKING:
    from faith.dns.answer import Answer
    from faith.dns.cache import Cache, Entry
    from faith.dns.options import Options, View
    from faith.dns.question import Query
    from faith.dns.stale import Stale
    from faith.translation.networks import Networks

_CLIENTS = 4096
"""Clients remembered; with more they are worked out anew."""
_OPT = struct.Struct("!xHHBBHH")
_UNSERVED = bytes(4)
_KNOWN = 16384
"""Datagrams that are answered without a look inside; with more it starts afresh.

They and their replies are short, so all of them together take no more than 32 MiB.
"""
_TC = TC >> 8


class Client:
    """A client as its address decides: whether it is *served*, and with which *view*.

    *tag* is the cache's, the same for clients that see the same.
    """

    __slots__ = ("served", "tag", "view")

    def __init__(self, view: View, tag: bytes, *, served: bool) -> None:
        self.view = view
        self.tag = tag
        self.served = served


class Miss:
    """A query of *client* at *now* whose answer is not known; *stale* is what would do in need."""

    __slots__ = ("client", "limit", "now", "query", "stale")

    def __init__(
        self, query: Query, client: Client, limit: int, stale: Entry | None, now: float
    ) -> None:
        self.query = query
        self.client = client
        self.limit = limit
        self.stale = stale
        self.now = now

    def stale_reply(self) -> bytes | None:
        """The message to send when nothing better can be had in time."""
        return self.stale.stale_reply(self.query, self.now, self.limit) if self.stale else None

    def reply(self, answer: Answer) -> bytes:
        """The message with the *answer* that was found."""
        return answer.reply(self.query, answer.tail(0), self.limit)


class Responder:
    """Answers from *cache* to clients in *served*, 128-bit networks as in Options.clients.

    None for *served* is everybody.  *stale* has what would do in need.
    """

    def __init__(
        self, options: Options, cache: Cache, served: Networks | None, stale: Stale | None = None
    ) -> None:
        self.options = options
        self.cache = cache
        self._served = served
        self._stale = stale
        self._clients: dict[str, Client] = {}
        self._known: dict[bytes, tuple[Entry, bytes, bytes]] = {}

    def respond(
        self, message: bytes, host: str, now: float, *, stream: bool = False
    ) -> bytes | Miss | None:
        """The reply to *message* of the client at *host*, or a miss, or None for silence.

        A datagram is never answered with more than the client has said it takes, and EDNS_LIMIT
        at most: who forges its source gains little by it.
        """
        client = self._clients.get(host) or self._client(host)
        key = client.tag + message[2:]
        known = None if stream else self._known.get(key)
        if known and now < known[0].expires:
            entry, head, end = known
            return b"".join((message[:2], head, entry.tail(now), end))
        try:
            query = parse(message)
        except Rejected as error:
            return rejection(message, error.rcode)
        except WireError:
            return None
        limit = MESSAGE_LIMIT if stream else query.size
        question = query.question
        if not client.served or not query.flags & RD:
            return failure(question, REFUSED).reply(query, b"", limit)
        if own := local.answer(question, self.options, client.view):
            return own.reply(query, own.tail(0), limit)
        if found := self.cache.get(question, client.tag, now):
            reply = found.reply(query, now, limit)
            if len(message) <= PLAIN_LIMIT and not stream and not reply[2] & _TC:
                self._know(key, found, query)
            return reply
        stale = self._stale.find(question, client.view, now) if self._stale else None
        if stale and now < stale.recheck:
            return stale.stale_reply(query, now, limit)
        return Miss(query, client, limit, stale, now)

    def serves(self, host: str) -> bool:
        """Return whether the client at *host* is served at all."""
        return (self._clients.get(host) or self._client(host)).served

    def _know(self, key: bytes, entry: Entry, query: Query) -> None:
        """Remember how to answer the same octets the next time."""
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known[key] = (entry, *entry.answer.frame(query))

    def keep(self, miss: Miss, answer: Answer, now: float) -> None:
        """Know the next time what the answer to *miss* is."""
        if is_told(answer) or not miss.stale:
            self.cache.put(miss.query.question, miss.client.tag, answer, now)

    def _client(self, host: str) -> Client:
        number = number6(host)
        view = self.options.view(number)
        served = self._served is None or number in self._served
        client = Client(view, self.cache.tag(view) if served else _UNSERVED, served=served)
        if len(self._clients) >= _CLIENTS:
            self._clients.clear()
        self._clients[host] = client
        return client


def rejection(message: bytes, rcode: int) -> bytes:
    """The reply to a query that is not answered: its question, if that can be read.

    It has EDNS where *rcode* is one of EDNS's.
    """
    id_, flags = HEADER.unpack_from(message)[:2]
    edns = rcode >= BADVERS
    try:
        section = message[HEADER.size : question_end(message)]
    except WireError:
        section = b""
    head = HEADER.pack(id_, QR | flags & (OPCODE | RD) | rcode & RCODE, bool(section), 0, 0, edns)
    return head + section + (_OPT.pack(OPT, EDNS_LIMIT, rcode >> 4, 0, 0, 0) if edns else b"")
