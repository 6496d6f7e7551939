"""Many connections by the kernel path at once, of every kind, with every octet checked."""

from __future__ import annotations

import contextlib
import os
import random
import threading
from collections import Counter
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from tests.netns.flow_lab import BASE, FROM_OWN, add_own, tcp_counter
from tests.netns.flow_talk import Talker, down, echo, reset, up
from tests.netns.gateway import Gateway, metrics
from tests.netns.service import connect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faith.lab import ThreeHosts

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed")]

MIXED = int(os.environ.get("FAITH_MIXED_FLOWS", "1000"))
SHORT = int(os.environ.get("FAITH_SHORT_FLOWS", "2000"))
"""So many are tried: more, if one asks for them."""
AT_ONCE = 50
LENGTHS = (0, 1, 1000, 70_000, 1_000_000, 3_000_000)


def mixed(lab: ThreeHosts, number: int) -> str:
    """One connection of some kind and length; raises whatever goes wrong."""
    chance = random.Random(number)
    kind, length = chance.choice(("up", "down", "echo", "reset")), chance.choice(LENGTHS)
    connection = connect(lab)
    connection.settimeout(30)
    if kind == "up":
        up(connection, length)
    elif kind == "down":
        down(connection, length)
    else:
        echo(connection, 100 if kind == "echo" else 1)
        if kind == "reset":
            reset(connection)
        connection.close()
    return kind


def short(lab: ThreeHosts, number: int) -> str:
    with connect(lab) as connection:
        echo(connection)
    return "short"


def run(count: int, one: Callable[[int], str]) -> tuple[Counter[str], list[str]]:
    """Call *one* so many times, `AT_ONCE` at a time; return what was done, and what failed."""
    numbers: SimpleQueue[int] = SimpleQueue()
    for number in range(count):
        numbers.put(number)
    done: Counter[str] = Counter()
    failed: list[str] = []

    def work() -> None:
        with contextlib.suppress(Empty):
            while True:
                number = numbers.get_nowait()
                try:
                    done[one(number)] += 1
                except Exception as error:  # noqa: BLE001 - all of them are counted
                    failed.append(f"{number}: {error!r}")

    threads = [threading.Thread(target=work) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done, failed


@pytest.mark.timeout(60 + MIXED // 10 + SHORT // 100)
@pytest.mark.parametrize(("count", "one"), [(MIXED, mixed), (SHORT, short)], ids=["mixed", "short"])
def test_no_connection_fails(
    lab: ThreeHosts, tmp_path: Path, count: int, one: Callable[[ThreeHosts, int], str]
) -> None:
    add_own(lab)
    for host in (lab.client, lab.server):
        host.sysctl("net.ipv4.ip_local_port_range", "1024 65535")
    gateway = Gateway(lab, tmp_path, BASE + FROM_OWN + "half_open = 16384\nlimit = 131072\n")
    with contextlib.closing(Talker(lab.server)) as talker:
        done, failed = run(count, lambda number: one(lab, number))
        assert not failed
        assert not talker.failed
    assert sum(done.values()) == count
    assert len(done) == (4 if one is mixed else 1)
    wait_until(lambda: metrics(lab)["faith_flows"] == 0, 10, "every flow's end")
    ended = gateway.counted("faith_flows_ended_total")
    assert sum(ended.values()) == count
    assert ended["client reset"] >= done["reset"]
    assert not tcp_counter(lab.client, "InCsumErrors") + tcp_counter(lab.server, "InCsumErrors")
