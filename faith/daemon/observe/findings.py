"""The findings of the status report: each kind has a stable id, a severity and a meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from faith.daemon.observe.status_report import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable


class Kind(NamedTuple):
    """A kind of finding: its *severity*, and its *meaning* as docs/status.rst has it."""

    severity: Severity
    meaning: str


KINDS = {
    "no-daemon": Kind("failure", "prefixes are reserved, and nobody serves them"),
    "daemon-hung": Kind("failure", "a daemon can be connected to, and does not answer"),
    "no-worker": Kind("failure", "no worker of the daemon serves"),
    "not-steered": Kind("failure", "the daemon has lost what leads connections to it"),
    "no-prefix": Kind("failure", "the daemon has no prefix to relay from"),
    "uplink-missing": Kind("failure", "no route leads to any IPv4 network"),
    "uplink-down": Kind("failure", "the interface of the IPv4 uplink is down or has no carrier"),
    "dns-servers-dead": Kind("failure", "no server that the name service asks answers"),
    "certificate-ended": Kind("failure", "the certificate of a listener is not valid now"),
    "firewall-drops": Kind("warning", "a chain of the host's firewall drops all that comes"),
    "process-hung": Kind("warning", "a process does not answer, or lags behind the newest rules"),
    "process-restarting": Kind("warning", "a process died, and is being or was just replaced"),
    "draining": Kind("warning", "the daemon accepts no new connections"),
    "lame-duck": Kind("warning", "the daemon drains soon"),
    "reload-failed": Kind("warning", "the last reload changed nothing, because of an error"),
    "upgrade-failed": Kind("warning", "upgrades failed, and the old program goes on"),
    "probe-failed": Kind("warning", "a probe of readiness fails, so /readyz says no"),
    "dns-server-dead": Kind("warning", "a server that the name service asks does not answer"),
    "source-absent": Kind("warning", "the host does not have a source address of the settings"),
    "address-conflict": Kind("warning", "another host has an address of this gateway's"),
    "offload-harmful": Kind("warning", "an offload of an interface damages flows"),
    "ping-blocked": Kind("warning", "the host's firewall drops what is sent for pings"),
    "proxy-open": Kind("warning", "everybody may use a proxy without a password"),
    "proxy-users-readable": Kind("warning", "everybody on the host can read a proxy's users"),
    "control-missing": Kind("warning", "the daemon could not make its control socket"),
    "log-lost": Kind("warning", "log lines were lost"),
    "prefix-not-relayed": Kind("warning", "a reserved prefix is not relayed by a daemon"),
    "prefix-abandoned": Kind("warning", "a daemon that was killed has left its prefix"),
    "prefix-conflict": Kind("warning", "a prefix holds an address or a route of the host"),
    "clients-unreachable": Kind("warning", "no IPv6 address beyond the link"),
    "no-default-route": Kind("warning", "IPv4 routes lead to some networks, and none elsewhere"),
    "guard-off": Kind("warning", "servers of this host answer under the prefixes"),
    "guard-altered": Kind("warning", "another program has changed the guard"),
    "guard-incomplete": Kind("warning", "a reserved prefix is not in the guard"),
    "guard-left": Kind("warning", "the guard holds a network that is not reserved"),
    "guard-passed-by": Kind("warning", "a chain translates addresses before the guard"),
    "path-fallback": Kind("advice", "a service goes by the relay, and not by the kernel path"),
    "proxy-passwords-clear": Kind("advice", "a proxy's users send passwords without TLS"),
    "standby": Kind("advice", "the gateway that has the address of VRRP serves maps and sources"),
    "sysctl": Kind("advice", "a setting of the kernel had better be another"),
    "guard-unseen": Kind("unseen", "the guard could not be read"),
    "daemons-unseen": Kind(
        "unseen", "daemons that this user may not ask, or whose sockets are elsewhere"
    ),
    "firewall-unseen": Kind("unseen", "the host's firewall could not be read"),
}
"""All kinds of findings, by id."""


def finding(kind: str, text: str, action: str = "") -> Finding:
    """Return a finding of the id *kind*: *text* is a clause, *action* says what to do about it."""
    return Finding(KINDS[kind].severity, kind, text, action)


def all_well(findings: Iterable[Finding]) -> bool:
    """Return whether no failure and no warning is among *findings*."""
    return not any(found.severity in ("failure", "warning") for found in findings)
