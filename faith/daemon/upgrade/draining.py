"""The workers of the program before this one, until they have handed over."""

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

    *hearings* are called with what they ask for.
    """

    def __init__(self, loop: Loop, hearings: Mapping[str, Hearing]) -> None:
        self.crew = Crew(loop, _forks_none, {**_LATE, **hearings}, "old worker")

    def adopt(self, left: Iterable[Sequence[int]]) -> None:
        """Have those that :func:`as_left` described."""
        self.crew.adopt(
            Member(number, pid, Channel(socket.socket(fileno=fd)), time.monotonic(), ready=True)
            for number, pid, fd in left
        )

    def hand_over(self, heirs: Sequence[Member]) -> Iterator[tuple[Member, Member]]:
        """Have each of them hand over to the one of *heirs* in its place, and end; gives both."""
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
    """*members* for the next program, fit for JSON: number, process, descriptor of each."""
    return [[member.number, member.pid, member.channel.fileno()] for member in members]


def _ignore(member: Member, message: Message, descriptors: list[int]) -> None:
    """An answer to a question of the old program's."""


_LATE: dict[str, Hearing] = {"sessions": _ignore, "killed": _ignore}


def _forks_none(number: int, channel: Any) -> NoReturn:
    raise AssertionError("the workers of another program are not replaced")
