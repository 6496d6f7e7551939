"""Commands: a line of the client's, and why it may get no further."""

from __future__ import annotations

import re
from typing import NamedTuple

from faith.errors import FaithError

_COMMAND = re.compile(rb"[ \t]*([!-~]+)(?:[ \t](.*))?", re.DOTALL)
_NUL = re.compile(rb"(?<!\r)\0")


class CommandRefused(FaithError):
    """A command that does not go to the server: *reply* says so to the client.

    *log* is what the operator should hear of it, with *detail*; "" for what is no more than a
    mistake.
    """

    def __init__(self, reply: str, log: str = "", detail: str = "") -> None:
        super().__init__(reply)
        self.reply = reply
        self.log = log
        self.detail = detail


class Command(NamedTuple):
    """A command: its *verb* in upper case, and its *argument* without the blanks around it."""

    verb: bytes
    argument: bytes


def read(line: bytes) -> Command:
    """The command on a line.  Raises CommandRefused for what the server might understand otherwise.

    A server may stop at a line feed or a NUL, and may drop octets in front of a verb: there must
    be no command in a command.  CR NUL is good: RFC 2640 §3.1 has it for a CR in a path.
    """
    text = line.removesuffix(b"\n").rstrip(b"\r")
    if b"\n" in text:
        raise CommandRefused("501 No line feed in a command, please", "a line feed in a command")
    if _NUL.search(text):
        raise CommandRefused("501 No NUL in a command, please", "a NUL in a command")
    found = _COMMAND.fullmatch(text)
    if found is None:
        raise CommandRefused("500 Syntax error, command unrecognized")
    return Command(found[1].upper(), (found[2] or b"").strip(b" \t"))
