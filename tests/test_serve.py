"""The daemon's command line; tests/netns/test_faithd.py runs the daemon itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.cli import serve
from faith.cli.serve import _parser, _settings
from faith.daemon.config.local_server import LocalServer
from faith.daemon.observe.records import Recording
from faith.errors import ConfigError
from faith.flow.flow_settings import FlowSettings
from faith.kernel.process.capabilities import default_user
from faith.relay.tcp.admission import Limits
from faith.relay.tcp.relay_settings import Settings as RelaySettings
from faith.translation.ports import Ports
from faith.translation.prefix import RFC6052, Prefix

if TYPE_CHECKING:
    from faith.daemon.config.settings import Settings


def settings(*arguments: str) -> Settings:
    return _settings(_parser().parse_args(arguments))


def test_a_service_alone_has_the_defaults() -> None:
    found = settings("telnet")
    assert found.name == "telnet"
    assert found.ports == Ports([(23, 23)])
    assert (found.via, found.user, found.prefixes) == ("auto", default_user(), ())
    assert found.workers >= 1
    assert found.services[0].local_server is None
    assert found.access_file is None
    assert found.relay == RelaySettings()


@pytest.mark.parametrize(
    ("arguments", "ports"),
    [
        (["20-22"], "21"),
        (["2121"], ""),
        (["--alg", "ftp", "2121,21"], "21,2121"),
        (["--alg", "none", "21"], ""),
    ],
)
def test_the_ports_of_ftp(arguments: list[str], ports: str) -> None:
    assert str(settings(*arguments).relay.ftp) == ports


@pytest.mark.parametrize(
    ("arguments", "rsh", "rlogin"),
    [
        (["shell"], "514", ""),
        (["cmd"], "514", ""),
        (["ftp, login,telnet"], "", "513"),
        (["513-514"], "", ""),
        (["1-65535"], "", ""),
        (["--alg=none", "shell,login"], "", ""),
        (["--alg=rsh", "514,2514"], "514,2514", ""),
        (["--alg=rlogin", "513"], "", "513"),
    ],
)
def test_the_ports_of_rsh_and_rlogin_go_by_name(
    arguments: list[str], rsh: str, rlogin: str
) -> None:
    found = settings(*arguments).relay
    assert (str(found.rsh), str(found.rlogin)) == (rsh, rlogin)
    assert found.reserved == found.rsh | found.rlogin


def test_the_path_of_the_service() -> None:
    assert settings("80").flows is None
    found = settings("--path", "kernel", "--lifetime", "60", "--limit", "rate=9", "80,443")
    assert found.kernel_ports == Ports([(80, 80), (443, 443)])
    assert found.flows == FlowSettings(found.ports, rate=9, lifetime=60)
    auto = settings("--path=auto", "20-22")
    assert auto.auto_ports == Ports([(20, 20), (22, 22)])
    assert auto.flows == FlowSettings(auto.auto_ports)
    assert settings("--path=auto", "-p", "80").flows is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ftp"], "because FTP takes the relay"),
        (["--proxy=v1", "80"], "because PROXY takes the relay; leave proxy out"),
        (["-p", "80"], "connections are to be made from ports below 1024"),
        (["--via=redirect", "80"], "the steering method"),
    ],
)
def test_what_the_kernel_path_does_not_go_with(arguments: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        settings("--path=kernel", *arguments)


def test_all_ports_are_reserved_with_p() -> None:
    assert settings("-p", "telnet").relay.reserved == Ports([(1, 65535)])


@pytest.mark.parametrize(
    ("words", "argv"),
    [
        (["/usr/libexec/ftpd"], ("ftpd",)),
        (["/usr/libexec/ftpd", "ftpd", "-l"], ("ftpd", "-l")),
        (["/usr/sbin/sshd", "sshd", "-i", "-d"], ("sshd", "-i", "-d")),
    ],
)
def test_what_follows_the_service_is_the_local_servers(
    words: list[str], argv: tuple[str, ...]
) -> None:
    found = settings("-d", "ftp", *words)
    assert found.services[0].local_server == LocalServer(words[0], argv)


def test_every_option_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = settings(
        *("-dpF", "-f", "conf", "--layout=rfc6052", "-P", "2001:db8:100::/40"),
        *("-P", "2001:db8:2::/48", "--via=tproxy", "--workers=3", "--user=daemon"),
        *("--connect-timeout=1.5", "--idle-timeout=0", "--half-closed-timeout", "7"),
        *("--drain-timeout=9", "--lame-duck=4", "--log=json", "--pid-file=run/pid"),
        *("--lifetime=60", "--limit=sessions=5", "--limit", "rate=2.5", "--metrics=[::1]"),
        *("--record-sample=10", "--record-no-destinations", "--record-refusals=0"),
        "--record-starts",
        "80,8000-8100",
    )
    assert found.recording == Recording(10, destinations=False, refusals=0, starts=True)
    assert found.metrics == ("::1", 9064)
    assert found.access_file == tmp_path / "conf"
    assert found.pid_file == tmp_path / "run" / "pid"
    assert found.prefixes == tuple(
        Prefix.parse(text, RFC6052) for text in ("2001:db8:100::/40", "2001:db8:2::/48")
    )
    assert (found.via, found.workers, found.user) == ("tproxy", 3, "daemon")
    assert (found.drain_timeout, found.lame_duck) == (9, 4)
    assert found.relay == RelaySettings(1.5, 0, 7, True, 60, Limits(sessions=5, rate=2.5))


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["no.such.service"],
        ["--nonsense", "telnet"],
        ["--via=magic", "telnet"],
        ["telnet", "-d"],
        ["-P", "::1/129", "telnet"],
        ["--idle-timeout=soon", "telnet"],
        ["--workers=many", "telnet"],
        ["--limit=clients=1", "telnet"],
        ["--limit=sessions=1.5", "telnet"],
        ["--limit=rate=-1", "telnet"],
        ["--metrics=here", "telnet"],
        ["--record-sample=0", "telnet"],
    ],
)
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        serve.main(arguments)
    assert ended.value.code == 2
    assert "usage: faithd [-dpF]" in capsys.readouterr().err


def test_help_is_0(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        serve.main(["--help"])
    assert ended.value.code == 0
    assert "Exit status: 0 good, 1 failed, 2 wrong usage." in capsys.readouterr().out


def test_inetd_mode_pays_nothing_for_the_daemon() -> None:
    root = Path(serve.__file__).parents[2]
    look = f"import sys; sys.path.insert(0, {str(root)!r}); import faith.cli.faithd"
    modules = subprocess.run(
        [sys.executable, "-ISc", f"{look}; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert not {"argparse", "asyncio", "logging", "socket", "typing"} & set(modules)
