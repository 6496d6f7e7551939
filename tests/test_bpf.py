from __future__ import annotations

import errno

import pytest

from faith.kernel.bpf import bpf


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


class Kernel:
    """A kernel whose answer to a call of many at once is an error, or none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: int | None) -> None:
        self.calls: list[int] = []
        self._error = error
        monkeypatch.setattr(bpf, "_bpf", self._bpf)

    def _bpf(self, command: int, attributes: bytes) -> int:
        self.calls.append(command)
        if command == bpf._MAP_UPDATE_BATCH and self._error:
            raise OSError(self._error, "no")
        return 0


@pytest.mark.parametrize(
    ("error", "one_by_one"), [(None, 0), (errno.EINVAL, 2), (errno.EOPNOTSUPP, 2), (524, 2)]
)
def test_many_keys_are_set_at_once_where_that_is_possible(
    monkeypatch: pytest.MonkeyPatch, error: int | None, one_by_one: int
) -> None:
    kernel = Kernel(monkeypatch, error)
    some = bpf.Map.adopt(3)
    some.update_all({b"key1": b"val1", b"key2": b"val2"})
    assert kernel.calls == [bpf._MAP_UPDATE_BATCH] + [bpf._MAP_UPDATE] * one_by_one
    some.update_all({})
    assert len(kernel.calls) == 1 + one_by_one


def test_an_error_that_means_something_else_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    Kernel(monkeypatch, errno.ENOSPC)
    with pytest.raises(OSError, match="no"):
        bpf.Map.adopt(3).update_all({b"key": b"value"})


def test_a_load_that_signals_interrupt_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    again = BlockingIOError(errno.EAGAIN, "again")
    answers: list[OSError | int] = [again, again, -1]

    def call(command: int, attributes: bytes) -> int:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(bpf, "_bpf", call)
    assert bpf.load(1, "name", bytes(8), 0).fd == -1
    assert not answers
