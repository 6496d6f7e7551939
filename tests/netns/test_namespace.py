"""Namespaces by system call, each tried in a process of its own: there is no way back."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from faith.errors import SetupError
from faith.lab import namespace

if TYPE_CHECKING:
    from pathlib import Path

    from tests.netns.conftest import Fork

pytestmark = pytest.mark.netns


def here() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


def test_a_new_network_is_the_calling_threads(fork: Fork) -> None:
    def body(report: object) -> bool:
        before = here()
        descriptor = namespace.new_network()
        inside = here()
        return before != inside == os.fstat(descriptor).st_ino

    assert fork(body).report()


def test_a_thread_enters_and_comes_back(fork: Fork) -> None:
    def body(report: object) -> list[bool]:
        outside, before = namespace.current_network(), here()
        inside = namespace.new_network()
        namespace.enter_network(outside)
        back = here() == before
        namespace.enter_network(inside)
        return [back, here() == os.fstat(inside).st_ino, not os.get_inheritable(inside)]

    assert fork(body).report() == [True, True, True]


def test_what_is_no_namespace_is_refused() -> None:
    with (
        open("/dev/null", "rb") as nothing,
        pytest.raises(OSError, match="Invalid argument"),
    ):
        namespace.enter_network(nothing.fileno())


def test_rights_are_those_of_this_process(fork: Fork) -> None:
    def body(report: object) -> list[bool]:
        import ctypes

        before = namespace.can_make_networks()
        header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        assert ctypes.CDLL(None).capset(header, nothing) == 0
        return [before, namespace.can_make_networks()]

    assert fork(body).report() == [True, False]


def test_a_file_is_mounted_on_another_and_taken_off(tmp_path: Path, fork: Fork) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("source")
    target.write_text("target")

    def body(report: object) -> list[str]:
        assert namespace._libc.unshare(0x20000) == 0  # CLONE_NEWNS: nobody else sees it
        private = 1 << 18 | 0x4000
        assert namespace._libc.mount(None, b"/", None, private, None) == 0
        namespace.bind(source, target)
        bound = target.read_text()
        namespace.unmount(target)
        return [bound, target.read_text()]

    assert fork(body).report() == ["source", "target"]
    assert target.read_text() == "target"


def test_a_user_namespace_is_refused_to_a_process_with_threads() -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        with pytest.raises(SetupError, match="this process has threads already"):
            namespace.enter_user_namespace()
    finally:
        over.set()
        thread.join()
