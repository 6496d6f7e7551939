from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from faith.cli import faith, status
from faith.cli.faith import app, main
from faith.kernel.netlink import routes
from faith.translation.prefix import RFC6052, Prefix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faith.daemon.observe.status_report import Report

COMMANDS = [[], *([info.name] for info in app.registered_commands if info.name)]

Capsys = pytest.CaptureFixture[str]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_has_help(command: list[str], option: str) -> None:
    result = CliRunner().invoke(app, [*command, option])
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["-e", "-d"], "give either -e (reserve) or -d (release)"),
        (["-p", "2001:db8:ffff::"], "give either -e (reserve) or -d (release)"),
        (["--print"], "give either -e (reserve) or -d (release)"),
        (["-e", "--layout", "rfc6052"], "--layout belongs to -p"),
        (["addr", "--layout", "rfc6052", "192.0.2.1"], "--layout belongs to -p"),
        (["-d", "--open", "80"], "--layout and --open belong to -e"),
        (["-e", "status"], "options must follow the command: status ..."),
        (["-e", "-p"], "Option '-p' requires an argument. (see faith --help)"),
        (["-e", "-i", "eth0"], "No such option: -i (see faith --help)"),
        *(
            ([*words, "-p", "2001:db8:64::/64", *more], "/64 needs a layout: rfc6052")
            for words, more in (
                (["-e"], []),
                (["addr"], ["192.0.2.1"]),
                (["dns"], []),
                (["hosts"], ["192.0.2.1"]),
                (["ra"], []),
            )
        ),
        (["dns", "--map", "192.0.2.0/24=2001:db8::/32"], "/32 needs a layout: rfc6052"),
        (["dns", "--client", "2001:db8:1::/64=2001:db8::/40"], "/40 needs a layout: rfc6052"),
        (["-e", "-p", "2001:db8::", "--layout", "lowest"], "layout 'lowest' is not one of"),
        (["-e", "-p", "192.0.2.0/24"], "that is IPv4; the reserved prefix is IPv6"),
        (["-e", "-p", "2001:db8::/97"], "a prefix is 1 to 96 bits long"),
        (["-e", "-p", "2001:db8::1/96"], "host bits are set; did you mean 2001:db8::/96?"),
        (["-e", "-p", "2001:db8::/65", "--layout", "rfc6052"], "layout low32 takes any"),
        (["-e", "-p", "2001:db8::", "--open", "no.such.service"], "is not a TCP service"),
        (["-e", "-p", "2001:db8::", "--open", "99999"], "not between 1 and 65535"),
        (["addr"], "Missing argument 'ADDRESS'"),
        (["addr", "-p", "2001:db8::", "localhost"], "'localhost' is not an address"),
        (["demo", "--keep", "--remove"], "--keep and --remove exclude each other"),
        (["statsu"], "No such command 'statsu'."),
    ],
)
def test_a_command_that_makes_no_sense_is_refused_in_one_line(
    capsys: Capsys, words: Sequence[str], reason: str
) -> None:
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("faith: ")
    assert printed.err.count("\n") == 1
    assert reason in printed.err


def reserve(monkeypatch: pytest.MonkeyPatch, *prefixes: Prefix) -> None:
    monkeypatch.setattr(routes, "reserved", lambda: list(prefixes))


def test_addresses_are_converted_one_a_line(capsys: Capsys) -> None:
    assert main(["addr", "-p", "64:ff9b::/96", "192.0.2.80", "64:ff9b::c633:6407"]) == 0
    assert capsys.readouterr().out == "64:ff9b::192.0.2.80\n198.51.100.7\n"


def test_addresses_in_hexadecimal(capsys: Capsys) -> None:
    assert main(["addr", "--hex", "-p", "64:ff9b::/96", "192.0.2.80"]) == 0
    assert capsys.readouterr().out == "64:ff9b::c000:250\n"


def test_addresses_under_the_reserved_prefixes(
    capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve(monkeypatch, Prefix.parse("2001:db8:64::/64", RFC6052))
    assert main(["addr", "--json", "192.0.2.80"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "ipv4": "192.0.2.80",
            "mapped": "2001:db8:64:0:c0:2:5000:0",
            "prefix": "2001:db8:64::/64",
            "layout": "rfc6052",
        }
    ]


def test_addresses_without_any_prefix(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve(monkeypatch)
    assert main(["addr", "192.0.2.80"]) == 1
    assert capsys.readouterr().err == "faith: no prefix is reserved here; give one with -p\n"


def test_an_error_of_the_system_is_one_line(
    capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> Report:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(status, "read", fail)
    assert main(["status"]) == 1
    assert capsys.readouterr().err == "faith: Permission denied\n"


def test_an_error_of_the_system_names_the_file(
    capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "read", lambda: os.stat("/proc/none"))
    assert main(["status"]) == 1
    assert capsys.readouterr().err == "faith: /proc/none: No such file or directory\n"


def test_ctrl_c_ends_it_without_a_word(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> Report:
        raise KeyboardInterrupt

    monkeypatch.setattr(status, "read", interrupt)
    assert main(["status"]) == 130
    assert capsys.readouterr().err == ""


def test_no_output_is_too_special_for_a_plain_terminal() -> None:
    assert all(text.isascii() for text in (faith.__doc__ or "", *map(_help, COMMANDS)))


def _help(command: list[str]) -> str:
    return CliRunner().invoke(app, [*command, "--help"]).output
