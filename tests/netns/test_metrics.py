"""The metrics and the health of a faithd over HTTP, with real sessions and a real client."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from faith.daemon.services.admin import CLIENTS
from faith.lab import ThreeHosts, wait_until
from faith.lab.topology import GATEWAY_V4, GATEWAY_V6
from tests.netns.service import PORT, answers, connect, refuses, relays

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.netns.conftest import Start

    Ask = Callable[[str], tuple[int, str]]

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("reserved", "echo")]

ADDRESS = "[::1]:9064"
METRICS = "--metrics", ADDRESS
NOBODY = 65534


@pytest.fixture
def ask(lab: ThreeHosts, need: Callable[[str], str]) -> Ask:
    """``ask("metrics")`` is that page's status and text."""
    curl = [need("curl"), "--silent", "--globoff", "--max-time", "5", "--write-out", "%{http_code}"]

    def ask(page: str) -> tuple[int, str]:
        text = lab.gateway.run([*curl, f"http://{ADDRESS}/{page}"]).stdout
        return int(text[-3:]), text[:-3]

    return ask


def numbers(ask: Ask) -> dict[str, float]:
    """All metrics, ``name{value of the label}``; those that are 0 are left out."""
    status, text = ask("metrics")
    assert status == 200
    return {
        f"{sample.name}{{{''.join(sample.labels.values())}}}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.value
    }


def test_sessions_of_all_workers_are_counted(lab: ThreeHosts, start: Start, ask: Ask) -> None:
    start(*METRICS, str(PORT))
    for _ in range(12):
        assert relays(lab)
    with connect(lab) as session:
        assert answers(session)
        assert numbers(ask)["faith_sessions_open{}"] == 1
    wait_until(lambda: "faith_sessions_open{}" not in numbers(ask), 5, "the last session's end")
    told = numbers(ask)
    assert told["faith_sessions_total{closed}"] == 13
    assert told["faith_relayed_bytes_total{server}"] == 65
    assert told["faith_relayed_bytes_total{client}"] == 65
    assert told["faith_dial_seconds_count{}"] == 13
    assert told["faith_workers{}"] == 2
    assert told["faith_prefixes{}"] == 1
    assert [way for way in told if way.startswith("faith_steering")] == ["faith_steering{route}"]


def test_refusals_are_counted_by_reason(lab: ThreeHosts, start: Start, ask: Ask) -> None:
    start(*METRICS, str(PORT))
    with pytest.raises(ConnectionResetError), connect(lab, lab.mapped(GATEWAY_V4)) as refused:
        refused.recv(1)
    told = numbers(ask)
    assert told["faith_refusals_total{the gateway's own address}"] == 1
    assert "faith_sessions_total{closed}" not in told


def test_numbers_outlive_the_worker_that_counted(lab: ThreeHosts, start: Start, ask: Ask) -> None:
    faithd = start(*METRICS, str(PORT))
    sessions = [connect(lab) for _ in range(12)]
    assert all(map(answers, sessions))
    before = numbers(ask)["faith_sessions_open{}"]
    victims = [pid for pid in faithd.workers if not _has_listener(lab, pid)]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    faithd.wait_said("another takes its place", len(victims))
    wait_until(
        lambda: numbers(ask).get("faith_worker_restarts_total{}") == len(victims),
        5,
        "replacements",
    )
    wait_until(lambda: numbers(ask).get("faith_workers{}") == 2, 5, "them serving")
    assert before == 12
    told = numbers(ask)
    assert told["faith_sessions_total{worker died}"] == 12
    assert "faith_sessions_open{}" not in told
    for session in sessions:
        session.close()
    assert relays(lab)
    wait_until(lambda: numbers(ask).get("faith_sessions_total{closed}") == 1, 5, "the session")


def _has_listener(lab: ThreeHosts, pid: int) -> bool:
    """Return whether the process answers on ADDRESS."""
    listening = lab.gateway.run(["ss", "-Hltnp", "sport", "=", ":9064"]).stdout
    return f"pid={pid}," in listening


def test_it_is_ready_until_it_drains(lab: ThreeHosts, start: Start, ask: Ask) -> None:
    faithd = start(*METRICS, "--drain-timeout", "20", str(PORT))
    assert ask("readyz") == (200, "ready\n")
    assert ask("healthz") == (200, "alive\n")
    with connect(lab) as session:
        assert answers(session)
        faithd.signal(signal.SIGTERM)
        faithd.wait_said("stopping")
        assert ask("readyz") == (503, "draining\n")
        assert ask("healthz")[0] == 200
        assert answers(session)
    assert faithd.process.wait(5) == 0
    with pytest.raises(Exception, match="curl"):
        ask("healthz")


def test_the_listener_has_no_rights_and_is_replaced(
    lab: ThreeHosts, start: Start, ask: Ask, real_root: None
) -> None:
    faithd = start(*METRICS, str(PORT))
    wait_until(lambda: ask("healthz")[0] == 200, 5, "the listener")
    (pid,) = [pid for pid in faithd.workers if _has_listener(lab, pid)]
    status = Path(f"/proc/{pid}/status").read_text()
    assert f"Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}" in status
    assert "CapPrm:\t0000000000000000" in status
    os.kill(pid, signal.SIGKILL)
    faithd.wait_said(f"admin listener {pid} was killed by SIGKILL; another takes its place in 1 s")
    assert ask("healthz")[0] == 200, "who asks meanwhile has waited"
    assert relays(lab)


def test_one_client_does_not_keep_others_from_the_listener(
    lab: ThreeHosts, start: Start, ask: Ask
) -> None:
    start("--metrics", "[::]:9064", str(PORT))
    with contextlib.ExitStack() as held:
        for _ in range(2 * CLIENTS):
            held.enter_context(connect(lab, GATEWAY_V6, 9064))
        assert ask("healthz") == (200, "alive\n")


def test_a_dead_supervisor_leaves_no_listener(lab: ThreeHosts, start: Start, ask: Ask) -> None:
    faithd = start(*METRICS, str(PORT))
    assert ask("healthz")[0] == 200
    with connect(lab) as session:
        assert answers(session)
        faithd.process.kill()
        wait_until(lambda: not lab.gateway.is_listening(9064), 5, "the listener going")
        assert answers(session)
    wait_until(lambda: refuses(lab), 5, "refusals")


def test_an_address_that_is_taken_is_said(lab: ThreeHosts, start: Start, ask: Ask) -> None:
    first = start(*METRICS, str(PORT))
    assert ask("healthz")[0] == 200
    second = type(first)(lab.gateway, first.output.with_suffix(".2"), *METRICS, "7")
    second.wait_said("listen on ::1 port 9064: Address already in use")
    assert second.process.wait(5) == 1
