"""Memory that processes of one daemon share, a part for each; a process may write its own alone.

The memory is a sealed file: nobody who has it can make it smaller under the others' feet.  A forked
process calls `SharedMemory.enter`; from then on what it has of the other parts can be read only,
whatever it does, so that one that was taken over breaks nobody else's.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os

_MAP_FIXED = 0x10  # asm-generic/mman-common.h
_FAILED = ctypes.c_void_p(-1).value
_WRITABLE = mmap.PROT_READ | mmap.PROT_WRITE
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_ssize_t,
]
_LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def sealed(name: str, octets: int) -> int:
    """Return the descriptor of a file of zeros in memory, which can neither shrink nor grow."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, octets)
    os.fchmod(descriptor, 0o600)  # it is not to be opened anew by who has dropped privileges
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    return descriptor


class Mapped:
    """*octets* of the file behind *descriptor*, mapped until `close` or until the process ends.

    Unlike mmap.mmap it keeps no descriptor of its own, by which they could be mapped once more, or
    whose number another file could get in a child that closes descriptors.
    """

    def __init__(
        self, descriptor: int, octets: int, offset: int = 0, *, writable: bool = True
    ) -> None:
        self.octets = octets
        protection = _WRITABLE if writable else mmap.PROT_READ
        self._address = _map(None, octets, protection, descriptor, offset)

    def close(self) -> None:
        """Unmap it.  A view of it must not be used any more: that would end the process."""
        address, self._address = self._address, 0
        if address:
            _LIBC.munmap(address, self.octets)

    def __enter__(self) -> Mapped:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def view(self) -> memoryview:
        """Return all of it."""
        return memoryview((ctypes.c_char * self.octets).from_address(self._address)).cast("B")

    def only_read(self, descriptor: int, start: int = 0, end: int = 0) -> None:
        """Have it be read only from now on, but for the octets from *start* to *end*.

        *descriptor* is of its file.  What is mapped by one that only reads can never be made
        writable again.
        """
        try:
            reading = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # without /proc it can
            reading = os.dup(descriptor)
        try:
            _map(self._address, self.octets, mmap.PROT_READ, reading, 0)
        finally:
            os.close(reading)
        if end > start:
            _map(self._address + start, end - start, _WRITABLE, descriptor, start)


class SharedMemory:
    """*parts* of so many *octets* each, at least: whole pages, which exist once written."""

    def __init__(self, name: str, octets: int, parts: int) -> None:
        self.stride = -(-octets // mmap.PAGESIZE) * mmap.PAGESIZE
        """Octets from one part to the next."""
        self._file = sealed(name, self.stride * parts)
        self._mapping = Mapped(self._file, self.stride * parts)
        self._entered = False

    def whole(self) -> memoryview:
        """Return all of it."""
        return self._mapping.view()

    def part(self, number: int) -> memoryview:
        """Return one part."""
        return self.whole()[number * self.stride : (number + 1) * self.stride]

    def fileno(self) -> int:
        """Return the descriptor of the file."""
        return self._file

    def enter(self, number: int | None) -> None:
        """In a forked process: write part *number* from now on, or none, and read the others.

        A program that writes elsewhere is killed by the kernel (SIGSEGV).  The descriptor, by which
        it could be mapped anew, is still to be closed.  A second call changes nothing.
        """
        if not self._entered:
            self._entered = True
            start = 0 if number is None else number * self.stride
            end = 0 if number is None else start + self.stride
            self._mapping.only_read(self._file, start, end)


def _map(address: int | None, octets: int, protection: int, descriptor: int, offset: int) -> int:
    """Map *descriptor*, in the place of what is at *address*; return where.  Raises OSError."""
    flags = mmap.MAP_SHARED | (0 if address is None else _MAP_FIXED)
    found: int = _LIBC.mmap(address, octets, protection, flags, descriptor, offset)
    if found == _FAILED:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return found
