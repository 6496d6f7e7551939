"""The numbers of a daemon while one program takes the place of another: as if nothing had been."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import dns.message
import dns.query
import pytest

import faith
from faith.lab import wait_until
from faith.lab.topology import GATEWAY_V6, PREFIX, SERVER
from tests.dns.zones import EXAMPLE, NameServer, Zones
from tests.netns.footprint import Footprint
from tests.netns.gateway import Gateway, metrics, reread
from tests.netns.service import PORT, answers, connect, relays

if TYPE_CHECKING:
    import socket

    from faith.lab import ThreeHosts

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("echo")]

ZONE = f"""{EXAMPLE}www 60 IN A {SERVER}
"""
FAITH_TOML = f"""
workers = 2
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "{PORT}"
[limits]
sessions = 20
[dns]
listen = ["[{GATEWAY_V6}]:53"]
forward = ["{SERVER}"]
[metrics]
listen = "[::1]:9064"
"""
LASTING = 4
"""Sessions that last all the time."""
PROGRAM = (
    "faith_start_time_seconds",
    "faith_workers",
    "faith_processes_late",
    "faith_prefixes",
    "faith_steering",
    *("faith_build_info", "faith_last_", "faith_limit_", "faith_shares_in_force"),
    *("faith_dns_server_up", "faith_process_", "process_"),
)
"""What is no count: of each program for itself."""

GAUGES = "faith_sessions_open", "faith_log_waiting"

EXACT = (
    "faith_sessions_total",
    "faith_refusals_total",
    "faith_relayed_bytes_total",
    "faith_dial_seconds_count",
    "faith_dns_queries_total",
    "faith_worker_restarts_total",
    "faith_reloads_total",
    "faith_upgrades_total",
)
"""What the test knows to the last; times differ, and a new name server has an empty cache."""


class Watch:
    """Reads the metrics again and again, until the block ends."""

    def __init__(self, lab: ThreeHosts) -> None:
        self.seen: list[dict[str, float]] = []
        self._lab = lab
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(20)

    def _read(self) -> None:
        while not self._over.wait(0.01):
            with contextlib.suppress(OSError):
                if told := metrics(self._lab):  # else who answered had to leave
                    self.seen.append(told)

    def check(self) -> None:
        """No counter has ever gone back, and no session was seen twice."""
        assert len(self.seen) > 20
        for before, after in zip(self.seen, self.seen[1:], strict=False):
            both = {name for name in before.keys() & after.keys() if _counts(name)}
            assert not {name for name in both if after[name] < before[name]}
        # One on its way from worker to worker is nobody's.
        assert max(told["faith_sessions_open"] for told in self.seen) <= LASTING + 1


def _counts(name: str) -> bool:
    return not name.startswith(PROGRAM) and name not in GAUGES


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A copy of the program, to be changed while it runs."""
    assert faith.__file__
    shutil.copytree(Path(faith.__file__).parent, tmp_path / "installed" / "faith")
    return tmp_path / "installed"


def use(lab: ThreeHosts) -> dict[str, float]:
    """Some of all that is counted, beside what lasts: by how much numbers are to grow."""
    for _ in range(5):
        assert relays(lab)
        wait_until(lambda: metrics(lab)["faith_sessions_open"] == LASTING, 5, "its end")
    query = dns.message.make_query("www.example.", "AAAA")
    for _ in range(3):
        lab.client.call(lambda: dns.query.udp(query, GATEWAY_V6, timeout=5))
    return {
        'faith_sessions_total{end="closed"}': 5,
        "faith_dial_seconds_count": 5,
        'faith_relayed_bytes_total{to="server"}': 25,
        'faith_relayed_bytes_total{to="client"}': 25,
        'faith_dns_queries_total{transport="udp"}': 3,
    }


def trouble(lab: ThreeHosts, faithd: Gateway) -> None:
    """A reload of each kind, and a worker that is killed with sessions of its own."""
    reread(faithd, FAITH_TOML, "read again")
    reread(faithd, FAITH_TOML + "nonsense = 1", "everything stays as it was")
    faithd.write(FAITH_TOML)
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            assert answers(stack.enter_context(connect(lab)))
        os.kill(Footprint(lab, faithd).processes()["worker 1"], signal.SIGKILL)
        faithd.wait_said("another takes its place")
        wait_until(lambda: metrics(lab)["faith_workers"] == 2, 5, "another worker")
    wait_until(lambda: metrics(lab)["faith_sessions_open"] == 0, 5, "the end of the others")


@pytest.mark.parametrize("another", [False, True], ids=["the same", "with other counters"])
def test_counters_go_on(lab: ThreeHosts, tmp_path: Path, installed: Path, another: bool) -> None:
    names = lab.server.call(lambda: NameServer(Zones(ZONE), SERVER, 53))
    with names, contextlib.ExitStack() as stack:
        run_from = {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
        faithd = Gateway(lab, tmp_path, FAITH_TOML, **run_from)
        trouble(lab, faithd)
        to_server = 'faith_relayed_bytes_total{to="server"}'
        counted = metrics(lab)[to_server] + LASTING * 5
        sessions: list[socket.socket] = [stack.enter_context(connect(lab)) for _ in range(LASTING)]
        assert all(map(answers, sessions))
        # Those of open sessions are counted once a second.
        wait_until(lambda: metrics(lab)[to_server] == counted, 10, "what the sessions have moved")
        use(lab)
        before = metrics(lab)
        assert before["faith_worker_restarts_total"] == 1
        with Watch(lab) as watch:
            for number in (2, 3):
                if another:
                    count_more(installed, number)
                faithd.signal(signal.SIGUSR2)
                faithd.wait_said(f"upgraded to program {number}", seconds=30)
                for name, growth in use(lab).items():
                    before[name] += growth
                assert all(map(answers, sessions))
        watch.check()
        for session in sessions:
            session.close()
        wait_until(lambda: metrics(lab)["faith_sessions_open"] == 0, 5, "the last session's end")
        after = metrics(lab)
    before['faith_upgrades_total{result="good"}'] += 2
    before['faith_sessions_total{end="closed"}'] += LASTING
    for to in ("server", "client"):
        before[f'faith_relayed_bytes_total{{to="{to}"}}'] += LASTING * 2 * 5
    exact = [name for name in before if name.startswith(EXACT)]
    assert len(exact) > 40
    assert {name: after[name] for name in exact} == {name: before[name] for name in exact}
    assert faithd.stop() == 0


def count_more(root: Path, number: int) -> None:
    """Have the program count ends that there were not, among those that there were."""
    path = root / "faith" / "relay" / "tcp" / "relay_counters.py"
    text = path.read_text()
    path.write_text(text.replace('"client reset",', f'"ended by {number}", "client reset",'))
