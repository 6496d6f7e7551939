"""A worker that hands over to another, by a socket: in lots, and nothing twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
from typing import TYPE_CHECKING, Any, cast

import pytest

from faith.daemon.process import worker_handover
from faith.daemon.process.worker_handover import ROOM, Giver, Room, Taker

if TYPE_CHECKING:
    from collections.abc import Iterator


class Store:
    """A part with things that have a pipe each; its face is that of what relays have."""

    def __init__(self, count: int = 0, patience: int = 0) -> None:
        self.things = [(number, os.pipe()[0]) for number in range(count)]
        self.lots: list[int] = []
        self.breaks = False
        self._patience = patience  # times that nothing can go

    @property
    def left(self) -> bool:
        return bool(self.things)

    def give(self, room: int) -> tuple[list[Any], list[int]]:
        if self._patience:
            self._patience -= 1
            return [], []
        lot, self.things = self.things[:room], self.things[room:]
        return [number for number, _ in lot], [descriptor for _, descriptor in lot]

    def adopt(self, states: list[Any], descriptors: list[int]) -> None:
        if self.breaks:
            raise ValueError("nonsense")
        self.lots.append(len(states))
        self.things += zip(states, descriptors, strict=True)

    @property
    def numbers(self) -> list[int]:
        return [number for number, _ in self.things]

    def close(self) -> None:
        for _, descriptor in self.things:
            os.close(descriptor)


class Meeting:
    """A giver, a taker, and what they said of it."""

    def __init__(self, given: dict[str, Store], taken: dict[str, Store]) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda loop, context: self.defects.append(context))
        self.defects: list[dict[str, Any]] = []
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.readers = near.fileno(), far.fileno()
        self.given: list[bool] = []
        self.failed = 0
        self.far = far
        self._taken = taken
        self.taker: Taker | None = None
        self.giver = Giver(self.loop, near.detach(), given, self.given.append)

    def meet(self) -> None:
        """Let the taker come, too."""
        self.taker = Taker(self.loop, self.far.detach(), self._taken, self._fail)

    def _fail(self) -> None:
        self.failed += 1

    def run(self) -> None:
        async def wait() -> None:
            async with asyncio.timeout(5):
                while not self.given:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            await asyncio.sleep(0.01)  # for the other to hear of the end

        self.loop.run_until_complete(wait())
        assert not self.defects
        if self.taker is None:
            self.far.close()
        for descriptor in self.readers:
            assert not self.loop.remove_reader(descriptor), "a reader is left in the loop"
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(descriptor)
        self.loop.close()


@pytest.fixture
def stores() -> Iterator[list[Store]]:
    made: list[Store] = []
    yield made
    for store in made:
        store.close()


def test_all_of_every_part_comes_in_lots_and_in_order(stores: list[Store]) -> None:
    many, few, there, here = Store(2 * ROOM + 7, patience=8), Store(2), Store(), Store()
    stores += [there, here]
    descriptors = set(os.listdir("/proc/self/fd"))
    meeting = Meeting({"many": many, "few": few}, {"many": there, "few": here})
    meeting.meet()
    meeting.run()
    assert meeting.given == [True]
    assert there.numbers == [*range(2 * ROOM + 7)]
    assert there.lots == [ROOM, ROOM, 7]
    assert here.numbers == [0, 1]
    assert not many.left
    assert len(set(os.listdir("/proc/self/fd"))) == len(descriptors)


def test_what_comes_is_not_inherited_by_programs(stores: list[Store]) -> None:
    there = Store()
    stores.append(there)
    meeting = Meeting({"one": Store(1)}, {"one": there})
    meeting.meet()
    meeting.run()
    assert not any(os.get_inheritable(descriptor) for _, descriptor in there.things)


def test_a_taker_that_dies_leaves_everything_with_the_giver(stores: list[Store]) -> None:
    mine = Store(5)
    stores.append(mine)
    meeting = Meeting({"mine": mine}, {})
    meeting.far.close()
    meeting.run()
    assert meeting.given == [False]
    assert mine.numbers == [*range(5)]
    for _, descriptor in mine.things:
        os.fstat(descriptor)


def test_a_taker_that_dies_while_nothing_can_go_is_given_nothing(stores: list[Store]) -> None:
    mine = Store(5, patience=1)
    stores.append(mine)
    meeting = Meeting({"mine": mine}, {})
    meeting.far.close()
    meeting.run()
    assert meeting.given == [False]
    assert not mine.lots, "nothing had to be taken back"
    assert mine.numbers == [*range(5)]


def test_a_lot_that_cannot_be_sent_is_taken_back(
    stores: list[Store], caplog: pytest.LogCaptureFixture
) -> None:
    mine = Store(5)
    stores.append(mine)
    loop = asyncio.new_event_loop()
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    far.close()
    given: list[bool] = []
    Giver(loop, near.detach(), {"mine": mine}, given.append)
    assert given == [False]
    assert mine.lots == [5]
    assert mine.numbers == [*range(5)]
    assert [record.getMessage() for record in caplog.records] == [
        "sessions cannot be handed over: Broken pipe"
    ]
    assert caplog.records[0].name == "faith.handover"
    loop.close()


def test_what_was_taken_is_not_taken_back_when_the_taker_dies_later(stores: list[Store]) -> None:
    given, waiting, there = Store(2), Store(3, patience=1000), Store()
    stores += [given, waiting, there]
    meeting = Meeting({"given": given, "waiting": waiting}, {"given": there, "waiting": Store()})
    meeting.meet()
    taker = meeting.taker
    assert taker
    meeting.loop.call_later(0.1, taker._end)
    meeting.run()
    assert meeting.given == [False]
    assert there.numbers == [0, 1]
    assert not given.things
    assert not given.lots
    assert waiting.numbers == [0, 1, 2]


def test_a_lot_and_its_text_are_what_the_kernel_carries() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        socket.send_fds(near, [b"x"], [near.fileno()] * (ROOM + 1))
        with pytest.raises(OSError, match=r"Invalid argument|Too many references"):
            socket.send_fds(near, [b"x"], [near.fileno()] * (ROOM + 2))


def test_a_taker_that_makes_no_sense_of_it_says_so_and_takes_nothing(
    stores: list[Store], caplog: pytest.LogCaptureFixture
) -> None:
    mine, theirs = Store(5), Store()
    theirs.breaks = True
    stores.append(mine)
    meeting = Meeting({"mine": mine}, {"mine": theirs})
    meeting.meet()
    meeting.run()
    assert meeting.given == [False]
    assert meeting.failed == 1
    assert mine.numbers == [*range(5)]


@contextlib.contextmanager
def full() -> Iterator[None]:
    """Within the block, this process has no descriptor left, and may have no more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.open("/dev/null", os.O_RDONLY)]
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), before[1])
    )
    with contextlib.suppress(OSError):
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for descriptor in held:
            os.close(descriptor)


class Crowded(Room):
    """Room in a process that has none: the limit is the test's to set."""

    def _limit(self, kept: int) -> None:
        pass


def test_a_lot_that_arrives_cut_is_refused_and_sent_again(
    stores: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = Store(5), Store()
    stores.append(theirs)
    meeting = Meeting({"mine": mine}, {"mine": theirs})
    with full():
        taker = Taker(
            meeting.loop, meeting.far.detach(), {"mine": theirs}, meeting._fail, Crowded()
        )
        taker._receive()  # so many are coming
        taker._receive()
        assert not theirs.things
    meeting.run()
    assert meeting.given == [True]
    assert theirs.numbers == [*range(5)]
    assert meeting.failed == 0


def test_what_finds_no_room_for_long_stays(
    stores: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_handover, "REFUSED_AGAIN", 0.001)
    mine, theirs = Store(5), Store()
    stores += [mine, theirs]
    meeting = Meeting({"mine": mine}, {"mine": theirs})
    with full():
        Taker(meeting.loop, meeting.far.detach(), {"mine": theirs}, meeting._fail, Crowded())
        meeting.run()
    assert meeting.given == [False]
    assert mine.numbers == [*range(5)]
    assert not theirs.things


def test_what_cannot_go_for_long_stays(
    stores: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_handover, "PATIENCE", 0.05)
    mine = Store(5, patience=1_000_000)
    stores.append(mine)
    meeting = Meeting({"mine": mine}, {})
    meeting.run()
    assert meeting.given == [False]
    assert mine.numbers == [*range(5)]


def test_room_is_kept_for_what_is_coming() -> None:
    """Whatever else asks for a descriptor meanwhile gets none beyond that."""

    def read() -> tuple[int, int]:
        room, (_, most) = Room(), resource.getrlimit(resource.RLIMIT_NOFILE)
        first, second = (cast("Taker", object()) for _ in range(2))
        room.keep(first, 100)
        room.keep(second, 50)
        both = most - resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        room.release(first)
        one = most - resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        room.release(second)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == most
        return both, one

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        assert read() == (150, 50)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
