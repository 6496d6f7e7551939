"""Attributes, and what the kernel answers: reading needs neither a namespace nor privilege."""

from __future__ import annotations

import errno
import struct
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.errors import PermissionNeeded, SetupError
from faith.kernel.netlink import rtnetlink
from faith.kernel.netlink.netlink import NETLINK_ROUTE, Netlink, attribute, attributes, setup_error

KINDS = st.integers(0, 0x3FFF)
NO_INTERFACE = 0x7FFF_FFFF


@given(st.lists(st.tuples(KINDS, st.binary(max_size=40))))
def test_attributes_come_back(pairs: list[tuple[int, bytes]]) -> None:
    encoded = b"".join(attribute(kind, value) for kind, value in pairs)
    assert len(encoded) % 4 == 0
    assert list(attributes(encoded)) == pairs


@given(st.binary(max_size=200))
def test_any_octets_are_read_to_an_end(data: bytes) -> None:
    assert sum(4 + len(value) for _, value in attributes(data)) <= len(data)


def test_what_is_cut_short_is_left_out() -> None:
    whole = attribute(1, b"one") + attribute(2, b"two")
    assert list(attributes(whole[:-2])) == [(1, b"one")]


def test_flags_of_the_type_are_no_part_of_it() -> None:
    nested, network_order = 0x8000, 0x4000
    assert list(attributes(attribute(5 | nested | network_order, b""))) == [(5, b"")]


def test_a_refusal_has_its_number_and_the_kernels_words() -> None:
    wanted = struct.pack("=BxHiII", 0, 0, NO_INTERFACE, 0, 0xFF)  # a change mask is not for reading
    with Netlink.create(NETLINK_ROUTE) as netlink:
        with pytest.raises(OSError, match=r"Invalid argument: .*get link") as refused:
            netlink.request(rtnetlink.RTM_GETLINK, wanted)
        assert refused.value.errno == errno.EINVAL
        # The socket is as good as before.
        assert "lo" in [link.name for link in rtnetlink.links(netlink).values()]


def test_a_refusal_without_words_of_its_own() -> None:
    wanted = struct.pack("=BxHiII", 0, 0, NO_INTERFACE, 0, 0)
    with Netlink.create(NETLINK_ROUTE) as netlink, pytest.raises(OSError, match=r"No such device$"):
        netlink.request(rtnetlink.RTM_GETLINK, wanted)


def test_a_dump_can_be_refused_too() -> None:
    with Netlink.create(NETLINK_ROUTE) as netlink, pytest.raises(OSError, match="Invalid argument"):
        netlink.dump(rtnetlink.RTM_GETROUTE, struct.pack("=BBBBBBBBI", 2, 1, 0, 0, 0, 0, 0, 0, 0))


def test_the_missing_right_is_named() -> None:
    error = setup_error("guard", OSError(errno.EPERM, "Operation not permitted"))
    assert isinstance(error, PermissionNeeded)
    assert error.capabilities == ("CAP_NET_ADMIN",)


def test_a_setting_that_forbids_is_no_missing_right() -> None:
    error = setup_error("reserve", OSError(errno.EACCES, "IPv6 is disabled"), "enable it")
    assert type(error) is SetupError
    assert str(error) == "reserve: IPv6 is disabled (enable it)"


@pytest.mark.parametrize("module", ["netlink.netlink", "netlink.routes"])
def test_inetd_mode_can_afford_the_import(module: str) -> None:
    heavy = "asyncio ctypes dataclasses enum logging re socket typing"
    script = (
        f"import sys, faith.kernel.{module}\nprint(*sys.modules.keys() & set({heavy.split()!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-IS", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{script}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""
