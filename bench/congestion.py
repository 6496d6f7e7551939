"""One congestion control for all connections of a network, whatever the machine's own is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faith.lab import Host


def use(host: Host, name: str) -> None:
    """Let the connections over the routes that *host* has now be controlled by *name*.

    A namespace may choose none but those that the whole machine allows; a route may name any.
    Raises CalledProcessError when the kernel has no such control.
    """
    if host.sysctl("net.ipv4.tcp_congestion_control") == name:
        return
    for family in ("-4", "-6"):
        routes = host.run(["ip", family, "route", "show"]).stdout.splitlines()
        changes = [
            f"route replace {route} congctl {name}\n"
            for route in routes
            if not route.startswith("fe80::")  # one on each link: replace takes the first
        ]
        host.run(["ip", family, "-batch", "-"], stdin="".join(changes))
