"""Memory that processes share: each writes its own part, whatever it has become."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import fcntl
import mmap
import os
import signal
from typing import TYPE_CHECKING

import pytest

from faith.kernel.descriptor import close_others
from faith.kernel.shared.leases import Leases
from faith.kernel.shared.shared_memory import SharedMemory, sealed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def status_of(body: Callable[[], object]) -> int:
    """What waitpid(2) says of a process that does *body*."""
    pid = os.fork()
    if not pid:
        faulthandler.disable()
        try:
            body()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def open_files() -> Iterator[os.stat_result]:
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            yield os.fstat(int(name))


@pytest.fixture
def memory() -> SharedMemory:
    return SharedMemory("test", 100, 3)


def test_parts_are_pages_and_shared(memory: SharedMemory) -> None:
    def write() -> None:
        memory.enter(1)
        memory.part(1)[7] = 9
        assert memory.part(0)[0] == 0

    assert memory.stride == mmap.PAGESIZE
    assert status_of(write) == 0
    assert memory.part(1)[7] == 9


@pytest.mark.parametrize("place", [0, 2])
def test_another_part_cannot_be_written(memory: SharedMemory, place: int) -> None:
    def write() -> None:
        memory.enter(1)
        memory.part(place)[0] = 1

    assert status_of(write) == -signal.SIGSEGV
    assert memory.part(place)[0] == 0


def test_who_has_no_part_reads(memory: SharedMemory) -> None:
    memory.part(2)[0] = 5

    def read() -> None:
        memory.enter(None)
        assert memory.part(2)[0] == 5
        memory.part(2)[0] = 6

    assert status_of(read) == -signal.SIGSEGV
    assert memory.part(2)[0] == 5


def test_it_cannot_be_made_writable_again(memory: SharedMemory) -> None:
    def attack() -> None:
        memory.enter(1)
        before = os.fstat(memory.fileno())
        close_others([])
        assert not any(os.path.samestat(before, one) for one in open_files())
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory.part(0)))
        libc = ctypes.CDLL(None, use_errno=True)
        writable = mmap.PROT_READ | mmap.PROT_WRITE
        refused = libc.mprotect(ctypes.c_void_p(address), memory.stride, writable)
        assert (refused, ctypes.get_errno()) == (-1, 13)

    assert status_of(attack) == 0


def test_nobody_makes_it_smaller_or_larger() -> None:
    for descriptor in (sealed("test", 4096), Leases.create([(0xC6336400, 24)]).state()):
        size = os.fstat(descriptor).st_size
        for other in (0, size - 1, size + 1):
            with pytest.raises(PermissionError):
                os.ftruncate(descriptor, other)
        assert fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK
        os.close(descriptor)
