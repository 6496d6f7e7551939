"""Who may read at the admin listener of a real faithd: tokens, TLS, and both after a reload."""

from __future__ import annotations

import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from faith.lab.topology import PREFIX
from tests.certificates import certify
from tests.netns.gateway import Gateway, reread
from tests.netns.service import PORT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faith.lab import ThreeHosts
    from tests.certificates import Certify

    Ask = Callable[..., int]

__all__ = ["certify"]

pytestmark = pytest.mark.netns

ADDRESS = "[::1]:9064"
OLD, NEW = "0123456789abcdef-old", "0123456789abcdef-new"
BASE = f"""
workers = 2
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "{PORT}"
[metrics]
listen = "{ADDRESS}"
"""


@pytest.fixture
def ask(lab: ThreeHosts, need: Callable[[str], str]) -> Ask:
    """``ask("metrics")`` is the status of that page; 0 if TLS or the connection fails."""
    curl = [need("curl"), "--silent", "--globoff", "--max-time", "5"]
    show = ["--output", "/dev/null", "--write-out", "%{http_code}"]

    def ask(page: str, *options: str | Path, scheme: str = "http") -> int:
        command = [*curl, *show, *map(str, options), f"{scheme}://{ADDRESS}/{page}"]
        try:
            return int(lab.gateway.run(command).stdout)
        except subprocess.CalledProcessError:
            return 0

    return ask


def bearer(token: str) -> tuple[str, str]:
    return "--header", f"Authorization: Bearer {token}"


def test_a_token_opens_and_a_reload_changes_it(lab: ThreeHosts, tmp_path: Path, ask: Ask) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(f"{OLD}\n")
    token_file.chmod(0o600)
    text = f'{BASE}token_file = "{token_file}"\n'
    faithd = Gateway(lab, tmp_path, text)
    for page in ("", "page.js", "status.json", "metrics"):
        assert ask(page) == 401
        assert ask(page, *bearer(NEW)) == 401
        assert ask(page, *bearer(OLD)) == 200
        assert ask(page, "--user", f"operator:{OLD}") == 200
    assert ask("healthz") == 200
    assert ask("readyz") == 200

    token_file.write_text(f"{NEW}\n")
    assert ask("metrics", *bearer(OLD)) == 200, "nobody has said that the file is another one"
    reread(faithd, text)
    wait_until(lambda: ask("metrics", *bearer(OLD)) == 401, 5, "the old token's end")
    assert ask("metrics", *bearer(NEW)) == 200

    token_file.write_text("short\n")
    reread(faithd, text, "a token of 5 characters can be guessed")
    assert ask("metrics", *bearer(NEW)) == 200, "what cannot be used changes nothing"

    token_file.write_text(f"{OLD}\n{NEW}\n")
    reread(faithd, f"{text}protect_health = true\n")
    wait_until(lambda: ask("healthz") == 401, 5, "health being protected")
    assert ask("healthz", *bearer(OLD)) == ask("healthz", *bearer(NEW)) == 200


def test_no_connection_is_refused_while_the_token_changes(lab: ThreeHosts, tmp_path: Path) -> None:
    """The new process has the listener of the old one: who connects meanwhile waits."""
    token_file = tmp_path / "token"
    text = f'{BASE}token_file = "{token_file}"\n'
    token_file.write_text(f"{OLD}0\n")
    faithd = Gateway(lab, tmp_path, text)
    for number in range(1, 4):
        token_file.write_text(f"{OLD}{number}\n")
        times = faithd.said.count("read again")
        faithd.reload(text)
        while faithd.said.count("read again") == times:
            with lab.gateway.inside(), socket.create_connection(("::1", 9064), 5) as sock:
                sock.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
                assert sock.makefile("rb").readline().startswith(b"HTTP/1.1 200 ")


def test_tls_by_files_that_only_root_can_read(
    lab: ThreeHosts, tmp_path: Path, ask: Ask, certify: Certify
) -> None:
    certificate, key = certify("gateway")
    key.chmod(0o600)
    tls = f'{BASE}tls_certificate = "{certificate}"\ntls_key = "{key}"\n'
    faithd = Gateway(lab, tmp_path, tls)
    trusts = "--cacert", certificate
    assert ask("metrics", *trusts, scheme="https") == 200
    assert ask("metrics") == 0, "nothing is served by HTTP any more"

    authority = certify("authority")
    prometheus, own_key = certify("prometheus", by=authority)
    stranger, its_key = certify("stranger")
    reread(faithd, f'{tls}tls_client_ca = "{authority[0]}"\n')
    wait_until(lambda: ask("metrics", *trusts, scheme="https") == 403, 5, "certificates mattering")
    shown = "--cert", prometheus, "--key", own_key
    assert ask("status.json", *trusts, *shown, scheme="https") == 200
    assert ask("healthz", *trusts, scheme="https") == 200
    assert ask("metrics", *trusts, "--cert", stranger, "--key", its_key, scheme="https") == 0

    before = certificate.read_bytes()
    certify("gateway")  # renewed
    assert certificate.read_bytes() != before
    reread(faithd, tls)
    wait_until(lambda: ask("metrics", *trusts, scheme="https") == 200, 5, "the new certificate")

    certificate.write_text("")
    reread(faithd, tls, "there is no certificate with its key in PEM form")
    assert ask("healthz", "--insecure", scheme="https") == 200
