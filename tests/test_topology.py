from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from faith.lab.topology import CLIENT, GATEWAY_V4, GATEWAY_V6, PREFIX, SERVER, ThreeHosts


@pytest.mark.parametrize(
    ("prefix", "v4", "mapped"),
    [
        (PREFIX, SERVER, "2001:db8:ffff::c000:250"),
        (PREFIX, "0.0.0.1", "2001:db8:ffff::1"),
        ("64:ff9b::/96", "255.255.255.255", "64:ff9b::ffff:ffff"),
    ],
)
def test_an_address_is_mapped_under_the_prefix(prefix: str, v4: str, mapped: str) -> None:
    nothing: Any = None
    assert ThreeHosts(nothing, nothing, nothing, nothing, prefix).mapped(v4) == mapped


def test_the_server_is_who_is_mapped_unless_it_is_said() -> None:
    nothing: Any = None
    lab = ThreeHosts(nothing, nothing, nothing, nothing)
    assert lab.mapped() == lab.mapped(SERVER)


def test_addresses_are_of_documentation() -> None:
    """So that nothing ever leaves for somebody's network (RFC 3849, RFC 5737)."""
    addresses = map(ip_address, (CLIENT, GATEWAY_V4, GATEWAY_V6, SERVER))
    assert not any(address.is_global for address in addresses)
