"""Pictures of the page for docs/, in both colour schemes: ``python -m tests.peers.page_pictures``.

The gateway is that of `page_samples`.  pngquant(1) makes the files small.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from faith.daemon.observe.status_report import Finding, Proxied, ServedProxy
from faith.lab import wait_until
from tests.peers.browser import Browser
from tests.peers.page_samples import report
from tests.peers.page_server import PageServer

if TYPE_CHECKING:
    from faith.daemon.observe.status_report import Report

DIRECTORY = Path(__file__).parents[2] / "docs" / "images"
WIDTH = 1160
MOMENTS = 150
"""As many as there are in five minutes."""
FINDINGS = (
    Finding(
        "warning",
        "name-server",
        "the name server 2001:db8:53::1 fails: no answer within 2 s",
        "dig @2001:db8:53::1 example.com",
    ),
    Finding(
        "advice",
        "tcp-tw-reuse",
        "net.ipv4.tcp_tw_reuse is 2: a source port rests for a minute after each connection",
        "sysctl -w net.ipv4.tcp_tw_reuse=1",
    ),
)

PROXIES = [
    ServedProxy("[::]:1080", ["socks5", "socks4", "connect", "http"]),
    ServedProxy("[::]:3129", ["connect", "http"], ["2001:db8::/32"], tls=True),
]


def need(program: str) -> str:
    """Return the path of *program*, or exit."""
    return shutil.which(program) or sys.exit(f"{program} is not installed")


def take(browser: Browser, scheme: str) -> None:
    """Write the picture of a page that has been open for five minutes."""
    moments = count()
    moment = 0

    def make() -> Report:
        nonlocal moment
        moment = next(moments)
        asked = {
            "socks5": 4_810 + moment,
            "connect": 20_377 + 3 * moment,
            "http": 615 + moment // 9,
        }
        proxied = Proxied(137, 4, asked, {"no such name": 31, "port not allowed": 12})
        return report(2.0 * moment, *FINDINGS, proxies=PROXIES, proxied=proxied)

    server = PageServer(make)
    with contextlib.closing(server):
        browser.prefer(scheme)
        browser.open(server.url)
        wait_until(lambda: moment > MOMENTS, 120, "five minutes of the story")
        file = DIRECTORY / f"page-{scheme}.png"
        browser.picture(file, WIDTH)
    command = [need("pngquant"), "--force", "--ext", ".png", "64", str(file)]
    subprocess.run(command, check=True)


def main() -> None:
    """Take both pictures."""
    DIRECTORY.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as directory,
        contextlib.closing(Browser(need, Path(directory))) as browser,
    ):
        for scheme in ("light", "dark"):
            take(browser, scheme)


if __name__ == "__main__":
    main()
