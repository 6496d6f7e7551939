"""The host in the status report: what is amiss with its routes, uplink, firewall and sysctls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.daemon.observe.findings import finding
from faith.kernel.netlink import routes, uplink
from faith.kernel.nft import dropping_chains
from faith.kernel.sockets import tcp_sysctls

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from faith.daemon.observe.status_report import Daemon, Finding
    from faith.translation.prefix import Prefix

_UPLINK = {"missing": "uplink-missing", "down": "uplink-down", "no default": "no-default-route"}


def about_the_host(prefixes: Sequence[Prefix], daemons: Iterable[Daemon]) -> Iterator[Finding]:
    """Yield what keeps *daemons* of this host from serving *prefixes*.  Raises OSError."""
    yield from _about_routes(prefixes)
    yield from _about_the_uplink(daemons)
    yield from _about_the_firewall()


def advice() -> list[Finding]:
    """Return how the sysctls of this host would be better for relays."""
    return [finding("sysctl", text) for text in tcp_sysctls.advice()]


def _about_routes(prefixes: Sequence[Prefix]) -> Iterator[Finding]:
    if text := routes.unreachable():
        yield finding("clients-unreachable", text)
    for prefix, why in routes.conflicts_of(prefixes):
        yield finding("prefix-conflict", f"{prefix}: {why}")


def _about_the_uplink(daemons: Iterable[Daemon]) -> Iterator[Finding]:
    """Yield the fault of the IPv4 uplink, unless probes say what is needed of it."""
    probed = (probe.name for daemon in daemons for probe in daemon.probes)
    trouble = uplink.trouble()
    if trouble is None or any(name.startswith(("route ", "tcp ")) for name in probed):
        return
    action = "ip route add default via ROUTER, or probe_routes of faith.toml: the routes needed"
    yield finding(
        _UPLINK[trouble.kind], trouble.text, action if trouble.kind == "no default" else ""
    )


def _about_the_firewall() -> Iterator[Finding]:
    try:
        chains = dropping_chains.found()
    except PermissionError:
        return  # as the guard, which says so
    except OSError as error:
        yield finding("firewall-unseen", f"the host's firewall: {error.strerror}")
        return
    for chain in chains:
        text = f"{chain} drops every TCP connection over IPv6, those to the prefixes too"
        action = "have it accept those to the prefixes and ports that are served"
        yield finding("firewall-drops", text, action)
