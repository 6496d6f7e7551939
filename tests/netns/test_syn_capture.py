"""The table that takes what the tc program has tagged."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from faith.errors import SetupError
from faith.kernel.flow import syn_capture
from faith.kernel.flow.layout import TAG_SYN
from faith.kernel.flow.syn_capture import SynCapture
from faith.kernel.netlink.packet_log import PacketLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]


@pytest.fixture
def logs() -> Iterator[tuple[PacketLog, PacketLog]]:
    syns, fallen = PacketLog.create(), PacketLog.create()
    yield syns, fallen
    syns.close()
    fallen.close()


@pytest.fixture
def listed(need: Callable[[str], str]) -> Callable[[str], str]:
    def listed(table: str) -> str:
        argv = [need("nft"), "list", "table", *table.split()]
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout

    return listed


class TestCapture:
    def test_nft_lists_it(
        self, logs: tuple[PacketLog, PacketLog], listed: Callable[[str], str]
    ) -> None:
        capture = SynCapture.between(*logs)
        text = listed(f"ip6 {syn_capture.TABLE}")
        assert f"meta priority fa17:1 log group {logs[0].group} queue-threshold 1 drop" in text
        assert f"meta priority fa17:2 log group {logs[1].group} queue-threshold 1 drop" in text
        assert "hook input priority filter + 10" in text
        capture.close()
        assert not listed(f"ip6 {syn_capture.TABLE}")

    def test_there_is_one_in_a_network_namespace(self, logs: tuple[PacketLog, PacketLog]) -> None:
        capture = SynCapture.between(*logs)
        with pytest.raises(SetupError, match="another faithd has a kernel path"):
            SynCapture.between(*logs)
        capture.close()
        SynCapture.between(*logs).close()

    def test_what_a_packet_is_tagged_with_decides(self, logs: tuple[PacketLog, PacketLog]) -> None:
        """A local process with CAP_NET_ADMIN may tag what it sends, as the tc program does."""
        capture = SynCapture.between(*logs)
        script = (
            "import socket, sys; s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM);"
            " s.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, int(sys.argv[1]) - (1 << 32));"
            " s.sendto(b'tagged', ('::1', 9))"
        )
        for tag, taken in ((TAG_SYN, [1, 0]), (TAG_SYN + 1, [0, 1]), (TAG_SYN + 2, [0, 0])):
            subprocess.run(["python3", "-c", script, str(tag)], check=True)
            assert [len(list(log.read(4))) for log in logs] == taken
        capture.close()
