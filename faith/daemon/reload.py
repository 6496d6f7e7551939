"""The configuration read again while the daemon runs: all of it is taken, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.daemon.policy import Rules
from faith.errors import ConfigError, FaithError

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.daemon.names import Names
    from faith.daemon.reservations import Reservations
    from faith.daemon.settings import Settings

    Take = Callable[[Settings, Rules], None]
    Refuse = Callable[[FaithError], None]

_FIXED: dict[str, Callable[[Settings], object]] = {
    "workers": lambda settings: settings.workers,
    "user": lambda settings: settings.user,
    "control": lambda settings: settings.control,
    "pid_file": lambda settings: settings.pid_file,
    "prefix.via": lambda settings: settings.via,
    "service.ports": lambda settings: settings.ports,
    "service.alg": lambda settings: settings.relay.reserved,
    "service.server": lambda settings: settings.local_ports,
    "metrics.listen": lambda settings: settings.metrics,
}
"""What sockets, processes and rights of before are to do with, by its key."""


class Reload:
    """Turns *current* settings into others, with what has to be ready before they are taken."""

    def __init__(self, current: Settings, names: Names, reservations: Reservations) -> None:
        self._current = current
        self._names = names
        self._reservations = reservations
        self._over = False

    def start(self, reread: Callable[[], Settings], take: Take, refuse: Refuse) -> None:
        """Call *take* with what *reread* returns and its rules, now or later; or *refuse*.

        *refuse* is told why, and everything is as it was.
        """

        def fail(error: FaithError) -> None:
            if not self._over:
                self.abandon()
                refuse(error)

        def ready() -> None:
            try:
                self._reservations.change(settings.prefixes)
            except FaithError as error:
                fail(error)
                return
            self._over = True
            if self._changes_names(settings):
                self._names.take()
            take(settings, rules)

        try:
            settings = reread()
            check_fixed(self._current, settings)
            settings.check_local_servers()
            rules = Rules.of(settings)
            if self._changes_names(settings):
                self._names.prepare(settings, ready, fail)
            else:
                ready()
        except FaithError as error:
            fail(error)

    def abandon(self) -> None:
        """Take nothing any more; nothing when it is over."""
        if not self._over:
            self._over = True
            self._names.drop()

    def _changes_names(self, settings: Settings) -> bool:
        before, after = self._current, settings
        return (before.dns, before.dns_workers) != (after.dns, after.dns_workers)


def check_fixed(current: Settings, settings: Settings) -> None:
    """Raise ConfigError for what cannot become of *current* settings while they are in force."""
    changed = [key for key, value in _FIXED.items() if value(current) != value(settings)]
    if changed:
        raise ConfigError(f"{', '.join(changed)}: to change this, faithd must be started anew")
