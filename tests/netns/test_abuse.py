"""Hundreds of ill-behaved sessions at once: no byte is lost, none is stuck, nothing stays open.

By the relay, and by the kernel path.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.daemon.config.settings import KERNEL
from faith.flow.flow_settings import FlowSettings
from faith.lab import wait_until
from faith.translation.ports import NO_PORTS
from tests.faithd import Faithd
from tests.netns.abuse import PORT, Abuse, Case
from tests.netns.way import outward

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.lab import ThreeHosts

pytestmark = pytest.mark.netns

SESSIONS = int(os.environ.get("FAITH_ABUSE_SESSIONS", "150"))
"""How many at once: docs/benchmarks.rst has a run with 500."""
SEEDS = range(1, 1 + int(os.environ.get("FAITH_ABUSE_SEEDS", "2")))
SECONDS = 120
SHARED_PORTS = FlowSettings(NO_PORTS).shared_ports
"""The gateway's ports for flows, which no socket has."""
HOGS = 2
"""Processes that use a processor each meanwhile, so that everything comes late."""


def descriptors(faithd: Faithd) -> list[int]:
    return [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in faithd.workers]


def settled(faithd: Faithd) -> list[int]:
    """Those once both workers' loops run, which open two: that can be after "serving".

    A third process may decide about flows.
    """
    looks: list[list[int]] = []

    def changed_no_more() -> bool:
        time.sleep(0.1)  # time: that nothing changes
        looks.append(descriptors(faithd))
        look, others = looks[-1], len(looks[-1]) - 2
        alike = len({*look}) <= 1 + others
        return alike and len(looks) > 5 and all(one == look for one in looks[-5:])

    wait_until(changed_no_more, 10, "the same number for half a second")
    return looks[-1]


@pytest.fixture
def hogs() -> Iterator[None]:
    """Processes that take time from everybody, and end with the test."""
    loop = f"import time\nend = time.monotonic() + {SECONDS}\nwhile time.monotonic() < end: pass"
    processes = [subprocess.Popen([sys.executable, "-c", loop]) for _ in range(HOGS)]
    yield
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.timeout(2 * SECONDS)
@pytest.mark.usefixtures("hogs")
@pytest.mark.parametrize("seed", SEEDS)
def test_no_byte_is_lost_under_abuse(lab: ThreeHosts, tmp_path: Path, path: str, seed: int) -> None:
    words = "-P", lab.prefix, "--path", path, str(PORT)
    faithd = Faithd(lab.gateway, tmp_path / "log", *words)
    faithd.wait_said("serving")
    before = settled(faithd)
    chance = random.Random(seed)
    cases = [Case.at_random(chance) for _ in range(SESSIONS)]
    abuse = Abuse(outward(lab, PORT), cases)

    async def bounded() -> None:
        async with asyncio.timeout(SECONDS):
            await abuse.run()

    with abuse.listener:
        asyncio.run(bounded())
    for case in cases:
        case.check()
        if case.source_port:
            assert (case.source_port in SHARED_PORTS) is (path == KERNEL)
    assert any(case.client.urgent for case in cases)
    kept = sum(not case.must_be_reset for case in cases)
    assert kept > SESSIONS / 2, "most sessions are to show that nothing is lost"
    wait_until(lambda: faithd.said.count("end=") == SESSIONS, 10, "a record of every session")
    assert faithd.said.count("end=closed") >= kept
    assert descriptors(faithd) == before
    assert faithd.stop() == 0
