"""The image, run in the lab's gateway with the capabilities that docs/containers.rst names."""

from __future__ import annotations

import json
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.lab.topology import GATEWAY_V6, PREFIX, SERVER
from tests.certificates import certify
from tests.netns import service
from tests.netns.service import Echo, answers, connect
from tests.netns.test_proxy_daemon import PROXY, http, is_served
from tests.netns.test_proxy_tls import TLS_PORT, tunnel
from tests.packaging.container import IMAGE, Container, Podman

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import ThreeHosts
    from tests.certificates import Certify

    Run = Callable[..., Container]

__all__ = ["certify"]

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(not IMAGE, reason="no image: scripts/image builds it and runs this"),
]

PORT = 8000
ROOT = ("NET_ADMIN", "SETUID", "SETGID", "KILL")
"""What TCP takes, for root."""
ALL = (*ROOT, "NET_RAW", "NET_BIND_SERVICE", "BPF", "SETPCAP")
OWN = ("NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE")
"""What everything but the kernel path takes, for a user of its own."""
CHILDREN = ("SETUID", "SETGID", "KILL")
"""What root takes for its processes; a user of its own takes nothing for a proxy alone."""
NAME = "server.example"


def text(more: str = "") -> str:
    return f"""
control = "/run/faith/control.sock"
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "{PORT}"
{more}
"""


@pytest.fixture
def run(lab: ThreeHosts, tmp_path: Path) -> Iterator[Run]:
    """Run a container by a file, and wait until it serves."""
    with ExitStack() as ended:

        def start(
            file: str, *extra: str, capabilities: tuple[str, ...], user: str = ""
        ) -> Container:
            path = tmp_path / "faith.toml"
            path.write_text(file)
            path.chmod(0o644)
            options = [
                f"--volume={path}:/etc/faith.toml:ro",
                *(f"--tmpfs={name}:mode=1777" for name in ("/run/faith", "/var/lib/faith")),
                *([f"--user={user}"] if user else []),
                *extra,
            ]
            podman = Podman(lab.gateway, tmp_path)
            container = Container(
                podman, tmp_path / "log", capabilities=capabilities, options=options
            )
            ended.callback(container.close)
            container.wait_said("serving")
            return container

        yield start


@pytest.fixture
def echo(lab: ThreeHosts) -> Iterator[Echo]:
    with closing(Echo(lab.server, PORT, SERVER)) as server:
        yield server


@pytest.mark.parametrize(
    ("capabilities", "user"),
    [(ROOT, ""), (ALL, ""), (OWN, "65532:65532")],
    ids=["root, TCP", "root, all", "a user of its own"],
)
@pytest.mark.usefixtures("echo")
def test_it_relays_with_these_capabilities(
    lab: ThreeHosts, run: Run, capabilities: tuple[str, ...], user: str
) -> None:
    container = run(text(), capabilities=capabilities, user=user)
    with connect(lab, port=PORT) as connection:
        assert answers(connection)
        status = json.loads(container.run("faith", "status", "--json", check=False))
        assert status["daemons"][0]["sessions"] == 1
    assert container.stop() == 0
    with pytest.raises(OSError, match="unreachable"):  # its prefix has gone with it
        connect(lab, port=PORT)


@pytest.mark.usefixtures("echo")
def test_udp_ping_and_names_take_two_more(lab: ThreeHosts, run: Run) -> None:
    more = '[udp]\n[ping]\n[dns]\nforward = ["192.0.2.80"]'
    run(text(more), capabilities=(*ROOT, "NET_RAW", "NET_BIND_SERVICE"))
    assert lab.client.run(["ping", "-c1", lab.mapped()]).returncode == 0


def readable(*files: Path) -> tuple[str, ...]:
    """Return options that show *files* at their place, to whatever user."""
    for file in files:
        file.chmod(0o644)
    return tuple(f"--volume={file}:{file}:ro" for file in files)


@pytest.mark.parametrize(
    ("capabilities", "user"),
    [(CHILDREN, ""), ((), "65532:65532")],
    ids=["root", "a user of its own"],
)
def test_proxies_alone_take_no_rights_over_the_network(
    lab: ThreeHosts, run: Run, certify: Certify, capabilities: tuple[str, ...], user: str
) -> None:
    certificate, key = certify("proxy")
    port = service.PORT
    file = f"""
control = "/run/faith/control.sock"
[[proxy]]
listen = ":{PROXY}"
connect_ports = "{port}"
[[proxy]]
listen = ":{TLS_PORT}"
tls_certificate = "{certificate}"
tls_key = "{key}"
"""
    extra = (*readable(certificate, key), f"--add-host={NAME}:{SERVER}")
    container = run(file, *extra, capabilities=capabilities, user=user)
    way = lab.client, GATEWAY_V6
    with closing(Echo(lab.server, port, SERVER)):
        assert is_served(way)
        assert is_served(way, NAME)
        answer, sock = http(way, f"CONNECT {NAME}:{port} HTTP/1.1\nHost: {NAME}:{port}")
        with sock:
            assert answer.startswith("HTTP/1.1 200 ")
            assert answers(sock)
            sessions = json.loads(container.run("faith", "sessions", "--json"))
            asked = [one["asked"] for one in sessions if one["method"] == "connect"]
            assert asked == [f"{NAME}:{port}"]
        with tunnel(way, (certificate, key)) as secured:
            assert answers(secured)
    assert "cannot" not in container.said
    assert container.stop() == 0


def allows_bpf() -> bool:
    """Return whether the engine's seccomp filter knows CAP_BPF: that of Debian 12 does not."""
    filters = json.loads(Path("/usr/share/containers/seccomp.json").read_text())["syscalls"]
    return any(
        "bpf" in one["names"] and "CAP_BPF" in one.get("includes", {}).get("caps", ())
        for one in filters
    )


@pytest.mark.usefixtures("echo")
def test_the_kernel_path_takes_bpf(lab: ThreeHosts, run: Run) -> None:
    file = text().replace(f'"{PORT}"', f'"{PORT}"\npath = "kernel"')
    extra = [] if allows_bpf() else ["--security-opt=seccomp=unconfined"]
    container = run(file, *extra, capabilities=(*ROOT, "NET_RAW", "BPF"))
    with connect(lab, port=PORT) as connection:
        assert answers(connection)
        assert container.run("faith", "sessions").splitlines()[1].startswith("k1-")


@pytest.mark.usefixtures("echo")
def test_its_file_is_read_again(lab: ThreeHosts, run: Run, tmp_path: Path) -> None:
    container = run(text(), capabilities=ROOT)
    file = tmp_path / "faith.toml"
    with file.open("a") as more:  # the same file: it is mounted by its inode
        more.write('[access]\nrules = ["::/0 deny 0.0.0.0/0"]\n')
    assert "in force" in container.run("faith", "reload")
    # The reset may be there before connect(2) has returned.
    with pytest.raises(ConnectionResetError), connect(lab, port=PORT) as connection:
        answers(connection)


def test_it_has_no_shell_and_no_package_manager(run: Run) -> None:
    container = run(text(), capabilities=ROOT)
    for program in ("sh", "bash", "apt-get", "dpkg", "pip"):
        assert not container.has(program)
    assert container.has("faith")
