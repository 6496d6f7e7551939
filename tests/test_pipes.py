"""The pipe pool: reuse, bound, and what a shortage does."""

from __future__ import annotations

import fcntl
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
    monkeypatch.setattr(pipes, "PIPE_SIZE", (1 << 32) - 1)  # more than the kernel has for anyone
    pipe = pool.take()
    assert pipe is not None
    assert fcntl.fcntl(pipe[1], fcntl.F_GETPIPE_SZ) == 1 << 16
    os.write(pipe[1], b"x")
    assert os.read(pipe[0], 1) == b"x"
    pool.discard(pipe)


def test_pipes_do_not_block(pool: PipePool) -> None:
    pipe = pool.take()
    assert pipe is not None
    with pytest.raises(BlockingIOError):
        os.read(pipe[0], 1)
    pool.discard(pipe)


def closed(pipe: tuple[int, int]) -> bool:
    """Whether neither end of *pipe* is open any more."""
    for descriptor in pipe:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
    return True


def test_a_pipe_holds_a_megabyte_and_all_of_a_plane_half_of_what_a_user_may(
    pool: PipePool,
) -> None:
    pipe = pool.take()
    assert pipe is not None
    assert fcntl.fcntl(pipe[1], fcntl.F_GETPIPE_SZ) == 1 << 20
    assert pipes.PIPE_SIZE * pipes.MAX_PIPES == 32 << 20
    assert not any(os.get_inheritable(descriptor) for descriptor in pipe)
    pool.discard(pipe)
    assert closed(pipe)


def test_the_pool_closes_what_it_has(pool: PipePool) -> None:
    taken = [pool.take(), pool.take()]
    for pipe in taken:
        assert pipe is not None
        pool.give(pipe)
    pool.close()
    assert all(closed(pipe) for pipe in taken if pipe)
    again = [pool.take(), pool.take()]
    assert None not in again, "they make room for others"
    assert pool.take() is None
    for pipe in again:
        assert pipe is not None
        pool.discard(pipe)


def test_pipes_that_come_and_go_count(pool: PipePool) -> None:
    other = PipePool(limit=2)
    first, second = pool.take(), pool.take()
    assert first is not None
    assert second is not None
    pool.hand_over(first)
    other.adopt(first)
    third = pool.take()
    assert third is not None
    assert pool.take() is None
    fourth = other.take()
    assert fourth is not None
    assert other.take() is None
    for pipe in (second, third):
        pool.discard(pipe)
    for pipe in (first, fourth):
        other.discard(pipe)


def test_an_idle_pool_without_room_has_none() -> None:
    assert PipePool(limit=0).take() is None
    pipe = PipePool(limit=1).take()
    assert pipe is not None
    for descriptor in pipe:
        os.close(descriptor)
