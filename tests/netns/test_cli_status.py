"""``faith status`` on a host with very many prefixes."""

from __future__ import annotations

import pytest

from faith.cli import status
from faith.kernel.netlink import routes
from faith.kernel.netlink.netlink import Netlink
from faith.kernel.nft import guard
from faith.translation.prefix import Prefix

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]

PREFIXES = [Prefix.parse(f"2001:db8:{number:x}:ffff::/96") for number in range(0x1000, 0x1040)]


def test_it_reads_the_tables_as_often_for_many_prefixes_as_for_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once for each took 4 s with a thousand."""
    dumps, dump = [], Netlink.dump

    def counted(netlink: Netlink, kind: int, body: bytes) -> list[bytes]:
        dumps.append(kind)
        return dump(netlink, kind, body)

    monkeypatch.setattr(Netlink, "dump", counted)

    def dumps_of_status() -> int:
        dumps.clear()
        found = status.read()
        assert all(one.guarded for one in found.prefixes)
        return len(dumps)

    guard.install(PREFIXES)
    routes.reserve(PREFIXES[0])
    for_one = dumps_of_status()
    for prefix in PREFIXES[1:]:
        routes.reserve(prefix)
    assert len(status.read().prefixes) == len(PREFIXES)
    assert dumps_of_status() == for_one
