"""A ring buffer of BPF (MAP_RING, Linux 5.8), read without a library.

The first page has the position of the reader and may be written; then come the page with the
position of the writer and the data, which appear twice in a row, so that no record is cut.  Each
record begins with its length in 32 bits, of which two say that it is not yet written, or never will
be, and with 32 bits for the kernel.
"""

from __future__ import annotations

import mmap
import sys
from typing import TYPE_CHECKING

from faith.kernel.shared.shared_memory import Mapped

if TYPE_CHECKING:
    from typing import Any, Self

    from faith.kernel.bpf.bpf import Map

_BUSY, _DISCARDED = 1 << 31, 1 << 30  # uapi/linux/bpf.h: BPF_RINGBUF_BUSY_BIT, ..._DISCARD_BIT
_HEADER = 8
_ORDER = sys.byteorder


class EventRing:
    """A ring of *octets* behind *ring*: a power of 2, in whole pages."""

    def __init__(self, ring: Map, octets: int) -> None:
        self._map = ring
        self._mask = octets - 1
        page = mmap.PAGESIZE
        self._reader = Mapped(ring.fd, page)
        self._writer = Mapped(ring.fd, page + 2 * octets, page, writable=False)
        self._at = self._reader.view()[:8].cast("Q")
        self._end = self._writer.view()[:8].cast("Q")
        self._data = self._writer.view()[page:]

    def state(self) -> Any:
        """Return the state that an upgrade passes to the successor process."""
        return self._map.state()

    def fileno(self) -> int:
        """Return the descriptor, which is readable while there are records."""
        return self._map.fd

    def close(self) -> None:
        """Close the descriptor.  A second call does nothing."""
        self._at = self._end = self._data = memoryview(b"")
        self._reader.close()
        self._writer.close()
        self._map.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def read(self, most: int) -> list[bytes]:
        """Consume at most *most* records and return them, oldest first."""
        found: list[bytes] = []
        at, end, data = self._at[0], self._end[0], self._data
        while at < end and len(found) < most:
            start = at & self._mask
            length = int.from_bytes(data[start : start + 4], _ORDER)
            if length & _BUSY:
                break
            octets = length & ~_DISCARDED
            start += _HEADER
            if not length & _DISCARDED:
                found.append(bytes(data[start : start + octets]))
            at += _HEADER + octets + (-octets % 8)
        self._at[0] = at
        return found
