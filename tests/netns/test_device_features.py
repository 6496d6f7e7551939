from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
import subprocess

import pytest

from faith.kernel.flow import device_features

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]

_SET_FEATURES = 0x3B


def set_feature(device: str, name: str, *, on: bool = True) -> None:
    """Switch a feature as ``ethtool -K`` does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("=IIQI", 0x37, 0, 1 << 4, 0)
        count = struct.unpack("=IIQI", device_features._asked(any_socket, device, request))[3]
        request = struct.pack("=III", 0x1B, 4, count) + bytes(32 * count)
        strings = device_features._asked(any_socket, device, request)[12:]
        names = [strings[at : at + 32].split(b"\0")[0].decode() for at in range(0, 32 * count, 32)]
        blocks = [[0, 0] for _ in range(-(-count // 32))]
        at = names.index(name)
        blocks[at // 32] = [1 << at % 32, on << at % 32]
        octets = b"".join(struct.pack("=II", *block) for block in blocks)
        buffer = ctypes.create_string_buffer(
            struct.pack("=II", _SET_FEATURES, len(blocks)) + octets, 8 + len(octets)
        )
        asked = struct.pack("16sP16x", device.encode(), ctypes.addressof(buffer))
        fcntl.ioctl(any_socket, device_features._SIOCETHTOOL, asked)


def test_what_is_on_is_told_by_name() -> None:
    subprocess.run(["ip", "link", "add", "one", "type", "veth", "peer", "name", "two"], check=True)
    before = device_features.active("one")
    assert "rx-gro" in device_features.active("lo")
    assert "tx-checksum-ip-generic" in before
    set_feature("one", "rx-gro-list")
    assert device_features.active("one") == before | {"rx-gro-list"}
    set_feature("one", "tx-tcp-segmentation", on=False)
    after = device_features.active("one")
    assert "tx-tcp-segmentation" not in after
    assert after < before | {"rx-gro-list"}
    assert device_features.active("two") >= before - {"rx-gro-list"}


def test_a_device_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError, match="No such device"):
        device_features.active("none")
