"""The rules of a proxy."""

from __future__ import annotations

import pytest

from faith.proxy.proxy_rules import ProxyRules


@pytest.mark.parametrize("pseudonym", ["faith", "gate.example:1080", "[2001:db8::1]:1080"])
def test_what_a_proxy_may_be_called(pseudonym: str) -> None:
    assert ProxyRules(pseudonym=pseudonym).pseudonym == pseudonym


@pytest.mark.parametrize("pseudonym", ["", "a b", "a,b", "a\r\nb", "é", "a:b", "a\n", '"'])
def test_what_it_may_not(pseudonym: str) -> None:
    with pytest.raises(ValueError, match="pseudonym"):
        ProxyRules(pseudonym=pseudonym)
