"""FTP from an IPv6-only client to an IPv4-only server, through faithd as an operator starts it."""

from __future__ import annotations

import contextlib
import ftplib
import io
import os
import random
import signal
import socket
import struct
from functools import partial
from typing import TYPE_CHECKING

import pytest

from faith.kernel.netlink import routes
from faith.kernel.nft import guard
from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V4, PREFIX
from faith.translation.prefix import Prefix
from tests.faithd import WITHOUT_BPF, Faithd
from tests.netns.ftp_server import FtpServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from faith.lab import Host, ThreeHosts

    Start = Callable[..., Faithd]

pytestmark = pytest.mark.netns

FILE = random.Random(21).randbytes(3_000_001)


@pytest.fixture
def server(lab: ThreeHosts) -> Iterator[FtpServer]:
    made = FtpServer(lab.server)
    made.files["file"] = FILE
    yield made
    made.close()


@pytest.fixture
def start(lab: ThreeHosts, tmp_path: Path) -> Start:
    """Reserve and guard the prefix, and have a faithd serve."""
    with lab.gateway.inside():
        guard.install([Prefix.parse(PREFIX)])
        routes.reserve(Prefix.parse(PREFIX))

    def start(*arguments: str, by: Sequence[str] = (), log: str = "log") -> Faithd:
        faithd = Faithd(lab.gateway, tmp_path / log, *arguments, by=by)
        faithd.wait_said("serving")
        return faithd

    return start


@pytest.fixture
def ftp(lab: ThreeHosts) -> Iterator[Callable[[], ftplib.FTP]]:
    """Log in: ``ftp()``; to be called, and the connection used, in the client's network."""
    with contextlib.ExitStack() as stack:

        def log_in() -> ftplib.FTP:
            connection = ftplib.FTP(timeout=10)
            stack.callback(connection.close)
            connection.connect(lab.mapped(), 21)
            connection.login("me", "secret")
            return connection

        yield log_in


def fetch(connection: ftplib.FTP, name: str = "file") -> bytes:
    pieces: list[bytes] = []
    connection.retrbinary(f"RETR {name}", pieces.append)
    return b"".join(pieces)


def dialogue(lab: ThreeHosts) -> socket.socket:
    """A control connection after its greeting."""
    control = lab.client.call(socket.create_connection, (lab.mapped(), 21), 5)
    assert ask(control) == b"220-A server\r\n220 of few words\r\n"
    return control


def ask(control: socket.socket, command: bytes = b"") -> bytes:
    """The reply to *command*: what comes up to a last line."""
    control.sendall(command)
    heard = b""
    while not (heard.endswith(b"\r\n") and heard.splitlines()[-1][3:4] == b" "):
        more = control.recv(4096)
        if not more:
            break
        heard += more
    return heard


def port_of(reply: bytes) -> int:
    """Of a 229."""
    assert reply.startswith(b"229 "), reply
    return int(reply.split(b"|")[3])


# -- both modes, every way of steering -----------------------------------------------------------


@pytest.fixture(params=["route", "sk_lookup", "tproxy", "redirect"])
def via(request: pytest.FixtureRequest) -> str:
    """Each way of steering that is possible here."""
    if request.param == "sk_lookup":
        request.getfixturevalue("bpf_allowed")
    return str(request.param)


@pytest.mark.parametrize("passive", [True, False], ids=["EPSV", "EPRT"])
def test_files_come_and_go(
    lab: ThreeHosts,
    server: FtpServer,
    start: Start,
    ftp: Callable[[], ftplib.FTP],
    via: str,
    passive: bool,
) -> None:
    faithd = start(f"--via={via}", "ftp")
    with lab.client.inside():
        connection = ftp()
        connection.set_pasv(passive)
        assert fetch(connection) == FILE
        connection.storbinary("STOR copy", io.BytesIO(FILE))
        assert server.files["copy"] == FILE
        lines: list[str] = []
        connection.retrlines("LIST", lines.append)
        assert lines == ["copy", "file"]
        assert connection.quit() == "221 Bye"
    wait_until(lambda: faithd.said.count("end=closed") == 4, 5, "three transfers and their control")
    assert server.data_peers == [GATEWAY_V4] * 3
    verbs = [line.split()[0] for line in server.heard]
    assert verbs.count(b"PASV" if passive else b"PORT") == 3
    assert f"received={len(FILE)}" in faithd.said
    assert f"sent={len(FILE)}" in faithd.said
    assert faithd.said.count(f"client=[{CLIENT}]") == 4
    assert faithd.said.count(f"mapped=[{lab.mapped()}]") == 4


def test_active_data_comes_from_the_mapped_address(
    lab: ThreeHosts, server: FtpServer, start: Start
) -> None:
    start("ftp")
    with lab.client.inside():
        listener = socket.create_server(("::", 0), family=socket.AF_INET6)
    with dialogue(lab) as control, listener:
        listener.settimeout(5)
        port = listener.getsockname()[1]
        assert ask(control, b"EPRT |2|%s|%d|\r\n" % (CLIENT.encode(), port)) == b"200 I will\r\n"
        control.sendall(b"RETR file\r\n")
        data, peer = listener.accept()
        with data:
            assert peer[0] == lab.mapped()
            assert data.recv(10, socket.MSG_WAITALL) == FILE[:10]


# -- who may come --------------------------------------------------------------------------------


def test_nobody_else_gets_the_clients_data(
    lab: ThreeHosts, server: FtpServer, start: Start
) -> None:
    faithd = start("ftp")
    with dialogue(lab) as control:
        port = port_of(ask(control, b"EPSV\r\n"))
        with (
            lab.gateway.inside(),
            pytest.raises(ConnectionResetError),
            socket.create_connection((lab.mapped(), port), 5) as stranger,
        ):
            stranger.recv(1)
        faithd.wait_said("a data connection of somebody else was refused")
        with lab.client.call(socket.create_connection, (lab.mapped(), port), 5) as data:
            control.sendall(b"RETR file\r\n")
            assert data.recv(10, socket.MSG_WAITALL) == FILE[:10]
        wait_until(lambda: refuses(lab, port), 5, "the listener being gone after one connection")


def refuses(lab: ThreeHosts, port: int) -> bool:
    return refused_from(lab.client, (lab.mapped(), port))


def refused_from(host: Host, address: tuple[str, int]) -> bool:
    try:
        host.call(socket.create_connection, address, 5).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # the listener has just been closed, with this one at it
        return False
    return False


def test_no_one_else_is_called(lab: ThreeHosts, server: FtpServer, start: Start) -> None:
    faithd = start("ftp")
    with dialogue(lab) as control:
        assert ask(control, b"EPRT |2|2001:db8:6::1|2000|\r\n").startswith(b"501 ")
        assert ask(control, b"EPRT |2|%s|22|\r\n" % CLIENT.encode()).startswith(b"504 ")
        assert ask(control, b"PASV\r\n").startswith(b"502 ")
    faithd.wait_said("a data connection to somebody else was asked for")
    assert not [line for line in server.heard if line.startswith((b"PORT", b"EPRT"))]


def test_data_pass_the_rules_of_their_moment(
    lab: ThreeHosts, server: FtpServer, start: Start, tmp_path: Path
) -> None:
    rules = tmp_path / "faithd.conf"
    rules.write_text("2001:db8:6::/64 permit 0.0.0.0/0\n")
    faithd = start("-d", "-f", str(rules), "ftp")
    with dialogue(lab) as control:
        port = port_of(ask(control, b"EPSV\r\n"))
        rules.write_text("2001:db8:6::/64 deny 192.0.2.0/24\n")
        faithd.signal(1)
        faithd.wait_said("new policy:", times=2)  # of both workers
        with (
            lab.client.inside(),
            pytest.raises(ConnectionResetError),
            socket.create_connection((lab.mapped(), port), 5) as data,
        ):
            data.recv(1)
        faithd.wait_said(f"translation to [{lab.mapped()}]:{port} not permitted")
        assert ask(control, b"NOOP\r\n") == b"200 Done\r\n"


def test_once_the_server_has_come_nobody_does(
    lab: ThreeHosts, server: FtpServer, start: Start
) -> None:
    faithd = start("ftp")
    with lab.client.inside():
        listener = socket.create_server(("::", 0), family=socket.AF_INET6)
    with dialogue(lab) as control, listener:
        listener.settimeout(5)
        port = listener.getsockname()[1]
        ask(control, b"EPRT |2|%s|%d|\r\n" % (CLIENT.encode(), port))
        numbers = server.heard[-1].split()[1].split(b",")
        at = GATEWAY_V4, int(numbers[4]) * 256 + int(numbers[5])
        with (
            pytest.raises(ConnectionResetError),  # in connect(2) already, if it is late
            lab.gateway.call(socket.create_connection, at, 5) as stranger,
        ):
            stranger.recv(1)
        faithd.wait_said("a data connection of somebody else was refused")
        control.sendall(b"RETR endless\r\n")
        with listener.accept()[0]:
            wait_until(lambda: refused_from(lab.server, at), 5, "nobody being let in any more")


def test_the_default_data_port_is_nobodys(lab: ThreeHosts, server: FtpServer, start: Start) -> None:
    start("ftp")
    with dialogue(lab), lab.server.inside(), socket.socket() as data:
        wait_until(lambda: bool(server.control_ports), 5, "the control connection")
        data.bind(("", 20))
        with pytest.raises(ConnectionRefusedError):
            data.connect((GATEWAY_V4, server.control_ports[0]))


# -- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "reply", "log"),
    [
        (
            b"RETR " + b"x" * 20_000 + b"\r\n",
            b"500 ",
            "the client: a command of more than 8192 octets",
        ),
        (b"RE\0TR file\r\n", b"501 ", "the client: a NUL in a command"),
        (b"\x80\r\n", b"500 ", ""),
        (b"EPRT |2|::1|5282|\r\n", b"501 ", "the client: a data connection to somebody else"),
    ],
    ids=["long", "NUL", "no command", "somebody else"],
)
def test_a_bad_command_is_told_off_and_the_session_goes_on(
    lab: ThreeHosts, server: FtpServer, start: Start, said: bytes, reply: bytes, log: str
) -> None:
    faithd = start("ftp")
    with dialogue(lab) as control:
        assert ask(control, said).startswith(reply)
        faithd.wait_said(log)
        assert_served(lab, control)


def assert_served(lab: ThreeHosts, control: socket.socket) -> None:
    """A transfer works."""
    port = port_of(ask(control, b"EPSV\r\n"))
    with lab.client.call(socket.create_connection, (lab.mapped(), port), 5) as data:
        control.sendall(b"RETR file\r\n")
        assert read_all(data) == FILE


def test_negotiation_without_end_is_the_end(
    lab: ThreeHosts, server: FtpServer, start: Start
) -> None:
    faithd = start("ftp")
    with dialogue(lab) as control:
        control.sendall(b"".join(b"\xff\xfb%c" % option for option in range(200)) * 5)
        assert read_all(control).endswith(
            b"421 Service not available, closing control connection\r\n"
        )
    faithd.wait_said("the client: Telnet negotiation without end")
    assert not server.heard
    with dialogue(lab) as control:
        assert_served(lab, control)


@pytest.mark.parametrize(
    "reply",
    ["227 Come in ({},7)", "227 Come in (192,0,2,80,0,0)", "227 Come in (1,2,3,4,5,256)", "227 In"],
)
def test_a_227_without_six_good_numbers(
    lab: ThreeHosts, server: FtpServer, start: Start, reply: str
) -> None:
    faithd = start("ftp")
    with dialogue(lab) as control:
        good, server.reply_227 = server.reply_227, reply
        assert ask(control, b"EPSV\r\n") == b"425 Can't open data connection\r\n"
        faithd.wait_said("the server: no port in a reply 227")
        server.reply_227 = good
        assert_served(lab, control)


def test_a_reply_without_end_is_passed_on(lab: ThreeHosts, server: FtpServer, start: Start) -> None:
    start("ftp")
    server.replies["SITE"] = "200 " + "x" * 100_000
    with dialogue(lab) as control:
        assert ask(control, b"SITE\r\n") == server.replies["SITE"].encode() + b"\r\n"
        assert_served(lab, control)


# -- how it ends ---------------------------------------------------------------------------------


def test_abort_with_synch_and_go_on(lab: ThreeHosts, server: FtpServer, start: Start) -> None:
    start("ftp")
    with dialogue(lab) as control:
        port = port_of(ask(control, b"EPSV\r\n"))
        with lab.client.call(socket.create_connection, (lab.mapped(), port), 5) as data:
            assert ask(control, b"RETR endless\r\n") == b"150 Here it comes\r\n"
            assert len(data.recv(1 << 20)) > 0
            control.sendall(b"\xff\xf4")
            control.send(b"\xff", socket.MSG_OOB)
            assert b"226 As you wished" in ask(control, b"\xf2ABOR\r\n") + ask_rest(control)
            with contextlib.suppress(ConnectionResetError):
                while data.recv(1 << 20):
                    pass
        port = port_of(ask(control, b"EPSV\r\n"))
        with lab.client.call(socket.create_connection, (lab.mapped(), port), 5) as data:
            control.sendall(b"RETR file\r\n")
            assert read_all(data) == FILE


def ask_rest(control: socket.socket, seconds: float = 0.5) -> bytes:
    """What else there is to hear within that time."""
    control.settimeout(seconds)
    try:
        return control.recv(4096)
    except TimeoutError:
        return b""
    finally:
        control.settimeout(5)


def read_all(data: socket.socket) -> bytes:
    pieces = []
    while piece := data.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def test_data_outlive_the_control_connection(
    lab: ThreeHosts, server: FtpServer, start: Start
) -> None:
    server.files["file"] = FILE * 5
    faithd = start("ftp")
    control = dialogue(lab)
    first, second = (port_of(ask(control, b"EPSV\r\n")) for _ in range(2))
    with lab.client.call(socket.create_connection, (lab.mapped(), second), 5) as data:
        assert ask(control, b"RETR file\r\n").startswith(b"150 ")
        reset_by_client(control)
        faithd.wait_said(f"mapped=[{lab.mapped()}]:21 ")
        assert refuses(lab, first)
        assert read_all(data) == FILE * 5
    faithd.wait_said("end=closed")


def test_the_client_ends_after_its_last_command(
    lab: ThreeHosts, server: FtpServer, start: Start
) -> None:
    faithd = start("ftp")
    with dialogue(lab) as control:
        control.sendall(b"EPSV 9\r\nNOOP\r\nQUIT\r\n")
        control.shutdown(socket.SHUT_WR)
        heard = read_all(control)
        assert [line[:3] for line in heard.splitlines()] == [b"522", b"200", b"221"]
    faithd.wait_said("end=closed")


def test_resets_are_passed_on(lab: ThreeHosts, server: FtpServer, start: Start) -> None:
    faithd = start("ftp")
    reset_by_client(dialogue(lab))
    faithd.wait_said('end="client reset"')


def reset_by_client(control: socket.socket) -> None:
    control.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
    control.close()


def test_silence_ends_it_but_not_while_data_flow(
    lab: ThreeHosts, server: FtpServer, start: Start
) -> None:
    faithd = start("--idle-timeout=1", "ftp")
    with dialogue(lab) as control:
        port = port_of(ask(control, b"EPSV\r\n"))
        with lab.client.call(socket.create_connection, (lab.mapped(), port), 5) as data:
            assert ask(control, b"RETR endless\r\n").startswith(b"150 ")
            for _ in range(10):
                for _ in range(64):
                    assert data.recv(1 << 16)
                assert ask_rest(control, 0.25) == b""
        with pytest.raises(ConnectionResetError):
            control.recv(1)
    faithd.wait_said(f"mapped=[{lab.mapped()}]:21 ")
    faithd.wait_said("end=idle")


def test_draining_lets_a_transfer_end(
    lab: ThreeHosts, server: FtpServer, start: Start, ftp: Callable[[], ftplib.FTP]
) -> None:
    faithd = start("ftp")
    with lab.client.inside():
        connection = ftp()
        faithd.signal(15)
        faithd.wait_said("stopping")
        assert fetch(connection) == FILE
        connection.quit()
    assert faithd.process.wait(5) == 0
    assert "end=stopped" not in faithd.said


def test_stopping_ends_what_does_not(lab: ThreeHosts, server: FtpServer, start: Start) -> None:
    faithd = start("--drain-timeout=0.3", "ftp")
    with dialogue(lab) as control:
        ask(control, b"EPSV\r\n")
        faithd.stop()
        with pytest.raises(ConnectionResetError):
            control.recv(1)
    assert "end=stopped" in faithd.said


# -- encrypted -----------------------------------------------------------------------------------


@pytest.fixture(params=["BPF", "no BPF"])
def start_either(request: pytest.FixtureRequest, start: Start) -> Start:
    """Start it with the right to use BPF, and without."""
    if request.param == "no BPF":
        request.getfixturevalue("need")("setpriv")
        return partial(start, by=WITHOUT_BPF)
    request.getfixturevalue("bpf_allowed")
    return start


def secured(lab: ThreeHosts) -> socket.socket:
    """A control connection of which the ALG thinks that it cannot read it."""
    control = dialogue(lab)
    assert ask(control, b"AUTH TLS\r\n") == b"234 Go ahead\r\n"
    return control


@pytest.mark.parametrize(
    ("start_either", "main_way"),
    [
        *(("BPF", way) for way in ("route", "sk_lookup", "tproxy", "redirect")),
        *(("no BPF", way) for way in ("route", "tproxy", "redirect")),
    ],
    indirect=["start_either"],
)
def test_data_behind_encryption(
    lab: ThreeHosts,
    server: FtpServer,
    start_either: Start,
    main_way: str,
) -> None:
    faithd = start_either(f"--via={main_way}", "ftp")
    with secured(lab) as control:
        for _ in range(2):
            port = port_of(ask(control, b"EPSV\r\n"))
            with lab.client.call(socket.create_connection, (lab.mapped(), port), 5) as data:
                control.sendall(b"RETR file\r\n")
                assert read_all(data) == FILE
            heard = b""
            while not heard.endswith(b"226 Sent\r\n"):
                heard += control.recv(4096)
            faithd.wait_said(f"mapped=[{lab.mapped()}]:{port} ")
        with secured(lab):
            pass
        port = port_of(ask(control, b"EPSV\r\n"))
        assert not refuses(lab, port), "the end of another session takes nothing from this one"
    faithd.wait_said(f"mapped=[{lab.mapped()}]:21 ", 2)
    wait_until(lambda: refuses(lab, port), 5, "nobody being let in any more")
    way = "tproxy" if isinstance(start_either, partial) else "sk_lookup"
    assert f"data of encrypted FTP is steered by {way}" in faithd.said


def test_only_that_client_to_that_server_and_no_port_of_the_systems(
    lab: ThreeHosts, server: FtpServer, start_either: Start
) -> None:
    start_either("ftp")
    with secured(lab) as control:
        port = port_of(ask(control, b"EPSV\r\n"))
        assert refuses(lab, 1023)
        with lab.client.inside(), pytest.raises(ConnectionRefusedError):
            socket.create_connection((lab.mapped("192.0.2.81"), port), 5)
        with lab.gateway.inside(), pytest.raises(ConnectionRefusedError):
            socket.create_connection((lab.mapped(), port), 5)


NO_ENCRYPTED_DATA = """
workers = 1
control = "{directory}/control"
[[service]]
ports = "ftp"
encrypted_data = {wanted}
"""


def test_a_service_may_have_no_encrypted_data(
    lab: ThreeHosts, server: FtpServer, start: Start, tmp_path: Path
) -> None:
    file = tmp_path / "faith.toml"
    file.write_text(NO_ENCRYPTED_DATA.format(directory=tmp_path, wanted="false"))
    faithd = start("--config", str(file))
    with secured(lab) as control:
        port = port_of(ask(control, b"EPSV\r\n"))
        assert refuses(lab, port), "the client is not let in at the ports of that server"
        assert ask(control, b"NOOP\r\n"), "the control connection goes on"
        faithd.signal(signal.SIGUSR2)
        faithd.wait_said("upgraded to program 2", seconds=30)
        file.write_text(NO_ENCRYPTED_DATA.format(directory=tmp_path, wanted="true"))
        faithd.signal(signal.SIGHUP)
        faithd.wait_said("read again;")
        assert refuses(lab, port_of(ask(control, b"EPSV\r\n"))), "it keeps what it began with"
        assert "data of encrypted FTP is steered" not in faithd.said
    with secured(lab) as control:
        port = port_of(ask(control, b"EPSV\r\n"))
        with lab.client.call(socket.create_connection, (lab.mapped(), port), 5) as data:
            control.sendall(b"RETR file\r\n")
            assert read_all(data) == FILE


def test_one_that_is_killed_leaves_nothing_steered(
    lab: ThreeHosts, server: FtpServer, start_either: Start
) -> None:
    faithd = start_either("ftp")
    with secured(lab) as control:
        port = port_of(ask(control, b"EPSV\r\n"))
        assert not refuses(lab, port)
        faithd.process.kill()
        faithd.process.wait()
        port = port_of(ask(control, b"EPSV\r\n"))
        wait_until(lambda: refuses(lab, port), 5, "nobody being let in any more")


def test_a_worker_that_dies_takes_its_steering_along(
    lab: ThreeHosts, server: FtpServer, start_either: Start
) -> None:
    faithd = start_either("ftp")
    with secured(lab) as control:
        port = port_of(ask(control, b"EPSV\r\n"))
        for worker in faithd.workers:
            os.kill(worker, 9)
        wait_until(lambda: refuses(lab, port), 5, "nobody being let in any more")
    faithd.wait_said("takes its place", 2)
    wait_until(lambda: len(faithd.workers) == 2, 5, "new workers")
    with secured(lab) as control:
        port = port_of(ask(control, b"EPSV\r\n"))
        with lab.client.call(socket.create_connection, (lab.mapped(), port), 5) as data:
            control.sendall(b"RETR file\r\n")
            assert read_all(data) == FILE


def test_the_client_is_told_a_port_that_no_encrypted_session_can_be_told(
    lab: ThreeHosts, server: FtpServer, start: Start
) -> None:
    start("ftp")
    with dialogue(lab) as control:
        told = port_of(ask(control, b"EPSV\r\n"))
        assert [told] == server.passive_ports, (
            "an encrypted session of this client's would come in here, too"
        )
        with lab.client.call(socket.create_connection, (lab.mapped(), told), 5) as data:
            control.sendall(b"RETR file\r\n")
            assert read_all(data) == FILE


def test_where_that_port_cannot_be_had_there_is_another(
    lab: ThreeHosts, server: FtpServer, start: Start
) -> None:
    start("ftp")
    server.reply_227 = "227 Come in (192,0,2,80,0,99)"
    with dialogue(lab) as control:
        assert port_of(ask(control, b"EPSV\r\n")) >= 1024
        server.reply_227 = "227 Come in (192,0,2,80,200,1)"
        first = port_of(ask(control, b"EPSV\r\n"))
        with dialogue(lab) as another:
            assert first == 51201 != port_of(ask(another, b"EPSV\r\n"))


# -- other faithds -------------------------------------------------------------------------------


@pytest.fixture(params=["sk_lookup", "tproxy", "redirect"])
def of_all_ports(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A faithd for all data ports there are, by each of the ways that take any number of them."""
    if request.param == "sk_lookup":
        request.getfixturevalue("bpf_allowed")
    return f"--via={request.param}", "1024-65535"


@pytest.mark.parametrize("first", ["it", "the other"])
def test_a_data_port_is_nobody_elses(
    lab: ThreeHosts,
    server: FtpServer,
    start: Start,
    ftp: Callable[[], ftplib.FTP],
    of_all_ports: tuple[str, str],
    first: str,
) -> None:
    if first == "the other":
        start(*of_all_ports, log="other")
    faithd = start("ftp")
    with lab.client.inside():
        connection = ftp()
        if first == "it":
            assert fetch(connection) == FILE
            start(*of_all_ports, log="other")
        assert fetch(connection) == FILE
        connection.quit()
    faithd.wait_said(f"received={len(FILE)}", 2 if first == "it" else 1)


@pytest.mark.parametrize("service", ["1-65535", "21,32768-60999"])
def test_nor_its_own_in_another_guise(
    lab: ThreeHosts,
    server: FtpServer,
    start: Start,
    ftp: Callable[[], ftplib.FTP],
    service: str,
) -> None:
    faithd = start(service)
    with lab.client.inside():
        connection = ftp()
        assert fetch(connection) == FILE
        connection.quit()
    faithd.wait_said("end=closed", 2)
    assert b"PASV\r\n" in server.heard


def test_a_session_in_clear_beside_an_encrypted_one(
    lab: ThreeHosts, server: FtpServer, start_either: Start
) -> None:
    start_either("ftp")
    with secured(lab), dialogue(lab) as control:
        port = port_of(ask(control, b"EPSV\r\n"))
        with lab.client.call(socket.create_connection, (lab.mapped(), port), 5) as data:
            control.sendall(b"RETR file\r\n")
            assert read_all(data) == FILE


# -- which ports ---------------------------------------------------------------------------------


def test_a_port_can_be_ftps_or_not(lab: ThreeHosts, server: FtpServer, start: Start) -> None:
    start("--alg=none", "ftp")
    with dialogue(lab) as control:
        assert refuses(lab, port_of(ask(control, b"EPSV\r\n")))
        assert server.heard == [b"EPSV\r\n"]


@pytest.mark.parametrize("passive", [True, False], ids=["EPSV", "EPRT"])
def test_another_port_can_be_ftps(lab: ThreeHosts, start: Start, passive: bool) -> None:
    start("--alg=ftp", "2121")
    server = FtpServer(lab.server, 2121)
    server.files["file"] = FILE
    with lab.client.inside(), ftplib.FTP(timeout=10) as connection:
        connection.connect(lab.mapped(), 2121)
        connection.login("me", "secret")
        connection.set_pasv(passive)
        assert fetch(connection) == FILE
        connection.storbinary("STOR copy", io.BytesIO(FILE))
    assert server.files["copy"] == FILE
    server.close()


# -- other programs ------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--ftp-port", "-"]], ids=["EPSV", "EPRT"])
def test_curl(
    lab: ThreeHosts,
    server: FtpServer,
    start: Start,
    tmp_path: Path,
    options: list[str],
    need: Callable[[str], str],
) -> None:
    start("ftp")
    curl = need("curl")
    url = f"ftp://[{lab.mapped()}]/file"
    target = tmp_path / "file"
    lab.client.run([curl, "-sS", "-m", "20", *options, "-o", str(target), url])
    assert target.read_bytes() == FILE
