"""TLS of proxies: processes that terminate it, and pass clients on to the workers.

They hold the keys of certificates, read before privileges are dropped, and nothing of sessions: one
that a client takes over knows what clients say, and can have nothing done but by what they say.
"""

from __future__ import annotations

import _socket
from typing import TYPE_CHECKING, Any

import uvloop

from faith.daemon.process.child import Child
from faith.daemon.process.messages import Ready, Stop
from faith.daemon.process.preamble import confine_child
from faith.daemon.process.worker_pool import WorkerPool
from faith.daemon.services.rolling_restart import ProcessGroup
from faith.kernel.sockets.tcp_sockets import cookie
from faith.relay.tcp.session_shares import SessionShares, places

if TYPE_CHECKING:
    import ssl
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterable, Mapping

    from faith.daemon.config.proxy_table import ProxyTls
    from faith.daemon.host.proxy_listeners import ProxyListeners
    from faith.daemon.process.child import Handler
    from faith.daemon.process.loop import Loop
    from faith.daemon.process.messages import Order, ProcessChannel
    from faith.daemon.services.interface import Leave

    Contexts = Mapping[tuple[str, int], ssl.SSLContext]
    """The contexts of TLS, by where their proxies listen."""

LISTENERS = "listeners"
"""The topic of desired state: the channel to the workers, and the listeners, as descriptors."""


class TlsTerminators(ProcessGroup):
    """So many processes that terminate TLS of *proxies* on their *listeners*, as *user*.

    *enter* is called in each of them first, with its number, and then *leave*, with what it keeps
    of the supervisor's.  IPv6 addresses with the first *length* bits in common are one client.
    """

    def __init__(
        self,
        loop: Loop,
        listeners: ProxyListeners,
        proxies: Iterable[ProxyTls],
        workers: int,
        user: str,
        leave: Leave,
        enter: Callable[[int], object],
        length: int,
    ) -> None:
        self._listeners = listeners
        self._proxies = tuple(proxies)
        self._user = user
        self._leave = leave
        self._enter = enter
        self._length = length
        super().__init__(WorkerPool(loop, self._work, {}, "TLS terminator"), workers)

    def share(self) -> None:
        """Have the processes serve the listeners that there are now."""
        self.pool.desire(LISTENERS, descriptors=self._descriptors, binding=False)

    def state(self) -> list[list[Any]]:
        """Return where the proxies listen: the next group has the listeners from elsewhere."""
        return [[one.host, one.port] for one in self._proxies]

    def _descriptors(self, number: int) -> list[int]:
        return [sock.fileno() for sock in self._listeners.of_terminator(number)]

    # -- in such a process -------------------------------------------------------------------

    def _work(self, number: int, channel: ProcessChannel) -> None:
        self._enter(number)
        sockets = self._listeners.of_terminator(number)
        self._leave([channel, *sockets])
        contexts = {(one.host, one.port): _context(one) for one in self._proxies}
        confine_child(self._user, connects=False)
        loop = uvloop.new_event_loop()
        process = TerminatorProcess(loop, contexts, sockets, channel, self._length)
        channel.send(Ready())
        loop.run_forever()
        process.close()
        loop.close()


class TerminatorProcess:
    """One of these processes: it goes on until its last client is gone, whoever wants it to end."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        contexts: Contexts,
        sockets: Iterable[_socket.socket],
        channel: ProcessChannel,
        length: int,
    ) -> None:
        from faith.relay.proxy.tls_terminator import TlsTerminator

        self._contexts = contexts
        self._sockets = {cookie(one): one for one in sockets}
        self._drains = False
        shares = SessionShares(places(len(self._sockets)), length)
        self._terminator = TlsTerminator(loop, shares, self._idled)
        self._loop = loop
        self._serve()
        handlers: dict[type[Order], Handler] = {Stop: lambda order, _: self._drain()}
        self._child = Child(loop, channel, handlers, self._drain, {LISTENERS: self._apply})

    def close(self) -> None:
        """Cut what is left."""
        self._terminator.close()
        self._child.close()

    def _apply(self, text: str, is_change: bool, descriptors: list[int]) -> None:
        """Serve by the sockets in a state of the supervisor's, and no others."""
        before, self._sockets = self._sockets, {}
        for sock in (_socket.socket(fileno=descriptor) for descriptor in descriptors):
            which = cookie(sock)
            self._sockets[which] = before.pop(which, sock)
            if self._sockets[which] is sock:
                sock.setblocking(False)
            else:
                sock.close()
        self._serve()
        for sock in before.values():
            sock.close()

    def _serve(self) -> None:
        from faith.relay.proxy.tls_terminator import TlsListener

        channel: _socket.socket | None = None
        listeners = []
        for sock in self._sockets.values():
            if sock.family == _socket.AF_UNIX:
                channel = sock
            else:
                host, port = sock.getsockname()[:2]
                if context := self._contexts.get((host, port)):
                    listeners.append(TlsListener(sock, (host, port), context))
        self._terminator.serve([] if self._drains else listeners, channel)

    def _drain(self) -> None:
        self._drains = True
        self._serve()
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()

    def _idled(self) -> None:
        if self._drains:
            self._loop.stop()


def _context(proxy: ProxyTls) -> ssl.SSLContext:
    """Return the context of a proxy, whose clients need a certificate if it names an authority."""
    import ssl

    context = proxy.files.context()
    if proxy.files.client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["http/1.1"])
    return context
