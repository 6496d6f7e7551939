"""Many datagrams in one system call: recvmmsg(2), sendmmsg(2).

What a datagram costs beside the call itself, socket objects double: a call for each, and an address
that is written as text and read again.  Here an address stays the octets that it is in memory, and
goes back as it came.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from typing import Any, Literal

from faith.translation.address import packed, text

SIZE = 64
"""Datagrams in a batch."""

_LINE = 64
"""Octets between one datagram and the next, or the first ones of all would fall on the same line of
a processor's cache, at a distance of 4096."""
_LENGTHS = {socket.AF_INET: 16, socket.AF_INET6: 28}
"""Octets of a struct sockaddr_in and of a struct sockaddr_in6."""
_HOSTS = {socket.AF_INET: slice(4, 8), socket.AF_INET6: slice(8, 28)}
"""The octets of these that are the host: an address, of IPv6 with the scope behind it."""

_NAME_V4 = struct.Struct("!2sH4s8x")
_NAME_V6 = struct.Struct("!2sH4x16s4s")


class _Vector(ctypes.Structure):
    """A struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """A struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """A struct mmsghdr."""

    _fields_ = (("header", _Header), ("length", ctypes.c_uint))


_ORDER = sys.byteorder
_WORD: Literal["I", "Q"] = "Q" if ctypes.sizeof(ctypes.c_size_t) == 8 else "I"
_MESSAGE = ctypes.sizeof(_Message)

_libc = ctypes.CDLL(None)
_receive = _libc.recvmmsg
_receive.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]
_send = _libc.sendmmsg
_send.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]


class Batch:
    """Room for *size* datagrams of *limit* octets, and for as many replies.

    It serves any number of sockets of one *family*, one after the other.  A reply must not have
    more than *reply_limit* octets.
    """

    def __init__(
        self, family: socket.AddressFamily, limit: int, reply_limit: int, size: int = SIZE
    ) -> None:
        self._size = size
        self._family = family
        self._host = _HOSTS[family]
        self._room, self._reply_room = limit + _LINE, reply_limit + _LINE
        self._name = _LENGTHS[family]
        self._names = bytearray(size * self._name)
        self._received = bytearray(size * self._room)
        self._replies = bytearray(size * self._reply_room)
        self._name_at = ctypes.addressof(ctypes.c_char.from_buffer(self._names))
        self._in, self._in_vectors = self._messages(self._received, self._room, limit)
        self._out, self._out_vectors = self._messages(self._replies, self._reply_room, reply_limit)
        self._in_at, self._out_at = ctypes.addressof(self._in), ctypes.addressof(self._out)
        self._views = memoryview(self._received), memoryview(self._names)
        # Fields of every message, or vector, one after the other.
        self._lengths = _field(self._in, _Message.length, "I")
        self._reply_lengths = _field(self._out_vectors, _Vector.length, _WORD)
        self._reply_names = _field(self._out, _Header.name, _WORD)
        self._count = 0

    def _messages(self, octets: bytearray, room: int, limit: int) -> tuple[Any, Any]:
        at = ctypes.addressof(ctypes.c_char.from_buffer(octets))
        size = self._size
        vectors = (_Vector * size)(*(_Vector(at + number * room, limit) for number in range(size)))
        first = ctypes.addressof(vectors)
        headers = (
            _Header(
                self._name_at + number * self._name,
                self._name,
                first + number * ctypes.sizeof(_Vector),
                1,
            )
            for number in range(size)
        )
        return (_Message * size)(*(_Message(header, 0) for header in headers)), vectors

    def receive(self, descriptor: int) -> list[tuple[bytes, bytes]]:
        """Return the datagrams that wait there, a batch at most, each with the octets of its host.

        A datagram is cut off at the limit.  None waits where there is an error.
        """
        return self._read(descriptor, self._host.start, self._host.stop)

    def receive_from(self, descriptor: int) -> list[tuple[bytes, bytes]]:
        """Do as `receive`, with the whole `socket_name` that each came from."""
        return self._read(descriptor, 0, self._name)

    def _read(self, descriptor: int, first: int, last: int) -> list[tuple[bytes, bytes]]:
        """Return the datagrams, each with that part of the socket address."""
        count = _receive(descriptor, self._in_at, self._size, socket.MSG_DONTWAIT, None)
        octets, names = self._views
        room, name, lengths = self._room, self._name, self._lengths
        return [
            (
                octets[number * room : number * room + lengths[number]].tobytes(),
                names[number * name + first : number * name + last].tobytes(),
            )
            for number in range(count)
        ]

    def reply(self, number: int, octets: bytes) -> None:
        """Have *octets* sent to where the datagram of that *number* came from."""
        count = self._count
        at = count * self._reply_room
        self._replies[at : at + len(octets)] = octets
        self._reply_lengths[count] = len(octets)
        self._reply_names[count] = self._name_at + number * self._name
        self._count = count + 1

    def send(self, descriptor: int) -> None:
        """Send the replies; those that cannot be sent are lost, as datagrams are."""
        done = 0
        while done < self._count:
            at = self._out_at + done * _MESSAGE
            sent = _send(descriptor, at, self._count - done, socket.MSG_DONTWAIT)
            done += max(sent, 1)
        self._count = 0

    def source(self, number: int) -> tuple[Any, ...]:
        """Return where the datagram of that *number* came from, as socket objects have it."""
        at = number * self._name
        name = self._names[at : at + self._name]
        port = int.from_bytes(name[2:4], "big")
        host = host_text(bytes(name[self._host]))
        if self._family == socket.AF_INET:
            return host, port
        return host, port, 0, int.from_bytes(name[24:28], _ORDER)


def _field(array: Any, field: Any, kind: Literal["I", "Q"]) -> memoryview[int]:
    """A view of that *field*, of a *kind* as struct has it, in every structure of *array*."""
    words = memoryview(array).cast("B").cast(kind)
    size = words.itemsize
    return words[field.offset // size :: ctypes.sizeof(array._type_) // size]


def host_text(octets: bytes) -> str:
    """Return the address in *octets* as text, of IPv6 with the zone where it has one."""
    if len(octets) == 4:
        return text(octets)
    address = text(octets[:16])
    scope = int.from_bytes(octets[16:], _ORDER)
    if not scope:
        return address
    try:
        return f"{address}%{socket.if_indextoname(scope)}"
    except OSError:
        return f"{address}%{scope}"


def socket_name(host: str, port: int, scope: int = 0) -> bytes:
    """Return the octets of a socket address: *host* is an address in text without a zone."""
    octets = packed(host)
    if len(octets) == 4:
        return _NAME_V4.pack(socket.AF_INET.to_bytes(2, _ORDER), port, octets)
    family = socket.AF_INET6.to_bytes(2, _ORDER)
    return _NAME_V6.pack(family, port, octets, scope.to_bytes(4, _ORDER))


def endpoint_of(name: bytes) -> tuple[str, int]:
    """Return the host, without a zone, and the port that a `socket_name` has."""
    port = int.from_bytes(name[2:4], "big")
    return text(name[4:8] if len(name) == _NAME_V4.size else name[8:24]), port
