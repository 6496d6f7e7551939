from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from faith.kernel.bpf import bpf
from faith.kernel.bpf.assembler import R0, R1, assemble, copy, leave, put
from faith.kernel.process import capabilities

if TYPE_CHECKING:
    from tests.netns.conftest import Fork, Report

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed")]


def load(code: bytes) -> bpf.Object:
    return bpf.load(bpf.PROGRAM_SK_LOOKUP, "faith_test", code, bpf.ATTACH_SK_LOOKUP)


def test_a_map_takes_and_loses_keys_and_says_when_it_is_full() -> None:
    with bpf.Map.create(
        bpf.MAP_LPM_TRIE, "faith_test", key=8, value=4, entries=1, flags=bpf.NO_PREALLOC
    ) as trie:
        first, second = b"\x08\0\0\0\x0a\0\0\0", b"\x08\0\0\0\x0b\0\0\0"
        trie.update(first, b"\1\0\0\0")
        with pytest.raises(OSError, match="No space left") as caught:
            trie.update(second, b"\1\0\0\0")
        assert caught.value.errno == errno.ENOSPC
        trie.delete(first)
        trie.update(second, b"\1\0\0\0")
        with pytest.raises(FileNotFoundError):
            trie.delete(first)


def test_what_the_verifier_refuses_comes_with_its_log() -> None:
    with pytest.raises(bpf.VerifierError, match="R0") as caught:
        load(assemble([copy(R0, R1), leave()]))  # a pointer must not leak as the result
    assert caught.value.errno in (errno.EACCES, errno.EINVAL)
    assert "processed" in caught.value.log


def test_what_is_refused_before_the_verifier_is_an_error_without_a_log() -> None:
    with pytest.raises(OSError, match="Invalid argument") as caught:
        bpf.load(bpf.PROGRAM_SK_LOOKUP, "faith_test", assemble([put(R0, 1), leave()]), 0)
    assert not isinstance(caught.value, bpf.VerifierError)


def test_descriptors_are_closed_on_exec() -> None:
    with load(assemble([put(R0, 1), leave()])) as program:
        assert not os.get_inheritable(program.fd)


def test_without_rights_the_missing_capability_can_be_named(fork: Fork) -> None:
    def body(report: Report) -> None:
        capabilities.drop(capabilities.default_user(), keep=["CAP_NET_ADMIN"])
        try:
            bpf.Map.create(bpf.MAP_LPM_TRIE, "faith_test", key=8, value=4, entries=1, flags=1)
        except OSError as error:
            raise capabilities.refusal("try", error, "CAP_BPF", "CAP_NET_ADMIN") from None

    with pytest.raises(Exception, match="PermissionNeeded: try: needs CAP_BPF "):
        fork(body).report()
