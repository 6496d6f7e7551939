"""``faith setup`` as somebody meets it: on a terminal, with Ctrl-C at hand, on a real host."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import pytest

from faith.lab.topology import CLIENT, GATEWAY_V6, PREFIX, SERVER
from tests.faithd import Faithd
from tests.netns.service import PORT, relays
from tests.peers.site import Site
from tests.peers.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.lab import ThreeHosts

pytestmark = pytest.mark.netns

QUESTIONS = {
    "Prefix [64:ff9b:1::/96]: ": PREFIX,
    "Ports [1-65535]: ": "",
    "Inside interfaces [to-client]: ": "",
    "Clients [2001:db8:6::/64]: ": "",
    "Outside interfaces [to-server]: ": "",
    "Pool [kernel]: ": "192.0.2.1",
    "Clients of the pool [shared]: ": "",
    "Static map: ": "192.0.2.102, 2001:db8:6::2",
    "Static map:": "",
    "TCP timeout [7440]: ": "600",
    "UDP [": "N",
    "Pings [": "y",
    "ICMP timeout [60]: ": "",
    "DNS [": "yes",
    "DNS pool [none]: ": "192.0.2.192/28",
    "DNS addresses [": "",
    "DNS servers [": "192.0.2.80",
    "Proxy [none]: ": ":1080",
    "Metrics [[::1]:9064]: ": "",
    "User [": "",
    "faith.toml? [yes]: ": "",
}
"""What is asked on the lab's gateway, and answers."""


@pytest.fixture
def site(lab: ThreeHosts, tmp_path: Path, need: Callable[[str], str]) -> Site:
    (tmp_path / "etc").mkdir()
    return Site(lab.gateway, tmp_path, need)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "etc" / "faith.toml"


@pytest.fixture
def setup(site: Site, file: Path) -> Iterator[Terminal]:
    """On a terminal of its own that can interrupt it."""
    command = sys.executable, "-m", "faith.cli.faith", "setup", str(file)
    with Terminal(site, "setsid", "--ctty", "--wait", *command) as terminal:
        yield terminal


@pytest.mark.usefixtures("echo")
def test_the_file_makes_a_gateway(
    lab: ThreeHosts, setup: Terminal, file: Path, tmp_path: Path
) -> None:
    for question, answer in QUESTIONS.items():
        setup.wait_for(question)
        setup.type(f"{answer}\n")
    setup.wait_for(f"Their name server: [{GATEWAY_V6}]:53")
    setup.wait_for(f"faithd --config {file}")
    assert setup.program.wait(10) == 0
    own = f'pool_file = "{tmp_path}/pool"\npool = '  # and not the machine's
    text = file.read_text().replace("pool = ", own)
    file.write_text(f'control = "{tmp_path}/control"\n{text}')
    faithd = Faithd(lab.gateway, tmp_path / "log", "--config", str(file))
    faithd.wait_said("serving")
    assert relays(lab)
    with (
        lab.client.call(
            lambda: socket.create_server((CLIENT, PORT), family=socket.AF_INET6)
        ) as listener,
        lab.server.call(socket.create_connection, ("192.0.2.102", PORT), 5),
    ):
        listener.settimeout(5)
        connection, peer = listener.accept()
        connection.close()
        assert peer[0] == lab.mapped(), "an IPv4 client, as the mapped host knows it"
    assert faithd.stop() == 0
    assert "source=192.0.2.102:" in faithd.said


@pytest.mark.parametrize("number", range(len(QUESTIONS)))
def test_ctrl_c_leaves_nothing_behind(setup: Terminal, file: Path, number: int) -> None:
    for question, answer in list(QUESTIONS.items())[:number]:
        setup.wait_for(question)
        setup.type(f"{answer}\n")
    setup.wait_for(list(QUESTIONS)[number])
    setup.type("half an ans\x03")
    setup.wait_for("nothing was written")
    assert setup.program.wait(10) == 130
    assert not list(file.parent.iterdir())


def test_an_end_of_input_leaves_nothing_behind(setup: Terminal, file: Path) -> None:
    setup.wait_for("Prefix [")
    setup.type("\x04")
    setup.wait_for("standard input ended before the last answer; nothing was written")
    assert setup.program.wait(10) == 1
    assert not list(file.parent.iterdir())


def test_a_gateway_is_no_server_of_its_own(lab: ThreeHosts, tmp_path: Path) -> None:
    """Though its resolv.conf may name it; another one that it names will do."""
    conf = tmp_path / "resolv.conf"
    script = f'mount --bind {conf} /etc/resolv.conf && exec "$@"'
    setup = [sys.executable, "-m", "faith.cli.faith", "setup", "--defaults", "--print"]
    for servers, line in (((GATEWAY_V6, SERVER), f'forward = ["{SERVER}"]'), ((GATEWAY_V6,), "")):
        conf.write_text("".join(f"nameserver {server}\n" for server in servers))
        text = lab.gateway.run(["unshare", "--mount", "sh", "-c", script, "sh", *setup]).stdout
        assert line in text
        assert ("[dns]" in text) == bool(line)
