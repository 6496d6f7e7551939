"""The network that everything is measured on, and what the origin serves there."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from bench import ends
from bench.compiling import compiled
from bench.congestion import use
from bench.errors import MeasureError
from bench.programs import IPERF3, NGINX, WRK, path
from faith.kernel.netlink.routes import reserve
from faith.lab import Network, three_hosts
from faith.lab.topology import CLIENT, SERVER
from faith.translation.prefix import LOW32, Prefix

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.placement import Placement
    from bench.way import Way
    from faith.lab import Host, ThreeHosts

    Build = Callable[[ExitStack], ThreeHosts]

ECHO, HTTP, BULK = 7, 80, 5201
"""The origin's ports, and those on which contenders listen."""
PAGE, LARGE = "/", "/large"
"""What it has by HTTP: a small page, and a large file."""
FTP, FILE = 21, 8021
"""Others of the origin's: a file by FTP, and the same as it is."""
FIRST_CALLER = "2001:db8:6:100::1"
"""The first of many addresses that the client may call from."""
FLOWS = "192.0.2.64"
"""An address of the gateway for flows alone: so they have as many ports as connections do."""
CONNECTIONS = 50
"""Connections that clients keep busy."""

_LARGE_SIZE = 1 << 26
_CLIENT_V4, _GATEWAY_V4 = "198.51.100.2", "198.51.100.1"
_CALLERS = "2001:db8:6:100::/64"
_START = 10.0
_NGINX = """\
user root;
daemon off;
pid {directory}/origin.pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    {temporary}
    server {{
        listen {address}:{port} backlog=4096;
        location / {{ return 200 "Hello from the other side of the gateway.\\n"; }}
        location {large} {{ root {directory}; sendfile on; }}
    }}
}}
"""


def near(undo: ExitStack) -> ThreeHosts:
    """Three hosts with nothing but cables between them."""
    return three_hosts(undo.enter_context(Network()))


class Load(NamedTuple):
    """What wrk got done."""

    requests: int
    seconds: float


class Visits(NamedTuple):
    """What clients got done: requests answered, octets of all bodies."""

    requests: int
    octets: int
    seconds: float


class Transfer(NamedTuple):
    """What iperf3 got through, as its receiver saw it."""

    octets: int
    bits_per_second: float


class Bed:
    """A network made by *build*, an echo server on the origin and a directory for files.

    TCP on all hosts has the same *congestion* control, whatever the machine's own is.
    The client has IPv4 too, which leads to the origin once the gateway forwards it, for the routed
    path; and many more addresses to call from, none of them known to whoever remembers callers.
    A context manager; needs the right to build networks.
    """

    def __init__(self, build: Build, placement: Placement, congestion: str) -> None:
        with ExitStack() as undo:
            self.lab = build(undo)
            self.directory = Path(
                undo.enter_context(tempfile.TemporaryDirectory(prefix="faith-bench-"))
            )
            self._serving: set[int] = set()
            self._logs: dict[int, Path] = {}
            self.place(placement)
            self._add_routed_path()
            self._add_callers()
            for host in self.lab.network.hosts.values():
                use(host, congestion)
            self._serve(ECHO, ends.command("echo", SERVER, ECHO))
            self._undo = undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._undo.close()

    def place(self, placement: Placement) -> None:
        """Let what is started from now on run on these CPUs only."""
        for host, cpus in (
            (self.lab.client, placement.ends),
            (self.lab.gateway, placement.contender),
            (self.lab.server, placement.ends),
        ):
            host.call(os.sched_setaffinity, 0, cpus)  # its programs inherit that of its thread

    def _add_routed_path(self) -> None:
        lab = self.lab
        lab.client.links.add_address("to-gateway", f"{_CLIENT_V4}/24")
        lab.gateway.links.add_address("to-client", f"{_GATEWAY_V4}/24")
        lab.client.links.add_route(f"{SERVER}/32", _GATEWAY_V4)
        lab.server.links.add_route(f"{_CLIENT_V4}/32", "192.0.2.1")
        lab.gateway.links.add_address("to-server", f"{FLOWS}/24")
        # A busy client needs more ports than 28,000; on the gateway flows have those above.
        lab.client.sysctl("net.ipv4.ip_local_port_range", "10000 65535")
        lab.gateway.sysctl("net.ipv4.ip_local_port_range", "10000 60999")

    def _add_callers(self) -> None:
        # An AnyIP route here too: the client answers for all addresses that calls come from.
        self.lab.client.call(reserve, Prefix.parse(_CALLERS, LOW32))
        self.lab.client.sysctl("net.ipv6.ip_nonlocal_bind", 1)
        self.lab.gateway.links.add_route(_CALLERS, CLIENT)

    # -- the origin --------------------------------------------------------------------------

    def serve_http(self) -> None:
        """Have the origin serve a small page, and a large file."""
        if HTTP not in self._serving:
            with (self.directory / LARGE[1:]).open("w+b") as file:
                file.truncate(_LARGE_SIZE)
                file.read()  # from now on it is in memory
            fields = {"address": SERVER, "port": HTTP, "large": LARGE}
            self._serve(HTTP, nginx(self.directory, "origin", _NGINX, **fields))

    def serve_bulk(self) -> None:
        """Have the origin serve iperf3."""
        self._serve(BULK, [path(IPERF3), "-s", "-p", str(BULK)])

    def serve_file(self, octets: int) -> None:
        """Have the origin serve a file of so many, by FTP and plainly."""
        self._serve(FTP, ends.command("ftpd", SERVER, FTP, FILE, octets))

    def _serve(self, port: int, argv: list[str]) -> None:
        if port not in self._serving:
            program = self.start(self.lab.server, argv)
            self.lab.server.wait_listening(port, seconds=_START, program=program)
            self._serving.add(port)

    def start(self, host: Host, argv: list[str], **options: object) -> subprocess.Popen[str]:
        """Start a program; what it writes goes to a file."""
        number = len(self._logs)
        with open(self.directory / f"{number}.log", "wb") as log:
            program = host.popen(argv, **{"stdout": log, "stderr": log, **options})
        self._logs[program.pid] = Path(log.name)
        return program

    def written(self, program: subprocess.Popen[str]) -> str:
        """What a program that was started here has written so far."""
        return self._logs[program.pid].read_text(errors="replace")

    # -- the client --------------------------------------------------------------------------

    def connect(self, address: str, port: int, timeout: float = 5) -> socket.socket:
        """A connection from the client.  Raises OSError."""
        return self.lab.client.call(socket.create_connection, (address, port), timeout)

    def reaches_echo(self, address: str) -> bool:
        """Whether the origin's echo answers the client there."""
        try:
            # Not as long as TCP takes to try again, when nobody answered for the address yet.
            with self.connect(address, ECHO, 0.2) as connection:
                connection.send(b".")
                return connection.recv(1) == b"."
        except OSError:
            return False

    def request(self, address: str, seconds: float, *, close: bool = False) -> Load:
        """Keep wrk busy for so long; with *close* every request has a connection of its own.

        A part of a second may be over before anything was answered; then it is a whole one.
        """
        try:
            return self._request(address, seconds, close)
        except MeasureError:
            if seconds >= 1:
                raise
        return self._request(address, 1, close)

    def _request(self, address: str, seconds: float, close: bool) -> Load:
        host = f"[{address}]" if ":" in address else address
        argv = [path(WRK), "-t1", f"-c{CONNECTIONS}", f"-d{int(seconds) + 10}"]
        if close:
            argv += ["-H", "Connection: close"]
        program = self.lab.client.popen(
            [*argv, f"http://{host}:{HTTP}/"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        time.sleep(seconds)
        program.send_signal(signal.SIGINT)  # -d takes whole seconds only
        output, _ = program.communicate(timeout=10)
        return _load(output)

    def visit(self, way: Way, path: str, connections: int, seconds: float, *, keep: bool) -> Visits:
        """Ask for *path* by so many connections for so long, by new ones unless they are to *keep*.

        Raises MeasureError.
        """
        argv = [compiled("visit"), *way.words, path, connections, seconds, int(keep)]
        done = self.lab.client.run(list(map(str, argv)), timeout=seconds + 30, check=False)
        if done.returncode:
            raise MeasureError(done.stderr.strip())
        requests, made, failed, octets, took = map(float, done.stdout.split())
        if not requests or failed > made / 100:
            raise MeasureError(f"{failed:.0f} of {made:.0f} connections failed: {way}")
        return Visits(int(requests), int(octets), took)

    def transfer(self, address: str, size: tuple[str, ...], *, reverse: bool) -> Transfer:
        """Send by iperf3, from the origin to the client if *reverse*; *size* are its options."""
        argv = [path(IPERF3), "-J", "-c", address, "-p", str(BULK), *size]
        if reverse:
            argv.append("-R")
        result = self.lab.client.run(argv, timeout=90, check=False)
        answer = json.loads(result.stdout)
        if "error" in answer:
            raise MeasureError(f"iperf3: {answer['error']}")
        received = answer["end"]["sum_received"]
        return Transfer(received["bytes"], received["bits_per_second"])

    def transfer_on(self, address: str, sessions: int) -> subprocess.Popen[str]:
        """Start that many endless transfers from the origin; the caller ends them."""
        argv = [path(IPERF3), "-R", "-t", "60", "-P", str(sessions), "-i", "0.2"]
        return self.start(self.lab.client, [*argv, "--forceflush", "-c", address, "-p", str(BULK)])


def _load(output: str) -> Load:
    done = re.search(r"(\d+) requests in ([\d.]+)(m?)s", output)
    if not done or not int(done[1]):
        raise MeasureError(f"wrk: {' '.join(output.split()) or 'no output'}")
    errors = sum(map(int, re.findall(r"(?:connect|read|write|timeout|responses:?) (\d+)", output)))
    if errors > int(done[1]) / 100:
        raise MeasureError(f"wrk: {errors} errors in {done[1]} requests")
    return Load(int(done[1]), float(done[2]) / (1000 if done[3] else 1))


def nginx(directory: Path, name: str, form: str, **fields: object) -> list[str]:
    """The command that runs nginx with the configuration *form*, all its files in *directory*."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)
    file = directory / f"{name}.conf"
    file.write_text(form.format(directory=directory, temporary=temporary, **fields))
    return [path(NGINX), "-e", "stderr", "-p", str(directory), "-c", str(file)]
