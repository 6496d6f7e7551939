"""An explanation: a question, the steps of its connection's way, and a verdict."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

SCHEMA = 1
"""The version of the JSON form."""

State = Literal["ok", "problem", "note", "unknown"]

WORKS, FAILS, USAGE, UNCERTAIN = 0, 1, 2, 3
"""Exit statuses of the command."""


class Step(Struct, frozen=True):
    """A step of the way: *text* says what happens, *where* the file and line or the command that
    shows it, *action* what to do about it.

    A problem has the *cause* that it is, of `causes.CAUSES`; it is *certain* if the evidence is
    conclusive.  *address* is that of the server which it is about, where a proxy has several.
    """

    step: str
    state: State
    text: str
    where: str = ""
    action: str = ""
    cause: str | None = None
    certain: bool = True
    address: str = ""


class Question(Struct, frozen=True):
    """A connection of *client* to *port* of *destination*, which is as it was asked for.

    *protocol* is tcp, udp or icmp; a ping has port 0.  *proxied* says that the client asks a proxy.
    """

    client: str
    destination: str
    port: int
    protocol: str
    proxied: bool = False


class Verdict(Struct, frozen=True):
    """The end of an explanation: a sentence, and what to do.

    *works* is None where it cannot be said.
    """

    works: bool | None
    cause: str | None
    certain: bool
    text: str
    action: str = ""


class Explanation(Struct, frozen=True):
    """A whole explanation."""

    question: Question
    steps: list[Step]
    verdict: Verdict
    schema: int = field(default=SCHEMA)

    @property
    def exit_status(self) -> int:
        """The exit status of the command."""
        return {True: WORKS, False: FAILS, None: UNCERTAIN}[self.verdict.works]


def ok(step: str, text: str, where: str = "") -> Step:
    """Return a step at which all is well."""
    return Step(step, "ok", text, where)


def note(step: str, text: str, where: str = "", action: str = "") -> Step:
    """Return a step with something worth knowing."""
    return Step(step, "note", text, where, action)


def unknown(step: str, text: str, action: str = "") -> Step:
    """Return a step about which nothing could be found out."""
    return Step(step, "unknown", text, action=action)


def problem(
    step: str, cause: str, text: str, where: str = "", action: str = "", *, certain: bool = True
) -> Step:
    """Return a step at which the connection fails; *certain* if the evidence is conclusive."""
    return Step(step, "problem", text, where, action, cause, certain)
