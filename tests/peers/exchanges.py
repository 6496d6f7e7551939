"""What real clients do with real servers; each function is a test of the way between them.

They know nothing of that way: the same exchanges are run directly and through the relay.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from typing import TYPE_CHECKING

from websockets.sync.client import connect

from tests.peers import servers
from tests.peers.site import digest
from tests.peers.terminal import Terminal
from tests.peers.urgent import UrgentWatch

if TYPE_CHECKING:
    from tests.peers.site import Meeting

IDLE = 3.0
"""Seconds of silence in the WebSocket session."""
IPERF = 100 * 2**20
"""Octets of iperf3's."""

_SYNCH = b"\xff"  # of IAC DM (RFC 854), the telnets of BSD's kind mark the first byte as urgent


def telnet_with_synch(meeting: Meeting) -> None:
    """A login with inetutils telnet; a command in it is interrupted, with a Synch."""
    servers.telnet_server(meeting.server)
    with (
        contextlib.closing(UrgentWatch(meeting.server.host, servers.TELNET)) as watch,
        Terminal(meeting.client, "inetutils-telnet", meeting.address) as terminal,
    ):
        terminal.wait_for(servers.PROMPT)
        terminal.type("echo before-$((40 + 2)); sleep 99\r")
        terminal.wait_for("before-42")
        for command in ("ip", "synch"):
            terminal.type("\x1d")
            terminal.wait_for("telnet> ")
            terminal.type(f"send {command}\r")
        # Not for the prompt: it may be there already, or have been thrown away by the terminal,
        # which sends the signal first and forgets its output then.
        _insist(terminal, "echo after-$((50 + 5))\r", "after-55")
        terminal.type("exit\r")
        terminal.wait_for("Connection closed by foreign host")
        terminal.program.wait(10)
        assert watch.bytes_seen() == _SYNCH


def _insist(terminal: Terminal, line: str, answer: str) -> None:
    """Type *line* until the shell has read it.

    It forgets what was typed before it has set the terminal's mode anew, after an interrupt.
    """
    for _ in range(4):
        terminal.type(line)
        with contextlib.suppress(AssertionError):
            terminal.wait_for(answer, 4)
            return
    terminal.wait_for(answer)


def ssh_login(meeting: Meeting) -> None:
    """A command over SSH: its output, its error output and its status arrive."""
    configuration = servers.ssh_server(meeting.server, meeting.client)
    command = "cat; echo $SSH_CLIENT >&2; exit 7"
    result = meeting.client.host.run(
        [meeting.client.need("ssh"), "-F", configuration, meeting.address, command],
        stdin="hello\n",
        check=False,
    )
    assert (result.returncode, result.stdout) == (7, "hello\n")
    assert result.stderr.startswith("192.0.2.")


def scp_both_ways(meeting: Meeting) -> None:
    """The payload by scp to the server and back."""
    configuration = servers.ssh_server(meeting.server, meeting.client)
    there, back = meeting.server.directory / "there", meeting.client.directory / "back"
    remote = f"{meeting.url_host}:{there}"
    meeting.client.run("scp", "-q", "-F", configuration, meeting.payload.path, remote)
    assert digest(there) == meeting.payload.digest
    meeting.client.run("scp", "-q", "-F", configuration, remote, back)
    assert digest(back) == meeting.payload.digest


def curl_download(meeting: Meeting) -> None:
    """The payload by curl from nginx."""
    servers.web_server(meeting.server, meeting.payload)
    url, file = f"http://{meeting.url_host}/payload", meeting.client.directory / "curled"
    meeting.client.run("curl", "-q", "-sS", "--fail", "--output", file, url)
    assert digest(file) == meeting.payload.digest


def wget_download(meeting: Meeting) -> None:
    """The payload by wget from nginx."""
    servers.web_server(meeting.server, meeting.payload)
    url, file = f"http://{meeting.url_host}/payload", meeting.client.directory / "wgot"
    meeting.client.run("wget", "--no-config", "-q", "-O", file, url)
    assert digest(file) == meeting.payload.digest


def git_clone(meeting: Meeting) -> None:
    """A clone over git://, with a large file in it."""
    server, client = meeting.server, meeting.client
    repository, clone = server.directory / "project", client.directory / "clone"
    server.run("git", "init", "-q", repository)
    with meeting.payload.path.open("rb") as payload:
        (repository / "large").write_bytes(payload.read(20 * 2**20))
    as_author = ("-C", repository, "-c", "user.name=Author", "-c", "user.email=author@example.net")
    server.run("git", *as_author, "add", "large")
    server.run("git", *as_author, "commit", "-q", "-m", "Add a large file")
    servers.git_server(server, repository)
    client.run("git", "clone", "-q", f"git://{meeting.url_host}/project", clone)
    assert digest(clone / "large") == digest(repository / "large")


def rsync_both_ways(meeting: Meeting) -> None:
    """A tree by rsync from its daemon, and back under another name."""
    server, client = meeting.server, meeting.client
    tree = server.directory / "files" / "tree"
    (tree / "deep").mkdir(parents=True)
    for number in range(100):
        (tree / "deep" / f"{number}").write_text(f"{number}\n" * number)
    (tree / "large").hardlink_to(meeting.payload.path)
    servers.rsync_server(server, tree.parent)
    url = f"rsync://{meeting.url_host}/files"
    client.run("rsync", "-a", f"{url}/tree", client.directory)
    client.run("rsync", "-a", f"{client.directory}/tree/", f"{url}/again")
    assert digest(tree.parent / "again" / "large") == meeting.payload.digest
    assert (tree.parent / "again" / "deep" / "99").read_text() == "99\n" * 99


def iperf_both_ways(meeting: Meeting) -> None:
    """Octets of iperf3's to the server, and from it."""
    servers.iperf_server(meeting.server)
    for direction in ((), ("--reverse",)):
        arguments = ("--client", meeting.address, "--bytes", f"{IPERF}", "--json", *direction)
        result = json.loads(meeting.client.run("iperf3", *arguments))
        # Of the end of it, each side counts what it has seen by then.
        assert result["end"]["sum_sent"]["bytes"] >= IPERF
        assert result["end"]["sum_received"]["bytes"] > IPERF / 2


def websocket_session(meeting: Meeting) -> None:
    """A WebSocket session in which nobody says anything for a while."""
    servers.websocket_server(meeting.server)
    where = (meeting.address, servers.WEBSOCKET)
    peer = meeting.client.host.call(socket.create_connection, where)
    url = f"ws://{meeting.url_host}:{servers.WEBSOCKET}/"
    with connect(url, sock=peer, ping_interval=None) as session:
        for message in ("before", "after"):
            session.send(message)
            assert session.recv(timeout=10) == message
            time.sleep(IDLE if message == "before" else 0)  # time: a session at rest
    assert session.close_code == 1000


EXCHANGES = (
    telnet_with_synch,
    ssh_login,
    scp_both_ways,
    curl_download,
    wget_download,
    git_clone,
    rsync_both_ways,
    iperf_both_ways,
    websocket_session,
)
