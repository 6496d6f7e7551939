"""The client of a running faithd's control socket."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faith.daemon.host import discovery
from faith.daemon.process.channel import JsonChannel, from_memory
from faith.errors import FaithError, SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.daemon.process.channel import Message

PATIENCE = 15.0
"""Seconds to wait for an answer."""


def ask(path: Path | None, command: str, *, patience: float = PATIENCE, **words: Any) -> Message:
    """Return the answer to *command* of the faithd at *path*, or of the only one running here.

    It may take *patience* seconds.  Raises FaithError with the daemon's message when it fails.
    """
    for message, _ in _answers(path, command, words, patience):
        return message
    raise FaithError(f"{command}: the daemon ended the connection without an answer; see its log")


def gather(path: Path | None, command: str, **words: Any) -> Iterator[tuple[Message, str]]:
    """Return all answers to *command*, each with the text of the file that came with it.

    Raises FaithError.
    """
    for message, descriptors in _answers(path, command, words):
        yield message, "".join(map(from_memory, descriptors))


def _answers(
    path: Path | None, command: str, words: Message, patience: float = PATIENCE
) -> Iterator[tuple[Message, list[int]]]:
    path = path or only()
    step = f"ask the faithd at {path}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.connect(str(path))
            channel = JsonChannel(sock)
            sock.settimeout(patience)
            channel.send({"command": command, **words})
            while received := channel.receive():
                if "error" in received[0]:
                    raise FaithError(received[0]["error"])
                yield received[:2]
    except TimeoutError as error:
        hint = "it is busy or hangs: faith status shows which"
        raise SetupError(step, f"no answer within {patience:g} s", hint) from error
    except OSError as error:
        raise SetupError(step, error.strerror or str(error), _hint(error)) from error


def _hint(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "it answers root and its own user"
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return "no daemon listens there; faith status shows those that run"
    return ""


def only() -> Path:
    """Return the control socket of the only faithd that has one.  Raises FaithError."""
    running = discovery.running()
    found = [faithd.control for faithd in running if faithd.control]
    if not found and discovery.hidden():
        raise FaithError("a faithd runs that answers root and its own user only: be one of them")
    if not found and (silent := discovery.silent(running)):
        pids = ", ".join(map(str, silent))
        raise FaithError(f"the faithd with pid {pids} does not answer: it is busy, or hangs")
    if not found:
        raise FaithError("no faithd with a control socket is running (faithd --config has one)")
    if len(found) > 1:
        raise FaithError(f"several daemons run; choose one with --control: {', '.join(found)}")
    return Path(found[0])
