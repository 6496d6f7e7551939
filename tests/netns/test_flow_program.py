"""The program of flows as the kernel takes it; test_flow_translation.py has it between hosts."""

from __future__ import annotations

import ctypes
import os
import re
from typing import TYPE_CHECKING

import pytest

from faith.kernel.bpf import bpf
from faith.kernel.flow import flow_program
from faith.kernel.flow.flow_maps import FlowMaps
from faith.kernel.flow.flow_program import ETHERNET, LAYER3

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed")]

MOST_PROCESSED = 20_000
"""Of the 1,000,000 instructions that the verifier follows at most; 10,919 when this was written."""


@pytest.fixture
def maps() -> Iterator[FlowMaps]:
    with FlowMaps.create(8) as maps:
        yield maps


@pytest.mark.parametrize("program", [ETHERNET, LAYER3])
def test_the_work_of_the_verifier_is_bounded(maps: FlowMaps, program: str) -> None:
    code = flow_program.code(maps, program)
    log = ctypes.create_string_buffer(1 << 16)
    statistics = 4
    bpf._load(bpf.PROGRAM_TC, flow_program.NAME, code, 0, log, statistics).close()
    (processed,) = re.findall(r"processed (\d+) insns", log.value.decode())
    assert int(processed) < MOST_PROCESSED
    assert len(code) // 8 < 2_000


@pytest.mark.parametrize("program", [ETHERNET, LAYER3])
def test_it_lasts_as_long_as_its_descriptor(maps: FlowMaps, program: str) -> None:
    before = os.listdir("/proc/self/fd")
    with flow_program.load(maps, program) as loaded:
        assert not os.get_inheritable(loaded.fd)
    assert os.listdir("/proc/self/fd") == before


def test_a_kernel_that_refuses_it_says_why(maps: FlowMaps, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = flow_program.code(maps, ETHERNET)
    monkeypatch.setattr(flow_program, "code", lambda *arguments: whole[:-8])
    with pytest.raises(bpf.VerifierError, match="last insn"):
        flow_program.load(maps, ETHERNET)
