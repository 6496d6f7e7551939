from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.translation.pseudo_header import pseudo_sum, sum_change

V4 = st.binary(min_size=8, max_size=8)
V6 = st.binary(min_size=32, max_size=32)


def folded(total: int, bits: int) -> int:
    """The sum with the carries added in, as a CPU has it."""
    most = (1 << bits) - 1
    while total > most:
        total = (total & most) + (total >> bits)
    return total


@given(st.one_of(V4, V6), st.integers(20, 65515))
def test_the_sum_is_that_of_the_words_of_the_pseudo_header(addresses: bytes, length: int) -> None:
    header = addresses + struct.pack("!II", length, 6)
    words = sum(struct.unpack(f"!{len(header) // 2}H", header))
    assert (folded(words, 16) - pseudo_sum(addresses, length)) % 0xFFFF == 0


@pytest.mark.parametrize(("order", "form"), [("little", "<"), ("big", ">")])
@given(before=V6, after=V4)
def test_the_change_turns_one_sum_into_the_other(
    order: str, form: str, before: bytes, after: bytes
) -> None:
    """Computed with words of 32 bits in the CPU's order, as bpf_l4_csum_replace takes them."""
    change = sum_change(before, after, order)  # type: ignore[arg-type]
    first, second = (sum(struct.unpack(f"{form}{len(a) // 4}I", a)) for a in (before, after))
    assert 0 <= change <= 0xFFFFFFFF
    assert (first + change - second) % 0xFFFFFFFF == 0


@given(V6, V4)
def test_there_and_back_changes_nothing(before: bytes, after: bytes) -> None:
    assert (sum_change(before, after) + sum_change(after, before)) % 0xFFFFFFFF == 0
