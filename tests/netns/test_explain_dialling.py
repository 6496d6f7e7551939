"""Test connections: each way in which they end is told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faith.cli.explain import dialling
from faith.cli.explain.explanation import Question
from faith.lab.topology import GATEWAY_V4, SERVER
from tests.netns.service import PORT

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.cli.explain.facts import Dial
    from faith.lab import Host, ThreeHosts
    from tests.netns.service import Echo

pytestmark = pytest.mark.netns


def dial(
    lab: ThreeHosts, server: str = SERVER, source: str | None = None, protocol: str = "tcp"
) -> Dial:
    question = Question("2001:db8:6::2", server, PORT, protocol)
    with lab.gateway.inside():
        return dialling.dial(question, server, PORT, source)


def drop(host: Host, hook: str, rule: str) -> None:
    host.run(
        ["nft", "-f", "-"],
        stdin=f"flush ruleset\ntable ip t {{\nchain c {{\ntype filter hook {hook} priority 0;\n"
        f"{rule}\n}}\n}}\n",
    )


def test_a_server_that_accepts(lab: ThreeHosts, echo: Echo) -> None:
    assert dial(lab).kind == "connected"
    assert dial(lab, source=GATEWAY_V4).kind == "connected"
    assert dial(lab, protocol="icmp").kind == "answered"


def test_a_server_that_refuses(lab: ThreeHosts) -> None:
    assert dial(lab).kind == "refused"
    assert dial(lab, protocol="udp").kind == "refused"


def test_no_way(lab: ThreeHosts) -> None:
    assert dial(lab, "198.51.100.1").kind == "unreachable"
    assert dial(lab, source="192.0.2.200").kind in ("no source", "unreachable", "silent")


def test_filters(
    lab: ThreeHosts, need: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    need("nft")
    monkeypatch.setattr(dialling, "TIMEOUT", 0.5)
    drop(lab.server, "input", "drop")
    assert dial(lab).kind == "silent"
    assert dial(lab, protocol="icmp").kind == "silent"
    drop(lab.server, "input", "reject with icmp type admin-prohibited")
    prohibited = dial(lab)
    assert (prohibited.kind, prohibited.by) == ("unreachable", SERVER)
    drop(lab.gateway, "output", "drop")
    assert dial(lab, protocol="udp").kind == "forbidden"
