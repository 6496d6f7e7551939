"""The proxies of one worker: their listeners and settings as the supervisor sends them."""

from __future__ import annotations

import _socket
from typing import TYPE_CHECKING

from faith.daemon.config import carried
from faith.daemon.config.worker_settings import ProxiesSettings
from faith.kernel.sockets.tcp_sockets import cookie

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from faith.daemon.services.proxy_names import ProxyNames
    from faith.relay.proxy.name_search import Found, NameSearch
    from faith.relay.proxy.proxy_settings import ProxySettings

    Serve = Callable[[Iterable[tuple[_socket.socket, ProxySettings]]], None]

carried.decoder(ProxiesSettings)  # before a worker is forked, which would take its time


class WorkerProxies:
    """Has a relay serve *listeners* by *settings*, and looks names up for it.

    What a listener is for, its address and port tell; a channel is for all proxies with TLS.
    Settings and listeners come apart: a worker without room for descriptors must have the settings
    all the same.
    """

    def __init__(self, listeners: Iterable[_socket.socket], settings: ProxiesSettings) -> None:
        self._listeners = {cookie(one): one for one in listeners}
        self._settings = settings
        self._serve: Serve | None = None
        self._serves = False
        self._is_leaving = False
        self._names: ProxyNames | None = None

    def serve_by(self, serve: Serve) -> None:
        """Serve, from `serve` on, by calling *serve* with listeners and their settings."""
        self._serve = serve

    def serve(self) -> None:
        """Serve; a no-op after `close`."""
        self._serves = not self._is_leaving
        self._apply()

    def pause(self) -> None:
        """Note that the relay serves nobody any more, until `serve`."""
        self._serves = False

    def apply(self, text: str, is_change: bool, descriptors: list[int]) -> None:
        """Apply the settings in a state of the supervisor's."""
        self._settings = carried.loads(text, ProxiesSettings)
        if self._names:
            self._names.apply(self._settings.names)
        self._apply()

    def apply_listeners(self, text: str, is_change: bool, descriptors: list[int]) -> None:
        """Serve the listeners in a state of the supervisor's, and no others."""
        before, self._listeners = self._listeners, {}
        for listener in (_socket.socket(fileno=descriptor) for descriptor in descriptors):
            which = cookie(listener)
            if which in before or which in self._listeners:
                listener.close()
                if which in before:
                    self._listeners[which] = before.pop(which)
            else:
                listener.setblocking(False)
                self._listeners[which] = listener
        self._apply()
        for listener in before.values():
            listener.close()
        if self._is_leaving:
            self.close()

    def _apply(self) -> None:
        if self._serve and self._serves:
            proxies = self._settings.proxies
            known = {(proxy.host, proxy.port): proxy for proxy in proxies if not proxy.tls}
            served: list[tuple[_socket.socket, ProxySettings]] = []
            for one in self._listeners.values():
                if one.family == _socket.AF_UNIX:  # all clients that have come by TLS
                    served += [(one, proxy) for proxy in proxies if proxy.tls]
                elif proxy := known.get(one.getsockname()[:2]):
                    served.append((one, proxy))
            self._serve(served)

    def close(self) -> None:
        """Accept never again; the kernel queues no connection once all copies are closed.

        The relay has to have stopped before: clients that it has are not those of proxies gone.
        """
        self._is_leaving = True
        self._serves = False
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()

    # -- names -------------------------------------------------------------------------------

    def look_up(self, name: str, found: Callable[[Found], object], client: int) -> NameSearch:
        """Look *name* up for *client* as `ProxyNames` does."""
        if self._names is None:
            # It takes a while, and most do without: the supervisor has imported it if there were
            # proxies when this process was forked.
            from faith.daemon.services.proxy_names import ProxyNames

            self._names = ProxyNames(self._settings.names)
        return self._names.look_up(name, found, client)

    def forget_names(self) -> None:
        """Ask nobody any more."""
        if self._names:
            self._names.close()
