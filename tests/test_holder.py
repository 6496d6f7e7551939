from __future__ import annotations

import os
import socket
from pathlib import Path

from faith.kernel.sockets.holder import holder


def test_the_process_that_listens_is_named() -> None:
    name = Path("/proc/self/comm").read_text().strip()
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        assert holder(server.getsockname()[1]) == f"{name} (pid {os.getpid()})"


def test_a_port_nobody_listens_on_has_no_holder() -> None:
    with socket.socket(socket.AF_INET6) as bound:
        bound.bind(("::1", 0))
        assert holder(bound.getsockname()[1]) == ""
