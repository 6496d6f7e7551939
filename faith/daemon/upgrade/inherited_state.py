"""The state that one program of the daemon passes to the next.

The next program is executed in the same process, as systemd does with itself: the process number,
its children, its place in a terminal, a container or a unit stay, and so does every descriptor that
is listed here.  The rest is JSON in memory, in a descriptor named by an environment variable.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from faith.daemon.process.channel import in_memory
from faith.errors import SetupError
from faith.translation.prefix import Prefix

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Values = dict[str, Any]

VARIABLE = "FAITH_LEGACY"
VERSION = 8
"""The version of the names and shapes in the state; a change of any of them increases it."""

_STEP = "adopt the state of the old program"


class InheritedState:
    """The inherited state: *values* by name; *on_trial* says that it will not be used to serve."""

    def __init__(self, values: Values, *, on_trial: bool) -> None:
        self._values = values
        self.on_trial = on_trial

    @classmethod
    def found(cls) -> InheritedState | None:
        """Return the state passed to this process; None in the first program, and in a second call.

        A process on trial is a child of the one that passes it.  Raises SetupError for state of
        another program version in an unknown shape.
        """
        number = os.environ.pop(VARIABLE, "")
        if not number.isdigit():
            return None
        try:
            descriptor = int(number)
            text = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
            os.close(descriptor)
            values = json.loads(text)
            pid = values["pid"]
        except (OSError, ValueError, LookupError, TypeError):
            return None  # meant for another process, from which this one has the variable
        if pid not in (os.getpid(), os.getppid()):
            return None
        if values.get("version") != VERSION:
            raise SetupError(
                _STEP, f"the inherited state has version {values.get('version')}, not {VERSION}"
            )
        for one in values["descriptors"]:
            os.set_inheritable(one, False)  # local servers must not inherit them
        on_trial = pid != os.getpid()
        if on_trial:
            os.environ.pop("NOTIFY_SOCKET", None)  # the service belongs to another process still
        return cls(values, on_trial=on_trial)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def of_service(self, name: str) -> Any:
        """Return the state of a service; None if the predecessor process had no such service."""
        return self._values.get(name)

    def prefixes(self, name: str) -> set[Prefix]:
        """Return the prefixes that are stored as text and layout."""
        return {Prefix.parse(*prefix) for prefix in self._values[name]}


def demand(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise SetupError unless all is *now* as it was *before*, in the predecessor process."""
    for name, value in now.items():
        if before.get(name) != value:
            hint = "restart faithd to change that"
            text = f"{name}: {value or 'none'} instead of {before.get(name)}"
            raise SetupError(_STEP, text, hint)


@contextmanager
def left(values: Values, descriptors: Sequence[int]) -> Iterator[tuple[int, dict[str, str]]]:
    """Store *values*, and the list of *descriptors* in them, for the next program.

    Gives a descriptor to be left open like those, and the environment for that program.
    """
    whole = {"version": VERSION, "pid": os.getpid(), "descriptors": descriptors, **values}
    text = json.dumps(whole)
    with in_memory(text) as descriptor:
        yield descriptor, {**os.environ, VARIABLE: str(descriptor)}
