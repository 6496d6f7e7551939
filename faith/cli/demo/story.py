"""The demo from its beginning to its end."""

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
# Programs import from where we do, and from nowhere else: not from any directory we are in.
_ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONSAFEPATH": "1"}


def run(*, stay: bool) -> int:
    """Show everything, and return 0 if every connection passed as it should.

    With *stay* the network is left there.  Raises FaithError when it cannot even be built.
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
    """Take away what a run has left there."""
    removed = remove_kept()
    print(f"removed {', '.join(removed)}" if removed else "there was nothing to remove")
    return 0


@contextmanager
def _log() -> Iterator[int]:
    """A file without a name, which is there for as long as a program has it open."""
    descriptor = os.memfd_create("faithd.log")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(log: int) -> list[str]:
    text = os.pread(log, os.fstat(log).st_size, 0).decode(errors="replace")
    return text.splitlines()


def _set_up(console: Console, lab: ThreeHosts, log: int) -> subprocess.Popen[str]:
    """What an operator does on the gateway; returns the faithd."""
    gateway = lab.gateway
    gateway.links.add_route("default", SERVER)  # it stands for all of the IPv4 Internet
    words = ("-e", "-p", lab.prefix)
    picture.ran(console, "gateway", f"faith {' '.join(words)}", _faith(gateway, *words))

    options = ["-F", str(Ports((port, port) for port in servers.SERVICES))]
    if ACCESS_FILE.exists():  # the rules of this machine were not made for the demo
        options = ["-f", os.devnull, *options]
    picture.ran(console, "", f"faithd {' '.join(options)}", "")
    return _start(gateway, [*_FAITHD, *options], log)


def _start(host: Host, argv: list[str], log: int) -> subprocess.Popen[str]:
    """Start a program that is to listen on the ports of `servers.SERVICES`.

    Whatever it says goes to *log* and not to our terminal, which it may outlive.
    """
    program = host.popen(argv, stdout=log, stderr=log, env=_ENVIRONMENT)
    try:
        for port in servers.SERVICES:
            host.wait_listening(port, seconds=_START, program=program)
    except (ChildProcessError, TimeoutError) as error:
        raise SetupError(f"start {argv[2]}", "; ".join(_read(log)) or str(error)) from error
    return program


def _faith(gateway: Host, *words: str) -> str:
    """What ``faith`` says on the gateway.  Raises SetupError when it fails."""
    step = f"faith {' '.join(words)}"
    try:
        result = gateway.run([*_FAITH, *words], check=False, timeout=_START, env=_ENVIRONMENT)
    except subprocess.TimeoutExpired as error:
        raise SetupError(step, str(error)) from error
    if result.returncode:
        raise SetupError(step, result.stderr.strip())
    return result.stdout


def _visit_all(console: Console, lab: ThreeHosts) -> int:
    """Visit every server from the client; returns how many visits went well."""
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
    """Show the sessions as faithd recorded them; returns how many of them ended well."""

    def lines() -> list[str]:
        return [line for line in _read(log) if " client=" in line]

    with suppress(TimeoutError):  # they will be missed by whoever counts them
        wait_until(lambda: len(lines()) >= expected, 5, "the records of the sessions")
    records = [picture.Record.parse(line) for line in lines()]
    picture.passed(console, records)
    picture.log(console, lines())
    return sum(record.end == "closed" for record in records)


def _leave(console: Console, lab: ThreeHosts, faithd: subprocess.Popen[str]) -> None:
    """Leave the network there, and say what can be done with it."""
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
    """Commands for the client, of programs that this machine has."""
    if shutil.which("telnet"):
        yield f"telnet {address}"
    if shutil.which("curl"):
        yield f"curl http://[{address}]/"
    else:
        code = f"import urllib.request as u; print(u.urlopen('http://[{address}]/').read())"
        yield shlex.join([sys.executable, "-c", code])


def _ourselves() -> str:
    """``faith``, in a way that this user's shell finds it."""
    found = shutil.which("faith")
    # One that another Python runs is another installation, or cannot be run by this user.
    ours = found is not None and Path(found).parent == Path(sys.executable).parent
    return "faith" if ours else shlex.join(_FAITH)
