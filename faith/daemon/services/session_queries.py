"""The sessions of all processes that have some: listed, and ended, all that are wanted."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from faith.daemon.observe.checked_decoding import checked
from faith.daemon.process.channel import check_file
from faith.daemon.process.messages import ALL, Kill, Killed, SessionList, Sessions, Wanted
from faith.errors import ConfigError
from faith.translation.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.daemon.process.control_socket import Request
    from faith.daemon.process.loop import Loop
    from faith.daemon.process.messages import Order, Report
    from faith.daemon.process.peer import Worker
    from faith.daemon.process.reception import Handler

PATIENCE = 5.0
"""Seconds the workers have for an answer."""
_SERIAL = re.compile(r"[0-9A-Fa-f]{1,15}")


@dataclass
class _Question:
    request: Request
    asked: dict[int, str]
    """The names of the processes that have not answered yet, by their process numbers."""
    ended: int = 0
    """The sessions that have been ended."""


class SessionQueries:
    """Asks the workers of the moment of each pool that was added; `handlers` are for their answers.

    A session is called ``WORKER-SERIAL``, the serial in hexadecimal: ``2-1f3``.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._pools: list[tuple[str, Callable[[], list[Worker]]]] = []
        self._numbers = itertools.count()
        self._questions: dict[int, _Question] = {}
        self.handlers: dict[type[Report], Handler] = {
            SessionList: self._receive_sessions,
            Killed: self._receive_killed,
        }

    def add(self, workers: Callable[[], list[Worker]], letter: str = "") -> None:
        """Ask these *workers* too; their names are their numbers, behind a *letter*."""
        self._pools.append((letter, workers))

    def tell(self, request: Request) -> None:
        """Answer *request* by a file of sessions for each worker, JSON lines, as they come.

        Its words may say which, as the fields of `Wanted`.
        """
        if (wanted := _wanted(request)) is not None:
            self._ask(request, self._workers(), lambda number: Sessions(number, wanted))

    def _workers(self) -> dict[str, Worker]:
        return {
            f"{letter}{worker.number + 1}": worker
            for letter, workers in self._pools
            for worker in workers()
        }

    def kill(self, request: Request) -> None:
        """End the session that *request* names, or all that it wants, with resets to both sides.

        A session that is named is ended only if it is wanted too: another one may have got its name
        from a new worker.
        """
        if (wanted := _wanted(request)) is None:
            return
        if "session" in request.words:
            self._kill_one(request, wanted)
        elif wanted == ALL:
            request.fail("say which sessions: by their name, client, server, source or port")
        else:
            self._ask(request, self._workers(), lambda number: Kill(number, None, wanted))

    def _kill_one(self, request: Request, wanted: Wanted) -> None:
        name, _, serial = str(request.words["session"]).partition("-")
        if not _SERIAL.fullmatch(serial):
            request.fail("a session is called WORKER-SERIAL, such as 2-1f3")
            return
        which = int(serial, 16)
        workers = {one: worker for one, worker in self._workers().items() if one == name}
        self._ask(request, workers, lambda number: Kill(number, which, wanted))

    def gone(self, worker: Worker) -> None:
        """*worker* has ended: it answers nothing any more."""
        for number in list(self._questions):
            self._answered(number, worker)

    def _receive_sessions(
        self, worker: Worker, message: SessionList, descriptors: list[int]
    ) -> None:
        question = self._asked(message.question, worker)
        if not question or not descriptors:  # else it was lost: the worker "does not answer"
            return
        check_file(descriptors[0])
        question.request.tell({"worker": question.asked[worker.pid]}, descriptors)
        self._answered(message.question, worker)

    def _receive_killed(self, worker: Worker, message: Killed, descriptors: list[int]) -> None:
        question = self._asked(message.question, worker)
        if question:
            question.ended += message.ended
        self._answered(message.question, worker)

    def _asked(self, number: int, worker: Worker) -> _Question | None:
        """The question, if it is one that *worker* has yet to answer."""
        question = self._questions.get(number)
        return question if question and worker.pid in question.asked else None

    def _ask(
        self, request: Request, workers: dict[str, Worker], order: Callable[[int], Order]
    ) -> None:
        number = next(self._numbers)
        asked = {worker.pid: name for name, worker in workers.items()}
        self._questions[number] = _Question(request, asked)
        for worker in workers.values():
            worker.send(order(number))
        self._loop.later(PATIENCE, partial(self._end, number))
        if not workers:
            self._end(number)

    def _answered(self, number: int, worker: Worker) -> None:
        question = self._questions.get(number)
        if question:
            question.asked.pop(worker.pid, None)
            if not question.asked:
                self._end(number)

    def _end(self, number: int) -> None:
        question = self._questions.pop(number, None)
        if question is None:
            return
        request = question.request
        if request.words["command"] == "kill":
            _answer_kill(request, question)
        elif question.asked:
            request.fail(f"the list lacks the sessions of {_silent(question)}")
        request.end()


def selected(wanted: Wanted) -> Selection:
    """Return the selection that *wanted* means.  Raises ConfigError."""
    return Selection(**msgspec.to_builtins(wanted))


def _wanted(request: Request) -> Wanted | None:
    """Return which sessions *request* wants; None if it makes no sense, which it is answered."""
    words = {name: request.words.get(name) for name in Wanted.__struct_fields__}
    try:
        wanted = checked(msgspec.convert)(words, Wanted)
        selected(wanted)
    except (ValueError, ConfigError) as error:
        request.fail(error)
        return None
    return wanted


def _silent(question: _Question) -> str:
    """Return who has not answered, as ``worker 1, 2, which does not answer``."""
    return f"worker {', '.join(sorted(question.asked.values()))}, which does not answer"


def _answer_kill(request: Request, question: _Question) -> None:
    if question.asked:
        request.fail(f"{question.ended} sessions were ended, but not those of {_silent(question)}")
    elif "session" not in request.words:
        request.answer(ended=question.ended)
    elif question.ended:
        request.answer(killed=request.words["session"], ended=question.ended)
    else:
        request.fail("there is no such session")
