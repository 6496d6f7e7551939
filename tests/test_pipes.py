"""The pipe pool: reuse, bound, and what a shortage does."""

from __future__ import annotations

import os

import pytest

from faith.relay.tcp import pipes
from faith.relay.tcp.pipes import PipePool


@pytest.fixture
def pool() -> PipePool:
    return PipePool(limit=2)


def test_an_empty_pipe_is_used_again(pool: PipePool) -> None:
    first = pool.take()
    assert first is not None
    pool.give(first)
    assert pool.take() == first
    pool.give(first)
    pool.close()


def test_there_are_no_more_than_the_limit(pool: PipePool) -> None:
    taken = [pool.take(), pool.take()]
    assert None not in taken
    assert pool.take() is None
    for pipe in taken:
        assert pipe is not None
        pool.discard(pipe)
    assert pool.take() is not None, "a discarded pipe makes room for another"
    pool.close()


def test_without_descriptors_there_is_none(pool: PipePool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(flags: int) -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pipe2", refuse)
    assert pool.take() is None
    monkeypatch.undo()
    assert pool.take() is not None, "and it costs nothing of the bound"
    pool.close()


def test_a_pipe_that_may_not_grow_is_still_a_pipe(
    pool: PipePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipes, "PIPE_SIZE", 1 << 40)  # more than any user may have
    pipe = pool.take()
    assert pipe is not None
    os.write(pipe[1], b"x")
    assert os.read(pipe[0], 1) == b"x"
    pool.discard(pipe)


def test_pipes_do_not_block(pool: PipePool) -> None:
    pipe = pool.take()
    assert pipe is not None
    with pytest.raises(BlockingIOError):
        os.read(pipe[0], 1)
    pool.discard(pipe)
