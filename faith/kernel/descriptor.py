"""Descriptors of a process: those in its state, for its successor, and those a child may keep.

An upgrade passes on the state of a thing as JSON, and the descriptors in it as what they are: open
files of the process.  Whoever makes a state marks them, and one walker finds all of them.  A child
names what it keeps, and everything else is closed.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Protocol, Self

    class Source(Protocol):
        """A holder of a descriptor: a socket, a BPF map, a netlink socket."""

        def fileno(self) -> int:
            """Return the descriptor."""


class Descriptor(int):
    """A descriptor in a state: a number in JSON, and open in the process that adopts the state."""

    __slots__ = ()

    @classmethod
    def of(cls, source: Source) -> Self:
        """Return the descriptor of *source*."""
        return cls(source.fileno())


def descriptors(state: object) -> list[Descriptor]:
    """Return the descriptors in *state*, each once, in the order in which they first appear.

    It looks into dicts, lists, tuples, dataclasses and structs of msgspec.  Other numbers are no
    descriptors.
    """
    return list(dict.fromkeys(_found(state)))


def _found(state: object) -> Iterator[Descriptor]:
    if isinstance(state, Descriptor):
        yield state
        return
    for part in _parts(state):
        yield from _found(part)


def _parts(state: object) -> list[object]:
    if isinstance(state, dict):
        return list(state.values())
    if isinstance(state, (list, tuple)):
        return list(state)
    kind = type(state)
    names: Iterable[str] = getattr(kind, "__dataclass_fields__", ())
    return [getattr(state, name) for name in getattr(kind, "__struct_fields__", names)]


def close_others(kept: Iterable[Source]) -> None:
    """In a forked process: close every descriptor but 0, 1 and 2 and those of *kept*.

    Whatever else the parent has open, a listener, a socket that owns a table, a client of the
    control socket, lives as long as its last copy.  The objects that held the others must be
    neither used nor closed any more, for another file may get their numbers: the process has to
    keep them all, as they are, and to end by `os._exit`.  Raises OSError without /proc.
    """
    spared = {0, 1, 2, *(source.fileno() for source in kept)}
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor not in spared:
            try:
                os.close(descriptor)
            except OSError:  # that of the listing
                continue
