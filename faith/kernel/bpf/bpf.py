"""The bpf(2) system call without a library: maps, programs and links, each an open descriptor.

Every object lives as long as a descriptor refers to it (a link or a program keeps its maps).
Descriptors are close-on-exec.  Needs Linux 5.9 or later, which has the sk_lookup hook.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from faith.kernel import text_file
from faith.kernel.descriptor import Descriptor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Self

# uapi/linux/bpf.h
_MAP_CREATE, _MAP_UPDATE, _MAP_DELETE, _PROG_LOAD, _LINK_CREATE, _LINK_UPDATE = 0, 2, 3, 5, 28, 29
_INFO = 15
_LINK_INFO = struct.Struct("=16xI4x")  # struct bpf_link_info, of which netns_ino
_MAP_NEXT_KEY, _PIN, _FROM_PIN, _MAP_UPDATE_BATCH, _MAP_DELETE_BATCH = 4, 6, 7, 26, 27
MAP_HASH, MAP_ARRAY, MAP_LRU_HASH, MAP_LPM_TRIE, MAP_SOCKMAP, MAP_SOCKHASH = 1, 2, 9, 11, 15, 18
MAP_RING = 27
PROGRAM_TC, PROGRAM_SK_LOOKUP = 3, 30
ATTACH_SK_LOOKUP, ATTACH_TC_INGRESS = 36, 46
NO_PREALLOC = 1  # MAP_LPM_TRIE requires it
MMAPABLE = 1 << 10

# the last is ENOTSUPP, which user space has no name for
_NO_BATCH = (errno.EINVAL, errno.EOPNOTSUPP, 524)

_LICENCE = b"BSD"  # no helper in use is reserved for GPL programs
_LOG_SIZE = 1 << 24  # a shorter one is an error of its own (ENOSPC) before Linux 6.4
_LOG_SHOWN = 4000

# By machine: the number for 32-bit and for 64-bit processes, 0 where there is none.
_SYSCALLS = {
    "x86_64": (357, 321),
    "i386": (357, 0),
    "i486": (357, 0),
    "i586": (357, 0),
    "i686": (357, 0),
    "aarch64": (386, 280),
    "armv6l": (386, 0),
    "armv7l": (386, 0),
    "armv8l": (386, 0),
    "riscv64": (0, 280),
    "loongarch64": (0, 280),
    "ppc64le": (0, 361),
    "ppc64": (361, 361),
    "s390x": (0, 351),
}


class VerifierError(OSError):
    """The kernel's verifier refused a program; *log* is the output of the verifier."""

    def __init__(self, number: int, log: str) -> None:
        super().__init__(number, f"the BPF verifier refused the program:\n{log[-_LOG_SHOWN:]}")
        self.log = log


def syscall_number(machine: str, bits: int) -> int:
    """Return the number of bpf(2) on *machine* (as in uname(2)) for a process of *bits* (32 or 64).

    Raises OSError (ENOSYS) for a machine whose number is not known.
    """
    number = _SYSCALLS.get(machine, (0, 0))[bits == 64]
    if not number:
        raise OSError(errno.ENOSYS, f"the number of bpf(2) on {machine} ({bits} bits) is not known")
    return number


class Object:
    """A BPF object by its descriptor, closed by `close` or at the end of a ``with`` block."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def adopt(cls, state: Any) -> Self:
        """Adopt the object whose `state` the predecessor process left."""
        return cls(state)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self.fd

    def state(self) -> Any:
        """Return the state that an upgrade passes to the successor process, fit for JSON."""
        return Descriptor(self.fd)

    def close(self) -> None:
        """Close the descriptor; the kernel frees an object that nothing refers to any more.

        A second call does nothing.
        """
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class Map(Object):
    """A BPF map; keys and values are octets of the sizes it was made with.

    The methods raise OSError.
    """

    @classmethod
    def create(
        cls, kind: int, name: str, *, key: int, value: int, entries: int, flags: int = 0
    ) -> Self:
        """Make a map of *kind*; *name* is at most 15 letters, digits or underscores."""
        attributes = struct.pack("=7I16s", kind, key, value, entries, flags, 0, 0, name.encode())
        return cls(_bpf(_MAP_CREATE, attributes))

    def entries(self) -> int:
        """Return how many entries the map was made for."""
        for line in text_file.read_leniently(f"/proc/self/fdinfo/{self.fd}").splitlines():
            if line.startswith("max_entries:"):
                return int(line.split()[1])
        raise OSError(errno.EINVAL, f"descriptor {self.fd} is no BPF map")

    def update(self, key: bytes, value: bytes) -> None:
        """Set *key* to *value*."""
        _bpf(_MAP_UPDATE, struct.pack("=I4xQQQ", self.fd, _address(key), _address(value), 0))

    def update_all(self, values: dict[bytes, bytes]) -> None:
        """Set every key of *values*, in one call where the kernel has batches for this
        kind of map."""
        if not values:
            return
        keys, octets = b"".join(values), b"".join(values.values())
        # in_batch, out_batch, keys, values, count, map_fd, elem_flags, flags
        attributes = struct.pack(
            "=QQQQIIQQ", 0, 0, _address(keys), _address(octets), len(values), self.fd, 0, 0
        )
        try:
            _bpf(_MAP_UPDATE_BATCH, attributes)
        except OSError as error:
            if error.errno not in _NO_BATCH:
                raise
            for key, value in values.items():
                self.update(key, value)

    def delete(self, key: bytes) -> None:
        """Remove *key*; raises OSError (ENOENT) when it is not in the map."""
        _bpf(_MAP_DELETE, struct.pack("=I4xQQQ", self.fd, _address(key), 0, 0))

    def delete_all(self, keys: list[bytes]) -> None:
        """Remove *keys*, in one call where the kernel has batches for this kind of map.

        Keys that are not in the map are passed over.
        """
        while keys:
            octets = b"".join(keys)
            # as in `update_all`; the kernel puts the number of keys it removed in place of count
            attributes = bytearray(
                struct.pack("=QQQQIIQQ", 0, 0, _address(octets), 0, len(keys), self.fd, 0, 0)
            )
            try:
                _bpf(_MAP_DELETE_BATCH, attributes)
                return
            except FileNotFoundError:  # it stops there
                (done,) = struct.unpack_from("=I", attributes, 32)
                keys = keys[done + 1 :]
            except OSError as error:
                if error.errno not in _NO_BATCH:
                    raise
                for key in keys:
                    with suppress(FileNotFoundError):
                        self.delete(key)
                return

    def keys(self, size: int) -> Iterator[bytes]:
        """Return the keys, which have *size* octets each.

        The map must not change meanwhile.
        """
        key, where = b"", 0
        found = bytearray(size)
        while True:
            octets = (ctypes.c_char * size).from_buffer(found)
            attributes = struct.pack("=I4xQQQ", self.fd, where, ctypes.addressof(octets), 0)
            try:
                _bpf(_MAP_NEXT_KEY, attributes)
            except FileNotFoundError:
                return
            key = bytes(found)
            where = _address(key)
            yield key


_TRIES = 9
"""Times that a load is begun anew, because a signal has interrupted the verifier (EAGAIN)."""


def load(kind: int, name: str, code: bytes, attach: int) -> Object:
    """Load the program *code*, for the attach type *attach*.

    Raises VerifierError when the verifier refuses it, and OSError when the kernel refuses it
    before.
    """
    try:
        return _load(kind, name, code, attach, None)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EINVAL):
            raise
    # the log costs time: it is written only after a failure
    log = ctypes.create_string_buffer(_LOG_SIZE)
    try:
        return _load(kind, name, code, attach, log)
    except OSError as error:
        if not log.value:  # an older kernel refuses this program type unverified
            raise
        raise VerifierError(error.errno, log.value.decode(errors="replace")) from None


def _load(
    kind: int,
    name: str,
    code: bytes,
    attach: int,
    log: ctypes.Array[ctypes.c_char] | None,
    level: int = 1,
) -> Object:
    level, size, where = (level, len(log), ctypes.addressof(log)) if log else (0, 0, 0)
    attributes = struct.pack(
        "=IIQQIIQII16sII",
        kind,
        len(code) // 8,
        _address(code),
        _address(_LICENCE),
        level,
        size,
        where,
        0,
        0,
        name.encode(),
        0,
        attach,
    )
    for _ in range(_TRIES):
        with suppress(BlockingIOError):
            return Object(_bpf(_PROG_LOAD, attributes))
    return Object(_bpf(_PROG_LOAD, attributes))


def link(program: Object, target: int, attach: int) -> Object:
    """Attach *program* to *target*: the descriptor of a network namespace, or, for the ingress of
    an interface (ATTACH_TC_INGRESS, Linux 6.6), its index.

    It stays attached until the last descriptor of the link is closed.  Raises OSError.
    """
    attributes = struct.pack("=4I", program.fd, target, attach, 0)
    return Object(_bpf(_LINK_CREATE, attributes))


def change(attached: Object, program: Object) -> None:
    """Replace the program behind the link *attached* by *program*, atomically.  Raises OSError."""
    _bpf(_LINK_UPDATE, struct.pack("=4I", attached.fd, program.fd, 0, 0))


def is_attached(attached: Object) -> bool:
    """Return whether the link *attached* of a network namespace still has one.

    Others may detach it, and an older kernel that does not say counts as attached.
    """
    info = bytearray(_LINK_INFO.size)
    where = ctypes.addressof((ctypes.c_char * len(info)).from_buffer(info))
    try:
        _bpf(_INFO, struct.pack("=IIQ", attached.fd, len(info), where))
    except OSError:
        return True
    return bool(_LINK_INFO.unpack(info)[0])


def pin(thing: Object, path: str) -> None:
    """Give *thing* a name in a file system of type bpf, which keeps it as a descriptor does.

    Raises OSError.
    """
    name = os.fsencode(path) + b"\0"
    _bpf(_PIN, struct.pack("=QII", _address(name), thing.fd, 0))


def from_pin(path: str) -> int:
    """Return a descriptor of the object that is pinned at *path*.  Raises OSError."""
    name = os.fsencode(path) + b"\0"
    return _bpf(_FROM_PIN, struct.pack("=QII", _address(name), 0, 0))


def at_socket_lookup(name: str, code: bytes) -> Object:
    """Load the program *code* and attach it to this thread's network namespace.

    Returns the link: the program stays attached until its last descriptor is closed.  Raises the
    errors of `load` and `link`.
    """
    with (
        load(PROGRAM_SK_LOOKUP, name, code, ATTACH_SK_LOOKUP) as loaded,
        open("/proc/thread-self/ns/net", "rb") as namespace,
    ):
        return link(loaded, namespace.fileno(), ATTACH_SK_LOOKUP)


def change_at_socket_lookup(attached: Object, name: str, code: bytes) -> None:
    """Replace the program behind the link *attached* by the program *code*, atomically.

    Raises the errors of `load`, and OSError.
    """
    with load(PROGRAM_SK_LOOKUP, name, code, ATTACH_SK_LOOKUP) as loaded:
        change(attached, loaded)


def _address(data: bytes) -> int:
    """Return the address of *data*, valid while the caller keeps it; the kernel only
    reads there."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


@cache
def _here() -> int:
    return syscall_number(os.uname().machine, struct.calcsize("P") * 8)


def _bpf(command: int, attributes: bytes | bytearray) -> int:
    """Make the call; the kernel may write its answer into a bytearray of *attributes*."""
    where: Any = attributes
    if isinstance(attributes, bytearray):
        where = (ctypes.c_char * len(attributes)).from_buffer(attributes)
    result: int = _SYSCALL(
        ctypes.c_long(_here()), ctypes.c_int(command), where, ctypes.c_uint(len(attributes))
    )
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


_SYSCALL = ctypes.CDLL(None, use_errno=True).syscall
