"""The filter of system calls, run as the kernel runs it, for every machine it knows."""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path

import pytest

from faith.kernel.process import system_calls
from faith.kernel.process.system_calls import BPF, CLONE, CLONE3, DENIED, MAP_COMMANDS, SOCKET

ALLOWED = 0x7FFF0000
HEADERS = (
    Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    Path("/usr/include/asm-generic/unistd.h"),
)
each_machine = pytest.mark.parametrize(
    ("machine", "arch", "column"),
    [(machine, *numbers) for machine, numbers in system_calls._ARCHITECTURES.items()],
)


def refused(number: int) -> int:
    return 0x00050000 | number


def run(machine: str, number: int, arch: int, *arguments: int, uses_maps: bool = False) -> int:
    """What the filter returns for a system call with these *arguments*."""
    data = struct.pack("=iIQQQ", number, arch, 0, *(*arguments, 0, 0)[:2])
    program = list(
        struct.iter_unpack("=HBBI", system_calls._program(machine, 64, uses_maps=uses_maps))
    )
    at = accumulator = 0
    while True:
        code, true, false, value = program[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, value)
            case 0x54:
                accumulator &= value
            case 0x06:
                return int(value)
            case 0x15:
                at += true if accumulator == value else false
            case 0x35:
                at += true if accumulator >= value else false
            case 0x45:
                at += true if accumulator & value else false
            case _:
                raise AssertionError(code)


@each_machine
def test_what_is_denied_is_refused_and_the_rest_is_allowed(
    machine: str, arch: int, column: int
) -> None:
    denied = {each[column] for each in DENIED.values()}
    special = {SOCKET[column], CLONE[column], CLONE3[column]}
    for number in set(range(500)) - special:
        expected = refused(errno.EPERM) if number in denied else ALLOWED
        assert run(machine, number, arch) == expected, number


@each_machine
def test_threads_are_allowed_and_processes_are_not(machine: str, arch: int, column: int) -> None:
    assert run(machine, CLONE[column], arch, 0x3D0F00) == ALLOWED  # as pthread_create(3) has it
    assert run(machine, CLONE[column], arch, 17) == refused(errno.EPERM)  # as fork(3) has it
    assert run(machine, CLONE3[column], arch) == refused(errno.ENOSYS)


@each_machine
def test_sockets_are_of_ip_and_netlink(machine: str, arch: int, column: int) -> None:
    families = {
        family for family in range(50) if run(machine, SOCKET[column], arch, family) == ALLOWED
    }
    assert families == {2, 10, 16}
    unix = [run(machine, SOCKET[column], arch, 1, kind | 0x80800) for kind in (1, 2, 5)]
    assert unix == [refused(errno.EPERM), ALLOWED, refused(errno.EPERM)]


@each_machine
def test_elements_of_maps_are_for_who_uses_them(machine: str, arch: int, column: int) -> None:
    bpf = DENIED[BPF][column]
    commands = range(40)
    allowed = [run(machine, bpf, arch, command, uses_maps=True) == ALLOWED for command in commands]
    assert [command for command in commands if allowed[command]] == [*MAP_COMMANDS]
    for number in {each[column] for each in DENIED.values()} - {bpf}:
        assert run(machine, number, arch, uses_maps=True) == refused(errno.EPERM)


@each_machine
def test_other_architectures_are_refused(machine: str, arch: int, column: int) -> None:
    read = 3
    assert run(machine, read, 0x40000003) == refused(errno.EPERM)  # AUDIT_ARCH_I386
    assert run(machine, read | 0x40000000, arch) == refused(errno.EPERM)  # x32


def test_a_machine_without_numbers_has_no_filter() -> None:
    assert system_calls._program("m68k", 64) == b""


@each_machine
def test_a_process_of_32_bits_has_no_filter(machine: str, arch: int, column: int) -> None:
    """It would refuse every call: the kernel knows them by another architecture."""
    assert system_calls._program(machine, 32) == b""


@pytest.mark.parametrize("column", [0, 1])
def test_the_numbers_are_those_of_the_kernels_headers(column: int) -> None:
    if not HEADERS[column].exists():
        pytest.skip("linux-libc-dev is not installed")
    text = HEADERS[column].read_text()
    known = {name: int(number) for name, number in re.findall(r"__NR_(\w+)\s+(\d+)", text)}
    ours = {**DENIED, "socket": SOCKET, "clone": CLONE, "clone3": CLONE3}
    wrong = {
        name: numbers[column]
        for name, numbers in ours.items()
        if name in known and known[name] != numbers[column]
    }
    assert wrong == {}
    assert len(known.keys() & ours.keys()) > 60
