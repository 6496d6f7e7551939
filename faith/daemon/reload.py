"""The configuration read again while the daemon runs: all of it is taken, or nothing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from faith.daemon import systemd
from faith.daemon.policy import Parts, Rules
from faith.errors import ConfigError, FaithError

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.daemon.companions import Companions
    from faith.daemon.condition import Condition
    from faith.daemon.reservations import Reservations
    from faith.daemon.settings import Settings

    Take = Callable[[Settings, Rules], None]
    Ended = Callable[[FaithError | None], None]

log = logging.getLogger("faith.supervisor")

_FIXED: dict[str, Callable[[Settings], object]] = {
    "workers": lambda settings: settings.workers,
    "user": lambda settings: settings.user,
    "control": lambda settings: settings.control,
    "pid_file": lambda settings: settings.pid_file,
    "prefix.via": lambda settings: settings.via,
    "service.ports": lambda settings: settings.ports,
    "service.alg": lambda settings: settings.relay.reserved,
    "service.server": lambda settings: settings.local_ports,
}
"""What sockets, processes and rights of before are to do with, by its key."""


class Reload:
    """Turns *current* settings into those that *reread* returns.

    What can fail is done before anything is taken: *companions* get ready and *reservations* are
    made.  Then *take* is called with the settings and their rules.
    """

    def __init__(
        self,
        current: Settings,
        reread: Callable[[], Settings],
        companions: Companions,
        reservations: Reservations,
        take: Take,
    ) -> None:
        self._current = current
        self._reread = reread
        self._companions = companions
        self._reservations = reservations
        self._take = take
        self._over = False

    def start(self, ended: Ended) -> None:
        """Call *ended* now or later: with None, or why everything is as it was."""

        def fail(error: FaithError) -> None:
            if not self._over:
                self.abandon()
                ended(error)

        def ready() -> None:
            if self._over:
                return
            try:
                self._reservations.change(settings.prefixes)
            except FaithError as error:
                fail(error)
                return
            self._over = True
            self._companions.take()
            self._take(settings, rules)
            ended(None)

        try:
            settings = self._reread()
            check_fixed(self._current, settings)
            settings.check_local_servers()
            rules = Rules.of(settings)
            Parts.gather(rules, settings.maps).check_maps()
            self._companions.prepare(settings, ready, fail)
        except FaithError as error:
            fail(error)

    def abandon(self) -> None:
        """Take nothing any more; nothing when it is over."""
        if not self._over:
            self._over = True
            self._companions.drop()


class Reloads:
    """One reload after another; a new one ends the one that is under way.

    *begin* makes one, *condition* is told of each, and *ready* called after it.
    """

    def __init__(
        self, begin: Callable[[], Reload], condition: Condition, ready: Callable[[], object]
    ) -> None:
        self._begin = begin
        self._condition = condition
        self._ready = ready
        self._last: Reload | None = None

    def start(self, ended: Ended) -> None:
        """Reload; *ended* is called as by `Reload.start`."""

        def over(error: FaithError | None) -> None:
            self._condition.reloaded(good=error is None)
            if error:
                log.error("%s; everything stays as it was", error)
            self._ready()
            ended(error)

        systemd.reloading()
        if self._last:
            self._last.abandon()
        self._last = self._begin()
        self._last.start(over)


def check_fixed(current: Settings, settings: Settings) -> None:
    """Raise ConfigError for what cannot become of *current* settings while they are in force."""
    changed = [key for key, value in _FIXED.items() if value(current) != value(settings)]
    if changed:
        raise ConfigError(f"{', '.join(changed)}: to change this, faithd must be started anew")
