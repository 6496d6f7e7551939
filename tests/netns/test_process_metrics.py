"""The metrics of each process of a faithd, compared with what the kernel says of them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from faith.lab.topology import GATEWAY_V6, PREFIX, SERVER
from tests.dns.zones import EXAMPLE, NameServer, Zones
from tests.netns.footprint import Footprint
from tests.netns.gateway import Gateway, metrics, reread
from tests.netns.service import PORT, answers, connect, relays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import ThreeHosts

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("echo")]

DEAD = f"{SERVER}:5399"
"""A server of names that refuses questions: nobody listens there."""
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
[udp]
[ping]
[dns]
listen = ["[{GATEWAY_V6}]:53"]
forward = ["{SERVER}"]
[metrics]
listen = "[::1]:9064"
"""
ROLES = ["admin", "dns 1", "ping", "supervisor", "udp", "worker 1", "worker 2"]


@pytest.fixture
def faithd(lab: ThreeHosts, tmp_path: Path) -> Iterator[Gateway]:
    with lab.server.call(lambda: NameServer(Zones(ZONE), SERVER, 53)):
        made = Gateway(lab, tmp_path, FAITH_TOML)
        wait_until(lambda: len(of_processes(lab, "faith_process_up")) == len(ROLES), 5, "all")
        yield made


def of_processes(lab: ThreeHosts, name: str) -> dict[str, float]:
    """The numbers of that name by the role."""
    pattern = re.compile(rf'{name}{{process="([^"]+)"}}')
    found = ((pattern.fullmatch(key), value) for key, value in metrics(lab).items())
    return {match[1]: value for match, value in found if match}


def number(lab: ThreeHosts, name: str, **labels: str) -> float | None:
    inside = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return metrics(lab).get(f"{name}{{{inside}}}" if inside else name)


def wait_for(what: str, holds: Callable[[], bool]) -> None:
    wait_until(holds, 8, what)


def test_every_process_is_there_by_its_role(lab: ThreeHosts, faithd: Gateway) -> None:
    assert sorted(of_processes(lab, "faith_process_up")) == ROLES
    wait_for("all to be up", lambda: all(of_processes(lab, "faith_process_up").values()))
    ages = of_processes(lab, "faith_process_heartbeat_age_seconds")
    assert sorted(ages) == ROLES
    assert all(0 <= age < 5 for age in ages.values())
    assert not any(of_processes(lab, "faith_process_restarts_total").values())


def test_usage_is_what_the_kernel_says(lab: ThreeHosts, faithd: Gateway) -> None:
    wait_for("all to be up", lambda: all(of_processes(lab, "faith_process_up").values()))
    pids = {**Footprint(lab, faithd).processes(), "supervisor": faithd.process.pid}
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            assert answers(stack.enter_context(connect(lab)))

        def is_right(role: str) -> bool:
            counted = len(os.listdir(f"/proc/{pids[role]}/fd"))
            told = number(lab, "process_open_fds", process=role)
            return told is not None and abs(told - counted) <= 1  # its spare one may be shut

        for role in ("supervisor", "worker 1", "worker 2"):
            wait_for(f"the descriptors of {role}", lambda role=role: is_right(role))  # type: ignore[misc]
    pid = pids["worker 1"]
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    memory = number(lab, "process_resident_memory_bytes", process="worker 1")
    assert memory == pytest.approx(pages * 4096, rel=0.2)
    limits = Path(f"/proc/{pid}/limits").read_text()
    (most,) = re.findall(r"Max open files\s+(\d+)", limits)
    assert number(lab, "process_max_fds", process="worker 1") == int(most)
    started = number(lab, "process_start_time_seconds", process="worker 1")
    whole = number(lab, "faith_start_time_seconds")
    assert started is not None
    assert whole is not None
    assert whole <= started + 1 < whole + 60


def test_sessions_and_restarts_are_of_the_worker_that_has_them(
    lab: ThreeHosts, faithd: Gateway
) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(9):
            assert answers(stack.enter_context(connect(lab)))
        opened = of_processes(lab, "faith_process_open")
        assert opened["worker 1"] + opened["worker 2"] == 9
        os.kill(Footprint(lab, faithd).processes()["worker 1"], signal.SIGKILL)
        faithd.wait_said("another takes its place")
        wait_for(
            "the replacement",
            lambda: number(lab, "faith_process_restarts_total", process="worker 1") == 1,
        )
        wait_for("it up", lambda: number(lab, "faith_process_up", process="worker 1") == 1)
        after = of_processes(lab, "faith_process_open")
        assert (after["worker 1"], after["worker 2"]) == (0, opened["worker 2"])
        begun = of_processes(lab, "faith_process_begun_total")
        assert begun["worker 1"] == opened["worker 1"], "those of its predecessor count"
    assert number(lab, "faith_process_restarts_total", process="worker 2") == 0


def test_octets_are_counted_while_sessions_go_on(lab: ThreeHosts, faithd: Gateway) -> None:
    with connect(lab) as session:
        assert answers(session, b"x" * 1000)
        for to in ("server", "client"):
            wait_for(
                f"octets to the {to}",
                lambda to=to: number(lab, "faith_relayed_bytes_total", to=to) == 1000,  # type: ignore[misc]
            )
        assert number(lab, "faith_sessions_open") == 1


def test_a_process_that_hangs_is_down(lab: ThreeHosts, faithd: Gateway) -> None:
    wait_for("worker 2", lambda: number(lab, "faith_process_up", process="worker 2") == 1)
    pid = Footprint(lab, faithd).processes()["worker 2"]
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for("it down", lambda: number(lab, "faith_process_up", process="worker 2") == 0)
        assert number(lab, "faith_process_up", process="worker 1") == 1
        assert number(lab, "process_open_fds", process="worker 2") is None
        age = number(lab, "faith_process_heartbeat_age_seconds", process="worker 2")
        assert age is not None
        assert age > 2
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for("it again", lambda: number(lab, "faith_process_up", process="worker 2") == 1)


def test_limits_are_used_and_have_a_size(lab: ThreeHosts, faithd: Gateway) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(6):
            assert answers(stack.enter_context(connect(lab)))
        sessions = {"limit": "sessions", "process": "supervisor"}
        assert number(lab, "faith_limit_used", **sessions) == 6
        assert number(lab, "faith_limit_most", **sessions) == 20
        places = [{"limit": "session places", "process": f"worker {n}"} for n in (1, 2)]
        wait_for(
            "the places of both",
            lambda: sum(number(lab, "faith_limit_used", **one) or 0 for one in places) == 6,
        )
        assert all(number(lab, "faith_limit_most", **one) for one in places)
        assert all(number(lab, "faith_shares_in_force", **one) == 0 for one in places)
    told = set(re.findall(r'faith_limit_used{limit="([^"]+)"', "\n".join(metrics(lab))))
    assert told == {
        *("sessions", "session places", "source ports", "local servers", "udp flows"),
        *("ping identifiers", "look-ups", "streams"),
    }
    reread(faithd, FAITH_TOML.replace("sessions = 20", "sessions = 30"))
    wait_for("the new limit", lambda: number(lab, "faith_limit_most", **sessions) == 30)


def test_servers_of_names_are_known_by_their_health(lab: ThreeHosts, faithd: Gateway) -> None:
    server = f"{SERVER}:53"
    wait_for("the server", lambda: number(lab, "faith_dns_server_up", server=server) == 1)
    reread(faithd, FAITH_TOML.replace(f'forward = ["{SERVER}"]', f'forward = ["{DEAD}"]'))
    wait_for("the other", lambda: number(lab, "faith_dns_server_up", server=DEAD) == 1)
    assert number(lab, "faith_dns_server_up", server=server) is None
    names = (f"{count}.example" for count in range(1000))

    def is_down() -> bool:
        ask = ["dig", "+time=1", "+tries=1", f"@{GATEWAY_V6}", "AAAA", next(names)]
        lab.client.run(ask, check=False)
        return number(lab, "faith_dns_server_up", server=DEAD) == 0

    wait_for("it down", is_down)


def test_reloads_are_known_by_the_last_one(lab: ThreeHosts, faithd: Gateway) -> None:
    assert number(lab, "faith_last_reload_successful") == 1
    good = number(lab, "faith_last_good_reload_time_seconds")
    reread(faithd, FAITH_TOML + "nonsense = 1", "everything stays as it was")
    assert number(lab, "faith_last_reload_successful") == 0
    assert number(lab, "faith_last_good_reload_time_seconds") == good
    reread(faithd, FAITH_TOML)
    assert number(lab, "faith_last_reload_successful") == 1
    assert relays(lab)
