"""rsh and rlogin through faithd; the real programs are in tests/peers/test_rsh.py."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from faith.kernel.sockets.tcp_sockets import bind_reserved
from faith.lab import wait_until
from faith.lab.topology import GATEWAY_V4, SERVER
from tests.faithd import Faithd
from tests.netns.service import Server, connect_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.lab import Host, ThreeHosts

    Start = Callable[..., Faithd]

pytestmark = pytest.mark.netns

RLOGIN, RSH = 513, 514
REST = b"root\0root\0ls\0"


@pytest.fixture
def start(lab: ThreeHosts, tmp_path: Path) -> Start:
    def start(*arguments: str) -> Faithd:
        faithd = Faithd(lab.gateway, tmp_path / "log", "-P", lab.prefix, *arguments)
        faithd.wait_said("serving")
        return faithd

    return start


class Rshd(Server):
    """A listener on the IPv4-only host that does as the test says."""

    def __init__(self, host: Host, port: int = RSH) -> None:
        super().__init__(host, port)
        self.host = host

    def call_back(self, port: int, *, reserved: bool = True) -> socket.socket:
        """The second connection; raises ConnectionRefusedError."""
        second = self.host.call(socket.socket)
        second.settimeout(5)
        if reserved:
            bind_reserved(second, SERVER)
        try:
            second.connect((GATEWAY_V4, port))
        except OSError:
            second.close()
            raise
        return second

    def is_refused(self, port: int) -> bool:
        """Whether there is no second connection to be had."""
        try:
            self.call_back(port).close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:  # it came to a listener that was just being closed
            return False
        return False


@pytest.fixture
def rshd(lab: ThreeHosts) -> Iterator[Rshd]:
    made = Rshd(lab.server)
    yield made
    made.listener.close()


def connect(lab: ThreeHosts, port: int = RSH) -> socket.socket:
    return connect_from(lab.client, lab.mapped(), port)


def listen(lab: ThreeHosts) -> tuple[socket.socket, int]:
    """Where a client waits for its standard error: at a reserved port."""
    listener = lab.client.call(socket.socket, socket.AF_INET6)
    port = bind_reserved(listener, "::")
    listener.listen()
    listener.settimeout(5)
    return listener, port


def told(control: socket.socket) -> int:
    """The port that the server is told."""
    said = b""
    while not said.endswith(b"\0"):
        said += control.recv(1)
    return int(said[:-1])


def is_reset(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1)) and False
    except ConnectionResetError:
        return True


def gets_reset(connect: Callable[[], socket.socket]) -> bool:
    """Whether a connection is made and reset, however soon."""
    try:
        with connect() as sock:
            return is_reset(sock)
    except ConnectionResetError:
        return True


def is_turned_away(lab: ThreeHosts) -> bool:
    def impatient() -> socket.socket:
        client = connect(lab)
        client.settimeout(0.2)
        return client

    try:
        return gets_reset(impatient)
    except TimeoutError:
        return False


# -- the second connection -----------------------------------------------------------------------


def test_the_server_calls_the_client_through_the_gateway(
    lab: ThreeHosts, rshd: Rshd, start: Start
) -> None:
    faithd = start("shell")
    listener, port = listen(lab)
    with connect(lab) as client, listener:
        client.sendall(b"%d\0" % port + REST)
        with rshd.accept() as control:
            assert rshd.peer[0] == GATEWAY_V4
            assert 512 <= rshd.peer[1] < 1024
            ours = told(control)
            assert 512 <= ours < 1024
            with rshd.call_back(ours) as second:
                errors, peer = listener.accept()
                with errors:
                    assert peer[0] == lab.mapped()
                    assert 512 <= peer[1] < 1024
                    second.sendall(b"trouble")
                    assert errors.recv(7, socket.MSG_WAITALL) == b"trouble"
                    errors.sendall(b"\2")
                    assert second.recv(1) == b"\2"
            assert control.recv(100) == REST
            wait_until(lambda: rshd.is_refused(ours), 5, "nobody being let in any more")
    wait_until(lambda: faithd.said.count("end=closed") == 2, 5, "two records")
    assert f"server={SERVER}:" in faithd.said


@pytest.mark.parametrize("first", [b"0\0", b"\0"])
def test_none_is_asked_for(lab: ThreeHosts, rshd: Rshd, start: Start, first: bytes) -> None:
    start("shell")
    with connect(lab) as client, rshd.accept() as control:
        for octet in first + REST:
            client.sendall(bytes([octet]))
        client.shutdown(socket.SHUT_WR)
        assert control.makefile("rb").read() == first + REST


def test_only_the_server_may_come_and_only_with_privilege(
    lab: ThreeHosts, rshd: Rshd, start: Start
) -> None:
    faithd = start("shell")
    listener, port = listen(lab)
    with connect(lab) as client, rshd.accept() as control, listener:
        client.sendall(b"%d\0" % port)
        ours = told(control)
        assert gets_reset(lambda: rshd.call_back(ours, reserved=False))
        stranger = (GATEWAY_V4, ours)
        assert gets_reset(lambda: lab.gateway.call(socket.create_connection, stranger, 5))
        faithd.wait_said("a connection from 192.0.2.80 was refused")
        faithd.wait_said(f"a connection from {GATEWAY_V4} was refused")
        with rshd.call_back(ours):
            listener.accept()[0].close()


def test_it_passes_the_rules_of_its_moment(
    lab: ThreeHosts, rshd: Rshd, start: Start, tmp_path: Path
) -> None:
    rules = tmp_path / "faithd.conf"
    rules.write_text("2001:db8:6::/64 permit 0.0.0.0/0\n")
    faithd = start("-f", str(rules), "--workers=1", "shell")
    listener, port = listen(lab)
    with connect(lab) as client, rshd.accept() as control, listener:
        client.sendall(b"%d\0" % port)
        ours = told(control)
        rules.write_text("2001:db8:6::/64 deny 192.0.2.0/24\n")
        faithd.signal(1)
        wait_until(lambda: is_turned_away(lab), 5, "the worker knowing the new rules")
        before = faithd.said.count("not permitted")
        with pytest.raises(ConnectionResetError), rshd.call_back(ours) as second:
            second.recv(1)
        faithd.wait_said("not permitted", before + 1)


def test_a_client_that_does_not_listen_is_no_harm(
    lab: ThreeHosts, rshd: Rshd, start: Start
) -> None:
    faithd = start("shell")
    with connect(lab) as client, rshd.accept() as control:
        client.sendall(b"777\0")
        ours = told(control)
        assert gets_reset(lambda: rshd.call_back(ours))
        faithd.wait_said('end="client refused"')
        client.sendall(b"x")
        assert control.recv(1) == b"x"


# -- bad beginnings ------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"22\0", b"1024\0", b"ls\0", b"0000000\0", b"999999999"])
def test_no_such_port(lab: ThreeHosts, rshd: Rshd, start: Start, said: bytes) -> None:
    faithd = start("shell")
    with connect(lab) as client, rshd.accept() as control:
        client.sendall(said)
        assert is_reset(client)
        assert is_reset(control)
        faithd.wait_said("rsh from 2001:db8:6::2: port b'")
        faithd.wait_said('end="bad stderr port"')


def test_the_client_goes_before_the_server_comes(lab: ThreeHosts, rshd: Rshd, start: Start) -> None:
    faithd = start("shell")
    with connect(lab) as client, rshd.accept() as control:
        client.sendall(b"777\0")
        ours = told(control)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        faithd.wait_said('end="client reset"')
        wait_until(lambda: rshd.is_refused(ours), 5, "nobody being let in any more")


def test_a_server_that_hangs_up_first(lab: ThreeHosts, rshd: Rshd, start: Start) -> None:
    faithd = start("shell")
    with connect(lab) as client:
        rshd.accept().close()
        assert client.recv(1) == b""
        client.close()
    faithd.wait_said("end=")


def test_a_client_that_ends_early(lab: ThreeHosts, rshd: Rshd, start: Start) -> None:
    start("shell")
    with connect(lab) as client, rshd.accept() as control:
        client.sendall(b"77")
        client.shutdown(socket.SHUT_WR)
        assert control.makefile("rb").read() == b"77"


def test_stopping(lab: ThreeHosts, rshd: Rshd, start: Start) -> None:
    faithd = start("--drain-timeout=0.2", "shell")
    with connect(lab) as client, rshd.accept() as control, connect(lab) as mute, rshd.accept():
        client.sendall(b"777\0")
        told(control)
        assert faithd.stop() == 0
        assert is_reset(client)
        assert is_reset(mute)


# -- who is served so ----------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["514"], ["500-520"], ["--alg=none", "shell"]])
def test_not_unless_asked_for(
    lab: ThreeHosts, rshd: Rshd, start: Start, arguments: list[str]
) -> None:
    faithd = start(*arguments)
    with connect(lab) as client:
        client.sendall(b"777\0")
        with rshd.accept() as control:
            assert rshd.peer[1] >= 1024
            assert control.recv(4, socket.MSG_WAITALL) == b"777\0"
    assert "RFC 3142" not in faithd.said


def test_rlogin_comes_from_a_privileged_port(lab: ThreeHosts, start: Start) -> None:
    faithd = start("login")
    rlogind = Rshd(lab.server, RLOGIN)
    with rlogind.listener, connect(lab, RLOGIN) as client, rlogind.accept() as control:
        assert 512 <= rlogind.peer[1] < 1024
        client.sendall(b"\0")
        assert control.recv(1) == b"\0"
    assert faithd.said.count("RFC 3142") == 1


def test_another_port_can_be_rsh(lab: ThreeHosts, start: Start) -> None:
    start("--alg=rsh", "2514")
    rshd = Rshd(lab.server, 2514)
    with rshd.listener, connect(lab, 2514) as client, rshd.accept() as control:
        client.sendall(b"777\0")
        assert told(control) != 777
