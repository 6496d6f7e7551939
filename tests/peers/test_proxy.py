"""Real servers that expect the PROXY protocol learn the client's IPv6 address."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from faith.lab.topology import CLIENT
from tests.faithd import Faithd
from tests.peers.servers import HTTP

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faith.lab import Host, ThreeHosts
    from tests.peers.site import Meeting, Site

    Serve = Callable[[Site], Path]

pytestmark = [pytest.mark.netns, pytest.mark.peers]


def haproxy(site: Site) -> Path:
    """Its log has clients and destinations as ``[address]:port``."""
    configuration = site.directory / "haproxy.cfg"
    configuration.write_text(
        "global\n    log stdout format raw local0\n"
        "defaults\n    mode http\n    log global\n"
        "    timeout client 5s\n    timeout server 5s\n    timeout connect 5s\n"
        f"frontend web\n    bind :{HTTP} accept-proxy\n"
        '    log-format "[%[src]]:%[src_port] [%[dst]]:%[dst_port]"\n'
        '    http-request return status 200 content-type text/plain string "it serves"\n'
    )
    site.serve(HTTP, "haproxy", "-db", "-f", configuration)
    return site.directory / "haproxy.log"


def nginx(site: Site) -> Path:
    log, configuration = site.directory / "access.log", site.directory / "nginx.conf"
    told = "proxy_protocol_addr", "proxy_protocol_port"
    mapped = "proxy_protocol_server_addr", "proxy_protocol_server_port"
    form = " ".join(f"[${address}]:${port}" for address, port in (told, mapped))
    temporary = "".join(
        f"{kind}_temp_path {site.directory}/{kind};\n"
        for kind in ("client_body", "fastcgi", "proxy", "scgi", "uwsgi")
    )
    configuration.write_text(
        "daemon off; user root; worker_processes 1; pid nginx.pid; error_log stderr;\n"
        f"events {{}}\nhttp {{\n{temporary}log_format told '{form}'; access_log {log} told;\n"
        f"server {{ listen {HTTP} proxy_protocol; return 200 'it serves'; }}\n}}\n"
    )
    site.serve(HTTP, "nginx", "-p", site.directory, "-e", "stderr", "-c", configuration)
    return log


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("serve", [haproxy, nginx])
def test_the_server_learns_the_clients_address(
    lab: ThreeHosts,
    meet: Callable[[Host, Host, str], Meeting],
    tmp_path: Path,
    serve: Serve,
    version: str,
) -> None:
    meeting = meet(lab.client, lab.server, lab.mapped())
    log = serve(meeting.server)
    faithd = Faithd(lab.gateway, tmp_path / "log", "-P", lab.prefix, "--proxy", version, "80")
    faithd.wait_said("serving")
    url = f"http://{meeting.url_host}/"
    told = "%{local_port} "
    answer = meeting.client.run("curl", "-sS", "-g", "-w", told, url, url)
    body, port, *_ = answer.replace("it serves", "it-serves ").split()
    assert body == "it-serves"
    expected = f"[{CLIENT}]:{port} [{lab.mapped()}]:{HTTP}"
    wait_until(lambda: log.read_text().count(expected) == 2, 5, f"{expected} twice in the log")
    assert faithd.stop() == 0
