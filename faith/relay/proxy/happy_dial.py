"""Dialling a server by its name or address: Happy Eyeballs, version 2 (RFC 8305).

An address is judged before it is dialled, and what was judged is what is dialled: no name is looked
up twice.
"""

from __future__ import annotations

import _socket
import errno
import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from faith.relay.proxy.name_search import Found
from faith.relay.tcp import dial
from faith.relay.tcp.plane import OUT
from faith.translation.reasons import (
    CLIENT_SHARE,
    NAME_FAILED,
    NO_NAME,
    NO_PORT,
    NO_SOURCE,
    POLICY,
    REFUSED,
    SHED,
    TIMEOUT,
    UNREACHABLE,
)

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Handle
    from collections.abc import Callable

    from faith.proxy.proxy_events import Target
    from faith.relay.proxy.name_search import Names, NameSearch
    from faith.relay.tcp.plane import Plane
    from faith.translation.proxied_destination import ProxiedVerdict

RESOLUTION_DELAY = 0.05
"""Seconds that IPv4 addresses wait for IPv6 ones (RFC 8305 §3)."""
ATTEMPT_DELAY = 0.25
"""Seconds from one attempt to the next (RFC 8305 §5)."""
MOST = 8
"""Addresses of a name that are tried, of both families together."""
AT_ONCE = 2
"""Attempts under way: a client's session has places for two descriptors."""
PATIENCE = 2.0
"""Seconds after which an attempt makes room, if another address has yet to be tried."""

_TELLING = (
    *(REFUSED, *POLICY, TIMEOUT, CLIENT_SHARE, SHED, NO_PORT, NO_SOURCE, UNREACHABLE),
    *(NAME_FAILED, NO_NAME),
)
"""Reasons, the most telling first: what a server said, what the operator wants, and the rest."""


class Connected(NamedTuple):
    """A server that has answered at *address*, by the *verdict* that let it be dialled.

    The plane watches *sock* until it is told to whom else.  *error* is that of a connection which
    failed as soon as it was there; what the server sent before can still be read.
    """

    sock: _socket.socket
    address: str
    verdict: ProxiedVerdict
    error: int


class Candidates:
    """Addresses to be tried in the order of RFC 8305 §4: the families take turns, IPv6 first."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[str]] = {6: [], 4: []}
        self._family = 6
        self._left = MOST

    def add(self, found: Found) -> None:
        """Let the addresses that were *found* have their turns."""
        self._waiting[found.family] += found.addresses

    def __bool__(self) -> bool:
        return self._left > 0 and any(self._waiting.values())

    def take(self) -> str:
        """Return the next address; there has to be one."""
        family = self._family if self._waiting[self._family] else 10 - self._family
        self._family = 10 - family
        self._left -= 1
        return self._waiting[family].pop(0)


class Dialling(NamedTuple):
    """The means to dial for one client.

    *client* is its number among shares.  *judge* decides about an address and a port; *connect*
    begins a connection as `SourcePorts.connect` does; *why* returns the reason for an error that it
    raises.
    """

    loop: AbstractEventLoop
    plane: Plane
    names: Names | None
    judge: Callable[[str, int], ProxiedVerdict]
    connect: Callable[[ProxiedVerdict], tuple[_socket.socket, int]]
    why: Callable[[OSError], str]
    client: int


class HappyDial:
    """Connects to *target* within so many *seconds* (0: without a limit).

    *done* is called once, after this was made: with the server that has answered, or the most
    telling reason why none has.
    """

    def __init__(
        self,
        means: Dialling,
        target: Target,
        seconds: float,
        done: Callable[[Connected | str], object],
    ) -> None:
        self._means = means
        self._port = target.port
        self._done = done
        self._over = False
        self._candidates = Candidates()
        self._search: NameSearch | None = None
        self._searched: set[int] = set()
        """The families that have yet to be answered for."""
        self._started = False
        self._attempts: dict[int, tuple[Connected, float]] = {}
        self._reasons: list[str] = []
        self._timer: Handle | None = None
        self._deadline: Handle | None = None
        if seconds:
            self._deadline = means.loop.call_later(seconds, self._overdue)
        if target.is_address:
            self._candidates.add(Found(6 if ":" in target.host else 4, (target.host,)))
            self._go_on()
        elif means.names is None:
            self._fail(NAME_FAILED)
        else:
            self._searched = {6, 4}
            self._search = means.names.look_up(target.host, self._found, means.client)

    def cancel(self) -> None:
        """Stop: *done* is not called any more."""
        self._over = True
        if self._search is not None:
            self._search.cancel()
        for timer in self._timer, self._deadline:
            if timer is not None:
                timer.cancel()
        for attempt, _ in self._attempts.values():
            self._means.plane.retire(attempt.sock)
        self._attempts.clear()
        self._done = _nobody  # which leads to all that led here

    # -- names -------------------------------------------------------------------------------

    def _found(self, found: Found) -> None:
        if self._over:
            return
        self._searched.discard(found.family)
        self._candidates.add(found)
        if not found.addresses:
            self._reasons.append(found.failure or NO_NAME)
        if self._started:
            if self._timer is None:
                self._go_on()
        elif 6 not in self._searched:
            self._go_on()
        elif found.addresses:
            self._wait(RESOLUTION_DELAY)

    # -- attempts ----------------------------------------------------------------------------

    def _wait(self, seconds: float) -> None:
        self._timer = self._means.loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        """Begin the next attempt, or wait until it is time for it; fail if nothing is left."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._started = True
        while self._candidates:
            if len(self._attempts) >= AT_ONCE and not self._gives_up_oldest():
                return
            if self._begin(self._candidates.take()):
                if self._candidates or self._searched:
                    self._wait(ATTEMPT_DELAY)
                return
        if not self._attempts and not self._searched:
            self._fail()

    def _gives_up_oldest(self) -> bool:
        """Make room for another attempt; False if the oldest has some time left."""
        fd, (attempt, begun) = next(iter(self._attempts.items()))
        left = begun + PATIENCE - self._means.loop.time()
        if left > 0:
            self._wait(left)
            return False
        del self._attempts[fd]
        self._means.plane.retire(attempt.sock)
        self._reasons.append(TIMEOUT)
        return True

    def _begin(self, address: str) -> bool:
        """Judge and dial *address*; False if nothing can come of it."""
        means = self._means
        verdict = means.judge(address, self._port)
        if verdict.refused:
            self._reasons.append(verdict.refused)
            return False
        try:
            sock, error = means.connect(verdict)
        except OSError as failure:
            self._reasons.append(means.why(failure))
            return False
        if error not in (0, errno.EINPROGRESS):
            sock.close()
            self._reasons.append(_failure(error))
            return False
        fd = sock.fileno()
        self._attempts[fd] = Connected(sock, address, verdict, 0), means.loop.time()
        means.plane.watch(fd, partial(self._answered, fd), OUT)
        return True

    def _answered(self, fd: int, mask: int) -> None:
        attempt, _ = self._attempts.pop(fd)
        sock = attempt.sock
        error = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if error and error not in dial.AFTERWARDS:
            self._means.plane.retire(sock)
            self._reasons.append(_failure(error))
            self._go_on()
            return
        done = self._done
        self.cancel()
        done(attempt._replace(error=error))

    # -- ends --------------------------------------------------------------------------------

    def _overdue(self) -> None:
        if self._attempts:
            self._reasons.append(TIMEOUT)
        self._fail(NAME_FAILED if self._searched else TIMEOUT)

    def _fail(self, otherwise: str = NO_NAME) -> None:
        """Report the most telling of the reasons, or *otherwise*, once the caller has returned."""
        why, done = min(self._reasons, key=_rank, default=otherwise), self._done
        self.cancel()
        self._deadline = self._means.loop.call_soon(self._tell, done, why)

    def _tell(self, done: Callable[[str], object], why: str) -> None:
        self._deadline = None  # it leads here
        done(why)


def _failure(error: int) -> str:
    """Return the reason for an attempt that failed with *error* (an errno).

    What is unreachable has details: clients of SOCKS learn whether it is a host or a network.
    """
    kind = dial.kind(error)
    return f"{kind}: {os.strerror(error)}" if kind == UNREACHABLE else kind


def _nobody(_: Connected | str) -> None:
    """Be told, and do nothing."""


def _rank(why: str) -> int:
    reason = why.partition(":")[0]
    return _TELLING.index(reason) if reason in _TELLING else _TELLING.index(UNREACHABLE)
