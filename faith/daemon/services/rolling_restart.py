"""Shifts of processes that keep the settings of their start: new settings take a new shift."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

from faith.kernel.descriptor import Descriptor, descriptors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.daemon.config.policy import PolicyInputs
    from faith.daemon.config.settings import Settings
    from faith.daemon.process.worker_pool import Crew
    from faith.daemon.services.interface import Refuse, Then


class Shift(Protocol):
    """Some processes that serve by some settings, and what the supervisor holds for them."""

    crew: Crew

    def start(self, on_ready: Then) -> None:
        """Start the processes; *on_ready* is called when all serve.

        Raises SetupError, from here or from the loop.
        """

    def is_as(self, left: Any) -> bool:
        """Return whether this shift is sure to come up if the shift whose `state` is *left* did."""

    def stop(self) -> None:
        """Have the processes end; none is replaced."""

    def state(self) -> Any:
        """Return the state with which the next program makes its shift, fit for JSON."""

    def release(self) -> None:
        """Close what this process holds for the shift."""


class Shifts:
    """A companion of one shift after another.

    *make* returns a shift for some settings, or None when they ask for none.  It is also called
    with the `state` of the shift of the predecessor process, or None, and copies the descriptors in
    this state.  A shift is replaced when *by* returns another value for new settings.  It serves
    *to_the_end* of a daemon that drains, or else until the daemon stops accepting connections.
    """

    def __init__(
        self,
        make: Callable[[Settings, Any], Shift | None],
        by: Callable[[Settings], object],
        *,
        to_the_end: bool = False,
    ) -> None:
        self._make = make
        self._by = by
        self._to_the_end = to_the_end
        self._going_by: object = None
        self._prepared: tuple[object, Shift | None] | None = None
        self._now: Shift | None = None
        self._leaving: list[Shift] = []
        self._old: list[int] = []
        self._on_trial = False
        self._left: Any = None

    def set_up(self, settings: Settings, left: Any, *, on_trial: bool) -> None:
        """Make the first shift.  Raises SetupError."""
        self._on_trial = on_trial
        self._old = left["channels"] if left else []
        self._going_by = self._by(settings)
        self._left = left and left["shift"]
        self._now = self._make(settings, self._left)
        for descriptor in left["held"] if left else ():
            os.close(descriptor)

    def start(self, on_ready: Then) -> None:
        """Start it; on trial only if it might not come up."""
        if self._now is None or (self._on_trial and self._now.is_as(self._left)):
            on_ready()
        else:
            self._now.start(on_ready)

    def serve(self) -> None:
        """Have the processes of the predecessor process end."""
        for channel in self._old:
            os.close(channel)  # a sign for who is behind it
        self._old = []

    def decide_by(self, parts: PolicyInputs) -> None:
        """No policy is of interest."""

    def prepare(self, settings: Settings, on_ready: Then, on_failure: Refuse) -> None:
        """Start another shift beside the one that serves, if it has to be another."""
        by = self._by(settings)
        if by == self._going_by:
            on_ready()
            return
        shift = self._make(settings, None)
        self._prepared = by, shift
        if shift is None:
            on_ready()
        else:
            shift.crew.on_failure = on_failure
            shift.start(on_ready)

    def take(self) -> None:
        """Have the other one from now on."""
        if self._prepared:
            self._dismiss(self._now)
            self._going_by, self._now = self._prepared
            self._prepared = None

    def drop(self) -> None:
        """Go on with the one that serves."""
        if self._prepared:
            self._dismiss(self._prepared[1])
            self._prepared = None

    def stop(self) -> None:
        """Serve no more, unless it is to the end."""
        self.drop()
        if self._now and not self._to_the_end:
            self._now.stop()

    def crews(self) -> Iterator[Crew]:
        """Return the crews of all shifts that may still have processes."""
        return (shift.crew for shift in self._shifts())

    def state(self) -> Any:
        """Return the state of the current shift, and the channels to all processes, for JSON."""
        shift = self._now and self._now.state()
        members = [member for crew in self.crews() for member in crew.members]
        return {
            "shift": shift,
            "held": descriptors(shift),
            "channels": [Descriptor.of(member.channel) for member in members],
        }

    def close(self) -> None:
        """End all at once."""
        for shift in self._shifts():
            shift.crew.kill()
            shift.release()

    def _shifts(self) -> Iterator[Shift]:
        self._leaving = [shift for shift in self._leaving if shift.crew.pids]
        if self._now:
            yield self._now
        if self._prepared and self._prepared[1]:
            yield self._prepared[1]
        yield from self._leaving

    def _dismiss(self, shift: Shift | None) -> None:
        if shift:
            shift.stop()
            shift.release()
            self._leaving.append(shift)
