"""Processes and sockets, by what proc(5) says of this one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

from faith.cli.explain import process_facts
from faith.daemon.observe.status_report import Daemon, Names, NameServer, Process, Traffic
from faith.lab import wait_until

DAEMON = Daemon(1, "web", "80", "route", 0.0, [], [])


def named(*healthy: bool) -> Names:
    servers = [NameServer(f"192.0.2.{at}", good) for at, good in enumerate(healthy)]
    return Names(0, 0, 0, 0, 0, 0, servers)


def test_a_process_that_is_stopped_is_stuck() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        os.kill(process.pid, signal.SIGSTOP)
        wait_until(lambda: process_facts.state(process.pid) == "T", 5, "the process stops")
        running = Daemon(
            1,
            "web",
            "80",
            "route",
            0.0,
            [],
            [],
            processes=[
                Process("worker 1", process.pid, "serving"),
                Process("worker 2", os.getpid(), "serving"),
                Process("dns 1", os.getpid(), "late"),
            ],
            traffic=[Traffic("ping", refusals={"too many": 3})],
        )
        found = process_facts.daemon(running)
    finally:
        process.kill()
        process.communicate()
    assert (found.workers, found.stuck) == (2, ("worker 1", "dns 1"))
    assert 80 in found.ports
    assert found.refusals == {"ping": {"too many": 3}}


def test_name_servers_are_dead_when_none_is_healthy() -> None:
    import msgspec

    for healthy, dead in (((True, False), 0), ((False, False), 2), ((), 0)):
        running = msgspec.structs.replace(DAEMON, names=named(*healthy))
        assert len(process_facts.daemon(running).dead_name_servers) == dead


def test_a_process_that_is_gone() -> None:
    gone = 1 << 22
    assert process_facts.state(gone) == ""
    assert process_facts.descriptors(gone) == (0, 0)


def test_descriptors_are_counted() -> None:
    used, limit = process_facts.descriptors(os.getpid())
    assert 0 < used < limit


def test_listeners_and_ports_towards_a_server() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        port = listener.getsockname()[1]
        assert process_facts.listens(port)
    assert not process_facts.listens(port)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            used, room = process_facts.source_ports("127.0.0.1", "127.0.0.1", port)
    assert used == 1
    assert room > 1


def test_sysctls_and_counters() -> None:
    assert process_facts.sysctl("net.ipv4.ip_forward") in ("0", "1")
    assert process_facts.sysctl("net.ipv4.no_such_thing") == ""
    assert process_facts.reverse_path_drops() >= 0
