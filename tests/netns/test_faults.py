"""Faults of a gateway and their consequences: docs/faults.rst."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.daemon.config.settings import KERNEL, RELAY
from faith.daemon.host import discovery
from faith.kernel.netlink import routes
from faith.kernel.nft import guard
from faith.kernel.process import capabilities, oom_score
from faith.lab import wait_until
from faith.lab.topology import GATEWAY_V4, PREFIX, SERVER
from faith.translation.prefix import Prefix
from tests.faithd import ENVIRONMENT, FAITHD
from tests.netns.gateway import Gateway
from tests.netns.service import PORT, answers, connect, refuses, relays

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.lab import ThreeHosts
    from tests.faithd import Faithd
    from tests.netns.conftest import Fork, Report, Start

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("all_descriptors", "echo")]

CLIENTS = int(os.environ.get("FAITH_FAULTS_CLIENTS", "400"))
"""In a flood: docs/faults.rst has the figures of 10,000."""
FLOWS = min(CLIENTS, 4500)
"""Those of the kernel path: an address that is shared has 4,536 ports for each of a server."""
SLOW = int(os.environ.get("FAITH_FAULTS_SLOW", "20"))
"""Clients that do not read."""
BLACK_HOLE = "192.0.2.99"
BUFFER = 1 << 20
"""Bytes that the kernel may keep for a socket, each way."""
HELD = 10 << 20
"""Bytes that the server has for each slow client."""
RESET = struct.pack("ii", 1, 0)


def rss(faithd: Faithd) -> int:
    """Bytes of memory that the supervisor and its workers have, the shared ones often."""
    pages = 0
    for pid in (faithd.process.pid, *faithd.workers):
        pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def open_descriptors(faithd: Faithd) -> int:
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in faithd.workers)


def open_sessions(lab: ThreeHosts) -> int:
    (running,) = lab.gateway.call(lambda: list(discovery.running()))
    return running.sessions


def at_rest(faithd: Faithd) -> int:
    """The descriptors of the workers when they have nothing to do."""
    found = -1
    while found != (found := open_descriptors(faithd)):
        time.sleep(0.3)  # time: that nothing changes
    return found


def dig_black_hole(lab: ThreeHosts) -> None:
    """Have the gateway send to BLACK_HOLE, where nobody is, instead of asking for a neighbour."""
    device = json.loads(lab.gateway.run(["ip", "-j", "route", "get", SERVER]).stdout)[0]["dev"]
    neighbour = [BLACK_HOLE, "lladdr", "02:00:00:00:00:63", "nud", "permanent", "dev", device]
    lab.gateway.run(["ip", "neigh", "replace", *neighbour])


# -- memory --------------------------------------------------------------------------------------


def adjustment(pid: int | str) -> int:
    """The OOM score adjustment of a process."""
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


@pytest.mark.usefixtures("real_root")
def test_the_kernel_ends_workers_before_the_supervisor(
    lab: ThreeHosts, tmp_path: Path, path: str
) -> None:
    inherited = adjustment("self")
    gateway = Gateway(
        lab,
        tmp_path,
        f'workers = 2\n[metrics]\nlisten = "::1"\n[[prefix]]\naddress = "{PREFIX}"\n'
        f'[[service]]\nports = "{PORT}"\npath = "{path}"\n'
        '[udp]\n[ping]\n[dns]\nlisten = ["::1:5353"]\n',
    )
    try:
        assert len(gateway.workers) == 6 + (path == KERNEL)
        assert {adjustment(pid) for pid in gateway.workers} == {inherited + oom_score.CHILD}
        may_lower = "CAP_SYS_RESOURCE" in capabilities.effective()
        lowered = oom_score.SUPERVISOR if may_lower and not inherited else inherited
        assert adjustment(gateway.process.pid) == lowered
    finally:
        gateway.stop()


# -- clients -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("reserved")
def test_a_flood_of_connections_to_a_black_hole_is_cut_at_the_deadline(
    lab: ThreeHosts, start: Start
) -> None:
    dig_black_hole(lab)
    deadline = 3 + CLIENTS // 500  # none is cut before all are there
    faithd = start("--connect-timeout", str(deadline), "--record-refusals", "0", str(PORT))
    idle, before = at_rest(faithd), rss(faithd)
    flood = [connect(lab, lab.mapped(BLACK_HOLE)) for _ in range(CLIENTS)]
    growth = (rss(faithd) - before) / CLIENTS
    wait_until(lambda: open_sessions(lab) == CLIENTS, 5, "all of them being there at once")
    assert relays(lab), "others are served meanwhile"
    print(f"{CLIENTS} half-open sessions: {growth:.0f} bytes of the daemon's each")
    assert growth < 16_000
    for session in flood:
        with session, contextlib.suppress(ConnectionError):
            session.settimeout(deadline + 10)
            assert session.recv(1) == b""
    faithd.wait_said("end=timeout", CLIENTS)
    wait_until(lambda: open_descriptors(faithd) == idle, 5, "every descriptor given back")
    assert relays(lab)


@pytest.mark.usefixtures("bpf_allowed")
def test_a_flood_of_first_packets_to_a_black_hole_ends_in_time(
    lab: ThreeHosts, tmp_path: Path
) -> None:
    """By the kernel path nobody is connected, and a client that has gone sends no second one."""
    dig_black_hole(lab)
    faithd = Gateway(
        lab,
        tmp_path,
        f'workers = 2\n[[prefix]]\naddress = "{PREFIX}"\n'
        f'[[service]]\nports = "{PORT}"\npath = "kernel"\n[log]\nrefusals = 0\n'
        f"[timeouts]\ntcp_syn = {6 + FLOWS // 500}\n[flows]\nhalf_open = {2 * FLOWS}\n",
    )
    before = rss(faithd)
    flood = [begin(lab, lab.mapped(BLACK_HOLE)) for _ in range(FLOWS)]
    wait_until(lambda: open_sessions(lab) == FLOWS, 5, "all of them being there at once")
    growth = (rss(faithd) - before) / FLOWS
    assert relays(lab), "others are served meanwhile"
    print(f"{FLOWS} half-open flows: {growth:.0f} bytes of the daemon's each")
    assert growth < 16_000
    for session in flood:
        session.close()
    faithd.wait_said("end=timeout", FLOWS, seconds=30)
    wait_until(lambda: open_sessions(lab) == 0, 5, "none being counted")
    assert relays(lab)
    assert faithd.stop() == 0


def begin(lab: ThreeHosts, address: str) -> socket.socket:
    """A connection of the client's that is not made yet."""
    sock = lab.client.call(socket.socket, socket.AF_INET6)
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        sock.connect((address, PORT))
    return sock


@pytest.mark.usefixtures("reserved")
def test_a_flood_of_idle_sessions_costs_little_and_leaves_nothing(
    lab: ThreeHosts, start: Start, fork: Fork, path: str
) -> None:
    faithd = start("--path", path, f"{PORT},9999")
    clients = CLIENTS if path == RELAY else FLOWS
    idle, before = at_rest(faithd), rss(faithd)
    with lab.server.call(lambda: socket.create_server((SERVER, 9999), backlog=4096)) as listener:
        holding = fork(lambda report: hold(listener, clients, report))
    with contextlib.ExitStack() as stack:
        for _ in range(clients):
            stack.enter_context(connect(lab, port=9999))
        assert holding.report() == clients
        assert relays(lab), "others are served meanwhile"
        growth = (rss(faithd) - before) / clients
        print(f"{clients} idle sessions: {growth:.0f} bytes of the daemon's each")
        assert growth < 16_000
    holding.kill()
    wait_until(lambda: open_sessions(lab) == 0, 10, "the end of all")
    wait_until(lambda: open_descriptors(faithd) == idle, 10, "every descriptor given back")
    assert relays(lab)


def hold(listener: socket.socket, clients: int, report: Report) -> None:
    """Have the server's ends in a process of its own: one may not have those of both sides."""
    sessions = [listener.accept() for _ in range(clients)]
    report(len(sessions))
    signal.pause()


@pytest.mark.usefixtures("reserved")
def test_slow_readers_hold_no_memory_of_the_daemons(
    lab: ThreeHosts, start: Start, path: str
) -> None:
    """What they leave unread waits in pipes and sockets, which the kernel bounds, or unsent."""
    for host in (lab.client, lab.gateway, lab.server):
        for buffer in ("rmem", "wmem"):
            host.sysctl(f"net.ipv4.tcp_{buffer}", f"4096 65536 {BUFFER}")
    faithd = start("--path", path, "9999")
    with lab.server.call(socket.create_server, (SERVER, 9999)) as listener:
        before = rss(faithd)
        slow, sending = [], []
        for _ in range(SLOW):
            slow.append(connect(lab, port=9999))
            server, _ = listener.accept()
            server.setblocking(False)
            sending.append(server)
        sent = pour(sending)
        growth = (rss(faithd) - before) / SLOW
        print(
            f"{SLOW} slow readers: {growth:.0f} bytes of the daemon's each,"
            f" {sum(sent) / SLOW / 1e6:.1f} MB taken of each server's {HELD / 1e6:.1f}",
        )
        assert growth < 300_000
        assert max(sent) < HELD, "the server is held back"
        for sock in (*slow, *sending):
            sock.close()


def pour(sockets: list[socket.socket]) -> list[int]:
    """Send what each takes, of HELD bytes, until none has taken anything for a while."""
    sent = [0] * len(sockets)
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < 0.7:
        for number, sock in enumerate(sockets):
            with contextlib.suppress(BlockingIOError):
                if sent[number] < HELD:
                    sent[number] += sock.send(bytes(1 << 16))
                    quiet_since = time.monotonic()
        time.sleep(0.001)  # time: that none takes anything for a while
    return sent


@pytest.mark.usefixtures("reserved")
def test_a_storm_of_resets_leaves_nothing_behind(lab: ThreeHosts, start: Start, path: str) -> None:
    faithd = start("--path", path, "--record-refusals", "1", str(PORT))
    idle = at_rest(faithd)
    with connect(lab) as bystander:
        for number in range(CLIENTS):
            session = connect(lab)
            if number % 2:
                session.sendall(b"hello")
            session.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            session.close()
        assert answers(bystander)
        wait_until(lambda: open_sessions(lab) == 1, 10, "the end of all others")
    wait_until(lambda: open_descriptors(faithd) == idle, 10, "every descriptor given back")
    assert relays(lab)


# -- the host ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("reserved")
def test_a_log_without_room_costs_messages_and_nothing_else(lab: ThreeHosts, path: str) -> None:
    words = [*FAITHD, "-F", "--path", path, str(PORT)]
    with open("/dev/full", "wb") as full:
        faithd = lab.gateway.popen(words, stderr=full, env=ENVIRONMENT)
    lab.gateway.wait_listening(PORT)
    for _ in range(20):
        assert relays(lab)
    faithd.terminate()
    assert faithd.wait(5) == 0


@pytest.mark.usefixtures("reserved")
def test_a_clock_that_jumps_moves_no_limit(lab: ThreeHosts, start: Start) -> None:
    """Limits are measured on the monotonic clock: only records, reports and the Date of HTTP have
    the day's time."""
    source = Path(routes.__file__).parents[2]
    users = [
        file.name
        for part in ("relay", "flow", "daemon")
        for file in source.glob(f"{part}/**/*.py")
        if "time.time()" in file.read_text()
    ]
    assert set(users) == {
        "client_session.py",
        "datagram_sinks.py",
        "destinations.py",
        "dns_daemon.py",
        "flow_records.py",
        "health.py",
        "http_date.py",
        "inetd.py",
        "log.py",
        "own_numbers.py",
        "proxies.py",
        "relay.py",
        "reload.py",
        "self_report.py",
        "session.py",
        "stderr_sink.py",
        "tcp_flow_records.py",
        "upgrades.py",
    }
    start("--idle-timeout", "2", str(PORT))  # that of a flow is more than two hours
    with connect(lab) as session:
        assert answers(session)
        session.settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            assert session.recv(1) == b""


# -- others, at the kernel's tables ---------------------------------------------------------------


def test_a_route_that_somebody_deletes_is_put_back(
    lab: ThreeHosts, start: Start, path: str
) -> None:
    faithd = start("-P", PREFIX, "--path", path, str(PORT))
    with connect(lab) as session:
        assert answers(session)
        route = ["local", PREFIX, "dev", "lo", "table", "local"]
        lab.gateway.run(["ip", "-6", "route", "del", *route])
        faithd.wait_said(f"the route of {PREFIX} was deleted by another program; reserved it again")
        wait_until(lambda: relays_now(lab), 5, "relaying as before")
        assert answers(session), "what was there goes on"
    assert faithd.stop() == 0
    assert not list(lab.gateway.call(routes.reserved))


def kill(faithd: Faithd) -> None:
    """Kill the supervisor, and wait for its workers, which end by themselves."""
    workers = faithd.workers
    faithd.signal(signal.SIGKILL)
    faithd.process.wait(5)
    wait_until(lambda: not any(map(alive, workers)), 10, "the end of the workers")


def test_a_daemon_that_was_killed_is_succeeded_in_its_prefix(
    lab: ThreeHosts, start: Start, path: str
) -> None:
    kill(start("-P", PREFIX, "--path", path, str(PORT)))
    again = start("-P", PREFIX, "--path", path, str(PORT))
    lab.gateway.run(["ip", "-6", "route", "del", "local", PREFIX, "dev", "lo", "table", "local"])
    again.wait_said(f"the route of {PREFIX} was deleted by another program; reserved it again")
    wait_until(lambda: relays_now(lab), 5, "relaying as before")
    assert again.stop() == 0
    assert lab.gateway.call(routes.reserved) == []
    assert not lab.gateway.call(guard.inspect).present


def test_a_prefix_that_a_killed_daemon_left_goes_when_its_successor_has_another(
    lab: ThreeHosts, start: Start, path: str
) -> None:
    other, by_hand = "2001:db8:fffe::/96", "2001:db8:fffd::/96"
    lab.gateway.call(routes.reserve, Prefix.parse(by_hand))
    kill(start("-P", other, "--path", path, str(PORT)))
    faithd = start("-P", PREFIX, "--path", path, str(PORT))
    faithd.wait_said(f"released the prefixes of a faithd that was killed: {other}")
    left = {str(prefix) for prefix in lab.gateway.call(routes.reserved)}
    assert left == {PREFIX, by_hand}, "what faith -e has reserved stays"
    assert relays(lab)
    assert faithd.stop() == 0
    assert list(map(str, lab.gateway.call(routes.reserved))) == [by_hand]


def test_a_daemon_that_starts_takes_nothing_from_one_that_runs(
    lab: ThreeHosts, start: Start, path: str
) -> None:
    first = start("-P", PREFIX, "--path", path, str(PORT))
    second = start("-P", "2001:db8:fffe::/96", str(PORT + 1))
    assert second.stop() == 0
    assert relays(lab)
    assert first.stop() == 0
    assert lab.gateway.call(routes.reserved) == []


@pytest.mark.parametrize(
    ("path", "via"),
    [(RELAY, "route"), (RELAY, "tproxy"), (RELAY, "redirect"), (KERNEL, "route")],
    indirect=["path"],
)
def test_a_flushed_ruleset_is_put_back(
    lab: ThreeHosts, start: Start, need: Callable[[str], str], path: str, via: str
) -> None:
    faithd = start("-P", PREFIX, "--path", path, "--via", via, str(PORT))
    with connect(lab) as session:
        assert answers(session)
        lab.gateway.run([need("nft"), "flush", "ruleset"])
        assert not lab.gateway.call(guard.inspect).present
        faithd.wait_said("the guard of the prefixes was changed by another program; restored it")
        if path == KERNEL:
            faithd.wait_said("the guard of the flows was changed by another program; restored it")
            flows = lab.gateway.run([need("nft"), "list", "table", "ip", "faith_flows"]).stdout
            assert GATEWAY_V4 in flows
        state = lab.gateway.call(guard.inspect)
        assert state.intact
        assert state.covers(Prefix.parse(PREFIX))
        assert answers(session), "what was there goes on"
    assert relays(lab)
    with lab.gateway.call(lambda: socket.create_server(("::", 80), family=socket.AF_INET6)):
        assert refuses(lab, 80), "a bystander is guarded again"
    assert faithd.stop() == 0


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def relays_now(lab: ThreeHosts) -> bool:
    with contextlib.suppress(OSError):
        return relays(lab)
    return False


def test_without_proc_it_does_not_start_and_says_why(lab: ThreeHosts) -> None:
    without = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    done = lab.gateway.run([*without, *FAITHD, "-F", str(PORT)], check=False, env=ENVIRONMENT)
    assert done.returncode == 1
    assert re.search(
        r": read /proc/\S+: No such file or directory \(mount proc on /proc\)$", done.stderr
    )
    assert "Traceback" not in done.stderr
