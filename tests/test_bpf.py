from __future__ import annotations

import errno

import pytest

from faith.kernel import bpf


@pytest.mark.parametrize(
    ("machine", "bits", "number"),
    [("x86_64", 64, 321), ("x86_64", 32, 357), ("aarch64", 64, 280), ("armv7l", 32, 386)],
)
def test_the_number_of_the_call_is_that_of_machine_and_process(
    machine: str, bits: int, number: int
) -> None:
    assert bpf.syscall_number(machine, bits) == number


@pytest.mark.parametrize(("machine", "bits"), [("vax", 32), ("armv7l", 64)])
def test_an_unknown_machine_is_refused_by_name(machine: str, bits: int) -> None:
    with pytest.raises(OSError, match=machine) as caught:
        bpf.syscall_number(machine, bits)
    assert caught.value.errno == errno.ENOSYS


def test_the_verifiers_log_is_in_its_error() -> None:
    error = bpf.VerifierError(errno.EACCES, "R0 !read_ok")
    assert error.errno == errno.EACCES
    assert error.log == "R0 !read_ok"
    assert "R0 !read_ok" in str(error)
