"""rsh and rlogin: directly over IPv4, and through ``faithd shell,login``."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from faith.kernel.sockets.tcp_sockets import bind_reserved
from faith.lab import wait_until
from faith.lab.topology import GATEWAY_V4
from tests.faithd import Faithd
from tests.peers import servers
from tests.peers.site import Meeting, digest
from tests.peers.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.lab import Host, Network, ThreeHosts

    Meet = Callable[[Host, Host, str], Meeting]

pytestmark = [pytest.mark.netns, pytest.mark.peers]


@pytest.fixture
def direct(network: Network, meet: Meet) -> Meeting:
    client, server = network.host("client"), network.host("server")
    network.link(client, server, ["192.0.2.2/24"], ["192.0.2.80/24"])
    meeting = meet(client, server, "192.0.2.80")
    servers.remote_shell_server(meeting.server, "192.0.2.2")
    return meeting


@pytest.fixture
def relayed(lab: ThreeHosts, meet: Meet, tmp_path: Path) -> Iterator[Meeting]:
    faithd = Faithd(lab.gateway, tmp_path / "log", "-P", lab.prefix, "shell,login")
    faithd.wait_said("serving")
    meeting = meet(lab.client, lab.server, lab.mapped())
    servers.remote_shell_server(meeting.server, GATEWAY_V4)
    yield meeting
    assert faithd.stop() == 0
    assert "end=closed" in faithd.said


@pytest.fixture(params=["direct", "relayed"])
def meeting(request: pytest.FixtureRequest) -> Meeting:
    found: Meeting = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize(
    ("client", "errors"),
    [("netkit-rsh", "trouble\n"), ("rsh-redone-rsh", "")],  # the latter shows none, ever
)
def test_a_command_has_an_input_and_two_outputs(meeting: Meeting, client: str, errors: str) -> None:
    result = meeting.client.host.run(
        [meeting.client.need(client), meeting.address, "cat; echo trouble >&2"],
        stdin="hello\n",
        env=meeting.client.environment(),
    )
    assert (result.stdout, result.stderr) == ("hello\n", errors)


def test_much_passes_both_ways(meeting: Meeting) -> None:
    rsh, back = meeting.client.need("netkit-rsh"), meeting.client.directory / "back"
    pipeline = f"{rsh} {meeting.address} cat < {meeting.payload.path} > {back}"
    meeting.client.run("sh", "-c", pipeline)
    assert digest(back) == meeting.payload.digest


def test_an_interrupt_reaches_the_command(meeting: Meeting) -> None:
    """It goes through the connection that the server made; the first one may be lost in rsh."""
    command = [meeting.address, "echo ready; sleep 99"]
    rsh = meeting.client.start("netkit-rsh", *command, stdout=subprocess.PIPE)
    assert rsh.stdout
    assert rsh.stdout.readline() == "ready\n"
    wait_until(lambda: _interrupted(rsh), 10, "the command's end")


def _interrupted(rsh: subprocess.Popen[str]) -> bool:
    rsh.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        rsh.wait(0.2)
    return rsh.returncode is not None


def test_no_second_connection_is_asked_for(meeting: Meeting) -> None:
    with _from_reserved_port(meeting) as control:
        control.sendall(b"0\0root\0root\0echo both >&2\0")
        assert control.makefile("rb").read() == b"\0both\n"


def _from_reserved_port(meeting: Meeting) -> socket.socket:
    """A connection to the rshd, as rcmd(3) makes it."""
    family = socket.AF_INET6 if ":" in meeting.address else socket.AF_INET
    control = meeting.client.host.call(socket.socket, family)
    control.settimeout(10)
    bind_reserved(control, "::" if family == socket.AF_INET6 else "")
    control.connect((meeting.address, servers.RSH))
    return control


def test_a_terminal_and_its_size(meeting: Meeting) -> None:
    """rlogind asks for the size with urgent data, and gets it within the stream."""
    rlogin = Terminal(meeting.client, "netkit-rlogin", meeting.address, size=(33, 99))
    with rlogin as terminal:
        terminal.wait_for("# ")
        # The size may come after the prompt; that it comes at all is what ends the loop.  A client
        # that was not ready for the request is asked again with all that rlogind tells of its
        # terminal, as that flow control is off, and on.
        again = "stty -ixon; stty ixon; sleep 0.1"
        terminal.type(f"until stty size | grep -q '^33 99$'; do {again}; done; echo $((40 + 2))\r")
        terminal.wait_for("42")
        terminal.type("exit\r")
        terminal.program.wait(10)
