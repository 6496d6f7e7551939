"""``faith check``: all mistakes, what decides nothing, and what this host would refuse."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from faith.cli import check_command
from faith.cli.faith import main
from faith.kernel.netlink import routes
from faith.translation.prefix import Prefix

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SERVICE = '[[service]]\nports = "80"\n'
PREFIX = Prefix.parse("64:ff9b::/96")


@pytest.fixture(autouse=True)
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "local_ipv4", lambda: [(0xC0000200, 24)])
    monkeypatch.setattr(routes, "reserved", lambda: [PREFIX])
    monkeypatch.setattr(routes, "conflicts_of", lambda prefixes: iter(()))


class Checked:
    def __init__(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.file = tmp_path / "faith.toml"
        self._capsys = capsys

    def __call__(self, text: str, *options: str) -> tuple[int, list[str]]:
        self.file.write_text(text)
        status = main(["check", *options, str(self.file)])
        shown = self._capsys.readouterr()
        lines = (shown.out + shown.err).splitlines()
        return status, [line.replace(str(self.file), "FILE") for line in lines]


@pytest.fixture
def checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Checked:
    return Checked(tmp_path, capsys)


def test_all_mistakes_are_shown_each_with_its_line(checked: Checked) -> None:
    status, lines = checked(
        """workers = "two"
user = “root”
wrkers = 3
[[prefix]]
address = "fe80::/96"
[[prefix]]
address = "::ffff:0:0/96"
[[prefix]]
address = "::1/96"
[[service]]
ports = "80\u201390"
alg = "ftb"
[[service]]
ports = "443"
[[service]]
ports = "400-500"
[access]
rules = ["::/0 permit 0.0.0.0/0", "::/0 alow 1.1.1.1", "::1 permit x"]
[[map]]
v4 = "2001:db8::1"
v6 = "1.2.3.4"
[ping]
timeout = 3
rate = 0.5
[timeouts]
connect = 5
connect = 6
"""
    )
    assert status == 1
    assert [line.split(": ")[1] for line in lines] == [
        *(f"FILE:{number}" for number in (1, 2, 3, 5, 7, 9, 11, 12, 16, 18, 18, 20, 21)),
        *(f"FILE:{number}" for number in (23, 24, 27)),
    ]
    text = "\n".join(lines)
    assert "fe80::/96 cannot be reserved: it overlaps fe80::/10, the link-local addresses" in text
    assert "is ftp meant?" in text
    assert "\u2013 (U+2013) is a typographic dash: write -" in text
    assert "port 443 is in the service on line 14 already" in text
    assert "must be at least 60 seconds (RFC 5508 REQ-2)" in text


@pytest.mark.parametrize(
    "prefix", ["fe80::/96", "::ffff:0:0/96", "ff02::/96", "::/96", "feb0:1::/64", "fe00::/8"]
)
def test_a_prefix_that_no_host_can_reserve_is_a_mistake(checked: Checked, prefix: str) -> None:
    layout = 'layout = "rfc6052"\n' if prefix.endswith("64") else ""
    status, (line,) = checked(f'{SERVICE}[[prefix]]\naddress = "{prefix}"\n{layout}')
    assert status == 1
    assert line.startswith("faith: FILE:4: prefix.address: ")


def test_the_mistakes_of_the_files_that_it_names_are_shown_too(
    checked: Checked, tmp_path: Path
) -> None:
    rules, maps = tmp_path / "rules", tmp_path / "maps"
    rules.write_text("::/0 alow 0.0.0.0/0\n::/0 permit 0.0.0.0/0\n::/0 permit ::/129\n")
    maps.write_text("198.51.100.1\n198.51.100.2 2001:db8::2 direction=up\n")
    status, lines = checked(f'{SERVICE}[access]\nfile = "{rules}"\n[maps]\nfile = "{maps}"\n')
    assert status == 1
    where = [line.split(": ")[1] for line in lines]
    assert where == [f"{maps}:1", f"{maps}:2", f"{rules}:1", f"{rules}:3"]


def test_a_rule_that_decides_nothing_is_shown(checked: Checked) -> None:
    text = f"""{SERVICE}[access]
rules = [
    "::/0 permit 0.0.0.0/0",
    "2001:db8::/32 deny 10.0.0.0/8",
]
"""
    status, lines = checked(text)
    assert status == 0
    (warning,) = [line for line in lines if line.startswith("warning")]
    assert warning == (
        "warning  FILE:6: this rule decides nothing: line 5 permits all of it before; put it above"
        " that line, or delete it"
    )


def test_a_file_of_rules_is_known_by_its_rules(checked: Checked) -> None:
    status, lines = checked("# rules\n\n::/0 deny 10.0.0.0/8\n::1 permit 10.1.0.0/16\n")
    assert status == 0
    assert lines[0] == "access   2 rules in FILE"
    assert lines[1].startswith("warning  FILE:4: this rule decides nothing: line 3 denies all")
    assert checked("::/0 alow 0.0.0.0/0\n", "--rules")[1][0].startswith("faith: FILE:1: 'alow' is")
    assert checked("# nothing\n", "--rules") == (0, ["access   everybody is permitted"])


def test_a_file_of_maps_is_checked_alone(checked: Checked) -> None:
    text = "198.51.100.1 2001:db8::1\n"
    assert checked(text, "--maps") == (0, ["maps     1 map in FILE"])
    status, (first, second) = checked(f"{text}x y\nz\n", "--maps")
    assert status == 1
    assert first.startswith("faith: FILE:2: 'x' is not an IPv4 address")
    assert second.startswith("faith: FILE:3: a map has two addresses")
    assert checked("", "--maps", "--rules")[0] == 2


def test_what_this_host_would_refuse_is_shown(
    checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f'{SERVICE}server = ["/nowhere/telnetd"]\n[[prefix]]\naddress = "2001:db8::/96"\n'
    why = "it lies in 2001:db8::/64, the subnet of eth0"
    monkeypatch.setattr(routes, "conflicts_of", lambda prefixes: ((one, why) for one in prefixes))
    status, lines = checked(text)
    assert status == 1
    assert [line for line in lines if line.startswith("refused")] == [
        (
            "refused  local server /nowhere/telnetd: no such file (install it, or name another"
            " program)"
        ),
        f"refused  reserve 2001:db8::/96: {why}",
    ]
    status, lines = checked(text, "--elsewhere")
    assert status == 0
    assert not [line for line in lines if line.startswith("refused")]


def test_what_is_reserved_already_is_not_refused(checked: Checked) -> None:
    assert checked(f'{SERVICE}[[prefix]]\naddress = "{PREFIX}"\n')[0] == 0


@pytest.mark.parametrize("section", ["udp", "ping", "dns", "maps", "flows", "metrics"])
def test_every_section_is_shown(checked: Checked, section: str) -> None:
    _, before = checked(SERVICE)
    text = {
        "maps": "[[map]]\nv4 = '198.51.100.1'\nv6 = '2001:db8::1'\n[maps]\nsource = 'gateway'\n",
        "flows": 'path = "kernel"\n[flows]\nmss = 1220\n',
        "metrics": '[metrics]\nlisten = "[::1]"\n',
    }.get(section, f"[{section}]\n")
    status, after = checked(SERVICE + text)
    assert status == 0
    assert section not in {line.split()[0] for line in before}
    assert section in {line.split()[0] for line in after}


def test_the_port_of_a_proxy_that_another_program_has_is_refused(checked: Checked) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for listen in (f":{port}", f"127.0.0.1:{port}"):
            status, lines = checked(f'[[proxy]]\nlisten = "{listen}"\n')
            assert status == 1
            assert f":{port}: the port is taken by " in lines[-1]
            assert lines[-1].endswith(f"(pid {os.getpid()})")
        assert checked(f'[[proxy]]\nlisten = ":{port}"\n', "--elsewhere")[0] == 0
    assert checked(f'[[proxy]]\nlisten = ":{port}"\n')[0] == 0


def test_the_port_of_a_proxy_that_a_faithd_has_is_not_refused(
    checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_command, "holder", lambda port, address: "faithd (pid 7)")
    assert checked('[[proxy]]\nlisten = ":1080"\n')[0] == 0


def test_a_missing_file_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["check", str(tmp_path / "none")]) == 1
    assert "No such file or directory" in capsys.readouterr().err


def test_a_certificate_that_has_ended(
    checked: Checked, tmp_path: Path, need: Callable[[str], str]
) -> None:
    openssl = need("openssl")
    for days, words in ((2, "valid"), (-1, "ended")):
        for command in (
            "req -newkey rsa:2048 -nodes -subj /CN=proxy -keyout key -out request",
            f"x509 -req -in request -signkey key -days {days} -out {words}",
        ):
            subprocess.run(
                [openssl, *command.split()], check=True, capture_output=True, cwd=tmp_path
            )
        files = f'tls_certificate = "{tmp_path}/{words}"\ntls_key = "{tmp_path}/key"\n'
        _, lines = checked(f'[[proxy]]\nlisten = ":3129"\n{files}', "--elsewhere")
        told = [line for line in lines if line.startswith("warning  the certificate of the proxy")]
        assert bool(told) is (words == "ended")
        _, lines = checked(f'{SERVICE}[metrics]\nlisten = "[::1]:9064"\n{files}', "--elsewhere")
        assert any("the certificate of the admin listener" in line for line in lines) is bool(told)
