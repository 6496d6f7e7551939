"""The roles of processes, in their titles and in their log lines."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from faith.daemon.observe.log import Log
from faith.daemon.observe.stderr_sink import Stderr
from faith.daemon.process import role


@pytest.mark.parametrize(
    ("what", "number", "name"),
    [
        ("worker", 0, "worker 1"),
        ("name server", 1, "dns 2"),
        ("admin listener", 0, "admin"),
        ("ping server", 0, "ping"),
        ("UDP server", 0, "udp"),
        ("kernel path", 0, "flows"),
    ],
)
def test_a_pool_gives_each_process_its_role(what: str, number: int, name: str) -> None:
    assert role.of_pool(what, number) == name


def in_child(words: list[str]) -> tuple[str, dict[str, object]]:
    """Return the title of a child that is a supervisor and then a worker, and a line of its log."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        log = Log(Stderr("faithd", descriptor=writing), "json")
        logging.getLogger().addHandler(log)
        role.supervise("faithd", words)
        title = Path("/proc/self/cmdline").read_bytes().rstrip(b"\0").decode()
        role.adopt(role.of_pool("worker", 1))
        logging.getLogger("faith.worker").warning("%s", title)
        log.flush()
        os._exit(0)
    os.close(writing)
    with open(reading) as file:
        line = json.loads(file.readline())
    assert os.waitpid(pid, 0)[1] == 0
    return str(line["message"]), line


def test_the_supervisor_shows_its_words_and_the_log_each_role() -> None:
    title, line = in_child(["telnet"])
    assert title == "faithd: supervisor telnet"
    assert (line["ident"], line["role"]) == ("faithd", "worker 2")
