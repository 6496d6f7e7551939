"""The guard of mapped networks in nftables; test_mapped_networks.py sends packets to it."""

from __future__ import annotations

import pytest

from faith.errors import PermissionNeeded
from faith.kernel.nft.guard import NETWORKS
from tests.netns.rights import without_capabilities

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]

ONE, TWO, THREE = (0xC6336400, 0xC63364FF), (0xC6336501, 0xC6336501), (0xC6336600, 0xC6336607)


def test_it_is_intact_with_exactly_its_ranges() -> None:
    NETWORKS.change([ONE, TWO])
    assert NETWORKS.is_intact([ONE, TWO])
    assert not NETWORKS.is_intact([ONE])
    assert not NETWORKS.is_intact([ONE, TWO, THREE])
    assert not NETWORKS.is_intact([])


def test_without_ranges_there_is_no_guard() -> None:
    assert NETWORKS.is_intact([])
    NETWORKS.change([ONE])
    NETWORKS.change([])
    assert NETWORKS.is_intact([])
    NETWORKS.change([])  # not even twice


def test_what_is_as_it_should_be_is_not_touched() -> None:
    NETWORKS.change([ONE, TWO])
    before = NETWORKS.generation()
    NETWORKS.change([ONE, TWO])
    NETWORKS.change([ONE, TWO], [ONE, TWO])
    assert NETWORKS.generation() == before


def test_what_is_known_need_not_be_read_again() -> None:
    NETWORKS.change([ONE, TWO])
    NETWORKS.change([TWO, THREE], [ONE, TWO])
    assert NETWORKS.is_intact([TWO, THREE])


def test_a_script_names_every_network_and_both_chains() -> None:
    text = NETWORKS.render([ONE, THREE])
    assert text.startswith("table ip faith\ndelete table ip faith\n")
    assert "elements = { 198.51.100.0/24, 198.51.102.0/29 }" in text
    assert "type filter hook input priority 0; policy accept;" in text
    assert "ip daddr @networks jump mapped" in text


def test_the_missing_right_is_named() -> None:
    for action in (
        lambda: NETWORKS.is_intact([ONE]),
        lambda: NETWORKS.change([ONE]),
        NETWORKS.generation,
    ):
        with pytest.raises(PermissionNeeded, match="CAP_NET_ADMIN"):
            without_capabilities(action)
