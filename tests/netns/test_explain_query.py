"""The command ``explain`` of the control socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from faith.cli import control_client
from faith.errors import FaithError
from faith.lab import wait_until
from faith.lab.topology import CLIENT, PREFIX, SERVER
from faith.translation.reasons import CLIENT as CLIENT_LIMIT
from tests.netns.gateway import Gateway
from tests.netns.service import PORT, connect

if TYPE_CHECKING:
    from pathlib import Path

    from faith.lab import ThreeHosts
    from tests.netns.service import Echo

pytestmark = pytest.mark.netns

TEXT = f"""
workers = 2
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "{PORT}"
[limits]
sessions_per_client = 1
[dns]
listen = ["::1"]
allow = ["2001:db8:6::/64"]
"""


def ask(gateway: Gateway, **words: Any) -> dict[str, Any]:
    usual = {"client": CLIENT, "destination": gateway.lab.mapped(), "port": PORT, "protocol": "tcp"}
    return control_client.ask(gateway.control, "explain", **{**usual, **words})


def test_the_daemon_says_what_it_would_do(lab: ThreeHosts, tmp_path: Path, echo: Echo) -> None:
    gateway = Gateway(lab, tmp_path, TEXT)
    found = ask(gateway)
    assert (found["decision"]["server"], found["decision"]["refused"]) == (SERVER, None)
    assert (found["path"], found["limit"], found["workers"]) == ("relay", None, 2)
    assert (found["dns"], found["dns_serves"], found["steered"]) == (["::1#53"], True, True)
    assert not ask(gateway, client="2001:db8:7::2")["dns_serves"]
    with connect(lab):
        wait_until(lambda: ask(gateway)["limit"] == CLIENT_LIMIT, 5, "the session is counted")
    assert gateway.stop() == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"client": "x"}, "are to be addresses"),
        ({"destination": "192.0.2.80"}, "of one family"),
        ({"port": "80"}, "port is to be a number"),
        ({"port": 1 << 20}, "port is to be a number"),
        ({"protocol": "sctp"}, "protocol is to be one of"),
    ],
)
def test_a_request_that_makes_no_sense(
    lab: ThreeHosts, tmp_path: Path, words: dict[str, Any], says: str
) -> None:
    gateway = Gateway(lab, tmp_path, TEXT)
    with pytest.raises(FaithError, match=says):
        ask(gateway, **words)
    assert ask(gateway)["workers"] == 2
