"""What a contender is."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING, Protocol, Self

from bench.bed import ECHO
from bench.errors import MeasureError
from bench.usage import family
from bench.way import Way
from faith.lab import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.bed import Bed
    from bench.programs import Need

MANY = 1_000_000

_START = 30.0
_STOP = 10.0


class Contender(Protocol):
    """Something that can be started on the gateway.

    *needs* must be installed for it.  It can hold *most_sessions* without harm to the machine;
    *scales* says whether a second worker makes a difference to it.
    """

    @property
    def name(self) -> str: ...
    @property
    def needs(self) -> tuple[Need, ...]: ...
    @property
    def most_sessions(self) -> int: ...
    @property
    def scales(self) -> bool: ...

    def start(self, bed: Bed, workers: int = 1) -> Running:
        """Serve the ports of *bed*; at the return, the client reaches the origin.

        Raises MeasureError when it does not come to that.
        """


def last_words(text: str) -> str:
    """The end of what a program wrote, for an error's message."""
    return " ".join(text.split())[-200:]


class Running:
    """A contender at work: *target* is the address by which clients reach the origin.

    A context manager that ends *programs*.
    """

    def __init__(
        self, bed: Bed, target: str, programs: Sequence[subprocess.Popen[str]] = ()
    ) -> None:
        self.target = target
        self._programs = programs
        try:
            wait_until(lambda: self._serves(bed), _START, f"service at {target}")
        except BaseException:
            self.stop()
            raise

    def _serves(self, bed: Bed) -> bool:
        self._check(bed)
        if self._programs and not bed.lab.gateway.is_listening(ECHO):
            return False
        return bed.reaches_echo(self.target)

    def _check(self, bed: Bed) -> None:
        """Raises MeasureError when a program has ended."""
        for program in self._programs:
            if program.poll() is not None:
                raise MeasureError(f"it ended: {last_words(bed.written(program))}")

    def way(self, method: str, port: int) -> Way:
        """How clients get to a *port* of the origin when proxies are asked by *method*: as always.

        A proxy has something else to say of it.
        """
        return Way.plain(self.target, port)

    @property
    def programs(self) -> list[int]:
        """The processes that were started."""
        return [program.pid for program in self._programs]

    @property
    def processes(self) -> list[int]:
        """The processes that there are: the programs and their descendants."""
        return family(self.programs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the programs, and give them the time to undo what they set up."""
        for program in self._programs:
            program.send_signal(signal.SIGTERM)
        for program in self._programs:
            try:
                program.wait(_STOP)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()
