"""Socket activation: sockets that systemd has opened for the daemon (sd_listen_fds(3)), by name.

``FileDescriptorName=`` of the socket unit says what a socket is for: "service" for connections to
relay, "proxy", "metrics", "control" or "dns".  The sockets stay open while the daemon is restarted,
so that clients wait meanwhile instead of being refused.
"""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from faith.dns.endpoint import Endpoint
from faith.errors import ConfigError, SetupError
from faith.kernel.descriptor import Descriptor
from faith.kernel.sockets.tcp_sockets import IPV6_TRANSPARENT
from faith.translation.ports import Ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from faith.daemon.config.settings import Settings

    Kind = tuple[socket.AddressFamily, socket.SocketKind]

FIRST = 3
"""The first descriptor."""

_STEP = "take the sockets of systemd"
_STREAMS = (socket.AF_INET6, socket.SOCK_STREAM), (socket.AF_INET, socket.SOCK_STREAM)
_DATAGRAMS = (socket.AF_INET6, socket.SOCK_DGRAM), (socket.AF_INET, socket.SOCK_DGRAM)
_KINDS: dict[str, tuple[Kind, ...]] = {
    "service": ((socket.AF_INET6, socket.SOCK_STREAM),),
    "proxy": _STREAMS,
    "metrics": _STREAMS,
    "control": ((socket.AF_UNIX, socket.SOCK_SEQPACKET),),
    "dns": (*_STREAMS, *_DATAGRAMS),
}
_SINGLE = ("metrics", "control")
_WILDCARDS = ("::", "0.0.0.0")


class PassedSockets:
    """The sockets by name; their descriptors stay open for as long as the daemon runs."""

    def __init__(self, sockets: Mapping[str, list[socket.socket]] | None = None) -> None:
        self._sockets = dict(sockets or {})

    @classmethod
    def found(cls) -> PassedSockets:
        """Return the sockets passed to this process; a second call finds none.

        Raises SetupError for an unknown name, and for a socket that does not fit its name.
        """
        count, names = (os.environ.pop(name, "") for name in ("LISTEN_FDS", "LISTEN_FDNAMES"))
        # this stays: it shows that systemd started the daemon
        for_whom = os.environ.get("LISTEN_PID")
        if for_whom != str(os.getpid()) or not count.isdigit():
            return cls()
        named = names.split(":") if names else []
        if len(named) != int(count):
            raise SetupError(_STEP, f"{count} sockets have {len(named)} names", _hint())
        found: dict[str, list[socket.socket]] = {}
        for descriptor, name in enumerate(named, FIRST):
            os.set_inheritable(descriptor, False)
            if name not in _KINDS:
                raise SetupError(_STEP, f"one is called {name!r}", _hint())
            found.setdefault(name, []).append(_checked(name, descriptor))
        for name in _SINGLE:
            if len(found.get(name, ())) > 1:
                raise SetupError(_STEP, f"there are {len(found[name])} called {name!r}, not one")
        return cls(found)

    @classmethod
    def adopt(cls, state: Mapping[str, Iterable[int]]) -> PassedSockets:
        """Adopt the sockets of a `state` that the predecessor process left."""
        return cls(
            {name: [socket.socket(fileno=fd) for fd in some] for name, some in state.items()}
        )

    def has(self, name: str) -> bool:
        """Return whether there are sockets called *name*."""
        return name in self._sockets

    def copies(self, name: str) -> list[socket.socket]:
        """Return duplicates of the sockets called *name*."""
        return [sock.dup() for sock in self._sockets.get(name, ())]

    def fit(self, settings: Settings) -> Settings:
        """Return *settings* completed by the sockets.  Raises ConfigError where the two
        contradict."""
        for name, sockets in self._sockets.items():
            settings = _FITS[name](settings, sockets)
        return settings

    def state(self) -> dict[str, list[Descriptor]]:
        """Return the descriptors by name, for an upgrade."""
        return {
            name: [Descriptor.of(sock) for sock in some] for name, some in self._sockets.items()
        }


def _hint() -> str:
    return f"FileDescriptorName= of a socket unit is one of {', '.join(_KINDS)}"


def _checked(name: str, descriptor: int) -> socket.socket:
    """Return the socket if it fits its name.  Raises SetupError."""

    def refuse(what: str, hint: str = "") -> SetupError:
        return SetupError(_STEP, f"the one called {name!r} {what}", hint)

    try:
        sock = socket.socket(fileno=descriptor)
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise refuse(f"is none: {error.strerror}") from error
    if (sock.family, sock.type) not in _KINDS[name]:
        raise refuse(f"is {sock.family.name} {sock.type.name}")
    if sock.type != socket.SOCK_DGRAM and not listens:
        raise refuse("does not listen", "Accept=no is needed")
    if name == "service":
        _check_service(sock, refuse)
    elif name == "proxy":
        _check_proxy(sock, refuse)
    elif name == "dns" and sock.type == socket.SOCK_DGRAM and sock.getsockname()[0] in _WILDCARDS:
        raise refuse("is for all addresses", "answers come from the address of a socket: name each")
    return sock


def _check_service(sock: socket.socket, refuse: Callable[..., SetupError]) -> None:
    if sock.getsockname()[0] != "::":
        raise refuse("is for one address", "ListenStream=[::]:PORT is needed")
    for option, setting in (
        (IPV6_TRANSPARENT, "Transparent=yes"),
        (socket.IPV6_V6ONLY, "BindIPv6Only=ipv6-only"),
    ):
        if not sock.getsockopt(socket.IPPROTO_IPV6, option):
            raise refuse("is not as the guard wants it", f"{setting} is needed")


def _check_proxy(sock: socket.socket, refuse: Callable[..., SetupError]) -> None:
    if sock.family != socket.AF_INET6:
        return
    if sock.getsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT):
        raise refuse("is transparent", "Transparent=no is needed: the guard is to refuse prefixes")
    is_alone = sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    if sock.getsockname()[0] == "::" and is_alone:
        raise refuse(
            "is for IPv6 only", "BindIPv6Only=both is needed, or ListenStream=ADDRESS:PORT"
        )


def _contradict(key: str, asked: object, passed: object) -> ConfigError:
    return ConfigError(f"{key}: {asked}, but systemd has opened {passed}")


def _fit_service(settings: Settings, sockets: list[socket.socket]) -> Settings:
    ports = Ports((port, port) for _, port, *_ in (sock.getsockname() for sock in sockets))
    if settings.ports != ports:
        raise _contradict("service.ports", settings.ports, ports)
    if settings.via not in ("auto", "route"):
        raise _contradict("prefix.via", settings.via, "the sockets, as for route")
    return settings


def _fit_proxy(settings: Settings, sockets: list[socket.socket]) -> Settings:
    known = {Endpoint(one.host, one.port) for one in settings.proxies}
    opened = {Endpoint(*sock.getsockname()[:2]) for sock in sockets}
    if opened - known:
        asked, passed = (", ".join(map(str, sorted(some))) for some in (known, opened))
        raise _contradict("proxy.listen", asked or "there is no proxy", passed)
    return settings


def _fit_metrics(settings: Settings, sockets: list[socket.socket]) -> Settings:
    host, port = sockets[0].getsockname()[:2]
    if settings.metrics not in (None, (host, port)):
        raise _contradict("metrics.listen", settings.metrics, (host, port))
    return replace(settings, metrics=(host, port))


def _fit_control(settings: Settings, sockets: list[socket.socket]) -> Settings:
    path = Path(os.fsdecode(sockets[0].getsockname()))
    if settings.control not in (None, path):
        raise _contradict("control", settings.control, path)
    return replace(settings, control=path)


def _fit_dns(settings: Settings, sockets: list[socket.socket]) -> Settings:
    if settings.dns is None:
        raise _contradict("dns", "there is no such table", "sockets for names")
    endpoints = dict.fromkeys(Endpoint(*sock.getsockname()[:2]) for sock in sockets)
    if settings.dns.listen and {*settings.dns.listen} != {*endpoints}:
        asked, passed = (", ".join(map(str, some)) for some in (settings.dns.listen, endpoints))
        raise _contradict("dns.listen", asked, passed)
    return replace(settings, dns=replace(settings.dns, listen=tuple(endpoints)))


_FITS: dict[str, Callable[[Settings, list[socket.socket]], Settings]] = {
    "service": _fit_service,
    "proxy": _fit_proxy,
    "metrics": _fit_metrics,
    "control": _fit_control,
    "dns": _fit_dns,
}
