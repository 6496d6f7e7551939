"""How the demo looks, as plain text."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from faith.cli.demo import picture
from faith.cli.demo.picture import Record
from faith.cli.demo.visits import VISITS
from faith.lab.topology import CLIENT, GATEWAY_V4, GATEWAY_V6, SERVER

PREFIX = "2001:db8:ffff::"


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=100, highlight=False)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_logged_session_is_read() -> None:
    line = (
        "2026-01-02 03:04:05 faithd 23[7]: client=[2001:db8:6::2]:5000"
        " mapped=[2001:db8:ffff::c000:250]:23 source=192.0.2.1:6000 server=192.0.2.80:23"
        ' sent=12 received=34 seconds=0.5 end="client reset"'
    )
    assert Record.parse(line) == Record((5000, 23, 6000, 23), 12, 34, "client reset")


def test_a_logged_refusal_has_no_second_leg() -> None:
    record = Record.parse("client=[::2]:5000 mapped=[::1]:23 sent=0 received=0 end=refused")
    assert record == Record((5000, 23, 0, 0), 0, 0, "refused")


def test_a_line_that_is_no_record_is_no_silent_zero() -> None:
    with pytest.raises(KeyError):
        Record.parse("faithd 23[7]: serving")


def test_the_three_hosts_are_there_with_their_addresses(console: Console) -> None:
    picture.topology(console)
    text = shown(console)
    for word in ("client", "gateway", "server", CLIENT, GATEWAY_V4, GATEWAY_V6, SERVER):
        assert word in text


def test_a_terminal_without_unicode_gets_ascii() -> None:
    octets = io.BytesIO()
    console = Console(file=io.TextIOWrapper(octets, "ascii"), width=100, safe_box=True)
    picture.topology(console)
    picture.passed(console, [Record((1, 23, 2, 23), 3, 4, "closed")])
    console.file.flush()
    assert b"---IPv6---" in octets.getvalue()
    assert b"--IPv6->" in octets.getvalue()


def test_a_command_and_what_it_wrote(console: Console) -> None:
    picture.ran(console, "gateway", "faith status", "one [bold]\ntwo")
    assert shown(console).splitlines() == [
        "",
        "On the gateway:",
        "  # faith status",
        "    one [bold]",
        "    two",
    ]


@pytest.mark.parametrize(("good", "word"), [(True, "passed"), (False, "FAILED")])
def test_a_visit_and_its_verdict(console: Console, good: bool, word: str) -> None:
    picture.visit(console, VISITS[0], ["a line"], good=good)
    first, second = shown(console).splitlines()
    assert first == f"  {VISITS[0].name}, port {VISITS[0].port}: {word}"
    assert second == "    a line"


def test_the_client_is_told_whom_the_address_stands_for(console: Console) -> None:
    lab: Any = SimpleNamespace(mapped=lambda: f"{PREFIX}c000:250")
    picture.client(console, lab)
    assert f"to {PREFIX}192.0.2.80, which stands for {SERVER}:" in shown(console)


def test_each_record_is_a_line_with_ports_and_octets(console: Console) -> None:
    picture.passed(console, [Record((5000, 23, 6000, 23), 12, 67108864, "closed")])
    line = next(line for line in shown(console).splitlines() if "5000" in line)
    for word in ("dialogue", "5000", "23, 6000", "12", "67,108,864"):
        assert word in line


def test_the_end_says_whether_all_passed_and_how_long_it_took(console: Console) -> None:
    picture.end(console, True, 1.25)
    picture.end(console, False, 2)
    _, good, _, bad = shown(console).splitlines()
    assert good == "All connections passed, in 1.2 s."
    assert bad == "Not every connection passed, in 2.0 s."


def test_what_can_be_tried_and_what_ends_it(console: Console) -> None:
    picture.to_try(console, ["telnet x"], "faith demo --remove")
    picture.log(console, ["a line of faithd"])
    text = shown(console)
    assert "  telnet x\nTo take it away:\n  faith demo --remove\n" in text
    assert text.endswith("What faithd logged:\n  a line of faithd\n")
