"""The workers of the predecessor process, until they have handed over their sessions."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, NoReturn

from faith.daemon.process.channel import Channel
from faith.daemon.process.worker_pool import Crew, Member

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from faith.daemon.process.channel import Message
    from faith.daemon.process.loop import Loop
    from faith.daemon.process.worker_pool import Hearing


class Predecessors:
    """The old workers, which still are children of this process.

    *hearings* handle their messages.
    """

    def __init__(self, loop: Loop, hearings: Mapping[str, Hearing]) -> None:
        self.crew = Crew(loop, _forks_none, {**_LATE, **hearings}, "old worker")

    def adopt(self, left: Iterable[Sequence[int]]) -> None:
        """Adopt the workers that :func:`as_left` described."""
        self.crew.adopt(
            Member(number, pid, Channel(socket.socket(fileno=fd)), time.monotonic(), ready=True)
            for number, pid, fd in left
        )

    def hand_over(self, heirs: Sequence[Member]) -> Iterator[tuple[Member, Member]]:
        """Make each old worker hand over to one of *heirs*, and end; returns the pairs."""
        for old in self.crew.members:
            heir = heirs[old.number % len(heirs)]
            yield old, heir
            with ExitStack() as both, suppress(BrokenPipeError):  # it has ended, and will be reaped
                giving, taking = map(
                    both.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                )
                heir.channel.send({"kind": "take"}, [taking.fileno()])
                old.channel.send({"kind": "give"}, [giving.fileno()])


def as_left(members: Iterable[Member]) -> list[list[int]]:
    """Return *members* for an upgrade, fit for JSON: number, process and descriptor of each."""
    return [[member.number, member.pid, member.channel.fileno()] for member in members]


def _ignore(member: Member, message: Message, descriptors: list[int]) -> None:
    """Ignore an answer to a question of the predecessor process."""


_LATE: dict[str, Hearing] = {"sessions": _ignore, "killed": _ignore}


def _forks_none(number: int, channel: Any) -> NoReturn:
    raise AssertionError("the workers of another program are not replaced")
