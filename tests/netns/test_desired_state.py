"""Workers that die, hang, have no room or are an attacker's: the others have what the file says."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import faith
from faith.lab import wait_until
from faith.lab.topology import PREFIX
from tests.faithd import ENVIRONMENT
from tests.netns.gateway import Gateway, reread
from tests.netns.service import PORT, answers, connect, relays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from faith.lab import ThreeHosts

    Start = Callable[..., Gateway]

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("all_descriptors", "echo")]

WORKERS = 4
FLOOD = 200
ROUNDS = 30
LONGEST = 15.0
"""Seconds that no connection waits for longer."""

PERMIT = "2001:db8::/32 permit 0.0.0.0/0"
DENY = "2001:db8::/32 deny 0.0.0.0/0"


def text(rule: str, workers: int = WORKERS, more: str = "") -> str:
    return f"""
workers = {workers}
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "{PORT}"
[access]
rules = ["{rule}"]
{more}
"""


@pytest.fixture
def start(lab: ThreeHosts, tmp_path: Path) -> Iterator[Start]:
    made: list[Gateway] = []

    def start(words: str, by: Sequence[str] = (), **environment: str) -> Gateway:
        made.append(Gateway(lab, tmp_path, words, by, **environment))
        return made[-1]

    yield start
    for faithd in made:
        faithd.stop(30)


def workers(faithd: Gateway) -> list[int]:
    """The workers by their numbers, as the daemon says them when it begins to serve."""
    *_, line = (one for one in faithd.said.splitlines() if "workers: " in one)
    return list(map(int, line.rpartition("workers: ")[2].split()))


def refused(lab: ThreeHosts) -> bool:
    """Whether a connection is reset by the rules."""
    try:
        with connect(lab) as session:
            answers(session)
    except ConnectionError:
        return True
    return False


def obeyed(lab: ThreeHosts, rule: str, times: int = 12) -> bool:
    wanted = rule == DENY
    return all(refused(lab) == wanted for _ in range(times))


def status(lab: ThreeHosts) -> dict[str, object]:
    command = [sys.executable, "-m", "faith.cli.faith", "status", "--json"]
    found = json.loads(lab.gateway.run(command, env=ENVIRONMENT, check=False).stdout)
    (faithd,) = found["daemons"]
    return dict(faithd)


def in_state(lab: ThreeHosts, state: str) -> list[tuple[str, int]]:
    """The roles and process numbers of the workers in *state*."""
    processes: Any = status(lab)["processes"]
    found = ((one["role"], one["pid"]) for one in processes if one["state"] == state)
    return [one for one in found if one[0].startswith("worker")]


def ready(lab: ThreeHosts) -> str:
    """What ``/readyz`` says."""

    def read() -> str:
        with socket.create_connection(("::1", 9064), timeout=5) as sock:
            sock.sendall(b"GET /readyz HTTP/1.1\r\n\r\n")
            with sock.makefile() as answer:
                return answer.read()

    return str(lab.gateway.call(read))


@pytest.mark.timeout(180)
def test_every_worker_has_the_rules_whoever_dies_meanwhile(lab: ThreeHosts, start: Start) -> None:
    chance = random.Random(13)
    faithd = start(text(PERMIT))
    for number in range(ROUNDS):
        rule = (DENY, PERMIT)[number % 2]
        workers = faithd.workers
        victims = chance.sample(workers, chance.randint(0, max(1, len(workers) - 1)))
        if len(victims) == len(workers):
            wait_until(lambda: len(faithd.workers) > 1, LONGEST, "another worker")
        for victim in victims:  # with messages unread
            os.kill(victim, signal.SIGSTOP)
        times = faithd.said.count("read again")
        faithd.write(text(rule))
        faithd.signal(signal.SIGHUP)
        time.sleep(chance.random() / 50)  # time: any moment of the reload
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        faithd.wait_said("read again", times + 1)
        wait_until(lambda rule=rule: obeyed(lab, rule, 4), LONGEST, f"{rule} by all")  # type: ignore[misc]
        assert obeyed(lab, rule)
    wait_until(lambda: len(faithd.workers) == WORKERS, LONGEST, "every worker")
    assert faithd.process.poll() is None
    last = (DENY, PERMIT)[(ROUNDS - 1) % 2]
    assert obeyed(lab, last, 60), "also those that came last"
    assert "Traceback" not in faithd.said


@pytest.mark.timeout(120)
def test_a_worker_that_hangs_is_replaced_and_nobody_waits_for_it(
    lab: ThreeHosts, start: Start, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
        more = '[metrics]\nlisten = "[::1]:9064"'
        faithd = start(text(PERMIT, 2, more), **environment)
        assert "ready" in ready(lab)
        victim = workers(faithd)[0]
        os.kill(victim, signal.SIGSTOP)
        began = time.monotonic()
        waited = []
        late: list[tuple[str, int]] = []
        fed: list[float] = []
        killed = f"(pid {victim}): no heartbeat for 10 s; killing it"
        while killed not in faithd.said:
            before = time.monotonic()
            assert before - began < LONGEST
            assert relays_within(lab, LONGEST)
            waited.append(time.monotonic() - before)
            if not late and (late := in_state(lab, "late")):
                assert "1 process does not answer" in ready(lab)
                drain(systemd)
            elif late:
                times = drain(systemd).count(b"WATCHDOG=1")
                if killed not in faithd.said:  # nobody is late once it is dead
                    fed += [time.monotonic()] * times
        assert late == [("worker 1", victim)]
        assert fed == [], "systemd's watchdog is not fed for a daemon that hangs"
        faithd.wait_said(f"worker {victim} was killed by SIGKILL; another takes its place")
        wait_until(
            lambda: "\nready\n" in ready(lab).replace("\r", ""),
            LONGEST - (time.monotonic() - began) + 5,
            "all being well again",
        )
        assert time.monotonic() - began < LONGEST
        assert max(waited) < LONGEST
        wait_until(lambda: len(in_state(lab, "serving")) == 2, 5, "another worker")
        wait_until(lambda: b"WATCHDOG=1" in drain(systemd), 5, "the watchdog being fed again")


@pytest.mark.timeout(60)
def test_the_only_worker_hangs_and_nobody_waits_for_long(lab: ThreeHosts, start: Start) -> None:
    faithd = start(text(PERMIT, 1))
    (victim,) = workers(faithd)
    os.kill(victim, signal.SIGSTOP)
    began = time.monotonic()
    assert relays_within(lab, LONGEST)
    assert time.monotonic() - began < LONGEST
    assert f"worker 1 (pid {victim}): no heartbeat for 10 s; killing it" in faithd.said


def relays_within(lab: ThreeHosts, seconds: float) -> bool:
    with lab.client.call(socket.create_connection, (lab.mapped(), PORT), seconds) as session:
        return answers(session)


def drain(sock: socket.socket) -> bytes:
    found = b""
    with contextlib.suppress(BlockingIOError):
        while True:
            found += sock.recv(4096, socket.MSG_DONTWAIT)
    return found


# -- upgrades ------------------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A copy of the program, to be changed while it runs."""
    assert faith.__file__
    root = tmp_path / "installed"
    shutil.copytree(Path(faith.__file__).parent, root / "faith")
    return root


def run_from(root: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(root), "PYTHONSAFEPATH": "1"}


def edit(root: Path, name: str, old: str, new: str) -> None:
    path = root / "faith" / name
    words = path.read_text()
    assert old in words
    path.write_text(words.replace(old, new))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", ["os.unlink(name)", "os.truncate(name, 30)"])
def test_files_that_change_between_trial_and_execution_are_not_missed(
    lab: ThreeHosts, start: Start, installed: Path, tmp_path: Path, how: str
) -> None:
    rules, maps = tmp_path / "rules", tmp_path / "maps"
    rules.write_text(PERMIT)
    maps.write_text("198.51.100.7 2001:db8:a::7\n")
    words = text(PERMIT, 2).partition("[access]")[0]
    words += f'[access]\nfile = "{rules}"\n[maps]\nfile = "{maps}"\n'
    faithd = start(words, **run_from(installed))
    edit(
        installed,
        "daemon/config/tried_files.py",
        "        json.dump(_recorded, file)\n",
        f"        json.dump(_recorded, file)\n    for name in _recorded:\n        {how}\n",
    )
    faithd.signal(signal.SIGUSR2)
    faithd.wait_said("upgraded to program 2", seconds=40)
    assert relays(lab)
    faithd.signal(signal.SIGHUP)
    faithd.wait_said("everything stays as it was")
    assert relays(lab)


@pytest.mark.timeout(120)
def test_an_upgrade_ends_although_a_worker_hangs(lab: ThreeHosts, start: Start) -> None:
    faithd = start(text(PERMIT, 2))
    hung, sound = workers(faithd)
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(connect(lab)) for _ in range(8)]
        assert all(map(answers, sessions))
        faithd.signal(signal.SIGUSR2)
        faithd.wait_said("trying the new program")
        os.kill(hung, signal.SIGSTOP)
        faithd.wait_said("upgraded to program 2: everything is handed over", seconds=40)
        assert f"(pid {hung}): no heartbeat for 10 s; killing it" in faithd.said
        assert any(map(survives, sessions)), "those of the other worker go on"
        assert not {hung, sound} & {*faithd.workers}
    assert relays(lab)


@pytest.mark.timeout(120)
def test_an_upgrade_ends_although_every_worker_dies(
    lab: ThreeHosts, start: Start, installed: Path
) -> None:
    """Between the trial and the hand-over: there is nobody to hand over any more."""
    faithd = start(text(PERMIT, 1), **run_from(installed))
    (victim,) = workers(faithd)
    edit(
        installed,
        "daemon/config/tried_files.py",
        "    os.close(descriptor)\n",
        f"    os.close(descriptor)\n    os.kill({victim}, 9)\n"
        f"    os.waitid(os.P_PID, {victim}, os.WEXITED | os.WNOWAIT)\n",
    )
    faithd.signal(signal.SIGUSR2)
    faithd.wait_said("upgraded to program 2", seconds=40)
    assert f"old worker {victim}" not in faithd.said
    assert relays(lab)


def survives(session: socket.socket) -> bool:
    with contextlib.suppress(OSError):
        return answers(session)
    return False


@pytest.fixture
def without_shares(installed: Path) -> dict[str, str]:
    """Return the environment of a program whose sessions may take all descriptors."""
    line = "    return max(most - KEPT - listeners, most // 2) // 2\n"
    edit(installed, "relay/tcp/session_shares.py", line, "    return _NO_LIMIT\n")
    return run_from(installed)


@pytest.mark.timeout(120)
def test_an_upgrade_at_the_descriptor_limit_loses_no_session(
    lab: ThreeHosts, start: Start, without_shares: dict[str, str]
) -> None:
    """While new connections come and come, which are there for the taking by the new worker."""
    faithd = start(text(PERMIT, 1), by=("prlimit", "--nofile=300:300"), **without_shares)
    with contextlib.ExitStack() as stack:
        sessions = []
        for _ in range(115):
            sessions.append(stack.enter_context(connect(lab)))
            assert answers(sessions[-1])
        stop = threading.Event()
        crowd = threading.Thread(target=flood, args=(lab, stop))
        crowd.start()
        try:
            faithd.signal(signal.SIGUSR2)
            faithd.wait_said("upgraded to program 2", seconds=60)
        finally:
            stop.set()
            crowd.join()
        assert "upgraded to program 2: everything is handed over" in faithd.said
        assert sum(map(survives, sessions)) == len(sessions)
    assert "Traceback" not in faithd.said


def flood(lab: ThreeHosts, stop: threading.Event) -> None:
    """Connect as fast as it goes, and have more connections than the gateway has room for."""
    held: deque[socket.socket] = deque()
    while not stop.is_set():
        with contextlib.suppress(OSError):
            held.append(connect(lab))
        if len(held) > FLOOD:
            held.popleft().close()
    for session in held:
        session.close()


@pytest.mark.timeout(60)
def test_a_rule_change_reaches_a_worker_without_a_free_descriptor(
    lab: ThreeHosts, start: Start, without_shares: dict[str, str]
) -> None:
    faithd = start(text(PERMIT, 1), by=("prlimit", "--nofile=100:100"), **without_shares)
    (worker,) = workers(faithd)
    with contextlib.ExitStack() as stack:
        while "out of descriptors" not in faithd.said:
            with contextlib.suppress(OSError):
                session = stack.enter_context(connect(lab))
                answers(session)
        faithd.write(text(DENY, 1))
        command = [sys.executable, "-m", "faith.cli.faith", "reload", "--control"]
        told = lab.gateway.run([*command, str(faithd.control)], env=ENVIRONMENT).stdout
        assert told == "the configuration has been read again, and is in force\n"
        assert workers(faithd) == [worker]
        assert worker in faithd.workers
    wait_until(lambda: obeyed(lab, DENY), 10, "the rules being obeyed")


# -- workers that are an attacker's --------------------------------------------------------------

HOSTILE = {
    "no socket as a connection": (
        "self._channel.send(Local(), [os.pipe()[0]])",
        "sent an invalid message (no socket); killing it",
    ),
    "a listener as a connection": (
        "self._channel.send(Local(), [self._listeners[0].fileno()])",
        "sent an invalid message (no TCP connection of IPv6); killing it",
    ),
    "ever so many sockets": (
        "self._channel.send(WantSockets(10, 10 ** 12))",
        "sent an invalid message (Expected `int` <= 32 - at `$.count`); killing it",
    ),
    "no socket as a listener": (
        'self._channel.send(OpenPinhole("2001:db8:6::2"), [os.pipe()[0]])',
        "sent an invalid message (no socket); killing it",
    ),
    "an address that is not mapped": (
        'self._channel.send(Steer("2001:db8:6::2", "2001:db8:bad::1"))',
        "2001:db8:bad::1 is under no prefix",
    ),
    "an address that is none": (
        'self._channel.send(Steer("2001:db8:6::2", "\\x1b[2J"))',
        "data connections of encrypted FTP will fail",
    ),
    "counters at their end": (
        (
            "c = self._relay._counters._cells;"
            "c[:] = memoryview(array.array('q', [(1 << 63) - 1] * len(c)));"
            "os._exit(1)"
        ),
        "exited with 1",
    ),
    "eight GiB as an answer": (
        (
            "f = os.memfd_create('x');"
            "os.truncate(f, 8 << 30);"
            "self._channel.send(SessionList(order.question), [f])"
        ),
        "sent an invalid message (not a file of",
    ),
    "a counter of another process": (
        "memoryview(self._relay._counters._cells.obj).cast('B')[-1] = 7",
        "was killed by SIGSEGV",
    ),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("what", HOSTILE)
def test_a_worker_that_was_taken_over_harms_nobody_else(
    lab: ThreeHosts, start: Start, installed: Path, what: str
) -> None:
    code, said = HOSTILE[what]
    edit(
        installed,
        "daemon/services/worker.py",
        "    def _kill_session(self, order: Kill) -> None:\n",
        "    def _kill_session(self, order: Kill) -> None:\n"
        f"        import array, mmap, os\n        {code}\n        return\n",
    )
    faithd = start(text(PERMIT, 2), **run_from(installed))
    first, second = workers(faithd)
    command = [sys.executable, "-m", "faith.cli.faith", "kill", "1-1", "--control"]
    asked = lab.gateway.popen([*command, str(faithd.control)], env=ENVIRONMENT)
    faithd.wait_said(said)
    assert second in faithd.workers
    assert all(relays(lab) for _ in range(6))
    asked.wait()
    if first not in faithd.workers:
        wait_until(lambda: len(in_state(lab, "serving")) == 2, 10, "another worker")
    reread(faithd, text(DENY, 2))
    wait_until(lambda: obeyed(lab, DENY), 10, "the rules being obeyed")
    assert "\x1b" not in faithd.said
