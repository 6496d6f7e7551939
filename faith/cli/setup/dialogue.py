"""The dialogue of ``faith setup``: asks each question until its answer is accepted."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import textwrap
from typing import TYPE_CHECKING

from faith.cli.setup.questions import QUESTIONS
from faith.cli.setup.template import NO, YES, understood
from faith.errors import ConfigError, FaithError

if TYPE_CHECKING:
    from faith.cli.setup.host_facts import Host
    from faith.cli.setup.questions import Question
    from faith.cli.setup.template import Answers

_WIDEST = 79


def without_asking(host: Host) -> Answers:
    """Return the proposed answers.  Raises ConfigError if one is not acceptable on this host."""
    answers: Answers = {}
    for question in QUESTIONS:
        if question.applies(host, answers) and not question.repeated:
            try:
                answers = question.accept(host, answers, question.proposal(host, answers))
            except ConfigError as error:
                raise ConfigError(f"{question.asks}: {error.message}") from error
    return answers


def by_asking(host: Host) -> Answers:
    """Return the answers given on standard input.  Raises FaithError at its end."""
    answers: Answers = {}
    for question in QUESTIONS:
        if question.applies(host, answers):
            tell(f"\n{textwrap.fill(question.about, _width())}")
            answers = _asked(host, answers, question)
    return answers


def agreed(question: str) -> bool:
    """Return whether the answer to *question* is yes, the default.  Raises FaithError."""
    while True:
        answer = understood(_hear(question, YES))
        if answer in (YES, NO):
            return answer == YES
        tell(f"  {YES} or {NO}, y or n")


def tell(text: str) -> None:
    """Print a text that is not part of the result."""
    print(text, file=sys.stderr)


def _width() -> int:
    """Return the columns that a text may have in this terminal."""
    return max(20, min(shutil.get_terminal_size().columns - 1, _WIDEST))


def _asked(host: Host, answers: Answers, question: Question) -> Answers:
    """Return *answers* with those to *question*."""
    proposal = question.proposal(host, answers)
    while True:
        answer = _hear(question.asks, proposal)
        if question.repeated and not answer:
            return answers
        try:
            answers = question.accept(host, answers, answer)
        except ConfigError as error:
            tell(textwrap.indent(textwrap.fill(error.message, _width() - 2), "  "))
            continue
        if not question.repeated:
            return answers


def _hear(asks: str, proposal: str) -> str:
    proposed = f" [{proposal}]" if proposal else ""
    print(f"{asks}{proposed}: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.isatty():
        _wait_for_a_line()
    line = sys.stdin.readline()
    if not line:
        raise FaithError("standard input ended before the last answer; nothing was written")
    return line.strip() or proposal


def _wait_for_a_line() -> None:
    """Wait for input, so that Ctrl-C ends the wait: just before read(2) it would be handled too
    late."""
    heard, told = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.set_wakeup_fd(told)
    try:
        select.select([sys.stdin, heard], [], [])
    finally:
        signal.set_wakeup_fd(before)
        os.close(heard)
        os.close(told)
