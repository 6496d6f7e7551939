"""The accounts of the benchmarks: CPU by control group, and memory of BPF maps."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench import cgroup
from bench.flow_memory import of_maps, of_processes
from bench.usage import memory
from faith.kernel.flow.flow_maps import FlowMaps
from faith.kernel.flow.layout import SLOT

pytestmark = pytest.mark.netns

BURN = "import time\nwhile time.process_time() < 0.2: pass"
SLOTS = 4096


def test_a_group_counts_what_is_started_in_it_and_is_left_afterwards() -> None:
    with cgroup.own_group():
        began = cgroup.cpu()
        if began is None:
            pytest.skip("no control group may be made here")
        subprocess.run([sys.executable, "-IS", "-c", BURN], check=True)
        ended = cgroup.cpu()
        assert ended is not None
        assert ended - began >= 0.2
    assert cgroup.cpu() is None


def test_maps_are_counted_once_and_not_with_the_process() -> None:
    pid = os.getpid()
    try:
        maps = FlowMaps.create(SLOTS)
    except PermissionError as error:
        pytest.skip(f"no maps: {error.strerror}")
    with maps:
        for number in range(SLOTS):
            maps.mark(number, 1)  # so that all of it is resident
        others = memory([pid]) - of_processes([pid])
        assert of_maps([pid, pid]) >= SLOTS * (SLOT.size + 100)
        assert others >= SLOTS * SLOT.size
    assert of_maps([pid]) == 0
