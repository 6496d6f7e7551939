"""Lines for hosts files, made from names, addresses and other hosts files."""

from __future__ import annotations

import shlex
import socket
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from faith.cli import faith
from faith.cli.hosts import Entry, entries, lines
from faith.errors import ConfigError, FaithError
from faith.translation.prefix import LOW32, RFC6052, Prefix

KAME = Prefix.parse("2001:db8:ffff::")
WEB = Entry(IPv4Address("192.0.2.80"), ("www.example.com", "web"))
EXAMPLE = Path(__file__).parents[1] / "examples/hosts.faith"


class TestEntries:
    def test_a_file_gives_its_ipv4_lines(self, tmp_path: Path) -> None:
        file = tmp_path / "hosts"
        file.write_text(
            "127.0.0.1 localhost\n::1 localhost\n\n# 192.0.2.1 old\n"
            "192.0.2.80\twww.example.com  web # the web\n192.0.2.81\nnonsense here\n"
        )
        assert entries(str(file)) == [WEB]

    def test_a_file_is_known_by_its_slash(self) -> None:
        with pytest.raises(FileNotFoundError):
            entries("./no-such-file")

    def test_a_name_gives_its_addresses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = [(2, 1, 6, "", (host, 0)) for host in ("192.0.2.81", "192.0.2.80", "192.0.2.81")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
        assert entries("www") == [
            Entry(IPv4Address("192.0.2.80"), ("www",)),
            Entry(IPv4Address("192.0.2.81"), ("www",)),
        ]

    def test_an_address_has_its_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(socket, "gethostbyaddr", lambda _: ("www.example.com", [], []))
        assert entries("192.0.2.80") == [Entry(IPv4Address("192.0.2.80"), ("www.example.com",))]

    def test_without_a_name_or_an_address_it_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def unknown(*_: object) -> None:
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        monkeypatch.setattr(socket, "gethostbyaddr", unknown)
        with pytest.raises(FaithError, match=r"www\.example: Name or service not known"):
            entries("www.example")
        with pytest.raises(FaithError, match=r"192\.0\.2\.80 has no name"):
            entries("192.0.2.80")

    def test_a_name_beyond_all_measure_is_told(self) -> None:
        with pytest.raises(FaithError):
            entries("x" * 300 + ".example")


class TestLines:
    def test_every_prefix_has_its_own(self) -> None:
        other = Prefix.parse("2001:db8:64::/64", RFC6052)
        assert lines([WEB], [KAME, other]) == [
            "2001:db8:ffff::192.0.2.80       www.example.com web         # 192.0.2.80",
            "2001:db8:64:0:c0:2:5000:0       www.example.com web         # 192.0.2.80",
        ]

    @pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "224.0.0.1"])
    def test_no_line_for_what_is_no_other_host(self, address: str) -> None:
        with pytest.raises(ConfigError, match="not the address of another host"):
            lines([Entry(IPv4Address(address), ("x",))], [KAME])

    def test_rfc6052_3_1_nor_for_private_addresses_under_the_well_known_prefix(self) -> None:
        private = Entry(IPv4Address("10.0.0.1"), ("x",))
        assert lines([private], [KAME])
        with pytest.raises(ConfigError, match="is not global"):
            lines([private], [Prefix.parse("64:ff9b::/96")])


def sections() -> list[tuple[Prefix, list[str]]]:
    """The lines of the example by the command that reserves their prefix."""
    found: list[tuple[Prefix, list[str]]] = []
    for line in EXAMPLE.read_text().splitlines():
        words = shlex.split(line.removeprefix("#")) if line.startswith("# faith") else []
        if words[:3] == ["faith", "-e", "-p"]:
            found.append((Prefix.parse(words[3], words[5] if words[4:] else LOW32), []))
        elif line and not line.startswith("#"):
            found[-1][1].append(line)
    return found


@pytest.mark.parametrize(("prefix", "expected"), sections())
def test_the_example_is_what_it_prints(
    prefix: Prefix, expected: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "hosts"
    for line in expected:
        words, _, v4 = line.partition("#")
        with file.open("a") as writing:
            writing.write(f"{v4} {' '.join(words.split()[1:])}\n")
    command = ["hosts", "-p", str(prefix), "--layout", prefix.layout, str(file)]
    assert faith.main(command) == 0
    assert capsys.readouterr().out.splitlines() == expected


def test_without_a_prefix_there_is_none_to_map_under(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("faith.kernel.netlink.routes.reserved", list)
    assert faith.main(["hosts", "www.example.com"]) == 1
    assert "no prefix is reserved here; give one with -p" in capsys.readouterr().err
