"""nginx with its stream module."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from bench.bed import BULK, ECHO, HTTP, nginx
from bench.contenders.base import MANY, Running
from bench.programs import NGINX_STREAM, path
from faith.lab.topology import GATEWAY_V6, SERVER

if TYPE_CHECKING:
    from bench.bed import Bed

_CONFIGURATION = """\
{load}
user root;
daemon off;
worker_processes {workers};
pid {directory}/stream.pid;
error_log stderr crit;
events {{ worker_connections 32768; }}
stream {{
    proxy_connect_timeout 10s;
    proxy_timeout 2h;
    tcp_nodelay on;
    {services}
}}
"""
_SERVICE = "server {{ listen [{gateway}]:{port} backlog=4096{share}; proxy_pass {server}:{port}; }}"


class Nginx:
    """As its manual sets it up; with more workers than one, each has listeners of its own."""

    name = "nginx"
    needs = (NGINX_STREAM,)
    most_sessions = MANY
    scales = True

    def start(self, bed: Bed, workers: int = 1) -> Running:
        """As every contender."""
        services = "\n    ".join(
            _SERVICE.format(
                gateway=GATEWAY_V6,
                server=SERVER,
                port=port,
                share=" reuseport" if workers > 1 else "",
            )
            for port in (ECHO, HTTP, BULK)
        )
        argv = nginx(
            bed.directory,
            "stream",
            _CONFIGURATION,
            load=_load_module(),
            workers=workers,
            services=services,
        )
        return Running(bed, GATEWAY_V6, [bed.start(bed.lab.gateway, argv)])


def _load_module() -> str:
    """The line that brings the stream module, where it is not built in."""
    built = subprocess.run([path(NGINX_STREAM), "-V"], capture_output=True, text=True, check=True)
    directory = re.search(r"--modules-path=(\S+)", built.stderr)
    module = Path(directory[1], "ngx_stream_module.so") if directory else None
    return f"load_module {module};" if module and module.exists() else ""
