"""The usage of a process, compared with what the kernel lists of it."""

from __future__ import annotations

import os
import resource
import time
from typing import TYPE_CHECKING, Any

from faith.kernel.process import process_usage
from faith.kernel.process.process_usage import OwnUsage

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_descriptors_are_those_that_are_open() -> None:
    usage = OwnUsage()
    before = usage.look(0.0).descriptors
    pipe = os.pipe()
    try:
        if not os.stat("/proc/self/fd").st_size:
            usage = OwnUsage()  # an older kernel: it would not count again yet
        assert usage.look(1.0).descriptors == before + 2
    finally:
        for end in pipe:
            os.close(end)
    assert before == len(os.listdir("/proc/self/fd")) - 1
    assert usage.look(1.0).most_descriptors == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_without_the_kernels_count_they_are_listed_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usage = OwnUsage()
    sizes, real = os.stat_result((0,) * 10), os.stat

    def stat(path: Any, **options: Any) -> os.stat_result:
        return sizes if path == "/proc/self/fd" else real(path, **options)

    monkeypatch.setattr(os, "stat", stat)
    expected = len(os.listdir("/proc/self/fd")) - 1
    assert usage.look(time.monotonic()).descriptors == expected
    pipe = os.pipe()
    assert usage.look(0.0).descriptors == expected, "it was counted a moment ago"
    assert usage.look(float("inf")).descriptors == expected + 2
    for end in pipe:
        os.close(end)


def test_memory_and_processor_time_are_this_processs() -> None:
    before = OwnUsage().look(0.0)
    kept = bytearray(os.urandom(1)) * (64 << 20)
    spent = before.cpu + 0.02
    while time.process_time() < spent:
        pass
    after = OwnUsage().look(0.0)
    assert after.memory >= before.memory + (48 << 20)
    assert after.cpu >= spent
    assert len(kept) == 64 << 20


def test_what_cannot_be_found_out_is_0(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(process_usage, "_STATM", str(tmp_path / "none"))
    monkeypatch.setattr(process_usage, "_OPEN", str(tmp_path / "none"))
    usage = OwnUsage().look(0.0)
    assert (usage.memory, usage.descriptors) == (0, 0)
