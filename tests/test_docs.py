"""What the documents say is what there is: tests, options, commands, rules, records and links."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from typer.models import TyperInfo
from typer.testing import CliRunner

from faith.cli import control_client, faith, prefixes, serve, status, status_lines
from faith.cli.explain import doctor, gathering, live_trace, proxied_gathering
from faith.cli.setup import setup_command
from faith.cli.top import live_table
from faith.daemon import dns_daemon
from faith.daemon.config import config, kernel_path_table
from faith.daemon.host import discovery
from faith.daemon.observe.status_report import Daemon, Report, ServedPath, ServedProxy
from faith.daemon.process.loop import Loop
from faith.errors import ConfigError
from faith.flow.flow_settings import FlowSettings
from faith.relay.inetd import inetd
from faith.relay.tcp.record import Record
from faith.translation.access import Access
from faith.translation.ports import ALL_PORTS
from faith.translation.reasons import CLOSED
from tests.explained import GOOD, PROXIED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]
PAGES = [
    page
    for pattern in ("*.rst", "docs/**/*.rst", "contrib/**/*.rst", "bench/**/*.rst")
    for page in sorted(ROOT.glob(pattern))
]
MANUALS = sorted((ROOT / "docs" / "man").iterdir())

LIMIT = 30
"""Seconds for a program that reads a page."""

TEST = re.compile(r"\btests/[\w/]+\.py(?:::\w+)+")
LINK = re.compile(r"`[^`<]+ <([^`:>]+)>`_")
TYPED = re.compile(r"(?:[#$] |^ExecStart=\S*/)(faithd?)\b *(.*)$", re.MULTILINE)
RULE = re.compile(r"^ *[\da-f]+:[\da-f:/]* +\w+ +\d[\d./]*(?: +[\d.]+)?$", re.MULTILINE)
COMMANDS = [
    f"{group.name or ''} {command.name}".strip()
    for group in (TyperInfo(faith.app), *faith.app.registered_groups)
    if group.typer_instance
    for command in group.typer_instance.registered_commands
    if command.name
]


def each(paths: list[Path]) -> pytest.MarkDecorator:
    """Do the test with each of *paths*, as *path*."""
    return pytest.mark.parametrize("path", paths, ids=lambda path: str(path.relative_to(ROOT)))


# -- form ----------------------------------------------------------------------------------------


@each(PAGES)
def test_a_page_is_read_without_a_complaint(path: Path) -> None:
    options = ("--report=warning", "--halt=warning", "--writer=null")
    subprocess.run([sys.executable, "-m", "docutils", *options, path], check=True, timeout=LIMIT)


@each(PAGES)
def test_links_lead_somewhere(path: Path) -> None:
    for target in LINK.findall(path.read_text()):
        assert (path.parent / target).exists(), target


@each(MANUALS)
@pytest.mark.parametrize(
    "lint", [("mandoc", "-Tlint", "-Wwarning"), ("groff", "-mandoc", "-ww", "-z", "-Tutf8")]
)
def test_a_manual_is_read_without_a_complaint(
    path: Path, lint: tuple[str, ...], need: Callable[[str], str]
) -> None:
    program, *options = lint
    command = [need(program), *options, str(path)]
    read = subprocess.run(command, check=False, capture_output=True, text=True, timeout=LIMIT)
    assert (read.stdout, read.stderr, read.returncode) == ("", "", 0)


def test_every_manual_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    installed = project["tool"]["setuptools"]["data-files"]
    wanted: dict[str, list[str]] = {}
    for path in MANUALS:
        directory = wanted.setdefault(f"share/man/man{path.suffix[1:]}", [])
        directory.append(str(path.relative_to(ROOT)))
    assert {place: files for place, files in installed.items() if "/man/" in place} == wanted


# -- what they name ------------------------------------------------------------------------------


def names_in(path: Path) -> Iterator[str]:
    """``function`` and ``Class::function`` for the tests in a module."""
    for node in ast.parse(path.read_text()).body:
        inner = [node.name] if isinstance(node, ast.ClassDef) else []
        for function in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(function, ast.FunctionDef) and function.name.startswith("test_"):
                yield "::".join([*inner, function.name])


@each([*PAGES, *MANUALS])
def test_every_test_that_is_named_exists(path: Path) -> None:
    for name in TEST.findall(path.read_text()):
        module, _, test = name.partition("::")
        assert test in names_in(ROOT / module), name


@pytest.mark.parametrize(
    ("page", "not_applying"),
    [
        ("conformance", {"SEC-6"}),
        ("dns64-conformance", set()),
        ("kernel-path-conformance", set()),
    ],
)
def test_the_points_of_conformance_have_tests(page: str, not_applying: set[str]) -> None:
    text = (ROOT / f"docs/{page}.rst").read_text()
    points = re.split(r"^(?=\S.*\n    )", text, flags=re.MULTILINE)[1:]
    without = {point.partition(":")[0] for point in points if not TEST.search(point)}
    assert without == not_applying


def test_no_point_of_the_kernel_path_is_passed_over() -> None:
    text = (ROOT / "docs/kernel-path-conformance.rst").read_text()
    for name, count in (("NAT64", 30), ("XLAT", 27), ("REQ", 10)):
        found = re.findall(rf"^{name}-(\d+): ", text, re.MULTILINE)
        assert found == [str(number) for number in range(1, count + 1)]
        referred = re.findall(rf"\({name}-(\d+)", text)
        assert {*referred} <= {*found}


def test_the_points_of_rfc_6384_have_tests_or_a_reason() -> None:
    text = (ROOT / "docs/rfc6384.rst").read_text()
    points = re.split(r"^(?=\S.*\n    \S)", text, flags=re.MULTILINE)[1:]
    assert len(points) > 40
    for point in points:
        assert TEST.search(point) or "Not done, because" in point, point


def test_the_points_of_rfc_4787_have_tests() -> None:
    text = (ROOT / "docs/udp.rst").read_text()
    points = re.split(r"^(?=REQ-\d+\n    )", text, flags=re.MULTILINE)[1:]
    assert [point.split()[0] for point in points] == [f"REQ-{number}" for number in range(1, 15)]
    for point in points:
        assert TEST.search(point.split("\n\n\n")[0].split("\nEvery datagram")[0]), point


# -- options -------------------------------------------------------------------------------------


def help_of_faith(*command: str) -> Callable[[], str]:
    return lambda: CliRunner().invoke(faith.app, [*command, "--help"]).output


@pytest.mark.parametrize(
    ("manual", "section", "help_text"),
    [
        ("faith.8", "Options", help_of_faith()),
        *(("faith.8", name, help_of_faith(*name.split())) for name in COMMANDS),
        ("faithd.8", "Options", lambda: serve._parser().format_help()),
        ("faithd.8", "Inetd mode", lambda: f"{inetd.USAGE}[-h] [--help]"),
    ],
)
def test_a_manual_has_the_options_of_the_help(
    manual: str, section: str, help_text: Callable[[], str]
) -> None:
    items = re.findall(r"^\.It (Fl .*)", sections(manual)[section], re.MULTILINE)
    described = {f"-{name}" for item in items for name in re.findall(r"Fl (\S+)", item)}
    assert described == options(help_text())


def sections(manual: str) -> dict[str, str]:
    """The sections and subsections of a manual, by their headings."""
    text = (ROOT / "docs/man" / manual).read_text()
    parts = re.split(r"^\.S[hs] (.*)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def options(help_text: str) -> set[str]:
    """The options at the beginning of lines, and those in brackets, where ``-dp`` are two."""
    heads = re.findall(r"^ {2,4}(-.*?)(?: {2}|$)", help_text, re.MULTILINE)
    found = set(re.findall(r"(?<![\w-])--?\w[\w-]*", " ".join(heads)))
    for word in re.findall(r"\[(--?\w[\w-]*)", help_text):
        found |= {word} if word.startswith("--") else {f"-{letter}" for letter in word[1:]}
    return found


def test_the_manual_of_the_configuration_has_every_key() -> None:
    found = sections("faith.toml.5")
    for table, keys in config.KEYS.items():
        heading = f'"[[{table}]]"' if table in config.SEVERAL else f'"[{table}]"'
        text = found[heading if table else '"At the top"']
        assert re.findall(r"^\.It Ic (\S+)", text, re.MULTILINE) == list(keys), table


def test_the_manual_of_the_configuration_has_one() -> None:
    example = sections("faith.toml.5")["EXAMPLES"]
    blocks = re.findall(r"^\.Bd.*\n((?:.*\n)*?)\.Ed", example, re.MULTILINE)
    assert blocks
    for block in blocks:
        config.read(block, "faith.toml")


def test_the_page_of_the_kernel_path_has_the_numbers_of_the_program() -> None:
    text = (ROOT / "docs/kernel-path.rst").read_text()
    rows = re.findall(r"^``(tcp_\w+)`` +(\d+) +(\d+) ", text, re.MULTILINE)
    usual = FlowSettings(ALL_PORTS)
    assert sorted(key for key, _, _ in rows) == sorted(kernel_path_table.TIMEOUTS)
    for key, seconds, least in rows:
        assert getattr(usual, key) == float(seconds)
        enough: dict[str, Any] = {key: float(least)}
        too_little: dict[str, Any] = {key: float(least) - 0.1}
        replace(usual, **enough)
        with pytest.raises(ConfigError, match=f"at least {least} seconds"):
            replace(usual, **too_little)
    for ports in (usual.address_ports, usual.shared_ports):
        assert f"{len(ports):,}" in text


def test_the_page_of_the_kernel_path_has_a_configuration_and_what_comes_of_it() -> None:
    text = (ROOT / "docs/kernel-path.rst").read_text()
    (block,) = re.findall(r"^::\n\n((?:(?:    .*)?\n)+?)\n\S", text, re.MULTILINE)
    settings = config.read(re.sub("^    ", "", block, flags=re.MULTILINE), "faith.toml")
    assert settings.flows
    assert settings.flows.addresses
    for path in (ServedPath("80,443", "kernel"), ServedPath("21", "relay", "FTP")):
        faithd = Daemon(1, "x", "80", "route", 0.0, [], [], paths=[path])
        *_, line = status_lines.lines(Report(0.0, "", True, daemons=[faithd]))
        assert f"    {line}\n" in text


# -- examples ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "words"),
    [found for path in [*PAGES, *MANUALS] for found in TYPED.findall(path.read_text())],
)
def test_a_command_makes_sense(program: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is done, and no server is started, whatever an example may say one day."""
    for name in ("fork", "forkpty", "posix_spawn"):
        monkeypatch.setattr(os, name, Mock(side_effect=AssertionError("an example starts nothing")))
    monkeypatch.setattr(Loop, "run", Mock(side_effect=AssertionError("an example serves nobody")))
    if program == "faithd":
        options = (parser := serve._parser()).parse_args(shlex.split(words))
        by = serve._settings_by(options, parser)
        if options.config is None:  # what is in such a file is another example
            by()
        return
    for name in ("enabling", "disabling"):
        monkeypatch.setattr(prefixes, name, Mock())
    monkeypatch.setattr(faith, "_change", Mock())
    monkeypatch.setattr(status, "read", lambda: Report(0.0, "", good=True))
    monkeypatch.setattr(dns_daemon, "run", Mock())
    monkeypatch.setattr(live_table, "print_once", Mock())
    monkeypatch.setattr(setup_command, "run", Mock(return_value=0))
    monkeypatch.setattr(control_client, "ask", lambda path, command, **words: defaultdict(str))
    monkeypatch.setattr(control_client, "gather", lambda path, command, **words: ())
    proxies = [ServedProxy("192.0.2.1:1080", ["socks5"])]
    daemon = Daemon(1, "proxy", "", "route", 0.0, [], [], proxies=proxies)
    monkeypatch.setattr(discovery, "running", lambda: [daemon])
    monkeypatch.setattr(gathering, "gather", lambda asked: GOOD)
    monkeypatch.setattr(proxied_gathering, "gather", lambda asked, at: PROXIED)
    monkeypatch.setattr(live_trace, "watch", lambda facts: facts)
    monkeypatch.setattr(doctor, "examine", list)
    assert faith.main(shlex.split(words)) == 0


@each([ROOT / "README.rst", ROOT / "docs/man/faithd.conf.5"])
def test_rules_are_rules(path: Path) -> None:
    rules = RULE.findall(path.read_text())
    assert len(Access.parse("\n".join(rules)).rules) == len(rules) > 0


def test_the_record_is_one() -> None:
    record = Record(
        ("2001:db8:6::2", 48866),
        ("2001:db8:ffff::c000:250", 80),
        CLOSED,
        1763845200.123,
        ("192.0.2.1", 55380),
        ("192.0.2.80", 80),
        seconds=0.014,
        sent=79,
        received=4313,
    )
    assert record.text() in (ROOT / "README.rst").read_text()
