"""The configuration read again while the daemon runs: all of it is taken, or nothing."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from msgspec import convert, to_builtins

from faith.daemon.config.policy import PolicyInputs, Rules
from faith.daemon.observe import status_report
from faith.daemon.observe.log import NOTICE
from faith.daemon.process import systemd
from faith.daemon.services.interface import countdown
from faith.errors import ConfigError, FaithError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from faith.daemon.config.settings import Settings
    from faith.daemon.host.held_prefixes import HeldPrefixes
    from faith.daemon.observe.health import RelayHealth
    from faith.daemon.process.control_socket import Request
    from faith.daemon.services.interface import Service

    Apply = Callable[[Settings, Rules], None]
    Ended = Callable[[FaithError | None], None]
    Failed = Callable[[FaithError], None]

log = logging.getLogger("faith.supervisor")


def _pool(settings: Settings) -> object:
    """Return the pool of addresses and its file; None without a pool, or without names."""
    dns = settings.dns
    return (dns.pool, dns.pool_file) if dns and dns.pool else None


_BY_UPGRADE: dict[str, Callable[[Settings], object]] = {
    "workers": lambda settings: settings.workers,
    "user": lambda settings: settings.user,
    "control": lambda settings: settings.control,
    "pid_file": lambda settings: settings.pid_file,
    "service.ports": lambda settings: settings.ports,
    "service.alg": lambda settings: settings.relay.reserved,
    "service.server": lambda settings: settings.local_ports,
    "dns.pool": _pool,
}
"""Settings, by key, that only an upgrade changes: their users read them once, at the start."""


class Reload:
    """Turns *current* settings into those that *reread* returns.

    What can fail is done before anything is applied: *services* prepare and *reservations* are
    made.  Then *apply* is called with the settings and their rules.  For what processes go by from
    their start *upgrade* is called instead: a program that starts with these settings takes over,
    if it comes up, and else what it was given is called.
    """

    def __init__(
        self,
        current: Settings,
        reread: Callable[[], Settings],
        services: Collection[Service],
        reservations: HeldPrefixes,
        apply: Apply,
        upgrade: Callable[[Failed], None],
    ) -> None:
        self._current = current
        self._reread = reread
        self._services = services
        self._reservations = reservations
        self._apply = apply
        self._upgrade = upgrade
        self._over = False
        self._ended: Ended = lambda error: None

    def start(self, ended: Ended) -> None:
        """Call *ended* now or later: with None, or why everything is as it was.

        After an upgrade it is not: the next program knows.
        """

        def ready() -> None:
            if self._over:
                return
            try:
                self._reservations.change(settings.prefixes)
            except FaithError as error:
                self._fail(error)
                return
            self._over = True
            for service in self._services:
                service.apply()
            self._apply(settings, rules)
            ended(None)

        self._ended = ended
        try:
            settings = self._reread()
            check_way(self._current, settings)
            settings.check_local_servers()
            rules = Rules.of(settings)
            PolicyInputs.gather(rules).check(settings.maps)
            if keys := changed_for_good(self._current, settings):
                log.log(NOTICE, "%s: another program takes over to change that", ", ".join(keys))
                self._upgrade(self._fail)
            else:
                last = countdown(len(self._services), ready)
                for service in self._services:
                    service.prepare(settings, last, self._fail)
        except FaithError as error:
            self._fail(error)

    @property
    def over(self) -> bool:
        """Return whether the reload has ended: all of it is applied, or nothing will be."""
        return self._over

    def abandon(self) -> None:
        """Apply nothing any more, and tell so; nothing when it is over."""
        self._fail(FaithError("the configuration is read once more before that is over"))

    def _fail(self, error: FaithError) -> None:
        if not self._over:
            self._over = True
            for service in self._services:
                service.drop()
            self._ended(error)


class Reloads:
    """One reload after another; a new one ends the one that is under way.

    *begin* makes one, *condition* is told of each, and *ready* called after it.
    """

    def __init__(
        self,
        begin: Callable[[Request | None], Reload],
        condition: RelayHealth,
        ready: Callable[[], object],
    ) -> None:
        self._begin = begin
        self._condition = condition
        self._ready = ready
        self._last: Reload | None = None
        self.last: status_report.Reload | None = None
        """The outcome of the last one that has ended."""

    @property
    def under_way(self) -> bool:
        """Return whether the last reload is still to be applied."""
        return self._last is not None and not self._last.over

    def state(self) -> dict[str, Any]:
        """Return whether the next program of this process completes a reload, and the last
        outcome."""
        return {"under_way": self.under_way, "last": to_builtins(self.last)}

    def adopt(self, left: Mapping[str, Any]) -> None:
        """Record as good the reload for which the predecessor process started this program.

        *left* is the `state` that it left.
        """
        self.last = convert(left["last"], status_report.Reload | None)
        if left["under_way"]:
            self._note(None)

    def _note(self, error: FaithError | None) -> None:
        good = error is None
        self._condition.reloaded(good=good)
        self.last = status_report.Reload(time.time(), good, str(error or ""))

    def start(self, ended: Ended, request: Request | None = None) -> None:
        """Reload; *ended* is called as by `Reload.start`.

        *request* waits for an upgrade, if it comes to that.
        """

        def over(error: FaithError | None) -> None:
            self._note(error)
            if error:
                log.error("%s; everything stays as it was", error)
            self._ready()
            ended(error)

        systemd.reloading()
        if self._last:
            self._last.abandon()
        self._last = self._begin(request)
        self._last.start(over)


def check_way(current: Settings, settings: Settings) -> None:
    """Raise ConfigError when connections are to come in another way than by *current* settings."""
    if current.via != settings.via:
        raise ConfigError("prefix.via: to change this, faithd must be started anew")


def changed_for_good(current: Settings, settings: Settings) -> list[str]:
    """The keys of what takes other processes than those that went by *current* settings."""
    return [key for key, value in _BY_UPGRADE.items() if value(current) != value(settings)]
