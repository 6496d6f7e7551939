"""The demo: builds the network, runs the gateway, visits the servers, and shows the outcome."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from faith.cli.demo import picture, servers
from faith.cli.demo.visits import VISITS, VisitError
from faith.daemon.config.policy import ACCESS_FILE
from faith.errors import SetupError
from faith.lab import Network, gain_rights, keep, remove_kept, three_hosts, wait_until
from faith.lab.topology import SERVER
from faith.translation.ports import Ports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.lab import Host, ThreeHosts

_START = 10.0
"""Seconds that a program may take to start."""
_VISIT = 60.0
"""Seconds that a visit may take in all."""
_FAITH = [sys.executable, "-m", "faith.cli.faith"]
_FAITHD = [sys.executable, "-m", "faith.cli.faithd"]
# Programs import from the same places as this one, and not from the current directory.
_ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONSAFEPATH": "1"}


def run(*, stay: bool) -> int:
    """Run the demo, and return 0 if every connection passed.

    With *stay* the network is kept.  Raises FaithError when it cannot be built.
    """
    gain_rights()
    started = time.monotonic()
    console = Console(highlight=False)
    picture.topology(console)
    with Network() as network, _log() as log:
        lab = three_hosts(network)
        _start(lab.server, [sys.executable, "-m", servers.__name__], log)
        faithd = _set_up(console, lab, log)
        visited = _visit_all(console, lab)
        recorded = _show_records(console, log, visited)
        picture.ran(console, "gateway", "faith status", _faith(lab.gateway, "status"))
        if stay:
            _leave(console, lab, faithd)
    good = visited == recorded == len(VISITS)
    picture.end(console, good, time.monotonic() - started)
    return 0 if good else 1


def remove() -> int:
    """Remove the network that a run has kept."""
    removed = remove_kept()
    print(f"removed {', '.join(removed)}" if removed else "there was nothing to remove")
    return 0


@contextmanager
def _log() -> Iterator[int]:
    """Make a file without a name, which lasts for as long as a program has it open."""
    descriptor = os.memfd_create("faithd.log")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(log: int) -> list[str]:
    text = os.pread(log, os.fstat(log).st_size, 0).decode(errors="replace")
    return text.splitlines()


def _set_up(console: Console, lab: ThreeHosts, log: int) -> subprocess.Popen[str]:
    """Set the gateway up as an operator does; return the faithd."""
    gateway = lab.gateway
    gateway.links.add_route("default", SERVER)  # the server stands for the whole IPv4 Internet
    words = ("-e", "-p", lab.prefix)
    picture.ran(console, "gateway", f"faith {' '.join(words)}", _faith(gateway, *words))

    options = ["-F", str(Ports((port, port) for port in servers.SERVICES))]
    if ACCESS_FILE.exists():  # the rules of this machine are not meant for the demo
        options = ["-f", os.devnull, *options]
    picture.ran(console, "", f"faithd {' '.join(options)}", "")
    return _start(gateway, [*_FAITHD, *options], log)


def _start(host: Host, argv: list[str], log: int) -> subprocess.Popen[str]:
    """Start a program that is to listen on the ports of `servers.SERVICES`.

    Its output goes to *log* and not to this terminal, which it may outlive.
    """
    program = host.popen(argv, stdout=log, stderr=log, env=_ENVIRONMENT)
    try:
        for port in servers.SERVICES:
            host.wait_listening(port, seconds=_START, program=program)
    except (ChildProcessError, TimeoutError) as error:
        raise SetupError(f"start {argv[2]}", "; ".join(_read(log)) or str(error)) from error
    return program


def _faith(gateway: Host, *words: str) -> str:
    """Return the output of ``faith`` on the gateway.  Raises SetupError when it fails."""
    step = f"faith {' '.join(words)}"
    try:
        result = gateway.run([*_FAITH, *words], check=False, timeout=_START, env=_ENVIRONMENT)
    except subprocess.TimeoutExpired as error:
        raise SetupError(step, str(error)) from error
    if result.returncode:
        raise SetupError(step, result.stderr.strip())
    return result.stdout


def _visit_all(console: Console, lab: ThreeHosts) -> int:
    """Visit every server from the client; return how many visits passed."""
    passed = 0
    picture.client(console, lab)
    for visit in VISITS:
        try:
            lines = lab.client.call(visit.go, lab.mapped(), timeout=_VISIT)
        except (OSError, VisitError) as error:
            picture.visit(console, visit, (str(error),), good=False)
        else:
            picture.visit(console, visit, lines, good=True)
            passed += 1
    return passed


def _show_records(console: Console, log: int, expected: int) -> int:
    """Show the sessions as faithd recorded them; return how many of them ended well."""

    def lines() -> list[str]:
        return [line for line in _read(log) if " client=" in line]

    with suppress(TimeoutError):  # a missing record shows in the count
        wait_until(lambda: len(lines()) >= expected, 5, "the records of the sessions")
    records = [picture.Record.parse(line) for line in lines()]
    picture.passed(console, records)
    picture.log(console, lines())
    return sum(record.end == "closed" for record in records)


def _leave(console: Console, lab: ThreeHosts, faithd: subprocess.Popen[str]) -> None:
    """Keep the network, and print what can be done with it."""
    removal = f"{_ourselves()} demo --remove"
    try:
        inside = keep(lab.network)
    except SetupError as error:
        raise SetupError(error.step, error.reason, f"take them away with {removal}") from error
    commands = [f"{inside['client']} {command}" for command in _clients(lab.mapped())]
    commands.append(f"{inside['gateway']} {_ourselves()} status")
    commands.append(f"tail -f /proc/{faithd.pid}/fd/2")
    picture.to_try(console, commands, removal)


def _clients(address: str) -> Iterator[str]:
    """Return commands for the client, using programs that this machine has."""
    if shutil.which("telnet"):
        yield f"telnet {address}"
    if shutil.which("curl"):
        yield f"curl http://[{address}]/"
    else:
        code = f"import urllib.request as u; print(u.urlopen('http://[{address}]/').read())"
        yield shlex.join([sys.executable, "-c", code])


def _ourselves() -> str:
    """Return a command line for ``faith`` that works in this user's shell."""
    found = shutil.which("faith")
    # One run by another Python is another installation, or not executable by this user.
    ours = found is not None and Path(found).parent == Path(sys.executable).parent
    return "faith" if ours else shlex.join(_FAITH)
