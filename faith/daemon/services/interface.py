"""What a daemon does beside relaying, by processes of their own: names, metrics."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from faith.daemon.config.policy import PolicyInputs
    from faith.daemon.config.settings import Settings
    from faith.daemon.process.worker_pool import Crew
    from faith.errors import SetupError

    Then = Callable[[], None]
    Refuse = Callable[[SetupError], None]


class Companion(Protocol):
    """One such task, as the supervisor sees it; called in the order of the methods."""

    def set_up(self, settings: Settings, left: Any, *, on_trial: bool) -> None:
        """Do what can fail before there is a process.  Raises SetupError.

        *left* is the `state` in which the program before this one has left it, or None.  It is
        *on_trial* when that program still serves, and is to go on.
        """

    def start(self, on_ready: Then) -> None:
        """Start the processes; *on_ready* is called when all serve, or there is nothing to do.

        Raises SetupError, from here or from the loop.
        """

    def serve(self) -> None:
        """All of the daemon serves: what the program before this one has left is over."""

    def decide_by(self, parts: PolicyInputs) -> None:
        """The policy is another; also called before the start."""

    def prepare(self, settings: Settings, on_ready: Then, on_failure: Refuse) -> None:
        """Get ready for other settings, and call one of the two, now or later.

        Then comes `take` or `drop`; the latter may come at any time.  Raises SetupError.
        """

    def take(self) -> None:
        """Go by the settings that were prepared."""

    def drop(self) -> None:
        """Go by those of before; nothing when none were prepared."""

    def stop(self) -> None:
        """Serve nobody new; the daemon is being stopped."""

    def crews(self) -> Iterable[Crew]:
        """All that may still have processes."""

    def state(self) -> Any:
        """What the next program of this process goes on from, fit for JSON: `set_up`."""

    def descriptors(self) -> Iterable[int]:
        """Those that are in the state."""

    def forsake(self) -> None:
        """Let go of everything, in a process that was forked for something else."""

    def close(self) -> None:
        """End the processes at once, and let go of everything."""


class Companions:
    """All that there are, by their names; whatever is done is done to each."""

    def __init__(self, each: Mapping[str, Companion]) -> None:
        self._each = each

    def set_up(self, settings: Settings, left: Mapping[str, Any], *, on_trial: bool) -> None:
        """Do what can fail before there are processes.  Raises SetupError."""
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
        """All of the daemon serves."""
        for companion in self._each.values():
            companion.serve()

    def decide_by(self, parts: PolicyInputs) -> None:
        """The policy is another."""
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
        """Go by the settings that were prepared."""
        for companion in self._each.values():
            companion.take()

    def drop(self) -> None:
        """Go by those of before."""
        for companion in self._each.values():
            companion.drop()

    def stop(self) -> None:
        """Serve nobody new."""
        for companion in self._each.values():
            companion.stop()

    def crews(self) -> Iterator[Crew]:
        """All that may still have processes."""
        return itertools.chain.from_iterable(each.crews() for each in self._each.values())

    def state(self) -> dict[str, Any]:
        """What the next program goes on from."""
        return {name: companion.state() for name, companion in self._each.items()}

    def descriptors(self) -> Iterator[int]:
        """Those that are in the state."""
        return itertools.chain.from_iterable(each.descriptors() for each in self._each.values())

    def forsake(self) -> None:
        """Let go of everything, in a process that was forked for something else."""
        for companion in self._each.values():
            companion.forsake()

    def close(self) -> None:
        """End the processes at once, and let go of everything."""
        for companion in self._each.values():
            companion.close()


def _countdown(count: int, then: Then) -> Then:
    """What calls *then* when it is called for the *count*-th time."""
    left = iter(range(count - 1, -1, -1))

    def called() -> None:
        if not next(left):
            then()

    return called
