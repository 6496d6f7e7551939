"""A long cable: every packet takes its time, and some are lost.

Two TUN devices and a thread between them, for kernels without netem.  Packets cross one by one,
none larger than the MTU, as they would cross a real network.
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.lab import Host

QUEUE = 10_000
"""Packets under way at most; what comes then is lost."""

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 1, 0x1000
_LONGEST = 65536


class Distance(NamedTuple):
    """*delay*: seconds one way; *loss*: the share of packets that is lost, in each direction."""

    delay: float
    loss: float


class DelayLine:
    """Joins two hosts as :meth:`faith.lab.Network.link` does, at a *distance*.

    The same *seed* loses the same packets of the same traffic.  A context manager; raises
    SetupError and OSError.
    """

    def __init__(
        self,
        near: Host,
        far: Host,
        near_addresses: Iterable[str],
        far_addresses: Iterable[str],
        distance: Distance,
        seed: int = 0,
    ) -> None:
        self._distance = distance
        self._random = random.Random(seed)
        self._under_way: deque[tuple[float, int, bytes]] = deque()
        self._stop = os.eventfd(0)
        ends = [
            _attach(host, f"to-{peer.name}", addresses)
            for host, peer, addresses in ((near, far, near_addresses), (far, near, far_addresses))
        ]
        self._ends = dict(zip(ends, reversed(ends), strict=True))
        self._thread = threading.Thread(target=self._carry, name="delay line", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        for descriptor in (*self._ends, self._stop):
            os.close(descriptor)

    def _carry(self) -> None:
        watched = [*self._ends, self._stop]
        while True:
            wait = max(0.0, self._under_way[0][0] - time.monotonic()) if self._under_way else None
            ready, _, _ = select.select(watched, [], [], wait)
            if self._stop in ready:
                return
            for end in ready:
                self._take(end)
            self._deliver()

    def _take(self, end: int) -> None:
        due = time.monotonic() + self._distance.delay
        with suppress(BlockingIOError):
            while True:
                packet = os.read(end, _LONGEST)
                if len(self._under_way) < QUEUE and self._random.random() >= self._distance.loss:
                    self._under_way.append((due, self._ends[end], packet))

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._under_way and self._under_way[0][0] <= now:
            _, end, packet = self._under_way.popleft()
            with suppress(OSError):  # the host does not take it: lost
                os.write(end, packet)


def _attach(host: Host, device: str, addresses: Iterable[str]) -> int:
    descriptor = host.call(_open, device)
    host.links.up(device)
    for address in addresses:
        host.links.add_address(device, address)
    return descriptor


def _open(device: str) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    request = struct.pack("16sH22x", device.encode(), _IFF_TUN | _IFF_NO_PI)
    fcntl.ioctl(descriptor, _TUNSETIFF, request)
    return descriptor
