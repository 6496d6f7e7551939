"""A site with a gateway, whose connections are made to fail: clients, servers and a daemon.

::

    client ─────────── gateway ─────────────── server
    2001:db8:6::2      │      192.0.2.1        192.0.2.80, .53
    2001:db8:7::2      │                       │    ╲
                       └── router4 ────────────┘     neighbour, on the same link: 192.0.2.81
               203.0.113.1   203.0.113.2  198.51.100.80
"""

from __future__ import annotations

import contextlib
import errno
import ftplib
import io
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dns.exception
import dns.message
import dns.query
import dns.rcode

from faith.daemon.host import discovery
from faith.kernel.netlink import routes
from faith.kernel.nft import guard
from faith.lab import three_hosts, wait_until
from faith.lab.topology import CLIENT, GATEWAY_V4, GATEWAY_V6, PREFIX, SERVER
from tests.dns.zones import EXAMPLE, NameServer, Zones
from tests.faithd import ENVIRONMENT
from tests.netns.datagrams import Echo as DatagramEcho
from tests.netns.flow_lab import add_other_client
from tests.netns.ftp_server import FtpServer
from tests.netns.gateway import Gateway
from tests.netns.service import Echo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faith.lab import Host, Network

PROXY = 1080
"""The port of the gateway's proxies."""
RELAYED, TRANSLATED, FTP, ECHOED, CLOSED = 2323, 8080, 21, 5555, 2324
"""Ports of the server: by the relay, by the kernel path, of FTP, of UDP, and one where nothing
listens."""
HOST_PORT = 22
"""The port of the client that IPv4 hosts reach by its map."""
NEIGHBOUR, DEAD, FAR = "192.0.2.81", "192.0.2.99", "198.51.100.80"
NAME_SERVER = "192.0.2.53"
MAPPED, UNMAPPED, LENT = "192.0.2.102", "192.0.2.103", "203.0.113.130"
"""IPv4 addresses: of the client by a static map, without a map, and one of the pool."""
NO_HOST = "2001:db8:6::dead"
ZONE = (
    f"{EXAMPLE}v6 60 IN AAAA {NO_HOST}\n"
    + "".join(f"host{number} 60 IN A {SERVER}\n" for number in range(10))
    + f"local 60 IN A 127.0.0.1\nwww 60 IN A {SERVER}\n"
    + f"two 60 IN AAAA {NO_HOST}\ntwo 60 IN A {SERVER}\nsix 60 IN AAAA {CLIENT}\n"
)
CERTIFICATES = {"valid": "2", "ended": "-1"}
"""Certificates of the proxies: the days that they are valid for."""
PATIENCE = 4.0
"""Seconds until a client gives up."""
SIZE = 20_000
"""Octets that come back: more than a packet has."""
_UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH)


@dataclass(frozen=True)
class Question:
    """A connection that *client* asks for: to *destination*, as `faith explain` takes it.

    *kind* is "tcp", "udp", "ping", "ftp", "proxy" or "tls", a proxy by TLS; *address* is where it
    really goes, if *destination* is not an address that the client itself can use.
    """

    destination: str = SERVER
    port: int = RELAYED
    kind: str = "tcp"
    client: str = CLIENT
    address: str = ""

    @property
    def words(self) -> list[str]:
        """The command line of `faith explain`."""
        to = f"[{self.destination}]" if ":" in self.destination else self.destination
        if self.kind == "ping":
            return [self.client, self.destination, "--ping"]
        return [self.client, f"{to}:{self.port}", *_OPTIONS.get(self.kind, ())]

    @property
    def is_name(self) -> bool:
        """Return whether the destination has to be looked up."""
        return not re.fullmatch(r"[\d.]+|[\da-f:]+", self.destination)


class Site:
    """The network above and, for as long as *serve* says, a faithd on its gateway."""

    def __init__(self, network: Network, directory: Path) -> None:
        self.lab = three_hosts(network, [NAME_SERVER])
        self.client, self.gateway, self.server = (
            self.lab.client,
            self.lab.gateway,
            self.lab.server,
        )
        self.router, self.neighbour = network.host("router4"), network.host("neighbour")
        self.directory = directory
        self.daemon: Gateway | None = None
        self._wanted = _NOTHING
        self._undo = contextlib.ExitStack()
        self._build(network)
        self._serve_hosts()
        _certify(directory)

    def _build(self, network: Network) -> None:
        network.link(self.gateway, self.router, ["203.0.113.1/25"], ["203.0.113.2/25"])
        network.link(self.router, self.server, ["198.51.100.1/24"], [f"{FAR}/24"])
        self.router.sysctl("net.ipv4.conf.all.forwarding", 1)
        self.gateway.links.add_route("198.51.100.0/24", "203.0.113.2")
        self.router.links.add_route("default", "203.0.113.1")
        self.server.links.add_route("203.0.113.0/25", "198.51.100.1")
        add_other_client(self.lab)
        network.link(self.server, self.neighbour, (), [f"{NEIGHBOUR}/24"])
        self._bridge("to-gateway", "to-neighbour")
        for device in ("to-server", "to-router4", "to-client"):  # the dead are found out sooner
            for family in ("ipv4", "ipv6"):
                self.gateway.sysctl(f"net.{family}.neigh.{device}.retrans_time_ms", 150)

    def _bridge(self, *ports: str) -> None:
        """Make *ports* of the server one link, with the addresses of the first and the route."""
        ip = "ip", "link"
        self.server.run([*ip, "add", "name", "bridge", "type", "bridge"])
        for port in ports:
            self.server.run([*ip, "set", port, "master", "bridge"])
        self.server.run(["ip", "addr", "flush", "dev", ports[0]])
        self.server.links.up("bridge")
        for address in (SERVER, NAME_SERVER):
            self.server.links.add_address("bridge", f"{address}/24")
        self.server.links.add_route("default", GATEWAY_V4)

    def _serve_hosts(self) -> None:
        """Start what clients ask for."""
        for port in (RELAYED, TRANSLATED):
            self._undo.callback(Echo(self.server, port).close)
        self._undo.callback(Echo(self.client, HOST_PORT).close)
        self._undo.callback(DatagramEcho(self.server, SERVER, ECHOED).close)
        ftp = FtpServer(self.server, FTP)
        ftp.files["file"] = b"hello"
        self._undo.callback(ftp.close)
        self.names = self._undo.enter_context(contextlib.ExitStack())
        self.answer_names()

    def answer_names(self) -> None:
        """Have the name server answer."""
        zones = self.server.call(lambda: NameServer(Zones(ZONE), NAME_SERVER, 53))
        self.names.enter_context(zones)

    def close(self) -> None:
        """End everything."""
        self.stop()
        self._undo.close()

    # -- the daemon

    def serve(self, text: str, by: Sequence[str] = (), *, reserve: bool = False) -> None:
        """Have a faithd with the file *text*, started *by* another program; none if it is "".

        With *reserve*, `faith -e` has reserved the prefix before.
        """
        wanted = text, tuple(by), reserve
        if wanted == self._wanted and (self._runs or not text):
            return
        self.stop()
        if reserve:
            self.reserve()
        self._wanted = wanted
        self.resume()

    @property
    def _runs(self) -> bool:
        return self.daemon is not None and self.daemon.process.poll() is None

    def resume(self) -> None:
        """Start the faithd again that `halt` or `kill` has ended."""
        text, by, _ = self._wanted
        if text:
            self.daemon = Gateway(self.lab, self.directory, text, by)

    def halt(self) -> None:
        """Stop the faithd, if there is one."""
        if self.daemon and self.daemon.process.poll() is None:
            self.daemon.stop(20)
        self.daemon = None

    def kill(self) -> None:
        """Kill the supervisor, and wait for the end of all its processes."""
        assert self.daemon
        pids = self.daemon.workers
        self.daemon.signal(signal.SIGKILL)
        self.daemon.process.wait(5)
        for pid in pids:  # those that are stopped or ended do not mind
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        left = set(pids)
        wait_until(lambda: not left & {*self.gateway.processes()}, 15, "the end of the workers")
        self.daemon = None

    def stop(self) -> None:
        """Stop the faithd, and release what it or `faith -e` has reserved."""
        self.halt()
        self._wanted = _NOTHING
        with self.gateway.inside():
            routes.release(*routes.reserved())
            guard.PREFIXES.remove()
            guard.NETWORKS.remove()

    def workers(self) -> list[int]:
        """Return the processes that relay."""
        assert self.daemon
        return [pid for pid in self.daemon.workers if _is_worker(pid)]

    def late(self) -> bool:
        """Return whether a process of the faithd is known not to answer."""
        running = self.gateway.call(discovery.running)
        return any(one.state == "late" for faithd in running for one in faithd.processes)

    def reserve(self, prefix: str = PREFIX) -> None:
        """Reserve *prefix* as `faith -e` does."""
        self.faith("-e", "-p", prefix)

    def faith(self, *words: str) -> str:
        """Return what ``faith WORDS`` prints on the gateway.  Raises CalledProcessError."""
        return self.gateway.run([*_FAITH, *words], env=ENVIRONMENT).stdout

    def explain(self, question: Question, *options: str) -> dict[str, Any]:
        """Return what ``faith explain --json`` prints on the gateway."""
        words = [*_FAITH, "explain", *question.words, *options, "--json"]
        done = self.gateway.run(words, env=ENVIRONMENT, check=False)
        assert done.returncode in (0, 1, 3), done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        works = answer["verdict"]["works"]
        assert done.returncode == {True: 0, False: 1, None: 3}[works]
        return answer

    # -- a client

    def outcome(self, question: Question, seconds: float = PATIENCE) -> str:
        """Return what the client of *question* sees, which gives up after *seconds*."""
        host = self._host(question.client)
        address = question.address or question.destination
        proxied = question.kind in _PROXIED
        if not proxied and question.is_name and not question.address:
            found = self._look_up(host, question.destination, seconds)
            if ":" not in found:
                return found
            address = found
        if ":" in question.client and ":" not in address and not proxied:
            address = self.lab.mapped(address)
        try:
            return self._ask(question, host, address, seconds)
        except TimeoutError:
            return "silence"
        except ConnectionRefusedError:
            return "refused"
        except (ConnectionError, EOFError):
            return "reset"
        except OSError as error:
            if error.errno == errno.EACCES:
                return "prohibited"
            if error.errno in _UNREACHABLE:
                return "unreachable"
            raise

    def _ask(self, question: Question, host: Host, address: str, seconds: float) -> str:
        words = host, question.client, address, question.port, seconds
        if question.kind == "tls":
            known = [self.directory / f"{name}.pem" for name in CERTIFICATES]
            return _ask_by_tls(*words, known)
        return _ASK[question.kind](*words)

    def _host(self, address: str) -> Host:
        if ":" in address:
            return self.client
        return self.neighbour if address == NEIGHBOUR else self.server

    @staticmethod
    def _look_up(host: Host, name: str, seconds: float) -> str:
        """Return the address that the gateway's DNS64 gives *host*, or what it says instead."""
        query = dns.message.make_query(f"{name}.", "AAAA")
        try:
            reply = host.call(lambda: dns.query.udp(query, GATEWAY_V6, timeout=seconds))
        except dns.exception.Timeout:
            return "no answer"
        except OSError:
            return "no answer"
        if reply.rcode():
            return dns.rcode.to_text(reply.rcode())
        return next((str(data) for rrset in reply.answer for data in rrset), "no address")

    def hold(self, stack: contextlib.ExitStack, *clients: str, port: int = RELAYED) -> None:
        """Have each of *clients* keep a session until *stack* closes.  Raises ConnectionError."""
        address = self.lab.mapped()
        for client in clients:
            with self.client.inside():
                session = socket.create_connection((address, port), 5, (client, 0))
            stack.enter_context(session)
            session.sendall(b"hello")
            if not session.recv(5):
                raise ConnectionResetError

    def holds(self, stack: contextlib.ExitStack, client: str, port: int) -> bool:
        """Return whether *client* could begin a session that it keeps."""
        with contextlib.suppress(ConnectionError):
            self.hold(stack, client, port=port)
            return True
        return False

    def wait_works(self, question: Question) -> None:
        """Return once *question* comes to what it should."""
        wait_until(lambda: self.outcome(question) == "works", 10, f"{question} working")


_FAITH = sys.executable, "-m", "faith.cli.faith"
_NOTHING: tuple[str, tuple[str, ...], bool] = "", (), False


def _certify(directory: Path) -> None:
    """Make the certificates in *directory*.  Raises CalledProcessError."""
    for name, days in CERTIFICATES.items():
        for words in (
            f"req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out request",
            f"x509 -req -in request -signkey {name}.key -days {days} -out {name}.pem",
        ):
            command = ["openssl", *words.split()]
            subprocess.run(command, check=True, capture_output=True, cwd=directory)


def _is_worker(pid: int) -> bool:
    """Return whether a process relays: it listens on the port of the relay."""
    listed = Path(f"/proc/{pid}/net/tcp6").read_text().splitlines()[1:]
    fields = [line.split() for line in listed]
    port = f":{RELAYED:04X}"
    listeners = {f"socket:[{each[9]}]" for each in fields if each[1].endswith(port)}
    return any(os.readlink(entry) in listeners for entry in Path(f"/proc/{pid}/fd").iterdir())


def _ask_tcp(host: Host, client: str, address: str, port: int, seconds: float) -> str:
    with host.call(socket.create_connection, (address, port), seconds, (client, 0)) as session:
        session.settimeout(seconds)
        session.sendall(b"hello")
        heard = session.recv(5)
        if not heard:
            return "closed"
        session.sendall(bytes(SIZE))
        try:
            while heard and len(heard) < SIZE + 5:
                heard += (more := session.recv(1 << 16))
                if not more:
                    return "closed"
        except TimeoutError:
            return "stalls"
        return "works"


def _ask_udp(host: Host, client: str, address: str, port: int, seconds: float) -> str:
    with host.call(socket.socket, _family(address), socket.SOCK_DGRAM) as sock:
        sock.settimeout(seconds)
        sock.bind((client, 0))
        sock.connect((address, port))
        sock.send(b"hello")
        return "works" if sock.recv(100) == b"hello" else "other"


def _ask_ping(host: Host, client: str, address: str, port: int, seconds: float) -> str:
    words = ["ping", "-n", "-I", client, "-c1", f"-W{seconds:g}", address]
    done = host.run(words, check=False)
    if " 1 received" in done.stdout:
        return "works"
    for text, outcome in (("rohibited", "prohibited"), ("nreachable", "unreachable")):
        if text in done.stdout:
            return outcome
    return "silence"


def _ask_ftp(host: Host, client: str, address: str, port: int, seconds: float) -> str:
    def fetch() -> str:
        with ftplib.FTP(timeout=seconds, source_address=(client, 0)) as ftp:
            ftp.connect(address, port)
            ftp.login()
            got = io.BytesIO()
            ftp.retrbinary("RETR file", got.write)
            return "works" if got.getvalue() == b"hello" else "other"

    return host.call(fetch)


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET


def _ask_proxy(host: Host, client: str, address: str, port: int, seconds: float) -> str:
    """Ask the gateway's proxy by CONNECT; return its status and reason if it refuses."""
    with _to_proxy(host, client, seconds) as session:
        return _asked(session, address, port)


def _ask_by_tls(
    host: Host, client: str, address: str, port: int, seconds: float, authorities: Sequence[Path]
) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    for authority in authorities:
        context.load_verify_locations(authority)
    with _to_proxy(host, client, seconds) as session:
        try:
            with context.wrap_socket(session) as secured:
                return _asked(secured, address, port)
        except ssl.SSLCertVerificationError as error:
            return str(error.verify_message)


def _to_proxy(host: Host, client: str, seconds: float) -> socket.socket:
    gateway = GATEWAY_V6 if ":" in client else GATEWAY_V4
    return host.call(socket.create_connection, (gateway, PROXY), seconds, (client, 0))


def _asked(session: socket.socket, address: str, port: int) -> str:
    to = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    session.sendall(f"CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n".encode())
    with session.makefile("rb") as answer:
        head = [*iter(answer.readline, b"\r\n")] if answer.peek(1) else []
        if not head:
            return "closed"
        status = head[0].split()[1].decode()
        if status != "200":
            lengths = [line.split()[1] for line in head if b"content-length:" in line.lower()]
            said = answer.read(int(lengths[0])).decode().strip()
            return f"{status} {said.rpartition(': ')[2]}" if ": " in said else status
        session.sendall(b"hello")
        return "works" if answer.read(5) == b"hello" else "other"


_PROXIED = ("proxy", "tls")
_OPTIONS = {"udp": ["--udp"], **{key: ["--proxy"] for key in _PROXIED}}
_ASK = {
    "tcp": _ask_tcp,
    "udp": _ask_udp,
    "ping": _ask_ping,
    "ftp": _ask_ftp,
    "proxy": _ask_proxy,
}
