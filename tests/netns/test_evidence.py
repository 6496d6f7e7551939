"""Records as evidence: what a kill, a flood, a full disk and a reader that pauses do to them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from faith.cli.faith import main
from faith.daemon.host import discovery
from faith.daemon.observe.message_ids import MESSAGE_IDS, SESSION_END
from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V4, PREFIX, SERVER
from tests.faithd import Faithd
from tests.netns.datagrams import Echo as UdpEcho
from tests.netns.datagrams import udp
from tests.netns.gateway import Gateway, metrics
from tests.netns.service import PORT, Server, answers, connect, relays

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

    from faith.lab import ThreeHosts
    from tests.netns.conftest import Start
    from tests.netns.journal import Journal

pytestmark = pytest.mark.netns

ASKED = 5555
"""The port of the server of UDP."""
CLOSED = 9999
FLOOD = 400
BASE = f"""
workers = 2
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "{PORT},{CLOSED}"
[metrics]
listen = "[::1]:9064"
"""
UDP = f"""
[udp]
short = 0.2
short_ports = "{ASKED}"
"""
MAPPED = "192.0.2.102"
MAP = f"""
[[map]]
v4 = "{MAPPED}"
v6 = "{CLIENT}"
"""


def records(said: str, mark: str) -> list[dict[str, str]]:
    """The fields of the records in *said* that have *mark*."""
    lines = [line.partition("]: ")[2] for line in said.splitlines() if mark in line]
    return [dict(re.findall(r'(\w+)=("[^"]*"|\S+)', line)) for line in lines]


def left_out(said: str) -> int:
    """The number of records that the summaries say were left out."""
    return sum(map(int, re.findall(r"(\d+) more \w+ of ", said)))


# -- sessions ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("reserved")
def test_sessions_of_a_killed_worker_have_records_of_their_start(
    lab: ThreeHosts, start: Start
) -> None:
    faithd = start("--record-starts", str(PORT))
    server = Server(lab.server)
    with contextlib.ExitStack() as stack, server.listener:
        peers = set()
        for _ in range(6):
            stack.enter_context(connect(lab))
            stack.enter_context(server.accept())
            peers.add(f"{server.peer[0].removeprefix('::ffff:')}:{server.peer[1]}")
        faithd.wait_said("event=start", 6)  # a server may have accepted before the line is out
        for worker in faithd.workers:
            os.kill(worker, signal.SIGKILL)
        faithd.wait_said("another takes its place", 2)
        starts = records(faithd.said, "event=start")
        assert {one["source"] for one in starts} == peers
        assert len(starts) == 6
        assert {one["client"].rpartition(":")[0] for one in starts} == {f"[{CLIENT}]"}
        assert all(abs(float(one["started"]) - time.time()) < 60 for one in starts)
    assert "end=" not in faithd.said


@pytest.mark.usefixtures("reserved", "echo")
def test_a_session_that_is_handed_over_has_one_start_and_one_end(
    lab: ThreeHosts, start: Start
) -> None:
    faithd = start("--record-starts", str(PORT))
    with connect(lab) as session:
        assert answers(session)
        faithd.signal(signal.SIGUSR2)
        faithd.wait_said("upgraded to program 2", seconds=20)
        assert answers(session)
    faithd.wait_said("end=closed")
    (first,), (last,) = records(faithd.said, "event=start"), records(faithd.said, "end=closed")
    for name in ("client", "mapped", "source", "server"):
        assert first[name] == last[name]
    assert abs(float(first["started"]) - float(last["started"])) < 0.1


def test_a_flood_to_a_closed_port_fills_metrics_and_not_the_disk(
    lab: ThreeHosts, tmp_path: Path
) -> None:
    faithd = Gateway(lab, tmp_path, BASE)
    began = time.monotonic()
    for _ in range(FLOOD):
        with contextlib.suppress(ConnectionResetError), connect(lab, port=CLOSED) as refused:
            refused.recv(1)
    wait_until(lambda: faithd.counted("faith_sessions_total")["refused"] == FLOOD, 5, "the count")
    wait_until(
        lambda: len(records(faithd.said, "end=refused")) + left_out(faithd.said) == FLOOD,
        5,
        "every session in a record or in a summary",
    )
    lines = faithd.said.count("end=refused")
    seconds = time.monotonic() - began
    assert lines <= 2 * 10 * (seconds + 1), "ten a second for a client, in each of two workers"
    assert f"more sessions of {CLIENT} ended: refused" in faithd.said


# -- UDP -----------------------------------------------------------------------------------------


@pytest.fixture
def asked(lab: ThreeHosts) -> Iterator[UdpEcho]:
    with contextlib.closing(UdpEcho(lab.server, SERVER, ASKED)) as server:
        yield server


def ask(sock: socket.socket, address: str, data: bytes = b"hello") -> None:
    sock.sendto(data, (address, ASKED))
    assert sock.recvfrom(65536)[0] == data


def test_a_flow_has_a_record_of_its_start_and_its_end(
    lab: ThreeHosts, tmp_path: Path, asked: UdpEcho
) -> None:
    faithd = Gateway(lab, tmp_path, BASE + UDP + "[log]\nstarts = true\n")
    with udp(lab.client, CLIENT) as client:
        host, port = client.getsockname()[:2]
        ask(client, lab.mapped())
        ask(client, lab.mapped(), b"hello again")
        faithd.wait_said("event=start protocol=udp")
        faithd.wait_said("end=expired")
    (first,) = records(faithd.said, "event=start")
    (last,) = records(faithd.said, "end=expired")
    source, source_port = asked.sources[0]
    assert source == GATEWAY_V4
    for one in (first, last):
        assert one["protocol"] == "udp"
        assert one["client"] == f"[{host}]:{port}"
        assert one["mapped"] == f"[{lab.mapped()}]:{ASKED}"
        assert one["source"] == f"{source}:{source_port}"
        assert one["server"] == f"{SERVER}:{ASKED}"
    assert (last["sent"], last["received"]) == ("16", "16")
    assert float(last["seconds"]) > 0.2


def test_a_flow_from_ipv4_has_one_and_so_has_who_is_there_at_the_end(
    lab: ThreeHosts, tmp_path: Path
) -> None:
    faithd = Gateway(lab, tmp_path, BASE + MAP + "[udp]\n")
    with (
        contextlib.closing(UdpEcho(lab.client, CLIENT, ASKED)),
        udp(lab.server, SERVER) as client,
    ):
        port = client.getsockname()[1]
        ask(client, MAPPED)
        assert faithd.stop(10) == 0
    (last,) = records(faithd.said, "protocol=udp")
    assert last["client"] == f"{SERVER}:{port}"
    assert last["mapped"] == f"{MAPPED}:{ASKED}"
    assert last["source"] == f"[{lab.mapped()}]:{port}"
    assert last["server"] == f"[{CLIENT}]:{ASKED}"
    assert (last["sent"], last["received"], last["end"]) == ("5", "5", "stopped")


def test_flows_keep_their_records_over_an_upgrade_and_lose_them_by_a_reload(
    lab: ThreeHosts, tmp_path: Path, asked: UdpEcho
) -> None:
    faithd = Gateway(lab, tmp_path, BASE + "[udp]\n[log]\nstarts = true\n")
    with udp(lab.client, CLIENT) as client, udp(lab.client, CLIENT) as second:
        ask(client, lab.mapped())
        faithd.signal(signal.SIGUSR2)
        faithd.wait_said("upgraded to program 2", seconds=20)
        ask(client, lab.mapped())
        faithd.reload(BASE + UDP.replace("0.2", "1") + '[log]\nformat = "json"\nflows = false\n')
        ask(second, lab.mapped())
        faithd.reload(BASE + UDP + '[log]\nformat = "json"\n')
        ask(second, lab.mapped())
        assert faithd.stop(10) == 0
    assert len(records(faithd.said, "event=start protocol=udp")) == 1
    ends = [json.loads(line) for line in faithd.said.splitlines() if '"message": "flow"' in line]
    sent = {one["sent"]: one for one in ends}
    assert sorted(sent) == [10]
    assert len(ends) == 2
    assert {one["source_port"] for one in ends} == {port for _, port in asked.sources}


def test_refused_datagrams_leave_a_few_lines_with_their_reason(
    lab: ThreeHosts, tmp_path: Path
) -> None:
    rules = '[access]\nrules = ["2001:db8:6::/48 deny 0.0.0.0/0"]\n'
    faithd = Gateway(lab, tmp_path, BASE + "[udp]\n" + rules)
    with udp(lab.client, CLIENT) as client:
        for _ in range(FLOOD):
            with contextlib.suppress(PermissionError):  # the gateway's errors
                client.sendto(b"hello", (lab.mapped(), ASKED))
        who = "[{}]:{}".format(*client.getsockname()[:2])
    line = f"translation of UDP to [{lab.mapped()}]:{ASKED} not permitted for {who}: denied by"
    faithd.wait_said(line)
    faithd.wait_said(f"more datagrams of {CLIENT} were refused: denied by a rule")
    count = faithd.counted("faith_udp_refusals_total")["denied by a rule"]
    assert count > FLOOD / 2
    wait_until(
        lambda: faithd.said.count(line) + left_out(faithd.said) == count, 5, "each in a line or sum"
    )
    assert faithd.said.count(line) < FLOOD / 2


# -- a disk that is full -------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    directory = tmp_path / "disk"
    directory.mkdir()
    options = ["-t", "tmpfs", "-o", "size=256k,mode=755", "none"]
    subprocess.run(["mount", *options, directory], check=True)
    yield directory
    subprocess.run(["umount", "-l", directory], check=True)


def fill(directory: Path) -> Path:
    """Leave no room there; return the file to remove."""
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


def lost(lab: ThreeHosts) -> int:
    return int(metrics(lab)["faith_log_lost_total"])


def on_disk(lab: ThreeHosts, disk: Path, *words: str) -> Faithd:
    more = "--metrics", "[::1]:9064", *words, str(PORT)
    faithd = Faithd(lab.gateway, disk / "log", *more)
    faithd.wait_said("serving")
    return faithd


@pytest.mark.usefixtures("reserved", "echo")
def test_records_wait_for_room_on_a_full_disk(lab: ThreeHosts, disk: Path) -> None:
    faithd = on_disk(lab, disk)
    ballast = fill(disk)
    for _ in range(100):
        assert relays(lab)
    wait_until(lambda: metrics(lab)["faith_sessions_open"] == 0, 5, "the last session's end")
    assert metrics(lab)["faith_log_waiting"] > 0
    ballast.unlink()
    wait_until(lambda: faithd.said.count("end=closed") == 100, 5, "every record")
    assert lost(lab) == 0
    assert all(line.endswith("end=closed") for line in faithd.said.splitlines() if "sent=" in line)
    assert faithd.stop() == 0


@pytest.mark.usefixtures("reserved", "echo")
@pytest.mark.parametrize("how", ["upgrade", "kill"])
def test_lines_that_a_process_takes_along_are_counted(
    lab: ThreeHosts, disk: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    faithd = on_disk(lab, disk)
    ballast = fill(disk)
    for _ in range(100):
        assert relays(lab)
    wait_until(lambda: metrics(lab)["faith_sessions_open"] == 0, 5, "the last session's end")
    (told,) = re.findall(r"workers: ([\d ]+)", faithd.said)
    workers = [*map(int, told.split())]
    if how == "upgrade":
        faithd.signal(signal.SIGUSR2)
        wait_until(lambda: programs(lab) == 2, 20, "the next program")
    else:
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not {*workers} & {*faithd.workers}, 10, "the end of the workers")
    wait_until(lambda: lost(lab) > 0, 5, "the count of what was lost")
    written = faithd.said.count("end=closed")
    ballast.unlink()
    assert relays(lab)
    faithd.wait_said("end=closed", written + 1)
    notices = 10  # of the supervisor, which may be lost as well
    assert 100 - notices <= written + lost(lab) <= 100 + notices
    with lab.gateway.inside():
        assert main(["status"]) == 1  # the gateway has no default route
    assert f"{lost(lab)} log lines lost" in capsys.readouterr().out
    assert faithd.stop() == 0


def programs(lab: ThreeHosts) -> int:
    with lab.gateway.inside():
        return max((one.programs for one in discovery.running()), default=0)


# -- the journal ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("reserved", "echo", "real_root")
def test_the_journal_has_every_record_although_it_pauses(
    lab: ThreeHosts, tmp_path: Path, journal: Journal
) -> None:
    lab.gateway.sysctl("net.unix.max_dgram_qlen", 10)
    output = tmp_path / "log"
    output.touch()
    stream = f"{output.stat().st_dev}:{output.stat().st_ino}"
    words = "--metrics", "[::1]:9064", str(PORT)
    faithd = Faithd(lab.gateway, output, *words, by=journal.by, JOURNAL_STREAM=stream)
    wait_until(lambda: bool(journal.entries("SYSLOG_IDENTIFIER=faithd")), 10, "an entry")
    lab.gateway.wait_listening(PORT)
    os.kill(journal.process.pid, signal.SIGSTOP)
    for _ in range(300):
        assert relays(lab)
    wait_until(lambda: metrics(lab)['faith_sessions_total{end="closed"}'] == 300, 5, "the ends")
    assert metrics(lab)["faith_log_waiting"] > 200
    os.kill(journal.process.pid, signal.SIGCONT)
    by_client = f"FAITH_CLIENT={CLIENT}"
    wait_until(lambda: len(journal.entries(by_client)) == 300, 10, "every record")
    assert lost(lab) == 0
    found = journal.entries(by_client, f"MESSAGE_ID={MESSAGE_IDS[SESSION_END]}")
    assert len({one["FAITH_CLIENT_PORT"] for one in found}) == 300
    assert {one["FAITH_SERVICE"] for one in found} == {str(PORT)}
    assert {one["FAITH_ROLE"].partition(" ")[0] for one in found} == {"worker"}
    assert journal.entries("FAITH_ROLE=supervisor")
    assert {one["FAITH_SERVER"] for one in found} == {SERVER}
    assert faithd.stop() == 0
