"""Messages and session records, in each form and at each place."""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import re
import socket
import sys
import time
from typing import TYPE_CHECKING

import pytest

from faith.daemon.observe import log, log_counters
from faith.daemon.observe.datagram_sinks import Journal, Syslog
from faith.daemon.observe.log import IDENTIFIER as IDENT
from faith.daemon.observe.log import NOTICE, Log, open_sink
from faith.daemon.observe.log_counters import LOST, WAITING
from faith.daemon.observe.message_ids import MESSAGE_IDS, SESSION_END
from faith.daemon.observe.stderr_sink import Stderr
from faith.relay.tcp.record import UDP, Record
from faith.translation.reasons import NO_RULE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def record(end: str = "closed") -> Record:
    return Record(
        ("2001:db8:6::2", 4242),
        ("2001:db8:ffff::c000:250", 23),
        end,
        1.0,
        source=("192.0.2.1", 1234),
        server=("192.0.2.80", 23),
        seconds=0.25,
        sent=10,
        received=20,
    )


class Receiver:
    """A bound datagram socket, as syslogd and journald have one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)

    def messages(self) -> Iterator[bytes]:
        while True:
            try:
                yield self.socket.recv(65536)
            except BlockingIOError:
                return

    def close(self) -> None:
        self.socket.close()
        self.path.unlink()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    receiver = Receiver(tmp_path / "log")
    yield receiver
    receiver.socket.close()


@pytest.fixture
def told(receiver: Receiver) -> Iterator[Log]:
    told = Log(Syslog(IDENT, receiver.path))
    yield told
    told.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    pipe = os.pipe()
    yield pipe
    for descriptor in pipe:
        os.close(descriptor)


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("test_log")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield logger
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
        handler.close()


def test_syslog_lines_are_those_of_syslog_3(receiver: Receiver, logger: logging.Logger) -> None:
    logger.addHandler(Log(Syslog(IDENT, receiver.path)))
    logger.log(NOTICE, "serving %s", "telnet")
    (line,) = receiver.messages()
    stamp = time.strftime("%b %e %H:%M", time.localtime()).encode()
    assert line.startswith(b"<29>" + stamp)  # LOG_DAEMON | LOG_NOTICE
    assert line.endswith(f" faithd[{os.getpid()}]: serving telnet".encode())


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (NOTICE, 5), (logging.WARNING, 4), (logging.ERROR, 3)],
)
def test_levels_are_syslogs(
    receiver: Receiver, logger: logging.Logger, level: int, priority: int
) -> None:
    logger.addHandler(Log(Syslog(IDENT, receiver.path)))
    logger.log(level, "x")
    (line,) = receiver.messages()
    assert line.startswith(b"<%d>" % (3 << 3 | priority))


def test_a_traceback_is_one_message_a_line(receiver: Receiver, logger: logging.Logger) -> None:
    logger.addHandler(Log(Syslog(IDENT, receiver.path)))
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        logger.exception("odd")
    lines = list(receiver.messages())
    assert lines[0].endswith(b"]: odd")
    assert lines[-1].endswith(b"]: ZeroDivisionError: division by zero")
    assert all(b"faithd[" in line and b"\n" not in line for line in lines)


def test_a_session_is_one_line_at_info(receiver: Receiver, told: Log) -> None:
    told.record(record())
    (line,) = receiver.messages()
    assert line.startswith(b"<30>")
    assert line.endswith(f"]: {record().text()}".encode())


def test_a_refusal_has_kames_words_and_level(receiver: Receiver, told: Log) -> None:
    told.record(Record(("2001:db8:6::2", 4242), ("2001:db8:ffff::a00:1", 23), NO_RULE, 1.0))
    (line,) = receiver.messages()
    assert line.startswith(b"<27>")
    assert line.endswith(
        b"translation to [2001:db8:ffff::a00:1]:23 not permitted"
        b" for [2001:db8:6::2]:4242: no rule permits it"
    )


def test_a_refused_client_of_a_proxy_is_told_with_what_it_asked_for(
    receiver: Receiver, told: Log
) -> None:
    client, proxy = ("2001:db8:6::2", 4242), ("2001:db8:6::1", 1080)
    told.record(Record(client, proxy, NO_RULE, 1.0, method="http", asked=("www.example", 80)))
    (line,) = receiver.messages()
    assert line.startswith(b"<27>")
    assert line.endswith(
        b"translation by http to www.example:80 not permitted"
        b" for [2001:db8:6::2]:4242: no rule permits it"
    )


def test_a_refused_datagram_is_called_one(receiver: Receiver, told: Log) -> None:
    client, mapped = ("2001:db8:6::2", 4242), ("2001:db8:ffff::a00:1", 53)
    told.record(Record(client, mapped, NO_RULE, 1.0, protocol=UDP))
    (line,) = receiver.messages()
    assert line.startswith(b"<27>")
    assert line.endswith(
        b"translation of UDP to [2001:db8:ffff::a00:1]:53 not permitted"
        b" for [2001:db8:6::2]:4242: no rule permits it"
    )


def test_what_syslogd_missed_comes_when_it_is_back(receiver: Receiver, told: Log) -> None:
    receiver.close()
    told.record(record("idle"))
    told.record(record("lifetime"))
    back = Receiver(receiver.path)
    told.record(record())
    ends = [line.rpartition(b"=")[2] for line in back.messages()]
    assert ends == [b"idle", b"lifetime", b"closed"]
    back.close()


@pytest.mark.parametrize("most", range(20_000, 20_320, 40))  # gaps of each size up to a line's
def test_what_there_is_no_room_for_is_counted_and_told_in_its_place(
    receiver: Receiver, most: int
) -> None:
    told = Log(Syslog(IDENT, receiver.path, most=most))
    cells = log_counters.own_cells()
    told.count_in(cells)
    for _ in range(2000):
        told.record(record())
    got = [*receiver.messages()]
    assert 0 < len(got) < 2000 - cells[WAITING]
    assert len(got) + cells[WAITING] + cells[LOST] == 2000
    while cells[WAITING]:
        told.record(record("idle"))
        got += receiver.messages()
    sessions = [line for line in got if line.endswith(b"end=closed")]
    (lost,) = (number for number, line in enumerate(got) if b"lost" in line)
    assert lost == len(sessions), "it comes after those that were kept"
    assert got[lost].endswith(f"]: {2000 - len(sessions)} log lines were lost".encode())
    assert b"<28>" in got[lost]
    told.close()


def test_a_line_of_the_loss_comes_without_another_line(receiver: Receiver) -> None:
    sink = Syslog(IDENT, receiver.path, most=2_000)
    told = Log(sink)
    for _ in range(100):
        told.record(record())
    got = [*receiver.messages()]
    sink.flush()
    got += receiver.messages()
    assert got[-1].endswith(b" log lines were lost")
    told.close()


def test_what_cannot_be_written_at_the_end_is_counted(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "FINISH", 0.05)
    told = Log(Syslog(IDENT, receiver.path))
    cells = log_counters.own_cells()
    told.count_in(cells)
    for _ in range(200):
        told.record(record())
    waiting = cells[WAITING]
    assert waiting > 100
    told.close()
    assert (cells[LOST], cells[WAITING]) == (waiting, 0)


def test_lines_of_a_dead_process_are_lost(told: Log) -> None:
    told.record(record())
    cells = [3, 4]
    told.count_in(cells)
    assert (cells[LOST], cells[WAITING]) == (7, 0)


def test_the_log_of_a_process_is_the_one_that_is_installed(receiver: Receiver, told: Log) -> None:
    root = logging.getLogger()
    cells = log_counters.own_cells()
    timers: list[object] = []
    root.addHandler(told)
    try:
        log.count_in(cells)
        log.retry_by(lambda seconds, action: timers.append(action))
        log.set_form("json")
        log.record(record())
        receiver.close()
        log.record(record())
        assert len(timers) == 1
        log.finish()
    finally:
        root.removeHandler(told)
    assert cells == [1, 0]


def fields(entry: bytes) -> dict[str, str]:
    """An entry of the journal, as systemd.io/JOURNAL_NATIVE_PROTOCOL has it."""
    found = {}
    while entry:
        line, _, entry = entry.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length = int.from_bytes(entry[:8], "little")
            value, entry = entry[8 : 8 + length], entry[9 + length :]
        found[name.decode()] = value.decode()
    return found


def test_the_journal_gets_fields(receiver: Receiver) -> None:
    told = Log(Journal(IDENT, receiver.path), role="worker 2")
    told.record(record())
    told.close()
    (entry,) = map(fields, receiver.messages())
    assert entry["MESSAGE"] == record().text()
    assert entry["PRIORITY"] == "6"
    assert entry["SYSLOG_IDENTIFIER"] == IDENT
    assert entry["SYSLOG_FACILITY"] == "3"
    assert entry["MESSAGE_ID"] == MESSAGE_IDS[SESSION_END]
    assert " " not in entry["SYSLOG_IDENTIFIER"]
    assert {name: value for name, value in entry.items() if name.startswith("FAITH_")} == {
        "FAITH_EVENT": "end",
        "FAITH_PROTOCOL": "tcp",
        "FAITH_CLIENT": "2001:db8:6::2",
        "FAITH_CLIENT_PORT": "4242",
        "FAITH_MAPPED": "2001:db8:ffff::c000:250",
        "FAITH_MAPPED_PORT": "23",
        "FAITH_SOURCE": "192.0.2.1",
        "FAITH_SOURCE_PORT": "1234",
        "FAITH_SERVER": "192.0.2.80",
        "FAITH_SERVER_PORT": "23",
        "FAITH_SENT": "10",
        "FAITH_RECEIVED": "20",
        "FAITH_STARTED": "1.0",
        "FAITH_SECONDS": "0.25",
        "FAITH_END": "closed",
        "FAITH_ROLE": "worker 2",
    }


def test_the_journal_gets_a_traceback_as_one_entry(
    receiver: Receiver, logger: logging.Logger
) -> None:
    logger.addHandler(Log(Journal(IDENT, receiver.path), role="worker 2"))
    logger.error("two\nlines")
    (entry,) = map(fields, receiver.messages())
    assert entry["MESSAGE"] == "two\nlines"
    assert entry["PRIORITY"] == "3"


def test_json_is_an_object_a_line(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    told = Log(Stderr(IDENT, descriptor=writing), "json", role="worker 2")
    told.record(record())
    told.handle(logging.makeLogRecord({"levelno": NOTICE, "msg": "a\nb"}))
    session, message = map(json.loads, os.read(reading, 65536).splitlines())
    assert session["level"] == "info"
    assert session["message"] == "session"
    assert (session["ident"], session["pid"]) == (IDENT, os.getpid())
    assert (session["role"], message["role"]) == ("worker 2", "worker 2")
    assert (session["client"], session["client_port"]) == ("2001:db8:6::2", 4242)
    assert (session["sent"], session["message_id"]) == (10, MESSAGE_IDS[SESSION_END])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", session["time"])
    assert (message["level"], message["message"]) == ("notice", "a\nb")
    told.close()


def test_standard_error_has_time_and_name(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    told = Log(Stderr(IDENT, descriptor=writing))
    told.record(record())
    told.close()
    line = os.read(reading, 65536).decode()
    begin = rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d faithd\[{os.getpid()}\]: "
    assert re.fullmatch(begin + re.escape(record().text()) + "\n", line)


def test_a_slow_reader_of_standard_error_is_not_waited_for(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    sink = Stderr(IDENT, descriptor=writing, most=1 << 18)
    told = Log(sink)
    for _ in range(5000):
        told.record(record())
    assert not fcntl.fcntl(writing, fcntl.F_GETFL) & os.O_NONBLOCK  # others write there too
    os.set_blocking(reading, False)
    got = b""
    for _ in range(100):
        try:
            got += os.read(reading, 1 << 20)
        except BlockingIOError:
            sink.flush()
    told.record(record())
    got += os.read(reading, 1 << 20)
    lines = got.decode().splitlines()
    sessions = sum("client=" in line for line in lines)
    (lost,) = (line for line in lines if "lost" in line)
    assert lost.endswith(f"]: {5001 - sessions} log lines were lost")
    assert all(line.endswith(("end=closed", "lost")) for line in lines), "lines stay whole"
    told.close()


def test_standard_error_is_written_once_a_turn(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.set_blocking(reading, False)
    told = Log(Stderr(IDENT, descriptor=writing))

    async def turn() -> None:
        told.batch(asyncio.get_running_loop())
        told.record(record())
        told.record(record())
        with pytest.raises(BlockingIOError):
            os.read(reading, 1)
        await asyncio.sleep(0)
        assert os.read(reading, 65536).count(b"\n") == 2
        told.record(record(end=""))
        assert b"event=start" in os.read(reading, 65536), "a start does not wait for the turn's end"
        told.record(record())

    asyncio.run(turn())
    told.close()
    assert os.read(reading, 65536).count(b"\n") == 1


@pytest.mark.parametrize(
    ("stream", "foreground", "place"),
    [("", False, Syslog), ("", True, Stderr), ("1:1", True, Stderr), ("stderr", True, Journal)],
)
def test_the_place_depends_on_who_runs_it(
    monkeypatch: pytest.MonkeyPatch, stream: str, foreground: bool, place: type
) -> None:
    error = os.fstat(2)
    there = f"{error.st_dev}:{error.st_ino}"
    monkeypatch.setenv("JOURNAL_STREAM", there if stream == "stderr" else stream)
    sink = open_sink(foreground=foreground)
    assert type(sink) is place
    sink.close()


def test_a_message_that_cannot_be_formatted_raises_nothing(
    told: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    told.handle(logging.makeLogRecord({"msg": "%d", "args": ("no number",)}))
    assert "Logging error" in capsys.readouterr().err


def test_a_record_costs_microseconds(tmp_path: Path) -> None:
    with open(tmp_path / "log", "wb") as file:
        sink = Stderr(IDENT, descriptor=file.fileno())
        loop = asyncio.new_event_loop()
        sink.batch(loop)
        told = Log(sink)
        one = record()
        best = 1.0
        for _ in range(5):
            started = time.perf_counter()
            for _ in range(1000):
                told.record(one)
            best = min(best, (time.perf_counter() - started) / 1000)
            sink.flush()
        told.close()
        loop.close()
    print(f"{best * 1e6:.1f} µs a record", file=sys.stderr)
    assert best < 50e-6


def test_messages_that_are_alike_are_summed_up(receiver: Receiver, logger: logging.Logger) -> None:
    timers: list[Callable[[], object]] = []
    told = Log(Syslog(IDENT, receiver.path))
    told.retry_by(lambda seconds, action: timers.append(action))
    logger.addHandler(told)
    got: list[bytes] = []
    for number in range(100):
        logger.warning("no local service for %d", number)
        logger.debug("a step: %d", number)
        got += receiver.messages()
    assert len(timers) == 1
    timers.pop()()
    got += receiver.messages()
    assert sum(b"]: a step" in line for line in got) == 100
    assert sum(b"]: no local service" in line for line in got) == 20
    assert got[-1].endswith(b"]: 80 more messages were left out: no local service for %d")
    logger.warning("no local service for %d", 100)
    (line,) = receiver.messages()
    assert line.endswith(b"]: no local service for 100")


def test_without_a_timer_the_sum_comes_with_the_next_message_or_at_the_end(
    receiver: Receiver, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Log(Syslog(IDENT, receiver.path, most=1 << 20))
    logger.addHandler(told)
    got: list[bytes] = []
    for _ in range(30):
        logger.warning("again")
        got += receiver.messages()
    assert len(got) == 20
    later = time.monotonic() + 2
    monkeypatch.setattr(time, "monotonic", lambda: later)
    logger.warning("again")
    first, second = receiver.messages()
    assert first.endswith(b"]: 10 more messages were left out: again")
    assert second.endswith(b"]: again")
    monkeypatch.undo()
    for _ in range(30):
        logger.warning("again")
        got += receiver.messages()
    told.flush()
    *_, last = receiver.messages()
    assert last.endswith(b" more messages were left out: again")
