"""``python -m bench.top_cost``: what ``faith top`` costs a daemon and its host; docs/top.rst.

Real sessions, idle but for one octet each, through a daemon of two workers between namespaces.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import socket
import struct
import sys
import tempfile
import termios
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.descriptors import allow_many
from bench.table import NOTHING, table
from bench.usage import settle, spending
from faith.cli.top.arrangement import Arrangement
from faith.cli.top.reading import Reader
from faith.cli.top.snapshot import Snapshot
from faith.lab import Network, gain_rights, three_hosts, wait_until
from faith.lab.topology import CLIENT, PREFIX, SERVER

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from faith.lab import ThreeHosts

HERE = Path(__file__).parents[1]
PORT = 8080
OWN = "192.0.2.9"
"""The gateway's address that flows are translated to."""
CLIENTS = 8
"""Client networks that share the sessions: one alone would get half of what a worker has."""
BATCH = 100
READINGS = 10
START = 5.0
"""Seconds that top has to start."""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HERE), "TERM": "xterm-256color"}


def main() -> None:
    """Print a table of CPU times: for a reading, and for ``faith top`` as it runs."""
    parser = argparse.ArgumentParser(prog="python -m bench.top_cost", description=__doc__)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--path", choices=["relay", "kernel"], default="relay")
    parser.add_argument("--seconds", type=float, default=20.0, help="that top runs for")
    words = parser.parse_args()
    gain_rights()
    allow_many()
    with ExitStack() as stack:
        lab = three_hosts(stack.enter_context(Network()))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        daemon = _daemon(lab, directory, words.path)
        sessions = stack.enter_context(_Sessions(lab, words.sessions))
        settle([daemon.pid])
        rows = [*_of_readings(daemon, directory / "control", sessions.busiest)]
        rows += [_of_ending(daemon, directory / "control", sessions.busiest)]
        rows += [_of_top(lab, daemon, directory / "control", words.seconds)]
        heading = [words.path, "of sessions", "s", "daemon, CPU ms", "top, CPU ms"]
    print(table(heading, rows))


def _daemon(lab: ThreeHosts, directory: Path, path: str) -> subprocess.Popen[str]:
    text = f"""control = "{directory}/control"
workers = 2
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "{PORT}"
path = "{path}"
"""
    if path == "kernel":
        lab.gateway.links.add_address("to-server", f"{OWN}/24")
        text += f'[flows]\naddresses = ["{OWN}"]\n'
    (directory / "faith.toml").write_text(text)
    echo = [sys.executable, str(HERE / "bench/ends/echo.py"), SERVER, str(PORT)]
    lab.server.popen(echo)
    lab.server.wait_listening(PORT)
    command = [sys.executable, "-m", "faith.cli.faithd", "-F", "--config", "faith.toml"]
    with (directory / "log").open("wb") as log:
        daemon = lab.gateway.popen(command, cwd=directory, env=ENVIRONMENT, stderr=log)
    wait_until(lambda: "serving" in (directory / "log").read_text(), 20, "faithd serving")
    return daemon


class _Sessions:
    """So many sessions of `CLIENTS` clients, which have moved an octet each way."""

    def __init__(self, lab: ThreeHosts, number: int) -> None:
        sources = [f"2001:db8:6:{client:x}::2" for client in range(1, CLIENTS)]
        for source in sources:
            lab.client.links.add_address("to-gateway", f"{source}/64")
            lab.gateway.links.add_route(f"{source}/128", CLIENT)
        self._made: list[socket.socket] = []
        self.busiest = CLIENT
        sources.insert(0, CLIENT)
        while len(self._made) < number:
            count = min(BATCH, number - len(self._made))
            source = sources[len(self._made) // BATCH % CLIENTS]
            self._made += lab.client.call(_connected, source, lab.mapped(), count)

    def __enter__(self) -> _Sessions:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._made:
            one.close()


def _connected(source: str, address: str, count: int) -> list[socket.socket]:
    made = [
        socket.create_connection((address, PORT), 10, source_address=(source, 0))
        for _ in range(count)
    ]
    for one in made:
        one.send(b".")
    for one in made:
        one.recv(1)
    return made


def _of_readings(daemon: subprocess.Popen[str], control: Path, client: str) -> Iterator[list[str]]:
    """Measure readings of all sessions, and of one client's, with what becomes of them."""
    everything, one = Arrangement(), {"client": client}
    cases: list[tuple[str, dict[str, Any], Arrangement]] = [
        ("a reading of all", {}, everything),
        ("a reading of all, grouped by /64", {}, Arrangement(group="client")),
        ("a reading of one client", one, everything),
        ("a reading of nobody", {"client": "2001:db8:dead::/48"}, everything),
    ]
    for name, wanted, arrangement in cases:
        reader, snapshot = Reader(control), Snapshot()
        snapshot.accept(reader.read(wanted))
        began, own = time.monotonic(), time.process_time()
        with spending([daemon.pid]) as spent:
            for _ in range(READINGS):
                snapshot.accept(reader.read(wanted))
                assert not snapshot.error, snapshot.error
                snapshot.arranged(arrangement)
        seconds = (time.monotonic() - began) / READINGS
        mine = (time.process_time() - own) / READINGS
        count = f"{len(snapshot.rows):,}"
        yield [name, count, f"{seconds:.3f}", _ms(spent.contender / READINGS), _ms(mine)]


def _of_ending(daemon: subprocess.Popen[str], control: Path, client: str) -> list[str]:
    """Measure the end of all sessions of a client."""
    began = time.monotonic()
    with spending([daemon.pid]) as spent:
        ended = Reader(control).kill({"client": client})
    seconds = time.monotonic() - began
    return [
        "the end of one client's",
        f"{ended:,}",
        f"{seconds:.3f}",
        _ms(spent.contender),
        NOTHING,
    ]


def _of_top(
    lab: ThreeHosts, daemon: subprocess.Popen[str], control: Path, seconds: float
) -> list[str]:
    """Measure ``faith top`` in a terminal of 120 columns and 40 lines."""
    terminal, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 40, 120, 0, 0))
    command = [sys.executable, "-m", "faith.cli.faith", "top", "--control", str(control)]
    top = lab.gateway.popen(command, env=ENVIRONMENT, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    threading.Thread(target=_drain, args=(terminal,), daemon=True).start()
    time.sleep(START)
    with spending([daemon.pid]) as spent, spending([top.pid]) as own:
        time.sleep(seconds)
    os.write(terminal, b"q")
    top.wait(10)
    return [
        f"top, all of it, each second of {seconds:g}",
        NOTHING,
        NOTHING,
        _ms(spent.contender / seconds),
        _ms(own.contender / seconds),
    ]


def _drain(terminal: int) -> None:
    with suppress(OSError):
        while os.read(terminal, 65536):
            pass


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f}"


if __name__ == "__main__":
    main()
