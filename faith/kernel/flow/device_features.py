"""Features of network devices (ethtool(8), ``ethtool -k``), by the ioctl of linux/ethtool.h.

Reading them needs no privilege.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct

_SIOCETHTOOL = 0x8946
_GET_STRINGS, _GET_SET_INFO, _GET_FEATURES = 0x1B, 0x37, 0x3A
_FEATURES = 4  # ETH_SS_FEATURES
_STRING = 32
_SET_INFO = struct.Struct("=IIQI")  # command, reserved, mask of sets, number of strings
_STRINGS = struct.Struct("=III")  # command, set, number of strings
_BLOCKS = struct.Struct("=II")  # command, number of blocks
_BLOCK = struct.Struct("=IIII")  # available, requested, active, never changed


def active(device: str) -> set[str]:
    """Return the names of the features of *device* that are on, as the kernel calls them.

    Raises OSError: ENODEV for a device that is not there.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        info = _asked(any_socket, device, _SET_INFO.pack(_GET_SET_INFO, 0, 1 << _FEATURES, 0))
        *_, count = _SET_INFO.unpack(info)
        request = _STRINGS.pack(_GET_STRINGS, _FEATURES, count) + bytes(count * _STRING)
        strings = _asked(any_socket, device, request)[_STRINGS.size :]
        blocks = -(-count // 32)
        request = _BLOCKS.pack(_GET_FEATURES, blocks) + bytes(blocks * _BLOCK.size)
        features = _asked(any_socket, device, request)[_BLOCKS.size :]
    bits = [on for _, _, on, _ in _BLOCK.iter_unpack(features)]
    return {
        strings[at * _STRING : (at + 1) * _STRING].split(b"\0")[0].decode()
        for at in range(count)
        if bits[at // 32] >> at % 32 & 1
    }


def _asked(any_socket: socket.socket, device: str, request: bytes) -> bytes:
    """Return *request* as the kernel has filled it."""
    buffer = ctypes.create_string_buffer(request, len(request))
    asked = struct.pack("16sP16x", device.encode()[:15], ctypes.addressof(buffer))
    fcntl.ioctl(any_socket, _SIOCETHTOOL, asked)
    return buffer.raw
