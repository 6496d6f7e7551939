"""Conflicts with other faithds of this host, which a new one must not take connections from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.daemon.host import discovery
from faith.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Container

    from faith.daemon.config.settings import Settings


def refuse_taken_ports(settings: Settings, *, but_of: Container[int]) -> None:
    """Raise SetupError for a port of *settings* that another faithd serves.

    Processes in *but_of* do not count: they leave their ports to this one.
    """
    for other in discovery.running():
        taken = settings.ports & other.served
        if taken and other.pid not in but_of:
            raise SetupError(
                f"serve {settings.name}",
                f"port {taken} is served by faithd {other.service} (pid {other.pid}) already",
                "stop that one, or leave the port out",
            )
