"""A whole faithd as a proxy with TLS: curl, SOCKS inside TLS, ends, reload, upgrade and drain."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V4, GATEWAY_V6, PREFIX, SERVER
from faith.proxy.password_hash import hashed
from tests.certificates import certify
from tests.netns.gateway import Gateway, reread
from tests.netns.service import PORT, Echo, answers
from tests.netns.test_proxy_daemon import (
    Way,
    Ways,
    connect,
    is_served,
    sessions,
    start,
    ways,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.lab import ThreeHosts
    from tests.certificates import Certify

    Start = Callable[..., Gateway]
    Files = tuple[Path, Path]

__all__ = ["certify", "start", "ways"]

pytestmark = pytest.mark.netns

TLS_PORT, CLEAR_PORT = 3129, 1080


@pytest.fixture(autouse=True)
def _server(lab: ThreeHosts) -> Iterator[None]:
    echo = Echo(lab.server, PORT, SERVER)
    yield
    echo.close()


@pytest.fixture
def files(certify: Certify) -> Files:
    return certify("proxy")


def text(files: Files, more: str = "", others: str = "") -> str:
    certificate, key = files
    return f"""
workers = 2
[[proxy]]
listen = ":{TLS_PORT}"
tls_certificate = "{certificate}"
tls_key = "{key}"
{more}
[[proxy]]
listen = ":{CLEAR_PORT}"
{others}
"""


def secured(way: Way, files: Files, source: str = "") -> ssl.SSLSocket:
    """Return a connection to the proxy by TLS."""
    context = ssl.create_default_context(cafile=files[0])
    context.check_hostname = False
    raw = connect(way, TLS_PORT, source)
    return context.wrap_socket(raw, suppress_ragged_eofs=False)


def tunnel(way: Way, files: Files, server: str = SERVER) -> Any:
    """Return a connection to *server* by SOCKS inside TLS."""
    sock = secured(way, files)
    try:
        sock.sendall(b"\5\1\0" + b"\5\1\0\1" + socket.inet_aton(server) + PORT.to_bytes(2, "big"))
        assert receive_all(sock, 12)[:4] == b"\5\0\5\0"
    except BaseException:
        sock.close()
        raise
    return sock


def receive_all(sock: socket.socket, size: int) -> bytes:
    got = bytearray()
    while len(got) < size:
        data = sock.recv(size - len(got))
        assert data
        got += data
    return bytes(got)


def is_secured(way: Way, files: Files) -> bool:
    """Whether a server is reached by TLS with that certificate."""
    try:
        with tunnel(way, files) as sock:
            return answers(sock)
    except (OSError, AssertionError):
        return False


def test_socks_inside_tls_from_both_families(start: Start, ways: Ways, files: Files) -> None:
    faithd = start(text(files))
    for way, client in ((ways.v6, f"[{CLIENT}]:"), (ways.v4, f"{SERVER}:")):
        with tunnel(way, files) as sock:
            assert answers(sock)
            (session,) = sessions(faithd)
            assert session["client"].startswith(client)
            assert session["mapped"].endswith(f":{TLS_PORT}")
            assert (session["method"], session["asked"]) == ("socks5", f"{SERVER}:{PORT}")
        wait_until(lambda: not sessions(faithd), 10, "the end of the session")
    faithd.wait_said(f"mapped=[{GATEWAY_V6}]:{TLS_PORT}")
    assert f"mapped={GATEWAY_V4}:{TLS_PORT}" in faithd.said
    assert is_served(ways.v6, port=CLEAR_PORT), "the other proxy is as it was"
    with connect(ways.v6, TLS_PORT) as clear:
        clear.sendall(b"\5\1\0" + bytes(20))
        assert clear.recv(1000)[:1] in (b"", b"\x15"), "nothing is served in clear"


def test_curl_by_https_with_a_user(
    lab: ThreeHosts, start: Start, files: Files, need: Callable[[str], str], tmp_path: Path
) -> None:
    users = tmp_path / "users"
    users.write_text(f"ann:{hashed(b'right')}\n")
    served = lab.server.call(lambda: socket.create_server((SERVER, 80)))
    body = os.urandom(2_000_000)

    def serve() -> None:
        for _ in range(2):
            sock, _ = served.accept()
            with sock:
                while not sock.recv(65536).endswith(b"\r\n\r\n"):
                    pass
                head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                sock.sendall(head % len(body) + body)

    thread = threading.Thread(target=serve)
    thread.start()
    faithd = start(text(files, f'users = "{users}"\nconnect_ports = "80"'))
    assert "passwords travel in clear" not in faithd.said
    proxy = ["--proxy", f"https://[{GATEWAY_V6}]:{TLS_PORT}", "--proxy-insecure"]
    words = [need("curl"), "-q", "-g", "-sS", "--fail", *proxy, "--output", str(tmp_path / "got")]
    for more in ([], ["--proxytunnel"]):
        (tmp_path / "got").unlink(missing_ok=True)
        command = [*words, *more, "--proxy-user", "ann:right", f"http://{SERVER}/"]
        lab.client.run(command)
        assert (tmp_path / "got").read_bytes() == body
    for user in ("ann:wrong", "bob:right"):
        with pytest.raises(subprocess.CalledProcessError):
            lab.client.run([*words, "--proxy-user", user, f"http://{SERVER}/"])
    thread.join()
    served.close()
    faithd.wait_said("method=http")
    assert "method=connect" in faithd.said


def test_passwords_in_clear_are_warned_of(start: Start, files: Files, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(f"ann:{hashed(b'right')}\n")
    faithd = start(text(files, others=f'users = "{users}"'))
    assert f"passwords travel in clear to the proxy on [::]:{CLEAR_PORT}" in faithd.said
    assert f"passwords travel in clear to the proxy on [::]:{TLS_PORT}" not in faithd.said


def test_half_closes_resets_and_bulk(
    lab: ThreeHosts, start: Start, ways: Ways, files: Files
) -> None:
    faithd = start(text(files, 'connect_ports = "8080"'))
    listener = lab.server.call(lambda: socket.create_server((SERVER, 8080)))
    up, down = os.urandom(20_000_000), os.urandom(20_000_000)

    def reach() -> tuple[ssl.SSLSocket, socket.socket]:
        sock = secured(ways.v6, files)
        sock.sendall(b"\5\1\0" + b"\5\1\0\1" + socket.inet_aton(SERVER) + b"\x1f\x90")
        assert receive_all(sock, 12)[:4] == b"\5\0\5\0"
        server, _ = listener.accept()
        server.settimeout(20)
        return sock, server

    with listener:
        client, server = reach()
        with server:
            sender = threading.Thread(target=server.sendall, args=(down,))
            sender.start()
            assert receive_all(client, len(down)) == down
            sender.join()
            sender = threading.Thread(target=client.sendall, args=(up,))
            sender.start()
            assert receive_all(server, len(up)) == up
            sender.join()
            server.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
            client.sendall(b"after its end")
            assert receive_all(server, 13) == b"after its end"
            client.unwrap()
            assert server.recv(1) == b""
        client.close()
        faithd.wait_said(f"sent={len(up) + 13} received={len(down)}")
        assert "end=closed" in faithd.said

        client, server = reach()
        with server:
            client.sendall(b"last words")
            with socket.socket(fileno=client.detach()) as raw:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            assert receive_all(server, 10) == b"last words"
            with pytest.raises(ConnectionResetError):
                server.recv(1)
        faithd.wait_said('end="client reset"')

        client, server = reach()
        server.sendall(b"last words")
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert receive_all(client, 10) == b"last words"
        server.close()
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
            client.recv(1)
        client.close()
        faithd.wait_said('end="server reset"')


def test_a_certificate_that_is_asked_for(
    start: Start, ways: Ways, files: Files, certify: Certify
) -> None:
    authority = certify("authority", "-nodes", "-addext", "basicConstraints=critical,CA:TRUE")
    client = certify("client", by=authority)
    start(text(files, f'tls_client_ca = "{authority[0]}"'))
    with secured(ways.v6, files) as sock, pytest.raises(ssl.SSLError):
        sock.recv(1)
    context = ssl.create_default_context(cafile=files[0])
    context.check_hostname = False
    context.load_cert_chain(*client)
    with context.wrap_socket(connect(ways.v6, TLS_PORT)) as sock:
        sock.sendall(b"\5\1\0")
        assert sock.recv(2) == b"\5\0"


def test_only_clients_of_the_proxy_are_served(start: Start, ways: Ways, files: Files) -> None:
    faithd = start(text(files, 'clients = ["192.0.2.0/24"]'))
    assert is_secured(ways.v4, files)
    assert not is_secured(ways.v6, files)
    faithd.wait_said("not a client of the proxy")


def test_a_reload_changes_certificates_and_proxies(
    start: Start, ways: Ways, files: Files, certify: Certify
) -> None:
    faithd = start(text(files))
    with tunnel(ways.v6, files) as sock:
        other = certify("another")
        reread(faithd, text(other))
        assert is_secured(ways.v6, other)
        assert answers(sock), "who is connected stays so"
        reread(faithd, f'workers = 2\n[[proxy]]\nlisten = ":{TLS_PORT}"\n')
        wait_until(lambda: is_served(ways.v6, port=TLS_PORT), 10, "the proxy in clear")
        assert answers(sock)
        reread(faithd, text(other))
        wait_until(lambda: is_secured(ways.v6, other), 10, "the proxy with TLS")
        assert is_served(ways.v6, port=CLEAR_PORT)
        assert answers(sock)
    (bad, _) = files
    bad.write_text("nothing")
    reread(faithd, text(files), "stays as it was")
    assert "there is no certificate with its key in PEM form" in faithd.said
    assert is_secured(ways.v6, other)


def test_an_upgrade_keeps_clients_and_their_octets(start: Start, ways: Ways, files: Files) -> None:
    faithd = start(text(files))
    with tunnel(ways.v6, files) as sock, secured(ways.v6, files) as greeting:
        greeting.sendall(b"\5")
        for program in (2, 3):
            faithd.signal(signal.SIGUSR2)
            faithd.wait_said(f"upgraded to program {program}", seconds=30)
            assert answers(sock)
            for _ in range(4):
                assert is_secured(ways.v6, files)
        greeting.sendall(b"\1\0")
        assert receive_all(greeting, 2) == b"\5\0"
    assert "Traceback" not in faithd.said


def test_processes_that_die_are_replaced(start: Start, ways: Ways, files: Files) -> None:
    faithd = start(text(files))
    for victim in terminators(faithd):
        os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(terminators(faithd)) == 2, 10, "other processes")
    for _ in range(8):
        wait_until(lambda: is_secured(ways.v6, files), 10, "the proxy being served")
    for victim in faithd.workers:
        os.kill(victim, signal.SIGKILL)
        for _ in range(4):
            wait_until(lambda: is_secured(ways.v6, files), 10, "the proxy being served")


def terminators(faithd: Gateway) -> list[int]:
    found = faithd.lab.gateway.run(["ps", "-eo", "pid,args"]).stdout.splitlines()
    here = set(faithd.lab.gateway.processes())
    return [
        int(line.split()[0]) for line in found if "tls " in line and int(line.split()[0]) in here
    ]


def test_who_drains_keeps_clients_and_takes_none(
    lab: ThreeHosts, start: Start, ways: Ways, files: Files
) -> None:
    faithd = start(text(files) + f'[[prefix]]\naddress = "{PREFIX}"\n')
    with tunnel(ways.v6, files) as sock:
        faithd.signal(signal.SIGTERM)
        faithd.wait_said("stopping: sessions have", seconds=10)
        assert not is_secured(ways.v6, files)
        assert answers(sock)
    assert faithd.process.wait(20) == 0
