"""Traces of packets through nftables; their rule goes with the process."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from faith.kernel.nft.packet_trace import PacketTrace
from faith.kernel.nft.rule_dump import DROP
from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V6
from faith.translation.address import packed
from tests.netns.service import PORT

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.lab import ThreeHosts
    from tests.netns.conftest import Fork, Report

pytestmark = pytest.mark.netns


def connect(lab: ThreeHosts) -> None:
    with lab.client.inside(), socket.socket(socket.AF_INET6) as sock:
        sock.settimeout(0.2)
        with suppress(OSError):
            sock.connect((GATEWAY_V6, PORT))


def test_the_rule_that_drops_is_seen(lab: ThreeHosts, need: Callable[[str], str]) -> None:
    need("nft")
    lab.gateway.run(
        ["nft", "-f", "-"],
        stdin="table inet t {\nchain c {\ntype filter hook input priority 0;\n"
        f"tcp dport {PORT} drop\n}}\n}}\n",
    )
    with lab.gateway.inside(), PacketTrace.create(packed(CLIENT), packed(GATEWAY_V6)) as trace:
        connect(lab)
        events = list(trace.events(0.2))
    (end,) = [one for one in events if one.verdict == DROP][:1]
    assert (end.family, end.table, end.chain) == ("inet", "t", "c")
    listed = lab.gateway.run(["nft", "-a", "list", "chain", "inet", "t", "c"]).stdout
    assert f"drop # handle {end.handle}\n" in listed
    assert any(one.arrives for one in events)


def test_packets_of_others_are_not_traced(lab: ThreeHosts) -> None:
    other = packed("2001:db8:6::3")
    with lab.gateway.inside(), PacketTrace.create(other, packed(GATEWAY_V6)) as trace:
        connect(lab)
        assert list(trace.events(0.2)) == []


def test_nothing_stays_behind_a_killed_process(
    lab: ThreeHosts, fork: Fork, need: Callable[[str], str]
) -> None:
    nft = need("nft")

    def body(report: Report) -> None:
        with lab.gateway.inside(), PacketTrace.create(packed(CLIENT), packed(GATEWAY_V6)):
            report("begun")
            signal.pause()

    child = fork(body)
    assert child.report() == "begun"

    def tables() -> str:
        return lab.gateway.run([nft, "list", "tables"]).stdout

    assert f"faith-explain-{child.pid}" in tables()
    os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: "faith-explain" not in tables(), 5, "the table goes with its process")
