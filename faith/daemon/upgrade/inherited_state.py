"""What one program of the daemon leaves to the next.

The next one is executed in the same process, as systemd does it: the process number, its children,
its place in a terminal, a container or a unit stay, and so does every descriptor that is named
here.  The rest is JSON in memory, at a descriptor that a variable of the environment names.
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
VERSION = 4
"""Of the names and shapes in what is left; who changes one of them counts on."""

_STEP = "take over from the old program"


class Legacy:
    """What was left: *values* by their names; only to see whether it would do, if *on_trial*."""

    def __init__(self, values: Values, *, on_trial: bool) -> None:
        self._values = values
        self.on_trial = on_trial

    @classmethod
    def found(cls) -> Legacy | None:
        """What was left to this process, once; None where it is the first program.

        A process on trial is a child of who leaves.  Raises SetupError for what an older or a
        newer program has left in a shape that is not known here.
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
            return None  # left to somebody else, who gave us the variable
        if pid not in (os.getpid(), os.getppid()):
            return None
        if values.get("version") != VERSION:
            raise SetupError(_STEP, f"it leaves version {values.get('version')}, not {VERSION}")
        for one in values["descriptors"]:
            os.set_inheritable(one, False)  # a local server is to have none of them
        on_trial = pid != os.getpid()
        if on_trial:
            os.environ.pop("NOTIFY_SOCKET", None)  # the service is another's still
        return cls(values, on_trial=on_trial)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def prefixes(self, name: str) -> set[Prefix]:
        """Those that were left as text and layout."""
        return {Prefix.parse(*prefix) for prefix in self._values[name]}


def demand(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise SetupError unless all is *now* as it was *before*, for the old program."""
    for name, value in now.items():
        if before.get(name) != value:
            hint = "restart faithd to change that"
            text = f"{name}: {value or 'none'} instead of {before.get(name)}"
            raise SetupError(_STEP, text, hint)


@contextmanager
def left(values: Values, descriptors: Sequence[int]) -> Iterator[tuple[int, dict[str, str]]]:
    """*values*, and *descriptors* in them, for the next program.

    Gives a descriptor that is to be left open like those, and the environment of that program.
    """
    whole = {"version": VERSION, "pid": os.getpid(), "descriptors": descriptors, **values}
    text = json.dumps(whole)
    with in_memory(text) as descriptor:
        yield descriptor, {**os.environ, VARIABLE: str(descriptor)}
