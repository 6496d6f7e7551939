"""What hosts, firewalls and people do to a gateway while it serves: kills, changes, pauses."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import time
from collections import Counter
from typing import TYPE_CHECKING

from faith.cli import control_client
from faith.lab import wait_until
from faith.lab.topology import GATEWAY_V4, GATEWAY_V6, PREFIX
from tests.faithd import ENVIRONMENT
from tests.netns import abuse, load
from tests.netns.crowd import Actor
from tests.netns.endurance import CHANGES, ECHO, FAITH_TOML, HOST, MAPPED, halt, sessions_of
from tests.netns.footprint import FLOWS, Footprint
from tests.netns.held_state import FAITH, HeldState
from tests.netns.outcomes import Death, without_a_route, without_a_source
from tests.netns.service import answers

if TYPE_CHECKING:
    import subprocess
    import threading
    from collections.abc import Callable

    from faith.lab import Host as LabHost
    from tests.netns.journal import Journal
    from tests.netns.managed import Managed
    from tests.netns.outcomes import Tally
    from tests.netns.service import Echo

EVERY = 10
"""Seconds from one kill to the next."""
PATIENCE = 60
"""Seconds that anything may take on a machine that does much else."""
READS, PAUSES = 6.0, 4.0
"""Seconds for which the journal is read, and for which it is not."""
SUPERVISOR = "supervisor"
KINDS: dict[str, tuple[str, ...]] = {
    "UDP": ("datagrams",),
    "ping": ("pings",),
    "name server": ("questions",),
    "metrics": ("scrapes",),
    "worker 1": (),
    "worker 2": (),
}
"""What is killed by turns, and what of its clients' is lost then, besides its sessions."""
OTHER = "2001:db8:ffff:ffff::/96"
"""A prefix that comes and goes; IPv4 clients are mapped into the first, which stays."""
COMES, GOES = "2001:db8:6::5", "192.0.2.150"
"""A client, and its first source address, which comes and goes."""
FROM_POOL = "sessions from a pool"
"""What they are called."""
MAPPED_TOO = "192.0.2.109"
"""A mapped address that comes and goes."""
PUBLISHED, CONTAINER = 8080, 9999
"""A port of the gateway's, and where Docker-like rules lead whoever connects to it."""
NO_FLOWS: frozenset[int] = frozenset()
FLOW_PORTS = frozenset((abuse.PORT, load.PORT, ECHO, PUBLISHED))
"""Ports that clients of the prefix go to, by the kernel path in a siege of it."""
TOML = (
    FAITH_TOML.replace("sample = 1000", "starts = true")
    .replace("forward =", f'prefix = ["{PREFIX}"]\nforward =')
    .replace(f"{load.PORT},{ECHO}", f"{load.PORT},{ECHO},{PUBLISHED}")
    + f"""
[[source]]
clients = ["{COMES}/128"]
addresses = ["{GOES}", "{GATEWAY_V4}"]
"""
)
DOCKER = "".join(
    f"table {family} docker {{ chain prerouting {{ type nat hook prerouting priority dstnat;"
    f" fib daddr type local tcp dport {PUBLISHED} dnat to {address}:{CONTAINER}; }}; }}\n"
    for family, address in (("ip6", f"[{GATEWAY_V6}]"), ("ip", GATEWAY_V4))
)


class Killer(Actor):
    """Kills a process every few seconds; *calm* is held where the supervisor is one.

    With *flows* by the kernel path, these outlive every process.
    """

    def __init__(
        self, unit: Managed, tally: Tally, calm: threading.Lock, seed: int, *, flows: bool
    ) -> None:
        super().__init__()
        self.killed: Counter[str] = Counter()
        self.kinds = KINDS | ({FLOWS: ()} if flows else {})
        """What is killed by turns, and what of its clients' is lost then, besides its sessions."""
        self._spared = FLOW_PORTS if flows else NO_FLOWS
        self._lab = unit.lab
        self._unit = unit
        self._tally = tally
        self._calm = calm
        self._chance = random.Random(seed)

    def _work(self) -> None:
        left: list[str] = []
        due = time.monotonic() + EVERY
        while not self._over.wait(max(0.0, due - time.monotonic())):
            due = time.monotonic() + EVERY
            if not left:
                left = [*self.kinds]
                self._chance.shuffle(left)
                left.insert(0, SUPERVISOR)  # it is the last
            self._kill(left.pop())

    def _kill(self, name: str) -> None:
        if name == SUPERVISOR:
            with self._calm:
                death = Death(time.monotonic(), kinds=("",), spared=self._spared)
                self._tally.deaths.append(death)
                self._unit.kill(lambda pids: self._note(death, pids))
                death.until = time.monotonic()
        else:
            self._kill_child(name)
        self.killed[name] += 1

    def _note(self, death: Death, pids: list[int]) -> None:
        death.ports = frozenset().union(*(sessions_of(self._lab, pid) for pid in pids))
        death.killed = time.monotonic()

    def _kill_child(self, name: str) -> None:
        before = self._processes()
        pid, kinds = before[name], self.kinds[name]
        since = time.monotonic()
        halt(pid)
        death = Death(since, sessions_of(self._lab, pid), kinds, time.monotonic())
        self._tally.deaths.append(death)
        os.kill(pid, signal.SIGKILL)

        def replaced() -> bool:
            now = self._processes()
            return now.keys() == before.keys() and pid not in now.values()

        wait_until(replaced, PATIENCE, f"another {name}")
        if kinds:
            wait_until(lambda: self._served(death), PATIENCE, f"{name} serving again")
            death.until = time.monotonic()

    def _processes(self) -> dict[str, int]:
        with contextlib.suppress(OSError):  # one of them has just ended
            return Footprint(self._lab, self._unit).processes()
        return {}

    def _served(self, death: Death) -> bool:
        return any(
            one.what.startswith(death.kinds) and one.begun > death.killed and not one.error
            for one in reversed(self._tally.outcomes[-1000:])
        )


class Pauser(Actor):
    """The journal, which reads now and then."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self.times = 0
        self._pid = journal.process.pid

    def _work(self) -> None:
        while not self._over.wait(READS):
            os.kill(self._pid, signal.SIGSTOP)
            self._over.wait(PAUSES)
            os.kill(self._pid, signal.SIGCONT)
            self.times += 1


class Host(Actor):
    """What else happens on the gateway, a step after the other; the kernel is looked at after each.

    *calm* is held during a step.
    """

    def __init__(
        self,
        unit: Managed,
        tally: Tally,
        journal: Journal,
        echo: Echo,
        calm: threading.Lock,
        seed: int,
        text: str,
        *,
        flows: bool,
    ) -> None:
        super().__init__()
        self.steps: Counter[str] = Counter()
        self._lab = unit.lab
        self._unit = unit
        self._tally = tally
        self._by = journal.by
        self._echo = echo
        self._calm = calm
        self._chance = random.Random(seed)
        self._text = text
        self._state = HeldState({PREFIX}, {MAPPED}, flows=flows)

    def _work(self) -> None:
        some = self.reload, self.other_prefix, self.source, self.map
        steps = *some, self.docker, self.docker, self.flush, self.route
        due: list[Callable[[], None]] = []
        while not self._over.wait(1):
            if not due:
                due = [*steps]
                self._chance.shuffle(due)
            step = due.pop()
            with self._calm:
                step()
                self.check(step.__name__)
            self.steps[step.__name__] += 1

    def check(self, step: str) -> None:
        """Have the kernel's state be as it is to be, soon."""
        said: list[str] = []

        def is_so() -> bool:
            said[:] = self._state.differences(self._lab, self._unit.process.pid, self._by)
            return not said

        try:
            wait_until(is_so, PATIENCE, f"the kernel's state after {step}")
        except TimeoutError as error:
            error.add_note("\n".join(said))
            raise

    def reload(self) -> None:
        """The file has something else, or a mistake."""
        self._reload(self._text + self._chance.choice(CHANGES))

    def other_prefix(self) -> None:
        """One more prefix comes, and goes."""
        self._reload(f'{self._text}[[prefix]]\naddress = "{OTHER}"\n')
        self._state.prefixes = {PREFIX, OTHER}
        self.check("a prefix that comes")
        self._reload(self._text)
        self._state.prefixes = {PREFIX}

    def _reload(self, text: str) -> None:
        self._unit.write(text)
        mistaken = "idel" in text
        done = self._faith("reload", check=False)
        assert (done.returncode != 0) is mistaken, done.stdout + done.stderr
        if mistaken:  # nobody may start by it
            self._unit.write(self._text)
            self._faith("reload")

    def source(self) -> None:
        """A source address goes, and comes back: its client has another meanwhile."""
        address = f"{GOES}/32", "dev", "to-server"
        gap = without_a_source(FROM_POOL, time.monotonic())
        self._tally.gaps.append(gap)
        self._lab.gateway.run(["ip", "address", "delete", *address])
        wait_until(lambda: self._is_absent(GOES), PATIENCE, "it being told to be absent")
        seen = len(self._echo.peers)
        for _ in range(3):
            self._connected(self._lab.client, (self._lab.mapped(), ECHO), COMES).close()
        gap.until = time.monotonic()
        meanwhile = {*self._echo.peers[seen:]}
        self._lab.gateway.run(["ip", "address", "add", *address])
        assert meanwhile == {GATEWAY_V4}
        wait_until(lambda: not self._is_absent(GOES), PATIENCE, "it being there again")

    def _is_absent(self, address: str) -> bool:
        findings = control_client.ask(self._unit.control, "status")["findings"]
        told = [one["text"] for one in findings if one["id"] == "source-absent"]
        return any(address in text for text in told)

    def map(self) -> None:
        """A mapped address comes, and goes, and a session with it."""
        self._faith("map", "add", "--direction", "in", MAPPED_TOO, HOST)
        self._state.mapped = {MAPPED, MAPPED_TOO}
        self.check("a map that comes")

        with self._connected(self._lab.server, (MAPPED_TOO, ECHO)) as sock:
            self._faith("map", "del", MAPPED_TOO)
            self._state.mapped = {MAPPED}
            sock.settimeout(PATIENCE)
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(1) == b""

    def _connected(self, client: LabHost, to: tuple[str, int], source: str = "") -> socket.socket:
        """A session that has an answer; one that a killed worker had is followed by another."""
        found: list[socket.socket] = []

        def answered() -> bool:
            with contextlib.suppress(OSError), contextlib.ExitStack() as undo:
                with client.inside():
                    sock = socket.create_connection(to, 5, (source, 0))
                undo.callback(sock.close)
                if answers(sock):
                    undo.pop_all()
                    found.append(sock)
            return bool(found)

        wait_until(answered, PATIENCE, f"a session by {to[0]}")
        return found[0]

    def docker(self) -> None:
        """Rules that translate come, or go."""
        if self._state.translated:
            self._nft("delete table ip6 docker; delete table ip docker")
        else:
            self._nft(DOCKER)
        self._state.translated ^= True
        self.check("a change of Docker's")
        self._connected(self._lab.client, (self._lab.mapped(), PUBLISHED)).close()
        self._connected(self._lab.server, (MAPPED, PUBLISHED)).close()

    def flush(self) -> None:
        """Somebody flushes all rules, Docker's as well."""
        self._nft("flush ruleset")
        self._state.translated = False

    def route(self) -> None:
        """Somebody deletes the route of the prefix."""
        route = "local", PREFIX, "dev", "lo", "table", "local"
        gap = without_a_route(time.monotonic())
        self._tally.gaps.append(gap)
        self._lab.gateway.run(["ip", "-6", "route", "del", *route])
        self.check("a route that is gone")
        gap.until = time.monotonic()

    def _nft(self, script: str) -> None:
        self._lab.gateway.run(["nft", "-f", "-"], stdin=script)

    def _faith(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [*self._by, *FAITH, *words, "--control", str(self._unit.control)]
        return self._lab.gateway.run(command, env=ENVIRONMENT, timeout=PATIENCE, check=check)
