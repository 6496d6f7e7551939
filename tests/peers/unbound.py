"""The configuration of an unbound that asks other servers for some zones."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


def over_tls(address: str, certificate: Path) -> list[str]:
    """The lines of the section ``server:`` for DNS over TLS at an address."""
    return [
        f"interface: {address}@853",
        "tls-port: 853",
        f"tls-service-key: {certificate}",
        f"tls-service-pem: {certificate}",
    ]


def configuration(lines: Iterable[str], servers: Mapping[str, str]) -> str:
    """The file of a server for everybody, with *lines* of its section ``server:``.

    *servers* are the addresses that it asks, by the names of the zones.
    """
    stubs = [f"stub-zone:\nname: {zone}\nstub-addr: {server}" for zone, server in servers.items()]
    return "\n".join(
        (
            "server:",
            "access-control: 0.0.0.0/0 allow",
            'chroot: ""',
            'username: ""',
            'pidfile: ""',
            "use-syslog: no",
            "do-ip6: no",
            "num-threads: 1",
            'module-config: "iterator"',
            *lines,
            "remote-control:",
            "control-enable: no",
            *stubs,
            "",
        )
    )
