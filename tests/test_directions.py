"""The two directions."""

from __future__ import annotations

import socket

from faith.translation.directions import V4_TO_V6, V6_TO_V4, direction_to


def test_the_mapped_address_tells_the_direction() -> None:
    assert direction_to("2001:db8:ffff::c000:250") is V6_TO_V4
    assert direction_to("198.51.100.102") is V4_TO_V6


def test_client_and_server_are_of_the_two_families() -> None:
    assert (V6_TO_V4.client, V6_TO_V4.server) == (socket.AF_INET6, socket.AF_INET)
    assert (V4_TO_V6.client, V4_TO_V6.server) == (socket.AF_INET, socket.AF_INET6)
    assert [repr(one) for one in (V6_TO_V4, V4_TO_V6)] == ["v6_to_v4", "v4_to_v6"]
