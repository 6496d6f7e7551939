"""Companions: tasks of a daemon beside relaying TCP, each in processes of its own."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from faith.daemon.config.policy import PolicyInputs
    from faith.daemon.config.settings import Settings
    from faith.daemon.process.worker_pool import Crew
    from faith.errors import SetupError
    from faith.kernel.descriptor import Source

    Then = Callable[[], None]
    Leave = Callable[[Iterable[Source]], None]
    """Called in a process of its own, with what it keeps of the supervisor's descriptors."""
    Refuse = Callable[[SetupError], None]


class Companion(Protocol):
    """A companion, as the supervisor uses it; called in the order of the methods."""

    def set_up(self, settings: Settings, left: Any, *, on_trial: bool) -> None:
        """Do every step that can fail before there is a process.  Raises SetupError.

        *left* is the `state` of the companion in the predecessor process, or None.  The companion
        is *on_trial* while the predecessor process still serves, and is to go on.
        """

    def start(self, on_ready: Then) -> None:
        """Start the processes; *on_ready* is called when all serve, or there is nothing to do.

        Raises SetupError, from here or from the loop.
        """

    def serve(self) -> None:
        """Serve in place of the predecessor process; called once the whole daemon serves."""

    def decide_by(self, parts: PolicyInputs) -> None:
        """Apply a new policy; also called before the start."""

    def prepare(self, settings: Settings, on_ready: Then, on_failure: Refuse) -> None:
        """Get ready for other settings, and call one of the two, now or later.

        Then comes `take` or `drop`; the latter may come at any time.  Raises SetupError.
        """

    def take(self) -> None:
        """Apply the settings that were prepared."""

    def drop(self) -> None:
        """Discard the settings that were prepared; a no-op when none were."""

    def stop(self) -> None:
        """Accept nothing new; the daemon is being stopped."""

    def crews(self) -> Iterable[Crew]:
        """Return all crews that may still have processes."""

    def state(self) -> Any:
        """Return the state from which the next program continues, fit for JSON: `set_up`."""

    def close(self) -> None:
        """End the processes at once, and close everything."""


class Companions:
    """All companions, by name; each method calls that of every companion."""

    def __init__(self, each: Mapping[str, Companion]) -> None:
        self._each = each

    def set_up(self, settings: Settings, left: Mapping[str, Any], *, on_trial: bool) -> None:
        """Do every step that can fail before there are processes.  Raises SetupError."""
        for name, companion in self._each.items():
            companion.set_up(settings, left.get(name), on_trial=on_trial)

    def start(self, on_ready: Then) -> None:
        """Start the processes, and call *on_ready* when all serve.

        Raises SetupError, from here or from the loop.
        """
        ready = _countdown(len(self._each), on_ready)
        for companion in self._each.values():
            companion.start(ready)

    def serve(self) -> None:
        """Serve in place of the predecessor process; called once the whole daemon serves."""
        for companion in self._each.values():
            companion.serve()

    def decide_by(self, parts: PolicyInputs) -> None:
        """Apply a new policy."""
        for companion in self._each.values():
            companion.decide_by(parts)

    def prepare(self, settings: Settings, on_ready: Then, on_failure: Refuse) -> None:
        """Get ready for other settings; *on_failure* may be called more than once.

        Raises SetupError.
        """
        ready = _countdown(len(self._each), on_ready)
        for companion in self._each.values():
            companion.prepare(settings, ready, on_failure)

    def take(self) -> None:
        """Apply the settings that were prepared."""
        for companion in self._each.values():
            companion.take()

    def drop(self) -> None:
        """Discard the settings that were prepared."""
        for companion in self._each.values():
            companion.drop()

    def stop(self) -> None:
        """Accept nothing new."""
        for companion in self._each.values():
            companion.stop()

    def crews(self) -> Iterator[Crew]:
        """Return all crews that may still have processes."""
        return itertools.chain.from_iterable(each.crews() for each in self._each.values())

    def state(self) -> dict[str, Any]:
        """Return the states by name, from which the next program continues."""
        return {name: companion.state() for name, companion in self._each.items()}

    def close(self) -> None:
        """End the processes at once, and close everything."""
        for companion in self._each.values():
            companion.close()


def _countdown(count: int, then: Then) -> Then:
    """Return a function that calls *then* when it is called for the *count*-th time."""
    left = iter(range(count - 1, -1, -1))

    def called() -> None:
        if not next(left):
            then()

    return called
