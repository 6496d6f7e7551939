"""What a daemon says of itself: to ``faith status``, on its control socket and at /status.json."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

import dns.message
import dns.query
import dns.rcode
import msgspec
import pytest

from faith.cli import control_client
from faith.daemon.observe.status_report import Daemon, Finding, Guard, Process, Report
from faith.lab import wait_until
from faith.lab.topology import GATEWAY_V6, PREFIX, SERVER
from faith.version import VERSION
from tests.dns.zones import EXAMPLE, NameServer, Zones
from tests.faithd import ENVIRONMENT
from tests.netns.gateway import Gateway, reread
from tests.netns.service import PORT, answers, connect, relays

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faith.lab import ThreeHosts

    Start = Callable[..., Gateway]

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("echo")]

BASE = f"""
workers = 2
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "{PORT}"
[metrics]
listen = "[::1]:9064"
[timeouts]
drain = 60
"""
LONGEST = 20
"""Seconds until a process that hangs is replaced, and more."""


@pytest.fixture
def start(lab: ThreeHosts, tmp_path: Path) -> Start:
    """Start a faithd by the text of a file, and wait until it serves."""
    return lambda text=BASE, **more: Gateway(lab, tmp_path, text, **more)


def report(lab: ThreeHosts) -> Report:
    """The report of ``faith status --json``, whose exit status is as good as the report."""
    command = [sys.executable, "-m", "faith.cli.faith", "status", "--json"]
    done = lab.gateway.run(command, env=ENVIRONMENT, check=False)
    found = msgspec.json.decode(done.stdout, type=Report)
    assert done.returncode == (0 if found.good else 1)
    return found


def daemon(lab: ThreeHosts) -> Daemon:
    (found,) = report(lab).daemons
    return found


def of_kind(findings: list[Finding], kind: str) -> list[str]:
    return [one.text for one in findings if one.id == kind]


def page(lab: ThreeHosts, path: str = "/status.json") -> tuple[int, str]:
    """The status and the body that the admin listener answers with."""

    def read() -> str:
        with socket.create_connection(("::1", 9064), timeout=10) as sock, sock.makefile() as answer:
            sock.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
            return answer.read()

    head, _, body = lab.gateway.call(read).partition("\n\n")
    return int(head.split()[1]), body


def at_admin(lab: ThreeHosts) -> Report:
    status, body = page(lab)
    assert status == 200, body
    return msgspec.json.decode(body, type=Report)


def test_it_says_the_same_wherever_it_is_asked(lab: ThreeHosts, start: Start) -> None:
    faithd = start()
    with connect(lab) as session:
        assert answers(session)
        wait_until(lambda: daemon(lab).sessions == 1, 5, "the session being counted")
        (by_page,), by_status = at_admin(lab).daemons, daemon(lab)
        answer = control_client.ask(faithd.control, "status")
        by_control = msgspec.convert(answer, Daemon)
        for found in (by_page, by_status, by_control):
            assert (found.pid, found.version) == (faithd.process.pid, VERSION)
            assert (found.sessions, found.prefixes, found.ready) == (1, [PREFIX], True)
            roles = {one.role: one for one in found.processes}
            assert {*roles} == {"worker 1", "worker 2", "admin"}
            assert {one.pid for one in found.processes} == {*faithd.workers}
            assert {one.state for one in found.processes} == {"serving"}
            workers = [one for one in found.processes if one.role != "admin"]
            assert sum(one.open for one in workers) == 1
            assert found.traffic[0].open == 1
            assert found.dialling
            assert found.dialling.count >= 1
            assert found.findings == []
    assert faithd.stop() == 0


def test_the_page_knows_the_guard(
    lab: ThreeHosts, start: Start, need: Callable[[str], str]
) -> None:
    lab.gateway.links.add_route("default", SERVER)
    faithd = start(BASE + '[[service]]\nports = "23"\n')
    found = at_admin(lab)
    assert [(one.prefix, one.guarded) for one in found.prefixes] == [(PREFIX, True)]
    assert found.guard == Guard(present=True, intact=True)
    assert found.good
    lab.gateway.run([need("nft"), "add", "rule", "ip6", "faith", "guard", "accept"])
    wait_until(lambda: bool(of_kind(at_admin(lab).findings, "guard-altered")), 5, "its being seen")
    assert not at_admin(lab).good
    assert faithd.stop() == 0


def test_the_page_knows_the_host(lab: ThreeHosts, start: Start) -> None:
    lab.gateway.links.add_route("default", SERVER)
    faithd = start(BASE + '[[service]]\nports = "23"\n')
    assert at_admin(lab).good
    lab.gateway.run(["ip", "link", "set", "to-server", "down"])
    wait_until(lambda: bool(of_kind(at_admin(lab).findings, "uplink-down")), 5, "its being seen")
    found = at_admin(lab)
    assert not found.good
    assert {one.id for one in found.findings} == {one.id for one in report(lab).findings}
    assert faithd.stop() == 0


def test_the_page_names_no_client_and_the_last_report_stays_while_the_supervisor_hangs(
    lab: ThreeHosts, start: Start
) -> None:
    faithd = start()
    with connect(lab) as session:
        assert answers(session)
        first = at_admin(lab)
        assert str(session.getsockname()[0]) not in page(lab)[1]
        os.kill(faithd.process.pid, signal.SIGSTOP)
        try:
            wait_until(lambda: time.time() - at_admin(lab).time > 2, 10, "an old report")
        finally:
            os.kill(faithd.process.pid, signal.SIGCONT)
        wait_until(lambda: time.time() - at_admin(lab).time < 1, 10, "a new report")
        assert at_admin(lab).daemons[0].started == first.daemons[0].started
    assert faithd.stop() == 0


def test_a_worker_that_hangs_or_dies_is_told(lab: ThreeHosts, start: Start) -> None:
    faithd = start()
    victim = next(one.pid for one in daemon(lab).processes if one.role == "worker 2")
    os.kill(victim, signal.SIGSTOP)
    wait_until(lambda: bool(of_kind(report(lab).findings, "process-hung")), 10, "its being late")
    (text,) = of_kind(report(lab).findings, "process-hung")
    assert f"worker 2 (pid {victim}) does not answer" in text
    assert not daemon(lab).ready

    def second() -> Process:
        (found,) = (one for one in daemon(lab).processes if one.role == "worker 2")
        return found

    wait_until(lambda: second().pid not in (0, victim), LONGEST, "another in its place")
    wait_until(lambda: second().state == "serving", LONGEST, "its serving")
    assert second().replaced is not None
    wait_until(lambda: second().restarts == 1, 5, "its being counted")
    (text,) = of_kind(report(lab).findings, "process-restarting")
    assert "worker 2 died, and another took its place" in text
    assert relays(lab)
    assert faithd.stop() == 0


def test_a_reload_that_failed_is_told_through_an_upgrade(lab: ThreeHosts, start: Start) -> None:
    faithd = start()
    assert daemon(lab).reload is None
    reread(faithd, BASE + "nonsense", says="everything stays as it was")
    last = daemon(lab).reload
    assert last
    assert not last.good
    (text,) = of_kind(report(lab).findings, "reload-failed")
    assert "faith.toml" in text
    faithd.write(BASE)
    faithd.signal(signal.SIGUSR2)
    faithd.wait_said("everything is handed over", seconds=20)
    assert daemon(lab).reload == last
    assert daemon(lab).programs == 2
    faithd.signal(signal.SIGHUP)
    faithd.wait_said("read again")
    wait_until(lambda: not of_kind(report(lab).findings, "reload-failed"), 5, "a good reload")
    found = daemon(lab).reload
    assert found
    assert found.good
    assert found.when > last.when
    assert faithd.stop() == 0


def test_an_upgrade_that_failed_is_told(lab: ThreeHosts, start: Start) -> None:
    faithd = start()
    faithd.write("nonsense")
    faithd.signal(signal.SIGUSR2)
    faithd.wait_said("not upgraded", seconds=20)
    assert daemon(lab).failed == 1
    assert of_kind(report(lab).findings, "upgrade-failed")
    assert faithd.stop() == 0


def faith(lab: ThreeHosts, *words: str) -> str:
    command = [sys.executable, "-m", "faith.cli.faith", *words]
    return lab.gateway.run(command, env=ENVIRONMENT).stdout


def test_the_end_is_told_while_it_comes(lab: ThreeHosts, start: Start) -> None:
    faithd = start()
    with connect(lab) as session:
        assert answers(session)
        faith(lab, "drain", "--lame-duck", "600")
        assert of_kind(report(lab).findings, "lame-duck")
        assert daemon(lab).lame_duck
        faith(lab, "undrain")
        faith(lab, "drain", "--forever")
        wait_until(lambda: daemon(lab).draining, 5, "the drain")
        assert of_kind(report(lab).findings, "draining")
        states = {one.role: one.state for one in at_admin(lab).daemons[0].processes}
        assert states["admin"] == "serving"
        assert "draining" in states.values()
        assert at_admin(lab).daemons[0].obstacles == ["draining"]
    assert faithd.stop() == 0


# -- the name service ----------------------------------------------------------------------------


DEAD, LIVING = f"{SERVER}:54", f"{SERVER}:53"
NAMES = f"""
[dns]
listen = ["[{GATEWAY_V6}]:53"]
forward = ["{DEAD}", "{LIVING}"]
workers = 2
"""


def serving_names(lab: ThreeHosts) -> NameServer:
    zone = Zones(f"{EXAMPLE}www 60 IN A {SERVER}\n")
    return lab.server.call(lambda: NameServer(zone, SERVER, 53))


def ask(lab: ThreeHosts) -> dns.rcode.Rcode:
    """What the gateway says to a question that nobody has asked it before."""
    query = dns.message.make_query(f"{secrets.token_hex(8)}.example.", "A")
    answer = lab.client.call(lambda: dns.query.udp(query, GATEWAY_V6, timeout=10))
    return answer.rcode()


def asked_until_dead(lab: ThreeHosts, servers: list[str]) -> None:
    """Ask until the daemon finds exactly *servers* dead."""

    def found() -> bool:
        ask(lab)
        names = daemon(lab).names
        if not (names and names.servers):
            return False  # they are written with the first heartbeat
        assert [one.address for one in names.servers] == [DEAD, LIVING]
        return [one.address for one in names.servers if not one.healthy] == servers

    wait_until(found, 30, f"{servers} being found dead")


def test_name_servers_that_die_and_come_back_are_told(lab: ThreeHosts, start: Start) -> None:
    faithd = start(BASE + NAMES)
    with serving_names(lab):
        asked_until_dead(lab, [DEAD])
        found = report(lab)
        (text,) = of_kind(found.findings, "dns-server-dead")
        assert DEAD in text
        assert not of_kind(found.findings, "dns-servers-dead")
        assert {one.role for one in daemon(lab).processes} >= {"dns 1", "dns 2"}
    asked_until_dead(lab, [DEAD, LIVING])
    assert of_kind(report(lab).findings, "dns-servers-dead")
    with serving_names(lab):
        asked_until_dead(lab, [DEAD])
        names = daemon(lab).names
        assert names
        assert names.queries >= names.looked_up > 0
    assert faithd.stop() == 0


# -- probes of readiness -------------------------------------------------------------------------


TARGET_PORT = 7777
PROBES = f"""
probe_routes = ["198.51.100.0/24"]
probe_targets = ["{SERVER}:{TARGET_PORT}"]
probe_workers = 1
probe_interval = 1
"""
PROBED = BASE.replace('9064"', f'9064"{PROBES}')


def ready(lab: ThreeHosts, *lines: str) -> None:
    """Wait until ``/readyz`` says *lines*, or that it is ready."""
    wanted = (503, "".join(f"{line}\n" for line in lines)) if lines else (200, "ready\n")
    wait_until(lambda: page(lab, "/readyz") == wanted, 10, f"{wanted} of {page(lab, '/readyz')}")


def test_it_is_ready_when_its_probes_are_good(lab: ThreeHosts, start: Start) -> None:
    faithd = start(PROBED)
    route = "probe route 198.51.100.0/24: no route: Network is unreachable"
    target = f"probe tcp {SERVER}:{TARGET_PORT}: Connection refused"
    ready(lab, "2 probes fail", route, target)
    assert page(lab, "/healthz") == (200, "alive\n")
    assert of_kind(daemon(lab).findings, "probe-failed") == [route, target]
    assert relays(lab)
    lab.gateway.links.add_route("198.51.100.0/24", SERVER)
    ready(lab, "1 probe fails", target)
    with lab.server.call(lambda: socket.create_server((SERVER, TARGET_PORT))):
        ready(lab)
        assert [(one.name, one.good) for one in daemon(lab).probes] == [
            ("route 198.51.100.0/24", True),
            (f"tcp {SERVER}:{TARGET_PORT}", True),
            ("workers 1", True),
        ]
        assert daemon(lab).ready
        lab.gateway.run(["ip", "link", "set", "to-server", "down"])
        ready(
            lab,
            "2 probes fail",
            "probe route 198.51.100.0/24: no route: Network is unreachable",
            f"probe tcp {SERVER}:{TARGET_PORT}: Network is unreachable",
        )
        lab.gateway.run(["ip", "link", "set", "to-server", "up"])
    reread(faithd, BASE)
    ready(lab)
    assert faithd.stop() == 0


def test_a_quorum_of_workers_is_ready_while_another_hangs(lab: ThreeHosts, start: Start) -> None:
    faithd = start(BASE.replace('9064"', '9064"\nprobe_workers = 1'))
    victim, other = (one.pid for one in daemon(lab).processes if one.role.startswith("worker"))
    os.kill(victim, signal.SIGSTOP)
    wait_until(lambda: bool(of_kind(daemon(lab).findings, "process-hung")), 10, "its being late")
    assert page(lab, "/readyz") == (200, "ready\n")
    os.kill(other, signal.SIGSTOP)
    ready(lab, "0 of the 1 workers that are needed answer")
    os.kill(other, signal.SIGCONT)
    ready(lab)
    assert faithd.stop() == 0
