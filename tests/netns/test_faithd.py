"""The daemon as an operator meets it: started, signalled, killed, on a gateway of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.daemon.host import discovery
from faith.kernel.netlink import routes
from faith.kernel.nft import guard
from faith.lab import Host, ThreeHosts, wait_until
from faith.lab.topology import GATEWAY_V6, PREFIX, SERVER
from faith.translation.prefix import Prefix
from tests.faithd import ENVIRONMENT, FAITHD, Faithd
from tests.netns.service import PORT, answers, connect, refuses, relays

if TYPE_CHECKING:
    from collections.abc import Callable

    Start = Callable[..., "Faithd"]

pytestmark = pytest.mark.netns


@pytest.fixture(params=["route", "sk_lookup", "tproxy", "redirect"])
def via(request: pytest.FixtureRequest) -> str:
    """Each way of steering that is possible here."""
    if request.param == "sk_lookup":
        request.getfixturevalue("bpf_allowed")
    return str(request.param)


def alive(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


# -- serving -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("reserved", "echo")
def test_relays_a_service_under_a_reserved_prefix(lab: ThreeHosts, start: Start) -> None:
    faithd = start(str(PORT))
    assert relays(lab)
    faithd.wait_said("end=closed")
    assert f"mapped=[{lab.mapped()}]:{PORT}" in faithd.said
    assert f"server={SERVER}:{PORT} sent=5 received=5" in faithd.said
    assert faithd.stop() == 0


@pytest.mark.usefixtures("echo")
def test_warns_when_there_is_no_prefix_and_picks_up_what_comes(
    lab: ThreeHosts, start: Start, via: str
) -> None:
    faithd = start(f"--via={via}", str(PORT))
    assert "no prefix is reserved yet: set one up with faith -e -p PREFIX" in faithd.said
    prefix = Prefix.parse(PREFIX)
    lab.gateway.call(routes.reserve, prefix)
    faithd.wait_said(f"prefixes: {PREFIX}")
    wait_until(lambda: relays_now(lab), 5, "the workers knowing")
    lab.gateway.call(routes.release, prefix)
    faithd.wait_said("prefixes: none", 2)
    lab.gateway.call(routes.reserve, prefix)
    faithd.wait_said(f"prefixes: {PREFIX}", 2)
    wait_until(lambda: relays_now(lab), 5, "the workers knowing")


@pytest.mark.usefixtures("reserved", "echo")
def test_two_services_are_two_daemons(lab: ThreeHosts, start: Start) -> None:
    first, second = start(str(PORT)), start("--via=tproxy", "8080,8443-8445")
    found = {other.pid: other for other in lab.gateway.call(discovery.running)}
    assert found.keys() == {first.process.pid, second.process.pid}
    assert found[first.process.pid].ports == str(PORT)
    assert found[second.process.pid].service == "8080,8443-8445"
    assert found[second.process.pid].via == "tproxy"
    assert found[second.process.pid].prefixes == [PREFIX]
    assert relays(lab)
    assert second.stop() == 0
    assert relays(lab)
    assert lab.gateway.call(discovery.running)[0].pid == first.process.pid


@pytest.mark.usefixtures("reserved", "echo")
def test_workers_are_unprivileged_and_hold_nothing_of_the_kernels(
    lab: ThreeHosts, start: Start, via: str
) -> None:
    faithd = start(f"--via={via}", "-p", str(PORT))
    for worker in faithd.workers:
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{worker}/status").read_text().splitlines()
        )
        assert status["CapEff"] == f"{1 << 10:016x}"  # CAP_NET_BIND_SERVICE, for -p
        assert status["CapBnd"].strip("0") == ""
        assert status["NoNewPrivs"] == "1"
        if os.geteuid() == 0 and "4294967295" in Path("/proc/self/uid_map").read_text():
            assert status["Uid"].split() == ["65534"] * 4
            assert status["Groups"].strip() == ""
        held = [os.readlink(link) for link in Path(f"/proc/{worker}/fd").iterdir()]
        assert not [name for name in held if "bpf" in name]
        # The channel, one listener, and a pair that uvloop makes once it runs.
        assert len([name for name in held if name.startswith("socket:")]) in (2, 4)
    assert relays(lab)
    faithd.wait_said("end=closed")
    source = int(faithd.said.partition("source=192.0.2.1:")[2].split()[0])
    assert 512 <= source < 1024


@pytest.mark.usefixtures("reserved", "echo")
def test_json_is_one_object_a_line(lab: ThreeHosts, start: Start) -> None:
    faithd = start("--log=json", str(PORT))
    assert relays(lab)
    faithd.wait_said('"end": "closed"')
    told = [json.loads(line) for line in faithd.said.splitlines()]
    assert (told[-1]["mapped"], told[-1]["mapped_port"]) == (lab.mapped(), PORT)


# -- the local server ----------------------------------------------------------------------------

LOOK_AROUND = """
import json, os, socket
sock = socket.socket(fileno=0)
fields = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "descriptors": sorted(map(int, os.listdir("/proc/self/fd"))),
    "same": len({os.fstat(n).st_ino for n in range(3)}) == 1,
    "blocking": os.get_blocking(0),
    "client": sock.getpeername()[0],
    "oobinline": sock.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE),
    "leader": os.getsid(0) == os.getpid(),
    "blocked": int(fields["SigBlk"], 16),
    "notify": "NOTIFY_SOCKET" in os.environ,
    "argv0": open("/proc/self/cmdline").read().split("\\0")[0],
}), flush=True)
"""


@pytest.mark.usefixtures("reserved", "echo")
def test_the_gateways_own_address_gets_the_local_server(
    lab: ThreeHosts, start: Start, tmp_path: Path
) -> None:
    telnetd = tmp_path / "telnetd"
    telnetd.write_text(f"#!/bin/sh\nexec {sys.executable} -ISc '{LOOK_AROUND}' \"$@\"\n")
    telnetd.chmod(0o755)
    faithd = start(str(PORT), str(telnetd), "telnetd", "-l", NOTIFY_SOCKET="/nowhere")
    with connect(lab, GATEWAY_V6) as connection:
        seen = json.loads(all_of(connection))
    assert seen["descriptors"][:3] == [0, 1, 2]
    assert len(seen["descriptors"]) == 4, "and the one that lists them"
    assert seen["same"]
    assert seen["blocking"]
    assert seen["client"] == "2001:db8:6::2"
    assert not seen["oobinline"]
    assert seen["leader"]
    assert not seen["blocked"]
    assert not seen["notify"]
    faithd.wait_said(f"executing local {telnetd} for [2001:db8:6::2]:")
    assert relays(lab)
    wait_until(lambda: len(faithd.workers) == 2, 5, "the local server being reaped")


@pytest.mark.usefixtures("reserved")
def test_the_local_server_starts_with_the_arguments_and_signals_of_inetd(
    lab: ThreeHosts, tmp_path: Path
) -> None:
    # As a shell starts what is to run in the background, and nohup(1).
    background = "sh", "-c", "trap '' HUP INT QUIT && exec \"$@\"", "sh"
    look = "/bin/sh", "telnetd", "-c", 'echo "$0 $*"; grep SigIgn /proc/self/status', "a"
    faithd = Faithd(lab.gateway, tmp_path / "log", str(PORT), *look, by=background)
    faithd.wait_said("serving")
    with connect(lab, GATEWAY_V6) as connection:
        said, ignored = all_of(connection).splitlines()
    assert said == "a "
    # But for two above, which are the C library's own business.
    assert int(ignored.split()[1], 16) & 0x7FFFFFFF == 0


def all_of(connection: socket.socket) -> str:
    with connection.makefile() as file:
        return file.read()


@pytest.mark.usefixtures("reserved")
def test_without_a_local_server_the_gateways_own_address_is_closed(
    lab: ThreeHosts, start: Start
) -> None:
    faithd = start(str(PORT))
    with connect(lab, GATEWAY_V6) as connection:
        assert connection.recv(1) == b""
    faithd.wait_said("no local service for [2001:db8:6::2]:")


@pytest.mark.usefixtures("reserved")
def test_a_local_server_that_vanished_is_logged(
    lab: ThreeHosts, start: Start, tmp_path: Path
) -> None:
    telnetd = tmp_path / "telnetd"
    telnetd.write_text("#!/bin/sh\n")
    telnetd.chmod(0o755)
    faithd = start(str(PORT), str(telnetd))
    telnetd.unlink()
    with connect(lab, GATEWAY_V6) as connection:
        assert connection.recv(1) == b""
    faithd.wait_said(f"executing local {telnetd}: No such file")
    assert faithd.process.poll() is None


# -- reload --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("reserved", "echo")
def test_sighup_reads_the_rules_again_and_a_mistake_changes_nothing(
    lab: ThreeHosts, start: Start, tmp_path: Path
) -> None:
    conf = tmp_path / "faithd.conf"
    conf.write_text("::/0 deny 0.0.0.0/0\n")
    faithd = start("-f", str(conf), str(PORT))
    with pytest.raises(ConnectionResetError), connect(lab) as connection:
        connection.recv(1)
    faithd.wait_said(f"translation to [{lab.mapped()}]:{PORT} not permitted for [2001:db8:6::2]:")
    conf.write_text("# better\n::/0 permit 0.0.0.0/0\n")
    faithd.signal(signal.SIGHUP)
    faithd.wait_said(f"{conf}: 1 rules")
    wait_until(lambda: relays_now(lab), 5, "the new rules")
    conf.write_text("# worse\n\n::/0 denies 0.0.0.0/0\n")
    faithd.signal(signal.SIGHUP)
    faithd.wait_said(f"{conf}:3: 'denies' is neither permit nor deny")
    faithd.wait_said("; everything stays as it was")
    assert relays(lab)


def relays_now(lab: ThreeHosts) -> bool:
    with contextlib.suppress(ConnectionResetError):
        return relays(lab)
    return False


# -- deaths --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("reserved", "echo")
def test_a_killed_worker_takes_only_its_own_sessions_and_is_replaced(
    lab: ThreeHosts, start: Start
) -> None:
    faithd = start(str(PORT))
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(connect(lab)) for _ in range(12)]
        assert all(map(answers, sessions))
        victim, other = faithd.workers
        os.kill(victim, signal.SIGKILL)
        faithd.wait_said(f"worker {victim} was killed by SIGKILL; another takes its place in 1 s")
        waiting = [stack.enter_context(connect(lab)) for _ in range(12)]
        alive = sum(survives(session) for session in sessions)
        assert 0 < alive < 12
        assert all(map(answers, waiting)), "the other serves what came meanwhile"
        wait_until(lambda: len(faithd.workers) == 2, 5, "another worker")
        assert other in faithd.workers
    assert faithd.stop() == 0


def survives(session: socket.socket) -> bool:
    with contextlib.suppress(OSError):
        return answers(session)
    return False


@pytest.mark.usefixtures("reserved", "echo")
def test_a_killed_supervisor_leaves_refusal_and_sessions_that_may_end(
    lab: ThreeHosts, start: Start, via: str
) -> None:
    faithd = start(f"--via={via}", str(PORT))
    with connect(lab) as session:
        assert answers(session)
        workers = faithd.workers
        os.kill(faithd.process.pid, signal.SIGKILL)
        faithd.process.wait()
        wait_until(lambda: refuses(lab), 5, "refusal")
        bystander = lab.gateway.call(
            lambda: socket.create_server(("::", PORT), family=socket.AF_INET6)
        )
        with bystander:
            assert refuses(lab), "nobody else gets what was for us"
            connect(lab, GATEWAY_V6).close()
        if via != "redirect":  # whose translation went with its owner
            assert answers(session)
            wait_until(lambda: sum(map(alive, workers)) == 1, 5, "the end of the idle worker")
    wait_until(lambda: not any(map(alive, workers)), 10, "the end of the workers")
    again = start(f"--via={via}", str(PORT))
    assert relays(lab)
    assert again.stop() == 0


# -- starting ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("reserved", "echo")
def test_goes_into_the_background_once_it_serves(lab: ThreeHosts, tmp_path: Path) -> None:
    file = tmp_path / "faithd.pid"
    # Its output is read to the end: nothing of the daemon's may hold on to it.
    started = lab.gateway.run(
        [*FAITHD, "--workers=1", "--pid-file", file.name, str(PORT)], env=ENVIRONMENT, cwd=tmp_path
    )
    assert (started.stdout, started.stderr) == ("", "")
    assert relays(lab), "at once"
    pid = int(file.read_text())
    assert os.getsid(pid) not in (pid, os.getsid(0)), "a session of its own, but not its leader"
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert {os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)} == {"/dev/null"}
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not alive(pid), 5, "the end of the daemon")
    assert not file.exists()
    assert refuses(lab)


@pytest.mark.usefixtures("reserved")
@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "usage: faithd"),
        (["nosuchservice"], 2, "'nosuchservice' is not a TCP service"),
        (["70000"], 2, "port 70000 is not between"),
        (["-P", "10.0.0.0/8", "23"], 2, "that is IPv4"),
        (["--workers=0", "23"], 2, "not a number from 1"),
        (["--idle-timeout=-1", "23"], 2, "not a number of seconds"),
        (["23", "-d"], 2, "options must precede SERVICE"),
        (["-f", "missing", "23"], 1, "/missing: no such file"),
        (["-f", "bad.conf", "23"], 1, "/bad.conf:2: a rule has three or four words"),
        (["23", "./missing"], 1, "/missing: no such file"),
        (["23", "./bad.conf"], 1, "/bad.conf: not executable"),
        (["--user=no.such.user", "23"], 1, "there is no user 'no.such.user'"),
        (["--pid-file=bad.conf/pid", "23"], 1, "bad.conf/pid: Not a directory"),
        (["-P", "2001:db8:6::/96", "23"], 1, "reserve 2001:db8:6::/96: it"),
        (["-P", "2001:db8:ffff::/65", "23"], 1, f"it overlaps {PREFIX}, which is reserved too"),
        (["-P", PREFIX, "--layout=rfc6052", "23"], 1, "it has layout low32 already"),
        (["-P", "2001:db8:64::/64", "23"], 2, "2001:db8:64::/64 needs a layout: rfc6052"),
        (["2222"], 1, "the port is taken by"),
    ],
)
def test_every_start_error_is_printed_before_the_caller_returns(
    lab: ThreeHosts, tmp_path: Path, arguments: list[str], status: int, message: str
) -> None:
    (tmp_path / "bad.conf").write_text("# rules\n::/0 permit\n")
    before = lab.gateway.links.routes()
    with lab.gateway.call(lambda: socket.create_server(("::", 2222), family=socket.AF_INET6)):
        failed = lab.gateway.run(
            [*FAITHD, "--via=route", "--workers=2", *arguments],
            check=False,
            env=ENVIRONMENT,
            cwd=tmp_path,
        )
    assert message in failed.stderr
    assert failed.returncode == status
    assert "Traceback" not in failed.stderr
    assert lab.gateway.links.routes() == before
    wait_until(lambda: not lab.gateway.processes(), 5, "nothing left running")


@pytest.mark.usefixtures("reserved")
def test_a_missing_capability_is_named(lab: ThreeHosts) -> None:
    # With CAP_NET_RAW a listener may be transparent too.
    without = ["setpriv", "--bounding-set=-net_admin,-net_raw"]
    failed = lab.gateway.run([*without, *FAITHD, str(PORT)], check=False, env=ENVIRONMENT)
    assert failed.returncode == 1
    assert "needs CAP_NET_ADMIN" in failed.stderr


@pytest.mark.usefixtures("reserved", "echo")
def test_a_second_faithd_for_the_same_port_is_refused(lab: ThreeHosts, start: Start) -> None:
    first = start("--via=tproxy", "2323,2324")
    failed = lab.gateway.run(
        [*FAITHD, "-F", "--via=tproxy", "2320-2323"], check=False, env=ENVIRONMENT
    )
    assert failed.returncode == 1
    expected = f"port 2323 is served by faithd 2323,2324 (pid {first.process.pid}) already"
    assert expected in failed.stderr
    assert relays(lab)


@pytest.mark.usefixtures("reserved")
def test_systemd_is_told_and_keeps_it_in_the_foreground(lab: ThreeHosts, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(5)
        environment = {**ENVIRONMENT, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        process = lab.gateway.popen(
            [*FAITHD, str(PORT)], env=environment, stderr=subprocess.DEVNULL
        )
        assert notified.recv(100).startswith(b"READY=1\n")
        process.terminate()
        assert notified.recv(100) == b"STOPPING=1"
        assert process.wait(5) == 0


# -- a prefix of its own -------------------------------------------------------------------------


def traces(gateway: Host) -> tuple[list[str], bool]:
    with gateway.inside():
        return gateway.links.routes(), guard.inspect().present


@pytest.mark.usefixtures("echo")
def test_a_prefix_of_its_own_is_undone_at_exit(lab: ThreeHosts, start: Start) -> None:
    before = traces(lab.gateway)
    faithd = start("-P", PREFIX, "-P", "2001:db8:4600::/40", "--layout=rfc6052", str(PORT))
    with lab.gateway.inside():
        assert len(routes.reserved()) == 2
        assert all(map(guard.inspect().covers, routes.reserved()))
    assert relays(lab)
    assert faithd.stop() == 0
    assert traces(lab.gateway) == before


@pytest.mark.usefixtures("echo")
def test_a_prefix_two_daemons_share_goes_with_the_last(lab: ThreeHosts, start: Start) -> None:
    before = traces(lab.gateway)
    first, second = start("-P", PREFIX, "8080"), start("-P", PREFIX, str(PORT))
    assert first.stop() == 0
    assert relays(lab)
    assert second.stop() == 0
    assert traces(lab.gateway) == before


@pytest.mark.usefixtures("reserved")
def test_what_faith_has_reserved_stays(lab: ThreeHosts, start: Start) -> None:
    before = traces(lab.gateway)
    assert start("-P", PREFIX, str(PORT)).stop() == 0
    assert traces(lab.gateway) == before


def test_a_start_that_fails_undoes_its_prefix(lab: ThreeHosts) -> None:
    before = traces(lab.gateway)
    failed = lab.gateway.run(
        [*FAITHD, "-F", "-P", PREFIX, "--user=no.such.user", str(PORT)],
        check=False,
        env=ENVIRONMENT,
    )
    assert failed.returncode == 1
    assert traces(lab.gateway) == before


# -- stopping ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("reserved", "echo")
def test_sigterm_lets_sessions_end(lab: ThreeHosts, start: Start, via: str) -> None:
    faithd = start(f"--via={via}", str(PORT))
    with connect(lab) as session:
        assert answers(session)
        faithd.signal(signal.SIGTERM)
        faithd.wait_said("stopping: sessions have 5 s to end")
        wait_until(lambda: refuses(lab), 2, "refusal")
        assert answers(session)
    assert faithd.process.wait(2) == 0
    assert "end=closed" in faithd.said


@pytest.mark.usefixtures("reserved", "echo")
def test_sessions_are_reset_at_the_deadline(lab: ThreeHosts, start: Start) -> None:
    faithd = start("--drain-timeout=0.3", str(PORT))
    with connect(lab) as session:
        assert answers(session)
        started = time.monotonic()
        assert faithd.stop() == 0
        assert 0.3 <= time.monotonic() - started < 2
        with pytest.raises(ConnectionResetError):
            session.recv(1)
    assert "end=stopped" in faithd.said


@pytest.mark.usefixtures("reserved", "echo")
def test_a_second_sigterm_resets_them_at_once(lab: ThreeHosts, start: Start) -> None:
    faithd = start("--drain-timeout=60", str(PORT))
    with connect(lab) as session:
        assert answers(session)
        faithd.signal(signal.SIGTERM)
        faithd.wait_said("stopping")
        assert faithd.stop(2) == 0
        with pytest.raises(ConnectionResetError):
            session.recv(1)


@pytest.mark.usefixtures("reserved", "echo")
def test_signals_to_the_whole_group_are_the_supervisors_to_act_on(
    lab: ThreeHosts, start: Start
) -> None:
    """As a terminal's interrupt key and systemd's control group send them."""
    faithd = start(str(PORT))
    with connect(lab) as session:
        assert answers(session)
        os.killpg(faithd.process.pid, signal.SIGINT)
        faithd.wait_said("stopping")
        assert answers(session)
    assert faithd.process.wait(2) == 0
    assert "killed" not in faithd.said


@pytest.mark.usefixtures("reserved", "echo")
def test_sigusr1_logs_the_state(lab: ThreeHosts, start: Start) -> None:
    faithd = start(str(PORT))
    with connect(lab) as one, connect(lab) as two:
        assert answers(one)
        assert answers(two)
        faithd.signal(signal.SIGUSR1)
        faithd.wait_said(
            f"sessions: 2, {PORT} (port {PORT}) by route, prefixes: {PREFIX}, workers:"
        )
