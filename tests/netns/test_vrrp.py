"""``[vrrp]``: a gateway serves static maps while it has an address, which others may have."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from faith.lab.topology import CLIENT, PREFIX, SERVER
from tests.faithd import ENVIRONMENT
from tests.netns.gateway import Gateway
from tests.netns.service import Echo, answers, connect, connect_from

if TYPE_CHECKING:
    from pathlib import Path

    from faith.lab import ThreeHosts

pytestmark = pytest.mark.netns

MAPPED, ADDED, VIRTUAL = "192.0.2.104", "192.0.2.103", "192.0.2.3"
PORT = 8000
FILE = f"""
[vrrp]
address = "{VIRTUAL}"
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "{PORT}"
[[map]]
v4 = "{MAPPED}"
v6 = "{CLIENT}"
direction = "in"
[[source]]
addresses = ["{ADDED}"]
set_up = true
"""


def has_role(gateway: Gateway, *, standby: bool) -> bool:
    """Return whether the daemon says that it is a standby, or not."""
    command = [sys.executable, "-m", "faith.cli.faith", "status", "--json"]
    status = gateway.lab.gateway.run(command, env=ENVIRONMENT, check=False)
    (daemon,) = json.loads(status.stdout)["daemons"]
    return ("standby" in {one["id"] for one in daemon["findings"]}) == standby


def cause(gateway: Gateway) -> str | None:
    """Return why the map does not work, as faith explain says it."""
    words = ["explain", SERVER, f"{MAPPED}:{PORT}", "--json", "--control", str(gateway.control)]
    command = [sys.executable, "-m", "faith.cli.faith", *words]
    found = gateway.lab.gateway.run(command, env=ENVIRONMENT, check=False).stdout
    said: str | None = json.loads(found)["verdict"]["cause"]
    return said


def change(gateway: Gateway, verb: str) -> None:
    """Do what VRRP does with its address, and wait until the daemon has followed."""
    gateway.lab.gateway.run(["ip", "address", verb, f"{VIRTUAL}/24", "dev", "to-server"])
    wait_until(lambda: has_role(gateway, standby=verb == "del"), 10, "the other role")


def test_maps_and_added_sources_come_and_go_with_the_address(
    lab: ThreeHosts, tmp_path: Path
) -> None:
    gateway = Gateway(lab, tmp_path, FILE)
    assert has_role(gateway, standby=True)
    with closing(Echo(lab.server, PORT, SERVER)) as server, closing(Echo(lab.client, PORT, CLIENT)):
        with connect(lab, port=PORT) as connection:
            assert answers(connection)
        assert server.peers == ["192.0.2.1"]
        assert cause(gateway) == "standby"
        change(gateway, "add")
        with connect(lab, port=PORT) as connection:
            assert answers(connection)
        assert server.peers[1:] == [ADDED]
        with connect_from(lab.server, MAPPED, PORT) as held:
            assert answers(held)
            assert cause(gateway) is None
            change(gateway, "del")
            with pytest.raises(ConnectionResetError):
                held.recv(1)
        with pytest.raises(OSError, match=r"timed out|No route to host"):  # nobody answers there
            connect_from(lab.server, MAPPED, PORT)
        with connect(lab, port=PORT) as connection:
            assert answers(connection)
        assert server.peers[2:] == ["192.0.2.1"]
