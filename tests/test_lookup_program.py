from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.kernel.bpf.assembler import R0, Instruction, Label, leave, put
from faith.kernel.steering.lookup_program import (
    BITMAP_SIZE,
    TCP4,
    TCP6,
    UDP4,
    UDP6,
    binding_program,
    bitmap,
    pinhole_program,
    program,
)


@given(st.sets(st.integers(0, 65535)))
def test_the_bitmap_has_the_bits_of_its_ports_and_no_others(ports: set[int]) -> None:
    bits = bitmap(ports)
    assert len(bits) == BITMAP_SIZE
    assert sum(octet.bit_count() for octet in bits) == len(ports)
    assert all(bits[port >> 3] >> (port & 7) & 1 for port in ports)


FLOWS = TCP4, TCP6, UDP4, UDP6


@pytest.mark.parametrize(
    "code",
    [
        *(program(flow, 3, 4, 5) for flow in FLOWS),
        *(pinhole_program(flow, 3) for flow in FLOWS),
        binding_program(3, 4),
    ],
)
def test_every_part_leaves_to_the_kernels_own_search_and_nothing_drops(
    code: list[Instruction | Label],
) -> None:
    targets = {item.target for item in code if isinstance(item, Instruction)} - {""}
    assert targets == {"pass"}
    end = code.index(Label("pass"))
    assert code[end + 1 :] == [put(R0, 1), leave()]  # SK_PASS
