"""Names that a proxy's clients ask for, looked up in a worker: in hosts(5), else by servers of DNS.

The servers are those of ``[dns]``, or of resolv.conf(5) as it is at that time.  They are asked for
the records that there are: addresses mapped for DNS64 are not made here.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from faith.daemon.services.hosts_file import HOSTS, MOST_ADDRESSES, HostsFile
from faith.dns.cache import Cache
from faith.dns.dns_counters import Counters
from faith.dns.look_ups import LookUps
from faith.dns.question import Question
from faith.dns.race import DEADLINE
from faith.dns.tasks import Tasks
from faith.dns.upstream_servers import Servers
from faith.dns.wire import (
    AAAA,
    ANSWER,
    IN,
    NOERROR,
    NXDOMAIN,
    TYPE_CLASS,
    A,
    WireError,
    name_on_wire,
)
from faith.errors import ConfigError
from faith.relay.proxy.name_search import Found
from faith.translation.address import text
from faith.translation.reasons import NAME_FAILED, NO_NAME
from faith.translation.shares import Counts

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.daemon.config.worker_settings import NameSettings
    from faith.dns.answer import Answer
    from faith.dns.look_ups import LookUp

    Take = Callable[[Found], object]

MOST = 1024
"""Names that are looked up at a time, of which each client has a share; more fail at once."""
OVER_SHARE = f"{NAME_FAILED}: too many are looked up for the client"
_CACHE = 8 << 20
"""Octets of answers that each worker keeps."""
_KINDS = {6: AAAA, 4: A}
_NOWHERE = ("localhost", "invalid", "onion")
"""Domains that no server is asked for (RFC 6761 §6.3 and §6.4, RFC 7686 §2), and that lead to
nobody: the loopback addresses are those of the gateway itself."""

log = logging.getLogger("faith.proxy")


class ProxyNames:
    """Looks names up on the running loop, as *settings* say."""

    def __init__(self, settings: NameSettings, hosts: str = HOSTS) -> None:
        self._hosts = HostsFile(hosts)
        self._settings = settings
        self._asking: _Asking | None = None
        self._leaving: list[_Asking] = []
        self._searches = Counts(MOST)

    def apply(self, settings: NameSettings) -> None:
        """Ask as other *settings* say from now on; what is under way goes on."""
        if settings == self._settings:
            return
        self._settings = settings
        if self._asking:
            self._leaving.append(self._asking)
            self._asking.after(2 * DEADLINE, self._close_oldest)
            self._asking = None

    def _close_oldest(self) -> None:
        self._leaving.pop(0).close()

    def close(self) -> None:
        """Close the sockets; nobody waits for anything any more."""
        for asking in (*self._leaving, *filter(None, [self._asking])):
            asking.close()
        self._leaving.clear()
        self._asking = None

    def look_up(self, name: str, found: Take, client: int) -> Look:
        """Look *name* up for *client*, by its number among shares.

        The name is in lower case and has no dot at its end.

        *found* is called once for each family, in the order of the answers, maybe before this
        returns.
        """
        admitted = self._searches.admits(client)
        look = Look(found, partial(self._searches.remove, client))
        self._searches.add(client)
        known = self._hosts.addresses(name)
        if known is not None:
            look.conclude(known)
            return look
        try:
            wire = name_on_wire(name)
        except WireError:
            wire = b""
        if not wire or name.rpartition(".")[2] in _NOWHERE:
            look.fail(NO_NAME)
            return look
        asking = self._ready() if admitted else None
        if asking is None:
            look.fail(NAME_FAILED if admitted else OVER_SHARE)
        else:
            look.ask(asking.table, wire)
        return look

    def _ready(self) -> _Asking | None:
        if self._asking is None:
            try:
                self._asking = _Asking(self._settings)
            except ConfigError as error:
                log.error("no names for the clients of proxies: %s", error)
        return self._asking


class _Asking:
    """The servers that are asked, and the answers that they gave.  Raises ConfigError."""

    def __init__(self, settings: NameSettings) -> None:
        self._tasks = Tasks()
        self._servers = Servers(
            settings.forward,
            self._tasks,
            Counters(),
            mixed_case=settings.mixed_case,
            authorities=settings.authorities,
        )
        self._servers.start(settings.own)
        self.table = LookUps(Cache(_CACHE), self._servers.upstreams, self._tasks.timers)

    def after(self, seconds: float, call: Callable[[], object]) -> None:
        """Have *call* called in so many *seconds*, unless this is closed before."""
        self._tasks.timers.after(seconds, call)

    def close(self) -> None:
        """Close the sockets, and call nobody any more."""
        self._servers.close()
        self._tasks.timers.close()


class Look:
    """A name that is looked up: *found* gets what it has, *ended* is called at the end."""

    def __init__(self, found: Take, ended: Callable[[], object]) -> None:
        self._found = found
        self._ended: Callable[[], object] | None = ended
        self._waiting: list[_OfFamily] = []
        self._left = 2

    def cancel(self) -> None:
        """Stop it; nothing is called any more."""
        for one in self._waiting:
            one.cancel()
        self._end()

    def conclude(self, addresses: dict[int, tuple[str, ...]]) -> None:
        """Report the *addresses* of each family."""
        for family in _KINDS:
            self.take(Found(family, addresses.get(family, ())))

    def fail(self, why: str) -> None:
        """Report that there is no address, and *why*."""
        for family in _KINDS:
            self.take(Found(family, failure=why))

    def ask(self, table: LookUps, name: bytes) -> None:
        """Ask for the addresses of *name*, as it is on the wire."""
        self._waiting = [_OfFamily(family, table, self) for family in _KINDS]
        for one in self._waiting:
            one.ask(name)

    def take(self, found: Found) -> None:
        """Report what was found for one family, unless it was cancelled."""
        if self._ended is None:
            return
        self._left -= 1
        if not self._left:
            self._end()
        self._found(found)

    def _end(self) -> None:
        if ended := self._ended:
            self._ended = None
            ended()


class _OfFamily:
    """The question for the addresses of one *family*, for *look*."""

    def __init__(self, family: int, table: LookUps, look: Look) -> None:
        self._family = family
        self._table = table
        self._look = look
        self._look_up: LookUp | None = None
        self.is_over = False

    def ask(self, name: bytes) -> None:
        """Ask, unless it was cancelled: the other family's answer may have been there at once."""
        if self.is_over:
            return
        question = Question(name + TYPE_CLASS.pack(_KINDS[self._family], IN))
        look_up = self._table.look_up(question, self, self._take)
        if not self.is_over:
            self._look_up = look_up

    def garbled(self, error: WireError) -> None:
        """Conclude without an answer: what a server said makes no sense."""
        self._conclude(Found(self._family, failure=NAME_FAILED))

    def cancel(self) -> None:
        """Wait for nothing any more."""
        if not self.is_over:
            self.is_over = True
            if self._look_up:
                self._table.leave(self._look_up, self)

    def _take(self, answer: Answer) -> None:
        if answer.rcode == NXDOMAIN:
            found = Found(self._family, failure=NO_NAME)
        elif answer.rcode != NOERROR:
            found = Found(self._family, failure=NAME_FAILED)
        else:
            found = Found(self._family, _addresses(answer, _KINDS[self._family]))
        self._conclude(found)

    def _conclude(self, found: Found) -> None:
        self.is_over = True
        self._look.take(found)


def _addresses(answer: Answer, kind: int) -> tuple[str, ...]:
    found = dict.fromkeys(
        text(answer.message[record.data : record.end])
        for record in answer.records()
        if (record.section, record.kind, record.klass) == (ANSWER, kind, IN)
    )
    return tuple(found)[:MOST_ADDRESSES]
