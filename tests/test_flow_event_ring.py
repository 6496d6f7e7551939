"""The ring as the kernel lays it out, played by a file: what the program writes is in
tests/netns/test_flow_program.py."""

from __future__ import annotations

import mmap
import os
import struct
from typing import TYPE_CHECKING

import pytest

from faith.kernel.bpf.bpf import Map
from faith.kernel.flow.event_ring import EventRing

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = mmap.PAGESIZE
BUSY, DISCARDED = 1 << 31, 1 << 30


class Writer:
    """The kernel's side of a ring."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("ring")
        os.ftruncate(self.fd, 2 * mmap.PAGESIZE + 2 * SIZE)
        self.end = 0

    def write(self, octets: bytes, flags: int = 0) -> None:
        record = struct.pack("=II", len(octets) | flags, 0) + octets
        record += bytes(-len(record) % 8)
        for at, octet in enumerate(record, self.end):
            for copy in (0, SIZE):
                where = 2 * mmap.PAGESIZE + at % SIZE + copy
                os.pwrite(self.fd, bytes([octet]), where)
        self.end += len(record)
        os.pwrite(self.fd, struct.pack("=Q", self.end), mmap.PAGESIZE)

    def free(self) -> int:
        """How much the reader has consumed."""
        (at,) = struct.unpack("=Q", os.pread(self.fd, 8, 0))
        return SIZE - (self.end - int(at))


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def ring(writer: Writer) -> Iterator[EventRing]:
    with EventRing(Map.adopt(writer.fd), SIZE) as ring:
        yield ring


def test_records_come_in_order_and_once(writer: Writer, ring: EventRing) -> None:
    assert ring.read(10) == []
    for each in (b"first", b"second 8", b"t"):
        writer.write(each)
    assert ring.read(2) == [b"first", b"second 8"]
    assert ring.read(2) == [b"t"]
    assert ring.read(2) == []
    assert writer.free() == SIZE


def test_a_record_over_the_end_is_whole(writer: Writer, ring: EventRing) -> None:
    for number in range(3 * SIZE // 1000):
        record = bytes([number]) * 1000
        writer.write(record)
        assert ring.read(9) == [record]


def test_what_is_still_written_is_waited_for(writer: Writer, ring: EventRing) -> None:
    writer.write(b"whole")
    end = writer.end
    writer.write(b"half", BUSY)
    assert ring.read(9) == [b"whole"]
    assert writer.free() == SIZE - (writer.end - end)


def test_what_was_discarded_is_passed_over(writer: Writer, ring: EventRing) -> None:
    writer.write(b"none", DISCARDED)
    writer.write(b"some")
    assert ring.read(9) == [b"some"]


def test_a_closed_ring_has_nothing(writer: Writer) -> None:
    ring = EventRing(Map.adopt(writer.fd), SIZE)
    ring.close()
    ring.close()
    with pytest.raises(IndexError):
        ring.read(1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(writer.fd)
