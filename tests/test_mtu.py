"""The MTU of links of IPv6."""

from __future__ import annotations

import pytest

from faith.errors import ConfigError
from faith.translation.mtu import LEAST_MTU, MOST_MTU, check_mtu


@pytest.mark.parametrize("mtu", [LEAST_MTU, 1500, MOST_MTU])
def test_a_link_of_ipv6_can_have_it(mtu: int) -> None:
    check_mtu(mtu)


@pytest.mark.parametrize("mtu", [0, LEAST_MTU - 1, MOST_MTU + 1])
def test_no_link_of_ipv6_can_have_it(mtu: int) -> None:
    with pytest.raises(ConfigError, match="from 1280 to 65535 octets"):
        check_mtu(mtu)
