from __future__ import annotations

import pytest

from faith.kernel.bpf import assembler as asm


@pytest.mark.parametrize(
    ("instruction", "little", "big"),
    [
        (asm.copy(asm.R6, asm.R1), "bf16 0000 00000000", "bf61 0000 00000000"),
        (asm.put(asm.R0, 1), "b700 0000 01000000", "b700 0000 00000001"),
        (asm.add_value(asm.R2, -24), "0702 0000 e8ffffff", "0720 0000 ffffffe8"),
        (asm.load32(asm.R2, asm.R6, 60), "6162 3c00 00000000", "6126 003c 00000000"),
        (asm.store32(asm.STACK, -20, asm.R2), "632a ecff 00000000", "63a2 ffec 00000000"),
        (asm.call(124), "8500 0000 7c000000", "8500 0000 0000007c"),
        (
            asm.load_map(asm.R1, 7),
            "1811 0000 07000000 0000 0000 00000000",
            "1811 0000 00000007 0000 0000 00000000",
        ),
    ],
)
def test_an_instruction_is_encoded_as_rfc_9669_has_it(
    instruction: asm.Instruction, little: str, big: str
) -> None:
    assert asm.assemble([instruction], "little") == bytes.fromhex(little)
    assert asm.assemble([instruction], "big") == bytes.fromhex(big)


def test_a_jump_counts_from_the_next_instruction_and_a_wide_one_twice() -> None:
    code = asm.assemble(
        [
            asm.Label("start"),
            asm.jump_if(asm.R0, 0, "end"),
            asm.load_map(asm.R1, 3),
            asm.jump_unless(asm.R0, 0, "start"),
            asm.Label("end"),
            asm.leave(),
        ],
        "little",
    )
    offsets = [int.from_bytes(code[at + 2 : at + 4], "little", signed=True) for at in (0, 24)]
    assert offsets == [3, -4]


def test_a_jump_to_nowhere_is_an_error() -> None:
    with pytest.raises(KeyError, match="nowhere"):
        asm.assemble([asm.jump_if(asm.R0, 0, "nowhere")])
