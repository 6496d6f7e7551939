"""Places that lines are written to, whose readers pause, fill up and come back."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import uvloop

from faith.daemon.observe import sinks
from faith.daemon.observe.datagram_sinks import Journal, Syslog
from faith.daemon.observe.log import Log
from faith.daemon.observe.log_counters import LOST, WAITING
from faith.daemon.observe.stderr_sink import Stderr
from faith.lab.waiting import wait_until
from faith.relay.tcp.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.daemon.observe.sinks import Sink

LINES = 13_000
TURN = 100
"""Records of one turn of the loop."""

READER = """\
import os, socket, sys
path, wanted = sys.argv[1], int(sys.argv[2])
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.bind(path)
print("bound", flush=True)
while True:
    message = sock.recv(65536)
    sys.stdout.buffer.write(message.replace(b"\\n", b" ") + b"\\n")
    sys.stdout.flush()
"""


def record(number: int) -> Record:
    return Record(
        ("2001:db8:6::2", 4242),
        ("2001:db8:ffff::c000:250", 23),
        "closed",
        1.0,
        source=("192.0.2.1", 1234),
        server=("192.0.2.80", 23),
        sent=number,
    )


def numbers(lines: list[str]) -> list[int]:
    """The numbers of the records in *lines*, in their order."""
    return [int(line.partition(" sent=")[2].split()[0]) for line in lines if " sent=" in line]


class Reader:
    """A process that reads a socket, and can be stopped."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "socket"
        self._out = directory / "read"
        with self._out.open("wb") as out:
            words = [sys.executable, "-c", READER, str(self.path), "0"]
            self._process = subprocess.Popen(words, stdout=out)
        wait_until(lambda: "bound" in self._out.read_text(), 10, "a bound socket")

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def lines(self) -> list[str]:
        return self._out.read_text(errors="replace").splitlines()[1:]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    reader.close()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = uvloop.new_event_loop()
    yield loop
    loop.close()


def run_until(loop: asyncio.AbstractEventLoop, done: Callable[[], bool], what: str) -> None:
    """Run *loop* until something holds."""

    async def wait() -> None:
        async with asyncio.timeout(20):
            while not done():  # noqa: ASYNC110
                await asyncio.sleep(0.005)  # poll: of another process

    try:
        loop.run_until_complete(wait())
    except TimeoutError as error:
        error.add_note(what)
        raise


def write_in_turns(loop: asyncio.AbstractEventLoop, told: Log, lines: int) -> float:
    """Write records in turns of *loop*; return the seconds of the longest."""

    async def write() -> float:
        longest = 0.0
        for start in range(0, lines, TURN):
            started = time.monotonic()
            for number in range(start, min(start + TURN, lines)):
                told.record(record(number))
            await asyncio.sleep(0)
            longest = max(longest, time.monotonic() - started)
        return longest

    return loop.run_until_complete(write())


# -- a reader of datagrams that pauses -----------------------------------------------------------


@pytest.mark.parametrize("kind", [Syslog, Journal])
def test_a_reader_that_pauses_gets_every_line_in_order(
    reader: Reader, loop: asyncio.AbstractEventLoop, kind: type[Syslog | Journal]
) -> None:
    sink = kind("faithd", reader.path)
    told = Log(sink)
    told.batch(loop)
    reader.pause()
    write_in_turns(loop, told, LINES)
    assert sink.cells[WAITING] > LINES / 2, "nobody read"
    reader.go_on()
    run_until(loop, lambda: not sink.cells[WAITING], "an empty ring")
    wait_until(lambda: len(reader.lines()) >= LINES, 10, "every line")
    assert numbers(reader.lines()) == [*range(LINES)]
    assert sink.cells[LOST] == 0
    told.close()


def test_beyond_the_bound_every_line_arrives_or_is_counted(
    reader: Reader, loop: asyncio.AbstractEventLoop
) -> None:
    sink = Syslog("faithd", reader.path, most=1 << 20)
    told = Log(sink)
    told.batch(loop)
    reader.pause()
    write_in_turns(loop, told, LINES)
    lost = sink.cells[LOST]
    assert 0 < lost < LINES
    reader.go_on()
    run_until(loop, lambda: not sink.cells[WAITING], "an empty ring")
    wait_until(lambda: f"{lost} log lines were lost" in reader.lines()[-1], 10, "the number lost")
    assert numbers(reader.lines()) == [*range(LINES - lost)]
    told.close()


def test_nothing_is_attempted_while_there_is_no_room(
    reader: Reader, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = Counter[str]()
    write_some = Syslog._write_some

    def counted(sink: Syslog) -> bool:
        attempts["all"] += 1
        return write_some(sink)

    monkeypatch.setattr(Syslog, "_write_some", counted)
    told = Log(Syslog("faithd", reader.path))
    told.batch(loop)
    reader.pause()
    write_in_turns(loop, told, 1000)
    attempts.clear()
    loop.run_until_complete(asyncio.sleep(5.5 * sinks.AGAIN))  # time: that little is attempted
    assert attempts["all"] <= 6
    reader.go_on()
    told.close()


def test_a_reader_that_starts_anew_gets_what_waits(
    tmp_path: Path, loop: asyncio.AbstractEventLoop
) -> None:
    told = Log(sink := Syslog("faithd", tmp_path / "socket"))
    told.batch(loop)
    write_in_turns(loop, told, 50)
    assert sink.cells[WAITING] == 50, "there is no socket yet"
    reader = Reader(tmp_path)
    run_until(loop, lambda: not sink.cells[WAITING], "an empty ring")
    wait_until(lambda: len(reader.lines()) == 50, 10, "every line")
    reader.close()
    reader.path.unlink()
    told.record(record(50))
    (tmp_path / "again").mkdir()
    reader = Reader(tmp_path / "again")
    reader.path.rename(tmp_path / "socket")
    run_until(loop, lambda: not sink.cells[WAITING], "an empty ring")
    wait_until(lambda: numbers(reader.lines()) == [50], 10, "the line that waited")
    reader.close()
    told.close()


def test_a_process_without_a_loop_tries_again_by_its_timer(reader: Reader) -> None:
    timers: list[Callable[[], object]] = []
    sink = Syslog("faithd", reader.path)
    sink.retry_by(lambda seconds, action: timers.append(action))
    told = Log(sink)
    reader.pause()
    for number in range(100):
        told.record(record(number))
    reader.go_on()
    while sink.cells[WAITING]:
        wait_until(lambda: bool(timers), 1, "another attempt")
        timers.pop()()
        time.sleep(0.002)  # poll: the reader is another process
    assert not timers
    wait_until(lambda: numbers(reader.lines()) == [*range(100)], 10, "every line")
    told.close()


def test_a_line_that_is_too_long_is_counted_and_not_in_the_way(reader: Reader) -> None:
    sink = Syslog("faithd", reader.path)
    sink._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
    assert sink.write(6, "x" * 20_000, {}) == 1
    reader.pause()
    told = Log(sink)
    while not sink.cells[WAITING]:
        told.record(record(0))
    sink.write(6, "x" * 20_000, {})
    told.record(record(1))
    reader.go_on()
    told.flush()
    assert sink.cells[LOST] == 1
    wait_until(lambda: numbers(reader.lines())[-1] == 1, 10, "the last line")
    told.close()


def test_very_long_messages_are_cut_to_a_length_that_every_socket_takes(reader: Reader) -> None:
    for sink in (Syslog("faithd", reader.path), Journal("faithd", reader.path)):
        assert sink.write(6, "x" * 300_000, {}) == 0
        sink.close()


# -- a pipe, a file ------------------------------------------------------------------------------


def test_a_pipe_whose_reader_pauses_gets_every_line_in_order(
    loop: asyncio.AbstractEventLoop,
) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    sink = Stderr("faithd", descriptor=writing)
    told = Log(sink)
    told.batch(loop)
    longest = write_in_turns(loop, told, LINES)
    print(f"{longest * 1000:.1f} ms for the longest turn", file=sys.stderr)
    assert sink.cells[WAITING] > LINES / 2, "nobody read"
    got = bytearray()
    loop.add_reader(reading, lambda: got.extend(os.read(reading, 1 << 16)))
    run_until(loop, lambda: got.count(b"\n") == LINES, "every line")
    assert numbers(got.decode().splitlines()) == [*range(LINES)]
    assert list(sink.cells) == [0, 0]
    loop.remove_reader(reading)
    told.close()
    for descriptor in (reading, writing):
        os.close(descriptor)


def test_lines_of_two_processes_in_a_full_pipe_stay_whole() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    logs = [Log(Stderr(f"faithd-{n}", descriptor=writing)) for n in range(2)]
    for number in range(2000):
        for told in logs:
            told.record(record(number))
    got = b""
    while True:
        try:
            got += os.read(reading, 5000)
        except BlockingIOError:
            before = len(got)
            for told in logs:
                told._sink.flush()
            if not any(told._sink.cells[WAITING] for told in logs) and before == len(got):
                break
    while piece := _read(reading):
        got += piece
    lines = got.decode().splitlines()
    for n in range(2):
        assert numbers([one for one in lines if f"faithd-{n}[" in one]) == [*range(2000)]
    assert len(lines) == 4000
    for told in logs:
        told.close()
    os.close(reading)
    os.close(writing)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except BlockingIOError:
        return b""


def test_a_reader_that_has_gone_costs_no_time(loop: asyncio.AbstractEventLoop) -> None:
    reading, writing = os.pipe()
    sink = Stderr("faithd", descriptor=writing)
    told = Log(sink)
    told.batch(loop)
    write_in_turns(loop, told, 2000)
    os.close(reading)
    loop.run_until_complete(asyncio.sleep(0.15))  # time: that it does not spin
    assert not sink._is_watched
    assert sink.cells[WAITING]
    told._sink._forget()
    told.close()
    os.close(writing)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A file that cannot grow beyond 20,000 octets, and a function that lets it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield tmp_path / "log", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_cannot_grow_has_every_line_when_it_can(
    full: tuple[Path, Callable[[], None]], loop: asyncio.AbstractEventLoop
) -> None:
    path, grow = full
    with path.open("ab") as file:
        sink = Stderr("faithd", descriptor=file.fileno())
    told = Log(sink)
    told.batch(loop)
    write_in_turns(loop, told, 1000)
    waiting = sink.cells[WAITING]
    assert waiting + path.read_text().count("\n") == 1000
    assert waiting > 500
    grow()
    run_until(loop, lambda: not sink.cells[WAITING], "an empty ring")
    assert numbers(path.read_text().splitlines()) == [*range(1000)]
    told.close()


def test_what_a_file_has_no_room_for_at_the_end_is_counted(
    full: tuple[Path, Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faith.daemon.observe.log.FINISH", 0.05)
    path, _ = full
    with path.open("ab") as file:
        sink = Stderr("faithd", descriptor=file.fileno())
    told = Log(sink)
    for number in range(1000):
        told.record(record(number))
    told.close()
    assert sink.cells[LOST] + path.read_text().count("\n") == 1000
    assert sink.cells[WAITING] == 0


def test_without_proc_a_pipe_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_proc(*_: object) -> int:
        raise FileNotFoundError

    reading, writing = os.pipe()
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", no_proc)
        sink = Stderr("faithd", descriptor=writing)
    assert os.get_blocking(sink.fileno())
    told = Log(sink)
    for number in range(2000):
        told.record(record(number))
    assert sink.cells[WAITING] > 1000
    sink._forget()
    told.close()
    for descriptor in (reading, writing):
        os.close(descriptor)


def test_a_stream_socket_is_not_waited_for() -> None:
    ours, theirs = socket.socketpair()
    sink = Stderr("faithd", descriptor=theirs.fileno())
    told = Log(sink)
    count = 0
    while not sink.cells[WAITING]:
        told.record(record(count))
        count += 1
    got = ours.recv(1 << 22)
    told.flush()
    got += ours.recv(1 << 22)
    assert numbers(got.decode().splitlines()) == [*range(count)]
    told.close()
    assert theirs.fileno() >= 0
    theirs.send(b"the other descriptor is open")
    ours.close()
    theirs.close()


def test_a_name_that_is_not_utf_8_is_escaped(tmp_path: Path) -> None:
    with (tmp_path / "log").open("ab") as file:
        told = Log(Stderr("faithd", descriptor=file.fileno()))
    for text in ("no file /etc/" + os.fsdecode(b"\xff.conf"), "another line"):
        told.handle(logging.makeLogRecord({"levelno": logging.ERROR, "msg": text}))
    told.close()
    first, second = (tmp_path / "log").read_text().splitlines()
    assert first.endswith(r"no file /etc/\udcff.conf")
    assert second.endswith("another line")


# -- processes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Syslog, Stderr])
def test_what_waits_at_a_fork_is_written_once(reader: Reader, kind: type[Sink]) -> None:
    reading, writing = os.pipe()
    sink = Syslog("faithd", reader.path) if kind is Syslog else Stderr("faithd", writing)
    told = Log(sink)
    reader.pause()
    count = 0
    while sink.cells[WAITING] < 5:
        told.record(record(count))
        count += 1
    pid = os.fork()
    if not pid:
        status = bool(sink.cells[WAITING])
        told.flush()
        os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0, "nothing waits in the child"
    assert sink.cells[WAITING] == 5
    reader.go_on()
    if kind is Syslog:
        told.flush()
        wait_until(lambda: numbers(reader.lines()) == [*range(count)], 10, "each line once")
    sink._forget()
    told.close()
    for descriptor in (reading, writing):
        os.close(descriptor)
