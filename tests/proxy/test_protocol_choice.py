"""Which protocol a client speaks, by its first octet."""

from __future__ import annotations

import pytest

from faith.proxy.http_proxy import HttpProxy
from faith.proxy.protocol_choice import UnknownProtocol, protocol
from faith.proxy.socks4 import Socks4
from faith.proxy.socks5 import Socks5


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (b"\x05\x01\x00", Socks5),
        (b"\x04\x01", Socks4),
        (b"C", HttpProxy),
        (b"A", HttpProxy),
        (b"Z", HttpProxy),
        (b"GET http://example.org/ HTTP/1.1", HttpProxy),
        (b"\r\nGET http://example.org/ HTTP/1.1", HttpProxy),
        (b"\r", HttpProxy),
    ],
)
def test_a_protocol_is_known(first: bytes, kind: type) -> None:
    assert protocol(first) is kind


@pytest.mark.parametrize("first", [b"\x16\x03\x01", b"@", b"[", b"get /", b"\n", b"\0", b"\xff"])
def test_any_other_is_refused(first: bytes) -> None:
    with pytest.raises(UnknownProtocol) as caught:
        protocol(first)
    assert ("TLS" in str(caught.value)) == (first[0] == 0x16)
