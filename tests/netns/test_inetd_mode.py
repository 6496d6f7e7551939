"""``faithd --inetd``, started as inetd does it: one connection, on descriptors 0 to 2."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import random
import select
import signal
import socket
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import faith
from faith.kernel.netlink.routes import reserve
from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V4, GATEWAY_V6, SERVER
from faith.translation.prefix import Prefix
from faith.translation.proxy_protocol import header
from tests.netns.connections import ESTABLISHED, count, is_asleep

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from faith.lab import Host, ThreeHosts

pytestmark = pytest.mark.netns

PORT = 23
ABORT = struct.pack("=ii", 1, 0)
SIOCATMARK = 0x8905
RUN = """\
import sys
from faith.relay.inetd import inetd, syslog
syslog.DEV_LOG = sys.argv[1]
sys.exit(inetd.main(sys.argv[2:]))
"""


class Inetd:
    """The gateway with inetd's listener on the telnet port, and what a test does with it."""

    def __init__(self, lab: ThreeHosts, log: Path) -> None:
        self.lab = lab
        self._log_path = log
        self._log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._log.bind(str(log))
        self._log.settimeout(30)  # a reset waits up to 15 s for a peer that does not read
        self._listener = lab.gateway.call(
            lambda: socket.create_server(("::", PORT), family=socket.AF_INET6)
        )
        self.server = lab.server.call(lambda: socket.create_server((SERVER, PORT), backlog=1))
        self.server.settimeout(10)
        self._accepted: list[socket.socket] = []  # and connected
        self.program: subprocess.Popen[str]
        lab.gateway.call(reserve, Prefix.parse(lab.prefix))

    def close(self) -> None:
        for sock in (self._log, self._listener, self.server, *self._accepted):
            sock.close()

    def start(self, *words: str, address: str = "") -> socket.socket:
        """A client's connection to *address*, the server's by default, given to the program."""
        client = self.connect(address or self.lab.mapped())
        self.serve(*words)
        return client

    def connect(self, address: str, host: Host | None = None) -> socket.socket:
        client = (host or self.lab.client).call(
            lambda: socket.create_connection((address, PORT), 10)
        )
        self._accepted.append(client)
        return client

    def serve(self, *words: str) -> None:
        connection, _ = self._listener.accept()
        with connection:
            self.program = self.lab.gateway.popen(
                [sys.executable, "-c", RUN, str(self._log_path), *words],
                **dict.fromkeys(("stdin", "stdout", "stderr"), connection.fileno()),
                cwd=Path(faith.__file__).parents[1],
            )

    def session(self, *words: str) -> tuple[socket.socket, socket.socket]:
        """Both ends of a relayed connection: the client's socket and the server's."""
        return self.start(*words), self.accept()

    def accept(self) -> socket.socket:
        """The server's end."""
        server, _ = self.server.accept()
        server.settimeout(10)
        self._accepted.append(server)
        return server

    def told(self) -> str:
        """The next line of syslog."""
        return self._log.recv(65536).decode()

    def ended(self, end: str, status: int) -> str:
        """Assert how the session ended; returns its record."""
        record = self.told()
        assert record.endswith(f" end={end}")
        assert self.program.wait(10) == status
        return record


@pytest.fixture
def inetd(lab: ThreeHosts, tmp_path: Path) -> Iterator[Inetd]:
    inetd = Inetd(lab, tmp_path / "log")
    yield inetd
    inetd.close()


def read_all(sock: socket.socket) -> bytes:
    received = bytearray()
    while data := sock.recv(1 << 20):
        received += data
    return bytes(received)


def is_reset(sock: socket.socket) -> bool:
    """Whether the connection ends, after what may still come, with RST."""
    try:
        read_all(sock)
    except ConnectionResetError:
        return True
    poll = select.poll()
    poll.register(sock, 0)
    poll.poll(10_000)
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.EPIPE  # RST after FIN


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_server_is_told_its_client(inetd: Inetd, version: str) -> None:
    client, server = inetd.session("--proxy", version)
    client.sendall(b"hello")
    client.shutdown(socket.SHUT_WR)
    told = header(version, (CLIENT, client.getsockname()[1]), (inetd.lab.mapped(), PORT))
    assert read_all(server) == told + b"hello"
    server.close()
    assert " sent=5 " in inetd.ended("closed", 0)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
    sock.close()


def send_in_background(
    sock: socket.socket, before: bytes, urgent: bytes = b"", after: bytes = b""
) -> None:
    """Send *before*, the *urgent* byte, *after* and FIN."""

    def send() -> None:
        sock.sendall(before)
        if urgent:
            sock.send(urgent, socket.MSG_OOB)
        sock.sendall(after)
        sock.shutdown(socket.SHUT_WR)

    threading.Thread(target=send, daemon=True).start()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# Relaying


def test_relays_and_tells(inetd: Inetd) -> None:
    client, server = inetd.session()
    client.sendall(b"login")
    assert server.recv(100) == b"login"
    source, source_port = server.getpeername()
    title = Path(f"/proc/{inetd.program.pid}/cmdline").read_bytes().rstrip(b"\0")
    assert title == b"faithd: inetd 23"
    server.sendall(b"password")
    assert client.recv(100) == b"password"
    client.shutdown(socket.SHUT_WR)
    assert server.recv(100) == b""
    server.shutdown(socket.SHUT_WR)
    assert client.recv(100) == b""
    record = inetd.ended("closed", 0)
    host, port = client.getsockname()[:2]
    assert record.startswith("<30>")
    assert f" faithd[{inetd.program.pid}]: " in record
    assert f"client=[{host}]:{port} mapped=[{inetd.lab.mapped()}]:23" in record
    assert f"source={source}:{source_port} server={SERVER}:23 sent=5 received=8" in record


def test_bulk_both_ways_at_once(inetd: Inetd) -> None:
    client, server = inetd.session()
    up, down = (random.Random(seed).randbytes(20_000_000) for seed in (4, 6))
    for sock, data in ((client, up), (server, down)):
        send_in_background(sock, data)
    with ThreadPoolExecutor() as pool:
        received = pool.map(read_all, (server, client))
    assert list(map(digest, received)) == [digest(up), digest(down)]
    assert "sent=20000000 received=20000000" in inetd.ended("closed", 0)


@pytest.mark.parametrize("first", ["client", "server"])
def test_half_close_leaves_the_other_direction_open(inetd: Inetd, first: str) -> None:
    pair = inetd.session()
    early, late = pair if first == "client" else pair[::-1]
    early.sendall(b"question")
    early.shutdown(socket.SHUT_WR)
    assert read_all(late) == b"question"
    for _ in range(3):
        late.sendall(b"answer")
        assert early.recv(100) == b"answer"
    late.close()
    assert read_all(early) == b""
    inetd.ended("closed", 0)


def test_a_reader_that_stops_stops_the_writer(inetd: Inetd) -> None:
    client, server = inetd.session()
    client.settimeout(0.5)
    sent = 0
    while sent < 64 << 20:
        try:
            sent += client.send(bytes(1 << 20))
        except TimeoutError:
            break
    else:
        pytest.fail("64 MiB went somewhere")
    client.settimeout(10)
    client.shutdown(socket.SHUT_WR)
    assert len(read_all(server)) == sent
    server.close()
    inetd.ended("closed", 0)


def test_waiting_costs_no_cpu_when_both_fins_have_come(inetd: Inetd) -> None:
    # The client's socket is at HUP for good, and what it sent waits for the server to read.
    inetd.server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client, server = inetd.session()
    client.sendall(bytes(500_000))
    client.shutdown(socket.SHUT_WR)
    server.shutdown(socket.SHUT_WR)
    assert read_all(client) == b""
    before = cpu_ticks(inetd.program.pid)
    time.sleep(0.5)  # time: what it costs in a while
    assert cpu_ticks(inetd.program.pid) - before < 10
    assert inetd.program.poll() is None
    assert len(read_all(server)) == 500_000
    server.close()
    inetd.ended("closed", 0)


def cpu_ticks(pid: int) -> int:
    user, system = Path(f"/proc/{pid}/stat").read_text().split()[13:15]
    return int(user) + int(system)


# Urgent data


def at_mark(sock: socket.socket) -> bool:
    return fcntl.ioctl(sock, SIOCATMARK, bytes(4)) != bytes(4)


def read_to_mark(sock: socket.socket) -> bytes:
    """What comes before the urgent byte, with *sock* keeping it inline."""
    received = b""
    while wait_readable(sock) and not at_mark(sock):
        data = sock.recv(1 << 20)  # stops at a mark that is ahead, by itself
        assert data, "the end came before the urgent byte"
        received += data
    return received


def wait_readable(sock: socket.socket) -> bool:
    # A recv that waits would take an urgent byte that comes next for an ordinary one.
    return bool(select.select([sock], [], [], 10)[0])


@pytest.mark.parametrize("sender", ["client", "server"])
def test_urgent_byte_keeps_its_place(inetd: Inetd, sender: str) -> None:
    pair = inetd.session()
    near, far = pair if sender == "client" else pair[::-1]
    far.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    near.sendall(b"before")
    near.send(b"!", socket.MSG_OOB)
    near.sendall(b"after")
    near.shutdown(socket.SHUT_WR)
    assert read_to_mark(far) == b"before"
    assert far.recv(1) == b"!"
    assert read_all(far) == b"after"
    far.close()
    inetd.ended("closed", 0)


def test_urgent_byte_in_the_middle_of_bulk(inetd: Inetd) -> None:
    client, server = inetd.session()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    before, after = (random.Random(seed).randbytes(5_000_000) for seed in (4, 6))
    send_in_background(client, before, b"!", after)
    assert read_to_mark(server) == before
    assert server.recv(1) == b"!"
    assert read_all(server) == after
    server.close()
    inetd.ended("closed", 0)


def test_urgent_byte_with_the_end_behind_it(inetd: Inetd) -> None:
    client, server = inetd.session()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    data = bytes(1_000_000)
    send_in_background(client, data, urgent=b"!")
    assert read_to_mark(server) == data
    assert read_all(server) == b"!"
    server.close()
    inetd.ended("closed", 0)


def test_urgent_byte_sent_before_the_program_ran(inetd: Inetd) -> None:
    client = inetd.connect(inetd.lab.mapped())
    client.send(b"early!", socket.MSG_OOB)
    inetd.serve()
    server = inetd.accept()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    assert read_to_mark(server) == b"early"
    assert server.recv(1) == b"!"


# Ends that were not agreed on


@pytest.mark.parametrize("first", ["client", "server"])
def test_reset_is_passed_on(inetd: Inetd, first: str) -> None:
    pair = inetd.session()
    broken, other = pair if first == "client" else pair[::-1]
    broken.sendall(b"x")
    assert other.recv(1) == b"x"  # the relay is at work
    reset(broken)
    assert is_reset(other)
    inetd.ended(f'"{first} reset"', 1)


def test_reset_is_noticed_while_the_other_side_does_not_read(inetd: Inetd) -> None:
    client, server = inetd.session()
    client.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.sendall(bytes(64 << 20))
    reset(client)
    inetd.ended('"client reset"', 1)
    assert is_reset(server)


@pytest.mark.parametrize("options", [["--idle-timeout", "0.3"], ["--idle-timeout=0.3", "-p"]])
def test_idle_session_is_reset(inetd: Inetd, options: list[str]) -> None:
    client, server = inetd.session(*options)
    started = time.monotonic()
    for _ in range(3):
        client.sendall(b"still here")
        assert server.recv(100) == b"still here"
        time.sleep(0.2)  # time: less than the limit, and more in all
    assert is_reset(client)
    assert is_reset(server)
    assert time.monotonic() - started > 0.6
    inetd.ended("idle", 1)


def test_half_closed_session_has_its_own_limit(inetd: Inetd) -> None:
    client, server = inetd.session("--half-closed-timeout", "0.2")
    time.sleep(0.4)  # time: more than the limit, which is for half-closed ones
    client.shutdown(socket.SHUT_WR)
    assert server.recv(100) == b""
    assert is_reset(server)
    assert is_reset(client)
    inetd.ended('"idle half-closed"', 1)


def test_terminated_session_is_reset_and_told(inetd: Inetd) -> None:
    client, server = inetd.session()
    client.sendall(b"x")
    assert server.recv(1) == b"x"
    wait_until(lambda: is_asleep(inetd.program.pid), 5, "the byte being counted")
    inetd.program.terminate()
    assert is_reset(client)
    assert is_reset(server)
    assert "sent=1 received=0" in inetd.ended("stopped", 1)


def test_killed_session_does_not_look_like_a_good_end(inetd: Inetd) -> None:
    client, server = inetd.session()
    client.sendall(b"x")
    assert server.recv(1) == b"x"
    inetd.program.kill()
    assert is_reset(client)
    assert is_reset(server)


# Connections that come to nothing


def test_refused_by_the_server(inetd: Inetd) -> None:
    inetd.server.close()
    assert is_reset(inetd.start())
    assert f"server={SERVER}:23 sent=0" in inetd.ended("refused", 1)


def test_unreachable_server(inetd: Inetd) -> None:
    assert is_reset(inetd.start(address=inetd.lab.mapped("198.51.100.1")))
    inetd.ended("unreachable", 1)


def test_server_that_does_not_answer(inetd: Inetd) -> None:
    for _ in range(2):  # a full backlog drops what comes next
        inetd.connect(SERVER, inetd.lab.gateway)
    client = inetd.start("--connect-timeout", "0.3")
    assert is_reset(client)
    inetd.ended("timeout", 1)


@pytest.mark.parametrize(
    ("destination", "conf", "why"),
    [
        (SERVER, "::/0 deny 192.0.2.0/24\n::/0 permit 0.0.0.0/0", "denied by a rule"),
        (SERVER, "::/0 permit 10.0.0.0/8", "no rule permits it"),
        ("127.0.0.1", "::/0 permit 0.0.0.0/0", "special destination"),
        (GATEWAY_V4, "", "the gateway's own address"),
    ],
)
def test_refused_here(inetd: Inetd, tmp_path: Path, destination: str, conf: str, why: str) -> None:
    (tmp_path / "conf").write_text(conf)
    mapped = inetd.lab.mapped(destination)
    assert is_reset(inetd.start("-f", str(tmp_path / "conf"), address=mapped))
    told = inetd.told()
    assert told.startswith("<27>")
    assert f"translation to [{mapped}]:23 not permitted for [{CLIENT}]:" in told
    assert told.endswith(f": {why}")
    assert inetd.program.wait(10) == 1


@pytest.mark.parametrize(
    ("conf", "error"),
    [
        ("::/0 allow 0.0.0.0/0\n", "conf:1: 'allow' is neither permit nor deny"),
        (None, "conf: No such file or directory"),
        ("::/0 permit 0.0.0.0/\xe9", "conf:1: "),
    ],
)
def test_bad_configuration_resets(
    inetd: Inetd, tmp_path: Path, conf: str | None, error: str
) -> None:
    path = tmp_path / "conf"
    if conf:
        path.write_text(conf, "latin-1")
    assert is_reset(inetd.start("-f", str(path)))
    told = inetd.told()
    assert told.startswith("<27>")
    assert error in told
    assert inetd.program.wait(10) == 1


def test_client_that_has_gone(inetd: Inetd) -> None:
    client = inetd.connect(inetd.lab.mapped())
    reset(client)
    gateway = inetd.lab.gateway
    wait_until(lambda: not count(gateway, ESTABLISHED, port=PORT), 5, "the reset's arrival")
    inetd.serve()
    assert inetd.told().endswith(": Transport endpoint is not connected")
    assert inetd.program.wait(10) == 1


def test_bad_option_is_told_to_syslog_and_not_to_the_client(inetd: Inetd) -> None:
    client = inetd.start("--idle-timeout", "soon")
    assert read_all(client) == b""
    assert f" faithd[{inetd.program.pid}]: --idle-timeout soon: give seconds" in inetd.told()
    assert inetd.program.wait(10) == 1


# Where the connection to the server comes from


def test_source_address_of_a_rule(inetd: Inetd, tmp_path: Path) -> None:
    inetd.lab.gateway.links.add_address("to-server", "192.0.2.7/24")
    (tmp_path / "conf").write_text("::/0 permit 0.0.0.0/0 192.0.2.7\n")
    _, server = inetd.session("-f", str(tmp_path / "conf"))
    assert server.getpeername()[0] == "192.0.2.7"


def test_source_address_that_is_not_ours(inetd: Inetd, tmp_path: Path) -> None:
    (tmp_path / "conf").write_text("::/0 permit 0.0.0.0/0 192.0.2.99\n")
    assert is_reset(inetd.start("-f", str(tmp_path / "conf")))
    assert "server=" not in inetd.ended('"no source: cannot assign requested address"', 1)


def test_privileged_source_port(inetd: Inetd) -> None:
    _, server = inetd.session("-p")
    assert 512 <= server.getpeername()[1] < 1024


# The gateway's own address

LOCAL_SERVER = """\
import os, signal, sys
ignored = signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN
os.write(1, f"{sys.argv[1:]} {os.get_blocking(0)} ".encode() + os.read(0, 100))
status = open("/proc/self/status").read()
os.write(2, status.partition("SigIgn:")[2].split()[0].encode())
"""


def test_own_address_starts_the_local_server(inetd: Inetd, tmp_path: Path) -> None:
    words = [sys.executable, "-Ic", LOCAL_SERVER, "-l", "two words"]
    client = inetd.start("-d", "--", *words, address=GATEWAY_V6)
    client.sendall(b"hello")
    assert f"accepted a client from [{client.getsockname()[0]}]" in inetd.told()
    assert f" executing local {sys.executable} for [" in inetd.told()
    answer = read_all(client).decode()
    assert answer.startswith("['-l', 'two words'] True hello")


def test_local_server_gets_signals_as_inetd_left_them(inetd: Inetd) -> None:
    client = inetd.start("sed", "-n", "s/SigIgn:\t//p", "/proc/self/status", address=GATEWAY_V6)
    assert int(read_all(client), 16) & 1 << signal.SIGPIPE - 1 == 0
    assert " executing local /usr/bin/sed for " in inetd.told()


def test_own_address_without_a_local_server_is_closed(inetd: Inetd) -> None:
    assert read_all(inetd.start(address=GATEWAY_V6)) == b""
    assert ": no local service for [2001:db8:6::2]:" in inetd.told()
    assert inetd.program.wait(10) == 0


def test_local_server_does_not_depend_on_the_rules(inetd: Inetd, tmp_path: Path) -> None:
    (tmp_path / "conf").write_text("a mistake")
    client = inetd.start("-f", str(tmp_path / "conf"), "echo", "come in", address=GATEWAY_V6)
    assert read_all(client) == b"come in\n"


def test_local_server_that_is_not_there(inetd: Inetd) -> None:
    client = inetd.start("/no/such/telnetd", address=GATEWAY_V6)
    assert read_all(client) == b""
    assert " executing local /no/such/telnetd for " in inetd.told()
    assert "executing local /no/such/telnetd: No such file" in inetd.told()
    assert inetd.program.wait(10) == 1
