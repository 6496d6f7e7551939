"""``faithd --alg=ftp 2121``: the ALG where an operator says that FTP is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faithd import Faithd
from tests.peers import ftp_servers
from tests.peers.site import digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faith.lab import Host, ThreeHosts
    from tests.peers.site import Meeting

pytestmark = [pytest.mark.netns, pytest.mark.peers]

PORT = 2121


@pytest.mark.parametrize("mode", [[], ["-P-"]], ids=["EPSV", "EPRT"])
def test_files_come_and_go(
    lab: ThreeHosts, meet: Callable[[Host, Host, str], Meeting], tmp_path: Path, mode: list[str]
) -> None:
    faithd = Faithd(lab.gateway, tmp_path / "log", "-P", lab.prefix, "--alg=ftp", f"{PORT}")
    faithd.wait_said("serving")
    meeting = meet(lab.client, lab.server, lab.mapped())
    files = ftp_servers.start_elsewhere(PORT, meeting.server)
    login = f"{ftp_servers.USER}:{ftp_servers.PASSWORD}"
    url, back = f"ftp://{meeting.url_host}:{PORT}/there", meeting.client.directory / "back"
    for transfer in (("-T", meeting.payload.path), ("-o", back)):
        meeting.client.run("curl", "-q", "-sS", *mode, "-u", login, *transfer, url)
    assert digest(files / "there") == meeting.payload.digest
    assert digest(back) == meeting.payload.digest
    assert faithd.stop() == 0
    assert f"mapped=[{lab.mapped()}]:{PORT} " in faithd.said
