"""Clients that are set up by what ``faith proxy settings`` prints, and by nothing else."""

from __future__ import annotations

import sys
import zipfile
from typing import TYPE_CHECKING

from tests.faithd import ENVIRONMENT
from tests.peers.proxy_clients import QUIET_NPM, need_npm_with_proxy, write_apt
from tests.peers.proxy_site import DEB, PACKAGE, WHEEL, npm_registry
from tests.peers.site import digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.peers.proxy_clients import Visit

    Told = Callable[[Visit, str, str], None]

PAGE, HOST = "https://www.example/", "host.example"
"""What the settings have in the place of what is asked for."""


def settings(visit: Visit, program: str) -> str:
    """Return the lines for *program*, to be run by a shell."""
    proxy = visit.proxy("").removeprefix("://")
    command = [sys.executable, "-m", "faith.cli.faith", "proxy", "settings", proxy]
    printed = visit.client.host.run([*command, "--for", program], env=ENVIRONMENT)
    return printed.stdout


def _shell(visit: Visit, script: str) -> str:
    return visit.run("sh", "-ec", script)


def environment(visit: Visit, lines: str, host: str) -> None:
    """curl and wget, by variables of the environment."""
    ca = visit.files.certificate
    for scheme in ("http", "https"):
        url = f"{scheme}://{host}/payload"
        _shell(visit, f"{lines}\ncurl -q -sS --fail --cacert {ca} -o curled {url}")
        visit.check(visit.file("curled"))
        _shell(visit, f"{lines}\nwget --no-config -q --ca-certificate={ca} -O wgot {url}")
        visit.check(visit.file("wgot"))


def curl(visit: Visit, lines: str, host: str) -> None:
    """curl, by an option."""
    words = f"-sS --fail --cacert {visit.files.certificate} -o got https://{host}/payload"
    _shell(visit, lines.replace(PAGE, words))
    visit.check(visit.file("got"))


def wget(visit: Visit, lines: str, host: str) -> None:
    """wget, by options."""
    words = f"-q --ca-certificate={visit.files.certificate} -O got https://{host}/payload"
    _shell(visit, lines.replace(PAGE, words))
    visit.check(visit.file("got"))


def git(visit: Visit, lines: str, host: str) -> None:
    """git, by its configuration."""
    _shell(visit, f"{lines}\ngit clone -q http://{host}/project.git clone")
    visit.check(visit.file("clone") / "large")


def ssh(visit: Visit, lines: str, host: str) -> None:
    """ssh, by an option."""
    assert visit.ssh
    words = f"-F {visit.ssh} -o Hostname={host} server sha256sum <{visit.files.payload.path}"
    hashed = _shell(visit, lines.replace(HOST, words))
    assert hashed.split()[0] == visit.files.payload.digest


def apt(visit: Visit, lines: str, host: str) -> None:
    """apt, by a file of its configuration."""
    root = write_apt(visit, host)
    parts = root / "etc" / "apt.conf.d"
    parts.mkdir()
    lines = lines.replace("/etc/apt/apt.conf.d", str(parts))
    command = f"APT_CONFIG={root}/apt.conf apt-get -q"
    _shell(visit, f"{lines}\n{command} update\n{command} download {PACKAGE}")
    assert digest(visit.file(DEB)) == digest(visit.files.root / "apt" / DEB)


def pip(visit: Visit, lines: str, host: str) -> None:
    """pip, by its configuration."""
    program = f"{sys.executable} -m pip"
    words = f"--index-url https://{host}/simple --cert {visit.files.certificate} {PACKAGE}"
    lines = lines.replace("pip config", f"{program} config")
    _shell(visit, f"{lines}\n{program} download -q --no-deps --no-cache-dir {words}")
    with zipfile.ZipFile(visit.file(WHEEL)) as wheel:
        wheel.extract(f"{PACKAGE}/data", visit.client.directory)
    visit.check(visit.file(f"{PACKAGE}/data"))


def npm(visit: Visit, lines: str, host: str) -> None:
    """npm, by its configuration."""
    need_npm_with_proxy(visit)
    for scheme in ("http", "https"):
        options = f"--cafile={visit.files.certificate} --registry={npm_registry(scheme, host)}"
        directory = f"{visit.client.directory}/{scheme}"
        _shell(
            visit,
            f"{lines}\nnpm install {' '.join(QUIET_NPM)} {options} --prefix {directory} {PACKAGE}",
        )
        visit.check(visit.file(f"{scheme}/node_modules/{PACKAGE}/data"))


TOLD: dict[str, Told] = {
    "environment": environment,
    "curl": curl,
    "wget": wget,
    "git": git,
    "ssh": ssh,
    "apt": apt,
    "pip": pip,
    "npm": npm,
}
"""How each is tried; browsers are `Browser`'s."""
