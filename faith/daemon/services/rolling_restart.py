"""The rolling restart: processes that need a new start get successors, and end when these serve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from faith.daemon.process.messages import Stop
from faith.daemon.upgrade.draining import DrainingWorkers, as_left

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.daemon.config.policy import PolicyInputs
    from faith.daemon.process.loop import Loop
    from faith.daemon.process.worker_pool import WorkerPool
    from faith.daemon.services.interface import Refuse, Then

S = TypeVar("S")
"""The settings that groups are made of."""


class ProcessGroup:
    """Processes that were started by the same settings, and what the supervisor holds for them.

    The methods are those of processes that keep the settings of their start, that no policy
    concerns, and for which nothing is held.
    """

    def __init__(self, pool: WorkerPool, workers: int = 1) -> None:
        self.pool = pool
        self._workers = workers

    def start(self, on_ready: Then, on_failure: Refuse | None = None) -> None:
        """Fork the processes; *on_ready* is called when all serve.

        Raises SetupError, from here or from the loop; *on_failure* is called instead of the latter.
        """
        self.pool.start(self._workers, on_ready, on_failure)

    def is_as(self, inherited: Any) -> bool:
        """Return whether it is sure to come up if the group whose `state` is *inherited* did."""
        return True

    def relieve(self, others: DrainingWorkers) -> None:
        """Have the processes of the predecessor process, *others*, end."""
        others.pool.tell(Stop())

    def serve(self) -> None:
        """Have the processes serve, where they wait for the end of the predecessor process."""
        return

    def steer(self, policy: PolicyInputs) -> None:
        """Steer to the processes what *policy* says; the group is the one that serves."""
        return

    def apply_policy(self, policy: PolicyInputs) -> None:
        """Have the processes apply *policy*; called before the start as well."""
        return

    def apply_settings(self, settings: Any) -> None:
        """Have the processes apply *settings*, which need no restart."""
        return

    def state(self) -> Any:
        """Return the state with which the next program makes its group, fit for JSON."""
        raise NotImplementedError

    def release(self) -> None:
        """Close what this process holds for the group; a no-op the second time."""
        return

    def dismiss(self) -> None:
        """Have the processes end; none is replaced."""
        self.release()
        self.pool.tell(Stop())
        self.pool.retire()


class _Prepared(NamedTuple):
    settings: Any
    restarts: bool
    group: ProcessGroup | None


class RollingRestart(Generic[S]):
    """A service of one process group after another.

    *make* returns a group for some settings, or None when they ask for none.  It is also called
    with the `state` of the group of the predecessor process, or None, and owns the descriptors in
    it.  Settings with an equal *key* need no restart.  It serves as long as there are
    sessions, while the daemon drains too.
    """

    def __init__(
        self,
        loop: Loop,
        make: Callable[[S, Any], ProcessGroup | None],
        key: Callable[[S], object],
    ) -> None:
        self._make = make
        self._key = key
        self._key_now: object = None
        self._policy: PolicyInputs | None = None
        self._prepared: _Prepared | None = None
        self._now: ProcessGroup | None = None
        self._leaving: list[ProcessGroup] = []
        self._draining = DrainingWorkers(loop, {})
        self._on_trial = False
        self._inherited: Any = None

    def set_up(
        self,
        settings: S,
        policy: PolicyInputs | None = None,
        inherited: Any = None,
        *,
        on_trial: bool = False,
    ) -> None:
        """Make the first group.  Raises SetupError."""
        self._on_trial = on_trial
        if inherited and not on_trial:
            self._draining.adopt(inherited["workers"])
        self._inherited = inherited and inherited["group"]
        self._key_now = self._key(settings)
        self._now = self._make(settings, self._inherited)
        if policy is not None:
            self.apply_policy(policy)

    @property
    def group(self) -> ProcessGroup | None:
        """The group that serves."""
        return self._now

    def start(self, on_ready: Then) -> None:
        """Start the group; on trial only if it might not come up."""
        if self._now is None or (self._on_trial and self._now.is_as(self._inherited)):
            on_ready()
        else:
            self._now.start(on_ready)

    def serve(self) -> None:
        """Serve in place of the processes of the predecessor process: these hand over, or end."""
        if self._now:
            self._now.relieve(self._draining)
            self._now.serve()
        else:
            self._draining.pool.tell(Stop())

    def apply_policy(self, policy: PolicyInputs) -> None:
        """Apply another policy."""
        self._policy = policy
        if self._on_trial:
            return
        if self._now:
            self._now.steer(policy)
        for group in self._groups():
            group.apply_policy(policy)

    def prepare(self, settings: S, on_ready: Then, on_failure: Refuse) -> None:
        """Start another group beside the one that serves, if it has to be another."""
        if self._key(settings) == self._key_now:
            self._prepared = _Prepared(settings, False, None)
            on_ready()
            return
        group = self._make(settings, None)
        self._prepared = _Prepared(settings, True, group)
        if group is None:
            on_ready()
        else:
            if self._policy is not None:
                group.apply_policy(self._policy)
            group.start(on_ready, on_failure)

    def apply(self) -> None:
        """Have the new group serve instead of the other, or this one by the new settings."""
        if self._prepared is None:
            return
        settings, restarts, group = self._prepared
        self._prepared = None
        if restarts:
            self._dismiss(self._now)
            self._now, self._key_now = group, self._key(settings)
            if group and self._policy is not None:
                group.steer(self._policy)
        elif self._now:
            self._now.apply_settings(settings)

    def drop(self) -> None:
        """Go on with the group that serves."""
        if self._prepared:
            self._dismiss(self._prepared.group)
            self._prepared = None

    def stop(self) -> None:
        """Have all processes end, with what they have to record."""
        self.drop()
        self._draining.pool.tell(Stop())
        self._dismiss(self._now)
        self._now = None

    def pools(self) -> Iterator[WorkerPool]:
        """Yield the pools of all groups that may still have processes."""
        yield self._draining.pool
        for group in self._groups():
            yield group.pool

    def state(self) -> Any:
        """Return the state of the group that serves, and all processes, fit for JSON."""
        workers = [worker for pool in self.pools() for worker in pool.workers]
        return {"group": self._now and self._now.state(), "workers": as_left(workers)}

    def close(self) -> None:
        """End all at once."""
        for pool in self.pools():
            pool.kill()
        for group in self._groups():
            group.release()

    def _groups(self) -> Iterator[ProcessGroup]:
        self._leaving = [group for group in self._leaving if group.pool.pids]
        if self._now:
            yield self._now
        if self._prepared and self._prepared.group:
            yield self._prepared.group
        yield from self._leaving

    def _dismiss(self, group: ProcessGroup | None) -> None:
        if group:
            group.dismiss()
            self._leaving.append(group)
