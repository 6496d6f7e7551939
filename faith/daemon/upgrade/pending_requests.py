"""Control requests that wait for an upgrade: the successor process answers them."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from faith.daemon.process.channel import JsonChannel
from faith.kernel.descriptor import Descriptor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.daemon.process.control_socket import Request


class PendingRequests:
    """The pending requests, by the *channels* of those who wait for an answer."""

    def __init__(self, channels: Iterable[JsonChannel] = ()) -> None:
        self._channels = list(channels)

    @classmethod
    def adopt(cls, state: Iterable[int]) -> PendingRequests:
        """Adopt the requests whose `state` the predecessor process left."""
        return cls(JsonChannel(socket.socket(fileno=fd)) for fd in state)

    def add(self, request: Request) -> None:
        """Add *request*, to be answered when the upgrade has ended."""
        self._channels.append(request.take())

    def answer(self, **fields: Any) -> None:
        """Answer all requests with *fields*."""
        for channel in self._channels:
            with suppress(OSError):  # the client has gone
                channel.send(fields)
            channel.close()
        self._channels.clear()

    def state(self) -> list[Descriptor]:
        """Return the descriptors, for an upgrade."""
        return [Descriptor.of(channel) for channel in self._channels]
