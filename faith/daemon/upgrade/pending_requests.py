"""Requests that wait for an upgrade: the program that it leads to answers them."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from faith.daemon.process.channel import JsonChannel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.daemon.process.control_socket import Request


class Waiting:
    """Those that wait, and the descriptors *left* by the program before this one."""

    def __init__(self, left: Iterable[int] = ()) -> None:
        self._channels = [JsonChannel(socket.socket(fileno=fd)) for fd in left]

    def add(self, request: Request) -> None:
        """*request* waits, for as long as it takes."""
        self._channels.append(request.take())

    def answer(self, **fields: Any) -> None:
        """Answer all of them by *fields*."""
        for channel in self._channels:
            with suppress(OSError):  # who asked has gone
                channel.send(fields)
            channel.close()
        self._channels.clear()

    def forsake(self) -> None:
        """Let go of them, in a process that was forked for something else."""
        for channel in self._channels:
            channel.close()

    def state(self) -> list[int]:
        """Their descriptors, for the next program."""
        return [channel.fileno() for channel in self._channels]

    def descriptors(self) -> list[int]:
        """Those that are in the state."""
        return self.state()
