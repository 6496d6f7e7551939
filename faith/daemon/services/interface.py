"""The interface of services: what a daemon runs, each in processes of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from faith.daemon.config.policy import PolicyInputs
    from faith.daemon.config.settings import Settings
    from faith.daemon.process.worker_pool import WorkerPool
    from faith.errors import SetupError
    from faith.kernel.descriptor import Source

    Then = Callable[[], None]
    Leave = Callable[[Iterable[Source]], None]
    """Called in a process of its own, with what it keeps of the supervisor's descriptors."""
    Refuse = Callable[[SetupError], None]


class Service(Protocol):
    """A service, as the supervisor uses it; called in the order of the methods.

    Its health is that of its pools: who serves, who is late, who lacks the newest state.
    """

    def set_up(
        self, settings: Settings, policy: PolicyInputs, inherited: Any, *, on_trial: bool
    ) -> None:
        """Do every step that can fail before there is a process.  Raises FaithError.

        *inherited* is the `state` of the service in the predecessor process, or None; the service
        owns the descriptors in it.  It is *on_trial* while the predecessor process still serves,
        and is to go on.
        """

    def start(self, on_ready: Then) -> None:
        """Start the processes; *on_ready* is called when all serve, or there is nothing to do.

        Raises SetupError, from here or from the loop.
        """

    def serve(self) -> None:
        """Serve in place of the predecessor process; called once the whole daemon serves."""

    def apply_policy(self, policy: PolicyInputs) -> None:
        """Apply a new policy.  Raises FaithError when the kernel refuses a part of it."""

    def prepare(self, settings: Settings, on_ready: Then, on_failure: Refuse) -> None:
        """Prepare new settings; exactly one of the callbacks is called, now or later.

        Commit with `apply`, roll back with `drop`, which may come at any time.  Raises SetupError.
        It has two steps because all services apply new settings, or none: only some of them can
        fail, as those do that need other processes.
        """

    def apply(self) -> None:
        """Apply the settings that were prepared."""

    def drop(self) -> None:
        """Discard the settings that were prepared; a no-op when none were."""

    def stop(self) -> None:
        """Have the processes end, with what they have to record; none is replaced.

        The daemon ends when all `pools` are empty, or kills what is left.
        """

    def pools(self) -> Iterable[WorkerPool]:
        """Return all pools that may still have processes."""

    def state(self) -> Any:
        """Return the state from which the next program continues, fit for JSON: `set_up`."""

    def close(self) -> None:
        """End the processes at once, and close everything."""


def countdown(count: int, then: Then) -> Then:
    """Return a function that calls *then* when it is called for the *count*-th time."""
    left = iter(range(count - 1, -1, -1))

    def called() -> None:
        if not next(left):
            then()

    return called
