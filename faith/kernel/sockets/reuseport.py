"""Which of the sockets that share a port gets a DNS query: the same for the same name.

The kernel shares queries out by their sources.  So every process of several would look every name
up for itself; a program at the sockets (classic BPF, SO_ATTACH_REUSEPORT_CBPF, Linux 4.5) goes by
the name instead.
"""

from __future__ import annotations

import ctypes
import socket
import struct

from faith.errors import SetupError

_ATTACH_REUSEPORT_CBPF = 51  # asm-generic/socket.h
_INSTRUCTION = struct.Struct("=HBBI")

# linux/filter.h, linux/bpf_common.h.
_LOAD, _LOAD_WORD, _LOAD_OCTET_AT_X, _LOAD_SCRATCH = 0x00, 0x20, 0x50, 0x60
_LOADX, _LOADX_SCRATCH = 0x01, 0x61
_STORE, _TO_X, _FROM_X = 0x02, 0x07, 0x87
_ADD, _ADD_X, _MULTIPLY, _OR, _SHIFT, _MODULO, _XOR_X = 0x04, 0x0C, 0x24, 0x44, 0x74, 0x94, 0xAC
_JUMP_IF, _JUMP_IF_AT_LEAST = 0x15, 0x35
_RETURN_A = 0x16

_MIXED, _END = 0, 1  # scratch memory: what was made of the name so far, and where it ends
_NAME_AT = 12
_LABELS = 10
_WORDS = 5
_LOWER = 0x20202020
"""Makes small letters of capital ones, of four octets at a time."""
_MIX = 0x9E3779B1  # odd, and with no pattern in it: 2³² divided by the golden ratio


def share_by_name(sock: socket.socket, workers: int) -> None:
    """Share the queries to the port of *sock* out to the first *workers* sockets by their names.

    *sock* is a UDP socket with SO_REUSEPORT, and the program is for all sockets of its port.  Names
    are told apart by their first 20 octets, in whatever case, but for up to three at the end that
    do not fill a word.  Raises SetupError.
    """
    code = b"".join(_INSTRUCTION.pack(*step) for step in _program(workers))
    octets = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(code) // _INSTRUCTION.size, ctypes.addressof(octets))
    try:
        sock.setsockopt(socket.SOL_SOCKET, _ATTACH_REUSEPORT_CBPF, program)
    except OSError as error:
        raise SetupError("share queries out by name", error.strerror or str(error)) from error


def _program(workers: int) -> list[tuple[int, int, int, int]]:
    """The instructions: code, jumps if true and if false, and a constant.

    What a load finds beyond the end of a message chooses the first socket.
    """
    steps = [(_LOAD, 0, 0, 0), (_STORE, 0, 0, _MIXED), (_LOADX, 0, 0, _NAME_AT)]
    for label in range(_LABELS):
        left = 5 * (_LABELS - label) - 2
        steps += [
            (_LOAD_OCTET_AT_X, 0, 0, 0),
            (_JUMP_IF, left, 0, 0),
            (_ADD_X, 0, 0, 0),
            (_ADD, 0, 0, 1),
            (_TO_X, 0, 0, 0),
        ]
    steps += [(_FROM_X, 0, 0, 0), (_STORE, 0, 0, _END)]
    for word in range(_WORDS):
        at = _NAME_AT + 4 * word
        mix = [
            (_LOAD_WORD, 0, 0, at),
            (_OR, 0, 0, _LOWER),
            (_LOADX_SCRATCH, 0, 0, _MIXED),
            (_XOR_X, 0, 0, 0),
            (_MULTIPLY, 0, 0, _MIX),
            (_STORE, 0, 0, _MIXED),
        ]
        steps += [
            (_LOAD_SCRATCH, 0, 0, _END),
            (_JUMP_IF_AT_LEAST, 0, len(mix), at + 3),
            *mix,
        ]
    return [
        *steps,
        (_LOAD_SCRATCH, 0, 0, _MIXED),
        (_SHIFT, 0, 0, 16),
        (_MODULO, 0, 0, workers),
        (_RETURN_A, 0, 0, 0),
    ]
