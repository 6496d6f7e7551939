"""Explanations as text: plain, or in colour on a terminal that may have it."""

from __future__ import annotations

import os
import sys
import textwrap
from shutil import get_terminal_size
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.cli.explain.doctor import Check
    from faith.cli.explain.explanation import Explanation, Step

_MARKS = {"ok": "ok", "problem": "FAILS", "note": "note", "unknown": "?", "amiss": "AMISS"}
_COLOURS = {"ok": 32, "problem": 31, "note": 36, "unknown": 33, "amiss": 31}
_INDENT = 19
_LEAST = 40


def is_coloured() -> bool:
    """Return whether standard output is a terminal, and colours are wanted (NO_COLOR)."""
    usual = os.environ.get("TERM", "") not in ("", "dumb")
    return usual and sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def lines(found: Explanation) -> Iterator[str]:
    """Return *found* as lines of text, a paragraph for each step and a sentence at the end."""
    question = found.question
    port = f" port {question.port}" if question.port else ""
    by = " by a proxy" if question.proxied else ""
    yield f"{question.protocol} from {question.client} to {question.destination}{port}{by}"
    yield ""
    address = ""
    for step in found.steps:
        if step.address != address:
            address = step.address
            yield f"{address}:"
        yield from _step(step)
    yield ""
    verdict = found.verdict
    colour = {True: "ok", False: "problem", None: "unknown"}[verdict.works]
    cause = f" [{verdict.cause}]" if verdict.cause else ""
    first, *rest = _wrapped(f"{verdict.text}.{cause}", 0)
    yield _painted(first, colour)
    yield from (_painted(line, colour) for line in rest)
    if verdict.action:
        yield from _wrapped(f"What to do: {verdict.action}", 0)


def _step(step: Step) -> Iterator[str]:
    first, *rest = _wrapped(step.text, _INDENT)
    mark = _painted(f"{_MARKS[step.state]:6}", step.state)
    yield f"{step.step:11} {mark} {first}"
    indent = " " * _INDENT
    yield from (indent + line for line in rest)
    if step.where:
        yield from (indent + line for line in _wrapped(f"see: {step.where}", _INDENT))


def check_lines(checks: list[Check]) -> Iterator[str]:
    """Return the checks of the doctor as lines of text, and a sentence at the end."""
    for check in checks:
        first, *rest = _wrapped(check.text, _INDENT)
        yield f"{_painted(f'{_MARKS[check.state]:6}', check.state)} {check.check:12}{first}"
        yield from (" " * _INDENT + line for line in rest)
        if check.action:
            yield from (" " * _INDENT + line for line in _wrapped(f"do: {check.action}", _INDENT))
    amiss = sum(check.state == "amiss" for check in checks)
    yield ""
    if amiss:
        yield _painted(f"{amiss} of {len(checks)} checks found something amiss.", "problem")
    else:
        yield _painted(f"All {len(checks)} checks are good.", "ok")


def _wrapped(text: str, indent: int) -> list[str]:
    """Return *text* in lines that fit the terminal; a pipe gets one long line."""
    if not sys.stdout.isatty():
        return [text]
    width = max(get_terminal_size().columns - indent, _LEAST)
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False) or [""]


def _painted(text: str, state: str) -> str:
    return f"\033[{_COLOURS[state]}m{text}\033[0m" if is_coloured() else text
